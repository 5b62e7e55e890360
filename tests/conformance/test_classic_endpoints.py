"""Sections 1 to 3 of the classic reference: paths, checks, parameters, headers, negotiate, tokens."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from urllib.parse import quote

import pytest

from tests.conformance.classic import FORM, TRANSPORTS, Classic, connected, connection_data, hub_call, wait_for_log
from tests.conformance.wire import Request, request
from tests.live import PeerSite

JSON = "application/json; charset=UTF-8"
SCRIPT = "application/javascript; charset=UTF-8"
PEER = quote(connection_data("peer"))
STARTED = b'{ "Response": "started" }'
PONG = b'{ "Response": "pong" }'


@pytest.fixture
def mount(classic_site: PeerSite) -> str:
    return f"{classic_site.url}/signalr"


# 1.1


@pytest.mark.parametrize("path", ["/signalr2/ping", "/signal/ping", "/x/signalr/ping", "/ping"])
def test_a_mount_is_whole_segments_at_the_beginning(classic_site: PeerSite, path: str) -> None:
    assert request("GET", classic_site.url + path).status == 404


@pytest.mark.parametrize("path", ["/signalr/ping", "/SIGNALR/Ping", "/signalr//ping", "/signalr/js/ping", "/signalr/x/y/PING"])
def test_the_end_of_the_path_decides_without_redirects(classic_site: PeerSite, path: str) -> None:
    assert request("GET", classic_site.url + path).brief == (200, PONG)


def test_a_slash_behind_matters_but_for_the_script(classic_site: PeerSite) -> None:
    assert request("GET", f"{classic_site.url}/signalr/ping/").brief == (400, b"Protocol error: Unknown transport.")
    assert request("GET", f"{classic_site.url}/signalr/hubs//").headers["content-type"] == SCRIPT


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_the_method_does_not_matter(mount: str, method: str) -> None:
    assert request(method, f"{mount}/negotiate?clientProtocol=1.5").status == 200
    with connected(mount, "longPolling") as client:
        assert client.request(method, "start").brief == (200, STARTED)
        assert client.request(method, "send", data=hub_call("Echo", "x")).brief == (200, b'{"R":"x","I":"0"}')
        assert client.request(method, "abort").brief == (200, b"")


def test_names_in_the_query_have_no_letter_case(mount: str) -> None:
    client = Classic(mount, "longPolling")
    url = f"{mount}/start?TRANSPORT=LONGPOLLING&ConnectionToken={quote(client.token)}&CLIENTPROTOCOL=2.1&CONNECTIONDATA={PEER}"
    assert request("GET", url).brief == (200, STARTED)


@pytest.mark.parametrize("transport", ["serverSentEvents", "webSockets", "longPolling"])
def test_other_paths_reconnect_or_poll(mount: str, transport: str) -> None:
    """Very old clients came back on the bare mount."""
    with connected(mount, transport) as client, connected(mount) as sender:
        client.detach()
        for path in ("", "other"):
            sender.invoke("ToClient", client.connection_id, path)
            if transport == "longPolling":
                answer = client.request("POST", path, f"messageId={client.cursor}".encode(), FORM)
                envelope = json.loads(answer.body)
                client.cursor = envelope["C"]
            else:
                client.attach(path, messageId=client.cursor)
                envelope = client.envelope()
                client.detach()
            assert "S" not in envelope
            assert [message["A"][1] for message in envelope["M"]] == [path]
        expected = ["connected"] + (["reconnected", "reconnected"] if transport != "longPolling" else [])
        wait_for_log(sender, client, *expected)


# 1.2


CHECKS: list[tuple[str, Mapping[str, str | None], int, bytes | None]] = [
    ("callback", {"callback": "f"}, 403, b""),
    ("hubs", {"connectionData": '[{"name":"nothere"}]'}, 500, None),
    ("permission", {"connectionData": '[{"name":"secret"}]'}, 401, b""),
    ("transport", {"transport": "carrierPigeon"}, 400, b"Protocol error: Unknown transport."),
    ("no token", {"connectionToken": None}, 400, b"Protocol error: Missing connection token."),
    ("bad token", {"connectionToken": "Zm9yZ2Vk"}, 400, b"The ConnectionId is in the incorrect format."),
    ("user", {"user": "anna"}, 403, b"Unrecognized user identity.  The user identity cannot change during an active SignalR connection."),
    ("upgrade", {"transport": "webSockets"}, 400, b"Not a valid web socket request."),
]
"""What is checked, in order."""


PAIRS = [pair for pair in itertools.combinations(range(len(CHECKS)), 2) if pair != (2, 6)]  # a user passes the permission


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_earlier_check_decides(mount: str, first: int, second: int) -> None:
    """Of two that fail."""
    name, changes, status, body = CHECKS[first]
    client = Classic(mount, "longPolling")
    answer = client.request("GET", "poll", **{**CHECKS[second][1], **changes})
    assert (name, answer.status) == (name, status)
    assert body is None or answer.body == body
    assert ("x-content-type-options" in answer.headers) == (name != "callback")


@pytest.mark.parametrize("data", [None, "", "[]", "null"])
def test_no_hubs_need_no_permission(mount: str, data: str | None) -> None:
    client = Classic(mount, "longPolling")
    assert client.request("GET", "start", connectionData=data).brief == (200, STARTED)


def test_hubs_that_refuse_are_left_out(mount: str) -> None:
    """If all do, the request is refused: with 401 for nobody, 403 for a user; empty."""
    for hubs, user, status in (
        (("secret",), "", 401),
        (("secret",), "anna", 200),
        (("peer", "secret"), "", 200),
        (("secret", "SECRET2"), "", 500),
    ):
        url = f"{mount}/negotiate?connectionData={quote(connection_data(*hubs))}&user={user}"
        assert (hubs, request("GET", url).status) == (hubs, status)
    extra = mount.replace("/signalr", "/extra")
    for user, status in (("", 401), ("anna", 403)):
        answer = request("GET", f"{extra}/negotiate?connectionData={quote(connection_data('staff'))}&user={user}")
        assert answer.brief == (status, b"")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_persistent_connection_may_ask_for_a_login(classic_site: PeerSite) -> None:
    for operation in ("negotiate", "ping", "start", "send", "abort", "poll"):
        assert request("GET", f"{classic_site.url}/users/{operation}").brief == (401, b"")
    assert request("GET", f"{classic_site.url}/users/negotiate?user=anna").status == 200


def test_detailed_errors_tell_why_a_request_failed(classic_site: PeerSite) -> None:
    unknown = f"connectionData={quote(connection_data('nothere'))}"
    assert request("GET", f"{classic_site.url}/signalr/negotiate?{unknown}").brief == (500, b"")
    assert b"'nothere' Hub could not be resolved." in request("GET", f"{classic_site.url}/detailed/negotiate?{unknown}").body
    twice = f"connectionData={quote(connection_data('peer', 'PEER'))}"
    assert b"Duplicate Hub names found." in request("GET", f"{classic_site.url}/detailed/ping?{twice}").body
    answer = Classic(f"{classic_site.url}/detailed", "foreverFrame").request("GET", "connect", frameId="x")
    assert answer.status == 500
    assert b"The supplied frameId is in the incorrect format." in answer.body


# 1.3, 1.5


def test_answers_byte_by_byte(mount: str) -> None:
    with connected(mount, "serverSentEvents") as client:
        for method, operation, body, expected, content_type in (
            ("GET", "start", None, STARTED, JSON),
            ("GET", "ping", None, PONG, JSON),
            ("POST", "send", b"data=" + quote(hub_call("Echo", "a<b>")).encode(), b'{"R":"a<b>","I":"0"}', JSON),
            ("POST", "abort", b"", b"", "text/plain"),
        ):
            answer = client.request(method, operation, body)
            assert (operation, *answer.brief) == (operation, 200, expected)
            assert answer.headers["content-type"] == content_type
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "no-store" in answer.headers["cache-control"]


def test_content_types_of_transports(mount: str) -> None:
    expected = {"serverSentEvents": "text/event-stream", "foreverFrame": "text/html; charset=UTF-8", "longPolling": JSON}
    for transport, content_type in expected.items():
        client = Classic(mount, transport)
        with Request("GET", client.url("connect", frameId="1")) as opened:
            headers = {name.lower(): value for name, value in opened.response.getheaders()}
            assert headers["content-type"] == content_type
            assert headers["x-content-type-options"] == "nosniff"
            assert "no-store" in headers["cache-control"]
            assert (headers.get("x-accel-buffering") == "no") == (transport != "longPolling")
        client.abort()


def test_a_persistent_connection_answers_a_send_with_nothing(classic_site: PeerSite) -> None:
    with connected(f"{classic_site.url}/raw", "serverSentEvents", hubs=None) as client:
        answer = client.send("x")
        assert answer.brief == (200, b"")
        assert "content-type" not in answer.headers
        assert client.messages(1) == ["x"]
        assert client.request("GET", "hubs", transport=None).brief == (400, b"Protocol error: Unknown transport.")


def test_a_start_is_answered_when_on_connected_has_run_and_counts_once(classic_site: PeerSite) -> None:
    with connected(f"{classic_site.url}/extra", hubs=("moody",)) as client:
        for _ in range(2):
            assert client.request("GET", "start").brief == (200, STARTED)
        assert client.invoke("GetEvents", hub="moody")["R"] == [f"on_connected {client.connection_id}"]


def test_a_start_fails_if_on_connected_does(classic_site: PeerSite) -> None:
    client = Classic(f"{classic_site.url}/extra", hubs=("moody",), query="fail=on_connected")
    client.attach()
    answer = client.request("GET", "start")
    assert answer.brief == (500, b"on_connected was told to fail")
    client.abort()
    client.detach()
    assert [kind["reason"] for kind in classic_site.lifetime_events(connection_id=client.connection_id, kind="connected")] == []


def test_a_start_may_come_before_the_transport_and_before_init_is_read(mount: str) -> None:
    early, quick = Classic(mount), Classic(mount)
    assert early.request("GET", "start").brief == (200, STARTED)
    early.attach()
    assert early.envelope()["S"] == 1
    quick.attach()
    assert quick.request("GET", "start").brief == (200, STARTED)
    assert quick.envelope()["S"] == 1
    for client in (early, quick):
        client.prove()
        client.detach()
        client.abort()


def test_the_caller_hears_what_on_connected_sends(classic_site: PeerSite) -> None:
    for transport in ("webSockets", "serverSentEvents", "longPolling"):
        with connected(f"{classic_site.url}/extra", transport, hubs=("moody",)) as client:
            assert client.messages(1) == [{"H": "moody", "M": "Message", "A": ["Hello", "from on_connected"]}]


# 1.4


ECHO = quote(hub_call("Echo", "a b"), safe="")
BODIES = [
    ("the jQuery client", "application/x-www-form-urlencoded; charset=UTF-8", f"data={ECHO.replace('%20', '+')}"),
    ("the .NET client", None, "data=" + re.sub("%..", lambda escape: escape[0].lower(), ECHO.replace("%20", "+"))),
    ("text", "text/plain; charset=utf-8", f"data={ECHO}"),
    ("JSON by name", "application/json", f"data={ECHO}"),
    ("other items", "", f"a=1&data={ECHO}&data=second"),
]


@pytest.mark.parametrize(("content_type", "body"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_bodies_are_forms_whatever_their_type(mount: str, content_type: str | None, body: str) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    with connected(mount, "serverSentEvents") as client:
        assert client.request("POST", "send", body.encode(), headers).brief == (200, b'{"R":"a b","I":"0"}')


def test_only_long_polling_takes_data_from_the_query_and_the_form_comes_first(mount: str) -> None:
    with connected(mount, "longPolling") as client:
        form = b"data=" + quote(hub_call("Echo", "form")).encode()
        query = hub_call("Echo", "query")
        assert client.request("POST", "send", form, FORM, data=query).body == b'{"R":"form","I":"0"}'
        assert client.request("POST", "send", b"", FORM, data=query).body == b'{"R":"query","I":"0"}'
        assert client.request("GET", "send", data=query).body == b'{"R":"query","I":"0"}'
        assert client.request("GET", "send", data=query, transport="serverSentEvents").status == 500


def test_cursors_are_taken_from_the_query_before_the_form(mount: str) -> None:
    with connected(mount, "longPolling") as client, connected(mount) as sender:
        first = client.cursor
        sender.invoke("ToClient", client.connection_id, "x")
        assert client.envelope()["M"]
        form = f"messageId={client.cursor}".encode()
        answer = client.request("POST", "poll", form, FORM, messageId=first)
        assert [message["A"][1] for message in json.loads(answer.body)["M"]] == ["x"]
        answer = client.request("POST", "poll", f"messageId={first}".encode(), {"Content-Type": "text/plain; charset=utf-8"})
        assert [message["A"][1] for message in json.loads(answer.body)["M"]] == ["x"]


@pytest.mark.parametrize("data", ['[{"name":"peer"}]', '[{"Name":"Peer"}]', '[{"NAME":"PEER","other":[1]}]', ' [ { "name" : "peer" } ] '])
def test_hubs_are_named_in_any_letter_case(mount: str, data: str) -> None:
    client = Classic(mount)
    client.data = data
    client.ready().prove()
    client.detach()
    client.abort()


def test_the_brackets_of_the_net_client(mount: str) -> None:
    client = Classic(mount, hubs=None, query="connectionData=[%7B%22Name%22:%22peer%22%7D]")
    client.ready().prove()
    client.detach()
    client.abort()


def test_without_hubs_results_and_groups_come_but_neither_messages_nor_hooks(mount: str) -> None:
    with connected(mount, hubs=()) as client:
        assert client.invoke("Echo", "x")["R"] == "x"
        client.invoke("ToCaller", "unheard")
        client.invoke("Join", "unlisted")
        assert "G" in client.envelope()
        client.invoke("ToGroup", "unlisted", "heard")
        assert [message["A"] for message in client.messages(1)] == [["ToGroup", "heard"]]
        assert [line for line in client.invoke("GetEvents")["R"] if client.connection_id in line] == []


def test_a_persistent_connection_may_have_any_connection_data(classic_site: PeerSite) -> None:
    for data in (None, "anything", '[{"name":"nothere"}]'):
        client = Classic(f"{classic_site.url}/raw", "longPolling", hubs=None)
        client.data = data
        assert client.ready().request("GET", "start").brief == (200, STARTED)
        client.abort()


def test_the_hub_sees_the_query_of_the_application(classic_site: PeerSite) -> None:
    query = "room=a%20b&tid=3&_=1700000000000&noCache=1"
    with connected(f"{classic_site.url}/extra", hubs=("moody",), query=query) as client:
        assert client.invoke("GetQuery", hub="moody")["R"].endswith(f"&{query}")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("where", ["header", "query"])
def test_an_access_token_counts_in_the_header_and_in_the_query(mount: str, transport: str, where: str) -> None:
    """Of every request, since the jQuery client puts it into the query of all of them."""
    token = request("GET", mount.replace("/signalr", "/token?user=anna&seconds=60")).body.decode()
    headers = {"Authorization": f"Bearer {token}"} if where == "header" else {}
    with connected(
        mount, transport, hubs=("secret",), query=f"access_token={token}" if where == "query" else "", headers=headers
    ) as client:
        assert client.invoke("Echo", "x", hub="secret")["R"] == "x"
        assert client.invoke("GetUserName").get("R")
    bad = Classic(mount, transport, query="access_token=nonsense")
    bad.data = connection_data("secret")
    assert bad.request("GET", "start").status == 401


def test_no_csrf_check_stands_in_the_way(mount: str) -> None:
    """With a session cookie and without a token of Django's."""
    headers = {"Cookie": "sessionid=abc; csrftoken=def", "Referer": "https://elsewhere.example/"}
    with connected(mount, "longPolling", headers=headers) as client:
        assert client.send(hub_call("Echo", "x")).status == 200


