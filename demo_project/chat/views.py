"""The page, and a plain Django view that speaks in a room."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from demo_project.chat.hubs import LONGEST_MESSAGE, LONGEST_NICKNAME, ChatHub
from demo_project.chat.layer import reaches_other_processes
from demo_project.chat.models import LONGEST_ROOM_NAME, check_room_name
from signalr_channels import get_hub_context

View = Callable[..., HttpResponse]
CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    **dict.fromkeys(("script-src", "style-src", "img-src", "connect-src", "form-action"), "'self'"),
    **dict.fromkeys(("base-uri", "frame-ancestors"), "'none'"),
}


def content_security_policy(**more: str) -> Callable[[View], View]:
    """The page has no inline script or style, and takes nothing from elsewhere, but for ``more`` directives."""
    policy = "; ".join(f"{name} {value}" for name, value in {**CONTENT_SECURITY_POLICY, **more}.items())

    def protect(view: View) -> View:
        @wraps(view)
        def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response = view(request, *args, **kwargs)
            response["Content-Security-Policy"] = policy
            return response

        return protected

    return protect


@require_safe
@content_security_policy()
def chat(request: HttpRequest) -> HttpResponse:
    context = {
        "room": request.GET.get("room", "lobby"),
        "client": "classic" if request.GET.get("client") == "classic" else "",
        "transport": request.GET.get("transport", ""),
        "longest_message": LONGEST_MESSAGE,
        "longest_nickname": LONGEST_NICKNAME,
        "longest_room_name": LONGEST_ROOM_NAME,
        "reaches_other_processes": reaches_other_processes(),
    }
    return render(request, "chat/chat.html", context)


@require_POST
def announce(request: HttpRequest) -> HttpResponse:
    """Speak in a room, from sync code that has no connection to anybody."""
    room, text = request.POST.get("room", ""), request.POST.get("text", "").strip()
    try:
        check_room_name(room)
    except ValidationError as error:
        return HttpResponseBadRequest(error.message, content_type="text/plain")
    if not 0 < len(text) <= LONGEST_MESSAGE:
        return HttpResponseBadRequest(f"An announcement has 1 to {LONGEST_MESSAGE} characters.", content_type="text/plain")
    get_hub_context(ChatHub).clients.group(room).send("messageReceived", "A Django view", text)
    return HttpResponse(status=204)
