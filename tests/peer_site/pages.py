"""A page for browser tests, with Microsoft's client as npm installed it."""

from pathlib import Path

from django.http import Http404, HttpRequest, HttpResponse

TESTS = Path(__file__).resolve().parent.parent
PACKAGES = TESTS / "clients" / "node_modules" / "@microsoft"
SCRIPTS = {
    "signalr.js": PACKAGES / "signalr" / "dist" / "browser" / "signalr.js",
    "signalr-protocol-msgpack.js": PACKAGES / "signalr-protocol-msgpack" / "dist" / "browser" / "signalr-protocol-msgpack.js",
    "transports.js": TESTS / "browser" / "transports.js",
}


def page(request: HttpRequest) -> HttpResponse:
    """``GET /page``."""
    scripts = "".join(f'<script src="/scripts/{name}"></script>' for name in SCRIPTS)
    return HttpResponse(
        f'<!doctype html><html lang="en"><head><title>Transports</title><link rel="icon" href="data:,">{scripts}</head></html>'
    )


def script(request: HttpRequest, name: str) -> HttpResponse:
    """``GET /scripts/NAME``."""
    if name not in SCRIPTS:
        raise Http404
    return HttpResponse(SCRIPTS[name].read_bytes(), content_type="text/javascript; charset=utf-8")
