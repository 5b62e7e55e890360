"""The page, and plain Django views behind its buttons."""

import os
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseForbidden, HttpResponseNotFound, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from demo_project.chat.views import content_security_policy
from demo_project.lifetime import process
from demo_project.lifetime.hubs import LifetimeHub
from demo_project.lifetime.models import Callback
from demo_project.lifetime.network import line_of
from signalr_channels import get_hub_context
from signalr_channels.conf import classic_settings
from signalr_channels.models import Connection, LifetimeEvent

LONGEST_TEXT = 200
LONGEST_FAILURE = 60
"""Seconds."""
FOREVER_FRAME = {
    "frame-src": "'self'",
    # The style that the jQuery client gives the frame it makes.
    "style-src-attr": "'unsafe-hashes' 'sha256-7upzhVFG4tAiDrhGmMQ4BC3xJPS/zwMJOfc7u8chZ4g='",
}
FAREWELL = "Closed from the server, by a button of the page."


@require_safe
@never_cache
@content_security_policy(**FOREVER_FRAME)
def page(request: HttpRequest) -> HttpResponse:
    """A new visit, which the page may do the things below to."""
    settings = classic_settings()
    keep_alive_timeout = settings.keep_alive_timeout
    assert keep_alive_timeout is not None
    context = {
        "visit": uuid.uuid4(),
        "transport": request.GET.get("transport", ""),
        "process": os.getpid(),
        "can_be_killed": process.can_be_killed(),
        "longest_text": LONGEST_TEXT,
        "longest_failure": LONGEST_FAILURE,
        "keep_alive": settings.KEEP_ALIVE,
        "slow_after": keep_alive_timeout * 2 / 3,
        "lost_after": keep_alive_timeout,
        "disconnect_timeout": settings.DISCONNECT_TIMEOUT,
    }
    return render(request, "lifetime/lifetime.html", context)


@require_safe
@never_cache
def history(request: HttpRequest, visit: uuid.UUID) -> HttpResponse:
    """What signalr_channels has written about the newest connection of a visit."""
    connection_id = Callback.objects.filter(visit=visit).newest_connection()
    connection = Connection.objects.filter(connection_id=connection_id).select_related("process").first()
    events = LifetimeEvent.objects.filter(connection_id=connection_id).order_by("pk") if connection_id else ()
    return JsonResponse(
        {
            "connection": connection and about(connection),
            "events": [
                {"kind": event.kind, "time": event.time, "process": event.process, "reason": event.reason, "detail": event.detail}
                for event in events
            ],
        }
    )


def about(connection: Connection) -> dict[str, Any]:
    return {
        "connection_id": connection.connection_id,
        "is_live": connection.is_live,
        "transport": connection.transport,
        "process": str(connection.process or ""),
        "opened_at": connection.opened_at,
        "closed_at": connection.closed_at,
        "reason": connection.close_reason,
        "detail": connection.close_detail,
        "stop_called": connection.stop_called,
    }


@require_POST
async def fail(request: HttpRequest, visit: uuid.UUID, how: str) -> HttpResponse:
    """Let the network of a visit fail. Async, because the network lives on the event loop."""
    seconds = request.POST.get("seconds", "")
    if not seconds.isdecimal() or not 0 < int(seconds) <= LONGEST_FAILURE:
        return bad_request(f"A network fails for 1 to {LONGEST_FAILURE} seconds.")
    line = line_of(visit)
    if how == "cut":
        line.cut(int(seconds))
    else:
        line.hold(int(seconds))
    return HttpResponse(status=204)


@require_POST
def say(request: HttpRequest, visit: uuid.UUID) -> HttpResponse:
    """Send a message to the classic client, whether it is there just now or not."""
    text = request.POST.get("text", "")
    if not 0 < len(text) <= LONGEST_TEXT:
        return bad_request(f"A message has 1 to {LONGEST_TEXT} characters.")
    connection_id = Callback.objects.filter(visit=visit).newest_connection()
    if connection_id is None:
        return HttpResponseNotFound("There has been no connection yet.", content_type="text/plain")
    get_hub_context(LifetimeHub).clients.client(connection_id).send("message", text, timezone.now())
    return HttpResponse(status=204)


@require_POST
def close(request: HttpRequest, visit: uuid.UUID) -> HttpResponse:
    """End the connection of the classic client."""
    connection_id = Callback.objects.filter(visit=visit).newest_connection()
    if connection_id is None or not get_hub_context(LifetimeHub).connections.close(connection_id, error=FAREWELL):
        return HttpResponseNotFound("There is no connection to close.", content_type="text/plain")
    return HttpResponse(status=204)


@require_POST
def kill(request: HttpRequest) -> HttpResponse:
    """Kill the server process with the given id, if it is this one."""
    if not process.can_be_killed():
        return HttpResponseForbidden("Nobody would start it again: run manage.py demo.", content_type="text/plain")
    # A browser repeats a request that got no answer. The process that is there then is not meant.
    if request.POST.get("process") == str(os.getpid()):
        process.kill()
    return HttpResponse("This is another process.", status=409, content_type="text/plain")


def bad_request(text: str) -> HttpResponse:
    return HttpResponseBadRequest(text, content_type="text/plain")
