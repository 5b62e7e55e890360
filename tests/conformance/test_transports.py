"""Section 2 of the reference: statuses, byte streams, server-sent events, long polling, posts, timers."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from signalr_channels import Hub
from signalr_channels.consumers import server_sent_events
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.protocols.messages import Invocation
from tests.conformance.asgi import SSE, Answer, Polls, Site
from tests.conformance.stage import StageHub
from tests.conformance.wire import Request, raw_socket, request
from tests.integration.raw import HANDSHAKE, SEPARATOR, call, negotiate
from tests.live import serve_peer_site
from tests.unit.scripted import eventually, settle

REQUIRED = (400, b"Connection ID required")
UNKNOWN = (404, b"No Connection with that ID")
NO_CHANGE = (400, b"Cannot change transports mid-connection")
NO_DELETE = (400, b"Cannot terminate this connection using the DELETE endpoint.")
CLOSE = b'{"type":7}\x1e'
GOODBYE = b'{"type":7,"allowReconnect":true}\x1e'
PING = '{"type":6}\x1e'
FAILED = b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}\x1e'
BINARY_HANDSHAKE = b'{"protocol":"messagepack","version":1}\x1e'
NO_CACHE = {"cache-control": "no-cache, no-store", "pragma": "no-cache", "expires": "Thu, 01 Jan 1970 00:00:00 GMT"}

NONE: dict[str, str] = {}
GET, EVENTS, POST, DELETE = ("GET", NONE), ("GET", SSE), ("POST", NONE), ("DELETE", NONE)
"""The four kinds of requests: a poll, an event stream, a post, a farewell."""


@pytest.fixture
async def site(hub: type[Hub]) -> AsyncIterator[Site]:
    endpoints: dict[str, dict[str, Any]] = {
        "hub": {},
        "ws": {"TRANSPORTS": ["webSockets"]},
        "sse": {"TRANSPORTS": ["serverSentEvents"]},
        "lp": {"TRANSPORTS": ["longPolling"]},
        "quick": {"POLL_TIMEOUT": 0.1, "APPLICATION_BUFFER_SIZE": 100, "CLIENT_TIMEOUT_INTERVAL": 2},
        "strict": {"MAXIMUM_RECEIVE_MESSAGE_SIZE": 1024},
    }
    async with Site(*(HubEndpoint(path, hub, options) for path, options in endpoints.items())) as site:
        yield site


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the Close of a client that has dropped its event stream; see test_goodbyes.py."""
    monkeypatch.setattr(server_sent_events, "GOODBYE_GRACE", 0.0)


def result(value: Any, invocation_id: str = "0") -> bytes:
    return json.dumps({"type": 3, "invocationId": invocation_id, "result": value}, separators=(",", ":")).encode() + b"\x1e"


async def ended(site: Site) -> None:
    """Every connection has ended, for the hub too."""
    await eventually(lambda: not len(site.runtime.store))


def messages(data: bytes) -> list[bytes]:
    """Whole messages; a chunk that is cut inside one is an error."""
    *found, rest = data.split(b"\x1e")
    assert rest == b""
    return [message + b"\x1e" for message in found]


# Statuses


@pytest.mark.parametrize(("method", "headers"), [GET, EVENTS, POST, DELETE])
@pytest.mark.parametrize(("query", "expected"), [("", REQUIRED), ("?id=", REQUIRED), ("?id=unknown", UNKNOWN)])
async def test_requests_without_a_connection(site: Site, method: str, headers: dict[str, str], query: str, expected: Any) -> None:
    answer = await site.request(method, f"/hub{query}", headers)
    assert answer.brief == expected
    assert answer.headers["content-type"] == "text/plain"
    is_poll = (method, headers) == GET
    assert {name: value for name, value in answer.headers.items() if name in NO_CACHE} == (NO_CACHE if is_poll else {})


async def test_a_web_socket_with_an_unknown_id_is_refused(site: Site) -> None:
    assert (await site.socket("/hub?id=unknown").refused()).brief == UNKNOWN


