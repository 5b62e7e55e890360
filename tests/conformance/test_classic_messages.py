"""Sections 5, 6 and 8 of the classic reference: calls, messages, state, progress, audiences, groups, cursors, persistent connections."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conformance.classic import TRANSPORTS, Classic, connected, hub_call, wait_until
from tests.integration.raw import RawClient
from tests.live import PeerSite

GENERIC = "There was an error invoking Hub method '{}'."


@pytest.fixture
def mount(classic_site: PeerSite) -> str:
    return f"{classic_site.url}/signalr"


@pytest.fixture
def extra(classic_site: PeerSite) -> str:
    return f"{classic_site.url}/extra"


@pytest.fixture
def client(mount: str) -> Iterator[Classic]:
    with connected(mount) as client:
        yield client


@pytest.fixture
def moody(extra: str) -> Iterator[Classic]:
    """A connection of the hub beyond the contract, which has heard its hello."""
    with connected(extra, hubs=("moody",)) as client:
        assert client.messages(1)[0]["A"] == ["Hello", "from on_connected"]
        yield client


def unique(what: str) -> str:
    return f"{what} {uuid.uuid4().hex[:8]}"


def texts(client: Classic, count: int) -> list[Any]:
    """Arguments of the next messages."""
    return [message["A"] for message in client.messages(count)]


def hears_nothing(client: Classic, *, before: str = "ToCaller") -> None:
    """Nothing waits for a client: what is sent to it now is the next it hears."""
    mark = unique("mark")
    client.invoke(before, mark)
    assert texts(client, 1) == [[before, mark]]


# 5.2, 5.4: calls and results


def answer_to(client: Classic, data: str) -> bytes:
    """The answer to a call over HTTP, byte by byte."""
    return client.send(data, transport="longPolling").body


IDS = [
    ("7", b'"7"'), ('"7"', b'"7"'), ('"a b"', b'"a b"'), ("-1", b'"-1"'), ("1.5", b'"1.5"'),
    ("12345678901234567890", b'"12345678901234567890"'),
    ("null", b"null"), ("true", b'"true"'), ('""', b'""'),
]  # fmt: skip


@pytest.mark.parametrize(("id", "expected"), IDS)
def test_an_id_is_answered_as_text(client: Classic, id: str, expected: bytes) -> None:
    assert answer_to(client, f'{{"H":"peer","M":"Echo","A":["x"],"I":{id}}}') == b'{"R":"x","I":' + expected + b"}"


def test_without_an_id_the_answer_has_none(client: Classic) -> None:
    assert answer_to(client, '{"H":"peer","M":"Echo","A":["x"]}') == b'{"R":"x","I":null}'


def test_results_byte_by_byte(client: Classic) -> None:
    for call, expected in (
        (hub_call("Echo", "x"), b'{"R":"x","I":"0"}'),
        (hub_call("Add", 1, 2), b'{"R":3,"I":"0"}'),
        (hub_call("Nothing"), b'{"I":"0"}'),
        (hub_call("Echo", None), b'{"I":"0"}'),
        (hub_call("GetUserName"), b'{"I":"0"}'),
        (hub_call("Echo", "</script> / ü \u2028 \x7f"), b'{"R":"</script> / \\u00fc \\u2028 \x7f","I":"0"}'),
        (hub_call("FailHub", "boom"), b'{"I":"0","H":true,"E":"boom"}'),
        (hub_call("FailHubData", "boom"), b'{"I":"0","H":true,"E":"boom","D":{"text":"boom"}}'),
        (hub_call("CountState"), b'{"S":{"counter":1},"R":1,"I":"0"}'),
    ):
        assert answer_to(client, call) == expected


@pytest.mark.parametrize("call", [("peer", "echo"), ("PEER", "Echo"), ("Peer", "ECHO")])
def test_names_of_hubs_and_methods_have_no_letter_case(client: Classic, call: tuple[str, str]) -> None:
    assert client.invoke(call[1], "x", hub=call[0])["R"] == "x"


@pytest.mark.parametrize("data", [
    '{"h":"peer","m":"Echo","a":["x"],"i":0}', ' { "I" : 0 , "A" : [ "x" ] , "M" : "Echo" , "H" : "peer" } ',
    '{"H":"nothere","H":"peer","M":"Echo","A":["y"],"A":["x"],"I":9,"I":0}', '{"H":"peer","M":"Echo","A":["x"],"I":0,"S":null,"X":[{}]}',
])  # fmt: skip
def test_json_is_read_generously(client: Classic, data: str) -> None:
    """Keys in other letter case and order, members given twice (the last counts), unknown ones."""
    assert answer_to(client, data) == b'{"R":"x","I":"0"}'


def test_a_call_may_come_before_the_start_and_to_a_hub_that_was_not_named(mount: str) -> None:
    client = Classic(mount, hubs=("bench",))
    client.attach()
    assert client.invoke("Echo", "x")["R"] == "x"
    client.detach()
    client.abort()


ERRORS = [
    (("Fail", "boom"), {"E": "boom"}),
    (("FailHub", "boom"), {"H": True, "E": "boom"}),
    (("FailHubData", "boom"), {"H": True, "E": "boom", "D": {"text": "boom"}}),
    (("nosuch", "x"), {"E": "'nosuch' method could not be resolved. No method found with that name."}),
    (("echo", "a", "b"), {"E": "'echo' method could not be resolved. No method found with that name."}),
    (("Echo", "a", "b"), {"E": "'Echo' method could not be resolved. Potential candidates are: \nEcho(text:String):String"}),
    (("Nothing", 1), {"E": "'Nothing' method could not be resolved. Potential candidates are: \nNothing():Void"}),
    (("Count", 1, 0), {"E": "'Count' method could not be resolved. No method found with that name."}),
]


@pytest.mark.parametrize(("call", "error"), ERRORS, ids=[row[0][0] for row in ERRORS])
def test_what_clients_learn_of_errors(classic_site: PeerSite, call: tuple[Any, ...], error: dict[str, Any]) -> None:
    """With detailed errors, and without."""
    for mount, expected in (("detailed", error), ("signalr", error if "H" in error else {"E": GENERIC.format(f"peer.{call[0]}")})):
        for transport in ("webSockets", "longPolling"):
            with connected(f"{classic_site.url}/{mount}", transport) as client:
                answer = client.invoke(*call)
                del answer["I"]
                assert answer == expected


def test_no_stack_trace_is_ever_sent(moody: Classic) -> None:
    for method in ("ReturnNan", "SendNan", "Cancel"):
        answer = moody.invoke(method, hub="moody")
        assert answer.keys() == {"I", "E"}
        assert "Traceback" not in answer["E"]
    assert moody.invoke("Cancel", hub="moody")["E"] == "The operation was canceled."


def test_what_json_cannot_hold_fails_the_call_and_nothing_else(moody: Classic) -> None:
    """The reference cuts the connection for it."""
    assert "E" in moody.invoke("ReturnNan", hub="moody")
    assert "E" in moody.invoke("SendNan", hub="moody")
    assert moody.invoke("Remember", "x", hub="moody") == {"I": "call 3"}


# 5.3, 5.5, 5.6: messages, progress, state


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_have_the_names_of_the_application(mount: str, transport: str) -> None:
    """Whatever the client's spelling."""
    with connected(mount, transport, hubs=("BENCH",)) as client:
        client.invoke("broadcast", "x", hub="Bench")
        assert client.messages(1) == [{"H": "bench", "M": "message", "A": ["x"]}]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_progress_comes_over_the_receiving_channel(mount: str, transport: str) -> None:
    with connected(mount, transport) as client:
        id = "some id"
        if transport == "webSockets":
            client.say(hub_call("Progress", 3, id=id))
        else:
            assert json.loads(client.send(hub_call("Progress", 3, id=id)).body) == {"R": 3, "I": id}
        assert client.messages(3) == [{"I": f"P|{id}", "P": {"I": id, "D": number}} for number in range(3)]


