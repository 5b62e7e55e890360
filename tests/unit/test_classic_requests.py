"""What a classic request asks for. Tables of the reference, sections 1.1 to 1.6, 2.1 and 13."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.classic.requests import (
    ClassicTransport,
    ConnectionDataError,
    FrameIdError,
    Operation,
    is_callback,
    jsonp,
    parse_connection_data,
    parse_frame_id,
    read_form,
    split_operation,
)

ANY_TEXT = st.text(st.characters())
"""Halves of surrogate pairs among it."""
CALL = '{"H":"peer","M":"Echo","A":["a b+c=d&é"],"I":0}'

# fmt: off
NO_OPERATIONS = [
    "", "/", "/signalr", "/signalr/", "/signalr/connect/", "/signalr/negotiate/", "/signalr/xconnect", "/signalr/connect ", "connect",
    "hubs", "js/", "/signalr/script", "/signalr/other", "/signalr/hubs/x", "/signalr/\u017fend",
]
NO_CONNECTION_DATA = [
    "not json", "{}", '{"name":"peer"}', '"peer"', "5", "false", "[null]", "[{}]", "[[]]", "[5]", '["peer"]', '[{"name":""}]',
    '[{"name":null}]', '[{"name":5}]', '[{"name":true}]', '[{"name":{}}]', '[{"name":"peer"}', '[{"name":"peer"}] x', '[{"other":"peer"}]',
    '[{"name":"peer","Name":null}]', "\ufeff[]", '[{"name":"\\ud800"}]', '[{"name":"\ud800"}]', "[" * 499, '[{"x":' * 249,
]
NO_CALLBACKS = [
    "", ".", "1a", "a-b", "if", "a.new.b", "NaN", "undefined", "Infinity", "null", "true", "this", "let", "a..b", ".a", "a.",
    "a b", " a", "a\n", "a()", "a[0]", "a;b", "alert(1)//", "a\u2028", "a\u200c", "a\u200db", "\\u0061", "a\ud800", "<script>",
]
NO_FRAME_IDS = [
    None, "", "4294967296", "9" * 5000, "+7", "-0", " 7", "7 ", "7\n", "1,000", "7.0", "0x7", "\u0667", "\uff17", "\u00b2",
]
# fmt: on


def short(value: object) -> str:
    """The name of a row."""
    return ascii(value)[:40]


@pytest.mark.parametrize("name", ["webSockets", "serverSentEvents", "foreverFrame", "longPolling"])
def test_a_transport_is_named_in_any_letter_case(name: str) -> None:
    transport = ClassicTransport(name)
    assert ClassicTransport.named(name) is ClassicTransport.named(name.upper()) is ClassicTransport.named(name.lower()) is transport


@pytest.mark.parametrize(
    "name", [None, "", "carrierPigeon", " webSockets", "web_sockets", "WEB_SOCKETS", "longPolling\0", "lon\u0121Polling"]
)
def test_other_names_are_no_transport(name: str | None) -> None:
    assert ClassicTransport.named(name) is None


@pytest.mark.parametrize("name", ["ping", "connect", "start", "reconnect", "send", "poll", "abort"])
@pytest.mark.parametrize("mount", ["/signalr", "", "/signalr/x/y", "/signalr/", "/signalr/js", "/signalr/negotiate", "/ü"])
def test_the_end_of_the_path_decides(mount: str, name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert split_operation(f"{mount}/{spelling}") == (Operation(name), f"{mount}/{spelling}")


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/signalr/negotiate", "/signalr"),
        ("/negotiate", ""),
        ("/signalr//negotiate", "/signalr/"),
        ("/signalr/x/y/negotiate", "/signalr/x/y"),
        ("/signalr/js/negotiate", "/signalr/js"),
        ("/signalr/NEGOTIATE", "/signalr/NEGOTIATE"),
        ("/signalr/negotiate/negotiate", "/signalr"),
        ("/negotiate/signalr/Negotiate", "/signalr/Negotiate"),
        ("/signalr/negotiated/negotiate", "/signalrd"),
    ],
)
def test_negotiate_answers_with_the_path_without_its_own_name(path: str, url: str) -> None:
    assert split_operation(path) == (Operation.NEGOTIATE, url)


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/signalr/hubs", "/signalr"),
        ("/signalr/js", "/signalr"),
        ("/signalr/hubs//", "/signalr"),
        ("/signalr//hubs", "/signalr/"),
        ("/signalr/x/JS", "/signalr/x"),
        ("/signalr/HUBS", "/signalr"),
        ("/signalr/hubs/x/js/", "/signalr/hubs/x"),
        ("/signalr/js/js//", "/signalr/js"),
        ("/hubs", ""),
        ("/js/", ""),
    ],
)
def test_the_script_is_asked_for_with_or_without_slashes_behind(path: str, mount: str) -> None:
    assert split_operation(path) == (Operation.SCRIPT, mount)


@pytest.mark.parametrize("path", NO_OPERATIONS)
def test_another_end_is_no_operation(path: str) -> None:
    assert split_operation(path) == (Operation.OTHER, path)


@given(
    ANY_TEXT | st.lists(st.sampled_from(["/", "/", *(operation.value for operation in Operation), "hubs", "js", "HUBS", "x"])).map("".join)
)
def test_any_path_has_an_operation(path: str) -> None:
    operation, url = split_operation(path)
    assert operation in (Operation.NEGOTIATE, Operation.SCRIPT) or url == path
    assert len(url) <= len(path)


@pytest.mark.parametrize("text", [None, "", " ", "\r\n", "null", " null ", "[]", "[ ]"])
def test_no_hubs(text: str | None) -> None:
    assert parse_connection_data(text) == ()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[{"name":"chathub"}]', ("chathub",)),
        ('[{"Name":"ChatHub"}]', ("ChatHub",)),
        ('[{"NAME":"a"},{"nAmE":"b"}]', ("a", "b")),
        (' [ { "other" : { "name" : 1 } , "name" : "peer", "x": [null, 1e400, "\\ud83d\\ude00"] } ] ', ("peer",)),
        ('[{"n\\u0061me":"p\\u0065er"}]', ("peer",)),
        ('[{"name":"nothere","NAME":"peer"}]', ("peer",)),
        ('[{"name":" peer"}]', (" peer",)),
        ('[{"name":"\U0001f600"}]', ("\U0001f600",)),
        ('[{"name":"peer","x":' + "[" * 100 + "]" * 100 + "}]", ("peer",)),
    ],
)
def test_hubs_are_named_by_a_property_in_any_letter_case(text: str, names: tuple[str, ...]) -> None:
    assert parse_connection_data(text) == names


@pytest.mark.parametrize("text", NO_CONNECTION_DATA, ids=short)
def test_anything_else_names_no_hubs(text: str) -> None:
    with pytest.raises(ConnectionDataError, match="The connection data is no JSON array of objects with a name"):
        parse_connection_data(text)


@pytest.mark.parametrize("text", ['[{"name":"peer"},{"name":"PEER"}]', '[{"name":"a"},{"Name":"b"},{"name":"a"}]'])
def test_a_hub_is_named_once(text: str) -> None:
    with pytest.raises(ConnectionDataError) as caught:
        parse_connection_data(text)
    assert caught.value.text == "Duplicate Hub names found."


def test_connection_data_has_a_limit() -> None:
    longest = '[{"name":"peer"}]'.ljust(32 * 1024)
    assert parse_connection_data(longest) == ("peer",)
    with pytest.raises(ConnectionDataError, match="too large"):
        parse_connection_data(longest + " ")


@pytest.mark.parametrize("depth", [498, 499, 10_000])
def test_connection_data_has_a_limit_of_depth(depth: int) -> None:
    text = '[{"name":"peer","x":' + "[" * depth + "]" * depth + "}]"
    if depth + 2 <= 500:
        assert parse_connection_data(text) == ("peer",)
    else:
        with pytest.raises(ConnectionDataError, match="too large"):
            parse_connection_data(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda values: st.lists(values) | st.dictionaries(st.sampled_from(["name", "Name"]) | ANY_TEXT, values),
    max_leaves=10,
)
HUBS = st.lists(st.dictionaries(st.sampled_from(["name", "Name", "x"]), ANY_TEXT | st.none()))


@given(ANY_TEXT | (JSON_VALUES | HUBS).map(json.dumps) | HUBS.map(lambda value: json.dumps(value, ensure_ascii=False)))
def test_any_connection_data_gives_names_or_the_error(text: str) -> None:
    with contextlib.suppress(ConnectionDataError):
        names = parse_connection_data(text)
        assert all(names)
        assert len({name.lower() for name in names}) == len(names)
        "".join(names).encode()


@given(st.lists(st.text(min_size=1), unique_by=str.lower))
def test_names_come_as_they_are_written(names: list[str]) -> None:
    assert parse_connection_data(json.dumps([{"name": name, "x": 1} for name in names])) == tuple(names)


@pytest.mark.parametrize("text", ["f", "a.b.c", "$_1", "jQuery.cb_2", "jQuery3710_1700000000000", "_", "$", "a.$.b", "é", "async", "Null"])
def test_a_callback_is_a_dotted_name(text: str) -> None:
    assert is_callback(text)


@pytest.mark.parametrize("text", NO_CALLBACKS)
def test_anything_else_is_no_callback(text: str) -> None:
    assert not is_callback(text)


@given(ANY_TEXT | st.text("ab1$_.-("))
def test_a_callback_cannot_be_anything_but_a_name(text: str) -> None:
    if is_callback(text):
        assert not set(text) & set(" \t\r\n()[]{};,:\"'`\\/<>&=+-*!?|^%~@#\u2028\u2029\0")
        assert jsonp(text, b"{}") == f"{text}({{}});".encode()


def test_jsonp_calls_the_callback() -> None:
    assert jsonp("jQuery.cb_2", b'{ "Response": "pong" }') == b'jQuery.cb_2({ "Response": "pong" });'
    assert jsonp("é", b"%s") == "é(%s);".encode()


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("007", 7), ("0", 0), ("4294967295", 2**32 - 1), ("0" * 5000 + "7", 7)], ids=short)
def test_a_frame_id_is_a_number(text: str, number: int) -> None:
    assert parse_frame_id(text) == number


@pytest.mark.parametrize("text", NO_FRAME_IDS, ids=short)
def test_anything_else_is_no_frame_id(text: str | None) -> None:
    with pytest.raises(FrameIdError) as caught:
        parse_frame_id(text)
    assert caught.value.text == "The supplied frameId is in the incorrect format."


@given(ANY_TEXT | st.integers().map(str))
def test_any_text_is_a_frame_id_or_the_error(text: str) -> None:
    with contextlib.suppress(FrameIdError):
        assert str(parse_frame_id(text)) == text.lstrip("0").rjust(1, "0")


def test_both_errors_are_the_peers_fault() -> None:
    assert issubclass(ConnectionDataError, RemoteProtocolError)
    assert issubclass(FrameIdError, RemoteProtocolError)


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (f"data={quote(CALL, safe='')}".encode(), {"data": CALL}),
        (f"data={quote_plus(CALL)}".encode(), {"data": CALL}),
        ("data=" + "".join(f"%{byte:02x}" for byte in CALL.encode()), {"data": CALL}),
        (b"messageId=d-1-A%2C0%7CB%2C0&groupsToken=a%2Bb", {"messageid": "d-1-A,0|B,0", "groupstoken": "a+b"}),
        (b"DATA=x", {"data": "x"}),
        (b"data=a=b", {"data": "a=b"}),
        (b"data=a+b%2Bc", {"data": "a b+c"}),
        (b"da%74a=x", {"data": "x"}),
        (b"data=", {}),
        (b"data", {}),
        (b"data=&data=x", {"data": "x"}),
        (b"data=x&data=y&DATA=z", {"data": "x"}),
        (b"&&data=x&", {"data": "x"}),
        (b"=x", {"": "x"}),
        (b"data=100%", {"data": "100%"}),
        (b"data=%zz%4", {"data": "%zz%4"}),
        (b"data=%ff\xff", {"data": "\ufffd\ufffd"}),
        ("data=é%C3%A9".encode(), {"data": "éé"}),
        (b"a;data=x", {"a;data": "x"}),
    ],
)
def test_a_form_is_read_whatever_it_is(body: bytes | str, form: dict[str, str]) -> None:
    assert read_form(body if isinstance(body, bytes) else body.encode()) == form


def test_only_the_first_items_are_looked_at() -> None:
    assert read_form(b"x=1&" * 99 + b"data=y") == {"x": "1", "data": "y"}
    assert read_form(b"x=1&" * 100 + b"data=y") == {"x": "1"}
    assert read_form(b"&" * 1_000_000) == {}


@given(st.binary() | st.lists(st.sampled_from([b"data", b"=", b"&", b"%", b"%C3", b"+", b"\xff", b"x"])).map(b"".join))
def test_any_body_is_a_form(body: bytes) -> None:
    form = read_form(body)
    assert all(form.values())
    "".join([*form, *form.values()]).encode()


@given(st.dictionaries(st.text().map(str.lower), st.text(min_size=1), max_size=20))
@example({"data": CALL})
def test_what_a_client_writes_is_read(form: dict[str, Any]) -> None:
    expected: dict[str, str] = {}
    for key, value in form.items():
        expected.setdefault(key.lower(), value)
    assert read_form(urlencode(form).encode()) == expected
