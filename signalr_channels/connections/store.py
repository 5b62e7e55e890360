"""The connections of this process, and for a while the ids of those that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from signalr_channels.connections.connection import Connection

__all__ = ["ConnectionStore"]


class ConnectionStore:
    """
    Knows every connection of one process by its id.

    An id that ended stays known for ``tombstone_time`` seconds, so that its token opens nothing any more.
    """

    def __init__(self, clock: Callable[[], float], tombstone_time: float) -> None:
        self._clock = clock
        self._tombstone_time = tombstone_time
        self._live: dict[str, Connection] = {}
        self._tombstones: dict[str, float] = {}

    def add(self, connection: Connection) -> None:
        """Remember a connection."""
        self._live[connection.connection_id] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection but for its id."""
        if self._live.pop(connection.connection_id, None) is not None:
            self._tombstones[connection.connection_id] = self._clock() + self._tombstone_time

    def get(self, connection_id: str) -> Connection | None:
        """The live connection of that id."""
        return self._live.get(connection_id)

    def has_ended(self, connection_id: str) -> bool:
        """Whether a connection of that id ended a short while ago."""
        return connection_id in self._tombstones

    def expire(self, now: float) -> None:
        """Forget ids whose tokens have run out by themselves. They stand in the order of their expiry."""
        while self._tombstones:
            connection_id = next(iter(self._tombstones))
            if self._tombstones[connection_id] > now:
                return
            del self._tombstones[connection_id]

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Connection]:
        """A snapshot, safe against connections that end meanwhile."""
        return iter(tuple(self._live.values()))
