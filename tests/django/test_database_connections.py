"""Database connections around hub code: checked before and after, as Django does around a view, so that none is used dead or left open."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import override_settings

from signalr_channels import runtime as runtime_module
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from tests.django.sockets import connected
from tests.django.test_routing import TIMEOUT

CHECK = "connections checked"


class Log(list[tuple[str, int]]):
    """What happened in which thread, in order."""

    def note(self, what: str) -> None:
        self.append((what, threading.get_ident()))

    @property
    def words(self) -> list[str]:
        return [what for what, _ in self]

    @property
    def threads(self) -> set[int]:
        return {thread for _, thread in self}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(runtime_module, "close_old_connections", lambda: log.note(CHECK))
    return log


def make_hub(log: Log) -> type[Hub]:
    class ReportHub(Hub):
        @hub_method
        def count(self) -> int:
            log.note("query")
            return 3

        @hub_method
        def fail(self) -> None:
            log.note("query")
            raise ValueError("no such table")

        @hub_method
        async def count_later(self) -> int:
            await asyncio.sleep(0)
            log.note("query")
            return 3

    return ReportHub


@pytest.fixture
async def socket(log: Log) -> AsyncIterator[ApplicationCommunicator]:
    async with connected(make_hub(log)) as communicator:
        yield communicator


async def call(socket: ApplicationCommunicator, target: str) -> None:
    message = {"type": 1, "invocationId": "1", "target": target, "arguments": []}
    await socket.send_input({"type": "websocket.receive", "text": json.dumps(message) + "\x1e"})
    assert json.loads((await socket.receive_output(TIMEOUT))["text"][:-1])["type"] == 3


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("target", ["count", "fail"])
async def test_around_a_plain_hub_method_in_its_thread(socket: ApplicationCommunicator, log: Log, target: str, threads: int) -> None:
    with override_settings(SIGNALR={"HISTORY": False, "SYNC_THREADS": threads}):
        await call(socket, target)
    assert log.words == [CHECK, "query", CHECK]
    assert len(log.threads) == 1
    assert threading.get_ident() not in log.threads


async def test_after_an_async_hub_method_in_the_thread_of_djangos_async_orm(socket: ApplicationCommunicator, log: Log) -> None:
    await call(socket, "count_later")

    async def poll() -> None:
        while CHECK not in log.words:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.05)

    await asyncio.wait_for(poll(), TIMEOUT)  # a beat of the heartbeat comes once a second
    assert log.words == ["query", CHECK]
