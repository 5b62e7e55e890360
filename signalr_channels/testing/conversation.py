"""The client's half of a conversation with a hub: what it asked for, what it was called with, and waiting for either."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sys
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from signalr_channels.connections.transports import DONE
from signalr_channels.exceptions import ConnectionClosed, SignalRError
from signalr_channels.hubs.session import HubSession
from signalr_channels.protocols.base import EncodedMessage
from signalr_channels.protocols.messages import (
    NO_RESULT,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    StreamInvocation,
    StreamItem,
)
from signalr_channels.testing.wire import ClientWire, split_uploads

__all__ = ["ClientCall", "ClientTransport", "Conversation", "HubCall", "HubInvocationError"]

NO_ANSWER = "Client didn't provide a result."
"""What Microsoft's clients answer where no handler is registered."""


class HubInvocationError(SignalRError):
    """A hub method call ended with an error. The text is what a client sees, ``__cause__`` is what hub code raised."""


@dataclass(frozen=True, slots=True)
class ClientCall:
    """A client method that the hub called."""

    target: str
    arguments: list[Any]


@dataclass(slots=True)
class HubCall:
    """A hub method that the client called, and what came of it so far."""

    invocation_id: str
    items: deque[Any] = field(default_factory=deque)
    completion: Completion | None = None
    cause: BaseException | None = None
    uploads: list[asyncio.Task[None]] = field(default_factory=list)

    def raise_error(self) -> None:
        """Raise the error it ended with, if it did."""
        if self.completion is not None and self.completion.error is not None:
            raise HubInvocationError(self.completion.error) from self.cause


