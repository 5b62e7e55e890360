"""Section 4 of the classic reference: the four transports byte by byte, and what becomes of a connection between them."""

from __future__ import annotations

import json
import time

import pytest

from tests.conformance.classic import FORM, TRANSPORTS, Classic, connected, hub_call, log_of, wait_for_log, wait_until
from tests.conformance.wire import CLOSE, RawSocket, Request, frame
from tests.live import PeerSite

STREAMS = TRANSPORTS[:3]
HELLO = {"H": "moody", "M": "Message", "A": ["Hello", "from on_connected"]}


@pytest.fixture
def mount(classic_site: PeerSite) -> str:
    return f"{classic_site.url}/signalr"


def read_until(opened: Request, end: bytes) -> bytes:
    """Bytes of a stream up to some that are awaited."""
    data = b""
    while not data.endswith(end):
        more = opened.response.read(1)
        assert more, data
        data += more
    return data


def masked(data: bytes, *cursors: str) -> bytes:
    """With cursors hidden."""
    for cursor in cursors:
        data = data.replace(cursor.encode(), b"<C>")
    return data


# Preambles, frames, keep-alives


def test_an_event_stream_byte_by_byte(mount: str) -> None:
    client = Classic(mount, "serverSentEvents")
    with Request("GET", client.url("connect")) as opened:
        data = read_until(opened, b"\n\n") + read_until(opened, b"\n\n")
        cursor = json.loads(data.split(b"data: ")[2])["C"]
        assert masked(data, cursor) == b'data: initialized\n\ndata: {"C":"<C>","S":1,"M":[]}\n\n'
        client.send(hub_call("ToCaller", "<b>é"))
        data = read_until(opened, b"\n\n")
        cursor = json.loads(data.removeprefix(b"data: "))["C"]
        expected = b'data: {"C":"<C>","M":[{"H":"peer","M":"Message","A":["ToCaller","<b>\\u00e9"]}]}\n\n'
        assert masked(data, cursor) == expected
        assert read_until(opened, b"\n\n") == b"data: {}\n\n"
    client.abort()


def test_a_forever_frame_byte_by_byte(mount: str) -> None:
    client = Classic(mount, "foreverFrame")
    with Request("GET", client.url("connect", frameId="0042")) as opened:
        head = read_until(opened, b"<body>\r\n")
        assert head.startswith(b"<!DOCTYPE html>")
        assert b'getConnection("42")' in head
        data = read_until(opened, b"</script>\r\n")
        cursor = json.loads(data[len(b"<script>r(c, ") : -len(b");</script>\r\n")])["C"]
        assert masked(data, cursor) == b'<script>r(c, {"C":"<C>","S":1,"M":[]});</script>\r\n'
        client.send(hub_call("ToCaller", "</script>"))
        data = read_until(opened, b"</script>\r\n")
        assert b'["ToCaller","\\u003c/script\\u003e"]' in data
        assert read_until(opened, b"\n\n") == b"<script>r(c, {});</script>\n\n"
    client.abort()


def test_a_web_socket_byte_by_byte(mount: str) -> None:
    client = Classic(mount)
    socket = RawSocket(client.url("connect"), {"Sec-WebSocket-Protocol": "a, b"})
    try:
        assert b"sec-websocket-protocol" not in socket.head.lower()
        init = socket.receive()[1]
        assert masked(init, json.loads(init)["C"]) == b'{"C":"<C>","S":1,"M":[]}'
        client._socket = socket
        client.say(hub_call("Echo", "<b>é"))
        assert socket.receive()[1] == '{"R":"<b>é","I":"0"}'.encode()
        assert socket.receive() == (1, b"{}")
    finally:
        client.detach()
        client.abort()


def test_polls_byte_by_byte(mount: str) -> None:
    client = Classic(mount, "longPolling")
    body = client.request("POST", "connect", b"").body
    client.cursor = json.loads(body)["C"]
    assert masked(body, client.cursor) == b'{"C":"<C>","S":1,"M":[]}'
    with Request("POST", client.url("poll", messageId=client.cursor), FORM, b"") as poll:
        assert poll.response.status == 200  # the head comes at once
        assert poll.response.read(1) == b" "  # a sign of life
        client.send(hub_call("ToCaller", "<b>é"))
        body = poll.response.read()
    body = body.lstrip(b" ")
    expected = b'{"C":"<C>","M":[{"H":"peer","M":"Message","A":["ToCaller","<b>\\u00e9"]}]}'
    assert masked(body, json.loads(body)["C"]) == expected
    client.abort()


