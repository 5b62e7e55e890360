"""
Finding the owner of a connection that has no arbiter to ask, and agreeing on one where nobody owns it.

All processes are asked, and the owner answers. If none does, whoever asked may own the connection, and others may have asked in the same
moment. A channel layer has nothing that could be claimed, so they queue as at a baker's: whoever asks draws a number, one above those it
has heard, and tells everybody. After a time in which every number has arrived, the lowest wins; of two that are equal, the lower channel.

::

    asking --an owner answers--------------------------> there
       '---nobody did within the window: lowest number? -- mine --> here, and those who asked meanwhile are told
                                                         '- another's --> there

Why one wins: a number that is lower than the winner's, or equal, was drawn before the winner's had arrived there, hence arrives at the
winner before the window is over, as long as a message takes less than half of it. Where one takes longer or is lost, two may win.

Source: L. Lamport, A New Solution of Dijkstra's Concurrent Programming Problem, 1974.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import VERSION, Owner, Seek
from signalr_channels.exceptions import BackplaneUnavailable

__all__ = ["OwnerSearch"]

logger = logging.getLogger("signalr_channels.backplane")

LONGEST_WINDOW = 1.0
"""Seconds to wait for an owner, and for numbers; less where ``BACKPLANE_ACK_TIMEOUT`` is."""
LISTEN_FIRST = 0.5
"""For how many windows a process listens that has just joined, before it draws: who drew before it came is done before it is."""
REMEMBERED = 2.5
"""For how many windows a number counts: those who drew it are done after one, and those who heard it at once, after two."""


class _Queue:
    """Those who would own one connection."""

    __slots__ = ("heard_at", "is_won", "numbers", "search", "waiting")

    def __init__(self) -> None:
        self.numbers: dict[str, tuple[int, float]] = {}
        """Channel -> number, and when it was heard."""
        self.heard_at = 0.0
        self.search: asyncio.Future[str | None] | None = None
        """What this process finds, while it searches."""
        self.waiting: list[Seek] = []
        """Questions that came meanwhile."""
        self.is_won = False
        """Whether the connection is about to be opened here."""


class OwnerSearch:
    """What a process asks the others about owners, and what it knows of those who ask."""

    def __init__(self, relay: Relay, address: str, hub: str, is_here: Callable[[str], bool]) -> None:
        """
        Args:
            relay: This process on the channel layer.
            address: Channel-layer group of all processes that may own connections. This one has to be a member before it searches.
            hub: In :class:`Seek`, what the messages are about.
            is_here: Whether a connection lives in this process.
        """
        self._relay = relay
        self._address = address
        self._hub = hub
        self._is_here = is_here
        self._joined_at = 0.0
        self._queues: OrderedDict[str, _Queue] = OrderedDict()

    @property
    def _window(self) -> float:
        return min(self._relay.ack_timeout, LONGEST_WINDOW)

    def joined(self) -> None:
        """This process has become a member of the group."""
        self._joined_at = _now()

    async def find(self, connection_id: str, *, may_claim: bool) -> str | None:
        """
        Find the owner.

        Args:
            connection_id: The connection.
            may_claim: Whether this process becomes the owner if nobody is.

        Returns:
            The owner's channel, maybe this process's own; ``None`` if nobody owns it, or nobody can be asked.
        """
        queue = self._queue(connection_id)
        while queue.search is not None:  # one search serves all requests of this process
            search = queue.search
            await asyncio.wait([search])
            if not search.cancelled():
                return search.result()
        if queue.is_won:
            return self._relay.channel
        try:
            return await (self._claim(connection_id, queue) if may_claim else self._ask(connection_id, 0))
        except BackplaneUnavailable:
            return None

    async def _claim(self, connection_id: str, queue: _Queue) -> str | None:
        queue.search = search = asyncio.get_running_loop().create_future()
        owner = None
        try:
            channel = await self._relay.start()
            await self._listen()
            number = 1 + max((number for number, _ in self._numbers(queue)), default=0)
            self._note(queue, channel, number)
            owner = await self._ask(connection_id, number)
            if owner is None:
                _, owner = min(self._numbers(queue), default=(number, channel))
                queue.is_won = owner == channel
            search.set_result(owner)
        finally:
            queue.search = None
            search.cancel()  # unless it has its result: the request is gone, and another one of this process searches anew
        if queue.is_won:
            await self._tell(queue)
        queue.waiting.clear()
        return owner

    async def _listen(self) -> None:
        if (rest := self._joined_at + LISTEN_FIRST * self._window - _now()) > 0:
            await asyncio.sleep(rest)

    async def _ask(self, connection_id: str, number: int) -> str | None:
        """Ask all processes; gives what the owner says."""

        def make(reply_to: str, request_id: str) -> Seek:
            return Seek(v=VERSION, hub=self._hub, connection_id=connection_id, number=number, reply_to=reply_to, request_id=request_id)

        conversation = await self._relay.ask(self._address, make)
        try:
            answer = await conversation.receive(self._window)
        finally:
            conversation.close()
        return answer.channel if isinstance(answer, Owner) else None

    async def _tell(self, queue: _Queue) -> None:
        """Tell those who asked meanwhile that they need not wait. Whoever cannot be told finds out by the numbers."""
        waiting, queue.waiting = queue.waiting, []
        for question in waiting:
            try:
                await self._answer(question)
            except BackplaneUnavailable as error:
                logger.info("Another process could not be told who owns connection %s: %s", question.connection_id, error)

    def _answer(self, question: Seek) -> Awaitable[None]:
        """Say that this process is the owner."""
        return self._relay.answer(question, Owner(v=VERSION, request_id=question.request_id, channel=self._relay.channel))

    # What others say

    def hear(self, question: Seek) -> Awaitable[None] | None:
        """Answer if the connection lives here, or is about to; else take note of who asks."""
        if question.reply_to == self._relay.channel:
            return None
        if self._is_here(question.connection_id):
            return self._answer(question)
        queue = self._queue(question.connection_id)
        if queue.is_won:
            return self._answer(question)
        if question.number:
            self._note(queue, question.reply_to, question.number)
        if queue.search is not None:
            queue.waiting.append(question)
        return None

    def settled(self, connection_id: str) -> None:
        """The connection was opened here, or will not be; what was said about it does not matter any more."""
        queue = self._queues.get(connection_id)
        if queue is not None and queue.search is None:
            del self._queues[connection_id]

    def forget(self, channel: str, connection_id: str | None = None) -> None:
        """A process is gone, or does not have the connection: its numbers do not count."""
        queues = self._queues.values() if connection_id is None else filter(None, [self._queues.get(connection_id)])
        for queue in queues:
            queue.numbers.pop(channel, None)

    # Numbers

    def _queue(self, connection_id: str) -> _Queue:
        """The queue for a connection; those that nobody has joined lately are forgotten."""
        now = _now()
        while self._queues:
            oldest, queue = next(iter(self._queues.items()))
            if queue.search is not None or now - queue.heard_at <= REMEMBERED * self._window:
                break
            del self._queues[oldest]
        queue = self._queues.setdefault(connection_id, _Queue())
        self._queues.move_to_end(connection_id)
        queue.heard_at = now
        return queue

    def _note(self, queue: _Queue, channel: str, number: int) -> None:
        queue.numbers[channel] = (number, _now())

    def _numbers(self, queue: _Queue) -> list[tuple[int, str]]:
        """``(number, channel)`` of all that still count."""
        since = _now() - REMEMBERED * self._window
        return [(number, channel) for channel, (number, heard_at) in queue.numbers.items() if heard_at >= since]


def _now() -> float:
    return asyncio.get_running_loop().time()
