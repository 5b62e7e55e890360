"""Server processes of one site in miniature: each a lifetime manager on its own view of one backplane, with fake connections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from signalr_channels.backplane.manager import ChannelLayerHubLifetimeManager
from signalr_channels.backplane.relay import Relay
from signalr_channels.connections.connection import Connection
from signalr_channels.connections.transports import FakeTransport
from signalr_channels.hubs.lifetime import Audience, AudienceKind, HubLifetimeManager, InMemoryHubLifetimeManager
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.core.engine import CoreEngine
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.messages import Close, Completion, Invocation

TIMEOUT = 5.0
"""Seconds to wait for a message that must come; every wait is a multiple of it."""

HUB = "chat.hubs.ChatHub"
MAXIMUM_GROUPS = 3
EVERYONE = Audience(AudienceKind.ALL)
JSON = JsonHubProtocol()
MESSAGEPACK = MessagePackHubProtocol()


def to(kind: AudienceKind, *names: str, excluded: Sequence[str] = ()) -> Audience:
    return Audience(kind, names, tuple(excluded))


def invocation(target: str, *arguments: Any) -> Invocation:
    return Invocation(target=target, arguments=arguments)


async def eventually(condition: Callable[[], Any], timeout: float = TIMEOUT) -> None:
    """Wait until a condition holds that nothing announces."""

    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), timeout)


class Client:
    """A connection of one process, and what it was sent."""

    def __init__(self, process: ServerProcess, connection_id: str, user: str | None, protocol: HubProtocol) -> None:
        self.process = process
        self.transport = FakeTransport()
        self.protocol = protocol
        self.connection = Connection(
            connection_id=connection_id,
            engine=CoreEngine(hub_protocols=[protocol]),
            transport=self.transport,
            clock=lambda: 0.0,
            user_identifier=user,
        )
        self.connection.receive(f'{{"protocol":"{protocol.name}","version":1}}\x1e')
        self.transport.written.clear()

    @property
    def id(self) -> str:
        return self.connection.connection_id

    def calls(self) -> list[tuple[Any, ...]]:
        """``(target, *arguments)`` of everything it was sent, oldest first."""
        return [(message.target, *message.arguments) for message in self.messages()]

    def messages(self) -> list[Invocation]:
        frames = self.protocol.splitter(None).feed(b"".join(self.transport.written))
        return [self._read(message) for message in map(self.protocol.parse, frames) if not isinstance(message, Close)]

    def _read(self, message: Any) -> Invocation:
        assert isinstance(message, Invocation)
        arguments = self.protocol.value_decoder(list[Any])(message.arguments)
        return Invocation(target=message.target, arguments=arguments, invocation_id=message.invocation_id)

    def targets(self) -> list[str]:
        return [call[0] for call in self.calls()]

    def answer(self, **members: Any) -> None:
        """Answer the question it was asked last."""
        invocation_id = self.messages()[-1].invocation_id
        assert invocation_id
        if "result" in members:
            members["result"] = msgspec.Raw(msgspec.json.encode(members["result"]))
        completion = Completion(invocation_id=invocation_id, **members)
        assert self.process.manager.client_results.complete(self.id, completion)

    async def leave(self) -> None:
        self.process.clients.remove(self)
        await self.process.manager.disconnect(self.connection)


class ServerProcess:
    """One lifetime manager, and the relay under it if there is one."""

    def __init__(self, manager: HubLifetimeManager, relay: Relay | None = None, layer: Any = None) -> None:
        self.manager = manager
        self.relay = relay
        self.layer = layer
        self.clients: list[Client] = []

    async def connect(self, connection_id: str, user: str | None = None, protocol: HubProtocol = JSON) -> Client:
        client = Client(self, connection_id, user, protocol)
        self.clients.append(client)
        waiting = self.manager.connect(client.connection)
        if waiting is not None:
            await waiting
        return client

    async def send(self, audience: Audience, target: str, *arguments: Any) -> None:
        await self.manager.send(audience, invocation(target, *arguments))

    def expects_no_answer(self) -> None:
        """Do not wait long for other processes: the test knows that none will answer."""
        if self.relay is not None:
            self.relay.ack_timeout = 0.2

    async def stop(self) -> None:
        for client in tuple(self.clients):
            await client.leave()
        if self.relay is not None:
            await self.relay.stop()
            await close_layer(self.layer)


async def close_layer(layer: Any) -> None:
    if isinstance(layer, RedisChannelLayer):
        await layer.close_pools()
    elif isinstance(layer, RedisPubSubChannelLayer):
        await layer.flush()


class Backplane:
    """
    What server processes of one site share.

    Args:
        kind: ``memory`` (no layer), ``in-memory layer``, ``core`` or ``pubsub``.
        redis_url: For the last two.
        options: Of the layer.
    """

    def __init__(self, kind: str, redis_url: str = "", **options: Any) -> None:
        self.kind = kind
        self._redis_url = redis_url
        self._options = options
        self._prefix = f"test-{uuid.uuid4().hex[:8]}"
        self._shared = InMemoryChannelLayer(capacity=10_000, **options) if kind == "in-memory layer" else None
        self._count = 0
        self.processes: list[ServerProcess] = []

    def make_layer(self) -> Any:
        """A process's own view of the layer."""
        if self.kind == "core":
            return RedisChannelLayer(hosts=[self._redis_url], prefix=self._prefix, capacity=10_000, **self._options)
        if self.kind == "pubsub":
            return RedisPubSubChannelLayer(hosts=[self._redis_url], prefix=self._prefix, **self._options)
        return self._shared

    def make_process(
        self,
        *,
        hub: str = HUB,
        key_prefix: str = "signalr",
        protocols: Sequence[HubProtocol] = (JSON,),
        layer: Any = None,
        ack_timeout: float = TIMEOUT,
        renewal_interval: float | None = None,
    ) -> ServerProcess:
        """Another process; without a layer there can be only one, so it is on its own."""
        self._count += 1
        if self.kind == "memory":
            process = ServerProcess(InMemoryHubLifetimeManager(MAXIMUM_GROUPS))
        else:
            layer = layer or self.make_layer()
            relay = Relay(layer, process=f"process-{self._count}", ack_timeout=ack_timeout, renewal_interval=renewal_interval)
            manager = ChannelLayerHubLifetimeManager(hub, relay, protocols=protocols, prefix=key_prefix, maximum_groups=MAXIMUM_GROUPS)
            process = ServerProcess(manager, relay, layer)
        self.processes.append(process)
        return process

    async def stop(self) -> None:
        for process in self.processes:
            await process.stop()


