"""The hubs of the contract. Wire names are .NET's."""

import asyncio
import enum
import itertools
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import Annotated, Optional
from uuid import UUID

import msgspec
from django.contrib.auth.base_user import AbstractBaseUser

from signalr_channels import Disconnect, Hub, HubException, get_hub_context, hub_method
from signalr_channels.hubs.connection_handler import ConnectionHandler, RawConnection
from signalr_channels.hubs.permissions import IsAuthenticated
from signalr_channels.hubs.progress import Progress

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
MESSAGE = "Message"


class Color(enum.Enum):
    Red = 0
    Green = 1

    @classmethod
    def _missing_(cls, value: object) -> "Color | None":
        """An enum of .NET holds any number."""
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        member = object.__new__(cls)
        member._name_, member._value_ = str(value), value
        return member


ColorValue = Color  # a field of that name hides it below


@dataclass
class Record:
    Int: Int32 = 0
    Long: Int64 = 0
    Double: float = 0.0
    Bool: bool = False
    Text: str | None = ""
    Missing: str | None = None
    Bytes: bytes = b""
    When: datetime = datetime(1, 1, 1, tzinfo=timezone.utc)
    Id: UUID = UUID(int=0)
    Money: Decimal = Decimal(0)
    Color: ColorValue = Color.Red
    List: list[Int32] = field(default_factory=list)
    Map: dict[str, Int32] = field(default_factory=dict)
    Child: Optional["Record"] = None


class EventLog:
    """What happened to the hubs' connections, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)

    def read(self) -> list[str]:
        with self._lock:
            return list(self._lines)

    def clear(self) -> None:
        with self._lock:
            self._lines.clear()


log = EventLog()


class PeerHub(Hub):
    """The hub of both contracts. Streams, uploads and client results are for core clients."""

    classic_name = "peer"

    async def on_connected(self) -> None:
        log.add(f"connected {self.context.connection_id}")

    async def on_reconnected(self) -> None:
        log.add(f"reconnected {self.context.connection_id}")

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        error = disconnect.exception
        if self.context.hub_protocol == "classic":
            ending = str(disconnect.stop_called)
        else:
            ending = "-" if error is None else getattr(error, "text", str(error))
        log.add(f"disconnected {self.context.connection_id} {ending}")

    # Calls and results.

    @hub_method(name="Echo")
    async def echo(self, text: str | None) -> str | None:
        return text

    @hub_method(name="EchoRecord")
    async def echo_record(self, record: Record | None) -> Record | None:
        return record

    @hub_method(name="Add")
    async def add(self, a: Int32, b: Int32) -> int:
        return a + b

    @hub_method(name="Nothing")
    def nothing(self) -> None:
        """A plain ``def``, so it runs in a thread."""

    @hub_method(name="Fail")
    async def fail(self, text: str) -> None:
        raise InvalidOperationException(text)

    @hub_method(name="FailHub")
    async def fail_hub(self, text: str) -> None:
        raise HubException(text)

    @hub_method(name="FailHubData")
    async def fail_hub_data(self, text: str) -> None:
        raise HubException(text, data={"text": text})

    @hub_method(name="Slow")
    async def slow(self, ms: Int32) -> str:
        await asyncio.sleep(ms / 1000)
        return "done"

    @hub_method(name="Big")
    async def big(self, n: Int32) -> str:
        return "x" * n

    @hub_method(name="GetConnectionId")
    async def get_connection_id(self) -> str:
        return self.context.connection_id

    @hub_method(name="GetUserName")
    async def get_user_name(self) -> str | None:
        return self.context.user_identifier

    @hub_method(name="Progress")
    async def progress(self, n: Int32, progress: Progress[int]) -> int:
        for i in range(n):
            await progress.areport(i)
            await asyncio.sleep(0.02)
        return n

    @hub_method(name="CountState")
    async def count_state(self) -> int:
        state = self.clients.caller_state
        state["counter"] = count = state.get("counter", 0) + 1
        return int(count)

    @hub_method(name="AbortMe")
    async def abort_me(self) -> None:
        self.context.abort()

    @hub_method(name="Close")
    async def close(self, id: str, error: str | None) -> None:
        """Not in the contracts: .NET's servers have nothing like it."""
        await get_hub_context(type(self)).connections.aclose(id, error=error)

    @hub_method(name="GetEvents")
    async def get_events(self) -> list[str]:
        return log.read()

    # Calls to clients.

    @hub_method(name="ToCaller")
    async def to_caller(self, text: str) -> None:
        await self.clients.caller.asend(MESSAGE, "ToCaller", text)

    @hub_method(name="ToAll")
    async def to_all(self, text: str) -> None:
        await self.clients.all.asend(MESSAGE, "ToAll", text)

    @hub_method(name="ToOthers")
    async def to_others(self, text: str) -> None:
        await self.clients.others.asend(MESSAGE, "ToOthers", text)

    @hub_method(name="ToClient")
    async def to_client(self, id: str, text: str) -> None:
        await self.clients.client(id).asend(MESSAGE, "ToClient", text)

    @hub_method(name="ToUser")
    async def to_user(self, user: str, text: str) -> None:
        await self.clients.user(user).asend(MESSAGE, "ToUser", text)

    @hub_method(name="AskClient")
    async def ask_client(self, id: str, n: Int32) -> int:
        return int(await self.clients.client(id).ainvoke("Ask", n, result_type=Int32))

    # Groups.

    @hub_method(name="Join")
    async def join(self, group: str) -> None:
        await self.groups.aadd(self.context.connection_id, group)

    @hub_method(name="Leave")
    async def leave(self, group: str) -> None:
        await self.groups.aremove(self.context.connection_id, group)

    @hub_method(name="ToGroup")
    async def to_group(self, group: str, text: str) -> None:
        await self.clients.group(group).asend(MESSAGE, "ToGroup", text)

    @hub_method(name="ToOthersInGroup")
    async def to_others_in_group(self, group: str, text: str) -> None:
        await self.clients.others_in_group(group).asend(MESSAGE, "ToOthersInGroup", text)

    @hub_method(name="ToGroupExcept")
    async def to_group_except(self, group: str, id: str, text: str) -> None:
        await self.clients.group_except(group, [id]).asend(MESSAGE, "ToGroupExcept", text)

    # Streams to the caller.

    @hub_method(name="Count")
    async def count(self, n: Int32, delay_ms: Int32) -> AsyncIterator[int]:
        for i in range(n):
            if delay_ms > 0:
                await asyncio.sleep(delay_ms / 1000)
            yield i

    @hub_method(name="CountFail")
    async def count_fail(self, n: Int32) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        raise HubException("counted")

    @hub_method(name="Forever")
    async def forever(self) -> AsyncIterator[int]:
        try:
            for i in itertools.count():
                yield i
                await asyncio.sleep(0.02)
        finally:
            log.add("cancelled")

    # Streams from the caller.

    @hub_method(name="Sum")
    async def sum(self, numbers: AsyncIterator[Int32]) -> int:
        return sum([number async for number in numbers])

    @hub_method(name="Join2")
    async def join2(self, left: AsyncIterator[str], right: AsyncIterator[str]) -> str:
        # Reads both at once: a stream nobody reads fills its buffer and holds up the connection.
        return "|".join(await asyncio.gather(concatenate(left), concatenate(right)))

    @hub_method(name="Relay")
    async def relay(self, items: AsyncIterator[str]) -> AsyncIterator[str]:
        async for item in items:
            yield item.upper()


