"""Progress by itself, and what a hub method that wants it looks like to its callers."""

from __future__ import annotations

from typing import Any

import pytest

from signalr_channels.exceptions import HubDefinitionError, LocalProtocolError
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import collect_hub_methods, hub_method
from signalr_channels.hubs.progress import NO_PROGRESS, Progress
from tests.unit.scripted import ScriptedServer, completion, failed

ALREADY_COMPLETED = "You cannot report progress on a hub method invocation that has already completed."


async def test_values_are_reported_while_the_call_runs() -> None:
    reported: list[Any] = []
    progress: Progress[Any] = Progress(reported.append)
    progress.report(1)
    await progress.areport("two")
    progress.report(None)
    assert reported == [1, "two", None]


async def test_nothing_is_reported_after_the_end() -> None:
    reported: list[int] = []
    progress: Progress[int] = Progress(reported.append)
    progress.end()
    progress.end()
    with pytest.raises(LocalProtocolError, match=ALREADY_COMPLETED):
        progress.report(1)
    with pytest.raises(LocalProtocolError, match=ALREADY_COMPLETED):
        await progress.areport(1)
    assert reported == []


async def test_an_error_of_reporting_is_the_caller_s() -> None:
    def report(value: object) -> None:
        raise LocalProtocolError("cannot be written", kind="JsonException")

    progress: Progress[object] = Progress(report)
    with pytest.raises(LocalProtocolError, match="cannot be written"):
        await progress.areport(object())


async def test_progress_for_nobody_goes_nowhere() -> None:
    NO_PROGRESS.report(1)
    await NO_PROGRESS.areport(1)


class CopyHub(Hub):
    @hub_method
    async def copy(self, count: int, progress: Progress[int]) -> int:
        for number in range(count):
            await progress.areport(number)
        return count

    @hub_method
    async def bare(self, progress: Progress) -> str:  # type: ignore[type-arg]
        progress.report(1)
        return "done"

    @hub_method
    async def with_default(self, count: int = 3, progress: Progress[int] = NO_PROGRESS) -> int:
        return count

    @hub_method
    def plain(self, progress: Progress[int]) -> str:
        progress.report(1)
        return "done"


def test_progress_is_no_argument() -> None:
    methods = collect_hub_methods(CopyHub)
    for name, arguments in (("copy", (int,)), ("bare", ()), ("withdefault", (int,)), ("plain", ())):
        assert methods[name].reports_progress
        assert methods[name].argument_types == arguments
    assert not any("progress" in parameter.name for method in methods.values() for parameter in method.parameters)


def test_progress_comes_last() -> None:
    class BackwardHub(Hub):
        @hub_method
        async def copy(self, progress: Progress[int], count: int) -> None: ...

    with pytest.raises(HubDefinitionError, match="the parameter of type Progress has to be the last one"):
        collect_hub_methods(BackwardHub)


@pytest.mark.usefixtures("no_task_left")
async def test_a_core_client_hears_of_no_progress() -> None:
    async with ScriptedServer(CopyHub) as server:
        client = server.connect()
        assert await client.call("Copy", 3) == completion("0", 3)
        assert await client.call("Bare") == completion("1", "done")
        assert await client.call("WithDefault") == completion("2", 3)
        assert await client.call("WithDefault", 4) == completion("3", 4)
        assert await client.call("Plain") == completion("4", "done")
        answer = await client.call("Copy", 3, "progress")
        assert answer == failed("5", answer["error"])