@pytest.mark.parametrize("query", ["", "?id=", "?room=1"])
async def test_a_web_socket_without_an_id_is_a_new_connection(site: Site, query: str) -> None:
    socket = await site.socket(f"/hub{query}").accepted()
    socket.send(HANDSHAKE, call("GetConnectionId"))
    assert await socket.receive() == "{}\x1e"
    answer = json.loads(str(await socket.receive())[:-1])
    assert len(answer["result"]) == 22


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [("/sse", {}, "LongPolling"), ("/ws", {}, "LongPolling"), ("/ws", SSE, "ServerSentEvents"), ("/lp", SSE, "ServerSentEvents")],
)
async def test_a_transport_that_is_not_enabled(site: Site, path: str, headers: dict[str, str], name: str) -> None:
    text = f"{name} transport not supported by this end point type".encode()
    assert (await site.request("GET", await site.url(path), headers)).brief == (404, text)
    assert (await site.request("GET", path, headers)).brief == REQUIRED  # the id comes first
    assert (await site.request("GET", f"{path}?id=unknown", headers)).brief == UNKNOWN


@pytest.mark.parametrize("path", ["/sse", "/lp"])
async def test_web_sockets_that_are_not_enabled(site: Site, path: str) -> None:
    text = b"WebSockets transport not supported by this end point type"
    for target in (path, await site.url(path)):
        assert (await site.socket(target).refused()).brief == (404, text)
    assert (await site.socket(f"{path}?id=unknown").refused()).brief == UNKNOWN


async def test_a_refused_transport_binds_nothing(site: Site) -> None:
    url = await site.url("/lp")
    assert (await site.request("GET", url, SSE)).status == 404
    assert (await site.socket(url).refused()).status == 404
    assert (await site.request("GET", url)).brief == (200, b"")


async def test_a_connection_keeps_its_transport(site: Site) -> None:
    events, polls = await site.events("/hub"), await site.polls("/hub")
    url = await site.url("/hub")
    socket = await site.socket(url).accepted()
    assert (await site.request("GET", url)).brief == NO_CHANGE
    assert (await site.request("GET", url, SSE)).brief == NO_CHANGE
    assert (await site.request("GET", events.url)).brief == NO_CHANGE
    assert (await site.socket(events.url).refused()).brief == NO_CHANGE
    assert (await site.request("GET", polls.url, SSE)).brief == NO_CHANGE
    assert (await site.socket(polls.url).refused()).brief == NO_CHANGE
    # and has one of a kind
    assert (await site.request("GET", events.url, SSE)).brief == (409, b"")
    assert (await site.socket(url).refused()).brief == (409, b"")
    # which none of them did harm
    for connection in (events, polls):
        await connection.post(call("Echo", "x"))
    assert await events.stream.event() == (await polls.poll()).body == result("x")
    socket.send(HANDSHAKE)
    assert await socket.receive() == "{}\x1e"


async def test_two_web_sockets_on_one_token_at_once(site: Site) -> None:
    """Also where the server takes its time to accept one."""
    url = await site.url("/hub")
    first, second = site.socket(url, is_slow=True), site.socket(url, is_slow=True)
    await first.accepted()
    first.send(HANDSHAKE)
    assert await first.receive() == "{}\x1e"
    if (await second.outcome()) == "accepted":
        assert await second.closed() == 1008
    assert await first.is_silent()
    first.send(call("Echo", "x"))
    assert await first.receive() == result("x").decode()


async def test_what_cannot_be_posted_or_deleted(site: Site) -> None:
    url = await site.url("/hub")
    assert (await site.request("DELETE", url)).brief == NO_DELETE  # negotiated, but never polled
    await site.socket(url).accepted()
    assert (await site.request("POST", url, body=b"x")).brief == (405, b"POST requests are not allowed for WebSocket connections.")
    assert (await site.request("DELETE", url)).brief == NO_DELETE
    events = await site.events("/hub")
    assert (await events.delete()).brief == NO_DELETE


@pytest.mark.usefixtures("no_grace")
async def test_requests_for_a_connection_that_has_ended(site: Site) -> None:
    events, polls = await site.events("/hub"), await site.polls("/hub")
    events.stream.cut()
    await polls.delete()
    await ended(site)
    for url in (events.url, polls.url):
        for method, headers in (GET, EVENTS, POST, DELETE):
            assert (await site.request(method, url, headers)).brief == UNKNOWN
        assert (await site.socket(url).refused()).brief == UNKNOWN


