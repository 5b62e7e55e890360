"""
The calls of one classic connection: what the client sent into hub methods of the hubs it shares, and the life of those hubs on it.

A classic connection carries several hubs. Each has a share in it, which is what the hub's lifetime manager knows; calls run side by side,
as in the reference, at most ``PARALLEL_INVOCATIONS`` of them.

Source: reference sections 4.3, 5.2 to 5.6, 6.2; ``HubDispatcher.cs``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from signalr_channels.connections.classic_connection import ClassicConnection, ClassicTransport
from signalr_channels.exceptions import (
    ArgumentBindingError,
    ClientResultError,
    ConnectionClosed,
    HubException,
    InvocationNotPermitted,
    LocalProtocolError,
)
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.caller_state import ClassicCallerClients
from signalr_channels.hubs.classic_errors import describe_binding_error, describe_unknown_method, generic_text
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.permissions import HubPermission, PermissionRequest, is_permitted
from signalr_channels.hubs.progress import Progress
from signalr_channels.protocols.base import EncodedMessage, HubProtocol
from signalr_channels.protocols.classic.hub_messages import (
    ClassicInvocation,
    InvalidInvocation,
    encode_progress,
    encode_response,
    parse_invocation,
)
from signalr_channels.protocols.classic.hub_protocol import NO_CLIENT_RESULTS, ClassicHubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import HubMessage

__all__ = ["ClassicCall", "ClassicHub", "ClassicHubSession", "ClassicSession", "HubShare", "SessionOptions", "group_names"]

logger = logging.getLogger("signalr_channels.hubs")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicHub:
    """A hub as classic clients of one mount see it."""

    name: str
    """What clients call it."""
    protocol: ClassicHubProtocol
    dispatcher: HubDispatcher
    methods: Mapping[str, BoundMethod]
    """Wire name in lower case -> method."""
    permission_classes: Sequence[type[HubPermission]]


CANCELED = "The operation was canceled."


class SessionOptions(Protocol):
    """The settings a session reads; see :class:`signalr_channels.conf.ClassicSettings`."""

    @property
    def PARALLEL_INVOCATIONS(self) -> int: ...  # noqa: D102, N802
    @property
    def MAXIMUM_STATE_SIZE(self) -> int: ...  # noqa: D102, N802
    @property
    def ENABLE_DETAILED_ERRORS(self) -> bool: ...  # noqa: D102, N802


class _GroupNames(set[str]):
    """The groups a share is in; says when they change."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def add(self, name: str) -> None:
        if name not in self:
            super().add(name)
            self._on_change()

    def discard(self, name: object) -> None:
        if name in self:
            super().discard(name)
            self._on_change()


class HubShare:
    """A hub's share in a classic connection: what the hub's lifetime manager takes for the connection."""

    __slots__ = ("__weakref__", "connection", "groups", "hub_protocol", "is_listed", "name")

    def __init__(self, connection: ClassicConnection, name: str, protocol: HubProtocol, on_groups_changed: Callable[[], None]) -> None:
        self.connection = connection
        self.name = name
        self.hub_protocol: HubProtocol | None = protocol
        self.is_listed = False
        self.groups: set[str] | None = _GroupNames(on_groups_changed)

    @property
    def connection_id(self) -> str:
        """The public id of the connection."""
        return self.connection.connection_id

    @property
    def user_identifier(self) -> str | None:
        """What ``clients.user(…)`` addresses."""
        return self.connection.user_identifier

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self.connection.is_closed

    def enqueue(self, message: EncodedMessage) -> None:
        """Send a message of the hub."""
        self.connection.enqueue(message)

    def send(self, message: HubMessage) -> None:
        """
        Refuse: only questions are sent this way, and the protocol knows no answers to them.

        Raises:
            ClientResultError: Always.
        """
        raise ClientResultError(NO_CLIENT_RESULTS)

    def close(
        self, reason: CloseReason, *, error: str | None = None, exception: Exception | None = None, allow_reconnect: bool = False
    ) -> None:
        """End the connection."""
        self.connection.close(reason, error=error, exception=exception, allow_reconnect=allow_reconnect)


def group_names(shares: Iterable[HubShare]) -> list[str]:
    """What a groups token holds: the groups of all hubs, with the names of their hubs in front."""
    return sorted(f"{share.name}.{group}" for share in shares for group in share.groups or ())


