"""Sending from outside a hub: views, commands, Celery tasks, signal handlers, the shell."""

from __future__ import annotations

from collections.abc import Callable

from signalr_channels.exceptions import WrongContext
from signalr_channels.hubs.clients import HubClients
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.reach import Reach

__all__ = ["ConnectionManager", "HubContext", "get_hub_context", "reach_of", "set_reach_provider"]

ReachProvider = Callable[[type], Reach]
_provider: ReachProvider | None = None


def set_reach_provider(provider: ReachProvider) -> None:
    """Say how hubs are reached in this process. Called by the Django app when it is ready."""
    global _provider
    _provider = provider


class ConnectionManager:
    """
    Ends connections from the server's side.

    Example: ``await get_hub_context(ChatHub).connections.aclose(connection_id, error="You were signed out.")``.
    """

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def aclose(self, connection_id: str, *, error: str | None = None, allow_reconnect: bool = False, closed_by: str = "") -> bool:
        """
        End a connection of the hub, of whatever process and generation. ``on_disconnected`` runs with the reason ``closed_by_app``.

        Args:
            connection_id: Its public id.
            error: What the client is told.
            allow_reconnect: Whether the client may come back by itself.
            closed_by: Name of the operator who wants it. The reason is ``closed_by_admin`` then, and the history has the name.

        Returns:
            Whether there was such a connection.

        Raises:
            BackplaneUnavailable: Other processes could not be reached.
        """
        return await self._reach.close(connection_id, error, allow_reconnect=allow_reconnect, closed_by=closed_by)

    def close(self, connection_id: str, *, error: str | None = None, allow_reconnect: bool = False, closed_by: str = "") -> bool:
        """:meth:`aclose` for code without an event loop."""
        return self._reach.run(
            "close", lambda: self.aclose(connection_id, error=error, allow_reconnect=allow_reconnect, closed_by=closed_by)
        )


class HubContext:
    """
    One hub, seen from outside: whom to send to, and its groups.

    Works in a server process and in any other one with the same settings; the way to the clients is looked up at each use.
    """

    __slots__ = ("_hub",)

    def __init__(self, hub: type[Hub]) -> None:
        self._hub = hub

    @property
    def clients(self) -> HubClients:
        """Whom to send to."""
        return HubClients(reach_of(self._hub))

    @property
    def groups(self) -> GroupManager:
        """Groups to put connections into."""
        return GroupManager(reach_of(self._hub))

    @property
    def connections(self) -> ConnectionManager:
        """Connections to end."""
        return ConnectionManager(reach_of(self._hub))

    def __repr__(self) -> str:
        return f"<HubContext of {self._hub.__qualname__}>"


def reach_of(hub: type) -> Reach:
    """How the clients of a hub, or of a persistent connection, are reached from here."""
    if _provider is None:
        raise WrongContext("Django is not set up: add 'signalr_channels' to INSTALLED_APPS and call django.setup().")
    return _provider(hub)


def get_hub_context(hub: type[Hub]) -> HubContext:
    """
    Get the way to a hub's clients from anywhere in Django.

    Example: ``get_hub_context(ChatHub).clients.user(str(order.user_id)).send("orderShipped", order.pk)``.
    """
    if not (isinstance(hub, type) and issubclass(hub, Hub)):
        raise TypeError(f"get_hub_context() takes a hub class, not {hub!r}")
    return HubContext(hub)
