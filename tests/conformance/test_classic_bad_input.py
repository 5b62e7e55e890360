"""
What classic clients may not send, at every endpoint: the exact answer, and that neither the connection under attack nor others notice.

Source of statuses and texts: ASP.NET SignalR 2.4.1, measured on the wire; what is different is in ``docs/conformance-classic.md``.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.conformance.asgi import Answer
from tests.conformance.classic import FORM, TRANSPORTS, Classic, connected, hub_call, text_frame, wait_for_log
from tests.conformance.wire import BINARY, CONTINUATION, TEXT, Request, frame, request
from tests.integration.raw import negotiate
from tests.live import Server, serve_peer_site

OPERATIONS = {
    "negotiate": "GET",
    "connect": "POST",
    "start": "GET",
    "reconnect": "POST",
    "send": "POST",
    "poll": "POST",
    "abort": "POST",
    "ping": "GET",
    "hubs": "GET",
}
"""Every endpoint, with the method of the clients."""
OPEN = ("negotiate", "ping", "hubs")
"""Those that want neither a transport nor a token."""
BOUND = tuple(operation for operation in OPERATIONS if operation not in OPEN)

UNKNOWN_TRANSPORT = (400, b"Protocol error: Unknown transport.")
MISSING_TOKEN = (400, b"Protocol error: Missing connection token.")
BAD_TOKEN = (400, b"The ConnectionId is in the incorrect format.")
OTHER_USER = (403, b"Unrecognized user identity.  The user identity cannot change during an active SignalR connection.")
FORM_LIMIT = 100_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The peer site, logging everything, with a limit for forms that is soon reached."""
    database = tmp_path_factory.mktemp("classic-site") / "db.sqlite3"
    settings = json.dumps({"CLASSIC": {"MAXIMUM_FORM_SIZE": FORM_LIMIT}})
    with serve_peer_site(database, PEER_LOG="DEBUG", PEER_SIGNALR=settings) as server:
        yield server
        assert "Exception in ASGI application" not in server.output()


@pytest.fixture
def mount(site: Server) -> str:
    return f"{site.url}/signalr"


@pytest.fixture
def bystander(mount: str) -> Iterator[Classic]:
    """A connection that was there before, and must work afterwards."""
    with connected(mount) as client:
        yield client
        client.prove()


@pytest.fixture
def victim(mount: str, bystander: Classic) -> Iterator[Classic]:
    """The connection whose token is abused. It must work afterwards too."""
    with connected(mount) as client:
        yield client
        client.prove()


def call(client: Classic, operation: str, body: bytes = b"", **changes: str | None) -> Answer:
    """A request of long polling for a connection that lives on a web socket."""
    method = OPERATIONS[operation]
    return client.request(method, operation, body if method == "POST" else None, FORM, **{"transport": "longPolling", **changes})


# Transport and token


@dataclass(frozen=True)
class Row:
    """What is wrong with a request, and what it is answered."""

    name: str
    changes: Mapping[str, str | None]
    answer: tuple[int, bytes]


