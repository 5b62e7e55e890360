"""How connections end, and what is recorded of it: the reason, who ended it, and whether the client may come back."""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.raw import SEPARATOR, Frame, RawClient, call, negotiate
from tests.live import PeerSite, serve_peer_site

CLOSE = '{"type":7}' + SEPARATOR
GOODBYE = '{"type":7,"allowReconnect":true}' + SEPARATOR


def say_close(client: RawClient) -> None:
    client.send(CLOSE)


def say_close_with_an_error(client: RawClient) -> None:
    client.send('{"type":7,"error":"The cat sat on it."}' + SEPARATOR)


def close_the_web_socket(client: RawClient) -> None:
    client.socket.close(4321, "enough")


def reset_the_connection(client: RawClient) -> None:
    """A TCP reset, as from a machine that was switched off and on."""
    client.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.vanish()


def ask_for_the_end(client: RawClient) -> None:
    client.send(call("AbortMe"))


@pytest.mark.parametrize(
    ("end", "answers", "reason", "facts"),
    [
        (say_close, [CLOSE], "client_closed", "True False -"),
        (say_close_with_an_error, [CLOSE], "client_closed", "True False HubException"),
        (close_the_web_socket, [], "client_closed", "True True -"),
        (RawClient.vanish, [], "client_gone", "False True -"),
        (reset_the_connection, [], "client_gone", "False True -"),
        (ask_for_the_end, [CLOSE], "closed_by_app", "False False -"),
    ],
)
def test_an_ending_by_the_client(
    peer_site: PeerSite, end: Callable[[RawClient], None], answers: list[Frame], reason: str, facts: str
) -> None:
    negotiated = negotiate(f"{peer_site.url}/everything")
    with RawClient(f"{peer_site.url}/everything", token=negotiated["connectionToken"]) as client:
        client.echo()
        end(client)
        if answers:
            assert client.receive_to_end() == (answers, 1000)
    connection_id = negotiated["connectionId"]
    event = peer_site.wait_for_event(connection_id=connection_id, kind="disconnected")
    assert event["reason"] == reason
    assert [row["kind"] for row in peer_site.lifetime_events(connection_id=connection_id)] == ["negotiated", "connected", "disconnected"]
    # What the hub was told is in its log: reason, stop_called, allows_reconnect, exception.
    with RawClient(f"{peer_site.url}/everything") as other:
        assert f"ended {connection_id} {reason} {facts}" in other.ask("GetEvents")


def test_a_hub_that_turns_a_client_away(peer_site: PeerSite) -> None:
    negotiated = negotiate(f"{peer_site.url}/closed")
    with RawClient(f"{peer_site.url}/closed", token=negotiated["connectionToken"]) as client:
        text = "Connection closed with an error. HubException: We are closed."
        assert client.receive_to_end() == ([f'{{"type":7,"error":"{text}"}}' + SEPARATOR], 1000)
    event = peer_site.wait_for_event(connection_id=negotiated["connectionId"], kind="disconnected")
    assert event["reason"] == "hub_error"
    assert "We are closed." in event["detail"]
    with RawClient(f"{peer_site.url}/everything") as other:
        assert not [line for line in other.ask("GetEvents") if negotiated["connectionId"] in line]


def test_a_client_that_stops_pinging(peer_site: PeerSite) -> None:
    """Two seconds after its last sign of life, but only because it has pinged."""
    with RawClient(f"{peer_site.url}/peer-strict") as quiet, RawClient(f"{peer_site.url}/peer-strict") as client:
        client.send('{"type":6}' + SEPARATOR)
        error = '{"type":7,"error":"Connection closed with an error.","allowReconnect":true}' + SEPARATOR
        assert client.receive_to_end() == ([error], 1000)
        event = peer_site.wait_for_event(user_agent=client.user_agent, kind="disconnected")
        assert event["reason"] == "ping_timeout"
        assert "CLIENT_TIMEOUT_INTERVAL" in event["detail"]
        quiet.echo("nobody waits for my pings")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_shutdown(tmp_path: Path, number: int) -> None:
    """Every client is told to come back, whatever it was doing, and all is written down before the process ends."""
    database = tmp_path / "db.sqlite3"
    with serve_peer_site(database) as server:
        site = PeerSite(server, database)
        clients = [RawClient(f"{site.url}/everything") for _ in range(20)]
        try:
            clients[0].send(call("Slow", 60_000))
            clients[1].send(call("Forever", invocation_id="1").replace('"type": 1', '"type": 4'))
            shaking = RawClient(f"{site.url}/everything", shakes_hands=False)
            server.signal(number)
            for client in clients:
                frames, code = client.receive_to_end()
                assert (frames[-1], code) == (GOODBYE, 1000)
            assert shaking.receive_to_end() == ([], 1000)
            server.process.wait(10)
        finally:
            for client in clients:
                client.close()
        reasons = [site.lifetime_events(user_agent=client.user_agent, kind="disconnected")[0]["reason"] for client in clients]
        assert reasons == ["server_shutdown"] * len(clients)
        assert [row["reason"] for row in site.lifetime_events(user_agent=shaking.user_agent)] == ["server_shutdown"]
        assert site.lifetime_events(kind="disconnected")[-1]["detail"] == ""


def test_no_token_is_in_the_history(peer_site: PeerSite) -> None:
    """Nor anywhere else in the database."""
    negotiated = negotiate(f"{peer_site.url}/everything")
    token = negotiated["connectionToken"]
    with RawClient(f"{peer_site.url}/everything", token=token, Cookie="sessionid=very-secret") as client:
        client.echo()
    peer_site.wait_for_event(connection_id=negotiated["connectionId"], kind="disconnected")
    stored = peer_site.database.read_bytes()
    assert negotiated["connectionId"].encode() in stored
    assert token.encode() not in stored
    assert b"very-secret" not in stored


def test_the_row_of_a_connection(peer_site: PeerSite) -> None:
    with RawClient(f"{peer_site.url}/Everything/?x=1", Origin="http://127.0.0.1") as client:
        connection_id = client.ask("GetConnectionId")
        event: dict[str, Any] = peer_site.wait_for_event(connection_id=connection_id, kind="connected")
        address = client.socket.local_address
    assert event["hub"] == "tests.peer_site.extra_hubs.EverythingHub"
    assert event["path"] == "everything"
    assert event["transport"] == "webSockets"
    assert event["remote_address"] == f"{address[0]}:{address[1]}"
    assert event["origin"] == "http://127.0.0.1"
    assert f":{peer_site.server.pid}:" in event["process"]
