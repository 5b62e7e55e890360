"""The classic negotiate request: versions, and the answer byte by byte. Tables of the reference, sections 2.1, 2.2 and 13."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.protocols.classic.negotiation import ClassicNegotiateResponse, has_delayed_start, resolve_protocol_version

INT32_MAX = 2**31 - 1


def short(text: str) -> str:
    """The name of a row."""
    return ascii(text)[:40]


def response(*, url: str = "/signalr", keep_alive_timeout: float | None = 4.0) -> ClassicNegotiateResponse:
    return ClassicNegotiateResponse(
        url=url,
        connection_token="TOKEN",
        connection_id="00000000-0000-4000-8000-000000000000",
        keep_alive_timeout=keep_alive_timeout,
        disconnect_timeout=6.0,
        connection_timeout=8,
        try_web_sockets=True,
        protocol_version="2.0",
        transport_connect_timeout=5.5,
        long_poll_delay=0,
    )


@pytest.mark.parametrize(
    "text", ["1.2", "1.3", "1.4", "1.5", "2.0", "1.9", "1.2.0", "1.4.0", "1.5.0.0", f"1.{INT32_MAX}", f"1.5.{INT32_MAX}"]
)
def test_a_version_in_range_is_echoed_whole(text: str) -> None:
    assert resolve_protocol_version(text) == text


@pytest.mark.parametrize("text", ["01.5", "1.05", " 1.5", "1.5\t", "1. 5", "+1.5", "1.+5", "1.5\0", "1." + "0" * 5000 + "5"], ids=short)
def test_numbers_are_normalised(text: str) -> None:
    assert resolve_protocol_version(text) == "1.5"


@pytest.mark.parametrize("text", ["2.1", "2.0.0", "2.0.1", "2.00.1", "3.0", "10.1", f"{INT32_MAX}.{INT32_MAX}.{INT32_MAX}.{INT32_MAX}"])
def test_above_2_0_the_answer_is_2_0(text: str) -> None:
    assert resolve_protocol_version(text) == "2.0"


@pytest.mark.parametrize("text", [None, "", "1337", "abc", ".1337", "1.0", "1.1", "1.1.9.9", "0.0", "-0.5", "1.-0"])
def test_below_1_2_and_without_a_version_the_answer_is_1_2(text: str | None) -> None:
    assert resolve_protocol_version(text) == "1.2"


@pytest.mark.parametrize(
    "text",
    [
        "2",
        "2.",
        "2..0",
        "1.5.",
        "1.5.0.0.0",
        "1,5",
        "1.5a",
        "1.-5",
        "1.5.-1",
        f"1.{INT32_MAX + 1}",
        f"1.5.{INT32_MAX + 1}",
        "9" * 5000 + ".0",
        "." * 5000,
        "1.\u0665",
        "\uff11.\uff15",
        "\u00a01.5",
        "1.5\u2003",
        "1.\u00b2",
    ],
    ids=short,
)
def test_what_is_no_version_is_1_2(text: str) -> None:
    assert resolve_protocol_version(text) == "1.2"


@pytest.mark.parametrize(
    ("version", "delayed"),
    [(None, False), ("", False), ("abc", False), ("1.2", False), ("1.3", False), ("1.3.9", False), ("01.3", False)]
    + [(version, True) for version in ("1.4", "1.4.0", "1.5", "2.0", "2.1", "99.9", " 1.4")],
)
def test_from_1_4_the_client_asks_for_the_start(version: str | None, delayed: bool) -> None:
    assert has_delayed_start(version) is delayed
    assert has_delayed_start(resolve_protocol_version(version)) is delayed


@given(st.text() | st.lists(st.integers().map(str), max_size=6).map(".".join))
def test_any_text_has_an_answer_that_answers_itself(text: str) -> None:
    answer = resolve_protocol_version(text)
    assert resolve_protocol_version(answer) == answer
    numbers = tuple(int(part) for part in answer.split("."))
    assert (1, 2) <= numbers <= (2, 0)
    assert has_delayed_start(text) is (numbers >= (1, 4))


def test_the_response_byte_by_byte() -> None:
    assert response().encode() == (
        b'{"Url":"/signalr","ConnectionToken":"TOKEN","ConnectionId":"00000000-0000-4000-8000-000000000000","KeepAliveTimeout":4.0,'
        b'"DisconnectTimeout":6.0,"ConnectionTimeout":8.0,"TryWebSockets":true,"ProtocolVersion":"2.0","TransportConnectTimeout":5.5,'
        b'"LongPollDelay":0.0}'
    )


def test_without_keep_alives_their_timeout_is_null() -> None:
    assert b'"KeepAliveTimeout":null,' in response(keep_alive_timeout=None).encode()
    assert b'"KeepAliveTimeout":20.0,' in response(keep_alive_timeout=20).encode()


@given(st.text(st.characters()))
def test_any_url_is_written_in_ascii(url: str) -> None:
    body = response(url=url).encode()
    assert body.isascii()
    assert json.loads(body)["Url"] == url
