"""Who is asking: origins, session logins, access tokens, user identifiers."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, override_settings

from signalr_channels.auth import Identity, authenticate, header, is_origin_allowed, is_same_origin, user_identifier
from signalr_channels.conf import SignalRSettings, get_settings


def scope_of(type: str = "http", query: bytes = b"", **headers: str) -> dict[str, Any]:
    """A request's scope; underscores of header names are hyphens."""
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": type, "path": "/hub", "query_string": query, "headers": pairs}


def identify(scope: dict[str, Any], **options: Any) -> Identity:
    return async_to_sync(authenticate)(scope, SignalRSettings(**options))


def test_the_first_header_of_a_name_counts() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"\xe9"), (b"b", b"2")]}
    assert header(scope, b"a") == "1"
    assert header(scope, b"b") == "é"
    assert header(scope, b"c") is None


# Origins


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://example.com", "example.com", True),
        ("https://example.com", "example.com", True),
        ("https://EXAMPLE.com", "Example.COM", True),
        ("http://example.com:80", "example.com", True),
        ("https://example.com:443", "example.com", True),
        ("https://example.com", "example.com:443", True),
        ("http://example.com:8000", "example.com:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://example.com:8000", "example.com", False),
        ("http://example.com", "example.com:8000", False),
        ("http://example.com:443", "example.com", False),
        ("https://evil.com", "example.com", False),
        ("https://example.com.evil.com", "example.com", False),
        ("https://sub.example.com", "example.com", False),
        ("https://example.com@evil.com", "example.com", False),
        ("null", "example.com", False),
        ("", "example.com", False),
        ("file://", "example.com", False),
        ("http://", "example.com", False),
        ("http://example.com:port", "example.com", False),
        ("http://[", "example.com", False),
        ("example.com", "example.com", False),
        ("http://example.com", None, False),
        ("http://none", None, False),
        ("capacitor://example.com", "example.com", False),
    ],
)
def test_a_page_of_the_sites_own_host_may_connect(origin: str, host: str | None, same: bool) -> None:
    scope = scope_of(**({} if host is None else {"host": host}))
    assert is_same_origin(scope, origin) is same
    assert is_origin_allowed(scope, origin, SignalRSettings()) is same
    assert is_origin_allowed(scope, origin, SignalRSettings(ALLOWED_ORIGINS=[])) is same


@pytest.mark.parametrize(
    ("allowed", "origin", "may"),
    [
        (["https://app.example.com"], "https://app.example.com", True),
        (["https://app.example.com"], "https://example.org", True),  # the host itself
        (["https://app.example.com"], "http://app.example.com", False),
        (["https://app.example.com"], "https://app.example.com:8443", False),
        (["https://app.example.com"], "https://app.example.co", False),
        (["*"], "https://anywhere.example", True),
        (["*"], "null", True),
        (["null"], "null", True),
        ([], "https://app.example.com", False),
        (None, "https://app.example.com", False),
    ],
)
def test_other_pages_may_if_they_are_listed(allowed: list[str] | None, origin: str, may: bool) -> None:
    options = SignalRSettings(ALLOWED_ORIGINS=allowed)
    assert is_origin_allowed(scope_of(host="example.org"), origin, options) is may


def test_a_request_that_comes_from_no_page_has_no_origin() -> None:
    assert is_origin_allowed(scope_of(host="example.org"), None, SignalRSettings())


@pytest.mark.parametrize(
    ("allowed", "debug", "host", "is_own"),
    [
        (["example.com"], False, "example.com", True),
        ([".example.com"], False, "app.Example.com:8000", True),
        (["[::1]"], False, "[::1]:8000", True),
        (["example.com"], False, "evil.com", False),
        (["example.com"], True, "evil.com", False),
        ([], True, "localhost:8000", True),
        ([], True, "evil.com", False),
        ([], False, "localhost:8000", False),
        (["*"], False, "anna@example.com", False),
    ],
)
def test_the_host_counts_only_if_it_is_one_of_the_sites(allowed: list[str], debug: bool, host: str, is_own: bool) -> None:
    """Any page can have its own name lead to this server (DNS rebinding)."""
    with override_settings(ALLOWED_HOSTS=allowed, DEBUG=debug):
        assert is_same_origin(scope_of(host=host), f"http://{host}") is is_own
        assert is_origin_allowed(scope_of(host=host), f"http://{host}", SignalRSettings()) is is_own


def test_a_forwarded_host_counts_where_django_is_told_so() -> None:
    scope = scope_of(host="internal:8000", x_forwarded_host="example.org")
    with override_settings(USE_X_FORWARDED_HOST=True):
        assert is_same_origin(scope, "https://example.org")
        assert not is_same_origin(scope, "http://internal:8000")
    with override_settings(USE_X_FORWARDED_HOST=False):
        assert not is_same_origin(scope, "https://example.org")
        assert is_same_origin(scope, "http://internal:8000")


# Sessions


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna", password="secret")


def cookie_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return f"theme=dark; {django_settings.SESSION_COOKIE_NAME}={client.cookies[django_settings.SESSION_COOKIE_NAME].value}"


@pytest.mark.parametrize("type", ["http", "websocket"])
def test_a_session_cookie_says_who_is_asking(anna: User, type: str) -> None:
    identity = identify(scope_of(type, cookie=cookie_of(anna)))
    assert identity.user == anna
    assert identity.user.username == "anna"  # a user, not a promise of one: hub code runs in a loop
    assert identity.expires_at is None


