"""
Clients that leave over server-sent events and long polling: the requests they say it with come side by side, in any order.

What @microsoft/signalr does is in sections 2.4, 2.5 and 11.3 of the reference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from signalr_channels import Disconnect, Hub, hub_method
from signalr_channels.consumers import server_sent_events
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.hubs.connection_handler import ConnectionHandler, RawConnection
from signalr_channels.hubs.lifetime import LifetimeEventKind
from tests.conformance.asgi import SSE, TIMEOUT, Events, Site
from tests.conformance.stage import StageHub
from tests.integration.raw import call
from tests.unit.scripted import eventually, settle

UNKNOWN = (404, b"No Connection with that ID")
TAKEN = (200, b"")
CLOSE = '{"type":7}\x1e'
SHORT = 0.05
"""Seconds of grace, where a test waits for their end."""


class LeavingHub(StageHub):
    """Writes down what it is told of an end."""

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        self.log.append((str(disconnect.reason), disconnect.stop_called))

    @hub_method
    async def numbers(self) -> AsyncIterator[int]:
        try:
            yield 1
            await self.gate.wait()
        finally:
            self.log.append("numbers ended")


class Handler(ConnectionHandler):
    """Reads to the end."""

    async def on_connected(self, connection: RawConnection) -> None:
        while await connection.receive() is not None:
            pass


@pytest.fixture
def hub(hub: type[StageHub]) -> type[StageHub]:
    return type("LeavingHub", (LeavingHub,), {"log": hub.log, "gate": hub.gate})


@pytest.fixture
async def site(hub: type[Hub]) -> AsyncIterator[Site]:
    async with Site(HubEndpoint("hub", hub, {}), HubEndpoint("raw", Handler, {})) as site:
        yield site


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sent_events, "GOODBYE_GRACE", SHORT)


@pytest.fixture
def long_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any test waits, so what ends sooner ends for another reason."""
    monkeypatch.setattr(server_sent_events, "GOODBYE_GRACE", 10 * TIMEOUT)


async def drop(events: Events) -> None:
    """The client drops its event stream, and the server has noticed."""
    events.stream.cut()
    await settle()


