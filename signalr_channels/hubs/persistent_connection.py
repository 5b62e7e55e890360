"""
Classic connections without hubs: text in, JSON values out.

::

    class EchoConnection(PersistentConnection):
        async def on_received(self, data: str) -> None:
            await self.connection.asend(self.context.connection_id, data)

Map it with ``map_persistent_connection("echo", EchoConnection)``; clients connect with ``$.connection("/echo")``.

Source: reference section 6.10; ``PersistentConnection.cs``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.hubs.classic_session import ClassicSession
from signalr_channels.hubs.classic_share import HubShare, SessionOptions, group_names
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import RunSync, run_plain
from signalr_channels.hubs.endings import run_last
from signalr_channels.hubs.groups import GroupManager
from signalr_channels.hubs.hub_context import reach_of
from signalr_channels.hubs.lifetime import EVERYONE, Audience, AudienceKind, HubLifetimeManager
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.classic.persistent import PersistentProtocol
from signalr_channels.protocols.endings import Disconnect
from signalr_channels.protocols.messages import Invocation

__all__ = [
    "ConnectionContext",
    "ConnectionGroups",
    "ConnectionSender",
    "PersistentConnection",
    "PersistentSession",
    "get_connection_context",
]

logger = logging.getLogger("signalr_channels.hubs")
T = TypeVar("T")


class ConnectionSender:
    """The way to the clients of a persistent connection."""

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def asend(self, connection_ids: str | Iterable[str], value: Any) -> None:
        """
        Send a value to one connection, or to several. An unknown id is nobody.

        Raises:
            LocalProtocolError: The value cannot be written as JSON.
            BackplaneUnavailable: Other processes could not be reached.
        """
        await self._reach.send(Audience(AudienceKind.CONNECTIONS, _names(connection_ids)), _message(value))

    async def abroadcast(self, value: Any, *, exclude: Iterable[str] = ()) -> None:
        """Send a value to all connections but some. Raises like :meth:`asend`."""
        await self._reach.send(Audience(AudienceKind.ALL, (), _names(exclude)) if exclude else EVERYONE, _message(value))

    def send(self, connection_ids: str | Iterable[str], value: Any) -> None:
        """:meth:`asend` for code without an event loop."""
        self._reach.run("send", lambda: self.asend(connection_ids, value))

    def broadcast(self, value: Any, *, exclude: Iterable[str] = ()) -> None:
        """:meth:`abroadcast` for code without an event loop."""
        self._reach.run("broadcast", lambda: self.abroadcast(value, exclude=exclude))


class ConnectionGroups(GroupManager):
    """Groups of a persistent connection: who is in them, and the way to their members."""

    __slots__ = ()

    async def asend(self, names: str | Iterable[str], value: Any, *, exclude: Iterable[str] = ()) -> None:
        """Send a value to the members of one group, or of several: a copy for each group a connection is in."""
        await self._reach.send(Audience(AudienceKind.GROUPS, _names(names), _names(exclude)), _message(value))

    def send(self, names: str | Iterable[str], value: Any, *, exclude: Iterable[str] = ()) -> None:
        """:meth:`asend` for code without an event loop."""
        self._reach.run("send", lambda: self.asend(names, value, exclude=exclude))


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"connection ids and group names are text, not {name!r}")
    return found


def _message(value: Any) -> Invocation:
    return Invocation(target="", arguments=(value,))


class PersistentConnection:
    """
    Derive from this and map it with ``map_persistent_connection``. A new instance serves each event.

    Methods may be ``async def`` or plain ``def``; plain ones run in a thread.
    """

    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings that differ from the project's ``SIGNALR``, by the same names."""
    permission_classes: ClassVar[Sequence[Any] | None] = None
    """Who may connect; ``None`` takes ``DEFAULT_PERMISSION_CLASSES``, an empty list lets everyone in."""

    def __init__(self, context: HubCallerContext, reach: Reach) -> None:
        """
        Args:
            context: The client.
            reach: The way to all clients.
        """
        self.context = context
        self._reach = reach

    @property
    def connection(self) -> ConnectionSender:
        """Whom to send to."""
        return ConnectionSender(self._reach)

    @property
    def groups(self) -> ConnectionGroups:
        """Groups to put connections into and to send to."""
        return ConnectionGroups(self._reach)

    async def on_connected(self) -> None:
        """A client has started. If this raises, the client is told that the start failed."""

    async def on_reconnected(self) -> None:
        """A client is back after a lost transport."""

    async def on_received(self, data: str) -> None:
        """
        A client sent something.

        Args:
            data: The text as sent: the JavaScript client writes anything but text as JSON.
        """

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        """A client that had started is gone; ``disconnect`` says why."""


