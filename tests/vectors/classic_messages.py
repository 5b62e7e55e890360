"""What goes to and fro inside the transports of ASP.NET SignalR 2: calls, answers, progress, calls of client methods, conversions."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from signalr_channels.protocols.messages import Invocation
from tests.vectors.rows import Direction, Vector

OBSERVED = "observed: ASP.NET SignalR 2.4.1"
JQUERY = "jquery.signalR 2.4.3"
DOTNET_CLIENT = "Microsoft.AspNet.SignalR.Client 2.4.2"
OURS = "ours: the reference differs, or was not asked"

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

# Calls


@dataclass(frozen=True)
class Call:
    """A call and its text."""

    name: str
    wire: str
    source: str
    hub: str = "peer"
    method: str = "Echo"
    arguments: tuple[Any, ...] = ("x",)
    invocation_id: str | None = "0"
    state: Mapping[str, Any] | None = None


CALLS = [
    Call("from a page", '{"H":"peer","M":"Echo","A":["x"],"I":0}', JQUERY),
    Call("from .NET", '{"I":"0","H":"Peer","M":"Echo","A":["x"]}', DOTNET_CLIENT, hub="Peer"),
    Call("with state", '{"H":"peer","M":"Echo","A":["x"],"I":0,"S":{"n":5,"a":{"b":[1]}}}', JQUERY, state={"n": 5, "a": {"b": [1]}}),
    Call("state that is null", '{"H":"peer","M":"Echo","A":["x"],"I":0,"S":null}', OBSERVED),
    Call("state that is empty", '{"H":"peer","M":"Echo","A":["x"],"I":0,"S":{}}', OBSERVED, state={}),
    Call("no arguments", '{"H":"peer","M":"Nothing","I":0}', OBSERVED, method="Nothing", arguments=()),
    Call("null for arguments", '{"H":"peer","M":"Nothing","I":0,"A":null}', OBSERVED, method="Nothing", arguments=()),
    Call("unusual order", '{"S":{"a":1},"A":["x"],"I":0,"M":"Echo","H":"peer"}', OBSERVED, state={"a": 1}),
    Call("blanks", ' {\n "H" : "peer" ,\t"M":"Echo", "A" : [ "x" ] ,"I": 0 } \r\n', OBSERVED),
    Call("members in lower case", '{"h":"peer","m":"Echo","a":["x"],"i":0,"s":{"a":1}}', OBSERVED, state={"a": 1}),
    Call("repeated members", '{"H":"nope","H":"peer","M":"Echo","A":["y"],"A":["x"],"I":1,"I":0}', OBSERVED),
    Call("repeated members in another letter case", '{"H":"nope","h":"peer","M":"Echo","A":["y"],"a":["x"],"i":1,"I":0}', OBSERVED),
    Call("unknown members", '{"H":"peer","M":"Echo","A":["x"],"I":0,"X":{"H":1},"":[]}', OBSERVED),
    Call("text behind the object", '{"H":"peer","M":"Echo","A":["x"],"I":0} {}', OBSERVED),
    Call("names of other types", '{"H":"peer","M":5,"A":["x"],"I":0}', OBSERVED, method="5"),
    Call("a truth value for a name", '{"H":"peer","M":true,"A":["x"],"I":0}', OBSERVED, method="true"),
    Call("an empty name", '{"H":"peer","M":"","A":["x"],"I":0}', OBSERVED, method=""),
    Call("escaped names", r'{"\u0048":"pe\u0065r","M":"Ech\u006f","A":["x"],"I":0}', OBSERVED),
    Call("half a surrogate pair", r'{"H":"peer","M":"Echo","A":["x"],"I":"\ud800"}', OBSERVED, invocation_id="\ufffd"),
    *(
        Call(f"id {wire}", f'{{"H":"peer","M":"Echo","A":["x"],"I":{wire}}}', OBSERVED, invocation_id=text)
        for wire, text in [
            ("7", "7"), ('"7"', "7"), ('"a b"', "a b"), ('""', ""), ("-1", "-1"), ("1.5", "1.5"), ("1.0", "1.0"), ("1e2", "1e2"),
            ("true", "true"), ("false", "false"), ("null", None), ("12345678901234567890", "12345678901234567890"),
            ("12345678901234567890123", "12345678901234567890123"), ("-0.0", "-0.0"),
        ]
    ),
    Call("id -0", '{"H":"peer","M":"Echo","A":["x"],"I":-0}', OURS),
    Call("no id", '{"H":"peer","M":"Echo","A":["x"]}', OBSERVED, invocation_id=None),
]  # fmt: skip


@dataclass(frozen=True)
class Defect:
    """A text that is no call, and what of its id can be read."""

    name: str
    wire: str
    source: str
    invocation_id: str | None = "7"
    text: str | None = None
    """The error text, if it is the reference's."""


