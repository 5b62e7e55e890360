"""Sending from outside a hub: views, commands, Celery tasks, signal handlers, the shell."""

from __future__ import annotations

from collections.abc import Callable

from signalr_channels.exceptions import WrongContext
from signalr_channels.hubs.clients import HubClients
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.reach import Reach

__all__ = ["HubContext", "get_hub_context", "set_reach_provider"]

ReachProvider = Callable[[type[Hub]], Reach]
_provider: ReachProvider | None = None


def set_reach_provider(provider: ReachProvider) -> None:
    """Say how hubs are reached in this process. Called by the Django app when it is ready."""
    global _provider
    _provider = provider


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
        return HubClients(_reach(self._hub))

    @property
    def groups(self) -> GroupManager:
        """Groups to put connections into."""
        return GroupManager(_reach(self._hub))

    def __repr__(self) -> str:
        return f"<HubContext of {self._hub.__qualname__}>"


def _reach(hub: type[Hub]) -> Reach:
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
