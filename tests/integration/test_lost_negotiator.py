"""Core connections over several server processes that share a Redis, when the process that negotiated them is gone."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.raw import HANDSHAKE, call
from tests.live import Process, redis_server, serve_peer_site

TIMEOUT = 30.0
ECHO = call("Echo", "still here")


def request(process: Process, method: str, path: str, body: str = "") -> Any:
    url = f"http://127.0.0.1:{process.port}/{path}"
    data = body.encode() if method == "POST" else None
    return urllib.request.urlopen(urllib.request.Request(url, data=data, method=method), timeout=TIMEOUT)


def negotiate(process: Process) -> str:
    """The path of a connection that a process negotiates."""
    with request(process, "POST", "peer-lp/negotiate?negotiateVersion=1") as response:
        return f"peer-lp?id={json.load(response)['connectionToken']}"


def received(process: Process, url: str) -> str:
    with request(process, "GET", url) as response:
        return str(response.read().decode())


@contextlib.contextmanager
def three_processes(database: Path, redis_url: str) -> Iterator[list[Process]]:
    environment = {"PEER_LAYER": "pubsub", "REDIS_URL": redis_url, "PEER_SIGNALR": '{"BACKPLANE_ACK_TIMEOUT": 1}'}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serve_peer_site(database, **environment)) for _ in range(3)]


def test_its_requests_find_the_owner_nevertheless(tmp_path: Path, redis_url: str) -> None:
    with three_processes(tmp_path / "db.sqlite3", redis_url) as (negotiator, owner, other):
        url = negotiate(negotiator)
        assert received(owner, url) == ""
        negotiator.kill()
        for process, body, answer in ((other, HANDSHAKE, "{}\x1e"), (other, ECHO, '"result":"still here"')):
            with request(process, "POST", url, body) as response:
                assert response.status == 200
            assert answer in received(other, url)


def test_nothing_is_taken_for_a_connection_that_nobody_can_be_asked_for(tmp_path: Path) -> None:
    """What is kept for a transport request to come would be lost, since that has come elsewhere."""
    with redis_server() as redis, three_processes(tmp_path / "db.sqlite3", f"redis://127.0.0.1:{redis.port}/0") as (first, owner, other):
        url = negotiate(first)
        assert received(owner, url) == ""
        with request(other, "POST", negotiate(other), "") as response:  # so that it is on the channel layer
            assert response.status == 200
        redis.stop()
        with pytest.raises(urllib.error.HTTPError) as refusal:
            request(other, "POST", url, HANDSHAKE)
        with refusal.value as error:
            assert error.code == 503
