"""
Stateful reconnect under any loss of transports: nothing is lost and nothing comes twice, in either direction.

The client is a model of Microsoft's (``MessageBuffer.ts`` of @microsoft/signalr 10.0), which refuses a Sequence above the message it has
come to.
"""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.core.replay import Replay

BUFFER_SIZE = 12
"""Four of the messages below."""

Wire = deque[tuple[str, int]]
COUNT = st.integers(1, 4)


def encoded(number: int) -> EncodedMessage:
    return EncodedMessage(f"{number:03}".encode(), TransferFormat.TEXT)


class Client:
    """What Microsoft's client counts."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.said = 0
        self.unacknowledged: deque[int] = deque()
        self.next_id = 1
        self.latest = 0
        self.waits_for_sequence = False

    def come_back(self) -> list[tuple[str, int]]:
        self.waits_for_sequence = True
        first = self.unacknowledged[0] if self.unacknowledged else self.said + 1
        return [("sequence", first), *(("message", number) for number in self.unacknowledged)]

    def hear(self, kind: str, number: int) -> None:
        if kind == "sequence":
            assert number <= self.next_id, "the client ends its connection: Sequence ID greater than amount of messages we've received."
            self.next_id = number
            self.waits_for_sequence = False
        elif self.waits_for_sequence:
            pass
        elif kind == "ack":
            while self.unacknowledged and self.unacknowledged[0] <= number:
                self.unacknowledged.popleft()
        else:
            self.next_id += 1
            if self.next_id - 1 > self.latest:
                self.latest = self.next_id - 1
                self.received.append(number)


class Conversation(RuleBasedStateMachine):
    """Both sides talk and acknowledge, in the order that is worst."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Client()
        self.replay = Replay(BUFFER_SIZE)
        self.received: list[int] = []
        self.said = 0
        self.up: Wire = deque()
        self.down: Wire = deque()

    def send(self, messages: list[EncodedMessage]) -> None:
        self.down.extend(("message", int(message.data)) for message in messages)

    @rule(count=COUNT)
    def server_says(self, count: int) -> None:
        for _ in range(count):
            self.said += 1
            self.replay.add(encoded(self.said))
        self.send(self.replay.take_sendable())

    @rule(count=COUNT)
    def client_says(self, count: int) -> None:
        for _ in range(count):
            self.client.said += 1
            self.client.unacknowledged.append(self.client.said)
            self.up.append(("message", self.client.said))

    @rule()
    def both_acknowledge(self) -> None:
        if (number := self.replay.acknowledgement()) is not None:
            self.down.append(("ack", number))
        self.up.append(("ack", self.client.latest))

    @rule(count=COUNT)
    def client_hears(self, count: int) -> None:
        for _ in range(min(count, len(self.down))):
            self.client.hear(*self.down.popleft())

    @rule(count=COUNT)
    def server_hears(self, count: int) -> None:
        for _ in range(min(count, len(self.up))):
            kind, number = self.up.popleft()
            if kind == "sequence":
                self.replay.rewind(number)
            elif kind == "ack":
                self.replay.acknowledge(number)
                self.send(self.replay.take_sendable())
            elif self.replay.accept():
                self.received.append(number)

    @rule(is_first_heard=st.booleans())
    def the_transport_is_lost_and_replaced(self, is_first_heard: bool) -> None:
        self.up.clear()
        self.down.clear()
        sequence_id, fillers, missed = self.replay.restart()
        self.down.append(("sequence", sequence_id))
        self.down.extend([("filler", 0)] * fillers)
        self.send(missed)
        self.send(self.replay.take_sendable())
        self.up.extend(self.client.come_back())
        if is_first_heard:
            self.client_hears(1)
            self.server_hears(1)

    @invariant()
    def all_is_in_order(self) -> None:
        assert self.client.received == list(range(1, len(self.client.received) + 1))
        assert self.received == list(range(1, len(self.received) + 1))

    def teardown(self) -> None:
        self.the_transport_is_lost_and_replaced(False)
        while self.up or self.down:
            self.server_hears(len(self.up))
            self.client_hears(len(self.down))
            if not self.down and self.client.latest < self.said:
                self.both_acknowledge()  # which makes room for more
        self.all_is_in_order()
        assert len(self.client.received) == self.said
        assert len(self.received) == self.client.said


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)


