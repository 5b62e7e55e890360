"""
What clients may not send, on every transport and in every hub protocol: the exact answer, whether the connection ends, the recorded reason,
and that others do not notice.

``test_bad_input.py`` has more of it for JSON over web sockets. Source of the texts: ASP.NET Core 10.0, measured on the wire.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from signalr_channels.protocols.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    SequenceMessage,
    StreamInvocation,
    StreamItem,
)
from tests.integration.raw import DEADLINE, RawClient, answer, negotiate
from tests.integration.raw_http import TALKERS, EventStreamTalker, PollingTalker, Talker, WebSocketTalker, request
from tests.live import PeerSite

LIMIT = 32 * 1024
NOT_FOUND = "404 No Connection with that ID"
REQUIRED = "400 Connection ID required"
OTHER_TRANSPORT = "400 Cannot change transports mid-connection"
EVENT_STREAM = {"Accept": "text/event-stream"}

MakeTalker = Callable[..., Talker]


@pytest.fixture
def bystander(peer_site: PeerSite) -> Iterator[RawClient]:
    """A connection that was there before, and must work afterwards."""
    with RawClient(f"{peer_site.url}/peer") as client:
        yield client
        client.echo("nothing happened")


@pytest.fixture(params=TALKERS)
def connect(request: pytest.FixtureRequest, peer_site: PeerSite, bystander: RawClient) -> MakeTalker:
    """Makes clients of the transport and hub protocol in turn."""
    cls, protocol = TALKERS[request.param]
    return lambda path="peer", **options: cls(f"{peer_site.url}/{path}", protocol, **options)


def recorded(site: PeerSite, talker: Talker) -> str:
    """The reason of the end of a connection."""
    reason: str = site.wait_for_event(connection_id=talker.connection_id, kind="disconnected")["reason"]
    return reason


def failed(text: str) -> Close:
    return Close(error="Connection closed with an error." + (f" {text}" if text else ""), allow_reconnect=True)


def refused(text: str, invocation_id: str = "0") -> Completion:
    return Completion(invocation_id=invocation_id, error=text)


def misfit(method: str, detail: str) -> Completion:
    return refused(f"Failed to invoke '{method}' due to an error on the server. InvalidDataException: {detail}")


def call(target: str, *arguments: object, stream_ids: tuple[str, ...] = (), invocation_id: str = "0") -> Invocation:
    return Invocation(target=target, arguments=arguments, stream_ids=stream_ids, invocation_id=invocation_id)


TOO_BIG = f"InvalidDataException: The maximum message size of {LIMIT}B was exceeded. The message size can be configured in AddHubOptions."
BINDING = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."


# Messages that make no sense where they stand


@dataclass(frozen=True)
class Case:
    """Messages, and what they are answered with."""

    name: str
    send: list[HubMessage]
    answers: list[HubMessage] = field(default_factory=list)
    reason: str | None = None
    """The recorded reason; ``None`` if the connection goes on."""
    path: str = "peer"


MESSAGES = [
    Case("an item of an unknown stream", [StreamItem(invocation_id="77", item=1)]),
    Case("an unknown stream that ends", [Completion(invocation_id="77")]),
    Case("an unknown stream that fails", [Completion(invocation_id="77", error="x")]),
    Case("an answer to no question", [Completion(invocation_id="s77", result=1)]),
    Case("items before their call", [StreamItem(invocation_id="1", item=1), call("Sum", stream_ids=("1",)),
         StreamItem(invocation_id="1", item=2), Completion(invocation_id="1")], [Completion(invocation_id="0", result=2)]),
    Case("items after the end of their stream", [call("Sum", stream_ids=("1",)), Completion(invocation_id="1"),
         StreamItem(invocation_id="1", item=2), Completion(invocation_id="1")], [Completion(invocation_id="0", result=0)]),
    Case("a stream that fails", [call("Sum", stream_ids=("1",)), Completion(invocation_id="1", error="the disk is full")], [
         refused("An unexpected error occurred invoking 'Sum' on the server. HubException: the disk is full")]),
    Case("an item of another type", [call("Sum", stream_ids=("1",)), StreamItem(invocation_id="1", item="x")], [
         refused("An unexpected error occurred invoking 'Sum' on the server. HubException: Failed to bind Stream message.")],
         path="peer-strict"),
    Case("a call without its stream", [call("Sum")], [refused(
         "An unexpected error occurred invoking 'Sum' on the server. HubException: Client sent 0 stream(s), Hub method expects 1.")]),
    Case("a call with streams it has no use for", [Invocation(target="Echo", arguments=["x"], stream_ids=("1", "2"), invocation_id="0")], [
         refused("An unexpected error occurred invoking 'Echo' on the server. HubException: "
                 "Client sent 2 stream(s), Hub method expects 0.")]),
    Case("cancelling what does not run", [CancelInvocation(invocation_id="77")]),
    Case("cancelling another stream than the one that runs", [StreamInvocation(target="Count", arguments=(1, 0), invocation_id="0"),
         CancelInvocation(invocation_id="x")], [StreamItem(invocation_id="0", item=0), Completion(invocation_id="0")]),
    Case("cancelling a plain call", [call("Slow", 50), CancelInvocation(invocation_id="0")], [
         Completion(invocation_id="0", result="done")]),
    Case("a streaming call of a plain method", [StreamInvocation(target="Echo", arguments=("x",), invocation_id="0")], [refused(
         "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.")]),
    Case("a plain call of a streaming method", [call("Count", 1, 0)], [refused(
         "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.")]),
    Case("an acknowledgement without stateful reconnect", [Ack(sequence_id=2**62)]),
    Case("a Sequence without stateful reconnect", [SequenceMessage(sequence_id=-5)]),
    Case("too few arguments", [call("Add", 1)], [misfit("Add", "Invocation provides 1 argument(s) but target expects 2.")]),
    Case("arguments of other types", [call("Add", 1, "x")], [misfit("Add", BINDING)]),
    Case("a number over 32 bits", [call("Add", 1, 2**40)], [misfit("Add", BINDING)]),
    Case("an unknown method", [call("Nonsense")], [refused(
         "Failed to invoke 'Nonsense' due to an error on the server. HubException: Method does not exist.")]),
    Case("a call over the limit", [call("Echo", "x" * LIMIT)], [failed(TOO_BIG)], "message_too_big"),
    Case("a Close with an error", [Close(error="the cat sat on it"), call("Echo", "x")], [Close()], "client_closed"),
]  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case.name)
def test_messages(peer_site: PeerSite, connect: MakeTalker, case: Case) -> None:
    with connect(case.path) as talker:
        talker.send(*case.send)
        answers = list(map(talker.body, case.answers))
        if case.reason is None:
            assert [talker.receive() for _ in answers] == answers
            talker.prove()
        else:
            assert talker.receive_to_end() == answers
            assert recorded(peer_site, talker) == case.reason


def test_an_answer_to_anothers_question(peer_site: PeerSite, connect: MakeTalker, bystander: RawClient) -> None:
    """Ends the connection that made it up; the one that was asked can still answer."""
    with connect() as asking, connect() as asked, connect() as liar:
        asking.send(call("AskClient", asked.connection_id, 5))
        question = asked.receive_message()
        assert isinstance(question, Invocation)
        assert question.invocation_id is not None
        liar.send(Completion(invocation_id=question.invocation_id, result=666))
        text = f"Connection ID '{liar.connection_id}' is not valid for invocation ID '{question.invocation_id}'."
        assert liar.receive_to_end() == [liar.body(failed(f"InvalidOperationException: {text}"))]
        assert recorded(peer_site, liar) == "protocol_error"
        asked.send(Completion(invocation_id=question.invocation_id, result=6))
        assert asking.receive() == asking.body(Completion(invocation_id="0", result=6))
        asked.send(Completion(invocation_id=question.invocation_id, result=7))  # nobody waits any more
        asked.prove()


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"error": "I do not know."}, "I do not know."),
        ({}, "The client gave no result."),
        ({"result": "many"}, "Error trying to deserialize result to int. Expected `int`, got `str`"),
    ],
)
def test_an_answer_that_is_none(peer_site: PeerSite, connect: MakeTalker, members: dict[str, Any], text: str) -> None:
    """Fails the call that asked, and harms nobody."""
    with connect() as asking, connect() as asked:
        asking.send(call("AskClient", asked.connection_id, 5))
        question = asked.receive_message()
        assert isinstance(question, Invocation)
        asked.send(Completion(invocation_id=str(question.invocation_id), **members))
        base = "An unexpected error occurred invoking 'AskClient' on the server."
        answered = asking.receive_message()
        assert isinstance(answered, Completion)
        assert str(answered.error).startswith(base)
        assert text in str(answered.error)
        asked.prove()


def test_an_upload_stream_that_is_never_finished(peer_site: PeerSite, connect: MakeTalker, bystander: RawClient) -> None:
    """Its client goes; the method hears of it, and nothing is left of either."""
    with connect() as talker:
        talker.send(call("Sum", stream_ids=("1",)), StreamItem(invocation_id="1", item=1))
        talker.send(
            StreamInvocation(target="Relay", arguments=(), stream_ids=("2",), invocation_id="3"), StreamItem(invocation_id="2", item="a")
        )
        assert talker.receive() == talker.body(StreamItem(invocation_id="3", item="A"))
        talker.prove()  # meanwhile
    assert recorded(peer_site, talker) in ("client_closed", "client_gone")
    assert answer(*request("POST", talker.url, b"x")) == NOT_FOUND


def test_a_stream_that_comes_faster_than_it_is_read(peer_site: PeerSite, connect: MakeTalker, bystander: RawClient) -> None:
    """Its connection is read no further; nobody else notices, and nothing is lost."""
    with connect("peer-strict") as talker:  # room for 2 items, and one call at a time
        items = [StreamItem(invocation_id="9", item=number) for number in range(200)]
        talker.send(call("Slow", 300), call("Slow", 1, invocation_id="1"), call("Sum", stream_ids=("9",), invocation_id="2"), *items)
        bystander.echo("meanwhile")
        talker.send(Completion(invocation_id="9"))
        first, second, total = (
            talker.body(Completion(invocation_id=invocation_id, result=result))
            for invocation_id, result in (("0", "done"), ("1", "done"), ("2", sum(range(200))))
        )
        assert talker.receive() == first
        assert {talker.receive(), talker.receive()} == {second, total}
        talker.prove()


def test_a_stream_id_in_use(peer_site: PeerSite, connect: MakeTalker) -> None:
    with connect() as talker:
        twice = StreamInvocation(target="Forever", arguments=(), invocation_id="0")
        talker.send(twice)
        assert talker.receive() == talker.body(StreamItem(invocation_id="0", item=0))
        talker.send(twice)
        error = talker.body(refused("Invocation ID '0' is already in use."))
        while talker.receive() != error:
            pass
        talker.send(CancelInvocation(invocation_id="0"))
        end = talker.body(Completion(invocation_id="0"))
        while talker.receive() != end:
            pass
        talker.send(CancelInvocation(invocation_id="0"))  # once more
        talker.prove()


# Bytes that are no messages


BINARY = [
    ("a length of six bytes", b"\x80\x80\x80\x80\x80\x00", "FormatException: Messages over 2GB in size are not supported."),
    ("a length over 2 GiB", b"\xff\xff\xff\xff\x08", "FormatException: Messages over 2GB in size are not supported."),
    ("a length of all ones", b"\xff" * 30, "FormatException: Messages over 2GB in size are not supported."),
    ("no bytes at all", b"\x00", "EndOfStreamException: Attempted to read past the end of the stream."),
    ("no bytes, said at length", b"\x80\x80\x80\x80\x00", "EndOfStreamException: Attempted to read past the end of the stream."),
    ("no array", b"\x01\x81", "MessagePackSerializationException: Unexpected msgpack code 129 (fixmap) encountered."),
    ("an array of four thousand million items", b"\x06\xdd\xff\xff\xff\xff\x06",
     "EndOfStreamException: Attempted to read past the end of the stream."),
    ("an empty array", b"\x01\x90", "InvalidDataException: Reading 'messageType' as Int32 failed."),
    ("arrays in arrays in its place", b"\xe8\x07" + b"\x91" * 1000, "InvalidDataException: Reading 'messageType' as Int32 failed."),
    ("a name of four thousand million bytes", b"\x0a\x95\x01\x80\xa1\x30\xdb\xff\xff\xff\xff",
     "InvalidDataException: Reading 'target' as String failed."),
    ("an id of four thousand million bytes", b"\x0a\x95\x01\x80\xdb\xff\xff\xff\xff\x30\x30",
     "InvalidDataException: Reading 'invocationId' as String failed."),
    ("four thousand million headers", b"\x0a\x95\x01\xdf\xff\xff\xff\xff\xa1\x61\xa1",
     "InvalidDataException: Reading map length for 'headers' failed."),
    ("four thousand million streams", b"\x12\x96\x01\x80\xa1\x30\xa4Echo\x91\xa1x\xdd\xff\xff\xff\xff",
     "InvalidDataException: Reading array length for 'streamIds' failed."),
    ("a result of an unknown kind", b"\x06\x95\x03\x80\xa1\x30\x09", "InvalidDataException: Invalid invocation result kind."),
    ("a Sequence without a number", b"\x03\x92\x09\xc0", "InvalidDataException: Reading 'sequenceId' as Int64 failed."),
    ("an answer that breaks off", b"\x05\x94\x03\x80\xa1\x30", "InvalidDataException: Reading 'resultKind' as Int32 failed."),
    ("an answer of more items than bytes", b"\x05\x95\x03\x80\xa1\x30",
     "EndOfStreamException: Attempted to read past the end of the stream."),
    ("JSON", b'{"type":6}\x1e', None),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), [row[1:] for row in BINARY], ids=[row[0] for row in BINARY])
@pytest.mark.parametrize("cls", [WebSocketTalker, PollingTalker])
def test_bytes_that_are_no_messages(peer_site: PeerSite, bystander: RawClient, cls: type[Talker], data: bytes, text: str | None) -> None:
    with cls(f"{peer_site.url}/peer", "messagepack") as talker:
        talker.send_bytes(data)
        if text is None:  # an announcement of 123 bytes: it waits for them
            talker.send_bytes(b"\x00" * (data[0] - len(data) + 1))
            (message,) = talker.receive_to_end()
            assert message == talker.body(
                failed("MessagePackSerializationException: Unexpected msgpack code 34 (positive fixint) encountered.")
            )
        else:
            assert talker.receive_to_end() == [talker.body(failed(text))]
        assert recorded(peer_site, talker) == "protocol_error"


ARGUMENTS = [
    ("nil", b"\xc0", "Reading array length for 'arguments' failed."),
    ("a map", b"\x80", "Reading array length for 'arguments' failed."),
    ("four thousand million", b"\xdd\xff\xff\xff\xff", "Reading array length for 'arguments' failed."),
    ("a text of four thousand million bytes", b"\x91\xdb\xff\xff\xff\xff", BINDING),
    ("bytes, four thousand million of them", b"\x91\xc6\xff\xff\xff\xff", BINDING),
    ("an extension of four thousand million bytes", b"\x91\xc9\xff\xff\xff\xff\x01", BINDING),
    ("a map of four thousand million", b"\x91\xdf\xff\xff\xff\xff", BINDING),
    ("an array of four thousand million", b"\x91\xdd\xff\xff\xff\xff", BINDING),
    ("arrays in arrays, 30,000 deep", b"\x91" * 30_000 + b"\xc0", BINDING),
    ("maps in maps, 15,000 deep", b"\x91" + b"\x81\xc0" * 15_000 + b"\xc0", BINDING),
    ("arrays in arrays without an end", b"\x91" * 20_000, BINDING),
    ("a code that was never used", b"\x91\xc1", BINDING),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), [row[1:] for row in ARGUMENTS], ids=[row[0] for row in ARGUMENTS])
@pytest.mark.parametrize("cls", [WebSocketTalker, PollingTalker])
def test_arguments_that_are_none(peer_site: PeerSite, bystander: RawClient, cls: type[Talker], data: bytes, text: str) -> None:
    """They end the call and not the connection."""
    with cls(f"{peer_site.url}/peer", "messagepack") as talker:
        body = b"\x95\x01\x80\xa1\x30\xa4Echo" + data
        talker.send_bytes(bytes([len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14]) + body)
        assert talker.receive() == talker.body(misfit("Echo", text))
        talker.prove()


@pytest.mark.parametrize("cls", [WebSocketTalker, PollingTalker])
def test_a_length_of_2_gib_is_waited_for_up_to_the_limit(peer_site: PeerSite, bystander: RawClient, cls: type[Talker]) -> None:
    with cls(f"{peer_site.url}/peer", "messagepack") as talker:
        talker.send_bytes(b"\xff\xff\xff\xff\x07")
        talker.send_bytes(b"\x00" * (LIMIT - 5))
        bystander.echo("nothing yet")
        talker.send_bytes(b"\x00")
        assert talker.receive_to_end() == [talker.body(failed(TOO_BIG))]
        assert recorded(peer_site, talker) == "message_too_big"


@pytest.mark.parametrize("cls", [WebSocketTalker, EventStreamTalker])
def test_half_a_message_at_the_end(peer_site: PeerSite, bystander: RawClient, cls: type[Talker]) -> None:
    with cls(f"{peer_site.url}/peer") as talker:
        talker.send_bytes(b'{"type":1,"target":"Ec')
    event = peer_site.wait_for_event(connection_id=talker.connection_id, kind="disconnected")
    assert "Connection terminated while reading a message." in event["detail"]


TEXT = [
    ("no JSON", b"hello\x1e", "InvalidDataException: Error reading JSON."),
    ("an empty message", b"\x1e", "InvalidDataException: Error reading JSON."),
    ("an array", b"[1]\x1e", "InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    ("no type", b'{"target":"Echo"}\x1e', "InvalidDataException: Missing required property 'type'."),
    ("arguments that are none", b'{"type":1,"target":"Echo","arguments":{}}\x1e',
     "InvalidDataException: Expected 'arguments' to be of type Array."),
    ("65 levels", b'{"type":1,"target":"Echo","arguments":' + b"[" * 64 + b"]" * 64 + b"}\x1e",
     "InvalidDataException: Error reading JSON."),
    ("16,000 levels", b'{"type":1,"target":"Echo","arguments":' + b"[" * 16_000 + b"]" * 16_000 + b"}\x1e",
     "InvalidDataException: Error reading JSON."),
    ("bytes that are not UTF-8", b'{"type":\xff}\x1e', "InvalidDataException: Error reading JSON."),
    ("a Sequence that is none", b'{"type":9,"sequenceId":1.5}\x1e',
     "FormatException: Either the JSON value is not in a supported format, or is out of bounds for an Int64."),
    ("an item without a stream", b'{"type":2,"item":1}\x1e', "InvalidDataException: Missing required property 'invocationId'."),
    ("a result and an error", b'{"type":3,"invocationId":"1","result":1,"error":"no"}\x1e',
     "InvalidDataException: The 'error' and 'result' properties are mutually exclusive."),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), [row[1:] for row in TEXT], ids=[row[0] for row in TEXT])
@pytest.mark.parametrize("cls", [EventStreamTalker, PollingTalker])
def test_text_that_is_no_message(peer_site: PeerSite, bystander: RawClient, cls: type[Talker], data: bytes, text: str) -> None:
    with cls(f"{peer_site.url}/peer") as talker:
        talker.send_bytes(data)
        assert talker.receive_to_end() == [talker.body(failed(text))]
        assert recorded(peer_site, talker) == "protocol_error"


# Stateful reconnect


WANTS_STATEFUL: dict[str, Any] = {"query": "&useStatefulReconnect=true", "version": 2}
STATEFUL: list[tuple[str, list[HubMessage], str | None]] = [
    ("an acknowledgement from the future", [Ack(sequence_id=2**62)], None),
    ("an acknowledgement of nothing", [Ack(sequence_id=0), Ack(sequence_id=-1), Ack(sequence_id=-(2**63))], None),
    ("a Sequence that says nothing new", [SequenceMessage(sequence_id=1)], None),
    ("a Sequence too high", [SequenceMessage(sequence_id=2)],
     "InvalidOperationException: Sequence ID greater than amount of messages we've received."),
    ("a Sequence far too high", [SequenceMessage(sequence_id=2**63 - 1)],
     "InvalidOperationException: Sequence ID greater than amount of messages we've received."),
    ("a Sequence of 0", [SequenceMessage(sequence_id=0)], "InvalidOperationException: Sequence ID less than 1."),
    ("a negative Sequence", [SequenceMessage(sequence_id=-(2**63))], "InvalidOperationException: Sequence ID less than 1."),
]  # fmt: skip


@pytest.mark.parametrize(("send", "text"), [row[1:] for row in STATEFUL], ids=[row[0] for row in STATEFUL])
@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_numbers_of_stateful_reconnect(
    peer_site: PeerSite, bystander: RawClient, protocol: str, send: list[HubMessage], text: str | None
) -> None:
    with WebSocketTalker(f"{peer_site.url}/peer", protocol, **WANTS_STATEFUL) as talker:
        talker.send(*send)
        if text is None:
            talker.prove()
            return
        assert talker.receive_to_end() == [talker.body(failed(text))]
        assert recorded(peer_site, talker) == "protocol_error"


@pytest.mark.parametrize(("cls", "protocol"), [(EventStreamTalker, "json"), (PollingTalker, "json"), (PollingTalker, "messagepack")])
def test_numbers_of_stateful_reconnect_on_other_transports(
    peer_site: PeerSite, bystander: RawClient, cls: type[Talker], protocol: str
) -> None:
    """Where there is none, they mean nothing."""
    with cls(f"{peer_site.url}/peer", protocol, **WANTS_STATEFUL) as talker:
        for _, messages, _ in STATEFUL:
            talker.send(*messages)
        talker.prove()


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_messages_said_again_count_once(peer_site: PeerSite, bystander: RawClient, protocol: str) -> None:
    with WebSocketTalker(f"{peer_site.url}/peer", protocol, **WANTS_STATEFUL) as talker:
        talker.prove()
        talker.send(SequenceMessage(sequence_id=1), call("Echo", "again", invocation_id="1"), call("Echo", "new", invocation_id="2"))
        while (message := talker.receive()) == talker.body(Ack(sequence_id=1)):
            pass
        assert message == talker.body(Completion(invocation_id="2", result="new"))


def test_a_connection_that_failed_cannot_be_taken_up_again(peer_site: PeerSite, bystander: RawClient) -> None:
    with WebSocketTalker(f"{peer_site.url}/peer", **WANTS_STATEFUL) as talker:
        talker.send(SequenceMessage(sequence_id=5))
        talker.receive_to_end()
        assert recorded(peer_site, talker) == "protocol_error"
        assert upgrade(talker.url) == NOT_FOUND


# Requests


def upgrade(url: str, **headers: str) -> str:
    """Status and body of a web-socket request that is refused."""
    websocket = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    return answer(*request("GET", url, headers={**websocket, **headers}))


METHODS = [("GET", {}), ("GET", EVENT_STREAM), ("POST", {}), ("DELETE", {})]


@pytest.mark.parametrize(("method", "headers"), METHODS)
def test_ids_that_are_none(peer_site: PeerSite, bystander: RawClient, method: str, headers: dict[str, str]) -> None:
    url = f"{peer_site.url}/peer"
    for query in ("", "?id=", "?x=1"):
        assert answer(*request(method, url + query, b"", headers)) == REQUIRED
    for query in ("?id=unknown", "?id=a&id=b", "?id=%00", "?id=" + "x" * 5000, "?id=../../etc/passwd", "?id=%ff"):
        assert answer(*request(method, url + query, b"", headers)) == NOT_FOUND


@pytest.mark.parametrize(("method", "headers"), METHODS)
def test_ids_of_connections_that_have_ended(peer_site: PeerSite, connect: MakeTalker, method: str, headers: dict[str, str]) -> None:
    with connect() as talker:
        talker.send(Close())
        assert talker.receive_to_end() == [talker.body(Close())]
        recorded(peer_site, talker)
        assert answer(*request(method, talker.url, b"", headers)) == NOT_FOUND
        assert upgrade(talker.url) == NOT_FOUND


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"])
def test_methods_that_mean_nothing(peer_site: PeerSite, bystander: RawClient, method: str) -> None:
    for path in ("peer", "peer/negotiate"):
        assert request(method, f"{peer_site.url}/{path}")[0] == 405
    for negotiate_method in ("GET", "DELETE"):
        assert answer(*request(negotiate_method, f"{peer_site.url}/peer/negotiate")) == "405"


WRONG = {
    WebSocketTalker: [
        ("GET", {}, OTHER_TRANSPORT),
        ("GET", EVENT_STREAM, OTHER_TRANSPORT),
        ("POST", {}, "405 POST requests are not allowed for WebSocket connections."),
        ("DELETE", {}, "400 Cannot terminate this connection using the DELETE endpoint."),
    ],
    EventStreamTalker: [
        ("GET", {}, OTHER_TRANSPORT),
        ("GET", EVENT_STREAM, "409"),
        ("DELETE", {}, "400 Cannot terminate this connection using the DELETE endpoint."),
    ],
    PollingTalker: [("GET", EVENT_STREAM, OTHER_TRANSPORT)],
}


@pytest.mark.parametrize("cls", WRONG)
def test_another_transport_than_its_own(peer_site: PeerSite, bystander: RawClient, cls: type[Talker]) -> None:
    with cls(f"{peer_site.url}/peer") as talker:
        for method, headers, expected in WRONG[cls]:
            assert answer(*request(method, talker.url, b"", headers)) == expected
        assert upgrade(talker.url) == ("409" if cls is WebSocketTalker else OTHER_TRANSPORT)
        talker.prove()


@pytest.mark.parametrize(("path", "allowed"), [("peer-ws", "WebSockets"), ("peer-sse", "ServerSentEvents"), ("peer-lp", "LongPolling")])
def test_transports_that_the_hub_does_not_offer(peer_site: PeerSite, bystander: RawClient, path: str, allowed: str) -> None:
    url = f"{peer_site.url}/{path}?id={negotiate(f'{peer_site.url}/{path}')['connectionToken']}"
    text = "404 {} transport not supported by this end point type"
    if allowed != "LongPolling":
        assert answer(*request("GET", url)) == text.format("LongPolling")
    if allowed != "ServerSentEvents":
        assert answer(*request("GET", url, headers=EVENT_STREAM)) == text.format("ServerSentEvents")
    if allowed != "WebSockets":
        assert upgrade(url) == text.format("WebSockets")


def test_goodbye_twice(peer_site: PeerSite, bystander: RawClient) -> None:
    with PollingTalker(f"{peer_site.url}/peer") as talker:
        assert request("DELETE", talker.url) == (202, "")
        assert answer(*request("DELETE", talker.url)) == NOT_FOUND
        assert answer(*request("POST", talker.url, b"x")) == NOT_FOUND
        assert recorded(peer_site, talker) == "client_closed"


def test_goodbye_to_one_that_has_ended(peer_site: PeerSite, bystander: RawClient) -> None:
    """What nobody fetched is dropped."""
    with PollingTalker(f"{peer_site.url}/peer") as talker:
        talker.send(call("Echo", "x"), Close())
        recorded(peer_site, talker)
        assert answer(*request("POST", talker.url, b"x")) == NOT_FOUND
        assert answer(*request("GET", talker.url, headers=EVENT_STREAM)) == OTHER_TRANSPORT
        assert upgrade(talker.url) == OTHER_TRANSPORT
        assert request("DELETE", talker.url) == (202, "")
        assert answer(*request("DELETE", talker.url)) == NOT_FOUND
        assert answer(*request("GET", talker.url)) == NOT_FOUND


def test_goodbye_before_anything(peer_site: PeerSite, bystander: RawClient) -> None:
    url = f"{peer_site.url}/peer?id={negotiate(f'{peer_site.url}/peer')['connectionToken']}"
    assert answer(*request("DELETE", url)) == "400 Cannot terminate this connection using the DELETE endpoint."
    assert request("GET", url) == (200, "")  # which has done no harm
    assert request("DELETE", url) == (202, "")


@pytest.fixture
def logins(peer_site: PeerSite) -> list[dict[str, str]]:
    """Headers of two users."""
    tokens = [request("GET", f"{peer_site.url}/token?user={user}&seconds=600")[1] for user in ("anna", "bert")]
    return [{"Authorization": f"Bearer {token}"} for token in tokens]


@pytest.mark.parametrize("cls", [EventStreamTalker, PollingTalker])
def test_the_id_of_anothers_connection(peer_site: PeerSite, bystander: RawClient, cls: type[Talker], logins: list[dict[str, str]]) -> None:
    """The reference lets another user's login poll, post and delete; ours knows no such connection."""
    anna, bert = logins
    with cls(f"{peer_site.url}/secure", headers=anna) as talker:
        for method in ("GET", "POST", "DELETE"):
            assert answer(*request(method, talker.url, b"x", bert)) == NOT_FOUND
            assert request(method, talker.url, b"x")[0] == 401
        assert upgrade(talker.url, **bert) == NOT_FOUND
        talker.prove()
    assert request("POST", f"{peer_site.url}/secure/negotiate")[0] == 401


