"""The page, and a plain Django view that speaks in a room."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from demo_project.chat.hubs import ChatHub
from demo_project.chat.models import ROOM_NAME
from signalr_channels import get_hub_context

View = Callable[..., HttpResponse]
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def content_security_policy(view: View) -> View:
    """The page needs no inline script or style, and nothing from elsewhere."""

    @wraps(view)
    def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    return protected


@require_GET
@content_security_policy
def chat(request: HttpRequest) -> HttpResponse:
    return render(request, "chat/chat.html")


@require_POST
def announce(request: HttpRequest) -> HttpResponse:
    """Speak in a room, from sync code that holds no connection to anybody."""
    room = request.POST.get("room", "")
    try:
        ROOM_NAME(room)
    except ValidationError as error:
        return HttpResponseBadRequest(error.message, content_type="text/plain")
    who = request.user.get_username() if request.user.is_authenticated else "Somebody"
    get_hub_context(ChatHub).clients.group(room).send("messageReceived", "A Django view", f"{who} pressed the button.")
    return HttpResponse(status=204)
