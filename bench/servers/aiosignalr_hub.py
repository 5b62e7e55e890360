# mypy: disable-error-code="import-untyped, import-not-found, misc"
# aiosignalr has no type information.
"""The hub ``/bench`` on aiosignalr, the other asyncio SignalR server."""

from __future__ import annotations

from aiosignalr.server import Hub, SignalRServer


class BenchHub(Hub):
    """``echo(text)`` answers; ``broadcast(text)`` calls ``message(text)`` on every client."""

    async def echo(self, text: str) -> str:
        return text

    async def broadcast(self, text: str) -> None:
        await self.clients.all_.send("message", text)


app = SignalRServer(BenchHub).asgi_app(path="/bench")
