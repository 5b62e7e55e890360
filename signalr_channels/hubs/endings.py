"""What runs last for a connection, to its end or given up: the connection has to be let go afterwards, whatever hub code does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any

__all__ = ["GRACE", "cancel_calls", "run_last"]

logger = logging.getLogger("signalr_channels.hubs")

GRACE = 1.0
"""Seconds hub code has to obey its cancellation."""

_abandoned: set[asyncio.Task[Any]] = set()
"""Hooks that nobody waits for any more; a loop keeps no task alive by itself."""


async def run_last(ending: Coroutine[Any, Any, Any], connection_id: str, hub: str, timeout: float) -> None:
    """
    Run ``on_disconnected`` of a hub; what goes wrong is logged. Returns after ``timeout`` and :data:`GRACE` at the latest.

    Args:
        ending: The call.
        connection_id: For the log.
        hub: For the log.
        timeout: Seconds it may take (``ON_DISCONNECTED_TIMEOUT``).
    """
    task = asyncio.get_running_loop().create_task(ending)
    try:
        await asyncio.wait([task], timeout=timeout)
    except asyncio.CancelledError:  # the process stops
        await _cancel(task, f"{connection_id}: on_disconnected of {hub} was cancelled, since the server process stops,")
        raise
    if not task.done():
        what = f"{connection_id}: on_disconnected of {hub} took over {timeout:g} s (ON_DISCONNECTED_TIMEOUT) and was cancelled"
        if await _cancel(task, f"{what},"):
            logger.error("%s", what)
    elif task.cancelled():
        logger.error("%s: on_disconnected of %s was cancelled", connection_id, hub)
    elif (error := task.exception()) is not None:
        logger.error("%s: on_disconnected of %s failed", connection_id, hub, exc_info=error)


async def _cancel(task: asyncio.Task[Any], what: str) -> bool:
    """Cancel a hook. False if it goes on nevertheless; it is left to itself then."""
    task.cancel()
    await asyncio.wait([task], timeout=GRACE)
    if task.done():
        return True
    logger.error("%s but it goes on, and is not waited for any longer; does it swallow CancelledError?", what)
    _abandoned.add(task)
    task.add_done_callback(_forget)
    return False


async def cancel_calls(tasks: Collection[asyncio.Future[Any]], connection_id: str) -> None:
    """
    Cancel what runs for a connection and wait for it, when the server process stops. Returns after :data:`GRACE` at the latest.

    Args:
        tasks: The calls.
        connection_id: For the log.
    """
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    _, running = await asyncio.wait(tasks, timeout=GRACE)
    if running:
        text = "%s: %d calls go on although the server process stops, and are not waited for; do they swallow CancelledError?"
        logger.error(text, connection_id, len(running))


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("on_disconnected failed, after it was cancelled and nobody waited for it any more", exc_info=error)
