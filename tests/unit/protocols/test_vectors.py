"""The tables of messages and their bytes, read in both directions and cut at every byte."""

from __future__ import annotations

import msgspec
import pytest

from signalr_channels.protocols.base import Data, HubProtocol
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.messages import HubMessage
from tests.vectors import core_json, core_messagepack
from tests.vectors.rows import Direction, Vector

JSON = JsonHubProtocol()
MESSAGEPACK = MessagePackHubProtocol()
ROWS = [(JSON, row) for row in core_json.VECTORS] + [(MESSAGEPACK, row) for row in core_messagepack.VECTORS]
WRITTEN = [(protocol, row) for protocol, row in ROWS if row.direction is Direction.BOTH]


def name(value: object) -> str:
    return value.name if isinstance(value, (HubProtocol, Vector)) else repr(value)


def plain(protocol: HubProtocol, message: HubMessage | None) -> HubMessage | None:
    """The message with decoded values in place of raw ones."""
    decode = msgspec.json.decode if protocol is JSON else msgspec.msgpack.decode
    changes = {
        field: decode(value) for field in ("arguments", "item", "result") if isinstance(value := getattr(message, field, None), msgspec.Raw)
    }
    return msgspec.structs.replace(message, **changes) if message is not None and changes else message


def read(protocol: HubProtocol, *chunks: Data) -> list[HubMessage | None]:
    splitter = protocol.splitter(1024)
    frames = [frame for chunk in chunks for frame in splitter.feed(chunk)]
    assert splitter.error is None
    assert splitter.pending == 0
    return [plain(protocol, protocol.parse(frame)) for frame in frames]


@pytest.mark.parametrize(("protocol", "row"), ROWS, ids=name)
def test_bytes_become_the_message(protocol: HubProtocol, row: Vector) -> None:
    assert read(protocol, row.wire) == [row.message]


@pytest.mark.parametrize(("protocol", "row"), WRITTEN, ids=name)
def test_the_message_becomes_the_bytes(protocol: HubProtocol, row: Vector) -> None:
    assert protocol.encode(row.message) == row.wire


@pytest.mark.parametrize("row", [row for row in core_json.VECTORS if b"\xff" not in row.wire], ids=name)
def test_text_chunks_read_as_bytes_do(row: Vector) -> None:
    text = row.wire.decode()
    assert read(JSON, text) == [row.message]
    for cut in range(1, len(text)):
        assert read(JSON, text[:cut], text[cut:]) == [row.message]


@pytest.mark.parametrize(("protocol", "row"), ROWS, ids=name)
def test_a_message_may_be_cut_at_every_byte(protocol: HubProtocol, row: Vector) -> None:
    for cut in range(1, len(row.wire)):
        assert read(protocol, row.wire[:cut], row.wire[cut:]) == [row.message]
    assert read(protocol, *(row.wire[index : index + 1] for index in range(len(row.wire)))) == [row.message]


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=name)
def test_all_messages_of_a_table_in_one_chunk(protocol: HubProtocol) -> None:
    rows = [row for one, row in ROWS if one is protocol]
    assert read(protocol, b"".join(row.wire for row in rows)) == [row.message for row in rows]
