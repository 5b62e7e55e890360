"""The negotiate request and its answer."""

from __future__ import annotations

import pytest

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.base import TransferFormat
from signalr_channels.protocols.core.negotiation import (
    NegotiateRequest,
    NegotiateResponse,
    Transport,
    encode_negotiate_error,
    parse_negotiate_request,
)

NOT_AN_INTEGER = "The client requested a non-integer protocol version."
ID = "AAAAAAAAAAAAAAAAAAAAAA"
TOKEN = "BBBBBBBBBBBBBBBBBBBBBB"


@pytest.mark.parametrize(
    ("value", "version"),
    [
        ("0", 0),
        ("1", 1),
        ("2", 1),
        ("99", 1),
        ("2147483647", 1),
        ("+1", 1),
        (" 1", 1),
        ("1\t", 1),
        ("01", 1),
        ("000000000000001", 1),
        ("-0", 0),
    ],
)
def test_a_version_is_echoed_or_clamped(value: str, version: int) -> None:
    assert parse_negotiate_request({"negotiateVersion": [value]}) == NegotiateRequest(version=version)


@pytest.mark.parametrize("value", ["", "abc", "1.0", "2147483648", "-2147483649", "1 1", "0x1", "\uff11", "99999999999999999999"])
def test_a_version_that_is_no_integer_is_refused(value: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_negotiate_request({"negotiateVersion": [value]})
    assert caught.value.text == NOT_AN_INTEGER


@pytest.mark.parametrize("value", ["-1", "-2147483648"])
def test_a_version_below_the_minimum_is_refused(value: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_negotiate_request({"negotiateVersion": [value]})
    assert caught.value.text == f"The client requested version '{value}', but the server does not support this version."


def test_no_version_is_version_0() -> None:
    assert parse_negotiate_request({}) == NegotiateRequest(version=0)
    with pytest.raises(RemoteProtocolError) as caught:
        parse_negotiate_request({}, minimum_version=1)
    assert caught.value.text == "The client requested version '0', but the server does not support this version."


def test_a_version_given_twice_is_refused() -> None:
    for query in ({"negotiateVersion": ["1", "1"]}, {"negotiateVersion": ["1"], "NEGOTIATEVERSION": ["1"]}):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_negotiate_request(query)
        assert caught.value.text == NOT_AN_INTEGER


def test_keys_are_matched_in_any_letter_case_and_others_ignored() -> None:
    query = {"NEGOTIATEVERSION": ["1"], "UseStatefulReconnect": ["true"], "room": ["a", "b"]}
    assert parse_negotiate_request(query) == NegotiateRequest(version=1, use_stateful_reconnect=True)


@pytest.mark.parametrize(
    ("value", "wanted"), [("true", True), ("True", True), ("TRUE", True), ("false", False), ("1", False), ("yes", False), ("", False)]
)
def test_stateful_reconnect_is_wanted_by_true_only(value: str, wanted: bool) -> None:
    assert parse_negotiate_request({"useStatefulReconnect": [value]}).use_stateful_reconnect is wanted


def test_the_response_of_version_1_byte_by_byte() -> None:
    response = NegotiateResponse(negotiate_version=1, connection_id=ID, connection_token=TOKEN, use_stateful_reconnect=True)
    assert response.encode() == (
        b'{"useStatefulReconnect":true,"negotiateVersion":1,"connectionId":"' + ID.encode() + b'","connectionToken":"' + TOKEN.encode()
        + b'","availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]},'
        b'{"transport":"ServerSentEvents","transferFormats":["Text"]},{"transport":"LongPolling","transferFormats":["Text","Binary"]}]}'
    )  # fmt: skip


def test_version_0_has_no_token() -> None:
    response = NegotiateResponse(negotiate_version=0, connection_id=ID, connection_token=TOKEN, transports=[])
    assert response.encode() == b'{"negotiateVersion":0,"connectionId":"' + ID.encode() + b'","availableTransports":[]}'


def test_transports_are_listed_in_the_order_of_the_reference() -> None:
    response = NegotiateResponse(negotiate_version=0, connection_id=ID, transports=[Transport.LONG_POLLING, Transport.WEB_SOCKETS])
    assert response.encode().index(b"WebSockets") < response.encode().index(b"LongPolling")
    assert b"ServerSentEvents" not in response.encode()


def test_server_sent_events_carry_text_only() -> None:
    assert {transport: transport.transfer_formats for transport in Transport} == {
        Transport.WEB_SOCKETS: (TransferFormat.TEXT, TransferFormat.BINARY),
        Transport.SERVER_SENT_EVENTS: (TransferFormat.TEXT,),
        Transport.LONG_POLLING: (TransferFormat.TEXT, TransferFormat.BINARY),
    }


def test_a_refusal_holds_only_the_error() -> None:
    assert encode_negotiate_error(NOT_AN_INTEGER) == b'{"error":"The client requested a non-integer protocol version."}'