async def test_headers_of_answers(site: Site) -> None:
    polls = await site.polls("/hub")
    assert dict((await polls.post("")).headers) == {"content-length": "0", "content-type": "text/plain"}
    poll = polls.start_poll()
    assert await poll.is_silent()
    assert dict((await polls.delete()).headers) == {"content-length": "0", "content-type": "text/plain"}
    answer = await poll.answer()
    assert answer.headers == {"content-length": str(len(GOODBYE)), "content-type": "application/octet-stream", **NO_CACHE}


# Byte streams


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_messages_may_be_cut_and_joined_by_posts(site: Site, size: int) -> None:
    for connection in (await site.events("/hub", handshake=b""), await site.polls("/hub", handshake=b"")):
        data = (HANDSHAKE + call("Echo", "é", invocation_id="1") + PING + call("Add", 1, 2, invocation_id="2")).encode()
        for start in range(0, len(data), size):
            assert (await connection.post(data[start : start + size])).brief == (200, b"")
        expected = [b"{}\x1e", result("é", "1").replace(b"\\u00e9", "é".encode()), result(3, "2")]
        received: list[bytes] = []
        while len(received) < len(expected):
            received += messages((await connection.poll()).body if isinstance(connection, Polls) else await connection.stream.event())
        assert received == expected


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_messages_may_be_cut_and_joined_by_frames(site: Site, size: int) -> None:
    socket = await site.socket("/hub").accepted()
    data = HANDSHAKE + call("Echo", "a", invocation_id="1") + call("Add", 1, 2, invocation_id="2")
    socket.send(*(data[start : start + size] for start in range(0, len(data), size)))
    received: list[bytes] = []
    while len(received) < 3:
        received += messages(str(await socket.receive()).encode())
    assert received == [b"{}\x1e", result("a", "1"), result(3, "2")]


async def test_whole_messages_go_out(site: Site) -> None:
    calls = call("Big", 100_000, invocation_id="big") + "".join(call("Echo", "x" * 100, invocation_id=str(i)) for i in range(300))
    stream = json.dumps({"type": 4, "invocationId": "s", "target": "Count", "arguments": [200, 0]}) + SEPARATOR
    socket = await site.socket("/hub").accepted()
    events, polls = await site.events("/hub"), await site.polls("/hub")
    socket.send(HANDSHAKE)
    assert await socket.receive() == "{}\x1e"

    async def receive_all(receive: Any) -> None:
        received: list[bytes] = []
        while len(received) < 1 + 300 + 201:
            received += messages(await receive())

    async def post(connection: Any) -> None:
        for size in range(0, len(calls), 1000):
            await connection.post(calls[size : size + 1000])
        await connection.post(stream)

    async def frame() -> bytes:
        return str(await socket.receive()).encode()

    async def poll() -> bytes:
        return (await polls.poll()).body

    socket.send(calls[:5000], calls[5000:], stream)
    await asyncio.wait_for(
        asyncio.gather(receive_all(frame), receive_all(events.stream.event), receive_all(poll), post(events), post(polls)), 10
    )


# Posts


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/octet-stream", "application/json", "nonsense", ""])
async def test_the_content_type_of_a_post_does_not_matter(site: Site, content_type: str) -> None:
    polls = await site.polls("/hub")
    assert (await polls.post(call("Echo", "x"), {"content-type": content_type})).brief == (200, b"")
    assert (await polls.poll()).body == result("x")


async def test_a_post_may_be_empty_or_come_in_pieces(site: Site) -> None:
    for connection in (await site.events("/hub"), await site.polls("/hub")):
        assert (await connection.post(b"")).brief == (200, b"")
        post = site.start("POST", connection.url, body=None)
        for byte in call("Echo", "x").encode():
            post.feed(bytes([byte]))
        assert await post.is_silent()
        post.feed(b"", more=False)
        assert (await post.answer()).brief == (200, b"")
        received = (await connection.poll()).body if isinstance(connection, Polls) else await connection.stream.event()
        assert received == result("x")