class ClassicCall:
    """One call, or one lifetime event, as the hub instance that serves it sees its connection."""

    __slots__ = ("_clients", "_hub", "_share", "_state", "context")

    def __init__(self, context: HubCallerContext, hub: ClassicHub, share: HubShare, state: dict[str, Any] | None) -> None:
        self.context = context
        self._hub = hub
        self._share = share
        self._state = state
        self._clients: ClassicCallerClients | None = None

    @property
    def clients(self) -> ClassicCallerClients:
        """Audiences, as seen from this connection, and the state of the caller's proxy."""
        if self._clients is None:
            reach, caller_id = self._hub.dispatcher.reach, self._share.connection_id
            self._clients = ClassicCallerClients(reach, caller_id, self._state, self._send_with_state)
        return self._clients

    @property
    def groups(self) -> GroupManager:
        """Groups of the hub."""
        return GroupManager(self._hub.dispatcher.reach)

    def changes(self) -> dict[str, Any] | None:
        """The members of the state that the call changed, if it changed any."""
        return None if self._clients is None else self._clients.changes()

    def _send_with_state(self, target: str, arguments: tuple[Any, ...], changes: dict[str, Any]) -> bool:
        if self._share.is_listed:
            protocol = self._hub.protocol
            data = protocol.encode_with_state(target, arguments, changes)
            self._share.enqueue(EncodedMessage(data, protocol.transfer_format))
        return True


