"""The HTTP requests of a hub: negotiate, preflights, and what is no request of a transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from channels.consumer import AsyncConsumer

from signalr_channels.backplane.ownership import HERE
from signalr_channels.consumers.elsewhere import serve_elsewhere
from signalr_channels.consumers.long_polling import serve_delete, serve_poll
from signalr_channels.consumers.posting import serve_post
from signalr_channels.consumers.server_sent_events import serve_event_stream
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Admission, Refusal, admit, cors_headers, describe_request, preflight_headers
from signalr_channels.hubs.lifetime import LifetimeEventKind
from signalr_channels.lifetime_log import record_failure
from signalr_channels.protocols.core.negotiation import Transport
from signalr_channels.query import query_items
from signalr_channels.responses import NO_CACHE, respond
from signalr_channels.runtime import get_runtime
from signalr_channels.transport_requests import accepts_event_stream, connection_id_of, find_owner, find_token

__all__ = ["NegotiateConsumer", "TransportRequestConsumer"]

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class _HubRequestConsumer(AsyncConsumer):  # type: ignore[misc]
    """Lets a request in, answers it, and records it when it is refused."""

    def __init__(self, endpoint: HubEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._endpoint
        preflight = preflight_headers(scope, endpoint) if scope["method"] == "OPTIONS" else None
        if preflight is not None:
            await respond(send, 204, content_type=None, headers=preflight)
            return
        headers = cors_headers(scope, endpoint)
        admission = None
        try:
            admission = await admit(scope, endpoint)
            await self.answer(scope, receive, send, admission, headers)
        except Refusal as refusal:
            content_type = None if refusal.status == 401 else b"text/plain"
            await respond(send, refusal.status, refusal.body.encode(), content_type=content_type, headers=[*refusal.headers, *headers])
            if refusal.reason is not None:
                info = describe_request(scope, endpoint, connection_id_of(scope), admission=refusal.admission or admission)
                get_runtime().record(LifetimeEventKind.REJECTED, info, reason=refusal.reason, detail=refusal.detail)
        except Exception as error:
            if admission is None:
                record_failure(get_runtime(), describe_request(scope, endpoint, connection_id_of(scope)), error)
            raise

    async def answer(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, admission: Admission, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Answer a request that was let in."""
        raise AssertionError("abstract")


class NegotiateConsumer(_HubRequestConsumer):
    """``POST {hub}/negotiate``. The body is ignored."""

    async def answer(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, admission: Admission, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Hand out a connection id."""
        if scope["method"] != "POST":
            raise Refusal(405)
        runtime = get_runtime()
        if runtime.is_stopping:
            raise Refusal(503, "The server is stopping.", headers=[(b"retry-after", b"1")])
        arbiter = await runtime.arbiter_channel()
        negotiated = self._endpoint.negotiate(query_items(scope["query_string"]), admission.user_identifier, arbiter)
        await respond(send, 200, negotiated.body, content_type=b"application/json", headers=headers)
        if negotiated.connection_id:
            info = describe_request(scope, self._endpoint, negotiated.connection_id, admission=admission)
            runtime.record(LifetimeEventKind.NEGOTIATED, info)


class TransportRequestConsumer(_HubRequestConsumer):
    """Requests of the transports that are series of HTTP requests."""

    async def answer(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, admission: Admission, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Send a request to its transport."""
        method = scope["method"]
        if method not in ("GET", "POST", "DELETE"):
            raise Refusal(405)
        runtime, endpoint = get_runtime(), self._endpoint
        is_poll = method == "GET" and not accepts_event_stream(scope)
        try:
            is_opening = method == "GET"
            token = find_token(runtime, endpoint, query_items(scope["query_string"]).get("id", []), admission, is_opening=is_opening)
            connection_id = token.connection_id
            transport = Transport.LONG_POLLING if is_poll else Transport.SERVER_SENT_EVENTS
            if is_opening and transport not in endpoint.transports:
                raise Refusal(404, f"{transport.value} transport not supported by this end point type")
            owner = await find_owner(runtime, endpoint, token, may_claim=is_opening)
            if owner != HERE:
                await serve_elsewhere(runtime, endpoint, scope, receive, send, admission, token, owner, headers)
            elif method == "POST":
                await serve_post(runtime, endpoint, receive, send, connection_id, headers)
            elif method == "DELETE":
                await serve_delete(runtime, connection_id, send, headers)
            else:
                serve = serve_poll if is_poll else serve_event_stream
                await serve(runtime, endpoint, scope, receive, send, admission, token, headers)
        except Refusal as refusal:
            if is_poll:
                refusal.headers.extend(NO_CACHE)
            raise
