"""
What requests do to a classic connection: the same steps, whether a request came to its process or was handed over by another one.

A receiving request brings a transport, :func:`attach`; sends, starts and aborts are calls, :func:`call`; and what comes on a web socket
goes through :func:`take_message`.

Source: reference sections 1.3, 4.1, 4.8.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from signalr_channels.classic_runtime import ClassicConnections, OpenClassicConnection
from signalr_channels.connections.classic_connection import ClassicTransport
from signalr_channels.exceptions import ConnectionClosed
from signalr_channels.gate import Admission
from signalr_channels.protocols.classic.engine import InvalidCursor, encode_farewell
from signalr_channels.protocols.classic.hub_messages import InvalidInvocation
from signalr_channels.protocols.classic.negotiation import has_delayed_start
from signalr_channels.protocols.classic.requests import Operation
from signalr_channels.protocols.endings import CloseReason

__all__ = ["REFUSED_TEXT", "ReceivingRequest", "attach", "call", "say_farewell", "take_message"]

logger = logging.getLogger("signalr_channels.connections")

T = TypeVar("T", bound=ClassicTransport)

REFUSED_TEXT = "The connection has ended; start a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivingRequest:
    """A connect, reconnect or poll, as far as its connection is concerned."""

    operation: Operation
    hubs: Sequence[str]
    """Names of the hubs it names that let it in."""
    protocol: str
    """Version the client speaks."""
    cursor: str | None
    groups_token: str | None
    scope: Mapping[str, Any] | None = None
    """Of ASGI; ``None`` if it came to another process."""
    admission: Admission | None = None
    """Who it comes from; ``None`` likewise."""


async def attach(
    connections: ClassicConnections, opened: OpenClassicConnection, request: ReceivingRequest, answer: Callable[[], Awaitable[T]]
) -> tuple[T, bool]:
    """
    Let a receiving request carry the connection, and tell hubs.

    Args:
        connections: Those of this process.
        opened: The connection.
        request: The request.
        answer: Begins its answer, and gives the transport.

    Returns:
        The transport, and whether it carries the connection. If not, it was ended, and the client told why as far as it can be.

    Raises:
        Exception: What ``answer`` raised.
    """
    await connections.list_hubs(opened, request.hubs, request.groups_token)
    transport = await answer()
    is_connect = request.operation is Operation.CONNECT
    if is_connect and not has_delayed_start(request.protocol):  # before 1.4 there is no /start
        try:
            await opened.session.start(request.hubs)
        except Exception as error:  # logged by the session
            logger.info("%s: on_connected failed: %s", opened.connection.connection_id, type(error).__name__)
            transport.abort()
            return transport, False
    try:
        opened.connection.attach(transport, cursor=request.cursor, groups_token=request.groups_token, init=is_connect)
    except InvalidCursor as error:
        logger.info("%s: %s", opened.connection.connection_id, error)
        await transport.close()
        return transport, False
    except ConnectionClosed:  # meanwhile
        await say_farewell(transport)
        return transport, False
    _note(opened, transport, request)
    return transport, True


def _note(opened: OpenClassicConnection, transport: ClassicTransport, request: ReceivingRequest) -> None:
    """Let the history and the hubs know of a transport that was attached."""
    is_connect = request.operation is Operation.CONNECT
    follows_a_poll = transport.is_poll and request.operation is not Operation.RECONNECT
    came_back = not is_connect and not follows_a_poll
    lived_elsewhere = not is_connect and not opened.has_begun
    opened.has_begun = True
    opened.log.attached(
        transport.name, request.hubs, came_back=came_back or lived_elsewhere, scope=request.scope, admission=request.admission
    )
    if came_back:
        opened.session.spawn(_tell_reconnected(opened, transport))
    elif lived_elsewhere:
        opened.session.resume()


async def _tell_reconnected(opened: OpenClassicConnection, transport: ClassicTransport) -> None:
    """Run ``on_reconnected``; if it fails, the request ends and the client tries again."""
    try:
        await opened.session.restart()
    except Exception as error:  # logged by the session
        logger.info("%s: on_reconnected failed: %s", opened.connection.connection_id, type(error).__name__)
        opened.connection.lose_transport(transport)
        await transport.close()


async def say_farewell(transport: ClassicTransport) -> None:
    """Tell a client whose connection has ended to stop."""
    await transport.write(encode_farewell(b'"%s"' % REFUSED_TEXT.encode()))
    if not transport.is_poll:
        await transport.close()


# Calls


async def call(opened: OpenClassicConnection, operation: Operation, hubs: Sequence[str], data: str | None) -> tuple[int, bytes]:
    """
    Serve a send, start or abort.

    Args:
        opened: The connection.
        operation: One of the three.
        hubs: Names of the hubs the request names that let it in.
        data: What a send brings.

    Returns:
        ``(status, body)``: 200 with what the hub answers, empty where there is none; 500, or 503 if the process stops, with the error,
        where the client may see it.
    """
    connection = opened.connection
    if operation is Operation.ABORT:
        connection.stop()
        return 200, b""
    try:
        if operation is Operation.START:
            await opened.session.start(hubs)
            return 200, b""
        answer = opened.session.invoke(data or "")
        return 200, answer if isinstance(answer, bytes) else await opened.session.run(answer)
    except InvalidInvocation as error:
        logger.info("%s: a message could not be used: %s", connection.connection_id, error)
        failure: Exception = error
    except Exception as error:
        failure = error
        if operation is not Operation.START:
            if isinstance(error, ConnectionClosed):
                return 503, str(error).encode()
            logger.error("%s: what the client sent failed", connection.connection_id, exc_info=error)
    return 500, str(failure).encode("utf-8", "replace") if opened.mount.is_debugging else b""


def take_message(opened: OpenClassicConnection, data: str | bytes) -> CloseReason | None:
    """
    Take what came on a web socket.

    Args:
        opened: The connection.
        data: Text, or the bytes of a binary message.

    Returns:
        ``None``, or why the socket is to be cut. The reference ends TCP without a Close frame then, and the client comes back.
    """
    connection, limit = opened.connection, opened.mount.options.MAXIMUM_WEBSOCKET_MESSAGE_SIZE
    if isinstance(data, bytes):
        logger.warning("%s: the client sent a binary message, and there are none; its socket was cut", connection.connection_id)
        return CloseReason.PROTOCOL_ERROR
    if limit is not None and _size(data, limit) > limit:
        text = "%s: a message was over %s bytes (CLASSIC MAXIMUM_WEBSOCKET_MESSAGE_SIZE); its socket was cut"
        logger.warning(text, connection.connection_id, limit)
        return CloseReason.MESSAGE_TOO_BIG
    connection.last_received = connection.clock()
    opened.session.receive(data)
    return None


def _size(text: str, limit: int) -> int:
    """Bytes of a text, counted only where they may be too many."""
    return len(text.encode("utf-8", "surrogatepass")) if len(text) * 4 > limit else len(text)
