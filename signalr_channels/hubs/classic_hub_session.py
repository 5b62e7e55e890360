"""
The calls of one classic connection: what the client sent into hub methods of the hubs it shares, and the life of those hubs on it.

A classic connection carries several hubs. Each has a share in it, which is what the hub's lifetime manager knows; calls run side by side,
as in the reference, at most ``PARALLEL_INVOCATIONS`` of them.

Source: reference sections 4.3, 5.2 to 5.6, 6.2; ``HubDispatcher.cs``.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.exceptions import (
    ArgumentBindingError,
    HubException,
    InvocationNotPermitted,
    LocalProtocolError,
)
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.classic_errors import describe_binding_error, describe_unknown_method, generic_text
from signalr_channels.hubs.classic_session import ClassicSession
from signalr_channels.hubs.classic_share import ClassicCall, ClassicHub, HubShare, SessionOptions, group_names
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import writable_text
from signalr_channels.hubs.endings import run_last
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.permissions import check_invocation
from signalr_channels.hubs.progress import Progress
from signalr_channels.protocols.base import EncodedMessage
from signalr_channels.protocols.classic.hub_messages import (
    ClassicInvocation,
    InvalidInvocation,
    encode_progress,
    encode_response,
    parse_invocation,
)
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol

__all__ = ["ClassicHubSession"]

logger = logging.getLogger("signalr_channels.hubs")

CANCELED = "The operation was canceled."


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

        async def tell(hub: ClassicHub) -> None:
            await hub.dispatcher.on_connected(self._instance(hub))

        hubs = [self._hubs[name] for name in names]
        await self._tell([hub for hub in hubs if hub.dispatcher.has_on_connected], tell)

    async def on_reconnected(self) -> None:
        """Run ``on_reconnected`` of the hubs of the request that came back."""

        async def tell(hub: ClassicHub) -> None:
            await hub.dispatcher.on_reconnected(self._instance(hub))

        hubs = [self._hubs[name] for name in self._names]
        await self._tell([hub for hub in hubs if hub.dispatcher.has_on_reconnected], tell)

    async def on_disconnected(self) -> None:
        """Run ``on_disconnected`` of the hubs of the last receiving request. What it raises is logged."""

        async def tell(hub: ClassicHub) -> None:
            disconnect = self.connection.disconnect
            assert disconnect is not None
            await hub.dispatcher.on_disconnected(self._instance(hub), disconnect)

        for name in self._names:
            hub = self._hubs[name]
            dispatcher = hub.dispatcher
            if dispatcher.has_on_disconnected:
                await run_last(tell(hub), self.connection.connection_id, dispatcher.name, dispatcher.options.ON_DISCONNECTED_TIMEOUT)

    async def _tell(self, hubs: Iterable[ClassicHub], tell: Callable[[ClassicHub], Coroutine[Any, Any, None]]) -> None:
        results = await asyncio.gather(*map(tell, hubs), return_exceptions=True)
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
        try:
            instance = self._instance(hub, call.state)
        except Exception as error:
            return self._fail(call, hub, None, error)
        if bound.runs_inline and not hub.permission_classes and not hub.dispatcher.filters and not bound.method.reports_progress:
            return self._run_inline(call, hub, bound, instance, arguments)
        return self._run(call, hub, bound, instance, arguments)

    def _run_inline(self, call: ClassicInvocation, hub: ClassicHub, bound: BoundMethod, instance: Hub, arguments: Sequence[Any]) -> bytes:
        try:
            # What it sets in context variables is its own, as that of a call with a task.
            contextvars.copy_context().run(bound.method.function(instance, *arguments).send, None)
        except StopIteration as stop:
            return self._complete(call, hub, instance, stop.value)
        except Exception as error:
            return self._fail(call, hub, instance, error)
        except asyncio.CancelledError:  # raised by the method itself: it waits for nothing
            return self._refuse(call, CANCELED)
        raise AssertionError(f"{bound.method.name} suspended although it has no await")

    async def _run(self, call: ClassicInvocation, hub: ClassicHub, bound: BoundMethod, instance: Hub, arguments: Sequence[Any]) -> bytes:
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
            user, method = self.context.user, bound.method.name
            await check_invocation(classes, user=user, hub=hub.dispatcher.hub, method=method, arguments=arguments)

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

    def _fail(self, call: ClassicInvocation, hub: ClassicHub, instance: Hub | None, error: Exception) -> bytes:
        where = f"{hub.dispatcher.name}.{call.method:.100}"
        if isinstance(error, HubException):
            logger.info("%s: %s: %s", self.connection.connection_id, where, type(error).__name__)
            try:
                return encode_response(
                    call.invocation_id, state=_changes(instance), error=writable_text(error), is_hub_exception=True, error_data=error.data
                )
            except LocalProtocolError as unwritable:
                error = unwritable
        logger.error("%s: %s failed", self.connection.connection_id, where, exc_info=error)
        return self._refuse(call, writable_text(getattr(error, "text", None) or error))

    def _refuse(self, call: ClassicInvocation, detail: str) -> bytes:
        """An error answer: in detail where that is allowed."""
        text = detail if self._options.ENABLE_DETAILED_ERRORS else generic_text(call)
        return encode_response(call.invocation_id, error=text)


def _changes(instance: Hub | None) -> dict[str, Any] | None:
    if instance is None:  # it could not be made
        return None
    call = instance._session
    assert isinstance(call, ClassicCall)
    return call.changes()