TOO_DEEP = "The reader's MaxDepth of 20 has been exceeded."
TOO_LONG = "State has exceeded the maximum length of 4096 bytes."


def state_of(length: int, character: str = "x") -> str:
    """The JSON of a state so many times this character long, and 8 more."""
    return f'{{"a":"{character * length}"}}'


def with_state(state: str) -> str:
    return f'{{"H":"peer","M":"Echo","A":["x"],"I":7,"S":{state}}}'


def nested_state(depth: int) -> str:
    return f'{{"a":{"[" * (depth - 1)}{"]" * (depth - 1)}}}'


DEFECTS = [
    Defect("no JSON", "not json", OBSERVED, None),
    Defect("nothing", "", OBSERVED, None),
    Defect("blanks", "  ", OBSERVED, None),
    Defect("an array", "[]", OBSERVED, None),
    Defect("a text", '"text"', OBSERVED, None),
    Defect("a number", "1", OBSERVED, None),
    Defect("null", "null", OBSERVED, None),
    Defect("an empty object", "{}", OBSERVED, None),
    Defect("a byte order mark", '\ufeff{"H":"peer","M":"Echo","A":["x"],"I":7}', OBSERVED, None),
    Defect("cut off behind the id", '{"I":7,"H":"peer"', OBSERVED),
    Defect("cut off in the id", '{"H":"peer","I":"7', OBSERVED, None),
    Defect("an object for an id", '{"H":"peer","M":"Echo","A":["x"],"I":{}}', OBSERVED, None),
    Defect("an array for an id", '{"H":"peer","M":"Echo","A":["x"],"I":[1]}', OBSERVED, None),
    Defect("no hub", '{"M":"Echo","A":["x"],"I":7}', OBSERVED),
    Defect("null for a hub", '{"H":null,"M":"Echo","A":["x"],"I":7}', OBSERVED),
    Defect("an empty hub", '{"H":"","M":"Echo","A":["x"],"I":7}', OBSERVED),
    Defect("no method", '{"H":"peer","A":["x"],"I":7}', OBSERVED),
    Defect("null for a method", '{"H":"peer","M":null,"A":["x"],"I":7}', OBSERVED),
    Defect("an array for a method", '{"H":"peer","M":["Echo"],"A":["x"],"I":7}', OBSERVED),
    Defect("an object for arguments", '{"H":"peer","M":"Echo","A":{},"I":7}', OBSERVED),
    Defect("a text for arguments", '{"H":"peer","M":"Echo","A":"x","I":7}', OBSERVED),
    Defect("a number for arguments", '{"H":"peer","M":"Echo","A":5,"I":7}', OBSERVED),
    *(Defect(f"state {state}", with_state(state), OBSERVED) for state in ("[]", '"x"', "5", "false")),
    Defect("state a character too long", with_state(state_of(4089)), OBSERVED, text=TOO_LONG),
    Defect("state of 4,089 letters that are not ASCII", with_state(state_of(4089, "ü")), OBSERVED, text=TOO_LONG),
    Defect("state of 2,045 surrogate pairs", with_state(state_of(2045, "\U0001f600")), OBSERVED, text=TOO_LONG),
    Defect("state with 682 line separators", with_state(state_of(682, "\u2028")), OBSERVED, text=TOO_LONG),
    Defect("state with 682 controls", with_state(state_of(682, r"\u0001")), OBSERVED, text=TOO_LONG),
    Defect("state with 2,045 backspaces", with_state(state_of(2045, r"\b")), OBSERVED, text=TOO_LONG),
    Defect("state 21 levels deep", with_state(nested_state(21)), OBSERVED, text=TOO_DEEP),
    Defect("single quotes", "{'H':'peer','M':'Echo','A':['x'],'I':7}", OURS, None),
    Defect("a comma too many", '{"H":"peer","M":"Echo","A":["x"],"I":7,}', OURS),
]