@pytest.mark.parametrize("headers", [{}, SSE])
async def test_what_is_posted_before_the_first_get_waits_for_it(site: Site, headers: dict[str, str]) -> None:
    url = await site.url("/hub")
    for text in (HANDSHAKE[:10], HANDSHAKE[10:] + call("Echo", "x")):
        assert (await site.request("POST", url, body=text.encode())).brief == (200, b"")
    received: list[bytes] = []
    get = site.start("GET", url, headers)
    if headers:
        await get.head()
        while len(received) < 2:
            received += messages(await get.event())
    else:
        assert (await get.answer()).brief == (200, b"")  # the first poll carries no data
        while len(received) < 2:
            received += messages((await site.request("GET", url)).body)
    assert received == [b"{}\x1e", result("x")]


async def test_posts_take_turns(site: Site, hub: type[StageHub]) -> None:
    polls = await site.polls("/hub")
    slow = site.start("POST", polls.url, body=None)
    text = call("note", "first").encode()
    slow.feed(text[:20])
    await settle()
    quick = site.start("POST", polls.url, body=call("note", "second").encode())
    assert await quick.is_silent()
    slow.feed(text[20:], more=False)
    assert (await slow.answer()).brief == (await quick.answer()).brief == (200, b"")
    assert hub.log == ["first", "second"]


async def test_what_arrived_of_a_post_that_broke_off_counts(site: Site) -> None:
    polls = await site.polls("/hub")
    text = call("Echo", "x").encode()
    post = site.start("POST", polls.url, body=None)
    post.feed(text[:20])
    post.cut()
    assert (await post.answer()).brief == (400, b"")
    assert (await polls.post(text[20:])).status == 200
    assert (await polls.poll()).body == result("x")


async def test_a_post_is_answered_when_all_of_it_was_taken(site: Site, hub: type[StageHub]) -> None:
    """More than the buffer of 100 bytes waits for a free slot."""
    polls = await site.polls("/quick")
    assert (await polls.post(call("wait"))).status == 200
    post = site.start("POST", polls.url, body=(call("wait") + call("Echo", "x" * 200)).encode())
    assert await post.is_silent()
    hub.gate.set()
    assert (await post.answer()).status == 200


@pytest.mark.parametrize("size", [1024, 1025])
async def test_a_post_over_the_message_size_is_taken_and_ends_the_connection(site: Site, size: int) -> None:
    text = call("Echo", "x" * (size - len(call("Echo", ""))))
    assert len(text) == size
    polls, events = await site.polls("/strict"), await site.events("/strict")
    for connection in (polls, events):
        assert (await connection.post(text)).brief == (200, b"")
    for received in (await polls.poll()).body, await events.stream.event():
        assert (received == FAILED) is (size > 1024)


async def test_a_text_over_the_message_size_may_be_two_messages(site: Site) -> None:
    polls = await site.polls("/strict")
    await polls.post(call("Echo", "x" * 900, invocation_id="1") + call("Echo", "y" * 900, invocation_id="2"))
    assert messages((await polls.poll()).body) == [result("x" * 900, "1"), result("y" * 900, "2")]


# Server-sent events


async def test_an_event_stream_begins_like_this(site: Site) -> None:
    stream = site.start("GET", await site.url("/hub"), SSE)
    assert await stream.head() == Answer(
        200,
        {
            "content-type": "text/event-stream",
            "cache-control": "no-cache,no-store",
            "pragma": "no-cache",
            "content-encoding": "identity",
            "x-accel-buffering": "no",
        },
    )
    assert await stream.chunk() == b":\r\n"


async def test_a_write_is_an_event(site: Site) -> None:
    events = await site.events("/hub")
    await events.post(call("ToCaller", "a", invocation_id=None))
    assert await events.stream.chunk() == b'data: {"type":1,"target":"Message","arguments":["ToCaller","a"]}\x1e\r\n\r\n'


async def test_event_streams_carry_text_only(site: Site) -> None:
    events = await site.events("/hub", handshake=b"")
    await events.post(BINARY_HANDSHAKE)
    text = "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."
    assert await events.stream.event() == f'{{"error":"{text}"}}\x1e'.encode()
    assert await events.stream.chunk() is None


@pytest.mark.usefixtures("no_grace")
async def test_an_event_stream_cannot_be_resumed(site: Site, hub: type[StageHub]) -> None:
    events = await site.events("/hub")
    assert (await site.request("GET", events.url, SSE)).brief == (409, b"")
    events.stream.cut()
    await ended(site)
    assert hub.log == [("client_gone", None)]
    assert (await site.request("GET", events.url, SSE)).brief == UNKNOWN