class Site:
    """
    Two server processes, or one that plays both parts.

    Attributes:
        near: The process that sends in these tests.
        far: Another one on the same backplane, or the same.
    """

    def __init__(self, backplane: Backplane, *, is_shared: bool) -> None:
        self.backplane = backplane
        self.near = backplane.make_process()
        self.far = backplane.make_process() if is_shared else self.near

    @property
    def is_shared(self) -> bool:
        return self.far is not self.near

    @property
    def clients(self) -> list[Client]:
        return [client for process in self.backplane.processes for client in process.clients]

    async def settle(self, sender: ServerProcess | None = None) -> None:
        """Wait until everything sent by a process so far has arrived: a marker to all follows it on the same ways."""
        marker = f"marker-{uuid.uuid4().hex}"
        await (sender or self.near).send(EVERYONE, marker)
        await eventually(lambda: all(marker in client.targets() for client in self.clients))

    async def heard(self, sender: ServerProcess | None = None) -> str:
        """Ids of the clients that got a message since the last look, once for each copy, when all has arrived."""
        await self.settle(sender)
        result = ""
        for client in self.clients:
            result += client.id * sum(not target.startswith("marker") for target in client.targets())
            client.transport.written.clear()
        return "".join(sorted(result))


@asynccontextmanager
async def running(backplane: Backplane) -> AsyncIterator[Backplane]:
    try:
        yield backplane
    finally:
        await backplane.stop()
