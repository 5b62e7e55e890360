"""System checks: every id is provoked once, and is silent where all is well."""

from __future__ import annotations

import abc
import gc
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import get_commands
from django.core.management.commands.runserver import Command as WsgiRunserver
from django.test import override_settings

from signalr_channels import checks
from signalr_channels.checks import (
    check_classic,
    check_deployment,
    check_environment,
    check_hubs,
    check_layer,
    check_server,
    check_settings,
    deployment,
    versions,
)
from signalr_channels.checks import layers as layer_checks
from signalr_channels.hubs.connection_handler import ConnectionHandler, RawConnection
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.permissions import HubPermission, IsAuthenticated
from signalr_channels.hubs.persistent_connection import PersistentConnection

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
HOSTS = ["redis://127.0.0.1:1/0"]


def layers(backend: str, **config: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": HOSTS, **config}}}


def codes(found: list[CheckMessage]) -> list[str]:
    return [message.id.removeprefix("signalr_channels.") for message in found if message.id]


def of(hub: type, found: list[CheckMessage]) -> list[CheckMessage]:
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
    assert found[0].msg == "SIGNALR: unknown setting 'KEEP_ALIVE_INTERVALL' (did you mean 'KEEP_ALIVE_INTERVAL'?)."
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
    ("values", "text"),
    [
        ({"HUB_FILTERS": ["nowhere.Filter"]}, "HUB_FILTERS: cannot import 'nowhere.Filter': No module named 'nowhere'."),
        ({"HUB_FILTERS": ["nodots"]}, "HUB_FILTERS: 'nodots' is no dotted name."),
        ({"HUB_FILTERS": [dict]}, "HUB_FILTERS: <class 'dict'> is no subclass of HubFilter."),
        ({"HUB_FILTERS": [HubFilter()]}, "is no subclass of HubFilter."),
        (
            {"DEFAULT_PERMISSION_CLASSES": ["signalr_channels.hubs.permissions.Nobody"]},
            "'signalr_channels.hubs.permissions.Nobody': module 'signalr_channels.hubs.permissions' has no attribute 'Nobody'.",
        ),
        ({"DEFAULT_PERMISSION_CLASSES": [HubFilter]}, "is no subclass of HubPermission."),
        ({"USER_IDENTIFIER": "nope.f"}, "USER_IDENTIFIER: cannot import 'nope.f': No module named 'nope'."),
        ({"USER_IDENTIFIER": "sys.path"}, "USER_IDENTIFIER: 'sys.path' cannot be called."),
    ],
)
def test_e003_classes_and_functions_that_cannot_be_loaded(values: dict[str, Any], text: str) -> None:
    with override_settings(SIGNALR=values):
        (message,) = check_settings()
    assert codes([message]) == ["E003"]
    assert message.msg.startswith(f"SIGNALR: {next(iter(values))}: ")
    assert text in message.msg


@override_settings(SIGNALR={"HUB_FILTERS": ["nowhere.Filter"], "USER_IDENTIFIER": "nowhere.name"})
def test_everything_that_cannot_be_loaded_is_told_once() -> None:
    class OwnHub(Hub):
        settings = {"HUB_FILTERS": [HubFilter]}

    assert codes(check_settings()) == ["E003", "E003"]
    assert of(OwnHub, check_hubs()) == []


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


def test_e007_a_database_that_is_not_there() -> None:
    with override_settings(SIGNALR={"DATABASE": "history"}):
        (message,) = check_settings()
        assert codes([message]) == ["E007"]
        assert message.msg == "DATABASE is 'history', which is not in DATABASES."
        assert message.hint
    with override_settings(SIGNALR={"DATABASE": "default"}):
        assert codes(check_settings()) == []


@override_settings(SIGNALR={"PROCESS_HEARTBEAT_INTERVAL": 10, "PROCESS_LEASE": 15})
def test_w109_a_lease_shorter_than_two_heartbeats() -> None:
    assert codes(check_settings()) == ["W109"]


@override_settings(SIGNALR={"CLIENT_TIMEOUT_INTERVAL": 15})
def test_w110_a_timeout_that_no_client_can_keep() -> None:
    (message,) = check_settings()
    assert codes([message]) == ["W110"]
    assert "CLIENT_TIMEOUT_INTERVAL is 15 s, but clients ping every 15 s" in message.msg


