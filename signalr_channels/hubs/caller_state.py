"""The state of a classic client's proxy, for the length of one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import msgspec

from signalr_channels.hubs.clients import HubCallerClients, SingleClientProxy
from signalr_channels.hubs.lifetime import Audience, AudienceKind
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.core.binding_errors import ENCODE_ERRORS

__all__ = ["CallerState", "ClassicCallerClients"]


class CallerState(MutableMapping[str, Any]):
    """
    What the client sent, and what became of it. Names are case-sensitive.

    Source: reference section 5.6: assignments are compared with what came in, and only what differs goes back.
    """

    __slots__ = ("_original", "_values")

    def __init__(self, values: dict[str, Any] | None) -> None:
        self._original = values or {}
        # A copy of everything inside as well: hub code may change a list in place.
        self._values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self._original))

    def changes(self) -> dict[str, Any]:
        """The members that differ from what came in."""
        # As texts: to Python True equals 1, to the client it does not.
        original = self._original
        return {name: value for name, value in self._values.items() if name not in original or _differ(original[name], value)}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"CallerState({self._values!r})"


def _differ(before: Any, after: Any) -> bool:
    try:
        return msgspec.json.encode(before) != msgspec.json.encode(after)
    except ENCODE_ERRORS:
        return True  # whoever sends it says what is wrong with it


class _CallerProxy(SingleClientProxy):
    """The connection that called; what is sent to it takes the changed state along."""

    __slots__ = ("_send_with_state",)

    def __init__(self, reach: Reach, connection_id: str, send_with_state: Callable[[str, tuple[Any, ...]], bool]) -> None:
        super().__init__(reach, Audience(AudienceKind.CONNECTIONS, (connection_id,)))
        self._send_with_state = send_with_state

    async def asend(self, target: str, /, *args: Any) -> None:
        """Call the client method ``target`` with these arguments."""
        if not self._send_with_state(target, args):
            await super().asend(target, *args)


class ClassicCallerClients(HubCallerClients):
    """All audiences, and the caller's state, as seen by one call of a classic client."""

    __slots__ = ("_send_with_state", "_state", "_values")

    def __init__(
        self,
        reach: Reach,
        caller_id: str,
        values: dict[str, Any] | None,
        send_with_state: Callable[[str, tuple[Any, ...], dict[str, Any]], bool],
    ) -> None:
        """
        Args:
            reach: The way to the hub's clients.
            caller_id: The connection that called.
            values: The state it sent.
            send_with_state: Sends to the caller with changed members of the state; False if it is to be sent as any other message.
        """
        super().__init__(reach, caller_id)
        self._values = values
        self._state: CallerState | None = None
        self._send_with_state = send_with_state

    @property
    def caller(self) -> SingleClientProxy:
        """The connection that called."""
        return _CallerProxy(self._reach, self._caller_id, self._send)

    @property
    def caller_state(self) -> CallerState:
        """What the client's proxy has in its ``state``; changes go back to it."""
        if self._state is None:
            self._state = CallerState(self._values)
        return self._state

    def changes(self) -> dict[str, Any] | None:
        """The members of the state that the call changed, if it changed any."""
        return (self._state.changes() or None) if self._state is not None else None

    def _send(self, target: str, arguments: tuple[Any, ...]) -> bool:
        changes = self.changes()
        return changes is not None and self._send_with_state(target, arguments, changes)
