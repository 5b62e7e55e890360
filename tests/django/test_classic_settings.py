"""The settings of the classic generation: a dict in the dict, checked together, overridden per mount."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from signalr_channels.conf import (
    CLASSIC_FIELDS,
    HUB_SETTINGS,
    ClassicSettings,
    classic_setting_problems,
    classic_settings,
    get_settings,
    hub_settings,
    setting_problems,
)
from signalr_channels.hubs.hub import Hub

TRANSPORTS = ("webSockets", "serverSentEvents", "foreverFrame", "longPolling")

# The reference's setting, ours, the default
MIRRORED: list[tuple[str, str, Any]] = [
    ("KeepAlive", "KEEP_ALIVE", 10),
    ("DisconnectTimeout", "DISCONNECT_TIMEOUT", 30),
    ("ConnectionTimeout", "CONNECTION_TIMEOUT", 110),
    ("TransportConnectTimeout", "TRANSPORT_CONNECT_TIMEOUT", 5),
    ("LongPollDelay", "LONG_POLL_DELAY", 0),
    ("DefaultMessageBufferSize", "MESSAGE_BUFFER_SIZE", 1000),
    ("MaxIncomingWebSocketMessageSize", "MAXIMUM_WEBSOCKET_MESSAGE_SIZE", 65_536),
    ("EnableJSONP", "ENABLE_JSONP", False),
    ("EnableJavaScriptProxies", "ENABLE_JAVASCRIPT_PROXIES", True),
    ("EnableDetailedErrors", "ENABLE_DETAILED_ERRORS", False),
]

OUR_OWN = {
    "MAXIMUM_FORM_SIZE": 4 * 1024 * 1024,
    "MAXIMUM_STATE_SIZE": 4096,
    "PARALLEL_INVOCATIONS": 64,
    "TRANSPORTS": TRANSPORTS,
    "CONNECTION_TOKEN_LIFETIME": None,
    "TOMBSTONE_TIME": 100,
}


def classic(**values: Any) -> override_settings:
    return override_settings(SIGNALR={"CLASSIC": values})


# Defaults


@pytest.mark.parametrize(("mirrors", "name", "default"), MIRRORED, ids=[row[0] for row in MIRRORED])
def test_a_setting_of_the_reference_and_its_default(mirrors: str, name: str, default: Any) -> None:
    assert CLASSIC_FIELDS[name].metadata["mirrors"] == mirrors
    with override_settings(SIGNALR={}):
        assert getattr(classic_settings(), name) == default


def test_there_are_no_other_settings() -> None:
    with override_settings(SIGNALR={}):
        assert classic_settings() == ClassicSettings()
    assert dataclasses.asdict(ClassicSettings()) == {name: default for _, name, default in MIRRORED} | OUR_OWN


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        classic_settings().KEEP_ALIVE = 1  # type: ignore[misc]


def test_the_defaults_have_no_problems() -> None:
    assert classic_setting_problems(dataclasses.asdict(ClassicSettings())) == []


# Names and values


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("KEEP_ALIVE_INTERVAL", 10, "unknown setting 'KEEP_ALIVE_INTERVAL' (did you mean 'KEEP_ALIVE'?)"),
        ("keepAlive", 10, "unknown setting 'keepAlive' (did you mean 'KEEP_ALIVE'?)"),
        ("HISTORY", True, "unknown setting 'HISTORY'"),
        (5, True, "unknown setting 5"),
        ("DISCONNECT_TIMEOUT", 5.9, "DISCONNECT_TIMEOUT must be at least six seconds, not 5.9"),
        ("DISCONNECT_TIMEOUT", float("-inf"), "DISCONNECT_TIMEOUT must be at least six seconds, not -inf"),
        ("DISCONNECT_TIMEOUT", None, "DISCONNECT_TIMEOUT may not be None"),
        ("DISCONNECT_TIMEOUT", "30", "DISCONNECT_TIMEOUT must be a number of seconds, at least 6, not '30'"),
        ("DISCONNECT_TIMEOUT", True, "DISCONNECT_TIMEOUT must be a number of seconds, at least 6, not True"),
        ("DISCONNECT_TIMEOUT", float("nan"), "DISCONNECT_TIMEOUT must be a number of seconds, at least 6, not nan"),
        ("KEEP_ALIVE", 1.9, "KEEP_ALIVE must be at least two seconds, not 1.9"),
        ("KEEP_ALIVE", 0, "KEEP_ALIVE must be at least two seconds, not 0"),
        ("CONNECTION_TIMEOUT", float("inf"), "CONNECTION_TIMEOUT must be a number of seconds, at least 0.1, not inf"),
        ("LONG_POLL_DELAY", -1, "LONG_POLL_DELAY must be a number of seconds, at least 0, not -1"),
        ("MESSAGE_BUFFER_SIZE", 31, "MESSAGE_BUFFER_SIZE must be a whole number of messages, at least 32, not 31"),
        ("MESSAGE_BUFFER_SIZE", -1, "MESSAGE_BUFFER_SIZE must be a whole number of messages, at least 32, not -1"),
        ("MAXIMUM_WEBSOCKET_MESSAGE_SIZE", 0, "MAXIMUM_WEBSOCKET_MESSAGE_SIZE must be a whole number of bytes, at least 1, not 0"),
        ("MAXIMUM_FORM_SIZE", None, "MAXIMUM_FORM_SIZE may not be None"),
        ("MAXIMUM_STATE_SIZE", 0.5, "MAXIMUM_STATE_SIZE must be a whole number of characters, at least 1, not 0.5"),
        ("PARALLEL_INVOCATIONS", 0, "PARALLEL_INVOCATIONS must be a whole number of calls, at least 1, not 0"),
        ("ENABLE_JSONP", "yes", "ENABLE_JSONP must be True or False, not 'yes'"),
        ("TRANSPORTS", "webSockets", "TRANSPORTS must be a list, not 'webSockets'"),
        ("TRANSPORTS", [], "TRANSPORTS must not be empty: clients choose from it, and none could connect"),
        (
            "TRANSPORTS",
            ["WebSockets"],
            "TRANSPORTS must be of 'webSockets', 'serverSentEvents', 'foreverFrame', 'longPolling', not 'WebSockets'",
        ),
        (
            "TRANSPORTS",
            [["webSockets"]],
            "TRANSPORTS must be of 'webSockets', 'serverSentEvents', 'foreverFrame', 'longPolling', not ['webSockets']",
        ),
    ],
)
def test_what_cannot_work_is_said_with_its_name_and_place(name: Any, value: Any, problem: str) -> None:
    values = {name: value}
    assert classic_setting_problems(values) == [(name, problem)]
    assert setting_problems({"CLASSIC": values}) == [("CLASSIC", f"CLASSIC: {problem}")]
    with override_settings(SIGNALR={"CLASSIC": values}):
        for read in (get_settings, classic_settings):
            with pytest.raises(ImproperlyConfigured) as caught:
                read()
            assert str(caught.value) == f"SIGNALR: CLASSIC: {problem}"
    with override_settings(SIGNALR={}):
        with pytest.raises(ImproperlyConfigured) as caught:
            classic_settings(values, source="map_classic_hubs('signalr')")
        assert str(caught.value) == f"map_classic_hubs('signalr'): {problem}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEEP_ALIVE", 2),
        ("KEEP_ALIVE", None),
        ("DISCONNECT_TIMEOUT", 6),
        ("CONNECTION_TIMEOUT", 8),
        ("LONG_POLL_DELAY", 0.25),
        ("MESSAGE_BUFFER_SIZE", 32),
        ("MAXIMUM_WEBSOCKET_MESSAGE_SIZE", None),
        ("TRANSPORTS", ["foreverFrame"]),
        ("CONNECTION_TOKEN_LIFETIME", 600),
        ("ENABLE_DETAILED_ERRORS", True),
        ("TOMBSTONE_TIME", 0),
    ],
)
def test_what_can_work_is_taken(name: str, value: Any) -> None:
    assert classic_setting_problems({name: value}) == []
    with classic(**{name: value}):
        assert getattr(classic_settings(), name) == value
    with override_settings(SIGNALR={}):
        assert getattr(classic_settings({name: value}), name) == value


def test_every_problem_is_told() -> None:
    assert len(classic_setting_problems({"x": 1, "KEEP_ALIVE": 0, "ENABLE_JSONP": None})) == 3
    assert len(setting_problems({"x": 1, "CLASSIC": {"x": 1, "KEEP_ALIVE": 0}})) == 3


@pytest.mark.parametrize(
    ("value", "problem"),
    [(None, "CLASSIC may not be None"), ([], "CLASSIC must be a dict, not []"), ("KEEP_ALIVE", "CLASSIC must be a dict, not 'KEEP_ALIVE'")],
)
def test_it_must_be_a_dict(value: Any, problem: str) -> None:
    assert setting_problems({"CLASSIC": value}) == [("CLASSIC", problem)]


def test_names_mean_something_else_outside() -> None:
    with override_settings(SIGNALR={"DISCONNECT_TIMEOUT": 1, "ENABLE_DETAILED_ERRORS": True, "CLASSIC": {"DISCONNECT_TIMEOUT": 60}}):
        assert (get_settings().DISCONNECT_TIMEOUT, classic_settings().DISCONNECT_TIMEOUT) == (1, 60)
        assert not classic_settings().ENABLE_DETAILED_ERRORS


def test_a_hub_cannot_set_them_as_it_does_not_know_its_mount() -> None:
    class OwnHub(Hub):
        settings = {"CLASSIC": {"KEEP_ALIVE": 3}}

    assert "CLASSIC" not in HUB_SETTINGS
    with pytest.raises(ImproperlyConfigured, match="unknown setting 'CLASSIC'"):
        hub_settings(OwnHub)


# KEEP_ALIVE and DISCONNECT_TIMEOUT


@pytest.mark.parametrize(
    ("values", "keep_alive", "timeout"),
    [
        ({}, 10, 20),
        ({"DISCONNECT_TIMEOUT": 6}, 2, 4),
        ({"DISCONNECT_TIMEOUT": 10}, 10 / 3, 20 / 3),
        ({"DISCONNECT_TIMEOUT": 60}, 20, 40),
        ({"DISCONNECT_TIMEOUT": 60, "KEEP_ALIVE": 20}, 20, 40),
        ({"KEEP_ALIVE": 20, "DISCONNECT_TIMEOUT": 60}, 20, 40),
        ({"DISCONNECT_TIMEOUT": 60, "KEEP_ALIVE": 5}, 5, 10),
        ({"KEEP_ALIVE": 5}, 5, 10),
        ({"KEEP_ALIVE": None}, None, None),
        ({"DISCONNECT_TIMEOUT": 60, "KEEP_ALIVE": None}, None, None),
    ],
)
def test_a_timeout_alone_sets_the_keep_alive_to_a_third(values: dict[str, Any], keep_alive: float | None, timeout: float | None) -> None:
    with classic(**values):
        settings = classic_settings()
    found = (settings.KEEP_ALIVE, settings.keep_alive_timeout, settings.DISCONNECT_TIMEOUT)
    assert found == pytest.approx((keep_alive, timeout, values.get("DISCONNECT_TIMEOUT", 30)))


@pytest.mark.parametrize("timeout", [6, 7, 7.7, 10, 20, 31, 100 / 3, 1e6])
def test_the_keep_alive_that_is_worked_out_may_be_written_out(timeout: float) -> None:
    with classic(DISCONNECT_TIMEOUT=timeout):
        keep_alive = classic_settings().KEEP_ALIVE
    assert classic_setting_problems({"DISCONNECT_TIMEOUT": timeout, "KEEP_ALIVE": keep_alive}) == []


@pytest.mark.parametrize(
    ("site", "mount", "text"),
    [
        ({"KEEP_ALIVE": 10.5}, {}, "SIGNALR: CLASSIC: {}: 10.5 is more than a third of 30 (the default)"),
        ({"KEEP_ALIVE": 5, "DISCONNECT_TIMEOUT": 12}, {}, "SIGNALR: CLASSIC: {}: 5 is more than a third of 12"),
        ({"DISCONNECT_TIMEOUT": 12, "KEEP_ALIVE": 5}, {}, "SIGNALR: CLASSIC: {}: 5 is more than a third of 12"),
        ({}, {"KEEP_ALIVE": 11}, "a mount: {}: 11 is more than a third of 30 (the default)"),
        ({"DISCONNECT_TIMEOUT": 12}, {"KEEP_ALIVE": 5}, "a mount: {}: 5 is more than a third of 12 (in SIGNALR['CLASSIC'])"),
        ({"KEEP_ALIVE": 10}, {"DISCONNECT_TIMEOUT": 12}, "a mount: {}: 10 (in SIGNALR['CLASSIC']) is more than a third of 12"),
        ({"KEEP_ALIVE": 10}, {"DISCONNECT_TIMEOUT": 12, "KEEP_ALIVE": 5}, "a mount: {}: 5 is more than a third of 12"),
    ],
)
def test_a_keep_alive_of_more_than_a_third_is_said_with_both_values(site: dict[str, Any], mount: dict[str, Any], text: str) -> None:
    with classic(**site), pytest.raises(ImproperlyConfigured) as caught:
        classic_settings(mount, source="a mount")
    assert str(caught.value) == text.format("KEEP_ALIVE must be no more than a third of DISCONNECT_TIMEOUT")


def test_one_that_is_wrong_by_itself_is_not_compared() -> None:
    assert [name for name, _ in classic_setting_problems({"KEEP_ALIVE": 15, "DISCONNECT_TIMEOUT": 5})] == ["DISCONNECT_TIMEOUT"]
    assert [name for name, _ in classic_setting_problems({"KEEP_ALIVE": "x", "DISCONNECT_TIMEOUT": 6})] == ["KEEP_ALIVE"]


@pytest.mark.parametrize(
    ("values", "window", "tombstone"),
    [
        ({}, 50, 100),
        ({"DISCONNECT_TIMEOUT": 6}, 10, 100),
        ({"DISCONNECT_TIMEOUT": 60}, 100, 200),
        ({"DISCONNECT_TIMEOUT": 60, "KEEP_ALIVE": None}, 60, 120),
        ({"DISCONNECT_TIMEOUT": 60, "TOMBSTONE_TIME": 70}, 100, 70),
    ],
)
def test_tombstones_outlast_the_clients_that_come_back(values: dict[str, Any], window: float, tombstone: float) -> None:
    with classic(**values):
        settings = classic_settings()
    assert (settings.reconnect_window, settings.TOMBSTONE_TIME) == (window, tombstone)


# Mounts


def test_a_mount_has_the_settings_of_the_site_with_its_own_on_top() -> None:
    with classic(KEEP_ALIVE=4, LONG_POLL_DELAY=1, ENABLE_JSONP=True):
        assert classic_settings({}) == classic_settings(None) == classic_settings()
        mount = classic_settings({"DISCONNECT_TIMEOUT": 15, "ENABLE_JSONP": False})
    assert (mount.KEEP_ALIVE, mount.DISCONNECT_TIMEOUT, mount.LONG_POLL_DELAY, mount.ENABLE_JSONP) == (4, 15, 1, False)


def test_a_timeout_of_the_site_counts_for_the_keep_alive_of_a_mount() -> None:
    with classic(DISCONNECT_TIMEOUT=60):
        assert classic_settings({"KEEP_ALIVE": 20}).KEEP_ALIVE == 20
        assert classic_settings({"LONG_POLL_DELAY": 1}).KEEP_ALIVE == 20
        assert classic_settings({"DISCONNECT_TIMEOUT": 30}).KEEP_ALIVE == 10


@pytest.mark.parametrize("overrides", [None, {}, {"KEEP_ALIVE": 3}, {"TRANSPORTS": ["longPolling"]}, {"TRANSPORTS": {"longPolling"}}])
def test_they_are_worked_out_once_for_each_mount(overrides: dict[str, Any] | None) -> None:
    assert classic_settings(overrides) is classic_settings(None if overrides is None else dict(overrides))


def test_a_value_that_equals_a_right_one_is_still_looked_at() -> None:
    with override_settings(SIGNALR={}):
        assert classic_settings({"ENABLE_JSONP": True}).ENABLE_JSONP
        assert classic_settings({"PARALLEL_INVOCATIONS": 1}).PARALLEL_INVOCATIONS == 1
        with pytest.raises(ImproperlyConfigured):
            classic_settings({"ENABLE_JSONP": 1})
        with pytest.raises(ImproperlyConfigured):
            classic_settings({"PARALLEL_INVOCATIONS": True})


def test_an_override_is_in_force_at_once_and_forgotten_afterwards() -> None:
    own = {"LONG_POLL_DELAY": 1}
    before = classic_settings(), classic_settings(own)
    with classic(KEEP_ALIVE=3):
        assert classic_settings().KEEP_ALIVE == classic_settings(own).KEEP_ALIVE == 3
        with classic(KEEP_ALIVE=4):
            assert classic_settings().KEEP_ALIVE == classic_settings(own).KEEP_ALIVE == 4
        assert classic_settings().KEEP_ALIVE == classic_settings(own).KEEP_ALIVE == 3
    assert (classic_settings(), classic_settings(own)) == before
