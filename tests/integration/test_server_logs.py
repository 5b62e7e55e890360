"""What the server writes into its own log, whatever its options: requests of hubs, but none of the tokens in their queries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conformance.classic import Classic, connected
from tests.integration.raw import RawClient
from tests.integration.raw_http import TALKERS, request
from tests.live import PEER_SITE, Process, free_port, peer_site_environment, server_command

QUIET = ("--no-access-log", "--log-level", "warning")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    """uvicorn with its log as it is by default: each request, each accepted web socket."""
    port = free_port()
    command = [part for part in server_command(PEER_SITE, port) if part not in QUIET]
    process = Process(command, port, peer_site_environment(tmp_path / "db.sqlite3"))
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
        process.log.close()


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


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents", "foreverFrame", "longPolling"])
def test_of_classic_clients(server: Process, transport: str) -> None:
    with contextlib.ExitStack() as stack:
        client: Classic = stack.enter_context(connected(f"http://127.0.0.1:{server.port}/signalr", transport))
        assert client.invoke("Echo", "hello")["R"] == "hello"
    output = server.output()
    assert "/signalr/negotiate" in output
    assert client.token not in output
    assert quote(client.token, safe="") not in output
    assert "connectionToken" not in output
