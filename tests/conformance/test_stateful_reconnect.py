"""Section 7 of the reference: stateful reconnect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from signalr_channels import Hub
from signalr_channels.endpoints import HubEndpoint
from tests.conformance.asgi import SSE, Site, Socket
from tests.conformance.stage import StageHub
from tests.integration.raw import call
from tests.unit.scripted import settle

HANDSHAKE = '{"protocol":"json","version":2}\x1e'
UNKNOWN = (404, b"No Connection with that ID")
CLOSE = '{"type":7}\x1e'
PING = '{"type":6}\x1e'
FAILED = "Connection closed with an error."


@pytest.fixture
async def site(hub: type[Hub]) -> AsyncIterator[Site]:
    options: dict[str, Any] = {"ALLOW_STATEFUL_RECONNECTS": True, "ENABLE_DETAILED_ERRORS": True}
    small = {**options, "STATEFUL_RECONNECT_BUFFER_SIZE": 300, "MAXIMUM_BUFFERED_BYTES": 1500}
    impatient = {**options, "CLIENT_TIMEOUT_INTERVAL": 2}
    async with Site(HubEndpoint("hub", hub, options), HubEndpoint("small", hub, small), HubEndpoint("impatient", hub, impatient)) as site:
        yield site


async def stateful_url(site: Site, path: str = "/hub", user: Any = None) -> str:
    negotiated = await site.negotiate(path, "&useStatefulReconnect=true", user=user)
    assert negotiated["useStatefulReconnect"] is True
    return f"{path}?id={negotiated['connectionToken']}"


async def connect(site: Site, path: str = "/hub", *, user: Any = None) -> tuple[str, Socket]:
    """A stateful connection that has shaken hands and counts."""
    url = await stateful_url(site, path, user)
    socket = await site.socket(url, user=user).accepted()
    socket.send(HANDSHAKE)
    assert await socket.receive() == "{}\x1e"
    socket.send(PING)
    return url, socket


async def receive(socket: Socket, count: int = 1) -> list[Any]:
    """So many messages."""
    messages: list[Any] = []
    while len(messages) < count:
        messages += [json.loads(text) for text in str(await socket.receive()).split("\x1e")[:-1]]
    assert len(messages) == count, messages
    return messages


async def lose(socket: Socket) -> None:
    socket.vanish()
    await socket.finish()


def sequence(number: int) -> dict[str, Any]:
    return {"type": 9, "sequenceId": number}


def ack(number: int) -> dict[str, Any]:
    return {"type": 8, "sequenceId": number}


def done(value: Any, invocation_id: str = "0") -> dict[str, Any]:
    return {"type": 3, "invocationId": invocation_id, "result": value}


def text(*messages: dict[str, Any]) -> str:
    return "".join(json.dumps(message) + "\x1e" for message in messages)


# Enabling


async def test_a_version_1_handshake_turns_it_off(site: Site) -> None:
    url = await stateful_url(site)
    socket = await site.socket(url).accepted()
    socket.send(HANDSHAKE.replace("2", "1"), call("Echo", "x"))
    assert await socket.receive() == "{}\x1e"
    assert await receive(socket) == [done("x")]
    site.tick(1)
    assert await socket.is_silent()  # no Ack
    await lose(socket)
    assert (await site.socket(url).refused()).brief == UNKNOWN


async def test_it_needs_negotiation(site: Site) -> None:
    socket = await site.socket("/hub").accepted()
    socket.send(HANDSHAKE, call("Echo", "x"))
    assert await socket.receive() == "{}\x1e"
    assert await receive(socket) == [done("x")]
    site.tick(1)
    assert await socket.is_silent()


@pytest.mark.parametrize("headers", [SSE, {}])
async def test_other_transports_do_without(site: Site, headers: dict[str, str]) -> None:
    """Nothing is counted, and what a client counts is no harm."""
    url = await stateful_url(site)
    get = site.start("GET", url, headers)
    await get.head()
    await site.request("POST", url, body=(HANDSHAKE + text(sequence(1)) + call("Echo", "x") + text(ack(1))).encode())
    received = b""
    while received.count(b"\x1e") < 2:
        received += await get.event() if headers else (await site.request("GET", url)).body
    site.tick(1)
    if headers:
        assert await get.is_silent()
    assert received.split(b"\x1e")[1:] == [b'{"type":3,"invocationId":"0","result":"x"}', b""]


# The handshake


async def test_the_response_comes_by_itself(site: Site) -> None:
    """And what follows is held until the client pings, or a tenth of a second."""
    url = await stateful_url(site)
    socket = await site.socket(url).accepted()
    socket.send(HANDSHAKE + call("Echo", "x") + call("Echo", "y"))
    assert await socket.receive() == "{}\x1e"
    assert await socket.is_silent()
    socket.send(PING)
    assert await receive(socket, 2) == [done("x"), done("y")]


async def test_what_follows_the_response_is_not_held_for_ever(site: Site) -> None:
    url = await stateful_url(site)
    socket = await site.socket(url).accepted()
    socket.send(HANDSHAKE + call("Echo", "x"))
    assert await socket.receive() == "{}\x1e"
    assert await receive(socket) == [done("x")]


async def test_a_socket_may_be_lost_before_the_handshake(site: Site) -> None:
    """Half a request stays in front."""
    url = await stateful_url(site)
    socket = await site.socket(url).accepted()
    socket.send(HANDSHAKE[:10])
    await lose(socket)
    again = await site.socket(url).accepted()
    again.send(HANDSHAKE[10:])
    assert await again.receive() == "{}\x1e"
    again.send(PING + call("Echo", "x"))
    assert await receive(again) == [done("x")]


# Counting


async def test_messages_are_acknowledged_once_a_second(site: Site) -> None:
    _, socket = await connect(site)
    socket.send(
        text({"type": 1, "target": "note", "arguments": ["x"]}),
        text({"type": 4, "invocationId": "1", "target": "Count", "arguments": [0, 0]}),
        text({"type": 2, "invocationId": "9", "item": 1}, {"type": 3, "invocationId": "9"}, {"type": 5, "invocationId": "9"}),
        text({"type": 6}, ack(0)),  # which are not counted
    )
    assert await receive(socket) == [{"type": 3, "invocationId": "1"}]
    assert await socket.is_silent()
    site.tick(1)
    assert await receive(socket) == [ack(5)]
    site.tick(2)
    assert await socket.is_silent()
    socket.send(call("Echo", "x"))
    assert await receive(socket) == [done("x")]
    site.tick(3)
    assert await receive(socket) == [ack(6)]


async def test_too_much_that_is_not_acknowledged_waits(site: Site) -> None:
    """Pings and acknowledgements do not."""
    _, socket = await connect(site, "/small")
    for number in range(4):
        socket.send(call("Echo", "x" * 200, invocation_id=str(number)))
    assert await receive(socket, 2) == [done("x" * 200, "0"), done("x" * 200, "1")]
    assert await socket.is_silent()
    site.tick(1)
    assert await receive(socket) == [ack(4)]
    site.tick(15)
    assert await receive(socket) == [{"type": 6}]
    socket.send(text(ack(1)))
    assert await receive(socket) == [done("x" * 200, "2")]
    socket.send(text(ack(1_000_000)))  # ids nobody knows are as good as the last one
    assert await receive(socket) == [done("x" * 200, "3")]


async def test_what_waits_for_an_acknowledgement_is_bounded(site: Site, hub: type[StageHub]) -> None:
    """A client that never acknowledges, or stays away while much is said, does not fill the memory."""
    url, socket = await connect(site, "/small")
    await lose(socket)
    session: Any = next(iter(site.runtime._open.values())).session
    for _ in range(20):
        await session.clients.caller.asend("Message", "x" * 100)
    await settle()
    assert [reason for reason, _ in hub.log] == ["slow_consumer"]
    assert (await site.socket(url).refused()).brief == UNKNOWN


# Coming back


async def test_what_was_not_acknowledged_is_sent_again_in_one_message(site: Site) -> None:
    url, socket = await connect(site)
    for number in range(3):
        socket.send(call("Echo", "x", invocation_id=str(number)))
    await receive(socket, 3)
    socket.send(text(ack(1)))
    await settle()
    await lose(socket)
    again = await site.socket(url).accepted()
    (frame,) = [str(await again.receive())]
    assert [json.loads(message) for message in frame.split("\x1e")[:-1]] == [sequence(2), done("x", "1"), done("x", "2")]
    assert await again.is_silent()
    again.send(call("Echo", "y"))
    assert await receive(again) == [done("y")]


@pytest.mark.parametrize("count", [0, 2])
async def test_nothing_to_send_again(site: Site, count: int) -> None:
    url, socket = await connect(site)
    for number in range(count):
        socket.send(call("Echo", "x", invocation_id=str(number)))
        await receive(socket)
    socket.send(text(ack(count)))
    await settle()
    await lose(socket)
    again = await site.socket(url).accepted()
    assert await receive(again) == [sequence(count + 1)]


async def test_what_happens_meanwhile_is_not_lost(site: Site, hub: type[StageHub]) -> None:
    """The connection keeps its id, its groups and its calls."""
    url, socket = await connect(site)
    socket.send(call("GetConnectionId", invocation_id="id"), call("Join", "room", invocation_id="join"), call("wait"))
    (answer, _) = await receive(socket, 2)
    connection_id = answer["result"]
    socket.send(text(ack(2)))
    await settle()
    await lose(socket)
    other = await site.socket("/hub").accepted()
    other.send(HANDSHAKE, call("ToGroup", "room", "hello", invocation_id=None), call("ToClient", connection_id, "you", invocation_id=None))
    assert await other.receive() == "{}\x1e"
    await settle()
    hub.gate.set()
    await settle()
    again = await site.socket(url).accepted()
    assert await receive(again, 4) == [
        sequence(3),
        {"type": 1, "target": "Message", "arguments": ["ToGroup", "hello"]},
        {"type": 1, "target": "Message", "arguments": ["ToClient", "you"]},
        done("waited"),
    ]
    again.send(call("GetConnectionId", invocation_id="id"))
    assert await receive(again) == [done(connection_id, "id")]
    assert hub.log == []


async def test_what_the_client_sends_again_counts_once(site: Site, hub: type[StageHub]) -> None:
    url, socket = await connect(site)
    for number in range(3):
        socket.send(call("note", str(number), invocation_id=None))
    await settle()
    await lose(socket)
    again = await site.socket(url).accepted()
    again.send(text(sequence(2)))
    for number in range(1, 5):
        again.send(call("note", str(number), invocation_id=None))
    await settle()
    assert hub.log == ["0", "1", "2", "3", "4"]
    site.tick(1)
    assert await receive(again, 2) == [sequence(1), ack(5)]


async def test_a_sequence_need_not_come_first(site: Site, hub: type[StageHub]) -> None:
    url, socket = await connect(site)
    await lose(socket)
    again = await site.socket(url).accepted()
    again.send(call("note", "x", invocation_id=None))
    await settle()
    assert hub.log == ["x"]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (3, "InvalidOperationException: Sequence ID greater than amount of messages we've received."),
        (0, "InvalidOperationException: Sequence ID less than 1."),
        (-1, "InvalidOperationException: Sequence ID less than 1."),
    ],
)
async def test_a_sequence_that_cannot_be(site: Site, number: int, error: str) -> None:
    url, socket = await connect(site)
    socket.send(call("Nothing", invocation_id=None), text(sequence(number)))
    assert await receive(socket) == [{"type": 7, "error": f"{FAILED} {error}", "allowReconnect": True}]
    assert await socket.closed() == 1000
    assert (await site.socket(url).refused()).brief == UNKNOWN


async def test_half_a_message_of_the_lost_socket_is_forgotten(site: Site) -> None:
    url, socket = await connect(site)
    message = call("Echo", "whole")
    socket.send(message[:20])
    await settle()
    await lose(socket)
    again = await site.socket(url).accepted()
    again.send(text(sequence(1)) + message)
    assert await receive(again, 2) == [sequence(1), done("whole")]


async def test_a_socket_that_is_still_there_is_replaced(site: Site, hub: type[StageHub]) -> None:
    """The new one works at once; what the old one says is not heard."""
    url, socket = await connect(site)
    again = await site.socket(url).accepted()
    assert await receive(again) == [sequence(1)]
    socket.send(call("note", "from the old one", invocation_id=None))
    assert await socket.closed() == 1000
    for value in ("x", "y"):
        again.send(call("Echo", value))
        assert await receive(again) == [done(value)]
    assert hub.log == []


async def test_the_user_and_the_expiry_are_those_of_the_last_request(site: Site, hub: type[StageHub]) -> None:
    """The user identifier stays."""
    anna, married = (SimpleNamespace(is_authenticated=True, pk=7, name=name) for name in ("Anna", "Anna B."))
    url, socket = await connect(site, user=anna)
    await lose(socket)
    again = await site.socket(url, user=married).accepted()
    assert await receive(again) == [sequence(1)]
    again.send(call("who"), call("GetUserName"))
    assert await receive(again, 2) == [done("Anna B."), done("7")]
    stranger = SimpleNamespace(is_authenticated=True, pk=8, name="Bert")
    assert (await site.socket(url, user=stranger).refused()).brief == UNKNOWN


# The window, and its end


async def test_the_window_is_the_disconnect_timeout(site: Site, hub: type[StageHub]) -> None:
    url, socket = await connect(site)
    await lose(socket)
    for method, headers, expected in [
        ("GET", {}, (400, b"Cannot change transports mid-connection")),
        ("GET", SSE, (400, b"Cannot change transports mid-connection")),
        ("POST", {}, (405, b"POST requests are not allowed for WebSocket connections.")),
        ("DELETE", {}, (400, b"Cannot terminate this connection using the DELETE endpoint.")),
    ]:
        assert (await site.request(method, url, headers)).brief == expected
    site.tick(14)
    await settle()
    assert hub.log == []
    site.tick(16)
    await settle()
    assert hub.log == [("client_gone", None)]
    assert (await site.socket(url).refused()).brief == UNKNOWN


async def test_the_clients_time_runs_on_in_the_window(site: Site, hub: type[StageHub]) -> None:
    url, socket = await connect(site, "/impatient")
    await settle()
    await lose(socket)
    site.tick(2.5)
    await settle()
    assert [reason for reason, _ in hub.log] == ["ping_timeout"]
    assert (await site.socket(url).refused()).brief == UNKNOWN


async def said_close(socket: Socket) -> None:
    socket.send(CLOSE)
    assert await socket.receive() == CLOSE
    assert await socket.closed() == 1000


async def sent_a_close_frame(socket: Socket) -> None:
    socket.close(1000)
    await socket.finish()


async def was_aborted(socket: Socket) -> None:
    socket.send(call("AbortMe"))
    assert await socket.receive() == CLOSE
    assert await socket.closed() == 1000


async def broke_the_protocol(socket: Socket) -> None:
    socket.send("garbage\x1e")
    assert "Error reading JSON." in str(await socket.receive())
    assert await socket.closed() == 1000


async def broke_the_web_socket(socket: Socket) -> None:
    socket.close(1007)
    await socket.finish()


@pytest.mark.parametrize("end", [said_close, sent_a_close_frame, was_aborted, broke_the_protocol, broke_the_web_socket])
async def test_who_left_cannot_come_back(site: Site, end: Any) -> None:
    """Not even while the hub still hears of the end: @microsoft/signalr 10.0 tries it right after a Close."""
    url, socket = await connect(site)
    await end(socket)
    assert (await site.socket(url).refused()).brief == UNKNOWN


async def test_a_shutdown_is_a_close_frame_alone(site: Site) -> None:
    """A Close message would make @microsoft/signalr 10.0 resume and reconnect at once."""
    _, socket = await connect(site)
    site.runtime.say_goodbye()
    assert await socket.closed() == 1012
