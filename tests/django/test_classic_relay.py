"""The owner's side of classic requests that reached another process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import AnonymousUser

from signalr_channels.backplane.ownership import Ownership
from signalr_channels.backplane.relay import Conversation, Relay
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
from signalr_channels.classic_relay import ABSENT, REFUSED, ClassicRelayService
from signalr_channels.classic_runtime import OpenClassicConnection
from signalr_channels.classic_tokens import ClassicToken, new_classic_token
from signalr_channels.gate import Admission
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEventKind
from signalr_channels.hubs.methods import hub_method
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.relay_service import RelayService
from signalr_channels.testing.runtime import RuntimeForTests
from tests.unit.scripted import eventually, settle

TIMEOUT = 5.0
SCOPE = {"type": "websocket", "path": "/signalr/connect", "headers": [], "query_string": b"", "client": ("203.0.113.7", 50000)}


class ChatHub(Hub):
    classic_name = "chat"
    hooks: list[str] = []
    fails = False

    @hub_method
    async def echo(self, text: str) -> str:
        return text

    async def on_connected(self) -> None:
        if self.fails:
            raise ValueError("not today")
        self.hooks.append("connected")

    async def on_reconnected(self) -> None:
        self.hooks.append("reconnected")

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        if disconnect.reason is not CloseReason.CLIENT_CLOSED:
            self.hooks.append(f"disconnected {disconnect.reason}")


class Owner(RuntimeForTests):
    """The process that owns connections."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(asyncio.get_running_loop())
        self.relay = relay
        self.ownership = Ownership(relay)
        self.classic_service = ClassicRelayService(self)
        relay.service = RelayService(self).handle
        self.mount = ClassicMount("signalr", [ChatHub], {"MAXIMUM_WEBSOCKET_MESSAGE_SIZE": 1000})
        self.events: list[tuple[str, str]] = []

    def record(self, kind: LifetimeEventKind, info: ConnectionInfo, **more: Any) -> None:
        self.events.append((kind.value, info.transport))

    def open(self, token: ClassicToken | None = None, *, is_new: bool = True) -> OpenClassicConnection:
        admission = Admission(user=AnonymousUser(), user_identifier=None, expires_at=None)
        return self.classic.open(self.mount, SCOPE, admission, token or new_classic_token(None, ""), is_new=is_new)


class Holder:
    """The process that clients reach."""

    def __init__(self, relay: Relay, owner: str) -> None:
        self.relay = relay
        self.owner = owner

    async def attach(self, connection_id: str, operation: str = "connect", transport: str = "webSockets", **more: Any) -> Conversation:
        fields = {"path": "signalr", "hubs": ["chat"], "protocol": "2.1", "cursor": None, "groups_token": None, "expires_at": None, **more}

        def make(reply_to: str, request_id: str) -> RelayMessage:
            return ClassicAttach(
                v=VERSION,
                connection_id=connection_id,
                operation=operation,
                transport=transport,
                reply_to=reply_to,
                request_id=request_id,
                **fields,
            )

        return await self.relay.ask_process(self.owner, make)

    async def call(self, connection_id: str, operation: str, data: str | None = None, path: str = "signalr") -> tuple[int, str]:
        def make(reply_to: str, request_id: str) -> RelayMessage:
            return ClassicCall(
                v=VERSION,
                connection_id=connection_id,
                path=path,
                operation=operation,
                hubs=["chat", "unknown"],
                data=data,
                reply_to=reply_to,
                request_id=request_id,
            )

        conversation = await self.relay.ask_process(self.owner, make)
        answer = await conversation.receive(TIMEOUT)
        if isinstance(answer, Status) and answer.status == 102:
            answer = await conversation.receive(TIMEOUT)
        conversation.close()
        assert isinstance(answer, Status)
        return answer.status, answer.body

    async def send(self, connection_id: str, conversation: Conversation, data: str | bytes) -> None:
        message = Received(
            v=VERSION,
            connection_id=connection_id,
            attach_id=conversation.request_id,
            data=data.encode() if isinstance(data, str) else data,
            is_text=isinstance(data, str),
        )
        await self.relay.tell(self.owner, message)

    async def leave(self, connection_id: str, conversation: Conversation) -> None:
        reason = CloseReason.CLIENT_GONE.value
        await self.relay.tell(
            self.owner, Detached(v=VERSION, connection_id=connection_id, attach_id=conversation.request_id, reason=reason)
        )


