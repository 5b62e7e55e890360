"""Hubs mapped for classic clients: names, settings, what can be called, and who may come in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import override_settings

from signalr_channels.classic_mounts import ClassicMount, callable_methods
from signalr_channels.classic_tokens import new_classic_token, read_classic_token
from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.gate import Refusal
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.permissions import HubPermission, IsAuthenticated, PermissionRequest
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.hubs.progress import Progress
from signalr_channels.protocols.classic.requests import ClassicTransport, ConnectionDataError
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.routing import map_classic_hubs, map_persistent_connection

ADA = SimpleNamespace(pk=7, is_authenticated=True, is_staff=False)
NOBODY = AnonymousUser()


class ChatHub(Hub):
    classic_name = "Chat"

    @hub_method
    async def send_message(self, room: str, text: str) -> None: ...

    @hub_method(name="Loud")
    def shout(self, text: str, progress: Progress[int]) -> None: ...

    @hub_method
    async def stream(self) -> AsyncIterator[int]:
        yield 1

    @hub_method
    async def upload(self, items: AsyncIterator[int]) -> None: ...


class NewsHub(Hub):
    """Known by the name of its class."""


class MembersHub(Hub):
    permission_classes = [IsAuthenticated]


class Echo(PersistentConnection):
    pass


class MembersEcho(PersistentConnection):
    permission_classes = [IsAuthenticated]


def http_scope(user: Any = NOBODY, **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/signalr/negotiate",
        "query_string": b"",
        "headers": [(b"host", b"example.com"), *((name.encode(), value.encode()) for name, value in headers.items())],
        "scheme": "https",
        "user": user,
    }


# Mapping


def test_hubs_are_found_by_their_names_in_any_letter_case() -> None:
    mount = map_classic_hubs("/signalr/", [ChatHub, NewsHub])
    assert mount.path == "signalr"
    assert mount.handler is None
    assert mount.hubs == {"chat": ChatHub, "newshub": NewsHub}
    assert mount.resolve(["NEWSHUB", "chat"]) == ("newshub", "chat")
    assert mount.resolve([]) == ()
    for name in ("ChatHub", "news", "", "chat "):
        with pytest.raises(ConnectionDataError, match=f"^.*'{name}' Hub could not be resolved"):
            mount.resolve(["chat", name])


def test_a_persistent_connection_is_mapped_without_hubs() -> None:
    mount = map_persistent_connection("raw", Echo)
    assert mount.handler is Echo
    assert mount.hubs == {}
    assert mount.hub_name == mount.hub_names(["whatever"]) == f"{__name__}.Echo"


@pytest.mark.parametrize("hub", [ChatHub(), "ChatHub", dict, Echo])
def test_only_hub_classes_can_be_mapped(hub: Any) -> None:
    with pytest.raises(TypeError, match=r"^map_classic_hubs\(\) takes a list of hub classes, not "):
        map_classic_hubs("signalr", [hub])


@pytest.mark.parametrize("handler", [Echo, ChatHub])
def test_a_list_is_asked_for(handler: Any) -> None:
    with pytest.raises(TypeError):
        map_classic_hubs("signalr", handler)


@pytest.mark.parametrize("handler", [ChatHub, "Echo", None])
def test_only_a_persistent_connection_can_be_mapped(handler: Any) -> None:
    with pytest.raises(TypeError, match=r"^map_persistent_connection\(\) takes a PersistentConnection class, not "):
        map_persistent_connection("raw", handler)


def test_two_hubs_may_not_share_a_name_whatever_its_letter_case() -> None:
    class OtherHub(Hub):
        classic_name = "CHAT"

    with pytest.raises(HubDefinitionError, match=r"two hubs must not share the name 'CHAT': ChatHub and .*OtherHub") as caught:
        map_classic_hubs("signalr", [ChatHub, OtherHub])
    assert "map_classic_hubs('signalr')" in str(caught.value)
    assert "classic_name" in str(caught.value)
    with pytest.raises(HubDefinitionError, match="must not share"):
        map_classic_hubs("signalr", [ChatHub, ChatHub])


def test_a_name_has_no_dot() -> None:
    class DottedHub(Hub):
        classic_name = "chat.rooms"

    with pytest.raises(HubDefinitionError, match=r"the hub name 'chat\.rooms' is invalid; it may not contain a dot"):
        map_classic_hubs("signalr", [DottedHub])


def test_a_mount_has_hubs() -> None:
    with pytest.raises(HubDefinitionError, match="there are no hubs"):
        map_classic_hubs("signalr", [])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"KEEP_ALIV": 5}, "did you mean 'KEEP_ALIVE'?"),
        ({"KEEP_ALIVE": 1}, "must be at least two seconds"),
        ({"DISCONNECT_TIMEOUT": 5}, "must be at least six seconds"),
        ({"TRANSPORTS": ["carrierPigeon"]}, "carrierPigeon"),
        ({"MESSAGE_BUFFER_SIZE": 31}, "MESSAGE_BUFFER_SIZE"),
    ],
)
def test_a_wrong_setting_is_told_when_it_is_mapped(settings: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(HubDefinitionError, match=r"map_classic_hubs\('signalr'\)") as caught:
        map_classic_hubs("signalr", [ChatHub], **settings)
    assert problem in str(caught.value)
    with pytest.raises(HubDefinitionError, match=r"map_persistent_connection\('raw'\)"):
        map_persistent_connection("raw", Echo, **settings)


def test_settings_of_a_mount_lie_over_those_of_the_site_which_may_change() -> None:
    mount = map_classic_hubs(
        "signalr", [ChatHub], CONNECTION_TIMEOUT=50, TRANSPORTS=["longPolling", "webSockets"], ENABLE_DETAILED_ERRORS=True
    )
    with override_settings(SIGNALR={"CLASSIC": {"CONNECTION_TIMEOUT": 60, "LONG_POLL_DELAY": 1}}):
        assert (mount.options.CONNECTION_TIMEOUT, mount.options.LONG_POLL_DELAY) == (50, 1)
        assert mount.options is mount.options
    assert mount.options.LONG_POLL_DELAY == 0
    assert mount.transports == {ClassicTransport.LONG_POLLING, ClassicTransport.WEB_SOCKETS}
    assert mount.is_debugging


def test_two_mounts_of_the_same_hubs_have_settings_of_their_own() -> None:
    mounts = [map_classic_hubs(path, [ChatHub], CONNECTION_TIMEOUT=number) for path, number in (("a", 20), ("b", 40))]
    assert [mount.options.CONNECTION_TIMEOUT for mount in mounts] == [20, 40]
    assert [mount.options.CONNECTION_TIMEOUT for mount in mounts] == [20, 40]


def test_the_history_has_room_for_the_names_of_many_hubs() -> None:
    hubs = [type(f"VeryLongNameOfHubNumber{number}", (Hub,), {}) for number in range(20)]
    mount = map_classic_hubs("signalr", hubs)
    assert mount.hub_names([]) == ""
    assert mount.hub_names(["verylongnameofhubnumber3"]) == f"{__name__}.VeryLongNameOfHubNumber3"
    assert len(mount.hub_name) == len(mount.hub_names(list(mount.hubs))) == 200


# What can be called


def test_streaming_methods_cannot_be_called_by_classic_clients() -> None:
    assert set(callable_methods(ChatHub)) == {"send_message", "sendmessage", "loud"}


def test_the_script_has_one_function_for_each_method_that_can_be_called() -> None:
    mount = map_classic_hubs("signalr", [ChatHub, NewsHub])
    script = mount.script("/signalr")
    assert "createHubProxy('Chat')" in script
    assert "createHubProxy('NewsHub')" in script
    assert "sendMessage: function (room, text)" in script
    assert "loud: function (text)" in script
    assert script.count(": function (") == 2
    assert '"Loud"' in script
    assert '"send_message"' in script
    assert "stream" not in script.split("createHubProxy('Chat')")[1].split("createHubProxy")[0]
    assert '"/signalr"' in script


def test_a_mount_without_proxies_says_so_in_its_script() -> None:
    script = map_classic_hubs("signalr", [ChatHub], ENABLE_JAVASCRIPT_PROXIES=False).script("/signalr")
    assert "JavaScript Hub proxy generation has been disabled" in script
    assert "Chat" not in script


# Negotiate


def test_the_answer_to_negotiate_says_the_settings_of_the_mount() -> None:
    mount = map_classic_hubs(
        "signalr", [ChatHub], KEEP_ALIVE=2, DISCONNECT_TIMEOUT=6, CONNECTION_TIMEOUT=8, TRANSPORT_CONNECT_TIMEOUT=3, LONG_POLL_DELAY=0.5
    )
    token = new_classic_token("ada", "")
    answer = json.loads(mount.negotiate("/signalr", "1.5", token))
    assert read_classic_token(answer.pop("ConnectionToken")) == token
    assert answer == {
        "Url": "/signalr",
        "ConnectionId": token.connection_id,
        "KeepAliveTimeout": 4.0,
        "DisconnectTimeout": 6.0,
        "ConnectionTimeout": 8.0,
        "TryWebSockets": True,
        "ProtocolVersion": "1.5",
        "TransportConnectTimeout": 3.0,
        "LongPollDelay": 0.5,
    }


def test_without_web_sockets_or_keep_alive_the_client_is_told_so() -> None:
    mount = map_classic_hubs("signalr", [ChatHub], KEEP_ALIVE=None, TRANSPORTS=["serverSentEvents"])
    answer = json.loads(mount.negotiate("/signalr", "2.1", new_classic_token(None, "")))
    assert (answer["TryWebSockets"], answer["KeepAliveTimeout"], answer["ProtocolVersion"]) == (False, None, "2.0")
    assert json.loads(mount.negotiate("/signalr", None, new_classic_token(None, "")))["ProtocolVersion"] == "1.2"


# Who may come in


async def refusal(mount: ClassicMount, scope: dict[str, Any], *names: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await mount.admit(scope, names)
    return caught.value


async def test_a_request_is_let_in_with_its_user() -> None:
    mount = map_classic_hubs("signalr", [ChatHub, MembersHub])
    admission, names = await mount.admit(http_scope(ADA), ("membershub", "chat"))
    assert (admission.user, admission.user_identifier, names) == (ADA, "7", ("membershub", "chat"))
    admission, names = await mount.admit(http_scope(), ("chat",))
    assert (admission.user_identifier, names) == (None, ("chat",))


async def test_hubs_that_say_no_are_left_out_silently_unless_all_do() -> None:
    mount = map_classic_hubs("signalr", [ChatHub, MembersHub])
    _, names = await mount.admit(http_scope(), ("membershub", "chat"))
    assert names == ("chat",)
    refused = await refusal(mount, http_scope(), "membershub")
    assert (refused.status, refused.body, refused.reason) == (401, "", CloseReason.UNAUTHORIZED)
    assert refused.detail


async def test_a_request_that_names_no_hub_is_let_in() -> None:
    mount = map_classic_hubs("signalr", [MembersHub])
    _, names = await mount.admit(http_scope(), ())
    assert names == ()


async def test_a_user_who_may_not_is_told_apart_from_nobody() -> None:
    class Never(HubPermission):
        def has_permission(self, request: PermissionRequest) -> bool:
            assert request.method is None
            return False

    class ClosedHub(Hub):
        permission_classes = [Never]

    mount = map_classic_hubs("signalr", [ClosedHub])
    refused = await refusal(mount, http_scope(ADA), "closedhub")
    assert (refused.status, refused.body, refused.reason) == (403, "", CloseReason.PERMISSION_DENIED)


async def test_a_persistent_connection_asks_for_permission_itself() -> None:
    mount = map_persistent_connection("raw", MembersEcho)
    admission, names = await mount.admit(http_scope(ADA), ("ignored",))
    assert (admission.user, names) == (ADA, ())
    assert (await refusal(mount, http_scope())).status == 401
    admission, names = await map_persistent_connection("raw", Echo).admit(http_scope(), ())
    assert names == ()


@pytest.mark.parametrize(
    ("origin", "allowed", "is_let_in"),
    [
        (None, [], True),
        ("https://example.com", [], True),
        ("https://evil.example", [], False),
        ("https://evil.example", ["*"], True),
        ("https://app.example", ["https://app.example"], True),
        ("null", [], False),
    ],
)
async def test_a_page_of_elsewhere_needs_to_be_allowed(origin: str | None, allowed: list[str], is_let_in: bool) -> None:
    with override_settings(SIGNALR={"ALLOWED_ORIGINS": allowed}):
        mount = map_classic_hubs("signalr", [ChatHub])
        scope = http_scope() if origin is None else http_scope(origin=origin)
        if is_let_in:
            await mount.admit(scope, ("chat",))
            return
        refused = await refusal(mount, scope, "chat")
    assert (refused.status, refused.reason) == (403, CloseReason.ORIGIN_REJECTED)
    assert origin is not None
    assert origin in refused.detail
