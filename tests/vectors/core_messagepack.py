"""The ``messagepack`` hub protocol of ASP.NET Core SignalR."""

from __future__ import annotations

from signalr_channels.protocols.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Ping,
    SequenceMessage,
    StreamInvocation,
    StreamItem,
)
from tests.vectors.rows import Direction, Vector

OBSERVED = "observed: ASP.NET Core 10.0"
SPECIFICATION = "HubProtocol.md, MessagePack (MsgPack) Encoding"
JAVASCRIPT_CLIENT = "observed: @microsoft/signalr-protocol-msgpack 10.0"

HELLO = Invocation(invocation_id="1", target="Echo", arguments=["x"])


def hexadecimal(text: str) -> bytes:
    return bytes.fromhex(text)


VECTORS = [
    Vector(
        "an invocation", Invocation(invocation_id="0", target="Echo", arguments=["é"]),
        hexadecimal("0f 96 01 80 a130 a44563686f 91 a2c3a9 90"), OBSERVED,
    ),
    Vector(
        "an invocation nobody waits for", Invocation(target="Echo", arguments=[1, None, True]),
        hexadecimal("0e 96 01 80 c0 a44563686f 93 01 c0 c3 90"), SPECIFICATION,
    ),
    Vector(
        "an invocation with an upload stream", Invocation(invocation_id="1", target="Sum", arguments=[], stream_ids=["u"]),
        hexadecimal("0d 96 01 80 a131 a353756d 90 91 a175"), OBSERVED,
    ),
    Vector(
        "an invocation with headers", Invocation(invocation_id="1", target="Echo", arguments=["x"], headers={"a": "b"}),
        hexadecimal("12 96 01 81 a161 a162 a131 a44563686f 91 a178 90"), OBSERVED,
    ),
    Vector(
        "a stream invocation", StreamInvocation(invocation_id="1", target="Count", arguments=[3, 1]),
        hexadecimal("0f 96 04 80 a131 a5436f756e74 92 03 01 90"), OBSERVED,
    ),
    Vector("a stream item", StreamItem(invocation_id="1", item=0), hexadecimal("06 94 02 80 a131 00"), OBSERVED),
    Vector("a result", Completion(invocation_id="1", result="é"), hexadecimal("09 95 03 80 a131 03 a2c3a9"), OBSERVED),
    Vector("a nil result", Completion(invocation_id="2", result=None), hexadecimal("07 95 03 80 a132 03 c0"), OBSERVED),
    Vector("the end of a stream", Completion(invocation_id="1"), hexadecimal("06 94 03 80 a131 02"), OBSERVED),
    Vector("an error", Completion(invocation_id="1", error="no"), hexadecimal("09 95 03 80 a131 01 a26e6f"), OBSERVED),
    Vector("an empty error", Completion(invocation_id="1", error=""), hexadecimal("07 95 03 80 a131 01 a0"), OBSERVED),
    Vector("a cancellation", CancelInvocation(invocation_id="77"), hexadecimal("06 93 05 80 a23737"), OBSERVED),
    Vector("a ping", Ping(), hexadecimal("02 91 06"), OBSERVED),
    Vector("a plain close", Close(), hexadecimal("04 93 07 c0 c2"), OBSERVED),
    Vector("a close that invites back", Close(error="e", allow_reconnect=True), hexadecimal("05 93 07 a165 c3"), OBSERVED),
    Vector("an ack", Ack(sequence_id=5), hexadecimal("03 92 08 05"), OBSERVED),
    Vector("a sequence", SequenceMessage(sequence_id=1), hexadecimal("03 92 09 01"), OBSERVED),
    # Only read
    Vector(
        "five items", Invocation(invocation_id="0", target="Echo", arguments=["é"]),
        hexadecimal("0e 95 01 80 a130 a44563686f 91 a2c3a9"), JAVASCRIPT_CLIENT, Direction.READ,
    ),
    Vector("seven items", HELLO, hexadecimal("0f 97 01 80 a131 a44563686f 91 a178 90 c0"), OBSERVED, Direction.READ),
    Vector("a prefix longer than necessary", HELLO, hexadecimal("8d80808000 95 01 80 a131 a44563686f 91 a178"), OBSERVED, Direction.READ),
    Vector("bytes behind the array", HELLO, hexadecimal("0e 95 01 80 a131 a44563686f 91 a178 c0"), OBSERVED, Direction.READ),
    Vector("a wide type", HELLO, hexadecimal("0f 95 cd0001 80 a131 a44563686f 91 a178"), OBSERVED, Direction.READ),
    Vector("a wide string", HELLO, hexadecimal("0e 95 01 80 a131 d9044563686f 91 a178"), OBSERVED, Direction.READ),
    Vector("wide arrays", HELLO, hexadecimal("11 dc0005 01 80 a131 a44563686f dc0001 a178"), OBSERVED, Direction.READ),
    Vector(
        "an id that is nil", Invocation(target="Echo", arguments=["x"]),
        hexadecimal("0c 95 01 80 c0 a44563686f 91 a178"), OBSERVED, Direction.READ,
    ),
    Vector(
        "an empty id", Invocation(target="Echo", arguments=["x"]),
        hexadecimal("0c 95 01 80 a0 a44563686f 91 a178"), OBSERVED, Direction.READ,
    ),
    Vector(
        "an id that is not UTF-8", Invocation(invocation_id="\ufffd", target="Echo", arguments=["x"]),
        hexadecimal("0d 95 01 80 a1ff a44563686f 91 a178"), OBSERVED, Direction.READ,
    ),
    Vector(
        "a completion of kind 1 with nil", Completion(invocation_id="7"),
        hexadecimal("07 95 03 80 a137 01 c0"), OBSERVED, Direction.READ,
    ),
    Vector("a ping with more", Ping(), hexadecimal("03 92 06 80"), OBSERVED, Direction.READ),
    Vector("a wide ping", Ping(), hexadecimal("0a 91 cf0000000000000006"), OBSERVED, Direction.READ),
    Vector("a close of two items", Close(), hexadecimal("03 92 07 c0"), JAVASCRIPT_CLIENT, Direction.READ),
    Vector("a negative sequence id", SequenceMessage(sequence_id=-1), hexadecimal("03 92 09 ff"), OBSERVED, Direction.READ),
]  # fmt: skip