FITTING_STATES = [
    state_of(4088), state_of(4088, "ü"), state_of(4088, r"\u00fc"), state_of(2044, "\U0001f600"), state_of(681, "\u2028"),
    state_of(681, r"\u0001"), state_of(2044, r"\b"), state_of(4088, "/"), state_of(4088, "\x7f"), f'  {{ "a" : "{"x" * 4088}" }}  ',
    nested_state(20),
]  # fmt: skip
"""As long, or as deep, as may be. Observed as well."""

# Answers


@dataclass(frozen=True)
class Answer:
    """Keywords of an answer and its bytes."""

    name: str
    keywords: Mapping[str, Any]
    wire: bytes
    source: str
    invocation_id: str | None = "3"


ANSWERS = [
    Answer("a result", {"result": "plain"}, b'{"R":"plain","I":"3"}', OBSERVED),
    Answer("no result", {}, b'{"I":"3"}', OBSERVED),
    Answer("a null result", {"result": None}, b'{"I":"3"}', OBSERVED),
    Answer("results that are false", {"result": 0}, b'{"R":0,"I":"3"}', OBSERVED),
    Answer("an empty result", {"result": ""}, b'{"R":"","I":"3"}', OBSERVED),
    Answer("without an id", {"result": "x"}, b'{"R":"x","I":null}', OBSERVED, None),
    Answer("with an empty id", {"result": "x"}, b'{"R":"x","I":""}', OBSERVED, ""),
    Answer("an error", {"error": "boom"}, b'{"I":"3","E":"boom"}', OBSERVED),
    Answer("a hub exception", {"error": "boom", "is_hub_exception": True}, b'{"I":"3","H":true,"E":"boom"}', OBSERVED),
    Answer(
        "a hub exception with data", {"error": "boom", "is_hub_exception": True, "error_data": {"text": "boom"}},
        b'{"I":"3","H":true,"E":"boom","D":{"text":"boom"}}', OBSERVED,
    ),
    Answer("data that is null", {"error": "", "is_hub_exception": True, "error_data": None}, b'{"I":"3","H":true,"E":""}', OURS),
    Answer("changed state", {"result": 6, "state": {"counter": 6}}, b'{"S":{"counter":6},"R":6,"I":"3"}', OBSERVED),
    Answer("changed state and an error", {"error": "e", "state": {"a": None}}, b'{"S":{"a":null},"I":"3","E":"e"}', OURS),
    Answer("state without changes", {"result": "x", "state": {}}, b'{"R":"x","I":"3"}', OBSERVED),
    Answer("markup and quotes", {"result": "<b>& ' \" \\ /"}, b'{"R":"<b>& \' \\" \\\\ /","I":"3"}', OBSERVED),
    Answer(
        "characters outside ASCII and controls", {"result": "ü€😀\t\x01\x1b\x7f\x85\u2028\u2029"},
        '{"R":"ü€😀\\t\\u0001\\u001b\x7f\\u0085\\u2028\\u2029","I":"3"}'.encode(), OBSERVED,
    ),
    Answer(
        "values of many types",
        {"result": {"Double": 1.5, "Bytes": b"\1\2\3", "Id": uuid.UUID(int=1), "Money": decimal.Decimal("12.50")}},
        b'{"R":{"Double":1.5,"Bytes":"AQID","Id":"00000000-0000-0000-0000-000000000001","Money":12.50},"I":"3"}', OBSERVED,
    ),
]  # fmt: skip

PROGRESS: list[tuple[str, str | None, object, Mapping[str, Any] | None, bytes, str]] = [
    ("a number", "5", 0, None, b'{"I":"P|5","P":{"I":"5","D":0}}', OBSERVED),
    ("an object and changed state", "a b", {"x": [1]}, {"n": 1}, b'{"S":{"n":1},"I":"P|a b","P":{"I":"a b","D":{"x":[1]}}}', OURS),
    ("nothing, to nobody", None, None, {}, b'{"I":"P|","P":{"I":null,"D":null}}', OURS),
    ("a line separator", '"', "\u2028", None, rb'{"I":"P|\"","P":{"I":"\"","D":"\u2028"}}', OURS),
]
"""Name, id, value, state, bytes, source."""

# Calls of client methods


def call(*arguments: object, target: str = "Message") -> Invocation:
    return Invocation(target=target, arguments=list(arguments))