def test_a_client_lost_again_while_it_is_told_what_it_missed() -> None:
    replay = Replay(1000)
    for number in (1, 2, 3):
        replay.add(encoded(number))
    sent = replay.take_sendable()
    assert replay.restart() == (1, 0, sent)
    replay.acknowledge(2)  # of what it had before it was lost; it is counting from 1 again
    assert replay.restart() == (1, 2, sent[2:])


def test_a_client_that_has_gone_on_is_told_where_it_is() -> None:
    replay = Replay(1000)
    replay.add(encoded(1))
    replay.take_sendable()
    replay.restart()
    replay.add(encoded(2))
    replay.take_sendable()
    replay.acknowledge(2)
    assert replay.restart() == (3, 0, [])


def test_a_client_may_go_on_from_what_was_acknowledged_although_it_was_sending_it_again() -> None:
    replay = Replay(1000)
    for _ in range(3):
        assert replay.accept()
    assert replay.acknowledgement() == 3
    replay.rewind(1)
    assert not replay.accept()  # the first comes again, and then the client is lost
    replay.rewind(4)
    assert replay.accept()


def test_a_client_may_not_leave_something_out() -> None:
    replay = Replay(1000)
    replay.accept()
    with pytest.raises(RemoteProtocolError, match="Sequence ID greater"):
        replay.rewind(3)
    with pytest.raises(RemoteProtocolError, match="Sequence ID less than 1"):
        replay.rewind(0)


def test_an_acknowledgement_that_was_lost_is_given_again() -> None:
    """Or a client whose buffer is full would wait for it for ever."""
    replay = Replay(1000)
    for _ in range(3):
        replay.accept()
    assert replay.acknowledgement() == 3
    assert (replay.owes_acknowledgement, replay.acknowledgement()) == (False, None)
    replay.rewind(2)  # the client knows of the first only
    assert not replay.accept()
    assert replay.owes_acknowledgement
    assert replay.acknowledgement() == 3
    replay.rewind(4)
    assert not replay.owes_acknowledgement


def test_what_is_not_acknowledged_is_counted() -> None:
    replay = Replay(BUFFER_SIZE)
    for number in range(1, 8):
        replay.add(encoded(number))
    assert replay.pending_bytes == 7 * 3
    # The message that goes over the limit is sent; those behind it wait.
    assert [message.data for message in replay.take_sendable()] == [b"001", b"002", b"003", b"004", b"005"]
    assert replay.take_sendable() == []
    replay.acknowledge(1)
    assert [message.data for message in replay.take_sendable()] == [b"006"]
    replay.acknowledge(6)
    assert [message.data for message in replay.take_sendable()] == [b"007"]
    assert replay.pending_bytes == 3
    replay.acknowledge(7)
    assert replay.pending_bytes == 0


@pytest.mark.parametrize("sequence_id", [0, -1, -(2**63)])
def test_an_acknowledgement_of_nothing_changes_nothing(sequence_id: int) -> None:
    replay = Replay(1000)
    replay.add(encoded(1))
    sent = replay.take_sendable()
    replay.acknowledge(sequence_id)
    assert replay.restart() == (1, 0, sent)


def test_an_acknowledgement_from_the_future_frees_what_was_sent_and_no_more() -> None:
    replay = Replay(BUFFER_SIZE)
    for number in range(1, 8):
        replay.add(encoded(number))
    replay.take_sendable()
    replay.acknowledge(2**62)
    assert [message.data for message in replay.take_sendable()] == [b"006", b"007"]
    sequence_id, fillers, missed = replay.restart()
    assert (sequence_id, fillers, len(missed)) == (6, 0, 2)
