"""
The calls of one connection: what the client sent, in order, into hub methods and back.

A plain invocation needs one of the connection's slots (one by default, so calls keep their order). While a slot is awaited,
what the client sent meanwhile waits too; beyond ``APPLICATION_BUFFER_SIZE`` the transport is no longer read.

Source: ``DefaultHubDispatcher.cs``; reference sections 5.2, 5.6, 5.7.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from signalr_channels.connections.connection import Connection
from signalr_channels.exceptions import (
    ArgumentBindingError,
    ConnectionClosed,
    HubException,
    InvocationNotPermitted,
    LocalProtocolError,
    RemoteProtocolError,
    WrongContext,
)
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.clients import HubCallerClients
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.endings import run_last
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.hubs.permissions import PermissionRequest, is_permitted
from signalr_channels.hubs.streams import UploadStream, send_items
from signalr_channels.protocols.base import Data
from signalr_channels.protocols.core.engine import ConnectionFailed, Event, HandshakeCompleted
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import (
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    StreamInvocation,
    StreamItem,
)

__all__ = ["HubSession"]

logger = logging.getLogger("signalr_channels.hubs")


LEFT_BY_CLIENT = (CloseReason.CLIENT_CLOSED, CloseReason.CLIENT_GONE)


class _Call:
    """A running plain invocation, and whether it holds one of its connection's slots."""

    __slots__ = ("_holds_slot", "session")

    def __init__(self, session: HubSession, holds_slot: bool) -> None:
        self.session = session
        self._holds_slot = holds_slot

    def give_up_slot(self) -> None:
        """Let the next invocation run."""
        if self._holds_slot:
            self._holds_slot = False
            self.session._free_slot()
        else:
            self.session._go_on()


_current_call: contextvars.ContextVar[_Call | None] = contextvars.ContextVar("signalr_current_call", default=None)


