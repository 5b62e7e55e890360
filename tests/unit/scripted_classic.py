"""
A scripted classic client: fake transports, an engine and a session joined together, on a clock that stands still.

``server = ClassicServer([ChatHub])``, ``client = await server.connect(["chathub"])``, ``client.invoke("ChatHub", "Add", 1, 2)``,
``await client.answer("0")``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from signalr_channels.classic_mounts import callable_methods
from signalr_channels.conf import ClassicSettings, SignalRSettings
from signalr_channels.connections.burst import Burst
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.hubs.binding import bind_methods
from signalr_channels.hubs.classic_hub_session import ClassicHubSession
from signalr_channels.hubs.classic_share import ClassicHub
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub, classic_name, hub_name
from signalr_channels.hubs.lifetime import InMemoryHubLifetimeManager
from signalr_channels.hubs.permissions import HubPermission
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.classic.engine import ClassicEngine
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from tests.unit.scripted import TIMEOUT, Clock

KEEP_ALIVE = "keep-alive"
CLOSED = "closed"
ABORTED = "aborted"
EPOCH = "AB"


def message(text: str) -> EncodedMessage:
    """A message as hubs and persistent connections send them: one JSON value."""
    return EncodedMessage(json.dumps(text, ensure_ascii=False).encode(), TransferFormat.TEXT)


class FakeClassicTransport:
    """
    Collects what is written, and what else happens to it. ``pause()`` makes it a client that does not read.

    Attributes:
        log: Frames as text, and the words for signs of life and ends, in order.
        error: Raised by whatever is written from now on.
    """

    join: Callable[[Burst, bytes], bool] | None = None

    def __init__(self, name: str = "webSockets", *, error: Exception | None = None) -> None:
        self.name = name
        self.is_poll = name == "longPolling"
        self.is_ascii = name != "webSockets"
        self.log: list[str] = []
        self.error = error
        self.changed = asyncio.Event()
        self._blocked: asyncio.Future[None] | None = None

    @property
    def frames(self) -> list[dict[str, Any]]:
        """The frames, read."""
        return [json.loads(entry) for entry in self.log if entry.startswith("{")]

    @property
    def envelopes(self) -> list[dict[str, Any]]:
        """The frames but the answers."""
        return [frame for frame in self.frames if "I" not in frame]

    @property
    def messages(self) -> list[Any]:
        """What all envelopes carry."""
        return [one for frame in self.envelopes for one in frame["M"]]

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The frames that answer calls."""
        return [frame for frame in self.frames if "I" in frame]

    @property
    def cursor(self) -> str:
        """What a client would name when it comes back."""
        cursor: str = next(frame["C"] for frame in reversed(self.frames) if "C" in frame)
        return cursor

    @property
    def is_ended(self) -> bool:
        return self.log[-1:] in ([CLOSED], [ABORTED])

    def pause(self) -> None:
        """Stop reading."""
        self._blocked = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """Read again."""
        blocked, self._blocked = self._blocked, None
        if blocked is not None and not blocked.done():
            blocked.set_result(None)

    async def _put(self, entry: str) -> None:
        while self._blocked is not None:
            await asyncio.shield(self._blocked)
        if self.error is not None:
            raise self.error
        self.log.append(entry)
        self.changed.set()

    def write(self, frame: bytes) -> Awaitable[None]:
        return self._put(frame.decode())

    def keep_alive(self) -> Awaitable[None]:
        return self._put(KEEP_ALIVE)

    def close(self) -> Awaitable[None]:
        return self._put(CLOSED)

    def abort(self) -> None:
        self.log.append(ABORTED)
        self.error = OSError("aborted")
        self.resume()


class ClassicClient:
    """
    One client. What it sends on its web socket is served at once.

    Attributes:
        connection: The server's side of it.
        session: Its calls.
        transport: The one it has now, or had last.
        lost: How many messages the server says it missed.
    """

    def __init__(self, server: ClassicServer, connection_id: str, user: Any, user_identifier: str | None) -> None:
        self._server = server
        options = server.options
        self.connection = ClassicConnection(
            connection_id=connection_id,
            engine=ClassicEngine(maximum_messages=options.MESSAGE_BUFFER_SIZE, epoch=EPOCH),
            hub_protocol=ClassicHubProtocol(""),
            options=options,
            clock=server.clock,
            user_identifier=user_identifier,
        )
        self.context = HubCallerContext(self.connection, user, {"type": "websocket", "path": "/signalr"})
        self.session = ClassicHubSession(self.connection, self.context, server.sign_groups, hubs=server.hubs, options=options)
        self.transport = FakeClassicTransport()
        self.finishing: asyncio.Task[None] | None = None
        self.lost = 0
        self.connection.on_end = self._ended
        self.connection.on_loss = self._missed
        self._ids = itertools.count()

    @property
    def connection_id(self) -> str:
        return self.connection.connection_id

    def _ended(self) -> None:
        self.finishing = asyncio.get_running_loop().create_task(self.session.finish())

    def _missed(self, count: int) -> None:
        self.lost += count

    # Transports

    async def attach(
        self,
        names: Sequence[str],
        transport: FakeClassicTransport | None = None,
        *,
        init: bool = False,
        cursor: str | None = None,
        groups_token: str | None = None,
    ) -> FakeClassicTransport:
        """A receiving request that names these hubs."""
        await self.session.attach(names)
        self.transport = transport or FakeClassicTransport()
        self.connection.attach(self.transport, cursor=cursor, groups_token=groups_token, init=init)
        return self.transport

    # Calls

    def invoke(self, hub: str, method: str, *arguments: Any, state: Any = None) -> str:
        """Call a hub method on the web socket; gives the invocation id."""
        invocation_id = str(next(self._ids))
        self.session.receive(call(hub, method, *arguments, invocation_id=invocation_id, state=state))
        return invocation_id

    async def answer(self, invocation_id: str) -> dict[str, Any]:
        """Wait for the answer to a call."""

        async def read() -> dict[str, Any]:
            while True:
                self.transport.changed.clear()
                for frame in self.transport.answers:
                    if frame["I"] == invocation_id:
                        return frame
                await self.transport.changed.wait()

        return await asyncio.wait_for(read(), TIMEOUT)

    async def call(self, hub: str, method: str, *arguments: Any, state: Any = None) -> dict[str, Any]:
        """Call a hub method and wait for the answer; gives it without the id."""
        invocation_id = self.invoke(hub, method, *arguments, state=state)
        return {name: value for name, value in (await self.answer(invocation_id)).items() if name != "I"}

    async def finished(self) -> None:
        """Wait until the server is done with the connection, which has ended."""
        assert self.finishing is not None
        await asyncio.wait_for(asyncio.shield(self.finishing), 2 * TIMEOUT)

    async def stop(self) -> None:
        """The client ends it, and the server finishes."""
        self.connection.stop()
        await self.finished()