async def status(conversation: Conversation) -> int:
    answer = await conversation.receive(TIMEOUT)
    assert isinstance(answer, Status), answer
    return answer.status


async def frame(conversation: Conversation) -> Any:
    answer = await conversation.receive(TIMEOUT)
    assert isinstance(answer, Frame), answer
    return json.loads(answer.data)


async def closed(conversation: Conversation) -> None:
    assert isinstance(await conversation.receive(TIMEOUT), CloseSocket)


def echo(text: str) -> str:
    return json.dumps({"H": "chat", "M": "echo", "A": [text], "I": 7})


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Owner, Holder]]:
    monkeypatch.setattr(ChatHub, "hooks", [])
    layer = InMemoryChannelLayer()
    owner = Owner(Relay(layer, process="owner", ack_timeout=TIMEOUT))
    holder = Holder(Relay(layer, process="holder"), await owner.relay.start() if owner.relay else "")
    await holder.relay.start()
    yield owner, holder
    await owner.stop()
    await holder.relay.stop()


async def test_a_web_socket_that_another_process_holds(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    opened = owner.open()
    connection_id = opened.connection.connection_id
    socket = await holder.attach(connection_id)
    assert await status(socket) == 101
    assert (await frame(socket))["S"] == 1
    assert await holder.call(connection_id, "start") == (200, "")
    await holder.send(connection_id, socket, echo("hi"))
    assert await frame(socket) == {"R": "hi", "I": "7"}
    await holder.leave(connection_id, socket)

    socket = await holder.attach(connection_id, "reconnect", "serverSentEvents")
    assert await status(socket) == 101
    assert await holder.call(connection_id, "send", echo("still")) == (200, '{"R":"still","I":"7"}')
    assert await holder.call(connection_id, "abort") == (200, "")
    await closed(socket)
    assert ChatHub.hooks == ["connected", "reconnected"]
    assert owner.events == [("connected", "webSockets"), ("reconnected", "serverSentEvents"), ("disconnected", "serverSentEvents")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [("x" * 1001, CloseReason.MESSAGE_TOO_BIG), ("ü" * 501, CloseReason.MESSAGE_TOO_BIG), (b"binary", CloseReason.PROTOCOL_ERROR)],
    ids=["too big", "too big in UTF-8", "binary"],
)
async def test_a_message_that_costs_the_socket_is_the_reason_of_the_end(
    site: tuple[Owner, Holder], data: str | bytes, reason: CloseReason, caplog: pytest.LogCaptureFixture
) -> None:
    owner, holder = site
    opened = owner.open()
    socket = await holder.attach(opened.connection.connection_id)
    assert await status(socket) == 101
    await frame(socket)
    with caplog.at_level(logging.WARNING):
        await holder.send(opened.connection.connection_id, socket, data)
        await closed(socket)
    assert "its socket was cut" in caplog.text
    owner.manual_clock.now += 36
    owner.classic.tick(owner.manual_clock.now)
    assert opened.connection.disconnect is not None
    assert opened.connection.disconnect.reason is reason


async def test_an_on_connected_that_fails_ends_the_request_of_an_old_client(
    site: tuple[Owner, Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 1.4 there is no /start."""
    owner, holder = site
    monkeypatch.setattr(ChatHub, "fails", True)
    socket = await holder.attach(owner.open().connection.connection_id, protocol="1.3")
    assert await status(socket) == 101
    await closed(socket)
    assert owner.events == []


async def test_a_message_that_is_no_call_fails_its_request(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    assert await holder.call(owner.open().connection.connection_id, "send", "garbage") == (500, "")


async def test_another_mount_does_not_serve_the_connection(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    code, _ = await holder.call(owner.open().connection.connection_id, "send", echo("hi"), path="other")
    assert code == 400


async def test_what_has_ended_is_refused_and_what_never_came_is_absent(site: tuple[Owner, Holder], monkeypatch: pytest.MonkeyPatch) -> None:
    owner, holder = site
    monkeypatch.setattr("signalr_channels.classic_relay.ARRIVAL_TIMEOUT", 0.01)
    opened = owner.open()
    opened.connection.stop()
    assert (await holder.call(opened.connection.connection_id, "send", echo("hi")))[0] == REFUSED
    assert await status(await holder.attach(opened.connection.connection_id, "reconnect")) == REFUSED
    assert (await holder.call("never", "send", echo("hi")))[0] == ABSENT
    assert await status(await holder.attach("never", "reconnect")) == ABSENT


async def test_a_request_may_be_ahead_of_the_one_that_opens_the_connection(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    opened = owner.open()
    connection_id = opened.connection.connection_id
    del owner.classic._open[connection_id]  # as if it were yet to come
    calling = asyncio.ensure_future(holder.call(connection_id, "send", echo("early")))
    while connection_id not in owner.classic._arrivals:  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0)
    owner.classic._open[connection_id] = opened
    owner.classic._arrivals[connection_id].set_result(None)
    assert await calling == (200, '{"R":"early","I":"7"}')


# Processes that vanish, or stand still for a while


async def test_a_transport_is_lost_with_the_process_that_held_it(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    opened = owner.open()
    assert await status(await holder.attach(opened.connection.connection_id)) == 101
    await holder.relay.stop()  # and says nothing
    owner.relay.ack_timeout = 0.01
    owner.manual_clock.now += 10
    owner.classic_service.tick(owner.manual_clock.now)
    await eventually(lambda: opened.connection.attached is None)
    owner.manual_clock.now += 36
    owner.classic.tick(owner.manual_clock.now)
    assert opened.connection.disconnect is not None
    assert opened.connection.disconnect.reason is CloseReason.CLIENT_GONE


async def test_a_process_says_which_transports_it_holds(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    Owner(holder.relay)  # answers for it
    kept, dropped = owner.open(), owner.open()
    assert await status(await holder.attach(kept.connection.connection_id)) == 101
    socket = await holder.attach(dropped.connection.connection_id)
    assert await status(socket) == 101
    socket.close()  # and the word of that was lost
    owner.manual_clock.now += 10
    owner.classic_service.tick(owner.manual_clock.now)
    await eventually(lambda: dropped.connection.attached is None)
    assert kept.connection.attached is not None


async def test_a_connection_that_goes_on_elsewhere_is_let_go(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    other = Owner(holder.relay)
    for process in (owner, other):
        await process.classic_service.join()
    token = new_classic_token(None, "")
    slow = owner.open(token)
    socket = await holder.attach(token.connection_id)
    assert await status(socket) == 101
    assert await holder.call(token.connection_id, "start") == (200, "")
    await frame(socket)

    taken = other.open(token, is_new=False)
    await closed(socket)
    assert slow.connection.disconnect is not None
    assert slow.connection.disconnect.reason is CloseReason.SUPERSEDED
    await eventually(lambda: slow.finished is not None and slow.finished.done())
    assert ChatHub.hooks == ["connected"]
    assert owner.classic.get(token.connection_id) is None
    assert other.classic.get(token.connection_id) is taken
    assert owner.ownership is not None
    channel = other.relay.channel
    assert await owner.ownership.locate(token.connection_id, owner.relay.channel or "", may_claim=False) in (None, channel)


async def test_of_two_that_took_it_over_in_the_same_moment_one_keeps_it(site: tuple[Owner, Holder]) -> None:
    owner, holder = site
    other = Owner(holder.relay)
    for process in (owner, other):
        await process.classic_service.join()
    token = new_classic_token(None, "")
    opened = [process.open(token, is_new=False) for process in (owner, other)]
    await eventually(lambda: any(one.connection.is_closed for one in opened))
    await settle()
    assert [one.connection.is_closed for one in opened].count(True) == 1


async def test_the_history_has_a_connection_where_it_goes_on(site: tuple[Owner, Holder]) -> None:
    """Also if the process that stood still has written of it meanwhile."""
    owner, holder = site
    other, client = Owner(holder.relay), Owner(Relay(holder.relay._layer, process="third", ack_timeout=TIMEOUT))
    assert client.relay is not None
    await client.relay.start()
    for process in (owner, other):
        await process.classic_service.join()
    token = new_classic_token(None, "")
    owner.open(token)
    taken = other.open(token)
    assert other.relay is not None
    socket = await Holder(client.relay, await other.relay.start()).attach(token.connection_id, "reconnect")
    assert await status(socket) == 101
    await eventually(lambda: other.events == [("reconnected", "webSockets")])
    other.classic_service.take_over(taken)
    await eventually(lambda: other.events == [("reconnected", "webSockets")] * 2)
    await client.relay.stop()
