"""
Streaming invocations: a hub method whose items are sent to the client as they come.

They need no slot, so any number of them runs besides plain invocations.

Source: reference sections 4.6, 4.7, 5.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from signalr_channels.connections.connection import Connection
from signalr_channels.connections.transports import Primed
from signalr_channels.exceptions import ArgumentBindingError, InvocationNotPermitted
from signalr_channels.hubs.completions import fail, log_failure, refuse, refuse_arguments, refuse_permission, refuse_unknown
from signalr_channels.hubs.invocations import check_permission
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.hubs.upload_streams import UploadStream, close_uploads, merge_uploads, open_uploads
from signalr_channels.protocols.messages import CancelInvocation, Completion, StreamInvocation, StreamItem

if TYPE_CHECKING:
    from signalr_channels.hubs.session import HubSession

__all__ = ["NextOrFlush", "RunningStream", "cancel_stream", "invoke_stream", "send_items"]

logger = logging.getLogger("signalr_channels.hubs")


class RunningStream:
    """A streaming invocation that runs. It is cancelled once: what it does in ``finally`` blocks is not disturbed."""

    __slots__ = ("is_ending", "task")

    def __init__(self) -> None:
        self.is_ending = False
        self.task: asyncio.Task[Any] | None = None

    def cancel(self) -> None:
        """End it, unless it is about to end."""
        if not self.is_ending and self.task is not None:
            self.is_ending = True
            self.task.cancel()


def invoke_stream(session: HubSession, message: StreamInvocation) -> None:
    """Call a streaming hub method, in a task of its own."""
    bound = session.methods.get(message.target.lower())
    if bound is None:
        refuse_unknown(session, message)
        return
    method, invocation_id = bound.method, message.invocation_id
    if not method.is_streaming:
        text = f"The client attempted to invoke the non-streaming '{method.name}' method with a streaming invocation."
        refuse(session, invocation_id, text)
        return
    try:
        arguments = bound.decode(message.arguments)
    except ArgumentBindingError as error:
        refuse_arguments(session, message, method, error)
        return
    if session.streams is None:
        session.streams = {}
    if invocation_id in session.streams:
        refuse(session, invocation_id, f"Invocation ID '{invocation_id}' is already in use.")
        return
    uploads = open_uploads(session, message, bound)
    if uploads is not None:
        running = session.streams[invocation_id] = RunningStream()
        running.task = session.spawn(_run(session, invocation_id, method, merge_uploads(method, arguments, uploads), running))
        running.task.add_done_callback(lambda task: _ended(session, message, uploads, running))


def cancel_stream(session: HubSession, message: CancelInvocation) -> None:
    """The client wants no more items. An unknown id means nothing: the stream may just have ended."""
    if session.streams is not None and (running := session.streams.get(message.invocation_id)) is not None:
        running.cancel()


async def _run(session: HubSession, invocation_id: str, method: HubMethod, arguments: Sequence[Any], running: RunningStream) -> None:
    try:
        if method.permission_classes:
            await check_permission(session, method, arguments)
        items = await session.dispatcher.invoke(session.new_hub(), method, arguments)
    except InvocationNotPermitted:
        refuse_permission(session, invocation_id, method)
    except Exception as error:
        fail(session, invocation_id, method, error)
    else:
        await _stream(session, invocation_id, method, items, running)


async def _stream(session: HubSession, invocation_id: str, method: HubMethod, items: Any, running: RunningStream) -> None:
    """Send the items and the completion."""
    if not hasattr(items, "__aiter__"):
        text = f"The value returned by the streaming method '{method.name}' is not a ChannelReader<> or IAsyncEnumerable<>."
        refuse(session, invocation_id, text)
        return
    iterator = items.__aiter__()
    try:
        await send_items(session.connection, invocation_id, iterator)
    except asyncio.CancelledError:
        pass  # by the client, or by the end of the connection: an orderly end either way
    except Exception as error:
        # Answered in here: hub tests see the error that is being handled when the completion is sent.
        log_failure(session, method, error)
        running.is_ending = True
        await _close_iterator(iterator, method)  # it is still open if an item could not be encoded
        _free_id(session, invocation_id, running)
        refuse(session, invocation_id, session.dispatcher.describe("An error occurred on the server while streaming results.", error))
        return
    running.is_ending = True
    await _close_iterator(iterator, method)
    _free_id(session, invocation_id, running)
    session.connection.send(Completion(invocation_id=invocation_id))


def _ended(session: HubSession, message: StreamInvocation, uploads: Sequence[UploadStream], running: RunningStream) -> None:
    close_uploads(session, message.stream_ids, uploads)
    _free_id(session, message.invocation_id, running)
    if running.task is not None and running.task.cancelled():  # before its first item
        session.connection.send(Completion(invocation_id=message.invocation_id))


def _free_id(session: HubSession, invocation_id: str, running: RunningStream) -> None:
    """Before the completion is sent: the client may use the id again at once."""
    if session.streams is not None and session.streams.get(invocation_id) is running:
        del session.streams[invocation_id]


class NextOrFlush:
    """Awaits the next item of a stream; if that takes time, what the connection has to say is written first."""

    __slots__ = ("_connection", "_iterator")

    def __init__(self, connection: Connection, iterator: AsyncIterator[Any]) -> None:
        self._connection = connection
        self._iterator = iterator

    def __await__(self) -> Generator[Any, Any, Any]:
        step = self._iterator.__anext__().__await__()
        try:
            future = next(step)
        except StopIteration as stop:
            return stop.value
        self._connection.uncork()
        return (yield from Primed(step, future))


async def send_items(connection: Connection, invocation_id: str, iterator: AsyncIterator[Any]) -> None:
    """
    Send the items of a stream as they come, those that come at once together.

    Returns when there are no more, or the connection has ended. Waits while the client does not read.

    Raises:
        LocalProtocolError: An item cannot be encoded.
        Exception: What the stream raises.
    """
    next_item = NextOrFlush(connection, iterator)
    try:
        while not connection.is_closed:
            connection.cork()
            try:
                item = await next_item
            except StopAsyncIteration:
                return
            connection.cork()
            connection.send(StreamItem(invocation_id=invocation_id, item=item))
            if not connection.has_room:
                connection.uncork()
                if connection.is_congested:
                    await connection.drain()
                else:
                    await asyncio.sleep(0)  # the event loop notices only between turns that a client does not read
                    connection.start_turn()
    finally:
        connection.uncork()


async def _close_iterator(iterator: Any, method: HubMethod) -> None:
    """Run the ``finally`` blocks of a generator that is not read to its end."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception as error:
            logger.error("Streaming method %s failed while it was closed", method.name, exc_info=error)
