"""The sync face of async calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from signalr_channels.exceptions import WrongContext

__all__ = ["is_running", "refuse_in_event_loop", "run_from_sync"]

T = TypeVar("T")


def is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the code that asks runs in this loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def refuse_in_event_loop(name: str) -> None:
    """
    Refuse a sync call where it would block an event loop.

    Raises:
        WrongContext: There is a running loop in this thread; the text names the async twin.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WrongContext(f"{name}() would block the event loop here: use `await …a{name}(…)` instead.")


def run_from_sync(name: str, loop: asyncio.AbstractEventLoop | None, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """
    Run a coroutine from sync code and give its result.

    Args:
        name: What the caller called, for the error text.
        loop: The loop the coroutine's objects live in, if they live in one.
        make: Makes the coroutine, in the right loop.

    Raises:
        WrongContext: There is a running loop in this thread.
    """
    refuse_in_event_loop(name)
    if loop is not None and loop.is_running():
        return asyncio.run_coroutine_threadsafe(make(), loop).result()
    return asyncio.run(make())
