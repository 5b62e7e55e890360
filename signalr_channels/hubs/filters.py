"""Hub filters: code around every call and every end of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.protocols.endings import Disconnect

if TYPE_CHECKING:
    from signalr_channels.hubs.hub import Hub

__all__ = ["HubFilter", "HubInvocation"]


@dataclass(slots=True, kw_only=True)
class HubInvocation:
    """One call, as filters see it."""

    hub: Hub
    """The instance that serves the call."""
    context: HubCallerContext
    """The caller."""
    method: str
    """Declared name of the hub method."""
    arguments: list[Any]
    """Converted arguments; a filter may change them."""


InvokeNext = Callable[[HubInvocation], Awaitable[Any]]
ConnectedNext = Callable[[HubCallerContext], Awaitable[None]]
DisconnectedNext = Callable[[HubCallerContext, Disconnect], Awaitable[None]]


class HubFilter:
    """
    Derive from this and override what you need.

    ``HUB_FILTERS`` names the filters, outermost first; global ones come before a hub's own. One instance serves all connections.
    A filter may change arguments or the result, or answer without calling ``next``. Permissions are checked before.
    """

    async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
        """Around a hub method."""
        return await next(invocation)

    async def on_connected(self, context: HubCallerContext, next: ConnectedNext) -> None:
        """Around ``on_connected``."""
        await next(context)

    async def on_reconnected(self, context: HubCallerContext, next: ConnectedNext) -> None:
        """Around ``on_reconnected``, which only classic clients cause."""
        await next(context)

    async def on_disconnected(self, context: HubCallerContext, disconnect: Disconnect, next: DisconnectedNext) -> None:
        """Around ``on_disconnected``."""
        await next(context, disconnect)
