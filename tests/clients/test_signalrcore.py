"""signalrcore, the client that works in threads, against a live server process."""

from __future__ import annotations

import contextlib
import queue
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from signalrcore.hub_connection_builder import HubConnectionBuilder

from tests.clients.refused_calls import REFUSED_CALLS
from tests.live import PeerSite

DEADLINE = 15.0


class Client:
    """A client and what it was told, in queues that the test empties."""

    def __init__(self, url: str, *, reconnects: bool = False, **options: Any) -> None:
        builder = HubConnectionBuilder().with_url(url, options=options)
        if reconnects:
            builder.with_automatic_reconnect({"type": "raw", "reconnect_interval": 0.2, "max_attempts": 20})
        self.connection = builder.build()
        self.states: queue.Queue[str] = queue.Queue()
        self.messages: queue.Queue[list[Any]] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()
        self.connection.on_open(lambda: self.states.put("open"))
        self.connection.on_close(lambda: self.states.put("closed"))
        self.connection.on_reconnect(lambda: self.states.put("reconnected"))
        self.connection.on_error(lambda message: self.errors.put(message.error))
        self.connection.on("Message", self.messages.put)

    def invoke(self, method: str, *arguments: Any) -> Any:
        """Call a hub method and wait for its result."""
        results: queue.Queue[Any] = queue.Queue()
        self.connection.invoke(method, list(arguments), on_invocation=results.put)
        return results.get(timeout=DEADLINE).result

    def next_state(self) -> str:
        return self.states.get(timeout=DEADLINE)

    def next_message(self) -> list[Any]:
        return self.messages.get(timeout=DEADLINE)

    def next_error(self) -> str:
        return self.errors.get(timeout=DEADLINE)


@contextlib.contextmanager
def connected(url: str, **options: Any) -> Iterator[Client]:
    client = Client(url, **options)
    client.connection.start()
    try:
        assert client.next_state() == "open"
        yield client
    finally:
        # Not by stop(): the client (1.0.2) then waits in a blocked read for whatever the server sends next, at most a ping.
        client.connection.send("AbortMe", [])
        assert client.next_state() == "closed"


@pytest.mark.parametrize("skip_negotiation", [False, True])
def test_calls_and_results(peer_site: PeerSite, skip_negotiation: bool) -> None:
    with connected(f"{peer_site.url}/peer", skip_negotiation=skip_negotiation) as client:
        assert client.invoke("Add", 2, 3) == 5
        assert client.invoke("Echo", "漢字 😀 \x1e \u2028") == "漢字 😀 \x1e \u2028"
        assert client.invoke("Nothing") is None
        assert len(client.invoke("Big", 200_000)) == 200_000


def test_messages_to_caller_others_and_groups(peer_site: PeerSite) -> None:
    with connected(f"{peer_site.url}/peer") as one, connected(f"{peer_site.url}/peer") as two:
        one.invoke("ToCaller", "hello")
        assert one.next_message() == ["ToCaller", "hello"]
        one.invoke("Join", "signalrcore")
        two.invoke("Join", "signalrcore")
        one.invoke("ToOthersInGroup", "signalrcore", "to two")
        assert two.next_message() == ["ToOthersInGroup", "to two"]
        two.invoke("ToClient", one.invoke("GetConnectionId"), "to one")
        assert one.next_message() == ["ToClient", "to one"]
        two.invoke("Leave", "signalrcore")
        one.invoke("ToGroup", "signalrcore", "to one again")
        assert one.next_message() == ["ToGroup", "to one again"]
        assert two.messages.empty()


@pytest.mark.parametrize(("method", "arguments", "text"), REFUSED_CALLS)
def test_errors(peer_site: PeerSite, method: str, arguments: list[Any], text: str) -> None:
    with connected(f"{peer_site.url}/peer") as client:
        client.connection.invoke(method, arguments)
        assert client.next_error() == text
        assert client.invoke("Echo", "still here") == "still here"


def test_a_hub_that_asks_for_a_login_is_closed_to_it(peer_site: PeerSite) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        Client(f"{peer_site.url}/staff").connection.start()


def test_it_stops_and_the_server_hears_of_it(peer_site: PeerSite) -> None:
    client = Client(f"{peer_site.url}/peer-strict")  # whose pings come every second
    client.connection.start()
    assert client.next_state() == "open"
    connection_id = client.invoke("GetConnectionId")
    client.connection.stop()
    assert client.next_state() == "closed"
    # It neither says Close nor ends the web socket properly.
    assert peer_site.wait_for_event(connection_id=connection_id, kind="disconnected")["reason"] == "client_gone"


def test_it_reconnects_after_the_server_closed_it(peer_site: PeerSite) -> None:
    """It comes back after any Close, also one that does not allow it, and negotiates anew."""
    client = Client(f"{peer_site.url}/peer-strict", reconnects=True)
    client.connection.start()
    try:
        assert client.next_state() == "open"
        first = client.invoke("GetConnectionId")
        client.connection.send("AbortMe", [])
        assert client.next_state() == "reconnected"
        assert client.invoke("GetConnectionId") != first
    finally:
        client.connection.stop()
