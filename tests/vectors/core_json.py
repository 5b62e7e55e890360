"""The ``json`` hub protocol of ASP.NET Core SignalR."""

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
SPECIFICATION = "HubProtocol.md, JSON Encoding"
JAVASCRIPT_CLIENT = "observed: @microsoft/signalr 10.0"

VECTORS = [
    Vector(
        "an invocation", Invocation(invocation_id="1", target="Echo", arguments=["é"]),
        '{"type":1,"invocationId":"1","target":"Echo","arguments":["é"]}\x1e'.encode(), OBSERVED,
    ),
    Vector(
        "an invocation nobody waits for", Invocation(target="Send", arguments=[42, "Test Message"]),
        b'{"type":1,"target":"Send","arguments":[42,"Test Message"]}\x1e', SPECIFICATION,
    ),
    Vector(
        "an invocation with upload streams", Invocation(invocation_id="1", target="Join2", arguments=[], stream_ids=["b", "a"]),
        b'{"type":1,"invocationId":"1","target":"Join2","arguments":[],"streamIds":["b","a"]}\x1e', OBSERVED,
    ),
    Vector(
        "an invocation with headers", Invocation(invocation_id="1", target="Echo", arguments=["x"], headers={"a": "b", "": ""}),
        b'{"type":1,"headers":{"a":"b","":""},"invocationId":"1","target":"Echo","arguments":["x"]}\x1e', OBSERVED,
    ),
    Vector(
        "a stream invocation", StreamInvocation(invocation_id="1", target="Count", arguments=[3, 1]),
        b'{"type":4,"invocationId":"1","target":"Count","arguments":[3,1]}\x1e', OBSERVED,
    ),
    Vector(
        "a stream invocation with an upload stream", StreamInvocation(invocation_id="1", target="Relay", arguments=[], stream_ids=["u"]),
        b'{"type":4,"invocationId":"1","target":"Relay","arguments":[],"streamIds":["u"]}\x1e', OBSERVED,
    ),
    Vector("a stream item", StreamItem(invocation_id="1", item=0), b'{"type":2,"invocationId":"1","item":0}\x1e', OBSERVED),
    Vector(
        "a stream item with headers", StreamItem(invocation_id="1", item=None, headers={"a": "b"}),
        b'{"type":2,"headers":{"a":"b"},"invocationId":"1","item":null}\x1e', SPECIFICATION,
    ),
    Vector(
        "a result", Completion(invocation_id="1", result="é"), '{"type":3,"invocationId":"1","result":"é"}\x1e'.encode(), OBSERVED,
    ),
    Vector("a null result", Completion(invocation_id="2", result=None), b'{"type":3,"invocationId":"2","result":null}\x1e', OBSERVED),
    Vector("the end of a stream", Completion(invocation_id="1"), b'{"type":3,"invocationId":"1"}\x1e', OBSERVED),
    Vector("an error", Completion(invocation_id="77", error="e"), b'{"type":3,"invocationId":"77","error":"e"}\x1e', OBSERVED),
    Vector(
        "a result with headers", Completion(invocation_id="1", result=[1], headers={"a": "b"}),
        b'{"type":3,"headers":{"a":"b"},"invocationId":"1","result":[1]}\x1e', SPECIFICATION,
    ),
    Vector(
        "an id that needs escapes", Completion(invocation_id='é "\x00<', result="x"),
        '{"type":3,"invocationId":"é \\"\\u0000<","result":"x"}\x1e'.encode(), OBSERVED,
    ),
    Vector("a cancellation", CancelInvocation(invocation_id="77"), b'{"type":5,"invocationId":"77"}\x1e', OBSERVED),
    Vector("a ping", Ping(), b'{"type":6}\x1e', OBSERVED),
    Vector("a plain close", Close(), b'{"type":7}\x1e', OBSERVED),
    Vector(
        "a close with an error", Close(error="Connection closed with an error.", allow_reconnect=True),
        b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}\x1e', OBSERVED,
    ),
    Vector("a close that invites back", Close(allow_reconnect=True), b'{"type":7,"allowReconnect":true}\x1e', OBSERVED),
    Vector("an ack", Ack(sequence_id=5), b'{"type":8,"sequenceId":5}\x1e', OBSERVED),
    Vector("a sequence", SequenceMessage(sequence_id=1), b'{"type":9,"sequenceId":1}\x1e', OBSERVED),
    # Only read
    Vector(
        "type last", Invocation(invocation_id="0", target="Echo", arguments=["x"]),
        b'{"target":"Echo","arguments":["x"],"invocationId":"0","type":1}\x1e', JAVASCRIPT_CLIENT, Direction.READ,
    ),
    Vector(
        "an empty id means non-blocking", Invocation(target="Echo", arguments=["x"]),
        b'{"type":1,"invocationId":"","target":"Echo","arguments":["x"]}\x1e', OBSERVED, Direction.READ,
    ),
    Vector(
        "unknown members", Invocation(invocation_id="1", target="Echo", arguments=["x"]),
        b'{"type":1,"invocationId":"1","x":{"type":7,"y":[[]]},"target":"Echo","arguments":["x"],"error":"e"}\x1e',
        OBSERVED, Direction.READ,
    ),
    Vector(
        "a member twice", Invocation(invocation_id="1", target="Echo", arguments=["x"]),
        b'{"type":1,"invocationId":"1","target":"Nothing","target":"Echo","arguments":["x"]}\x1e', OBSERVED, Direction.READ,
    ),
    Vector(
        "escaped names", Invocation(invocation_id="1", target="Echo", arguments=["é😀/"]),
        b'{"\\u0074ype":1,"invocation\\u0049d":"1","t\\u0061rget":"Ech\\u006F","arguments":["\\u00e9\\ud83d\\ude00\\/"]}\x1e',
        OBSERVED, Direction.READ,
    ),
    Vector(
        "blanks", Invocation(invocation_id="1", target="Echo", arguments=["x"]),
        b' \t\r\n{ "type" : 1 , "invocationId" : "1" , "target" : "Echo" , "arguments" : [ "x" ] } \n\x1e', OBSERVED, Direction.READ,
    ),
    Vector("text behind the object", Ping(), b'{"type":6}x\x1e', OBSERVED, Direction.READ),
    Vector("another object behind the object", Ping(), b'{"type":6}{"type":6}\x1e', OBSERVED, Direction.READ),
    Vector("a ping with more", Ping(), b'{"type":6,"invocationId":"1","error":"e"}\x1e', OBSERVED, Direction.READ),
    Vector("a ping with a null sequence id", Ping(), b'{"type":6,"sequenceId":null}\x1e', OBSERVED, Direction.READ),
    Vector("a negative sequence id", Ack(sequence_id=-1), b'{"type":8,"sequenceId":-1}\x1e', OBSERVED, Direction.READ),
    Vector("no stream ids", Invocation(target="E", arguments=[]), b'{"type":1,"target":"E","arguments":[],"streamIds":[]}\x1e',
           OBSERVED, Direction.READ),
    Vector("an empty target", Invocation(target="", arguments=[]), b'{"type":1,"target":"","arguments":[]}\x1e', OBSERVED, Direction.READ),
    Vector("a close that does not invite", Close(error=""), b'{"type":7,"error":"","allowReconnect":false}\x1e', OBSERVED, Direction.READ),
    Vector("bytes that are not UTF-8 in an unknown name", Ping(), b'{"type":6,"\xff":1}\x1e', OBSERVED, Direction.READ),
    Vector("bytes that are not UTF-8 in an unknown value", Ping(), b'{"type":6,"x":"\xff"}\x1e', OBSERVED, Direction.READ),
]  # fmt: skip

