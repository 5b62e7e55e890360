"""
The least an ASGI application can do: the unit every other figure is compared with.

``/echo`` sends each message back; ``/fan`` sends it to every connection, awaiting ``send`` in turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

members: set[Send] = set()
"""The ``send`` of each open ``/fan`` connection."""


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Serve one WebSocket until its client leaves; anything else is refused by returning."""
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/fan":
        await serve_fan(receive, send)
    else:
        await serve_echo(receive, send)


async def serve_echo(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


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
