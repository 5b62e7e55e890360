"""Stepping an awaitable, and the fake transport the other tests rely on."""

from __future__ import annotations

import asyncio

import pytest

from signalr_channels.connections.transports import FakeTransport, step
from signalr_channels.protocols.base import EncodedMessage, TransferFormat
from tests.unit.scripted import eventually, settle

pytestmark = pytest.mark.usefixtures("no_task_left")


def message(data: bytes = b"x") -> EncodedMessage:
    return EncodedMessage(data, TransferFormat.TEXT)


async def test_an_awaitable_that_does_not_wait_is_done_in_one_step() -> None:
    done = []

    async def work() -> None:
        done.append(1)

    assert step(work()) is None
    assert done == [1]


async def test_the_rest_of_one_that_waits_can_be_awaited() -> None:
    done = []
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))

    async def work() -> None:
        await first
        done.append("first")
        await second
        done.append("second")

    rest = step(work())
    assert rest is not None
    assert done == []
    task = asyncio.ensure_future(rest)
    first.set_result(None)
    await eventually(lambda: done == ["first"])
    second.set_result(None)
    await task
    assert done == ["first", "second"]


async def test_an_error_before_the_first_wait_is_raised_by_the_step() -> None:
    async def work() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        step(work())


async def test_an_error_after_it_is_raised_by_the_rest() -> None:
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future

    rest = step(work())
    assert rest is not None
    future.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await rest


async def test_the_rest_can_be_cancelled() -> None:
    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    rest = step(work())
    assert rest is not None
    task = asyncio.ensure_future(rest)
    await settle()  # nothing tells that it waits
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_fake_transport_keeps_what_is_written() -> None:
    transport = FakeTransport()
    assert step(transport.write(message(b"a"))) is None
    assert step(transport.write(message(b"b"))) is None
    assert step(transport.close(code=1001)) is None
    assert transport.written == [b"a", b"b"]
    assert transport.close_code == 1001


async def test_a_paused_fake_transport_blocks_until_it_is_resumed() -> None:
    transport = FakeTransport()
    transport.pause()
    rest = step(transport.write(message()))
    assert rest is not None
    assert transport.written == []
    transport.resume()
    await rest
    assert transport.written == [b"x"]


async def test_an_aborted_fake_transport_fails_its_writers() -> None:
    transport = FakeTransport()
    transport.pause()
    rest = step(transport.write(message()))
    assert rest is not None
    transport.abort()
    with pytest.raises(OSError, match="aborted"):
        await rest
    assert transport.written == []
