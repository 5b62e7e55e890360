"""Classic hubs beyond the contract: hooks that fail, permissions, what a hub knows of a request, groups without hubs."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

from signalr_channels import Disconnect, Hub, get_hub_context, hub_method
from signalr_channels.hubs.permissions import IsAuthenticated, IsStaff
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.hubs.progress import Progress
from tests.peer_site.hubs import MESSAGE, log


class MoodyHub(Hub):
    """Hooks fail that are named by ``?fail=`` of the request which opened the connection; ``?slow=on_disconnected`` takes a second."""

    classic_name = "moody"

    def _is_told(self, item: str, hook: str) -> bool:
        return hook in parse_qs(self.context.scope["query_string"].decode()).get(item, [])

    def _note(self, hook: str) -> None:
        log.add(f"{hook} {self.context.connection_id}")
        if self._is_told("fail", hook):
            raise ValueError(f"{hook} was told to fail")

    async def on_connected(self) -> None:
        await self.clients.caller.asend(MESSAGE, "Hello", "from on_connected")
        self._note("on_connected")

    async def on_reconnected(self) -> None:
        self._note("on_reconnected")

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        log.add(f"ended {self.context.connection_id} {disconnect.reason} {disconnect.stop_called} {disconnect.allows_reconnect}")
        if self._is_told("slow", "on_disconnected"):
            await asyncio.sleep(1)
        self._note("on_disconnected")

    @hub_method
    async def get_query(self) -> str:
        return str(self.context.scope["query_string"].decode())

    @hub_method
    async def get_transport(self) -> str:
        return f"{self.context.transport} {self.context.hub_protocol}"

    @hub_method
    async def get_events(self) -> list[str]:
        return [line for line in log.read() if self.context.connection_id in line]

    @hub_method
    async def remember(self, key: str, value: str | None = None) -> str | None:
        if value is not None:
            self.context.items[key] = value
        return self.context.items.get(key)

    @hub_method
    async def add_to_group(self, id: str, group: str) -> None:
        await self.groups.aadd(id, group)

    @hub_method
    async def to_groups(self, groups: list[str], text: str) -> None:
        await self.clients.groups(groups).asend(MESSAGE, "ToGroups", text)

    @hub_method
    async def to_clients(self, ids: list[str], text: str) -> None:
        await self.clients.clients(ids).asend(MESSAGE, "ToClients", text)

    @hub_method
    async def to_all_except(self, ids: list[str], text: str) -> None:
        await self.clients.all_except(ids).asend(MESSAGE, "ToAllExcept", text)

    @hub_method
    async def to_users(self, users: list[str], text: str) -> None:
        await self.clients.users(users).asend(MESSAGE, "ToUsers", text)

    @hub_method
    async def ask(self, id: str) -> Any:
        return await self.clients.client(id).ainvoke("Ask")

    @hub_method
    async def send_nan(self) -> None:
        await self.clients.caller.asend(MESSAGE, float("nan"))

    @hub_method
    async def return_nan(self) -> float:
        return float("nan")

    @hub_method
    async def cancel(self) -> None:
        raise asyncio.CancelledError

    @hub_method
    async def change_state(self) -> None:
        """Nested values, and a message to the caller that takes the changes along."""
        state = self.clients.caller_state
        state["inner"]["list"].append(2)
        state["new"] = {"a": None}
        await self.clients.caller.asend(MESSAGE, "ChangeState", "here they are")

    @hub_method
    def report_from_thread(self, progress: Progress[str]) -> int:
        """A plain ``def``."""
        progress.report("half")
        return 1

    @hub_method
    async def report_late(self, progress: Progress[str]) -> None:
        """Keeps its progress beyond its end."""
        self.context.items["progress"] = progress

    @hub_method
    async def use_late_progress(self) -> None:
        self.context.items["progress"].report("too late")

    @hub_method
    def send_from_thread(self, group: str, text: str) -> str:
        """The sync face."""
        self.groups.add(self.context.connection_id, group)
        self.clients.group(group).send(MESSAGE, "SendFromThread", text)
        self.groups.remove(self.context.connection_id, group)
        return text

    @hub_method
    async def close(self, id: str, allow_reconnect: bool) -> bool:
        return await get_hub_context(MoodyHub).connections.aclose(id, error="You are closed.", allow_reconnect=allow_reconnect)

    @hub_method
    async def leave_for_good(self) -> None:
        self.context.abort()


class StaffClassicHub(Hub):
    """Partly for staff, which no named user is."""

    classic_name = "staff"
    permission_classes = [IsStaff]


class PartlyStaffHub(Hub):
    """Everybody may connect."""

    classic_name = "partly"

    @hub_method(permission_classes=[IsStaff])
    async def for_staff(self) -> str:
        return "done"

    @hub_method(permission_classes=[IsAuthenticated])
    async def for_users(self) -> str:
        return "done"


class GuardedNewsHub(Hub):
    """Only for users."""

    classic_name = "news"
    permission_classes = [IsAuthenticated]

    @hub_method
    async def tell(self, text: str) -> None:
        await self.clients.all.asend(MESSAGE, "Tell", text)


class OpenNewsHub(Hub):
    """Has the name of a hub that another mount keeps for users."""

    classic_name = "news"


class RoomConnection(PersistentConnection):
    """
    A connection without hubs that does what it is told.

    ``join NAME``, ``leave NAME``, ``room NAME``, ``others NAME``, ``all``, ``everybody else``, ``json``, ``fail``.
    """

    async def on_connected(self) -> None:
        log.add(f"connected {self.context.connection_id}")

    async def on_received(self, data: str) -> None:
        own = self.context.connection_id
        word, _, rest = data.partition(" ")
        if word == "join":
            await self.groups.aadd(own, rest)
        elif word == "leave":
            await self.groups.aremove(own, rest)
        elif word == "room":
            await self.groups.asend(rest, data)
        elif word == "others":
            await self.groups.asend(rest, data, exclude=[own])
        elif word == "all":
            await self.connection.abroadcast(data)
        elif word == "everybody":
            await self.connection.abroadcast(data, exclude=[own])
        elif word == "json":
            await self.connection.asend([own, "nobody"], {"text": "é", "list": [1, None, True]})
        else:
            raise ValueError(data)

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        log.add(f"disconnected {self.context.connection_id} {disconnect.stop_called}")


class UsersConnection(PersistentConnection):
    """Only for users."""

    permission_classes = [IsAuthenticated]
