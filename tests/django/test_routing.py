"""Where hubs live: mapping them to paths, and the ASGI application that serves them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.core.asgi import get_asgi_application
from django.test import override_settings

from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.permissions import IsAuthenticated
from signalr_channels.routing import HubRouter, map_hub
from signalr_channels.runtime import _runtimes, get_runtime
from tests.django.answers import read_answer

TIMEOUT = 5.0


class ChatHub(Hub):
    pass


class MembersHub(Hub):
    permission_classes = [IsAuthenticated]


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    """Another ASGI application: tells what it was asked for."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "elsewhere"})
    else:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture
async def router() -> AsyncIterator[HubRouter]:
    endpoints = [map_hub("hubs/chat", ChatHub), map_hub("/Members/", MembersHub), map_hub("", ChatHub)]
    yield HubRouter(endpoints, elsewhere)
    if asyncio.get_running_loop() in _runtimes:
        await get_runtime().stop()


def http_scope(method: str, path: str, query: str = "", root_path: str = "", **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
    }


def websocket_scope(path: str, query: str = "", **more: Any) -> dict[str, Any]:
    return {**http_scope("GET", path, query), "type": "websocket", "subprotocols": [], **more}


async def request(application: Any, method: str, path: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    """``(status, headers, body)``."""
    communicator = ApplicationCommunicator(application, http_scope(method, path, **more))
    await communicator.send_input({"type": "http.request", "body": b""})
    start, body = await read_answer(communicator, TIMEOUT)
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body


async def connect(application: Any, scope: dict[str, Any]) -> tuple[ApplicationCommunicator, dict[str, Any]]:
    """A web socket, and the first thing it is told."""
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "websocket.connect"})
    return communicator, await communicator.receive_output(TIMEOUT)


# Mapping


def test_a_hub_is_mapped_to_a_path_without_slashes_around_it() -> None:
    endpoint = map_hub("/hubs/chat/", ChatHub, KEEP_ALIVE_INTERVAL=3)
    assert endpoint.path == "hubs/chat"
    assert endpoint.hub is ChatHub
    assert endpoint.hub_name == f"{__name__}.ChatHub"
    assert endpoint.options.KEEP_ALIVE_INTERVAL == 3


