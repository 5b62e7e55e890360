"""
signalr-unified-client, a classic client for Python that works in threads, against a live server process.

It asks for ``/start`` without waiting for the first frame, stops with ``GET /abort`` over server-sent events and with nothing over web
sockets, and comes back by negotiating anew. Its version 0.0.10 also claims to speak the core generation.
"""

from __future__ import annotations

import contextlib
import json
import queue
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import sseclient
from signalr import Connection
from signalr.transports import _sse_transport

from tests.live import PeerSite
from tests.proxy import proxy_in_thread

DEADLINE = 15.0
TRANSPORTS = ("webSockets", "serverSentEvents")


class Session(requests.Session):
    """A session that closes its streams, which the client leaves to the garbage collector."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[requests.Response] = []

    def open_stream(self, url: str) -> requests.Response:
        response = self.get(url, stream=True, headers={"Accept": "text/event-stream"}, timeout=DEADLINE)
        self.streams.append(response)
        response.raise_for_status()
        return response

    def close(self) -> None:
        for response in self.streams:
            response.close()
        super().close()


class EventStreams:
    """What the client takes ``sseclient`` to be: the package of that name. The one it depends on is ``sseclient-py``, which differs."""

    @staticmethod
    def SSEClient(url: str, session: Session) -> Iterator[sseclient.Event]:
        return iter(sseclient.SSEClient(session.open_stream(url)).events())


@pytest.fixture(autouse=True)
def working_event_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sse_transport, "sseclient", EventStreams)


class Client:
    """A connection to the hub ``peer``, and what it was told, in queues that the test empties."""

    def __init__(self, url: str, transport: str, user: str | None = None) -> None:
        self.session = Session()
        # The client copies the session's headers into its web socket request, and of two Connection fields uvicorn (0.54) reads the last.
        del self.session.headers["Connection"]
        self.connection = Connection(url, self.session)
        if transport != "webSockets":
            # It takes the first that the server can do, and has no option to choose.
            del self._transports._AutoTransport__available_transports[0]
        # Threads that look at the clock every few seconds, and outlive the connection.
        self.connection.connection_timeout = self.connection.idle_timeout = None
        if user is not None:
            self.connection.qs["user"] = user
        self.hub = self.connection.register_hub("peer")
        self.messages: queue.Queue[list[Any]] = queue.Queue()
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.hub.client.on("Message", lambda *arguments: self.messages.put(list(arguments)))
        self.connection.received += self._on_received

    @property
    def _transports(self) -> Any:
        return self.connection._Connection__transport

    @property
    def web_socket(self) -> Any:
        return self._transports._AutoTransport__transport.ws

    def _on_received(self, **frame: Any) -> None:
        if "I" in frame:
            self.answers.put(frame)

    def invoke(self, method: str, *arguments: Any) -> Any:
        """Call a hub method and wait for its result."""
        return self.answer(method, *arguments).get("R")

    def answer(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Call a hub method and wait for its whole answer."""
        self.hub.server.invoke(method, *arguments)
        return self.answers.get(timeout=DEADLINE)

    def next_message(self) -> list[Any]:
        return self.messages.get(timeout=DEADLINE)

    def close(self) -> None:
        # Its close() waits until something arrives, so that its thread sees that it is over.
        self.connection.is_open = False
        with contextlib.suppress(OSError):
            self.hub.server.invoke("ToCaller", "goodbye")
        self.connection.close()
        self.session.close()


@contextlib.contextmanager
def connected(url: str, transport: str, **options: Any) -> Iterator[Client]:
    client = Client(url, transport, **options)
    client.connection.start()
    try:
        yield client
    finally:
        client.close()


