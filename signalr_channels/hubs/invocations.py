"""
Plain invocations: a hub method called for one result.

A plain invocation needs one of its connection's slots (one by default, so calls keep their order). One with upload streams needs none,
or their items could not be read.

Source: ``DefaultHubDispatcher.cs``; reference sections 5.2, 5.6, 5.7.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from signalr_channels.exceptions import ArgumentBindingError, InvocationNotPermitted, LocalProtocolError
from signalr_channels.hubs.binding import BoundMethod
from signalr_channels.hubs.completions import complete, fail, generic_text, refuse, refuse_arguments, refuse_permission, refuse_unknown
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.hubs.permissions import check_invocation
from signalr_channels.hubs.upload_streams import UploadStream, close_uploads, merge_uploads, open_uploads
from signalr_channels.protocols.messages import Completion, Invocation

if TYPE_CHECKING:
    from signalr_channels.hubs.session import HubSession

__all__ = ["check_permission", "give_up_slot", "invoke"]


class _Running:
    """A plain invocation that runs in a task, and whether it holds one of its connection's slots."""

    __slots__ = ("_holds_slot", "session")

    def __init__(self, session: HubSession, holds_slot: bool) -> None:
        self.session = session
        self._holds_slot = holds_slot

    def give_up_slot(self) -> None:
        """Let the next invocation run."""
        if self._holds_slot:
            self._holds_slot = False
            self.session.free_slots += 1
        self.session.go_on()


_running: contextvars.ContextVar[_Running | None] = contextvars.ContextVar("signalr_running_invocation", default=None)


def invoke(session: HubSession, message: Invocation) -> bool:
    """Call a hub method. False: the call has to wait for ``on_connected``, for a slot, or until the client takes more answers."""
    if session.starting is not None or not (session.connection.has_room or session.has_room()):
        return False
    bound = session.methods.get(message.target) or session.methods.get(message.target.lower())
    if bound is None:
        refuse_unknown(session, message)
        return True
    if bound.runs_inline and not message.stream_ids and not session.dispatcher.filters:
        return _run_inline(session, message, bound)
    method = bound.method
    if method.is_streaming:
        text = f"The client attempted to invoke the streaming '{method.name}' method with a non-streaming invocation."
        refuse(session, message.invocation_id, text)
        return True
    try:
        arguments = bound.decode(message.arguments)
    except ArgumentBindingError as error:
        refuse_arguments(session, message, method, error)
        return True
    if message.stream_ids or method.item_types:
        uploads = open_uploads(session, message, bound)
        if uploads is not None:
            session.spawn(_run(session, message, method, merge_uploads(method, arguments, uploads), uploads, uses_slot=False))
        return True
    if not session.free_slots:
        return False
    session.free_slots -= 1
    session.spawn(_run(session, message, method, arguments, uses_slot=True))
    return True


def _run_inline(session: HubSession, message: Invocation, bound: BoundMethod) -> bool:
    """Run an ``async def`` that cannot suspend, without a task. False: it has to wait for a slot."""
    method, invocation_id = bound.method, message.invocation_id
    try:
        arguments = bound.decode(message.arguments)
    except ArgumentBindingError as error:
        refuse_arguments(session, message, method, error)
        return True
    if not session.free_slots:
        return False
    try:
        # new_hub() and complete(), written out: most calls come this way.
        hub = session.dispatcher.hub()
        hub._session = session
        # What it sets in context variables is its own, as that of a call with a task.
        contextvars.copy_context().run(method.function(hub, *arguments).send, None)
    except StopIteration as stop:
        result = stop.value
    except Exception as error:
        fail(session, invocation_id, method, error)
        return True
    except asyncio.CancelledError:  # raised by the method itself: it waits for nothing
        refuse(session, invocation_id, generic_text(method))
        return True
    else:
        raise AssertionError(f"{method.name} suspended although it has no await")
    if invocation_id:
        try:
            session.connection.send(Completion(invocation_id=invocation_id, result=result))
        except LocalProtocolError as error:
            fail(session, invocation_id, method, error)
    return True


async def _run(
    session: HubSession,
    message: Invocation,
    method: HubMethod,
    arguments: Sequence[Any],
    uploads: Sequence[UploadStream] = (),
    *,
    uses_slot: bool,
) -> None:
    running = _Running(session, uses_slot)
    _running.set(running)
    try:
        if method.permission_classes:
            await check_permission(session, method, arguments)
        result = await session.dispatcher.invoke(session.new_hub(), method, arguments)
        if message.invocation_id:
            complete(session, message.invocation_id, method, result)
    except InvocationNotPermitted:
        refuse_permission(session, message.invocation_id, method)
    except Exception as error:
        fail(session, message.invocation_id, method, error)
    except asyncio.CancelledError:  # of something the method waited for, or ours when the process stops
        refuse(session, message.invocation_id, generic_text(method))
        raise
    finally:
        if uploads:
            close_uploads(session, message.stream_ids, uploads)
        running.give_up_slot()


def give_up_slot(session: HubSession) -> None:
    """Let the next invocation of this connection run, if it is one of this connection that asks."""
    running = _running.get()
    if running is not None and running.session is session:
        running.give_up_slot()


async def check_permission(session: HubSession, method: HubMethod, arguments: Sequence[Any]) -> None:
    """
    Ask the method's permission classes, plain invocation or streaming.

    Raises:
        InvocationNotPermitted: One of them says no.
    """
    user, hub = session.context.user, session.dispatcher.hub
    await check_invocation(method.permission_classes, user=user, hub=hub, method=method.name, arguments=arguments)