async def test_event_streams_are_pinged(site: Site) -> None:
    events = await site.events("/hub")
    site.tick(15)
    assert await events.stream.event() == PING.encode()


async def test_an_event_stream_ends_with_its_connection(site: Site) -> None:
    events = await site.events("/hub")
    await events.post(CLOSE)
    assert await events.stream.event() == CLOSE
    assert await events.stream.chunk() is None
    await events.stream.finish()


# Long polling


async def test_the_first_poll_is_empty_and_comes_at_once(site: Site) -> None:
    url = await site.url("/hub")
    answer = await site.request("GET", url)
    assert answer == Answer(200, {"content-length": "0", "content-type": "application/octet-stream", **NO_CACHE})
    second = site.start("GET", url)
    assert await second.is_silent()  # only later polls wait


async def test_a_poll_gives_all_that_is_there(site: Site) -> None:
    polls = await site.polls("/hub")
    for number in range(3):
        await polls.post(call("Echo", str(number), invocation_id=str(number)))
    answer = await polls.poll()
    body = b"".join(result(str(number), str(number)) for number in range(3))
    assert answer == Answer(200, {"content-length": str(len(body)), "content-type": "application/octet-stream", **NO_CACHE}, body)


async def test_a_poll_waits_for_data(site: Site) -> None:
    polls = await site.polls("/hub")
    poll = polls.start_poll()
    assert await poll.is_silent()
    await polls.post(call("Echo", "x"))
    assert (await poll.answer()).body == result("x")


async def test_a_poll_without_data_ends_empty(site: Site) -> None:
    polls = await site.polls("/quick")
    assert await polls.poll() == Answer(200, {"content-length": "0", "content-type": "text/plain", **NO_CACHE})
    await polls.post(call("Echo", "x"))
    assert (await polls.poll()).body == result("x")


async def test_binary_messages_are_polled_as_they_are(site: Site) -> None:
    polls = await site.polls("/hub", handshake=b"")
    await polls.post(BINARY_HANDSHAKE)
    assert (await polls.poll()).body == b"{}\x1e"
    await polls.post(bytes.fromhex("0e 95 01 80 a130 a44563686f 91 a2c3a9"))
    assert (await polls.poll()).body == bytes.fromhex("09 95 03 80 a130 03 a2c3a9")


async def test_the_end_is_fetched_and_then_said(site: Site) -> None:
    """What the server had to say, a 204, and then the connection is gone."""
    polls = await site.polls("/hub")
    await polls.post(call("Echo", "last") + '{"type":7}\x1e')
    assert (await polls.poll()).brief == (200, result("last") + CLOSE)
    answer = await polls.poll()
    assert answer == Answer(204, {"content-type": "text/plain", **NO_CACHE})
    assert (await polls.poll()).brief == UNKNOWN


async def test_a_newer_poll_takes_over(site: Site) -> None:
    polls = await site.polls("/hub")
    old = polls.start_poll()
    assert await old.is_silent()
    new = polls.start_poll()
    assert await old.answer() == Answer(204, {"content-type": "text/plain", **NO_CACHE})
    assert await new.is_silent()
    await polls.post(call("Echo", "x"))
    assert (await new.answer()).body == result("x")


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_a_farewell_after_the_handshake(site: Site, hub: type[StageHub], is_waiting: bool) -> None:
    polls = await site.polls("/hub")
    await polls.post(call("note", "x", invocation_id=None))
    poll = polls.start_poll() if is_waiting else None
    if poll is not None:
        assert await poll.is_silent()
    else:
        await polls.post(call("Echo", "never read"))
    assert (await polls.delete()).brief == (202, b"")
    if poll is not None:
        assert (await poll.answer()).brief == (200, GOODBYE)
    await ended(site)
    assert hub.log == ["x", ("client_closed", None)]
    for method, headers in (GET, POST, DELETE):
        assert (await site.request(method, polls.url, headers)).brief == UNKNOWN