ELEMENTS = [
    Vector("two texts", call("ToAll", "hi"), b'{"H":"peer","M":"Message","A":["ToAll","hi"]}', OBSERVED),
    Vector("no argument", call(target="ping"), b'{"H":"peer","M":"ping","A":[]}', OURS),
    Vector("markup", call("<b> & 'c'"), b'{"H":"peer","M":"Message","A":["<b> & \'c\'"]}', OBSERVED),
    Vector("values", call(None, True, -1, 1.5, [{}], {"a": []}), b'{"H":"peer","M":"Message","A":[null,true,-1,1.5,[{}],{"a":[]}]}', OURS),
    Vector("non-ASCII", call("é😀", target="é"), '{"H":"peer","M":"é","A":["é😀"]}'.encode(), OURS),
    Vector("line separators", call("\x85\u2028"), rb'{"H":"peer","M":"Message","A":["\u0085\u2028"]}', OBSERVED),
    Vector("unusual order", call("a"), b'{"A":["a"],"H":"peer","M":"Message"}', OURS, Direction.READ),
    Vector("with state", call("a"), b'{"H":"peer","M":"Message","A":["a"],"S":{"n":1}}', OURS, Direction.READ),
]  # fmt: skip

# Conversions: annotation, JSON, value

UTC = datetime.timezone.utc
GUID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")

