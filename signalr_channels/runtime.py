"""
What a server process keeps for its hubs: connections, heartbeat, relay, dispatchers, and the end of it all.

There is one :class:`Runtime` per event loop, made when the first hub request comes, since not every ASGI server sends lifespan events.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import close_old_connections
from django.utils import timezone

from signalr_channels.backplane.manager import ChannelLayerHubLifetimeManager
from signalr_channels.backplane.ownership import Ownership
from signalr_channels.backplane.relay import Relay
from signalr_channels.classic_relay import ClassicRelayService
from signalr_channels.classic_runtime import ClassicConnections
from signalr_channels.conf import SignalRSettings, get_settings, hub_settings
from signalr_channels.connections.heartbeat import Heartbeat
from signalr_channels.connections.long_polling import LongPollingTransport
from signalr_channels.connections.parked import LingeringPolls, ParkedData
from signalr_channels.connections.store import ConnectionStore
from signalr_channels.endpoints import HubEndpoint, hub_protocols
from signalr_channels.exceptions import BackplaneUnavailable, WrongContext
from signalr_channels.gate import Refusal
from signalr_channels.hubs.dispatcher import HubDispatcher
from signalr_channels.hubs.hub import Hub, classic_name, hub_name
from signalr_channels.hubs.lifetime import (
    ConnectionInfo,
    HubLifetimeManager,
    InMemoryHubLifetimeManager,
    LifetimeEvent,
    LifetimeEventKind,
)
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.recorder import get_recorder
from signalr_channels.relay_service import RelayService

if TYPE_CHECKING:
    from signalr_channels.hubs.connection_handler import HandlerSession
    from signalr_channels.hubs.session import HubSession
    from signalr_channels.sessions import OpenConnection

__all__ = ["Runtime", "get_runtime", "install_runtime", "process_name", "reach_for"]

logger = logging.getLogger("signalr_channels.runtime")
T = TypeVar("T")

GOODBYE_TIME = 1.0
SERVICE_RESTART = 1012
TOUCH_INTERVAL = 30.0


@functools.cache
def _process_name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{secrets.token_hex(3)}"


def process_name() -> str:
    """Name of this server process: host, process id, and a random part, since ids come again."""
    return _process_name(os.getpid())


class Runtime:
    """
    One event loop's share of the product.

    Attributes:
        loop: The loop.
        clock: Seconds, monotonic.
        store: Its connections.
        process: Name of the process.
        is_stopping: Whether new connections are refused.
        goodbye: Set then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Callable[[], float] | None = None, is_alone: bool = False) -> None:
        """
        Args:
            loop: The loop.
            clock: Gives the time in seconds, instead of the loop.
            is_alone: Whether other server processes are left out, whatever the channel layer. For tests.
        """
        options = get_settings()
        self.loop = loop
        self.clock = clock or loop.time
        self.process = process_name()
        self.is_stopping = False
        self.goodbye = asyncio.Event()
        # A token is good for DISCONNECT_TIMEOUT; its id must be known as long, and a little more for clocks that differ.
        self.store = ConnectionStore(self.clock, options.DISCONNECT_TIMEOUT + 5)
        self.relay = None if is_alone else make_relay(options.CHANNEL_LAYER, self.process)
        self.ownership = None if self.relay is None else Ownership(self.relay)
        self._heartbeat = Heartbeat(self.clock)
        self._managers: dict[str, HubLifetimeManager] = {}
        self._dispatchers: dict[HubEndpoint, HubDispatcher] = {}
        self._open: dict[str, OpenConnection] = {}
        self.classic = ClassicConnections(self)
        self.classic_service = ClassicRelayService(self)
        self._left_behind: list[HubSession | HandlerSession] = []
        self.parked: dict[str, ParkedData] = {}
        self.lingering: dict[str, LingeringPolls] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._touched_at = self.clock()
        self._async_calls = 0

    # Start and end

    def start(self) -> None:
        """Begin to tick. Called once, in the loop."""
        self._heartbeat.add(self._tick_connections)
        self._heartbeat.add(self.store.expire)
        self._heartbeat.add(self._expire_absent)
        self._heartbeat.add(self._expire_tokens)
        self._heartbeat.add(self.classic.tick)
        self._heartbeat.add(self.classic_service.tick)
        self._heartbeat.add(self._touch)
        self._heartbeat.add(self._close_old_database_connections)
        if self.relay is not None:
            self._heartbeat.add(self.relay.tick)
            self.relay.service = RelayService(self).handle
        self._heartbeat.start()
        if get_settings().HISTORY:
            get_recorder().start(self.process)
        _say_goodbye_on_signals(self)

    async def _stop_history(self) -> None:
        if get_settings().HISTORY:
            await asyncio.to_thread(get_recorder().stop)

    def say_goodbye(self) -> None:
        """Ask every client to come back elsewhere, and take no new ones."""
        self.is_stopping = True
        self.goodbye.set()
        for connection in self.store:
            if connection.is_stateful:
                # A Close message makes @microsoft/signalr 10.0 resume and reconnect at once; see the known client behaviours.
                connection.drop(CloseReason.SERVER_SHUTDOWN, code=SERVICE_RESTART)
            elif connection.detached_at is not None:  # its client dropped the event stream before
                connection.receive_eof(CloseReason.CLIENT_GONE)
            else:
                connection.close(CloseReason.SERVER_SHUTDOWN, allow_reconnect=True)
        self.classic.shut_down()
        if self.relay is not None:
            self.spawn(self.classic_service.leave())

    async def stop(self) -> None:
        """Say goodbye, let hubs finish, and leave nothing behind."""
        classic = self.classic.sessions()
        self.say_goodbye()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=GOODBYE_TIME)
        sessions = [*(opened.session for opened in self._open.values()), *self._left_behind, *classic]
        await asyncio.gather(*(session.cancel_calls() for session in sessions))
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await self._heartbeat.stop()
        if self.relay is not None:
            await self.relay.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        await self._stop_history()
        _runtimes.pop(self.loop, None)

    # Hubs

    def manager_for(self, hub: type) -> HubLifetimeManager:
        """The lifetime manager of a hub class, or of a persistent connection."""
        name = hub_name(hub)
        manager = self._managers.get(name)
        if manager is None:
            manager = self._managers[name] = make_manager(hub, self.relay)
        return manager

    def dispatcher_for(self, endpoint: HubEndpoint) -> HubDispatcher | None:
        """The dispatcher of a hub at a path; ``None`` for a connection without a hub."""
        if not issubclass(endpoint.hub, Hub):
            return None
        dispatcher = self._dispatchers.get(endpoint)
        if dispatcher is None or dispatcher.options is not endpoint.options:
            manager = self.manager_for(endpoint.hub)
            dispatcher = self._dispatchers[endpoint] = HubDispatcher(
                endpoint.hub,
                protocols=hub_protocols(endpoint.options),
                options=endpoint.options,
                manager=manager,
                reach=Reach(endpoint.hub_name, manager, self.loop),
                run_sync=self.run_sync,
                filters=endpoint.filters(),
            )
        return dispatcher

    def check_room(self) -> None:
        """
        Whether this process takes another connection, of whatever generation.

        Raises:
            Refusal: 503 while it stops, or is full.
        """
        headers = [(b"retry-after", b"5")]
        text = "The server takes no more connections."
        if self.is_stopping:
            raise Refusal(503, text, reason=CloseReason.SERVER_SHUTDOWN, headers=headers)
        limit = get_settings().MAXIMUM_CONNECTIONS
        if limit is not None and len(self.store) + len(self.classic) >= limit:
            detail = f"There are {limit} connections already (MAXIMUM_CONNECTIONS)."
            raise Refusal(503, text, reason=CloseReason.CONNECTION_LIMIT, detail=detail, headers=headers)

    def add(self, opened: OpenConnection) -> None:
        """Keep a connection while it lives."""
        self.classic_service.settled(opened.connection.connection_id)
        self.store.add(opened.connection)
        self._open[opened.connection.connection_id] = opened

    def remove(self, opened: OpenConnection) -> None:
        """Let a connection go."""
        self.store.remove(opened.connection)
        self._open.pop(opened.connection.connection_id, None)
        # Calls of clients that have left run to their end; whoever stops the process has to know of them.
        self._left_behind = [session for session in self._left_behind if session.has_calls]
        if opened.session.has_calls:
            self._left_behind.append(opened.session)

    def get(self, connection_id: str) -> OpenConnection | None:
        """The connection of that id, if it lives here."""
        return self._open.get(connection_id)

    def record(self, kind: LifetimeEventKind, info: ConnectionInfo, **more: Any) -> None:
        """Write a lifetime event into the history, sideways."""
        get_recorder().record(LifetimeEvent(kind=kind, connection=info, process=self.process, **more))

    async def arbiter_channel(self) -> str:
        """Channel on which other processes ask who owns what was negotiated here; ``""`` where there are none."""
        if self.relay is None:
            return ""
        try:
            return await self.relay.start()
        except BackplaneUnavailable:
            return ""

    # Work

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in a task of ours, which is awaited at the end."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run_sync(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a plain ``def`` in a thread, with database connections closed as around a Django request."""
        threads = get_settings().SYNC_THREADS
        if not threads:
            return await sync_to_async(_with_fresh_database_connections, thread_sensitive=True)(function, *args)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="signalr-hub")
        context = contextvars.copy_context()
        return await self.loop.run_in_executor(self._pool, context.run, _with_fresh_database_connections, function, *args)

    # Heartbeat

    def _tick_connections(self, now: float) -> None:
        for connection in self.store:
            connection.tick(now)

    def _expire_tokens(self, now: float) -> None:
        """End connections whose access token has run out."""
        moment = time.time()
        for opened in tuple(self._open.values()):
            if opened.expires_at is not None and opened.expires_at <= moment and not opened.connection.is_closed:
                opened.expire()

    def _expire_absent(self, now: float) -> None:
        """End connections whose client stays away between two transport requests, and forget what nobody came to fetch."""
        timeout = get_settings().DISCONNECT_TIMEOUT
        for opened in tuple(self._open.values()):
            transport = opened.connection.transport
            if isinstance(transport, LongPollingTransport) and not opened.connection.is_closed:
                idle_since = transport.idle_since
                if idle_since is not None and now - idle_since > timeout:
                    opened.connection.receive_eof(CloseReason.POLL_TIMEOUT)
            elif (detached_at := opened.connection.detached_at) is not None and now - detached_at > timeout:
                opened.connection.receive_eof(CloseReason.CLIENT_GONE)
        for connection_id in [key for key, parked in self.parked.items() if now - parked.since > timeout]:
            self.parked.pop(connection_id).take()
        for connection_id in [key for key, polls in self.lingering.items() if now - polls.since > timeout]:
            del self.lingering[connection_id]

    def _touch(self, now: float) -> None:
        """Let the history know who was heard of."""
        if now - self._touched_at < TOUCH_INTERVAL or not get_settings().HISTORY:
            return
        since, self._touched_at = self._touched_at, now
        heard = [connection.connection_id for connection in self.store if connection.engine.last_received >= since]
        heard += self.classic.heard_since(since)
        if heard:
            get_recorder().touch(dict.fromkeys(heard, timezone.now()))

    def _close_old_database_connections(self, now: float) -> None:
        """
        Do for async hub code what Django does between requests.

        Async ORM calls share asgiref's one thread; its connections are checked once a tick, if hub code ran that may have used them.
        """
        calls = sum(dispatcher.calls_in_tasks for dispatcher in self._dispatchers.values()) + self.classic.calls_in_tasks()
        if calls != self._async_calls:
            self._async_calls = calls
            self.spawn(sync_to_async(close_old_connections, thread_sensitive=True)())


