"""The negotiate view, in a process that speaks WSGI."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.test import Client, override_settings
from django.urls import include, path, resolve

from signalr_channels.auth import authenticate
from signalr_channels.conf import get_settings
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.lifetime import LifetimeEvent
from signalr_channels.hubs.permissions import HubPermission, IsAuthenticated, IsStaff, PermissionRequest
from signalr_channels.routing import map_classic_hubs, map_hub, negotiate_urls
from signalr_channels.runtime import process_name
from signalr_channels.tokens import digest, read_connection_token

TRANSPORTS = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]


class Everyone(HubPermission):
    async def has_permission(self, request: PermissionRequest) -> bool:
        return True


class OpenHub(Hub):
    pass


class MembersHub(Hub):
    permission_classes = [Everyone, IsAuthenticated]


class StaffHub(Hub):
    permission_classes = [IsStaff]


urlpatterns = [
    *negotiate_urls(
        [
            map_hub("view/open", OpenHub),
            map_hub("/view/one-transport/", OpenHub, TRANSPORTS=["webSockets"]),
            map_hub("view/members", MembersHub),
            map_hub("view/staff", StaffHub),
            map_hub("view/v1.0", OpenHub),
        ]
    ),
    *negotiate_urls([map_classic_hubs("classic", [OpenHub])]),
    path("below/", include(negotiate_urls([map_hub("view/open", OpenHub), map_hub("", OpenHub)]))),
]

pytestmark = pytest.mark.urls(__name__)


class Notes(list[LifetimeEvent]):
    """A recorder that keeps what it is told."""

    record = list.append


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """What is recorded."""
    notes = Notes()
    monkeypatch.setattr("signalr_channels.views.get_recorder", lambda: notes)
    return notes


@pytest.fixture
def client() -> Client:
    """Checks CSRF tokens, as a real site does; no SignalR client sends any."""
    return Client(enforce_csrf_checks=True)


def negotiate(client: Client, hub: str = "open", query: str = "", **headers: str) -> Any:
    return client.post(f"/view/{hub}/negotiate{query}", headers={name.replace("_", "-"): value for name, value in headers.items()})


# Answers


def test_version_1_has_a_public_id_and_a_secret_token(client: Client) -> None:
    response = negotiate(client, query="?negotiateVersion=1")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert list(response.json()) == ["negotiateVersion", "connectionId", "connectionToken", "availableTransports"]
    assert response.json()["negotiateVersion"] == 1
    assert response.json()["availableTransports"] == TRANSPORTS
    token = read_connection_token(response.json()["connectionToken"])
    assert token is not None
    assert token.connection_id == response.json()["connectionId"]
    assert re.fullmatch("[A-Za-z0-9_-]{22}", token.connection_id)
    assert (token.hub, token.user) == (digest(f"{__name__}.OpenHub"), "")


def test_version_0_has_one_id_which_is_secret(client: Client) -> None:
    response = negotiate(client)
    assert list(response.json()) == ["negotiateVersion", "connectionId", "availableTransports"]
    assert response.json()["negotiateVersion"] == 0
    assert read_connection_token(response.json()["connectionId"]) is not None


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ("?negotiateVersion=0", 0),
        ("?negotiateVersion=1", 1),
        ("?NEGOTIATEVERSION=1", 1),
        ("?negotiateVersion=2", 1),
        ("?negotiateVersion=%2B01", 1),
        ("?room=lobby&negotiateVersion=1&user=7", 1),
        ("?room=lobby", 0),
    ],
)
def test_versions_that_are_spoken(client: Client, query: str, version: int) -> None:
    assert negotiate(client, query=query).json()["negotiateVersion"] == version


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?negotiateVersion=-1", "The client requested version '-1', but the server does not support this version."),
        ("?negotiateVersion=", "The client requested a non-integer protocol version."),
        ("?negotiateVersion=one", "The client requested a non-integer protocol version."),
        ("?negotiateVersion=1.0", "The client requested a non-integer protocol version."),
        ("?negotiateVersion=1&negotiateVersion=1", "The client requested a non-integer protocol version."),
        ("?negotiateVersion=2147483648", "The client requested a non-integer protocol version."),
    ],
)
def test_versions_that_are_not(client: Client, query: str, error: str) -> None:
    response = negotiate(client, query=query)
    assert response.status_code == 200
    assert response.json() == {"error": error}


def test_only_the_transports_of_the_path_are_offered(client: Client) -> None:
    assert negotiate(client, "one-transport").json()["availableTransports"] == TRANSPORTS[:1]


def test_no_two_answers_are_the_same(client: Client) -> None:
    ids = {negotiate(client).json()["connectionId"] for _ in range(5)}
    assert len(ids) == 5


def test_the_body_is_ignored(client: Client) -> None:
    for content_type in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        response = client.post("/view/open/negotiate?negotiateVersion=1", data=b"{garbage", content_type=content_type)
        assert response.json()["negotiateVersion"] == 1


# Paths and methods


@pytest.mark.parametrize(
    "path",
    [
        "/view/open/negotiate",
        "/view/open/negotiate/",
        "/VIEW/Open/NEGOTIATE",
        "/below/view/open/negotiate",
        "/below/negotiate",
        "/view/v1.0/negotiate",
    ],
)
def test_a_hub_is_found_in_any_letter_case(client: Client, path: str) -> None:
    assert client.post(path).status_code == 200


@pytest.mark.parametrize("path", ["/view/open", "/view/open/negotiate/x", "/x/view/open/negotiate", "/view/v1x0/negotiate"])
def test_other_paths_are_none_of_ours(client: Client, path: str) -> None:
    assert client.post(path).status_code == 404


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options", "head"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    response = getattr(client, method)("/view/open/negotiate")
    assert response.status_code == 405
    assert response.content == b""


@pytest.mark.parametrize("name", ["view/open", "classic"])
def test_there_is_no_transaction(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Channels closes the database connection of the thread when it looks for the user."""
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    view = resolve(f"/{name}/negotiate").func
    assert BaseHandler().make_view_atomic(view) is view


