"""Requests of a classic connection that another process owns: handed to it, and answered with what it says."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from signalr_channels.backplane.ownership import HERE
from signalr_channels.backplane.relay import Conversation
from signalr_channels.backplane.wire import (
    VERSION,
    ClassicAttach,
    ClassicCall,
    CloseSocket,
    Detached,
    Frame,
    Received,
    RelayMessage,
    Status,
)
from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.classic_relay import ABSENT, REFUSED
from signalr_channels.connections.outbox import NORMAL_CLOSURE
from signalr_channels.consumers.classic.receiving import Transport, answer_poll, first_of, open_transport, refuse
from signalr_channels.consumers.classic.request import ClassicRequest
from signalr_channels.consumers.classic.transports import EMPTY, ClassicPoll, ClassicSocket
from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.gate import Admission, Refusal
from signalr_channels.protocols.classic.requests import Operation
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.responses import client_gone
from signalr_channels.runtime import Runtime

__all__ = ["OwnerLost", "OwnerRefused", "RemoteRequest", "find_classic_owner"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

logger = logging.getLogger("signalr_channels.backplane")


async def find_classic_owner(runtime: Runtime, connection_id: str, arbiter: str, operation: Operation) -> str | None:
    """
    Where a request belongs.

    Returns:
        :data:`HERE`, the channel of the process that owns the connection, or :data:`GONE`; ``None`` if nobody does.
    """
    if runtime.classic.get(connection_id) is not None or runtime.ownership is None:
        return HERE

    may_claim = operation is not Operation.ABORT

    async def seek(connection_id: str) -> str | None:
        return await runtime.classic_service.seek(connection_id, may_claim=may_claim)

    may_reopen = operation is Operation.CONNECT
    return await runtime.ownership.locate(connection_id, arbiter, may_claim=may_claim, may_reopen=may_reopen, seek=seek)


class OwnerLost(Exception):
    """The process that was taken for the owner of a connection does not answer, or does not have it."""


class OwnerRefused(Exception):
    """The process that owned a connection says that it has ended."""


class RemoteRequest:
    """A request whose connection lives in another process."""

    def __init__(
        self,
        runtime: Runtime,
        mount: ClassicMount,
        request: ClassicRequest,
        hubs: tuple[str, ...],
        admission: Admission,
        connection_id: str,
        owner: str,
    ) -> None:
        """
        Args:
            runtime: This process.
            mount: Where it came.
            request: The request.
            hubs: The hubs it names that let it in.
            admission: Who it comes from.
            connection_id: Its connection.
            owner: Channel of the owner.
        """
        assert runtime.relay is not None
        self._relay = runtime.relay
        self._runtime = runtime
        self._mount = mount
        self._request = request
        self._hubs = list(hubs)
        self._admission = admission
        self._connection_id = connection_id
        self._owner = owner

    # Send, start, abort

    async def call(self) -> Status:
        """
        Have a send, start or abort served.

        Raises:
            OwnerLost: The owner does not answer, or is none.
            Refusal: It cannot be reached.
        """

        def make(reply_to: str, request_id: str) -> ClassicCall:
            return ClassicCall(
                v=VERSION,
                connection_id=self._connection_id,
                path=self._mount.path,
                operation=self._request.operation.value,
                hubs=self._hubs,
                data=self._request.data,
                reply_to=reply_to,
                request_id=request_id,
            )

        conversation = await self._ask(make)
        try:
            answer = await conversation.receive(self._relay.ack_timeout)
            if isinstance(answer, Status) and answer.status == 102:  # it has begun, and may take its time
                answer = await conversation.receive(None)
        finally:
            conversation.close()
        if not isinstance(answer, Status) or answer.status == ABSENT:
            raise OwnerLost
        return answer

    async def _ask(self, make: Callable[[str, str], RelayMessage]) -> Conversation:
        try:
            return await self._relay.ask_process(self._owner, make)
        except BackplaneUnavailable as error:
            raise Refusal(503, "The server processes cannot reach each other.", headers=[(b"retry-after", b"1")]) from error

    # Connect, reconnect, poll

    async def receive(self, receive: Receive, send: Send, headers: Headers) -> None:
        """
        Serve a receiving request with the frames the owner sends.

        Raises:
            OwnerLost: The owner does not answer, or is none; the request was not answered either.
            OwnerRefused: It answers that the connection has ended, and the client connects.
            Refusal: It cannot be reached.
        """
        request = self._request

        def make(reply_to: str, request_id: str) -> ClassicAttach:
            return ClassicAttach(
                v=VERSION,
                connection_id=self._connection_id,
                path=self._mount.path,
                operation=request.operation.value,
                transport="webSockets" if request.transport is None else request.transport.value,
                hubs=self._hubs,
                protocol=request.query("clientprotocol") or "",
                cursor=request.cursor,
                groups_token=request.groups_token,
                expires_at=self._admission.expires_at,
                reply_to=reply_to,
                request_id=request_id,
            )

        conversation = await self._ask(make)
        try:
            answer = await conversation.receive(self._relay.ack_timeout)
            if not isinstance(answer, Status) or answer.status == ABSENT:
                raise OwnerLost
            if answer.status == REFUSED and request.operation is Operation.CONNECT:
                raise OwnerRefused
            if answer.status == REFUSED:
                await refuse(request, receive, send, self._mount, headers)
            elif answer.status == 101:
                transport = await open_transport(request, send, self._mount, headers)
                await self._serve(transport, conversation, receive, send)
            else:
                raise Refusal(answer.status, answer.body)
        finally:
            conversation.close()

    async def _serve(self, transport: Transport, conversation: Conversation, receive: Receive, send: Send) -> None:
        reading = self._read_socket(conversation, receive) if isinstance(transport, ClassicSocket) else client_gone(receive)
        writing = self._write(transport, conversation)
        if isinstance(transport, ClassicPoll):
            writing = _both(writing, answer_poll(transport, send))
        try:
            await first_of(reading, writing, self._let_go(transport, conversation))
        except BackplaneUnavailable as error:
            # What the client said is lost, so it has to hear that something is wrong. It comes back.
            logger.warning("%s: its transport was ended: %s", self._connection_id, error)
            await transport.close()
        finally:
            detached = Detached(
                v=VERSION, connection_id=self._connection_id, attach_id=conversation.request_id, reason=CloseReason.CLIENT_GONE.value
            )
            try:
                await self._relay.tell(self._owner, detached)
            except BackplaneUnavailable as error:
                logger.info("%s: the end of a transport could not be told to its process: %s", self._connection_id, error)

    async def _let_go(self, transport: Transport, conversation: Conversation) -> None:
        """When this process stops, end the transport as if the owner did: the client comes back through another process."""
        await self._runtime.goodbye.wait()
        request_id = conversation.request_id
        if transport.is_poll:
            cursor = self._request.cursor
            data = EMPTY if cursor is None else json.dumps({"C": cursor, "M": []}).encode()
            self._relay.answer_here(Frame(v=VERSION, request_id=request_id, data=data, is_text=True))
        else:
            self._relay.answer_here(CloseSocket(v=VERSION, request_id=request_id, code=NORMAL_CLOSURE))
        await asyncio.Event().wait()  # until that was done

    async def _read_socket(self, conversation: Conversation, receive: Receive) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text")
            data = event["bytes"] if text is None else text.encode("utf-8", "surrogatepass")
            message = Received(
                v=VERSION, connection_id=self._connection_id, attach_id=conversation.request_id, data=data, is_text=text is not None
            )
            await self._relay.tell(self._owner, message)

    async def _write(self, transport: Transport, conversation: Conversation) -> None:
        while True:
            answer = await conversation.receive(None)
            if isinstance(answer, Frame):
                await (transport.write(answer.data) if answer.data else transport.keep_alive())
                if transport.is_poll and answer.data:
                    return
            elif isinstance(answer, CloseSocket):
                await transport.close()
                if isinstance(transport, ClassicSocket):
                    await asyncio.Event().wait()  # until the client has answered the Close frame
                return


async def _both(first: Awaitable[Any], second: Awaitable[Any]) -> None:
    await asyncio.gather(first, second)