def test_progress_from_a_thread_and_after_the_end(moody: Classic) -> None:
    assert moody.invoke("ReportFromThread", hub="moody")["R"] == 1
    assert moody.messages(1)[0]["P"] == {"I": "call 1", "D": "half"}
    assert moody.invoke("ReportLate", hub="moody") == {"I": "call 2"}
    error = moody.invoke("UseLateProgress", hub="moody")["E"]
    assert "You cannot report progress on a hub method invocation that has already completed." in error


def test_core_clients_report_nowhere(classic_site: PeerSite) -> None:
    with RawClient(f"{classic_site.url}/peer") as core:
        assert core.ask("Progress", 2) == 2
        assert core.ask("CountState") == 1


STATES = [
    ({}, {"counter": 1}), ({"counter": 5}, {"counter": 6}), ({"other": [1]}, {"counter": 1}), ({"Counter": 5}, {"counter": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("state", "changed"), STATES)
def test_changed_members_of_the_state_go_back(client: Classic, state: dict[str, Any], changed: dict[str, Any]) -> None:
    answer = client.invoke("CountState", S=state)
    assert answer["S"] == changed
    assert answer["R"] == changed["counter"]


def test_a_state_that_is_not_changed_does_not_go_back(client: Classic) -> None:
    assert "S" not in client.invoke("Echo", "x", S={"counter": 1})


def test_state_goes_with_messages_to_the_caller_and_nested_values_count(moody: Classic) -> None:
    changed = {"inner": {"list": [1, 2]}, "new": {"a": None}}
    answer = moody.invoke("ChangeState", hub="moody", S={"inner": {"list": [1]}, "same": 1})
    assert answer["S"] == changed
    assert moody.messages(1) == [{"H": "moody", "M": "Message", "A": ["ChangeState", "here they are"], "S": changed}]


@pytest.mark.parametrize(("size", "status"), [(4096, 200), (4097, 500)])
def test_the_longest_state(client: Classic, size: int, status: int) -> None:
    state = {"a": "b" * (size - len('{"a":""}'))}
    assert client.send(hub_call("Echo", "x", S=state), transport="serverSentEvents").status == status


# 5.7: JSON


CONVERSIONS: list[tuple[str, str, Any]] = [
    ("Add", '["1",2]', 3), ("Add", '[" 1 ",2]', 3), ("Add", "[1.0,2]", None), ("Add", "[1e2,2]", None), ("Add", "[1.5,2]", None),
    ("Add", "[null,2]", None), ("Add", "[true,2]", None), ("Add", "[2147483648,0]", None), ("Add", '["x",2]', None),
    ("Add", '["",2]', None),
    ("Echo", "[5]", "5"), ("Echo", "[true]", "true"), ("Echo", "[1.50]", "1.5"), ("Echo", "[{}]", None), ("Echo", "[[1]]", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "arguments", "result"), CONVERSIONS)
def test_conversions_of_arguments(client: Classic, method: str, arguments: str, result: Any) -> None:
    answer = json.loads(answer_to(client, f'{{"H":"peer","M":"{method}","A":{arguments},"I":0}}'))
    assert answer == ({"I": "0", "E": GENERIC.format(f"peer.{method}")} if result is None else {"R": result, "I": "0"})


@pytest.mark.parametrize("arguments", ["", ',"A":null', ',"A":[]'])
def test_no_arguments_may_be_said_in_three_ways(client: Classic, arguments: str) -> None:
    assert answer_to(client, f'{{"H":"peer","M":"Nothing","I":0{arguments}}}') == b'{"I":"0"}'


@pytest.mark.parametrize("text", [
    "2024-01-02T03:04:05.1234567+02:00", "/Date(1700000000000)/", "2024-01-02T03:04:05.1200000Z", "2024-01-02",
])  # fmt: skip
def test_texts_that_look_like_dates_stay_texts(client: Classic, text: str) -> None:
    assert client.invoke("Echo", text)["R"] == text


def test_a_record_of_many_types_byte_by_byte(client: Classic) -> None:
    record = (
        '{"Int":1,"Long":9007199254740993,"Double":1.5,"Bool":true,"Text":"t","Missing":null,"Bytes":"AQID","When":"2024-01-02T03:04:05Z",'
        '"Id":"0f8fad5b-d9cb-469f-a165-70867728950e","Money":12.5,"Color":1,"List":[1,2],"Map":{"a":1},"Child":null}'
    )
    call = '{"H":"peer","M":"EchoRecord","A":[' + record + '],"I":0}'
    assert answer_to(client, call).decode() == '{"R":' + record + ',"I":"0"}'


def test_members_of_a_record_in_any_letter_case_enums_by_name_and_defaults(client: Classic) -> None:
    record = client.invoke("EchoRecord", {"int": 1, "COLOR": "green", "nothing": 1})["R"]
    assert (record["Int"], record["Color"], record["Text"], record["List"], record["Child"]) == (1, 1, "", [], None)


@pytest.mark.parametrize(("depth", "fails"), [(20, False), (21, True)])
def test_arguments_nest_20_deep(client: Classic, depth: int, fails: bool) -> None:
    record = '{"Child":' * (depth - 1) + "{}" + "}" * (depth - 1)
    assert ("E" in json.loads(answer_to(client, f'{{"H":"peer","M":"EchoRecord","A":[{record}],"I":0}}'))) == fails


def test_json_is_ascii_over_http_and_utf8_on_a_socket(mount: str) -> None:
    """The .NET client 2.4 spoils characters that are split between two reads of an answer."""
    for transport in TRANSPORTS:
        with connected(mount, transport) as client:
            answer = client.send(hub_call("Echo", "ü€😀"), transport="longPolling").body
            assert answer == b'{"R":"\\u00fc\\u20ac\\ud83d\\ude00","I":"0"}'
            if transport == "webSockets":
                client.say(hub_call("ToCaller", "ü€😀"))
                assert any("ü€😀" in (client.next_text() or "") for _ in range(4))  # the answer, keep-alives, the message
            else:
                client.invoke("ToCaller", "ü€😀")
                assert texts(client, 1) == [["ToCaller", "ü€😀"]]


# 6.3, 6.6: context and authorisation


def test_what_a_hub_knows_of_its_caller(extra: str, mount: str) -> None:
    for transport in TRANSPORTS:
        with connected(extra, transport, hubs=("moody",)) as client:
            assert client.invoke("GetTransport", hub="moody")["R"] == f"{transport} classic"
            client.invoke("Remember", "key", "value", hub="moody")
            client.detach()
            client.reattach()
            assert client.invoke("Remember", "key", hub="moody")["R"] == "value"
    for query, headers in (("user=anna:b", {}), ("", {"Cookie": "user=anna:b"})):
        for transport in TRANSPORTS:
            with connected(mount, transport, query=query, headers=headers) as client:
                assert client.invoke("GetUserName")["R"] == "anna:b"
                assert client.invoke("GetConnectionId")["R"] == client.connection_id


def test_a_hub_asks_for_its_login_again_at_every_call(classic_site: PeerSite) -> None:
    for mount, text in (
        ("signalr", GENERIC.format("secret.Echo")),
        ("detailed", "Caller is not authorized to invoke the Echo method on secret."),
    ):
        with connected(f"{classic_site.url}/{mount}") as nobody, connected(f"{classic_site.url}/{mount}", query="user=anna") as anna:
            assert nobody.invoke("Echo", "x", hub="secret")["E"] == text
            assert anna.invoke("Echo", "x", hub="secret")["R"] == "x"


def test_permissions_of_a_method(extra: str) -> None:
    for user, allowed in (("", ()), ("anna", ("ForUsers",))):
        with connected(extra, hubs=("partly",), query=f"user={user}") as client:
            for method in ("ForUsers", "ForStaff"):
                answer = client.invoke(method, hub="partly")
                assert ("R" in answer) == (method in allowed), answer


def test_a_hub_that_refused_sends_nothing_and_runs_no_hook(classic_site: PeerSite) -> None:
    """Of two that were named; the client is told nothing of it."""
    guarded = f"{classic_site.url}/guarded"
    with connected(guarded, hubs=("moody", "news")) as nobody, connected(guarded, hubs=("moody", "news"), query="user=anna") as anna:
        for client in (nobody, anna):
            assert texts(client, 1) == [["Hello", "from on_connected"]]
        anna.invoke("Tell", "for users", hub="news")
        assert texts(anna, 1) == [["Tell", "for users"]]
        anna.invoke("ToClients", [nobody.connection_id], "for all", hub="moody")
        assert texts(nobody, 1) == [["ToClients", "for all"]]


# 6.4: audiences


def test_audiences(mount: str, extra: str) -> None:
    """To whom a message goes, and how often."""
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(connected(extra, transport, hubs=("moody",))) for transport in TRANSPORTS[:3])
        ids = {name: client.connection_id for name, client in zip("abc", (a, b, c), strict=True)}
        for client in (a, b, c):
            assert texts(client, 1) == [["Hello", "from on_connected"]]
        one, two = unique("one"), unique("two")
        for name, group in (("a", one), ("a", two), ("b", two)):
            a.invoke("AddToGroup", ids[name], group, hub="moody")
        for method, argument, who in (
            ("ToClients", [ids["a"], ids["c"], "nobody"], "ac"),
            ("ToClients", [], ""),
            ("ToAllExcept", [ids["b"]], "ac"),
            ("ToGroups", [one, two], "aab"),  # a copy for each group
            ("ToUsers", ["nobody"], ""),
        ):
            mark = unique(method)
            a.invoke(method, argument, mark, hub="moody")
            heard = ""
            for name, client in zip("abc", (a, b, c), strict=True):
                end = unique("end")
                a.invoke("ToClients", [ids[name]], end, hub="moody")
                while (message := texts(client, 1)[0]) != ["ToClients", end]:
                    if message == [method, mark]:
                        heard += name
            assert (method, heard) == (method, who)


def test_users_have_letter_case(mount: str) -> None:
    user = unique("user").replace(" ", "")
    with connected(mount, query=f"user={user}") as first, connected(mount, "serverSentEvents", query=f"user={user}") as second:
        first.invoke("ToUser", user, "x")
        assert texts(first, 1) == texts(second, 1) == [["ToUser", "x"]]
        first.invoke("ToUser", user.upper(), "y")
        hears_nothing(first)


def test_who_is_left_out_hears_nothing_at_all(mount: str) -> None:
    """No frame without messages either, as the reference sends one."""
    with connected(mount) as client, connected(mount) as other:
        group = unique("group")
        for each in (client, other):
            each.invoke("Join", group)
            assert "G" in each.envelope()
        client.invoke("ToOthersInGroup", group, "x")
        assert texts(other, 1) == [["ToOthersInGroup", "x"]]
        client.invoke("ToGroupExcept", group, other.connection_id, "y")
        assert texts(client, 1) == [["ToGroupExcept", "y"]]
        for each in (client, other):
            cursor = each.cursor
            each.invoke("ToCaller", "next")
            assert each.envelope()["M"][0]["A"] == ["ToCaller", "next"]
            assert int(each.cursor.split("-")[-1], 16) == int(cursor.split("-")[-1], 16) + 1


def test_mounts_and_generations_share_a_hub(classic_site: PeerSite) -> None:
    group, text = unique("group"), unique("text")
    with (
        connected(f"{classic_site.url}/signalr") as client,
        connected(f"{classic_site.url}/detailed", "longPolling") as other,
        RawClient(f"{classic_site.url}/peer") as core,
    ):
        for each in (client, other):
            each.invoke("Join", group)
            assert "G" in each.envelope()
        core.ask("Join", group)
        core.ask("ToGroup", group, text)
        assert texts(client, 1) == texts(other, 1) == [["ToGroup", text]]


def test_client_results_are_refused(moody: Classic, extra: str) -> None:
    with connected(extra, hubs=("moody",)) as other:
        assert "E" in moody.invoke("Ask", other.connection_id, hub="moody")


# 6.5, 8.2: groups


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_group_is_joined_when_the_call_is_answered(mount: str, transport: str) -> None:
    """The token comes with a frame of its own, and again when the group is left."""
    with connected(mount, transport) as client:
        group = unique("group")
        assert client.invoke("Join", group).keys() == {"I"}
        envelope = client.envelope()
        assert envelope["M"] == []
        assert envelope["G"]
        client.invoke("ToGroup", group, "x")
        assert client.envelope()["M"][0]["A"] == ["ToGroup", "x"]
        client.invoke("Leave", group)
        envelope = client.envelope()
        assert envelope["M"] == []
        assert envelope["G"]
        client.invoke("ToGroup", group, "y")
        hears_nothing(client)


def test_joining_twice_and_leaving_what_was_not_joined(client: Classic) -> None:
    """Changes nothing, so nothing is told; one Leave is enough. Names have letter case."""
    group = unique("group")
    client.invoke("Leave", group)
    for _ in range(2):
        client.invoke("Join", group)
    assert client.envelope()["G"]
    client.invoke("ToGroup", group.upper(), "to others")
    client.invoke("ToGroup", group, "once")
    assert texts(client, 1) == [["ToGroup", "once"]]
    client.invoke("Leave", group)
    assert client.envelope()["G"]
    client.invoke("ToGroup", group, "y")
    hears_nothing(client)


def test_nobody_waits_for_a_connection_that_is_not_there(moody: Classic) -> None:
    """The reference waits 35 s for it, and then fails the call."""
    started = time.monotonic()
    assert moody.invoke("AddToGroup", "nobody", "group", hub="moody").keys() == {"I"}
    assert time.monotonic() - started < 5


def test_groups_from_a_thread(moody: Classic) -> None:
    group = unique("group")
    assert moody.invoke("SendFromThread", group, "x", hub="moody")["R"] == "x"
    assert texts(moody, 1) == [["SendFromThread", "x"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_groups_survive_a_lost_transport(mount: str, transport: str) -> None:
    """With the token, and without it too while the server knows the connection: then a new one comes."""
    with connected(mount, transport) as client, connected(mount) as other:
        group = unique("group")
        client.invoke("Join", group)
        assert client.envelope()["G"]
        for token in (client.groups, "", "Z2FyYmFnZQ==", "x" * 100):
            client.detach()
            other.invoke("ToGroup", group, "x")
            client.attach("reconnect", messageId=client.cursor, groupsToken=token or None)
            assert [message["A"] for message in (client.kept or client.messages(1))] == [["ToGroup", "x"]]
            client.kept = []
            if not client.groups.startswith(token or "-"):
                assert client.groups


def test_groups_of_a_connection_that_the_server_does_not_know_come_from_the_token(classic_site: PeerSite, mount: str) -> None:
    """As after a restart: here the token of a connection that was closed and may come back."""
    extra = mount.replace("/signalr", "/extra")
    with connected(extra, hubs=("moody",)) as client, connected(extra, hubs=("moody",)) as other:
        group = unique("group")
        for each in (client, other):
            assert texts(each, 1) == [["Hello", "from on_connected"]]
        other.invoke("AddToGroup", client.connection_id, group, hub="moody")
        assert client.envelope()["G"]
        for token, is_member in ((client.groups, True), (None, False), ("Z2FyYmFnZQ==", False)):
            other.invoke("Close", client.connection_id, True, hub="moody")
            client.drain()
            client.attach("reconnect", groupsToken=token)
            wait_until(lambda: client.invoke("GetEvents", hub="moody")["R"][-1].startswith("on_reconnected"))
            other.invoke("ToGroups", [group], "for members", hub="moody")
            other.invoke("ToClients", [client.connection_id], "for the client", hub="moody")
            expected = [["ToGroups", "for members"]] if is_member else []
            assert texts(client, 1 + len(expected)) == [*expected, ["ToClients", "for the client"]]


def test_a_long_membership_has_a_token_that_travels(mount: str) -> None:
    """Web servers take some 8,000 bytes of a request line."""
    with connected(mount) as client:
        for number in range(400):
            client.invoke("Join", f"{number} {uuid.uuid4()}")
        client.invoke("ToCaller", "end")
        while ["ToCaller", "end"] not in [message["A"] for message in client.envelope()["M"]]:
            pass
        assert len(client.url("reconnect", messageId=client.cursor, groupsToken=client.groups)) < 8_000
        client.detach()
        client.reattach()
        client.prove()


# 8.1: cursors


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_was_missed_comes_after_a_reconnect_once_and_in_order(mount: str, transport: str) -> None:
    with connected(mount, transport) as client, connected(mount) as sender:
        heard = []
        for round in range(3):
            client.detach()
            for number in range(15):
                sender.invoke("ToClient", client.connection_id, f"{round} {number}")
            client.reattach()
            heard += [message["A"][1] for message in client.kept]
            while len(heard) < 15 * (round + 1):
                heard += [message["A"][1] for message in client.messages(1)]
        assert heard == [f"{round} {number}" for round in range(3) for number in range(15)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_same_cursor_gives_the_same_again(mount: str, transport: str) -> None:
    with connected(mount, transport) as client:
        cursor = client.cursor
        client.invoke("ToCaller", "x")
        assert texts(client, 1) == [["ToCaller", "x"]]
        for _ in range(2):
            client.attach("reconnect", messageId=cursor)
            assert [message["A"] for message in (client.kept or client.messages(1))] == [["ToCaller", "x"]]


@pytest.mark.parametrize("cursor", [None, "d-0-A,0|B,0", "s-0,1", "nonsense"])
def test_without_a_good_cursor_it_goes_on_from_now(mount: str, cursor: str | None) -> None:
    with connected(mount) as client, connected(mount) as sender:
        client.detach()
        sender.invoke("ToClient", client.connection_id, "lost")
        client.attach("reconnect", messageId=cursor)
        sender.invoke("ToClient", client.connection_id, "heard")
        assert texts(client, 1) == [["ToClient", "heard"]]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_broken_cursor_ends_the_transport_without_an_error_status(mount: str, transport: str) -> None:
    with connected(mount, transport) as client:
        cursor = f"{client.cursor}|"
        client.detach()
        if transport == "longPolling":
            answer = client.request("POST", "reconnect", b"", messageId=cursor)
            assert (answer.status, answer.body.strip()) == (200, b"")
            assert answer.headers["content-type"] == "application/json; charset=UTF-8"
        else:
            client.attach("reconnect", messageId=cursor)
            assert client.drain() == []
        client.reattach() if transport != "longPolling" else None
        client.prove()


def test_cursors_are_short_and_travel_in_urls(client: Classic) -> None:
    for _ in range(300):
        client.invoke("ToCaller", "x")
        texts(client, 1)
    assert len(client.cursor) < 32
    assert client.cursor.replace("-", "").isalnum()


def test_what_does_not_fit_the_buffer_is_lost_oldest_first(mount: str) -> None:
    with connected(mount, "longPolling") as client, connected(mount) as sender:
        for number in range(1_200):
            sender.invoke("ToClient", client.connection_id, str(number))
        heard = [int(text) for _, text in texts(client, 1_000)]
        assert heard == list(range(200, 1_200))


# 6.10: connections without hubs


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_was_sent_is_text(classic_site: PeerSite, transport: str) -> None:
    with connected(f"{classic_site.url}/raw", transport, hubs=None) as client:
        for data in ("plain <b>", '{"a":1}', "null"):
            client.say(data) if transport == "webSockets" else client.send(data)
            assert client.messages(1) == [data]
        if transport == "webSockets":  # a form cannot say nothing
            client.say("")
            assert client.messages(1) == [""]


def test_a_persistent_connection_has_groups_and_broadcasts(classic_site: PeerSite) -> None:
    mount = f"{classic_site.url}/room"
    with connected(mount, hubs=None) as a, connected(mount, "longPolling", hubs=None) as b:
        for client in (a, b):
            client.send("join lobby", transport="longPolling")
            assert client.envelope()["G"]
        for data, who in (("room lobby", "ab"), ("others lobby", "b"), ("all of you", "ab"), ("everybody else", "b")):
            assert a.send(data, transport="longPolling").brief == (200, b"")
            for name, client in (("a", a), ("b", b)):
                if name in who:
                    assert client.messages(1) == [data]
        a.send("leave lobby", transport="longPolling")
        assert a.envelope()["G"]
        a.send("room lobby", transport="longPolling")
        assert b.messages(1) == ["room lobby"]
        a.send("json", transport="longPolling")
        assert a.messages(1) == [{"text": "é", "list": [1, None, True]}]


def test_an_error_in_on_received_is_a_500_and_on_a_socket_nothing(classic_site: PeerSite) -> None:
    with connected(f"{classic_site.url}/room", hubs=None) as client:
        assert client.send("fail please", transport="longPolling").status == 500
        client.say("fail please")
        client.say("json")
        assert client.messages(1) == [{"text": "é", "list": [1, None, True]}]


def test_a_persistent_connection_replays_what_was_missed(classic_site: PeerSite) -> None:
    for transport in TRANSPORTS:
        with connected(f"{classic_site.url}/raw", transport, hubs=None) as client:
            client.detach()
            client.send("missed", transport="longPolling")
            client.reattach()
            assert (client.kept or client.messages(1)) == ["missed"]


# Ends by the server (there are none in the reference)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_server_may_end_a_connection(moody: Classic, extra: str, transport: str) -> None:
    """Clients from 2.4 on obey ``E``, those up to 2.1 ``D``."""
    with connected(extra, transport, hubs=("moody",)) as client:
        assert texts(client, 1) == [["Hello", "from on_connected"]]
        assert moody.invoke("Close", client.connection_id, False, hub="moody")["R"] is True
        farewell = [{"D": 1, "E": "You are closed.", "M": []}]
        if transport != "longPolling":
            assert client.drain() == farewell
            client.attach("reconnect", messageId=client.cursor)
            assert client.drain()[0]["E"] == "The connection has ended; start a new one."
        else:
            assert client.next() in ([*farewell, {"D": 1, "E": "The connection has ended; start a new one.", "M": []}])
        assert "E" in json.loads(client.send(hub_call("GetTransport", hub="moody"), transport="longPolling").body)
        assert moody.invoke("Close", client.connection_id, False, hub="moody")["R"] is False
    with connected(extra, transport, hubs=("moody",)) as client:
        assert client.invoke("LeaveForGood", hub="moody") if transport != "webSockets" else True
