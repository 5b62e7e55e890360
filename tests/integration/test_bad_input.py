"""
What clients may not send: the exact answer, whether the connection ends, the recorded reason, and that others do not notice.

Source of the texts: ASP.NET Core 10.0, measured on the wire.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from django.test import override_settings
from msgspec.structs import replace
from websockets.exceptions import InvalidStatus

from signalr_channels.tokens import make_connection_id, new_token
from tests.integration.raw import HANDSHAKE, SEPARATOR, Frame, RawClient, answer, call, negotiate, post
from tests.live import PeerSite, serve_peer_site
from tests.peer_site import settings as site_settings

PEER = "tests.peer_site.hubs.PeerHub"
LIMIT = 32 * 1024
STRICT_LIMIT = 1024


@pytest.fixture
def bystander(peer_site: PeerSite) -> Iterator[RawClient]:
    """A connection that was there before, and must work afterwards."""
    with RawClient(f"{peer_site.url}/peer") as client:
        yield client
        client.echo("nothing happened")


def failed(text: str) -> str:
    """A Close message after a fault."""
    return '{"type":7,"error":"Connection closed with an error.' + (f" {text}" if text else "") + '","allowReconnect":true}' + SEPARATOR


def handshake_failed(text: str) -> str:
    return json.dumps({"error": text}, separators=(",", ":")) + SEPARATOR


def completed_with_error(text: str) -> str:
    return json.dumps({"type": 3, "invocationId": "0", "error": text}, separators=(",", ":"), ensure_ascii=False) + SEPARATOR


MALFORMED_HANDSHAKE = "An unexpected error occurred during connection handshake."
MISFIT = (
    "Failed to invoke 'Echo' due to an error on the server. InvalidDataException: Error binding arguments. "
    "Make sure that the types of the provided values match the types of the hub method being invoked."
)
TOO_BIG = "InvalidDataException: The maximum message size of {}B was exceeded. The message size can be configured in AddHubOptions."
NOT_JSON = "InvalidDataException: Error reading JSON."


def nested(depth: int) -> str:
    """An invocation of ``Echo`` that is ``depth`` containers deep."""
    inner = depth - 2  # the message itself and its arguments
    return '{"type":1,"invocationId":"0","target":"Echo","arguments":[' + "[" * inner + "]" * inner + "]}" + SEPARATOR


@dataclass(frozen=True)
class Case:
    """One row: what is sent, and what comes of it."""

    name: str
    send: Frame
    answers: list[str] = field(default_factory=list)
    reason: str | None = None
    """The recorded reason; ``None`` if the connection goes on."""
    path: str = "peer"
    close_code: int = 1000
    detail: str = ""
    """What the recorded detail has to tell the operator."""
    as_text: bool | None = None


AFTER_HANDSHAKE = [
    Case("a binary frame is read as JSON all the same", call("Echo", "x").encode(), ['{"type":3,"invocationId":"0","result":"x"}\x1e']),
    Case("an unknown message type is skipped", '{"type":42}\x1e' + call("Echo", "x"), ['{"type":3,"invocationId":"0","result":"x"}\x1e']),
    Case("a negative message type is skipped", '{"type":-1,"x":[]}\x1e' + call("Add", 1, 2), [
         '{"type":3,"invocationId":"0","result":3}\x1e']),
    Case("64 levels of JSON are a misfit", nested(64), [completed_with_error(MISFIT)]),
    Case("65 levels of JSON are too many", nested(65), [failed(NOT_JSON)], "protocol_error", detail="Error reading JSON."),
    Case("10,000 levels of JSON are too many", nested(10_000), [failed(NOT_JSON)], "protocol_error"),
    Case("levels of JSON without an end", "[" * 30_000 + SEPARATOR, [failed(
        "InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object.")], "protocol_error"),
    Case("a frame over the limit", call("Echo", "x" * LIMIT), [failed(TOO_BIG.format(LIMIT))], "message_too_big",
         detail="MAXIMUM_RECEIVE_MESSAGE_SIZE"),
    Case("a frame over the limit without an end", "x" * (LIMIT + 1), [failed(TOO_BIG.format(LIMIT))], "message_too_big"),
    Case("a binary frame over the limit", b"\x00" * 200_000, [failed(TOO_BIG.format(LIMIT))], "message_too_big"),
    Case("a frame over a smaller limit, without detailed errors", call("Echo", "x" * STRICT_LIMIT), [failed("")], "message_too_big",
         "peer-strict", detail="1024B"),
    Case("a method name of one MB", call("m" * 1_000_000), [failed(TOO_BIG.format(LIMIT))], "message_too_big"),
    Case("a method name of one MB where there is no limit", call("m" * 1_000_000), [completed_with_error(
        f"Failed to invoke '{'m' * 1_000_000}' due to an error on the server. HubException: Method does not exist.")],
        path="everything-unlimited"),
    Case("a method name of 30 kB", call("m" * 30_000), [completed_with_error(
        f"Failed to invoke '{'m' * 30_000}' due to an error on the server. HubException: Method does not exist.")]),
    Case("a method name in another script", call("löschen\u202e"), [completed_with_error(
        "Failed to invoke 'löschen\u202e' due to an error on the server. HubException: Method does not exist.")]),
    Case("no JSON", "hello" + SEPARATOR, [failed(NOT_JSON)], "protocol_error", detail="Error reading JSON."),
    Case("no JSON, without detailed errors", "hello" + SEPARATOR, [failed("")], "protocol_error", "peer-strict"),
    Case("an empty message", SEPARATOR, [failed(NOT_JSON)], "protocol_error"),
    Case("JSON that is no object", "[1]" + SEPARATOR, [failed(
        "InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object.")], "protocol_error"),
    Case("no type", '{"target":"Echo"}\x1e', [failed("InvalidDataException: Missing required property 'type'.")], "protocol_error"),
    Case("no target", '{"type":1,"arguments":[]}\x1e', [failed("InvalidDataException: Missing required property 'target'.")],
         "protocol_error"),
    Case("no arguments", '{"type":1,"target":"Echo"}\x1e', [failed("InvalidDataException: Missing required property 'arguments'.")],
         "protocol_error"),
    Case("an invocation id that is a number", '{"type":1,"invocationId":0,"target":"Echo","arguments":["x"]}\x1e', [failed(
        "InvalidDataException: Expected 'invocationId' to be of type String.")], "protocol_error"),
    Case("a result and an error at once", '{"type":3,"invocationId":"1","result":1,"error":"no"}\x1e', [failed(
        "InvalidDataException: The 'error' and 'result' properties are mutually exclusive.")], "protocol_error"),
    Case("messages after a fault", "hello" + SEPARATOR + call("Echo", "x"), [failed(NOT_JSON)], "protocol_error"),
    Case("messages after a Close", '{"type":7}\x1e' + call("Echo", "x"), ['{"type":7}\x1e'], "client_closed"),
    Case("a completion nobody waits for", '{"type":3,"invocationId":"s1","result":1}\x1e'),
    Case("a stream item nobody waits for", '{"type":2,"invocationId":"1","item":1}\x1e'),
    Case("cancelling what does not run", '{"type":5,"invocationId":"1"}\x1e'),
    Case("a text frame that is not UTF-8", call("Echo", "x").encode().replace(b"x", b"\xff"), [], "protocol_error", close_code=1007,
         as_text=True),
    Case("an argument that is not UTF-8", call("Echo", "x").encode().replace(b"x", b"\xff"), [completed_with_error(MISFIT)]),
    Case("JSON that is not UTF-8", b'{"type":\xff}\x1e', [failed(NOT_JSON)], "protocol_error"),
    Case("half a surrogate pair in an argument", '{"type":1,"invocationId":"0","target":"Echo","arguments":["\\ud800"]}\x1e',
         [completed_with_error(MISFIT)]),
]  # fmt: skip


@pytest.mark.parametrize("case", AFTER_HANDSHAKE, ids=lambda case: case.name)
def test_after_the_handshake(peer_site: PeerSite, bystander: RawClient, case: Case) -> None:
    token = negotiate(f"{peer_site.url}/{case.path}")
    with RawClient(f"{peer_site.url}/{case.path}", token=token["connectionToken"]) as client:
        client.send(case.send, as_text=case.as_text)
        if case.reason is None:
            assert [client.receive() for _ in case.answers] == case.answers
            client.echo("still here")
            return
        assert client.receive_to_end() == (case.answers, case.close_code)
    event = peer_site.wait_for_event(connection_id=token["connectionId"], kind="disconnected")
    assert event["reason"] == case.reason
    assert case.detail in event["detail"]


HANDSHAKES = [
    Case("garbage", "hello" + SEPARATOR, [handshake_failed(
        f"{MALFORMED_HANDSHAKE} JsonReaderException: 'h' is an invalid start of a value. LineNumber: 0 | BytePositionInLine: 0.")],
        "handshake_error"),
    Case("garbage, without detailed errors", "hello" + SEPARATOR, [handshake_failed(MALFORMED_HANDSHAKE)], "handshake_error",
         "peer-strict"),
    Case("bytes that are not text", b"\xff\xfe\x00" + SEPARATOR.encode(), [handshake_failed(
        f"{MALFORMED_HANDSHAKE} JsonReaderException: '0xFF' is an invalid start of a value. LineNumber: 0 | BytePositionInLine: 0.")],
        "handshake_error"),
    Case("an unknown protocol", '{"protocol":"xml","version":1}\x1e', [handshake_failed("The protocol 'xml' is not supported.")],
         "handshake_error", detail="xml"),
    Case("an unknown protocol, without detailed errors", '{"protocol":"xml","version":1}\x1e', [handshake_failed(
        "The protocol 'xml' is not supported.")], "handshake_error", "peer-strict"),
    Case("a version from the future", '{"protocol":"json","version":3}\x1e', [handshake_failed(
        "The server does not support version 3 of the 'json' protocol.")], "handshake_error"),
    Case("a version that is text", '{"protocol":"json","version":"1"}\x1e', [handshake_failed(
        f"{MALFORMED_HANDSHAKE} InvalidDataException: Expected 'version' to be of type Number.")], "handshake_error"),
    Case("an array", "[]" + SEPARATOR, [handshake_failed(
        f"{MALFORMED_HANDSHAKE} InvalidDataException: Unexpected JSON Token Type 'Array'. Expected a JSON Object.")], "handshake_error"),
    Case("an invocation in its place", '{"type":1,"target":"Echo","arguments":["x"],"invocationId":"0"}\x1e', [handshake_failed(
        f"{MALFORMED_HANDSHAKE} InvalidDataException: Missing required property 'protocol'. "
        'Message content: {"type":1,"target":"Echo","arguments":["x"],"invocationId":"0"}')], "handshake_error"),
    Case("an invocation behind a bad one", '{"protocol":"xml","version":1}\x1e' + call("Echo", "x"), [handshake_failed(
        "The protocol 'xml' is not supported.")], "handshake_error"),
    Case("one over the limit", '{"protocol":"json","version":1,"x":"' + "x" * STRICT_LIMIT + '"}\x1e', [handshake_failed(
        "Handshake was canceled.")], "message_too_big", "peer-strict", detail="MAXIMUM_RECEIVE_MESSAGE_SIZE"),
    Case("one without an end", "{" + "x" * LIMIT, [handshake_failed("Handshake was canceled.")], "message_too_big"),
    Case("none in time", "{", [handshake_failed("Handshake was canceled.")], "handshake_timeout", "peer-strict",
         detail="HANDSHAKE_TIMEOUT"),
    Case("a text frame that is not UTF-8", b"\xff\xff\x1e", [], "protocol_error", close_code=1007, as_text=True),
]  # fmt: skip


@pytest.mark.parametrize("case", HANDSHAKES, ids=lambda case: case.name)
def test_instead_of_a_handshake(peer_site: PeerSite, bystander: RawClient, case: Case) -> None:
    token = negotiate(f"{peer_site.url}/{case.path}")
    with RawClient(f"{peer_site.url}/{case.path}", token=token["connectionToken"], shakes_hands=False) as client:
        client.send(case.send, as_text=case.as_text)
        assert client.receive_to_end() == (case.answers, case.close_code)
    event = peer_site.wait_for_event(connection_id=token["connectionId"], kind="rejected")
    assert event["reason"] == case.reason
    assert case.detail in event["detail"]
    assert "Message content" not in event["detail"]  # no payloads in the history
    assert not peer_site.lifetime_events(connection_id=token["connectionId"], kind="connected")


def test_a_frame_that_the_web_server_does_not_take_in(peer_site: PeerSite, bystander: RawClient) -> None:
    with RawClient(f"{peer_site.url}/peer") as client:
        client.send("x" * (17 * 1024 * 1024))
        frames, code = client.receive_to_end()
        assert frames == []
        assert code in (1009, 1006)  # the server does not read on, so its Close frame may be lost in a TCP reset
    assert peer_site.wait_for_event(user_agent=client.user_agent, kind="disconnected")["reason"] == "message_too_big"


def test_a_handshake_in_single_bytes_is_good(peer_site: PeerSite, bystander: RawClient) -> None:
    with RawClient(f"{peer_site.url}/peer", shakes_hands=False) as client:
        for byte in HANDSHAKE.encode():
            client.send(bytes([byte]))
        assert client.receive() == "{}" + SEPARATOR
        for character in call("Echo", "in pieces"):
            client.send(character)
        assert client.receive() == '{"type":3,"invocationId":"0","result":"in pieces"}' + SEPARATOR


def test_a_message_of_exactly_the_limit_is_good(peer_site: PeerSite, bystander: RawClient) -> None:
    with RawClient(f"{peer_site.url}/peer-strict") as client:
        text = "x" * (STRICT_LIMIT - len(call("Echo", "")))
        client.send(call("Echo", text))
        assert client.receive() == f'{{"type":3,"invocationId":"0","result":"{text}"}}' + SEPARATOR


def test_no_handshake_ends_after_its_timeout(peer_site: PeerSite, bystander: RawClient) -> None:
    """The strict hub gives one second; ticks come once a second."""
    started = time.monotonic()
    with RawClient(f"{peer_site.url}/peer-strict", shakes_hands=False) as client:
        assert client.receive_to_end() == ([handshake_failed("Handshake was canceled.")], 1000)
        assert 0.9 < time.monotonic() - started < 4
        assert peer_site.wait_for_event(user_agent=client.user_agent)["reason"] == "handshake_timeout"


def test_a_client_that_vanishes_before_the_handshake_is_recorded(peer_site: PeerSite, bystander: RawClient) -> None:
    with RawClient(f"{peer_site.url}/peer", shakes_hands=False) as client:
        client.send('{"protocol":')
        client.vanish()
    event = peer_site.wait_for_event(user_agent=client.user_agent, kind="rejected")
    assert event["reason"] == "client_gone"


def test_half_a_message_at_the_end_is_a_lost_client(peer_site: PeerSite, bystander: RawClient) -> None:
    with RawClient(f"{peer_site.url}/peer") as client:
        client.echo()
        client.send('{"type":1,"target":"Ec')
    event = peer_site.wait_for_event(user_agent=client.user_agent, kind="disconnected")
    assert "Connection terminated while reading a message." in event["detail"]


# Requests that do not become a connection


def refused(url: str, token: str | None = None, **headers: str) -> str:
    """Status and body of a web-socket request that is turned away."""
    with pytest.raises(InvalidStatus) as caught:
        RawClient(url, token=token, shakes_hands=False, **headers).close()
    response = caught.value.response
    return answer(response.status_code, response.body.decode())


NOT_FOUND = "404 No Connection with that ID"
FOREIGN_ORIGIN = "403 The origin of this page may not connect. See the setting ALLOWED_ORIGINS."


def genuine_token(hub: str = PEER, age: float = 0.0) -> str:
    """A token as the peer site signs it."""
    with override_settings(SECRET_KEY=site_settings.SECRET_KEY):
        token = new_token(connection_id=make_connection_id(), hub=hub, user_identifier=None)
        return replace(token, issued_at=int(time.time() - age)).sign()


@pytest.fixture(scope="module")
def guarded_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    """A site whose pages, and those of one other origin, may connect."""
    database = tmp_path_factory.mktemp("guarded") / "db.sqlite3"
    with serve_peer_site(database, PEER_ORIGINS="https://app.example.com") as server:
        yield PeerSite(server, database)


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "", "https://app.example.com.evil.org", "x" * 1000])
def test_a_page_of_another_origin_is_refused(guarded_site: PeerSite, origin: str) -> None:
    url = f"{guarded_site.url}/peer"
    with RawClient(url, Origin="https://app.example.com") as bystander:
        user_agent = f"page {uuid.uuid4().hex}"
        assert refused(url, user_agent=user_agent, Origin=origin) == FOREIGN_ORIGIN
        assert answer(*post(f"{url}/negotiate", {"Origin": origin, "User-Agent": user_agent})) == FOREIGN_ORIGIN
        for transport in ("webSockets", ""):
            event = guarded_site.wait_for_event(user_agent=user_agent, transport=transport)
            assert (event["kind"], event["reason"]) == ("rejected", "origin_rejected")
            assert "ALLOWED_ORIGINS" in event["detail"]
            assert event["origin"] == origin[:256]
        bystander.echo()


def test_an_unknown_id_is_not_found(peer_site: PeerSite, bystander: RawClient) -> None:
    for token in ["unknown", make_connection_id(), "a.b", "%00", "x" * 5000]:
        assert refused(f"{peer_site.url}/peer", token) == NOT_FOUND


def test_a_genuine_token_is_let_in(peer_site: PeerSite) -> None:
    """So the ones below are refused for what is wrong with them."""
    with RawClient(f"{peer_site.url}/peer", token=genuine_token()) as client:
        client.echo()


def test_an_expired_token_is_not_found(peer_site: PeerSite, bystander: RawClient) -> None:
    assert refused(f"{peer_site.url}/peer", genuine_token(age=60)) == NOT_FOUND


def test_a_forged_token_is_not_found(peer_site: PeerSite, bystander: RawClient) -> None:
    genuine, other = (base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) for token in (genuine_token(), genuine_token()))
    forged = [genuine[:size] for size in (1, 16, len(genuine) - 1)]
    forged += [genuine + b"\x00", genuine[:16] + other[16:]]
    forged += [genuine[:i] + bytes([genuine[i] ^ 1]) + genuine[i + 1 :] for i in range(len(genuine))]
    for data in forged:
        assert refused(f"{peer_site.url}/peer", base64.urlsafe_b64encode(data).rstrip(b"=").decode()) == NOT_FOUND


def test_a_token_counts_as_it_was_given(peer_site: PeerSite, bystander: RawClient) -> None:
    """One with blanks or given twice is unknown; percent-escapes are decoded."""
    token = negotiate(f"{peer_site.url}/peer")["connectionToken"]
    for other in [f"{token}%20", f"%20{token}", f"{token}!", f"{token}&id={token}", f"{token}%00"]:
        assert refused(f"{peer_site.url}/peer", other) == NOT_FOUND
    with RawClient(f"{peer_site.url}/peer", token=f"%{ord(token[0]):02x}{token[1:]}") as client:
        client.echo()


def test_the_token_of_another_hub_is_not_found(peer_site: PeerSite, bystander: RawClient) -> None:
    token = negotiate(f"{peer_site.url}/peer-strict")["connectionToken"]
    assert refused(f"{peer_site.url}/peer", token) == NOT_FOUND
    with RawClient(f"{peer_site.url}/peer-strict", token=token) as client:  # which that did not use up
        client.echo()


def test_the_token_of_one_hub_is_good_at_all_its_paths(peer_site: PeerSite) -> None:
    token = negotiate(f"{peer_site.url}/peer")["connectionToken"]
    with RawClient(f"{peer_site.url}/peer-ws", token=token) as client:
        client.echo()


def test_a_second_connection_on_a_live_token_is_a_conflict(peer_site: PeerSite, bystander: RawClient) -> None:
    token = negotiate(f"{peer_site.url}/peer")["connectionToken"]
    with RawClient(f"{peer_site.url}/peer", token=token) as client:
        assert refused(f"{peer_site.url}/peer", token) == "409"
        client.echo("the first one goes on")


def test_the_token_of_an_ended_connection_is_not_found(peer_site: PeerSite, bystander: RawClient) -> None:
    negotiated = negotiate(f"{peer_site.url}/peer")
    token = negotiated["connectionToken"]
    with RawClient(f"{peer_site.url}/peer", token=token) as client:
        client.echo()
    event = peer_site.wait_for_event(connection_id=negotiated["connectionId"], kind="disconnected")
    assert event["reason"] == "client_closed"
    assert refused(f"{peer_site.url}/peer", token) == NOT_FOUND


def test_a_hub_that_asks_for_a_login_answers_401_and_says_so(peer_site: PeerSite, bystander: RawClient) -> None:
    user_agent = "nobody in particular"
    assert refused(f"{peer_site.url}/staff", user_agent=user_agent) == "401"
    assert post(f"{peer_site.url}/staff/negotiate", {"User-Agent": user_agent}) == (401, "")
    assert peer_site.wait_for_event(user_agent=user_agent, transport="webSockets")["reason"] == "unauthorized"
    assert peer_site.wait_for_event(user_agent=user_agent, transport="")["reason"] == "unauthorized"
