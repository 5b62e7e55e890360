"""
The two hubs of the lifetime page.

The classic client of the page is connected to ``LifetimeHub``, and is what all the buttons are about. A second client, of ASP.NET Core,
is connected to ``LifetimeFeedHub`` and hears what ``LifetimeHub`` is told about the first one::

    callback(told)        a callback of LifetimeHub
    historyChanged()      signalr_channels has written something about the connection
"""

import os
import uuid
from dataclasses import dataclass

from demo_project.lifetime.models import Callback, Told
from demo_project.lifetime.visits import visit_of
from signalr_channels import Disconnect, Hub, HubException, get_hub_context, hub_method


@dataclass(frozen=True)
class Watching:
    """What a page has missed so far."""

    process: int
    """The process id of the server that tells it."""
    callbacks: list[Told]


class LifetimeFeedHub(Hub):
    @hub_method
    async def watch(self, visit: str) -> Watching:
        """Tell the caller what happens to the classic client of a visit, and what has happened."""
        try:
            visit_id = uuid.UUID(visit)
        except ValueError as error:
            raise HubException("There is no such visit.") from error
        await self.groups.aadd(self.context.connection_id, str(visit_id))
        return Watching(os.getpid(), await Callback.objects.filter(visit=visit_id).atold())


class LifetimeHub(Hub):
    async def on_connected(self) -> None:
        await Callback.objects.old().adelete()
        await self.note("on_connected")

    async def on_reconnected(self) -> None:
        await self.note("on_reconnected")

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        await self.note("on_disconnected", reason=disconnect.reason.value, stop_called=disconnect.stop_called)

    async def note(self, name: str, *, reason: str = "", stop_called: bool | None = None) -> None:
        """Write a callback down, and tell the page."""
        visit = visit_of(self.context.scope)
        if visit is None:
            return  # a client that is not the page's
        callback = await Callback.objects.acreate(
            visit=visit,
            name=name,
            connection_id=self.context.connection_id,
            process=os.getpid(),
            transport=self.context.transport,
            reason=reason,
            stop_called=stop_called,
        )
        await get_hub_context(LifetimeFeedHub).clients.group(str(visit)).asend("callback", callback.told)