def wait_for_log(site: PeerSite, line: str) -> None:
    """Return when the hub has logged this."""
    deadline = time.monotonic() + DEADLINE
    while True:
        with urllib.request.urlopen(f"{site.url}/events", timeout=DEADLINE) as response:
            lines = json.load(response)
        if line in lines:
            return
        assert time.monotonic() < deadline, f"{line!r} is not in the log"
        time.sleep(0.05)  # the log tells nobody of new lines


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_calls_and_results(peer_site: PeerSite, transport: str) -> None:
    with connected(f"{peer_site.url}/signalr", transport) as client:
        assert client.invoke("Add", 2, 3) == 5
        assert client.invoke("echo", "漢字 😀 \x1e \u2028 +&=") == "漢字 😀 \x1e \u2028 +&="
        assert client.invoke("Nothing") is None
        assert client.invoke("Progress", 2) == 2
        assert len(client.invoke("Big", 200_000)) == 200_000
        assert client.invoke("GetConnectionId") == client.connection.id
        wait_for_log(peer_site, f"connected {client.connection.id}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_errors(peer_site: PeerSite, transport: str) -> None:
    with connected(f"{peer_site.url}/signalr", transport) as client:
        errors: list[str] = []
        client.connection.error += errors.append
        assert client.answer("FailHubData", "no") == {"I": "0", "H": True, "E": "no", "D": {"text": "no"}}
        neutral = "There was an error invoking Hub method 'peer.{}'."
        assert client.answer("Fail", "secret") == {"I": "1", "E": neutral.format("Fail")}
        assert client.answer("Nope") == {"I": "2", "E": neutral.format("Nope")}
        assert errors == ["no", neutral.format("Fail"), neutral.format("Nope")]
        assert client.invoke("Echo", "still here") == "still here"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_to_users_clients_and_groups(peer_site: PeerSite, transport: str) -> None:
    user, group = f"ann-{transport}", f"unified-{transport}"
    url = f"{peer_site.url}/signalr"
    with connected(url, transport) as one, connected(url, transport, user=user) as two:
        assert two.invoke("GetUserName") == user
        for client in (one, two):
            client.invoke("Join", group)
        for method, *arguments in (
            ("ToUser", user),
            ("ToClient", two.connection.id),
            ("ToOthersInGroup", group),
            ("ToGroupExcept", group, one.connection.id),
        ):
            one.invoke(method, *arguments, "to two")
            assert two.next_message() == [method, "to two"]
        two.invoke("Leave", group)
        two.invoke("ToGroup", group, "to one")
        assert one.next_message() == ["ToGroup", "to one"]
        two.invoke("ToCaller", "to two")
        assert two.next_message() == ["ToCaller", "to two"]


def test_closing_an_event_stream_is_a_stop(peer_site: PeerSite) -> None:
    with connected(f"{peer_site.url}/signalr", "serverSentEvents") as client:
        assert client.invoke("Add", 2, 3) == 5
    wait_for_log(peer_site, f"disconnected {client.connection.id} True")


def test_it_comes_back_as_somebody_new_after_a_cut(peer_site: PeerSite) -> None:
    with proxy_in_thread(peer_site.server.port) as (proxy, call), connected(f"{proxy.url}/signalr", "webSockets") as client:
        first = client.connection.id
        assert client.invoke("GetConnectionId") == first
        lost = client.web_socket
        call(proxy.cut)
        deadline = time.monotonic() + DEADLINE
        while client.connection.id == first:
            assert time.monotonic() < deadline, "it does not come back"
            time.sleep(0.02)  # the client tells nobody
        lost.close()  # which it leaves to the garbage collector
        # What it is asked to send meanwhile waits until it is back.
        assert client.invoke("GetConnectionId") == client.connection.id
        client.invoke("ToClient", client.connection.id, "hello again")
        assert client.next_message() == ["ToClient", "hello again"]


def test_a_hub_that_asks_for_a_login_is_closed_to_it(peer_site: PeerSite) -> None:
    with requests.Session() as session:
        connection = Connection(f"{peer_site.url}/signalr", session)
        connection.register_hub("secret")
        with pytest.raises(requests.HTTPError, match=r"^401 "):
            connection.start()


def test_core_servers_are_beyond_it(peer_site: PeerSite) -> None:
    """It negotiates with GET, which core servers answer with 405."""
    with requests.Session() as session, pytest.raises(requests.HTTPError, match=r"^405 "):
        Connection(f"{peer_site.url}/peer", session, protocol="core").start()