# Origins


def test_a_foreign_page_is_refused_with_a_hint(client: Client) -> None:
    response = negotiate(client, origin="https://evil.example")
    assert response.status_code == 403
    assert b"ALLOWED_ORIGINS" in response.content
    assert not response.has_header("Access-Control-Allow-Origin")


def test_a_page_of_our_own_needs_no_permission_of_the_browser(client: Client) -> None:
    response = negotiate(client, origin="http://testserver:8000", host="testserver:8000")
    assert response.status_code == 200
    assert not response.has_header("Access-Control-Allow-Origin")


@override_settings(SIGNALR={"ALLOWED_ORIGINS": ["https://app.example.com"]})
def test_a_page_that_is_listed_may_read_the_answer(client: Client) -> None:
    response = negotiate(client, origin="https://app.example.com")
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert response["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in response["Vary"]


@override_settings(SIGNALR={"ALLOWED_ORIGINS": ["https://app.example.com"]})
def test_a_browser_may_ask_before(client: Client) -> None:
    headers = {
        "origin": "https://app.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-requested-with,x-signalr-user-agent",
    }
    response = client.options("/view/members/negotiate", headers=headers)  # the question carries no login yet
    assert response.status_code == 204
    assert response["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "POST" in response["Access-Control-Allow-Methods"]
    assert response["Access-Control-Allow-Headers"] == "authorization,x-requested-with,x-signalr-user-agent"
    assert response["Access-Control-Allow-Credentials"] == "true"


def test_a_foreign_page_is_refused_before_as_well(client: Client) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    response = client.options("/view/open/negotiate", headers=headers)
    assert response.status_code == 403
    assert not response.has_header("Access-Control-Allow-Origin")


# History


@pytest.mark.django_db
def test_what_is_negotiated_is_in_the_history(client: Client, anna: User, events: Notes) -> None:
    client.force_login(anna)
    ids = [negotiate(client, query="?negotiateVersion=1", user_agent="Mozilla/5.0").json()["connectionId"]]
    ids.append(client.get("/classic/negotiate", {"connectionData": '[{"name":"openHub"}]'}).json()["ConnectionId"])
    negotiate(client, query="?negotiateVersion=-1")  # an error

    assert [(event.kind.value, event.connection.connection_id) for event in events] == [("negotiated", id) for id in ids]
    assert {(event.connection.hub, event.connection.user_identifier) for event in events} == {(f"{__name__}.OpenHub", str(anna.pk))}
    assert events[0].connection.remote_address == "127.0.0.1:0"
    assert events[0].connection.user_agent == "Mozilla/5.0"
    assert {event.process for event in events} == {process_name()}


@pytest.mark.django_db
def test_who_is_refused_is_in_the_history(client: Client, anna: User, events: Notes) -> None:
    negotiate(client, origin="https://evil.example")
    client.get("/classic/negotiate", {"connectionData": "[]"}, headers={"origin": "https://evil.example"})
    negotiate(client, "staff")
    client.force_login(anna)
    negotiate(client, "staff")
    client.get("/view/open/negotiate")  # only a wrong method

    reasons = ["origin_rejected", "origin_rejected", "unauthorized", "permission_denied"]
    assert [(event.kind.value, event.reason) for event in events] == [("rejected", reason) for reason in reasons]
    assert [event.connection.user_identifier for event in events] == [None, None, None, str(anna.pk)]
    assert all(event.detail for event in events)


# Logins


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna")


def test_a_hub_may_ask_for_a_login(client: Client, anna: User) -> None:
    response = negotiate(client, "members")
    assert response.status_code == 401
    assert response.content == b""
    client.force_login(anna)
    assert negotiate(client, "members").status_code == 200


def test_a_connection_belongs_to_the_user_who_negotiated_it(client: Client, anna: User) -> None:
    client.force_login(anna)
    token = read_connection_token(negotiate(client, query="?negotiateVersion=1").json()["connectionToken"])
    assert token is not None
    assert token.user == digest(str(anna.pk))


def test_a_hub_may_ask_for_more(client: Client, anna: User) -> None:
    assert negotiate(client, "staff").status_code == 401
    client.force_login(anna)
    response = negotiate(client, "staff")
    assert response.status_code == 403
    assert response.content == b""
    anna.is_staff = True
    anna.save()
    assert negotiate(client, "staff").status_code == 200


@override_settings(SIGNALR={"DEFAULT_PERMISSION_CLASSES": ["signalr_channels.hubs.permissions.IsAuthenticated"]})
@pytest.mark.django_db
def test_hubs_that_name_nothing_ask_what_the_site_does(client: Client) -> None:
    assert negotiate(client).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_an_access_token_counts_here_as_in_an_asgi_process(client: Client) -> None:
    from rest_framework_simplejwt.tokens import AccessToken

    bearer, visitor = User.objects.create_user("bearer"), User.objects.create_user("visitor")
    client.force_login(visitor)
    authorization = f"Bearer {AccessToken.for_user(bearer)}"
    token = read_connection_token(
        negotiate(client, "members", "?negotiateVersion=1", authorization=authorization).json()["connectionToken"]
    )
    assert token is not None
    # The transport request goes to an ASGI process, with the same headers; it must find the same user.
    scope = {"type": "websocket", "query_string": b"", "headers": [(b"authorization", authorization.encode())]}
    identity = async_to_sync(authenticate)(scope, get_settings())
    assert identity.user == bearer
    assert token.user == digest(str(bearer.pk))


@pytest.mark.django_db(transaction=True)
def test_an_access_token_that_is_not_good_is_said_so(client: Client) -> None:
    response = negotiate(client, "members", authorization="Bearer nonsense")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer error="invalid_token"'
