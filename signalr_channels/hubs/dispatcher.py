"""What all connections of one hub share: its methods, settings, filters and error texts."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from signalr_channels.exceptions import ArgumentBindingError, HubException
from signalr_channels.hubs.binding import BoundMethod, bind_methods
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.filters import HubFilter, HubInvocation
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.lifetime import HubLifetimeManager
from signalr_channels.hubs.methods import HubMethod, collect_hub_methods
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.endings import Disconnect

__all__ = ["HubDispatcher", "HubOptions", "RunSync", "run_plain", "writable_text"]

logger = logging.getLogger("signalr_channels.hubs")


class RunSync(Protocol):
    """Runs a plain function where it may block, with database connections closed properly."""

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        """Run it and give its result."""


async def run_plain(run_sync: RunSync, function: Callable[..., Any], *args: Any) -> Any:
    """Run a function that is no ``async def``. One may be inside of it nevertheless, if it comes from a decorator."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except StopIteration as error:
            # No future can hold it: whoever waits for the thread would wait for ever.
            raise RuntimeError("a plain function raised StopIteration") from error

    result = await run_sync(call, *args)
    return await result if inspect.isawaitable(result) else result


class HubOptions(Protocol):
    """The settings the dispatcher reads; see :class:`signalr_channels.conf.SignalRSettings`."""

    @property
    def ENABLE_DETAILED_ERRORS(self) -> bool: ...  # noqa: D102, N802
    @property
    def MAXIMUM_PARALLEL_INVOCATIONS(self) -> int: ...  # noqa: D102, N802
    @property
    def STREAM_BUFFER_CAPACITY(self) -> int: ...  # noqa: D102, N802
    @property
    def APPLICATION_BUFFER_SIZE(self) -> int: ...  # noqa: D102, N802
    @property
    def MAXIMUM_GROUPS_PER_CONNECTION(self) -> int: ...  # noqa: D102, N802
    @property
    def ON_DISCONNECTED_TIMEOUT(self) -> float: ...  # noqa: D102, N802


