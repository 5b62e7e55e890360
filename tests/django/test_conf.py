"""The settings: read at call time, checked by name and value, overridden per hub."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from signalr_channels.conf import CLASSIC_FIELDS, FIELDS, HUB_SETTINGS, SignalRSettings, get_settings, hub_settings, setting_problems
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub


class First(HubFilter): ...


class Second(HubFilter): ...


def test_without_settings_the_defaults_are_in_force() -> None:
    with override_settings(SIGNALR={}):
        assert get_settings() == SignalRSettings()
        assert get_settings().KEEP_ALIVE_INTERVAL == 15.0
        assert get_settings().MAXIMUM_RECEIVE_MESSAGE_SIZE == 32768


def test_the_dict_may_be_missing() -> None:
    with override_settings(SIGNALR={}):
        del settings.SIGNALR
        assert get_settings() == SignalRSettings()


def test_it_must_be_a_dict() -> None:
    with override_settings(SIGNALR=["HISTORY"]), pytest.raises(ImproperlyConfigured, match=r"^SIGNALR must be a dict, not list\.$"):
        get_settings()


def test_an_override_is_in_force_at_once_and_forgotten_afterwards() -> None:
    before = get_settings()
    with override_settings(SIGNALR={"KEEP_ALIVE_INTERVAL": 3}):
        assert get_settings().KEEP_ALIVE_INTERVAL == 3
        assert hub_settings(Hub).KEEP_ALIVE_INTERVAL == 3
        with override_settings(SIGNALR={"KEEP_ALIVE_INTERVAL": 4}):
            assert get_settings().KEEP_ALIVE_INTERVAL == 4
            assert hub_settings(Hub).KEEP_ALIVE_INTERVAL == 4
        assert get_settings().KEEP_ALIVE_INTERVAL == 3
    assert get_settings() == before


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_settings().KEEP_ALIVE_INTERVAL = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("KEEP_ALIVE_INTERVALL", 3, "unknown setting 'KEEP_ALIVE_INTERVALL'; did you mean 'KEEP_ALIVE_INTERVAL'?"),
        ("xyz", 3, "unknown setting 'xyz'"),
        ("KEEP_ALIVE_INTERVAL", None, "KEEP_ALIVE_INTERVAL may not be None"),
        ("KEEP_ALIVE_INTERVAL", 0, "KEEP_ALIVE_INTERVAL must be a number of seconds, at least 0.1, not 0"),
        ("KEEP_ALIVE_INTERVAL", "15", "KEEP_ALIVE_INTERVAL must be a number of seconds, at least 0.1, not '15'"),
        ("KEEP_ALIVE_INTERVAL", True, "KEEP_ALIVE_INTERVAL must be a number of seconds, at least 0.1, not True"),
        ("KEEP_ALIVE_INTERVAL", float("nan"), "KEEP_ALIVE_INTERVAL must be a number of seconds, at least 0.1, not nan"),
        ("SYNC_THREADS", 2.5, "SYNC_THREADS must be a whole number of threads, at least 0, not 2.5"),
        ("MAXIMUM_PARALLEL_INVOCATIONS", 0, "MAXIMUM_PARALLEL_INVOCATIONS must be a whole number of calls, at least 1, not 0"),
        ("ENABLE_DETAILED_ERRORS", "no", "ENABLE_DETAILED_ERRORS must be True or False, not 'no'"),
        ("ALLOWED_ORIGINS", "https://example.com", "ALLOWED_ORIGINS must be a list, not 'https://example.com'"),
        ("HUB_FILTERS", First, f"HUB_FILTERS must be a list, not {First!r}"),
        (
            "TRANSPORTS",
            ["webSockets", "carrierPigeon"],
            "TRANSPORTS must be of 'webSockets', 'serverSentEvents', 'longPolling', not 'carrierPigeon'",
        ),
        ("ACCESS_TOKEN_IN_QUERY", "never", "ACCESS_TOKEN_IN_QUERY must be one of 'browser', 'always', not 'never'"),
    ],
)
def test_what_cannot_work_is_said_with_its_name(name: str, value: Any, problem: str) -> None:
    assert setting_problems({name: value}) == [(name, problem)]
    with override_settings(SIGNALR={name: value}), pytest.raises(ImproperlyConfigured, match=r"^SIGNALR: ") as caught:
        get_settings()
    assert str(caught.value) == f"SIGNALR: {problem}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAXIMUM_RECEIVE_MESSAGE_SIZE", None),
        ("MAXIMUM_RECEIVE_MESSAGE_SIZE", 1),
        ("KEEP_ALIVE_INTERVAL", 1),
        ("ALLOWED_ORIGINS", ["https://example.com"]),
        ("ALLOWED_ORIGINS", None),
        ("TRANSPORTS", ("longPolling",)),
        ("USER_IDENTIFIER", len),
        ("SYNC_THREADS", 0),
    ],
)
def test_what_can_work_is_taken(name: str, value: Any) -> None:
    assert setting_problems({name: value}) == []
    with override_settings(SIGNALR={name: value}):
        assert getattr(get_settings(), name) == value


def test_every_problem_is_told() -> None:
    assert len(setting_problems({"x": 1, "KEEP_ALIVE_INTERVAL": 0, "HISTORY": None})) == 3


def test_the_defaults_have_no_problems() -> None:
    assert setting_problems(dataclasses.asdict(SignalRSettings())) == []


# Per hub


def test_a_hub_may_differ_and_so_may_the_hubs_below_it() -> None:
    class Parent(Hub):
        settings = {"KEEP_ALIVE_INTERVAL": 3, "CLIENT_TIMEOUT_INTERVAL": 6}

    class Child(Parent):
        settings = {"CLIENT_TIMEOUT_INTERVAL": 60}

    with override_settings(SIGNALR={"HANDSHAKE_TIMEOUT": 5, "KEEP_ALIVE_INTERVAL": 10}):
        for hub, expected in ((Hub, (10, 30.0, 5)), (Parent, (3, 6, 5)), (Child, (3, 60, 5))):
            o = hub_settings(hub)
            assert expected == (o.KEEP_ALIVE_INTERVAL, o.CLIENT_TIMEOUT_INTERVAL, o.HANDSHAKE_TIMEOUT)


def test_the_filters_of_a_hub_come_after_the_global_ones() -> None:
    class FilteredHub(Hub):
        settings = {"HUB_FILTERS": [Second]}

    with override_settings(SIGNALR={"HUB_FILTERS": [First]}):
        assert list(hub_settings(FilteredHub).HUB_FILTERS) == [First, Second]
        assert list(hub_settings(Hub).HUB_FILTERS) == [First]


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ({"KEEP_ALIVE": 3}, "unknown setting 'KEEP_ALIVE'; did you mean 'KEEP_ALIVE_INTERVAL'?"),
        ({"HISTORY": False}, "unknown setting 'HISTORY'"),
        ({"KEEP_ALIVE_INTERVAL": 0}, "KEEP_ALIVE_INTERVAL must be a number of seconds"),
    ],
)
def test_what_a_hub_may_not_set_is_said_with_its_name(own: dict[str, Any], problem: str) -> None:
    hub = type("MisconfiguredHub", (Hub,), {"settings": own})
    with pytest.raises(ImproperlyConfigured, match=r"^MisconfiguredHub\.settings: ") as caught:
        hub_settings(hub)
    assert problem in str(caught.value)


# Documentation


@pytest.mark.parametrize("setting", [*FIELDS.values(), *CLASSIC_FIELDS.values()], ids=lambda setting: setting.name)
def test_every_setting_says_what_it_is(setting: dataclasses.Field[Any]) -> None:
    assert setting.metadata["text"].endswith(".")
    if isinstance(setting.default, (int, float)) and not isinstance(setting.default, bool):
        assert setting.metadata["unit"]
        assert setting.metadata["minimum"] is not None
    assert not isinstance(setting.default, (list, dict, set))  # they would be shared
    assert not setting.metadata["hub"] or setting.name in HUB_SETTINGS