@pytest.mark.parametrize("hub", [ChatHub(), "ChatHub", dict, None])
def test_only_a_hub_class_can_be_mapped(hub: Any) -> None:
    with pytest.raises(TypeError, match=r"^map_hub\(\) takes a hub class, not "):
        map_hub("hubs/chat", hub)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"TRANSPORT": ["webSockets"]}, "unknown setting 'TRANSPORT' (did you mean 'TRANSPORTS'?)"),
        ({"HISTORY": False}, "unknown setting 'HISTORY'"),
        ({"KEEP_ALIVE_INTERVAL": 0}, "KEEP_ALIVE_INTERVAL must be a number of seconds"),
    ],
)
def test_a_setting_of_a_path_must_be_one_of_a_hub(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(HubDefinitionError, match=r"^map_hub\('hubs/chat'\): ") as caught:
        map_hub("hubs/chat", ChatHub, **settings)
    assert problem in str(caught.value)


def test_settings_of_a_path_lie_over_those_of_the_hub_which_may_change() -> None:
    endpoint = map_hub("hubs/chat", ChatHub, KEEP_ALIVE_INTERVAL=3)
    with override_settings(SIGNALR={"HANDSHAKE_TIMEOUT": 7, "KEEP_ALIVE_INTERVAL": 8}):
        assert (endpoint.options.HANDSHAKE_TIMEOUT, endpoint.options.KEEP_ALIVE_INTERVAL) == (7, 3)
        assert endpoint.options is endpoint.options
    assert endpoint.options.HANDSHAKE_TIMEOUT == 15.0


def test_two_hubs_at_one_path_are_one_too_many() -> None:
    with pytest.raises(HubDefinitionError, match=r"Two hubs are mapped at 'HUBS/Chat': .*\.ChatHub and .*\.MembersHub"):
        HubRouter([map_hub("hubs/chat", ChatHub), map_hub("HUBS/Chat", MembersHub)])


@pytest.mark.parametrize(
    ("endpoints", "text"), [(map_hub("chat", ChatHub), "put it in brackets"), ([ChatHub], "not <class .*ChatHub'> in one")]
)
def test_a_router_takes_a_list_of_what_was_mapped(endpoints: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        HubRouter(endpoints)


# HTTP


@pytest.mark.parametrize(
    "path", ["/hubs/chat/negotiate", "/hubs/chat/negotiate/", "/HUBS/Chat/Negotiate", "/members/negotiate", "/negotiate"]
)
async def test_a_hub_is_found_in_any_letter_case(router: HubRouter, path: str) -> None:
    status, headers, body = await request(router, "POST", path, query="NegotiateVersion=1")
    if path.startswith("/members"):
        assert (status, body) == (401, b"")
    else:
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(body))
        assert json.loads(body)["negotiateVersion"] == 1


@pytest.mark.parametrize("path", ["/hubs/chat2/negotiate", "/hubs/chat/negotiate/x", "/hubs", "/admin/", "/hubs//chat/negotiate"])
async def test_other_paths_go_to_the_other_application(router: HubRouter, path: str) -> None:
    assert await request(router, "POST", path) == (299, {}, path.encode())


async def test_without_another_application_they_are_not_found() -> None:
    status, _, body = await request(HubRouter([]), "GET", "/nowhere")
    assert (status, body) == (404, b"")


async def test_the_path_the_site_is_mounted_at_is_left_out(router: HubRouter) -> None:
    status, _, _ = await request(router, "POST", "/site/hubs/chat/negotiate", root_path="/site")
    assert status == 200
    status, _, _ = await request(router, "POST", "/hubs/chat/negotiate", root_path="/site")
    assert status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_negotiate_is_posted(router: HubRouter, method: str) -> None:
    status, headers, body = await request(router, method, "/hubs/chat/negotiate")
    assert (status, body) == (405, b"")
    assert headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("method", "query", "status", "text"),
    [
        ("GET", "", 400, b"Connection ID required"),
        ("GET", "id=", 400, b"Connection ID required"),
        ("GET", "id=unknown", 404, b"No Connection with that ID"),
        ("POST", "", 400, b"Connection ID required"),
        ("POST", "ID=unknown", 404, b"No Connection with that ID"),
        ("DELETE", "", 400, b"Connection ID required"),
        ("DELETE", "id=unknown", 404, b"No Connection with that ID"),
        ("PUT", "id=unknown", 405, b""),
        ("PATCH", "", 405, b""),
    ],
)
async def test_transport_requests_need_a_connection(router: HubRouter, method: str, query: str, status: int, text: bytes) -> None:
    answer = await request(router, method, "/hubs/chat", query=query)
    assert (answer[0], answer[2]) == (status, text)
    assert answer[1]["content-type"] == "text/plain"
    assert ("cache-control" in answer[1]) == (method == "GET")


async def test_a_foreign_page_is_refused(router: HubRouter) -> None:
    status, _, body = await request(router, "POST", "/hubs/chat/negotiate", origin="https://evil.example", host="127.0.0.1:8000")
    assert status == 403
    assert b"ALLOWED_ORIGINS" in body


@override_settings(SIGNALR={"ALLOWED_ORIGINS": ["https://app.example.com"], "HISTORY": False})
async def test_a_browser_may_ask_before(router: HubRouter) -> None:
    headers = {"origin": "https://app.example.com", "access_control_request_method": "POST", "host": "127.0.0.1"}
    status, answer, body = await request(router, "OPTIONS", "/members/negotiate", **headers)
    assert (status, body) == (204, b"")
    assert answer["access-control-allow-origin"] == "https://app.example.com"
    status, answer, _ = await request(router, "POST", "/hubs/chat/negotiate", origin="https://app.example.com", host="127.0.0.1")
    assert (status, answer["access-control-allow-origin"]) == (200, "https://app.example.com")


# Web sockets


async def test_a_web_socket_reaches_its_hub(router: HubRouter) -> None:
    communicator, answer = await connect(router, websocket_scope("/HUBS/chat/"))
    assert answer["type"] == "websocket.accept"
    await communicator.send_input({"type": "websocket.receive", "text": '{"protocol":"json","version":1}\x1e'})
    assert (await communicator.receive_output(TIMEOUT))["text"] == "{}\x1e"
    assert len(get_runtime().store) == 1
    await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
    await communicator.wait(TIMEOUT)


