"""A hub for tests of the transports: streams that say in the log how they ended."""

import asyncio
import itertools
from collections.abc import AsyncIterator

from signalr_channels import hub_method
from tests.peer_site.extra_hubs import EverythingHub
from tests.peer_site.hubs import MESSAGE, Int32, log


class TransportHub(EverythingHub):
    @hub_method(name="ForeverFor")
    async def forever_for(self, name: str) -> AsyncIterator[int]:
        """Items without end, until they are cancelled."""
        try:
            for i in itertools.count():
                yield i
                await asyncio.sleep(0.02)
        finally:
            log.add(f"stream of {name} ended")

    @hub_method(name="SumFor")
    async def sum_for(self, name: str, numbers: AsyncIterator[Int32]) -> int:
        """A sum that says how far it has come, and how far it came if the upload breaks off."""
        total = 0
        try:
            async for number in numbers:
                total += number
                await self.clients.caller.asend(MESSAGE, "SumFor", str(total))
        except Exception as error:
            log.add(f"upload of {name} broke off at {total}: {error}")
            raise
        return total

    @hub_method(name="SumSoFar")
    async def sum_so_far(self, numbers: AsyncIterator[Int32]) -> None:
        """A sum for clients that do not hear a result of their uploads."""
        total = 0
        async for number in numbers:
            total += number
            await self.clients.caller.asend(MESSAGE, "SumSoFar", str(total))
        await self.clients.caller.asend(MESSAGE, "SumSoFar", f"{total} in all")

    @hub_method(name="Largest")
    async def largest(self, chunks: AsyncIterator[bytes]) -> bytes:
        """The longest of the uploaded pieces."""
        return max([chunk async for chunk in chunks], key=len, default=b"")