def _with_fresh_database_connections(function: Callable[..., T], *args: Any) -> T:
    close_old_connections()
    try:
        return function(*args)
    finally:
        close_old_connections()


# One runtime per loop

_runtimes: dict[asyncio.AbstractEventLoop, Runtime] = {}


def get_runtime() -> Runtime:
    """The runtime of the running loop; made and started when it is first asked for."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(loop)
    if runtime is None:
        for old in tuple(_runtimes):
            if old.is_closed():
                del _runtimes[old]
        runtime = _runtimes[loop] = Runtime(loop)
        runtime.start()
    return runtime


def install_runtime(runtime: Runtime) -> None:
    """
    Let a runtime of one's own making serve its loop. For tests.

    Raises:
        WrongContext: The loop has one already.
    """
    if runtime.loop in _runtimes:
        raise WrongContext("Hubs are served in this event loop already, by a runtime of the server; enter the test client before it.")
    _runtimes[runtime.loop] = runtime


def _running_elsewhere() -> Runtime | None:
    """A runtime of this process whose loop runs, in whatever thread."""
    return next((runtime for loop, runtime in tuple(_runtimes.items()) if loop.is_running()), None)


def make_relay(alias: str, process: str) -> Relay | None:
    """This process on the channel layer, or ``None`` where there is no layer that reaches other processes."""
    layer = get_channel_layer(alias)
    if layer is None or isinstance(layer, InMemoryChannelLayer):
        return None
    options = get_settings()
    return Relay(layer, process=process, ack_timeout=options.BACKPLANE_ACK_TIMEOUT, renewal_interval=options.GROUP_RENEWAL_INTERVAL)


def make_manager(hub: type, relay: Relay | None) -> HubLifetimeManager:
    """The lifetime manager of a hub, or of a persistent connection, on this relay."""
    options = hub_settings(hub)
    if relay is None:
        return InMemoryHubLifetimeManager(options.MAXIMUM_GROUPS_PER_CONNECTION)
    return ChannelLayerHubLifetimeManager(
        hub_name(hub),
        relay,
        protocols=_published_protocols(hub, options),
        prefix=options.KEY_PREFIX,
        maximum_groups=options.MAXIMUM_GROUPS_PER_CONNECTION,
    )


def _published_protocols(hub: type, options: SignalRSettings) -> Sequence[HubProtocol]:
    """
    The encodings that go to other processes.

    Classic messages are made there from JSON, where that has the same names in it.
    """
    protocols = hub_protocols(options)
    if issubclass(hub, Hub) and (options.PROPERTY_NAMES != "as_written" or "json" not in options.HUB_PROTOCOLS):
        return (*protocols, ClassicHubProtocol(classic_name(hub)))
    return protocols


def reach_for(hub: type) -> Reach:
    """
    How a hub's clients are reached from here.

    In a server process through its runtime, elsewhere by publishing on the channel layer.
    """
    try:
        runtime = _runtimes.get(asyncio.get_running_loop())
    except RuntimeError:
        runtime = None
    runtime = runtime or _running_elsewhere()
    if runtime is not None:
        return Reach(hub_name(hub), runtime.manager_for(hub), runtime.loop)
    relay = make_relay(get_settings().CHANNEL_LAYER, process_name())
    if relay is None:
        logger.warning(
            "%s: nobody is reached from this process, since CHANNEL_LAYERS[%r] does not connect it to others; configure a Redis layer.",
            hub_name(hub),
            get_settings().CHANNEL_LAYER,
        )
    return Reach(hub_name(hub), make_manager(hub, relay), None)


def _say_goodbye_on_signals(runtime: Runtime) -> None:
    """
    On SIGTERM and SIGINT, say goodbye first, then do what the server does.

    Servers tell the application of a shutdown only when its connections are gone, too late for a Close message.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)
        if callable(previous):
            signal.signal(number, functools.partial(_goodbye_then, runtime, previous))


def _goodbye_then(runtime: Runtime, previous: Callable[..., Any], number: int, frame: Any) -> None:
    if runtime.loop.is_closed() or runtime.is_stopping:
        previous(number, frame)
        return

    def leave() -> None:
        try:
            runtime.say_goodbye()
        finally:
            previous(number, frame)

    runtime.loop.call_soon_threadsafe(leave)
