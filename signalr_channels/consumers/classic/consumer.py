"""
Requests to a classic mount, in the reference's order of checks.

Source: reference sections 1.2, 1.3; ``PersistentConnection.cs``, ``HubDispatcher.cs``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.consumer import AsyncConsumer

from signalr_channels.backplane.ownership import GONE, HERE
from signalr_channels.classic_log import describe_classic_request
from signalr_channels.classic_mounts import WRONG_MOUNT, WRONG_USER, ClassicMount
from signalr_channels.classic_relay import REFUSED
from signalr_channels.classic_serving import REFUSED_TEXT, call
from signalr_channels.classic_tokens import ClassicToken, new_classic_token, read_classic_token
from signalr_channels.consumers.classic.elsewhere import OwnerLost, OwnerRefused, RemoteRequest, find_classic_owner
from signalr_channels.consumers.classic.receiving import JSON, NO_CACHE, SCRIPT, LocalRequest, refuse
from signalr_channels.consumers.classic.request import ClassicRequest
from signalr_channels.gate import Admission, Refusal, cors_headers, preflight_headers
from signalr_channels.hubs.lifetime import LifetimeEventKind
from signalr_channels.protocols.classic.forever_frame import escape_markup
from signalr_channels.protocols.classic.hub_messages import InvalidInvocation, encode_response, parse_invocation, to_ascii
from signalr_channels.protocols.classic.requests import (
    ClassicTransport,
    ConnectionDataError,
    FrameIdError,
    Operation,
    is_callback,
    jsonp,
    parse_connection_data,
)
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.responses import answer_upgrade, deny_websocket, respond
from signalr_channels.runtime import Runtime, get_runtime

__all__ = ["ClassicConsumer"]

logger = logging.getLogger("signalr_channels.connections")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

NOSNIFF = (b"x-content-type-options", b"nosniff")
STARTED = b'{ "Response": "started" }'
PONG = b'{ "Response": "pong" }'
WITHOUT_UPGRADE = frozenset({Operation.ABORT, Operation.START})
"""What a client of web sockets asks for by plain requests."""
PLAIN = WITHOUT_UPGRADE | {Operation.NEGOTIATE, Operation.PING, Operation.SCRIPT}
"""What is answered like a plain request if it comes as an upgrade."""


class ServerFault(Exception):
    """What the reference answers with 500; the text reaches the client where detailed errors are on."""


class ClassicConsumer(AsyncConsumer):  # type: ignore[misc]
    """Serves one mount: web sockets and HTTP requests, whatever their path below it. It keeps nothing of a request."""

    def __init__(self, mount: ClassicMount) -> None:
        self._mount = mount

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request to its end."""
        mount = self._mount
        request = ClassicRequest(scope)
        if request.is_websocket:
            await receive()  # websocket.connect
        elif scope["method"] == "OPTIONS" and (preflight := preflight_headers(scope, mount.cors_endpoint)) is not None:
            await respond(send, 204, content_type=None, headers=preflight)
            return
        if request.callback and not mount.options.ENABLE_JSONP:
            await self._refuse(request, send, Refusal(403), headers=[])
            return
        headers: Headers = [NOSNIFF, *([] if request.is_websocket else cors_headers(scope, mount.cors_endpoint))]
        names: tuple[str, ...] = ()
        try:
            if request.callback and not is_callback(request.callback):
                raise ServerFault("The callback is no name of a JavaScript function.")
            if mount.handler is None:
                names = mount.resolve(parse_connection_data(request.query("connectiondata")))
            is_plain = request.is_websocket and request.operation in PLAIN
            answer = answer_upgrade(scope, send) if is_plain else send
            await _Answering(get_runtime(), mount, request, receive, answer, headers).answer(names)
        except Refusal as refusal:
            await self._refuse(request, send, refusal, headers=headers)
            if refusal.reason is not None:
                transport = "" if request.transport is None else request.transport.value
                info = describe_classic_request(scope, mount, names, refusal.admission, transport=transport)
                get_runtime().record(LifetimeEventKind.REJECTED, info, reason=refusal.reason, detail=refusal.detail)
        except (ServerFault, ConnectionDataError, FrameIdError) as fault:
            logger.info("A request to %s failed: %.200r", mount.path, str(fault))
            text = (getattr(fault, "text", None) or str(fault)) if mount.is_debugging else ""
            await self._refuse(request, send, Refusal(500, text), headers=headers)

    async def _refuse(self, request: ClassicRequest, send: Send, refusal: Refusal, *, headers: Headers) -> None:
        if request.is_websocket:
            refusal.headers.extend(headers)
            await deny_websocket(request.scope, send, refusal)
        else:
            body = refusal.body.encode("utf-8", "replace")
            await respond(send, refusal.status, body, content_type=None, headers=[*headers, *refusal.headers])