# 1.5: other origins


def test_pages_of_other_origins_may_read_answers_if_they_are_listed(mount: str) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    for operation in ("negotiate", "ping", "hubs", "start"):
        answer = Classic(mount, "longPolling").request("GET", operation, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
    question = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = request("OPTIONS", f"{mount}/send", question)
    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert "access-control-allow-origin" not in request("GET", f"{mount}/ping").headers


# 1.6 and 6.9


def test_a_life_in_jsonp(classic_site: PeerSite) -> None:
    client = Classic(f"{classic_site.url}/detailed", "longPolling")

    def call(operation: str, **items: str | None) -> str:
        answer = client.request("GET", operation, callback="page.f", **items)
        assert answer.headers["content-type"] == SCRIPT
        body = answer.body.decode()
        assert body.startswith("page.f(")
        assert body.endswith(");")
        return body[len("page.f(") : -len(");")]

    assert json.loads(call("negotiate"))["ProtocolVersion"] == "2.0"
    envelope = json.loads(call("connect"))
    assert envelope["S"] == 1
    assert call("start") == STARTED.decode()
    assert call("ping") == PONG.decode()
    assert json.loads(call("send", data=hub_call("ToCaller", "x"))) == {"I": "0"}
    envelope = json.loads(call("poll", messageId=envelope["C"]))
    assert envelope["M"] == [{"H": "peer", "M": "Message", "A": ["ToCaller", "x"]}]
    assert client.request("POST", "abort", b"").status == 200


def test_the_script(classic_site: PeerSite) -> None:
    for path, url in (
        ("/signalr/hubs", "/signalr"),
        ("/signalr/js", "/signalr"),
        ("/signalr/x/JS//", "/signalr/x"),
        ("/extra/hubs", "/extra"),
    ):
        answer = request("GET", classic_site.url + path)
        assert (answer.status, answer.headers["content-type"]) == (200, SCRIPT)
        assert f'$.hubConnection("{url}", {{ useDefaultPath: false }})' in answer.body.decode()
    answer = request("GET", f"{classic_site.url}/sparse/hubs")
    assert answer.brief == (200, b'throw new Error("SignalR: JavaScript Hub proxy generation has been disabled.");')


def test_the_script_names_what_can_be_called(classic_site: PeerSite) -> None:
    """The contract of the recorded server, and what the hub has beyond it; no streams, no hooks, no parameter for progress."""
    text = request("GET", f"{classic_site.url}/signalr/hubs").body.decode()
    found = re.findall(r"^ *(\w+): function \(([^)]*)\)", text, re.MULTILINE)
    assert [name for name, _ in found if name.lower() in ("count", "forever", "sum", "relay", "on_connected", "onconnected")] == []
    assert {"abortMe", "askClient", "close"} < {name for name, _ in found}
    assert [f"{name}({arguments})" for name, arguments in found if name not in ("abortMe", "askClient", "close")] == [
        "broadcast(text)", "echo(text)",
        "add(a, b)", "big(n)", "countState()", "echo(text)", "echoRecord(record)", "fail(text)", "failHub(text)", "failHubData(text)",
        "getConnectionId()", "getEvents()", "getUserName()", "join(group)", "leave(group)", "nothing()", "progress(n)", "slow(ms)",
        "toAll(text)", "toCaller(text)", "toClient(id, text)", "toGroup(group, text)", "toGroupExcept(group, id, text)", "toOthers(text)",
        "toOthersInGroup(group, text)", "toUser(user, text)",
        "echo(text)",
    ]  # fmt: skip


# 2


def test_the_answer_to_negotiate_byte_by_byte(classic_site: PeerSite) -> None:
    urls = {
        "/signalr/negotiate": "/signalr",
        "/signalr//negotiate": "/signalr/",
        "/signalr/NEGOTIATE": "/signalr/NEGOTIATE",
        "/signalr/js/negotiate": "/signalr/js",
        "/raw/negotiate": "/raw",
    }
    for path, url in urls.items():
        answer = request("GET", f"{classic_site.url}{path}?clientProtocol=2.1&_=1")
        text = answer.body.decode()
        token, id = json.loads(text)["ConnectionToken"], json.loads(text)["ConnectionId"]
        assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id)
        assert text == (
            f'{{"Url":"{url}","ConnectionToken":"{token}","ConnectionId":"{id}","KeepAliveTimeout":4.0,"DisconnectTimeout":6.0,'
            '"ConnectionTimeout":8.0,"TryWebSockets":true,"ProtocolVersion":"2.0","TransportConnectTimeout":5.0,"LongPollDelay":0.0}'
        )
        assert answer.headers["content-type"] == JSON


