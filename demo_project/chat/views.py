from django.http import HttpRequest, HttpResponse


def chat(request: HttpRequest) -> HttpResponse:
    return HttpResponse("chat")
