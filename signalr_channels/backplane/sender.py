"""Messages to one process, one after the other, from code that is in no task."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable

from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import RelayMessage
from signalr_channels.exceptions import BackplaneUnavailable

__all__ = ["OrderedSender"]


class OrderedSender:
    """
    Sends to one channel in order.

    Transports are stepped outside of tasks (see :func:`signalr_channels.connections.transports.step`), and clients of Redis look at the
    current task for their timeouts. So a task of its own sends, while there is something to send.
    """

    __slots__ = ("_channel", "_queue", "_relay", "_task")

    def __init__(self, relay: Relay, channel: str) -> None:
        self._relay = relay
        self._channel = channel
        self._queue: deque[tuple[RelayMessage, asyncio.Future[None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def send(self, message: RelayMessage) -> Awaitable[None]:
        """
        Send a message after those before it.

        Returns:
            Done when the channel layer has it; raises :exc:`OSError` if that cannot be reached.
        """
        loop = asyncio.get_running_loop()
        sent: asyncio.Future[None] = loop.create_future()
        self._queue.append((message, sent))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return sent

    async def _run(self) -> None:
        try:
            while self._queue:
                message, sent = self._queue.popleft()
                try:
                    await self._relay.tell(self._channel, message)
                except BackplaneUnavailable as error:
                    if not sent.done():
                        sent.set_exception(OSError(str(error)))
                        sent.exception()  # whether or not anybody waits for it
                else:
                    if not sent.done():
                        sent.set_result(None)
        finally:
            self._task = None
