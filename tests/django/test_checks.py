"""System checks: every id is provoked once, and is silent where all is well."""

from __future__ import annotations

import gc
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.test import override_settings

from signalr_channels import checks
from signalr_channels.checks import check_classic, check_deployment, check_environment, check_hubs, check_layer, check_settings
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.permissions import HubPermission, IsAuthenticated

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
HOSTS = ["redis://127.0.0.1:1/0"]


def layers(backend: str, **config: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": HOSTS, **config}}}


def codes(found: list[CheckMessage]) -> list[str]:
    return [message.id.removeprefix("signalr_channels.") for message in found if message.id]


def of(hub: type[Hub], found: list[CheckMessage]) -> list[CheckMessage]:
    """The messages about one hub; other tests have hubs of their own."""
    return [message for message in found if message.obj is hub]


@pytest.fixture(autouse=True)
def _hubs_of_other_tests_are_gone() -> None:
    gc.collect()


# Settings


@override_settings(SIGNALR={"KEEP_ALIVE_INTERVALL": 15, "HISTORY": None})
def test_e001_an_unknown_or_impossible_setting() -> None:
    found = check_settings()
    assert codes(found) == ["E001", "E001"]
    assert "unknown setting 'KEEP_ALIVE_INTERVALL'; did you mean 'KEEP_ALIVE_INTERVAL'?" in found[0].msg
    assert found[0].hint
    # The other checks leave it at that.
    assert codes(check_hubs()) == codes(check_layer()) == codes(check_deployment()) == []


@override_settings(SIGNALR=["KEEP_ALIVE_INTERVAL"])
def test_e001_settings_that_are_no_dict() -> None:
    (message,) = check_settings()
    assert codes([message]) == ["E001"]
    assert message.msg == "SIGNALR must be a dict, not list."
    assert codes(check_hubs()) == codes(check_layer()) == codes(check_deployment()) == []


@pytest.mark.parametrize(
    "values",
    [
        {"HUB_FILTERS": ["nowhere.Filter"]},
        {"HUB_FILTERS": ["nodots"]},
        {"HUB_FILTERS": [dict]},
        {"HUB_FILTERS": [HubFilter()]},
        {"DEFAULT_PERMISSION_CLASSES": ["signalr_channels.hubs.permissions.Nobody"]},
        {"DEFAULT_PERMISSION_CLASSES": [HubFilter]},
    ],
)
def test_e003_classes_that_cannot_be_loaded(values: dict[str, Any]) -> None:
    with override_settings(SIGNALR=values):
        assert codes(check_settings()) == ["E003"]


@override_settings(
    SIGNALR={
        "HUB_FILTERS": [HubFilter, "signalr_channels.hubs.filters.HubFilter"],
        "DEFAULT_PERMISSION_CLASSES": ["signalr_channels.hubs.permissions.IsStaff", IsAuthenticated],
    }
)
def test_classes_may_be_given_by_name_or_as_such() -> None:
    assert codes(check_settings()) == []


@pytest.mark.parametrize("prefix", ["", "my site", "Grüße", "x" * 41, "a:b", "a\n"])
def test_e005_a_key_prefix_that_is_no_name(prefix: str) -> None:
    with override_settings(SIGNALR={"KEY_PREFIX": prefix}):
        assert codes(check_settings()) == ["E005"]


@override_settings(SIGNALR={"PROCESS_HEARTBEAT_INTERVAL": 10, "PROCESS_LEASE": 15})
def test_w109_a_lease_shorter_than_two_heartbeats() -> None:
    assert codes(check_settings()) == ["W109"]


@override_settings(SIGNALR={"CLIENT_TIMEOUT_INTERVAL": 15})
def test_w110_a_timeout_that_no_client_can_keep() -> None:
    (message,) = check_settings()
    assert codes([message]) == ["W110"]
    assert "CLIENT_TIMEOUT_INTERVAL is 15 s, but clients ping every 15 s" in message.msg


# The classic generation


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"DISCONECT_TIMEOUT": 30}, "SIGNALR: CLASSIC: unknown setting 'DISCONECT_TIMEOUT'; did you mean 'DISCONNECT_TIMEOUT'?."),
        ({"DISCONNECT_TIMEOUT": 5}, "SIGNALR: CLASSIC: DISCONNECT_TIMEOUT must be at least six seconds, not 5."),
        (["ENABLE_JSONP"], "SIGNALR: CLASSIC must be a dict, not ['ENABLE_JSONP']."),
    ],
)
def test_e001_a_classic_setting_that_is_unknown_or_impossible(values: Any, text: str) -> None:
    with override_settings(SIGNALR={"CLASSIC": values}):
        (message,) = check_settings()
        assert codes([message]) == ["E001"]
        assert message.msg == text
        assert codes(check_classic()) == []