DATA_ERROR = "InvalidDataException"
END_OF_STREAM = ("EndOfStreamException", "Attempted to read past the end of the stream.")
UNEXPECTED = "MessagePackSerializationException"

DEFECTS: list[tuple[bytes, str, str]] = [
    (b"", *END_OF_STREAM),
    (hexadecimal("dc"), *END_OF_STREAM),
    (hexadecimal("91"), *END_OF_STREAM),
    (hexadecimal("92 06"), *END_OF_STREAM),
    (hexadecimal("95 01 81"), *END_OF_STREAM),
    (hexadecimal("dd ffffffff"), *END_OF_STREAM),
    (hexadecimal("93 03 80 a137"), DATA_ERROR, "Reading 'resultKind' as Int32 failed."),
    (hexadecimal("94 03 80 a137 03"), *END_OF_STREAM),
    (hexadecimal("81 a474797065 01"), UNEXPECTED, "Unexpected msgpack code 129 (fixmap) encountered."),
    (hexadecimal("06"), UNEXPECTED, "Unexpected msgpack code 6 (positive fixint) encountered."),
    (hexadecimal("c0"), UNEXPECTED, "Unexpected msgpack code 192 (nil) encountered."),
    (hexadecimal("c1"), UNEXPECTED, "Unexpected msgpack code 193 ((never used)) encountered."),
    (hexadecimal("a178"), UNEXPECTED, "Unexpected msgpack code 161 (fixstr) encountered."),
    (hexadecimal("ca 00000000"), UNEXPECTED, "Unexpected msgpack code 202 (float 32) encountered."),
    (hexadecimal("ff"), UNEXPECTED, "Unexpected msgpack code 255 (negative fixint) encountered."),
    (hexadecimal("90"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("91 a131"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("91 c0"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("91 c3"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("91 c1"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("91 cb 3ff0000000000000"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("92 ce80000000 80"), DATA_ERROR, "Reading 'messageType' as Int32 failed."),
    (hexadecimal("95 01 c0 a131 a145 90"), DATA_ERROR, "Reading map length for 'headers' failed."),
    (hexadecimal("95 01 90 a131 a145 90"), DATA_ERROR, "Reading map length for 'headers' failed."),
    (hexadecimal("95 01 dfffffffff"), DATA_ERROR, "Reading map length for 'headers' failed."),
    (hexadecimal("91 05"), DATA_ERROR, "Reading map length for 'headers' failed."),
    (hexadecimal("95 01 81 a161 01 a131 a145 90"), DATA_ERROR, "Reading 'headers[0].Value' as String failed."),
    (hexadecimal("95 01 81 01 a161 a131 a145 90"), DATA_ERROR, "Reading 'headers[0].Key' as String failed."),
    (hexadecimal("95 01 81 a0 a161 a131 a145 90"), DATA_ERROR, "Null or empty key in header."),
    (hexadecimal("95 01 81 c0 a161 a131 a145 90"), DATA_ERROR, "Null or empty key in header."),
    (hexadecimal("95 01 81 a161 a0 a131 a145 90"), DATA_ERROR, "Null or empty value in header."),
    (hexadecimal("95 01 80 01 a145 90"), DATA_ERROR, "Reading 'invocationId' as String failed."),
    (hexadecimal("92 05 80"), DATA_ERROR, "Reading 'invocationId' as String failed."),
    (hexadecimal("93 01 80 a131"), DATA_ERROR, "Reading 'target' as String failed."),
    (hexadecimal("95 01 80 a131 c40145 90"), DATA_ERROR, "Reading 'target' as String failed."),
    (hexadecimal("95 01 80 a131 c0 90"), DATA_ERROR, "Null or empty target for Invocation message."),
    (hexadecimal("95 01 80 a131 a0 90"), DATA_ERROR, "Null or empty target for Invocation message."),
    (hexadecimal("95 04 80 a131 a0 90"), DATA_ERROR, "Null or empty target for StreamInvocation message."),
    (hexadecimal("95 04 80 a0 a145 90"), DATA_ERROR, "Null or empty invocation ID for StreamInvocation message."),
    (hexadecimal("95 04 80 c0 a145 90"), DATA_ERROR, "Null or empty invocation ID for StreamInvocation message."),
    (hexadecimal("94 02 80 a0 01"), DATA_ERROR, "Null or empty invocation ID for StreamItem message."),
    (hexadecimal("94 03 80 a0 02"), DATA_ERROR, "Null or empty invocation ID for Completion message."),
    (hexadecimal("93 05 80 c0"), DATA_ERROR, "Null or empty invocation ID for CancelInvocation message."),
    (hexadecimal("94 03 80 a137 04"), DATA_ERROR, "Invalid invocation result kind."),
    (hexadecimal("94 03 80 a137 c0"), DATA_ERROR, "Reading 'resultKind' as Int32 failed."),
    (hexadecimal("94 03 80 a137 01"), DATA_ERROR, "Reading 'error' as String failed."),
    (hexadecimal("95 03 80 a137 01 05"), DATA_ERROR, "Reading 'error' as String failed."),
    (hexadecimal("91 07"), DATA_ERROR, "Reading 'error' as String failed."),
    (hexadecimal("93 07 c0 c0"), DATA_ERROR, "Reading 'allowReconnect' as Boolean failed."),
    (hexadecimal("93 07 a178 a179"), DATA_ERROR, "Reading 'allowReconnect' as Boolean failed."),
    (hexadecimal("91 08"), DATA_ERROR, "Reading 'sequenceId' as Int64 failed."),
    (hexadecimal("92 08 c0"), DATA_ERROR, "Reading 'sequenceId' as Int64 failed."),
    (hexadecimal("92 09 cb 3ff0000000000000"), DATA_ERROR, "Reading 'sequenceId' as Int64 failed."),
    (hexadecimal("92 08 cfffffffffffffffff"), DATA_ERROR, "Reading 'sequenceId' as Int64 failed."),
    (hexadecimal("96 01 80 a131 a145 90 c0"), DATA_ERROR, "Reading array length for 'streamIds' failed."),
    (hexadecimal("96 01 80 a131 a145 90 91"), DATA_ERROR, "Reading array length for 'streamIds' failed."),
    (hexadecimal("96 01 80 a131 a145 90 92 a161 c0"), DATA_ERROR, "Null or empty value in streamIds received."),
    (hexadecimal("96 01 80 a131 a145 90 92 a161 a0"), DATA_ERROR, "Null or empty value in streamIds received."),
    (hexadecimal("96 01 80 a131 a145 90 92 a161 05"), UNEXPECTED, "Unexpected msgpack code 5 (positive fixint) encountered."),
]
"""Message without its prefix, the .NET exception, its text. Observed: ASP.NET Core 10.0."""

NO_ARRAY = "Reading array length for 'arguments' failed."
NOT_FITTING = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."

ARGUMENT_DEFECTS: list[tuple[bytes, str]] = [
    (hexadecimal("94 01 80 a131 a3416464"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 c0"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 81 a474657874 a178"), NO_ARRAY),
    (hexadecimal("96 01 80 a131 a3416464 80 c0"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 dc"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 dc0002 ff"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 dd ffffffff"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 93"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 92 01"), NO_ARRAY),
    (hexadecimal("95 01 80 a131 a3416464 92 01 cd00"), NOT_FITTING),
    (hexadecimal("95 01 80 a131 a3416464 92 01 c1"), NOT_FITTING),
    (hexadecimal("95 01 80 a131 a3416464 92 01 a178"), NOT_FITTING),
    (hexadecimal("95 01 80 a131 a3416464 92 01 c0"), NOT_FITTING),
    (hexadecimal("95 01 80 a131 a3416464 92 01 cb 3ff0000000000000"), NOT_FITTING),
    (hexadecimal("95 01 80 a131 a3416464 91 a178"), "Invocation provides 1 argument(s) but target expects 2."),
    (hexadecimal("95 01 80 a131 a3416464 93 a178 01 02"), "Invocation provides 3 argument(s) but target expects 2."),
]
"""Messages without prefix that end one invocation of ``Add(int, int)``, and why. Observed: ASP.NET Core 10.0."""
