"""Cutting a stream into messages."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_channels.exceptions import MessageTooBig, RemoteProtocolError
from signalr_channels.protocols.base import Data, MessageSplitter
from signalr_channels.protocols.core.framing import (
    LengthPrefixSplitter,
    SeparatorSplitter,
    encode_length_prefix,
    read_length_prefix,
)

OVER_2_GIB = "Messages over 2GB in size are not supported."


def feed(splitter: MessageSplitter, *chunks: Data) -> list[bytes]:
    """What comes out, as bytes."""
    return [frame.encode() if isinstance(frame, str) else frame for chunk in chunks for frame in splitter.feed(chunk)]


def framed(*bodies: bytes) -> bytes:
    return b"".join(encode_length_prefix(len(body)) + body for body in bodies)


# 0x1E


def test_whole_text_messages_stay_text() -> None:
    splitter = SeparatorSplitter(100)
    assert splitter.feed("one\x1etwo\x1e") == ["one", "two"]
    assert splitter.pending == 0


def test_bytes_stay_bytes() -> None:
    assert SeparatorSplitter(100).feed(b"one\x1e\x1e") == [b"one", b""]


def test_an_incomplete_message_waits_for_its_rest() -> None:
    splitter = SeparatorSplitter(100)
    assert feed(splitter, "one\x1etw") == [b"one"]
    assert splitter.pending == 2
    assert feed(splitter, b"o\x1ethree\x1e") == [b"two", b"three"]
    assert splitter.pending == 0


def test_text_and_bytes_may_take_turns_even_inside_a_message() -> None:
    splitter = SeparatorSplitter(None)
    assert feed(splitter, "é", "é".encode()[:1], "é".encode()[1:], "é\x1e") == ["ééé".encode()]


def test_empty_chunks_mean_nothing() -> None:
    splitter = SeparatorSplitter(10)
    assert feed(splitter, "", b"", "a", "", b"\x1e") == [b"a"]


def test_a_discarded_rest_is_forgotten() -> None:
    for splitter in (SeparatorSplitter(10), LengthPrefixSplitter(10)):
        assert feed(splitter, b"\x02a") == []
        assert splitter.pending == 2
        splitter.discard_pending()
        assert splitter.pending == 0
    assert feed(splitter, b"\x01b") == [b"b"]


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
def test_the_limit_counts_encoded_bytes_and_the_separator(letter: str, text: bool) -> None:
    limit = 24
    fitting = "x" * ((limit - 1) % len(letter.encode())) + letter * ((limit - 1) // len(letter.encode()))
    assert len(fitting.encode()) == limit - 1
    for message, passes in ((fitting, True), (fitting + "x", False)):
        splitter = SeparatorSplitter(limit)
        chunk = message + "\x1e"
        frames = feed(splitter, "a\x1e" + chunk + "b\x1e" if text else (b"a\x1e" + chunk.encode() + b"b\x1e"))
        assert frames == ([b"a", message.encode(), b"b"] if passes else [b"a"])
        assert (splitter.error is None) is passes


def test_the_limit_is_per_message_not_per_chunk() -> None:
    splitter = SeparatorSplitter(4)
    assert feed(splitter, "abc\x1e" * 5) == [b"abc"] * 5
    assert splitter.error is None


def test_a_message_over_the_limit_is_noticed_before_its_end() -> None:
    splitter = SeparatorSplitter(4)
    assert feed(splitter, "ok\x1e" + "x" * 4) == [b"ok"]
    assert splitter.error is None
    assert feed(splitter, "x") == []
    assert isinstance(splitter.error, MessageTooBig)
    assert splitter.error.limit == 4
    assert splitter.pending == 0


def test_a_message_over_the_limit_in_pieces() -> None:
    splitter = SeparatorSplitter(4)
    assert feed(splitter, "abc", "d\x1ee\x1e") == []
    assert isinstance(splitter.error, MessageTooBig)


def test_nothing_is_read_after_an_error() -> None:
    for splitter, chunk in ((SeparatorSplitter(2), b"abc\x1e"), (LengthPrefixSplitter(2), b"\x02ab")):
        assert feed(splitter, chunk) == []
        assert splitter.error is not None
        assert feed(splitter, "a\x1e", b"a\x1e", b"\x01a") == []
        assert splitter.pending == 0


# Length prefix


@pytest.mark.parametrize(
    ("length", "prefix"),
    [
        (0, b"\x00"), (1, b"\x01"), (127, b"\x7f"), (128, b"\x80\x01"), (255, b"\xff\x01"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\x01"),
        (2097151, b"\xff\xff\x7f"), (2097152, b"\x80\x80\x80\x01"), (268435456, b"\x80\x80\x80\x80\x01"),
        (2**31 - 1, b"\xff\xff\xff\xff\x07"),
    ],
)  # fmt: skip
def test_length_prefixes(length: int, prefix: bytes) -> None:
    assert encode_length_prefix(length) == prefix
    assert read_length_prefix(prefix + b"rest") == (length, len(prefix))
    assert read_length_prefix(memoryview(prefix)) == (length, len(prefix))
    for cut in range(len(prefix)):
        assert read_length_prefix(prefix[:cut]) is None


@pytest.mark.parametrize(("prefix", "expected"), [(b"\x8d\x80\x80\x80\x00", (13, 5)), (b"\x80\x00", (0, 2))])
def test_a_prefix_longer_than_necessary_is_legal(prefix: bytes, expected: tuple[int, int]) -> None:
    assert read_length_prefix(prefix) == expected


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff\x08", b"\x80\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\xff"])
def test_a_prefix_over_5_bytes_or_2_gib_is_refused(prefix: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_length_prefix(prefix)
    assert (caught.value.kind, caught.value.text) == ("FormatException", OVER_2_GIB)
    splitter = LengthPrefixSplitter(1024)
    assert feed(splitter, b"\x01a" + prefix) == [b"a"]
    assert splitter.error is not None
    assert splitter.error.text == OVER_2_GIB


def test_binary_messages_in_pieces_and_joined() -> None:
    data = framed(b"a", b"", b"b" * 200, b"c" * 20000)
    expected = [b"a", b"", b"b" * 200, b"c" * 20000]
    assert feed(LengthPrefixSplitter(None), data) == expected
    assert feed(LengthPrefixSplitter(None), *(data[i : i + 1] for i in range(len(data)))) == expected
    assert feed(LengthPrefixSplitter(None), *(data[i : i + 7] for i in range(0, len(data), 7))) == expected


def test_the_limit_counts_the_prefix() -> None:
    for size, passes in ((3, True), (4, False)):
        splitter = LengthPrefixSplitter(4)
        assert feed(splitter, framed(b"a", b"x" * size, b"b")) == ([b"a", b"x" * size, b"b"] if passes else [b"a"])
        assert (splitter.error is None) is passes
    splitter = LengthPrefixSplitter(4)  # a long prefix counts as it is
    assert feed(splitter, b"\x81\x80\x80\x00x") == []
    assert isinstance(splitter.error, MessageTooBig)


def test_the_limit_looks_at_bytes_received_not_announced() -> None:
    splitter = LengthPrefixSplitter(8)
    assert feed(splitter, encode_length_prefix(2**31 - 1) + b"abc") == []
    assert splitter.error is None
    assert splitter.pending == 8
    assert feed(splitter, b"d") == []
    assert isinstance(splitter.error, MessageTooBig)


def test_a_text_frame_is_taken_for_its_utf8() -> None:
    assert feed(LengthPrefixSplitter(None), "\x02é") == ["é".encode()]


# Any input

BODIES = st.lists(st.binary(max_size=300), max_size=6)


def chunks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@settings(deadline=None)
@given(BODIES, st.lists(st.integers(0, 5000), max_size=6))
def test_splitting_undoes_framing_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    data = framed(*bodies)
    assert feed(LengthPrefixSplitter(None), *chunks_of(data, cuts)) == bodies
    text_bodies = [body.replace(b"\x1e", b"") for body in bodies]
    data = b"".join(body + b"\x1e" for body in text_bodies)
    assert feed(SeparatorSplitter(None), *chunks_of(data, cuts)) == text_bodies


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=50), st.sampled_from([b"\x1e", "\x1e", "\ud800"])), max_size=12),
    st.sampled_from([None, 1, 5, 40]),
)
def test_no_input_raises_and_no_message_is_over_the_limit(chunks: list[Data], limit: int | None) -> None:
    for splitter in (SeparatorSplitter(limit), LengthPrefixSplitter(limit)):
        for chunk in chunks:
            for frame in splitter.feed(chunk):
                size = len(frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame)
                assert limit is None or size < limit
            assert limit is None or splitter.pending <= limit
