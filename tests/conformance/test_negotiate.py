"""Section 1 of the reference: routes, negotiate, ids."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from signalr_channels.endpoints import HubEndpoint
from signalr_channels.transport_requests import accepts_event_stream
from tests.conformance.asgi import SSE, Site
from tests.integration.raw import HANDSHAKE
from tests.peer_site.hubs import PeerHub

PATHS: dict[str, dict[str, Any]] = {"/hub": {}, "/stateful": {"ALLOW_STATEFUL_RECONNECTS": True}, "/polls": {"TRANSPORTS": ["longPolling"]}}
TRANSPORTS = (
    b'[{"transport":"WebSockets","transferFormats":["Text","Binary"]},{"transport":"ServerSentEvents","transferFormats":["Text"]},'
    b'{"transport":"LongPolling","transferFormats":["Text","Binary"]}]'
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(*(HubEndpoint(path, PeerHub, options) for path, options in PATHS.items())) as site:
        yield site


# Routes


@pytest.mark.parametrize("path", ["/hub/negotiate", "/hub"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_other_methods_are_405(site: Site, path: str, method: str) -> None:
    answer = await site.request(method, path)
    assert answer.brief == (405, b"")
    assert answer.headers == {"content-length": "0", "content-type": "text/plain"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_negotiate_is_only_posted(site: Site, method: str) -> None:
    assert (await site.request(method, "/hub/negotiate")).brief == (405, b"")


@pytest.mark.parametrize(
    ("accept", "is_event_stream"),
    [
        ("text/event-stream", True),
        ("TEXT/EVENT-STREAM", True),
        ("application/json,text/event-stream", True),
        ("application/json , text/event-stream , */*", True),
        ("text/event-stream;q=0.5", False),
        ("text/event-stream2", False),
        ("text/*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_event_streams_are_asked_for_by_a_whole_member_of_accept(accept: str, is_event_stream: bool) -> None:
    assert accepts_event_stream({"headers": [(b"accept", accept.encode())]}) is is_event_stream


def test_without_accept_it_is_a_poll() -> None:
    assert not accepts_event_stream({"headers": []})


async def test_a_get_is_an_event_stream_or_a_poll(site: Site) -> None:
    stream = site.start("GET", await site.url("/hub"), SSE)
    assert (await stream.head()).headers["content-type"] == "text/event-stream"
    poll = await site.request("GET", await site.url("/hub"), {"accept": "*/*"})
    assert poll.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("key", ["id", "ID", "Id"])
async def test_keys_of_the_query_have_no_letter_case(site: Site, key: str) -> None:
    url = (await site.url("/hub")).replace("?id=", f"?room=1&{key}=")
    assert (await site.request("GET", url)).status == 200
    assert (await site.request("POST", url.replace("/hub", "/HUB"), body=HANDSHAKE.encode())).status == 200


# The answer


async def test_the_answer_byte_by_byte(site: Site) -> None:
    answer = await site.request("POST", "/hub/negotiate?negotiateVersion=1")
    assert answer.headers == {"content-length": str(len(answer.body)), "content-type": "application/json"}  # and nothing about caches
    pattern = rb'{"negotiateVersion":1,"connectionId":"[\w-]{22}","connectionToken":"[\w-]{22,}","availableTransports":(.*)}'
    match = re.fullmatch(pattern, answer.body)
    assert match is not None
    assert match[1] == TRANSPORTS


async def test_the_answer_of_version_0(site: Site) -> None:
    answer = await site.request("POST", "/stateful/negotiate?useStatefulReconnect=true")
    pattern = rb'{"useStatefulReconnect":true,"negotiateVersion":0,"connectionId":"[\w-]{22,}","availableTransports":(.*)}'
    match = re.fullmatch(pattern, answer.body)
    assert match is not None
    assert match[1] == TRANSPORTS


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("path", ["/hub", "/stateful"])
@pytest.mark.parametrize("asked", ["true", "TRUE", "false", "1", "yes", "", None])
async def test_stateful_reconnect_needs_both_sides(site: Site, path: str, asked: str | None, version: int) -> None:
    query = f"negotiateVersion={version}" + ("" if asked is None else f"&useStatefulReconnect={asked}")
    negotiated = json.loads((await site.request("POST", f"{path}/negotiate?{query}")).body)
    assert ("useStatefulReconnect" in negotiated) is (path == "/stateful" and asked in ("true", "TRUE"))
    assert negotiated.get("useStatefulReconnect", True) is True


async def test_only_enabled_transports_are_offered(site: Site) -> None:
    assert [entry["transport"] for entry in (await site.negotiate("/polls"))["availableTransports"]] == ["LongPolling"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-requested-with": "XMLHttpRequest", "x-signalr-user-agent": "Microsoft SignalR/10.0 (10.0.0; Linux; NodeJS; 20.0)"},
        {"content-type": "application/json", "accept": "text/html", "cookie": "csrftoken=x"},
    ],
)
async def test_neither_headers_nor_body_matter(site: Site, headers: dict[str, str]) -> None:
    answer = await site.request("POST", "/hub/negotiate?negotiateVersion=1", headers, body=b"{garbage")
    assert answer.status == 200
    assert "connectionToken" in json.loads(answer.body)


@pytest.mark.parametrize("version", ["abc", "-1", ""])
async def test_an_error_is_a_200_without_a_connection(site: Site, version: str) -> None:
    answer = await site.request("POST", f"/hub/negotiate?negotiateVersion={version}")
    assert answer.status == 200
    assert list(json.loads(answer.body)) == ["error"]
    assert len(site.runtime.store) == 0


# Ids


async def test_the_public_id_opens_nothing(site: Site) -> None:
    negotiated = await site.negotiate("/hub")
    for method, headers in [("GET", {}), ("GET", SSE), ("POST", {}), ("DELETE", {})]:
        answer = await site.request(method, f"/hub?id={negotiated['connectionId']}", headers)
        assert answer.brief == (404, b"No Connection with that ID")


@pytest.mark.parametrize("change", ["{}%20", "%20{}", "{0}&id={0}", "{}x", "{}!"])
async def test_an_id_counts_as_it_was_given(site: Site, change: str) -> None:
    token = (await site.negotiate("/hub"))["connectionToken"]
    assert (await site.request("GET", f"/hub?id={change.format(token)}")).brief == (404, b"No Connection with that ID")
    escaped = f"%{ord(token[0]):02X}{token[1:]}"
    assert (await site.request("GET", f"/hub?id={escaped}")).brief == (200, b"")


async def test_a_token_in_another_letter_case_is_another_token(site: Site) -> None:
    url = await site.url("/hub")
    assert (await site.request("GET", url.swapcase().replace("/HUB?ID", "/hub?id"))).status == 404


async def test_version_0_has_one_id_for_everything(site: Site) -> None:
    negotiated = json.loads((await site.request("POST", "/hub/negotiate")).body)
    assert "connectionToken" not in negotiated
    assert (await site.request("GET", f"/hub?id={negotiated['connectionId']}")).brief == (200, b"")


async def test_a_connection_that_is_never_opened_is_gone_after_the_disconnect_timeout(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    in_time, too_late = await site.url("/hub"), await site.url("/hub")
    for age, url, status in [(14, in_time, 200), (17, too_late, 404)]:
        monkeypatch.setattr("signalr_channels.transport_requests.time", SimpleNamespace(time=lambda age=age: time.time() + age))
        assert (await site.request("GET", url)).status == status
