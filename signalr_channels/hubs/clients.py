"""Whom a message goes to: SignalR's list of audiences, in snake case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from signalr_channels.hubs.lifetime import EVERYONE, Audience, AudienceKind
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.messages import Invocation

__all__ = ["ClientProxy", "HubCallerClients", "HubClients"]


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
        return f"<ClientProxy {self._audience.kind.value} {self._audience.names!r} of {self._reach.hub_name}>"


class HubClients:
    """The audiences that need no caller."""

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def _proxy(self, kind: AudienceKind, names: tuple[str, ...], excluded: tuple[str, ...] = ()) -> ClientProxy:
        return ClientProxy(self._reach, Audience(kind, names, excluded))

    @property
    def all(self) -> ClientProxy:
        """Every connection of the hub."""
        return ClientProxy(self._reach, EVERYONE)

    def all_except(self, connection_ids: Iterable[str]) -> ClientProxy:
        """Every connection but these."""
        return self._proxy(AudienceKind.ALL, (), _names(connection_ids, "all_except"))

    def client(self, connection_id: str) -> ClientProxy:
        """One connection. An unknown id is nobody."""
        return self._proxy(AudienceKind.CONNECTIONS, (_name(connection_id, "client"),))

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
        """Every connection of several users."""
        return self._proxy(AudienceKind.USERS, _names(user_identifiers, "users"))


class HubCallerClients(HubClients):
    """All audiences, as seen by a hub method that a client called."""

    __slots__ = ("_caller_id",)

    def __init__(self, reach: Reach, caller_id: str) -> None:
        super().__init__(reach)
        self._caller_id = caller_id

    @property
    def caller(self) -> ClientProxy:
        """The connection that called."""
        return self._proxy(AudienceKind.CONNECTIONS, (self._caller_id,))

    @property
    def others(self) -> ClientProxy:
        """Every connection but the one that called."""
        return self._proxy(AudienceKind.ALL, (), (self._caller_id,))

    def others_in_group(self, name: str) -> ClientProxy:
        """The members of a group but the one that called."""
        return self._proxy(AudienceKind.GROUPS, (_name(name, "others_in_group"),), (self._caller_id,))
