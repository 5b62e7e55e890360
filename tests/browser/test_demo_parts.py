"""Parts of the demo site, without a browser or a server: its unreliable network, and who counts as present."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from demo_project.chat.hubs import ChatHub
from demo_project.chat.models import Presence
from demo_project.lifetime.network import UnreliableNetwork, line_of
from signalr_channels import HubException
from signalr_channels.models import Connection

Event = dict[str, Any]
LONG = 60
TIMEOUT = 5.0
CUT_HTTP = {"type": "http.disconnect"}
CUT_WEBSOCKET = {"type": "websocket.disconnect", "code": 1006, "reason": ""}
LAST_BODY = {"type": "http.response.body", "body": b""}


class Passing:
    """One request or web socket, seen from both sides of the network: what is put into one side should come out of the other."""

    def __init__(self, visit: uuid.UUID | None, kind: str = "http", path: str = "/signalr/connect") -> None:
        query = b"" if visit is None else b"a=b&visit=" + str(visit).encode()
        self.scope: Event = {"type": kind, "path": path, "query_string": query}
        self.from_client: asyncio.Queue[Event] = asyncio.Queue()
        self.to_client: asyncio.Queue[Event] = asyncio.Queue()
        self.to_server: asyncio.Queue[Event] = asyncio.Queue()
        self.from_server: asyncio.Queue[Event | None] = asyncio.Queue()
        self.from_client.put_nowait({"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""})

    async def application(self, scope: Event, receive: Any, send: Any) -> None:
        async def read() -> None:
            is_open = True
            while is_open:
                event = await receive()
                self.to_server.put_nowait(event)
                is_open = not event["type"].endswith(".disconnect")

        reading = asyncio.create_task(read())
        while (event := await self.from_server.get()) is not None:
            await send(event)
        reading.cancel()

    def begin(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.run())

    async def run(self) -> None:
        await UnreliableNetwork(self.application, "signalr")(self.scope, self.from_client.get, self.to_client.put)  # type: ignore[arg-type]


async def soon(queue: asyncio.Queue[Any]) -> Any:
    return await asyncio.wait_for(queue.get(), TIMEOUT)


async def end(task: asyncio.Task[None], passing: Passing) -> None:
    passing.from_server.put_nowait(None)
    await asyncio.wait_for(task, TIMEOUT)


async def test_a_web_socket_on_a_cut_line_is_closed_on_both_sides() -> None:
    line, passing = line_of(visit := uuid.uuid4()), Passing(visit, "websocket")
    task = passing.begin()
    assert await soon(passing.to_server) == {"type": "websocket.connect"}
    passing.from_server.put_nowait({"type": "websocket.accept"})
    assert await soon(passing.to_client) == {"type": "websocket.accept"}
    line.cut(LONG)
    assert await soon(passing.to_server) == CUT_WEBSOCKET
    assert await soon(passing.to_client) == {"type": "websocket.close"}
    passing.from_server.put_nowait({"type": "websocket.send", "text": "too late"})
    await end(task, passing)
    assert passing.to_client.empty()


@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_response_on_a_cut_line_ends(is_begun: bool) -> None:
    line, passing = line_of(visit := uuid.uuid4()), Passing(visit)
    task = passing.begin()
    await soon(passing.to_server)
    if is_begun:
        passing.from_server.put_nowait({"type": "http.response.start", "status": 200, "headers": []})
        assert (await soon(passing.to_client))["status"] == 200
    line.cut(LONG)
    assert await soon(passing.to_server) == CUT_HTTP
    if is_begun:
        assert await soon(passing.to_client) == LAST_BODY
    else:
        assert (await soon(passing.to_client))["status"] == 503
        assert (await soon(passing.to_client))["type"] == "http.response.body"
    await end(task, passing)


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_nothing_gets_to_the_server_while_the_line_is_cut(kind: str) -> None:
    line, passing = line_of(visit := uuid.uuid4()), Passing(visit, kind)
    line.cut(LONG)
    await asyncio.wait_for(passing.run(), TIMEOUT)
    assert passing.to_server.empty()
    assert passing.to_client.get_nowait()["type"] == ("http.response.start" if kind == "http" else "websocket.close")


async def test_what_is_said_in_silence_comes_later_and_in_order() -> None:
    line, passing = line_of(visit := uuid.uuid4()), Passing(visit, "websocket")
    task = passing.begin()
    await soon(passing.to_server)
    line.hold(LONG)
    up = [{"type": "websocket.receive", "text": str(i)} for i in range(3)]
    down = [{"type": "websocket.send", "text": str(i)} for i in range(3)]
    for one, other in zip(up, down, strict=True):
        passing.from_client.put_nowait(one)
        passing.from_server.put_nowait(other)
    elsewhere = Passing(uuid.uuid4())
    other_task = elsewhere.begin()
    assert (await soon(elsewhere.to_server))["type"] == "http.request"  # and so the loop had its turns
    assert passing.to_server.empty() and passing.to_client.empty()
    line.mend()
    assert [await soon(passing.to_server) for _ in up] == up
    assert [await soon(passing.to_client) for _ in down] == down
    await end(task, passing)
    await end(other_task, elsewhere)


async def test_a_client_waits_for_a_server_that_does_not_read() -> None:
    """Else whoever sends faster than a hub works would fill the server's memory."""
    waiting: asyncio.Queue[Event] = asyncio.Queue()
    for number in range(50):
        waiting.put_nowait({"type": "websocket.receive", "text": str(number)})
    reads = asyncio.Event()
    taken: list[str] = []

    async def application(scope: Event, receive: Any, send: Any) -> None:
        await reads.wait()
        taken.extend([(await receive())["text"] for _ in range(50)])

    network = UnreliableNetwork(application, "signalr")
    scope = {"type": "websocket", "path": "/signalr/connect", "query_string": f"visit={uuid.uuid4()}".encode()}
    task = asyncio.create_task(network(scope, waiting.get, asyncio.Queue().put))  # type: ignore[arg-type]
    elsewhere = Passing(uuid.uuid4())
    other_task = elsewhere.begin()
    await soon(elsewhere.to_server)  # and so the loop had its turns
    assert waiting.qsize() >= 49
    reads.set()
    await asyncio.wait_for(task, TIMEOUT)
    assert taken == [str(number) for number in range(50)]
    await end(other_task, elsewhere)


