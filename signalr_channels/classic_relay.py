"""The owner's side of classic requests that reached another process: they are served as if they had come here."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from signalr_channels.backplane import names
from signalr_channels.backplane.seeking import OwnerSearch
from signalr_channels.backplane.sender import OrderedSender
from signalr_channels.backplane.wire import (
    VERSION,
    ClassicAttach,
    ClassicCall,
    CloseSocket,
    Detached,
    Frame,
    Holding,
    Leaving,
    Missing,
    Received,
    Seek,
    Status,
    Taken,
)
from signalr_channels.classic_mounts import WRONG_MOUNT
from signalr_channels.classic_runtime import OpenClassicConnection
from signalr_channels.classic_serving import ReceivingRequest, attach, call, take_message
from signalr_channels.conf import get_settings
from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.protocols.classic.requests import Operation
from signalr_channels.protocols.endings import CloseReason

if TYPE_CHECKING:
    from signalr_channels.backplane.relay import Relay
    from signalr_channels.runtime import Runtime

__all__ = ["ABSENT", "REFUSED", "ClassicRelayService", "RemoteClassicTransport"]

logger = logging.getLogger("signalr_channels.backplane")

CLASSIC = "(classic)"
"""In place of a hub's name: what concerns all processes that serve classic clients."""
REFUSED = 410
"""What the owner says of a connection that was ended for good."""
ABSENT = 404
"""What a process says that was taken for the owner and does not have the connection."""
CHECK_INTERVAL = 10.0
"""Seconds between questions to a process that holds transports of connections of ours."""
LONGEST_CHECK = 1000
"""Transports in one question."""
SAME_MOMENT = 5.0
"""Seconds within which two processes may take over the same connection without having heard of each other."""
ARRIVAL_TIMEOUT = 2.0
"""Seconds a request may be ahead of the one that opens its connection."""


