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
        ("KEEP_ALIVE_INTERVALL", 3, "unknown setting 'KEEP_ALIVE_INTERVALL' (did you mean 'KEEP_ALIVE_INTERVAL'?)"),
        ("keep_alive_interval", 3, "unknown setting 'keep_alive_interval' (did you mean 'KEEP_ALIVE_INTERVAL'?)"),
        ("keepAliveInterval", 3, "unknown setting 'keepAliveInterval' (did you mean 'KEEP_ALIVE_INTERVAL'?)"),
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
        ("ACCESS_TOKEN_IN_QUERY", True, "ACCESS_TOKEN_IN_QUERY must be a text, not True"),
        ("KEY_PREFIX", 5, "KEY_PREFIX must be a text, not 5"),
        ("TRANSPORTS", [], "TRANSPORTS must not be empty: clients choose from it, and none could connect"),
        ("HUB_PROTOCOLS", (), "HUB_PROTOCOLS must not be empty: clients choose from it, and none could connect"),
        ("HUB_PROTOCOLS", ["morse"], "HUB_PROTOCOLS must be of 'json', 'messagepack', not 'morse'"),
        ("USER_IDENTIFIER", 5, "USER_IDENTIFIER must be a callable or its dotted name, not 5"),
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
        ("ALLOWED_ORIGINS", []),
        ("HUB_PROTOCOLS", {"json"}),
        ("TRANSPORTS", ("longPolling",)),
        ("USER_IDENTIFIER", len),
        ("SYNC_THREADS", 0),
    ],
)
def test_what_can_work_is_taken(name: str, value: Any) -> None:
    assert setting_problems({name: value}) == []
    with override_settings(SIGNALR={name: value}):
        assert getattr(get_settings(), name) == value


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://app.example.com",
        "http://localhost:3000",
        "https://xn--bcher-kva.example",
        "http://127.0.0.1:443",
        "http://[::1]:8000",
        "http://under_score",
        "file://",
        "capacitor://localhost",
        "app://Some.Name",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ],
)
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    assert setting_problems({"ALLOWED_ORIGINS": [origin]}) == []


@pytest.mark.parametrize(
    ("origin", "meant"),
    [
        ("a.example", "https://a.example"),
        ("a.example:8443", "https://a.example:8443"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example/chat?x=1", "https://a.example"),
        ("HTTPS://A.Example", "https://a.example"),
        (" https://a.example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("ws://a.example:8000", "http://a.example:8000"),
        ("wss://a.example", "https://a.example"),
        ("*.example.com", None),
        ("https://*.example.com", None),
        ("https://", None),
        ("https://a.example:port", None),
        ("https://a.example:0443", None),
        ("https://user@a.example", None),
        ("https://b\xfccher.example", None),
        ("", None),
        (5, None),
    ],
)
def test_an_origin_that_would_never_match_is_told_with_what_is_meant(origin: Any, meant: str | None) -> None:
    ((name, text),) = setting_problems({"ALLOWED_ORIGINS": ["https://app.example.com", origin]})
    assert name == "ALLOWED_ORIGINS"
    hint = "" if meant is None else f" (did you mean {meant!r}?)"
    examples = "'https://app.example.com' or 'http://localhost:3000'"
    assert text == f"ALLOWED_ORIGINS must be of '*' and origins as browsers send them, such as {examples}, not {origin!r}{hint}"


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
        ({"KEEP_ALIVE": 3}, "unknown setting 'KEEP_ALIVE' (did you mean 'KEEP_ALIVE_INTERVAL'?)"),
        ({"HISTORY": False}, "unknown setting 'HISTORY'"),
        ({"KEEP_ALIVE_INTERVAL": 0}, "KEEP_ALIVE_INTERVAL must be a number of seconds"),
    ],
)
def test_what_a_hub_may_not_set_is_said_with_its_name(own: dict[str, Any], problem: str) -> None:
    hub = type("MisconfiguredHub", (Hub,), {"settings": own})
    with pytest.raises(ImproperlyConfigured, match=r"^MisconfiguredHub\.settings: ") as caught:
        hub_settings(hub)
    assert problem in str(caught.value)


def test_settings_of_a_hub_that_are_no_dict() -> None:
    hub = type("ListHub", (Hub,), {"settings": ["KEEP_ALIVE_INTERVAL"]})
    with pytest.raises(ImproperlyConfigured, match=r"^ListHub\.settings must be a dict, not \['KEEP_ALIVE_INTERVAL'\]\.$"):
        hub_settings(hub)


# Documentation


@pytest.mark.parametrize("setting", [*FIELDS.values(), *CLASSIC_FIELDS.values()], ids=lambda setting: setting.name)
def test_every_setting_says_what_it_is(setting: dataclasses.Field[Any]) -> None:
    assert setting.metadata["text"].endswith(".")
    if isinstance(setting.default, (int, float)) and not isinstance(setting.default, bool):
        assert setting.metadata["unit"]
        assert setting.metadata["minimum"] is not None
    assert not isinstance(setting.default, (list, dict, set))  # they would be shared
    assert not setting.metadata["hub"] or setting.name in HUB_SETTINGS
