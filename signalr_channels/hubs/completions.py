"""
Completions: what a client is told of its call, and what the log is told of one that failed.

Source: reference sections 4.6, 5.7.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from signalr_channels.exceptions import ArgumentBindingError, HubException, LocalProtocolError
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.protocols.messages import Completion, Invocation, StreamInvocation

if TYPE_CHECKING:
    from signalr_channels.hubs.session import HubSession

__all__ = [
    "complete",
    "explain_misfit",
    "fail",
    "generic_text",
    "log_failure",
    "refuse",
    "refuse_arguments",
    "refuse_permission",
    "refuse_unknown",
]

logger = logging.getLogger("signalr_channels.hubs")

LONGEST_CAUSE = 200
"""Characters of a log line that say which argument does not fit."""


def complete(session: HubSession, invocation_id: str, method: HubMethod, result: Any) -> None:
    """The call has a result. One that cannot be encoded is an error of the call."""
    try:
        session.connection.send(Completion(invocation_id=invocation_id, result=result))
    except LocalProtocolError as error:
        fail(session, invocation_id, method, error)


def refuse(session: HubSession, invocation_id: str | None, text: str) -> None:
    """Answer with an error, unless the client wants no answer."""
    if invocation_id:
        session.connection.send(Completion(invocation_id=invocation_id, error=text))


def fail(session: HubSession, invocation_id: str | None, method: HubMethod, error: Exception) -> None:
    """The call raised an error."""
    log_failure(session, method, error)
    refuse(session, invocation_id, session.dispatcher.describe(generic_text(method), error))


def generic_text(method: HubMethod) -> str:
    """What a client may read of any failure of a hub method."""
    return f"An unexpected error occurred invoking '{method.name}' on the server."


def log_failure(session: HubSession, method: HubMethod, error: Exception) -> None:
    """Only what is not meant for the client is a fault of the application."""
    name = session.dispatcher.name
    if isinstance(error, HubException):
        logger.info("%s: %s.%s: %s", session.connection.connection_id, name, method.name, type(error).__name__)
    else:
        logger.error("%s: %s.%s failed", session.connection.connection_id, name, method.name, exc_info=error)


def refuse_unknown(session: HubSession, message: Invocation | StreamInvocation) -> None:
    """The hub has no such method."""
    logger.debug("%s: %s has no method %.100r", session.connection.connection_id, session.dispatcher.name, message.target)
    # The reference looks the target up while it binds arguments, so this is its binding failure text.
    text = f"Failed to invoke '{message.target}' due to an error on the server. HubException: Method does not exist."
    refuse(session, message.invocation_id, text)


def refuse_arguments(session: HubSession, message: Invocation | StreamInvocation, method: HubMethod, error: ArgumentBindingError) -> None:
    """The arguments do not fit the method's annotations."""
    logger.info("%s: %s.%s: %s", session.connection.connection_id, session.dispatcher.name, method.name, explain_misfit(error))
    base = f"Failed to invoke '{method.name}' due to an error on the server."
    refuse(session, message.invocation_id, session.dispatcher.describe(base, error))


def explain_misfit(error: ArgumentBindingError) -> str:
    """For the log: the error, and which argument it is about. That part quotes what came over the wire."""
    return error.text if error.__cause__ is None else f"{error.text} {str(error.__cause__)[:LONGEST_CAUSE]!r}"


def refuse_permission(session: HubSession, invocation_id: str | None, method: HubMethod) -> None:
    """The user may not call the method."""
    logger.info("%s: %s.%s was not permitted", session.connection.connection_id, session.dispatcher.name, method.name)
    refuse(session, invocation_id, f"Failed to invoke '{method.name}' because user is unauthorized")
