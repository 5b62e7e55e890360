"""A client for tests of hubs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from django.contrib.auth.models import AnonymousUser

from signalr_channels.endpoints import PROTOCOLS, HubEndpoint
from signalr_channels.exceptions import ConnectionClosed, WrongContext
from signalr_channels.gate import admit
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.session import HubSession
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.protocols.messages import NO_RESULT, Close, Invocation
from signalr_channels.sessions import OpenConnection, open_connection
from signalr_channels.testing.conversation import ClientCall, ClientTransport, Conversation
from signalr_channels.testing.runtime import ManualClock, RuntimeForTests, acquire_runtime
from signalr_channels.testing.streams import HubStream
from signalr_channels.testing.wire import ClientWire
from signalr_channels.tokens import make_connection_id

__all__ = ["HubCommunicator"]

logger = logging.getLogger("signalr_channels.testing")

PATH = "hub"


class HubCommunicator:
    """
    One client of a hub, for one connection: ``async with HubCommunicator(ChatHub) as client``, or :meth:`start` and :meth:`stop`.

    Attributes:
        user: Whom it is logged in as.
    """

    def __init__(
        self,
        hub: type[Hub],
        *,
        user: Any = None,
        protocol: str = "json",
        headers: Mapping[str, str] | None = None,
        scope: Mapping[str, Any] | None = None,
        timeout: float = 5.0,
        **settings: Any,
    ) -> None:
        """
        Args:
            hub: The hub class.
            user: A Django user; ``None`` is nobody.
            protocol: ``json`` or ``messagepack``.
            headers: Of the request, such as ``{"User-Agent": "…"}``.
            scope: More entries of the ASGI scope, which hub code finds in ``self.context.scope``.
            timeout: Seconds that anything it waits for may take, unless a call says otherwise.
            settings: Settings that differ from the hub's, by the names of ``SIGNALR``.

        Raises:
            HubDefinitionError: A setting is unknown.
        """
        if not (isinstance(hub, type) and issubclass(hub, Hub)):
            raise TypeError(f"HubCommunicator() takes a hub class, not {hub!r}")
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {' or '.join(PROTOCOLS)}, not {protocol!r}")
        self.user = AnonymousUser() if user is None else user
        self._endpoint = HubEndpoint(PATH, hub, settings)
        self._scope: dict[str, Any] = {
            "type": "websocket",
            "path": f"/{PATH}",
            "query_string": b"",
            "client": ("testclient", 0),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()],
            **(scope or {}),
            "user": self.user,
        }
        self._conversation = Conversation(ClientWire(PROTOCOLS[protocol]), timeout)
        self._runtime: RuntimeForTests | None = None
        self._opened: OpenConnection | None = None
        self._session: HubSession | None = None

    # Start and end

    async def start(self) -> None:
        """
        Connect, and wait until ``on_connected`` has run.

        Raises:
            RequestRefused: It is not let in: 401 without a login, 403 without the permission, 503 where there is no room.
            ConnectionClosed: The handshake was refused, or ``on_connected`` raised, which is then the ``__cause__``.
            WrongContext: It was started before, or a real server runs in this event loop.
        """
        if self._runtime is not None or self._conversation.is_over:
            raise WrongContext("A HubCommunicator connects once; make another one.")
        runtime = self._runtime = acquire_runtime()
        try:
            await self._connect(runtime)
        except BaseException:
            await self.stop()
            raise

    async def _connect(self, runtime: RuntimeForTests) -> None:
        endpoint, conversation = self._endpoint, self._conversation
        admission = await admit(self._scope, endpoint)
        runtime.check_room()
        dispatcher = runtime.dispatcher_for(endpoint)
        assert dispatcher is not None
        conversation.wire.use_variant_of(dispatcher.protocols)
        transport = ClientTransport(conversation)
        opened = open_connection(runtime, endpoint, dispatcher, self._scope, admission, make_connection_id(), transport)
        session = opened.session
        assert isinstance(session, HubSession)
        self._opened, self._session = opened, session
        conversation.begin(session)
        await conversation.in_time(session.wait_started(), None, "on_connected has not ended")
        if (disconnect := opened.connection.disconnect) is not None:
            told = conversation.wire.handshake_error
            if told is None and conversation.close_message is not None:
                told = conversation.close_message.error
            raise ConnectionClosed(told or conversation.ending()) from disconnect.exception
        conversation.ping()  # as Microsoft's clients do, which starts the server's CLIENT_TIMEOUT_INTERVAL

    async def stop(self) -> None:
        """
        Leave as a client does on purpose, and wait until the server is done with it. Doing it twice is harmless.

        Hub methods that still run have ``timeout`` seconds; then they are cancelled. What a handler of :meth:`on` raised is raised here.
        """
        runtime, self._runtime = self._runtime, None
        if runtime is None:
            return
        conversation = self._conversation
        conversation.is_over = True
        try:
            if self._session is not None:
                self._session.receive(conversation.wire.encode(Close()))
                await self._leave(CloseReason.CLIENT_CLOSED)
        finally:
            await conversation.cancel_tasks()
            await runtime.flush_history()
            await runtime.release()
        conversation.raise_handler_error()

    async def vanish(self) -> None:
        """Lose the network connection without a goodbye, and wait until the server is done with it."""
        self._require()
        self._conversation.is_over = True
        await self._leave(CloseReason.CLIENT_GONE)

    async def _leave(self, reason: CloseReason) -> None:
        opened, session, timeout = self._require(), self._session, self._conversation.timeout
        opened.connection.receive_eof(reason)
        assert opened.finished is not None and session is not None
        self._conversation.wake()
        await asyncio.wait([opened.finished], timeout=timeout)
        if not opened.finished.done() or not await session.wait_calls(timeout):
            logger.warning("%s: what ran on for %g s after its client had left was cancelled", self._endpoint.hub_name, timeout)
            await session.cancel_calls()
        await asyncio.shield(opened.finished)

    async def wait_closed(self, *, timeout: float | None = None) -> Disconnect:
        """Wait until the server has ended the connection, and ``on_disconnected`` has run; gives what that was told."""
        opened = self._require()

        async def wait() -> None:
            await opened.wait_ended()
            assert opened.finished is not None
            await asyncio.shield(opened.finished)

        await self._conversation.in_time(wait(), timeout, "The connection goes on")
        disconnect = opened.connection.disconnect
        assert disconnect is not None
        return disconnect

    async def __aenter__(self) -> HubCommunicator:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.stop()

    # The connection

    @property
    def connection_id(self) -> str:
        """The public id of the connection."""
        return self._require().connection.connection_id

    @property
    def context(self) -> HubCallerContext:
        """What hub code sees as ``self.context``."""
        return self._require().session.context

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""
        return frozenset(self._require().connection.groups or ())

    @property
    def closed(self) -> Disconnect | None:
        """Why the connection has ended, as ``on_disconnected`` is told; ``None`` while it is open."""
        return self._require().connection.disconnect

    @property
    def close_message(self) -> Close | None:
        """The Close message the server has sent, with its ``error`` and ``allow_reconnect``."""
        return self._conversation.close_message

    @property
    def pings(self) -> int:
        """How often the server has pinged."""
        return self._conversation.pings

    @property
    def clock(self) -> ManualClock:
        """The server's clock, which all clients share: ``client.clock.advance(31)`` lets that many seconds pass."""
        if self._runtime is None:
            raise WrongContext("The HubCommunicator has not started, or has stopped.")
        return self._runtime.manual_clock

    @property
    def is_started(self) -> bool:
        """Whether it has started and not stopped."""
        return self._runtime is not None

    def _require(self) -> OpenConnection:
        if self._opened is None:
            raise WrongContext("Start the HubCommunicator first: async with HubCommunicator(…) as client.")
        return self._opened

    # Calling the hub

    async def ainvoke(self, target: str, /, *args: Any, result_type: Any = Any, timeout: float | None = None) -> Any:
        """
        Call a hub method and wait for its result.

        Args:
            target: Name of the method, in any of the spellings a client may use.
            args: Its arguments. Async iterables among them are sent as upload streams; ``upload([1, 2])`` makes one of a list.
            result_type: What the result is converted to, such as a dataclass.
            timeout: Seconds to wait at most.

        Raises:
            HubInvocationError: It ended with an error.
            ConnectionClosed: The connection ended meanwhile, or had before.
            AssertionError: It took longer than ``timeout``.
        """
        self._require()
        conversation = self._conversation
        call = await conversation.call(Invocation, target, args)
        try:
            await conversation.wait(lambda: call.completion is not None, timeout, f"{target} has not ended")
        finally:
            conversation.forget(call)
        call.raise_error()
        assert call.completion is not None
        result = call.completion.result
        return None if result is NO_RESULT else conversation.wire.read(result, result_type)

    async def asend(self, target: str, /, *args: Any) -> None:
        """Call a hub method that nobody waits for. Returns when the server has the call, not when it has run."""
        self._require()
        await self._conversation.call_with_uploads(Invocation, target, args, None)

    def astream(self, target: str, /, *args: Any, item_type: Any = Any, timeout: float | None = None) -> HubStream:
        """
        Call a streaming hub method: ``async for item in client.astream("Countdown", 3)``.

        Args:
            target: See :meth:`ainvoke`.
            args: See :meth:`ainvoke`.
            item_type: What the items are converted to.
            timeout: Seconds to wait for each item at most.
        """
        self._require()
        return HubStream(self._conversation, target, args, item_type, timeout)

    def ping(self) -> None:
        """Tell the server that the client lives. It does so by itself once, after the handshake."""
        self._require()
        self._conversation.ping()

    # Being called

    def on(self, target: str, handler: Callable[..., Any]) -> None:
        """
        Run ``handler(*arguments)``, plain or async, for each call of a client method, instead of keeping the call for :meth:`receive`.

        Where the hub asks for a result, it gets what the handler returns, or the text of what it raises.
        """
        self._conversation.handlers[target.lower()] = handler

    async def receive(self, target: str, *, timeout: float | None = None) -> list[Any]:
        """
        Wait for the hub to call a client method, and give the arguments. Calls of other methods stay to be received.

        Raises:
            AssertionError: It was not called within ``timeout`` seconds; the text says what was.
            ConnectionClosed: The connection ended, so it never will be.
        """
        self._require()
        conversation = self._conversation
        await conversation.wait(lambda: conversation.find(target) is not None, timeout, f"{target} was not called")
        call = conversation.find(target)
        assert call is not None
        conversation.received.remove(call)
        return call.arguments

    async def receive_next(self, *, timeout: float | None = None) -> ClientCall:
        """Wait for the hub to call any client method."""
        self._require()
        conversation = self._conversation
        await conversation.wait(lambda: bool(conversation.received), timeout, "No client method was called")
        return conversation.received.popleft()

    @property
    def received(self) -> tuple[ClientCall, ...]:
        """The calls that have come and were not received yet, oldest first."""
        return tuple(self._conversation.received)

    async def nothing_received(self, target: str | None = None, *, within: float = 0.1) -> bool:
        """Whether there is no call of a client method to receive, or none of ``target``, and none comes for that many seconds."""
        self._require()
        return await self._conversation.stays_quiet(target, within)
