"""Errors whose texts cannot be sent as they are. A call that fails is answered all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from signalr_channels.exceptions import HubException
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from tests.unit.scripted import ScriptedServer, failed
from tests.unit.scripted_classic import ClassicServer

pytestmark = pytest.mark.usefixtures("no_task_left")

HALF = "caf\udce9.txt"
"""The name of a file, as Python gives it where it is not UTF-8."""


class Mute(HubException):
    def __str__(self) -> str:
        return self.words  # type: ignore[attr-defined, no-any-return]


class FailingHub(Hub):
    @hub_method(name="Now")
    async def now(self) -> None:
        raise HubException(HALF)

    @hub_method(name="Later")
    async def later(self) -> None:
        await asyncio.sleep(0)
        raise FileNotFoundError(HALF)

    @hub_method(name="Stream")
    async def stream(self) -> AsyncIterator[int]:
        raise HubException(HALF)
        yield 1

    @hub_method(name="Mute")
    async def mute(self) -> None:
        await asyncio.sleep(0)
        raise Mute


BASE = "An unexpected error occurred invoking '{}' on the server. {}"
WRITTEN = r"caf\udce9.txt"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("Now", BASE.format("Now", f"HubException: {WRITTEN}")),
        ("Later", BASE.format("Later", f"FileNotFoundError: {WRITTEN}")),
        ("Stream", f"An error occurred on the server while streaming results. HubException: {WRITTEN}"),
        ("Mute", BASE.format("Mute", "Mute: ")),
    ],
)
async def test_a_call_is_answered_whatever_its_error_says(target: str, error: str) -> None:
    async with ScriptedServer(FailingHub, ENABLE_DETAILED_ERRORS=True) as server:
        client = server.connect()
        invocation_id = client.stream(target) if target == "Stream" else client.invoke(target)
        assert await client.receive_completion(invocation_id) == failed(invocation_id, error)


async def test_a_client_is_turned_away_whatever_the_error_says() -> None:
    class ClosedHub(Hub):
        async def on_connected(self) -> None:
            raise HubException(HALF)

    async with ScriptedServer(ClosedHub) as server:
        client = server.connect()
        assert await client.receive() == {"type": 7, "error": f"Connection closed with an error. HubException: {WRITTEN}"}


@pytest.mark.parametrize(
    ("method", "answer"),
    [("Now", {"E": WRITTEN, "H": True}), ("Later", {"E": WRITTEN}), ("Mute", {"E": "", "H": True})],
)
async def test_a_classic_call_is_answered_whatever_its_error_says(method: str, answer: dict[str, Any]) -> None:
    async with ClassicServer([FailingHub], ENABLE_DETAILED_ERRORS=True) as server:
        client = await server.connect(["failinghub"])
        assert await client.call("FailingHub", method) == answer