class PersistentSession(ClassicSession):
    """Serves one client of a persistent connection."""

    def __init__(
        self,
        connection: ClassicConnection,
        context: HubCallerContext,
        sign_groups: Callable[[str, Sequence[str]], str],
        *,
        handler: type[PersistentConnection],
        name: str,
        manager: HubLifetimeManager,
        reach: Reach,
        run_sync: RunSync,
        options: SessionOptions,
        end_timeout: float,
    ) -> None:
        """
        Args:
            connection: The connection.
            context: What application code sees of it.
            sign_groups: Makes a groups token for a connection id.
            handler: The application's class.
            name: Its dotted name.
            manager: Its connections.
            reach: The way to them.
            run_sync: For plain ``def`` methods.
            options: Limits.
            end_timeout: Seconds ``on_disconnected`` may take.
        """
        super().__init__(connection, context, sign_groups, options.PARALLEL_INVOCATIONS)
        self._handler = handler
        self._manager = manager
        self._reach = reach
        self._run_sync = run_sync
        self._end_timeout = end_timeout
        self._share = HubShare(connection, name, PROTOCOL, self._groups_changed)

    async def attach(self, names: Sequence[str]) -> None:
        """A receiving request came."""
        if not self._share.is_listed:
            self._share.is_listed = True
            if (joined := self._manager.connect(self._share)) is not None:
                await joined

    def _groups_changed(self) -> None:
        self.connection.announce_groups(self._sign_groups(self.connection.connection_id, group_names([self._share])))

    async def rejoin(self, groups: Iterable[str]) -> None:
        """Join the groups of a token."""
        prefix = f"{self._share.name}."
        for entry in groups:
            if entry.startswith(prefix):
                await self._manager.add_to_group(self.connection.connection_id, entry[len(prefix) :])

    async def leave(self) -> None:
        """Let the connection go from its manager."""
        await self._manager.disconnect(self._share)

    async def on_connected(self, names: Sequence[str]) -> None:
        """Run ``on_connected``."""
        await self._call("on_connected")

    async def on_reconnected(self) -> None:
        """Run ``on_reconnected``."""
        await self._call("on_reconnected")

    async def on_disconnected(self) -> None:
        """Run ``on_disconnected``. What it raises is logged."""
        ending = self._call("on_disconnected", self.connection.disconnect)
        await run_last(ending, self.connection.connection_id, self._share.name, self._end_timeout)

    def invoke(self, data: str) -> Coroutine[Any, Any, bytes]:
        """Hand on what the client sent. There is no answer."""
        return self._receive(data)

    async def _receive(self, data: str) -> bytes:
        async with self._slots:
            await self._call("on_received", data)
        return b""

    async def _call(self, name: str, *args: Any) -> None:
        method = getattr(self._handler(self.context, self._reach), name)
        if inspect.iscoroutinefunction(method):
            await method(*args)
        else:
            await run_plain(self._run_sync, method, *args)


PROTOCOL = PersistentProtocol()


class ConnectionContext:
    """A persistent connection, seen from outside. Works in a server process and in any other one with the same settings."""

    __slots__ = ("_handler",)

    def __init__(self, handler: type[PersistentConnection]) -> None:
        self._handler = handler

    @property
    def connection(self) -> ConnectionSender:
        """Whom to send to."""
        return ConnectionSender(reach_of(self._handler))

    @property
    def groups(self) -> ConnectionGroups:
        """Groups to put connections into and to send to."""
        return ConnectionGroups(reach_of(self._handler))

    def __repr__(self) -> str:
        return f"<ConnectionContext of {self._handler.__qualname__}>"


def get_connection_context(handler: type[PersistentConnection]) -> ConnectionContext:
    """Get the way to the clients of a persistent connection from anywhere in Django."""
    if not (isinstance(handler, type) and issubclass(handler, PersistentConnection)):
        raise TypeError(f"get_connection_context() takes a PersistentConnection class, not {handler!r}")
    return ConnectionContext(handler)
