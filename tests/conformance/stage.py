"""A hub that writes down what happens to its connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signalr_channels import Disconnect, hub_method
from tests.peer_site.hubs import PeerHub

__all__ = ["StageHub", "hub"]


class StageHub(PeerHub):
    """Writes down what happens, and waits when it is told to."""

    log: list[Any]
    gate: asyncio.Event

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        self.log.append((str(disconnect.reason), disconnect.exception))

    @hub_method
    async def wait(self) -> str:
        await self.gate.wait()
        return "waited"

    @hub_method
    async def note(self, text: str) -> None:
        self.log.append(text)

    @hub_method
    async def request(self) -> list[str]:
        """Of the request that opened the connection: query, and the header named test."""
        headers = dict(self.context.scope["headers"])
        return [self.context.scope["query_string"].decode().partition("&")[2], headers.get(b"test", b"").decode()]

    @hub_method
    async def who(self) -> str:
        return str(self.context.user.name)


@pytest.fixture
def hub() -> type[StageHub]:
    return type("StageHub", (StageHub,), {"log": [], "gate": asyncio.Event()})
