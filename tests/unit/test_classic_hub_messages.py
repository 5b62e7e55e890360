"""What a classic hub client sends, and what it is answered."""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signalr_channels.exceptions import LocalProtocolError, RemoteProtocolError
from signalr_channels.protocols.classic.hub_messages import (
    ClassicInvocation,
    InvalidInvocation,
    encode_progress,
    encode_response,
    escape_line_separators,
    parse_invocation,
    to_ascii,
)
from tests.vectors.classic_messages import (
    ANSWERS,
    CALLS,
    DEFECTS,
    FITTING_STATES,
    PROGRESS,
    TOO_LONG,
    Answer,
    Call,
    Defect,
    state_of,
    with_state,
)

THOROUGHLY = settings(max_examples=500, deadline=None)


def name(value: object) -> str | None:
    return value.name if isinstance(value, (Call, Defect, Answer)) else None


def plain(call: ClassicInvocation) -> tuple[Any, ...]:
    """Everything about a call, arguments decoded."""
    return call.hub, call.method, tuple(msgspec.json.decode(call.arguments)), call.invocation_id, call.state


def expected(row: Call) -> tuple[Any, ...]:
    return row.hub, row.method, row.arguments, row.invocation_id, row.state


def use(data: str | bytes) -> ClassicInvocation | InvalidInvocation:
    try:
        return parse_invocation(data)
    except InvalidInvocation as error:
        return error


# Reading


@pytest.mark.parametrize("row", CALLS, ids=name)
def test_calls(row: Call) -> None:
    assert plain(parse_invocation(row.wire)) == expected(row)
    assert plain(parse_invocation(row.wire.encode())) == expected(row)


@pytest.mark.parametrize("row", CALLS, ids=name)
def test_calls_with_an_unknown_member_in_front_take_the_slow_path_to_the_same_end(row: Call) -> None:
    assert plain(parse_invocation(row.wire.replace("{", '{"unknown":[{}],', 1))) == expected(row)


@pytest.mark.parametrize("row", DEFECTS, ids=name)
def test_texts_that_are_no_calls(row: Defect) -> None:
    for data in (row.wire, row.wire.encode()):
        with pytest.raises(InvalidInvocation) as caught:
            parse_invocation(data)
        assert isinstance(caught.value, RemoteProtocolError)
        assert caught.value.invocation_id == row.invocation_id
        assert str(caught.value) == caught.value.text != ""
        assert row.text is None or caught.value.text == row.text


@pytest.mark.parametrize("state", FITTING_STATES, ids=lambda state: state[:12])
def test_states_at_the_limit(state: str) -> None:
    assert parse_invocation(with_state(state)).state == json.loads(state)


def test_the_limit_of_the_state_is_an_argument() -> None:
    assert parse_invocation(with_state('{"a":12}'), 8).state == {"a": 12}
    with pytest.raises(InvalidInvocation, match=r"State has exceeded the maximum length of 7 bytes\."):
        parse_invocation(with_state('{"a":12}'), 7)


def test_a_state_can_be_written_again() -> None:
    state = parse_invocation(with_state('{"a":123456789012345678901234567890}')).state
    assert encode_response("7", state=state) == b'{"S":{"a":123456789012345678901234567890},"I":"7"}'


@pytest.mark.parametrize("value", ["1e400", '"\x01"', "1" * 5000])
def test_a_state_that_cannot_be_read(value: str) -> None:
    with pytest.raises(InvalidInvocation) as caught:
        parse_invocation(with_state(f'{{"a":{value}}}'))
    assert caught.value.invocation_id == "7"


def test_a_state_may_be_far_too_long() -> None:
    with pytest.raises(InvalidInvocation, match=TOO_LONG):
        parse_invocation(with_state(state_of(1_000_000)))