def test_a_delay_between_polls_is_told_in_milliseconds(classic_site: PeerSite) -> None:
    client = Classic(f"{classic_site.url}/sparse", "longPolling")
    body = client.request("POST", "connect", b"").body
    assert masked(body, json.loads(body)["C"]) == b'{"C":"<C>","S":1,"L":250,"M":[]}'
    client.abort()


@pytest.mark.parametrize("transport", STREAMS[:2])
def test_keep_alives_come_on_time_whether_idle_or_not(mount: str, transport: str) -> None:
    with connected(mount, transport) as client:
        deadline, keep_alives = time.monotonic() + 5, 0
        while time.monotonic() < deadline:
            client.send(hub_call("Slow", 100), transport="longPolling")
            client.send(hub_call("ToCaller", "busy"), transport="longPolling")
            while client.next_text() == "{}":
                keep_alives += 1
        assert keep_alives in (2, 3)


def test_a_poll_ends_empty_after_the_connection_timeout(mount: str) -> None:
    with connected(mount, "longPolling") as client:
        started = time.monotonic()
        with Request("POST", client.url("poll", messageId=client.cursor), FORM, b"") as poll:
            body = poll.response.read()
        assert 7.4 < time.monotonic() - started < 9.5
        assert 3 <= len(body) - len(body.lstrip(b" ")) <= 4
        assert json.loads(body) == {"C": client.cursor, "M": []}


def test_jsonp_polls_get_no_spaces(classic_site: PeerSite) -> None:
    with (
        connected(f"{classic_site.url}/detailed", "longPolling") as client,
        Request("GET", client.url("poll", messageId=client.cursor, callback="f")) as poll,
    ):
        body = poll.response.read()
    assert body.startswith(b"f({")
    assert body.endswith(b"});")


# One transport after another


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("operation", ["connect", "reconnect"])
def test_a_new_transport_ends_the_old_one_silently(mount: str, transport: str, operation: str) -> None:
    with connected(mount, transport) as client, connected(mount) as reader:
        poll = Request("POST", client.url("poll", messageId=client.cursor), FORM, b"") if transport == "longPolling" else None
        if poll is not None:
            assert poll.response.status == 200
        old_socket, old_stream = client._socket, client._stream
        client._socket = client._stream = None
        if poll is None:
            client.attach(operation, messageId=client.cursor)
        else:
            new = Request("POST", client.url(operation, messageId=client.cursor), FORM, b"")
            assert new.response.status == 200
        if old_socket is not None:
            assert old_socket.receive() == (CLOSE, (1000).to_bytes(2, "big"))
            old_socket.socket.close()
        elif old_stream is not None:
            with old_stream:
                assert all(b'"M":[{' not in line for line in old_stream.response)
        else:
            assert poll is not None
            assert json.loads(poll.answer().body) == {"C": client.cursor, "M": []}
        if operation == "connect" and poll is None:
            assert client.envelope()["S"] == 1
        client.invoke("ToCaller", "x")
        if poll is None:
            assert client.messages(1)[0]["A"] == ["ToCaller", "x"]
        else:
            envelope = json.loads(new.answer().body)
            assert ("S" in envelope) == (operation == "connect")
        wait_for_log(reader, client, "connected", *(["reconnected"] if operation == "reconnect" else []))


@pytest.mark.parametrize("first", TRANSPORTS)
@pytest.mark.parametrize("second", TRANSPORTS)
def test_a_client_may_come_back_over_another_transport(mount: str, first: str, second: str) -> None:
    with connected(mount, first) as client, connected(mount) as sender:
        client.detach()
        for text in ("a", "b"):
            sender.invoke("ToClient", client.connection_id, text)
        client.transport = second
        client.reattach()
        assert [message["A"][1] for message in (client.kept or client.messages(2))] == ["a", "b"]
        wait_for_log(sender, client, "connected", "reconnected")
        client.prove()


def test_a_transport_that_gives_up_before_the_start_is_followed_by_another(mount: str) -> None:
    client = Classic(mount)
    client.attach()
    assert client.envelope()["S"] == 1
    client.detach()
    client.transport = "longPolling"
    client.ready().prove()
    with connected(mount) as reader:
        assert log_of(reader, client) == ["connected"]
    client.abort()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_calls_are_answered_while_nothing_listens(mount: str, transport: str) -> None:
    """What the hub sends waits for the reconnect; results come with the POST."""
    with connected(mount, transport) as client:
        client.detach()
        assert client.send(hub_call("ToCaller", "x"), transport="longPolling").brief == (200, b'{"I":"0"}')
        client.reattach()
        assert (client.kept or client.messages(1)) == [{"H": "peer", "M": "Message", "A": ["ToCaller", "x"]}]


