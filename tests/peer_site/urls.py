"""The log of the hubs, read and emptied over HTTP, and a few plain Django views for tests."""

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework_simplejwt.tokens import AccessToken

from tests.peer_site.hubs import log
from tests.peer_site.pages import page, script
from tests.peer_site.views import history, log_in, send_from_async_view, send_from_view


@csrf_exempt
def events(request: HttpRequest) -> HttpResponse:
    if request.method == "DELETE":
        log.clear()
        return HttpResponse()
    return JsonResponse(log.read(), safe=False)


def token(request: HttpRequest) -> HttpResponse:
    """An access token of simplejwt for a user who is made if needed; expired at once if ``seconds`` is not positive."""
    user, _ = get_user_model().objects.get_or_create(username=request.GET["user"])
    access = AccessToken.for_user(user)
    access.set_exp(lifetime=timedelta(seconds=int(request.GET["seconds"])))
    return HttpResponse(str(access), content_type="text/plain")


urlpatterns = [
    path("events", events),
    path("history", history),
    path("token", token),
    path("login", log_in),
    path("send", send_from_view),
    path("asend", send_from_async_view),
    path("page", page),
    path("scripts/<name>", script),
]


def nothing_here(request: HttpRequest, exception: Exception) -> HttpResponse:
    response = HttpResponse(status=404)
    del response["Content-Type"]
    return response


handler404 = nothing_here