def test_w111_jsonp_outside_debug() -> None:
    with override_settings(SIGNALR={"CLASSIC": {"ENABLE_JSONP": True}}, DEBUG=False):
        assert codes(check_classic()) == ["W111"]
    with override_settings(SIGNALR={"CLASSIC": {"ENABLE_JSONP": True}}, DEBUG=True):
        assert codes(check_classic()) == []
    with override_settings(SIGNALR={}, DEBUG=False):
        assert codes(check_classic()) == []


def test_w112_tombstones_that_end_before_clients_give_up() -> None:
    with override_settings(SIGNALR={"CLASSIC": {"TOMBSTONE_TIME": 49}}):
        (message,) = check_classic()
        assert codes([message]) == ["W112"]
        assert "TOMBSTONE_TIME of 49 s, but clients try to come back for 50 s" in message.msg
    with override_settings(SIGNALR={"CLASSIC": {"TOMBSTONE_TIME": 50}}):
        assert codes(check_classic()) == []
    with override_settings(SIGNALR={"CLASSIC": {"DISCONNECT_TIMEOUT": 300}}):  # it grows along
        assert codes(check_classic()) == []


# Hubs


def test_e002_two_methods_with_one_wire_name() -> None:
    class TwiceHub(Hub):
        @hub_method
        async def send_message(self) -> None: ...

        @hub_method(name="SendMessage")
        async def other(self) -> None: ...

    (message,) = of(TwiceHub, check_hubs())
    assert codes([message]) == ["E002"]
    assert "sendmessage" in message.msg


def test_e002_an_annotation_that_cannot_be_read() -> None:
    class StrangeHub(Hub):
        @hub_method
        async def method(self, value: Path) -> None: ...

    assert codes(of(StrangeHub, check_hubs())) == ["E002"]


def test_e002_settings_of_a_hub_that_cannot_work() -> None:
    class WrongHub(Hub):
        settings = {"KEEP_ALIVE": 1}

    class SpeechlessHub(Hub):
        settings = {"HUB_PROTOCOLS": ["morse"]}

    class SilentHub(Hub):
        settings = {"HUB_PROTOCOLS": []}

    found = check_hubs()
    for hub, text in ((WrongHub, "did you mean"), (SpeechlessHub, "unknown 'morse'"), (SilentHub, "no supported protocols")):
        (message,) = of(hub, found)
        assert codes([message]) == ["E002"]
        assert text in message.msg


def test_e003_classes_of_a_hub_that_cannot_be_loaded() -> None:
    class GuardedHub(Hub):
        permission_classes = ["nowhere.IsNice"]

    class FilteredHub(Hub):
        settings = {"HUB_FILTERS": [HubPermission]}

    found = check_hubs()
    assert codes(of(GuardedHub, found)) == codes(of(FilteredHub, found)) == ["E003"]


def test_e006_two_hubs_with_one_name() -> None:
    first, second = (type("SameHub", (Hub,), {"__module__": "chat.hubs"}) for _ in range(2))
    found = check_hubs()
    assert codes([*of(first, found), *of(second, found)]) == ["E006"]
    (message,) = [*of(first, found), *of(second, found)]
    assert "chat.hubs.SameHub" in message.msg


def test_a_hub_with_two_bases_is_looked_at_once() -> None:
    left, right = (type(name, (Hub,), {"__module__": "chat.hubs"}) for name in ("LeftHub", "RightHub"))
    both = type("BothHub", (left, right), {"__module__": "chat.hubs"})
    wrong = type("WrongHub", (left, right), {"__module__": "chat.hubs", "settings": {"x": 1}})
    found = check_hubs()
    assert codes(of(both, found)) == []
    assert codes(of(wrong, found)) == ["E002"]


def test_a_hub_without_fault_is_silent() -> None:
    class FineHub(Hub):
        permission_classes = [IsAuthenticated]
        settings = {"HUB_FILTERS": [HubFilter]}

        @hub_method
        async def send(self, text: str) -> None: ...

    assert of(FineHub, check_hubs()) == []


# The channel layer


@override_settings(SIGNALR={"CHANNEL_LAYER": "hubs"})
def test_e004_a_channel_layer_that_is_not_there() -> None:
    (message,) = check_layer()
    assert codes([message]) == ["E004"]
    assert "'hubs'" in message.msg


@override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "nowhere.Layer"}})
def test_e004_a_channel_layer_that_cannot_be_made() -> None:
    assert codes(check_layer()) == ["E004"]


@pytest.mark.parametrize("configured", [{}, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}])
def test_w101_messages_that_stay_in_one_process(configured: dict[str, Any]) -> None:
    with override_settings(CHANNEL_LAYERS=configured, DEBUG=False):
        assert codes(check_layer()) == ["W101"]
    with override_settings(CHANNEL_LAYERS=configured, DEBUG=True):
        assert codes(check_layer()) == []