REFUSED = [
    Row("no transport", {"transport": None}, UNKNOWN_TRANSPORT),
    Row("an empty transport", {"transport": ""}, UNKNOWN_TRANSPORT),
    Row("a transport nobody knows", {"transport": "carrierPigeon"}, UNKNOWN_TRANSPORT),
    Row("a transport with a blank", {"transport": " longPolling"}, UNKNOWN_TRANSPORT),
    Row("a transport with a NUL", {"transport": "longPolling\0"}, UNKNOWN_TRANSPORT),
    Row("a transport of 50,000 characters", {"transport": "x" * 50_000}, UNKNOWN_TRANSPORT),
    Row("neither transport nor token", {"transport": None, "connectionToken": None}, UNKNOWN_TRANSPORT),
    Row("no token", {"connectionToken": None}, MISSING_TOKEN),
    Row("an empty token", {"connectionToken": ""}, MISSING_TOKEN),
    Row("a forged token", {"connectionToken": "Zm9yZ2Vk"}, BAD_TOKEN),
    Row("a token that is no base64", {"connectionToken": "not a token"}, BAD_TOKEN),
    Row("a token with a NUL", {"connectionToken": "Zm9y\0Z2Vk"}, BAD_TOKEN),
    Row("a token of another script", {"connectionToken": "Tokén\u202e"}, BAD_TOKEN),
    Row("a token of 50,000 characters", {"connectionToken": "Zm9y" * 12_500}, BAD_TOKEN),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_requests_without_a_good_transport_or_token(victim: Classic, row: Row) -> None:
    for operation in BOUND:
        answer = call(victim, operation, **row.changes)
        assert (operation, *answer.brief) == (operation, *row.answer)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "content-type" not in answer.headers
    for operation in OPEN:
        assert call(victim, operation, **row.changes).status == 200


def test_what_is_no_connection_token_of_ours(site: Server, victim: Classic) -> None:
    """Another kind of token, the public id, and a token that was changed."""
    victim.invoke("Join", "somewhere")
    victim.envelope()
    core = negotiate(f"{site.url}/peer")["connectionToken"]
    middle = len(victim.token) // 2
    other = "A" if victim.token[middle] != "A" else "B"
    for token in (
        victim.connection_id,
        victim.groups,
        core,
        victim.token[:-8],
        victim.token[:middle] + other + victim.token[middle + 1 :],
        victim.token + victim.token,
        victim.token.swapcase(),
    ):
        for operation in BOUND:
            assert (token, operation, *call(victim, operation, connectionToken=token).brief) == (token, operation, *BAD_TOKEN)
    status = request("POST", f"{site.url}/peer?id={quote(victim.token)}", body=b"").status
    assert status == 404, "a classic token is no core token"


@pytest.mark.parametrize("owner", ["anna", ""])
@pytest.mark.parametrize("thief", ["bert", "", "anna:", "ann"])
def test_a_token_of_another_user(mount: str, bystander: Classic, owner: str, thief: str) -> None:
    if owner == thief:
        thief = "anna"
    with connected(mount, query=f"user={owner}") as victim:
        for operation in BOUND:
            method = OPERATIONS[operation]
            url = victim.url(operation, transport="longPolling").replace(f"user={owner}", f"user={quote(thief)}")
            assert (operation, *request(method, url, FORM, b"" if method == "POST" else None).brief) == (operation, *OTHER_USER)
        victim.prove()


def test_a_web_socket_with_a_token_of_another_user(mount: str, bystander: Classic) -> None:
    with connected(mount, query="user=anna") as victim:
        for operation in ("connect", "reconnect"):
            url = victim.url(operation).replace("user=anna", "user=bert")
            assert refusal_of_a_socket(url) == OTHER_USER
        victim.prove()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"connectionToken": None}, MISSING_TOKEN),
        ({"connectionToken": "Zm9yZ2Vk"}, BAD_TOKEN),
        ({"transport": "carrierPigeon"}, UNKNOWN_TRANSPORT),
    ],
)
def test_web_sockets_are_refused_with_the_same_words(victim: Classic, changes: dict[str, str | None], expected: tuple[int, bytes]) -> None:
    for operation in ("connect", "reconnect"):
        assert refusal_of_a_socket(victim.url(operation, **changes)) == expected


def refusal_of_a_socket(url: str) -> tuple[int, bytes]:
    """The answer to an upgrade that is not granted."""
    answer = request("GET", url, {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    })  # fmt: skip
    return answer.brief


def test_a_replayed_abort(mount: str, bystander: Classic) -> None:
    """Nothing is left to end, and a connection that is opened anew on the token is not ended by an answer of the past."""
    with connected(mount) as victim:
        for _ in range(3):
            assert victim.abort().brief == (200, b"")
        assert victim.drain() == []
        victim.ready()
        victim.prove()


def test_a_token_that_is_too_old_opens_nothing(tmp_path: Path) -> None:
    """What lives is not concerned, however long ago it was negotiated."""
    with serve_peer_site(tmp_path / "db.sqlite3", PEER_SIGNALR='{"CLASSIC": {"CONNECTION_TOKEN_LIFETIME": 1}}') as server:
        mount = f"{server.url}/signalr"
        old = Classic(mount, "longPolling")
        with connected(mount) as living:
            time.sleep(2.1)  # tokens count in whole seconds
            for operation in BOUND:
                if operation == "abort":
                    continue  # there is nothing to end
                assert (operation, *call(old, operation).brief) == (operation, *BAD_TOKEN)
            living.prove()
            living.detach()
            living.reattach()
            living.prove()
            assert living.send(hub_call("Echo", "x"), transport="longPolling").status == 200


