"""Opening a connection, whatever its transport: engine, connection, session, and what follows its end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from signalr_channels.connections.connection import Connection
from signalr_channels.connections.long_polling import LongPollingTransport
from signalr_channels.connections.parked import LingeringPolls
from signalr_channels.connections.transports import Transport
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Admission, describe_request
from signalr_channels.hubs.connection_handler import ConnectionHandler, HandlerSession
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.session import HubSession
from signalr_channels.lifetime_log import LifetimeLog
from signalr_channels.protocols.base import TransferFormat
from signalr_channels.protocols.core.engine import ALL_FORMATS, CoreEngine
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.raw import RawEngine
from signalr_channels.runtime import Runtime

__all__ = ["OpenConnection", "open_connection"]

FOREVER = float("inf")


@dataclass(slots=True, kw_only=True)
class OpenConnection:
    """A connection of this process with everything around it."""

    runtime: Runtime
    session: HubSession | HandlerSession
    expires_at: float | None = None
    """When its access token runs out, in seconds since 1970; ``None`` if that does not end it."""
    is_stateful: bool = False
    """Whether stateful reconnect was agreed on; the handshake decides if it is used."""
    arbiter: str = ""
    """Channel of the process that negotiated it."""
    log: LifetimeLog
    finished: asyncio.Task[None] | None = None
    """Runs once the connection has ended: ``on_disconnected``, history, clean-up."""

    _ended: asyncio.Future[None] | None = None
    _post_lock: asyncio.Lock | None = None

    def post_lock(self) -> asyncio.Lock:
        """Held while a POST body is taken."""
        if self._post_lock is None:
            self._post_lock = asyncio.Lock()
        return self._post_lock

    async def wait_ended(self) -> None:
        """Return when the connection has ended."""
        while self.finished is None:
            if self._ended is None:
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)

    def renew(self, admission: Admission, endpoint: HubEndpoint) -> None:
        """Another request of the connection was let in: its user and its token count from now on."""
        self.session.context.user = admission.user
        if endpoint.options.CLOSE_ON_AUTHENTICATION_EXPIRATION:
            self.expires_at = admission.expires_at

    def expire(self) -> None:
        """The access token has run out: the client is told to come back with another."""
        self.connection.close(CloseReason.TOKEN_EXPIRED, allow_reconnect=True)

    @property
    def can_reattach(self) -> bool:
        """Whether another transport may take over: only under stateful reconnect, and before the end."""
        before_handshake = self.connection.hub_protocol is None
        return self.is_stateful and not self.connection.is_closed and (before_handshake or self.connection.is_stateful)

    def reattach(self, transport: Transport) -> None:
        """Go on with another transport."""
        self.connection.attach(transport)
        self.log.reconnected()

    def lose_transport(self, transport: Transport, reason: CloseReason, exception: Exception | None = None) -> None:
        """A transport of the connection is over; this ends the connection, unless another one took or may take over."""
        if self.connection.transport is not transport or self.connection.is_closed:
            return
        if reason is CloseReason.CLIENT_GONE and self.can_reattach:
            self.connection.detach()
        else:
            self.connection.receive_eof(reason, exception)

    def ended(self) -> None:
        """The connection has ended: tidy up."""
        transport = self.connection.transport
        if isinstance(transport, LongPollingTransport) and transport.is_closed:
            self.runtime.lingering[self.connection.connection_id] = LingeringPolls(transport, self.runtime.clock())
        # In a task of ours: whoever ended it, hub code has to run.
        self.finished = self.runtime.spawn(_finish(self))
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.session.connection


def open_connection(
    runtime: Runtime,
    endpoint: HubEndpoint,
    dispatcher: HubDispatcher | None,
    scope: Mapping[str, Any],
    admission: Admission,
    connection_id: str,
    transport: Transport,
    *,
    transfer_formats: Collection[TransferFormat] = ALL_FORMATS,
    is_stateful: bool = False,
    arbiter: str = "",
) -> OpenConnection:
    """Make the connection of a transport request that was let in, and keep it until it has ended."""
    options = endpoint.options
    polls = isinstance(transport, LongPollingTransport)
    info = describe_request(scope, endpoint, connection_id, transport.name, admission)
    engine = _make_engine(runtime, endpoint, dispatcher, polls=polls, transfer_formats=transfer_formats, is_stateful=is_stateful)
    connection = Connection(
        connection_id=connection_id,
        engine=engine,
        transport=transport,
        clock=runtime.clock,
        user_identifier=admission.user_identifier,
        maximum_buffered_bytes=options.MAXIMUM_BUFFERED_BYTES,
        send_timeout=FOREVER if polls else options.TRANSPORT_SEND_TIMEOUT,
    )
    log = LifetimeLog(runtime, info, connection)
    context = HubCallerContext(connection, admission.user, scope)
    session: HubSession | HandlerSession
    if dispatcher is not None:
        session = HubSession(dispatcher, connection, context, on_connecting=log.connected)
    else:
        handler: type[ConnectionHandler] = endpoint.hub  # type: ignore[assignment]
        session = HandlerSession(handler, connection, context, buffer_size=options.APPLICATION_BUFFER_SIZE, on_connecting=log.connected)
    opened = OpenConnection(runtime=runtime, session=session, log=log, is_stateful=is_stateful, arbiter=arbiter)
    opened.renew(admission, endpoint)
    connection.on_end = opened.ended
    runtime.add(opened)
    return opened


def _make_engine(
    runtime: Runtime,
    endpoint: HubEndpoint,
    dispatcher: HubDispatcher | None,
    *,
    polls: bool,
    transfer_formats: Collection[TransferFormat],
    is_stateful: bool,
) -> CoreEngine:
    if dispatcher is None:
        return RawEngine(now=runtime.clock())
    options = endpoint.options
    return CoreEngine(
        hub_protocols=dispatcher.protocols,
        maximum_message_size=options.MAXIMUM_RECEIVE_MESSAGE_SIZE,
        # Polls are a sign of life by themselves, and are not written to.
        keep_alive_interval=None if polls else options.KEEP_ALIVE_INTERVAL,
        client_timeout_interval=options.CLIENT_TIMEOUT_INTERVAL,
        handshake_timeout=options.HANDSHAKE_TIMEOUT,
        detailed_errors=options.ENABLE_DETAILED_ERRORS,
        transfer_formats=transfer_formats,
        stateful_buffer_size=options.STATEFUL_RECONNECT_BUFFER_SIZE if is_stateful else None,
        now=runtime.clock(),
    )


async def _finish(opened: OpenConnection) -> None:
    runtime = opened.runtime
    try:
        await opened.session.finish()
    finally:
        runtime.remove(opened)
        opened.log.ended()
        if runtime.ownership is not None:
            await runtime.ownership.release(opened.connection.connection_id, opened.arbiter)