def refusals(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sentences of the refusals that the history is told of from now on."""
    found: list[str] = []
    record = site.runtime.record

    def remember(kind: LifetimeEventKind, info: object, **more: str) -> None:
        if kind is LifetimeEventKind.REJECTED:
            found.append(more["detail"])
        record(kind, info, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(site.runtime, "record", remember)
    return found


@contextmanager
def at_once() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < TIMEOUT


# Server-sent events


@pytest.mark.usefixtures("long_grace")
async def test_a_close_may_come_after_the_end_of_the_event_stream(site: Site, hub: type[StageHub], monkeypatch: pytest.MonkeyPatch) -> None:
    found = refusals(site, monkeypatch)
    events = await site.events("/hub")
    await drop(events)
    assert len(site.runtime.store) == 1
    with at_once():
        assert (await events.post(CLOSE)).brief == TAKEN
        await events.stream.finish()
    assert hub.log == [("client_closed", True)]
    assert (await events.post(CLOSE)).brief == UNKNOWN
    assert found == []


@pytest.mark.usefixtures("long_grace")
async def test_a_close_may_come_before_the_end_of_the_event_stream(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub")
    assert (await events.post(CLOSE)).brief == TAKEN
    events.stream.cut()
    with at_once():
        await events.stream.finish()
    assert hub.log == [("client_closed", True)]


@pytest.mark.usefixtures("short_grace")
async def test_without_a_close_the_client_is_gone_after_the_grace(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub")
    started = time.monotonic()
    events.stream.cut()
    await events.stream.finish()
    assert time.monotonic() - started >= SHORT
    assert hub.log == [("client_gone", False)]
    for method, headers in (("POST", {}), ("GET", SSE), ("GET", {}), ("DELETE", {})):
        assert (await site.request(method, events.url, headers)).brief == UNKNOWN


@pytest.mark.usefixtures("long_grace")
async def test_what_is_posted_after_the_end_of_the_event_stream_is_taken(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub")
    await drop(events)
    assert (await events.post(call("note", "alone", invocation_id=None))).brief == TAKEN
    assert (await events.post(call("note", "with a Close") + CLOSE + call("note", "behind it"))).brief == TAKEN
    await events.stream.finish()
    assert hub.log == ["alone", "with a Close", ("client_closed", True)]


@pytest.mark.usefixtures("long_grace")
async def test_the_end_of_an_event_stream_is_final(site: Site, hub: type[StageHub]) -> None:
    """In the grace too: the connection is there still, without a place for another transport."""
    events = await site.events("/hub")
    await drop(events)
    assert (await site.request("GET", events.url, SSE)).brief == (409, b"")
    assert (await site.request("GET", events.url)).brief == (400, b"Cannot change transports mid-connection")
    assert (await events.delete()).brief == (400, b"Cannot terminate this connection using the DELETE endpoint.")
    await events.post(CLOSE)
    await events.stream.finish()
    assert hub.log == [("client_closed", True)]


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_close_that_waits_behind_calls_counts(site: Site, hub: type[StageHub], is_late: bool) -> None:
    events = await site.events("/hub")
    await events.post(call("wait") + call("note", "after it"))
    if is_late:
        await drop(events)
    await events.post(CLOSE)
    events.stream.cut()
    await eventually(lambda: all(connection.is_closed for connection in site.runtime.store))
    assert hub.log == []
    hub.gate.set()
    await events.stream.finish()
    assert hub.log == ["after it", ("client_closed", True)]


@pytest.mark.usefixtures("long_grace")
async def test_streams_end_with_the_event_stream(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub")
    await events.post(call("numbers").replace('"type": 1', '"type": 4'))
    assert b'"item":1' in await events.stream.event()
    await drop(events)
    await eventually(lambda: hub.log == ["numbers ended"])
    assert len(site.runtime.store) == 1


@pytest.mark.usefixtures("long_grace")
async def test_nobody_waits_for_a_close_before_the_handshake(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub", handshake=b"")
    events.stream.cut()
    with at_once():
        await events.stream.finish()
    assert hub.log == []


@pytest.mark.usefixtures("long_grace")
async def test_nobody_waits_for_a_close_without_a_hub(site: Site) -> None:
    events = await site.events("/raw", handshake=b"")
    events.stream.cut()
    with at_once():
        await events.stream.finish()


@pytest.mark.usefixtures("long_grace")
async def test_a_server_that_stops_waits_for_no_close(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub")
    await drop(events)
    with at_once():
        site.runtime.say_goodbye()
        await events.stream.finish()
    assert hub.log == [("client_gone", False)]


@pytest.mark.usefixtures("long_grace")
async def test_a_request_that_its_server_cancels_ends_the_grace(site: Site, hub: type[StageHub]) -> None:
    """As Daphne does ten seconds after the client has gone."""
    events = await site.events("/hub")
    await drop(events)
    events.stream.task.cancel()
    await eventually(lambda: hub.log == [("client_gone", False)])


# Long polling


async def test_a_poll_that_comes_too_late_does_not_wait(site: Site, hub: type[StageHub], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the hub is told that the client was given up."""
    heard = asyncio.Event()

    async def on_disconnected(self: StageHub, disconnect: Disconnect) -> None:
        heard.set()
        await self.gate.wait()

    monkeypatch.setattr(hub, "on_disconnected", on_disconnected)
    polls = await site.polls("/hub")
    site.tick(20)
    await asyncio.wait_for(heard.wait(), TIMEOUT)
    assert (await polls.poll()).brief == UNKNOWN
    hub.gate.set()


@pytest.mark.parametrize("order", ["close first", "delete first", "delete alone"])
async def test_a_close_and_a_delete_may_come_in_either_order(
    site: Site, hub: type[StageHub], monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Whichever is late finds nothing, which is no refusal to write down."""
    found = refusals(site, monkeypatch)
    polls = await site.polls("/hub")
    if order == "close first":
        assert (await polls.post(CLOSE)).brief == TAKEN
    assert (await polls.delete()).brief == (202, b"")
    await eventually(lambda: not len(site.runtime.store))
    if order == "delete first":
        assert (await polls.post(CLOSE)).brief == UNKNOWN
    assert (await polls.delete()).brief == UNKNOWN
    assert hub.log == [("client_closed", True)]
    assert found == []
    assert (await polls.poll()).brief == UNKNOWN
    assert found == ["The connection of this token has ended; the client has to negotiate anew."]
