"""``on_disconnected``, run to its end whatever it does: the connection has to be let go afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["run_last"]

logger = logging.getLogger("signalr_channels.hubs")


async def run_last(ending: Coroutine[Any, Any, Any], connection_id: str, hub: str, timeout: float) -> None:
    """
    Run ``on_disconnected`` of a hub; what goes wrong is logged.

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
        task.cancel()
        await asyncio.wait([task])
        raise
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        logger.error("%s: on_disconnected of %s took over %g s (ON_DISCONNECTED_TIMEOUT) and was cancelled", connection_id, hub, timeout)
    elif task.cancelled():
        logger.error("%s: on_disconnected of %s was cancelled", connection_id, hub)
    elif (error := task.exception()) is not None:
        logger.error("%s: on_disconnected of %s failed", connection_id, hub, exc_info=error)
