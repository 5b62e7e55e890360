"""The log of the hubs, read and emptied over HTTP, and a few plain Django views for tests."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from tests.peer_site.hubs import log
from tests.peer_site.views import log_in, send_from_async_view, send_from_view


@csrf_exempt
def events(request: HttpRequest) -> HttpResponse:
    if request.method == "DELETE":
        log.clear()
        return HttpResponse()
    return JsonResponse(log.read(), safe=False)


urlpatterns = [
    path("events", events),
    path("login", log_in),
    path("send", send_from_view),
    path("asend", send_from_async_view),
]


def nothing_here(request: HttpRequest, exception: Exception) -> HttpResponse:
    response = HttpResponse(status=404)
    del response["Content-Type"]
    return response


handler404 = nothing_here
