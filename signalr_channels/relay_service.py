"""The owner's side of requests that reached another process: they are served as if they had come here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from signalr_channels.backplane.sender import OrderedSender
from signalr_channels.backplane.wire import (
    VERSION,
    Attach,
    Claim,
    ClassicAttach,
    ClassicCall,
    CloseSocket,
    Detached,
    Fetch,
    Fetched,
    Frame,
    Holding,
    Leave,
    Missing,
    Post,
    ProcessMessage,
    Received,
    Release,
    Status,
    Unfetch,
)
from signalr_channels.conf import get_settings
from signalr_channels.connections.long_polling import LongPollingTransport, Poll, PollOutcome
from signalr_channels.exceptions import BackplaneUnavailable, RequestRefused
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.endings import CloseReason

if TYPE_CHECKING:
    from signalr_channels.backplane.relay import Relay
    from signalr_channels.runtime import Runtime

__all__ = ["RelayService", "RemoteWebSocketTransport"]

logger = logging.getLogger("signalr_channels.backplane")


class RemoteWebSocketTransport:
    """A web socket that another process holds."""

    name = "webSockets"

    def __init__(self, relay: Relay, channel: str, attach_id: str) -> None:
        """
        Args:
            relay: This process on the channel layer.
            channel: Channel of the process that holds the socket.
            attach_id: Request id of the :class:`Attach`.
        """
        self._sender = OrderedSender(relay, channel)
        self.attach_id = attach_id

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        """Have a frame written."""
        is_text = message.transfer_format is TransferFormat.TEXT
        return self._sender.send(Frame(v=VERSION, request_id=self.attach_id, data=message.data, is_text=is_text))

    def close(self, *, code: int) -> Awaitable[None]:
        """Have the socket closed."""
        return self._sender.send(CloseSocket(v=VERSION, request_id=self.attach_id, code=code))

    def abort(self) -> None:
        """The other process closes the socket when it hears no more of it."""
        self.close(code=1011)


class RelayService:
    """Serves messages to this process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._fetches: dict[str, asyncio.Task[Any]] = {}
        self._handlers: dict[type, Callable[[Any], Awaitable[None] | None]] = {
            Claim: self._claim,
            Release: self._release,
            Holding: self._holding,
            Post: self._post,
            Fetch: self._fetch,
            Unfetch: self._unfetch,
            Leave: self._leave,
            Attach: self._attach,
            ClassicCall: runtime.classic_service.call,
            ClassicAttach: runtime.classic_service.attach,
            Received: self._received,
            Detached: self._detached,
        }

    def handle(self, message: ProcessMessage) -> Awaitable[None] | None:
        """Serve one message. What has to keep its order is done at once."""
        return self._handlers[type(message)](message)

    @property
    def _relay(self) -> Relay:
        assert self._runtime.relay is not None
        return self._runtime.relay

    # Who owns what was negotiated here

    def _claim(self, message: Claim) -> Awaitable[None]:
        assert self._runtime.ownership is not None
        return self._runtime.ownership.answer(message)

    def _release(self, message: Release) -> None:
        assert self._runtime.ownership is not None
        self._runtime.ownership.forget(message.connection_id, owner=message.owner, may_move=message.may_move)

    async def _holding(self, message: Holding) -> None:
        missing = [attach_id for attach_id in message.attach_ids if not self._relay.is_awaited(attach_id)]
        await self._relay.answer(message, Missing(v=VERSION, request_id=message.request_id, attach_ids=missing))

    # Requests

    async def _answer(self, question: Post | Fetch | Leave | Attach, status: int, body: str = "") -> None:
        await self._relay.answer(question, Status(v=VERSION, request_id=question.request_id, status=status, body=body))

    async def _post(self, message: Post) -> None:
        from signalr_channels.consumers.posting import take_body

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": message.data, "more_body": False}

        if self._runtime.get(message.connection_id) is None:
            await self._answer(message, 404, "No Connection with that ID")
            return
        try:
            await take_body(self._runtime, get_settings().APPLICATION_BUFFER_SIZE, receive, message.connection_id)
        except RequestRefused as refused:
            await self._answer(message, refused.status, refused.body)
        else:
            await self._answer(message, 200)

    async def _fetch(self, message: Fetch) -> None:
        from signalr_channels.consumers.long_polling import transport_of

        try:
            transport = transport_of(self._runtime, message.connection_id)
        except RequestRefused as refused:
            await self._answer(message, refused.status, refused.body)
            return
        if transport is None:
            await self._answer(message, 404, "No Connection with that ID")
            return
        opened = self._runtime.get(message.connection_id)
        if opened is not None and opened.expires_at is not None:
            opened.expires_at = message.expires_at
        transport.idle_since = None
        poll = asyncio.ensure_future(transport.poll(message.timeout))
        self._fetches[message.request_id] = poll
        try:
            await asyncio.wait([poll])
        finally:
            del self._fetches[message.request_id]
            if not transport.has_poll:
                transport.idle_since = self._runtime.clock()
        outcome = Poll(PollOutcome.EMPTY) if poll.cancelled() else poll.result()
        if outcome.outcome.value == "over" and transport.is_closed:
            self._runtime.lingering.pop(message.connection_id, None)
        answer = Fetched(v=VERSION, request_id=message.request_id, outcome=outcome.outcome.value, data=outcome.data)
        try:
            await self._relay.answer(message, answer)
        except BackplaneUnavailable as error:
            logger.info("%s: what a poll fetched waits for the next one: %s", message.connection_id, error)
            transport.put_back(outcome)

    def _unfetch(self, message: Unfetch) -> None:
        if (poll := self._fetches.get(message.fetch_id)) is not None:
            poll.cancel()

    async def _leave(self, message: Leave) -> None:
        opened = self._runtime.get(message.connection_id)
        if self._runtime.lingering.pop(message.connection_id, None) is not None:
            await self._answer(message, 202)
        elif opened is None or opened.connection.is_closed:
            await self._answer(message, 404, "No Connection with that ID")
        elif not isinstance(opened.connection.transport, LongPollingTransport):
            await self._answer(message, 400, "Cannot terminate this connection using the DELETE endpoint.")
        else:
            await self._answer(message, 202)
            opened.connection.end_input()
            self._runtime.lingering.pop(message.connection_id, None)

    async def _attach(self, message: Attach) -> None:
        opened = self._runtime.get(message.connection_id)
        if opened is None or opened.connection.is_closed:
            await self._answer(message, 404, "No Connection with that ID")
        elif opened.connection.transport.name != message.transport:
            await self._answer(message, 400, "Cannot change transports mid-connection")
        elif message.transport != "webSockets" or not opened.can_reattach:
            await self._answer(message, 409)
        else:
            await self._answer(message, 101)
            if opened.expires_at is not None:
                opened.expires_at = message.expires_at
            opened.reattach(RemoteWebSocketTransport(self._relay, message.reply_to, message.request_id))

    # Web sockets that another process holds

    def _received(self, message: Received) -> Awaitable[None] | None:
        opened = self._runtime.get(message.connection_id)
        if self._runtime.classic_service.received(message) or opened is None:
            return None
        transport = opened.connection.transport
        if isinstance(transport, RemoteWebSocketTransport) and transport.attach_id == message.attach_id:
            opened.session.receive(message.data.decode() if message.is_text else message.data)
        return None

    def _detached(self, message: Detached) -> None:
        opened = self._runtime.get(message.connection_id)
        if self._runtime.classic_service.detached(message) or opened is None:
            return
        transport = opened.connection.transport
        if isinstance(transport, RemoteWebSocketTransport) and transport.attach_id == message.attach_id:
            opened.lose_transport(transport, CloseReason(message.reason))