def test_an_access_token_that_is_none(peer_site: PeerSite, bystander: RawClient, logins: list[dict[str, str]]) -> None:
    good = logins[0]["Authorization"]
    for bad in ("Bearer", "Bearer ", "Bearer x", "Bearer " + "x" * 5000, good[:-3], good + "x", "Basic YTpi", "Bearer \xff"):
        for url in (f"{peer_site.url}/secure/negotiate", f"{peer_site.url}/secure"):
            assert request("POST", url, headers={"Authorization": bad}) == (401, "")


# Bodies


def test_a_body_over_the_limit(peer_site: PeerSite, bystander: RawClient) -> None:
    """The POST is answered as any other; the connection ends."""
    for cls in (EventStreamTalker, PollingTalker):
        for size in (LIMIT + 1, 5 * 1024 * 1024):
            with cls(f"{peer_site.url}/peer") as talker:
                status, body = request("POST", talker.url, b"x" * size)
                assert (status, body) in ((200, ""), (404, "No Connection with that ID"))
                assert talker.receive_to_end() == [talker.body(failed(TOO_BIG))]
                assert recorded(peer_site, talker) == "message_too_big"


def test_a_body_over_the_limit_in_good_messages(peer_site: PeerSite, connect: MakeTalker) -> None:
    with connect() as talker:
        messages = [call("Echo", "x" * 1000, invocation_id=str(number)) for number in range(100)]
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(talker.send, *messages)
            answers = [talker.receive_message() for _ in messages]
            sending.result(DEADLINE)
        assert [message.invocation_id for message in answers if isinstance(message, Completion)] == [m.invocation_id for m in messages]


