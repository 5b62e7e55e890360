"""Web sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any

from channels.consumer import AsyncConsumer

from signalr_channels.backplane.ownership import HERE
from signalr_channels.connections.connection import Connection
from signalr_channels.connections.transports import DONE, Primed, Transport
from signalr_channels.consumers.elsewhere import attach_elsewhere
from signalr_channels.consumers.uvicorn_fast_path import FastPath, find_fast_path
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.gate import Admission, Refusal, admit, describe_request
from signalr_channels.hubs.connection_handler import HandlerSession
from signalr_channels.hubs.lifetime import LifetimeEventKind
from signalr_channels.hubs.session import HubSession
from signalr_channels.lifetime_log import record_failure
from signalr_channels.protocols.base import Data, EncodedMessage, TransferFormat
from signalr_channels.protocols.core import negotiation
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.query import query_items
from signalr_channels.responses import NOT_FOUND_TEXT, abort_network, accept_websocket, deny_websocket
from signalr_channels.runtime import Runtime, get_runtime
from signalr_channels.sessions import OpenConnection, open_connection
from signalr_channels.tokens import ConnectionToken, make_connection_id
from signalr_channels.transport_requests import check_not_bound, connection_id_of, find_owner, find_token

__all__ = ["WebSocketConsumer", "WebSocketTransport"]

logger = logging.getLogger("signalr_channels.connections")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

POLICY_VIOLATION = 1008
ABORTED_TEXT = "An exception caused the WebSocket to enter the Aborted state. Please see the InnerException, if present, for more details."


class WebSocketTransport:
    """Writes to a web socket through ASGI. The event of a message is made once and shared by all its receivers."""

    name = "webSockets"
    __slots__ = ("_close_timeout", "_opened", "_send", "direct")

    def __init__(self, send: Send, fast_path: FastPath | None = None, *, close_timeout: float = 5.0) -> None:
        """
        Args:
            send: Of ASGI.
            fast_path: A shorter way to write, where there is one.
            close_timeout: Seconds the client may take to answer a Close frame.
        """
        self._send = send
        self._opened: OpenConnection | None = None
        self._close_timeout = close_timeout
        self.direct = fast_path

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        """Send one message as one frame."""
        if self.direct is not None and self.direct.write(message):
            return DONE
        event = message.frame
        if event is None:
            event = message.frame = websocket_event(message)
        return self._send(event)

    def close(self, *, code: int) -> Awaitable[None]:
        """Send a Close frame. A client that does not answer it in time is cut off."""
        asyncio.get_running_loop().call_later(self._close_timeout, self.abort)
        return self._send({"type": "websocket.close", "code": code})

    def abort(self) -> None:
        """Cut the TCP connection, where the server lets us reach it."""
        abort_network(self._send)

    # The fast path in. The ordinary loop goes on, for the end and for what is left.

    def read_into(self, opened: OpenConnection) -> None:
        """Hand messages to a connection through the fast path, if there is one."""
        self._opened = opened
        if self.direct is not None:
            self.direct.read_into(self)

    def take(self, messages: Sequence[Data]) -> None:
        """Handle messages that came in one chunk from the network."""
        assert self._opened is not None
        connection, session = self._opened.connection, self._opened.session
        if connection.transport is not self:
            return  # another web socket took over; what is said here is said there again
        connection.cork()
        try:
            for data in messages if len(messages) == 1 else join(messages, session):
                session.receive(data)
        except Exception as error:
            logger.exception("%s: a message could not be handled", connection.connection_id)
            connection.fail(CloseReason.HUB_ERROR, error)
        if session.is_congested and self.direct is not None and self.direct.pause_reading():
            self._opened.runtime.spawn(self._read_on(self.direct, session))

    def flush(self) -> None:
        """Write the answers to them."""
        assert self._opened is not None
        self._opened.connection.uncork()

    async def _read_on(self, fast_path: FastPath, session: HubSession | HandlerSession) -> None:
        await session.wait_ready()
        fast_path.resume_reading()


def join(messages: Sequence[Data], session: HubSession | HandlerSession) -> Sequence[Data]:
    """Text that came in one chunk as one text: hub messages have ends of their own, so frames mean nothing to a hub."""
    if not isinstance(session, HubSession) or not all(type(data) is str for data in messages):
        return messages
    return ("".join(messages),)  # type: ignore[arg-type]


class ReceiveOrFlush:
    """Awaits the next event; if that takes time, what the connection has to say is written first."""

    __slots__ = ("_connection", "_receive")

    def __init__(self, connection: Connection, receive: Receive) -> None:
        self._connection = connection
        self._receive = receive

    def __await__(self) -> Generator[Any, Any, Any]:
        iterator = self._receive().__await__()
        try:
            future = next(iterator)
        except StopIteration as stop:
            return stop.value
        self._connection.uncork()
        return (yield from Primed(iterator, future))


def websocket_event(message: EncodedMessage) -> Mapping[str, Any]:
    """The ASGI event of a message: text or binary as its hub protocol asks."""
    if message.transfer_format is TransferFormat.TEXT:
        return {"type": "websocket.send", "text": message.data.decode()}
    return {"type": "websocket.send", "bytes": message.data}


class WebSocketConsumer(AsyncConsumer):  # type: ignore[misc]
    """
    Serves web sockets of a hub.

    It reads its own ``receive`` loop instead of Channels' dispatch, which costs a thread hop per message.
    """

    def __init__(self, endpoint: HubEndpoint) -> None:
        self._endpoint = endpoint
        self.hub_name = endpoint.hub_name

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one to its end."""
        opened = await self._open(scope, receive, send)
        if opened is None:
            return
        transport = opened.connection.transport
        try:
            await self._read(opened, transport, receive)
        finally:
            is_stopping = opened.runtime.is_stopping
            opened.lose_transport(transport, CloseReason.SERVER_SHUTDOWN if is_stopping else CloseReason.CLIENT_GONE)
        if opened.finished is not None:
            await asyncio.shield(opened.finished)

    async def _open(self, scope: Any, receive: Receive, send: Send) -> OpenConnection | None:
        """
        Let a web socket in and attach it to a connection, new or old.

        Returns:
            ``None`` if it was refused, or served to its end by another process.
        """
        runtime = get_runtime()
        await receive()  # websocket.connect
        admission = None
        try:
            admission = await admit(scope, self._endpoint)
            token = self._identify(runtime, scope, admission)
            owner = HERE
            if token is not None:
                owner = await find_owner(runtime, self._endpoint, token, may_claim=True, ask=token.is_stateful)
            remote = (
                None
                if owner == HERE or token is None
                else await attach_elsewhere(runtime, owner, token.connection_id, admission.expires_at)
            )
        except Refusal as refusal:
            await deny_websocket(scope, send, refusal)
            if refusal.reason is not None:
                who = refusal.admission or admission
                info = describe_request(scope, self._endpoint, connection_id_of(scope), "webSockets", who)
                runtime.record(LifetimeEventKind.REJECTED, info, reason=refusal.reason, detail=refusal.detail)
            return None
        except Exception as error:
            if admission is None:
                record_failure(runtime, describe_request(scope, self._endpoint, connection_id_of(scope), "webSockets"), error)
            raise
        dispatcher = runtime.dispatcher_for(self._endpoint)
        await accept_websocket(scope, send)
        if remote is not None:
            await remote.serve(receive, send, explain_disconnect)
            return None
        fast_path = find_fast_path(send) if self._endpoint.options.UVICORN_FAST_PATH else None
        transport = WebSocketTransport(send, fast_path, close_timeout=self._endpoint.options.WEBSOCKET_CLOSE_TIMEOUT)
        opened = None if token is None else runtime.get(token.connection_id)
        if opened is not None and not opened.can_reattach:
            # Two requests with one token came at once, and this one was accepted last.
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return None
        if opened is not None:
            opened.renew(admission, self._endpoint)
            opened.reattach(transport)
        else:
            connection_id, is_stateful = (make_connection_id(), False) if token is None else (token.connection_id, token.is_stateful)
            opened = open_connection(
                runtime,
                self._endpoint,
                dispatcher,
                scope,
                admission,
                connection_id,
                transport,
                is_stateful=is_stateful,
                arbiter="" if token is None else token.arbiter,
            )
        transport.read_into(opened)
        return opened

    def _identify(self, runtime: Runtime, scope: Mapping[str, Any], admission: Admission) -> ConnectionToken | None:
        """
        The request's token, or ``None`` if it has none (negotiation skipped).

        Raises:
            Refusal: 404 for an unknown token, 400 or 409 for one in use, 503 where there is no room.
        """
        endpoint = self._endpoint
        token_text = query_items(scope["query_string"]).get("id", [""])
        token = None if token_text == [""] else find_token(runtime, endpoint, token_text, admission)
        if negotiation.Transport.WEB_SOCKETS not in endpoint.transports:
            raise Refusal(404, "WebSockets transport not supported by this end point type")
        if token is not None and (opened := runtime.get(token.connection_id)) is not None:
            if opened.connection.is_closed:
                raise Refusal(404, NOT_FOUND_TEXT)
            if not opened.can_reattach:
                check_not_bound(runtime, token.connection_id, "webSockets")
        else:
            if token is not None:
                check_not_bound(runtime, token.connection_id, "webSockets")
            runtime.check_room()
        return token

    async def _read(self, opened: OpenConnection, transport: Transport, receive: Receive) -> None:
        session, connection = opened.session, opened.connection
        # On the fast path hardly anything comes this way, and thousands wait here for nothing.
        is_fast = isinstance(transport, WebSocketTransport) and transport.direct is not None
        next_event = None if is_fast else ReceiveOrFlush(connection, receive)
        while True:
            event = await (receive() if next_event is None else next_event)
            if event["type"] == "websocket.receive":
                if connection.transport is not transport:
                    continue  # another web socket took over; what is said here is said there again
                connection.cork()
                data = event.get("text")
                session.receive(data if data is not None else event["bytes"])
                if session.is_congested:
                    connection.uncork()
                    await session.wait_ready()
                if next_event is None:
                    connection.uncork()
            elif event["type"] == "websocket.disconnect":
                reason, exception = explain_disconnect(event)
                opened.lose_transport(transport, reason, exception)
                return


def explain_disconnect(event: Mapping[str, Any]) -> tuple[CloseReason, Exception | None]:
    """
    Why a web socket ended, from the server's event.

    Servers give 1005 or 1006 for a connection that was lost. uvicorn gives 1005 as well for a Close frame without a code, and then
    has a ``reason`` in the event.
    """
    code = event.get("code", 1005)
    if code in (1002, 1003, 1007):
        return CloseReason.PROTOCOL_ERROR, RemoteProtocolError(ABORTED_TEXT, kind="WebSocketException")
    if code == 1009:
        return CloseReason.MESSAGE_TOO_BIG, RemoteProtocolError(ABORTED_TEXT, kind="WebSocketException")
    if code == 1012:
        return CloseReason.SERVER_SHUTDOWN, None
    if code == 1006 or (code == 1005 and "reason" not in event):
        return CloseReason.CLIENT_GONE, None
    return CloseReason.CLIENT_CLOSED, None
