"""Requests that reach another process than the one that owns their connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.contrib.auth.models import AnonymousUser

from signalr_channels.backplane.relay import Conversation, Relay
from signalr_channels.backplane.wire import Detached
from signalr_channels.classic_relay import ClassicRelayService
from signalr_channels.connections.long_polling import LongPollingTransport
from signalr_channels.consumers import elsewhere
from signalr_channels.consumers.websocket import explain_disconnect
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.gate import Admission, Refusal
from signalr_channels.hubs.hub import Hub
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.relay_service import RelayService
from signalr_channels.sessions import open_connection
from signalr_channels.testing.runtime import RuntimeForTests
from signalr_channels.tokens import ConnectionToken, digest
from tests.unit.scripted import eventually

TIMEOUT = 5.0
ID = "one"
SCOPE = {"type": "http", "method": "GET", "path": "/hub", "headers": [], "query_string": b"", "client": ("203.0.113.7", 50000)}
WHO = Admission(user=AnonymousUser(), user_identifier=None, expires_at=None)


class ChatHub(Hub):
    """Says nothing."""


class Process(RuntimeForTests):
    def __init__(self, layer: Any, name: str) -> None:
        super().__init__(asyncio.get_running_loop())
        self.relay = Relay(layer, process=name, ack_timeout=0.1)
        self.classic_service = ClassicRelayService(self)
        self.service = RelayService(self)
        self.relay.service = self.service.handle


class Site:
    """A connection of one process, and another process."""

    def __init__(self) -> None:
        layer = InMemoryChannelLayer()
        self.owner, self.holder = Process(layer, "owner"), Process(layer, "holder")
        self.endpoint = HubEndpoint("hub", ChatHub, {"POLL_TIMEOUT": 60})
        self.transport = LongPollingTransport(1000, 0.0)
        self.answers: list[Any] = []

    async def start(self) -> None:
        assert self.owner.relay is not None
        self.channel = await self.owner.relay.start()
        dispatcher = self.owner.dispatcher_for(self.endpoint)
        open_connection(self.owner, self.endpoint, dispatcher, SCOPE, WHO, ID, self.transport)

    async def poll(self) -> tuple[int, bytes]:
        """One poll through the other process."""
        token = ConnectionToken(connection_id=ID, hub=digest("hub"), user=digest(None), issued_at=int(time.time()))
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(event: Any) -> None:
            sent.append(event)

        serving = elsewhere.serve_elsewhere(self.holder, self.endpoint, SCOPE, receive, send, WHO, token, self.channel, [])
        await asyncio.wait_for(serving, TIMEOUT)
        return sent[0]["status"], sent[1]["body"]

    def write(self, data: bytes) -> None:
        self.transport.write(EncodedMessage(data, TransferFormat.TEXT))


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(elsewhere, "LONGEST_FETCH", 0.05)
    site = Site()
    await site.start()
    yield site
    await site.owner.stop()
    await site.holder.stop()


async def test_a_poll_waits_longer_than_the_owner_may_be_silent(site: Site) -> None:
    polling = asyncio.ensure_future(site.poll())
    await asyncio.sleep(0.3)
    assert not polling.done()
    site.write(b"data")
    assert await polling == (200, b"data")


async def test_a_poll_ends_soon_after_the_process_of_its_connection(site: Site) -> None:
    polling = asyncio.ensure_future(site.poll())
    await eventually(lambda: site.transport.has_poll)
    assert site.owner.relay is not None
    await site.owner.relay.stop()  # without a word
    with pytest.raises(Refusal) as refusal:
        await polling
    assert refusal.value.status == 404


async def test_what_could_not_be_handed_over_waits_for_the_next_poll(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.owner.relay is not None
    layer = site.owner.relay._layer

    class OneWay:
        """Brings questions, and takes no answers."""

        def __getattr__(self, name: str) -> Any:
            return getattr(layer, name)

        async def send(self, channel: str, message: Any) -> None:
            raise ConnectionError("refused")

    monkeypatch.setattr(site.owner.relay, "_layer", OneWay())
    site.write(b"data")
    with pytest.raises(Refusal):
        await site.poll()
    monkeypatch.setattr(site.owner.relay, "_layer", layer)
    assert await site.poll() == (200, b"data")


async def test_a_process_that_stops_lets_polls_of_others_go_on_elsewhere(site: Site) -> None:
    polling = asyncio.ensure_future(site.poll())
    await eventually(lambda: site.transport.has_poll)
    site.holder.say_goodbye()
    assert await polling == (200, b"")
    await eventually(lambda: not site.transport.has_poll)
    assert site.owner.get(ID) is not None


@pytest.mark.parametrize("code", [1012, 1006])
async def test_a_process_that_stops_does_not_end_connections_of_others(site: Site, code: int) -> None:
    """uvicorn closes web sockets with 1012 then; the client comes back through another process."""
    told: list[Any] = []
    site.owner.service._handlers[Detached] = told.append
    relay = site.holder.relay
    assert relay is not None
    await relay.start()
    conversation = Conversation("", "1", asyncio.Event().wait, lambda: None)
    socket = elsewhere.RemoteSocket(site.holder, site.channel, ID, conversation)

    async def receive() -> Any:
        return {"type": "websocket.disconnect", "code": code}

    async def send(event: Any) -> None:
        raise AssertionError(event)

    await socket.serve(receive, send, explain_disconnect)
    await eventually(lambda: told)
    assert told[0].reason == "client_gone"


async def test_a_web_socket_is_closed_when_its_process_cannot_be_reached(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = site.holder.relay
    assert relay is not None

    async def tell(channel: str, message: Any) -> None:
        raise BackplaneUnavailable("gone")

    monkeypatch.setattr(relay, "tell", tell)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.receive", "text": "hello"}

    async def send(event: Any) -> None:
        sent.append(event)

    conversation = Conversation("", "1", asyncio.Event().wait, lambda: None)
    await elsewhere.RemoteSocket(site.holder, site.channel, ID, conversation).serve(receive, send, explain_disconnect)
    assert sent == [{"type": "websocket.close", "code": 1012}]
