"""Web-socket upgrades to endpoints of a classic mount that are none: answered like plain requests."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.live import PeerSite

STARTED = b'{ "Response": "started" }'
PONG = b'{ "Response": "pong" }'


def upgraded(site: PeerSite, operation: str, **query: str) -> tuple[int, bytes]:
    url = f"{site.url}/signalr/{operation}?{urllib.parse.urlencode(query)}".replace("http:", "ws:")
    with pytest.raises(InvalidStatus) as caught, connect(url, open_timeout=10):
        raise AssertionError("the upgrade was accepted")
    response = caught.value.response
    return response.status_code, response.body or b""


def test_plain_endpoints_answer_upgrades(peer_site: PeerSite) -> None:
    status, body = upgraded(peer_site, "negotiate", clientProtocol="2.1")
    assert status == 200
    token = json.loads(body)["ConnectionToken"]
    assert upgraded(peer_site, "ping") == (200, PONG)
    assert upgraded(peer_site, "hubs")[0] == 200
    query = {"transport": "webSockets", "connectionToken": token, "clientProtocol": "2.1"}
    assert upgraded(peer_site, "start", **query) == (200, STARTED)
    assert upgraded(peer_site, "abort", **query) == (200, b"")
    assert "Exception in ASGI application" not in peer_site.server.output()


def test_any_other_upgrade_is_a_web_socket(peer_site: PeerSite) -> None:
    token = json.loads(upgraded(peer_site, "negotiate", clientProtocol="2.1")[1])["ConnectionToken"]
    query = urllib.parse.urlencode({"transport": "webSockets", "connectionToken": token, "connectionData": '[{"name":"peer"}]'})
    with connect(f"{peer_site.url}/signalr/send?{query}".replace("http:", "ws:")) as socket:
        socket.send('{"H":"peer","M":"Echo","A":["x"],"I":1}')
        assert json.loads(socket.recv(timeout=10)) == {"R": "x", "I": "1"}
