"""
Classic connections over several server processes that share a Redis: requests that reach another process than the connection's, and what
becomes of a connection when its process stops or vanishes.

Source: reference sections 7.1 (rows 5 and 6), 8.2.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live import PEER_SITE_SETTINGS, ROOT, Process, serve_peer_site

TIMEOUT = 30.0
"""Seconds a request may take; a process that vanished is waited for up to BACKPLANE_ACK_TIMEOUT, set to 1 s here."""
HUBS = '[{"name":"peer"}]'
SIGNALR = '{"BACKPLANE_ACK_TIMEOUT": 1}'


class Polling:
    """A long-polling client whose every request names the process it goes to."""

    def __init__(self, ports: Sequence[int], negotiates: int) -> None:
        self._ports = ports
        answer = self.request("negotiate", negotiates)
        self.token, self.id = answer["ConnectionToken"], answer["ConnectionId"]
        self.cursor = self.groups = ""

    def request(self, operation: str, process: int, form: dict[str, str] | None = None, **query: str) -> Any:
        items = {"transport": "longPolling", "clientProtocol": "2.1", "connectionData": HUBS, **query}
        if operation != "negotiate":
            items["connectionToken"] = self.token
        url = f"http://127.0.0.1:{self._ports[process]}/signalr/{operation}?{urllib.parse.urlencode(items)}"
        body = None if form is None else urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=TIMEOUT) as response:
            text = response.read().decode()
        return json.loads(text) if text else None

    def receive(self, operation: str, process: int) -> list[Any]:
        """One receiving request: what it brought."""
        form = {name: value for name, value in (("messageId", self.cursor), ("groupsToken", self.groups)) if value}
        envelope = self.request(operation, process, form)
        self.cursor, self.groups = envelope["C"], envelope.get("G") or self.groups
        return [message["A"] for message in envelope["M"]]

    def call(self, process: int, method: str, *arguments: Any) -> Any:
        data = json.dumps({"H": "peer", "M": method, "A": arguments, "I": 1})
        answer = self.request("send", process, {"data": data})
        assert "E" not in answer, answer
        return answer.get("R")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "db.sqlite3"


@pytest.fixture
def processes(database: Path, redis_url: str, layer: str) -> Iterator[list[Process]]:
    """Three server processes."""
    environment = {"PEER_LAYER": layer, "REDIS_URL": redis_url, "PEER_SIGNALR": SIGNALR}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serve_peer_site(database, **environment)) for _ in range(3)]


def rows(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What the history says."""
    with contextlib.closing(sqlite3.connect(database, timeout=TIMEOUT)) as connection:
        return connection.execute(query, values).fetchall()


def eventually(read: Callable[[], Any], expected: Any) -> None:
    """Wait until the history has been written."""
    deadline = time.monotonic() + TIMEOUT
    while (found := read()) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)  # SQLite tells nobody of new rows


