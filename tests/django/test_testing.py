"""The test client for application authors: what its users see, in Django's own test cases and in pytest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connections, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from signalr_channels import CloseReason, Disconnect, Hub, HubException, HubFilter, get_hub_context, hub_method
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import ConnectionClosed, HubDefinitionError, LocalProtocolError, RequestRefused, WrongContext
from signalr_channels.hubs.permissions import IsAuthenticated, IsStaff
from signalr_channels.models import Connection, LifetimeEvent
from signalr_channels.pytest_plugin import hub_communicator
from signalr_channels.recorder import Recorder, use_recorder
from signalr_channels.routing import HubRouter
from signalr_channels.runtime import get_runtime
from signalr_channels.signals import lifetime_event
from signalr_channels.testing import ClientCall, HubCommunicator, HubInvocationError, upload
from tests.tasks import no_task_left
from tests.unit.scripted import eventually

__all__ = ["hub_communicator", "no_task_left"]

ROOT = Path(__file__).resolve().parents[2]
User = get_user_model()

pytestmark = pytest.mark.usefixtures("no_task_left")


@dataclass
class Order:
    order_id: int
    title: str = ""


class ShopHub(Hub):
    """Something of everything."""

    async def on_connected(self) -> None:
        await self.groups.aadd(self.context.connection_id, "everybody")
        await self.clients.caller.asend("welcome", self.context.user.get_username())

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        await self.clients.others.asend("left", self.context.connection_id, str(disconnect.reason), disconnect.stop_called)

    @hub_method
    async def send_message(self, group: str, text: str) -> None:
        if not text:
            raise HubException("A message needs text.")
        await self.clients.group(group).asend("messageReceived", text)

    @hub_method
    async def join(self, group: str) -> None:
        await self.groups.aadd(self.context.connection_id, group)

    @hub_method
    async def leave(self, group: str) -> None:
        await self.groups.aremove(self.context.connection_id, group)

    @hub_method
    async def echo(self, value: Any) -> Any:
        return value

    @hub_method
    async def next_order(self, order: Order) -> Order:
        return Order(order.order_id + 1, order.title)

    @hub_method
    async def fail(self) -> None:
        raise ZeroDivisionError("secret")

    @hub_method
    async def remember(self, value: int) -> None:
        self.context.items["value"] = value

    @hub_method(permission_classes=[IsStaff])
    async def refund(self) -> str:
        return "done"

    @hub_method
    async def countdown(self, start: int) -> AsyncIterator[int]:
        for number in range(start, 0, -1):
            yield number

    @hub_method
    async def half_countdown(self, start: int) -> AsyncIterator[int]:
        yield start
        raise HubException("That is enough.")

    @hub_method
    async def forever(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield (number := number + 1)
                await asyncio.sleep(0)
        finally:
            await self.clients.all.asend("ended")

    @hub_method
    async def total(self, numbers: AsyncIterator[int], factor: int) -> int:
        return factor * sum([number async for number in numbers])

    @hub_method
    async def first(self, numbers: AsyncIterator[int]) -> int:
        return await numbers.__anext__()

    @hub_method
    async def zip(self, left: AsyncIterator[str], right: AsyncIterator[str]) -> AsyncIterator[str]:
        async for one in left:
            yield one + await right.__anext__()

    @hub_method
    async def ask(self, question: int) -> int:
        result: int = await self.clients.caller.ainvoke("ask", question, result_type=int)
        return result + 1

    @hub_method
    def ask_from_thread(self, question: int) -> int:
        result: int = self.clients.caller.invoke("ask", question, result_type=int)
        return result + 1

    @hub_method
    async def abort(self) -> None:
        self.context.abort()

    @hub_method
    async def sleep(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "awake"

    @hub_method
    async def facts(self) -> list[Any]:
        context = self.context
        header = dict(context.scope["headers"])[b"x-one"].decode()
        return [context.user_identifier, context.hub_protocol, context.transport, context.scope.get("tenant"), header]


# Calls


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_call_a_message_and_a_goodbye(protocol: str) -> None:
    async with HubCommunicator(ShopHub, protocol=protocol) as client:
        assert await client.receive("welcome") == [""]
        assert await client.ainvoke("SendMessage", "everybody", "hi") is None
        assert await client.receive("messageReceived") == ["hi"]
        assert await client.ainvoke("send_message", "everybody", "again") is None
        assert client.received == (ClientCall("messageReceived", ["again"]),)
        assert client.closed is None
        assert client.context.hub_protocol == protocol
    assert client.closed is not None
    assert (client.closed.reason, client.closed.stop_called) == (CloseReason.CLIENT_CLOSED, True)


async def test_a_call_that_nobody_waits_for() -> None:
    async with HubCommunicator(ShopHub) as client:
        await client.asend("SendMessage", "everybody", "hi")
        await client.asend("SendMessage", "everybody", "")
        await client.asend("Nonsense")
        assert await client.receive("messageReceived", timeout=1) == ["hi"]


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_results_and_items_can_be_converted(protocol: str) -> None:
    async with HubCommunicator(ShopHub, protocol=protocol) as client:
        assert await client.ainvoke("NextOrder", Order(1, "tea")) == {"order_id": 2, "title": "tea"}
        assert await client.ainvoke("NextOrder", {"order_id": 1}, result_type=Order) == Order(2)
        assert [item async for item in client.astream("Countdown", 2, item_type=float)] == [2.0, 1.0]


async def test_an_error_has_the_clients_text_and_the_hubs_exception() -> None:
    async with HubCommunicator(ShopHub) as client:
        with pytest.raises(HubInvocationError) as caught:
            await client.ainvoke("SendMessage", "lobby", "")
        assert (
            str(caught.value) == "An unexpected error occurred invoking 'send_message' on the server. HubException: A message needs text."
        )
        assert isinstance(caught.value.__cause__, HubException)
        with pytest.raises(HubInvocationError) as caught:
            await client.ainvoke("Fail")
        assert str(caught.value) == "An unexpected error occurred invoking 'fail' on the server."
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(HubInvocationError, match="Method does not exist"):
            await client.ainvoke("Nonsense")
        with pytest.raises(HubInvocationError, match=r"Failed to invoke 'next_order' due to an error on the server\."):
            await client.ainvoke("NextOrder", "x")
        assert await client.ainvoke("Echo", 1) == 1


async def test_settings_headers_and_scope_of_one_client() -> None:
    client = HubCommunicator(ShopHub, ENABLE_DETAILED_ERRORS=True, headers={"X-One": "1"}, scope={"tenant": "acme"})
    async with client:
        assert await client.ainvoke("Facts") == [None, "json", "webSockets", "acme", "1"]
        with pytest.raises(HubInvocationError, match="ZeroDivisionError: secret"):
            await client.ainvoke("Fail")
    with pytest.raises(HubDefinitionError, match="ENABLE_DETAILED_ERRORS"):
        HubCommunicator(ShopHub, ENABLE_DETAILED_ERROR=True)
    with pytest.raises(ValueError, match="json or messagepack"):
        HubCommunicator(ShopHub, protocol="xml")
    with pytest.raises(TypeError, match="hub class"):
        HubCommunicator("ShopHub")  # type: ignore[arg-type]


async def test_arguments_that_cannot_be_encoded_are_refused_in_the_test() -> None:
    async with HubCommunicator(ShopHub) as client:
        with pytest.raises(LocalProtocolError):
            await client.ainvoke("Echo", object())
        assert await client.ainvoke("Echo", "fine") == "fine"


async def test_calls_at_once_keep_their_answers_apart() -> None:
    async with HubCommunicator(ShopHub) as client:
        assert await asyncio.gather(*(client.ainvoke("Echo", number) for number in range(20))) == list(range(20))


# Other clients, groups, hub contexts


async def test_clients_of_one_loop_reach_each_other() -> None:
    async with HubCommunicator(ShopHub) as one, HubCommunicator(ShopHub, protocol="messagepack") as two:
        await one.ainvoke("Join", "lobby")
        await two.ainvoke("Join", "lobby")
        await one.ainvoke("SendMessage", "lobby", "hi")
        assert await one.receive("messageReceived") == await two.receive("MESSAGERECEIVED") == ["hi"]
        await two.stop()
        assert await one.receive("left") == [two.connection_id, "client_closed", True]


async def test_groups_are_to_be_seen() -> None:
    async with HubCommunicator(ShopHub) as client:
        assert client.groups == {"everybody"}
        await client.ainvoke("Join", "lobby")
        assert client.groups == {"everybody", "lobby"}
        await client.ainvoke("Leave", "everybody")
        assert client.groups == {"lobby"}
        await client.ainvoke("Remember", 5)
        assert client.context.items == {"value": 5}
    assert client.groups == frozenset()


async def test_a_hub_context_reaches_it() -> None:
    async with HubCommunicator(ShopHub) as client:
        await client.receive("welcome")
        context = get_hub_context(ShopHub)
        await context.clients.all.asend("news", 1)
        await context.groups.aadd(client.connection_id, "lobby")
        await sync_to_async(context.clients.group("lobby").send)("news", 2)
        assert [await client.receive_next(), await client.receive_next()] == [ClientCall("news", [1]), ClientCall("news", [2])]
        assert await client.nothing_received()


# Being called


async def test_only_the_wanted_call_is_taken() -> None:
    async with HubCommunicator(ShopHub) as client:
        await client.ainvoke("SendMessage", "everybody", "one")
        await client.ainvoke("SendMessage", "everybody", "two")
        assert await client.receive("messageReceived") == ["one"]
        assert await client.receive("welcome") == [""]
        assert await client.nothing_received("welcome")
        assert not await client.nothing_received()
        assert await client.receive_next() == ClientCall("messageReceived", ["two"])
        assert await client.nothing_received(within=0)


async def test_something_that_comes_late_is_not_nothing() -> None:
    async with HubCommunicator(ShopHub) as client:
        await client.receive("welcome")
        asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(get_hub_context(ShopHub).clients.all.asend("news")))
        started = time.monotonic()
        assert not await client.nothing_received(within=5)
        assert time.monotonic() - started < 4


async def test_what_does_not_come_fails_the_test_and_says_what_came() -> None:
    async with HubCommunicator(ShopHub) as client:
        with pytest.raises(AssertionError) as caught:
            await client.receive("messageReceived", timeout=0.02)
        assert str(caught.value) == "messageReceived was not called after 0.02 s. Client calls not received yet: welcome('')."
        with pytest.raises(AssertionError, match=r"Sleep has not ended after 0\.02 s"):
            await client.ainvoke("Sleep", 0.1, timeout=0.02)
        with pytest.raises(AssertionError, match=r"The connection goes on after 0\.02 s"):
            await client.wait_closed(timeout=0.02)


async def test_the_hub_asks_the_client() -> None:
    async with HubCommunicator(ShopHub) as client:
        client.on("ask", lambda n: n + 1)
        assert await client.ainvoke("Ask", 1) == 3
        assert await client.ainvoke("AskFromThread", 2) == 4

        async def answer(n: int) -> int:
            await asyncio.sleep(0)
            return 10 * n

        client.on("ASK", answer)
        assert await client.ainvoke("Ask", 1) == 11
        assert await get_hub_context(ShopHub).clients.client(client.connection_id).ainvoke("ask", 5) == 50


async def test_the_client_answers_with_an_error_or_not_at_all() -> None:
    async with HubCommunicator(ShopHub) as client:
        with pytest.raises(HubInvocationError, match=r"HubException: Client didn't provide a result\.$"):
            await client.ainvoke("Ask", 1)
        assert await client.receive("ask") == [1]  # so that a test can look at it

        def refuse(question: int) -> int:
            raise ValueError(f"not {question}")

        client.on("ask", refuse)
        with pytest.raises(HubInvocationError, match=r"HubException: not 1$"):
            await client.ainvoke("Ask", 1)


async def test_handlers_take_calls_instead_of_the_queue() -> None:
    seen: list[Any] = []
    async with HubCommunicator(ShopHub) as client:
        client.on("messageReceived", seen.append)
        await client.ainvoke("SendMessage", "everybody", "hi")
        assert await client.nothing_received("messageReceived")
        assert seen == ["hi"]


async def test_what_a_handler_asserts_fails_the_test() -> None:
    checked: list[str] = []

    def check(text: str) -> None:
        checked.append(text)
        assert text == "hello", "the wrong text"

    client = HubCommunicator(ShopHub)
    await client.start()
    client.on("messageReceived", check)
    client.on("ask", check)
    await client.asend("SendMessage", "everybody", "hi")
    with pytest.raises(AssertionError, match="the wrong text"):
        await client.receive("nothing")
    with pytest.raises(AssertionError, match="the wrong text"):  # and not only the hub
        await client.ainvoke("Ask", 1)
    await client.asend("SendMessage", "everybody", "hi")
    await eventually(lambda: len(checked) == 3)
    with pytest.raises(AssertionError, match="the wrong text"):
        await client.stop()
    assert not client.is_started


# Streams


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_stream_to_the_client(protocol: str) -> None:
    async with HubCommunicator(ShopHub, protocol=protocol) as client:
        assert [item async for item in client.astream("Countdown", 3)] == [3, 2, 1]
        assert [item async for item in client.astream("Countdown", 0)] == []
        stream = client.astream("HalfCountdown", 3)
        assert await anext(stream) == 3
        with pytest.raises(HubInvocationError, match="That is enough") as caught:
            await anext(stream)
        assert isinstance(caught.value.__cause__, HubException)
        with pytest.raises(HubInvocationError, match="non-streaming 'echo' method"):
            await anext(client.astream("Echo", 1))


async def test_a_stream_is_cancelled() -> None:
    async with HubCommunicator(ShopHub) as client:
        stream = client.astream("Forever")
        assert [await anext(stream), await anext(stream)] == [1, 2]
        await stream.acancel()
        await client.receive("ended")
        left = [item async for item in stream]
        assert left == sorted(left)
        await stream.acancel()
        async with client.astream("Forever") as items:
            async for item in items:
                if item == 3:
                    break
        await client.receive("ended")
        async with client.astream("Forever"):
            pass  # never began
        assert await client.nothing_received("ended")


async def test_a_stream_that_nobody_cancels_ends_with_the_client() -> None:
    async with HubCommunicator(ShopHub) as other:
        async with HubCommunicator(ShopHub) as client:
            async for item in client.astream("Forever"):
                assert item == 1
                break
        await other.receive("ended")


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_streams_to_the_hub(protocol: str) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(100):  # over STREAM_BUFFER_CAPACITY
            yield number
            await asyncio.sleep(0)

    async with HubCommunicator(ShopHub, protocol=protocol) as client:
        assert await client.ainvoke("Total", numbers(), 2) == 9900
        assert await client.ainvoke("Total", upload(range(1000)), 1) == 499_500
        assert await client.ainvoke("Total", upload([]), 2) == 0
        assert await client.ainvoke("First", numbers()) == 0
        zipped = client.astream("Zip", upload(["a", "b"]), upload(["1", "2"]))
        assert [item async for item in zipped] == ["a1", "b2"]


async def test_an_upload_stream_that_fails_fails_the_call() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more numbers")

    async with HubCommunicator(ShopHub) as client:
        with pytest.raises(HubInvocationError, match=r"HubException: no more numbers$"):
            await client.ainvoke("Total", numbers(), 1)


async def test_an_upload_stream_without_an_end_ends_with_the_client() -> None:
    async def numbers() -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(0)

    async with HubCommunicator(ShopHub) as client:
        await client.asend("Total", numbers(), 1)
        assert await client.ainvoke("First", numbers()) == 1


# Who is let in, and how it ends


@dataclass
class FakeUser:
    pk: int
    is_staff: bool = False
    is_authenticated: bool = True
    is_active: bool = True

    def get_username(self) -> str:
        return f"user {self.pk}"


class MembersHub(ShopHub):
    permission_classes = [IsAuthenticated]


async def test_permissions_count() -> None:
    for user in (None, AnonymousUser()):
        client = HubCommunicator(MembersHub, user=user)
        with pytest.raises(RequestRefused) as caught:
            await client.start()
        assert caught.value.status == 401
    async with HubCommunicator(MembersHub, user=FakeUser(1)) as member, HubCommunicator(MembersHub, user=FakeUser(2, True)) as staff:
        assert await member.receive("welcome") == ["user 1"]
        with pytest.raises(HubInvocationError, match="Failed to invoke 'refund' because user is unauthorized"):
            await member.ainvoke("Refund")
        assert await staff.ainvoke("Refund") == "done"
        assert staff.context.user_identifier == "2"
        await get_hub_context(MembersHub).clients.user("1").asend("personal")
        assert await member.receive("personal") == []
        assert await staff.nothing_received("personal")


async def test_a_full_server_refuses() -> None:
    async with HubCommunicator(ShopHub):
        with override_settings(SIGNALR={"MAXIMUM_CONNECTIONS": 1}), pytest.raises(RequestRefused) as caught:
            await HubCommunicator(ShopHub).start()
        assert caught.value.status == 503


class ClosedHub(Hub):
    async def on_connected(self) -> None:
        raise HubException("We are closed.")


class SilentHub(Hub):
    async def on_connected(self) -> None:
        await asyncio.sleep(3600)


async def test_a_hub_that_turns_it_away() -> None:
    client = HubCommunicator(ClosedHub)
    with pytest.raises(ConnectionClosed, match=r"Connection closed with an error\. HubException: We are closed\.") as caught:
        await client.start()
    assert isinstance(caught.value.__cause__, HubException)
    assert client.closed is not None
    assert client.closed.reason is CloseReason.HUB_ERROR
    assert client.close_message is not None
    assert not client.close_message.allow_reconnect
    assert not client.is_started


async def test_a_hub_that_does_not_let_it_in_at_all(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AssertionError, match=r"on_connected has not ended after 0\.02 s"):
        await HubCommunicator(SilentHub, timeout=0.02).start()
    assert "what ran on for 0.02 s after its client had left was cancelled" in caplog.text


async def test_a_protocol_that_the_hub_does_not_speak() -> None:
    with pytest.raises(ConnectionClosed, match=r"The protocol 'messagepack' is not supported\."):
        await HubCommunicator(ShopHub, protocol="messagepack", HUB_PROTOCOLS=["json"]).start()


async def test_the_hub_ends_it() -> None:
    async with HubCommunicator(ShopHub) as client:
        with pytest.raises(ConnectionClosed, match="closed_by_app"):
            await client.ainvoke("Abort")
        disconnect = await client.wait_closed()
        assert disconnect is client.closed
        assert (disconnect.reason, disconnect.allows_reconnect) == (CloseReason.CLOSED_BY_APP, False)
        assert client.close_message is not None
        for call in (client.ainvoke("Echo", 1), client.asend("Echo", 1), client.receive("nothing"), anext(client.astream("Countdown", 1))):
            with pytest.raises(ConnectionClosed):
                await call
        assert await client.receive("welcome") == [""]  # it came before the end
        assert await client.nothing_received()


async def test_a_client_that_vanishes() -> None:
    async with HubCommunicator(ShopHub) as other, HubCommunicator(ShopHub) as client:
        await client.vanish()
        assert client.closed is not None
        assert (client.closed.reason, client.closed.stop_called) == (CloseReason.CLIENT_GONE, False)
        assert await other.receive("left") == [client.connection_id, "client_gone", False]


async def test_calls_that_run_when_it_leaves_run_to_their_end() -> None:
    ended: list[float] = []

    class SlowHub(Hub):
        @hub_method
        async def work(self, seconds: float) -> None:
            await asyncio.sleep(seconds)
            ended.append(seconds)

    async with HubCommunicator(SlowHub) as client:
        await client.asend("Work", 0.03)
        await client.asend("Work", 0.01)
    assert ended == [0.03, 0.01]


async def test_calls_that_never_end_are_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async with HubCommunicator(ShopHub, timeout=0.05) as client:
        await client.asend("Sleep", 3600)
    assert "what ran on for 0.05 s after its client had left was cancelled" in caplog.text


async def test_it_connects_once_and_stops_as_often_as_one_likes() -> None:
    client = HubCommunicator(ShopHub)
    for use in (
        lambda: client.connection_id,
        lambda: client.clock,
        client.ping,
        lambda: client.groups,
        lambda: client.astream("Countdown", 1),
    ):
        with pytest.raises(WrongContext):
            use()
    with pytest.raises(WrongContext):
        await client.ainvoke("Echo", 1)
    await client.stop()
    await client.start()
    assert client.is_started
    with pytest.raises(WrongContext):
        await client.start()
    await client.stop()
    await client.stop()
    assert not client.is_started
    with pytest.raises(WrongContext):
        await client.start()


async def test_a_loop_that_a_real_server_uses_is_left_alone() -> None:
    runtime = get_runtime()
    try:
        with pytest.raises(WrongContext, match="served in this event loop already"):
            await HubCommunicator(ShopHub).start()
    finally:
        await runtime.stop()


# Time


async def test_time_passes_when_it_is_told_to() -> None:
    async with HubCommunicator(ShopHub) as client, HubCommunicator(ShopHub) as other:
        assert client.clock is other.clock
        assert (client.clock.now, client.pings) == (0, 0)
        client.clock.advance(14.5)
        assert client.pings == 0
        client.clock.advance(0.5)
        assert client.pings == 1
        client.ping()
        client.clock.advance(16)
        assert client.pings == 2
        assert client.closed is None
        assert other.closed is not None  # silent since its first ping
        assert other.closed.reason is CloseReason.PING_TIMEOUT
        assert await client.receive("left") == [other.connection_id, "ping_timeout", False]
        assert other.close_message is not None
        assert other.close_message.error == "Connection closed with an error."
        assert other.close_message.allow_reconnect


async def test_a_setting_moves_the_timeouts() -> None:
    async with HubCommunicator(ShopHub, KEEP_ALIVE_INTERVAL=2, CLIENT_TIMEOUT_INTERVAL=5) as client:
        client.clock.advance(4)
        assert client.pings == 2
        client.clock.advance(2)
        assert (await client.wait_closed()).reason is CloseReason.PING_TIMEOUT


# Django's test cases


class UserHub(Hub):
    """Uses the database in every way hub code may."""

    def on_connected(self) -> None:  # type: ignore[override]
        User.objects.create(username="connected")

    def on_disconnected(self, disconnect: Disconnect) -> None:  # type: ignore[override]
        User.objects.create(username=f"disconnected {disconnect.reason}")

    @hub_method
    def add(self, name: str) -> int:
        with transaction.atomic():
            return User.objects.create(username=name).pk

    @hub_method
    async def aadd(self, name: str) -> int:
        return (await User.objects.acreate(username=name)).pk

    @hub_method
    async def names(self) -> AsyncIterator[str]:
        async for user in User.objects.order_by("pk"):
            yield user.username

    @hub_method
    def fail_halfway(self, name: str) -> None:
        with transaction.atomic():
            User.objects.create(username=name)
            raise HubException("rolled back")


class CountingFilter(HubFilter):
    async def invoke_method(self, invocation: Any, next: Any) -> Any:
        invocation.context.items["users"] = await User.objects.acount()
        return await next(invocation)


async def use_the_database(client: HubCommunicator) -> None:
    await sync_to_async(User.objects.create)(username="sync test")
    await User.objects.acreate(username="async test")
    await client.ainvoke("Add", "sync hub")
    await client.ainvoke("Aadd", "async hub")
    with pytest.raises(HubInvocationError, match="rolled back"):
        await client.ainvoke("FailHalfway", "halfway")
    names = [name async for name in client.astream("Names")]
    assert names[-5:] == ["connected", "sync test", "async test", "sync hub", "async hub"]
    assert await User.objects.filter(username="sync hub").aexists()
    assert client.context.items["users"] > 0


class InATestCase(TestCase):
    """The transaction of the test, seen from everywhere, and rolled back."""

    @classmethod
    def setUpTestData(cls) -> None:
        User.objects.create(username="set up")

    async def use(self) -> None:
        async with HubCommunicator(UserHub, HUB_FILTERS=[CountingFilter]) as client:
            await use_the_database(client)
            assert await User.objects.acount() == 6
        assert await User.objects.filter(username="disconnected client_closed").aexists()

    async def test_one(self) -> None:
        await self.use()

    async def test_two(self) -> None:
        """It finds nothing of what the other one did."""
        await self.use()

    async def test_a_logged_in_user(self) -> None:
        user = await User.objects.aget(username="set up")
        async with HubCommunicator(MembersHub, user=user) as client:
            assert await client.receive("welcome") == ["set up"]
            assert client.context.user_identifier == str(user.pk)

    def test_sync_code_of_the_test_sees_it(self) -> None:
        async_to_sync(self.use)()
        assert User.objects.filter(username="sync hub").exists()


class InATransactionTestCase(TransactionTestCase):
    async def test_without_a_transaction(self) -> None:
        async with HubCommunicator(UserHub, HUB_FILTERS=[CountingFilter]) as client:
            await use_the_database(client)


class WithoutADatabase(SimpleTestCase):
    """Nothing asks for the database on the quiet."""

    async def test_nothing_uses_it(self) -> None:
        with override_settings(SIGNALR={"HISTORY": True}):
            async with HubCommunicator(ShopHub) as client:
                await client.ainvoke("Echo", 1)
                client.clock.advance(120)


# pytest


@pytest.mark.django_db
@pytest.mark.parametrize("time", [1, 2])
async def test_in_pytest_the_fixture_shares_the_transaction(hub_communicator: Callable[..., HubCommunicator], time: int) -> None:
    assert not await User.objects.aexists()
    async with hub_communicator(UserHub, HUB_FILTERS=[CountingFilter]) as client:
        await use_the_database(client)
    assert await User.objects.filter(username="disconnected client_closed").aexists()


@pytest.mark.django_db
def test_afterwards_the_thread_has_connections_of_its_own() -> None:
    """The tests before this one have used the thread of sync code."""
    assert not User.objects.exists()

    async def other_connection() -> Any:
        return await sync_to_async(lambda: connections["default"])()

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(other_connection()) is not connections["default"]
    finally:
        loop.close()
    assert connections["default"].allow_thread_sharing is False


async def test_the_fixture_without_a_database(hub_communicator: Callable[..., HubCommunicator]) -> None:
    async with hub_communicator(ShopHub) as one, hub_communicator(ShopHub) as two:
        await one.ainvoke("SendMessage", "everybody", "hi")
        assert await two.receive("messageReceived") == ["hi"]


def test_the_plugin_in_a_project_of_its_own(tmp_path: Path) -> None:
    """Found by pytest, with hints for a client that was forgotten."""
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
        from signalr_channels import Hub, hub_method

        class AddHub(Hub):
            @hub_method
            async def add(self, a: int, b: int) -> int:
                return a + b

        async def test_it(hub_communicator):
            async with hub_communicator(AddHub) as client:
                assert await client.ainvoke("Add", 1, 2) == 3

        async def test_forgotten(hub_communicator):
            await hub_communicator(AddHub).start()
    """)
    )
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "signalr_channels.pytest_plugin", "-p", "no:cacheprovider", "--rootdir", str(tmp_path),
        "-o", "asyncio_mode=auto", "--ds", "tests.settings", str(tmp_path),
    ]  # fmt: skip
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "1 HubCommunicator(s) were not stopped" in result.stdout, result.stdout + result.stderr
    assert "2 passed, 1 error" in result.stdout


