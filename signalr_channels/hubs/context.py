"""What a hub method knows about its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from signalr_channels.hubs.sync import is_running
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.endings import CloseReason

__all__ = ["HubCallerContext"]


class CallingConnection(Protocol):
    """What the context reads of a connection of either generation."""

    @property
    def connection_id(self) -> str: ...
    @property
    def user_identifier(self) -> str | None: ...
    @property
    def transport(self) -> Any: ...
    @property
    def hub_protocol(self) -> HubProtocol | None: ...
    @property
    def is_closed(self) -> bool: ...
    def close(self, reason: CloseReason) -> None: ...


class HubCallerContext:
    """
    One connection, as seen by hub code.

    Attributes:
        user: The Django user of the transport request; ``AnonymousUser`` for nobody.
        scope: The ASGI scope of the request that opened the transport.
    """

    __slots__ = ("_aborted", "_connection", "_items", "_loop", "scope", "user")

    def __init__(self, connection: CallingConnection, user: Any, scope: Mapping[str, Any]) -> None:
        self._connection = connection
        self._items: dict[Any, Any] | None = None
        self._aborted: asyncio.Event | None = None
        self._loop = asyncio.get_running_loop()
        self.user = user
        self.scope = scope

    @property
    def connection_id(self) -> str:
        """The public id of the connection; other clients may know it."""
        return self._connection.connection_id

    @property
    def user_identifier(self) -> str | None:
        """What ``clients.user(…)`` addresses, fixed at the handshake; ``None`` for nobody."""
        return self._connection.user_identifier

    @property
    def transport(self) -> str:
        """``webSockets``, ``serverSentEvents``, ``longPolling`` or ``foreverFrame``."""
        transport = self._connection.transport
        return "" if transport is None else str(transport.name)

    @property
    def hub_protocol(self) -> str:
        """``json``, ``messagepack`` or ``classic``."""
        protocol = self._connection.hub_protocol
        return "" if protocol is None else protocol.name

    @property
    def items(self) -> dict[Any, Any]:
        """State of the connection that outlives one invocation."""
        if self._items is None:
            self._items = {}
        return self._items

    @property
    def is_aborted(self) -> bool:
        """Whether the connection has ended."""
        return self._connection.is_closed

    async def wait_aborted(self) -> None:
        """Return when the connection has ended."""
        if self._connection.is_closed:
            return
        if self._aborted is None:
            self._aborted = asyncio.Event()
        await self._aborted.wait()

    def abort(self) -> None:
        """
        End the connection. The client is told not to come back; the running call gets no answer.

        From a thread, as that of a plain ``def``, it ends as soon as its event loop has a turn.
        """
        if is_running(self._loop):
            self._connection.close(CloseReason.CLOSED_BY_APP)
        else:
            self._loop.call_soon_threadsafe(self._connection.close, CloseReason.CLOSED_BY_APP)

    def mark_aborted(self) -> None:
        """Wake whoever waits for the end. Called by the dispatcher."""
        if self._aborted is not None:
            self._aborted.set()
