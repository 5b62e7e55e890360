"""The negotiate view, for processes that speak WSGI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from signalr_channels.endpoints import HubEndpoint
from signalr_channels.gate import Refusal, admit, cors_headers, preflight_headers
from signalr_channels.query import query_items

__all__ = ["negotiate_view"]


def negotiate_view(endpoint: HubEndpoint) -> Callable[[HttpRequest], HttpResponseBase]:
    """
    The view that hands out connection ids of a hub.

    No client sends a CSRF token, so it is exempt; the origin is checked instead. Who is asking is found out as in an ASGI process,
    past Django's middleware: the transport request is served there, and must find the same user.
    """

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        scope: dict[str, Any] = {
            "type": "http",
            "scheme": request.scheme,
            "headers": [(key.lower().encode("latin-1"), value.encode("latin-1", "replace")) for key, value in request.headers.items()],
            "query_string": request.META.get("QUERY_STRING", "").encode("latin-1", "replace"),
        }
        if request.method == "OPTIONS" and (preflight := preflight_headers(scope, endpoint)) is not None:
            return _response(204, b"", preflight)
        headers = cors_headers(scope, endpoint)
        try:
            admission = async_to_sync(admit)(scope, endpoint)
            if request.method != "POST":
                raise Refusal(405)
        except Refusal as refusal:
            return _response(refusal.status, refusal.body.encode(), [*refusal.headers, *headers], "text/plain")
        query = query_items(scope["query_string"])
        return _response(200, endpoint.negotiate(query, admission.user_identifier).body, headers, "application/json")

    return view


def _response(status: int, body: bytes, headers: list[tuple[bytes, bytes]], content_type: str | None = None) -> HttpResponse:
    response = HttpResponse(body, status=status, content_type=content_type)
    for name, value in headers:
        response[name.decode("latin-1")] = value.decode("latin-1")
    return response
