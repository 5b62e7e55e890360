"""Section 8 of the reference: who may come in, and for how long."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from signalr_channels.auth import Identity
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.hubs.lifetime import ConnectionInfo
from signalr_channels.hubs.permissions import HubPermission, IsStaff, PermissionRequest
from signalr_channels.protocols.endings import CloseReason
from tests.conformance.asgi import SSE, Site
from tests.conformance.wire import TEXT, Request, frame, raw_socket, request
from tests.integration.raw import HANDSHAKE, call, negotiate, post
from tests.live import PeerSite
from tests.peer_site.hubs import PeerHub, SecureHub

UNKNOWN = (404, b"No Connection with that ID")
GOODBYE = b'{"type":7,"allowReconnect":true}\x1e'
REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    ("POST", "/negotiate", {}),
    ("GET", "/negotiate", {}),
    ("GET", "?id=unknown", {}),
    ("GET", "", SSE),
    ("POST", "?id=unknown", {}),
    ("DELETE", "", {}),
    ("PUT", "", {}),
]


def token_of(peer_site: PeerSite, user: str, seconds: int = 60) -> str:
    return request("GET", f"{peer_site.url}/token?user={user}&seconds={seconds}").body.decode()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# Refusals


@pytest.mark.parametrize(("method", "target", "headers"), REQUESTS)
def test_every_request_needs_the_login_before_all_else(peer_site: PeerSite, method: str, target: str, headers: dict[str, str]) -> None:
    answer = request(method, f"{peer_site.url}/secure{target}", headers)
    assert answer.brief == (401, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "content-type" not in answer.headers


def test_web_sockets_need_the_login_too(peer_site: PeerSite) -> None:
    for target in ("/secure", "/secure?id=unknown"):
        with raw_socket(peer_site.url + target) as client:
            assert client.head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")


@pytest.mark.parametrize(
    ("token", "challenge"),
    [
        ("nonsense", 'Bearer error="invalid_token"'),
        ("expired", r'Bearer error="invalid_token", error_description="The token expired at .*"'),
    ],
)
def test_a_bad_token_is_said_so(peer_site: PeerSite, token: str, challenge: str) -> None:
    if token == "expired":
        token = token_of(peer_site, "anna", -60)
    answer = request("POST", f"{peer_site.url}/secure/negotiate", bearer(token))
    assert answer.brief == (401, b"")
    assert re.fullmatch(challenge, answer.headers["www-authenticate"])


def test_a_refusal_can_be_read_by_pages_of_other_origins(peer_site: PeerSite) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    answer = request("POST", f"{peer_site.url}/secure/negotiate", headers)
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    question = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-signalr-user-agent"}
    answer = request("OPTIONS", f"{peer_site.url}/secure/negotiate", question)
    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == "authorization,x-signalr-user-agent"


# Where tokens are


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_letter_case(peer_site: PeerSite, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {token_of(peer_site, 'anna')}"}
    assert request("POST", f"{peer_site.url}/secure/negotiate", headers).status == 200


@pytest.mark.parametrize("where", ["header", "query"])
def test_all_requests_take_the_header_and_where_it_is_allowed_the_query(peer_site: PeerSite, where: str) -> None:
    token = token_of(peer_site, "anna")
    headers = bearer(token) if where == "header" else {}
    extra = "" if where == "header" else f"&access_token={token}"

    def opened() -> str:
        answer = request("POST", f"{peer_site.url}/secure/negotiate?negotiateVersion=1{extra}", headers)
        return f"{peer_site.url}/secure?id={json.loads(answer.body)['connectionToken']}{extra}"

    url = opened()
    assert request("GET", url, headers).brief == (200, b"")
    assert request("POST", url, headers, (HANDSHAKE + call("GetUserName")).encode()).brief == (200, b"")
    received = b""
    while b'"result":"anna"' not in received:
        received += request("GET", url, headers).body
    assert request("DELETE", url, headers).brief == (202, b"")
    with Request("GET", opened(), {**SSE, **headers}) as events:
        assert events.response.status == 200
    with raw_socket(opened(), headers=headers, handshake=HANDSHAKE.encode()):
        pass


def test_elsewhere_the_query_counts_only_where_browsers_leave_no_choice(peer_site: PeerSite) -> None:
    token = token_of(peer_site, "anna")
    url = f"{peer_site.url}/staff"
    assert request("POST", f"{url}/negotiate?access_token={token}").status == 401
    url += f"?id={negotiate(url, bearer(token))['connectionToken']}&access_token={token}"
    for method in ("GET", "POST", "DELETE"):
        assert request(method, url).status == 401
    with Request("GET", url, SSE) as events:
        assert events.response.status == 200


def test_the_header_counts_more_than_the_query(peer_site: PeerSite) -> None:
    anna, bert = token_of(peer_site, "anna"), token_of(peer_site, "bert")
    url = f"{peer_site.url}/secure?access_token={bert}"
    with raw_socket(url, headers=bearer(anna), handshake=HANDSHAKE.encode()) as client:
        client.send(frame(TEXT, call("GetUserName").encode()))
        assert b'"result":"anna"' in client.receive()[1]


# Users


def test_a_connection_belongs_to_the_user_who_negotiated_it(peer_site: PeerSite) -> None:
    """The reference lets any good token read and write."""
    anna, bert = bearer(token_of(peer_site, "anna")), bearer(token_of(peer_site, "bert"))
    url = f"{peer_site.url}/secure?id={negotiate(f'{peer_site.url}/secure', anna)['connectionToken']}"
    for method, headers in [("GET", {}), ("GET", SSE), ("POST", {}), ("DELETE", {})]:
        assert request(method, url, {**bert, **headers}).brief == UNKNOWN
    with raw_socket(url, headers=bert) as client:
        assert client.head.startswith(b"HTTP/1.1 404 ")
    assert request("GET", url, anna).brief == (200, b"")
    assert request("POST", url, bert).brief == UNKNOWN
    assert request("DELETE", url, anna).brief == (202, b"")


def test_anonymous_connections_are_good(peer_site: PeerSite) -> None:
    with raw_socket(f"{peer_site.url}/peer", handshake=HANDSHAKE.encode()) as client:
        client.send(frame(TEXT, call("GetUserName").encode()))
        assert client.receive()[1] == b'{"type":3,"invocationId":"0","result":null}\x1e'


# Expiry


class Door:
    """Stands in for authentication: everybody is Anna, and each request's login ends when it is told to."""

    def __init__(self) -> None:
        self.expires_at: float | None = time.time() + 60

    async def __call__(self, scope: Any, options: Any) -> Identity:
        return Identity(user=SimpleNamespace(is_authenticated=True, pk=1, get_username=lambda: "anna"), expires_at=self.expires_at)


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    monkeypatch.setattr("signalr_channels.gate.authenticate", door)
    return door


