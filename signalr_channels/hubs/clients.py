"""Whom a message goes to: SignalR's list of audiences, in snake case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from signalr_channels.exceptions import ClientResultError
from signalr_channels.hubs.lifetime import EVERYONE, Audience, AudienceKind
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.messages import Invocation

__all__ = ["ClientProxy", "HubCallerClients", "HubClients", "SingleClientProxy"]


def _names(names: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{what} takes a list of names, not the one name {names!r}")
    result = tuple(names)
    for name in result:
        _name(name, what)
    return result


def _name(name: str, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} takes text, not {name!r}: convert it with str()")
    return name


class ClientProxy:
    """The clients of one audience. ``asend`` calls a client method on each of them."""

    __slots__ = ("_audience", "_reach")

    def __init__(self, reach: Reach, audience: Audience) -> None:
        self._reach = reach
        self._audience = audience

    async def asend(self, target: str, /, *args: Any) -> None:
        """
        Call the client method ``target`` with these arguments. Nobody answers.

        Returns when the message was handed to the local connections and to the channel layer, not when clients received it.

        Raises:
            LocalProtocolError: An argument cannot be encoded.
            BackplaneUnavailable: Other processes could not be reached.
        """
        await self._reach.send(self._audience, Invocation(target=target, arguments=args))

    def send(self, target: str, /, *args: Any) -> None:
        """:meth:`asend` for code without an event loop: Django views, commands, ``def`` hub methods, Celery tasks."""
        self._reach.run("send", lambda: self.asend(target, *args))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._audience.kind.value} {self._audience.names!r} of {self._reach.hub_name}>"


class SingleClientProxy(ClientProxy):
    """One connection. ``ainvoke`` calls a client method and waits for its result."""

    __slots__ = ("_before_asking",)

    def __init__(self, reach: Reach, audience: Audience, before_asking: Callable[[], None] | None = None) -> None:
        super().__init__(reach, audience)
        self._before_asking = before_asking

    async def ainvoke(self, target: str, /, *args: Any, result_type: Any = Any, timeout: float | None = None) -> Any:
        """
        Call the client method ``target`` and wait for what it returns.

        Args:
            target: Name of the client method.
            args: Its arguments.
            result_type: What the result is converted to, such as ``int`` or a dataclass.
            timeout: Seconds to wait; ``None`` waits as long as the connection lives.

        A hub method that asks its own connection's clients gives up its slot, so the answer can be read.

        Raises:
            ClientResultError: The client answered with an error, nothing, or another type, or not in time.
            ConnectionClosed: There is no such connection, or it ended meanwhile.
            BackplaneUnavailable: Its process could not be reached.
            WrongContext: ``on_connected`` asked; messages are not read yet.
        """
        if self._before_asking is not None:
            self._before_asking()
        asking = self._reach.invoke(self._audience.names[0], target, args, result_type)
        try:
            return await asyncio.wait_for(asking, timeout)
        except asyncio.TimeoutError:
            raise ClientResultError(f"The client did not answer within {timeout:g} s.") from None

    def invoke(self, target: str, /, *args: Any, result_type: Any = Any, timeout: float | None = None) -> Any:
        """:meth:`ainvoke` for code without an event loop."""
        return self._reach.run("invoke", lambda: self.ainvoke(target, *args, result_type=result_type, timeout=timeout))


class HubClients:
    """The audiences that need no caller."""

    __slots__ = ("_before_asking", "_reach")

    def __init__(self, reach: Reach, before_asking: Callable[[], None] | None = None) -> None:
        self._reach = reach
        self._before_asking = before_asking

    def _single(self, connection_id: str) -> SingleClientProxy:
        return SingleClientProxy(self._reach, Audience(AudienceKind.CONNECTIONS, (connection_id,)), self._before_asking)

    def _proxy(self, kind: AudienceKind, names: tuple[str, ...], excluded: tuple[str, ...] = ()) -> ClientProxy:
        return ClientProxy(self._reach, Audience(kind, names, excluded))

    @property
    def all(self) -> ClientProxy:
        """Every connection of the hub."""
        return ClientProxy(self._reach, EVERYONE)

    def all_except(self, connection_ids: Iterable[str]) -> ClientProxy:
        """Every connection but these."""
        return self._proxy(AudienceKind.ALL, (), _names(connection_ids, "all_except"))

    def client(self, connection_id: str) -> SingleClientProxy:
        """One connection. An unknown id is nobody."""
        return self._single(_name(connection_id, "client"))

    def clients(self, connection_ids: Iterable[str]) -> ClientProxy:
        """Several connections, each once."""
        return self._proxy(AudienceKind.CONNECTIONS, _names(connection_ids, "clients"))

    def group(self, name: str) -> ClientProxy:
        """The members of a group."""
        return self._proxy(AudienceKind.GROUPS, (_name(name, "group"),))

    def groups(self, names: Iterable[str]) -> ClientProxy:
        """The members of several groups; one copy per group a connection is in."""
        return self._proxy(AudienceKind.GROUPS, _names(names, "groups"))

    def group_except(self, name: str, connection_ids: Iterable[str]) -> ClientProxy:
        """The members of a group but these."""
        return self._proxy(AudienceKind.GROUPS, (_name(name, "group_except"),), _names(connection_ids, "group_except"))

    def user(self, user_identifier: str) -> ClientProxy:
        """Every connection of a user."""
        return self._proxy(AudienceKind.USERS, (_name(user_identifier, "user"),))

    def users(self, user_identifiers: Iterable[str]) -> ClientProxy:
        """Every connection of several users, each once."""
        return self._proxy(AudienceKind.USERS, tuple(dict.fromkeys(_names(user_identifiers, "users"))))


class HubCallerClients(HubClients):
    """All audiences, as seen by a hub method that a client called."""

    __slots__ = ("_caller_id",)

    def __init__(self, reach: Reach, caller_id: str, before_asking: Callable[[], None] | None = None) -> None:
        super().__init__(reach, before_asking)
        self._caller_id = caller_id

    @property
    def caller(self) -> SingleClientProxy:
        """The connection that called."""
        return self._single(self._caller_id)

    @property
    def caller_state(self) -> MutableMapping[str, Any]:
        """
        What a classic client's proxy has in its ``state``, for the length of one call; changes go back to the client.

        Core clients have none: they send nothing, and what is written here goes nowhere.
        """
        return {}

    @property
    def others(self) -> ClientProxy:
        """Every connection but the one that called."""
        return self._proxy(AudienceKind.ALL, (), (self._caller_id,))

    def others_in_group(self, name: str) -> ClientProxy:
        """The members of a group but the one that called."""
        return self._proxy(AudienceKind.GROUPS, (_name(name, "others_in_group"),), (self._caller_id,))
