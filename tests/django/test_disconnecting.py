"""Operators end connections of both generations; clients and the history are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from asgiref.testing import ApplicationCommunicator

from signalr_channels.admin.disconnecting import Outcome, disconnect
from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.reach import Reach
from signalr_channels.models import Connection
from signalr_channels.protocols.endings import CloseReason, Disconnect
from signalr_channels.runtime import get_runtime
from tests.django.sockets import connected
from tests.django.test_routing import TIMEOUT

ENDS: list[Disconnect] = []


class WatchedHub(Hub):
    async def on_disconnected(self, disconnect: Disconnect) -> None:
        ENDS.append(disconnect)


class OtherHub(Hub):
    pass


@pytest.fixture
async def socket() -> AsyncIterator[ApplicationCommunicator]:
    ENDS.clear()
    async with connected(WatchedHub) as communicator:
        yield communicator


def row(connection_id: str, hub: str = hub_name(WatchedHub)) -> Connection:
    return Connection(connection_id=connection_id, hub=hub)


async def test_the_client_is_told_to_stay_away_and_the_hub_who_wanted_it(socket: ApplicationCommunicator) -> None:
    [connection] = get_runtime().store
    rows = [row(connection.connection_id, f"no.such.Hub, {hub_name(WatchedHub)}"), row("gone"), row("other", "gone.hubs.OldHub")]
    # The admin's views run in a thread.
    outcomes = await asyncio.to_thread(disconnect, rows, closed_by="kim")
    assert outcomes == {connection.connection_id: Outcome.DISCONNECTED, "gone": Outcome.GONE, "other": Outcome.NO_HUB}
    close = json.loads((await socket.receive_output(TIMEOUT))["text"][:-1])
    assert close == {"type": 7, "error": "An operator ended the connection."}  # no allowReconnect, and nothing of who it was
    assert (await socket.receive_output(TIMEOUT))["type"] == "websocket.close"
    [end] = ENDS
    assert (end.reason, str(end.exception), end.allows_reconnect) == (
        CloseReason.CLOSED_BY_ADMIN,
        "Disconnected by kim: An operator ended the connection.",
        False,
    )


async def test_a_connection_is_looked_for_in_its_own_hub_only(socket: ApplicationCommunicator) -> None:
    [connection] = get_runtime().store
    outcomes = await asyncio.to_thread(disconnect, [row(connection.connection_id, hub_name(OtherHub))], closed_by="kim")
    assert outcomes == {connection.connection_id: Outcome.GONE}
    assert not connection.is_closed


async def test_who_cannot_be_reached_is_not_called_gone(socket: ApplicationCommunicator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Reach, *args: object, **kwargs: object) -> bool:
        raise BackplaneUnavailable("The channel layer is away.")

    monkeypatch.setattr(Reach, "close", fail)
    assert await asyncio.to_thread(disconnect, [row("one")], closed_by="kim") == {"one": Outcome.UNREACHABLE}
