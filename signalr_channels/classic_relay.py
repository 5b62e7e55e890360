"""The owner's side of classic requests that reached another process: they are served as if they had come here."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from signalr_channels.backplane import names
from signalr_channels.backplane.sender import OrderedSender
from signalr_channels.backplane.wire import (
    VERSION,
    ClassicAttach,
    ClassicCall,
    CloseSocket,
    Detached,
    Frame,
    Leaving,
    Owner,
    Received,
    Seek,
    Status,
)
from signalr_channels.classic_mounts import WRONG_MOUNT
from signalr_channels.classic_runtime import OpenClassicConnection, tell_reconnected
from signalr_channels.conf import get_settings
from signalr_channels.exceptions import BackplaneUnavailable, ConnectionClosed, RemoteProtocolError
from signalr_channels.protocols.classic.engine import InvalidCursor, encode_farewell
from signalr_channels.protocols.classic.hub_messages import InvalidInvocation
from signalr_channels.protocols.classic.negotiation import has_delayed_start
from signalr_channels.protocols.endings import CloseReason

if TYPE_CHECKING:
    from signalr_channels.backplane.relay import Relay
    from signalr_channels.runtime import Runtime

__all__ = ["CLASSIC", "REFUSED", "ClassicRelayService", "RemoteClassicTransport"]

logger = logging.getLogger("signalr_channels.backplane")

CLASSIC = "(classic)"
"""In place of a hub's name: what concerns all processes that serve classic clients."""
REFUSED = 410
"""What the owner says of a connection that was ended for good."""
ARRIVAL_TIMEOUT = 2.0
"""Seconds a request may be ahead of the one that opens its connection."""


class RemoteClassicTransport:
    """A transport that another process holds."""

    def __init__(self, relay: Relay, name: str, channel: str, attach_id: str) -> None:
        """
        Args:
            relay: This process on the channel layer.
            name: Of the transport.
            channel: Channel of the process that holds it.
            attach_id: Request id of the :class:`ClassicAttach`.
        """
        self.name = name
        self.is_poll = name == "longPolling"
        self.is_ascii = name != "webSockets"
        self._sender = OrderedSender(relay, channel)
        self.attach_id = attach_id

    def write(self, frame: bytes) -> Awaitable[None]:
        """Have a frame written."""
        return self._sender.send(Frame(v=VERSION, request_id=self.attach_id, data=frame, is_text=True))

    def keep_alive(self) -> Awaitable[None]:
        """Have a sign of life written."""
        return self._sender.send(Frame(v=VERSION, request_id=self.attach_id, data=b"", is_text=True))

    def close(self) -> Awaitable[None]:
        """Have it ended."""
        return self._sender.send(CloseSocket(v=VERSION, request_id=self.attach_id, code=1000))

    def abort(self) -> None:
        """Have it ended, as soon as the channel layer takes that."""
        self.close()


