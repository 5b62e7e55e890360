"""Every transport and hub protocol in Chromium, from a page of the site and from pages of other origins."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.live import PeerSite, missing, serve_peer_site
from tests.peer_site.pages import SCRIPTS
from tests.proxy import proxy_in_thread

TIMEOUT = 15.0
WEB_SOCKETS = ["webSockets json", "webSockets messagepack"]
DIRECT = ["direct json", "direct messagepack"]
NEGOTIATED = [*WEB_SOCKETS, "serverSentEvents json", "longPolling json", "longPolling messagepack"]
EVERY_WAY = [*NEGOTIATED, *DIRECT]

every_way = pytest.mark.parametrize("way", EVERY_WAY)
OpenPage = Callable[[str], Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens the page of a site in a profile of its own; what goes wrong in one fails the test."""
    if not all(path.exists() for path in SCRIPTS.values()):
        missing("An npm package of Microsoft's client (run npm ci in tests/clients)")
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT * 1000)
    errors: list[str] = []

    def open_page(site: str) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{site}/page")
        return page

    yield open_page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def foreign_site(tmp_path_factory: pytest.TempPathFactory, peer_site: PeerSite) -> Iterator[PeerSite]:
    """Another site, whose hubs pages of the peer site may use."""
    database = tmp_path_factory.mktemp("foreign-site") / "db.sqlite3"
    with serve_peer_site(database, PEER_ORIGINS=peer_site.url) as server:
        yield PeerSite(server, database)


def connect(page: Page, name: str, hub: str, way: str, **options: Any) -> str:
    """Connect a client of the page, and give its connection id."""
    return str(page.evaluate("([name, hub, way, options]) => connect(name, hub, way, options)", [name, hub, way, options]))


def call(page: Page, name: str, *arguments: Any) -> Any:
    return page.evaluate("([name, args]) => call(name, ...args)", [name, list(arguments)])


def wait_for(page: Page, expression: str) -> None:
    page.wait_for_function(f"() => {expression}")


@every_way
def test_calls_streams_and_uploads(peer_site: PeerSite, open_page: OpenPage, way: str) -> None:
    page = open_page(peer_site.url)
    connection_id = connect(page, "one", "/transports", way)
    assert page.evaluate("isBinary => exercise('one', isBinary)", way.endswith("messagepack")) == {
        "results": [5, "é😀", None],
        "large": 2**20,
        "sameBytes": True,
        "sameText": True,
        "sameMoment": True,
        "error": "An unexpected error occurred invoking 'FailHub' on the server. HubException: Sorry, Zoë.",
        "stream": {"items": [0, 1, 2, 3, 4], "end": "complete"},
        "failing": {"items": [0, 1], "end": "An error occurred on the server while streaming results. HubException: counted"},
        "sum": 6,
        "relayed": {"items": ["É1", "É2", "É3"], "end": "complete"},
        "asked": 42,
    }
    wait_for(page, "clients.one.messages.includes('ToCaller: sent')")
    page.evaluate("clients.one.connection.send('Nothing')")  # a client that is stopped while it posts never sends its Close
    page.evaluate("clients.one.connection.stop()")
    wait_for(page, "clients.one.changes.includes('closed')")
    event = peer_site.wait_for_event(connection_id=connection_id, kind="disconnected")
    assert event["reason"] == "client_closed"


def test_one_client_of_each_way_in_one_page(peer_site: PeerSite, open_page: OpenPage) -> None:
    page = open_page(peer_site.url)
    for way in EVERY_WAY:
        connect(page, way, "/transports", way)
        call(page, way, "Join", "browser")
    for way in EVERY_WAY:
        call(page, way, "ToGroup", "browser", way)
        call(page, way, "ToOthersInGroup", "browser", way)
    for way in EVERY_WAY:
        expected = [text for one in EVERY_WAY for text in (f"ToGroup: {one}", f"ToOthersInGroup: {one}")]
        expected.remove(f"ToOthersInGroup: {way}")
        page.wait_for_function("([name, count]) => clients[name].messages.length >= count", arg=[way, len(expected)])
        assert page.evaluate("name => clients[name].messages", way) == expected


