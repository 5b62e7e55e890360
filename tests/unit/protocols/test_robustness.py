"""Whatever a peer sends: only :exc:`RemoteProtocolError` comes out of parsing, only :exc:`ArgumentBindingError` out of binding."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signalr_channels.exceptions import ArgumentBindingError, RemoteProtocolError
from signalr_channels.protocols.base import Data, HubProtocol
from signalr_channels.protocols.core.json_messages import build_message, read_members
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_messages import read_message
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.messages import HubMessage
from tests.unit.protocols.values import Record
from tests.vectors import core_json, core_messagepack

JSON, MESSAGEPACK = JsonHubProtocol(), MessagePackHubProtocol()
THOROUGHLY = settings(max_examples=500, deadline=None)

DECODERS = {
    protocol: [protocol.argument_decoder(types) for types in ([], [str], [int, int], [Any], [Record], [bytes, Any])]
    for protocol in (JSON, MESSAGEPACK)
}
VALUE_DECODERS = {protocol: [protocol.value_decoder(type) for type in (int, Any, Record)] for protocol in (JSON, MESSAGEPACK)}

JSON_SAMPLES = [row.wire[:-1] for row in core_json.VECTORS] + [data for data, *_ in core_json.DEFECTS if len(data) < 1000]
MESSAGEPACK_SAMPLES = [
    *(row.wire[1:] for row in core_messagepack.VECTORS),
    *(data for data, *_ in core_messagepack.DEFECTS),
    *(data for data, _ in core_messagepack.ARGUMENT_DEFECTS),
]
JSON_PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"1",
    b"-",
    b".",
    b"e",
    b"null",
    b"\xff",
    b"\\ud800",
    b" ",
    b"\x00",
    b'"type":1,',
]


def use(protocol: HubProtocol, data: Data) -> None:
    """Parse, and bind what is there."""
    try:
        message = protocol.parse(data)
    except RemoteProtocolError:
        return
    for name, decoders in (("arguments", DECODERS[protocol]), ("item", VALUE_DECODERS[protocol]), ("result", VALUE_DECODERS[protocol])):
        value = getattr(message, name, None)
        if isinstance(value, msgspec.Raw):
            for decode in decoders:
                with contextlib.suppress(ArgumentBindingError):
                    decode(value)


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes], pieces: st.SearchStrategy[bytes]) -> bytes:
    """A valid or defective message with some of it cut out, doubled or replaced."""
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 6)))
        data = data[:start] + draw(pieces) + data[end:]
    return data


@THOROUGHLY
@given(st.one_of(st.binary(max_size=80), mutated(JSON_SAMPLES, st.one_of(st.sampled_from(JSON_PIECES), st.binary(max_size=2)))))
def test_any_bytes_as_json(data: bytes) -> None:
    use(JSON, data)
    use(JSON, data.decode("utf-8", "surrogateescape"))


@THOROUGHLY
@given(st.text(st.characters(), max_size=80))
def test_any_text_as_json(text: str) -> None:
    use(JSON, text)
    use(JSON, json.dumps({"type": 1, "target": text, "arguments": [text]}))
    use(JSON, json.dumps({"type": 1, "target": text, "arguments": [text]}, ensure_ascii=False))


@THOROUGHLY
@given(st.one_of(st.binary(max_size=80), mutated(MESSAGEPACK_SAMPLES, st.binary(max_size=3))))
def test_any_bytes_as_messagepack(data: bytes) -> None:
    use(MESSAGEPACK, data)


@THOROUGHLY
@given(st.text(max_size=20))
def test_any_text_as_messagepack(text: str) -> None:
    use(MESSAGEPACK, text)


# Fast path and slow path


def outcome(read: Any, data: bytes) -> object:
    """What reading comes to, in a form that can be compared."""
    try:
        message: HubMessage | None = read(data)
    except RemoteProtocolError as error:
        return (error.kind, error.text)
    if message is None:
        return None
    fields = [getattr(message, name) for name in message.__struct_fields__]
    return (type(message).__name__, [bytes(value) if isinstance(value, msgspec.Raw) else value for value in fields])


def read_slowly(data: bytes) -> HubMessage | None:
    return build_message(read_members(data))


NAMES = st.sampled_from(
    [
        "type",
        "invocationId",
        "target",
        "arguments",
        "streamIds",
        "item",
        "result",
        "error",
        "headers",
        "allowReconnect",
        "sequenceId",
        "x",
        "",
    ]
)
JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-1, 10), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
        st.sampled_from(["\ud800", "\x1e", "é😀", '"', "\\"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@st.composite
def json_messages(draw: st.DrawFn) -> bytes:
    """Objects with the members of hub messages, more often right than wrong, in any order and spelling."""
    fitting = {
        "type": st.integers(0, 10), "invocationId": st.text(max_size=3), "target": st.text(max_size=5),
        "arguments": st.lists(JSON_VALUES, max_size=3),
        "streamIds": st.lists(st.text(max_size=2), max_size=2), "item": JSON_VALUES, "result": JSON_VALUES, "error": st.text(max_size=3),
        "headers": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2), "allowReconnect": st.booleans(),
        "sequenceId": st.integers(-(2**65), 2**65),
    }  # fmt: skip
    members = [("type", draw(st.integers(1, 9)))] if draw(st.booleans()) else []
    for name in draw(st.lists(NAMES, unique=True, max_size=8)):
        members.append((name, draw(fitting[name] if name in fitting and draw(st.integers(0, 9)) else JSON_VALUES)))
    ascii_only, blank = draw(st.booleans()), draw(st.sampled_from(["", " ", "\n\t "]))
    texts = [
        f"{json.dumps(name)}{blank}:{blank}{json.dumps(value, ensure_ascii=ascii_only)}" for name, value in draw(st.permutations(members))
    ]
    return f"{blank}{{{blank}{f'{blank},{blank}'.join(texts)}{blank}}}{blank}".encode("utf-8", "surrogatepass")


@settings(max_examples=1500, deadline=None)
@given(json_messages())
def test_both_ways_of_reading_json_agree(data: bytes) -> None:
    assert outcome(JSON.parse, data) == outcome(read_slowly, data)


@THOROUGHLY
@given(mutated(JSON_SAMPLES, st.one_of(st.sampled_from(JSON_PIECES), st.binary(max_size=2))))
def test_both_ways_of_reading_broken_json_agree(data: bytes) -> None:
    # With a member twice, msgspec looks only at the last value of those that it leaves raw.
    if data.count(b'"arguments"') < 2:
        assert outcome(JSON.parse, data) == outcome(read_slowly, data)


@THOROUGHLY
@example(data=b"\x96\x01\x80\xa11\xa3S\x00u\xd5\x00m\x90\x91\xa1u")  # arguments that are an extension value
@given(mutated(MESSAGEPACK_SAMPLES, st.binary(max_size=3)))
def test_both_ways_of_reading_messagepack_agree(data: bytes) -> None:
    assert outcome(MESSAGEPACK.parse, data) == outcome(read_message, data)


@pytest.mark.parametrize("size", [10_000])
def test_long_input_takes_no_detours(size: int) -> None:
    """Each of these would be slow if a byte were looked at more than a few times, or would end in a RecursionError."""
    for data in (
        b"[" * size, b'{"a":' * size, b'{"type":1,"x":' + b"[" * size, b'"' + b"\\n" * size, b'{"type":' + b"1" * size,
        b'{"type":1,"target":"e","arguments":[' + b"[[]]," * size + b"1]}x", b'{"type":1,"x":"' + b"\\ud83d" * size,
    ):  # fmt: skip
        use(JSON, data)
    for data in (
        b"\x91" * size,
        b"\xdd\x7f\xff\xff\xff" * size,
        b"\x95\x01\x80\xa11\xa1E" + b"\x91" * size,
        b"\x95\x01" + b"\x81\xa1a" * size,
    ):
        use(MESSAGEPACK, data)