async def test_a_farewell_in_messagepack(site: Site) -> None:
    polls = await site.polls("/hub", handshake=b"")
    await polls.post(BINARY_HANDSHAKE)
    await polls.poll()
    poll = polls.start_poll()
    assert await poll.is_silent()
    await polls.delete()
    assert (await poll.answer()).body == bytes.fromhex("04 93 07 c0 c3")


async def test_a_farewell_before_the_handshake(site: Site, hub: type[StageHub]) -> None:
    polls = await site.polls("/hub", handshake=b"")
    poll = polls.start_poll()
    assert await poll.is_silent()
    assert (await polls.delete()).brief == (202, b"")
    assert (await poll.answer()).brief == (204, b"")
    await ended(site)
    assert hub.log == []
    assert (await polls.poll()).brief == UNKNOWN


async def test_a_poll_may_be_aborted_and_begun_anew(site: Site) -> None:
    polls = await site.polls("/hub")
    poll = polls.start_poll()
    assert await poll.is_silent()
    poll.cut()
    await poll.finish()
    await polls.post(call("Echo", "x"))
    assert (await polls.poll()).body == result("x")


async def test_what_comes_in_the_moment_a_poll_is_aborted_is_not_lost(site: Site) -> None:
    polls = await site.polls("/hub")
    poll = polls.start_poll()
    assert await poll.is_silent()
    (connection,) = site.runtime.store
    poll.cut()
    connection.send(Invocation(target="news", arguments=[1]))
    await poll.finish()
    assert (await polls.poll()).body == b'{"type":1,"target":"news","arguments":[1]}\x1e'


async def test_a_client_that_stays_away_between_polls_is_gone_after_the_disconnect_timeout(site: Site, hub: type[StageHub]) -> None:
    polls = await site.polls("/hub")
    site.tick(14)
    assert len(site.runtime.store) == 1
    poll = polls.start_poll()
    assert await poll.is_silent()
    site.tick(60)  # a client that waits is there
    assert len(site.runtime.store) == 1
    poll.cut()
    await poll.finish()
    site.tick(16)
    await ended(site)
    assert hub.log == [("poll_timeout", None)]
    assert (await polls.poll()).brief == UNKNOWN


async def test_long_polling_is_not_pinged(site: Site) -> None:
    polls = await site.polls("/hub")
    poll = polls.start_poll()
    assert await poll.is_silent()
    for seconds in range(0, 300, 15):
        site.tick(seconds)
    assert await poll.is_silent()


async def test_a_ping_of_a_polling_client_arms_its_timeout(site: Site, hub: type[StageHub]) -> None:
    polls = await site.polls("/quick")
    poll = polls.start_poll()
    assert await poll.is_silent()
    await polls.post(PING)
    site.tick(2.1)
    assert (await poll.answer()).brief == (200, FAILED)
    assert (await polls.poll()).brief == (204, b"")
    await ended(site)
    ((reason, exception),) = hub.log
    assert reason == "ping_timeout"
    assert "Client hasn't sent a message/ping within the configured ClientTimeoutInterval." in str(exception)


async def test_the_hub_survives_between_polls_and_sees_the_first_request(site: Site) -> None:
    url = await site.url("/hub")
    assert (await site.request("GET", f"{url}&room=first", {"test": "one"})).status == 200
    polls = Polls(site, url, None)
    await polls.post(HANDSHAKE + call("GetConnectionId"))
    first = messages((await polls.poll()).body)[-1]
    for number in range(3):
        await polls.post(call("GetConnectionId"))
        assert (await site.request("GET", f"{url}&room={number}&_=1", {"test": "two"})).body == first
    await polls.post(call("request"))
    assert (await polls.poll()).body == result(["room=first", "one"])


async def test_each_poll_brings_its_user(site: Site) -> None:
    """The user identifier stays what it was, so another user's poll is none of this connection."""
    anna, married, bert = (
        SimpleNamespace(is_authenticated=True, pk=pk, name=name) for pk, name in [(7, "Anna"), (7, "Anna B."), (8, "Bert")]
    )
    polls = await site.polls("/hub", user=anna)
    await polls.post(call("who"))
    assert (await polls.poll()).body == result("Anna")
    polls.user = married
    poll = polls.start_poll()
    assert await poll.is_silent()
    await polls.post(call("who"))
    assert (await poll.answer()).body == result("Anna B.")
    polls.user = bert
    assert (await polls.poll()).brief == (await polls.post("x")).brief == (await polls.delete()).brief == UNKNOWN