def test_the_public_id_ends_nobody(victim: Classic) -> None:
    for transport in TRANSPORTS:
        assert victim.abort(connectionToken=victim.connection_id, transport=transport).brief == BAD_TOKEN


def test_a_connection_belongs_to_its_mount(site: Server, bystander: Classic) -> None:
    """A token is good everywhere until it is used; then neither hubs nor permissions of another mount can be had by it."""
    news = '[{"name":"news"}]'
    with (
        connected(f"{site.url}/guarded", hubs=("moody",)) as victim,
        connected(f"{site.url}/guarded", hubs=("news",), query="user=anna") as reader,
    ):
        for mount, data in (("extra", news), ("extra", '[{"name":"partly"}]'), ("signalr", '[{"name":"peer"}]'), ("raw", None)):
            for operation in BOUND:
                url = victim.url(operation, transport="longPolling", connectionData=data).replace("/guarded/", f"/{mount}/")
                method = OPERATIONS[operation]
                answer = request(method, url, FORM, b"" if method == "POST" else None)
                assert (mount, operation, *answer.brief) == (mount, operation, *BAD_TOKEN)
        for operation in BOUND:
            assert call(victim, operation, connectionData=news).status == 401
        reader.invoke("Tell", "for users", hub="news")
        assert reader.messages(1)
        victim.invoke("ToAllExcept", [], "for all", hub="moody")
        assert victim.messages(1)[0]["A"] == ["Hello", "from on_connected"]
        assert victim.messages(1)[0]["A"] == ["ToAllExcept", "for all"]


# Hubs


BAD_HUBS = [
    "not json",
    "{",
    "[",
    '"peer"',
    "1",
    "{}",
    '{"name":"peer"}',
    "[null]",
    "[1]",
    '["peer"]',
    "[{}]",
    '[{"name":null}]',
    '[{"name":""}]',
    '[{"name":"nothere"}]',
    '[{"name":"peer"},{"name":"nothere"}]',
    '[{"name":"peer"},{"name":"PEER"}]',
    '[{"name":"peer\\u0000"}]',
    '[{"name":"<script>alert(1)</script>"}]',
    '[{"name":["peer"]}]',
    '[{"name":"' + "x" * 50_000 + '"}]',
    "[" * 20_000,
    "[" * 10_000 + "]" * 10_000,
    '[{"name":"peer","x":' + "[" * 5_000 + "]" * 5_000 + "}]",
]


@pytest.mark.parametrize("data", BAD_HUBS, ids=lambda data: data[:40])
def test_connection_data_that_names_no_hubs(victim: Classic, data: str) -> None:
    for operation in OPERATIONS:
        answer = call(victim, operation, connectionData=data)
        assert (operation, answer.status) == (operation, 500)
        assert b"Traceback" not in answer.body
        assert len(answer.body) < 500


def test_connection_data_that_is_no_utf8(victim: Classic) -> None:
    for operation, method in OPERATIONS.items():
        url = victim.url(operation, transport="longPolling", connectionData=None) + "&connectionData=%5B%7B%22name%22:%22%FF%22%7D%5D"
        assert (operation, request(method, url, FORM, b"").status) == (operation, 500)


# JSONP


BAD_CALLBACKS = [
    "1a", "a-b", "if", "a.new.b", "NaN", "undefined", "Infinity", "a..b", ".a", "a.", "f(", "alert(1);f", "f;alert(1)//", "</script><b>",
    "a b", "a[0]", "a\0", "a\n", "f/**/", "\u202e", "ünicode()", "f'", "x" * 50_000 + "!",
]  # fmt: skip


@pytest.mark.parametrize("callback", BAD_CALLBACKS, ids=lambda callback: callback[:20])
def test_callbacks_that_are_no_names(site: Server, victim: Classic, callback: str) -> None:
    client = Classic(f"{site.url}/detailed", "longPolling")
    for operation in ("negotiate", "ping", "start", "connect", "poll", "send"):
        answer = client.request("GET", operation, callback=callback, data=hub_call("Echo", "x"))
        assert (operation, answer.status) == (operation, 500)
        assert callback.encode() not in answer.body