def test_the_entry_point_has_the_name_of_the_module() -> None:
    """So that naming the module in ``-p`` or ``pytest_plugins`` as well does not register it twice."""
    text = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\n"signalr_channels.pytest_plugin" = "signalr_channels.pytest_plugin"\n' in text


# History


async def test_the_history_is_not_written_and_no_thread_started() -> None:
    before = set(threading.enumerate())
    with override_settings(SIGNALR={"HISTORY": True}):
        async with HubCommunicator(ShopHub):
            pass
    assert set(threading.enumerate()) <= before


class WithHistory(TestCase):
    async def test_a_recorder_that_writes_at_once(self) -> None:
        kinds: list[str] = []

        def note(sender: Any, event: Any, **kwargs: Any) -> None:
            kinds.append(event.kind.value)

        lifetime_event.connect(note)
        try:
            with override_settings(SIGNALR={"HISTORY": True}), use_recorder(Recorder(synchronous=True)):
                async with HubCommunicator(ShopHub) as client:
                    pass
        finally:
            lifetime_event.disconnect(note)
        assert kinds == ["connected", "disconnected"]
        row = await Connection.objects.aget(connection_id=client.connection_id)
        assert row.transport == "webSockets"
        assert await LifetimeEvent.objects.filter(reason="client_closed").acount() == 1