async def test_a_poll_that_was_superseded_while_the_connection_ends(site: Site) -> None:
    polls = await site.polls("/hub")
    old, new = polls.start_poll(), polls.start_poll()
    await polls.post('{"type":7}\x1e')
    answers = sorted([(await old.answer()).brief, (await new.answer()).brief])
    assert answers == [(200, CLOSE), (204, b"")]


# Timers that all transports share


async def test_a_negotiated_connection_with_posts_is_forgotten_too(site: Site) -> None:
    url = await site.url("/hub")
    await site.request("POST", url, body=HANDSHAKE.encode())
    assert len(site.runtime.parked) == 1
    site.tick(16)
    assert len(site.runtime.parked) == 0


async def test_every_transport_has_the_same_handshake_timeout(site: Site, hub: type[StageHub]) -> None:
    polls, events = await site.polls("/hub", handshake=b""), await site.events("/hub", handshake=b"")
    socket = await site.socket("/hub").accepted()
    poll = polls.start_poll()
    assert await poll.is_silent()
    site.tick(14.9)
    assert await poll.is_silent() and await events.stream.is_silent() and await socket.is_silent()
    site.tick(15)
    text = b'{"error":"Handshake was canceled."}\x1e'
    assert (await poll.answer()).brief == (200, text)
    assert await events.stream.event() == text
    assert await socket.receive() == text.decode()
    assert await events.stream.chunk() is None
    assert await socket.closed() == 1000
    assert (await polls.poll()).brief == (204, b"")
    await ended(site)
    assert hub.log == []


async def test_goodbye_is_said_on_every_transport(site: Site, hub: type[StageHub]) -> None:
    polls, events = await site.polls("/hub"), await site.events("/hub")
    socket = await site.socket("/hub").accepted()
    socket.send(HANDSHAKE)
    assert await socket.receive() == "{}\x1e"
    poll = polls.start_poll()
    assert await poll.is_silent()
    late = await site.url("/hub")
    site.runtime.say_goodbye()
    assert (await poll.answer()).brief == (200, GOODBYE)
    assert await events.stream.event() == GOODBYE
    assert await events.stream.chunk() is None
    assert await socket.receive() == GOODBYE.decode()
    assert await socket.closed() == 1000
    await ended(site)
    assert hub.log == [("server_shutdown", None)] * 3
    for answer in await site.request("GET", late), await site.request("POST", "/hub/negotiate"), await site.socket("/hub").refused():
        assert answer.status == 503
        assert "retry-after" in answer.headers


def test_a_shutdown_on_the_wire(tmp_path: Path) -> None:
    """SIGTERM: a Close on every transport but under stateful reconnect, each ended in order, and the process is gone soon."""
    with serve_peer_site(tmp_path / "db.sqlite3") as server:

        def opened() -> str:
            return f"{server.url}/peer?id={negotiate(f'{server.url}/peer')['connectionToken']}"

        polls, events_url = opened(), opened()
        assert request("GET", polls).status == request("POST", polls, body=HANDSHAKE.encode()).status == 200
        assert request("GET", polls).body == b"{}\x1e"
        stateful = json.loads(request("POST", f"{server.url}/peer/negotiate?negotiateVersion=1&useStatefulReconnect=true").body)
        url = f"{server.url}/peer?id={stateful['connectionToken']}"
        with (
            Request("GET", polls) as poll,
            Request("GET", events_url, SSE) as events,
            raw_socket(url, handshake=HANDSHAKE.replace("1", "2").encode()) as client,
        ):
            assert events.response.status == request("POST", events_url, body=HANDSHAKE.encode()).status == 200
            assert events.event() == b":\r\ndata: {}\x1e\r\n\r\n"
            server.signal(signal.SIGTERM)
            assert poll.answer().brief == (200, GOODBYE)
            assert events.event() == b"data: " + GOODBYE + b"\r\n\r\n"
            assert events.event() == b""  # the last chunk, in order
            assert client.end() == 1012
        assert server.process.wait(8) is not None
        with pytest.raises(ConnectionRefusedError):
            request("GET", server.url)
