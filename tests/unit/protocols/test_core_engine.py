"""The engine: bytes and a clock in, events and bytes out. No event loop here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.exceptions import HandshakeError, HubException, LocalProtocolError, MessageTooBig, RemoteProtocolError
from signalr_channels.protocols.base import Data, HubProtocol, MessageSplitter, TransferFormat
from signalr_channels.protocols.core.engine import ConnectionFailed, CoreEngine, EngineState, Event, HandshakeCompleted
from signalr_channels.protocols.core.framing import LengthPrefixSplitter
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.protocols.messages import (
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    StreamInvocation,
    StreamItem,
)

JSON = JsonHubProtocol()
HANDSHAKE = b'{"protocol":"json","version":1}\x1e'
PING = b'{"type":6}\x1e'
CLOSE = b'{"type":7}\x1e'
ECHO = b'{"type":1,"invocationId":"0","target":"Echo","arguments":["hi"]}\x1e'
FORGET = b'{"type":1,"target":"Forget","arguments":[]}\x1e'
GARBAGE = b"garbage\x1e"
CLOSED_WITH_ERROR = b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}\x1e'

FAILED = "An unexpected error occurred during connection handshake."
CANCELED = "Handshake was canceled."
TIMED_OUT = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."


class BinaryHubProtocol(HubProtocol):
    """Enough of a binary protocol to choose it in a handshake."""

    name: ClassVar[str] = "messagepack"
    version: ClassVar[int] = 2
    transfer_format: ClassVar[TransferFormat] = TransferFormat.BINARY

    def splitter(self, maximum_message_size: int | None) -> MessageSplitter:
        return LengthPrefixSplitter(maximum_message_size)

    def parse(self, data: Data) -> HubMessage | None:
        raise AssertionError

    def encode(self, message: HubMessage) -> bytes:
        raise AssertionError

    def argument_decoder(self, types: Sequence[Any]) -> Callable[[msgspec.Raw], Sequence[Any]]:
        raise AssertionError

    def value_decoder(self, type: Any) -> Callable[[msgspec.Raw], Any]:
        raise AssertionError


def make_engine(**options: Any) -> CoreEngine:
    return CoreEngine(hub_protocols=[JSON], **options)


def open_engine(*, now: float = 0.0, **options: Any) -> CoreEngine:
    """An engine after its handshake, with nothing left to read or to send."""
    engine = make_engine(now=now, **options)
    engine.receive_data(HANDSHAKE, now)
    assert len(engine.events_received()) == 1
    assert sent(engine) == [b"{}\x1e"]
    return engine


def sent(engine: CoreEngine) -> list[bytes]:
    return [message.data for message in engine.data_to_send()]


def invocation(target: str, *, invocation_id: str | None = None, arguments: bytes = b"[]") -> Invocation:
    return Invocation(target=target, arguments=msgspec.Raw(arguments), invocation_id=invocation_id)


def plain(events: Sequence[Event]) -> list[Any]:
    """Events as values that compare: raw arguments as bytes, exceptions as text."""
    result: list[Any] = []
    for event in events:
        if isinstance(event, ConnectionFailed):
            result.append((event.reason, str(event.exception), event.allows_reconnect))
        elif isinstance(event, (Invocation, StreamInvocation)):
            result.append((type(event), event.invocation_id, event.target, bytes(event.arguments), tuple(event.stream_ids)))
        elif isinstance(event, StreamItem):
            result.append((StreamItem, event.invocation_id, bytes(event.item)))
        elif isinstance(event, Completion):
            result.append((Completion, event.invocation_id, event.error))
        else:
            result.append(event)
    return result


# Handshake


def test_a_handshake_is_answered_by_an_empty_object() -> None:
    engine = make_engine()
    engine.receive_data(HANDSHAKE, now=0.0)
    assert engine.events_received() == [HandshakeCompleted(hub_protocol=JSON, version=1)]
    assert sent(engine) == [b"{}\x1e"]
    assert engine.hub_protocol is JSON
    assert engine.state is EngineState.OPEN


def test_a_handshake_may_be_text() -> None:
    engine = make_engine()
    engine.receive_data(HANDSHAKE.decode(), now=0.0)
    assert sent(engine) == [b"{}\x1e"]


def test_events_and_data_are_handed_out_once() -> None:
    engine = make_engine()
    engine.receive_data(HANDSHAKE, now=0.0)
    assert len(engine.events_received()) == len(engine.data_to_send()) == 1
    assert engine.events_received() == []
    assert engine.data_to_send() == []


@pytest.mark.parametrize("cut", range(1, len(HANDSHAKE)))
def test_a_handshake_may_arrive_in_two_pieces(cut: int) -> None:
    engine = make_engine()
    engine.receive_data(HANDSHAKE[:cut], now=0.0)
    assert engine.state is EngineState.HANDSHAKE
    assert engine.events_received() == []
    assert sent(engine) == []
    engine.receive_data(HANDSHAKE[cut:], now=1.0)
    assert engine.events_received() == [HandshakeCompleted(hub_protocol=JSON, version=1)]
    assert sent(engine) == [b"{}\x1e"]


def test_a_handshake_may_arrive_byte_by_byte() -> None:
    engine = make_engine()
    for byte in HANDSHAKE:
        engine.receive_data(bytes([byte]), now=0.0)
    assert engine.events_received() == [HandshakeCompleted(hub_protocol=JSON, version=1)]


def test_messages_may_follow_the_handshake_in_one_chunk() -> None:
    engine = make_engine()
    engine.receive_data(HANDSHAKE + PING + ECHO + FORGET, now=0.0)
    assert plain(engine.events_received()) == plain(
        [
            HandshakeCompleted(hub_protocol=JSON, version=1),
            invocation("Echo", invocation_id="0", arguments=b'["hi"]'),
            invocation("Forget"),
        ]
    )
    assert sent(engine) == [b"{}\x1e"]


@pytest.mark.parametrize("cut", range(len(HANDSHAKE), len(HANDSHAKE + ECHO)))
def test_half_a_message_may_follow_the_handshake(cut: int) -> None:
    chunk = HANDSHAKE + ECHO
    engine = make_engine()
    engine.receive_data(chunk[:cut], now=0.0)
    assert engine.events_received() == [HandshakeCompleted(hub_protocol=JSON, version=1)]
    engine.receive_data(chunk[cut:], now=0.0)
    assert plain(engine.events_received()) == plain([invocation("Echo", invocation_id="0", arguments=b'["hi"]')])


def test_the_response_has_the_transfer_format_of_the_chosen_protocol() -> None:
    engine = CoreEngine(hub_protocols=[JSON, BinaryHubProtocol()])
    engine.receive_data('{"protocol":"messagepack","version":1}\x1e', now=0.0)
    (response,) = engine.data_to_send()
    assert (response.data, response.transfer_format) == (b"{}\x1e", TransferFormat.BINARY)


def test_a_refusal_is_text_whatever_was_asked_for() -> None:
    engine = CoreEngine(hub_protocols=[BinaryHubProtocol()], transfer_formats=[TransferFormat.TEXT])
    engine.receive_data('{"protocol":"messagepack","version":1}\x1e', now=0.0)
    (response,) = engine.data_to_send()
    assert response.transfer_format is TransferFormat.TEXT
    assert response.data == (
        b'{"error":"Cannot use the \'messagepack\' protocol on the current transport. '
        b"The transport does not support 'Binary' transfer format.\"}\x1e"
    )


@pytest.mark.parametrize(
    "request_text",
    [
        b'{"version":1,"protocol":"json"}',
        b'{"protocol":"JSON","version":2}',
        b'{"protocol":"json","version":0}',
        b'{"protocol":"json","version":-7}',
        b'{"type":6,"protocol":"json","version":1,"more":[{}]}',
        b' {\n"protocol" : "json",\t"version":1}\r\n',
        b'{"protocol":"json","version":1}whatever this is',
        b'{"protocol":"other","protocol":"json","version":9,"version":1}',
        b'{"proto\\u0063ol":"json","version":1}',
    ],
)
def test_requests_that_are_accepted(request_text: bytes) -> None:
    engine = make_engine()
    engine.receive_data(request_text + b"\x1e", now=0.0)
    assert sent(engine) == [b"{}\x1e"]


# request, what every client sees, what is added with detailed errors
REFUSED = [
    (b'{"protocol":"bson","version":1}', "The protocol 'bson' is not supported.", ""),
    (b'{"protocol":"json","version":3}', "The server does not support version 3 of the 'json' protocol.", ""),
    (
        b'{"version":1}',
        FAILED,
        " InvalidDataException: Missing required property 'protocol'. Message content: {\"version\":1}",
    ),
    (
        b'{"protocol":"json","version":null}',
        FAILED,
        ' InvalidDataException: Missing required property \'version\'. Message content: {"protocol":"json","version":null}',
    ),
    (b'{"protocol":"json","version":"1"}', FAILED, " InvalidDataException: Expected 'version' to be of type Number."),
    (
        b'{"protocol":"json","version":1.0}',
        FAILED,
        " FormatException: Either the JSON value is not in a supported format, or is out of bounds for an Int32.",
    ),
    (b'{"protocol":null,"version":1}', FAILED, " InvalidDataException: Expected 'protocol' to be of type String."),
    (b"[]", FAILED, " InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
]


@pytest.mark.parametrize("detailed_errors", [False, True])
@pytest.mark.parametrize(("request_text", "base", "detail"), REFUSED, ids=[row[0].decode() for row in REFUSED])
def test_requests_that_are_refused(request_text: bytes, base: str, detail: str, detailed_errors: bool) -> None:
    engine = make_engine(detailed_errors=detailed_errors)
    engine.receive_data(request_text + b"\x1e", now=0.0)
    (response,) = sent(engine)
    assert response.endswith(b"\x1e")
    assert msgspec.json.decode(response[:-1]) == {"error": base + detail if detailed_errors else base}
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.HANDSHAKE_ERROR
    assert isinstance(failure.exception, HandshakeError)
    assert not failure.allows_reconnect
    assert engine.state is EngineState.CLOSED


def test_nothing_follows_a_refused_handshake() -> None:
    engine = make_engine()
    engine.receive_data(b"{}\x1e" + ECHO, now=0.0)
    engine.events_received(), engine.data_to_send()
    engine.receive_data(HANDSHAKE + ECHO, now=0.0)
    engine.close(error="no Close message either")
    engine.fail(CloseReason.PROTOCOL_ERROR, RemoteProtocolError("nor this one"))
    assert engine.events_received() == []
    assert engine.data_to_send() == []
    assert engine.next_deadline() == float("inf")


def test_a_handshake_request_may_be_as_long_as_a_message() -> None:
    fits = HANDSHAKE[:-1].ljust(1023) + b"\x1e"
    engine = make_engine(maximum_message_size=1024)
    engine.receive_data(fits, now=0.0)
    assert sent(engine) == [b"{}\x1e"]


@pytest.mark.parametrize("rest", [b"\x1e", b" "], ids=["with its separator", "without"])
def test_a_longer_handshake_request_is_refused(rest: bytes) -> None:
    engine = make_engine(maximum_message_size=1024)
    engine.receive_data(HANDSHAKE[:-1].ljust(1024), now=0.0)
    assert engine.events_received() == []
    engine.receive_data(rest, now=0.0)
    assert sent(engine) == [b'{"error":"Handshake was canceled."}\x1e']
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.MESSAGE_TOO_BIG


def test_a_chunk_may_be_longer_than_the_handshake_in_it() -> None:
    engine = make_engine(maximum_message_size=100)
    engine.receive_data(HANDSHAKE + ECHO + ECHO, now=0.0)
    assert len(engine.events_received()) == 3


def test_a_handshake_has_no_limit_if_messages_have_none() -> None:
    engine = make_engine(maximum_message_size=None)
    engine.receive_data(HANDSHAKE[:-1].ljust(1_000_000) + b"\x1e", now=0.0)
    assert sent(engine) == [b"{}\x1e"]


def test_a_handshake_that_does_not_come_is_canceled() -> None:
    engine = make_engine(now=100.0, handshake_timeout=15.0)
    engine.receive_data(HANDSHAKE[:-1], now=101.0)
    assert engine.next_deadline() == 115.0
    assert engine.tick(114.9) is False
    assert engine.events_received() == []
    assert engine.tick(115.0) is False
    assert sent(engine) == [b'{"error":"Handshake was canceled."}\x1e']
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.HANDSHAKE_TIMEOUT
    assert not failure.allows_reconnect
    engine.receive_data(b"\x1e", now=116.0)
    assert engine.events_received() == []


def test_an_end_before_the_handshake_is_silent() -> None:
    engine = make_engine()
    engine.receive_data(HANDSHAKE[:-1], now=0.0)
    engine.receive_eof()
    assert engine.events_received() == []
    assert engine.data_to_send() == []
    assert engine.state is EngineState.CLOSED


def test_nothing_is_sent_before_the_handshake() -> None:
    engine = make_engine()
    with pytest.raises(LocalProtocolError, match="Cannot send while the connection is handshake"):
        engine.send(Ping())
    engine.close(error="not said")
    assert engine.data_to_send() == []
    assert engine.state is EngineState.CLOSED


# Messages


def test_every_kind_of_message_becomes_an_event() -> None:
    engine = open_engine()
    engine.receive_data(
        ECHO
        + b'{"type":4,"invocationId":"1","target":"Count","arguments":[3],"streamIds":["2"]}\x1e'
        + b'{"type":2,"invocationId":"2","item":{"a":1}}\x1e'
        + b'{"type":3,"invocationId":"2","error":"no more"}\x1e'
        + b'{"type":5,"invocationId":"1"}\x1e'
        + b'{"type":7,"error":"enough"}\x1e',
        now=0.0,
    )
    assert plain(engine.events_received()) == [
        (Invocation, "0", "Echo", b'["hi"]', ()),
        (StreamInvocation, "1", "Count", b"[3]", ("2",)),
        (StreamItem, "2", b'{"a":1}'),
        (Completion, "2", "no more"),
        CancelInvocation(invocation_id="1"),
        Close(error="enough"),
    ]


def test_pings_are_no_events() -> None:
    engine = open_engine()
    engine.receive_data(PING + FORGET + PING, now=0.0)
    assert plain(engine.events_received()) == plain([invocation("Forget")])


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("cut", range(len(ECHO + FORGET) + 1))
def test_messages_may_be_cut_anywhere(cut: int, as_text: bool) -> None:
    engine = open_engine()
    chunk = ECHO + FORGET
    for part in (chunk[:cut], chunk[cut:]):
        engine.receive_data(part.decode() if as_text else part, now=0.0)
    assert plain(engine.events_received()) == [(Invocation, "0", "Echo", b'["hi"]', ()), (Invocation, None, "Forget", b"[]", ())]


def test_a_type_nobody_knows_is_skipped() -> None:
    engine = open_engine()
    engine.receive_data(b'{"type":99}\x1e{"type":-1,"whatever":7}\x1e' + FORGET, now=0.0)
    assert plain(engine.events_received()) == plain([invocation("Forget")])
    assert engine.data_to_send() == []


def test_what_follows_a_close_is_ignored() -> None:
    engine = open_engine()
    engine.receive_data(FORGET + CLOSE + ECHO, now=0.0)
    engine.receive_data(ECHO + GARBAGE, now=0.0)
    assert plain(engine.events_received()) == plain([invocation("Forget"), Close()])


def test_a_close_can_be_answered_and_calls_before_it_too() -> None:
    engine = open_engine()
    engine.receive_data(ECHO + CLOSE, now=0.0)
    engine.send(Completion(invocation_id="0", result="hi"))
    engine.close()
    assert sent(engine) == [b'{"type":3,"invocationId":"0","result":"hi"}\x1e', CLOSE]
    assert engine.state is EngineState.CLOSED


@pytest.mark.parametrize(
    ("detailed_errors", "text"),
    [(False, "Connection closed with an error."), (True, "Connection closed with an error. InvalidDataException: Error reading JSON.")],
)
def test_a_message_that_is_none_ends_the_connection(detailed_errors: bool, text: str) -> None:
    engine = open_engine(detailed_errors=detailed_errors)
    engine.receive_data(ECHO + GARBAGE + FORGET, now=0.0)
    call, failure = engine.events_received()
    assert isinstance(call, Invocation)
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.PROTOCOL_ERROR
    assert isinstance(failure.exception, RemoteProtocolError)
    assert failure.allows_reconnect
    engine.send(Completion(invocation_id="0", result="hi"))  # what came before is still answered
    engine.fail(failure.reason, failure.exception, allow_reconnect=failure.allows_reconnect)
    answer, farewell = sent(engine)
    assert answer == b'{"type":3,"invocationId":"0","result":"hi"}\x1e'
    assert msgspec.json.decode(farewell[:-1]) == {"type": 7, "error": text, "allowReconnect": True}
    assert engine.state is EngineState.CLOSED


def test_nothing_is_read_after_a_fault() -> None:
    engine = open_engine()
    engine.receive_data(GARBAGE, now=0.0)
    assert len(engine.events_received()) == 1
    engine.receive_data(ECHO + GARBAGE, now=0.0)
    engine.receive_data(b"half a mess", now=0.0)
    assert engine.events_received() == []
    engine.receive_eof()
    assert engine.events_received() == []


@pytest.mark.parametrize(
    "text", [b"", b" ", b"[]", b"7", b'{"type":"1"}', b'{"type":1,"arguments":[]}', b'{"type":6}\xff', b"\xef\xbb\xbf{}"]
)
def test_faults_never_raise(text: bytes) -> None:
    engine = open_engine()
    engine.receive_data(text + b"\x1e", now=0.0)
    for event in engine.events_received():
        assert isinstance(event, ConnectionFailed)
        assert event.reason is CloseReason.PROTOCOL_ERROR


# Size


def sized(size: int) -> bytes:
    """An invocation of exactly that many bytes, separator included."""
    bare = b'{"type":1,"target":"T","arguments":[""]}\x1e'
    return bare.replace(b'""', b'"' + b"x" * (size - len(bare)) + b'"')


def test_a_message_may_be_as_long_as_the_limit() -> None:
    engine = open_engine(maximum_message_size=1024)
    assert len(sized(1024)) == 1024
    engine.receive_data(sized(1024) * 3, now=0.0)
    assert len(engine.events_received()) == 3


@pytest.mark.parametrize("chunk_size", [1025, 1000, 7])
def test_a_longer_message_ends_the_connection(chunk_size: int) -> None:
    engine = open_engine(maximum_message_size=1024, detailed_errors=True)
    data = ECHO + sized(1025) + ECHO
    for start in range(0, len(data), chunk_size):
        engine.receive_data(data[start : start + chunk_size], now=0.0)
    call, failure = engine.events_received()
    assert isinstance(call, Invocation)
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.MESSAGE_TOO_BIG
    assert isinstance(failure.exception, MessageTooBig)
    assert failure.exception.limit == 1024
    assert failure.allows_reconnect
    assert engine.close_text(failure.exception) == (
        "Connection closed with an error. InvalidDataException: The maximum message size of 1024B was exceeded. "
        "The message size can be configured in AddHubOptions."
    )


def test_the_limit_counts_bytes_and_not_characters() -> None:
    engine = open_engine(maximum_message_size=1024)
    text = sized(1000).decode().replace("x", "é")
    assert len(text) < 1024 < len(text.encode())
    engine.receive_data(text, now=0.0)
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.MESSAGE_TOO_BIG


def test_a_message_that_does_not_end_is_too_long_too() -> None:
    engine = open_engine(maximum_message_size=1024)
    engine.receive_data(b"x" * 1024, now=0.0)
    assert engine.events_received() == []
    engine.receive_data(b"x", now=0.0)
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.MESSAGE_TOO_BIG


def test_there_may_be_no_limit() -> None:
    engine = open_engine(maximum_message_size=None)
    engine.receive_data(sized(1_000_000), now=0.0)
    assert len(engine.events_received()) == 1


# The end of input


def test_an_end_between_messages_is_in_order() -> None:
    engine = open_engine()
    engine.receive_data(FORGET, now=0.0)
    engine.events_received()
    engine.receive_eof()
    assert engine.events_received() == []
    assert engine.state is EngineState.CLOSED


def test_an_end_inside_a_message_is_a_fault_that_only_the_hub_hears_of() -> None:
    engine = open_engine()
    engine.receive_data(FORGET[:10], now=0.0)
    engine.receive_eof()
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.CLIENT_GONE
    assert str(failure.exception) == "InvalidDataException: Connection terminated while reading a message."
    assert engine.data_to_send() == []


# Time


def test_pings_are_due_at_a_fixed_period() -> None:
    engine = open_engine(now=100.0, keep_alive_interval=15.0)
    assert engine.next_deadline() == 115.0
    assert engine.tick(114.9) is False
    assert engine.tick(115.5) is True
    assert engine.tick(115.6) is False
    assert engine.next_deadline() == 130.5
    assert engine.tick(130.5) is True


def test_traffic_does_not_postpone_a_ping() -> None:
    engine = open_engine(keep_alive_interval=15.0)
    engine.receive_data(ECHO, now=14.0)
    engine.send(Completion(invocation_id="0", result=None))
    assert engine.next_deadline() == 15.0
    assert engine.tick(15.0) is True


def test_the_first_period_starts_with_the_handshake() -> None:
    engine = make_engine(now=0.0, keep_alive_interval=15.0)
    assert engine.tick(10.0) is False
    engine.receive_data(HANDSHAKE, now=10.0)
    assert engine.next_deadline() == 25.0


def test_no_ping_is_due_before_the_handshake() -> None:
    engine = make_engine(keep_alive_interval=1.0)
    assert engine.tick(5.0) is False


def test_a_transport_may_need_no_pings() -> None:
    engine = open_engine(keep_alive_interval=None)
    assert engine.next_deadline() == float("inf")
    assert engine.tick(1_000.0) is False


def test_a_client_that_never_pings_may_be_silent_for_ever() -> None:
    engine = open_engine(keep_alive_interval=None, client_timeout_interval=30.0)
    engine.receive_data(ECHO, now=1.0)
    engine.events_received()
    engine.tick(1_000_000.0)
    assert engine.events_received() == []
    assert engine.state is EngineState.OPEN


@pytest.mark.parametrize("detailed_errors", [False, True])
def test_a_client_that_pinged_must_go_on(detailed_errors: bool) -> None:
    engine = open_engine(keep_alive_interval=None, client_timeout_interval=30.0, detailed_errors=detailed_errors)
    engine.receive_data(PING, now=10.0)
    assert engine.next_deadline() == 40.0
    engine.tick(40.0)
    assert engine.events_received() == []
    assert engine.tick(40.1) is False
    (failure,) = engine.events_received()
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason is CloseReason.PING_TIMEOUT
    assert failure.allows_reconnect
    (farewell,) = sent(engine)
    detail = f" OperationCanceledException: {TIMED_OUT}" if detailed_errors else ""
    assert msgspec.json.decode(farewell[:-1]) == {
        "type": 7,
        "error": "Connection closed with an error." + detail,
        "allowReconnect": True,
    }
    assert engine.next_deadline() == float("inf")


@pytest.mark.parametrize("life", [PING, FORGET, FORGET[:5], b'{"type":99}\x1e'], ids=["ping", "message", "half a message", "unknown type"])
def test_anything_received_is_a_sign_of_life(life: bytes) -> None:
    engine = open_engine(keep_alive_interval=None, client_timeout_interval=30.0)
    engine.receive_data(PING, now=0.0)
    engine.receive_data(life, now=29.0)
    assert engine.last_received == 29.0
    engine.tick(59.0)
    assert engine.state is EngineState.OPEN
    engine.tick(59.1)
    assert engine.state is EngineState.CLOSED


def test_the_clients_time_can_be_started_anew() -> None:
    engine = open_engine(keep_alive_interval=None, client_timeout_interval=30.0)
    engine.receive_data(PING, now=0.0)
    engine.restart_client_timeout(25.0)
    assert engine.next_deadline() == 55.0


def test_a_lost_client_is_not_pinged() -> None:
    engine = open_engine(keep_alive_interval=15.0, client_timeout_interval=30.0)
    engine.receive_data(PING, now=0.0)
    assert engine.tick(50.0) is False
    assert engine.state is EngineState.CLOSED


# Sending and closing


def test_messages_are_sent_in_order() -> None:
    engine = open_engine()
    engine.send(Invocation(target="a", arguments=[1]))
    engine.send(Completion(invocation_id="0", result=None))
    assert sent(engine) == [
        b'{"type":1,"target":"a","arguments":[1]}\x1e',
        b'{"type":3,"invocationId":"0","result":null}\x1e',
    ]


def test_a_value_that_cannot_be_encoded_leaves_the_connection_open() -> None:
    engine = open_engine()
    with pytest.raises(LocalProtocolError):
        engine.send(Invocation(target="a", arguments=[object()]))
    assert engine.data_to_send() == []
    engine.send(Ping())
    assert sent(engine) == [PING]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, b'{"type":7}\x1e'),
        ({"error": "why"}, b'{"type":7,"error":"why"}\x1e'),
        ({"allow_reconnect": True}, b'{"type":7,"allowReconnect":true}\x1e'),
    ],
)
def test_closing_says_so_once(arguments: dict[str, Any], expected: bytes) -> None:
    engine = open_engine()
    engine.close(**arguments)
    engine.close(error="again")
    engine.fail(CloseReason.HUB_ERROR, HubException("and again"))
    assert sent(engine) == [expected]
    assert engine.events_received() == []
    with pytest.raises(LocalProtocolError):
        engine.send(Ping())


def test_a_failure_may_forbid_to_come_back() -> None:
    engine = open_engine()
    engine.fail(CloseReason.HUB_ERROR, ValueError("secret"), allow_reconnect=False)
    assert sent(engine) == [b'{"type":7,"error":"Connection closed with an error."}\x1e']


def test_the_detail_of_a_failure_names_its_type() -> None:
    engine = open_engine(detailed_errors=True)
    assert engine.close_text(ValueError("x")) == "Connection closed with an error. ValueError: x"


# Whatever comes

CONVERSATION = (
    HANDSHAKE
    + PING
    + ECHO
    + '{"type":1,"target":"Grüße 😀","arguments":["\\u001e",{"a":[null]}]}\x1e'.encode()
    + b'{"type":2,"invocationId":"2","item":1}\x1e'
    + FORGET
    + CLOSE
    + ECHO
)

PIECES = [HANDSHAKE, ECHO, PING, CLOSE, GARBAGE, b"\x1e", b'{"type":', "\x1e{"]
chunks = st.one_of(st.binary(), st.text(st.characters()), st.sampled_from(PIECES))


@given(st.lists(chunks, max_size=8), st.booleans(), st.sampled_from([None, 1, 64, 32 * 1024]))
def test_no_input_raises(parts: list[Data], shake_hands: bool, limit: int | None) -> None:
    engine = make_engine(maximum_message_size=limit, detailed_errors=True)
    if shake_hands:
        engine.receive_data(HANDSHAKE, now=0.0)
    for now, part in enumerate(parts):
        engine.receive_data(part, now=float(now))
        events = engine.events_received()
        assert all(not isinstance(event, ConnectionFailed) for event in events[:-1])
        if events and isinstance(events[-1], ConnectionFailed) and engine.state is EngineState.OPEN:
            assert events[-1].exception is not None
            engine.fail(events[-1].reason, events[-1].exception)
            assert engine.state is EngineState.CLOSED
        for message in engine.data_to_send():
            assert message.data.endswith(b"\x1e")
            assert isinstance(msgspec.json.decode(message.data[:-1]), dict)
    engine.tick(1_000.0)
    engine.receive_eof()
    assert engine.state is EngineState.CLOSED


@given(st.sets(st.integers(1, len(CONVERSATION) - 1)))
def test_where_a_conversation_is_cut_does_not_matter(cuts: set[int]) -> None:
    whole = make_engine()
    whole.receive_data(CONVERSATION, now=0.0)
    engine = make_engine()
    events: list[Event] = []
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    for start, end in itertools.pairwise(edges):
        engine.receive_data(CONVERSATION[start:end], now=0.0)
        events += engine.events_received()
    assert plain(events) == plain(whole.events_received())
    assert sent(engine) == sent(whole)


@given(st.integers(0, len(CONVERSATION) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_conversation_does_not_raise(position: int, noise: bytes) -> None:
    engine = make_engine()
    engine.receive_data(CONVERSATION[:position] + noise + CONVERSATION[position + len(noise) :], now=0.0)
    engine.receive_eof()
    assert engine.state is EngineState.CLOSED