class _Answering:
    """One request on its way through the checks."""

    def __init__(
        self, runtime: Runtime, mount: ClassicMount, request: ClassicRequest, receive: Receive, send: Send, headers: Headers
    ) -> None:
        self._runtime = runtime
        self._mount = mount
        self._request = request
        self._receive = receive
        self._send = send
        self._headers = headers

    async def answer(self, names: tuple[str, ...]) -> None:
        """
        Let the request in, and answer it.

        Raises:
            Refusal: It is turned away.
            ServerFault: It fails.
        """
        request, mount = self._request, self._mount
        admission, names = await mount.admit(request.scope, names)
        operation = request.operation
        if operation is Operation.SCRIPT and mount.handler is None:
            await self._respond(mount.script(request.url).encode(), SCRIPT)
        elif operation is Operation.NEGOTIATE:
            await self._negotiate(admission, names)
        elif operation is Operation.PING:
            await self._respond_json(PONG)
        else:
            token = self._check_token(admission)
            if not request.is_websocket:
                await request.read_form(self._receive, mount.options.MAXIMUM_FORM_SIZE)
            await self._serve(admission, names, token)

    # Negotiate

    async def _negotiate(self, admission: Admission, names: tuple[str, ...]) -> None:
        runtime, mount, request = self._runtime, self._mount, self._request
        if runtime.is_stopping:
            raise Refusal(503, "The server is stopping.", headers=[(b"retry-after", b"1")])
        token = new_classic_token(admission.user_identifier, await runtime.arbiter_channel())
        await self._respond_json(mount.negotiate(request.url, request.query("clientprotocol"), token))
        info = describe_classic_request(request.scope, mount, names, admission, connection_id=token.connection_id)
        runtime.record(LifetimeEventKind.NEGOTIATED, info)

    # Checks

    def _check_token(self, admission: Admission) -> ClassicToken:
        """
        The request's token, after the checks of transport and token.

        Raises:
            Refusal: One of them failed.
        """
        request, mount = self._request, self._mount
        transport = request.transport
        if transport is None and request.is_websocket and request.query("transport") is None:
            transport = request.transport = ClassicTransport.WEB_SOCKETS  # signalr-unified-client 0.0.10 leaves it out
        if (
            transport is None
            or transport not in mount.transports
            or (request.is_websocket and transport is not ClassicTransport.WEB_SOCKETS)
        ):
            raise Refusal(400, "Protocol error: Unknown transport.")
        text = request.query("connectiontoken")
        if not text:
            raise Refusal(400, "Protocol error: Missing connection token.")
        token = read_classic_token(text)
        if token is None:
            detail = "The connection token is not one of ours: was it made with another SECRET_KEY?"
            raise Refusal(400, "The ConnectionId is in the incorrect format.", reason=CloseReason.UNAUTHORIZED, detail=detail)
        if not token.belongs_to(admission.user_identifier):
            detail = "The connection token belongs to another user: did somebody log in or out after negotiating?"
            raise Refusal(403, WRONG_USER, reason=CloseReason.UNAUTHORIZED, detail=detail)
        if transport is ClassicTransport.WEB_SOCKETS and not request.is_websocket and request.operation not in WITHOUT_UPGRADE:
            raise Refusal(400, "Not a valid web socket request.")
        return token

    def _check_lifetime(self, token: ClassicToken) -> None:
        """A token that is old opens nothing."""
        lifetime = self._mount.options.CONNECTION_TOKEN_LIFETIME
        if lifetime is not None and time.time() - token.issued_at > lifetime and self._runtime.classic.get(token.connection_id) is None:
            detail = f"The connection token is older than {lifetime:g} s (CLASSIC CONNECTION_TOKEN_LIFETIME)."
            raise Refusal(400, "The ConnectionId is in the incorrect format.", reason=CloseReason.TOKEN_EXPIRED, detail=detail)

    # Requests of a connection

    async def _serve(self, admission: Admission, names: tuple[str, ...], token: ClassicToken, *, is_retry: bool = False) -> None:
        request, runtime = self._request, self._runtime
        operation = request.operation
        opened = runtime.classic.get(token.connection_id)
        if opened is not None and opened.mount is not self._mount:
            raise Refusal(
                400, WRONG_MOUNT, reason=CloseReason.PROTOCOL_ERROR, detail=f"The connection was opened at {opened.mount.path!r}."
            )
        if runtime.relay is not None:
            await runtime.classic_service.join()
        owner = await find_classic_owner(runtime, token.connection_id, token.arbiter, operation)
        is_call = operation in WITHOUT_UPGRADE or (operation is Operation.SEND and not request.is_websocket)
        is_refused = runtime.classic.is_refused(token.connection_id) and runtime.classic.get(token.connection_id) is None
        if operation is not Operation.CONNECT and (owner == GONE or (owner == HERE and is_refused)):
            await (self._refuse_call() if is_call else refuse(request, self._receive, self._send, self._mount, self._headers))
            return
        if owner is None and operation is Operation.ABORT:
            await self._respond(b"", b"text/plain")
            return
        if owner in (HERE, None):
            self._check_lifetime(token)
            if is_call:
                await self._call_here(admission, names, token)
            else:
                local = LocalRequest(runtime, self._mount, request, names, admission)
                await local.serve(token, self._receive, self._send, self._headers)
            return
        assert owner is not None
        remote = RemoteRequest(runtime, self._mount, request, names, admission, token.connection_id, owner)
        try:
            await (self._call_elsewhere(remote) if is_call else remote.receive(self._receive, self._send, self._headers))
        except OwnerLost:
            await runtime.classic_service.lost(token.connection_id, token.arbiter, owner)
            if is_retry:
                text = "The server process of this connection does not answer."
                raise Refusal(503, text, headers=[(b"retry-after", b"1")]) from None
            await self._serve(admission, names, token, is_retry=True)
        except OwnerRefused:
            # It ended there; a client that connects may begin again, here or wherever its arbiter says.
            assert runtime.ownership is not None
            runtime.ownership.forget_owner(token.connection_id)
            if is_retry:
                await refuse(request, self._receive, self._send, self._mount, self._headers)
            else:
                await self._serve(admission, names, token, is_retry=True)

    async def _refuse_call(self) -> None:
        """Of a connection that was ended for good."""
        operation = self._request.operation
        if operation is Operation.ABORT:
            await self._respond(b"", b"text/plain")
            return
        invocation_id = self._invocation_id() if operation is Operation.SEND and self._mount.handler is None else None
        if invocation_id is None:
            raise Refusal(400, REFUSED_TEXT)
        await self._respond_json(encode_response(invocation_id, error=REFUSED_TEXT))

    def _invocation_id(self) -> str | None:
        try:
            return parse_invocation(self._request.data or "", self._mount.options.MAXIMUM_STATE_SIZE).invocation_id
        except InvalidInvocation as error:
            return error.invocation_id

    async def _call_here(self, admission: Admission, names: tuple[str, ...], token: ClassicToken) -> None:
        classic, operation = self._runtime.classic, self._request.operation
        opened = classic.get(token.connection_id)
        if opened is None and operation is Operation.ABORT:
            await self._respond(b"", b"text/plain")
            return
        if opened is None:
            # Before the transport, or on a process that does not know it: it waits for its transport as after a loss.
            opened = classic.open(self._mount, self._request.scope, admission, token, is_new=False)
            await opened.session.attach(names)
        if operation is not Operation.ABORT:
            opened.renew(admission)
        await self._answer_call(*await call(opened, operation, names, self._request.data))

    async def _call_elsewhere(self, remote: RemoteRequest) -> None:
        status = await remote.call()
        await self._answer_call(status.status, status.body.encode())

    # Answers

    async def _answer_call(self, status: int, body: bytes) -> None:
        """Answer as the connection does, here or in another process."""
        operation = self._request.operation
        if operation is Operation.ABORT:
            await self._respond(b"", b"text/plain")
        elif status == REFUSED:
            await self._refuse_call()
        elif status in (400, 503):
            raise Refusal(status, body.decode(), headers=[(b"retry-after", b"1")] if status == 503 else [])
        elif status >= 400:
            raise ServerFault(body.decode())
        elif operation is Operation.START:
            await self._respond_json(STARTED)
        else:
            await self._respond_result(body)

    async def _respond_result(self, data: bytes) -> None:
        """What a send is answered; nothing where there are no hubs."""
        if not data:
            await self._respond(b"", None)
            return
        data = to_ascii(data)
        if self._request.transport is ClassicTransport.FOREVER_FRAME:
            data = escape_markup(data)
        await self._respond_json(data)

    async def _respond_json(self, data: bytes) -> None:
        callback = self._request.callback
        await (self._respond(jsonp(callback, data), SCRIPT) if callback else self._respond(data, JSON))

    async def _respond(self, data: bytes, content_type: bytes | None) -> None:
        await respond(self._send, 200, data, content_type=content_type, headers=[*NO_CACHE, *self._headers])