# Importing it


def test_it_can_be_imported_without_a_server() -> None:
    code = """
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("daphne", "uvicorn", "websockets", "twisted", "hypercorn", "pytest", "channels_redis", "redis"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Blocker())
        import django
        django.setup()
        import signalr_channels.testing
        assert "channels.testing" not in sys.modules
        print(*signalr_channels.testing.__all__)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={"DJANGO_SETTINGS_MODULE": "tests.peer_site.settings"},
    )
    assert result.stdout.split() == ["ClientCall", "HubCommunicator", "HubInvocationError", "HubStream", "upload"], result.stderr


# Beside other ways to test


async def test_a_communicator_of_channels_in_the_same_test() -> None:
    router = HubRouter([HubEndpoint("hubs/shop", ShopHub, {})])
    async with HubCommunicator(ShopHub) as client:
        socket = WebsocketCommunicator(router, "/hubs/shop")
        assert (await socket.connect())[0]
        await socket.send_to('{"protocol":"json","version":1}\x1e')
        assert await socket.receive_from() == "{}\x1e"
        assert "welcome" in await socket.receive_from()
        await client.ainvoke("SendMessage", "everybody", "hi")
        assert await socket.receive_from() == '{"type":1,"target":"messageReceived","arguments":["hi"]}\x1e'
        await socket.disconnect()
        await client.receive("left")
