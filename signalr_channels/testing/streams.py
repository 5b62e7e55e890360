"""Streams between a test and a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any

from signalr_channels.protocols.messages import CancelInvocation, StreamInvocation
from signalr_channels.testing.conversation import Conversation, HubCall

__all__ = ["HubStream", "upload"]


async def upload(items: Iterable[Any]) -> AsyncIterator[Any]:
    """Make an upload stream of a list. Any other async iterable among the arguments of a call is one already."""
    for item in items:
        yield item


class HubStream:
    """
    The items of a streaming hub method. The call is made when the first one is asked for.

    A loop that breaks off leaves the method running until the client stops: end it with :meth:`acancel`, or by leaving ``async with``.
    """

    def __init__(self, conversation: Conversation, target: str, args: Sequence[Any], item_type: Any, timeout: float | None) -> None:
        self._conversation = conversation
        self._target = target
        self._args = args
        self._item_type = item_type
        self._timeout = timeout
        self._call: HubCall | None = None

    def __aiter__(self) -> HubStream:
        return self

    async def __anext__(self) -> Any:
        conversation = self._conversation
        if self._call is None:
            self._call = await conversation.call(StreamInvocation, self._target, self._args)
        call = self._call
        await conversation.wait(lambda: bool(call.items) or call.completion is not None, self._timeout, f"{self._target} gave no item")
        if call.items:
            return conversation.wire.read(call.items.popleft(), self._item_type)
        conversation.forget(call)
        call.raise_error()
        raise StopAsyncIteration

    async def acancel(self) -> None:
        """Tell the server that no more items are wanted, and wait until the hub method has ended. Items that are there stay."""
        call, conversation = self._call, self._conversation
        if call is None or call.completion is not None or conversation.has_ended:
            return
        await conversation.say(CancelInvocation(invocation_id=call.invocation_id))
        await conversation.wait(lambda: call.completion is not None, self._timeout, f"{self._target} goes on although it was cancelled")

    async def __aenter__(self) -> HubStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.acancel()
