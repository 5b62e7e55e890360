"""Numbered messages in, envelopes out: keys, cursors, the buffer and what falls out of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from signalr_channels.protocols.classic.engine import MESSAGES_PER_POLL, ClassicEngine, InvalidCursor, encode_farewell

EPOCH = "AB"
LINES = ("\u0085", "\u2028", "\u2029")


def message(text: str) -> EncodedMessage:
    return EncodedMessage(json.dumps(text, ensure_ascii=False).encode(), TransferFormat.TEXT)


def make_engine(count: int = 0, **options: Any) -> ClassicEngine:
    """An engine whose first transport has got its init frame, and then ``count`` messages."""
    engine = ClassicEngine(epoch=EPOCH, **options)
    engine.resume(None, None, init=True)
    engine.frame()
    add(engine, *map(str, range(count)))
    return engine


def add(engine: ClassicEngine, *texts: str) -> list[bool]:
    return [engine.add(message(text)) for text in texts]


def texts(frame: bytes) -> list[str]:
    found: list[str] = json.loads(frame)["M"]
    return found


def cursor_of(frame: bytes) -> str:
    cursor: str = json.loads(frame)["C"]
    return cursor


# Envelopes


def test_the_init_frame_has_its_keys_in_the_order_of_the_reference() -> None:
    engine = ClassicEngine(epoch=EPOCH)
    assert not engine.has_frame
    engine.resume(None, None, init=True)
    assert engine.has_frame
    assert engine.frame() == b'{"C":"AB-0","S":1,"M":[]}'
    assert not engine.has_frame


def test_all_keys_of_an_envelope_stand_in_the_order_of_the_reference() -> None:
    engine = ClassicEngine(epoch=EPOCH)
    engine.resume(None, None, init=True)
    engine.groups_token = "token"
    add(engine, "a", "b")
    frame = engine.frame(poll_delay=0.25, terminate=True)
    assert frame == b'{"C":"AB-2","S":1,"T":1,"G":"token","L":250,"M":["a","b"]}'


def test_keys_that_say_nothing_are_left_out() -> None:
    engine = make_engine(1)
    assert engine.frame() == b'{"C":"AB-1","M":["0"]}'
    assert engine.frame() == b'{"C":"AB-1","M":[]}'


def test_init_is_said_once() -> None:
    engine = ClassicEngine(epoch=EPOCH)
    engine.resume(None, None, init=True)
    assert b'"S":1' in engine.frame()
    add(engine, "a", "b")
    assert b'"S"' not in engine.frame()


def test_a_transport_that_comes_back_gets_no_init_frame_and_one_that_connects_again_gets_another() -> None:
    engine = make_engine()
    engine.resume("AB-0", None, init=False)
    assert not engine.has_frame
    engine.resume("AB-0", None, init=True)
    assert engine.frame() == b'{"C":"AB-0","S":1,"M":[]}'


def test_messages_may_share_the_init_frame() -> None:
    engine = ClassicEngine(epoch=EPOCH)
    add(engine, "early")
    engine.resume(None, None, init=True)
    assert engine.frame() == b'{"C":"AB-1","S":1,"M":["early"]}'


def test_the_delay_of_polls_is_told_in_whole_milliseconds() -> None:
    engine = make_engine(1)
    assert engine.frame(poll_delay=1.5) == b'{"C":"AB-1","L":1500,"M":["0"]}'
    assert engine.frame(poll_delay=0.0014) == b'{"C":"AB-1","L":1,"M":[]}'


def test_a_cursor_counts_in_hexadecimal_capitals() -> None:
    engine = make_engine(30)
    assert cursor_of(engine.frame(limit=30)) == "AB-1E"


def test_each_life_has_cursors_of_its_own_in_letters_that_need_no_escape() -> None:
    cursors = {cursor_of(ClassicEngine().frame()) for _ in range(50)}
    assert len(cursors) == 50
    assert all(re.fullmatch("[0-9A-F]{8}-0", cursor) for cursor in cursors)


# The groups token


def test_the_groups_token_is_told_when_it_changes_and_only_then() -> None:
    engine = make_engine()
    engine.groups_token = "one"
    assert engine.has_frame
    assert engine.frame() == b'{"C":"AB-0","G":"one","M":[]}'
    assert not engine.has_frame
    add(engine, "a", "b")
    assert engine.frame() == b'{"C":"AB-2","M":["a","b"]}'
    engine.groups_token = "two"
    add(engine, "c")
    assert engine.frame() == b'{"C":"AB-3","G":"two","M":["c"]}'


def test_a_groups_token_that_changed_and_changed_back_is_not_told() -> None:
    engine = make_engine()
    engine.groups_token = "one"
    engine.frame()
    engine.groups_token = "two"
    engine.groups_token = "one"
    assert not engine.has_frame


@pytest.mark.parametrize(("held", "is_told"), [("one", False), ("old", True), ("", True), (None, True)])
def test_a_client_that_comes_back_is_told_the_groups_token_unless_it_holds_it(held: str | None, is_told: bool) -> None:
    engine = make_engine()
    engine.groups_token = "one"
    engine.frame()
    engine.resume("AB-0", held, init=False)
    assert engine.has_frame is is_told
    assert engine.frame() == (b'{"C":"AB-0","G":"one","M":[]}' if is_told else b'{"C":"AB-0","M":[]}')


def test_a_client_whose_groups_are_not_known_here_keeps_its_token() -> None:
    engine = make_engine()
    engine.resume(None, "from another life", init=False)
    assert not engine.has_frame
    assert engine.frame() == b'{"C":"AB-0","M":[]}'


# ASCII


def test_a_frame_is_utf_8_or_ascii_and_both_say_the_same() -> None:
    text = "Grüße, 😀" + "".join(LINES)
    engine = make_engine()
    add(engine, text)
    assert engine.frame() == b'{"C":"AB-1","M":["' + text.encode() + b'"]}'
    for count in (1, 2):  # one message alone has a shorter way
        engine.resume("AB-0", None, init=False)
        frame = engine.frame(is_ascii=True)
        assert frame.isascii()
        assert texts(frame) == [text] * count
        add(engine, text)


def test_the_ascii_form_is_made_once_for_all_receivers() -> None:
    shared = message("ü")
    engines = [make_engine(), make_engine()]
    for engine in engines:
        engine.add(shared)
    assert engines[0].frame(is_ascii=True) == b'{"C":"AB-1","M":["\\u00fc"]}'
    form = shared.frame
    assert engines[1].frame(is_ascii=True) == b'{"C":"AB-1","M":["\\u00fc"]}'
    assert shared.frame is form
    assert shared.data == '"ü"'.encode()  # others still get UTF-8


# How much goes into a frame


def test_a_frame_takes_ten_messages_and_the_answer_to_a_poll_250() -> None:
    engine = make_engine(300)
    first = engine.frame()
    assert texts(first) == [str(number) for number in range(10)]
    assert cursor_of(first) == "AB-A"
    assert engine.backlog == 290
    second = engine.frame(limit=MESSAGES_PER_POLL)
    assert texts(second) == [str(number) for number in range(10, 260)]
    assert cursor_of(second) == f"AB-{260:X}"
    assert texts(engine.frame(limit=MESSAGES_PER_POLL)) == [str(number) for number in range(260, 300)]
    assert engine.backlog == 0


def test_a_frame_without_room_takes_no_message_and_moves_no_cursor() -> None:
    for count in (1, 2):
        engine = make_engine(count)
        assert engine.frame(limit=0) == b'{"C":"AB-0","M":[]}'
        assert engine.backlog == count
        assert len(texts(engine.frame())) == count


# Cursors


def test_a_client_gets_what_comes_behind_its_cursor() -> None:
    engine = make_engine(5)
    engine.frame()
    engine.resume("AB-2", None, init=False)
    assert texts(engine.frame()) == ["2", "3", "4"]
    engine.resume("AB-5", None, init=False)
    assert not engine.has_frame
    engine.resume("AB-0", None, init=False)
    assert texts(engine.frame()) == ["0", "1", "2", "3", "4"]
    assert engine.lost == 0


@pytest.mark.parametrize("cursor", [None, "", "CD-2", "d-1-A,0|B,0|C,1", "ABC-2", "ab-2", "-", "-2", " AB-2", "\ud800", "Ä-1"])
def test_without_a_cursor_of_this_life_a_client_begins_with_what_comes_from_now_on(cursor: str | None) -> None:
    engine = make_engine(5)
    engine.frame(limit=1)
    engine.resume(cursor, None, init=False)
    assert not engine.has_frame
    add(engine, "new")
    assert engine.frame() == b'{"C":"AB-6","M":["new"]}'


@pytest.mark.parametrize("cursor", [None, "", "CD-2"])
def test_the_first_transport_of_all_begins_with_what_is_there(cursor: str | None) -> None:
    engine = ClassicEngine(epoch=EPOCH)
    add(engine, "a", "b")
    engine.resume(cursor, None, init=False)
    assert texts(engine.frame()) == ["a", "b"]


@pytest.mark.parametrize(
    "number", ["", "2a", "G", "-2", "+2", " 2", "2 ", "2\n", "0x2", "2|", "2,0", "1_0", "٢", "1" * 13, "F" * 100, "2-2", "\ud800"]
)
def test_a_cursor_of_ours_that_was_changed_is_refused(number: str) -> None:
    engine = make_engine(5)
    with pytest.raises(InvalidCursor, match=r"Invalid cursor\."):
        engine.resume(f"AB-{number}", None, init=False)
    with pytest.raises(InvalidCursor):
        engine.resume("AB", None, init=False)
    engine.resume("AB-4", None, init=False)  # it goes on with a good one
    assert texts(engine.frame()) == ["4"]
    assert engine.lost == 0


def test_a_cursor_from_the_future_is_the_end() -> None:
    engine = make_engine(5)
    engine.resume("AB-FFFFFFFFFFFF", None, init=False)
    assert not engine.has_frame
    add(engine, "new")
    assert engine.frame() == b'{"C":"AB-6","M":["new"]}'
    assert engine.lost == 0


# The buffer


def test_the_buffer_holds_a_number_of_messages() -> None:
    engine = make_engine(maximum_messages=3)
    assert add(engine, "a", "b", "c") == [True, True, True]
    assert add(engine, "d", "e") == [False, False]
    assert engine.lost == 2
    assert texts(engine.frame()) == ["c", "d", "e"]


def test_what_the_transport_was_given_falls_out_without_a_loss() -> None:
    engine = make_engine(maximum_messages=3)
    for number in range(20):
        assert add(engine, str(number)) == [True]
        assert texts(engine.frame()) == [str(number)]
    assert engine.lost == 0


def test_the_buffer_holds_a_number_of_bytes_and_always_the_newest_message() -> None:
    engine = make_engine(maximum_bytes=10)
    assert add(engine, "abc", "def") == [True, True]  # five bytes each
    assert add(engine, "g") == [False]
    assert add(engine, "") == [True]
    assert texts(engine.frame()) == ["def", "g", ""]
    assert add(engine, "x" * 100) == [True]
    assert texts(engine.frame()) == ["x" * 100]
    assert add(engine, "y" * 100) == [True]
    assert add(engine, "z") == [False]
    assert texts(engine.frame()) == ["z"]
    assert engine.lost == 2


def test_what_fell_out_before_the_client_had_it_is_lost_when_it_comes_back() -> None:
    engine = make_engine(maximum_messages=3)
    for number in range(6):
        add(engine, str(number))
        engine.frame()
    assert engine.lost == 0
    engine.resume("AB-1", None, init=False)  # frames are given to the network, which need not deliver them
    assert engine.lost == 2
    assert texts(engine.frame()) == ["3", "4", "5"]


def test_a_message_is_lost_once_however_often_the_client_comes_back() -> None:
    engine = make_engine(maximum_messages=3)
    for number in range(5):
        add(engine, str(number))
        engine.frame()
    add(engine, *map(str, range(5, 10)))
    assert engine.lost == 2
    engine.resume("AB-5", None, init=False)
    assert engine.lost == 2
    engine.frame()
    engine.resume("AB-5", None, init=False)
    assert engine.lost == 2
    engine.resume("AB-3", None, init=False)  # it never had 3 and 4 either
    assert engine.lost == 4


class Twin:
    """A client that echoes the last cursor it has seen, and a model of what the server holds for it."""

    def __init__(self, maximum_messages: int, maximum_bytes: int) -> None:
        self.limits = (maximum_messages, maximum_bytes)
        self.engine = ClassicEngine(maximum_messages=maximum_messages, maximum_bytes=maximum_bytes, epoch=EPOCH)
        self.sent: list[str] = []
        self.received: list[int] = []
        self.cursor: str | None = None
        self.engine.resume(None, None, init=True)
        self.write(is_lost=False)

    @property
    def start(self) -> int:
        """The oldest message a buffer of these limits still holds."""
        count, size = 0, 0
        for text in reversed(self.sent):
            size += len(message(text).data)
            if count and (count == self.limits[0] or size > self.limits[1]):
                break
            count += 1
        return len(self.sent) - count

    def send(self, size: int) -> None:
        text = f"{len(self.sent)}:" + "x" * size
        self.sent.append(text)
        self.engine.add(message(text))

    def write(self, *, is_lost: bool, limit: int = 10) -> None:
        frame = self.engine.frame(limit=limit)
        if not is_lost:
            self.cursor = cursor_of(frame)
            self.received += [int(text.partition(":")[0]) for text in texts(frame)]

    def write_all(self) -> None:
        while self.engine.has_frame:
            self.write(is_lost=False)

    def act(self, action: str, number: int) -> None:
        """One of :data:`ACTIONS`."""
        if action == "send":
            self.send(number)
        elif action == "write":
            self.write(is_lost=False, limit=number)
        else:
            for _ in range(number):  # frames that were written and never arrived
                self.write(is_lost=True)
            self.engine.resume(self.cursor, None, init=False)


ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 30)),
    st.tuples(st.just("write"), st.integers(1, 4)),
    st.tuples(st.just("cut"), st.integers(0, 3)),
)


@given(st.lists(ACTIONS, max_size=60))
def test_each_message_arrives_once_and_in_order_whatever_is_cut_while_the_buffer_holds_it(actions: list[tuple[str, int]]) -> None:
    twin = Twin(1000, 1_000_000)
    for action, number in actions:
        twin.act(action, number)
    twin.engine.resume(twin.cursor, None, init=False)
    twin.write_all()
    assert twin.received == list(range(len(twin.sent)))
    assert twin.engine.lost == 0


@given(st.lists(ACTIONS, max_size=60), st.integers(1, 6), st.integers(1, 60))
def test_a_loss_is_counted_for_each_message_that_never_arrives_and_for_no_other(
    actions: list[tuple[str, int]], maximum_messages: int, maximum_bytes: int
) -> None:
    twin = Twin(maximum_messages, maximum_bytes)
    for action, number in actions:
        twin.act(action, number)
        if action == "cut":
            assert twin.engine.backlog <= len(twin.sent) - twin.start
    twin.engine.resume(twin.cursor, None, init=False)
    twin.write_all()
    assert twin.received == sorted(set(twin.received))
    missing = set(range(len(twin.sent))) - set(twin.received)
    assert twin.engine.lost == len(missing)


# The end


def test_a_farewell_is_understood_by_old_clients_and_new_ones() -> None:
    assert encode_farewell(b'"Go."') == b'{"D":1,"E":"Go.","M":[]}'
    default = json.loads(encode_farewell(None))
    assert default == {"D": 1, "E": "The connection was closed by the server.", "M": []}