def test_a_cookie_may_have_a_header_of_its_own(anna: User) -> None:
    """As in HTTP/2, where browsers send them so."""
    scope = scope_of(accept="*/*")
    scope["headers"] += [(b"cookie", cookie.encode()) for cookie in cookie_of(anna).split("; ")]
    assert identify(scope).user == anna


@pytest.mark.parametrize("cookie", [None, "theme=dark", f"{django_settings.SESSION_COOKIE_NAME}=unknown", "sessionid", ";;=;"])
@pytest.mark.django_db
def test_without_a_good_session_it_is_nobody(cookie: str | None) -> None:
    identity = identify(scope_of(**({} if cookie is None else {"cookie": cookie})))
    assert isinstance(identity.user, AnonymousUser)


def test_without_a_session_cookie_the_database_is_not_asked() -> None:
    assert isinstance(identify(scope_of(cookie="theme=dark")).user, AnonymousUser)  # pytest-django would refuse


def test_a_user_who_left_is_nobody(anna: User) -> None:
    cookie = cookie_of(anna)
    anna.is_active = False
    anna.save()
    assert isinstance(identify(scope_of(cookie=cookie)).user, AnonymousUser)


def test_an_outer_middleware_has_the_first_word(anna: User) -> None:
    someone = SimpleNamespace(is_authenticated=True, pk=7)
    assert identify({**scope_of(cookie=cookie_of(anna)), "user": someone}).user is someone


# Access tokens


def token_of(user: User, lifetime: float = 60.0) -> str:
    from rest_framework_simplejwt.tokens import AccessToken

    token = AccessToken.for_user(user)
    token.set_exp(lifetime=datetime.timedelta(seconds=lifetime))
    return str(token)


@pytest.fixture
def bert(transactional_db: None) -> User:
    """A committed user: tokens are checked in another thread."""
    return User.objects.create_user("bert")


def test_a_bearer_token_says_who_is_asking_and_for_how_long(bert: User) -> None:
    identity = identify(scope_of(authorization=f"bEARER {token_of(bert)}"))
    assert identity.user == bert
    assert identity.expires_at is not None
    assert abs(identity.expires_at - datetime.datetime.now().timestamp() - 60) < 5


@pytest.mark.parametrize(
    ("type", "headers", "where", "taken"),
    [
        ("websocket", {}, "browser", True),
        ("http", {"accept": "text/event-stream"}, "browser", True),
        ("http", {}, "browser", False),
        ("http", {"accept": "application/json"}, "browser", False),
        ("http", {}, "always", True),
    ],
)
def test_a_token_in_the_query_counts_where_browsers_leave_no_choice(
    bert: User, type: str, headers: dict[str, str], where: str, taken: bool
) -> None:
    scope = scope_of(type, f"id=x&Access_Token={token_of(bert)}".encode(), **headers)
    assert (identify(scope, ACCESS_TOKEN_IN_QUERY=where).user == bert) is taken


def test_a_header_counts_more_than_the_query_and_a_token_more_than_a_session(bert: User) -> None:
    carl = User.objects.create_user("carl")
    scope = scope_of(
        "websocket", f"access_token={token_of(carl)}".encode(), authorization=f"Bearer {token_of(bert)}", cookie=cookie_of(carl)
    )
    assert identify(scope).user == bert


def test_a_token_that_expired_makes_its_bearer_nobody(bert: User) -> None:
    identity = identify(scope_of(authorization=f"Bearer {token_of(bert, -60)}", cookie=cookie_of(bert)))
    assert isinstance(identity.user, AnonymousUser)
    assert identity.challenge is not None
    assert identity.challenge.startswith('Bearer error="invalid_token", error_description="The token expired at \'')


def test_a_token_of_others_has_not_expired_whatever_it_says(bert: User) -> None:
    token = jwt.encode({"exp": 1, "user_id": bert.pk}, "the key of another site, which is long enough")
    assert identify(scope_of(authorization=f"Bearer {token}")).challenge == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoxfQ."])
@pytest.mark.usefixtures("transactional_db")
def test_a_token_that_is_none_makes_its_bearer_nobody(token: str) -> None:
    identity = identify(scope_of(authorization=f"Bearer {token}"))
    assert isinstance(identity.user, AnonymousUser)
    assert identity.challenge == 'Bearer error="invalid_token"'


def test_other_schemes_are_left_to_others(anna: User) -> None:
    identity = identify(scope_of(authorization="Basic YTpi", cookie=cookie_of(anna)))
    assert identity.user == anna
    assert identity.challenge == "Bearer"


# User identifiers


def upper_name(user: Any) -> str:
    return str(user.username).upper()


ANNA = SimpleNamespace(is_authenticated=True, pk=7, username="anna")


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (None, "7"),
        (upper_name, "ANNA"),
        (f"{__name__}.upper_name", "ANNA"),
        (lambda user: user.pk * 6, "42"),
        (lambda user: None, None),
        (lambda user: "", ""),
    ],
)
def test_a_user_is_addressed_by_the_primary_key_or_what_the_site_makes_of_it(provider: Any, expected: str | None) -> None:
    with override_settings(SIGNALR={"USER_IDENTIFIER": provider}):
        assert user_identifier(ANNA, get_settings()) == expected


@pytest.mark.parametrize("user", [None, AnonymousUser(), SimpleNamespace()])
def test_nobody_has_no_identifier(user: Any) -> None:
    assert user_identifier(user, SignalRSettings(USER_IDENTIFIER=upper_name)) is None
