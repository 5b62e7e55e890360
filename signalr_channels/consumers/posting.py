"""POST: what a client of server-sent events or long polling says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from signalr_channels.connections.parked import ParkedData
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Refusal
from signalr_channels.responses import NOT_FOUND_TEXT, respond
from signalr_channels.runtime import Runtime
from signalr_channels.sessions import OpenConnection

__all__ = ["serve_post", "take_body"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


async def serve_post(runtime: Runtime, endpoint: HubEndpoint, receive: Receive, send: Send, connection_id: str, headers: Headers) -> None:
    """Take a body, and answer when all of it was taken; see :func:`take_body`."""
    await take_body(runtime, endpoint.options.APPLICATION_BUFFER_SIZE, receive, connection_id)
    await respond(send, 200, headers=headers)


async def take_body(runtime: Runtime, buffer_size: int, receive: Receive, connection_id: str) -> None:
    """
    Hand a body to the connection as it comes.

    Bodies of one connection are taken one after another. What came before the client broke off counts.

    Raises:
        Refusal: 405 for a web socket, 404 for a connection that has ended, 400 for a body that broke off.
    """
    opened = runtime.get(connection_id)
    if opened is None:
        if connection_id in runtime.lingering:
            raise Refusal(404, NOT_FOUND_TEXT)
        opened = await _park(runtime, buffer_size, receive, connection_id)
        if opened is None:
            return
    if opened.connection.transport.name == "webSockets":
        raise Refusal(405, "POST requests are not allowed for WebSocket connections.")
    async with opened.post_lock():
        if opened.connection.is_closed:
            raise Refusal(404, NOT_FOUND_TEXT)
        await _hand_over(opened, receive)


async def _hand_over(opened: OpenConnection, receive: Receive) -> None:
    session = opened.session
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refusal(400)
        if body := event.get("body", b""):
            session.receive(body)
            if session.is_congested:
                await session.wait_ready()
        if not event.get("more_body", False) or session.connection.is_closed:
            return


async def _park(runtime: Runtime, buffer_size: int, receive: Receive, connection_id: str) -> OpenConnection | None:
    """Keep a body for the transport request to come. If that comes first, or the room is used up, the rest goes to its connection."""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refusal(400)
        body = event.get("body", b"")
        more_body = event.get("more_body", False)
        opened = runtime.get(connection_id)
        if opened is not None:
            opened.session.receive(body)
            return opened if more_body else None
        parked = runtime.parked.get(connection_id)
        if parked is None:
            parked = runtime.parked[connection_id] = ParkedData(runtime.clock())
        parked.add(body)
        if parked.size > buffer_size:
            await asyncio.shield(parked.opened)
            if runtime.get(connection_id) is None:
                raise Refusal(404, NOT_FOUND_TEXT)
        if not more_body:
            return None