@pytest.mark.parametrize("digits", [20, 4300, 4301, 60_000])
def test_an_id_may_be_a_long_number(digits: int) -> None:
    assert parse_invocation(f'{{"H":"a","M":"b","I":{"1" * digits}}}').invocation_id == "1" * digits


def test_half_a_surrogate_pair_as_a_character() -> None:
    assert plain(parse_invocation('{"H":"a","M":"b\ud800","A":["\udc00"],"I":"\ud800"}')) == ("a", "b?", ("?",), "?", None)


def test_bytes_that_are_not_utf8() -> None:
    assert plain(parse_invocation(b'{"H":"a\xff","M":"b","I":1}')) == ("a\ufffd", "b", (), "1", None)


@pytest.mark.parametrize("depth", [20, 21, 63])
def test_deep_arguments_are_left_to_the_binding(depth: int) -> None:
    call = parse_invocation(f'{{"H":"a","M":"b","A":{"[" * depth}{"]" * depth},"I":1}}')
    assert bytes(call.arguments).count(b"[") == depth


@pytest.mark.parametrize("depth", [64, 900, 2_000, 10_000])
@pytest.mark.parametrize("method", ["M", "m"])
def test_a_message_has_a_limit_of_depth_whatever_the_python_and_its_stack(depth: int, method: str) -> None:
    deep = "[" * depth + "]" * depth
    for text, invocation_id in (
        (f'{{"I":1,"H":"a","{method}":"b","A":{deep}}}', "1"),
        (f'{{"H":"a","{method}":"b","A":{deep},"I":1}}', None),
    ):
        for data in (text, text.encode()):
            with pytest.raises(InvalidInvocation, match="maximum configured depth of 64") as caught:
                parse_invocation(data)
            assert caught.value.invocation_id == invocation_id


def test_brackets_beside_each_other_and_in_texts_are_no_depth() -> None:
    for arguments in ("[" + ",".join(["[{}]"] * 500) + "]", '["' + "[" * 500 + '","\\"' + "{" * 500 + '"]'):
        assert bytes(parse_invocation(f'{{"H":"a","M":"b","A":{arguments},"I":1}}').arguments).decode() == arguments


@pytest.mark.parametrize("depth", [1_000, 10_000, 100_000])
def test_arguments_without_a_bottom_end_in_the_documented_error(depth: int) -> None:
    for piece in ("[", '{"a":'):
        error = use(f'{{"I":1,"H":"a","M":"b","A":[{piece * depth}')
        assert isinstance(error, InvalidInvocation)
        assert error.invocation_id == "1"


