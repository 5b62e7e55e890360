"""
The session of one connection: its start, what the client sends, in order, and its end.

Calls have modules of their own: :mod:`.invocations`, :mod:`.streams`, :mod:`.upload_streams`, and :mod:`.completions` for the answers.
What has to wait (for a slot, for ``on_connected``, for a client that does not read) holds up everything the client sent after it;
beyond ``APPLICATION_BUFFER_SIZE`` the transport is no longer read.

Source: ``DefaultHubDispatcher.cs``; reference sections 5.2, 5.6, 5.7.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from signalr_channels.connections.connection import Connection
from signalr_channels.exceptions import ConnectionClosed, HubException, RemoteProtocolError, WrongContext
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.clients import HubCallerClients
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.endings import cancel_calls, run_last
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.invocations import give_up_slot, invoke
from signalr_channels.hubs.streams import RunningStream, cancel_stream, invoke_stream
from signalr_channels.hubs.upload_streams import UploadStream, end_upload, take_item
from signalr_channels.protocols.base import Data
from signalr_channels.protocols.core.engine import ConnectionFailed, Event, HandshakeCompleted
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.protocols.messages import CancelInvocation, Close, Completion, Invocation, StreamInvocation, StreamItem

__all__ = ["HubSession"]

logger = logging.getLogger("signalr_channels.hubs")

LEFT_BY_CLIENT = (CloseReason.CLIENT_CLOSED, CloseReason.CLIENT_GONE)


class HubSession:
    """
    One connection and its calls.

    Attributes:
        dispatcher: The hub.
        connection: The connection.
        context: What hub code sees of it.
        is_connected: Whether ``on_connected`` has run, so that ``on_disconnected`` must.
        starting: The task of ``on_connected``, while it runs.
        methods: Wire name -> method, once hands are shaken.
        free_slots: How many plain invocations may start.
        streams: Invocation id -> streaming invocation, of those that run; ``None`` while there was none.
        uploads: Stream id -> upload stream, of those that are open; ``None`` while there was none.
    """

    __slots__ = (
        "_clients",
        "_context",
        "_groups",
        "_is_going_on",
        "_maximum_pending_bytes",
        "_on_connecting",
        "_pending",
        "_pending_bytes",
        "_ready",
        "_tasks",
        "_waits_for_turn",
        "connection",
        "context",
        "dispatcher",
        "free_slots",
        "is_connected",
        "methods",
        "starting",
        "streams",
        "uploads",
    )

    def __init__(
        self,
        dispatcher: HubDispatcher,
        connection: Connection,
        context: HubCallerContext,
        *,
        on_connecting: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            dispatcher: The hub.
            connection: The connection, before its handshake.
            context: What hub code sees of it.
            on_connecting: Called when hands are shaken, before ``on_connected`` runs.
        """
        self.dispatcher = dispatcher
        self.connection = connection
        self.context = context
        self.is_connected = False
        self.starting: asyncio.Task[None] | None = None
        self.methods: dict[str, BoundMethod] = {}
        self.free_slots = dispatcher.options.MAXIMUM_PARALLEL_INVOCATIONS
        self.streams: dict[str, RunningStream] | None = None
        self.uploads: dict[str, UploadStream] | None = None
        self._on_connecting = on_connecting
        self._clients: HubCallerClients | None = None
        self._groups: GroupManager | None = None
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._pending: deque[Event] | None = None
        self._context: contextvars.Context | None = None
        """Of the request that brought what waits. Calls see nothing of what calls before them set in theirs."""
        self._pending_bytes = 0
        self._maximum_pending_bytes = dispatcher.options.APPLICATION_BUFFER_SIZE
        self._waits_for_turn = False
        self._is_going_on = False
        self._ready: asyncio.Future[None] | None = None

    @property
    def clients(self) -> HubCallerClients:
        """Audiences, as seen from this connection."""
        if self._clients is None:
            self._clients = HubCallerClients(self.dispatcher.reach, self.connection.connection_id, self._before_asking)
        return self._clients

    @property
    def groups(self) -> GroupManager:
        """Groups of the hub."""
        if self._groups is None:
            self._groups = GroupManager(self.dispatcher.reach)
        return self._groups

    # Incoming

    def receive(self, data: Data) -> None:
        """Take a chunk from the transport. Returns at once; look at :attr:`is_congested` before reading on."""
        for event in self.connection.receive(data):
            if self._pending is None:
                is_handled = invoke(self, event) if type(event) is Invocation else self._handle(event)
            else:
                is_handled = self._handle_at_once(event)
            if not is_handled:
                self._wait(event)
        if self._pending is not None:
            self._pending_bytes += len(data)

    @property
    def is_congested(self) -> bool:
        """Whether the transport should not be read for now."""
        return self._pending_bytes > self._maximum_pending_bytes

    async def wait_ready(self) -> None:
        """Return when the transport may be read again."""
        while self.is_congested and not self.connection.is_closed:
            await self._wait_for_wake()

    def _handle_at_once(self, event: Event) -> bool:
        """
        Handle what need not wait behind invocations: a client's answer, for which one of them may be waiting.

        The reference lets it wait, which holds up a call for good if another one waits for its slot.
        """
        if isinstance(event, Completion) and self.dispatcher.manager.client_results.expects(event.invocation_id):
            self._take_completion(event)
            return True
        return False

    def has_room(self) -> bool:
        """Whether the client takes the answers of further calls; if not, they wait until it does."""
        connection = self.connection
        if connection.has_room or connection.is_closed:
            return True
        if connection.is_congested:
            connection.on_drained = self.go_on
        elif not self._waits_for_turn:
            self._waits_for_turn = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        return False

    def _next_turn(self) -> None:
        self._waits_for_turn = False
        self.connection.start_turn()
        self.go_on()

    def _wait(self, event: Event) -> None:
        if self._pending is None:
            self._hold()
        assert self._pending is not None
        self._pending.append(event)

    def _hold(self) -> None:
        """Let what comes from now on wait."""
        self._pending = deque()
        self._context = contextvars.copy_context()
        self.connection.hold_reading(True)

    def go_on(self) -> None:
        """Handle what waited, as far as there are slots."""
        if self._pending is None or self._is_going_on:  # a call may end while it begins, with asyncio.eager_task_factory
            return
        assert self._context is not None
        self._is_going_on = True
        try:
            self._context.copy().run(self._handle_pending, self._pending)
        finally:
            self._is_going_on = False

    def _handle_pending(self, pending: deque[Event]) -> None:
        while pending:
            if not self._handle(pending[0]):
                return
            pending.popleft()
        self._pending = self._context = None
        self._pending_bytes = 0
        self.connection.hold_reading(False)
        self._wake()

    async def _wait_for_wake(self) -> None:
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._ready)

    def _wake(self) -> None:
        if self._ready is not None:
            if not self._ready.done():
                self._ready.set_result(None)
            self._ready = None

    def _handle(self, event: Event) -> bool:
        """Handle one event. False: it has to wait, and so has everything behind it."""
        if type(event) is Invocation:
            return invoke(self, event)
        if isinstance(event, HandshakeCompleted):
            return self._connect()
        if self.starting is not None:
            return False
        if isinstance(event, StreamItem):
            return take_item(self, event)
        if isinstance(event, StreamInvocation):
            invoke_stream(self, event)
        elif isinstance(event, Completion):
            self._take_completion(event)
        elif isinstance(event, CancelInvocation):
            cancel_stream(self, event)
        elif isinstance(event, Close):
            self._answer_close(event)
        elif isinstance(event, ConnectionFailed):
            if event.exception is not None:
                self.connection.fail(event.reason, event.exception, allow_reconnect=event.allows_reconnect)
        else:
            # Ack and Sequence mean something under stateful reconnect only.
            logger.debug("%s: %s was ignored", self.connection.connection_id, type(event).__name__)
        return True

    def _take_completion(self, message: Completion) -> None:
        """The end of an upload stream, or the result of a client method."""
        if end_upload(self, message):
            return
        try:
            if not self.dispatcher.manager.client_results.complete(self.connection.connection_id, message):
                logger.debug("%s: a completion for an unknown invocation was ignored", self.connection.connection_id)
        except RemoteProtocolError as error:
            self.connection.fail(CloseReason.PROTOCOL_ERROR, error)

    # Start

    def _connect(self) -> bool:
        connection = self.connection
        assert connection.hub_protocol is not None
        self.methods = self.dispatcher.methods_for(connection.hub_protocol)
        if self._on_connecting is not None:
            self._on_connecting()
            self._on_connecting = None
        waiting = self.dispatcher.manager.connect(connection)
        if waiting is None and not self.dispatcher.has_on_connected:
            self.is_connected = True
            return True
        self._hold()
        task = self.spawn(self._run_start(waiting))
        if not task.done():  # it may be, with asyncio.eager_task_factory
            self.starting = task
        return True

    async def wait_started(self) -> None:
        """Return when ``on_connected`` has run, or failed."""
        if self.starting is not None:
            await asyncio.wait([self.starting])

    async def _run_start(self, waiting: Any) -> None:
        try:
            if waiting is not None:
                await waiting
            await self.dispatcher.on_connected(self.new_hub())
        except Exception as error:
            self._turn_away(error)
            return
        except asyncio.CancelledError:  # of something it waited for, or ours when the process stops
            if not self.connection.is_closed:
                self._turn_away(ConnectionClosed("on_connected was cancelled."))
            raise
        finally:
            self.starting = None
        self.is_connected = True
        if not self.connection.is_closed:
            self.go_on()  # else the end decides what becomes of calls that wait

    def _turn_away(self, error: Exception) -> None:
        if isinstance(error, HubException):  # meant for the client: how hub code turns one away
            logger.info("%s: on_connected of %s: %s", self.connection.connection_id, self.dispatcher.name, type(error).__name__)
        else:
            logger.error("%s: on_connected of %s failed", self.connection.connection_id, self.dispatcher.name, exc_info=error)
        text = self.dispatcher.describe("Connection closed with an error.", error)
        self.connection.close(CloseReason.HUB_ERROR, error=text, exception=error)

    # What calls need

    def new_hub(self) -> Hub:
        """A hub instance for one call."""
        hub = self.dispatcher.hub()
        hub._session = self
        return hub

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a call in a task of its own."""
        if self._tasks is None:
            self._tasks = set()
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _before_asking(self) -> None:
        """
        Called when hub code asks a client for a result.

        Raises:
            WrongContext: ``on_connected`` asks; the answer could not be read.
        """
        if self.starting is not None:
            raise WrongContext("Client results inside OnConnectedAsync Hub methods are not allowed.")
        give_up_slot(self)

    # End

    def _answer_close(self, message: Close) -> None:
        self.connection.answer_close(HubException(message.error) if message.error is not None else None)

    def lose_reader(self) -> None:
        """Nothing reaches the client any more, but it may still say something: end the streams it was sent."""
        streams, self.streams = self.streams, None
        for running in (streams or {}).values():
            running.cancel()

    def hear_goodbye(self) -> bool:
        """
        End the connection if a Close of the client waits behind calls, which run all the same; see :meth:`finish`.

        Returns:
            Whether one does.
        """
        for event in self._pending or ():
            if isinstance(event, Close):
                self._answer_close(event)
                return True
        return False

    async def finish(self) -> None:
        """Run ``on_disconnected`` and let the connection go. The connection has ended before."""
        connection = self.connection
        disconnect = connection.disconnect
        assert disconnect is not None
        self.context.mark_aborted()
        self._wake()
        self.dispatcher.manager.client_results.connection_ended(connection.connection_id)
        if self.starting is not None:
            await asyncio.wait([self.starting])
        if self.is_connected and self._pending and disconnect.reason in LEFT_BY_CLIENT:
            await self._work_off(self._pending)
        self._abandon_work()
        try:
            if self.is_connected and self.dispatcher.has_on_disconnected:
                ending = self._run_end(disconnect)
                await run_last(ending, connection.connection_id, self.dispatcher.name, self.dispatcher.options.ON_DISCONNECTED_TIMEOUT)
        finally:
            await self.dispatcher.manager.disconnect(connection)

    async def _run_end(self, disconnect: Disconnect) -> None:
        await self.dispatcher.on_disconnected(self.new_hub(), disconnect)

    async def _work_off(self, pending: deque[Event]) -> None:
        """
        Let the calls run that the client sent before it left, in their order.

        Source: ASP.NET Core 10, observed; it waits for them without end.
        """
        self.go_on()

        async def wait() -> None:
            while self._pending is not None:
                await self._wait_for_wake()

        timeout = self.dispatcher.options.ON_DISCONNECTED_TIMEOUT
        try:
            await asyncio.wait_for(wait(), timeout)
        except asyncio.TimeoutError:
            logger.warning("%s: %d messages that the client sent before it left were dropped: calls before them took over %g s "
                           "(ON_DISCONNECTED_TIMEOUT)", self.connection.connection_id, len(pending), timeout)  # fmt: skip

    def _abandon_work(self) -> None:
        """Cancel streams and end uploads. Plain invocations run to their end; nobody hears of it."""
        for running in (self.streams or {}).values():
            running.cancel()
        for upload in (self.uploads or {}).values():
            upload.end(ConnectionClosed("The underlying connection was closed."))
        if self._pending is not None:
            self._pending.clear()
        self._wake()

    async def wait_calls(self, timeout: float) -> bool:
        """Wait for what still runs; False if that takes longer than ``timeout`` seconds."""
        tasks = tuple(self._tasks or ())
        return not tasks or not (await asyncio.wait(tasks, timeout=timeout))[1]

    @property
    def has_calls(self) -> bool:
        """Whether calls still run."""
        return bool(self._tasks)

    async def cancel_calls(self) -> None:
        """Cancel what still runs and wait for it, when the server process stops."""
        if self._pending is not None:
            self._pending.clear()
        await cancel_calls(tuple(self._tasks or ()), self.connection.connection_id)