class ClassicRelayService:
    """Serves messages of other processes about classic connections."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._address = names.everyone(get_settings().KEY_PREFIX, CLASSIC)

    @property
    def _relay(self) -> Relay:
        assert self._runtime.relay is not None
        return self._runtime.relay

    async def join(self) -> None:
        """Be among the processes that are asked for connections whose arbiter is gone."""
        if not self._relay.is_member(self._address):
            self._relay.register(CLASSIC, self.hear)
            self._relay.hold(self._address)
            await self._relay.settle(self._address)

    async def leave(self) -> None:
        """Tell the others that this process stops."""
        channel = self._relay.channel
        if channel is not None and self._relay.is_member(self._address):
            try:
                await self._relay.announce(self._address, Leaving(v=VERSION, hub=CLASSIC, connection_id="", channel=channel))
            except BackplaneUnavailable as error:
                logger.info("Other processes could not be told that this one stops: %s", error)

    def hear(self, message: Seek | Leaving) -> Awaitable[None] | None:
        """Answer if the connection lives here; take note of a process that stops."""
        if isinstance(message, Leaving):
            if self._runtime.ownership is not None and message.channel != self._relay.channel:
                self._runtime.ownership.forget_process(message.channel)
            return None
        if self._runtime.classic.get(message.connection_id) is None:
            return None
        return self._relay.answer(message, Owner(v=VERSION, request_id=message.request_id, channel=self._relay.channel))

    async def _find(self, message: ClassicCall | ClassicAttach) -> OpenClassicConnection | None:
        """The connection, or ``None`` after the refusal was sent."""
        classic = self._runtime.classic
        opened = classic.get(message.connection_id)
        if opened is None and not classic.is_refused(message.connection_id):
            opened = await classic.wait_for(message.connection_id, ARRIVAL_TIMEOUT)
        if opened is None:
            await self._answer(message, REFUSED)
            return None
        if opened.mount.path != message.path:
            await self._answer(message, 400, WRONG_MOUNT)
            return None
        opened.connection.last_received = opened.connection.clock()
        return opened

    async def _answer(self, question: ClassicCall | ClassicAttach, status: int, body: str = "") -> None:
        await self._relay.answer(question, Status(v=VERSION, request_id=question.request_id, status=status, body=body))

    # Send, start, abort

    async def call(self, message: ClassicCall) -> None:
        """Serve a send, start or abort."""
        opened = await self._find(message)
        if opened is None:
            return
        if message.operation == "abort":
            opened.connection.stop()
            await self._answer(message, 200)
            return
        await self._answer(message, 102)
        status, body = await (self._start(opened, message) if message.operation == "start" else self._send(opened, message))
        await self._answer(message, status, body)

    async def _start(self, opened: OpenClassicConnection, message: ClassicCall) -> tuple[int, str]:
        try:
            await opened.session.start([name for name in message.hubs if name in opened.mount.hubs])
        except Exception as error:  # logged by the session
            return 500, str(error) if opened.mount.is_debugging else ""
        return 200, ""

    async def _send(self, opened: OpenClassicConnection, message: ClassicCall) -> tuple[int, str]:
        try:
            answer = opened.session.invoke(message.data or "")
            data = answer if isinstance(answer, bytes) else await opened.session.run(answer)
        except ConnectionClosed as error:
            return 503, str(error)
        except InvalidInvocation as error:
            return 500, str(error) if opened.mount.is_debugging else ""
        except Exception as error:
            logger.error("%s: what the client sent failed", message.connection_id, exc_info=error)
            return 500, str(error) if opened.mount.is_debugging else ""
        return 200, data.decode()

    # Receiving requests

    async def attach(self, message: ClassicAttach) -> None:
        """Let a transport of another process carry the connection."""
        opened = await self._find(message)
        if opened is None:
            return
        names_ = [name for name in message.hubs if name in opened.mount.hubs]
        await self._runtime.classic.list_hubs(opened, names_, message.groups_token)
        is_connect = message.operation == "connect"
        if is_connect and not has_delayed_start(message.protocol):
            await opened.session.start(names_)
        await self._answer(message, 101)
        transport = RemoteClassicTransport(self._relay, message.transport, message.reply_to, message.request_id)
        if opened.expires_at is not None:
            opened.expires_at = message.expires_at
        try:
            opened.connection.attach(transport, cursor=message.cursor, groups_token=message.groups_token, init=is_connect)
        except InvalidCursor as error:
            logger.info("%s: %s", message.connection_id, error)
            await transport.close()
            return
        except ConnectionClosed:
            await transport.write(encode_farewell(None))
            await transport.close()
            return
        came_back = not is_connect and not (transport.is_poll and message.operation != "reconnect")
        lived_elsewhere = not is_connect and not opened.has_begun
        opened.has_begun = True
        opened.log.moved(message.transport, names_, came_back=came_back or lived_elsewhere)
        if came_back:
            opened.session.spawn(tell_reconnected(opened, transport))
        elif lived_elsewhere:
            opened.session.resume()

    def received(self, message: Received) -> bool:
        """Take what came on a web socket that another process holds. False: the connection is none of ours."""
        opened = self._runtime.classic.get(message.connection_id)
        if opened is None:
            return False
        transport = opened.connection.transport
        if isinstance(transport, RemoteClassicTransport) and transport.attach_id == message.attach_id:
            try:
                self._take(opened, transport, message)
            except RemoteProtocolError as error:
                logger.warning("%s: %s", message.connection_id, error)
                opened.connection.lose_transport(transport, CloseReason.PROTOCOL_ERROR)
                transport.abort()
        return True

    def _take(self, opened: OpenClassicConnection, transport: RemoteClassicTransport, message: Received) -> None:
        limit = opened.mount.options.MAXIMUM_WEBSOCKET_MESSAGE_SIZE
        if not message.is_text:
            raise RemoteProtocolError("The client sent a binary message, and there are none; its socket was cut.")
        if limit is not None and len(message.data) > limit:
            raise RemoteProtocolError(f"A message was over {limit} bytes (CLASSIC MAXIMUM_WEBSOCKET_MESSAGE_SIZE); its socket was cut.")
        opened.connection.last_received = opened.connection.clock()
        opened.session.receive(message.data.decode("utf-8", "replace"))

    def detached(self, message: Detached) -> bool:
        """A transport that another process held has ended. False: the connection is none of ours."""
        opened = self._runtime.classic.get(message.connection_id)
        if opened is None:
            return False
        transport: Any = opened.connection.transport
        if isinstance(transport, RemoteClassicTransport) and transport.attach_id == message.attach_id:
            opened.connection.lose_transport(transport, CloseReason(message.reason))
        return True
