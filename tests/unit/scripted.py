"""
A scripted client: a fake transport, an engine and a hub session joined together, on a clock that stands still.

``server = ScriptedServer(ChatHub)``, ``client = server.connect()``, ``client.invoke("Add", 1, 2)``, ``await client.receive()``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from signalr_channels.conf import SignalRSettings
from signalr_channels.connections.connection import Connection
from signalr_channels.connections.transports import FakeTransport
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.lifetime import HubLifetimeManager, InMemoryHubLifetimeManager
from signalr_channels.hubs.reach import Reach
from signalr_channels.hubs.session import HubSession
from signalr_channels.protocols.base import EncodedMessage
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.endings import CloseReason

TIMEOUT = 2.0
"""Seconds to wait for what must happen; every wait is a multiple of it."""

JSON = JsonHubProtocol()
HANDSHAKE = '{"protocol":"json","version":1}\x1e'
PING = {"type": 6}
CLOSE = {"type": 7}
ROUNDS = 30


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class ScriptedTransport(FakeTransport):
    """A fake transport one can wait on."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    async def write(self, message: EncodedMessage) -> None:
        await super().write(message)
        self.changed.set()

    async def close(self, *, code: int) -> None:
        await super().close(code=code)
        self.changed.set()


async def settle() -> None:
    """Let everything run that can run without time or threads. For assertions that something does *not* happen."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds that nothing announces."""

    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), TIMEOUT)


def decode(data: bytes) -> dict[str, Any]:
    """One message of the server."""
    assert data.endswith(b"\x1e")
    message: dict[str, Any] = msgspec.json.decode(data[:-1])
    return message


def completion(invocation_id: str, result: Any) -> dict[str, Any]:
    return {"type": 3, "invocationId": invocation_id, "result": result}


def failed(invocation_id: str, error: str) -> dict[str, Any]:
    return {"type": 3, "invocationId": invocation_id, "error": error}


def called(target: str, *arguments: Any) -> dict[str, Any]:
    return {"type": 1, "target": target, "arguments": list(arguments)}


class ScriptedClient:
    """
    One client. What it sends is served at once; what it gets is in ``received()``.

    Attributes:
        transport: Pause it to be a client that does not read.
        connection: The server's side of it.
        session: Its calls.
    """

    def __init__(self, server: ScriptedServer, connection_id: str, user: Any, user_identifier: str | None) -> None:
        options = server.options
        self._server = server
        self.transport = ScriptedTransport()
        self.connection = Connection(
            connection_id=connection_id,
            engine=CoreEngine(
                hub_protocols=[JSON],
                maximum_message_size=options.MAXIMUM_RECEIVE_MESSAGE_SIZE,
                keep_alive_interval=options.KEEP_ALIVE_INTERVAL,
                client_timeout_interval=options.CLIENT_TIMEOUT_INTERVAL,
                handshake_timeout=options.HANDSHAKE_TIMEOUT,
                detailed_errors=options.ENABLE_DETAILED_ERRORS,
                now=server.clock(),
            ),
            transport=self.transport,
            clock=server.clock,
            user_identifier=user_identifier,
            maximum_buffered_bytes=options.MAXIMUM_BUFFERED_BYTES,
            send_timeout=options.TRANSPORT_SEND_TIMEOUT,
        )
        self.context = HubCallerContext(self.connection, user, {"type": "websocket", "path": "/hub"})
        self.session = HubSession(server.dispatcher, self.connection, self.context)
        self.finishing: asyncio.Task[None] | None = None
        self.connection.on_end = self._ended
        self._read = 0
        self._unread: list[dict[str, Any]] = []
        self._ids = itertools.count()

    @property
    def connection_id(self) -> str:
        return self.connection.connection_id

    # Sending

    def send_data(self, data: bytes | str) -> None:
        """Hand over a chunk as it is."""
        self.session.receive(data)

    def send(self, *messages: dict[str, Any]) -> None:
        """Hand over messages in one chunk."""
        self.send_data("".join(msgspec.json.encode(message).decode() + "\x1e" for message in messages))

    def invoke(self, target: str, *arguments: Any, streams: Sequence[str] = ()) -> str:
        """Call a hub method; gives the invocation id."""
        return self._call(1, target, arguments, streams)

    def stream(self, target: str, *arguments: Any, streams: Sequence[str] = ()) -> str:
        """Call a streaming hub method; gives the invocation id."""
        return self._call(4, target, arguments, streams)

    def _call(self, type: int, target: str, arguments: Sequence[Any], streams: Sequence[str]) -> str:
        invocation_id = str(next(self._ids))
        message = {"type": type, "invocationId": invocation_id, "target": target, "arguments": arguments}
        self.send({**message, "streamIds": streams} if streams else message)
        return invocation_id

    def forget(self, target: str, *arguments: Any) -> None:
        """Call a hub method without waiting for an answer."""
        self.send({"type": 1, "target": target, "arguments": arguments})

    def item(self, stream_id: str, item: Any) -> None:
        """Send an item of an upload stream."""
        self.send({"type": 2, "invocationId": stream_id, "item": item})

    def complete(self, stream_id: str, **members: Any) -> None:
        """End an upload stream."""
        self.send({"type": 3, "invocationId": stream_id, **members})

    def cancel(self, invocation_id: str) -> None:
        self.send({"type": 5, "invocationId": invocation_id})

    # Receiving

    def received(self) -> list[dict[str, Any]]:
        """What has come since the last look, the handshake response left out."""
        self._look()
        messages, self._unread = self._unread, []
        return messages

    def _look(self) -> None:
        """Take in what was written since the last look; a frame may hold several messages."""
        for frame in self.transport.written[self._read :]:
            self._unread += [decode(data + b"\x1e") for data in frame.split(b"\x1e")[:-1] if data != b"{}"]
        self._read = len(self.transport.written)

    async def receive(self, count: int = 1) -> Any:
        """Wait for the next message, or the next ``count`` as a list."""
        messages: list[dict[str, Any]] = []

        async def read() -> None:
            while len(messages) < count:
                self.transport.changed.clear()
                self._look()
                wanted = count - len(messages)
                messages.extend(self._unread[:wanted])
                del self._unread[:wanted]
                if len(messages) < count:
                    await self.transport.changed.wait()

        try:
            await asyncio.wait_for(read(), TIMEOUT)
        except asyncio.TimeoutError:
            raise AssertionError(f"{count} messages wanted, {messages!r} came, then nothing for {TIMEOUT} s") from None
        return messages[0] if count == 1 else messages

    async def receive_completion(self, invocation_id: str) -> dict[str, Any]:
        """Wait for the end of a call; what comes before it is dropped."""
        while True:
            message: dict[str, Any] = await self.receive()
            if message["type"] == 3 and message["invocationId"] == invocation_id:
                return message

    async def call(self, target: str, *arguments: Any) -> Any:
        """Call a hub method and wait for its completion; other messages stay to be read only if they come after it."""
        return await self.receive_completion(self.invoke(target, *arguments))

    # The end

    def _ended(self) -> None:
        self.finishing = asyncio.get_running_loop().create_task(self.session.finish())

    async def finished(self) -> None:
        """Wait until the server is done with the connection, which has ended."""
        assert self.finishing is not None
        await asyncio.wait_for(self.finishing, 2 * TIMEOUT)

    async def leave(self, reason: CloseReason = CloseReason.CLIENT_GONE, exception: Exception | None = None) -> None:
        """The transport ends; the server finishes with the connection."""
        self.connection.receive_eof(reason, exception)
        await self.finished()


