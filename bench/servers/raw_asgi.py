"""
The least an ASGI application can do: the unit every other figure is compared with.

``/echo`` sends each message back, ``/echo-bytes`` each binary one; ``/fan`` sends it to every connection, awaiting ``send`` in turn.
``/count`` answers each message with the items of one stream and its end. ``/poll`` is long polling without SignalR: what is posted to
``?id=x`` is the answer to the next ``GET`` of ``?id=x``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

members: set[Send] = set()
"""The ``send`` of each open ``/fan`` connection."""

posted: defaultdict[bytes, asyncio.Queue[bytes]] = defaultdict(asyncio.Queue)
"""What waits for a poll, by the query text."""

STREAM_ITEMS = 1000
HEADERS = [(b"content-type", b"text/plain")]


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Serve one WebSocket until its client leaves, or one request; anything else is refused by returning."""
    if scope["type"] == "http":
        await serve_poll(scope, receive, send)
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/fan":
        await serve_fan(receive, send)
    elif scope["path"] == "/echo-bytes":
        await serve_echo_bytes(receive, send)
    elif scope["path"] == "/count":
        await serve_count(receive, send)
    else:
        await serve_echo(receive, send)


async def serve_echo(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def serve_echo_bytes(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event["bytes"]})


async def serve_count(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        for i in range(STREAM_ITEMS):
            await send({"type": "websocket.send", "text": f'{{"type":2,"invocationId":"#00000000","item":{i}}}\x1e'})
        await send({"type": "websocket.send", "text": '{"type":3,"invocationId":"#00000000"}\x1e'})


async def serve_poll(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    queue = posted[scope["query_string"]]
    body = b""
    if scope["method"] == "POST":
        event: Event = {"more_body": True}
        while event.get("more_body"):
            event = await receive()
            body += event.get("body", b"")
        queue.put_nowait(body)
        body = b""
    else:
        body = await queue.get()
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def serve_fan(receive: Receive, send: Send) -> None:
    members.add(send)
    try:
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await broadcast(event["text"])
    finally:
        members.discard(send)


async def broadcast(text: str) -> None:
    event = {"type": "websocket.send", "text": text}
    for send in list(members):
        try:
            await send(event)
        except OSError:
            # This client has left; its own task takes it out of the set.
            continue