async def concatenate(items: AsyncIterator[str]) -> str:
    return "".join([item async for item in items])


class InvalidOperationException(Exception):
    """Has the name of the one that the .NET peer raises, so that recordings can be compared byte for byte."""


class StrictHub(PeerHub):
    settings = {
        "ENABLE_DETAILED_ERRORS": False,
        "MAXIMUM_RECEIVE_MESSAGE_SIZE": 1024,
        "KEEP_ALIVE_INTERVAL": 1,
        "CLIENT_TIMEOUT_INTERVAL": 2,
        "HANDSHAKE_TIMEOUT": 1,
        "STREAM_BUFFER_CAPACITY": 2,
    }


def user_name(user: AbstractBaseUser) -> str:
    return user.get_username()


class SecureHub(PeerHub):
    permission_classes = [IsAuthenticated]
    settings = {
        "CLOSE_ON_AUTHENTICATION_EXPIRATION": True,
        "USER_IDENTIFIER": user_name,
        "ACCESS_TOKEN_IN_QUERY": "always",
    }


class ParallelHub(PeerHub):
    settings = {"MAXIMUM_PARALLEL_INVOCATIONS": 4}


class BenchHub(Hub):
    classic_name = "bench"

    @hub_method(name="Echo")
    async def echo(self, text: str) -> str:
        return text

    @hub_method(name="Broadcast")
    async def broadcast(self, text: str) -> None:
        await self.clients.all.asend("message", text)


class EchoConnection(ConnectionHandler):
    """Sends back what it receives, without a hub protocol."""

    async def on_connected(self, connection: RawConnection) -> None:
        async for data in connection:
            await connection.asend(data)