CONVERSIONS: list[tuple[Any, str, object, str]] = [
    *((Int32, wire, value, OBSERVED) for wire, value in [
        ("1", 1), ('"1"', 1), ('" 1 "', 1), ('"+1"', 1), ('"007"', 7), ('"-0"', 0), ("-0", 0), (r'" 1\t\n"', 1), (r'"1\u000b"', 1),
        ('"-2147483648"', -(2**31)), ("2147483647", 2**31 - 1),
    ]),
    *((str, wire, value, OBSERVED) for wire, value in [
        ('"x"', "x"), ("5", "5"), ("true", "true"), ("false", "false"), ("1.50", "1.5"), ("1e2", "100.0"), ("1.0", "1.0"), ("-0", "0"),
        ("-0.0", "-0.0"), ("1e14", "100000000000000.0"), ("1e15", "1000000000000000.0"), ("1e16", "10000000000000000.0"),
        ("9999999999999998.0", "9999999999999998.0"), ("12345678901234567.0", "12345678901234568.0"),
        ("123456789012345680.0", "1.2345678901234568E+17"), ("1e22", "1E+22"), ("1.5e300", "1.5E+300"), ("1e-4", "0.0001"),
        ("0.00012345", "0.00012345"), ("1e-5", "1E-05"), ("-1e-7", "-1E-07"), ("1.5e-7", "1.5E-07"), ("5e-324", "5E-324"),
        ("123456789012345678", "123456789012345678"), ("12345678901234567890123", "12345678901234567890123"),
        ("1e400", "Infinity"), ("-1e400", "-Infinity"), (r'"\ud800"', "\ufffd"), (r'"\udc00a"', "\ufffda"), (r'"\ud83d\ude00"', "😀"),
        (r'"\\ud800"', r"\ud800"), ('"2024-01-02"', "2024-01-02"),
    ]),
    *((str, f'"{text}"', text, "ours: dates in texts stay as they are") for text in [
        "/Date(1700000000000)/", "2024-01-02T03:04:05.1234567+02:00", "2024-01-02T03:04:05.1200000Z",
    ]),
    *((bool, wire, value, OBSERVED) for wire, value in [
        ("true", True), ('"true"', True), ('" TRUE "', True), ('"False"', False), ("1", True), ("0", False), ("1.5", True),
    ]),
    *((float, wire, value, OBSERVED) for wire, value in [
        ("1.5", 1.5), ("5", 5.0), ('"1.5"', 1.5), ('" 1.5 "', 1.5), ('"1,000.5"', 1000.5), ('"1e3"', 1000.0), ('"+.5"', 0.5), ('"5."', 5.0),
    ]),
    *((decimal.Decimal, wire, decimal.Decimal(value), OBSERVED) for wire, value in [
        ("12.5", "12.5"), ('"12.50"', "12.50"), ('" 1 "', "1"), ('"1e2"', "1e2"), ("1e2", "1e2"), ('"1,000"', "1000"), ("5", "5"),
    ]),
    *((bytes, wire, value, OBSERVED) for wire, value in [('"AQID"', b"\1\2\3"), ("[1,2,3]", b"\1\2\3"), ('""', b""), ("[]", b"")]),
    *((uuid.UUID, wire, GUID, OBSERVED) for wire in [
        f'"{GUID}"', f'"{GUID.hex}"', f'"{{{GUID}}}"', f'"({GUID})"', f'"{str(GUID).upper()}"',
    ]),
    *((datetime.datetime, wire, value, OBSERVED) for wire, value in [
        ('"2024-01-02T03:04:05Z"', datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ('"2024-01-02T03:04:05"', datetime.datetime(2024, 1, 2, 3, 4, 5)),
        ('"2024-01-02 03:04:05"', datetime.datetime(2024, 1, 2, 3, 4, 5)),
        ('"2024-01-02"', datetime.datetime(2024, 1, 2)),
    ]),
    *((list[Int32], wire, value, OBSERVED) for wire, value in [("[1,2]", [1, 2]), ('["1",2," 3 "]', [1, 2, 3]), ("[]", [])]),
    *((dict[str, Int32], wire, value, OBSERVED) for wire, value in [('{"a":"1","b":2}', {"a": 1, "b": 2}), ("{}", {})]),
]  # fmt: skip

INT32_MISFITS = [
    ("1.0", "Input string '1.0' is not a valid integer. Path '', line 1, position 3."),
    ("1.5", "Input string '1.5' is not a valid integer. Path '', line 1, position 3."),
    ("1e0", "Input string '1.0' is not a valid integer. Path '', line 1, position 3."),
    ("1e2", "Input string '100.0' is not a valid integer. Path '', line 1, position 5."),
    ("null", "Error converting value {null} to type 'System.Int32'. Path '', line 1, position 4."),
    ('""', "Error converting value {null} to type 'System.Int32'. Path '', line 1, position 2."),
    ("true", "Unexpected character encountered while parsing value: t. Path '', line 1, position 1."),
    ("{}", "Unexpected character encountered while parsing value: {. Path '', line 1, position 1."),
    ("[]", "Unexpected character encountered while parsing value: [. Path '', line 1, position 1."),
    ("2147483648", "JSON integer 2147483648 is too large or small for an Int32. Path '', line 1, position 10."),
    ('"2147483648"', "Could not convert string to integer: 2147483648. Path '', line 1, position 12."),
    ('"x"', "Could not convert string to integer: x. Path '', line 1, position 3."),
    ('"1.0"', "Could not convert string to integer: 1.0. Path '', line 1, position 5."),
    ('"1e2"', "Could not convert string to integer: 1e2. Path '', line 1, position 5."),
    ('"1,000"', "Could not convert string to integer: 1,000. Path '', line 1, position 7."),
    ('"0x1F"', "Could not convert string to integer: 0x1F. Path '', line 1, position 6."),
    ('"\uff11"', "Could not convert string to integer: \uff11. Path '', line 1, position 3."),
    (r'"1\u0085"', "Could not convert string to integer: 1\x85. Path '', line 1, position 9."),
]
"""JSON and the error text. Observed."""

MISFITS: list[tuple[Any, str, str]] = [
    *((str, wire, OBSERVED) for wire in ("{}", "[1]", "[]")),
    (str, "null", "ours: Json.NET takes null for any text; here the annotation says"),
    *((bool, wire, OBSERVED) for wire in ('"1"', '""', "null", '"x"')),
    *((float, wire, OBSERVED) for wire in ("true", '""', "null", '"x"')),
    *((decimal.Decimal, wire, OBSERVED) for wire in ("true", '""', "null", '"x"')),
    *((bytes, wire, OBSERVED) for wire in ('"AQI"', "5", '["1",2]', "[300]")),
    *((uuid.UUID, wire, OBSERVED) for wire in ('""', "5", '"x"')),
    *((datetime.datetime, wire, OBSERVED) for wire in ("5", '"x"', "null", '""')),
    *((list[Int32], wire, OBSERVED) for wire in ('"x"', "{}", "1", "[null]", "[1.5]")),
    *((dict[str, Int32], wire, OBSERVED) for wire in ("[]", '{"a":1.5}')),
    *((float, wire, "ours: JSON cannot hold it") for wire in ('"NaN"', '"Infinity"')),
]
