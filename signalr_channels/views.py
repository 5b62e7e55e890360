"""The negotiate view, for processes that speak WSGI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from signalr_channels.classic_log import describe_classic_request
from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.classic_tokens import new_classic_token
from signalr_channels.consumers.classic.consumer import NOSNIFF
from signalr_channels.consumers.classic.request import ClassicRequest
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Refusal, admit, cors_headers, describe_request, preflight_headers
from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEvent, LifetimeEventKind
from signalr_channels.protocols.classic.requests import ConnectionDataError, is_callback, jsonp, parse_connection_data
from signalr_channels.query import query_items
from signalr_channels.recorder import get_recorder
from signalr_channels.runtime import process_name

__all__ = ["classic_negotiate_view", "negotiate_view"]

View = Callable[..., HttpResponseBase]


def _negotiates(view: View) -> View:
    """
    Take a view out of what Django does for pages.

    There is no CSRF token. And there may be no transaction (``ATOMIC_REQUESTS``): when Channels looks for the user, it closes the database
    connection of the thread.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return csrf_exempt(view)


def negotiate_view(endpoint: HubEndpoint) -> View:
    """
    The view that hands out connection ids of a hub.

    No client sends a CSRF token, so it is exempt; the origin is checked instead. Who is asking is found out as in an ASGI process,
    past Django's middleware: the transport request is served there, and must find the same user.
    """

    @_negotiates
    def view(request: HttpRequest) -> HttpResponse:
        scope = _scope(request)
        if request.method == "OPTIONS" and (preflight := preflight_headers(scope, endpoint)) is not None:
            return _response(204, b"", preflight)
        headers = cors_headers(scope, endpoint)
        try:
            admission = async_to_sync(admit)(scope, endpoint)
            if request.method != "POST":
                raise Refusal(405)
        except Refusal as refusal:
            _record_refusal(refusal, describe_request(scope, endpoint, admission=refusal.admission))
            return _response(refusal.status, refusal.body.encode(), [*refusal.headers, *headers], "text/plain")
        negotiated = endpoint.negotiate(query_items(scope["query_string"]), admission.user_identifier)
        if negotiated.connection_id:
            _record(LifetimeEventKind.NEGOTIATED, describe_request(scope, endpoint, negotiated.connection_id, admission=admission))
        return _response(200, negotiated.body, headers, "application/json")

    return view


def classic_negotiate_view(mount: ClassicMount) -> View:
    """The view that hands out connection ids to classic clients; see :func:`negotiate_view`."""

    @_negotiates
    def view(request: HttpRequest, *args: Any) -> HttpResponse:
        classic = ClassicRequest(_scope(request))
        if request.method == "OPTIONS" and (preflight := preflight_headers(classic.scope, mount.cors_endpoint)) is not None:
            return _response(204, b"", preflight)
        if classic.callback and not mount.options.ENABLE_JSONP:
            return _response(403, b"", [])
        headers = [NOSNIFF, *cors_headers(classic.scope, mount.cors_endpoint)]
        names: tuple[str, ...] = ()
        try:
            names = () if mount.handler is not None else mount.resolve(parse_connection_data(classic.query("connectiondata")))
            admission, names = async_to_sync(mount.admit)(dict(classic.scope), names)
        except Refusal as refusal:
            _record_refusal(refusal, describe_classic_request(classic.scope, mount, names, refusal.admission))
            return _response(refusal.status, refusal.body.encode(), [*refusal.headers, *headers])
        except ConnectionDataError as error:
            return _response(500, str(error).encode() if mount.is_debugging else b"", headers)
        if classic.callback and not is_callback(classic.callback):
            return _response(500, b"", headers)
        token = new_classic_token(admission.user_identifier, "")
        body = mount.negotiate(classic.url, classic.query("clientprotocol"), token)
        info = describe_classic_request(classic.scope, mount, names, admission, connection_id=token.connection_id)
        _record(LifetimeEventKind.NEGOTIATED, info)
        if classic.callback:
            return _response(200, jsonp(classic.callback, body), headers, "application/javascript; charset=UTF-8")
        return _response(200, body, headers, "application/json; charset=UTF-8")

    return view


def _scope(request: HttpRequest) -> dict[str, Any]:
    """What the gate reads of a request, as an ASGI scope."""
    return {
        "type": "http",
        "scheme": request.scheme,
        "method": request.method,
        "path": request.path_info,
        "client": (request.META.get("REMOTE_ADDR", ""), request.META.get("REMOTE_PORT", 0)),
        "root_path": request.META.get("SCRIPT_NAME", ""),
        "headers": [(key.lower().encode("latin-1"), value.encode("latin-1", "replace")) for key, value in request.headers.items()],
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1", "replace"),
    }


def _record_refusal(refusal: Refusal, info: ConnectionInfo) -> None:
    if refusal.reason is not None:
        _record(LifetimeEventKind.REJECTED, info, reason=refusal.reason, detail=refusal.detail)


def _record(kind: LifetimeEventKind, info: ConnectionInfo, **more: Any) -> None:
    """Write a lifetime event into the history, sideways, as an ASGI process does."""
    get_recorder().record(LifetimeEvent(kind=kind, connection=info, process=process_name(), **more))


def _response(status: int, body: bytes, headers: list[tuple[bytes, bytes]], content_type: str | None = None) -> HttpResponse:
    response = HttpResponse(body, status=status, content_type=content_type)
    for name, value in headers:
        response[name.decode("latin-1")] = value.decode("latin-1")
    return response
