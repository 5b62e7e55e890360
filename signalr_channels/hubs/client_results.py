"""Results that hub code asks of a client: who was asked what, and who waits for it."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Annotated, Any, get_origin

import msgspec

from signalr_channels.exceptions import ArgumentBindingError, ClientResultError, ConnectionClosed, RemoteProtocolError
from signalr_channels.hubs.dataclass_defaults import with_dataclass_defaults
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.messages import NO_RESULT, Completion

__all__ = ["ClientResults", "read_result"]


class ClientResults:
    """The questions to the connections of one hub in this process."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[str, tuple[str, asyncio.Future[Completion]]] = {}

    def next_id(self) -> str:
        """An invocation id; the letter keeps it apart from ids that clients choose for their streams."""
        self._count += 1
        return f"s{self._count}"

    def ask(self, connection_id: str, invocation_id: str) -> asyncio.Future[Completion]:
        """Expect an answer; :meth:`forget` it when nobody waits any more."""
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting[invocation_id] = (connection_id, answer)
        return answer

    def forget(self, invocation_id: str) -> None:
        """Nobody waits for this answer any more; a late one is ignored."""
        self._waiting.pop(invocation_id, None)

    def expects(self, invocation_id: str) -> bool:
        """Whether somebody waits for this answer."""
        return invocation_id in self._waiting

    def complete(self, connection_id: str, completion: Completion) -> bool:
        """
        Take a completion. False: nobody asked for it.

        Raises:
            RemoteProtocolError: Another connection was asked; this one made the answer up.
        """
        entry = self._waiting.get(completion.invocation_id)
        if entry is None:
            return False
        asked, answer = entry
        if asked != connection_id:
            text = f"Connection ID '{connection_id}' is not valid for invocation ID '{completion.invocation_id}'."
            raise RemoteProtocolError(text, kind="InvalidOperationException")
        del self._waiting[completion.invocation_id]
        if not answer.done():
            answer.set_result(completion)
        return True

    def connection_ended(self, connection_id: str) -> None:
        """Whoever waits for this connection waits in vain."""
        for invocation_id in [key for key, (asked, _) in self._waiting.items() if asked == connection_id]:
            _, answer = self._waiting.pop(invocation_id)
            if not answer.done():
                answer.set_exception(ConnectionClosed(f"Connection '{connection_id}' disconnected."))


@lru_cache(maxsize=512)
def _decoder(protocol: HubProtocol, result_type: Any) -> Any:
    return with_dataclass_defaults(protocol.value_decoder(result_type), [result_type])


def read_result(protocol: HubProtocol, completion: Completion, result_type: Any) -> Any:
    """
    The value a client answered with.

    Raises:
        ClientResultError: It answered with an error, with nothing, or with a value of another type.
    """
    if completion.error is not None:
        raise ClientResultError(completion.error)
    if completion.result is NO_RESULT:
        raise ClientResultError("The client gave no result.")
    raw = completion.result
    try:
        return _decoder(protocol, result_type)(raw if isinstance(raw, msgspec.Raw) else msgspec.Raw(raw))
    except ArgumentBindingError as error:
        plain_type = result_type.__origin__ if get_origin(result_type) is Annotated else result_type
        name = getattr(plain_type, "__name__", str(plain_type))
        raise ClientResultError(f"Error trying to deserialize result to {name}. {error.text}") from error
