"""Requests of a connection that another process owns: handed to it, and answered with what it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from signalr_channels.backplane.relay import Conversation
from signalr_channels.backplane.wire import (
    VERSION,
    Attach,
    CloseSocket,
    Detached,
    Fetch,
    Fetched,
    Frame,
    Leave,
    Post,
    Received,
    RelayMessage,
    Status,
    Unfetch,
)
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.gate import Admission, Refusal
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.responses import NO_CACHE, NOT_FOUND_TEXT, client_gone, respond
from signalr_channels.runtime import SERVICE_RESTART, Runtime
from signalr_channels.tokens import ConnectionToken
from signalr_channels.transport_requests import accepts_event_stream

__all__ = ["RemoteSocket", "attach_elsewhere", "serve_elsewhere"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

logger = logging.getLogger("signalr_channels.backplane")

EMPTY = Fetched(v=VERSION, request_id="", outcome="empty")
LONGEST_FETCH = 10.0
"""Seconds between signs of life of the owner, while a poll waits."""


async def serve_elsewhere(
    runtime: Runtime,
    endpoint: HubEndpoint,
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    admission: Admission,
    token: ConnectionToken,
    owner: str,
    headers: Headers,
) -> None:
    """
    Answer a POST, DELETE, poll or event-stream request as the owner says.

    Raises:
        Refusal: The owner's refusal; 404 if it does not answer.
    """
    connection_id = token.connection_id
    if scope["method"] == "POST":
        await _post(runtime, receive, connection_id, owner)
        await respond(send, 200, headers=headers)
    elif scope["method"] == "DELETE":
        status = await _ask(
            runtime, owner, connection_id, lambda r, i: Leave(v=VERSION, connection_id=connection_id, reply_to=r, request_id=i)
        )
        await respond(send, status.status, headers=headers)
    elif accepts_event_stream(scope):
        await _ask(runtime, owner, connection_id, _attach(connection_id, "serverSentEvents"))
    else:
        await _poll(runtime, endpoint.options.POLL_TIMEOUT, receive, send, admission, connection_id, owner, headers)


def _attach(connection_id: str, transport: str, expires_at: float | None = None) -> Callable[[str, str], Attach]:
    return lambda reply_to, request_id: Attach(
        v=VERSION, connection_id=connection_id, transport=transport, expires_at=expires_at, reply_to=reply_to, request_id=request_id
    )


async def _start(runtime: Runtime, owner: str, make: Callable[[str, str], RelayMessage]) -> Conversation:
    assert runtime.relay is not None
    try:
        return await runtime.relay.ask_process(owner, make)
    except BackplaneUnavailable as error:
        raise Refusal(503, "The server processes cannot reach each other.", headers=[(b"retry-after", b"1")]) from error


def _lost(runtime: Runtime, connection_id: str) -> Refusal:
    if runtime.ownership is not None:
        runtime.ownership.forget(connection_id)
    detail = "The server process that owned the connection does not answer."
    return Refusal(404, NOT_FOUND_TEXT, reason=CloseReason.PROCESS_LOST, detail=detail)


async def _ask(runtime: Runtime, owner: str, connection_id: str, make: Callable[[str, str], RelayMessage]) -> Status:
    conversation = await _start(runtime, owner, make)
    assert runtime.relay is not None
    try:
        answer = await conversation.receive(runtime.relay.ack_timeout)
    finally:
        conversation.close()
    if not isinstance(answer, Status):
        raise _lost(runtime, connection_id)
    if answer.status >= 400:
        raise Refusal(answer.status, answer.body)
    return answer


async def _post(runtime: Runtime, receive: Receive, connection_id: str, owner: str) -> None:
    """Hand a body over part by part, each once the one before was taken."""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refusal(400)
        data = event.get("body", b"")

        def make(reply_to: str, request_id: str, data: bytes = data) -> Post:
            return Post(v=VERSION, connection_id=connection_id, data=data, reply_to=reply_to, request_id=request_id)

        await _ask(runtime, owner, connection_id, make)
        if not event.get("more_body", False):
            return


async def _poll(
    runtime: Runtime,
    timeout: float,
    receive: Receive,
    send: Send,
    admission: Admission,
    connection_id: str,
    owner: str,
    headers: Headers,
) -> None:
    all_headers = [*NO_CACHE, *headers]
    gone = asyncio.ensure_future(client_gone(receive))
    goodbye = asyncio.ensure_future(runtime.goodbye.wait())
    answer: Any = EMPTY
    ends_at = runtime.loop.time() + timeout
    try:
        while answer.outcome == "empty" and not goodbye.done() and (rest := ends_at - runtime.loop.time()) > 0:
            answer = await _fetch(runtime, min(rest, LONGEST_FETCH), [gone, goodbye], admission, connection_id, owner)
            if gone.done():
                return
    finally:
        gone.cancel()
        goodbye.cancel()
    if answer.outcome == "data":
        await respond(send, 200, answer.data, content_type=b"application/octet-stream", headers=all_headers)
    else:
        await respond(send, 200 if answer.outcome == "empty" else 204, headers=all_headers)


async def _fetch(
    runtime: Runtime,
    timeout: float,
    interruptions: list[asyncio.Future[Any]],
    admission: Admission,
    connection_id: str,
    owner: str,
) -> Fetched:
    """
    What the owner has for a poll, after ``timeout`` seconds at the latest; nothing if the poll is interrupted.

    Raises:
        Refusal: The owner's refusal; 404 if it does not answer.
    """
    relay = runtime.relay
    assert relay is not None

    def make(reply_to: str, request_id: str) -> Fetch:
        return Fetch(
            v=VERSION,
            connection_id=connection_id,
            timeout=timeout,
            expires_at=admission.expires_at,
            reply_to=reply_to,
            request_id=request_id,
        )

    conversation = await _start(runtime, owner, make)
    answering = asyncio.ensure_future(conversation.receive(timeout + relay.ack_timeout))
    try:
        await asyncio.wait([answering, *interruptions], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            await _tell(runtime, owner, Unfetch(v=VERSION, connection_id=connection_id, fetch_id=conversation.request_id))
            await asyncio.wait([answering], timeout=1.0)  # data may be on its way
        answer = answering.result() if answering.done() else EMPTY
    finally:
        answering.cancel()
        conversation.close()
    if isinstance(answer, Status):
        raise Refusal(answer.status, answer.body)
    if not isinstance(answer, Fetched):
        raise _lost(runtime, connection_id)
    return answer


async def _tell(runtime: Runtime, owner: str, message: Unfetch | Detached) -> None:
    """Tell the owner that a request is over, if it can be reached: it looks after its connections itself."""
    assert runtime.relay is not None
    try:
        await runtime.relay.tell(owner, message)
    except BackplaneUnavailable as error:
        logger.info("%s: the end of a request could not be told to its process: %s", message.connection_id, error)


# Web sockets


class RemoteSocket:
    """A web socket that is held here for a connection of another process."""

    def __init__(self, runtime: Runtime, owner: str, connection_id: str, conversation: Conversation) -> None:
        """
        Args:
            runtime: This process.
            owner: Channel of the owner.
            connection_id: The connection.
            conversation: Its frames come on it.
        """
        assert runtime.relay is not None
        self._runtime = runtime
        self._relay = runtime.relay
        self._owner = owner
        self._connection_id = connection_id
        self._conversation = conversation

    async def serve(self, receive: Receive, send: Send, explain: Callable[[Mapping[str, Any]], tuple[CloseReason, Any]]) -> None:
        """Carry frames both ways until the socket ends, whoever ends it. The socket was accepted."""
        writing = asyncio.ensure_future(self._write(send))
        reason = CloseReason.CLIENT_GONE
        try:
            while True:
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    reason, _ = explain(event)
                    return
                if event["type"] == "websocket.receive":
                    await self._relay.tell(self._owner, self._received(event))
        except BackplaneUnavailable as error:
            # What the client said is lost. It comes back, and says again what was not acknowledged.
            logger.warning("%s: its web socket was closed: %s", self._connection_id, error)
            await send({"type": "websocket.close", "code": SERVICE_RESTART})
        finally:
            writing.cancel()
            self._conversation.close()
            if reason is CloseReason.SERVER_SHUTDOWN:  # of this process: the connection lives in another one
                reason = CloseReason.CLIENT_GONE
            attach_id = self._conversation.request_id
            detached = Detached(v=VERSION, connection_id=self._connection_id, attach_id=attach_id, reason=reason.value)
            await _tell(self._runtime, self._owner, detached)

    def _received(self, event: Mapping[str, Any]) -> Received:
        text = event.get("text")
        return Received(
            v=VERSION,
            connection_id=self._connection_id,
            attach_id=self._conversation.request_id,
            data=event["bytes"] if text is None else text.encode("utf-8", "surrogatepass"),
            is_text=text is not None,
        )

    async def _write(self, send: Send) -> None:
        while True:
            answer = await self._conversation.receive(None)
            if isinstance(answer, Frame):
                content = {"text": answer.data.decode()} if answer.is_text else {"bytes": answer.data}
                await send({"type": "websocket.send", **content})
            elif isinstance(answer, CloseSocket):
                await send({"type": "websocket.close", "code": answer.code})
                return


async def attach_elsewhere(runtime: Runtime, owner: str, connection_id: str, expires_at: float | None) -> RemoteSocket:
    """
    Have the owner take a web socket of this process for a connection that lost its own.

    Raises:
        Refusal: The owner's refusal; 404 if it does not answer.
    """
    conversation = await _start(runtime, owner, _attach(connection_id, "webSockets", expires_at))
    assert runtime.relay is not None
    answer = await conversation.receive(runtime.relay.ack_timeout)
    if isinstance(answer, Status) and answer.status == 101:
        return RemoteSocket(runtime, owner, connection_id, conversation)
    conversation.close()
    if isinstance(answer, Status):
        raise Refusal(answer.status, answer.body)
    raise _lost(runtime, connection_id)