def use_wsgi_token(client: Polling) -> None:
    """Give a client the token that a WSGI process would have given it, which names no process to ask."""
    script = (
        "import django; django.setup(); from signalr_channels.classic_tokens import *; t = new_classic_token(None, '');"
        "print(t.connection_id, t.sign())"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": PEER_SITE_SETTINGS}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    client.id, client.token = done.stdout.split()


def started(processes: Sequence[Process], *, negotiates: int, owner: int) -> Polling:
    """A client that has connected to one process and started at the next."""
    client = Polling([process.port for process in processes], negotiates)
    assert client.receive("connect", owner) == []
    client.request("start", (owner + 1) % 3)
    return client


@pytest.mark.parametrize("layer", ["pubsub", "core"])
def test_every_request_may_reach_another_process(processes: list[Process]) -> None:
    client = started(processes, negotiates=1, owner=0)
    other = started(processes, negotiates=2, owner=2)
    client.call(1, "Join", "room")
    assert client.receive("poll", 2) == [], "the group's token"
    other.call(0, "ToGroup", "room", "one")
    other.call(1, "ToClient", client.id, "two")
    received = client.receive("poll", 1)
    while len(received) < 2:
        received += client.receive("poll", 2)
    assert sorted(received) == [["ToClient", "two"], ["ToGroup", "one"]]
    assert client.call(2, "GetConnectionId") == client.id
    client.request("abort", 1, {})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        client.request("start", 2)


@pytest.mark.parametrize("layer", ["pubsub"])
@pytest.mark.parametrize("negotiates", [0, 2], ids=["which negotiated", "which did not negotiate"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stops", "vanishes"])
def test_a_connection_goes_on_when_its_process(processes: list[Process], how: signal.Signals, negotiates: int) -> None:
    client = started(processes, negotiates=negotiates, owner=0)
    client.call(0, "Join", "room")
    assert client.receive("poll", 0) == []
    processes[0].process.send_signal(how)
    processes[0].process.wait(TIMEOUT)

    assert client.call(1, "Echo", "while nothing receives") == "while nothing receives"
    received: list[Any] = []
    reconnecting = threading.Thread(target=lambda: received.extend(client.receive("reconnect", 2)))
    reconnecting.start()
    other = started(processes[1:] + processes[:1], negotiates=0, owner=0)
    while reconnecting.is_alive():  # the group is joined again some time during the reconnect
        other.call(0, "ToGroup", "room", "you are still in it")
        reconnecting.join(0.1)
    assert ["ToGroup", "you are still in it"] in received
    events = client.call(2, "GetEvents")  # of the process that took it over
    assert [line for line in events if client.id in line] == [f"reconnected {client.id}"]


@pytest.mark.parametrize("layer", ["pubsub"])
def test_a_process_that_stops_ends_what_it_holds_for_another(processes: list[Process]) -> None:
    """It does not wait for the server's own timeout, 5 s here, and the connection goes on where it is."""
    client = started(processes, negotiates=0, owner=0)
    items = {"transport": "serverSentEvents", "clientProtocol": "2.1", "connectionData": HUBS, "connectionToken": client.token}
    url = f"http://127.0.0.1:{processes[1].port}/signalr/reconnect?{urllib.parse.urlencode({**items, 'messageId': client.cursor})}"
    with urllib.request.urlopen(url, timeout=TIMEOUT) as stream:
        assert stream.readline() == b"data: initialized\n"
        client.call(2, "ToCaller", "hello")
        while b"hello" not in stream.readline():
            pass
        started_at = time.monotonic()
        processes[1].process.send_signal(signal.SIGTERM)
        stream.read()
        processes[1].process.wait(TIMEOUT)
        assert time.monotonic() - started_at < 4
    assert "Exception" not in processes[1].output()
    assert client.call(2, "GetConnectionId") == client.id
    assert [line for line in client.call(0, "GetEvents") if client.id in line] == [f"connected {client.id}", f"reconnected {client.id}"]


@pytest.mark.parametrize("layer", ["pubsub"])
def test_a_connection_that_a_wsgi_process_negotiated_finds_its_owner(processes: list[Process]) -> None:
    client = Polling([process.port for process in processes], 0)
    use_wsgi_token(client)
    assert client.receive("connect", 0) == []
    client.request("start", 1)
    client.call(2, "ToCaller", "hello")
    assert client.receive("poll", 1) == [["ToCaller", "hello"]]
    client.request("abort", 2, {})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        client.request("start", 0)


@pytest.mark.parametrize("layer", ["pubsub"])
def test_a_connection_that_begins_again_elsewhere_is_found_where_it_ended(processes: list[Process]) -> None:
    client = started(processes, negotiates=2, owner=0)
    client.request("abort", 0, {})
    client.cursor = ""
    assert client.receive("connect", 1) == []
    client.request("start", 0)
    client.call(0, "ToCaller", "again")
    assert client.receive("poll", 2) == [["ToCaller", "again"]]


@pytest.mark.parametrize("layer", ["pubsub"])
def test_of_requests_that_come_in_the_same_moment_one_process_opens_the_connection(processes: list[Process], database: Path) -> None:
    ports = [process.port for process in processes]
    clients = [Polling(ports, 0) for _ in range(5)]
    with ThreadPoolExecutor(3 * len(clients)) as threads:
        list(threads.map(use_wsgi_token, clients))
        calls = [threads.submit(client.call, process, "GetConnectionId") for client in clients for process in range(3)]
        assert [call.result() for call in calls] == [client.id for client in clients for _ in range(3)]
        list(threads.map(lambda client: client.receive("connect", 0), clients))
    for client in clients:
        client.request("start", 1)
        client.call(2, "ToCaller", "hello")
        assert client.receive("poll", 1) == [["ToCaller", "hello"]]
        client.request("abort", 0, {})
    query = "SELECT connection_id, COUNT(DISTINCT process) FROM signalr_channels_lifetimeevent WHERE kind != 'negotiated' GROUP BY 1"
    ended = "SELECT COUNT(*) FROM signalr_channels_lifetimeevent WHERE kind = 'disconnected'"
    eventually(lambda: rows(database, ended), [(len(clients),)])
    assert sorted(rows(database, query)) == sorted((client.id, 1) for client in clients)


@pytest.mark.parametrize("layer", ["core"])
@pytest.mark.parametrize("negotiates", [0, 2], ids=["which negotiated", "which did not negotiate"])
def test_the_history_of_a_connection_that_begins_again_elsewhere(processes: list[Process], database: Path, negotiates: int) -> None:
    client = started(processes, negotiates=negotiates, owner=0)
    client.request("abort", 0, {})
    client.cursor = ""
    if negotiates == 0:  # and that process is gone by now, with what it knew
        processes[0].process.send_signal(signal.SIGTERM)
        processes[0].process.wait(TIMEOUT)
    assert client.receive("connect", 1) == []
    client.request("start", 2)

    events = "SELECT kind, reason FROM signalr_channels_lifetimeevent WHERE connection_id = ? AND kind != 'negotiated' ORDER BY time"
    lives = [("connected", ""), ("disconnected", "client_closed"), ("connected", "")]
    eventually(lambda: rows(database, events, client.id), lives)
    row = "SELECT closed_at, close_reason, p.stopped_at FROM signalr_channels_connection c JOIN signalr_channels_serverprocess p"
    live = [(None, "", None)]
    eventually(lambda: rows(database, f"{row} ON p.id = c.process_id WHERE connection_id = ?", client.id), live)

    client.request("abort", 2, {})
    eventually(lambda: rows(database, events, client.id), [*lives, ("disconnected", "client_closed")])
    processes_of = "SELECT DISTINCT process FROM signalr_channels_lifetimeevent WHERE connection_id = ? AND kind != 'negotiated'"
    assert len(rows(database, processes_of, client.id)) == 2