@pytest.mark.parametrize(("interval", "expected"), [(15, []), (15.5, ["W114"]), (60, ["W114"])])
def test_w114_a_keep_alive_that_clients_do_not_wait_for(interval: float, expected: list[str]) -> None:
    with override_settings(SIGNALR={"KEEP_ALIVE_INTERVAL": interval}):
        found = check_settings()
    assert codes(found) == expected
    for message in found:
        assert message.msg == f"KEEP_ALIVE_INTERVAL is {interval:g} s, but clients give up after 30 s without a message."
        assert "serverTimeoutInMilliseconds" in (message.hint or "")


@override_settings(SIGNALR={"KEEP_ALIVE_INTERVAL": 60})
def test_times_of_a_hub_are_looked_at_where_they_are_its_own() -> None:
    class HastyHub(Hub):
        settings = {"CLIENT_TIMEOUT_INTERVAL": 10}

    class SlowHub(Hub):
        settings = {"KEEP_ALIVE_INTERVAL": 45}

    class InheritingHub(Hub): ...

    found = check_hubs()
    assert codes(of(HastyHub, found)) == ["W110"]
    (message,) = of(SlowHub, found)
    assert codes([message]) == ["W114"]
    assert message.msg.endswith("SlowHub.settings: KEEP_ALIVE_INTERVAL is 45 s, but clients give up after 30 s without a message.")
    assert of(InheritingHub, found) == []


# The classic generation


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"DISCONECT_TIMEOUT": 30}, "SIGNALR: CLASSIC: unknown setting 'DISCONECT_TIMEOUT' (did you mean 'DISCONNECT_TIMEOUT'?)."),
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
    for hub, text in ((WrongHub, "did you mean"), (SpeechlessHub, "not 'morse'"), (SilentHub, "must not be empty")):
        (message,) = of(hub, found)
        assert codes([message]) == ["E002"]
        assert text in message.msg


def test_e002_a_hub_that_cannot_be_made_or_called() -> None:
    class NeedyHub(Hub):
        def __init__(self, room: str) -> None: ...

    class LeavingHub(Hub):
        async def on_disconnected(self) -> None: ...  # type: ignore[override]

    class SelflessHub(Hub):
        @hub_method
        async def send() -> None: ...  # type: ignore[misc]

    class NeedyConnection(PersistentConnection):
        def __init__(self) -> None: ...

    class DeafConnection(PersistentConnection):
        async def on_received(self) -> None: ...  # type: ignore[override]

    class DeafHandler(ConnectionHandler):
        async def on_connected(self) -> None: ...  # type: ignore[override]

    found = check_hubs()
    for cls, text in (
        (NeedyHub, ".__init__: instances are made with no arguments"),
        (LeavingHub, "write async def on_disconnected(self, disconnect)."),
        (SelflessHub, "SelflessHub.send: its first parameter has to be self."),
        (NeedyConnection, "write def __init__(self, context, reach)."),
        (DeafConnection, "write async def on_received(self, data)."),
        (DeafHandler, "write async def on_connected(self, connection)."),
    ):
        (message,) = of(cls, found)
        assert codes([message]) == ["E002"]
        assert cls.__qualname__ in message.msg
        assert text in message.msg


def test_a_class_that_others_derive_from_may_need_arguments() -> None:
    class RoomHub(Hub):
        def __init__(self, room: str) -> None:
            self.room = room

    class LobbyHub(RoomHub):
        def __init__(self) -> None:
            super().__init__("lobby")

    class AbstractHub(Hub, abc.ABC):
        def __init__(self, room: str) -> None: ...

        @abc.abstractmethod
        def room(self) -> str: ...

    found = check_hubs()
    assert of(RoomHub, found) == of(LobbyHub, found) == of(AbstractHub, found) == []


