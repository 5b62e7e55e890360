"""What a server process keeps for classic clients: their connections, and for a while the ids of those that were ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalr_channels.classic_log import ClassicLog
from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.classic_tokens import ClassicToken, read_groups_token, sign_groups
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.connections.turns import EndOfTurn
from signalr_channels.exceptions import HubException
from signalr_channels.gate import Admission
from signalr_channels.hubs.classic_hub_session import ClassicHubSession
from signalr_channels.hubs.classic_session import ClassicSession
from signalr_channels.hubs.classic_share import ClassicHub
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.hub import classic_name, hub_name
from signalr_channels.hubs.persistent_connection import PROTOCOL, PersistentSession
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.classic.engine import ClassicEngine
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from signalr_channels.protocols.endings import CloseReason

if TYPE_CHECKING:
    from signalr_channels.runtime import Runtime

__all__ = ["ClassicConnections", "OpenClassicConnection"]

logger = logging.getLogger("signalr_channels.connections")

GOODBYE_TIME = 1.0
"""Seconds calls may take to end when the process stops."""
ANY_HUB = ClassicHubProtocol("")
"""What hub code sees as the encoding of a connection that carries several hubs."""


@dataclass(slots=True, kw_only=True)
class OpenClassicConnection:
    """A classic connection of this process with everything around it."""

    mount: ClassicMount
    session: ClassicSession
    log: ClassicLog
    arbiter: str = ""
    """Channel of the process that negotiated it."""
    has_begun: bool = False
    """Whether a transport has come here: before the first that does not connect, the connection was known to another process only."""
    knows_groups: bool = False
    """Whether a receiving request has come: only those say which groups the client was in on another process."""
    taken_at: float | None = None
    """When this process took it over from one that did not answer, on the runtime's clock."""
    expires_at: float | None = None
    """When its access token runs out, in seconds since 1970; ``None`` if that does not end it."""
    finished: asyncio.Task[None] | None = None
    """Runs once the connection has ended."""

    @property
    def connection(self) -> ClassicConnection:
        """The connection."""
        return self.session.connection

    def renew(self, admission: Admission) -> None:
        """Another request of the connection was let in: its user and its token count from now on."""
        self.session.context.user = admission.user
        if self.mount.core_options.CLOSE_ON_AUTHENTICATION_EXPIRATION:
            self.expires_at = admission.expires_at
        self.connection.last_received = self.connection.clock()


