"""Request logs without queries, as the loggers of servers write them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from daphne.management.commands.runserver import Command
from django.core.servers.basehttp import WSGIRequestHandler
from uvicorn.logging import AccessFormatter

from signalr_channels.log_filters import WithoutQuery

CLIENT = "127.0.0.1:50000"


class Lines(logging.Handler):
    """Keeps what was logged, formatted."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """Those of the logger that the test is parametrised with, with the filter on it."""
    logger, lines, without_query = logging.getLogger(request.param), Lines(), WithoutQuery()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(without_query)
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)
    logger.removeFilter(without_query)
    logger.setLevel(level)


def of(logger: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lines", [logger], indirect=True)


@of("django.channels.server")
@pytest.mark.parametrize("status", [101, 200, 204, 302, 304, 404, 409, 500])
def test_daphne_and_requests(lines: Lines, status: int) -> None:
    details = {"path": "/hubs/chat?id=TOKEN&x=a?b", "status": status, "method": "GET", "client": CLIENT, "time_taken": 0.5, "size": 2}
    Command(no_color=True).log_action("http", "complete", details)
    assert lines.lines == [f"HTTP GET /hubs/chat {status} [0.50, {CLIENT}]"]
    assert details["path"] == "/hubs/chat?id=TOKEN&x=a?b"


@of("django.channels.server")
def test_daphne_and_web_sockets(lines: Lines) -> None:
    for action in ("connecting", "connected", "disconnected", "rejected"):
        Command(no_color=True).log_action("websocket", action, {"path": "/signalr/connect?connectionToken=TOKEN", "client": CLIENT})
    words = ("HANDSHAKING", "CONNECT", "DISCONNECT", "REJECT")
    assert lines.lines == [f"WebSocket {word} /signalr/connect [{CLIENT}]" for word in words]


@of("django.server")
@pytest.mark.parametrize(
    "path", ["/hubs/chat/negotiate?access_token=TOKEN", "/hubs/chat/negotiate?access_token=TO KEN HTTP/1.0", "/hubs/chat/negotiate"]
)
def test_django(lines: Lines, path: str) -> None:
    handler: Any = SimpleNamespace(request=None, log_date_time_string=lambda: "now")
    WSGIRequestHandler.log_message(handler, '"%s" %s %s', f"POST {path} HTTP/1.1", "200", "316")
    assert lines.lines == ['"POST /hubs/chat/negotiate HTTP/1.1" 200 316']


@of("uvicorn.access")
def test_uvicorn(lines: Lines) -> None:
    lines.setFormatter(AccessFormatter('%(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False))
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', CLIENT, "GET", "/hubs/chat?id=TOKEN", "1.1", 200)
    assert lines.lines == [f'{CLIENT} - "GET /hubs/chat HTTP/1.1" 200 OK']


@of("django.channels.server")
def test_other_lines_stay_as_they_are(lines: Lines) -> None:
    logger = logging.getLogger("django.channels.server")
    logger.info("What is %d?", 42)
    logger.info("Is that all?")
    logger.info("100%")
    assert lines.lines == ["What is 42?", "Is that all?", "100%"]


def test_the_demo_has_it() -> None:
    assert any(isinstance(one, WithoutQuery) for one in logging.getLogger("django.channels.server").filters)
