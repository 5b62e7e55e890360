"""Server-sent events: one long answer from the server, and a POST for what the client says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Admission
from signalr_channels.hubs.session import HubSession
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.sse import FIRST_BYTES, encode_event
from signalr_channels.responses import abort_network, client_gone
from signalr_channels.runtime import Runtime
from signalr_channels.sessions import OpenConnection, open_connection
from signalr_channels.tokens import ConnectionToken
from signalr_channels.transport_requests import check_not_bound

__all__ = ["ServerSentEventsTransport", "serve_event_stream"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

GOODBYE_GRACE = 2.0
"""
Seconds in which a client whose event stream has ended may still say Close.

@microsoft/signalr 10.0 posts its Close and drops the stream in the same moment; the end of the stream mostly comes first. A POST on a
connection of its own, with TLS and a preflight before it, comes three round trips later. If another POST is under way when the client is
stopped, its Close is never sent.
"""

HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache,no-store"),
    (b"pragma", b"no-cache"),
    (b"content-encoding", b"identity"),
    (b"x-accel-buffering", b"no"),  # nginx buffers answers unless it is told not to
]


class ServerSentEventsTransport:
    """Writes each message as one event."""

    name = "serverSentEvents"
    __slots__ = ("_send",)

    def __init__(self, send: Send) -> None:
        self._send = send

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        """Send one event."""
        return self._send({"type": "http.response.body", "body": encode_event(message.data), "more_body": True})

    def close(self, *, code: int) -> Awaitable[None]:
        """End the answer."""
        return self._send({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        """Cut the TCP connection, where the server lets us reach it."""
        abort_network(self._send)


async def serve_event_stream(
    runtime: Runtime,
    endpoint: HubEndpoint,
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    admission: Admission,
    token: ConnectionToken,
    headers: Headers,
) -> None:
    """
    Serve an event stream to its end.

    Raises:
        Refusal: 400 or 409 for a connection that has a transport, 503 where there is no room.
    """
    connection_id = token.connection_id
    check_not_bound(runtime, connection_id, "serverSentEvents")
    runtime.check_room()
    dispatcher = runtime.dispatcher_for(endpoint)
    transport = ServerSentEventsTransport(send)
    opened = open_connection(
        runtime,
        endpoint,
        dispatcher,
        scope,
        admission,
        connection_id,
        transport,
        transfer_formats=[TransferFormat.TEXT],
        arbiter=token.arbiter,
    )
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
    await send({"type": "http.response.body", "body": FIRST_BYTES, "more_body": True})
    if (parked := runtime.parked.pop(connection_id, None)) is not None:
        opened.session.receive(parked.take())
    await wait_for_end(runtime, opened, receive)


async def wait_for_end(runtime: Runtime, opened: OpenConnection, receive: Receive) -> None:
    """Return when the connection has ended, whoever ended it, and what was written to the client is out."""
    gone = asyncio.ensure_future(client_gone(receive))
    ended = asyncio.ensure_future(opened.wait_ended())
    try:
        await asyncio.wait([gone, ended], return_when=asyncio.FIRST_COMPLETED)
        if opened.finished is None:
            await wait_for_goodbye(opened, ended)
        elif not gone.done():
            await opened.connection.drain()
    finally:
        has_left = gone.done()
        for task in (gone, ended):
            task.cancel()
        if opened.finished is None:
            is_ours = runtime.is_stopping and not has_left
            opened.connection.receive_eof(CloseReason.SERVER_SHUTDOWN if is_ours else CloseReason.CLIENT_GONE)
    assert opened.finished is not None
    await asyncio.shield(opened.finished)


async def wait_for_goodbye(opened: OpenConnection, ended: asyncio.Future[None]) -> None:
    """
    The client has dropped its event stream: return when it has said Close, or does not within ``GOODBYE_GRACE``.

    Meanwhile nothing is written. What the client posts is taken: it sent that before it left, or knows no more than we do that it has
    left. Another request for a transport is answered as while there is one, and whatever else ends the connection does so at once.
    Without a handshake, and without a hub, there is no Close to wait for.
    """
    session = opened.session
    if not isinstance(session, HubSession) or opened.connection.hub_protocol is None:
        return
    opened.connection.detach()
    session.lose_reader()
    if not session.hear_goodbye():
        await asyncio.wait([ended], timeout=GOODBYE_GRACE)
        session.hear_goodbye()