PIECES = [
    '"', "\\", "{", "}", "[", "]", ",", ":", "1", "-", ".", "e", "null", "true", "\ud800", r"\ud800", " ", "\x00", "'", '"I":1,', '"i":1,',
    '"S":{},', '"A":[],', '"H":"a",', "\ufeff", "é",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A call or a defective one with some of it cut out, doubled or replaced."""
    data = draw(st.sampled_from([row.wire for row in (*CALLS, *DEFECTS) if len(row.wire) < 200]))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 6)))
        data = data[:start] + draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=2))) + data[end:]
    return data


@THOROUGHLY
@given(st.one_of(st.binary(max_size=60), st.text(st.characters(), max_size=60), mutated()))
def test_nothing_else_comes_out(data: str | bytes) -> None:
    use(data)
    if isinstance(data, str):
        use(data.encode("utf-8", "surrogatepass"))


MEMBER_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=4,
)


def outcome(data: str) -> object:
    result = use(data)
    return plain(result) if isinstance(result, ClassicInvocation) else (type(result.invocation_id), result.invocation_id, result.text)


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "H": st.one_of(st.text(max_size=4), MEMBER_VALUES),
            "M": st.one_of(st.text(max_size=4), MEMBER_VALUES),
            "A": st.one_of(st.lists(MEMBER_VALUES, max_size=3), MEMBER_VALUES),
            "I": st.one_of(st.integers(), st.text(max_size=4), MEMBER_VALUES),
            "S": st.one_of(st.dictionaries(st.text(max_size=3), MEMBER_VALUES, max_size=2), MEMBER_VALUES),
        },
    )
)
def test_both_ways_of_reading_agree(members: dict[str, object]) -> None:
    text = json.dumps(members)
    assert outcome(text) == outcome(json.dumps({key.lower(): value for key, value in members.items()}))
    assert outcome(text) == outcome(json.dumps({"X": 1, **members}, indent=1, ensure_ascii=False))


# Writing


@pytest.mark.parametrize("row", ANSWERS, ids=name)
def test_answers(row: Answer) -> None:
    assert encode_response(row.invocation_id, **row.keywords) == row.wire


@pytest.mark.parametrize("row", ANSWERS, ids=name)
def test_answers_read_back(row: Answer) -> None:
    members = msgspec.json.decode(to_ascii(row.wire))
    given_members = {
        "I": row.invocation_id, "R": row.keywords.get("result"), "S": row.keywords.get("state") or None, "E": row.keywords.get("error"),
        "H": row.keywords.get("is_hub_exception"), "D": row.keywords.get("error_data"),
    }  # fmt: skip
    written = msgspec.json.decode(
        msgspec.json.encode({key: value for key, value in given_members.items() if value is not None or key == "I"})
    )
    if row.name == "values of many types":  # a decimal is a number on the wire
        written["R"]["Money"] = 12.5
    assert members == written


@pytest.mark.parametrize(("title", "invocation_id", "value", "state", "wire", "source"), PROGRESS)
def test_progress(title: str, invocation_id: str | None, value: object, state: Mapping[str, Any] | None, wire: bytes, source: str) -> None:
    assert encode_progress(invocation_id, value, state) == wire
    read = msgspec.json.decode(wire)
    assert (read["P"]["I"], read["P"]["D"], read.get("S")) == (invocation_id, value, state or None)
    assert read["I"] == f"P|{invocation_id or ''}"


UNWRITABLE = [
    float("nan"), float("inf"), [float("-inf")], decimal.Decimal("NaN"), {"a": decimal.Decimal("Infinity")}, object(), "\ud800",
    {"a": object()},
]  # fmt: skip


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [*UNWRITABLE, endless()], ids=lambda value: repr(value)[:20])
def test_values_that_json_cannot_hold(value: Any) -> None:
    for write in (
        lambda: encode_response("1", result=value),
        lambda: encode_response("1", state={"a": value}),
        lambda: encode_response("1", error="e", error_data=value),
        lambda: encode_progress("1", value),
        lambda: encode_progress("1", 1, {"a": value}),
    ):
        with pytest.raises(LocalProtocolError):
            write()


def test_a_raw_result_is_copied() -> None:
    assert encode_response("1", result=msgspec.Raw(b'{"a":1}')) == b'{"R":{"a":1},"I":"1"}'


def test_line_separators_are_escaped() -> None:
    assert escape_line_separators('"é\x85\u2028\u2029"'.encode()) == b'"\xc3\xa9\\u0085\\u2028\\u2029"'
    data = b'"\\u2028"'
    assert escape_line_separators(data) is data


def test_ascii() -> None:
    data = b'{"a":"b\\u00e9\x7f"}'
    assert to_ascii(data) is data
    assert to_ascii('{"é":"ü€😀\x7f\u2028 x"}'.encode()) == b'{"\\u00e9":"\\u00fc\\u20ac\\ud83d\\ude00\x7f\\u2028 x"}'


@THOROUGHLY
@example("\U0010ffff\uffff\x80")
@given(st.text())
def test_ascii_is_the_same_json(text: str) -> None:
    for wire in (msgspec.json.encode([text]), encode_response(text, result={text: text})):
        ascii_only = to_ascii(wire)
        assert ascii_only.isascii()
        assert msgspec.json.decode(ascii_only) == msgspec.json.decode(wire)
