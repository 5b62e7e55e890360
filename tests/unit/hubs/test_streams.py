"""Streams to clients and from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, ClassVar

import msgspec
import pytest

from signalr_channels.exceptions import ArgumentBindingError, ConnectionClosed, HubException
from signalr_channels.hubs.filters import HubFilter, HubInvocation, InvokeNext
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from signalr_channels.hubs.progress import NO_PROGRESS, Progress
from signalr_channels.hubs.upload_streams import UploadStream
from tests.unit.scripted import CLOSE, PING, ScriptedServer, completion, eventually, failed, settle

pytestmark = pytest.mark.usefixtures("no_task_left")

STREAMING_FAILED = "An error occurred on the server while streaming results."


def item(invocation_id: str, value: Any) -> dict[str, Any]:
    return {"type": 2, "invocationId": invocation_id, "item": value}


def end(invocation_id: str) -> dict[str, Any]:
    return {"type": 3, "invocationId": invocation_id}


class StreamHub(Hub):
    log: list[Any]
    gate: asyncio.Event

    @hub_method
    async def count(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @hub_method
    async def count_later(self, n: int) -> AsyncIterator[int]:
        await asyncio.sleep(0)
        return counting(n)

    @hub_method
    def count_plain(self, n: int) -> AsyncGenerator[int, None]:
        return counting(n)

    @hub_method
    async def count_aloud(self, n: int, progress: Progress[int]) -> AsyncIterator[int]:
        for i in range(n):
            progress.report(i)
            yield i

    @hub_method
    async def copy_aloud(self, source: AsyncIterator[int], most: int = 9, progress: Progress[int] = NO_PROGRESS) -> list[int]:
        progress.report(most)
        return [item async for item in source][:most]

    @hub_method
    async def count_fail(self, n: int, kind: str) -> AsyncIterator[int]:
        try:
            for i in range(n):
                yield i
            raise HubException("counted") if kind == "hub" else ValueError("secret")
        finally:
            self.log.append("failed")

    @hub_method
    async def no_stream(self) -> AsyncIterator[int]:
        return None  # type: ignore[return-value]

    @hub_method
    async def forever(self) -> AsyncIterator[int]:
        self.log.append("began")
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            self.log.append("ended")

    @hub_method
    async def slow_start(self) -> AsyncIterator[int]:
        await asyncio.Event().wait()
        return counting(1)

    @hub_method
    async def unspeakable(self) -> AsyncIterator[Any]:
        try:
            yield 1
            yield object()
            raise AssertionError("not asked for more")
        finally:
            self.log.append("closed")

    @hub_method
    async def noting(self) -> AsyncIterator[str]:
        for i in range(100):
            self.log.append(i)
            yield "x" * 4096

    @hub_method
    async def wait(self) -> str:
        await self.gate.wait()
        return "waited"

    # From clients

    @hub_method
    async def sum(self, start: int, numbers: AsyncIterator[int]) -> int:
        return start + sum([number async for number in numbers])

    @hub_method
    async def gated_sum(self, numbers: AsyncIterator[int]) -> int:
        await self.gate.wait()
        return sum([number async for number in numbers])

    @hub_method
    async def first(self, items: AsyncIterator[str]) -> str:
        async for one in items:
            return one
        return "none"

    @hub_method
    async def ignore(self, items: AsyncIterator[str]) -> str:
        await self.gate.wait()
        return "ignored"

    @hub_method
    async def join(self, left: AsyncIterator[str], separator: str, right: AsyncIterator[str]) -> str:
        return separator.join([await joined(left), await joined(right)])

    @hub_method
    async def shout(self, items: AsyncIterator[str]) -> AsyncIterator[str]:
        async for one in items:
            yield one.upper()

    @hub_method
    async def watch(self, items: AsyncIterator[str]) -> None:
        try:
            async for one in items:
                self.log.append(one)
        except ConnectionClosed as error:
            self.log.append(str(error))


async def joined(parts: AsyncIterator[str]) -> str:
    return "".join([part async for part in parts])


async def counting(n: int) -> AsyncGenerator[int, None]:
    for i in range(n):
        yield i


@pytest.fixture
def hub() -> type[StreamHub]:
    return type("StreamHub", (StreamHub,), {"log": [], "gate": asyncio.Event()})


# To clients


@pytest.mark.parametrize("target", ["count", "countLater", "countPlain", "countAloud"])
async def test_items_come_in_order_and_then_a_completion_without_a_result(hub: type[StreamHub], target: str) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream(target, 3)
        assert await client.receive(4) == [item("0", 0), item("0", 1), item("0", 2), end("0")]
        client.stream(target, 0)
        assert await client.receive() == end("1")


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize(("kind", "detail", "always"), [("hub", " HubException: counted", True), ("other", " ValueError: secret", False)])
async def test_a_stream_may_fail_after_some_items(hub: type[StreamHub], kind: str, detail: str, always: bool, detailed: bool) -> None:
    async with ScriptedServer(hub, ENABLE_DETAILED_ERRORS=detailed) as server:
        client = server.connect()
        client.stream("CountFail", 2, kind)
        text = STREAMING_FAILED + (detail if always or detailed else "")
        assert await client.receive(3) == [item("0", 0), item("0", 1), failed("0", text)]
        assert hub.log == ["failed"]


async def test_a_streaming_method_must_give_a_stream(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("NoStream")
        text = "The value returned by the streaming method 'no_stream' is not a ChannelReader<> or IAsyncEnumerable<>."
        assert await client.receive() == failed("0", text)


@pytest.mark.parametrize(
    ("target", "arguments", "text"),
    [
        ("Nowhere", [], "Failed to invoke 'Nowhere' due to an error on the server. HubException: Method does not exist."),
        ("Count", [], "Failed to invoke 'count' due to an error on the server."),
        ("Count", ["3"], "Failed to invoke 'count' due to an error on the server."),
    ],
)
async def test_a_stream_that_cannot_begin_is_answered_once(hub: type[StreamHub], target: str, arguments: list[Any], text: str) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream(target, *arguments)
        assert await client.receive() == failed("0", text)
        await settle()
        assert client.received() == []


async def test_a_client_may_cancel(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("Forever")
        assert await client.receive() == item("0", 0)
        client.cancel("0")
        assert await client.receive() == end("0")
        assert hub.log == ["began", "ended"]
        client.cancel("0")  # too late is harmless
        await settle()
        assert client.received() == []


@pytest.mark.parametrize(("target", "log"), [("Forever", []), ("SlowStart", [])])
async def test_a_client_may_cancel_before_the_first_item(hub: type[StreamHub], target: str, log: list[str]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        invocation_id = client.stream(target)
        client.cancel(invocation_id)
        assert await client.receive() == end("0")
        client.stream("SlowStart")
        await settle()
        client.cancel("1")
        assert await client.receive() == end("1")
        assert hub.log == log


async def test_cancelling_what_is_unknown_or_no_stream_changes_nothing(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.cancel("99")
        client.invoke("wait")
        client.cancel("0")
        await settle()
        hub.gate.set()
        assert await client.receive() == completion("0", "waited")


async def test_an_id_may_be_in_use_once(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("Forever")
        assert await client.receive() == item("0", 0)
        client.send({"type": 4, "invocationId": "0", "target": "Count", "arguments": [1]})
        assert await client.receive() == failed("0", "Invocation ID '0' is already in use.")
        client.cancel("0")
        assert await client.receive() == end("0")
        await settle()
        client.send({"type": 4, "invocationId": "0", "target": "Count", "arguments": [1]})
        assert await client.receive(2) == [item("0", 0), end("0")]


async def test_streams_need_no_slot(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("wait")
        client.stream("Count", 1)
        client.stream("Count", 1)
        assert sorted(message["type"] for message in await client.receive(4)) == [2, 2, 3, 3]
        hub.gate.set()
        assert await client.receive() == completion("0", "waited")


async def test_streams_wait_behind_a_call_that_waits(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("wait")
        client.invoke("wait")
        client.stream("Count", 0)
        client.send(PING)
        await settle()
        assert client.received() == []
        hub.gate.set()
        first, *others = [message["invocationId"] for message in await client.receive(3)]
        assert first == "0" and sorted(others) == ["1", "2"]


async def test_an_item_that_cannot_be_encoded_ends_the_stream_and_closes_the_generator(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("Unspeakable")
        assert await client.receive(2) == [item("0", 1), failed("0", STREAMING_FAILED)]
        assert hub.log == ["closed"]


async def test_a_stream_waits_for_a_client_that_does_not_read(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.transport.pause()
        client.stream("Noting")
        await settle()
        assert len(hub.log) < 10  # a few are written together
        client.transport.resume()
        assert len(await client.receive(101)) == 101
        assert hub.log == list(range(100))


async def test_a_stream_ends_with_its_connection(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("Forever")
        await client.receive()
        await client.leave()
        await eventually(lambda: hub.log == ["began", "ended"])
        assert client.received() == []


async def test_nothing_follows_the_close_while_a_stream_runs(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("Forever")
        await client.receive()
        client.send(CLOSE)
        await client.finished()
        await settle()
        assert client.received() == [CLOSE]
        assert hub.log == ["began", "ended"]


async def test_a_filter_lies_around_the_making_of_a_stream(hub: type[StreamHub]) -> None:
    class OneMore(HubFilter):
        async def invoke_method(self, invocation: HubInvocation, next: InvokeNext) -> Any:
            invocation.arguments[0] += 1
            return await next(invocation)

    async with ScriptedServer(hub, filters=[OneMore()]) as server:
        client = server.connect()
        client.stream("Count", 1)
        assert await client.receive(3) == [item("0", 0), item("0", 1), end("0")]


# From clients


async def test_items_of_a_client_are_read_until_it_completes(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("Sum", 100, streams=["s"])
        for number in (1, 2, 3):
            client.item("s", number)
        await settle()
        assert client.received() == []
        client.complete("s")
        assert await client.receive() == completion("0", 106)


async def test_all_may_come_in_one_chunk(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.send(
            {"type": 1, "invocationId": "0", "target": "sum", "arguments": [0], "streamIds": ["s"]},
            item("s", 1),
            item("s", 2),
            {"type": 3, "invocationId": "s", "result": None},
            {"type": 1, "invocationId": "1", "target": "wait", "arguments": []},
        )
        assert await client.receive() == completion("0", 3)
        hub.gate.set()
        assert await client.receive() == completion("1", "waited")


async def test_a_client_may_end_its_stream_with_an_error(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("Sum", 0, streams=["s"])
        client.item("s", 1)
        client.complete("s", error="no more numbers")
        text = "An unexpected error occurred invoking 'sum' on the server. HubException: no more numbers"
        assert await client.receive() == failed("0", text)


@pytest.mark.parametrize("detailed", [False, True])
async def test_an_item_that_does_not_fit_ends_its_stream(hub: type[StreamHub], detailed: bool) -> None:
    async with ScriptedServer(hub, ENABLE_DETAILED_ERRORS=detailed) as server:
        client = server.connect()
        client.invoke("Sum", 0, streams=["s"])
        client.item("s", 1)
        client.item("s", "two")
        client.item("s", 3)
        answer = await client.receive()
        text = "An unexpected error occurred invoking 'sum' on the server. HubException: Failed to bind Stream message."
        assert answer["error"].startswith(text)
        assert (answer["error"] != text) is detailed
        assert await client.call("count_plain") != answer  # the connection lives on


@pytest.mark.parametrize(("streams", "given"), [([], 0), (["a", "b"], 2)])
async def test_the_number_of_streams_must_be_right(hub: type[StreamHub], streams: list[str], given: int) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("Sum", 0, streams=streams)
        text = f"HubException: Client sent {given} stream(s), Hub method expects 1."
        assert await client.receive() == failed("0", f"An unexpected error occurred invoking 'sum' on the server. {text}")


async def test_several_streams_are_matched_in_order_whatever_lies_between(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("Join", "|", streams=["l", "r"])
        for stream, text in [("r", "x"), ("l", "a"), ("r", "y"), ("l", "b")]:
            client.item(stream, text)
        client.complete("r")
        client.complete("l")
        assert await client.receive() == completion("0", "ab|xy")


async def test_a_method_may_stream_both_ways(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.stream("Shout", streams=["s"])
        client.item("s", "a")
        assert await client.receive() == item("0", "A")
        client.item("s", "b")
        assert await client.receive() == item("0", "B")
        client.complete("s")
        assert await client.receive() == end("0")


async def test_a_method_with_an_upload_may_report_progress_to_nobody(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        for number, arguments in enumerate([(), (1,)]):
            stream = f"s{number}"
            client.invoke("CopyAloud", *arguments, streams=[stream])
            client.item(stream, 3)
            client.item(stream, 4)
            client.complete(stream)
            assert await client.receive() == completion(f"{number}", [3, 4][: 1 if arguments else 2])


async def test_items_for_nobody_are_ignored(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.item("s", "before the call")
        client.complete("s")
        client.invoke("First", streams=["s"])
        client.item("s", "first")
        assert await client.receive() == completion("0", "first")
        client.item("s", "after the call")
        client.complete("s", error="much later")
        await settle()
        assert client.received() == []
        assert not client.connection.is_closed


async def test_a_full_stream_holds_the_connection_until_its_reader_goes_on(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub, STREAM_BUFFER_CAPACITY=2, APPLICATION_BUFFER_SIZE=1) as server:
        client = server.connect()
        client.invoke("GatedSum", streams=["s"])
        await settle()
        client.item("s", 1)
        client.item("s", 2)
        assert not client.session.is_congested
        client.item("s", 3)
        client.complete("s")
        client.stream("Count", 0)
        assert client.session.is_congested
        await settle()
        assert client.received() == []
        hub.gate.set()
        assert sorted((message["invocationId"], message.get("result")) for message in await client.receive(2)) == [("0", 6), ("1", None)]
        assert not client.session.is_congested


async def test_a_full_stream_that_nobody_reads_any_more_lets_the_rest_pass(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub, STREAM_BUFFER_CAPACITY=1, APPLICATION_BUFFER_SIZE=1) as server:
        client = server.connect()
        client.invoke("Ignore", streams=["s"])
        for text in "abc":
            client.item("s", text)
        client.stream("Count", 0)
        await settle()
        assert client.session.is_congested
        hub.gate.set()
        assert await client.receive(2) == [completion("0", "ignored"), end("1")]
        assert not client.session.is_congested


async def test_calls_with_streams_need_no_slot(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("wait")
        client.invoke("Sum", 1, streams=["s"])
        client.complete("s")
        assert await client.receive() == completion("1", 1)
        hub.gate.set()
        assert await client.receive() == completion("0", "waited")


async def test_the_end_of_an_upload_waits_behind_its_own_call(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("wait")
        client.invoke("wait")
        client.invoke("Sum", 1, streams=["s"])
        client.item("s", 1)
        client.complete("s")
        await settle()
        hub.gate.set()
        answers = {message["invocationId"]: message["result"] for message in await client.receive(3)}
        assert answers == {"0": "waited", "1": "waited", "2": 2}


async def test_a_reader_learns_that_its_client_has_gone(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub) as server:
        client = server.connect()
        client.invoke("Watch", streams=["s"])
        client.item("s", "a")
        await settle()
        await client.leave()
        await eventually(lambda: hub.log == ["a", "The underlying connection was closed."])


async def test_items_that_waited_when_the_client_left_are_still_read(hub: type[StreamHub]) -> None:
    async with ScriptedServer(hub, STREAM_BUFFER_CAPACITY=1) as server:
        client = server.connect()
        client.invoke("Watch", streams=["s"])
        for text in "abc":
            client.item("s", text)
        client.complete("s")
        await client.leave()
        await eventually(lambda: hub.log == ["a", "b", "c"])


# The stream by itself


def upload(capacity: int = 2) -> tuple[UploadStream, list[str]]:
    room: list[str] = []

    def decode(raw: msgspec.Raw) -> Any:
        if bytes(raw) == b"bad":
            raise ArgumentBindingError("not like that")
        return bytes(raw).decode()

    return UploadStream(decode, capacity, lambda: room.append("room")), room


def offer(stream: UploadStream, text: str) -> bool:
    return stream.offer(msgspec.Raw(text.encode()), detailed_errors=False)


async def test_an_upload_stream_gives_what_it_took_and_ends() -> None:
    stream, _ = upload(3)
    assert offer(stream, "a") and offer(stream, "b")
    stream.end()
    assert [one async for one in stream] == ["a", "b"]
    assert [one async for one in stream] == []


async def test_an_error_comes_after_the_items_before_it() -> None:
    stream, _ = upload()
    offer(stream, "a")
    stream.end(HubException("enough"))
    stream.end()  # the first end counts
    assert await stream.__anext__() == "a"
    with pytest.raises(HubException, match="enough"):
        await stream.__anext__()


async def test_a_full_stream_says_so_and_when_it_has_room_again() -> None:
    stream, room = upload(2)
    assert offer(stream, "a") and offer(stream, "b")
    assert not offer(stream, "c")
    assert not offer(stream, "c")
    assert room == []
    assert await stream.__anext__() == "a"
    assert room == ["room"]
    assert offer(stream, "c")
    assert await stream.__anext__() == "b"
    assert room == ["room"]


async def test_a_reader_is_woken_by_an_item_and_by_the_end() -> None:
    stream, _ = upload()
    reading = asyncio.ensure_future(stream.__anext__())
    await asyncio.sleep(0)
    offer(stream, "a")
    assert await reading == "a"
    reading = asyncio.ensure_future(stream.__anext__())
    await asyncio.sleep(0)
    stream.end()
    with pytest.raises(StopAsyncIteration):
        await reading


async def test_an_abandoned_stream_takes_everything_and_keeps_nothing() -> None:
    stream, room = upload(1)
    offer(stream, "a")
    assert not offer(stream, "b")
    stream.abandon()
    assert room == ["room"]
    assert offer(stream, "b") and offer(stream, "bad")
    with pytest.raises(ConnectionClosed):
        await stream.__anext__()


async def test_a_bad_item_ends_the_stream_with_an_error_for_the_client() -> None:
    stream, _ = upload()
    assert offer(stream, "bad")
    assert offer(stream, "a")
    with pytest.raises(HubException, match=r"^Failed to bind Stream message\.$"):
        await stream.__anext__()
    detailed, _ = upload()
    detailed.offer(msgspec.Raw(b"bad"), detailed_errors=True)
    with pytest.raises(HubException, match=r"^Failed to bind Stream message\. InvalidDataException: not like that$"):
        await detailed.__anext__()


async def test_several_tasks_may_read_one_upload_stream() -> None:
    stream, _ = upload()
    read: list[str] = []

    async def work() -> None:
        async for item in stream:
            read.append(item)

    workers = [asyncio.ensure_future(work()) for _ in range(3)]
    impatient = asyncio.ensure_future(stream.__anext__())
    await settle()
    impatient.cancel()
    for text in "abcd":
        assert offer(stream, text)
        await settle()
    stream.end()
    await asyncio.wait_for(asyncio.gather(*workers), 2.0)
    assert "".join(read) == "abcd"
    assert impatient.cancelled()


async def test_a_task_that_reads_on_learns_of_the_end_of_the_call() -> None:
    stream, _ = upload()
    reader = asyncio.ensure_future(stream.__anext__())
    await settle()
    stream.abandon()
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(reader, 2.0)


# Cleaning up


class TidyHub(Hub):
    """Tidies up after its streams, which takes a while."""

    log: ClassVar[list[str]] = []
    go_on: ClassVar[asyncio.Event]

    @hub_method
    async def watch(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await self.go_on.wait()
                self.go_on.clear()
        finally:
            self.log.append("tidying")
            await self.go_on.wait()
            self.log.append("tidy")


@pytest.mark.parametrize("how", ["cancels and leaves", "cancels twice", "leaves when an item is due"])
async def test_cleaning_up_is_not_disturbed(how: str) -> None:
    TidyHub.log.clear()
    TidyHub.go_on = asyncio.Event()
    async with ScriptedServer(TidyHub) as server:
        client = server.connect()
        invocation_id = client.stream("Watch")
        await client.receive()
        if how == "leaves when an item is due":
            TidyHub.go_on.set()
        else:
            client.cancel(invocation_id)
            await eventually(lambda: TidyHub.log)
        if how == "cancels twice":
            client.cancel(invocation_id)
        else:
            await client.leave()
        await settle()
        assert TidyHub.log == ["tidying"]
        TidyHub.go_on.set()
        await eventually(lambda: not client.session.has_calls)
        assert TidyHub.log == ["tidying", "tidy"]
