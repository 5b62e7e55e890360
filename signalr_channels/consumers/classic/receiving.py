"""
Receiving requests: connect, reconnect and poll, over each of the four transports.

Source: reference sections 1.2, 4.1, 7.4.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Union

from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.classic_runtime import REFUSED_TEXT, ClassicConnections, OpenClassicConnection, tell_reconnected
from signalr_channels.classic_tokens import ClassicToken
from signalr_channels.consumers.classic.request import ClassicRequest
from signalr_channels.consumers.classic.transports import ClassicEventStream, ClassicForeverFrame, ClassicPoll, ClassicSocket
from signalr_channels.consumers.uvicorn_fast_path import find_fast_path
from signalr_channels.consumers.websocket import WebSocketTransport, explain_disconnect
from signalr_channels.exceptions import ConnectionClosed
from signalr_channels.gate import Admission
from signalr_channels.protocols.classic import forever_frame
from signalr_channels.protocols.classic.engine import InvalidCursor, encode_farewell
from signalr_channels.protocols.classic.negotiation import has_delayed_start
from signalr_channels.protocols.classic.requests import ClassicTransport, Operation, parse_frame_id
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.responses import client_gone
from signalr_channels.runtime import Runtime

__all__ = ["LocalRequest", "Transport", "answer_poll", "first_of", "open_transport", "refuse", "say_farewell", "serve_until_end"]

logger = logging.getLogger("signalr_channels.connections")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Transport = Union[ClassicSocket, ClassicEventStream, ClassicForeverFrame, ClassicPoll]

NO_CACHE: Headers = [(b"cache-control", b"no-cache, no-store"), (b"pragma", b"no-cache")]
UNBUFFERED: Headers = [*NO_CACHE, (b"x-accel-buffering", b"no")]  # nginx buffers answers unless it is told not to
JSON = b"application/json; charset=UTF-8"
SCRIPT = b"application/javascript; charset=UTF-8"


async def open_transport(request: ClassicRequest, send: Send, mount: ClassicMount, headers: Headers) -> Transport:
    """
    Send the beginning of an answer: what comes in front of the first frame.

    Raises:
        FrameIdError: The request of a forever frame has no number.
    """
    if request.is_websocket:
        await send({"type": "websocket.accept"})
        options = mount.core_options
        fast_path = find_fast_path(send) if options.UVICORN_FAST_PATH else None
        return ClassicSocket(WebSocketTransport(send, fast_path, close_timeout=options.WEBSOCKET_CLOSE_TIMEOUT))
    if request.transport is ClassicTransport.LONG_POLLING:
        await _begin(send, SCRIPT if request.callback else JSON, [*NO_CACHE, *headers])
        return ClassicPoll(request.callback)
    if request.transport is ClassicTransport.SERVER_SENT_EVENTS:
        await _begin(send, b"text/event-stream", [*UNBUFFERED, *headers], b"data: initialized\n\n")
        return ClassicEventStream(send)
    frame_id = parse_frame_id(request.query("frameid"))
    await _begin(send, b"text/html; charset=UTF-8", [*UNBUFFERED, *headers], forever_frame.preamble(frame_id))
    return ClassicForeverFrame(send)


async def _begin(send: Send, content_type: bytes, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type), *headers]})
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def refuse(request: ClassicRequest, receive: Receive, send: Send, mount: ClassicMount, headers: Headers) -> None:
    """Turn away a client that comes back too late: it is let in, and told to stop, since it would try again on any HTTP status."""
    transport = await open_transport(request, send, mount, headers)
    await say_farewell(transport)
    await _leave(transport, receive, send)


async def say_farewell(transport: Transport) -> None:
    """Tell the client to stop."""
    await transport.write(encode_farewell(b'"%s"' % REFUSED_TEXT.encode()))
    if not transport.is_poll:
        await transport.close()


async def _leave(transport: Transport, receive: Receive, send: Send) -> None:
    """Return when a transport that was closed is over."""
    if isinstance(transport, ClassicPoll):
        await answer_poll(transport, send)
    elif isinstance(transport, ClassicSocket):
        while (await receive())["type"] != "websocket.disconnect":
            pass


class LocalRequest:
    """A receiving request of a connection that lives here."""

    def __init__(
        self, runtime: Runtime, mount: ClassicMount, request: ClassicRequest, names: tuple[str, ...], admission: Admission
    ) -> None:
        """
        Args:
            runtime: This process.
            mount: Where it came.
            request: The request.
            names: The hubs it names that let it in.
            admission: Who it comes from.
        """
        self._runtime = runtime
        self._mount = mount
        self._request = request
        self._names = names
        self._admission = admission

    @property
    def _connections(self) -> ClassicConnections:
        return self._runtime.classic

    async def serve(self, token: ClassicToken, receive: Receive, send: Send, headers: Headers) -> None:
        """
        Serve it to its end.

        Raises:
            Refusal: 503 where there is no room.
            FrameIdError: The request of a forever frame has no number.
        """
        request, connections = self._request, self._connections
        if request.transport is ClassicTransport.FOREVER_FRAME:
            parse_frame_id(request.query("frameid"))
        opened = connections.get(token.connection_id)
        if opened is None:
            opened = connections.open(self._mount, request.scope, self._admission, token)
        opened.renew(self._admission)
        await connections.list_hubs(opened, self._names, request.groups_token)
        transport = await open_transport(request, send, self._mount, headers)
        if not await self._attach(opened, transport):
            await _leave(transport, receive, send)
            return
        await serve_until_end(opened, transport, receive, send)

    async def _attach(self, opened: OpenClassicConnection, transport: Transport) -> bool:
        """Attach the transport and tell hubs. False: it is over already."""
        request, connection = self._request, opened.connection
        is_connect = request.operation is Operation.CONNECT
        if is_connect and not has_delayed_start(request.query("clientprotocol")):
            await opened.session.start(self._names)  # before 1.4 there is no /start
        is_silent = transport.is_poll and request.operation is not Operation.RECONNECT
        came_back = not is_connect and not is_silent
        try:
            connection.attach(transport, cursor=request.cursor, groups_token=request.groups_token, init=is_connect)
        except InvalidCursor as error:
            logger.info("%s: %s", connection.connection_id, error)
            await transport.close()
            return False
        except ConnectionClosed:  # it was aborted while we opened the transport
            await say_farewell(transport)
            return False
        lived_elsewhere = not is_connect and not opened.has_begun
        opened.has_begun = True
        opened.log.attached(request.scope, transport.name, self._names, self._admission, came_back=came_back or lived_elsewhere)
        if came_back:
            opened.session.spawn(tell_reconnected(opened, transport))
        elif lived_elsewhere:
            opened.session.resume()
        return True


async def serve_until_end(opened: OpenClassicConnection, transport: Transport, receive: Receive, send: Send) -> None:
    """Return when the request is over, whoever ended it."""
    reason = CloseReason.CLIENT_GONE
    try:
        if isinstance(transport, ClassicSocket):
            reason = await _read_socket(opened, transport, receive)
        elif isinstance(transport, ClassicPoll):
            await _serve_poll(transport, receive, send)
        else:
            await _wait_stream(transport, receive)
    finally:
        opened.connection.lose_transport(transport, reason)


async def _read_socket(opened: OpenClassicConnection, transport: ClassicSocket, receive: Receive) -> CloseReason:
    """Hand on what comes. Gives why the socket ended."""
    limit, session, connection = opened.mount.options.MAXIMUM_WEBSOCKET_MESSAGE_SIZE, opened.session, opened.connection
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            reason, _ = explain_disconnect(event)
            # A Close frame is no goodbye: the JavaScript client sends one, then an abort; others come back.
            return CloseReason.CLIENT_GONE if reason is CloseReason.CLIENT_CLOSED else reason
        text = event.get("text")
        if text is None or (limit is not None and _size(text, limit) > limit):
            return _cut(connection.connection_id, transport, limit, is_binary=text is None)
        connection.last_received = connection.clock()
        session.receive(text)
        if session.is_congested:
            await session.wait_ready()


def _size(text: str, limit: int) -> int:
    """Bytes of a text, counted only where they may be too many."""
    return len(text.encode("utf-8", "surrogatepass")) if len(text) * 4 > limit else len(text)


def _cut(connection_id: str, transport: ClassicSocket, limit: int | None, *, is_binary: bool) -> CloseReason:
    # The reference ends TCP without a Close frame; the client comes back with another socket.
    if is_binary:
        logger.warning("%s: the client sent a binary message, and there are none; its socket was cut", connection_id)
    else:
        logger.warning("%s: a message was over %s bytes (CLASSIC MAXIMUM_WEBSOCKET_MESSAGE_SIZE); its socket was cut", connection_id, limit)
    transport.abort()
    return CloseReason.PROTOCOL_ERROR if is_binary else CloseReason.MESSAGE_TOO_BIG


async def _wait_stream(transport: ClassicEventStream | ClassicForeverFrame, receive: Receive) -> None:
    await first_of(client_gone(receive), transport.ended.wait())


async def _serve_poll(transport: ClassicPoll, receive: Receive, send: Send) -> None:
    await first_of(client_gone(receive), answer_poll(transport, send))


async def answer_poll(transport: ClassicPoll, send: Send) -> None:
    """Send what a poll is answered, as it comes."""
    while not transport.is_over:
        chunk = await transport.next_chunk()
        if not transport.is_over:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            continue
        await send({"type": "http.response.body", "body": chunk})
        return
    await send({"type": "http.response.body", "body": await transport.next_chunk()})


async def first_of(*awaitables: Awaitable[Any]) -> None:
    """Wait for the first, and cancel the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
