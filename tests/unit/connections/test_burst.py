"""Messages to many connections, written to all their sockets in one go."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from signalr_channels.connections.burst import MANY, Burst
from signalr_channels.connections.connection import Connection
from signalr_channels.exceptions import LocalProtocolError
from signalr_channels.hubs.lifetime import Audience, AudienceKind, ConnectionIndex, SharedInvocation
from signalr_channels.protocols.base import EncodedMessage, HubProtocol, TransferFormat
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import Invocation
from tests.unit.scripted import JSON, Clock, ScriptedTransport

MESSAGEPACK = MessagePackHubProtocol()
ALL = Audience(kind=AudienceKind.ALL)
READ_SIZE = 1 << 20


class SocketWay:
    """A direct way to one end of a pair of sockets; the other end is the client's."""

    def __init__(self) -> None:
        self.socket, self.client = socket.socketpair()
        self.socket.setblocking(False)
        self.client.setblocking(False)
        self.is_busy = False
        self.rests: list[bytes] = []
        self.written: list[bytes] = []

    def write(self, message: EncodedMessage) -> bool:
        self.written.append(message.data)
        return True

    def join(self, burst: Burst, message: EncodedMessage) -> bool:
        if not self.is_busy:
            burst.add(self.socket.fileno(), b"frame:" + message.data, self)
        return not self.is_busy

    def write_rest(self, data: bytes) -> None:
        self.rests.append(data)

    def read(self) -> bytes:
        """What the client finds."""
        try:
            return self.client.recv(READ_SIZE)
        except BlockingIOError:
            return b""

    def fill(self) -> None:
        """Write until the socket takes no more."""
        with contextlib.suppress(BlockingIOError):
            while self.socket.send(bytes(READ_SIZE)):
                pass

    def close(self) -> None:
        self.socket.close()
        self.client.close()


@pytest.fixture
def ways() -> Iterator[list[SocketWay]]:
    made = [SocketWay() for _ in range(MANY)]
    yield made
    for way in made:
        way.close()


def text(data: bytes) -> EncodedMessage:
    return EncodedMessage(data, TransferFormat.TEXT)


def joined(ways: list[SocketWay], data: bytes) -> Burst:
    burst = Burst()
    assert all(way.join(burst, text(data)) for way in ways)
    assert len(burst) == len(ways)
    return burst


# The sockets


def test_all_sockets_get_the_message(ways: list[SocketWay]) -> None:
    joined(ways, b"hello").write()
    assert [way.read() for way in ways] == [b"frame:hello"] * MANY
    assert not any(way.rests for way in ways)


def test_a_burst_nobody_joined_writes_nothing() -> None:
    Burst().write()


def test_each_socket_may_get_something_else(ways: list[SocketWay]) -> None:
    burst = Burst()
    for number, way in enumerate(ways):
        assert way.join(burst, text(b"%d" % number))
    burst.write()
    assert [way.read() for way in ways] == [b"frame:%d" % number for number in range(MANY)]


@pytest.mark.parametrize("fault", ["full", "reset", "closed"])
@pytest.mark.parametrize("where", [0, 7, MANY - 1])
def test_a_socket_that_does_not_take_it_keeps_no_other_from_it(ways: list[SocketWay], where: int, fault: str) -> None:
    bad = ways[where]
    burst = joined(ways, b"hello")
    if fault == "full":
        bad.fill()
    elif fault == "reset":
        bad.client.close()
    else:
        bad.socket.close()
    burst.write()
    assert bad.rests == [b"frame:hello"]
    others = [way for way in ways if way is not bad]
    assert [way.read() for way in others] == [b"frame:hello"] * (MANY - 1)
    assert not any(way.rests for way in others)


def test_all_sockets_may_be_gone(ways: list[SocketWay]) -> None:
    burst = joined(ways, b"hello")
    for way in ways:
        way.client.close()
    burst.write()
    assert [way.rests for way in ways] == [[b"frame:hello"]] * MANY