class HubSession:
    """
    One connection and its calls.

    Attributes:
        connection: The connection.
        context: What hub code sees of it.
        is_connected: Whether ``on_connected`` has run, so that ``on_disconnected`` must.
    """

    __slots__ = (
        "_clients",
        "_free_slots",
        "_groups",
        "_maximum_pending_bytes",
        "_methods",
        "_on_connecting",
        "_pending",
        "_pending_bytes",
        "_ready",
        "_start",
        "_streams",
        "_tasks",
        "_uploads",
        "_waits_for_turn",
        "connection",
        "context",
        "dispatcher",
        "is_connected",
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
        self._on_connecting = on_connecting
        self._free_slots = dispatcher.options.MAXIMUM_PARALLEL_INVOCATIONS
        self._methods: dict[str, BoundMethod] = {}
        self._clients: HubCallerClients | None = None
        self._groups: GroupManager | None = None
        self._start: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._streams: dict[str, asyncio.Task[Any]] | None = None
        self._uploads: dict[str, UploadStream] | None = None
        self._pending: deque[Event] | None = None
        self._pending_bytes = 0
        self._maximum_pending_bytes = dispatcher.options.APPLICATION_BUFFER_SIZE
        self._waits_for_turn = False
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
                is_handled = self._invoke(event) if type(event) is Invocation else self._handle(event)
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

    def _has_room(self) -> bool:
        """Whether the client takes the answers of further calls; if not, they wait until it does."""
        connection = self.connection
        if connection.has_room or connection.is_closed:
            return True
        if connection.is_congested:
            connection.on_drained = self._go_on
        elif not self._waits_for_turn:
            self._waits_for_turn = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        return False

    def _next_turn(self) -> None:
        self._waits_for_turn = False
        self.connection.start_turn()
        self._go_on()

    def _wait(self, event: Event) -> None:
        if self._pending is None:
            self._pending = deque()
            self.connection.hold_reading(True)
        self._pending.append(event)

    def _go_on(self) -> None:
        """Handle what waited, as far as there are slots."""
        pending = self._pending
        if pending is None:
            return
        while pending:
            if not self._handle(pending[0]):
                return
            pending.popleft()
        self._pending = None
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
            return self._invoke(event)
        if isinstance(event, HandshakeCompleted):
            return self._connect()
        if self._start is not None:
            return False
        if isinstance(event, StreamInvocation):
            return self._invoke_stream(event)
        if isinstance(event, StreamItem):
            return self._take_item(event)
        if isinstance(event, Completion):
            self._take_completion(event)
        elif isinstance(event, CancelInvocation):
            self._cancel(event)
        elif isinstance(event, Close):
            self.connection.answer_close(HubException(event.error) if event.error is not None else None)
        elif isinstance(event, ConnectionFailed):
            if event.exception is not None:
                self.connection.fail(event.reason, event.exception, allow_reconnect=event.allows_reconnect)
        else:
            # Ack and Sequence mean something under stateful reconnect only.
            logger.debug("%s: %s was ignored", self.connection.connection_id, type(event).__name__)
        return True

    # Start

    def _connect(self) -> bool:
        connection = self.connection
        assert connection.hub_protocol is not None
        self._methods = self.dispatcher.methods_for(connection.hub_protocol)
        if self._on_connecting is not None:
            self._on_connecting()
            self._on_connecting = None
        waiting = self.dispatcher.manager.connect(connection)
        if waiting is None and not self.dispatcher.has_on_connected:
            self.is_connected = True
            return True
        self._pending = deque()
        connection.hold_reading(True)
        self._start = self._spawn(self._run_start(waiting))
        return True

    async def wait_started(self) -> None:
        """Return when ``on_connected`` has run, or failed."""
        if self._start is not None:
            await asyncio.wait([self._start])

    async def _run_start(self, waiting: Any) -> None:
        try:
            if waiting is not None:
                await waiting
            await self.dispatcher.on_connected(self._hub())
        except Exception as error:
            logger.error("%s: on_connected of %s failed", self.connection.connection_id, self.dispatcher.name, exc_info=error)
            text = self.dispatcher.describe("Connection closed with an error.", error)
            self.connection.close(CloseReason.HUB_ERROR, error=text, exception=error)
            return
        finally:
            self._start = None
        self.is_connected = True
        self._go_on()

    # Plain invocations

    def _invoke(self, message: Invocation) -> bool:
        if self._start is not None or not (self.connection.has_room or self._has_room()):
            return False
        bound = self._methods.get(message.target) or self._methods.get(message.target.lower())
        if bound is None:
            self._refuse_unknown(message)
            return True
        if bound.runs_inline and not message.stream_ids and not self.dispatcher.filters:
            return self._run_inline(message, bound)
        method = bound.method
        if method.is_streaming:
            self._complete_error(
                message.invocation_id,
                f"The client attempted to invoke the streaming '{method.name}' method with a non-streaming invocation.",
            )
            return True
        try:
            arguments = bound.decode(message.arguments)
        except ArgumentBindingError as error:
            self._refuse_arguments(message, method, error)
            return True
        if message.stream_ids or method.item_types:
            # Calls with upload streams need no slot, or their items could not be read.
            uploads = self._open_uploads(message, bound)
            if uploads is not None:
                self._spawn(self._run(message, method, _merge(method, arguments, uploads), uploads, uses_slot=False))
            return True
        if not self._free_slots:
            return False
        self._free_slots -= 1
        self._spawn(self._run(message, method, arguments, uses_slot=True))
        return True

    def _run_inline(self, message: Invocation, bound: BoundMethod) -> bool:
        """Run an ``async def`` that cannot suspend, without a task. False: it has to wait for a slot."""
        method, invocation_id = bound.method, message.invocation_id
        try:
            arguments = bound.decode(message.arguments)
        except ArgumentBindingError as error:
            self._refuse_arguments(message, method, error)
            return True
        if not self._free_slots:
            return False
        try:
            method.function(self._hub(), *arguments).send(None)
        except StopIteration as stop:
            if invocation_id:
                self._complete(invocation_id, method, stop.value)
        except Exception as error:
            self._fail(invocation_id, method, error)
        except asyncio.CancelledError:  # raised by the method itself: it waits for nothing
            self._complete_error(invocation_id, f"An unexpected error occurred invoking '{method.name}' on the server.")
        else:
            raise AssertionError(f"{method.name} suspended although it has no await")
        return True

    async def _run(
        self, message: Invocation, method: HubMethod, arguments: Sequence[Any], uploads: Sequence[UploadStream] = (), *, uses_slot: bool
    ) -> None:
        call = _Call(self, uses_slot)
        _current_call.set(call)
        try:
            await self._check_permission(method, arguments)
            result = await self.dispatcher.invoke(self._hub(), method, arguments)
            if message.invocation_id:
                self._complete(message.invocation_id, method, result)
        except InvocationNotPermitted:
            self._refuse_permission(message.invocation_id, method)
        except Exception as error:
            self._fail(message.invocation_id, method, error)
        except asyncio.CancelledError:  # of something the method waited for, or ours when the process stops
            self._complete_error(message.invocation_id, f"An unexpected error occurred invoking '{method.name}' on the server.")
            raise
        finally:
            self._close_uploads(message.stream_ids, uploads)
            call.give_up_slot()

    def _free_slot(self) -> None:
        self._free_slots += 1
        self._go_on()

    def _before_asking(self) -> None:
        """
        Called when hub code asks a client for a result.

        Raises:
            WrongContext: ``on_connected`` asks; the answer could not be read.
        """
        if self._start is not None:
            raise WrongContext("Client results inside OnConnectedAsync Hub methods are not allowed.")
        call = _current_call.get()
        if call is not None and call.session is self:
            call.give_up_slot()

    async def _check_permission(self, method: HubMethod, arguments: Sequence[Any]) -> None:
        if method.permission_classes:
            request = PermissionRequest(user=self.context.user, hub=self.dispatcher.hub, method=method.name, arguments=arguments)
            if not await is_permitted(method.permission_classes, request):
                raise InvocationNotPermitted(method.name)

    # Streaming invocations

    def _invoke_stream(self, message: StreamInvocation) -> bool:
        bound = self._methods.get(message.target.lower())
        if bound is None:
            self._refuse_unknown(message)
            return True
        method = bound.method
        if not method.is_streaming:
            self._complete_error(
                message.invocation_id,
                f"The client attempted to invoke the non-streaming '{method.name}' method with a streaming invocation.",
            )
            return True
        try:
            arguments = bound.decode(message.arguments)
        except ArgumentBindingError as error:
            self._refuse_arguments(message, method, error)
            return True
        if self._streams is None:
            self._streams = {}
        if message.invocation_id in self._streams:
            self._complete_error(message.invocation_id, f"Invocation ID '{message.invocation_id}' is already in use.")
            return True
        uploads = self._open_uploads(message, bound)
        if uploads is not None:
            task = self._spawn(self._run_stream(message, method, _merge(method, arguments, uploads)))
            self._streams[message.invocation_id] = task
            task.add_done_callback(lambda task: self._stream_ended(message, uploads, task))
        return True

    async def _run_stream(self, message: StreamInvocation, method: HubMethod, arguments: Sequence[Any]) -> None:
        invocation_id = message.invocation_id
        try:
            await self._check_permission(method, arguments)
            items = await self.dispatcher.invoke(self._hub(), method, arguments)
        except InvocationNotPermitted:
            self._refuse_permission(invocation_id, method)
        except Exception as error:
            self._fail(invocation_id, method, error)
        else:
            await self._send_items(invocation_id, method, items)

    def _stream_ended(self, message: StreamInvocation, uploads: Sequence[UploadStream], task: asyncio.Task[Any]) -> None:
        self._close_uploads(message.stream_ids, uploads)
        if self._streams is not None and self._streams.get(message.invocation_id) is task:
            del self._streams[message.invocation_id]
        if task.cancelled():  # before its first item
            self.connection.send(Completion(invocation_id=message.invocation_id))

    async def _send_items(self, invocation_id: str, method: HubMethod, items: Any) -> None:
        connection = self.connection
        if not hasattr(items, "__aiter__"):
            text = f"The value returned by the streaming method '{method.name}' is not a ChannelReader<> or IAsyncEnumerable<>."
            self._complete_error(invocation_id, text)
            return
        iterator = items.__aiter__()
        try:
            await send_items(connection, invocation_id, iterator)
        except asyncio.CancelledError:
            # Cancelled by the client, or by the end of the connection: an orderly end either way.
            await _close_iterator(iterator, method)
        except Exception as error:
            self._log_failure(method, error)
            await _close_iterator(iterator, method)  # it is still open if an item could not be encoded
            text = self.dispatcher.describe("An error occurred on the server while streaming results.", error)
            self._free_stream_id(invocation_id)
            self._complete_error(invocation_id, text)
            return
        else:
            await _close_iterator(iterator, method)
        self._free_stream_id(invocation_id)
        connection.send(Completion(invocation_id=invocation_id))

    def _free_stream_id(self, invocation_id: str) -> None:
        """Before its completion is sent: the client may use the id again at once."""
        if self._streams is not None and self._streams.get(invocation_id) is asyncio.current_task():
            del self._streams[invocation_id]

    def _cancel(self, message: CancelInvocation) -> None:
        if self._streams is not None and (task := self._streams.get(message.invocation_id)) is not None:
            task.cancel()

    # Upload streams

    def _open_uploads(self, message: Invocation | StreamInvocation, bound: BoundMethod) -> list[UploadStream] | None:
        method = bound.method
        given, wanted = len(message.stream_ids), len(method.item_types)
        if given != wanted:
            base = f"An unexpected error occurred invoking '{method.name}' on the server."
            self._complete_error(message.invocation_id, f"{base} HubException: Client sent {given} stream(s), Hub method expects {wanted}.")
            return None
        if self._uploads is None:
            self._uploads = {}
        uploads = []
        capacity = self.dispatcher.options.STREAM_BUFFER_CAPACITY
        for stream_id, decode in zip(message.stream_ids, bound.item_decoders, strict=True):
            upload = UploadStream(decode, capacity, self._go_on)
            if (other := self._uploads.get(stream_id)) is not None:
                # The new one gets the items, as in .NET, where the reader of the other one waits for ever.
                other.end(HubException(f"Stream ID '{stream_id}' was used again."))
            self._uploads[stream_id] = upload
            uploads.append(upload)
        return uploads

    def _close_uploads(self, stream_ids: Sequence[str], uploads: Sequence[UploadStream]) -> None:
        for stream_id, upload in zip(stream_ids, uploads, strict=False):
            if self._uploads is not None and self._uploads.get(stream_id) is upload:
                del self._uploads[stream_id]
            upload.abandon()

    def _take_item(self, message: StreamItem) -> bool:
        entry = None if self._uploads is None else self._uploads.get(message.invocation_id)
        if entry is None:
            logger.debug("%s: an item for an unknown stream was ignored", self.connection.connection_id)
            return True
        return entry.offer(message.item, detailed_errors=self.dispatcher.options.ENABLE_DETAILED_ERRORS)

    def _take_completion(self, message: Completion) -> None:
        entry = None if self._uploads is None else self._uploads.get(message.invocation_id)
        if entry is not None:
            entry.end(HubException(message.error) if message.error is not None else None)
            return
        try:
            if not self.dispatcher.manager.client_results.complete(self.connection.connection_id, message):
                logger.debug("%s: a completion for an unknown invocation was ignored", self.connection.connection_id)
        except RemoteProtocolError as error:
            self.connection.fail(CloseReason.PROTOCOL_ERROR, error)

    # Answers

    def _complete(self, invocation_id: str, method: HubMethod, result: Any) -> None:
        try:
            self.connection.send(Completion(invocation_id=invocation_id, result=result))
        except LocalProtocolError as error:
            self._fail(invocation_id, method, error)

    def _complete_error(self, invocation_id: str | None, text: str) -> None:
        if invocation_id:
            self.connection.send(Completion(invocation_id=invocation_id, error=text))

    def _fail(self, invocation_id: str | None, method: HubMethod, error: Exception) -> None:
        self._log_failure(method, error)
        self._complete_error(
            invocation_id, self.dispatcher.describe(f"An unexpected error occurred invoking '{method.name}' on the server.", error)
        )

    def _log_failure(self, method: HubMethod, error: Exception) -> None:
        if isinstance(error, HubException):
            logger.info("%s: %s.%s: %s", self.connection.connection_id, self.dispatcher.name, method.name, type(error).__name__)
        else:
            logger.error("%s: %s.%s failed", self.connection.connection_id, self.dispatcher.name, method.name, exc_info=error)

    def _refuse_unknown(self, message: Invocation | StreamInvocation) -> None:
        logger.debug("%s: %s has no method %.100r", self.connection.connection_id, self.dispatcher.name, message.target)
        # The reference looks the target up while it binds arguments, so this is its binding failure text.
        text = f"Failed to invoke '{message.target}' due to an error on the server. HubException: Method does not exist."
        self._complete_error(message.invocation_id, text)

    def _refuse_arguments(self, message: Invocation | StreamInvocation, method: HubMethod, error: ArgumentBindingError) -> None:
        logger.info("%s: %s.%s: %s", self.connection.connection_id, self.dispatcher.name, method.name, error.text)
        base = f"Failed to invoke '{method.name}' due to an error on the server."
        self._complete_error(message.invocation_id, self.dispatcher.describe(base, error))

    def _refuse_permission(self, invocation_id: str | None, method: HubMethod) -> None:
        logger.info("%s: %s.%s was not permitted", self.connection.connection_id, self.dispatcher.name, method.name)
        self._complete_error(invocation_id, f"Failed to invoke '{method.name}' because user is unauthorized")

    # End

    async def finish(self) -> None:
        """Run ``on_disconnected`` and let the connection go. The connection has ended before."""
        connection = self.connection
        disconnect = connection.disconnect
        assert disconnect is not None
        self.context.mark_aborted()
        self._wake()
        self.dispatcher.manager.client_results.connection_ended(connection.connection_id)
        if self._start is not None:
            await asyncio.wait([self._start])
        if self.is_connected and self._pending and disconnect.reason in LEFT_BY_CLIENT:
            await self._work_off(self._pending)
        self._abandon_work()
        try:
            if self.is_connected and self.dispatcher.has_on_disconnected:
                ending = self.dispatcher.on_disconnected(self._hub(), disconnect)
                await run_last(ending, connection.connection_id, self.dispatcher.name, self.dispatcher.options.ON_DISCONNECTED_TIMEOUT)
        finally:
            await self.dispatcher.manager.disconnect(connection)

    async def _work_off(self, pending: deque[Event]) -> None:
        """
        Let the calls run that the client sent before it left, in their order.

        Source: ASP.NET Core 10, observed; it waits for them without end.
        """
        self._go_on()

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
        for task in (self._streams or {}).values():
            task.cancel()
        for upload in (self._uploads or {}).values():
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
        tasks = tuple(self._tasks or ())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Small things

    def _hub(self) -> Hub:
        hub = self.dispatcher.hub()
        hub._session = self
        return hub

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._tasks is None:
            self._tasks = set()
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _merge(method: HubMethod, arguments: Sequence[Any], uploads: Sequence[UploadStream]) -> list[Any]:
    """Arguments and upload streams in the order of the method's parameters."""
    plain, streams = iter(arguments), iter(uploads)
    merged = []
    for parameter in method.parameters:
        source = streams if parameter.is_upload else plain
        merged.append(next(source, parameter.default))
    return merged


async def _close_iterator(iterator: Any, method: HubMethod) -> None:
    """Run the ``finally`` blocks of a generator that is not read to its end."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception as error:
            logger.error("Streaming method %s failed while it was closed", method.name, exc_info=error)
