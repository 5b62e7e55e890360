"""What a classic life leaves behind: the events, the rows they become, and no token in any of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref import testing
from django.contrib.auth.models import User

from signalr_channels import history
from signalr_channels.classic_log import describe_end
from signalr_channels.exceptions import ConnectionClosed
from signalr_channels.history import write_batch
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEvent, LifetimeEventKind
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.permissions import IsAuthenticated, IsStaff
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.models import Connection
from signalr_channels.models import LifetimeEvent as EventRow
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.routing import HubRouter, map_classic_hubs, map_persistent_connection
from signalr_channels.runtime import install_runtime
from signalr_channels.testing.runtime import RuntimeForTests
from tests.django.answers import read_answer
from tests.django.history_cast import NOON, PROCESS, end, event, later

ApplicationCommunicator: Any = testing.ApplicationCommunicator
"""It has no types."""

TIMEOUT = 5.0
CHAT = '[{"name":"chat"}]'
AGENT = "Mozilla/5.0"


class ChatHub(Hub):
    classic_name = "chat"
    started: list[str] = []
    ended: list[tuple[str, CloseReason]] = []

    @hub_method
    async def echo(self, text: str) -> str:
        return text

    @hub_method
    async def join(self, group: str) -> None:
        await self.groups.aadd(self.context.connection_id, group)

    async def on_connected(self) -> None:
        self.started.append(self.context.connection_id)

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        self.ended.append((self.context.connection_id, disconnect.reason))


class NewsHub(Hub):
    classic_name = "news"


class OtherHub(Hub):
    classic_name = "other"


class MembersHub(Hub):
    classic_name = "members"
    permission_classes = [IsAuthenticated]


class StaffHub(Hub):
    classic_name = "staff"
    permission_classes = [IsStaff]


class Echo(PersistentConnection):
    pass


class Site(RuntimeForTests):
    """A server process that keeps its events for the test."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.events: list[LifetimeEvent] = []
        self.application = HubRouter(
            [
                map_classic_hubs("signalr", [ChatHub, NewsHub, MembersHub, StaffHub], MESSAGE_BUFFER_SIZE=32),
                map_classic_hubs("other", [OtherHub]),
                map_persistent_connection("raw", Echo),
            ]
        )

    def record(self, kind: LifetimeEventKind, info: ConnectionInfo, **more: Any) -> None:
        self.events.append(LifetimeEvent(kind=kind, connection=info, process=self.process, **more))

    async def advance(self, seconds: int) -> None:
        """Let time pass, with a beat each second, and what ends by it come to its end."""
        for _ in range(seconds):
            self.manual_clock.now += 1
            self.classic.tick(self.manual_clock.now)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    def kinds(self) -> list[str]:
        """What was recorded so far but for negotiations."""
        return [event.kind.value for event in self.events if event.kind is not LifetimeEventKind.NEGOTIATED]

    async def request(self, path: str, query: dict[str, str], *, body: bytes = b"", headers: Any = (), **scope: Any) -> tuple[int, bytes]:
        """A request to its end: ``(status, body)``."""
        communicator = self.open("http", path, query, body=body, headers=headers, **scope)
        start, answer = await read_answer(communicator, TIMEOUT)
        return start["status"], answer

    def open(self, kind: str, path: str, query: dict[str, str], *, body: bytes = b"", headers: Any = (), **more: Any) -> Any:
        scope = {
            "type": kind,
            "method": "POST" if body else "GET",
            "path": path,
            "query_string": urlencode(query).encode(),
            "headers": [(b"host", b"example.com"), (b"user-agent", AGENT.encode()), *headers],
            "client": ("203.0.113.7", 50000),
            "scheme": "http",
            "subprotocols": [],
            **more,
        }
        communicator = ApplicationCommunicator(self.application, scope)
        first = {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": body}
        communicator.input_queue.put_nowait(first)
        return communicator

    async def client(self, base: str = "/signalr", hubs: str = CHAT) -> Client:
        """A client that has negotiated."""
        _, body = await self.request(f"{base}/negotiate", {"clientProtocol": "1.5", "connectionData": hubs})
        return Client(self, base, hubs, json.loads(body))


class Client:
    """A classic client, on whatever transport."""

    def __init__(self, site: Site, base: str, hubs: str, negotiated: dict[str, Any]) -> None:
        self.site = site
        self.base = base
        self.hubs = hubs
        self.id: str = negotiated["ConnectionId"]
        self.token: str = negotiated["ConnectionToken"]
        self.cursor = ""
        self.groups_token = ""

    def query(self, transport: str, **more: str) -> dict[str, str]:
        common = {"clientProtocol": "1.5", "transport": transport, "connectionToken": self.token, "connectionData": self.hubs}
        state = {"messageId": self.cursor, "groupsToken": self.groups_token}
        return common | {name: value for name, value in state.items() if value} | more

    def note(self, frame: dict[str, Any]) -> dict[str, Any]:
        self.cursor = frame.get("C", self.cursor)
        self.groups_token = frame.get("G", self.groups_token)
        return frame

    async def socket(self, operation: str = "connect") -> Socket:
        communicator = self.site.open("websocket", f"{self.base}/{operation}", self.query("webSockets"))
        answer = await communicator.receive_output(TIMEOUT)
        assert answer["type"] == "websocket.accept", answer
        socket = Socket(self, communicator)
        if operation == "connect":
            assert (await socket.frame())["S"] == 1
        return socket

    async def stream(self, operation: str = "connect") -> Any:
        communicator = self.site.open("http", f"{self.base}/{operation}", self.query("serverSentEvents"))
        assert (await communicator.receive_output(TIMEOUT))["status"] == 200
        assert (await communicator.receive_output(TIMEOUT))["body"] == b"data: initialized\n\n"
        if operation == "connect":
            await communicator.receive_output(TIMEOUT)
        return communicator

    async def poll(self, operation: str = "poll") -> dict[str, Any]:
        status, body = await self.site.request(f"{self.base}/{operation}", self.query("longPolling"), body=b"x=1")
        assert status == 200
        return self.note(json.loads(body))

    async def ask(self, operation: str, transport: str = "webSockets", **more: str) -> tuple[int, bytes]:
        return await self.site.request(f"{self.base}/{operation}", self.query(transport, **more))

    async def start(self, transport: str = "webSockets") -> None:
        assert await self.ask("start", transport) == (200, b'{ "Response": "started" }')

    async def abort(self) -> None:
        assert await self.ask("abort") == (200, b"")
        await self.site.settle()

    async def send(self, method: str, *arguments: Any) -> dict[str, Any]:
        data = json.dumps({"H": "chat", "M": method, "A": arguments, "I": 0})
        body = urlencode({"data": data}).encode()
        status, answer = await self.site.request(f"{self.base}/send", self.query("serverSentEvents"), body=body)
        assert status == 200, answer
        found: dict[str, Any] = json.loads(answer)
        return found


class Socket:
    """A web socket of a client."""

    def __init__(self, client: Client, communicator: Any) -> None:
        self.client = client
        self.communicator = communicator

    async def frame(self) -> dict[str, Any]:
        event = await self.communicator.receive_output(TIMEOUT)
        assert event["type"] == "websocket.send", event
        return self.client.note(json.loads(event["text"]))

    async def lose(self, code: int = 1006) -> None:
        await self.communicator.send_input({"type": "websocket.disconnect", "code": code})
        await self.communicator.wait(TIMEOUT)


def message(text: str) -> EncodedMessage:
    return EncodedMessage(json.dumps(text).encode(), TransferFormat.TEXT)


@pytest.fixture(autouse=True)
def calls() -> None:
    ChatHub.started.clear()
    ChatHub.ended.clear()


Scenario = Callable[[Site], Coroutine[Any, Any, Any]]


def live(scenario: Scenario) -> list[LifetimeEvent]:
    """Play a scenario in a server process of its own. Gives what was recorded but for negotiations."""

    async def play() -> list[LifetimeEvent]:
        site = Site()
        install_runtime(site)
        site.start()
        try:
            await asyncio.wait_for(scenario(site), 4 * TIMEOUT)
        finally:
            await site.stop()
        return site.events

    return [event for event in asyncio.run(play()) if event.kind is not LifetimeEventKind.NEGOTIATED]


def kinds(events: list[LifetimeEvent]) -> list[str]:
    return [event.kind.value for event in events]


# A life


def test_a_life_begins_with_the_first_transport_and_ends_with_an_abort() -> None:
    ids = []

    async def scenario(site: Site) -> None:
        client = await site.client()
        ids.append(client.id)
        assert site.kinds() == []
        socket = await client.socket()
        assert site.kinds() == ["connected"]
        await client.start()
        await client.abort()
        await socket.lose(1000)
        assert ChatHub.ended == [(client.id, CloseReason.CLIENT_CLOSED)]

    connected, disconnected = live(scenario)
    assert connected.kind is LifetimeEventKind.CONNECTED
    assert disconnected.kind is LifetimeEventKind.DISCONNECTED
    info = connected.connection
    assert info == disconnected.connection
    assert info == ConnectionInfo(
        connection_id=ids[0],
        hub=f"{__name__}.ChatHub",
        path="signalr",
        transport="webSockets",
        hub_protocol="classic",
        remote_address="203.0.113.7:50000",
        user_agent=AGENT,
    )
    assert (connected.reason, connected.detail) == (None, "")
    assert (disconnected.reason, disconnected.detail) == (CloseReason.CLIENT_CLOSED, "")
    assert (disconnected.stop_called, disconnected.allows_reconnect) == (True, False)


def test_negotiating_is_an_event_without_a_life() -> None:
    async def scenario(site: Site) -> None:
        await site.client(hubs='[{"name":"CHAT"},{"name":"news"}]')
        [event] = site.events
        assert event.kind is LifetimeEventKind.NEGOTIATED
        assert (event.connection.hub, event.connection.transport) == (f"{__name__}.ChatHub, {__name__}.NewsHub", "")

    assert live(scenario) == []


def test_a_client_that_comes_back_is_one_event_and_one_that_does_not_another() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.start()
        await socket.lose()
        await site.advance(20)
        assert site.kinds() == ["connected"]
        socket = await client.socket("reconnect")
        await socket.lose()
        await site.advance(36)

    connected, reconnected, disconnected = live(scenario)
    assert kinds([connected, reconnected, disconnected]) == ["connected", "reconnected", "disconnected"]
    assert (reconnected.reason, reconnected.detail) == (None, "")
    assert disconnected.reason is CloseReason.CLIENT_GONE
    assert "DISCONNECT_TIMEOUT" in disconnected.detail
    assert (disconnected.stop_called, disconnected.allows_reconnect) == (False, False)


def test_polls_are_one_transport_and_the_end_of_them_is_a_timeout() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        assert (await client.poll("connect"))["S"] == 1
        await client.start("longPolling")
        for number in range(3):
            polling = asyncio.ensure_future(client.poll())
            await site.settle()
            opened = site.classic.get(client.id)
            assert opened is not None
            opened.connection.enqueue(message(str(number)))
            assert (await polling)["M"] == [str(number)]
        await site.advance(31)

    connected, disconnected = live(scenario)
    assert connected.connection.transport == "longPolling"
    assert disconnected.reason is CloseReason.POLL_TIMEOUT
    assert "did not poll again" in disconnected.detail


def test_another_transport_is_told_by_its_name() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        stream = await client.stream("connect")
        await socket.lose(1000)
        await client.start("serverSentEvents")
        await client.abort()
        await stream.wait(TIMEOUT)

    events = live(scenario)
    assert kinds(events) == ["connected", "reconnected", "disconnected"]
    assert [event.connection.transport for event in events] == ["webSockets", "serverSentEvents", "serverSentEvents"]


def test_an_end_by_the_application_says_what_it_said() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.start()
        assert await site.manager_for(ChatHub).close(client.id, "Not in here.", allow_reconnect=False)
        assert (await socket.frame())["E"] == "Not in here."
        await site.settle()
        await socket.lose(1000)

    disconnected = live(scenario)[-1]
    assert (disconnected.reason, disconnected.detail) == (CloseReason.CLOSED_BY_APP, "Not in here.")
    assert (disconnected.stop_called, disconnected.allows_reconnect) == (False, False)


def test_a_server_that_stops_lets_its_clients_come_back_and_hubs_hear_nothing() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        await client.socket()
        await client.start()

    disconnected = live(scenario)[-1]
    assert disconnected.reason is CloseReason.SERVER_SHUTDOWN
    assert disconnected.allows_reconnect
    assert ChatHub.ended == []


@pytest.mark.parametrize(("size", "reason"), [(65_537, CloseReason.MESSAGE_TOO_BIG), (None, CloseReason.PROTOCOL_ERROR)])
def test_a_message_that_cost_the_socket_is_the_reason_of_the_end(size: int | None, reason: CloseReason) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        data = {"bytes": b"binary"} if size is None else {"text": "x" * size}
        await socket.communicator.send_input({"type": "websocket.receive", **data})
        await socket.communicator.wait(TIMEOUT)
        await site.advance(36)

    disconnected = live(scenario)[-1]
    assert disconnected.reason is reason
    assert disconnected.detail


def test_a_client_that_comes_back_too_late_is_told_to_stop_and_is_no_event() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.start()
        await socket.lose()
        await site.advance(36)
        late = await client.socket("reconnect")
        assert set(await late.frame()) == {"D", "E", "M"}
        await late.lose(1000)
        status, answer = await client.ask("send", "serverSentEvents")
        assert status == 400
        assert b"has ended" in answer
        await site.advance(200)

    assert kinds(live(scenario)) == ["connected", "disconnected"]


# Lives that begin again


def test_an_id_may_live_again_after_an_abort() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.start()
        await client.abort()
        await socket.lose(1000)
        client.cursor = ""
        socket = await client.socket()
        await client.start()
        await client.abort()
        await socket.lose(1000)
        assert ChatHub.started == [client.id] * 2
        assert ChatHub.ended == [(client.id, CloseReason.CLIENT_CLOSED)] * 2

    assert kinds(live(scenario)) == ["connected", "disconnected", "connected", "disconnected"]


def test_a_client_of_a_process_that_was_restarted_comes_back() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        client.cursor = "d-1-A,0"
        socket = await client.socket("reconnect")
        await site.settle()
        assert ChatHub.started == []
        await client.abort()
        await socket.lose(1000)
        assert ChatHub.ended == [(client.id, CloseReason.CLIENT_CLOSED)]

    assert kinds(live(scenario)) == ["reconnected", "disconnected"]


def test_a_poll_that_goes_on_after_a_restart_is_of_a_client_that_had_started() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        client.cursor = "AB-5"
        polling = asyncio.ensure_future(client.poll())
        await site.settle()
        await client.abort()
        assert (await polling)["M"] == []
        assert ChatHub.ended == [(client.id, CloseReason.CLIENT_CLOSED)]

    assert kinds(live(scenario)) == ["reconnected", "disconnected"]


def test_a_send_that_comes_first_after_a_restart_changes_nothing_of_that() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        client.cursor = "AB-5"
        assert (await client.send("echo", "hi"))["R"] == "hi"
        polling = asyncio.ensure_future(client.poll())
        await site.settle()
        await client.abort()
        assert (await polling)["M"] == []
        assert ChatHub.ended == [(client.id, CloseReason.CLIENT_CLOSED)]

    assert kinds(live(scenario)) == ["reconnected", "disconnected"]


def test_a_start_that_comes_before_the_transport_is_kept() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        await client.start()
        socket = await client.socket()
        await client.abort()
        await socket.lose(1000)
        assert ChatHub.ended == [(client.id, CloseReason.CLIENT_CLOSED)]

    assert kinds(live(scenario)) == ["connected", "disconnected"]


def test_an_abort_of_what_is_not_there_is_no_event() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        await client.abort()
        await client.abort()

    assert live(scenario) == []


# What is lost


def test_messages_that_the_buffer_did_not_hold_are_told_when_the_client_is_back() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.start()
        await socket.lose()
        opened = site.classic.get(client.id)
        assert opened is not None
        for number in range(40):
            opened.connection.enqueue(message(str(number)))
        socket = await client.socket("reconnect")
        assert (await socket.frame())["M"][0] == "8"
        await client.abort()
        await socket.lose(1000)

    _, reconnected, disconnected = live(scenario)
    assert reconnected.detail.startswith("8 messages were lost")
    assert "MESSAGE_BUFFER_SIZE" in reconnected.detail
    assert disconnected.detail == ""  # it is told once


# Refusals


def test_a_request_that_is_turned_away_is_an_event_with_a_reason() -> None:
    async def scenario(site: Site) -> None:
        members = {"connectionData": '[{"name":"members"}]'}
        assert await site.request("/signalr/negotiate", members) == (401, b"")
        headers = [(b"origin", b"https://evil.example")]
        status, _ = await site.request("/signalr/negotiate", {"connectionData": CHAT}, headers=headers)
        assert status == 403
        status, _ = await site.request("/signalr/connect", {"transport": "longPolling", "connectionToken": "AAAA"})
        assert status == 400

    events = live(scenario)
    assert kinds(events) == ["rejected"] * 3
    assert [event.reason for event in events] == [CloseReason.UNAUTHORIZED, CloseReason.ORIGIN_REJECTED, CloseReason.UNAUTHORIZED]
    assert all(event.detail for event in events)
    assert [event.connection.hub for event in events] == [f"{__name__}.MembersHub", f"{__name__}.ChatHub", ""]


def test_who_lacks_a_permission_is_named() -> None:
    async def scenario(site: Site) -> None:
        user = User(pk=7, username="kim")
        assert (await site.request("/signalr/negotiate", {"connectionData": '[{"name":"staff"}]'}, user=user))[0] == 403

    [event] = live(scenario)
    assert (event.reason, event.connection.user_pk, event.connection.user_identifier) == (CloseReason.PERMISSION_DENIED, 7, "7")


def test_a_connection_of_another_mount_is_not_served_here() -> None:
    # As in the reference, a token is good at every mount; a connection lives at one.
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        stranger = Client(site, "/other", '[{"name":"other"}]', {"ConnectionId": client.id, "ConnectionToken": client.token})
        for operation in ("start", "poll", "reconnect", "abort"):
            status, _ = await stranger.ask(operation, "longPolling")
            assert status == 400
        await client.abort()
        await socket.lose(1000)

    events = live(scenario)
    assert kinds(events) == ["connected", *["rejected"] * 4, "disconnected"]
    assert events[1].connection.path == "other"
    assert "'signalr'" in events[1].detail


# Secrets


def test_no_token_stands_in_any_event_or_log_line(caplog: pytest.LogCaptureFixture) -> None:
    secrets: list[str] = []

    async def scenario(site: Site) -> None:
        client = await site.client()
        secrets.append(client.token)
        socket = await client.socket()
        await client.start()
        await client.send("join", "lobby")
        assert "G" in await socket.frame()
        secrets.append(client.groups_token)
        await socket.lose()
        socket = await client.socket("reconnect")
        await client.ask("send", "serverSentEvents", data="garbage")
        await client.ask("connect", "carrierPigeon")
        await site.request("/signalr/connect", client.query("longPolling") | {"connectionToken": client.token + "A"})
        await client.abort()
        await socket.lose(1000)
        assert all(secrets)

    with caplog.at_level(logging.DEBUG):
        events = live(scenario)
    said = repr(events) + caplog.text
    assert events
    assert "signalr" in caplog.text
    for secret in secrets:
        assert secret not in said
        assert secret[:40] not in said


# Rows


@pytest.mark.django_db
def test_a_life_is_one_row_with_its_last_transport_and_end() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.start()
        await socket.lose()
        stream = await client.stream("reconnect")
        await client.abort()
        await stream.wait(TIMEOUT)

    write_batch(live(scenario), {})
    row = Connection.objects.get()
    assert (row.hub, row.path, row.transport, row.hub_protocol) == (f"{__name__}.ChatHub", "signalr", "serverSentEvents", "classic")
    assert (row.close_reason, row.stop_called, row.allows_reconnect) == ("client_closed", True, False)
    assert row.closed_at is not None
    assert list(EventRow.objects.order_by("id").values_list("kind", flat=True)) == ["connected", "reconnected", "disconnected"]


@pytest.mark.django_db
def test_a_connection_that_lives_again_is_open_again_in_the_same_row() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        socket = await client.socket()
        await client.abort()
        await socket.lose(1000)
        client.cursor = ""
        await client.socket()

    events = live(scenario)
    assert kinds(events) == ["connected", "disconnected", "connected", "disconnected"]
    for one in events[:3]:  # a batch each
        write_batch([one], {})
    row = Connection.objects.get()
    assert (row.closed_at, row.close_reason, row.stop_called) == (None, "", None)
    write_batch(events[3:], {})
    assert Connection.objects.get().close_reason == "server_shutdown"


@pytest.mark.django_db
def test_a_persistent_connection_has_a_row_as_well() -> None:
    async def scenario(site: Site) -> None:
        client = await site.client("/raw", hubs="")
        socket = await client.socket()
        await client.start()
        await client.abort()
        await socket.lose(1000)

    write_batch(live(scenario), {})
    row = Connection.objects.get()
    assert (row.hub, row.path, row.close_reason) == (f"{__name__}.Echo", "raw", "client_closed")


# Words


@pytest.mark.parametrize(
    ("reason", "exception", "text"),
    [
        (CloseReason.CLIENT_CLOSED, None, ""),
        (CloseReason.SERVER_SHUTDOWN, None, ""),
        (CloseReason.CLIENT_GONE, None, "did not come back"),
        (CloseReason.POLL_TIMEOUT, None, "did not poll again"),
        (CloseReason.MESSAGE_TOO_BIG, None, "MAXIMUM_WEBSOCKET_MESSAGE_SIZE"),
        (CloseReason.PROTOCOL_ERROR, None, "binary"),
        (CloseReason.CLOSED_BY_APP, ConnectionClosed("Out."), "Out."),
    ],
)
def test_an_end_is_explained_with_the_setting_it_was_about(reason: CloseReason, exception: Exception | None, text: str) -> None:
    said = describe_end(Disconnect(reason=reason, stop_called=False, exception=exception))
    assert text in said
    assert bool(said) is bool(text)


# Rows of a connection that ended in one process and begins again in another

HERE = "web-2:1:b"


def assert_lives_here() -> None:
    row = Connection.objects.select_related("process").get()
    assert row.process is not None
    assert (row.process.name, row.closed_at, row.close_reason, row.stop_called) == (HERE, None, "", None)
    assert Connection.objects.live(later(20)).count() == 1


def stop_at(seconds: float, **more: Any) -> LifetimeEvent:
    return end(reason=CloseReason.CLIENT_CLOSED, time=later(seconds), **more)


@pytest.mark.django_db
@pytest.mark.usefixtures("lease_of_a_minute")
class TestAnotherProcess:
    @pytest.fixture
    def lease_of_a_minute(self, settings: Any) -> None:
        settings.SIGNALR = {"PROCESS_LEASE": 60}

    def test_it_is_live_there_and_its_history_has_both_lives(self) -> None:
        write_batch([event("connected"), stop_at(5)], {})
        write_batch([event("connected", process=HERE, time=later(9), info={"transport": "longPolling"})], {})

        assert_lives_here()
        row = Connection.objects.get()
        assert (row.opened_at, row.last_seen_at, row.transport) == (NOON, later(9), "longPolling")
        events = EventRow.objects.order_by("time").values_list("kind", "process", "reason")
        assert list(events) == [("connected", PROCESS, ""), ("disconnected", PROCESS, "client_closed"), ("connected", HERE, "")]

        write_batch([end(reason=CloseReason.CLIENT_GONE, process=HERE, time=later(15))], {})
        row = Connection.objects.get()
        assert (row.closed_at, row.close_reason) == (later(15), "client_gone")

    def test_the_end_may_be_written_after_the_new_beginning(self) -> None:
        write_batch([event("connected")], {})
        write_batch([event("connected", process=HERE, time=later(5.1))], {})
        write_batch([stop_at(5)], {})

        assert_lives_here()
        assert set(EventRow.objects.values_list("kind", "reason")) == {("connected", ""), ("disconnected", "client_closed")}

    @pytest.mark.parametrize("batches", [1, 2])
    def test_the_whole_first_life_may_be_written_after_the_new_beginning(self, batches: int) -> None:
        write_batch([event("connected", process=HERE, time=later(5.1))], {})
        first_life = [event("connected"), stop_at(5)]
        for part in [first_life] if batches == 1 else [[each] for each in first_life]:
            write_batch(part, {})

        assert_lives_here()

    @pytest.mark.parametrize("batches", [1, 2])
    def test_the_whole_first_life_may_be_written_after_the_second(self, batches: int) -> None:
        write_batch([event("connected", process=HERE, time=later(6)), end(process=HERE, time=later(9))], {})
        first_life = [event("connected"), stop_at(5)]
        for part in [first_life] if batches == 1 else [[each] for each in first_life]:
            write_batch(part, {})

        row = Connection.objects.get()
        assert row.closed_at == (later(9) if batches == 1 else later(5))  # in any case it is not live
        assert EventRow.objects.count() == 4

    def test_it_is_live_where_the_clock_is_behind(self) -> None:
        write_batch([event("connected"), stop_at(0.1)], {})
        write_batch([event("connected", process=HERE, time=later(-3))], {})

        assert_lives_here()

    def test_old_news_of_a_transport_does_not_move_it_back(self) -> None:
        write_batch([event("connected")], {})
        write_batch([event("reconnected", process=HERE, time=later(8))], {})
        write_batch([event("reconnected", time=later(4))], {})
        write_batch([end(reason=CloseReason.SERVER_SHUTDOWN, time=later(6))], {})

        assert_lives_here()

    def test_a_row_that_slips_in_between_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        insert_new = history.insert_new

        def insert_late(model: Any, rows: Any, using: str) -> None:
            monkeypatch.setattr(history, "insert_new", insert_new)
            write_batch([event("connected"), stop_at(5)], {})
            insert_new(model, rows, using)

        monkeypatch.setattr(history, "insert_new", insert_late)
        write_batch([event("reconnected", process=HERE, time=later(6))], {})

        assert_lives_here()

    def test_writing_it_twice_leaves_the_rows_of_writing_it_once(self) -> None:
        write_batch([event("connected"), stop_at(5)], {})
        for batch in ([event("connected", process=HERE, time=later(9))], [stop_at(12, process=HERE)]):
            write_batch(batch, {})
            before = list(Connection.objects.values())
            write_batch(batch, {})
            assert list(Connection.objects.values()) == before

    def test_several_lives_may_share_a_batch(self) -> None:
        write_batch([event("connected")], {})
        lives = [stop_at(1), event("connected", time=later(2)), event("reconnected", time=later(3)), stop_at(4)]
        write_batch([*lives, event("connected", time=later(5), info={"transport": "foreverFrame"})], {})

        row = Connection.objects.get()
        assert (row.opened_at, row.last_seen_at, row.closed_at, row.transport) == (NOON, later(5), None, "foreverFrame")
