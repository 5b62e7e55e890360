"""How a hub's clients are reached from where the code runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from signalr_channels.hubs.client_results import read_result
from signalr_channels.hubs.lifetime import Audience, HubLifetimeManager
from signalr_channels.hubs.sync import run_from_sync
from signalr_channels.protocols.messages import Invocation

__all__ = ["Reach"]

T = TypeVar("T")


class Reach:
    """One hub's lifetime manager, and the event loop it lives in."""

    __slots__ = ("_loop", "_manager", "hub_name")

    def __init__(self, hub_name: str, manager: HubLifetimeManager, loop: asyncio.AbstractEventLoop | None) -> None:
        self.hub_name = hub_name
        self._manager = manager
        self._loop = loop

    async def send(self, audience: Audience, message: Invocation) -> None:
        """See :meth:`HubLifetimeManager.send`."""
        await self._in_own_loop(lambda: self._manager.send(audience, message))

    async def invoke(self, connection_id: str, target: str, arguments: Sequence[Any], result_type: Any) -> Any:
        """See :meth:`HubLifetimeManager.invoke`; gives the result, converted."""
        protocol, completion = await self._in_own_loop(lambda: self._manager.invoke(connection_id, target, arguments))
        return read_result(protocol, completion, result_type)

    async def add_to_group(self, connection_id: str, group: str) -> None:
        """See :meth:`HubLifetimeManager.add_to_group`."""
        await self._in_own_loop(lambda: self._manager.add_to_group(connection_id, group))

    async def remove_from_group(self, connection_id: str, group: str) -> None:
        """See :meth:`HubLifetimeManager.remove_from_group`."""
        await self._in_own_loop(lambda: self._manager.remove_from_group(connection_id, group))

    async def close(self, connection_id: str, error: str | None, *, allow_reconnect: bool, closed_by: str = "") -> bool:
        """See :meth:`HubLifetimeManager.close`."""
        return await self._in_own_loop(
            lambda: self._manager.close(connection_id, error, allow_reconnect=allow_reconnect, closed_by=closed_by)
        )

    async def _in_own_loop(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await a coroutine of the manager where the connections live, wherever the caller's loop is."""
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return await make()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), self._loop))

    def run(self, name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run one of the coroutines of this hub from sync code."""
        return run_from_sync(name, self._loop, make)