async def test_a_line_mends_by_itself() -> None:
    line, passing = line_of(visit := uuid.uuid4()), Passing(visit)
    line.hold(0.01)
    task = passing.begin()
    assert (await soon(passing.to_server))["type"] == "http.request"
    await end(task, passing)


@pytest.mark.parametrize(("with_visit", "path"), [(False, "/signalr/connect"), (True, "/hubs/chat"), (True, "/signalrs/connect")])
async def test_what_is_not_of_a_visit_goes_straight_through(with_visit: bool, path: str) -> None:
    line, passing = line_of(visit := uuid.uuid4()), Passing(visit if with_visit else None, path=path)
    line.cut(LONG)
    task = passing.begin()
    await soon(passing.to_server)
    passing.from_server.put_nowait(LAST_BODY)
    assert await soon(passing.to_client) == LAST_BODY
    await end(task, passing)


async def test_what_goes_wrong_in_the_application_is_not_kept_secret() -> None:
    async def application(scope: Event, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    passing = Passing(uuid.uuid4())
    with pytest.raises(ZeroDivisionError):
        await UnreliableNetwork(application, "signalr")(passing.scope, passing.from_client.get, passing.to_client.put)  # type: ignore[arg-type]


# Presence


def presence(connection_id: str, *, closed: timedelta | None = None, seen: timedelta = timedelta()) -> Presence:
    """Somebody who was seen so long ago, on a connection that was closed so long ago, or is open."""
    now = timezone.now()
    Connection.objects.create(
        connection_id=connection_id,
        opened_at=now - timedelta(hours=1),
        last_seen_at=now,
        closed_at=None if closed is None else now - closed,
    )
    row = Presence.objects.create(connection_id=connection_id, room="tea", name=connection_id)
    Presence.objects.filter(pk=row.pk).update(seen_at=now - seen)
    return row


@pytest.mark.django_db
def test_who_is_a_ghost() -> None:
    presence("here")
    presence("came-back", closed=timedelta(seconds=5), seen=timedelta(seconds=1))
    gone = presence("gone", closed=timedelta(seconds=2), seen=timedelta(seconds=3))
    dated_back = presence("dated-back", closed=timedelta(seconds=25), seen=timedelta(seconds=20))
    assert list(Presence.objects.ghosts().order_by("pk")) == [gone, dated_back]


@pytest.mark.django_db(transaction=True)
async def test_a_classic_client_that_comes_back_to_another_server_is_in_its_rooms() -> None:
    old = timezone.now() - timedelta(minutes=5)
    for room in ("tea", "lobby"):
        row = await Presence.objects.acreate(connection_id="ada", room=room, name="Ada", is_classic=True)
        await Presence.objects.filter(pk=row.pk).aupdate(seen_at=old)
    await Presence.objects.acreate(connection_id="bo", room="tea", name="Bo")
    joined: list[tuple[str, str]] = []

    async def add(connection_id: str, room: str) -> None:
        joined.append((connection_id, room))

    hub = ChatHub()
    context = SimpleNamespace(connection_id="ada", items={})
    hub._session = SimpleNamespace(context=context, groups=SimpleNamespace(aadd=add))  # type: ignore[assignment]
    await hub.on_reconnected()
    assert joined == [("ada", "tea"), ("ada", "lobby")]
    assert {room: person.name for room, person in context.items.items()} == {"tea": "Ada", "lobby": "Ada"}
    assert all([row.seen_at > old async for row in Presence.objects.filter(connection_id="ada")])


async def test_a_room_that_nobody_may_enter_is_not_remembered() -> None:
    """One connection may be in so many groups; what it asks for beyond that must leave nothing behind."""

    async def add(connection_id: str, room: str) -> None:
        raise HubException("That is enough.")

    hub = ChatHub()
    context = SimpleNamespace(connection_id="ada", hub_protocol="json", user=AnonymousUser(), items={})
    hub._session = SimpleNamespace(context=context, groups=SimpleNamespace(aadd=add))  # type: ignore[assignment]
    with pytest.raises(HubException):
        await hub.join_room("tea", "Ada")
    assert context.items == {}
