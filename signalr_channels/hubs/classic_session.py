"""
What hub sessions and persistent sessions of classic connections have in common: start, return and end, and the calls under way.

Source: reference sections 4.8, 6.2, 7.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from signalr_channels.connections.classic_connection import ClassicConnection, ClassicTransport
from signalr_channels.exceptions import ConnectionClosed
from signalr_channels.hubs.context import HubCallerContext
from signalr_channels.hubs.endings import cancel_calls
from signalr_channels.protocols.classic.hub_messages import InvalidInvocation, encode_response
from signalr_channels.protocols.endings import CloseReason

__all__ = ["ClassicSession"]

logger = logging.getLogger("signalr_channels.hubs")


class ClassicSession:
    """
    What a classic connection is for. :class:`ClassicHubSession` serves hubs, another one persistent connections.

    Attributes:
        connection: The connection.
        context: What application code sees of it.
        is_started: Whether application code knows of the connection, so that it is told of its end.
    """

    def __init__(
        self, connection: ClassicConnection, context: HubCallerContext, sign_groups: Callable[[str, Sequence[str]], str], most_calls: int
    ) -> None:
        """
        Args:
            connection: The connection.
            context: What application code sees of it.
            sign_groups: Makes a groups token for a connection id.
            most_calls: How many calls may run at once.
        """
        self.connection = connection
        self.context = context
        self.is_started = False
        self.predecessor: asyncio.Task[None] | None = None
        """The end of a connection that had the same id; application code hears of it first."""
        self._sign_groups = sign_groups
        self._most_calls = most_calls
        self._slots = asyncio.Semaphore(most_calls)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting: asyncio.Future[None] | None = None
        """Done when ``on_connected`` has run, or need not."""

    # To be served by each kind

    def invoke(self, data: str) -> bytes | Coroutine[Any, Any, bytes]:
        """
        Take what the client sent.

        Returns:
            The answer, or what gives it when awaited; empty where there is none.

        Raises:
            InvalidInvocation: It is no call, or of a hub that is not here.
        """
        raise AssertionError("abstract")

    async def attach(self, names: Sequence[str]) -> None:
        """A receiving request came that names these hubs."""
        raise AssertionError("abstract")

    async def on_connected(self, names: Sequence[str]) -> None:
        """Tell application code of a new connection."""
        raise AssertionError("abstract")

    async def on_reconnected(self) -> None:
        """Tell application code that the client is back."""
        raise AssertionError("abstract")

    async def on_disconnected(self) -> None:
        """Tell application code of the end."""
        raise AssertionError("abstract")

    async def leave(self) -> None:
        """Let the connection go from its lifetime managers."""
        raise AssertionError("abstract")

    async def rejoin(self, groups: Iterable[str]) -> None:
        """Join the groups of a token, on a process that does not know the connection."""
        raise AssertionError("abstract")

    # Common to both

    async def start(self, names: Sequence[str]) -> None:
        """
        The client has started: tell application code, once. A second request waits for the first.

        Raises:
            Exception: Whatever application code raised; the client is to be told that it failed.
        """
        if self._starting is None:
            # In a task of ours: it goes on if the client breaks its request off.
            self._starting = task = asyncio.get_running_loop().create_task(self._run_start(names))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())  # perhaps nobody waits for it any more
        await asyncio.wait([self._starting])
        self._starting.result()

    async def _run_start(self, names: Sequence[str]) -> None:
        try:
            await self._wait_for_predecessor()
            await self.on_connected(names)
        except asyncio.CancelledError:  # of something it waited for, or ours when the process stops
            raise ConnectionClosed("on_connected was cancelled.") from None
        self.is_started = True

    async def restart(self) -> None:
        """The client is back with another transport."""
        self.resume()
        await self._wait_for_predecessor()
        await self.on_reconnected()

    async def _wait_for_predecessor(self) -> None:
        if self.predecessor is not None:
            await asyncio.wait([self.predecessor])
            self.predecessor = None

    def resume(self) -> None:
        """A client came that has started, here or in another process: there is no need for it to start."""
        self.is_started = True
        if self._starting is None:  # a process that never saw it start
            self._starting = asyncio.get_running_loop().create_future()
            self._starting.set_result(None)

    def receive(self, data: str) -> None:
        """Take what came on a web socket; the answer goes back the same way."""
        if self.connection.is_closed:
            return  # what comes after the end is dropped
        via = self.connection.attached
        try:
            answer = self.invoke(data)
        except InvalidInvocation as error:
            logger.info("%s: a message could not be used: %s", self.connection.connection_id, error)
            if error.invocation_id is not None:
                # The reference says nothing, and the caller waits for ever.
                self.connection.reply(encode_response(error.invocation_id, error=str(error)), via)
            return
        if isinstance(answer, bytes):
            if answer:
                self.connection.reply(answer, via)
        else:
            self.spawn(self._reply_later(answer, via))

    async def _reply_later(self, answer: Coroutine[Any, Any, bytes], via: ClassicTransport | None) -> None:
        if data := await answer:
            self.connection.reply(data, via)

    async def finish(self) -> None:
        """Tell application code of the end, and let the connection go. The connection has ended before."""
        disconnect = self.connection.disconnect
        assert disconnect is not None
        self.context.mark_aborted()
        try:
            if self._starting is not None and not self._starting.done():
                await asyncio.wait([self._starting])
            # The reference says nothing when the server stops: the client comes back elsewhere, and on_reconnected runs there.
            if self.is_started and disconnect.reason is not CloseReason.SERVER_SHUTDOWN:
                await self._wait_for_predecessor()
                await self.on_disconnected()
        finally:
            await self.leave()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a call in a task of its own."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def run(self, coroutine: Coroutine[Any, Any, bytes]) -> bytes:
        """
        Run a call in a task of its own, and wait for its answer. The call goes on if nobody waits any more.

        Raises:
            ConnectionClosed: The process stops, and the call was cancelled.
            Exception: What application code without hubs raised.
        """
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait([task])
        if task.cancelled():
            raise ConnectionClosed("The server stopped before the call ended.")
        return task.result()

    def cancel_soon(self, delay: float) -> None:
        """The process stops: cancel calls that still run after ``delay`` seconds, so that their requests are answered."""
        if self._tasks:
            asyncio.get_running_loop().call_later(delay, lambda: [task.cancel() for task in tuple(self._tasks)])

    @property
    def is_congested(self) -> bool:
        """Whether so many calls wait that the socket should not be read for now."""
        return len(self._tasks) > 2 * self._most_calls

    async def wait_ready(self) -> None:
        """Return when the socket may be read again, or when the connection has ended."""
        if not self.is_congested or self.connection.is_closed:
            return
        ended = asyncio.get_running_loop().create_task(self.context.wait_aborted())
        try:
            while self.is_congested and not self.connection.is_closed:
                await asyncio.wait((*self._tasks, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: a call failed outside the hub", self.connection.connection_id, exc_info=error)

    @property
    def has_calls(self) -> bool:
        """Whether calls still run."""
        return bool(self._tasks)

    async def cancel_calls(self) -> None:
        """Cancel what still runs and wait for it, when the server process stops."""
        tasks: list[asyncio.Future[Any]] = [*self._tasks]
        if self._starting is not None and not self._starting.done():
            tasks.append(self._starting)
        await cancel_calls(tasks, self.connection.connection_id)
