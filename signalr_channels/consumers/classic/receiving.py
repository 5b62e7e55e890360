"""
Receiving requests: connect, reconnect and poll, over each of the four transports.

Source: reference sections 1.2, 4.1, 7.4.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Union

from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.classic_runtime import OpenClassicConnection
from signalr_channels.classic_serving import ReceivingRequest, attach, say_farewell, take_message
from signalr_channels.classic_tokens import ClassicToken
from signalr_channels.consumers.classic.request import ClassicRequest
from signalr_channels.consumers.classic.transports import ClassicEventStream, ClassicForeverFrame, ClassicPoll, ClassicSocket
from signalr_channels.consumers.uvicorn_fast_path import FastPath, find_fast_path
from signalr_channels.consumers.websocket import WebSocketTransport, explain_disconnect
from signalr_channels.gate import Admission
from signalr_channels.protocols.base import Data
from signalr_channels.protocols.classic import forever_frame
from signalr_channels.protocols.classic.requests import ClassicTransport, Operation, parse_frame_id
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.responses import accept_websocket, client_gone
from signalr_channels.runtime import Runtime

__all__ = ["LocalRequest", "Transport", "answer_poll", "first_of", "open_transport", "refuse", "serve_until_end"]

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
        await accept_websocket(request.scope, send)
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

    async def serve(self, token: ClassicToken, receive: Receive, send: Send, headers: Headers) -> None:
        """
        Serve it to its end.

        Raises:
            Refusal: 503 where there is no room.
            FrameIdError: The request of a forever frame has no number.
        """
        request, connections = self._request, self._runtime.classic
        if request.transport is ClassicTransport.FOREVER_FRAME:
            parse_frame_id(request.query("frameid"))
        opened = connections.get(token.connection_id)
        if opened is None:
            is_new = request.operation is Operation.CONNECT
            opened = connections.open(self._mount, request.scope, self._admission, token, is_new=is_new)
        opened.renew(self._admission)
        arrival = ReceivingRequest(
            operation=request.operation,
            hubs=self._names,
            protocol=request.query("clientprotocol") or "",
            cursor=request.cursor,
            groups_token=request.groups_token,
            scope=request.scope,
            admission=self._admission,
        )

        async def answer() -> Transport:
            return await open_transport(request, send, self._mount, headers)

        transport, is_attached = await attach(connections, opened, arrival, answer)
        await (serve_until_end(self._runtime, opened, transport, receive, send) if is_attached else _leave(transport, receive, send))


async def serve_until_end(runtime: Runtime, opened: OpenClassicConnection, transport: Transport, receive: Receive, send: Send) -> None:
    """Return when the request is over, whoever ended it."""
    reason = CloseReason.CLIENT_GONE
    try:
        if isinstance(transport, ClassicSocket):
            reason = await SocketReader(runtime, opened, transport).read(receive)
        elif isinstance(transport, ClassicPoll):
            await _serve_poll(transport, receive, send)
        else:
            await _wait_stream(transport, receive)
    finally:
        opened.connection.lose_transport(transport, reason)


class SocketReader:
    """
    Hands what comes on a web socket to its connection.

    On the fast path that happens in callbacks of the event loop, and the ordinary loop is there for the end and for what is left.

    Attributes:
        fault: Why the socket was cut, if it was.
    """

    def __init__(self, runtime: Runtime, opened: OpenClassicConnection, transport: ClassicSocket) -> None:
        self._runtime = runtime
        self._opened = opened
        self._transport = transport
        self.fault: CloseReason | None = None

    async def read(self, receive: Receive) -> CloseReason:
        """Read until the socket ends. Gives why it did."""
        if (fast_path := self._transport.fast_path) is not None:
            fast_path.read_into(self)
        session = self._opened.session
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                reason, _ = explain_disconnect(event)
                # A Close frame is no goodbye: the JavaScript client sends one, then an abort; others come back.
                return self.fault or (CloseReason.CLIENT_GONE if reason is CloseReason.CLIENT_CLOSED else reason)
            text = event.get("text")
            self._take(event.get("bytes") or b"" if text is None else text)
            if self.fault is not None:
                return self.fault
            if session.is_congested:
                await session.wait_ready()

    def _take(self, data: Data) -> None:
        try:
            self.fault = take_message(self._opened, data)
        except Exception:
            logger.exception("%s: a message could not be handled", self._opened.connection.connection_id)
            self.fault = CloseReason.HUB_ERROR
        if self.fault is not None:
            self._transport.abort()

    # The fast path

    def take(self, messages: Sequence[Data]) -> None:
        """Take messages that came in one chunk from the network."""
        for data in messages:
            if self.fault is not None:
                return
            self._take(data)
        session, fast_path = self._opened.session, self._transport.fast_path
        if session.is_congested and fast_path is not None and fast_path.pause_reading():
            self._runtime.spawn(self._read_on(fast_path))

    def flush(self) -> None:
        """Every answer is a message of its own, and written already."""

    async def _read_on(self, fast_path: FastPath) -> None:
        await self._opened.session.wait_ready()
        fast_path.resume_reading()


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
