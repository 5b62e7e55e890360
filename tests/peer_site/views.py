"""Plain Django views around the hubs: the log of the contract, a login, and messages from outside a hub."""

from django.contrib.auth import get_user_model, login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from signalr_channels import get_hub_context
from signalr_channels.models import LifetimeEvent
from tests.peer_site.extra_hubs import EverythingHub
from tests.peer_site.hubs import MESSAGE


@csrf_exempt
def log_in(request: HttpRequest) -> HttpResponse:
    """``POST /login?user=NAME[&staff=1]`` makes the user if need be, and answers with the session cookie and the user's primary key."""
    user, _ = get_user_model().objects.get_or_create(username=request.GET["user"], defaults={"is_staff": "staff" in request.GET})
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return JsonResponse({"pk": str(user.pk)})


def send_from_view(request: HttpRequest) -> HttpResponse:
    """``GET /send?group=NAME&text=TEXT`` or ``?user=…``: a sync view, as a WSGI site has them."""
    clients = get_hub_context(EverythingHub).clients
    audience = clients.group(request.GET["group"]) if "group" in request.GET else clients.user(request.GET["user"])
    audience.send(MESSAGE, "FromView", request.GET["text"])
    return HttpResponse("sent")


async def send_from_async_view(request: HttpRequest) -> HttpResponse:
    """``GET /asend?group=NAME&text=TEXT``."""
    await get_hub_context(EverythingHub).clients.group(request.GET["group"]).asend(MESSAGE, "FromAsyncView", request.GET["text"])
    return HttpResponse("sent")


def history(request: HttpRequest) -> HttpResponse:
    """``GET /history?connection=ID``: kind and reason of its lifetime events, oldest first, as far as they are written."""
    rows = LifetimeEvent.objects.filter(connection_id=request.GET["connection"]).order_by("id")
    return JsonResponse([[row.kind, row.reason] for row in rows], safe=False)