def test_what_a_socket_has_no_room_for_goes_the_other_way(ways: list[SocketWay]) -> None:
    slow = ways[3]
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    data = bytes(200_000)
    joined(ways, data).write()
    begun = slow.read()
    assert 0 < len(begun) < len(data)
    assert begun + b"".join(slow.rests) == b"frame:" + data


# The connections


class SocketTransport(ScriptedTransport):
    """A transport with a direct way."""

    def __init__(self, way: SocketWay) -> None:
        super().__init__()
        self.direct = way


def connect(index: ConnectionIndex, ways: list[SocketWay], protocols: list[HubProtocol] | None = None) -> list[Connection]:
    connections = []
    for number, way in enumerate(ways):
        protocol = JSON if protocols is None else protocols[number % len(protocols)]
        engine = CoreEngine(hub_protocols=[JSON, MESSAGEPACK])
        connection = Connection(connection_id=str(number), engine=engine, transport=SocketTransport(way), clock=Clock())
        connection.receive(f'{{"protocol":"{protocol.name}","version":1}}\x1e')
        index.add(connection)
        connections.append(connection)
    return connections


def invocation(number: int = 0) -> SharedInvocation:
    return SharedInvocation(Invocation(target="hello", arguments=[number]))


def encoded(number: int = 0, protocol: HubProtocol = JSON) -> bytes:
    return protocol.encode(invocation(number).message)


async def test_a_message_to_many_is_a_burst(ways: list[SocketWay]) -> None:
    index = ConnectionIndex()
    connect(index, ways)
    index.deliver(ALL, invocation().encoded)
    assert [way.read() for way in ways] == [b"frame:" + encoded()] * MANY
    assert not any(way.written for way in ways)


async def test_a_message_to_few_is_none(ways: list[SocketWay]) -> None:
    index = ConnectionIndex()
    connect(index, ways[:-1])
    index.deliver(ALL, invocation().encoded)
    assert [way.written for way in ways[:-1]] == [[encoded()]] * (MANY - 1)


async def test_each_gets_it_in_its_protocol(ways: list[SocketWay]) -> None:
    index = ConnectionIndex()
    connect(index, ways, [JSON, MESSAGEPACK])
    index.deliver(ALL, invocation().encoded)
    expected = [b"frame:" + encoded(protocol=protocol) for protocol in (JSON, MESSAGEPACK)]
    assert [way.read() for way in ways] == expected * (MANY // 2)


async def test_who_joined_gets_what_a_later_protocol_cannot_encode(ways: list[SocketWay]) -> None:
    index = ConnectionIndex()
    connect(index, ways, [MESSAGEPACK, JSON])
    shared = SharedInvocation(Invocation(target="hello", arguments=[float("nan")]))
    with pytest.raises(LocalProtocolError):
        index.deliver(ALL, shared.encoded)
    assert [way.read() for way in ways] == [b"frame:" + MESSAGEPACK.encode(shared.message)] + [b""] * (MANY - 1)


async def test_each_group_has_its_burst(ways: list[SocketWay]) -> None:
    index = ConnectionIndex()
    for connection in connect(index, ways):
        for group in ("a", "b"):
            index.join(connection, group)
    index.deliver(Audience(kind=AudienceKind.GROUPS, names=("a", "b")), invocation().encoded)
    assert [way.read() for way in ways] == [(b"frame:" + encoded()) * 2] * MANY


async def test_who_has_something_to_write_or_to_collect_or_has_ended_does_not_join(ways: list[SocketWay]) -> None:
    index = ConnectionIndex()
    busy, collecting, ended, excluded, *others = connect(index, ways)
    ways[0].is_busy = True
    collecting.cork()
    ended.close(CloseReason.CLOSED_BY_APP)
    index.deliver(Audience(kind=AudienceKind.ALL, excluded=(excluded.connection_id,)), invocation().encoded)
    assert [way.read() for way in ways] == [b""] * 4 + [b"frame:" + encoded()] * len(others)
    assert ways[0].written == [encoded()]
    assert not any(way.written for way in ways[1:])
    collecting.uncork()
    transport = collecting.transport
    assert isinstance(transport, SocketTransport) and transport.written[-1] == encoded()
    assert not busy.is_closed
