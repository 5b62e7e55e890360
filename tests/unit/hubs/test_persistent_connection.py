"""Classic connections without hubs: events, sends, exclusions and groups."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from signalr_channels.conf import ClassicSettings
from signalr_channels.connections.classic_connection import ClassicConnection
from signalr_channels.exceptions import LocalProtocolError
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.lifetime import InMemoryHubLifetimeManager
from signalr_channels.hubs.persistent_connection import (
    PROTOCOL,
    ConnectionContext,
    PersistentConnection,
    PersistentSession,
    get_connection_context,
)
from signalr_channels.hubs.reach import Reach
from signalr_channels.protocols.classic.engine import ClassicEngine
from signalr_channels.protocols.endings import CloseReason, Disconnect
from tests.unit.scripted import TIMEOUT, Clock, settle
from tests.unit.scripted_classic import EPOCH, ClassicServer, FakeClassicTransport

pytestmark = pytest.mark.usefixtures("no_task_left")


class Client:
    """One client, on a web socket."""

    def __init__(self, server: Server, connection_id: str, handler: type[PersistentConnection]) -> None:
        self.transport = FakeClassicTransport()
        self.connection = ClassicConnection(
            connection_id=connection_id,
            engine=ClassicEngine(epoch=EPOCH),
            hub_protocol=PROTOCOL,
            options=server.options,
            clock=server.clock,
        )
        self.context = HubCallerContext(self.connection, "user", {"type": "websocket", "path": "/raw"})
        self.session = PersistentSession(
            self.connection,
            self.context,
            ClassicServer.sign_groups,
            handler=handler,
            name=hub_name(handler),
            manager=server.manager,
            reach=server.reach,
            run_sync=server.run_sync,
            options=server.options,
            end_timeout=server.end_timeout,
        )
        self.finishing: asyncio.Task[None] | None = None
        self.connection.on_end = self._ended

    def _ended(self) -> None:
        self.finishing = asyncio.get_running_loop().create_task(self.session.finish())

    def attach(self) -> FakeClassicTransport:
        self.transport = FakeClassicTransport()
        self.connection.attach(self.transport, cursor=None, groups_token=None, init=False)
        return self.transport

    async def received(self) -> list[Any]:
        """What it was sent so far."""
        await settle()
        return self.transport.messages

    async def stop(self) -> None:
        self.connection.stop()
        assert self.finishing is not None
        await asyncio.wait_for(self.finishing, 2 * TIMEOUT)


class Server:
    """A persistent connection that is served to scripted clients."""

    def __init__(self, handler: type[PersistentConnection], *, end_timeout: float = TIMEOUT, **settings: Any) -> None:
        self.handler = handler
        self.options = ClassicSettings(**settings)
        self.clock = Clock()
        self.manager = InMemoryHubLifetimeManager()
        self.reach = Reach(hub_name(handler), self.manager, asyncio.get_running_loop())
        self.end_timeout = end_timeout
        self.ran_sync: list[str] = []

    async def run_sync(self, function: Callable[..., Any], /, *args: Any) -> Any:
        self.ran_sync.append(function.__name__)
        return await asyncio.to_thread(function, *args)

    async def connect(self, connection_id: str = "one", *, start: bool = True) -> Client:
        client = Client(self, connection_id, self.handler)
        await client.session.attach([])
        client.attach()
        if start:
            await client.session.start([])
        return client

    async def connect_all(self, ids: Sequence[str]) -> list[Client]:
        return [await self.connect(connection_id) for connection_id in ids]


class Quiet(PersistentConnection):
    """Keeps the hooks of the base class."""


def noting(log: list[Any]) -> type[PersistentConnection]:
    class Noting(PersistentConnection):
        async def on_connected(self) -> None:
            log.append(("connected", self.context.connection_id))

        async def on_reconnected(self) -> None:
            log.append("reconnected")

        async def on_received(self, data: str) -> None:
            log.append(data)
            await self.connection.asend(self.context.connection_id, data)

        async def on_disconnected(self, disconnect: Disconnect) -> None:
            log.append(disconnect)

    return Noting


def noting_plainly(log: list[Any]) -> type[PersistentConnection]:
    class Plain(PersistentConnection):
        def on_connected(self) -> None:  # type: ignore[override]
            log.append(("connected", self.context.connection_id))

        def on_reconnected(self) -> None:  # type: ignore[override]
            log.append("reconnected")

        def on_received(self, data: str) -> None:  # type: ignore[override]
            assert threading.current_thread() is not threading.main_thread()
            log.append(data)
            self.connection.send(self.context.connection_id, data)

        def on_disconnected(self, disconnect: Disconnect) -> None:  # type: ignore[override]
            log.append(disconnect)

    return Plain


# Events


@pytest.mark.parametrize("make", [noting, noting_plainly])
async def test_events_reach_methods_of_either_kind(make: Callable[[list[Any]], type[PersistentConnection]]) -> None:
    log: list[Any] = []
    server = Server(make(log))
    client = await server.connect()
    answer = client.session.invoke("hi")
    assert await asyncio.wait_for(client.session.run(answer), TIMEOUT) == b""
    await client.session.restart()
    assert await client.received() == ["hi"]
    await client.stop()
    assert log == [("connected", "one"), "hi", "reconnected", Disconnect(reason=CloseReason.CLIENT_CLOSED, stop_called=True)]
    names = ["on_connected", "on_received", "on_reconnected", "on_disconnected"]
    assert server.ran_sync == (names if make is noting_plainly else [])
    assert server.manager.index.connections == {}


async def test_methods_that_are_left_out_do_nothing() -> None:
    server = Server(Quiet)
    client = await server.connect()
    client.session.receive("hi")
    await client.session.restart()
    assert await client.received() == []
    assert client.transport.answers == []
    await client.stop()


@pytest.mark.parametrize("text", ["", "null", "{}", "not json", '{"H":"x"}', "ü\u2028", "0"])
async def test_any_text_is_handed_on_as_it_is(text: str) -> None:
    log: list[Any] = []
    client = await Server(noting(log)).connect()
    client.session.receive(text)
    assert await client.received() == [text]
    assert log[1:] == [text]
    assert client.transport.answers == []
    await client.stop()


async def test_texts_are_served_in_their_order_and_so_many_at_once() -> None:
    log: list[str] = []
    door = asyncio.Event()

    class Slow(PersistentConnection):
        async def on_received(self, data: str) -> None:
            log.append(data)
            await door.wait()

    client = await Server(Slow, PARALLEL_INVOCATIONS=2).connect()
    for text in "abcd":
        client.session.receive(text)
    await settle()
    assert log == ["a", "b"]
    door.set()
    await settle()
    assert log == ["a", "b", "c", "d"]
    await client.stop()


async def test_a_new_instance_serves_each_event() -> None:
    instances: list[PersistentConnection] = []

    class Remembering(PersistentConnection):
        async def on_received(self, data: str) -> None:
            instances.append(self)
            self.context.items[data] = True

    client = await Server(Remembering).connect()
    for text in "ab":
        client.session.receive(text)
    await settle()
    assert len({id(instance) for instance in instances}) == 2
    assert client.context.items == {"a": True, "b": True}
    await client.stop()


async def test_an_error_of_on_received_is_logged_and_the_request_of_a_post_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(PersistentConnection):
        async def on_received(self, data: str) -> None:
            raise ValueError(data)

    client = await Server(Failing).connect()
    client.session.receive("over the socket")
    await settle()
    assert "ValueError: over the socket" in caplog.text
    assert not client.connection.is_closed
    with pytest.raises(ValueError, match="by post"):
        await client.session.run(client.session.invoke("by post"))
    await client.stop()


async def test_a_start_that_fails_is_told_and_has_no_end(caplog: pytest.LogCaptureFixture) -> None:
    log: list[Any] = []

    class Closed(noting(log)):  # type: ignore[misc]
        async def on_connected(self) -> None:
            raise ValueError("closed today")

    server = Server(Closed)
    client = await server.connect(start=False)
    for _ in range(2):
        with pytest.raises(ValueError, match="closed today"):
            await client.session.start([])
    await client.stop()
    assert log == []
    assert server.manager.index.connections == {}


async def test_a_client_that_never_started_has_no_end_and_neither_has_one_of_a_server_that_stops() -> None:
    log: list[Any] = []
    server = Server(noting(log))
    await (await server.connect(start=False)).stop()
    assert log == []
    client = await server.connect("two")
    client.connection.shut_down()
    assert client.finishing is not None
    await client.finishing
    assert log == [("connected", "two")]
    assert server.manager.index.connections == {}


async def test_an_end_that_takes_too_long_or_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(PersistentConnection):
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            await asyncio.Event().wait()

    class Failing(PersistentConnection):
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            raise ValueError("in the end")

    class Cancelling(PersistentConnection):
        async def on_disconnected(self, disconnect: Disconnect) -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    for handler, text in ((Slow, "ON_DISCONNECTED_TIMEOUT"), (Failing, "ValueError: in the end"), (Cancelling, "was cancelled")):
        server = Server(handler, end_timeout=0.01)
        await (await server.connect()).stop()
        assert text in caplog.text
        assert server.manager.index.connections == {}


# Sending


@pytest.mark.parametrize("value", ["text", "ü\u2028</script>", 1, 1.5, None, True, [], {"a": [1, {"b": None}]}, {"H": "x", "I": 1}])
async def test_a_value_arrives_as_it_was_sent(value: Any) -> None:
    server = Server(Quiet)
    client = await server.connect()
    connection = Quiet(client.context, server.reach).connection
    await connection.asend("one", value)
    assert await client.received() == [value]
    assert json.loads(client.transport.log[-1])["M"] == [value]
    await client.stop()


async def test_a_value_that_cannot_be_written_is_the_sender_s_error() -> None:
    server = Server(Quiet)
    client = await server.connect()
    with pytest.raises(LocalProtocolError):
        await Quiet(client.context, server.reach).connection.asend("one", object())
    assert await client.received() == []
    await client.stop()


async def heard(clients: Sequence[Client]) -> str:
    """Ids of the clients that got something, once for each copy."""
    result = ""
    for client in clients:
        result += client.connection.connection_id * len(await client.received())
        client.transport.log.clear()
    return result


async def test_values_go_to_one_or_to_several_or_to_all_but_some() -> None:
    server = Server(Quiet)
    clients = await server.connect_all("abcd")
    connection = Quiet(clients[0].context, server.reach).connection
    await connection.asend("b", 1)
    assert await heard(clients) == "b"
    await connection.asend(["b", "d", "nobody", "b"], 1)
    assert await heard(clients) == "bd"
    await connection.asend([], 1)
    assert await heard(clients) == ""
    await connection.abroadcast(1)
    assert await heard(clients) == "abcd"
    await connection.abroadcast(1, exclude=["a", "nobody"])
    assert await heard(clients) == "bcd"
    await connection.abroadcast(1, exclude=(name for name in "ab"))
    assert await heard(clients) == "cd"
    await connection.abroadcast(1, exclude="a")
    assert await heard(clients) == "bcd"
    for client in clients:
        await client.stop()


async def test_groups_are_joined_sent_to_and_left() -> None:
    server = Server(Quiet)
    clients = await server.connect_all("abc")
    groups = Quiet(clients[0].context, server.reach).groups
    for connection_id, name in (("a", "x"), ("b", "x"), ("b", "y"), ("nobody", "x")):
        await groups.aadd(connection_id, name)
    await heard(clients)
    await groups.asend("x", 1)
    assert await heard(clients) == "ab"
    await groups.asend(["x", "y", "z"], 1)
    assert await heard(clients) == "abb"  # a copy for each group
    await groups.asend("x", 1, exclude=["a"])
    assert await heard(clients) == "b"
    await groups.aremove("b", "x")
    await groups.asend("x", 1)
    assert await heard(clients) == "a"
    for client in clients:
        await client.stop()
    assert server.manager.index.groups == {}


async def test_the_groups_token_names_the_groups_and_brings_them_back_elsewhere() -> None:
    server = Server(Quiet)
    client = await server.connect()
    await Quiet(client.context, server.reach).groups.aadd("one", "a.b")
    await settle()
    token = client.transport.frames[-1]["G"]
    assert token == f"one:{hub_name(Quiet)}.a.b"
    await client.stop()
    elsewhere = Server(Quiet)
    client = await elsewhere.connect(start=False)
    await client.session.rejoin([token.removeprefix("one:"), "Hub.lobby", f"{hub_name(Quiet)}Two.x", hub_name(Quiet)])
    assert set(elsewhere.manager.index.groups) == {"a.b"}
    await client.stop()


@pytest.mark.parametrize("name", [1, None, b"one"])
async def test_names_are_text(name: Any) -> None:
    server = Server(Quiet)
    client = await server.connect()
    instance = Quiet(client.context, server.reach)
    connection, groups = instance.connection, instance.groups
    sending: list[Awaitable[None]] = [
        connection.asend([name], 1),
        connection.abroadcast(1, exclude=[name]),
        groups.asend([name], 1),
        groups.asend("x", 1, exclude=[name]),
        groups.aadd("one", name),
    ]
    for one in sending:
        with pytest.raises(TypeError, match="are text, not"):
            await one
    await client.stop()


async def test_sync_code_sends_as_well() -> None:
    server = Server(Quiet)
    client = await server.connect()
    instance = Quiet(client.context, server.reach)

    def send() -> None:
        instance.groups.add("one", "x")
        instance.connection.send("one", 1)
        instance.connection.broadcast(2)
        instance.groups.send("x", 3)
        instance.groups.remove("one", "x")
        instance.groups.send("x", 4)

    await asyncio.to_thread(send)
    assert await client.received() == [1, 2, 3]
    with pytest.raises(Exception, match="asend"):
        instance.connection.send("one", 1)
    await client.stop()


# From outside


def test_the_way_to_it_from_outside_is_by_its_class() -> None:
    context = get_connection_context(Quiet)
    assert isinstance(context, ConnectionContext)
    assert repr(context) == "<ConnectionContext of Quiet>"


@pytest.mark.parametrize("handler", [Hub, "Quiet", None, PersistentSession])
def test_only_a_persistent_connection_has_one(handler: Any) -> None:
    with pytest.raises(TypeError, match="takes a PersistentConnection class"):
        get_connection_context(handler)


async def test_what_sync_to_async_makes_is_a_method_too() -> None:
    log: list[Any] = []

    class Threaded(PersistentConnection):
        @sync_to_async
        def on_received(self, data: str) -> None:
            log.append((self.context.connection_id, data))

    client = await Server(Threaded).connect()
    await asyncio.wait_for(client.session.run(client.session.invoke("hi")), TIMEOUT)
    assert log == [("one", "hi")]
    await client.stop()