class HubDispatcher:
    """
    One hub class, ready to be called.

    Attributes:
        hub: The class.
        name: Its dotted name.
        methods: Wire name -> method.
        options: Its settings.
        manager: Its connections.
        reach: The way to its clients from hub code.
        filters: Outermost first.
        run_sync: For plain ``def`` methods.
        calls_in_tasks: How many calls had a task of their own, and so may have used the database.
    """

    def __init__(
        self,
        hub: type[Hub],
        *,
        protocols: Sequence[HubProtocol],
        options: HubOptions,
        manager: HubLifetimeManager,
        reach: Reach,
        run_sync: RunSync,
        filters: Sequence[HubFilter] = (),
    ) -> None:
        """
        Raises:
            HubDefinitionError: The hub class cannot work.
        """
        self.hub = hub
        self.name = hub_name(hub)
        self.methods = collect_hub_methods(hub)
        self.options = options
        self.manager = manager
        self.reach = reach
        self.run_sync = run_sync
        self.filters = tuple(filters)
        self.protocols = tuple(protocols)
        self.calls_in_tasks = 0
        self._bound = {protocol.name: bind_methods(hub, self.methods, protocol) for protocol in protocols}
        self.has_on_connected = bool(filters) or hub.on_connected is not Hub.on_connected
        self.has_on_reconnected = bool(filters) or hub.on_reconnected is not Hub.on_reconnected
        self.has_on_disconnected = bool(filters) or hub.on_disconnected is not Hub.on_disconnected
        self._invoke = self._chain_invoke()
        self._connected = self._chain_connected()
        self._reconnected = self._chain_reconnected()
        self._disconnected = self._chain_disconnected()

    def methods_for(self, protocol: HubProtocol) -> dict[str, BoundMethod]:
        """Wire name in lower case -> method with the decoders of a hub protocol."""
        return self._bound[protocol.name]

    # Calls

    async def invoke(self, hub: Hub, method: HubMethod, arguments: Sequence[Any]) -> Any:
        """Call a hub method through the filters. A streaming method gives its iterator."""
        self.calls_in_tasks += 1
        if not self.filters:
            return await self.call(method, hub, arguments)
        invocation = HubInvocation(hub=hub, context=hub.context, method=method.name, arguments=list(arguments))
        return await self._invoke(invocation, method)

    async def call(self, method: HubMethod, hub: Hub, arguments: Sequence[Any]) -> Any:
        """Call a hub method itself."""
        if method.is_async:
            return await method.function(hub, *arguments)
        if method.is_streaming:
            return method.function(hub, *arguments)
        return await run_plain(self.run_sync, method.function, hub, *arguments)

    async def on_connected(self, hub: Hub) -> None:
        """Run ``on_connected`` through the filters."""
        await self._connected(hub)

    async def on_reconnected(self, hub: Hub) -> None:
        """Run ``on_reconnected`` through the filters."""
        await self._reconnected(hub)

    async def on_disconnected(self, hub: Hub, disconnect: Disconnect) -> None:
        """Run ``on_disconnected`` through the filters."""
        await self._disconnected(hub, disconnect)

    async def _hook(self, hook: Callable[..., Any], *args: Any) -> None:
        # A hook may be written as plain def as well.
        if inspect.iscoroutinefunction(hook):
            await hook(*args)
        else:
            await run_plain(self.run_sync, hook, *args)

    def _chain_invoke(self) -> Callable[[HubInvocation, HubMethod], Awaitable[Any]]:
        async def innermost(invocation: HubInvocation, method: HubMethod) -> Any:
            return await self.call(method, invocation.hub, invocation.arguments)

        chain = innermost
        for hub_filter in reversed(self.filters):
            chain = _around_invoke(hub_filter, chain)
        return chain

    def _chain_connected(self) -> Callable[[Hub], Awaitable[None]]:
        async def innermost(hub: Hub) -> None:
            await self._hook(hub.on_connected)

        chain = innermost
        for hub_filter in reversed(self.filters):
            chain = _around_connected(hub_filter, chain)
        return chain

    def _chain_reconnected(self) -> Callable[[Hub], Awaitable[None]]:
        async def innermost(hub: Hub) -> None:
            await self._hook(hub.on_reconnected)

        chain = innermost
        for hub_filter in reversed(self.filters):
            chain = _around_reconnected(hub_filter, chain)
        return chain

    def _chain_disconnected(self) -> Callable[[Hub, Disconnect], Awaitable[None]]:
        async def innermost(hub: Hub, disconnect: Disconnect) -> None:
            await self._hook(hub.on_disconnected, disconnect)

        chain = innermost
        for hub_filter in reversed(self.filters):
            chain = _around_disconnected(hub_filter, chain)
        return chain

    # Error texts. Source: reference section 4.6.

    def describe(self, base: str, error: Exception) -> str:
        """A text for the client: the base, and the error's own type and text where the client may see them."""
        if isinstance(error, ArgumentBindingError):
            return f"{base} {error.kind}: {error.text}" if self.options.ENABLE_DETAILED_ERRORS else base
        if isinstance(error, HubException):
            own = type(error).__module__ == HubException.__module__
            return f"{base} {'HubException' if own else type(error).__name__}: {writable_text(error)}"
        if self.options.ENABLE_DETAILED_ERRORS:
            # Our own errors have .NET's names for clients, which compare them.
            kind = getattr(error, "kind", None) or type(error).__name__
            return f"{base} {kind}: {writable_text(getattr(error, 'text', None) or error)}"
        return base


def writable_text(error: object) -> str:
    """What an error of hub code says, as it can be sent: without an answer its call would never end."""
    try:
        # Half a surrogate pair cannot be written; it is in names of files that are not UTF-8.
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:
        logger.exception("a %s cannot say what it is about: its __str__ failed", type(error).__name__)
        return ""


def _around_invoke(hub_filter: HubFilter, inner: Callable[[HubInvocation, HubMethod], Awaitable[Any]]) -> Any:
    async def call(invocation: HubInvocation, method: HubMethod) -> Any:
        return await hub_filter.invoke_method(invocation, lambda changed: inner(changed, method))

    return call


def _around_connected(hub_filter: HubFilter, inner: Callable[[Hub], Awaitable[None]]) -> Any:
    async def call(hub: Hub) -> None:
        async def next_(context: HubCallerContext) -> None:
            await inner(hub)

        await hub_filter.on_connected(hub.context, next_)

    return call


def _around_reconnected(hub_filter: HubFilter, inner: Callable[[Hub], Awaitable[None]]) -> Any:
    async def call(hub: Hub) -> None:
        async def next_(context: HubCallerContext) -> None:
            await inner(hub)

        await hub_filter.on_reconnected(hub.context, next_)

    return call


def _around_disconnected(hub_filter: HubFilter, inner: Callable[[Hub, Disconnect], Awaitable[None]]) -> Any:
    async def call(hub: Hub, disconnect: Disconnect) -> None:
        async def next_(context: HubCallerContext, changed: Disconnect) -> None:
            await inner(hub, changed)

        await hub_filter.on_disconnected(hub.context, disconnect, next_)

    return call
