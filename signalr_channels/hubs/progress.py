"""Progress of a call, reported to a classic client while the hub method runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from signalr_channels.exceptions import LocalProtocolError

__all__ = ["NO_PROGRESS", "Progress"]

T = TypeVar("T")


class Progress(Generic[T]):
    """
    The last parameter of a hub method, if it is annotated ``Progress[int]`` or the like. Clients do not fill it.

    Example::

        @hub_method
        async def copy(self, names: list[str], progress: Progress[int]) -> None:
            for number, name in enumerate(names):
                await copy_one(name)
                await progress.areport(number)

    Core clients know no progress: what is reported to them goes nowhere.
    """

    __slots__ = ("_is_over", "_report")

    def __init__(self, report: Callable[[Any], None] | None = None) -> None:
        self._report = report
        self._is_over = False

    async def areport(self, value: T) -> None:
        """
        Tell the client how far it is. Returns when the value is on its way.

        Raises:
            LocalProtocolError: The hub method has returned already, or the value cannot be written as JSON.
        """
        self.report(value)

    def report(self, value: T) -> None:
        """:meth:`areport` for plain ``def`` methods."""
        if self._is_over:
            text = "You cannot report progress on a hub method invocation that has already completed."
            raise LocalProtocolError(text, kind="InvalidOperationException")
        if self._report is not None:
            self._report(value)

    def end(self) -> None:
        """The hub method has returned."""
        self._is_over = True


NO_PROGRESS: Progress[Any] = Progress()
"""For clients that hear of none."""