@every_way
def test_an_access_token_goes_into_the_query_where_browsers_leave_no_choice(peer_site: PeerSite, open_page: OpenPage, way: str) -> None:
    user = f"browser-{way.replace(' ', '-')}"
    with urllib.request.urlopen(f"{peer_site.url}/token?user={user}&seconds=60", timeout=TIMEOUT) as response:
        token = response.read().decode()
    page = open_page(peer_site.url)
    web_sockets: list[str] = []
    page.on("websocket", lambda web_socket: web_sockets.append(web_socket.url))
    requests: list[tuple[str, str, str | None]] = []
    page.on("request", lambda request: requests.append((request.method, request.url, request.headers.get("authorization"))))

    connect(page, "one", "/secure", way, token=token)
    assert call(page, "one", "GetUserName") == user

    in_query = [url for url in web_sockets if f"access_token={token}" in url]
    in_query += [url for method, url, _ in requests if method == "GET" and f"access_token={token}" in url]
    in_header = [url for _, url, authorization in requests if authorization == f"Bearer {token}"]
    assert len(in_query) == (0 if way.startswith("longPolling") else 1)
    assert all("access_token" not in url for url in in_header)
    assert bool(in_header) != way.startswith("direct")


@every_way
def test_a_page_of_an_allowed_origin_connects(peer_site: PeerSite, foreign_site: PeerSite, open_page: OpenPage, way: str) -> None:
    page = open_page(peer_site.url)
    connection_id = connect(page, "one", f"{foreign_site.url}/transports", way)
    assert call(page, "one", "Echo", "from afar") == "from afar"
    assert foreign_site.wait_for_event(connection_id=connection_id, kind="connected")["origin"] == peer_site.url


@every_way
def test_a_page_of_another_origin_is_refused(peer_site: PeerSite, foreign_site: PeerSite, open_page: OpenPage, way: str) -> None:
    origin = peer_site.url.replace("127.0.0.1", "localhost")
    page = open_page(origin)
    text = page.evaluate("([hub, way]) => failure(connect('one', hub, way))", [f"{foreign_site.url}/transports", way])
    if way.startswith("direct"):
        assert text.startswith("WebSocket failed to connect.")
    else:
        assert text == "Failed to complete negotiation with the server: TypeError: Failed to fetch"
    foreign_site.wait_for_event(kind="rejected", reason="origin_rejected", origin=origin)


@every_way
def test_it_reconnects_after_a_cut(peer_site: PeerSite, open_page: OpenPage, way: str) -> None:
    page = open_page(peer_site.url)
    with proxy_in_thread(peer_site.server.port) as (proxy, in_proxy):
        first = connect(page, "one", f"{proxy.url}/transports", way, retries=True)
        # Chromium would send a poll again by itself, and nobody would notice.
        in_proxy(proxy.refuse)
        in_proxy(proxy.cut)
        wait_for(page, "clients.one.changes.includes('reconnecting')")
        in_proxy(proxy.mend)
        wait_for(page, "clients.one.changes.includes('reconnected')")
        assert page.evaluate("clients.one.changes") == ["reconnecting", "reconnected"]
        second = call(page, "one", "GetConnectionId")
        assert second != first
        call(page, "one", "ToClient", second, "hello again")
        wait_for(page, "clients.one.messages.includes('ToClient: hello again')")
        page.evaluate("clients.one.connection.stop()")


@pytest.mark.parametrize("way", WEB_SOCKETS)
def test_stateful_reconnect_loses_nothing(peer_site: PeerSite, open_page: OpenPage, way: str) -> None:
    page = open_page(peer_site.url)
    with proxy_in_thread(peer_site.server.port) as (proxy, in_proxy):
        connection_id = connect(page, "one", f"{proxy.url}/transports", way, stateful=True)
        page.evaluate("() => { clients.one.talk = talk('one', 300); }")
        for progress in (50, 120, 200):
            wait_for(page, f"clients.one.progress >= {progress}")
            in_proxy(proxy.cut)
        assert page.evaluate("clients.one.talk") == {"items": list(range(300)), "end": "complete", "sum": sum(range(301))}
        wait_for(page, "clients.one.messages.length >= 300")
        assert page.evaluate("clients.one.messages") == [f"ToCaller: {i}" for i in range(1, 301)]
        assert call(page, "one", "GetConnectionId") == connection_id
        assert page.evaluate("clients.one.changes") == []
        page.evaluate("clients.one.connection.stop()")


@pytest.mark.parametrize("way", [*WEB_SOCKETS, *DIRECT, "serverSentEvents json"])
def test_a_closed_tab_is_noticed_soon(peer_site: PeerSite, open_page: OpenPage, way: str) -> None:
    page = open_page(peer_site.url)
    connection_id = connect(page, "one", "/transports", way)
    page.close()
    event = peer_site.wait_for_event(connection_id=connection_id, kind="disconnected")
    assert event["reason"] in ("client_closed", "client_gone")