def test_a_reconnect_fails_if_on_reconnected_does(classic_site: PeerSite) -> None:
    """The transport ends, so that the client tries again."""
    mount = f"{classic_site.url}/extra"
    for transport in STREAMS:
        with connected(mount, transport, hubs=("moody",), query="fail=on_reconnected") as client:
            assert client.messages(1) == [HELLO]
            client.detach()
            client.reattach()
            assert client.drain() == []


def test_batches(mount: str) -> None:
    """Ten messages a frame on streams; one poll takes more."""
    for transport, sizes in (("webSockets", [10, 10, 5]), ("serverSentEvents", [10, 10, 5]), ("longPolling", [25])):
        with connected(mount, transport) as client, connected(mount) as sender:
            client.detach()
            for number in range(25):
                sender.invoke("ToClient", client.connection_id, str(number))
            if transport == "longPolling":
                envelopes = [client.envelope()]
            else:
                client.reattach()
                envelopes = [client.envelope() for _ in sizes]
            assert [len(envelope["M"]) for envelope in envelopes] == sizes
            texts = [message["A"][1] for envelope in envelopes for message in envelope["M"]]
            assert texts == [str(number) for number in range(25)]


# Web sockets


def test_calls_on_a_socket_run_side_by_side(mount: str) -> None:
    with connected(mount) as client:
        client.say(hub_call("Slow", 700, id=1))
        client.say(hub_call("Echo", "quick", id=2))
        assert client.next() == {"R": "quick", "I": "2"}
        assert client.next() == {"R": "done", "I": "1"}


def test_a_message_may_come_in_pieces(mount: str) -> None:
    data = hub_call("Echo", "x").encode()
    with connected(mount) as client:
        client.socket.send(frame(1, data[:10], is_final=False) + frame(0, data[10:]))
        assert client.next() == {"R": "x", "I": "0"}


def test_what_the_server_sends_has_no_limit(mount: str) -> None:
    for transport in TRANSPORTS:
        with connected(mount, transport) as client:
            assert client.invoke("Big", 300_000)["R"] == "x" * 300_000
            client.invoke("ToCaller", "y" * 60_000)
            assert client.messages(1)[0]["A"][1] == "y" * 60_000


@pytest.mark.parametrize("code", [1000, 1001, 3000])
def test_a_close_frame_is_no_goodbye(mount: str, code: int) -> None:
    with connected(mount) as client, connected(mount) as reader:
        client.socket.send(frame(CLOSE, code.to_bytes(2, "big")))
        opcode, _ = client.socket.receive()
        assert opcode == CLOSE
        assert log_of(reader, client) == ["connected"]
        client.detach()
        client.reattach()
        client.prove()


# Polls


def test_a_second_poll_ends_the_first(mount: str) -> None:
    with connected(mount, "longPolling") as client:
        polls = [Request("POST", client.url("poll", messageId=client.cursor), FORM, b"") for _ in range(2)]
        assert json.loads(polls[0].answer().body) == {"C": client.cursor, "M": []}
        client.invoke("ToCaller", "x")
        assert json.loads(polls[1].answer().body)["M"][0]["A"] == ["ToCaller", "x"]


def test_a_change_of_groups_completes_a_poll(mount: str) -> None:
    with connected(mount, "longPolling") as client:
        with Request("POST", client.url("poll", messageId=client.cursor), FORM, b"") as poll:
            assert poll.response.status == 200
            client.invoke("Join", "a group")
            envelope = json.loads(poll.answer().body)
        assert envelope["M"] == []
        assert envelope["G"]


def test_polls_raise_nothing_even_of_a_connection_nobody_knows(mount: str) -> None:
    with connected(mount) as sender:
        client = Classic(mount, "longPolling")
        with Request("POST", client.url("poll"), FORM, b"") as poll:
            assert poll.response.status == 200
            sender.invoke("ToClient", client.connection_id, "x")
            assert json.loads(poll.answer().body)["M"][0]["A"] == ["ToClient", "x"]
        assert log_of(sender, client) == []
        client.abort()


# Ends


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_abort_ends_the_transport_and_is_a_stop(classic_site: PeerSite, mount: str, transport: str) -> None:
    client = Classic(mount, transport).ready()
    if transport == "longPolling":
        poll = Request("POST", client.url("poll", messageId=client.cursor), FORM, b"")
        assert poll.response.status == 200
        client.abort()
        assert json.loads(poll.answer().body) == {"C": client.cursor, "M": []}
    else:
        client.abort()
        assert client.drain() == []
    event = classic_site.wait_for_event(connection_id=client.connection_id, kind="disconnected")
    assert event["reason"] == "client_closed"
    client.detach()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_abort_after_the_transport_closed_is_a_stop_at_once(mount: str, transport: str) -> None:
    """As the jQuery client does it; also between two polls."""
    with connected(mount) as reader:
        client = Classic(mount, transport).ready()
        client.detach()
        assert client.request("GET", "abort", transport="serverSentEvents").brief == (200, b"")
        wait_for_log(reader, client, "connected", "disconnected True")


