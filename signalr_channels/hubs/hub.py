"""The class application authors derive from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from signalr_channels.hubs.clients import HubCallerClients
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.protocols.endings import Disconnect

if TYPE_CHECKING:
    from signalr_channels.hubs.classic_share import ClassicCall
    from signalr_channels.hubs.session import HubSession

__all__ = ["Hub", "classic_name", "hub_name"]


class Hub:
    """
    The server's half of a conversation: clients call its ``@hub_method`` methods, it calls theirs through ``self.clients``.

    A new instance serves each call, so state belongs into ``self.context.items``, the database or the cache.
    Methods may be ``async def`` or plain ``def``; plain ones run in a thread.
    """

    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of this hub that differ from the project's ``SIGNALR``, by the same names."""
    permission_classes: ClassVar[Sequence[Any] | None] = None
    """Who may connect; ``None`` takes ``DEFAULT_PERMISSION_CLASSES``, an empty list lets everyone in."""

    classic_name: ClassVar[str] = ""
    """The name classic clients know the hub by; empty: the name of the class. Compared case-insensitively, without dots."""

    _session: HubSession | ClassicCall

    @property
    def context(self) -> HubCallerContext:
        """The connection that called."""
        return self._session.context

    @property
    def clients(self) -> HubCallerClients:
        """Whom to send to."""
        return self._session.clients

    @property
    def groups(self) -> GroupManager:
        """Groups to put connections into."""
        return self._session.groups

    async def on_connected(self) -> None:
        """A client has connected. If this raises, the client is turned away and ``on_disconnected`` is not called."""

    async def on_reconnected(self) -> None:
        """A classic client is back after a lost transport. Core connections never call this."""

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        """A client that had connected is gone; ``disconnect`` says why. What is sent to it here goes nowhere."""


def hub_name(hub: type) -> str:
    """The dotted name of a hub class, such as ``chat.hubs.ChatHub``."""
    return f"{hub.__module__}.{hub.__qualname__}"


def classic_name(hub: type[Hub]) -> str:
    """The name classic clients know a hub by."""
    return hub.classic_name or hub.__name__
