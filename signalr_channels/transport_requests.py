"""What all transport requests have in common: the token they carry."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from signalr_channels.auth import header
from signalr_channels.backplane.ownership import GONE, HERE
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Admission, Refusal
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.query import query_items
from signalr_channels.responses import NOT_FOUND_TEXT
from signalr_channels.runtime import Runtime
from signalr_channels.tokens import ConnectionToken, digest, read_connection_token

__all__ = ["accepts_event_stream", "check_not_bound", "connection_id_of", "find_owner", "find_token"]


def find_token(
    runtime: Runtime, endpoint: HubEndpoint, values: Sequence[str], admission: Admission, *, is_opening: bool = True
) -> ConnectionToken:
    """
    The token of a request's ``id``.

    Args:
        runtime: This process.
        endpoint: The hub.
        values: What the query has for ``id``.
        admission: Who asks.
        is_opening: Whether the request wants a transport; see :func:`_ended`.

    Raises:
        Refusal: 400 without an id; 404 for one that is unknown, ended, of another hub or another user.
    """
    if not values or values == [""]:
        raise Refusal(400, "Connection ID required")
    token = read_connection_token(values[0]) if len(values) == 1 else None
    if token is None:
        raise _unknown("The connection token is not one of ours: was it made with another SECRET_KEY?")
    if token.hub != digest(endpoint.hub_name):
        raise _unknown("The connection token belongs to another hub.")
    if token.user != digest(admission.user_identifier):
        raise _unknown("The connection token belongs to another user: did somebody log in or out after negotiating?")
    if runtime.store.has_ended(token.connection_id) and token.connection_id not in runtime.lingering:
        raise _ended(is_opening)
    return token


def connection_id_of(scope: Mapping[str, Any]) -> str:
    """The connection a request is about, for the history of one that is refused; ``""`` without a token of ours."""
    values = query_items(scope["query_string"]).get("id", [])
    token = read_connection_token(values[0]) if len(values) == 1 else None
    return "" if token is None else token.connection_id


async def find_owner(runtime: Runtime, endpoint: HubEndpoint, token: ConnectionToken, *, may_claim: bool, ask: bool = True) -> str:
    """
    Where a request belongs.

    Args:
        runtime: This process.
        endpoint: The hub.
        token: The request's token.
        may_claim: Whether the request wants a transport, so that this process becomes the owner if nobody is.
        ask: Whether other processes may own it; a web socket without stateful reconnect lives where it was opened.

    Returns:
        :data:`HERE`, or the channel of the process that owns the connection.

    Raises:
        Refusal: 404 for a connection that has ended, or was not opened in time; 503 if nobody can be asked.
    """
    connection_id = token.connection_id
    if runtime.store.get(connection_id) is not None or connection_id in runtime.lingering:
        return HERE
    is_fresh = time.time() - token.issued_at <= endpoint.options.DISCONNECT_TIMEOUT
    owner: str | None = None
    if ask and runtime.ownership is not None and runtime.relay is not None and token.arbiter:
        may_open = may_claim and is_fresh

        async def seek(connection_id: str) -> str | None:
            return await runtime.classic_service.seek(connection_id, may_claim=may_open)

        await runtime.classic_service.join()
        owner = await runtime.ownership.locate(connection_id, token.arbiter, may_claim=may_open, seek=seek)
        if owner == GONE:
            raise _ended(may_claim)
        if owner is None and not may_claim and not runtime.relay.is_available:
            # Somebody may own it. What is kept here for a transport that came elsewhere would be lost.
            raise Refusal(503, "The server processes cannot reach each other.", headers=[(b"retry-after", b"1")])
    if owner is not None:
        return owner
    if not is_fresh:
        raise _unknown("The connection of this token has ended, or was not opened within DISCONNECT_TIMEOUT.")
    return HERE


def _unknown(detail: str) -> Refusal:
    return Refusal(404, NOT_FOUND_TEXT, reason=CloseReason.UNAUTHORIZED, detail=detail)


def _ended(is_opening: bool) -> Refusal:
    """
    A request of a connection that has ended. The history has a row for one that wants a transport, since its client did not notice.

    What is posted or deleted after the end is late, and harmless: @microsoft/signalr 10.0 sends a Close and a ``DELETE`` side by side
    when it stops long polling.
    """
    if not is_opening:
        return Refusal(404, NOT_FOUND_TEXT)
    return _unknown("The connection of this token has ended; the client has to negotiate anew.")


def check_not_bound(runtime: Runtime, connection_id: str, transport: str) -> None:
    """
    A connection keeps its first transport, and has one at a time.

    Raises:
        Refusal: 400 if it has another transport, 409 if it has this one.
    """
    if (opened := runtime.get(connection_id)) is not None:
        if opened.connection.transport.name != transport:
            detail = f"The connection is bound to {opened.connection.transport.name} already."
            raise Refusal(400, "Cannot change transports mid-connection", reason=CloseReason.PROTOCOL_ERROR, detail=detail)
        raise Refusal(409, reason=CloseReason.PROTOCOL_ERROR, detail="The connection of this token is there already.")
    if connection_id in runtime.lingering:
        detail = "The connection was bound to longPolling, and has ended."
        raise Refusal(400, "Cannot change transports mid-connection", reason=CloseReason.PROTOCOL_ERROR, detail=detail)


def accepts_event_stream(scope: Mapping[str, Any]) -> bool:
    """Whether ``text/event-stream`` is a whole member of ``Accept``, in any letter case."""
    accept = header(scope, b"accept") or ""
    return "text/event-stream" in (member.strip().lower() for member in accept.split(","))
