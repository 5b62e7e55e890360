"""Context variables: what a call sets is gone with it, whether it had a task, waited for another one, or neither."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import hub_method
from tests.unit.scripted import ScriptedServer
from tests.unit.scripted_classic import ClassicServer

pytestmark = pytest.mark.usefixtures("no_task_left")

language = contextvars.ContextVar("language", default="en")


class TranslatingHub(Hub):
    async def on_connected(self) -> None:
        language.set("fr")
        await asyncio.sleep(0)

    @hub_method
    async def now(self) -> str:
        before = language.get()
        language.set("de")
        return before

    @hub_method
    async def later(self) -> str:
        before = language.get()
        language.set("de")
        await asyncio.sleep(0)
        return before


async def test_calls_that_follow_each_other_share_nothing() -> None:
    language.set("nl")  # of the request that brings the calls
    async with ScriptedServer(TranslatingHub) as server:
        client = server.connect()
        calls = ["now", "now", "later", "later", "now", "now", "later"]
        for target in calls:
            client.invoke(target)  # all but those in front wait, first for on_connected, then for each other
        assert [message["result"] for message in await client.receive(len(calls))] == ["nl"] * len(calls)
        assert (await client.call("now"))["result"] == "nl"
        assert (await client.call("later"))["result"] == "nl"


async def test_classic_calls_share_nothing_either() -> None:
    async with ClassicServer([TranslatingHub]) as server:
        client = await server.connect(["translatinghub"])
        for method in ("now", "now", "later", "now"):
            assert await client.call("TranslatingHub", method) == {"R": "en"}