def call(hub: str, method: str, *arguments: Any, invocation_id: Any = "0", state: Any = None) -> str:
    """A call as clients write it."""
    members: dict[str, Any] = {"H": hub, "M": method, "A": arguments, "I": invocation_id}
    return json.dumps(members if state is None else {**members, "S": state})


class ClassicServer:
    """
    Hubs that are served to scripted classic clients.

    Attributes:
        clock: Stands still until it is moved.
        options: Settings of the classic generation.
        hubs: Name in lower case -> hub.
        managers: The lifetime managers of the hubs, by their names in lower case.
        ran_sync: Names of the plain functions that would have run in a thread.
    """

    def __init__(
        self,
        hubs: Sequence[type[Hub]],
        *,
        filters: Sequence[HubFilter] = (),
        permission_classes: Sequence[type[HubPermission]] = (),
        core: SignalRSettings | None = None,
        **settings: Any,
    ) -> None:
        self.options = ClassicSettings(**settings)
        self.clock = Clock()
        self.clients: dict[str, ClassicClient] = {}
        self.ran_sync: list[str] = []
        self.managers: dict[str, InMemoryHubLifetimeManager] = {}
        self.hubs: dict[str, ClassicHub] = {}
        for hub in hubs:
            self._add(hub, filters, permission_classes, core or SignalRSettings())

    def _add(
        self, hub: type[Hub], filters: Sequence[HubFilter], permission_classes: Sequence[type[HubPermission]], options: SignalRSettings
    ) -> None:
        name = classic_name(hub)
        manager = self.managers[name.lower()] = InMemoryHubLifetimeManager(options.MAXIMUM_GROUPS_PER_CONNECTION)
        protocol = ClassicHubProtocol(name)
        dispatcher = HubDispatcher(
            hub,
            protocols=(),
            options=options,
            manager=manager,
            reach=Reach(hub_name(hub), manager, asyncio.get_running_loop()),
            run_sync=self._run_sync,
            filters=filters,
        )
        self.hubs[name.lower()] = ClassicHub(
            name=name,
            protocol=protocol,
            dispatcher=dispatcher,
            methods=bind_methods(hub, callable_methods(hub), protocol),
            permission_classes=permission_classes,
        )

    @staticmethod
    def sign_groups(connection_id: str, names: Sequence[str]) -> str:
        """A groups token one can read."""
        return f"{connection_id}:{','.join(names)}"

    async def _run_sync(self, function: Callable[..., Any], /, *args: Any) -> Any:
        self.ran_sync.append(function.__name__)
        return await asyncio.to_thread(function, *args)

    async def connect(
        self,
        names: Sequence[str] = (),
        connection_id: str = "one",
        *,
        user: Any = None,
        user_identifier: str | None = None,
        start: bool = True,
    ) -> ClassicClient:
        """A client on a web socket that has got the init frame, and has started."""
        client = self.open(connection_id, user=user, user_identifier=user_identifier)
        await client.attach(names, init=True)
        if start:
            await client.session.start(names)
        return client

    def open(self, connection_id: str = "one", *, user: Any = None, user_identifier: str | None = None) -> ClassicClient:
        """A client without a transport."""
        client = self.clients[connection_id] = ClassicClient(self, connection_id, user, user_identifier)
        return client

    def tick(self, now: float) -> None:
        """Move the clock and beat the heart."""
        self.clock.now = now
        for client in self.clients.values():
            client.connection.tick(now)

    async def __aenter__(self) -> ClassicServer:
        return self

    async def __aexit__(self, *exception: object) -> None:
        """The server stops."""
        for client in self.clients.values():
            client.connection.shut_down()
        for client in self.clients.values():
            await client.session.cancel_calls()
            if client.finishing is not None:
                await asyncio.wait([client.finishing], timeout=2 * TIMEOUT)
