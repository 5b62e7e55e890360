"""Section 4 of the reference: messages and values, where tests/vectors and tests/unit/protocols leave something open."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any

import msgpack
import msgspec
import pytest

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.messages import Completion
from tests.conformance.wire import BINARY, frame, raw_socket
from tests.integration.raw import RawClient, call
from tests.live import PeerSite
from tests.peer_site.hubs import Record

JSON, MESSAGEPACK = JsonHubProtocol(), MessagePackHubProtocol()
UTC = datetime.timezone.utc
TWO_HOURS = datetime.timezone(datetime.timedelta(hours=2))


def written(value: Any) -> str:
    """A result in JSON."""
    data = JSON.encode(Completion(invocation_id="1", result=value)).decode()
    return data.removeprefix('{"type":3,"invocationId":"1","result":').removesuffix("}\x1e")


def read(type: Any, text: str) -> Any:
    """An argument in JSON."""
    (value,) = JSON.argument_decoder([type])(msgspec.Raw(f"[{text}]".encode()))
    return value


def read_packed(type: Any, data: bytes) -> Any:
    """An argument in MessagePack."""
    (value,) = MESSAGEPACK.argument_decoder([type])(msgspec.Raw(b"\x91" + data))
    return value


def framed(*items: Any) -> bytes:
    """A short message in MessagePack."""
    data: bytes = msgpack.packb(items)
    return bytes([len(data)]) + data


# JSON


@pytest.mark.parametrize(
    "message",
    [
        {"type": 1, "target": "E", "arguments": []},
        {"type": 2, "invocationId": "1", "item": 1},
        {"type": 3, "invocationId": "1"},
        {"type": 4, "invocationId": "1", "target": "E", "arguments": []},
        {"type": 5, "invocationId": "1"},
    ],
)
def test_headers_are_tolerated(message: dict[str, Any]) -> None:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "": ""}
    parsed: Any = JSON.parse(json.dumps({**message, "headers": headers}))
    assert parsed.headers == headers
    items: dict[int, list[Any]] = {
        1: [None, "E", []],
        2: ["1", 1],
        3: ["1", 2],
        4: ["1", "E", []],
        5: ["1"],
    }
    packed: Any = MESSAGEPACK.parse(msgpack.packb([message["type"], {"a": "b"}, *items[message["type"]]]))
    assert packed.headers == {"a": "b"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (1e300, "1e300"),
        (-0.0, "-0.0"),
        (0.00000012345, "1.2345e-7"),
        (2**63, "9223372036854775808"),
        (decimal.Decimal("12.50"), "12.50"),
    ],
)
def test_numbers_in_json(value: Any, text: str) -> None:
    """.NET writes some of them otherwise (1, 1E+300, 1.2345E-07); every reader of JSON takes either for the same number."""
    assert written(value) == text
    assert json.loads(text) == float(text)


@pytest.mark.parametrize("text", ["</>&'+`", "\u00a0\u2028\u2029\ufeff\ue000", "\x7f\x85", "😀"])
def test_text_goes_out_raw(text: str) -> None:
    """.NET escapes most of these; the text is the same. What JSON wants escaped is escaped, so 0x1E is never inside a message."""
    assert written(text) == f'"{text}"'
    assert written('"\\\b\f\n\r\t\x00\x1e\x1f') == '"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001e\\u001f"'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.datetime(2000, 1, 1, tzinfo=UTC), "2000-01-01T00:00:00Z"),
        (datetime.datetime(2000, 1, 1), "2000-01-01T00:00:00"),
        (datetime.datetime(2000, 1, 1, 23, 59, 59, tzinfo=TWO_HOURS), "2000-01-01T23:59:59+02:00"),
        (datetime.datetime(2000, 1, 1, 0, 0, 0, 5, tzinfo=UTC), "2000-01-01T00:00:00.000005Z"),
    ],
)
def test_times_in_json(value: datetime.datetime, text: str) -> None:
    """A time keeps the offset it came with."""
    assert written(value) == f'"{text}"'
    assert read(datetime.datetime, f'"{text}"') == value


def test_times_have_microseconds() -> None:
    assert read(datetime.datetime, '"2000-01-01T00:00:00.1234567Z"') == datetime.datetime(2000, 1, 1, 0, 0, 0, 123457, tzinfo=UTC)


@pytest.mark.parametrize("text", ["01234567-89AB-cdef-0123-456789abcdef", "0123456789abcdef0123456789abcdef"])
def test_ids_are_read_in_any_letter_case_and_written_in_lower_case(text: str) -> None:
    assert written(read(uuid.UUID, f'"{text}"')) == '"01234567-89ab-cdef-0123-456789abcdef"'


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (uuid.UUID, '"{01234567-89ab-cdef-0123-456789abcdef}"'),
        (bytes, '"AP8"'),
        (bytes, '"AP8=="'),
        (bytes, '"AP-_"'),
        (int, "1e0"),
        (int, "1.0"),
        (float, "1e999"),
        (float, '"1"'),
        (bool, "1"),
        (str, "1"),
    ],
)
def test_values_are_not_coerced(type: Any, text: str) -> None:
    with pytest.raises(ArgumentBindingError):
        read(type, text)


def test_members_that_are_absent_keep_their_defaults_and_the_last_of_two_counts() -> None:
    assert read(Record, '{"Text":"a","Int":1,"Text":"b","more":[{}]}') == Record(Text="b", Int=1)


def test_a_duration_is_iso_8601() -> None:
    assert written(datetime.timedelta(hours=1)) == '"PT3600S"'
    assert read(datetime.timedelta, '"PT1H"') == datetime.timedelta(hours=1)


# MessagePack


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("d6ff 386d4380", datetime.datetime(2000, 1, 1, tzinfo=UTC)),
        ("d7ff a1a5d600386ec025", datetime.datetime(2000, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("c70cff 00000000fffffff1886e0900", datetime.datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_timestamps_of_all_three_lengths(data: str, value: datetime.datetime) -> None:
    assert read_packed(datetime.datetime, bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        (float, 3, 3.0),
        (float, float("inf"), float("inf")),
        (bytes, "é", "é".encode()),
        (datetime.datetime, "2020-01-01T00:00:00Z", datetime.datetime(2020, 1, 1, tzinfo=UTC)),
        (decimal.Decimal, 1.5, decimal.Decimal("1.5")),
        (uuid.UUID, b"0" * 16, uuid.UUID(bytes=b"0" * 16)),
    ],
)
def test_values_that_are_read_from_more_than_one_kind(type: Any, value: Any, expected: Any) -> None:
    """The last three are refused by .NET."""
    assert read_packed(type, msgpack.packb(value)) == expected


def test_floats_of_both_lengths_and_nan() -> None:
    assert read_packed(float, bytes.fromhex("ca 3fc00000")) == 1.5
    assert read_packed(float, bytes.fromhex("cb 7ff8000000000000")) != read_packed(float, bytes.fromhex("cb 7ff8000000000000"))


def test_not_a_number_can_be_sent_in_messagepack_only() -> None:
    assert MESSAGEPACK.encode(Completion(invocation_id="1", result=float("nan"))).endswith(bytes.fromhex("cb 7ff8000000000000"))
    with pytest.raises(LocalProtocolError):
        JSON.encode(Completion(invocation_id="1", result=float("nan")))


# On the wire


def test_an_error_names_the_method_as_it_was_declared(peer_site: PeerSite) -> None:
    """Also where the target is escaped, or comes last. What is unknown is named as it was sent."""
    detail = " on the server. HubException: Method does not exist."
    with RawClient(f"{peer_site.url}/peer-strict") as client:
        for text, name in [
            ('{"type":1,"invocationId":"0","target":"aDD","arguments":["x"]}', "Add"),
            ('{"type":1,"invocationId":"0","target":"\\u0061DD","arguments":["x"]}', "Add"),
            ('{"type":1,"invocationId":"0","arguments":["x"],"target":"aDD"}', "Add"),
        ]:
            client.send(text + "\x1e")
            assert json.loads(str(client.receive())[:-1])["error"] == f"Failed to invoke '{name}' due to an error on the server."
        client.send(call("nOPE"))
        assert json.loads(str(client.receive())[:-1])["error"] == "Failed to invoke 'nOPE' due to an error" + detail


def test_messagepack_over_a_web_socket(peer_site: PeerSite) -> None:
    """Five items, six and seven; unknown types, pings, a bad argument, and a Close of two items."""
    with raw_socket(f"{peer_site.url}/peer") as client:
        client.send(frame(BINARY, b'{"protocol":"messagepack","version":1}\x1e'))
        assert client.receive() == (BINARY, b"{}\x1e")
        further: list[list[Any]] = [[], [[]], [[], None]]
        for more in further:
            client.send(frame(BINARY, framed(1, {}, "7", "Echo", ["é"], *more)))
            assert client.receive() == (BINARY, bytes.fromhex("09 95 03 80 a137 03 a2c3a9"))
        client.send(frame(BINARY, framed(42) + framed(6) + framed(1, {}, "8", "aDD", None)))
        _, data = client.receive()
        assert msgpack.unpackb(data[2:] if data[0] > 127 else data[1:]) == [
            *(3, {}, "8", 1),
            "Failed to invoke 'Add' due to an error on the server. InvalidDataException: Reading array length for 'arguments' failed.",
        ]
        client.send(frame(BINARY, framed(7, None)))
        assert client.receive() == (BINARY, bytes.fromhex("04 93 07 c0 c2"))
        assert client.end() == 1000
