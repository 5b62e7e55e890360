"""Messages to one process in order, from code that is in no task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.sender import OrderedSender
from signalr_channels.backplane.wire import VERSION, Frame, RelayMessage
from signalr_channels.connections.transports import step
from signalr_channels.exceptions import BackplaneUnavailable
from tests.unit.scripted import TIMEOUT, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

CHANNEL = "specific.one!abc"


class SlowRelay:
    """A relay whose channel layer takes messages one at a time, when it is told to, or is away."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.tasks: list[Any] = []
        self.is_away = False
        self.gate = asyncio.Semaphore(0)
        self.busy = 0

    async def tell(self, channel: str, message: RelayMessage) -> None:
        assert isinstance(message, Frame)
        self.tasks.append(asyncio.current_task())
        self.busy += 1
        assert self.busy == 1
        try:
            await self.gate.acquire()
        finally:
            self.busy -= 1
        if self.is_away:
            raise BackplaneUnavailable("The channel layer could not be reached.")
        self.taken.append((channel, message.data.decode()))

    def let_pass(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


def frame(text: str) -> Frame:
    return Frame(v=VERSION, request_id="1", data=text.encode(), is_text=True)


def make_sender(relay: SlowRelay) -> OrderedSender:
    as_relay: Relay = relay  # type: ignore[assignment]
    return OrderedSender(as_relay, CHANNEL)


async def test_messages_are_sent_one_after_the_other_in_their_order() -> None:
    relay = SlowRelay()
    sender = make_sender(relay)
    sent = [asyncio.ensure_future(sender.send(frame(text))) for text in "abc"]
    await settle()
    assert relay.taken == []
    assert not any(one.done() for one in sent)
    relay.let_pass(1)
    await settle()
    assert relay.taken == [(CHANNEL, "a")]
    assert [one.done() for one in sent] == [True, False, False]
    relay.let_pass(2)
    await asyncio.wait_for(asyncio.gather(*sent), TIMEOUT)
    assert [text for _, text in relay.taken] == list("abc")


async def test_what_is_sent_while_another_message_is_under_way_follows_it() -> None:
    relay = SlowRelay()
    sender = make_sender(relay)
    sender.send(frame("a"))
    await settle()
    last = sender.send(frame("b"))
    relay.let_pass(2)
    await asyncio.wait_for(last, TIMEOUT)
    again = sender.send(frame("c"))  # the task has ended meanwhile
    relay.let_pass(1)
    await asyncio.wait_for(again, TIMEOUT)
    assert [text for _, text in relay.taken] == list("abc")


async def test_it_may_be_stepped_outside_of_a_task_and_sends_in_one() -> None:
    relay = SlowRelay()
    sender = make_sender(relay)
    ours = asyncio.current_task()
    rest = step(sender.send(frame("a")))
    assert rest is not None
    relay.let_pass(1)
    await rest
    assert relay.tasks[0] is not None
    assert relay.tasks[0] is not ours


async def test_no_task_is_left_when_everything_is_sent() -> None:
    relay = SlowRelay()
    relay.let_pass(5)
    sender = make_sender(relay)
    tasks = asyncio.all_tasks()
    for text in "abcde":
        await sender.send(frame(text))
    await settle()
    assert asyncio.all_tasks() == tasks


async def test_an_outage_is_told_as_the_error_of_a_transport_and_later_messages_are_tried() -> None:
    relay = SlowRelay()
    relay.is_away = True
    sender = make_sender(relay)
    lost, other = sender.send(frame("a")), sender.send(frame("b"))
    relay.let_pass(1)
    with pytest.raises(OSError, match="could not be reached"):
        await lost
    relay.is_away = False
    relay.let_pass(1)
    await other
    assert [text for _, text in relay.taken] == ["b"]


async def test_an_error_nobody_waits_for_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    relay = SlowRelay()
    relay.is_away = True
    make_sender(relay).send(frame("a"))
    relay.let_pass(1)
    await settle()
    assert relay.busy == 0
    assert caplog.text == ""


async def test_a_message_is_sent_even_if_nobody_waits_for_it_any_more() -> None:
    relay = SlowRelay()
    sender = make_sender(relay)
    waiting = [asyncio.ensure_future(sender.send(frame(text))) for text in "abc"]
    await settle()
    waiting[0].cancel()
    waiting[1].cancel()
    relay.let_pass(3)
    await asyncio.wait_for(waiting[2], TIMEOUT)
    assert [text for _, text in relay.taken] == list("abc")