def test_without_web_sockets_clients_do_not_try_them(classic_site: PeerSite) -> None:
    client = Classic(f"{classic_site.url}/sparse", "longPolling")
    assert client.negotiated["TryWebSockets"] is False
    assert client.negotiated["LongPollDelay"] == 0.25
    for transport in ("webSockets", "serverSentEvents", "foreverFrame"):
        assert client.request("GET", "connect", transport=transport).brief == (400, b"Protocol error: Unknown transport.")


VERSIONS = {
    None: "1.2", "": "1.2", "abc": "1.2", "1337": "1.2", ".1337": "1.2", "1.0": "1.2", "2": "1.2",
    "1.2": "1.2", "1.3": "1.3", "1.4": "1.4", "1.5": "1.5", "1.4.0": "1.4.0", "1.5.0.0": "1.5.0.0", "01.5": "1.5", "2.0": "2.0",
    "2.0.1": "2.0", "2.1": "2.0", "3.0": "2.0", "10.1": "2.0",
}  # fmt: skip


@pytest.mark.parametrize(("version", "expected"), VERSIONS.items())
def test_versions(mount: str, version: str | None, expected: str) -> None:
    query = "" if version is None else f"?clientProtocol={version}"
    assert json.loads(request("GET", f"{mount}/negotiate{query}").body)["ProtocolVersion"] == expected


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_old_clients_never_ask_to_start(mount: str, version: str) -> None:
    """Connecting is starting, once."""
    client = Classic(mount, "serverSentEvents")
    for _ in range(2):
        client.attach(clientProtocol=version)
        assert client.envelope()["S"] == 1
    with connected(mount) as reader:
        assert [line for line in reader.invoke("GetEvents")["R"] if client.connection_id in line] == [f"connected {client.connection_id}"]
    client.detach()
    client.abort()


# 3


def test_tokens_are_short_url_safe_and_say_nothing(mount: str) -> None:
    with connected(mount, query="user=Anna.Annason") as client:
        for number in range(20):
            client.invoke("Join", f"secret group {number}")
        while len(client.groups) < 100:
            client.envelope()
        for token in (client.token, client.groups):
            assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
            assert len(token) < 2048
            assert "Anna" not in token


def test_letter_case_of_a_user_name_does_not_matter(mount: str) -> None:
    client = Classic(mount, "longPolling", query="user=anna")
    client.query = "user=ANNA"
    assert client.request("GET", "start").status == 200


def test_a_token_is_good_at_every_mount_until_it_is_used(classic_site: PeerSite) -> None:
    client = Classic(f"{classic_site.url}/signalr", hubs=None)
    client.mount = f"{classic_site.url}/raw"
    client.ready().say("x")
    assert client.messages(1) == ["x"]
    client.detach()
    client.abort()
