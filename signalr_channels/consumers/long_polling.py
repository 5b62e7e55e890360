"""Long polling: requests that wait for data, a POST for what the client says, and a DELETE to leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from signalr_channels.connections.long_polling import LongPollingTransport, Poll, PollOutcome
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Admission, Refusal
from signalr_channels.responses import NO_CACHE, NOT_FOUND_TEXT, client_gone, respond
from signalr_channels.runtime import Runtime
from signalr_channels.sessions import open_connection
from signalr_channels.tokens import ConnectionToken

__all__ = ["serve_delete", "serve_poll", "transport_of"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BINARY = b"application/octet-stream"


async def serve_poll(
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
    Answer a poll: at once if it is the first, else with data, the end, or nothing after ``POLL_TIMEOUT``.

    Raises:
        Refusal: 400 for a connection with another transport, 503 where there is no room.
    """
    connection_id = token.connection_id
    all_headers = [*NO_CACHE, *headers]
    transport = transport_of(runtime, connection_id)
    if transport is None:
        _open(runtime, endpoint, scope, admission, token)
        await respond(send, 200, content_type=BINARY, headers=all_headers)
        return
    if (opened := runtime.get(connection_id)) is not None:
        opened.renew(admission, endpoint)
    poll = await _wait(runtime, transport, receive, endpoint.options.POLL_TIMEOUT)
    if poll is None:
        return  # the client has gone, and may come back
    if poll.outcome is PollOutcome.DATA:
        await respond(send, 200, poll.data, content_type=BINARY, headers=all_headers)
    elif poll.outcome is PollOutcome.EMPTY:
        await respond(send, 200, headers=all_headers)
    else:
        if transport.is_closed:
            runtime.lingering.pop(connection_id, None)
        await respond(send, 204, headers=all_headers)


def transport_of(runtime: Runtime, connection_id: str) -> LongPollingTransport | None:
    """
    What polls of a connection fetch from; ``None`` if it was not opened yet.

    Raises:
        Refusal: 400 for a connection with another transport, 404 for one whose client was given up.
    """
    if (polls := runtime.lingering.get(connection_id)) is not None:
        return polls.transport
    if (opened := runtime.get(connection_id)) is None:
        return None
    transport = opened.connection.transport
    if not isinstance(transport, LongPollingTransport):
        raise Refusal(400, "Cannot change transports mid-connection")
    if opened.connection.is_closed and not transport.is_closed:  # given up a moment ago: nothing would ever be written to it
        raise Refusal(404, NOT_FOUND_TEXT)
    return transport


def _open(runtime: Runtime, endpoint: HubEndpoint, scope: Mapping[str, Any], admission: Admission, token: ConnectionToken) -> None:
    connection_id = token.connection_id
    runtime.check_room()
    dispatcher = runtime.dispatcher_for(endpoint)
    transport = LongPollingTransport(endpoint.options.TRANSPORT_BUFFER_SIZE, runtime.clock())
    opened = open_connection(runtime, endpoint, dispatcher, scope, admission, connection_id, transport, arbiter=token.arbiter)
    if (parked := runtime.parked.pop(connection_id, None)) is not None:
        opened.session.receive(parked.take())


async def _wait(runtime: Runtime, transport: LongPollingTransport, receive: Receive, timeout: float) -> Poll | None:
    """The outcome of a poll, or ``None`` if the client went away while it waited."""
    transport.idle_since = None
    poll = asyncio.ensure_future(transport.poll(timeout))
    gone = asyncio.ensure_future(client_gone(receive))
    try:
        await asyncio.wait([poll, gone], return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            return poll.result()
        if poll.done():  # in the same moment
            transport.put_back(poll.result())
        return None
    finally:
        poll.cancel()
        gone.cancel()
        await asyncio.wait([poll, gone])
        if not transport.has_poll:
            transport.idle_since = runtime.clock()


async def serve_delete(runtime: Runtime, connection_id: str, send: Send, headers: Headers) -> None:
    """
    End a long-polling connection; a poll under way is answered with a Close. What was not fetched of one that has ended is dropped.

    Raises:
        Refusal: 400 for a connection that is not bound to long polling, 404 for one that has ended.
    """
    if runtime.lingering.pop(connection_id, None) is not None:
        await respond(send, 202, headers=headers)
        return
    opened = runtime.get(connection_id)
    if opened is None or not isinstance(opened.connection.transport, LongPollingTransport):
        raise Refusal(400, "Cannot terminate this connection using the DELETE endpoint.")
    if opened.connection.is_closed:
        raise Refusal(404, NOT_FOUND_TEXT)
    await respond(send, 202, headers=headers)
    opened.connection.end_input()
    runtime.lingering.pop(connection_id, None)
