"""
The life of connections: the events that are recorded of it, and the manager that knows and reaches them.

The loop of a broadcast only enqueues: no await, no encoding per receiver, no thread, no database.
"""

from __future__ import annotations

import abc
import asyncio
import datetime
import enum
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from signalr_channels.connections.burst import MANY, Burst
from signalr_channels.exceptions import ConnectionClosed, HubException
from signalr_channels.hubs.client_results import ClientResults
from signalr_channels.protocols.base import EncodedMessage, HubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import Completion, HubMessage, Invocation

__all__ = [
    "EVERYONE",
    "Audience",
    "AudienceKind",
    "ConnectionIndex",
    "ConnectionInfo",
    "HubLifetimeManager",
    "InMemoryHubLifetimeManager",
    "LifetimeEvent",
    "LifetimeEventKind",
    "LifetimeObserver",
    "Receiver",
    "SharedInvocation",
]


class LifetimeEventKind(str, enum.Enum):
    """What happened to a connection."""

    NEGOTIATED = "negotiated"
    """A connection id was handed out; no transport yet."""
    CONNECTED = "connected"
    """Hands were shaken and ``on_connected`` is about to run."""
    RECONNECTED = "reconnected"
    """A lost transport was replaced."""
    DISCONNECTED = "disconnected"
    """The connection ended; ``reason`` says why."""
    REJECTED = "rejected"
    """It never opened; ``reason`` says why."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """What is known of a connection from the request that opened it. Holds no token; every text is bounded."""

    connection_id: str
    """The public id, or ``""`` for a request that was refused before it had one."""
    hub: str
    """The hub's dotted name, such as ``chat.hubs.ChatHub``."""
    path: str
    """The path the hub is mapped at."""
    transport: str = ""
    """``webSockets``, ``serverSentEvents``, ``longPolling``, ``foreverFrame``, or ``""`` while unknown."""
    hub_protocol: str = ""
    """``json``, ``messagepack``, ``classic``, or ``""`` before the handshake."""
    user_pk: Any = None
    """Primary key of the Django user, or ``None``."""
    user_identifier: str | None = None
    """What ``clients.user(…)`` addresses, or ``None`` for nobody."""
    remote_address: str = ""
    """Host and port of the peer."""
    user_agent: str = ""
    """The client's own name, at most 256 characters."""
    origin: str = ""
    """The page's origin as sent, at most 256 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeEvent:
    """One line in the life of a connection."""

    kind: LifetimeEventKind
    connection: ConnectionInfo
    process: str
    """Name of the server process: ``host:pid:random``."""
    reason: CloseReason | None = None
    """For ``disconnected`` and ``rejected``."""
    detail: str = ""
    """One sentence for the operator, at most 500 characters, naming the setting to change where there is one."""
    stop_called: bool | None = None
    """For ``disconnected``: whether the client ended it on purpose."""
    allows_reconnect: bool | None = None
    """For ``disconnected``: whether the client was told that it may come back."""
    time: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))
    event_id: str = field(default_factory=lambda: os.urandom(16).hex())
    """Unique, so that writing an event twice leaves one row."""


LifetimeObserver = Callable[[LifetimeEvent], None]
"""Is told of every event, on the event loop: it must not block and must not raise."""


class AudienceKind(str, enum.Enum):
    """Whom a message is for."""

    ALL = "all"
    CONNECTIONS = "connections"
    GROUPS = "groups"
    USERS = "users"


class Audience(msgspec.Struct, frozen=True, gc=False):
    """A set of connections of one hub, by name."""

    kind: AudienceKind
    names: tuple[str, ...] = ()
    """Connection ids, group names or user identifiers."""
    excluded: tuple[str, ...] = ()
    """Connection ids that get nothing."""


LONGEST_TURN = 64 * 1024
"""Bytes of messages, each counted once, after which a sender gives way."""
EVERYONE = Audience(AudienceKind.ALL)


class Receiver(Protocol):
    """What a lifetime manager knows of a connection: a core connection, or the share that a hub has in a classic one."""

    groups: set[str] | None
    """Names of the groups it is in; kept by the lifetime manager."""

    @property
    def connection_id(self) -> str:
        """The public id."""

    @property
    def user_identifier(self) -> str | None:
        """What ``clients.user(…)`` addresses, or ``None``."""

    @property
    def hub_protocol(self) -> HubProtocol | None:
        """Its encoding."""

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""

    def enqueue(self, message: EncodedMessage, burst: Burst | None = None) -> None:
        """Write a message that was encoded for several connections, with a burst where that is possible."""

    def send(self, message: HubMessage) -> None:
        """Encode a message and write it."""

    def close(
        self, reason: CloseReason, *, error: str | None = None, exception: Exception | None = None, allow_reconnect: bool = False
    ) -> None:
        """End it."""


class SharedInvocation:
    """A client invocation that is encoded at most once per hub protocol, whatever the number of receivers."""

    __slots__ = ("_encoded", "message")

    def __init__(self, message: Invocation) -> None:
        self.message = message
        self._encoded: dict[str, EncodedMessage] = {}

    def encoded(self, protocol: HubProtocol) -> EncodedMessage:
        """
        The message in a protocol's encoding.

        Raises:
            LocalProtocolError: An argument cannot be encoded.
        """
        encoded = self._encoded.get(protocol.name)
        if encoded is None:
            encoded = self._encoded[protocol.name] = EncodedMessage(protocol.encode(self.message), protocol.transfer_format)
        return encoded

    @property
    def size(self) -> int:
        """Bytes of the encoded messages."""
        return sum(len(encoded.data) for encoded in self._encoded.values())


Encoder = Callable[[HubProtocol], "EncodedMessage | None"]


class ConnectionIndex:
    """The connections of one hub in this process, by id, group and user."""

    def __init__(self, maximum_groups: int = 1000) -> None:
        self._maximum_groups = maximum_groups
        self.connections: dict[str, Receiver] = {}
        self.guests: dict[str, Receiver] = {}
        """Connections that called the hub without naming it when they connected: only the groups they join reach them."""
        self.groups: dict[str, dict[str, Receiver]] = {}
        self.users: dict[str, dict[str, Receiver]] = {}

    def find(self, connection_id: str) -> Receiver | None:
        """A connection or a guest."""
        return self.connections.get(connection_id) or self.guests.get(connection_id)

    def add(self, connection: Receiver) -> bool:
        """Take a connection in. True if it is the first of its user here."""
        self.connections[connection.connection_id] = connection
        user = connection.user_identifier
        if user is None:
            return False
        members = self.users.setdefault(user, {})
        members[connection.connection_id] = connection
        return len(members) == 1

    def remove(self, connection: Receiver) -> tuple[list[str], bool]:
        """Let a connection or guest go: the groups nobody here is in any more, and whether it was the last of its user."""
        connection_id = connection.connection_id
        for known in (self.connections, self.guests):
            if known.get(connection_id) is connection:  # a classic one may have begun again, under its old id
                del known[connection_id]
        emptied = [group for group in connection.groups or () if self._leave(group, connection)]
        connection.groups = None
        user = connection.user_identifier
        if user is None or (members := self.users.get(user)) is None or members.get(connection_id) is not connection:
            return emptied, False
        del members[connection_id]
        if not members:
            del self.users[user]
        return emptied, not members

    def join(self, connection: Receiver, group: str) -> bool:
        """
        Put a connection into a group. True if it is the group's first here.

        Raises:
            HubException: The connection is in as many groups as it may be.
        """
        if connection.groups is None:
            connection.groups = set()
        elif len(connection.groups) >= self._maximum_groups and group not in connection.groups:
            raise HubException(f"A connection may be in {self._maximum_groups} groups (MAXIMUM_GROUPS_PER_CONNECTION).")
        connection.groups.add(group)
        members = self.groups.setdefault(group, {})
        members[connection.connection_id] = connection
        return len(members) == 1

    def leave(self, connection: Receiver, group: str) -> bool:
        """Take a connection out of a group. True if nobody here is in it any more."""
        if connection.groups is None or group not in connection.groups:
            return False
        connection.groups.discard(group)
        return self._leave(group, connection)

    def _leave(self, group: str, connection: Receiver) -> bool:
        members = self.groups.get(group)
        if members is None or members.get(connection.connection_id) is not connection:
            return False
        del members[connection.connection_id]
        if not members:
            del self.groups[group]
        return not members

    def deliver(self, audience: Audience, encode: Encoder) -> None:
        """
        Hand a message to the connections of an audience. Nothing here waits.

        A connection in several of the listed groups gets one copy per group, as in ASP.NET Core SignalR.
        """
        if audience.kind is AudienceKind.ALL:
            self._deliver(self.connections, audience.excluded, encode)
            return
        if audience.kind is AudienceKind.CONNECTIONS:
            listed = {name: self.connections[name] for name in audience.names if name in self.connections}
            self._deliver(listed, audience.excluded, encode)
            return
        members_of = self.groups if audience.kind is AudienceKind.GROUPS else self.users
        for name in audience.names:
            if (members := members_of.get(name)) is not None:
                self._deliver(members, audience.excluded, encode)

    def _deliver(self, members: dict[str, Receiver], excluded: tuple[str, ...], encode: Encoder) -> None:
        encoded: EncodedMessage | None = None
        encoded_for: HubProtocol | None = None
        burst = Burst() if len(members) >= MANY else None
        try:
            for connection in tuple(members.values()):
                if excluded and connection.connection_id in excluded:
                    continue
                protocol = connection.hub_protocol
                if protocol is not encoded_for:
                    assert protocol is not None
                    encoded_for, encoded = protocol, encode(protocol)
                if encoded is not None:
                    connection.enqueue(encoded, burst)
        finally:  # what one protocol cannot encode has gone to those before of another one
            if burst is not None:
                burst.write()


class HubLifetimeManager(abc.ABC):
    """
    Knows the connections of one hub and reaches them, in this process and in others.

    Hubs see connections only through it.
    """

    index: ConnectionIndex
    client_results: ClientResults
    _sent_in_turn: int = 0

    @abc.abstractmethod
    def connect(self, connection: Receiver) -> Awaitable[None] | None:
        """Take a connection in. Local delivery works at once; await what is returned for delivery from other processes."""

    @abc.abstractmethod
    async def disconnect(self, connection: Receiver) -> None:
        """Let a connection and its group memberships go."""

    @abc.abstractmethod
    async def send(self, audience: Audience, message: Invocation) -> None:
        """
        Send a client invocation to an audience. An empty audience is no error.

        Raises:
            LocalProtocolError: An argument cannot be encoded.
            BackplaneUnavailable: Other processes could not be reached; local connections got the message.
        """

    @abc.abstractmethod
    async def invoke(self, connection_id: str, target: str, arguments: Sequence[Any]) -> tuple[HubProtocol, Completion]:
        """
        Call a client method of one connection, of whatever process, and wait for its answer.

        Returns:
            The client's completion, and the encoding its result is in.

        Raises:
            ConnectionClosed: There is no such connection, or it ended while we waited.
            BackplaneUnavailable: Its process could not be reached.
        """

    async def give_way(self, shared: SharedInvocation) -> None:
        """Let the event loop have a turn after a lot was sent: only between turns it notices that a client does not read."""
        self._sent_in_turn += shared.size
        if self._sent_in_turn > LONGEST_TURN:
            self._sent_in_turn = 0
            await asyncio.sleep(0)

    async def invoke_local(self, connection: Receiver, target: str, arguments: Sequence[Any]) -> tuple[HubProtocol, Completion]:
        """:meth:`invoke` for a connection of this process."""
        results, protocol = self.client_results, connection.hub_protocol
        assert protocol is not None
        if connection.is_closed:
            raise ConnectionClosed(f"Connection '{connection.connection_id}' disconnected.")
        invocation_id = results.next_id()
        answer = results.ask(connection.connection_id, invocation_id)
        try:
            connection.send(Invocation(target=target, arguments=arguments, invocation_id=invocation_id))
            return protocol, await answer
        finally:
            results.forget(invocation_id)

    @abc.abstractmethod
    async def add_to_group(self, connection_id: str, group: str) -> None:
        """Put a connection, of whatever process, into a group. Doing it twice, or with an unknown connection, changes nothing."""

    @abc.abstractmethod
    async def remove_from_group(self, connection_id: str, group: str) -> None:
        """Take a connection, of whatever process, out of a group. Doing it twice, or with an unknown connection, changes nothing."""

    @abc.abstractmethod
    async def close(self, connection_id: str, error: str | None, *, allow_reconnect: bool, closed_by: str = "") -> bool:
        """
        End a connection, of whatever process.

        Args:
            connection_id: Its public id.
            error: What the client is told.
            allow_reconnect: Whether the client may come back by itself.
            closed_by: The operator who wants it, for the history; ``""`` if it is the application.

        Returns:
            Whether there was one.

        Raises:
            BackplaneUnavailable: Its process could not be reached.
        """

    def welcome(self, guest: Receiver) -> None:
        """Take in a connection that only the groups it joins reach."""
        self.index.guests[guest.connection_id] = guest

    def close_local(self, connection: Receiver, error: str | None, *, allow_reconnect: bool, closed_by: str = "") -> None:
        """:meth:`close` for a connection of this process."""
        reason, detail = CloseReason.CLOSED_BY_APP, error
        if closed_by:
            reason, detail = CloseReason.CLOSED_BY_ADMIN, f"Disconnected by {closed_by}" + (f": {error}" if error else ".")
        exception = None if detail is None else ConnectionClosed(detail)  # for the hub and the history
        connection.close(reason, error=error, exception=exception, allow_reconnect=allow_reconnect)


class InMemoryHubLifetimeManager(HubLifetimeManager):
    """For one process."""

    def __init__(self, maximum_groups: int = 1000) -> None:
        self.index = ConnectionIndex(maximum_groups)
        self.client_results = ClientResults()

    def connect(self, connection: Receiver) -> None:
        """Take a connection in."""
        self.index.add(connection)

    async def disconnect(self, connection: Receiver) -> None:
        """Let a connection and its group memberships go."""
        self.index.remove(connection)

    async def send(self, audience: Audience, message: Invocation) -> None:
        """Send a client invocation to an audience."""
        shared = SharedInvocation(message)
        self.index.deliver(audience, shared.encoded)
        await self.give_way(shared)

    async def invoke(self, connection_id: str, target: str, arguments: Sequence[Any]) -> tuple[HubProtocol, Completion]:
        """Call a client method of one connection and wait for its answer."""
        connection = self.index.connections.get(connection_id)
        if connection is None or connection.is_closed:
            raise ConnectionClosed(f"Connection '{connection_id}' does not exist.")
        return await self.invoke_local(connection, target, arguments)

    async def add_to_group(self, connection_id: str, group: str) -> None:
        """Put a connection into a group."""
        if (connection := self.index.find(connection_id)) is not None:
            self.index.join(connection, group)

    async def remove_from_group(self, connection_id: str, group: str) -> None:
        """Take a connection out of a group."""
        if (connection := self.index.find(connection_id)) is not None:
            self.index.leave(connection, group)

    async def close(self, connection_id: str, error: str | None, *, allow_reconnect: bool, closed_by: str = "") -> bool:
        """End a connection."""
        connection = self.index.connections.get(connection_id)
        if connection is not None:
            self.close_local(connection, error, allow_reconnect=allow_reconnect, closed_by=closed_by)
        return connection is not None