def test_callbacks_where_there_is_no_jsonp(victim: Classic) -> None:
    """Before anything else is looked at."""
    for operation in [*OPERATIONS, "other", ""]:
        for callback in ("f", "alert(1)"):
            answer = victim.request("GET", operation, callback=callback, connectionData="not json", transport=None)
            assert (operation, *answer.brief) == (operation, 403, b"")
            assert "x-content-type-options" not in answer.headers


# Frames, cursors, groups


BAD_FRAME_IDS = [
    "", "abc", "-1", "+1", "1,0", " 1", "1 ", "1.0", "0x1", "1e3", "4294967296", "\u0661", "1');alert(1)//", "9" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_FRAME_IDS, ids=lambda value: ascii(value[:20]))
def test_frame_ids_that_are_no_numbers(victim: Classic, value: str) -> None:
    for operation in ("connect", "reconnect"):
        answer = victim.request("GET", operation, transport="foreverFrame", frameId=value)
        assert answer.status == 500
        assert b"<script" not in answer.body
        assert b"alert" not in answer.body


def test_no_frame_id(victim: Classic) -> None:
    assert victim.request("GET", "connect", transport="foreverFrame").status == 500


BAD_CURSORS = ["nonsense", "d-0-A,0|B,0", "s-0,1", "\0", "<script>", "9" * 5_000, "-1", "\u0663", "\u202e", '"', "d-", "a,b,c", "1|"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("cursor", BAD_CURSORS, ids=lambda cursor: cursor[:12])
def test_cursors_of_nobody(mount: str, bystander: Classic, transport: str, cursor: str) -> None:
    """The transport is served, from now on."""
    with connected(mount, transport) as client:
        client.detach()
        client.cursor = cursor
        if transport == "longPolling":
            with Request("POST", client.url("poll", messageId=cursor), FORM, b"") as poll:
                assert poll.response.status == 200  # it waits from now on
                bystander.invoke("ToClient", client.connection_id, "heard")
                answer = poll.answer()
            assert json.loads(answer.body)["M"] == [{"H": "peer", "M": "Message", "A": ["ToClient", "heard"]}]
            return
        client.reattach()
        client.prove()


@pytest.mark.parametrize("kind", ["garbage", "empty", "long", "of another connection", "the connection token"])
def test_groups_tokens_of_nobody(mount: str, bystander: Classic, kind: str) -> None:
    """They make nobody a member: a connection the server does not know joins nothing by them."""
    with connected(mount) as member, connected(mount) as client:
        member.invoke("Join", "secret group")
        assert "G" in member.envelope()
        tokens = {"garbage": "Z2FyYmFnZQ==", "empty": "", "long": "Zm9y" * 1_000}
        tokens |= {"of another connection": member.groups, "the connection token": client.token}
        client.detach()
        client.attach("reconnect", messageId=client.cursor, groupsToken=tokens[kind])
        member.invoke("ToGroup", "secret group", "for members")
        client.invoke("ToCaller", "after it")
        assert client.messages(1) == [{"H": "peer", "M": "Message", "A": ["ToCaller", "after it"]}]
        member.prove()


# Bodies


def test_a_form_over_the_limit(victim: Classic) -> None:
    for operation in ("send", "poll", "connect", "reconnect", "abort", "start"):
        answer = victim.request("POST", operation, b"data=" + b"x" * FORM_LIMIT, FORM, transport="longPolling")
        assert (operation, answer.status) == (operation, 413)


def test_a_form_of_the_limit(victim: Classic) -> None:
    text = "x" * (FORM_LIMIT - len("data=" + quote(hub_call("Echo", ""), safe="")))
    assert json.loads(victim.send(hub_call("Echo", text), transport="longPolling").body) == {"R": text, "I": "0"}
    assert victim.send(hub_call("Echo", text + "x"), transport="longPolling").status == 413


def test_a_form_without_an_end(victim: Classic) -> None:
    """In chunks, without a length."""
    parts = urlsplit(victim.url("send", transport="longPolling"))
    assert parts.hostname
    with socket.create_connection((parts.hostname, parts.port or 80), 10) as connection:
        head = f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        connection.sendall((f"{0x4000:x}\r\n".encode() + b"x" * 0x4000 + b"\r\n") * 8)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_form_that_breaks_off(victim: Classic) -> None:
    parts = urlsplit(victim.url("send", transport="longPolling"))
    assert parts.hostname
    data = "data=" + quote(hub_call("ToCaller", "half of it"), safe="")
    with socket.create_connection((parts.hostname, parts.port or 80), 10) as connection:
        head = f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(data) + 1}\r\n\r\n"
        connection.sendall(head.encode() + data.encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    victim.invoke("ToCaller", "after it")
    assert victim.messages(1) == [{"H": "peer", "M": "Message", "A": ["ToCaller", "after it"]}]


BAD_FORMS: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no data", b"x=1"),
    ("empty data", b"data="),
    ("no form", b"\0\1\2"),
    ("bad escapes", b"data=%zz%"),
    ("no UTF-8", b"data=%ff%fe"),
    ("JSON instead", b'{"H":"peer","M":"Echo","A":["x"],"I":0}'),
    ("10,000 items", b"&".join([b"a=1"] * 10_000)),
]