class RemoteClassicTransport:
    """A transport that another process holds."""

    join = None

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
        self.channel = channel
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
        self._checked_at = runtime.clock()
        self._address = names.everyone(get_settings().KEY_PREFIX, CLASSIC)
        self._search = None if runtime.relay is None else OwnerSearch(runtime.relay, self._address, CLASSIC, self._is_here)

    @property
    def _relay(self) -> Relay:
        assert self._runtime.relay is not None
        return self._runtime.relay

    def _is_here(self, connection_id: str) -> bool:
        """Whether a connection of either generation lives here, or has something left that may be fetched."""
        runtime = self._runtime
        return self._has(connection_id) or runtime.get(connection_id) is not None or connection_id in runtime.lingering

    def _has(self, connection_id: str) -> bool:
        return self._runtime.classic.get(connection_id) is not None

    async def join(self) -> None:
        """Be among the processes that are asked for connections, of either generation, whose arbiter is gone."""
        if self._search is not None and not self._relay.is_member(self._address):
            self._relay.register(CLASSIC, self.hear)
            self._relay.hold(self._address)
            await self._relay.settle(self._address)
            self._search.joined()

    async def leave(self) -> None:
        """Tell the others that this process stops."""
        channel = self._relay.channel
        if channel is not None and self._relay.is_member(self._address):
            try:
                await self._relay.announce(self._address, Leaving(v=VERSION, hub=CLASSIC, connection_id="", channel=channel))
            except BackplaneUnavailable as error:
                logger.info("Other processes could not be told that this one stops: %s", error)

    def hear(self, message: Seek | Leaving | Taken) -> Awaitable[None] | None:
        """Answer if the connection lives here; take note of others who ask for it or have it, and of a process that stops."""
        assert self._search is not None
        if isinstance(message, Seek):
            return self._search.hear(message)
        if isinstance(message, Taken):
            return None if message.channel == self._relay.channel else self._let_go(message)
        if message.connection_id:  # let go for this process; the history may have it there still
            if (opened := self._runtime.classic.get(message.connection_id)) is not None:
                opened.log.stayed()
        elif self._runtime.ownership is not None and message.channel != self._relay.channel:
            self._runtime.ownership.forget_process(message.channel)
            self._search.forget(message.channel)
        return None

    async def seek(self, connection_id: str, *, may_claim: bool) -> str | None:
        """Ask all processes that serve classic clients for the owner; see :meth:`OwnerSearch.find`."""
        return None if self._search is None else await self._search.find(connection_id, may_claim=may_claim)

    def settled(self, connection_id: str) -> None:
        """The connection was opened here, or will not be."""
        if self._search is not None:
            self._search.settled(connection_id)

    # Connections that another process takes over

    def take_over(self, opened: OpenClassicConnection) -> None:
        """A connection goes on here: if its process is not gone but only slow, it is to let it go."""
        if self._search is not None:
            opened.taken_at = self._runtime.clock()
            self._runtime.spawn(self._announce(opened.connection.connection_id))

    async def _announce(self, connection_id: str) -> None:
        try:
            channel = await self._relay.start()
            await self._relay.announce(self._address, Taken(v=VERSION, hub=CLASSIC, connection_id=connection_id, channel=channel))
        except BackplaneUnavailable as error:
            logger.info("%s: other processes could not be told that it goes on here: %s", connection_id, error)

    async def _let_go(self, message: Taken) -> None:
        """
        Another process has taken a connection over: if it is here too, end it, without a word to hubs, since the client has not left.

        Of two that took it over in the same moment, the lower channel keeps it.
        """
        assert self._runtime.ownership is not None
        opened, channel = self._runtime.classic.get(message.connection_id), self._relay.channel or ""
        if opened is not None and opened.taken_at is not None:
            is_recent = self._runtime.clock() - opened.taken_at < SAME_MOMENT
            if is_recent and channel < message.channel:
                return
        self._runtime.ownership.moved(message.connection_id, message.channel)
        if opened is None:
            return
        logger.warning("%s: it was taken over by another process, since this one did not answer for a while", message.connection_id)
        opened.session.is_started = False
        opened.connection.close(CloseReason.SUPERSEDED, allow_reconnect=True)
        try:
            left = Leaving(v=VERSION, hub=CLASSIC, connection_id=message.connection_id, channel=channel)
            await self._relay.tell(message.channel, left)
        except BackplaneUnavailable as error:
            logger.info("%s: its process could not be told that it was let go: %s", message.connection_id, error)

    # Transports that another process holds

    def tick(self, now: float) -> None:
        """See whether other processes hold the transports they are thought to hold. Called by the heartbeat."""
        if self._search is None or now - self._checked_at < CHECK_INTERVAL:
            return
        self._checked_at = now
        held: dict[str, dict[str, OpenClassicConnection]] = {}
        for opened in self._runtime.classic:
            if isinstance(transport := opened.connection.attached, RemoteClassicTransport):
                held.setdefault(transport.channel, {})[transport.attach_id] = opened
        for channel, transports in held.items():
            self._runtime.spawn(self._check(channel, transports))

    async def _check(self, channel: str, held: dict[str, OpenClassicConnection]) -> None:
        """Lose the transports that a process holds no more, or all of them if it is gone: it cannot say so itself."""
        ids = list(held)
        for first in range(0, len(ids), LONGEST_CHECK):
            for attach_id in await self._find_missing(channel, ids[first : first + LONGEST_CHECK]):
                connection = held[attach_id].connection
                transport = connection.attached
                if isinstance(transport, RemoteClassicTransport) and transport.attach_id == attach_id:
                    logger.info("%s: the process that held its transport is gone, or does not hold it any more", connection.connection_id)
                    connection.lose_transport(transport)
                    transport.abort()

    async def _find_missing(self, channel: str, ids: list[str]) -> list[str]:
        def make(reply_to: str, request_id: str) -> Holding:
            return Holding(v=VERSION, attach_ids=ids, reply_to=reply_to, request_id=request_id)

        for _ in range(2):  # a channel layer may lose a message
            try:
                conversation = await self._relay.ask_process(channel, make)
            except BackplaneUnavailable:
                return []  # nobody can be asked
            try:
                answer = await conversation.receive(self._relay.ack_timeout)
            finally:
                conversation.close()
            if isinstance(answer, Missing):
                return answer.attach_ids
        return ids

    # Owners

    async def lost(self, connection_id: str, arbiter: str, owner: str) -> None:
        """The process that was taken for the owner does not answer, or does not have the connection: whoever is asked next owns it."""
        assert self._runtime.ownership is not None
        assert self._search is not None
        self._search.forget(owner, connection_id)
        await self._runtime.ownership.release(connection_id, arbiter, owner=owner, may_move=True)

    async def _find(self, message: ClassicCall | ClassicAttach) -> OpenClassicConnection | None:
        """The connection, or ``None`` after the refusal was sent."""
        classic = self._runtime.classic
        opened = classic.get(message.connection_id)
        if opened is None and not classic.is_refused(message.connection_id):
            opened = await classic.wait_for(message.connection_id, ARRIVAL_TIMEOUT)
        if opened is None:
            self.settled(message.connection_id)
            await self._answer(message, REFUSED if classic.is_refused(message.connection_id) else ABSENT)
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
        operation = Operation(message.operation)
        if operation is not Operation.ABORT:
            await self._answer(message, 102)
        status, body = await call(opened, operation, self._hubs(opened, message), message.data)
        await self._answer(message, status, body.decode())

    def _hubs(self, opened: OpenClassicConnection, message: ClassicCall | ClassicAttach) -> list[str]:
        """The hubs a request names, as far as this process has them: the other one may run another version of the site."""
        return [name for name in message.hubs if name in opened.mount.hubs]

    # Receiving requests

    async def attach(self, message: ClassicAttach) -> None:
        """Let a transport of another process carry the connection."""
        opened = await self._find(message)
        if opened is None:
            return
        request = ReceivingRequest(
            operation=Operation(message.operation),
            hubs=self._hubs(opened, message),
            protocol=message.protocol,
            cursor=message.cursor,
            groups_token=message.groups_token,
        )
        if opened.expires_at is not None:
            opened.expires_at = message.expires_at

        async def answer() -> RemoteClassicTransport:
            await self._answer(message, 101)
            return RemoteClassicTransport(self._relay, message.transport, message.reply_to, message.request_id)

        await attach(self._runtime.classic, opened, request, answer)

    def _remote(self, message: Received | Detached) -> tuple[OpenClassicConnection, RemoteClassicTransport] | None:
        """The connection and transport that a message is about, if that carries the connection still."""
        opened = self._runtime.classic.get(message.connection_id)
        transport = None if opened is None else opened.connection.transport
        if opened is not None and isinstance(transport, RemoteClassicTransport) and transport.attach_id == message.attach_id:
            return opened, transport
        return None

    def received(self, message: Received) -> bool:
        """Take what came on a web socket that another process holds. False: the connection is none of ours."""
        if (remote := self._remote(message)) is not None:
            opened, transport = remote
            reason = take_message(opened, message.data.decode("utf-8", "surrogatepass") if message.is_text else message.data)
            if reason is not None:
                opened.connection.lose_transport(transport, reason)
                transport.abort()
        return self._has(message.connection_id)

    def detached(self, message: Detached) -> bool:
        """A transport that another process held has ended. False: the connection is none of ours."""
        if (remote := self._remote(message)) is not None:
            opened, transport = remote
            opened.connection.lose_transport(transport, CloseReason(message.reason))
        return self._has(message.connection_id)