@pytest.mark.parametrize(
    ("backend", "hosts", "version", "expected"),
    [
        (CORE, HOSTS, (8, 0, 0), ["W102"]),
        (CORE, None, (8, 1), ["W102"]),
        (CORE, [{"address": HOSTS[0]}], (8, 0, 0), ["W102"]),
        (CORE, [{"address": HOSTS[0], "socket_timeout": 30}], (8, 0, 0), []),
        (CORE, HOSTS, (7, 4, 1), []),
        (PUBSUB, HOSTS, (8, 0, 0), []),
    ],
)
def test_w102_the_core_layer_on_redis_py_8(
    backend: str, hosts: Any, version: tuple[int, ...], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_version", lambda distribution: version if distribution == "redis" else ())
    config = {"capacity": 10_000, **({} if hosts is None else {"hosts": hosts})}
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": backend, "CONFIG": config}}):
        assert codes(check_layer()) == expected


def test_w103_a_capacity_that_is_too_small() -> None:
    with override_settings(CHANNEL_LAYERS=layers(CORE)):  # whose default is 100
        assert codes(check_layer()) == ["W103"]
    with override_settings(CHANNEL_LAYERS=layers(CORE, capacity=1000)):
        assert codes(check_layer()) == []
    with override_settings(CHANNEL_LAYERS=layers(PUBSUB)):  # which has none
        assert codes(check_layer()) == []


def test_w104_renewals_that_come_too_late() -> None:
    with override_settings(CHANNEL_LAYERS=layers(CORE, capacity=1000, group_expiry=600), SIGNALR={"GROUP_RENEWAL_INTERVAL": 301}):
        assert codes(check_layer()) == ["W104"]
    with override_settings(CHANNEL_LAYERS=layers(CORE, capacity=1000, group_expiry=600), SIGNALR={"GROUP_RENEWAL_INTERVAL": 300}):
        assert codes(check_layer()) == []
    with override_settings(CHANNEL_LAYERS=layers(CORE, capacity=1000, group_expiry=600)):
        assert codes(check_layer()) == []


# The environment


@pytest.mark.parametrize(("version", "expected"), [((4, 1, 0), ["W107"]), ((4, 2, 1), ["W107"]), ((4, 2, 2), []), ((5,), []), ((), [])])
def test_w107_a_daphne_with_known_vulnerabilities(version: tuple[int, ...], expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_version", lambda distribution: version if distribution == "daphne" else ())
    assert codes(check_environment()) == expected


@pytest.mark.parametrize(("age", "expected"), [(60, ["W108"]), (None, ["W108"]), (0, [])])
def test_w108_persistent_database_connections(age: int | None, expected: list[str], settings: Any) -> None:
    settings.DATABASES["default"] = {**settings.DATABASES["default"], "CONN_MAX_AGE": age}
    try:
        assert codes(check_environment()) == expected
    finally:
        settings.DATABASES["default"]["CONN_MAX_AGE"] = 0


def test_versions_are_read_as_numbers() -> None:
    assert checks._version("pytest")[0] >= 8
    assert checks._version("no-such-distribution") == ()


# Deployment


def test_w105_origins_that_let_every_page_in() -> None:
    with override_settings(SIGNALR={"ALLOWED_ORIGINS": ["https://example.com", "*"]}):
        assert codes(check_deployment()) == ["W105"]
    with override_settings(SIGNALR={"ALLOWED_ORIGINS": ["https://example.com"]}):
        assert codes(check_deployment()) == []


def test_w106_a_redirect_that_clients_do_not_follow() -> None:
    with override_settings(SECURE_SSL_REDIRECT=True, SECURE_PROXY_SSL_HEADER=None):
        assert codes(check_deployment()) == ["W106"]
    with override_settings(SECURE_SSL_REDIRECT=True, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        assert codes(check_deployment()) == []


# All together


def test_every_check_runs_with_manage_py_check() -> None:
    broken: dict[str, Any] = {
        "SIGNALR": {"ALLOWED_ORIGINS": ["*"], "CLIENT_TIMEOUT_INTERVAL": 1, "CLASSIC": {"ENABLE_JSONP": True}},
        "CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        "SECURE_SSL_REDIRECT": True,
        "DEBUG": False,
    }
    with override_settings(**broken):
        assert {"W101", "W110", "W111"} <= set(codes(run_checks(tags=["signalr"])))
        assert not {"W105", "W106"} & set(codes(run_checks(tags=[Tags.security])))
        assert {"W105", "W106"} <= set(codes(run_checks(tags=[Tags.security], include_deployment_checks=True)))


def test_every_id_is_provoked_here_and_has_a_row_in_the_module() -> None:
    documented = set(re.findall(r"^([EW]\d{3}) ", checks.__doc__ or "", re.MULTILINE))
    used = set(re.findall(r"signalr_channels\.([EW]\d{3})", Path(checks.__file__).read_text(encoding="utf-8")))
    provoked = {name[5:9].upper() for name in vars(sys.modules[__name__]) if re.match(r"test_[ew]\d{3}_", name)}
    assert documented == used == provoked