@pytest.fixture
async def site(door: Door) -> AsyncIterator[Site]:
    stateful = {"ALLOW_STATEFUL_RECONNECTS": True}
    async with Site(HubEndpoint("secure", SecureHub, stateful), HubEndpoint("lasting", PeerHub, {})) as site:
        yield site


async def test_a_login_that_runs_out_ends_the_connection(site: Site, door: Door) -> None:
    """On every transport, and with leave to come back."""
    door.expires_at = time.time() - 1
    polls, events, socket = await site.polls("/secure"), await site.events("/secure"), await site.socket("/secure").accepted()
    socket.send(HANDSHAKE)
    assert await socket.receive() == "{}\x1e"
    poll = polls.start_poll()
    assert await poll.is_silent()
    site.tick(0)
    assert (await poll.answer()).brief == (200, GOODBYE)
    assert await events.stream.event() == GOODBYE
    assert await events.stream.chunk() is None
    assert await socket.receive() == GOODBYE.decode()
    assert await socket.closed() == 1000


async def test_only_where_that_is_asked_for(site: Site, door: Door) -> None:
    door.expires_at = time.time() - 1
    polls = await site.polls("/lasting")
    site.tick(0)
    await polls.post(call("Echo", "x"))
    assert b'"result":"x"' in (await polls.poll()).body


async def test_a_newer_login_postpones_the_end(site: Site, door: Door) -> None:
    """Of each poll, and of each socket of a stateful connection."""
    door.expires_at = time.time() - 1
    polls = await site.polls("/secure")
    url = f"/secure?id={(await site.negotiate('/secure', '&useStatefulReconnect=true'))['connectionToken']}"
    socket = await site.socket(url).accepted()
    socket.send(HANDSHAKE.replace("1", "2"))
    assert await socket.receive() == "{}\x1e"
    socket.vanish()
    await socket.finish()
    door.expires_at = time.time() + 60
    poll = polls.start_poll()
    again = await site.socket(url).accepted()
    assert '"type":9' in str(await again.receive())
    site.tick(0)
    assert await poll.is_silent() and await again.is_silent()