@pytest.mark.parametrize(("name", "body"), BAD_FORMS, ids=[row[0] for row in BAD_FORMS])
@pytest.mark.parametrize("transport", TRANSPORTS[1:])
def test_forms_without_an_invocation(victim: Classic, transport: str, name: str, body: bytes) -> None:
    assert victim.request("POST", "send", body, FORM, transport=transport).status == 500


# Invocations


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


OUTSIDE = [
    ("no JSON", "not json"),
    ("no object", "[]"),
    ("a text", '"text"'),
    ("a number", "1"),
    ("null", "null"),
    ("nothing in it", "{}"),
    ("no method", '{"H":"peer","A":[],"I":7}'),
    ("no hub", '{"M":"Echo","A":["x"],"I":7}'),
    ("an unknown hub", hub_call("Echo", "x", hub="nothere", id=7)),
    ("a hub that is no text", '{"H":{},"M":"Echo","A":["x"],"I":7}'),
    ("a method that is no text", '{"H":"peer","M":[],"A":["x"],"I":7}'),
    ("arguments that are no array", '{"H":"peer","M":"Echo","A":"x","I":7}'),
    ("arguments that are an object", '{"H":"peer","M":"Echo","A":{},"I":7}'),
    ("an id that is an object", '{"H":"peer","M":"Echo","A":["x"],"I":{}}'),
    ("an id that is an array", '{"H":"peer","M":"Echo","A":["x"],"I":[7]}'),
    ("a state that is an array", '{"H":"peer","M":"Echo","A":["x"],"I":7,"S":[]}'),
    ("a state that is a text", '{"H":"peer","M":"Echo","A":["x"],"I":7,"S":"x"}'),
    ("a state that is too long", hub_call("Echo", "x", id=7, S={"a": "x" * 4_090})),
    ("half an invocation", '{"H":"peer","M":"Echo","A":["x"],"I":7'),
    ("levels without an end", "[" * 30_000),
    ("10,000 levels", deep(10_000)),
    ("63 levels of an argument", '{"H":"peer","M":"Echo","A":[' + deep(63) + '],"I":7}'),
    ("2,000 levels of an argument", '{"H":"peer","M":"Echo","A":[' + deep(2_000) + '],"I":7}'),
    ("2,000 levels of state", '{"H":"peer","M":"Echo","A":["x"],"I":7,"S":{"a":' + deep(2_000) + "}}"),
]
"""What is no invocation: the request fails, and nothing is invoked."""


@pytest.mark.parametrize(("name", "data"), OUTSIDE, ids=[row[0] for row in OUTSIDE])
def test_what_is_no_invocation_over_http(victim: Classic, name: str, data: str) -> None:
    for transport in TRANSPORTS[1:]:
        answer = victim.send(data, transport=transport)
        assert answer.status == 500
        assert b"Traceback" not in answer.body


@pytest.mark.parametrize(("name", "data"), OUTSIDE, ids=[row[0] for row in OUTSIDE])
def test_what_is_no_invocation_on_a_socket(victim: Classic, name: str, data: str) -> None:
    victim.say(data)
    victim.prove()