class ClassicSession:
    """
    What a classic connection is for. :class:`ClassicHubSession` serves hubs, another one persistent connections.

    Attributes:
        connection: The connection.
        context: What application code sees of it.
        is_started: Whether application code knows of the connection, so that it is told of its end.
    """

    def __init__(
        self, connection: ClassicConnection, context: HubCallerContext, sign_groups: Callable[[str, Sequence[str]], str], most_calls: int
    ) -> None:
        """
        Args:
            connection: The connection.
            context: What application code sees of it.
            sign_groups: Makes a groups token for a connection id.
            most_calls: How many calls may run at once.
        """
        self.connection = connection
        self.context = context
        self.is_started = False
        self.predecessor: asyncio.Task[None] | None = None
        """The end of a connection that had the same id; application code hears of it first."""
        self._sign_groups = sign_groups
        self._most_calls = most_calls
        self._slots = asyncio.Semaphore(most_calls)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting: asyncio.Future[None] | None = None
        """Done when ``on_connected`` has run, or need not."""

    # To be served by each kind

    def invoke(self, data: str) -> bytes | Coroutine[Any, Any, bytes]:
        """
        Take what the client sent.

        Returns:
            The answer, or what gives it when awaited; empty where there is none.

        Raises:
            InvalidInvocation: It is no call, or of a hub that is not here.
        """
        raise AssertionError("abstract")

    async def attach(self, names: Sequence[str]) -> None:
        """A receiving request came that names these hubs."""
        raise AssertionError("abstract")

    async def on_connected(self, names: Sequence[str]) -> None:
        """Tell application code of a new connection."""
        raise AssertionError("abstract")

    async def on_reconnected(self) -> None:
        """Tell application code that the client is back."""
        raise AssertionError("abstract")

    async def on_disconnected(self) -> None:
        """Tell application code of the end."""
        raise AssertionError("abstract")

    async def leave(self) -> None:
        """Let the connection go from its lifetime managers."""
        raise AssertionError("abstract")

    async def rejoin(self, groups: Iterable[str]) -> None:
        """Join the groups of a token, on a process that does not know the connection."""
        raise AssertionError("abstract")

    # Common to both

    async def start(self, names: Sequence[str]) -> None:
        """
        The client has started: tell application code, once. A second request waits for the first.

        Raises:
            Exception: Whatever application code raised; the client is to be told that it failed.
        """
        if self._starting is None:
            # In a task of ours: it goes on if the client breaks its request off.
            self._starting = task = asyncio.get_running_loop().create_task(self._run_start(names))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())  # perhaps nobody waits for it any more
        await asyncio.wait([self._starting])
        self._starting.result()

    async def _run_start(self, names: Sequence[str]) -> None:
        try:
            await self._wait_for_predecessor()
            await self.on_connected(names)
        except asyncio.CancelledError:  # of something it waited for, or ours when the process stops
            raise ConnectionClosed("on_connected was cancelled.") from None
        self.is_started = True

    async def restart(self) -> None:
        """The client is back with another transport."""
        self.is_started = True
        if self._starting is None:  # a process that never saw it start
            self._starting = asyncio.get_running_loop().create_future()
            self._starting.set_result(None)
        await self._wait_for_predecessor()
        await self.on_reconnected()

    async def _wait_for_predecessor(self) -> None:
        if self.predecessor is not None:
            await asyncio.wait([self.predecessor])
            self.predecessor = None

    def resume(self) -> None:
        """A poll came of a connection that is not known here: it had started elsewhere."""
        self.is_started = True
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_future()
            self._starting.set_result(None)

    def receive(self, data: str) -> None:
        """Take what came on a web socket; the answer goes back the same way."""
        if self.connection.is_closed:
            return  # what comes after the end is dropped
        via = self.connection.attached
        try:
            answer = self.invoke(data)
        except InvalidInvocation as error:
            logger.info("%s: a message could not be used: %s", self.connection.connection_id, error)
            if error.invocation_id is not None:
                # The reference says nothing, and the caller waits for ever.
                self.connection.reply(encode_response(error.invocation_id, error=str(error)), via)
            return
        if isinstance(answer, bytes):
            if answer:
                self.connection.reply(answer, via)
        else:
            self.spawn(self._reply_later(answer, via))

    async def _reply_later(self, answer: Coroutine[Any, Any, bytes], via: ClassicTransport | None) -> None:
        if data := await answer:
            self.connection.reply(data, via)

    async def finish(self) -> None:
        """Tell application code of the end, and let the connection go. The connection has ended before."""
        disconnect = self.connection.disconnect
        assert disconnect is not None
        self.context.mark_aborted()
        try:
            if self._starting is not None and not self._starting.done():
                await asyncio.wait([self._starting])
            # The reference says nothing when the server stops: the client comes back elsewhere, and on_reconnected runs there.
            if self.is_started and disconnect.reason is not CloseReason.SERVER_SHUTDOWN:
                await self._wait_for_predecessor()
                await self.on_disconnected()
        finally:
            await self.leave()

    async def run_last(self, coroutine: Coroutine[Any, Any, Any], name: str, timeout: float) -> None:
        """Run ``on_disconnected`` of a hub to its end, whatever it does."""
        task = asyncio.get_running_loop().create_task(coroutine)
        try:
            await asyncio.wait([task], timeout=timeout)
        except asyncio.CancelledError:  # the process stops
            task.cancel()
            await asyncio.wait([task])
            raise
        connection_id = self.connection.connection_id
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            logger.error("%s: on_disconnected of %s took over %g s (ON_DISCONNECTED_TIMEOUT) and was cancelled",
                         connection_id, name, timeout)  # fmt: skip
        elif task.cancelled():
            logger.error("%s: on_disconnected of %s was cancelled", connection_id, name)
        elif (error := task.exception()) is not None:
            logger.error("%s: on_disconnected of %s failed", connection_id, name, exc_info=error)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a call in a task of its own."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def run(self, coroutine: Coroutine[Any, Any, bytes]) -> bytes:
        """
        Run a call in a task of its own, and wait for its answer. The call goes on if nobody waits any more.

        Raises:
            ConnectionClosed: The process stops, and the call was cancelled.
            Exception: What application code without hubs raised.
        """
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task])
        if task.cancelled():
            raise ConnectionClosed("The server stopped before the call ended.")
        return task.result()

    def cancel_soon(self, delay: float) -> None:
        """The process stops: cancel calls that still run after ``delay`` seconds, so that their requests are answered."""
        if self._tasks:
            asyncio.get_running_loop().call_later(delay, lambda: [task.cancel() for task in tuple(self._tasks)])

    @property
    def is_congested(self) -> bool:
        """Whether so many calls wait that the socket should not be read for now."""
        return len(self._tasks) > 2 * self._most_calls

    async def wait_ready(self) -> None:
        """Return when the socket may be read again."""
        while self.is_congested and not self.connection.is_closed:
            await asyncio.wait(tuple(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: a call failed outside the hub", self.connection.connection_id, exc_info=error)

    @property
    def has_calls(self) -> bool:
        """Whether calls still run."""
        return bool(self._tasks)

    async def cancel_calls(self) -> None:
        """Cancel what still runs and wait for it, when the server process stops."""
        tasks: list[asyncio.Future[Any]] = [*self._tasks]
        if self._starting is not None and not self._starting.done():
            tasks.append(self._starting)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class ClassicHubSession(ClassicSession):
    """Serves hubs."""

    def __init__(
        self,
        connection: ClassicConnection,
        context: HubCallerContext,
        sign_groups: Callable[[str, Sequence[str]], str],
        *,
        hubs: Mapping[str, ClassicHub],
        options: SessionOptions,
    ) -> None:
        """
        Args:
            connection: The connection.
            context: What hub code sees of it.
            sign_groups: Makes a groups token for a connection id.
            hubs: Those of the mount, by their names in lower case.
            options: Limits.
        """
        super().__init__(connection, context, sign_groups, options.PARALLEL_INVOCATIONS)
        self._hubs = hubs
        self._options = options
        self._shares: dict[str, HubShare] = {}
        self._names: tuple[str, ...] = ()
        """Hubs of the last receiving request, in lower case."""

    # The hubs of the connection

    def _share(self, hub: ClassicHub) -> HubShare:
        key = hub.name.lower()
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = HubShare(self.connection, hub.name, hub.protocol, self._groups_changed)
            hub.dispatcher.manager.welcome(share)
        return share

    async def attach(self, names: Sequence[str]) -> None:
        """A receiving request came that names these hubs: they reach the connection from now on."""
        self._names = tuple(names)
        waiting = []
        for name in names:
            hub = self._hubs[name]
            share = self._share(hub)
            if not share.is_listed:
                share.is_listed = True
                manager = hub.dispatcher.manager
                manager.index.guests.pop(share.connection_id, None)
                if (joined := manager.connect(share)) is not None:
                    waiting.append(joined)
        for joined in waiting:
            await joined

    def _groups_changed(self) -> None:
        self.connection.announce_groups(self._groups_token())

    def _groups_token(self) -> str:
        return self._sign_groups(self.connection.connection_id, group_names(self._shares.values()))

    async def rejoin(self, groups: Iterable[str]) -> None:
        """Join the groups of a token, as far as their hubs are listed."""
        for entry in groups:
            name, _, group = entry.partition(".")
            hub = self._hubs.get(name.lower())
            if hub is not None and name.lower() in self._names:
                await hub.dispatcher.manager.add_to_group(self.connection.connection_id, group)

    async def leave(self) -> None:
        """Let the connection go from the managers of its hubs."""
        for key, share in self._shares.items():
            await self._hubs[key].dispatcher.manager.disconnect(share)

    # Lifetime

    async def on_connected(self, names: Sequence[str]) -> None:
        """Run ``on_connected`` of these hubs, side by side."""
        await self._tell(names, lambda hub: hub.dispatcher.on_connected(self._instance(hub)) if hub.dispatcher.has_on_connected else None)

    async def on_reconnected(self) -> None:
        """Run ``on_reconnected`` of the hubs of the request that came back."""
        await self._tell(
            self._names, lambda hub: hub.dispatcher.on_reconnected(self._instance(hub)) if hub.dispatcher.has_on_reconnected else None
        )

    async def on_disconnected(self) -> None:
        """Run ``on_disconnected`` of the hubs of the last receiving request. What it raises is logged."""
        for name in self._names:
            hub = self._hubs[name]
            dispatcher, disconnect = hub.dispatcher, self.connection.disconnect
            assert disconnect is not None
            if dispatcher.has_on_disconnected:
                ending = dispatcher.on_disconnected(self._instance(hub), disconnect)
                await self.run_last(ending, dispatcher.name, dispatcher.options.ON_DISCONNECTED_TIMEOUT)

    async def _tell(self, names: Sequence[str], run: Callable[[ClassicHub], Any]) -> None:
        running = [one for one in (run(self._hubs[name]) for name in names) if one is not None]
        results = await asyncio.gather(*running, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors:
            logger.error("%s: a lifetime method of a hub failed", self.connection.connection_id, exc_info=error)
        if errors:
            raise errors[0]

    def _instance(self, hub: ClassicHub, state: dict[str, Any] | None = None) -> Hub:
        """A new hub instance for one call or event."""
        instance = hub.dispatcher.hub()
        instance._session = ClassicCall(self.context, hub, self._share(hub), state)
        return instance

    # Calls

    def invoke(self, data: str) -> bytes | Coroutine[Any, Any, bytes]:
        """Begin a call. One that cannot wait for anything is done at once."""
        call = parse_invocation(data, self._options.MAXIMUM_STATE_SIZE)
        hub = self._hubs.get(call.hub.lower())
        if hub is None:
            raise InvalidInvocation(f"'{call.hub}' Hub could not be resolved.", invocation_id=call.invocation_id)
        bound = hub.methods.get(call.method.lower())
        if bound is None:
            return self._refuse(call, describe_unknown_method(call.method, None))
        try:
            arguments = bound.decode(call.arguments)
        except ArgumentBindingError as error:
            logger.info("%s: %s.%s: %s", self.connection.connection_id, hub.dispatcher.name, bound.method.name, error.text)
            return self._refuse(call, describe_binding_error(call, bound.method, error))
        if bound.runs_inline and not hub.permission_classes and not hub.dispatcher.filters and not bound.method.reports_progress:
            return self._run_inline(call, hub, bound, arguments)
        return self._run(call, hub, bound, arguments)

    def _run_inline(self, call: ClassicInvocation, hub: ClassicHub, bound: BoundMethod, arguments: Sequence[Any]) -> bytes:
        instance = self._instance(hub, call.state)
        try:
            bound.method.function(instance, *arguments).send(None)
        except StopIteration as stop:
            return self._complete(call, hub, instance, stop.value)
        except Exception as error:
            return self._fail(call, hub, instance, error)
        except asyncio.CancelledError:  # raised by the method itself: it waits for nothing
            return self._refuse(call, CANCELED)
        raise AssertionError(f"{bound.method.name} suspended although it has no await")

    async def _run(self, call: ClassicInvocation, hub: ClassicHub, bound: BoundMethod, arguments: Sequence[Any]) -> bytes:
        instance = self._instance(hub, call.state)
        progress: Progress[Any] | None = None
        if bound.method.reports_progress:
            progress = self._progress(call, instance)
            arguments = (*arguments[:-1], progress)
        async with self._slots:
            try:
                await self._check_permission(hub, bound, arguments)
                result = await hub.dispatcher.invoke(instance, bound.method, arguments)
            except InvocationNotPermitted:
                logger.info("%s: %s.%s was not permitted", self.connection.connection_id, hub.dispatcher.name, bound.method.name)
                return self._refuse(call, f"Caller is not authorized to invoke the {bound.method.name} method on {hub.name}.")
            except Exception as error:
                return self._fail(call, hub, instance, error)
            except asyncio.CancelledError:
                if self.connection.is_closed or (task := asyncio.current_task()) is None or getattr(task, "cancelling", lambda: 0)():
                    raise
                return self._refuse(call, CANCELED)
            finally:
                if progress is not None:
                    progress.end()
            return self._complete(call, hub, instance, result)

    async def _check_permission(self, hub: ClassicHub, bound: BoundMethod, arguments: Sequence[Any]) -> None:
        """A hub can be called without being named at the start, so what it asks of a connection is asked of a call as well."""
        classes = (*hub.permission_classes, *bound.method.permission_classes)
        if classes:
            request = PermissionRequest(user=self.context.user, hub=hub.dispatcher.hub, method=bound.method.name, arguments=arguments)
            if not await is_permitted(classes, request):
                raise InvocationNotPermitted(bound.method.name)

    def _progress(self, call: ClassicInvocation, instance: Hub) -> Progress[Any]:
        loop = asyncio.get_running_loop()

        def report(value: Any) -> None:
            data = encode_progress(call.invocation_id, value, _changes(instance))
            message = EncodedMessage(data, ClassicHubProtocol.transfer_format)
            try:
                is_here = asyncio.get_running_loop() is loop
            except RuntimeError:
                is_here = False
            if is_here:
                self.connection.enqueue(message)
            else:
                loop.call_soon_threadsafe(self.connection.enqueue, message)

        return Progress(report)

    # Answers

    def _complete(self, call: ClassicInvocation, hub: ClassicHub, instance: Hub, result: Any) -> bytes:
        try:
            return encode_response(call.invocation_id, result=result, state=_changes(instance))
        except LocalProtocolError as error:
            return self._fail(call, hub, instance, error)

    def _fail(self, call: ClassicInvocation, hub: ClassicHub, instance: Hub, error: Exception) -> bytes:
        where = f"{hub.dispatcher.name}.{call.method:.100}"
        if isinstance(error, HubException):
            logger.info("%s: %s: %s", self.connection.connection_id, where, type(error).__name__)
            try:
                return encode_response(
                    call.invocation_id, state=_changes(instance), error=str(error), is_hub_exception=True, error_data=error.data
                )
            except LocalProtocolError as unwritable:
                error = unwritable
        logger.error("%s: %s failed", self.connection.connection_id, where, exc_info=error)
        return self._refuse(call, getattr(error, "text", None) or str(error))

    def _refuse(self, call: ClassicInvocation, detail: str) -> bytes:
        """An error answer: in detail where that is allowed."""
        text = detail if self._options.ENABLE_DETAILED_ERRORS else generic_text(call)
        return encode_response(call.invocation_id, error=text)


def _changes(instance: Hub) -> dict[str, Any] | None:
    call = instance._session
    assert isinstance(call, ClassicCall)
    return call.changes()
