"""The handshake request and its response."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_channels.exceptions import HandshakeError
from signalr_channels.protocols.base import TransferFormat
from signalr_channels.protocols.core.handshake import (
    HandshakeRequest,
    check_handshake,
    encode_handshake_response,
    parse_handshake_request,
)
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol

FAILED = "An unexpected error occurred during connection handshake."
DATA = "InvalidDataException: "
READER = "JsonReaderException: "
FORMAT = "FormatException: Either the JSON value is not in a supported format, or is out of bounds for an Int32."
OPEN = "Expected depth to be zero at the end of the JSON payload. There is an open JSON object or array that should be closed."
ESCAPED = "The string should be correctly escaped."
DIGIT = "Expected a digit ('0'-'9')"
DELIMITER = "is an invalid end of a number. Expected a delimiter."

JSON, MESSAGEPACK = JsonHubProtocol(), MessagePackHubProtocol()
PROTOCOLS = [JSON, MESSAGEPACK]
BOTH = list(TransferFormat)

ACCEPTED = [
    (b'{"protocol":"json","version":1}', HandshakeRequest("json", 1)),
    (b'{"version":2,"protocol":"JSON"}', HandshakeRequest("JSON", 2)),
    (b'{"protocol":"json","version":0}', HandshakeRequest("json", 0)),
    (b'{"protocol":"json","version":-0}', HandshakeRequest("json", 0)),
    (b'{"protocol":"json","version":-2147483648}', HandshakeRequest("json", -(2**31))),
    (b'{"more":[1,{"a":null}],"version":1,"protocol":"json","type":6}', HandshakeRequest("json", 1)),
    (b' \r\n{ "protocol" : "json" , "version" : 1 }\t', HandshakeRequest("json", 1)),
    (b'{"protocol":"json","version":1}x', HandshakeRequest("json", 1)),
    (b'{"protocol":"json","version":1}{', HandshakeRequest("json", 1)),
    (b'{"protocol":"json","version":3,"version":1}', HandshakeRequest("json", 1)),
    (b'{"protocol":"json","version":null,"version":1}', HandshakeRequest("json", 1)),
    (b'{"prot\\u006fcol":"js\\u006fn","version":1}', HandshakeRequest("json", 1)),
    (b'{"protocol":"a\xf0\x9f\x98\x80\\ud83d\\ude00\\u0000","version":1}', HandshakeRequest("a😀😀\0", 1)),
    (b'{"protocol":"json","version":1,"\xff":"\xff"}', HandshakeRequest("json", 1)),
    (b'{"protocol":"json","version":1,"\\ud800":1}', HandshakeRequest("json", 1)),
    (b'{"protocol":"json","version":1,"x":["\\ud800",{"y":[]}]}', HandshakeRequest("json", 1)),
]

REFUSED = [
    (b"{}", DATA + "Missing required property 'protocol'. Message content: {}"),
    (b'{"version":1}', DATA + "Missing required property 'protocol'. Message content: {\"version\":1}"),
    (b'{"type":6}', DATA + "Missing required property 'protocol'. Message content: {\"type\":6}"),
    (b'{"Protocol":"json"}', DATA + 'Missing required property \'protocol\'. Message content: {"Protocol":"json"}'),
    (b'{"protocol":"json"}', DATA + 'Missing required property \'version\'. Message content: {"protocol":"json"}'),
    (
        b'{"protocol":"json","version":1,"version":null}',
        DATA + 'Missing required property \'version\'. Message content: {"protocol":"json","version":1,"version":null}',
    ),
    (b'{"protocol":"json","version":"1"}', DATA + "Expected 'version' to be of type Number."),
    (b'{"version":true}', DATA + "Expected 'version' to be of type Number."),
    (b'{"version":1.0}', FORMAT),
    (b'{"version":2147483648}', FORMAT),
    (b'{"version":99999999999999999999999999}', FORMAT),
    (b'{"protocol":null,"version":1}', DATA + "Expected 'protocol' to be of type String."),
    (b'{"protocol":"json","version":1,"protocol":5}', DATA + "Expected 'protocol' to be of type String."),
    (b'["json",1]', DATA + "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    (b"[1", DATA + "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    (b"null", DATA + "Unexpected JSON Token Type 'Null'. Expected a JSON Object."),
    (b"false", DATA + "Unexpected JSON Token Type 'False'. Expected a JSON Object."),
    (b"5", DATA + "Unexpected JSON Token Type 'Number'. Expected a JSON Object."),
    (b'"a"', DATA + "Unexpected JSON Token Type 'String'. Expected a JSON Object."),
    (b'{"protocol":"\xff"}', "InvalidOperationException: Cannot transcode invalid UTF-8 JSON text to UTF-16 string."),
    (
        b'{"protocol":"\\ud800x"}',
        "InvalidOperationException: Cannot read incomplete UTF-16 JSON text as string with missing low surrogate.",
    ),
    (
        b'{"protocol":"\\udc00"}',
        "InvalidOperationException: Cannot read invalid UTF-16 JSON text as string. Invalid surrogate value: '0xDC00'.",
    ),
]

TOO_DEEP = "The maximum configured depth of 64 has been exceeded. Cannot read next JSON array."
NO_JSON = [
    (b"hello", "'h' is an invalid start of a value.", 0),
    (b"", "The input does not contain any JSON tokens. Expected the input to start with a valid JSON token, when isFinalBlock is true.", 0),
    (
        b"  ",
        "The input does not contain any JSON tokens. Expected the input to start with a valid JSON token, when isFinalBlock is true.",
        2,
    ),
    (b"\xef\xbb\xbf{}", "'0xEF' is an invalid start of a value.", 0),
    (b'{"protocol":"json",/**/"version":1}', "'/' is an invalid start of a property name. Expected a '\"'.", 19),
    (b'{"a":/*c*/1}', "'/' is invalid after a value. Expected either ',', '}', or ']'.", 5),
    (b"{/", "'/' is invalid after a value. Expected either ',', '}', or ']'.", 1),
    (b'{"protocol":"json"', OPEN, 18),
    (b'{"protocol":', OPEN, 12),
    (b'{"a" :', OPEN, 6),
    (b"{", OPEN, 1),
    (b'{"a":true', OPEN, 9),
    (b'{"protocol"', "Expected a value, but instead reached end of data.", 11),
    (b'{"a":1,', "Expected start of a property name or value, but instead reached end of data.", 6),
    (b'{"a":[1,', "Expected start of a property name or value, but instead reached end of data.", 7),
    (b'{"a":[1, ', "Expected start of a property name or value, but instead reached end of data.", 9),
    (b'{"', "Expected end of string, but instead reached end of data.", 2),
    (b'{"a":"\\', "Expected end of string, but instead reached end of data.", 7),
    (b'{"a":"\\u1', "Expected end of string, but instead reached end of data.", 9),
    (b'"a', "Expected end of string, but instead reached end of data.", 2),
    (b'{"a":"\x01"}', f"'0x01' is invalid within a JSON string. {ESCAPED}", 6),
    (b'{"a":"b\n"}', f"'0x0A' is invalid within a JSON string. {ESCAPED}", 7),
    (b'{"a":"\\x"}', f"'x' is an invalid escapable character within a JSON string. {ESCAPED}", 7),
    (b'{"a":"\\u12g"}', f"'g' is not a hex digit following '\\u' within a JSON string. {ESCAPED}", 10),
    (b'{"a":01}', "Invalid leading zero before '1'.", 6),
    (b'{"a":-01}', "Invalid leading zero before '1'.", 7),
    (b'{"a":-}', f"'}}' is invalid within a number, immediately after a sign character ('+' or '-'). {DIGIT}.", 6),
    (b'{"a":-', f"{DIGIT}, but instead reached end of data.", 6),
    (b"-", f"{DIGIT}, but instead reached end of data.", 1),
    (b'{"a":1.', f"{DIGIT}, but instead reached end of data.", 7),
    (b'{"a":1.e}', f"'e' is invalid within a number, immediately after a decimal point ('.'). {DIGIT}.", 7),
    (b'{"a":1e+}', f"'}}' is invalid within a number, immediately after a sign character ('+' or '-'). {DIGIT}.", 8),
    (b'{"a":1x}', f"'x' {DELIMITER}", 6),
    (b'{"a":1e5x}', f"'x' {DELIMITER}", 8),
    (b'{"a":1.5x}', "'x' is an invalid end of a number. Expected 'E' or 'e'.", 8),
    (b"5x", f"'x' {DELIMITER}", 1),
    (b'{"protocol":"json","version":1', f"'1' {DELIMITER}", 30),
    (b'{"a":+1}', "'+' is an invalid start of a value.", 5),
    (b'{"a":tru}', "'tru}' is an invalid JSON literal. Expected the literal 'true'.", 8),
    (b"nul", "'nul' is an invalid JSON literal. Expected the literal 'null'.", 3),
    (b'{"a":truex}', "'x' is invalid after a value. Expected either ',', '}', or ']'.", 9),
    (b'{"a":"b" "c":1}', "'\"' is invalid after a value. Expected either ',', '}', or ']'.", 9),
    (b'{"a" 1}', "'1' is invalid after a property name. Expected a ':'.", 5),
    (b"{1:2}", "'1' is an invalid start of a property name. Expected a '\"'.", 1),
    (b'{"a":}', "'}' is an invalid start of a value.", 5),
    (b'{"a":[}]}', "'}' is an invalid start of a value.", 6),
    (b'{"a":[1}}', "'}' is invalid without a matching open.", 7),
    (b'{"a":{"b":1]}', "']' is invalid without a matching open.", 11),
    (
        b'{"a":1,}',
        "The JSON object contains a trailing comma at the end which is not supported in this mode. Change the reader options.",
        7,
    ),
    (
        b'{"a":[1,]}',
        "The JSON array contains a trailing comma at the end which is not supported in this mode. Change the reader options.",
        8,
    ),
    (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", TOO_DEEP, 68),
    (b'{"a":' + b"[" * 100_000, TOO_DEEP, 68),
]


def refusal(data: bytes) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        parse_handshake_request(data)
    assert caught.value.reply == FAILED
    return caught.value


@pytest.mark.parametrize(("data", "request_"), ACCEPTED)
def test_accepted_requests(data: bytes, request_: HandshakeRequest) -> None:
    assert parse_handshake_request(data) == request_


@pytest.mark.parametrize(("data", "detail"), REFUSED)
def test_refused_requests(data: bytes, detail: str) -> None:
    """Texts observed: ASP.NET Core 10.0, with detailed errors."""
    assert str(refusal(data)) == f"{FAILED} {detail}"


@pytest.mark.parametrize(("data", "detail", "position"), NO_JSON)
def test_requests_that_are_not_json(data: bytes, detail: str, position: int) -> None:
    """Texts observed: ASP.NET Core 10.0, with detailed errors."""
    assert str(refusal(data)) == f"{FAILED} {READER}{detail} LineNumber: 0 | BytePositionInLine: {position}."


def test_lines_are_counted() -> None:
    assert refusal(b'\n\n {"a":!}').text == "'!' is an invalid start of a value. LineNumber: 2 | BytePositionInLine: 6."
    assert refusal(b"\n").text.endswith("LineNumber: 1 | BytePositionInLine: 0.")


def test_depth_64_passes() -> None:
    nested = b"[" * 63 + b"]" * 63
    assert parse_handshake_request(b'{"protocol":"json","version":1,"a":' + nested + b"}x") == HandshakeRequest("json", 1)


@pytest.mark.parametrize(
    ("name", "version", "expected"), [("json", 1, JSON), ("JSON", 2, JSON), ("MessagePack", 0, MESSAGEPACK), ("json", -5, JSON)]
)
def test_a_hub_protocol_is_found_in_any_letter_case(name: str, version: int, expected: object) -> None:
    assert check_handshake(HandshakeRequest(name, version), PROTOCOLS, BOTH) is expected


@pytest.mark.parametrize(
    ("request_", "formats", "reply"),
    [
        (HandshakeRequest("soap", 99), BOTH, "The protocol 'soap' is not supported."),
        (HandshakeRequest("json", 99), BOTH, "The server does not support version 99 of the 'json' protocol."),
        (HandshakeRequest("JSON", 3), BOTH, "The server does not support version 3 of the 'JSON' protocol."),
        (
            HandshakeRequest("MESSAGEPACK", 1),
            [TransferFormat.TEXT],
            "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format.",
        ),
    ],
)
def test_what_cannot_be_spoken_is_refused_without_detail(request_: HandshakeRequest, formats: list[TransferFormat], reply: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        check_handshake(request_, PROTOCOLS, formats)
    assert (caught.value.reply, str(caught.value)) == (reply, reply)


def test_a_hub_protocol_that_is_not_supported_here() -> None:
    with pytest.raises(HandshakeError):
        check_handshake(HandshakeRequest("messagepack", 1), [JSON], BOTH)


def test_responses() -> None:
    assert encode_handshake_response() == b"{}\x1e"
    assert (
        encode_handshake_response("The protocol 'é\x1e' is not supported.")
        == '{"error":"The protocol \'é\\u001e\' is not supported."}\x1e'.encode()
    )


@settings(deadline=None)
@given(
    st.one_of(st.binary(), st.text().map(str.encode), st.sampled_from([d for d, *_ in [*ACCEPTED, *REFUSED, *NO_JSON]])),
    st.binary(max_size=3),
)
def test_no_request_raises_anything_but_a_handshake_error(data: bytes, extra: bytes) -> None:
    for variant in (data, data + extra, extra + data, data[: len(data) // 2] + extra + data[len(data) // 2 :]):
        try:
            request = parse_handshake_request(variant)
            check_handshake(request, PROTOCOLS, BOTH)
        except HandshakeError as error:
            encode_handshake_response(str(error))
