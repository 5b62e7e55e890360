"""
A connection with stateful reconnect against a small client, over transports that are cut at any byte.

Here a whole connection talks, in its encodings, through pipes of bytes; ``test_replay.py`` has the counters by themselves. The client is a
model of Microsoft's: it discards what comes before the server's Sequence, counts, drops what it has had, and refuses a Sequence above the
message it has come to.

Source: reference section 7; ``MessageBuffer.ts`` of @microsoft/signalr 10.0.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signalr_channels.connections.connection import Connection
from signalr_channels.protocols.base import EncodedMessage, HubProtocol, TransferFormat
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.messages import (
    Ack,
    CancelInvocation,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    SequenceMessage,
    StreamInvocation,
    StreamItem,
)

BUFFER_SIZE = 300
"""Bytes the server may send without an acknowledgement: a handful of the messages below."""
LARGEST = 160
"""Bytes of the longest message below, as encoded by either protocol."""
NEVER = 1e9

SIZES = st.integers(0, 60)


def numbered(number: int, size: int) -> HubMessage:
    """A message that counts, of each kind in turn, with its number to be found by :func:`number_of`."""
    text, padding = str(number), "x" * size
    kinds: Sequence[HubMessage] = (
        Invocation(target=text, arguments=[padding]),
        Completion(invocation_id=text, result=padding),
        StreamItem(invocation_id=text, item=padding),
        StreamInvocation(target=text, arguments=[padding], invocation_id=text),
        CancelInvocation(invocation_id=text),
    )
    return kinds[number % len(kinds)]


def number_of(message: Any) -> int:
    return int(message.target if isinstance(message, Invocation) else message.invocation_id)


class Client:
    """The client's end: its counters, and what its application has heard."""

    def __init__(self, protocol: HubProtocol) -> None:
        self.protocol = protocol
        self.heard: list[int] = []
        self.said = 0
        self.unacknowledged: deque[tuple[int, bytes]] = deque()
        self.next_id = 1
        self.latest = 0
        self.waits_for_sequence = False
        self.is_online = True
        self.pings = 0
        self._splitter = protocol.splitter(None)

    def say(self, size: int) -> bytes:
        """The bytes to send, if it is online; they are kept in any case."""
        self.said += 1
        data = self.protocol.encode(numbered(self.said, size))
        self.unacknowledged.append((self.said, data))
        return data if self.is_online else b""

    def lose_transport(self) -> None:
        self.is_online = False
        self.waits_for_sequence = True
        self._splitter.discard_pending()

    def come_back(self) -> bytes:
        self.is_online = True
        first = self.unacknowledged[0][0] if self.unacknowledged else self.said + 1
        return self.protocol.encode(SequenceMessage(sequence_id=first)) + b"".join(data for _, data in self.unacknowledged)

    def acknowledge(self) -> bytes:
        return self.protocol.encode(Ack(sequence_id=self.latest))

    def hear(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            message = self.protocol.parse(frame)
            assert message is not None
            self._hear(message)

    def _hear(self, message: HubMessage) -> None:
        if isinstance(message, SequenceMessage):
            assert message.sequence_id <= self.next_id, "the client ends its connection: it has not received as many messages"
            self.next_id = message.sequence_id
            self.waits_for_sequence = False
        elif self.waits_for_sequence:
            pass
        elif isinstance(message, Ping):
            self.pings += 1
        elif isinstance(message, Ack):
            while self.unacknowledged and self.unacknowledged[0][0] <= message.sequence_id:
                self.unacknowledged.popleft()
        else:
            self.next_id += 1
            if self.next_id - 1 > self.latest:
                self.latest = self.next_id - 1
                self.heard.append(number_of(message))


class PipeTransport:
    """A transport whose bytes are taken out again, and whose client may stop to read."""

    name = "webSockets"

    def __init__(self) -> None:
        self.is_paused = False
        self.is_aborted = False
        self._written = b""
        self._reads_on = asyncio.Event()

    def pause(self) -> None:
        self.is_paused = True
        self._reads_on.clear()

    def resume(self) -> None:
        self.is_paused = False
        self._reads_on.set()

    async def write(self, message: EncodedMessage) -> None:
        while self.is_paused:
            await self._reads_on.wait()
        if self.is_aborted:
            raise OSError("aborted")
        self._written += message.data

    async def close(self, *, code: int) -> None:
        while self.is_paused:
            await self._reads_on.wait()

    def abort(self) -> None:
        self.is_aborted = True
        self.resume()

    def take(self) -> bytes:
        data, self._written = self._written, b""
        return data


class Machine(RuleBasedStateMachine):
    """
    Messages both ways, acknowledgements and pings at any time, and transports that are lost anywhere.

    Attributes:
        up: Bytes on their way to the server.
        down: Bytes on their way to the client.
    """

    protocol: HubProtocol

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.client = Client(self.protocol)
        self.heard: list[int] = []
        self.said = 0
        self.up = b""
        self.down = b""
        self.transport = PipeTransport()
        self.connection: Connection

    def run(self, function: Any, *args: Any) -> Any:
        """Call something of the server inside its loop, and let all of it happen."""

        async def call() -> Any:
            result = function(*args)
            for _ in range(5):
                await asyncio.sleep(0)
            return result

        result = self.loop.run_until_complete(call())
        written = self.transport.take()
        if self.client.is_online:
            self.down += written
        return result

    @initialize()
    def connect(self) -> None:
        engine = CoreEngine(hub_protocols=[self.protocol], stateful_buffer_size=BUFFER_SIZE, client_timeout_interval=NEVER)
        self.connection = Connection(
            connection_id="one", engine=engine, transport=self.transport, clock=lambda: self.now, send_timeout=NEVER,
        )  # fmt: skip
        handshake = f'{{"protocol":"{self.protocol.name}","version":2}}\x1e'.encode()
        self.run(self.connection.receive, handshake)
        assert self.down == b"{}\x1e"
        self.down = b""
        self.run(self.connection.receive, self.protocol.encode(Ping()))  # the client counts from now on

    # What the ends do

    @rule(size=SIZES)
    def the_server_says_something(self, size: int) -> None:
        self.said += 1
        self.run(self.connection.send, numbered(self.said, size))

    @rule(size=SIZES)
    def the_server_says_something_to_several(self, size: int) -> None:
        self.said += 1
        self.run(self.connection.enqueue, EncodedMessage(self.protocol.encode(numbered(self.said, size)), self.protocol.transfer_format))

    @rule(count=st.integers(1, 4), size=SIZES)
    def the_server_says_things_together(self, count: int, size: int) -> None:
        def say() -> None:
            self.connection.cork()
            for _ in range(count):
                self.said += 1
                self.connection.send(numbered(self.said, size))
            self.connection.uncork()

        self.run(say)

    @rule(size=SIZES)
    def the_client_says_something(self, size: int) -> None:
        self.up += self.client.say(size)

    @precondition(lambda self: self.client.is_online)
    @rule()
    def the_client_acknowledges(self) -> None:
        self.up += self.client.acknowledge()

    @precondition(lambda self: self.client.is_online)
    @rule()
    def the_client_pings(self) -> None:
        self.up += self.protocol.encode(Ping())

    @rule(seconds=st.sampled_from([1.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        """In which the server acknowledges and pings."""
        self.now += seconds
        self.run(self.connection.tick, self.now)

    # What the network does

    @precondition(lambda self: self.up)
    @rule(size=st.integers(1, 200))
    def bytes_arrive_at_the_server(self, size: int) -> None:
        self._deliver_up(size)

    @precondition(lambda self: self.up)
    @rule()
    def all_arrives_at_the_server(self) -> None:
        self._deliver_up(len(self.up))

    def _deliver_up(self, size: int) -> None:
        data, self.up = self.up[:size], self.up[size:]
        is_text = self.protocol.transfer_format is TransferFormat.TEXT
        events = self.run(self.connection.receive, data.decode() if is_text else data)
        self.heard += map(number_of, events)

    @precondition(lambda self: self.down)
    @rule(size=st.integers(1, 200))
    def bytes_arrive_at_the_client(self, size: int) -> None:
        data, self.down = self.down[:size], self.down[size:]
        self.client.hear(data)

    @precondition(lambda self: self.down)
    @rule()
    def all_arrives_at_the_client(self) -> None:
        data, self.down = self.down, b""
        self.client.hear(data)

    @precondition(lambda self: self.client.is_online and not self.transport.is_paused)
    @rule()
    def the_client_stops_reading(self) -> None:
        self.run(self.transport.pause)

    @precondition(lambda self: self.transport.is_paused)
    @rule()
    def the_client_reads_on(self) -> None:
        self.run(self.transport.resume)

    @precondition(lambda self: self.client.is_online)
    @rule(kept=st.integers(0, 100), server_knows=st.booleans())
    def the_transport_is_lost(self, kept: int, server_knows: bool) -> None:
        """Of what is on its way to the server a part still arrives. The server may not learn of it before the client is back."""
        if server_knows:
            if self.up[:kept]:
                self._deliver_up(kept)
            self.run(self.connection.detach)
        self.up = self.down = b""
        self.client.lose_transport()

    @precondition(lambda self: not self.client.is_online)
    @rule()
    def the_client_comes_back(self) -> None:
        old, self.transport = self.transport, PipeTransport()
        self.up = self.client.come_back()
        self.run(self.connection.attach, self.transport)
        self.run(old.abort)  # the network has noticed

    @rule(up=st.integers(0, 200), down=st.integers(0, 200), server_knows=st.booleans(), acknowledges=st.booleans())
    def the_transport_is_replaced(self, up: int, down: int, server_knows: bool, acknowledges: bool) -> None:
        """And part of what is said again arrives, so that the next loss comes in the middle of it."""
        if self.client.is_online:
            self.the_transport_is_lost(0, server_knows)
        self.the_client_comes_back()
        if self.down[:down]:
            self.bytes_arrive_at_the_client(down)
        if acknowledges:
            self.the_client_acknowledges()
        if self.up[:up]:
            self._deliver_up(up)

    # What always holds

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        assert self.client.heard == list(range(1, len(self.client.heard) + 1))
        assert self.heard == list(range(1, len(self.heard) + 1))
        assert len(self.client.heard) <= self.said
        assert len(self.heard) <= self.client.said

    @invariant()
    def the_connection_lives(self) -> None:
        assert self.connection.disconnect is None

    @invariant()
    def the_server_sends_only_so_much_without_an_acknowledgement(self) -> None:
        replay = self.connection.engine.replay
        assert replay is not None
        assert 0 <= replay._sent_bytes <= BUFFER_SIZE + LARGEST
        assert replay._sent_bytes == sum(len(message.data) for message in replay._sent)
        assert replay.pending_bytes == replay._sent_bytes + sum(len(message.data) for message in replay._unsent)

    def teardown(self) -> None:
        """In the end, all arrives."""
        try:
            if self.client.is_online:
                self.the_transport_is_lost(0, True)
            self.the_client_comes_back()
            for _ in range(self.said + self.client.said + 3):
                if self.up:
                    self.all_arrives_at_the_server()
                if self.down:
                    self.all_arrives_at_the_client()
                self.the_client_acknowledges()
                self.time_passes(1.0)
            self.nothing_is_lost_doubled_or_out_of_order()
            assert len(self.client.heard) == self.said
            assert len(self.heard) == self.client.said
            assert not self.client.unacknowledged
            assert self.connection.engine.replay is not None
            assert self.connection.engine.replay.pending_bytes == 0
        finally:
            self.loop.run_until_complete(asyncio.sleep(0))
            assert not asyncio.all_tasks(self.loop)
            self.loop.close()


class InJson(Machine):
    protocol = JsonHubProtocol()


class InMessagePack(Machine):
    protocol = MessagePackHubProtocol()


TestInJson = InJson.TestCase
TestInJson.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestInMessagePack = InMessagePack.TestCase
TestInMessagePack.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_longest_message_is_as_long_as_this_module_says() -> None:
    for protocol in (InJson.protocol, InMessagePack.protocol):
        assert max(len(protocol.encode(numbered(10_000 + kind, 60))) for kind in range(5)) <= LARGEST
