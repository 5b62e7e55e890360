"""HTTP answers through ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signalr_channels.gate import Refusal

__all__ = [
    "NOT_FOUND_TEXT",
    "NO_CACHE",
    "abort_network",
    "accept_websocket",
    "answer_upgrade",
    "client_gone",
    "deny_websocket",
    "respond",
    "without_query",
]

NOT_FOUND_TEXT = "No Connection with that ID"
NO_CACHE = (
    (b"cache-control", b"no-cache, no-store"),
    (b"pragma", b"no-cache"),
    (b"expires", b"Thu, 01 Jan 1970 00:00:00 GMT"),
)
Send = Callable[[Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


async def respond(send: Send, status: int, body: bytes = b"", *, content_type: bytes | None = b"text/plain", headers: Headers = ()) -> None:
    """Answer with a whole body."""
    all_headers = [(b"content-length", str(len(body)).encode())] if status != 204 else []
    if content_type is not None:
        all_headers.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": [*all_headers, *headers]})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def without_query(scope: MutableMapping[str, Any]) -> Iterator[None]:
    """
    Take the query of a request away from the server while it writes its log.

    Browsers cannot send headers with a web socket, so there are tokens in the queries of hubs. uvicorn logs them when a web socket is
    accepted or refused, access log or not.
    """
    query, scope["query_string"] = scope["query_string"], b""
    try:
        yield
    finally:
        scope["query_string"] = query


async def accept_websocket(scope: MutableMapping[str, Any], send: Send) -> None:
    """Let a web socket in."""
    with without_query(scope):
        await send({"type": "websocket.accept"})


def answer_upgrade(scope: MutableMapping[str, Any], send: Send) -> Send:
    """A ``send`` with which an upgrade to what is no web socket is answered like a plain request, as far as the server lets us."""
    can_answer = "websocket.http.response" in (scope.get("extensions") or {})

    async def answer(event: Any) -> None:
        with without_query(scope):
            if can_answer:
                await send({**event, "type": f"websocket.{event['type']}"})
                await asyncio.sleep(0)  # see deny_websocket
            elif event["type"] == "http.response.start":
                await send({"type": "websocket.close"})

    return answer


def abort_network(send: Send) -> None:
    """
    Cut the TCP connection behind a ``send``, where the server lets us reach it.

    ASGI has no event for it, and closing a transport waits for what the client does not read. uvicorn's ``send`` is a method of
    the protocol object, which has the transport. Where there is none, the connection ends when the client or the server gives up.
    """
    transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
    if hasattr(transport, "abort"):
        transport.abort()


async def client_gone(receive: Callable[[], Awaitable[Any]]) -> None:
    """Return when the client of a request has left, or has its whole answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def deny_websocket(scope: MutableMapping[str, Any], send: Send, refusal: Refusal) -> None:
    """
    Turn a web-socket request away with a status, where the server can do that.

    Without the ``websocket.http.response`` extension ASGI knows only one way to refuse, which clients see as 403.
    """
    with without_query(scope):
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close"})
            return
        body = refusal.body.encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain"), *refusal.headers]
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    # Let the server close the connection before we return: uvicorn logs an error for an application that is quicker.
    await asyncio.sleep(0)
