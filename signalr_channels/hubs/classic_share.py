"""A hub's share in a classic connection, and one call of it as hub code sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from signalr_channels.connections.burst import Burst
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.exceptions import ClientResultError
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.caller_state import ClassicCallerClients
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.permissions import HubPermission
from signalr_channels.protocols.base import EncodedMessage, HubProtocol
from signalr_channels.protocols.classic.hub_protocol import NO_CLIENT_RESULTS, ClassicHubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import HubMessage

__all__ = ["ClassicCall", "ClassicHub", "HubShare", "SessionOptions", "group_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicHub:
    """A hub as classic clients of one mount see it."""

    name: str
    """What clients call it."""
    protocol: ClassicHubProtocol
    dispatcher: HubDispatcher
    methods: Mapping[str, BoundMethod]
    """Wire name in lower case -> method."""
    permission_classes: Sequence[type[HubPermission]]


class SessionOptions(Protocol):
    """The settings a session reads; see :class:`signalr_channels.conf.ClassicSettings`."""

    @property
    def PARALLEL_INVOCATIONS(self) -> int: ...  # noqa: D102, N802
    @property
    def MAXIMUM_STATE_SIZE(self) -> int: ...  # noqa: D102, N802
    @property
    def ENABLE_DETAILED_ERRORS(self) -> bool: ...  # noqa: D102, N802


class _GroupNames(set[str]):
    """The groups a share is in; says when they change."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def add(self, name: str) -> None:
        if name not in self:
            super().add(name)
            self._on_change()

    def discard(self, name: object) -> None:
        if name in self:
            super().discard(name)
            self._on_change()


class HubShare:
    """A hub's share in a classic connection: what the hub's lifetime manager takes for the connection."""

    __slots__ = ("__weakref__", "connection", "groups", "hub_protocol", "is_listed", "name")

    def __init__(self, connection: ClassicConnection, name: str, protocol: HubProtocol, on_groups_changed: Callable[[], None]) -> None:
        self.connection = connection
        self.name = name
        self.hub_protocol: HubProtocol | None = protocol
        self.is_listed = False
        self.groups: set[str] | None = _GroupNames(on_groups_changed)

    @property
    def connection_id(self) -> str:
        """The public id of the connection."""
        return self.connection.connection_id

    @property
    def user_identifier(self) -> str | None:
        """What ``clients.user(…)`` addresses."""
        return self.connection.user_identifier

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self.connection.is_closed

    def enqueue(self, message: EncodedMessage, burst: Burst | None = None) -> None:
        """Send a message of the hub. Messages have a number of their own on each connection, so no burst helps."""
        self.connection.enqueue(message)

    def send(self, message: HubMessage) -> None:
        """
        Refuse: only questions are sent this way, and the protocol knows no answers to them.

        Raises:
            ClientResultError: Always.
        """
        raise ClientResultError(NO_CLIENT_RESULTS)

    def close(
        self, reason: CloseReason, *, error: str | None = None, exception: Exception | None = None, allow_reconnect: bool = False
    ) -> None:
        """End the connection."""
        self.connection.close(reason, error=error, exception=exception, allow_reconnect=allow_reconnect)


def group_names(shares: Iterable[HubShare]) -> list[str]:
    """What a groups token holds: the groups of all hubs, with the names of their hubs in front."""
    return sorted(f"{share.name}.{group}" for share in shares for group in share.groups or ())


class ClassicCall:
    """One call, or one lifetime event, as the hub instance that serves it sees its connection."""

    __slots__ = ("_clients", "_hub", "_share", "_state", "context")

    def __init__(self, context: HubCallerContext, hub: ClassicHub, share: HubShare, state: dict[str, Any] | None) -> None:
        self.context = context
        self._hub = hub
        self._share = share
        self._state = state
        self._clients: ClassicCallerClients | None = None

    @property
    def clients(self) -> ClassicCallerClients:
        """Audiences, as seen from this connection, and the state of the caller's proxy."""
        if self._clients is None:
            reach, caller_id = self._hub.dispatcher.reach, self._share.connection_id
            self._clients = ClassicCallerClients(reach, caller_id, self._state, self._send_with_state)
        return self._clients

    @property
    def groups(self) -> GroupManager:
        """Groups of the hub."""
        return GroupManager(self._hub.dispatcher.reach)

    def changes(self) -> dict[str, Any] | None:
        """The members of the state that the call changed, if it changed any."""
        return None if self._clients is None else self._clients.changes()

    def _send_with_state(self, target: str, arguments: tuple[Any, ...], changes: dict[str, Any]) -> bool:
        if self._share.is_listed:
            protocol = self._hub.protocol
            data = protocol.encode_with_state(target, arguments, changes)
            self._share.enqueue(EncodedMessage(data, protocol.transfer_format))
        return True