@pytest.mark.parametrize("cls", [EventStreamTalker, PollingTalker])
def test_bodies_in_odd_forms(peer_site: PeerSite, bystander: RawClient, cls: type[Talker]) -> None:
    with cls(f"{peer_site.url}/peer") as talker:
        data = talker.protocol.encode(call("Echo", "x"))
        for body in (b"", iter([]), iter([data[:5], b"", data[5:]])):
            assert request("POST", talker.url, body) == (200, "")
        assert talker.receive() == talker.body(Completion(invocation_id="0", result="x"))
        assert request("POST", talker.url, data, {"Content-Type": "multipart/form-data; boundary=x", "Expect": "nonsense"})[0] in (200, 417)
        assert talker.receive() == talker.body(Completion(invocation_id="0", result="x"))


def send_raw(url: str, head: str, body: bytes = b"") -> socket.socket:
    """Write the beginning of a request, byte for byte."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = socket.create_connection((parts.hostname, parts.port or 80), DEADLINE)
    connection.sendall(head.format(path=f"{parts.path}?{parts.query}", host=parts.netloc).replace("\n", "\r\n").encode("latin-1") + body)
    return connection


@pytest.mark.parametrize("cls", [EventStreamTalker, PollingTalker])
def test_a_body_that_breaks_off(peer_site: PeerSite, bystander: RawClient, cls: type[Talker]) -> None:
    """What arrived stays, as in the reference: another body goes on with it."""
    with cls(f"{peer_site.url}/peer") as talker:
        first, second = (talker.protocol.encode(call("Echo", text)) for text in ("whole", "in two"))
        head = "POST {path} HTTP/1.1\nHost: {host}\nContent-Length: 1000\n\n"
        with send_raw(talker.url, head, first + second[:10]):
            assert talker.receive() == talker.body(Completion(invocation_id="0", result="whole"))
        talker.send_bytes(second[10:])
        assert talker.receive() == talker.body(Completion(invocation_id="0", result="in two"))


RAW_REQUESTS = [
    ("no HTTP", "HELLO\n\n"),
    ("no host", "GET {path} HTTP/1.1\n\n"),
    ("a header without a colon", "GET {path} HTTP/1.1\nHost: {host}\nnonsense\n\n"),
    ("two lengths", "POST {path} HTTP/1.1\nHost: {host}\nContent-Length: 5\nContent-Length: 6\n\nhello"),
    ("a negative length", "POST {path} HTTP/1.1\nHost: {host}\nContent-Length: -5\n\n"),
    ("a chunk of no length", "POST {path} HTTP/1.1\nHost: {host}\nTransfer-Encoding: chunked\n\nnonsense\n"),
    ("a length and chunks", "POST {path} HTTP/1.1\nHost: {host}\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n"),
    ("a line that is far too long", "GET {path}&x=" + "x" * 200_000 + " HTTP/1.1\nHost: {host}\n\n"),
    ("a web socket in HTTP/1.0", "GET {path} HTTP/1.0\nHost: {host}\nConnection: Upgrade\nUpgrade: websocket\n\n"),
]


@pytest.mark.parametrize("head", [row[1] for row in RAW_REQUESTS], ids=[row[0] for row in RAW_REQUESTS])
@pytest.mark.parametrize("cls", [EventStreamTalker, PollingTalker])
def test_requests_that_are_none(peer_site: PeerSite, bystander: RawClient, cls: type[Talker], head: str) -> None:
    """Whatever the web server makes of them, the connection whose id they carry goes on."""
    with cls(f"{peer_site.url}/peer") as talker:
        with send_raw(talker.url, head) as connection:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        talker.prove()


def test_polls_and_streams_that_are_dropped_at_once(peer_site: PeerSite, bystander: RawClient) -> None:
    with PollingTalker(f"{peer_site.url}/peer") as talker:
        polls = [send_raw(talker.url, "GET {path} HTTP/1.1\nHost: {host}\n\n") for _ in range(20)]
        for poll in polls:
            poll.shutdown(socket.SHUT_WR)
        for poll in polls:
            with poll:
                while poll.recv(10_000):  # until the server has seen the end
                    pass
        talker.prove()
    for _ in range(20):
        url = f"{peer_site.url}/peer?id={negotiate(f'{peer_site.url}/peer')['connectionToken']}"
        send_raw(url, "GET {path} HTTP/1.1\nHost: {host}\nAccept: text/event-stream\n\n").close()


def test_polls_at_once(peer_site: PeerSite, bystander: RawClient) -> None:
    """Each ends the one before."""
    with PollingTalker(f"{peer_site.url}/peer") as talker, ThreadPoolExecutor(5) as pool:
        polls = [pool.submit(request, "GET", talker.url) for _ in range(5)]
        done: list[tuple[int, str]] = []
        while len(done) < 4:
            done = [poll.result() for poll in polls if poll.done()]
        assert done == [(204, "")] * 4
        talker.send(call("Echo", "x"))
        answers = sorted(poll.result(DEADLINE) for poll in polls)
        assert answers[0][0] == 200
        assert json.loads(answers[0][1].removesuffix("\x1e"))["result"] == "x"


# Handshakes


MALFORMED = "An unexpected error occurred during connection handshake."
HANDSHAKES = [
    ("no JSON", b"hello\x1e",
     f"{MALFORMED} JsonReaderException: 'h' is an invalid start of a value. LineNumber: 0 | BytePositionInLine: 0."),
    ("an unknown protocol", b'{"protocol":"xml","version":1}\x1e', "The protocol 'xml' is not supported."),
    ("a version from the future", b'{"protocol":"json","version":3}\x1e', "The server does not support version 3 of the 'json' protocol."),
    ("a request over the limit", b"x" * (LIMIT + 1), "Handshake was canceled."),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), [row[1:] for row in HANDSHAKES], ids=[row[0] for row in HANDSHAKES])
@pytest.mark.parametrize("accept", [{}, EVENT_STREAM], ids=["polls", "event stream"])
def test_handshakes(peer_site: PeerSite, bystander: RawClient, accept: dict[str, str], data: bytes, text: str) -> None:
    """Posted before the transport request, which is legal."""
    negotiated = negotiate(f"{peer_site.url}/peer")
    url = f"{peer_site.url}/peer?id={negotiated['connectionToken']}"
    assert request("POST", url, data) == (200, "")
    expected = json.dumps({"error": text}, separators=(",", ":")) + "\x1e"
    if accept:
        assert request("GET", url, headers=accept) == (200, f":\r\ndata: {expected}\r\n\r\n")
    else:
        assert request("GET", url) == (200, "")
        assert [request("GET", url) for _ in range(3)] == [(200, expected), (204, ""), (404, "No Connection with that ID")]
    event = peer_site.wait_for_event(connection_id=negotiated["connectionId"], kind="rejected")
    assert event["reason"] == ("message_too_big" if "canceled" in text else "handshake_error")


def test_messagepack_on_an_event_stream(peer_site: PeerSite, bystander: RawClient) -> None:
    negotiated = negotiate(f"{peer_site.url}/peer")
    url = f"{peer_site.url}/peer?id={negotiated['connectionToken']}"
    assert request("POST", url, b'{"protocol":"messagepack","version":1}\x1e') == (200, "")
    text = "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."
    assert text in request("GET", url, headers=EVENT_STREAM)[1]
    assert peer_site.wait_for_event(connection_id=negotiated["connectionId"], kind="rejected")["reason"] == "handshake_error"


def test_more_than_there_is_room_for_before_the_transport_request(peer_site: PeerSite, bystander: RawClient) -> None:
    """The POST waits for the transport, which takes it all."""
    url = f"{peer_site.url}/peer?id={negotiate(f'{peer_site.url}/peer')['connectionToken']}"
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(request, "POST", url, b'{"protocol":"json","version":1}\x1e' + b"x" * 1_000_000)
        bystander.echo("meanwhile")
        assert request("GET", url) == (200, "")
        assert posting.result(DEADLINE)[0] in (200, 404)
    assert request("GET", url)[0] == 200
