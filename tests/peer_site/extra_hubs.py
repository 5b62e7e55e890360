"""Hubs beyond the contract: every audience, logins, permissions, and what the contract leaves out."""

from signalr_channels import Disconnect, Hub, HubException, hub_method
from signalr_channels.hubs.permissions import IsAuthenticated, IsStaff
from tests.peer_site.hubs import MESSAGE, PeerHub, log


class OutOfStock(HubException):
    """A hub author's own kind of error."""


class EverythingHub(PeerHub):
    """With the contract's own methods this names all twelve audiences."""

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        error = disconnect.exception
        facts = (disconnect.reason, disconnect.stop_called, disconnect.allows_reconnect, "-" if error is None else type(error).__name__)
        log.add(f"ended {self.context.connection_id} {' '.join(map(str, facts))}")

    @hub_method(name="ToAllExcept")
    async def to_all_except(self, ids: list[str], text: str) -> None:
        await self.clients.all_except(ids).asend(MESSAGE, "ToAllExcept", text)

    @hub_method(name="ToClients")
    async def to_clients(self, ids: list[str], text: str) -> None:
        await self.clients.clients(ids).asend(MESSAGE, "ToClients", text)

    @hub_method(name="ToGroups")
    async def to_groups(self, groups: list[str], text: str) -> None:
        await self.clients.groups(groups).asend(MESSAGE, "ToGroups", text)

    @hub_method(name="ToUsers")
    async def to_users(self, users: list[str], text: str) -> None:
        await self.clients.users(users).asend(MESSAGE, "ToUsers", text)

    @hub_method(name="AddToGroup")
    async def add_to_group(self, id: str, group: str) -> None:
        await self.groups.aadd(id, group)

    @hub_method(name="JoinAndSendFromThread")
    def join_and_send_from_thread(self, group: str, text: str) -> str:
        """A plain ``def`` uses the sync face."""
        self.groups.add(self.context.connection_id, group)
        self.clients.group(group).send(MESSAGE, "JoinAndSendFromThread", text)
        self.clients.caller.send(MESSAGE, "JoinAndSendFromThread", "to the caller")
        self.groups.remove(self.context.connection_id, group)
        self.clients.group(group).send(MESSAGE, "JoinAndSendFromThread", "nobody is left")
        return text

    @hub_method
    async def remember_me(self, key: str, value: int | None = None) -> int | None:
        """Answers to several spellings, keeps state, and has an argument that may be left out."""
        if value is not None:
            self.context.items[key] = value
        return self.context.items.get(key)

    @hub_method(name="FailOwn")
    async def fail_own(self, text: str) -> None:
        raise OutOfStock(text)

    @hub_method(name="NotJson")
    async def not_json(self) -> float:
        return float("nan")

    @hub_method(name="ForUsers", permission_classes=[IsAuthenticated])
    async def for_users(self, text: str) -> str:
        return text


class StaffHub(PeerHub):
    """Only for users, and partly only for staff."""

    permission_classes = [IsAuthenticated]

    @hub_method(name="GetLogin")
    async def get_login(self) -> str:
        return str(self.context.user.get_username())

    @hub_method(name="ForStaff", permission_classes=[IsStaff])
    async def for_staff(self, text: str) -> str:
        return text


class ClosedHub(Hub):
    """Turns everybody away."""

    async def on_connected(self) -> None:
        raise HubException("We are closed.")

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        log.add(f"ended {self.context.connection_id} although it never was connected")