DATA_ERROR = "InvalidDataException"
OPERATION_ERROR = "InvalidOperationException"
FORMAT_ERROR = "FormatException"
READING = "Error reading JSON."
NOT_UTF8 = "Cannot transcode invalid UTF-8 JSON text to UTF-16 string."
INT32 = "Either the JSON value is not in a supported format, or is out of bounds for an Int32."
INT64 = "Either the JSON value is not in a supported format, or is out of bounds for an Int64."

DEFECTS: list[tuple[bytes, str, str]] = [
    (b'{"target":"Echo","arguments":["x"],"invocationId":"1"}', DATA_ERROR, "Missing required property 'type'."),
    (b'{"Type":1,"InvocationId":"1","Target":"Echo","Arguments":["x"]}', DATA_ERROR, "Missing required property 'type'."),
    (b"{}", DATA_ERROR, "Missing required property 'type'."),
    (b'{"type":null}', DATA_ERROR, "Expected 'type' to be of type Number."),
    (b'{"type":"1"}', DATA_ERROR, "Expected 'type' to be of type Number."),
    (b'{"type":true}', DATA_ERROR, "Expected 'type' to be of type Number."),
    (b'{"type":[1,b}', DATA_ERROR, "Expected 'type' to be of type Number."),
    (b'{"type":6,"type":null}', DATA_ERROR, "Expected 'type' to be of type Number."),
    (b'{"type":1.0}', FORMAT_ERROR, INT32),
    (b'{"type":1e0}', FORMAT_ERROR, INT32),
    (b'{"type":2147483648}', FORMAT_ERROR, INT32),
    (b'{"type":99999999999999999999999999}', FORMAT_ERROR, INT32),
    (b'{"type":1,"invocationId":1}', DATA_ERROR, "Expected 'invocationId' to be of type String."),
    (b'{"type":1,"invocationId":null}', DATA_ERROR, "Expected 'invocationId' to be of type String."),
    (b'{"type":1,"target":null}', DATA_ERROR, "Expected 'target' to be of type String."),
    (b'{"type":1,"target":{}}', DATA_ERROR, "Expected 'target' to be of type String."),
    (b'{"type":7,"error":null}', DATA_ERROR, "Expected 'error' to be of type String."),
    (b'{"type":42,"error":5}', DATA_ERROR, "Expected 'error' to be of type String."),
    (b'{"type":1,"target":"E","arguments":null}', DATA_ERROR, "Expected 'arguments' to be of type Array."),
    (b'{"type":1,"target":"E","arguments":{"text":"x"}}', DATA_ERROR, "Expected 'arguments' to be of type Array."),
    (b'{"type":1,"arguments":{"a', DATA_ERROR, "Expected 'arguments' to be of type Array."),
    (b'{"type":6,"arguments":5}', DATA_ERROR, "Expected 'arguments' to be of type Array."),
    (b'{"type":1,"streamIds":null}', DATA_ERROR, "Expected 'streamIds' to be of type Array."),
    (b'{"type":6,"streamIds":5}', DATA_ERROR, "Expected 'streamIds' to be of type Array."),
    (b'{"type":1,"streamIds":["a",null,5]}', DATA_ERROR, "Null value for 'streamIds' is not valid."),
    (b'{"type":1,"streamIds":[5]}', OPERATION_ERROR, "Cannot get the value of a token type 'Number' as a string."),
    (b'{"type":1,"streamIds":[true]}', OPERATION_ERROR, "Cannot get the value of a token type 'True' as a string."),
    (b'{"type":1,"streamIds":[{}]}', OPERATION_ERROR, "Cannot get the value of a token type 'StartObject' as a string."),
    (b'{"type":1,"streamIds":[[]]}', OPERATION_ERROR, "Cannot get the value of a token type 'StartArray' as a string."),
    (b'{"type":1,"streamIds":["\xff"]}', OPERATION_ERROR, NOT_UTF8),
    (b'{"headers":null,"type":6}', DATA_ERROR, "Expected 'headers' to be of type StartObject."),
    (b'{"headers":[],"type":6}', DATA_ERROR, "Expected 'headers' to be of type StartObject."),
    (b'{"headers":{"a":1},"type":6}', DATA_ERROR, "Expected header 'a' to be of type String."),
    (b'{"headers":{"\xc3\xa9":null},"type":6}', DATA_ERROR, "Expected header 'é' to be of type String."),
    (b'{"headers":{"a":{}},"type":6}', DATA_ERROR, "Expected header 'a' to be of type String."),
    (b'{"headers":{"\xff":"x"},"type":6}', OPERATION_ERROR, NOT_UTF8),
    (b'{"type":7,"allowReconnect":"true"}', DATA_ERROR, "Expected 'allowReconnect' to be true or false."),
    (b'{"type":7,"allowReconnect":null}', DATA_ERROR, "Expected 'allowReconnect' to be true or false."),
    (b'{"type":6,"allowReconnect":1}', DATA_ERROR, "Expected 'allowReconnect' to be true or false."),
    (b'{"type":8,"sequenceId":"1"}', DATA_ERROR, "Expected 'sequenceId' to be of type Number."),
    (b'{"type":8,"sequenceId":1.5}', FORMAT_ERROR, INT64),
    (b'{"type":6,"sequenceId":1e2}', FORMAT_ERROR, INT64),
    (b'{"type":9,"sequenceId":9223372036854775808}', FORMAT_ERROR, INT64),
    (b'{"type":1}', DATA_ERROR, "Missing required property 'target'."),
    (b'{"type":1,"invocationId":"1","arguments":["x"]}', DATA_ERROR, "Missing required property 'target'."),
    (b'{"type":1,"target":"E"}', DATA_ERROR, "Missing required property 'arguments'."),
    (b'{"type":2}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":2,"item":1}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":2,"invocationId":"1"}', DATA_ERROR, "Missing required property 'item'."),
    (b'{"type":3}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":3,"invocationId":""}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":4}', DATA_ERROR, "Missing required property 'target'."),
    (b'{"type":4,"target":"x"}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":4,"target":"Count","arguments":[1,0]}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":4,"invocationId":"","target":"Count","arguments":[1,0]}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":4,"target":"x","invocationId":"1"}', DATA_ERROR, "Missing required property 'arguments'."),
    (b'{"type":5}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":5,"invocationId":""}', DATA_ERROR, "Missing required property 'invocationId'."),
    (b'{"type":8}', DATA_ERROR, "Missing required property 'sequenceId'."),
    (b'{"type":8,"sequenceId":null}', DATA_ERROR, "Missing required property 'sequenceId'."),
    (b'{"type":9}', DATA_ERROR, "Missing required property 'sequenceId'."),
    (b'{"type":3,"invocationId":"1","result":1,"error":"e"}', DATA_ERROR, "The 'error' and 'result' properties are mutually exclusive."),
    (b'{"type":3,"invocationId":"1","result":null,"error":""}', DATA_ERROR, "The 'error' and 'result' properties are mutually exclusive."),
    (b"[]", DATA_ERROR, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    (b"[", DATA_ERROR, "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    (b"5", DATA_ERROR, "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
    (b'"x"', DATA_ERROR, "Unexpected JSON Token Type 'String'. Expected a JSON Object."),
    (b"true", DATA_ERROR, "Unexpected JSON Token Type 'True'. Expected a JSON Object."),
    (b"null", DATA_ERROR, "Unexpected JSON Token Type 'Null'. Expected a JSON Object."),
    (b"", DATA_ERROR, READING),
    (b" \t\r\n", DATA_ERROR, READING),
    (b"hello", DATA_ERROR, READING),
    (b"5x", DATA_ERROR, READING),
    (b'{"type":"1,b}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":"2]}', DATA_ERROR, READING),
    (b'{"type":1,"streamIds":[1\xff}', DATA_ERROR, READING),
    (b'\xef\xbb\xbf{"type":6}', DATA_ERROR, READING),
    (b"\xff", DATA_ERROR, READING),
    (b'{"type":6', DATA_ERROR, READING),
    (b'{"type":6,}', DATA_ERROR, READING),
    (b'{"type":01}', DATA_ERROR, READING),
    (b'{"type":1,/* c */"target":"E","arguments":[]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":["x",]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":[NaN]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":["\x01"]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":["\\x"]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":[1 2]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":[\xff]}', DATA_ERROR, READING),
    (b'{"type":1,"target":"x\n"}', DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":' + b"[" * 64 + b"]" * 64 + b"}", DATA_ERROR, READING),
    (b'{"type":1,"x":' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}", DATA_ERROR, READING),
    (b'{"type":1,"target":"E","arguments":' + b"[" * 100_000, DATA_ERROR, READING),
    (b'{"type":1,"target":"\xff","arguments":[]}', OPERATION_ERROR, NOT_UTF8),
    (b'{"type":1,"target":"\\ud800","arguments":[]}', OPERATION_ERROR,
     "Cannot read incomplete UTF-16 JSON text as string with missing low surrogate."),
    (b'{"type":1,"target":"\\udc00","arguments":[]}', OPERATION_ERROR,
     "Cannot read invalid UTF-16 JSON text as string. Invalid surrogate value: '0xDC00'."),
]  # fmt: skip
"""Message without 0x1E, the .NET exception, its text. Observed: ASP.NET Core 10.0, with one exception: a comma behind the last argument
fails only the invocation there."""