INSIDE: list[tuple[str, str]] = [
    ("a method nobody has", hub_call("nosuch", "x")),
    ("a method of Python", hub_call("__init__")),
    ("a hook", hub_call("on_disconnected", None)),
    ("a hook by its name of old", hub_call("OnConnected")),
    ("a method that is not marked", hub_call("clients")),
    ("too many arguments", hub_call("Echo", "a", "b")),
    ("too few arguments", hub_call("Echo")),
    ("an argument of another kind", hub_call("Add", "x", 1)),
    ("an argument out of range", hub_call("Add", 2**31, 1)),
    ("62 levels of an argument", '{"H":"peer","M":"Echo","A":[' + deep(62) + '],"I":0}'),
    ("21 levels of an argument", '{"H":"peer","M":"EchoRecord","A":[' + '{"Child":' * 20 + "{}" + "}" * 20 + '],"I":0}'),
    ("a stream", hub_call("Count", 3, 0)),
    ("a method name of 50,000 characters", hub_call("m" * 50_000)),
    ("a method name with a NUL", hub_call("Echo\0", "x")),
]


METHOD = '"M":"(.*?)"'


@pytest.mark.parametrize(("name", "data"), INSIDE, ids=[row[0] for row in INSIDE])
def test_calls_that_fail(victim: Classic, name: str, data: str) -> None:
    """With a result that says so, in the neutral words."""
    method = json.loads(f'"{re.findall(METHOD, data)[0]}"')
    expected = {"I": "0", "E": f"There was an error invoking Hub method 'peer.{method}'."}
    victim.say(data)
    assert victim.next() == expected
    for transport in TRANSPORTS[1:]:
        answer = victim.send(data, transport=transport)
        assert (answer.status, json.loads(answer.body)) == (200, expected)


def test_what_follows_an_invocation_is_not_looked_at(victim: Classic) -> None:
    """As in the reference, whose JSON reader stops at the end of the first value."""
    data = hub_call("Echo", "x", id=7) + hub_call("Fail", "y", id=8)
    assert victim.send(data, transport="longPolling").brief == (200, b'{"R":"x","I":"7"}')
    victim.say(data)
    assert victim.next() == {"R": "x", "I": "7"}


def test_a_groups_token_of_40_000_characters(mount: str, bystander: Classic) -> None:
    """On transports whose requests the web server takes at that length."""
    for transport in TRANSPORTS[1:]:
        with connected(mount, transport) as client:
            assert client.send(hub_call("Echo", "x"), groupsToken="Zm9y" * 10_000).brief == (200, b'{"R":"x","I":"0"}')
            client.prove()


ODD = ["\0", "a\0b", "\u202e\ufeff", "\ud800", "\x7f\x85\u2028\u2029", "</script><!--", "😀" * 1_000]


@pytest.mark.parametrize("text", ODD[:3] + ODD[4:], ids=ascii)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_odd_texts_survive(mount: str, bystander: Classic, transport: str, text: str) -> None:
    with connected(mount, transport) as client:
        assert client.invoke("Echo", text)["R"] == text
        client.invoke("ToCaller", text)
        assert client.messages(1) == [{"H": "peer", "M": "Message", "A": ["ToCaller", text]}]


# Frames of web sockets


LIMIT = 65_536


def test_a_message_of_the_limit(victim: Classic) -> None:
    text = "x" * (LIMIT - len(hub_call("Echo", "")))
    victim.say(hub_call("Echo", text))
    assert victim.next() == {"R": text, "I": "0"}


def pieces(data: bytes) -> list[bytes]:
    """A message in many frames."""
    parts = [data[start : start + 1_000] for start in range(0, len(data), 1_000)]
    last = len(parts) - 1
    return [frame(CONTINUATION if n else TEXT, part, is_final=n == last) for n, part in enumerate(parts)]


TOO_BIG = hub_call("Echo", "x" * LIMIT).encode()
FATAL: list[tuple[str, bytes]] = [
    ("over the limit", text_frame(TOO_BIG)),
    ("over the limit in pieces", b"".join(pieces(TOO_BIG))),
    ("binary", frame(BINARY, hub_call("Echo", "x").encode())),
    ("binary that is no text", frame(BINARY, b"\xff\xfe\0")),
    ("text that is no UTF-8", frame(TEXT, b'{"H":"peer","M":"Echo","A":["\xff"],"I":0}')),
    ("a reserved bit", frame(TEXT, b"{}", reserved=0x40)),
    ("an unknown opcode", frame(3, b"{}")),
    ("a frame without a mask", frame(TEXT, b"{}", is_masked=False)),
]
"""After these the socket ends; the connection does not."""