def test_e003_classes_of_a_hub_that_cannot_be_loaded() -> None:
    class GuardedHub(Hub):
        permission_classes = ["nowhere.IsNice"]

    class BareHub(Hub):
        permission_classes = IsAuthenticated  # type: ignore[assignment]

    class FilteredHub(Hub):
        settings = {"HUB_FILTERS": [HubPermission]}

    class NamingHub(Hub):
        settings = {"USER_IDENTIFIER": "nowhere.name"}

    class MethodHub(Hub):
        @hub_method(permission_classes=["nowhere.IsNice"])
        async def send(self) -> None: ...

    class GuardedConnection(PersistentConnection):
        permission_classes = ["nowhere.IsNice"]

    found = check_hubs()
    nice = "cannot import 'nowhere.IsNice': No module named 'nowhere'."
    for cls, text in (
        (GuardedHub, f"GuardedHub.permission_classes: {nice}"),
        (BareHub, "BareHub.permission_classes must be a list, not "),
        (FilteredHub, "FilteredHub.settings: HUB_FILTERS: "),
        (NamingHub, "NamingHub.settings: USER_IDENTIFIER: cannot import 'nowhere.name'"),
        (MethodHub, f"MethodHub.send: permission_classes: {nice}"),
        (GuardedConnection, f"GuardedConnection.permission_classes: {nice}"),
    ):
        (message,) = of(cls, found)
        assert codes([message]) == ["E003"]
        assert text in message.msg


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
        settings = {"HUB_FILTERS": [HubFilter], "USER_IDENTIFIER": "builtins.str"}

        @hub_method(permission_classes=["signalr_channels.hubs.permissions.IsStaff"])
        async def send(self, text: str) -> None: ...

        def on_disconnected(self, why: Any, more: str = "") -> Any: ...

    class FineHandler(ConnectionHandler):
        async def on_connected(self, connection: RawConnection) -> None: ...

    found = check_hubs()
    assert of(FineHub, found) == of(FineHandler, found) == []


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
    monkeypatch.setattr(layer_checks, "version_of", lambda distribution: version if distribution == "redis" else ())
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
    monkeypatch.setattr(deployment, "version_of", lambda distribution: version if distribution == "daphne" else ())
    assert codes(check_environment()) == expected


@pytest.mark.parametrize(("age", "expected"), [(60, ["W108"]), (None, ["W108"]), (0, [])])
def test_w108_persistent_database_connections(age: int | None, expected: list[str], settings: Any) -> None:
    settings.DATABASES["default"] = {**settings.DATABASES["default"], "CONN_MAX_AGE": age}
    try:
        assert codes(check_environment()) == expected
    finally:
        settings.DATABASES["default"]["CONN_MAX_AGE"] = 0


def test_versions_are_read_as_numbers() -> None:
    assert versions.version_of("pytest")[0] >= 8
    assert versions.version_of("no-such-distribution") == ()


# The server of a newcomer


@pytest.fixture
def apps() -> Iterator[Callable[[list[str]], override_settings]]:
    """Other ``INSTALLED_APPS``: Django remembers where its commands are."""

    def install(names: list[str]) -> override_settings:
        get_commands.cache_clear()  # type: ignore[attr-defined]
        return override_settings(
            INSTALLED_APPS=[*names, "django.contrib.auth", "django.contrib.contenttypes", "signalr_channels"], DEBUG=True
        )

    yield install
    get_commands.cache_clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["W113"]),
        (["django.contrib.staticfiles"], ["W113"]),
        (["django.contrib.staticfiles", "daphne"], ["W113"]),  # the first one counts
        (["daphne"], []),
        (["daphne", "django.contrib.staticfiles"], []),
    ],
)
def test_w113_a_runserver_without_hubs(names: list[str], expected: list[str], apps: Any) -> None:
    with apps(names):
        found = check_server()
        assert codes(found) == expected
        assert all("'daphne' first in INSTALLED_APPS" in (message.hint or "") for message in found)
        with override_settings(DEBUG=False):
            assert check_server() == []


def test_another_server_may_bring_a_runserver_of_its_own(apps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherRunserver(WsgiRunserver):
        def inner_run(self, *args: Any, **options: Any) -> None: ...

    with apps([]):
        get_commands()
        monkeypatch.setattr(deployment, "load_command_class", lambda app, name: OtherRunserver())
        assert check_server() == []


@pytest.mark.parametrize("urls", ["shop.urls", ""])
def test_w113_no_asgi_application(urls: str, apps: Any) -> None:
    with apps(["daphne"]), override_settings(ASGI_APPLICATION=None, ROOT_URLCONF=urls):
        (message,) = check_server()
    assert codes([message]) == ["W113"]
    assert message.msg.startswith("ASGI_APPLICATION is not set")
    assert f"'{urls.partition('.')[0] or 'mysite'}.asgi.application'" in (message.hint or "")


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
    sources = [path.read_text(encoding="utf-8") for path in Path(checks.__file__).parent.glob("*.py")]
    used = set(re.findall(r"signalr_channels\.([EW]\d{3})", "".join(sources)))
    provoked = {name[5:9].upper() for name in vars(sys.modules[__name__]) if re.match(r"test_[ew]\d{3}_", name)}
    assert documented == used == provoked