class Conversation:
    """
    One client's messages, both ways.

    Attributes:
        wire: How they are written.
        timeout: Seconds that waiting may take where nothing else is said.
        received: Calls of client methods, oldest first.
        handlers: Client method in lower case -> what to run instead of keeping the call.
        pings: How often the server has pinged.
        close_message: The Close message the server has sent.
        is_over: Whether the client has left.
    """

    def __init__(self, wire: ClientWire, timeout: float) -> None:
        self.wire = wire
        self.timeout = timeout
        self.received: deque[ClientCall] = deque()
        self.handlers: dict[str, Callable[..., Any]] = {}
        self.pings = 0
        self.close_message: Close | None = None
        self.is_over = False
        self._session: HubSession | None = None
        self._ids = map(str, itertools.count())
        self._calls: dict[str, HubCall] = {}
        self._handler_error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def begin(self, session: HubSession) -> None:
        """Talk to this session, the handshake first."""
        self._session = session
        session.receive(self.wire.handshake())

    def wake(self) -> None:
        """Something has changed: let whoever waits look."""
        self._changed.set()

    # Sending

    async def say(self, message: HubMessage) -> None:
        """
        Send a message, and wait while the server does not read on.

        Raises:
            ConnectionClosed: The connection has ended.
            LocalProtocolError: A value cannot be encoded.
        """
        if self.has_ended:
            raise ConnectionClosed(self.ending())
        assert self._session is not None
        self._session.receive(self.wire.encode(message))
        if self._session.is_congested:
            await self._session.wait_ready()

    def ping(self) -> None:
        """Send a ping."""
        if not self.has_ended and self._session is not None:
            self._session.receive(self.wire.encode(Ping()))

    async def call(self, kind: type[Invocation] | type[StreamInvocation], target: str, args: Sequence[Any]) -> HubCall:
        """Call a hub method; :meth:`forget` the call when it is over."""
        call = HubCall(next(self._ids))
        self._calls[call.invocation_id] = call
        try:
            call.uploads = await self.call_with_uploads(kind, target, args, call.invocation_id)
        except BaseException:
            self.forget(call)
            raise
        return call

    async def call_with_uploads(
        self, kind: type[Invocation] | type[StreamInvocation], target: str, args: Sequence[Any], invocation_id: Any
    ) -> list[asyncio.Task[None]]:
        """Send a call, and begin to send its upload streams."""
        values, uploads = split_uploads(args)
        stream_ids = [next(self._ids) for _ in uploads]
        await self.say(kind(target=target, arguments=values, invocation_id=invocation_id, stream_ids=stream_ids))
        return [self._spawn(self._upload(stream_id, items)) for stream_id, items in zip(stream_ids, uploads, strict=True)]

    def forget(self, call: HubCall) -> None:
        """The call is over, or nobody waits for it any more."""
        self._calls.pop(call.invocation_id, None)
        for task in call.uploads:
            task.cancel()

    async def _upload(self, stream_id: str, items: AsyncIterable[Any]) -> None:
        error: str | None = None
        try:
            async for item in items:
                await self.say(StreamItem(invocation_id=stream_id, item=item))
                await asyncio.sleep(0)  # a client's items do not come all at once
        except Exception as raised:
            error = str(raised)
        if not self.has_ended:
            await self.say(Completion(invocation_id=stream_id, error=error))

    # Receiving

    def take(self, data: bytes) -> None:
        """Read a frame of the server."""
        # The server answers a failed call while it handles the exception, which so becomes the cause of ours.
        cause = sys.exc_info()[1]
        for message in self.wire.feed(data):
            self._take_message(message, cause)
        self.wake()

    def _take_message(self, message: HubMessage, cause: BaseException | None) -> None:
        if isinstance(message, Invocation):
            self._take_invocation(message)
        elif isinstance(message, StreamItem):
            if (call := self._calls.get(message.invocation_id)) is not None:
                call.items.append(message.item)
        elif isinstance(message, Completion):
            if (call := self._calls.get(message.invocation_id)) is not None:
                call.completion, call.cause = message, cause
        elif isinstance(message, Ping):
            self.pings += 1
        elif isinstance(message, Close):
            self.close_message = message

    def _take_invocation(self, message: Invocation) -> None:
        arguments = self.wire.read(message.arguments, list[Any])
        handler = self.handlers.get(message.target.lower())
        if handler is None:
            self.received.append(ClientCall(message.target, arguments))
        if handler is not None or message.invocation_id is not None:
            self._spawn(self._handle(handler, arguments, message.invocation_id))

    async def _handle(self, handler: Callable[..., Any] | None, arguments: Sequence[Any], invocation_id: str | None) -> None:
        result: Any = NO_RESULT
        error: str | None = NO_ANSWER
        if handler is not None:
            try:
                returned = handler(*arguments)
                result, error = (await returned if inspect.isawaitable(returned) else returned), None
            except Exception as raised:
                error = str(raised)
                if invocation_id is None or isinstance(raised, AssertionError):  # nobody else hears of it
                    self._handler_error = self._handler_error or raised
                    self.wake()
        if invocation_id is not None and not self.has_ended:
            await self.say(Completion(invocation_id=invocation_id, result=result, error=error))

    def find(self, target: str | None) -> ClientCall | None:
        """The oldest call of a client method, or of any."""
        wanted = None if target is None else target.lower()
        return next((call for call in self.received if wanted is None or call.target.lower() == wanted), None)

    # Waiting

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended, or the client has left."""
        return self.is_over or self._session is None or self._session.connection.is_closed

    def ending(self) -> str:
        """A sentence about the end."""
        disconnect = None if self._session is None else self._session.connection.disconnect
        told = None if self.close_message is None else self.close_message.error
        reason = "the client has left" if disconnect is None else str(disconnect.reason)
        return f"The connection has ended: {reason}." + (f" {told}" if told else "")

    async def wait(self, is_there: Callable[[], bool], timeout: float | None, otherwise: str) -> None:
        """
        Wait for something from the server; what it has sent before its end counts.

        Raises:
            AssertionError: It takes longer than ``timeout`` seconds; the text begins with ``otherwise``.
            ConnectionClosed: The connection ended before.
        """

        async def look() -> None:
            while not is_there() and not self.has_ended and self._handler_error is None:
                self._changed.clear()
                await self._changed.wait()

        await self.in_time(look(), timeout, otherwise)
        self.raise_handler_error()
        if not is_there():
            raise ConnectionClosed(self.ending())

    async def in_time(self, waiting: Awaitable[None], timeout: float | None, otherwise: str) -> None:
        """Await something, or raise an :exc:`AssertionError` that says what has come instead."""
        seconds = self.timeout if timeout is None else timeout
        try:
            await asyncio.wait_for(waiting, seconds)
        except asyncio.TimeoutError:
            calls = ", ".join(f"{call.target}({', '.join(map(repr, call.arguments))})" for call in self.received)
            raise AssertionError(f"{otherwise} after {seconds:g} s. Client calls not received yet: {calls or 'none'}.") from None

    async def stays_quiet(self, target: str | None, seconds: float) -> bool:
        """Whether no call is there, or of no ``target``, and none comes for so long."""

        async def look() -> None:
            while self.find(target) is None and not self.has_ended:
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(look(), seconds)
        except asyncio.TimeoutError:
            return True
        return self.find(target) is None

    def raise_handler_error(self) -> None:
        """Raise what a handler raised that the hub does not hear of."""
        error, self._handler_error = self._handler_error, None
        if error is not None:
            raise error

    # Tasks

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def cancel_tasks(self) -> None:
        """End handlers and upload streams."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class ClientTransport:
    """Hands what the server writes to the client, at once."""

    name = "webSockets"

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        """Let the client read a frame."""
        self._conversation.take(message.data)
        return DONE

    def close(self, *, code: int) -> Awaitable[None]:
        """Let the client see that it is over."""
        self._conversation.wake()
        return DONE

    def abort(self) -> None:
        """Let the client see that it is over."""
        self._conversation.wake()