@pytest.mark.parametrize(("name", "data"), FATAL, ids=[row[0] for row in FATAL])
def test_frames_that_end_the_socket(victim: Classic, name: str, data: bytes) -> None:
    victim.socket.send(data)
    assert [message for message in victim.drain() if "C" not in message] == []
    victim.reattach()
    wait_for_log(victim, victim, "connected", "reconnected")


# Queries


@pytest.mark.parametrize("where", ["in front", "behind"])
def test_10_000_items_in_a_query(victim: Classic, where: str) -> None:
    """More than 100 are not read: the request is one without items."""
    more = "&a=1" * 10_000
    for operation, method in OPERATIONS.items():
        address, _, query = victim.url(operation, transport="longPolling").partition("?")
        url = f"{address}?{more[1:]}&{query}" if where == "in front" else f"{address}?{query}{more}"
        expected = 200 if operation in OPEN else 400
        assert (operation, request(method, url, FORM, b"" if method == "POST" else None).status) == (operation, expected)


@pytest.mark.parametrize("item", ["clientProtocol", "tid", "_", "noCache", "access_token", "messageId", "groupsToken", "user2"])
def test_very_long_values_in_a_query(victim: Classic, item: str) -> None:
    for operation in ("negotiate", "start", "ping", "send"):
        body = b"data=" + quote(hub_call("Echo", "x"), safe="").encode() if operation == "send" else None
        url = victim.url(operation, transport="longPolling", **{item: "9" * 50_000})
        assert (operation, request(OPERATIONS[operation], url, FORM, body).status) == (operation, 200)


@pytest.mark.parametrize("query", ["%00=%00", "%ff=%fe", "=", "&&&", "%", "a=%zz", "=x&a", "%C3%28=1", "+=+"])
def test_odd_queries(mount: str, bystander: Classic, query: str) -> None:
    with connected(mount, query=query) as client:
        client.prove()


def test_of_an_item_given_twice_the_first_counts(victim: Classic) -> None:
    for item, bad, expected in (("connectionToken", "Zm9yZ2Vk", BAD_TOKEN), ("transport", "carrierPigeon", UNKNOWN_TRANSPORT)):
        good = victim.token if item == "connectionToken" else "longPolling"
        url = victim.url("start", transport="longPolling")
        assert request("GET", f"{url}&{item}={bad}").status == 200
        url = victim.url("start", **{"transport": "longPolling", item: bad})
        assert (item, *request("GET", f"{url}&{item}={quote(good, safe='')}").brief) == (item, *expected)


# Paths


ODD_PATHS = ["/signalr/../admin", "/signalr/%2e%2e/negotiate", "/signalr/%00", "/signalr/%ff/negotiate", "/signalr/" + "x/" * 5_000]


@pytest.mark.parametrize("path", ODD_PATHS, ids=lambda path: path[:30])
def test_odd_paths(site: Server, victim: Classic, path: str) -> None:
    answer = request("GET", f"{site.url}{path}")
    assert answer.status in (200, 400, 404)
    assert b"Traceback" not in answer.body


# The log


def test_the_log_holds_no_secrets(site: Server) -> None:
    """Everything is logged, at every level, while all kinds of requests succeed and fail."""
    mount = f"{site.url}/signalr"
    with connected(mount, "serverSentEvents", query="user=anna&access_token=TOP.SECRET.JWT") as client:
        client.invoke("Join", "a group")
        client.envelope()
        client.invoke("Fail", "as it should")
        client.send("not json")
        secrets = [client.token, client.groups, "TOP.SECRET.JWT"]
        call(client, "connect", connectionToken=client.token[:-1])
        call(client, "connect", connectionData="not json")
        client.detach()
        client.reattach()
        client.prove()
    with connected(mount, headers={"Cookie": "user=anna; sessionid=COOKIE.SECRET"}) as client:
        client.say("[")
        client.say(hub_call("Fail", "as it should"))
        client.socket.send(frame(BINARY, b"x"))
        secrets += [client.token, "COOKIE.SECRET"]
    log = site.output()
    for secret in secrets:
        assert len(secret) > 10
        assert secret not in log
        assert quote(secret, safe="") not in log