async def test_a_negotiated_web_socket_has_its_connection_id(router: HubRouter) -> None:
    _, _, body = await request(router, "POST", "/hubs/chat/negotiate", query="negotiateVersion=1")
    negotiated = json.loads(body)
    scope = websocket_scope("/hubs/chat", f"id={negotiated['connectionToken']}")
    communicator, answer = await connect(router, scope)
    assert answer["type"] == "websocket.accept"
    assert get_runtime().store.get(negotiated["connectionId"]) is not None
    await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
    await communicator.wait(TIMEOUT)


@pytest.mark.parametrize(("path", "query", "status"), [("/hubs/chat", "id=unknown", 404), ("/members", "", 401)])
async def test_a_web_socket_is_refused_with_a_status_where_the_server_can(router: HubRouter, path: str, query: str, status: int) -> None:
    _, answer = await connect(router, websocket_scope(path, query))
    assert answer == {"type": "websocket.close"}
    _, answer = await connect(router, websocket_scope(path, query, extensions={"websocket.http.response": {}}))
    assert (answer["type"], answer["status"]) == ("websocket.http.response.start", status)


async def test_a_web_socket_to_another_path_goes_to_the_other_application(router: HubRouter) -> None:
    _, answer = await connect(router, websocket_scope("/elsewhere"))
    assert answer == {"type": "websocket.accept", "subprotocol": "elsewhere"}


@pytest.mark.parametrize("application", [None, get_asgi_application()], ids=["nothing", "Django"])
async def test_a_web_socket_that_nobody_serves_is_refused(application: Any) -> None:
    communicator, answer = await connect(HubRouter([], application), websocket_scope("/nowhere"))
    assert answer == {"type": "websocket.close"}
    await communicator.wait(TIMEOUT)


async def test_another_router_may_stand_behind_it() -> None:
    router = HubRouter([], URLRouter([]))
    communicator = ApplicationCommunicator(router, websocket_scope("/nowhere"))
    await communicator.send_input({"type": "websocket.connect"})
    with pytest.raises(ValueError, match="No route found"):
        await communicator.wait(TIMEOUT)


async def test_django_serves_what_is_no_hub() -> None:
    status, _, _ = await request(HubRouter([], get_asgi_application()), "GET", "/no/such/page", host="127.0.0.1")
    assert status == 404


# Lifespan


async def test_lifespan_starts_and_stops_what_the_process_keeps() -> None:
    router = HubRouter([map_hub("hubs/chat", ChatHub)])
    communicator = ApplicationCommunicator(router, {"type": "lifespan"})
    await communicator.send_input({"type": "lifespan.startup"})
    assert await communicator.receive_output(TIMEOUT) == {"type": "lifespan.startup.complete"}
    socket, _ = await connect(router, websocket_scope("/hubs/chat"))
    await socket.send_input({"type": "websocket.receive", "text": '{"protocol":"json","version":1}\x1e'})
    await socket.receive_output(TIMEOUT)
    runtime = get_runtime()
    assert len(runtime.store) == 1

    await communicator.send_input({"type": "lifespan.shutdown"})
    assert (await socket.receive_output(TIMEOUT))["text"] == '{"type":7,"allowReconnect":true}\x1e'
    assert await socket.receive_output(TIMEOUT) == {"type": "websocket.close", "code": 1000}
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(TIMEOUT)
    assert await communicator.receive_output(TIMEOUT) == {"type": "lifespan.shutdown.complete"}
    await communicator.wait(TIMEOUT)
    assert len(runtime.store) == 0
    assert asyncio.get_running_loop() not in _runtimes


@override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "no.such.Layer"}})
async def test_a_server_whose_settings_are_wrong_does_not_start() -> None:
    communicator = ApplicationCommunicator(HubRouter([map_hub("hubs/chat", ChatHub)]), {"type": "lifespan"})
    await communicator.send_input({"type": "lifespan.startup"})
    failed = await communicator.receive_output(TIMEOUT)
    assert failed["type"] == "lifespan.startup.failed"
    assert "no.such.Layer" in failed["message"]
    await communicator.wait(TIMEOUT)


# The query


@pytest.mark.parametrize("path", ["/hubs/chat/negotiate", "/hubs/chat", "/elsewhere"])
async def test_the_server_keeps_no_query_of_a_hub_for_its_log(router: HubRouter, path: str) -> None:
    scope = http_scope("POST", path, "id=secret", host="x")

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(event: Any) -> None:
        sent.append(event)

    sent: list[Any] = []
    await asyncio.wait_for(router(scope, receive, send), TIMEOUT)
    assert sent
    assert scope["query_string"] == (b"id=secret" if path == "/elsewhere" else b"")