def test_aborts_of_what_never_connected_and_of_what_has_ended(mount: str) -> None:
    with connected(mount) as reader:
        client = Classic(mount)
        assert client.abort().brief == (200, b"")
        client.ready().abort()
        client.detach()
        assert client.abort().brief == (200, b"")
        wait_for_log(reader, client, "connected", "disconnected True")


def test_a_connection_that_never_started_is_not_told_to_have_ended(mount: str) -> None:
    with connected(mount) as reader:
        for transport in TRANSPORTS:
            client = Classic(mount, transport)
            client.attach()
            assert client.invoke("Echo", "x")["R"] == "x"
            client.abort()
            client.detach()
            assert log_of(reader, client) == []


def test_a_token_opens_a_connection_again_after_an_abort(mount: str) -> None:
    with connected(mount) as reader:
        client = Classic(mount).ready()
        client.abort()
        client.ready().prove()
        client.invoke("Join", "anew")
        client.invoke("ToGroup", "anew", "heard")
        assert client.messages(1)[0]["A"] == ["ToGroup", "heard"]
        wait_for_log(reader, client, "connected", "disconnected True", "connected")
        client.detach()
        client.abort()


def test_a_connection_that_may_come_back_is_not_lost_by_a_slow_on_disconnected(classic_site: PeerSite) -> None:
    """The hooks come in order, and the new life is left alone by the end of the old one."""
    mount = f"{classic_site.url}/extra"
    with connected(mount, hubs=("moody",), query="slow=on_disconnected") as client, connected(mount, hubs=("moody",)) as other:
        assert client.messages(1) == [HELLO]
        other.invoke("Close", client.connection_id, True, hub="moody")
        assert client.drain() == []
        client.reattach()
        id = client.connection_id
        expected = [f"on_connected {id}", f"ended {id} closed_by_app False True", f"on_disconnected {id}", f"on_reconnected {id}"]
        wait_until(lambda: client.invoke("GetEvents", hub="moody")["R"] == expected)
        other.invoke("ToClients", [id], "heard", hub="moody")
        assert client.messages(1)[0]["A"] == ["ToClients", "heard"]


def test_lost_transports_are_ends_after_the_timeout(classic_site: PeerSite, mount: str) -> None:
    """6 s for polls, 5 s more for the others; back in time it is none; a start that never came is none either."""
    clients = {transport: Classic(mount, transport).ready() for transport in TRANSPORTS}
    back, pending = Classic(mount, "serverSentEvents").ready(), Classic(mount)
    pending.attach()
    for client in (*clients.values(), back, pending):
        client.detach()
    lost = time.monotonic()
    time.sleep(4)  # within the time: nothing may come of it
    back.reattach()
    late = clients["serverSentEvents"]
    with connected(mount) as reader:
        deadline = lost + 20
        ended: dict[str, float] = {}
        while len(ended) < len(clients):
            assert time.monotonic() < deadline, ended
            for transport, client in clients.items():
                if transport not in ended and "disconnected False" in log_of(reader, client):
                    ended[transport] = time.monotonic() - lost
            time.sleep(0.1)
        for transport, seconds in ended.items():
            expected = (5.9, 8.5) if transport == "longPolling" else (10.9, 13.5)
            assert expected[0] < seconds < expected[1], (transport, seconds)
        assert log_of(reader, back) == ["connected", "reconnected"]
        assert log_of(reader, pending) == []
        late.attach("reconnect", messageId=late.cursor)
        farewell = late.drain()
        late.detach()
        assert farewell == [{"D": 1, "E": "The connection has ended; start a new one.", "M": []}]
        assert late.request("POST", "poll", b"", FORM, transport="longPolling").status == 200
        assert json.loads(late.send(hub_call("Echo", "x")).body)["E"]
        assert log_of(reader, late) == ["connected", "disconnected False"]
    reasons = {"longPolling": "poll_timeout"}
    for transport, client in clients.items():
        event = classic_site.wait_for_event(connection_id=client.connection_id, kind="disconnected")
        assert event["reason"] == reasons.get(transport, "client_gone")
    back.detach()
    back.abort()
