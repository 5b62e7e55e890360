"""
Tests of hubs: a client in the process of the test, without a server, a network or a thread.

::

    async with HubCommunicator(ChatHub, user=user) as client:
        await client.ainvoke("SendMessage", "lobby", "hi")
        assert await client.receive("messageReceived") == ["anna", "hi"]

What a client does goes through the same protocol, permissions, filters and lifetime manager as in production; all test clients of an
event loop reach each other, and ``get_hub_context()`` reaches them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser

from signalr_channels.connections.transports import DONE
from signalr_channels.endpoints import PROTOCOLS, HubEndpoint
from signalr_channels.exceptions import ConnectionClosed, SignalRError, WrongContext
from signalr_channels.gate import admit
from signalr_channels.hubs.hub import Hub
from signalr_channels.protocols.base import EncodedMessage
from signalr_channels.protocols.messages import (
    Close,
    Completion,
)
from signalr_channels.sessions import OpenConnection, check_room, open_connection
from signalr_channels.testing_runtime import RuntimeForTests, acquire_runtime
from signalr_channels.testing_wire import ClientWire
from signalr_channels.tokens import make_connection_id

__all__ = ["ClientCall", "HubCommunicator", "HubInvocationError", "HubStream", "upload"]

NO_ANSWER = "Client didn't provide a result."
"""What Microsoft's clients answer where no handler is registered."""
GRACE = 0.1
"""Seconds in which nothing may come for ``nothing_received()``."""

Handler = Callable[..., Any]


class HubInvocationError(SignalRError):
    """
    A hub method call ended with an error. The text is what a client sees; ``__cause__`` is the exception that hub code raised.
    """


@dataclass(frozen=True, slots=True)
class ClientCall:
    """A client method that the hub called."""

    target: str
    arguments: list[Any]


class _Call:
    """A hub method that the client called: what came of it so far."""

    __slots__ = ("cause", "completion", "items", "target", "uploads")

    def __init__(self, target: str) -> None:
        self.target = target
        self.items: deque[Any] = deque()
        self.completion: Completion | None = None
        self.cause: BaseException | None = None
        self.uploads: list[asyncio.Task[None]] = []

    def raise_error(self) -> None:
        if self.completion is not None and self.completion.error is not None:
            raise HubInvocationError(self.completion.error) from self.cause


class _Transport:
    """Hands what the server writes to the client, at once."""

    name = "webSockets"

    def __init__(self, take: Callable[[bytes], None], wake: Callable[[], None]) -> None:
        self._take = take
        self._wake = wake

    def write(self, message: EncodedMessage) -> Awaitable[None]:
        self._take(message.data)
        return DONE

    def close(self, *, code: int) -> Awaitable[None]:
        self._wake()
        return DONE

    def abort(self) -> None:
        self._wake()


class HubCommunicator:
    """
    One client of a hub.

    Attributes:
        user: Whom it is logged in as.
        timeout: Seconds that anything it waits for may take.
        pings: How often the server has pinged it.
        close_message: The Close message the server has sent, if it has.
    """

    def __init__(
        self,
        hub: type[Hub],
        *,
        user: Any = None,
        protocol: str = "json",
        headers: Mapping[str, str] | None = None,
        scope: Mapping[str, Any] | None = None,
        timeout: float = 5.0,
        **settings: Any,
    ) -> None:
        """
        Args:
            hub: The hub class.
            user: A Django user; ``None`` is nobody.
            protocol: ``json`` or ``messagepack``.
            headers: Of the request, such as ``{"User-Agent": "…"}``.
            scope: More entries of the ASGI scope, as hub code finds them in ``self.context.scope``.
            timeout: Seconds that anything may take.
            settings: Settings that differ from the hub's, by the names of ``SIGNALR``.

        Raises:
            HubDefinitionError: A setting is unknown.
        """
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol is one of {', '.join(PROTOCOLS)}, not {protocol!r}")
        self.user = AnonymousUser() if user is None else user
        self.timeout = timeout
        self.pings = 0
        self.close_message: Close | None = None
        self._endpoint = HubEndpoint("hub", hub, settings)
        self._protocol = protocol
        self._scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/hub",
            "query_string": b"",
            "client": ("testclient", 0),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()],
            **(scope or {}),
            "user": self.user,
        }
        self._runtime: RuntimeForTests | None = None
        self._opened: OpenConnection | None = None
        self._wire = ClientWire(PROTOCOLS[protocol])
        self._ids = itertools.count()
        self._calls: dict[str, _Call] = {}
        self._received: deque[ClientCall] = deque()
        self._handlers: dict[str, Handler] = {}
        self._handler_error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    # Start and end

    async def start(self) -> None:
        """
        Connect, and wait until ``on_connected`` has run.

        Raises:
            RequestRefused: The client is not let in: 401 without a login, 403 without the permission.
            ConnectionClosed: The handshake was refused, or ``on_connected`` raised; ``__cause__`` is what it raised.
            WrongContext: It has been started before.
        """
        if self._runtime is not None:
            raise WrongContext("A HubCommunicator connects once; make another one.")
        self._runtime = acquire_runtime()
        try:
            await self._open(self._runtime)
        except BaseException:
            await self.stop()
            raise

    async def _open(self, runtime: RuntimeForTests) -> None:
        endpoint = self._endpoint
        admission = await admit(self._scope, endpoint)
        check_room(runtime, endpoint)
        dispatcher = runtime.dispatcher_for(endpoint)
        offered = {protocol.name: protocol for protocol in dispatcher.protocols}
        self._wire = ClientWire(offered.get(self._protocol) or PROTOCOLS[self._protocol])
        transport = _Transport(self._take, self._changed.set)
        opened = open_connection(runtime, endpoint, dispatcher, self._scope, admission, make_connection_id(), transport)
        self._opened = opened
        opened.session.receive(self._wire.handshake())
        await opened.session.wait_started()
        if self.closed is not None:
            told = self._wire.handshake_error or (self.close_message.error if self.close_message is not None else None)
            raise ConnectionClosed(told or f"The connection was ended: {self.closed.reason}.") from self.closed.exception
        self.ping()  # as Microsoft's clients do after the handshake

    async def stop(self) -> None:
        """
        Leave as a client does on purpose. Calls that still run have ``timeout`` seconds; then they are cancelled.

        Raises whatever a handler of :meth:`on` raised that nobody has heard of. Doing it twice is harmless.
        """
        runtime, self._runtime_left = self._runtime, True
        opened = self._opened
        if runtime is None or opened is None:
            return
