"""Groups: named sets of connections that hub code fills and empties."""

from __future__ import annotations

from signalr_channels.hubs.reach import Reach

__all__ = ["GroupManager"]


class GroupManager:
    """
    Adds connections to groups and takes them out.

    Names are case-sensitive. Membership ends with the connection. Doing it twice is harmless.
    """

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def aadd(self, connection_id: str, name: str) -> None:
        """
        Put a connection into a group.

        Raises:
            HubException: The connection is in ``MAXIMUM_GROUPS_PER_CONNECTION`` groups already.
            BackplaneUnavailable: The process that holds the connection could not be reached.
        """
        await self._reach.add_to_group(_text(connection_id), _text(name))

    async def aremove(self, connection_id: str, name: str) -> None:
        """Take a connection out of a group."""
        await self._reach.remove_from_group(_text(connection_id), _text(name))

    def add(self, connection_id: str, name: str) -> None:
        """:meth:`aadd` for code without an event loop."""
        self._reach.run("add", lambda: self.aadd(connection_id, name))

    def remove(self, connection_id: str, name: str) -> None:
        """:meth:`aremove` for code without an event loop."""
        self._reach.run("remove", lambda: self.aremove(connection_id, name))


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"connection ids and group names are text, not {value!r}")
    return value
