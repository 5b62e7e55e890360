"""What a connection writes to, and a fake of it for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from typing import Any, Protocol

from signalr_channels.protocols.base import EncodedMessage

__all__ = ["DONE", "FakeTransport", "Primed", "Resume", "Transport", "step"]


class Transport(Protocol):
    """
    One way to a client.

    It may have a ``direct`` as well, a :class:`~signalr_channels.connections.burst.DirectWay`, or ``None`` there.
    """

    name: str
    """``webSockets``, ``serverSentEvents``, ``longPolling`` or ``foreverFrame``."""

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        """Write one message; suspends while the client does not read. Raises :exc:`OSError` or :exc:`RuntimeError` when it is gone."""

    def close(self, *, code: int) -> Awaitable[None]:
        """Say goodbye on the transport's own level, with a WebSocket close code."""

    def abort(self) -> None:
        """Cut the transport at once, without waiting for what is still to be written."""


class _Done:
    """Awaiting it takes no time."""

    def __await__(self) -> Iterator[Any]:
        return iter(())


DONE: Awaitable[None] = _Done()  # type: ignore[assignment]
"""What a transport gives back for a write that is done already."""


class Primed:
    """
    The iterator of an awaitable that was stepped once: gives what it gave, then goes on with it.

    ``yield from`` it: whatever is sent or thrown, a cancellation above all, reaches the awaitable.
    """

    __slots__ = ("_first", "_iterator")

    def __init__(self, iterator: Generator[Any, Any, Any], first: Any) -> None:
        self._iterator = iterator
        self._first = first

    def __iter__(self) -> Primed:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Go on."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._iterator.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise in the awaitable."""
        self._first = None
        return self._iterator.throw(*error)

    def close(self) -> None:
        """End the awaitable."""
        self._iterator.close()


class Resume:
    """The rest of an awaitable that was run up to its first suspension: await it to finish."""

    __slots__ = ("_primed",)

    def __init__(self, iterator: Generator[Any, Any, Any], future: Any) -> None:
        self._primed = Primed(iterator, future)

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._primed)


def step(awaitable: Awaitable[None]) -> Resume | None:
    """
    Run an awaitable up to its first suspension, without a task.

    Returns:
        ``None`` when it is done, else the rest, to be awaited in a task.

    Writing to a client nearly always ends without a suspension, and a task for each costs three times the write.
    Only for transports: code that looks at the current task may not be stepped.
    """
    iterator = awaitable.__await__()
    try:
        future = next(iterator)
    except StopIteration:
        return None
    return Resume(iterator, future)


class FakeTransport:
    """Collects what is written. ``pause()`` makes it a client that does not read."""

    name = "webSockets"

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.close_code: int | None = None
        self.is_aborted = False
        self._blocked: Any = None

    def pause(self) -> None:
        """Stop reading."""
        import asyncio

        self._blocked = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """Read again."""
        self._blocked.set_result(None)
        self._blocked = None

    async def write(self, message: EncodedMessage) -> None:
        """Remember the bytes, once the client reads."""
        if self._blocked is not None:
            await self._blocked
        if self.is_aborted:
            raise OSError("aborted")
        self.written.append(message.data)

    async def close(self, *, code: int) -> None:
        """Remember the code."""
        if self._blocked is not None:
            await self._blocked
        self.close_code = code

    def abort(self) -> None:
        """Remember the cut; a blocked write fails."""
        self.is_aborted = True
        if self._blocked is not None:
            self.resume()