def test_an_access_token_that_runs_out(peer_site: PeerSite) -> None:
    """The same with real tokens: the waiting poll is answered with a Close, and the next one is refused."""
    headers = bearer(token_of(peer_site, "anna", 2))

    ids = []

    def opened() -> str:
        negotiated = negotiate(f"{peer_site.url}/secure", headers)
        ids.append(negotiated["connectionId"])
        return f"{peer_site.url}/secure?id={negotiated['connectionToken']}"

    url = opened()
    assert request("GET", url, headers).brief == (200, b"")
    assert request("POST", url, headers, HANDSHAKE.encode()).brief == (200, b"")
    assert request("GET", url, headers).body == b"{}\x1e"
    events_url = opened()
    with Request("GET", url, headers) as poll, Request("GET", events_url, {**SSE, **headers}) as events:
        assert request("POST", events_url, headers, HANDSHAKE.encode()).brief == (200, b"")
        with raw_socket(opened(), headers=headers, handshake=HANDSHAKE.encode()) as client:
            assert client.receive()[1] == GOODBYE
            assert client.end() == 1000
        assert poll.answer().brief == (200, GOODBYE)
        received = list(itertools.takewhile(bool, iter(events.event, None)))
        assert received[-1] == b"data: " + GOODBYE + b"\r\n\r\n"
    assert request("GET", url, headers).status == 401
    for connection_id in ids:
        assert peer_site.wait_for_event(connection_id=connection_id, kind="disconnected")["reason"] == "token_expired"
    log = json.loads(request("GET", f"{peer_site.url}/events").body)
    assert {f"disconnected {connection_id} -" for connection_id in ids} <= set(log)  # without an exception


def test_no_login_page_and_no_csrf_check(peer_site: PeerSite) -> None:
    """Whatever cookies a browser sends along."""
    headers = {"Cookie": "csrftoken=x; sessionid=y", "Origin": "https://elsewhere.example"}
    assert post(f"{peer_site.url}/peer/negotiate", headers)[0] == 200
    assert post(f"{peer_site.url}/secure/negotiate", headers) == (401, "")


async def test_who_lacks_a_permission_is_named_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    class StaffHub(PeerHub):
        permission_classes = [IsStaff]

    told: list[ConnectionInfo] = []
    anna = SimpleNamespace(is_authenticated=True, is_active=True, is_staff=False, pk=7)
    async with Site(HubEndpoint("staff", StaffHub, {})) as site:
        monkeypatch.setattr(site.runtime, "record", lambda kind, info, **more: told.append(info))
        assert (await site.request("POST", "/staff/negotiate", user=anna)).status == 403
        assert (await site.socket("/staff", user=anna).refused()).status == 403
    assert [(info.user_pk, info.user_identifier) for info in told] == [(7, "7")] * 2


async def test_who_comes_with_the_token_of_another_user_is_named_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[ConnectionInfo] = []
    anna, bert = (SimpleNamespace(is_authenticated=True, is_active=True, pk=pk) for pk in (7, 8))
    async with Site(HubEndpoint("peer", PeerHub, {})) as site:
        url = await site.url("/peer", user=anna)
        monkeypatch.setattr(site.runtime, "record", lambda kind, info, **more: told.append(info))
        assert (await site.request("GET", url, user=bert)).brief == UNKNOWN
        assert (await site.socket(url, user=bert).refused()).status == 404
    assert [info.user_identifier for info in told] == ["8", "8"]
    assert {info.connection_id for info in told} == {told[0].connection_id} != {""}


async def test_a_refusal_is_part_of_the_life_of_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a client polls on with a login that has run out, or comes back too late."""
    told: list[tuple[str, CloseReason, str]] = []
    async with Site(HubEndpoint("peer", PeerHub, {})) as site:
        negotiated = await site.negotiate("/peer")
        url = f"/peer?id={negotiated['connectionToken']}"
        assert (await site.request("GET", url)).status == 200
        assert (await site.request("DELETE", url)).status == 202
        assert (await site.request("DELETE", url)).status == 404
        monkeypatch.setattr(site.runtime, "record", lambda kind, info, reason, detail: told.append((info.connection_id, reason, detail)))
        for headers in ({}, {"origin": "https://evil.example"}):
            assert (await site.request("GET", url, headers)).status in (403, 404)
            assert (await site.socket(url, headers).refused()).status in (403, 404)
        assert (await site.request("GET", "/peer?id=unknown")).status == 404
    reasons = [CloseReason.UNAUTHORIZED] * 2 + [CloseReason.ORIGIN_REJECTED] * 2
    assert [(key, reason) for key, reason, _ in told] == [
        *((negotiated["connectionId"], reason) for reason in reasons),
        ("", CloseReason.UNAUTHORIZED),
    ]


async def test_a_permission_class_that_fails_is_in_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(HubPermission):
        async def has_permission(self, request: PermissionRequest) -> bool:
            raise RuntimeError("The directory is away.")

    class BrokenHub(PeerHub):
        permission_classes = [Broken]

    told: list[tuple[CloseReason, str]] = []
    async with Site(HubEndpoint("broken", BrokenHub, {})) as site:
        monkeypatch.setattr(site.runtime, "record", lambda kind, info, reason, detail: told.append((reason, detail)))
        with pytest.raises(RuntimeError):
            await site.request("POST", "/broken/negotiate")
        with pytest.raises(RuntimeError):
            await site.socket("/broken").refused()
    assert told == [(CloseReason.HUB_ERROR, "RuntimeError: The directory is away.")] * 2
