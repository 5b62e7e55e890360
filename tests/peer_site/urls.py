"""The log of the hubs, read and emptied over HTTP."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from tests.peer_site.hubs import log


@csrf_exempt
def events(request: HttpRequest) -> HttpResponse:
    if request.method == "DELETE":
        log.clear()
        return HttpResponse()
    return JsonResponse(log.read(), safe=False)


urlpatterns = [path("events", events)]