class ScriptedServer:
    """
    A hub that is served to scripted clients.

    Attributes:
        clock: Stands still until it is moved.
        manager: The hub's lifetime manager.
        dispatcher: The hub.
        ran_sync: Names of the plain functions that would have run in a thread.
    """

    def __init__(
        self, hub: type[Hub], *, filters: Sequence[HubFilter] = (), manager: HubLifetimeManager | None = None, **settings: Any
    ) -> None:
        self.options = SignalRSettings(**settings)
        self.clock = Clock()
        self.manager = manager or InMemoryHubLifetimeManager(self.options.MAXIMUM_GROUPS_PER_CONNECTION)
        self.ran_sync: list[str] = []
        self.clients: dict[str, ScriptedClient] = {}
        self.dispatcher = HubDispatcher(
            hub,
            protocols=[JSON],
            options=self.options,
            manager=self.manager,
            reach=Reach(hub_name(hub), self.manager, asyncio.get_running_loop()),
            run_sync=self._run_sync,
            filters=filters,
        )

    async def _run_sync(self, function: Callable[..., Any], /, *args: Any) -> Any:
        self.ran_sync.append(function.__name__)
        return await asyncio.to_thread(function, *args)

    def connect(
        self, connection_id: str = "one", *, user: Any = None, user_identifier: str | None = None, handshake: bool = True
    ) -> ScriptedClient:
        """A client that has sent its handshake, and got the response."""
        client = self.clients[connection_id] = ScriptedClient(self, connection_id, user, user_identifier)
        if handshake:
            client.send_data(HANDSHAKE)
            assert client.transport.written == [b"{}\x1e"]
        return client

    def tick(self, now: float) -> None:
        """Move the clock and beat the heart."""
        self.clock.now = now
        for client in self.clients.values():
            client.connection.tick(now)

    async def __aenter__(self) -> ScriptedServer:
        return self

    async def __aexit__(self, *exception: object) -> None:
        """The server stops: every client leaves, and what still runs is cancelled."""
        for client in self.clients.values():
            client.connection.receive_eof(CloseReason.SERVER_SHUTDOWN)
        for client in self.clients.values():
            await client.session.cancel_calls()
            await client.finished()
