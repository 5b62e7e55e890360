"""What servers write into their own logs, whatever their options: requests of hubs, but none of the tokens in their queries."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from signalr_channels.protocols.messages import Completion, Invocation
from tests.conformance.classic import TRANSPORTS, Classic, connected
from tests.integration.raw import DEADLINE, RawClient
from tests.integration.raw_http import TALKERS, PollingTalker, WebSocketTalker, request
from tests.live import PEER_SITE, Process, free_port, peer_site_environment, running, server_command

QUIET = ("--no-access-log", "--log-level", "warning")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    """uvicorn with its log as it is by default: each request, each accepted web socket."""
    port = free_port()
    command = [part for part in server_command(PEER_SITE, port) if part not in QUIET]
    with running(Process(command, port, peer_site_environment(tmp_path / "db.sqlite3"))) as process:
        yield process


@pytest.mark.parametrize("way", list(TALKERS))
def test_of_core_clients(server: Process, way: str) -> None:
    talker, protocol = TALKERS[way]
    with talker(f"http://127.0.0.1:{server.port}/peer", protocol) as client:
        client.prove()
    output = server.output()
    assert "/peer" in output
    assert client.token not in output
    assert quote(client.token) not in output


def test_of_browsers_that_log_in_with_the_query(server: Process) -> None:
    base = f"http://127.0.0.1:{server.port}"
    status, access_token = request("GET", f"{base}/token?user=kim&seconds=60")
    assert status == 200
    login = f"access_token={quote(access_token)}"
    assert request("POST", f"{base}/secure/negotiate?negotiateVersion=1&{login}")[0] == 200
    assert request("GET", f"{base}/secure?id=unknown&{login}")[0] == 404
    with RawClient(f"{base}/secure?{login}") as client:
        client.echo()
    output = server.output()
    assert output.count("/secure") >= 3
    assert access_token not in output
    assert "access_token" not in output


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_of_classic_clients(server: Process, transport: str) -> None:
    with contextlib.ExitStack() as stack:
        client: Classic = stack.enter_context(connected(f"http://127.0.0.1:{server.port}/signalr", transport))
        assert client.invoke("Echo", "hello")["R"] == "hello"
    output = server.output()
    assert "/signalr/negotiate" in output
    assert client.token not in output
    assert quote(client.token, safe="") not in output
    assert "connectionToken" not in output


# daphne does not ask the application: the demo site's settings have a filter


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The demo as ``make demo`` has it."""
    database, port = tmp_path_factory.mktemp("demo") / "db.sqlite3", free_port()
    environment = {"DJANGO_SETTINGS_MODULE": "demo_project.settings", "DEMO_DEBUG": "1", "DATABASE_PATH": str(database), "REDIS_URL": ""}
    with running(Process([sys.executable, "manage.py", "demo", str(port)], port, environment)) as process:
        yield process


def wait_for_line(demo: Process, start: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while start not in demo.output():
        assert time.monotonic() < deadline, (start, demo.output())
        time.sleep(0.05)  # the log tells nobody of new lines


@pytest.mark.parametrize("way", list(TALKERS))
def test_of_the_demo_and_core_clients(demo: Process, way: str) -> None:
    talker, protocol = TALKERS[way]
    with talker(f"http://127.0.0.1:{demo.port}/hubs/chat", protocol) as client:
        client.send(Invocation(target="Rooms", arguments=[], invocation_id="1"))
        assert isinstance(client.receive_message(), Completion)
    # Of an event stream that the client leaves, daphne says nothing.
    lines = {WebSocketTalker: "WebSocket DISCONNECT /hubs/chat [", PollingTalker: "HTTP GET /hubs/chat 200 ["}
    wait_for_line(demo, lines.get(talker, "HTTP POST /hubs/chat 200 ["))
    output = demo.output()
    assert "HTTP POST /hubs/chat/negotiate 200 [" in output
    assert client.token not in output
    assert quote(client.token) not in output


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_of_the_demo_and_classic_clients(demo: Process, transport: str) -> None:
    with connected(f"http://127.0.0.1:{demo.port}/signalr", transport, hubs=("chathub",)) as client:
        assert client.invoke("Rooms", hub="chathub")["R"] == []
    wait_for_line(demo, "HTTP POST /signalr/abort 200 [")
    output = demo.output()
    assert "/signalr/connect [" in output or "/signalr/connect 200 [" in output
    assert client.token not in output
    assert quote(client.token, safe="") not in output
    assert "?" not in output