class ClassicConnections:
    """The classic connections of one process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._end_of_turn = EndOfTurn()
        self._open: dict[str, OpenClassicConnection] = {}
        self._refused: dict[str, float] = {}
        """Ids of connections that were ended for good, and until when they are refused."""
        self._arrivals: dict[str, asyncio.Future[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        """The ends that application code has not heard of to the last."""
        self._hubs: dict[ClassicMount, dict[str, ClassicHub]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Any:
        """A snapshot, safe against connections that end meanwhile."""
        return iter(tuple(self._open.values()))

    def get(self, connection_id: str) -> OpenClassicConnection | None:
        """The connection of that id, if it lives here."""
        return self._open.get(connection_id)

    def is_refused(self, connection_id: str) -> bool:
        """Whether a connection of that id was ended for good a short while ago."""
        return self._refused.get(connection_id, 0.0) > self._runtime.clock()

    async def wait_for(self, connection_id: str, timeout: float) -> OpenClassicConnection | None:
        """The connection of that id, which another request is about to open here."""
        if (opened := self._open.get(connection_id)) is not None:
            return opened
        arrival = self._arrivals.setdefault(connection_id, asyncio.get_running_loop().create_future())
        await asyncio.wait([arrival], timeout=timeout)
        self._arrivals.pop(connection_id, None)
        return self._open.get(connection_id)

    # Hubs

    def hubs_of(self, mount: ClassicMount) -> Mapping[str, ClassicHub]:
        """The hubs of a mount, ready to be called."""
        hubs = self._hubs.get(mount)
        if hubs is None or any(hub.dispatcher.options is not mount.endpoints[name].options for name, hub in hubs.items()):
            hubs = self._hubs[mount] = {name: self._prepare(mount, name) for name in mount.hubs}
        return hubs

    def _prepare(self, mount: ClassicMount, name: str) -> ClassicHub:
        runtime, endpoint = self._runtime, mount.endpoints[name]
        hub = endpoint.hub
        manager = runtime.manager_for(hub)
        dispatcher = HubDispatcher(
            hub,
            protocols=(),
            options=endpoint.options,
            manager=manager,
            reach=Reach(endpoint.hub_name, manager, runtime.loop),
            run_sync=runtime.run_sync,
            filters=endpoint.filters(),
        )
        return ClassicHub(
            name=classic_name(hub),
            protocol=mount.protocols[name],
            dispatcher=dispatcher,
            methods=mount.methods[name],
            permission_classes=endpoint.permission_classes,
        )

    def calls_in_tasks(self) -> int:
        """How many calls had a task of their own, and so may have used the database."""
        return sum(hub.dispatcher.calls_in_tasks for hubs in self._hubs.values() for hub in hubs.values())

    # Opening

    def open(
        self, mount: ClassicMount, scope: Mapping[str, Any], admission: Admission, token: ClassicToken, *, is_new: bool = True
    ) -> OpenClassicConnection:
        """
        Make the connection of a request that was let in.

        Args:
            mount: Where it came.
            scope: Of the request.
            admission: Who it comes from.
            token: Its token.
            is_new: Whether it begins here; if not, another process may have it still, and is to let it go.

        Raises:
            Refusal: 503 while the process stops, or is full.
        """
        self._runtime.check_room()
        runtime, options, core = self._runtime, mount.options, mount.core_options
        self._refused.pop(token.connection_id, None)
        protocol: HubProtocol = ANY_HUB if mount.handler is None else PROTOCOL
        connection = ClassicConnection(
            connection_id=token.connection_id,
            engine=ClassicEngine(maximum_messages=options.MESSAGE_BUFFER_SIZE, maximum_bytes=core.MAXIMUM_BUFFERED_BYTES),
            hub_protocol=protocol,
            options=options,
            clock=runtime.clock,
            user_identifier=admission.user_identifier,
            maximum_buffered_bytes=core.MAXIMUM_BUFFERED_BYTES,
            send_timeout=core.TRANSPORT_SEND_TIMEOUT,
            end_of_turn=self._end_of_turn,
        )
        context = HubCallerContext(connection, admission.user, scope)
        opened = OpenClassicConnection(
            mount=mount,
            session=self._session(mount, connection, context),
            log=ClassicLog(runtime, mount, scope, admission, connection),
            arbiter=token.arbiter,
        )
        opened.session.predecessor = self._ending.get(token.connection_id)
        connection.on_end = lambda: self._ended(opened)
        connection.on_loss = opened.log.lost
        self._open[token.connection_id] = opened
        runtime.classic_service.settled(token.connection_id)
        if not is_new:
            runtime.classic_service.take_over(opened)
        if (arrival := self._arrivals.pop(token.connection_id, None)) is not None and not arrival.done():
            arrival.set_result(None)
        return opened

    def _session(self, mount: ClassicMount, connection: ClassicConnection, context: HubCallerContext) -> ClassicSession:
        if mount.handler is None:
            return ClassicHubSession(connection, context, sign_groups, hubs=self.hubs_of(mount), options=mount.options)
        runtime, name = self._runtime, hub_name(mount.handler)
        manager = runtime.manager_for(mount.handler)
        return PersistentSession(
            connection,
            context,
            sign_groups,
            handler=mount.handler,
            name=name,
            manager=manager,
            reach=Reach(name, manager, runtime.loop),
            run_sync=runtime.run_sync,
            options=mount.options,
            end_timeout=mount.core_options.ON_DISCONNECTED_TIMEOUT,
        )

    async def list_hubs(self, opened: OpenClassicConnection, names: Sequence[str], groups_token: str | None) -> None:
        """Let the hubs that a receiving request names reach the connection; the first one puts it back into its groups."""
        await opened.session.attach(names)
        if not opened.knows_groups:
            opened.knows_groups = True
            try:
                await opened.session.rejoin(read_groups_token(groups_token, opened.connection.connection_id))
            except HubException as error:  # the limit is lower than it was
                logger.warning("%s: not all groups were joined again: %s", opened.connection.connection_id, error)

    # Ending

    def _ended(self, opened: OpenClassicConnection) -> None:
        connection = opened.connection
        self._open.pop(connection.connection_id, None)
        opened.log.ended()  # at once: the client may come back while hub code is told
        if connection.is_final:
            self._refused[connection.connection_id] = self._runtime.clock() + opened.mount.options.TOMBSTONE_TIME
        opened.finished = self._ending[connection.connection_id] = self._runtime.spawn(self._finish(opened))

    async def _finish(self, opened: OpenClassicConnection) -> None:
        try:
            await opened.session.finish()
        finally:
            if self._ending.get(opened.connection.connection_id) is opened.finished:
                del self._ending[opened.connection.connection_id]
            has_begun_again = opened.connection.connection_id in self._open
            if self._runtime.ownership is not None and not has_begun_again:
                may_move = not opened.connection.is_final
                await self._runtime.ownership.release(opened.connection.connection_id, opened.arbiter, may_move=may_move)

    # Time

    def tick(self, now: float) -> None:
        """Do what is due. Called by the heartbeat."""
        moment = time.time()
        for opened in self:
            opened.connection.tick(now)
            if opened.expires_at is not None and opened.expires_at <= moment:
                opened.connection.close(CloseReason.TOKEN_EXPIRED, error="The access token has expired.")
        for connection_id in [key for key, until in self._refused.items() if until <= now]:
            del self._refused[connection_id]

    def heard_since(self, moment: float) -> list[str]:
        """Ids of the connections that were heard of since then, on the runtime's clock."""
        return [opened.connection.connection_id for opened in self if opened.connection.last_received >= moment]

    def shut_down(self) -> None:
        """Let every client go elsewhere."""
        for opened in self:
            opened.session.cancel_soon(GOODBYE_TIME)
            opened.connection.shut_down()

    def sessions(self) -> list[ClassicSession]:
        """Of the connections that live."""
        return [opened.session for opened in self]
