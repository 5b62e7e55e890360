"""Who is asking: Django session logins, origins, users and their identifiers."""

from __future__ import annotations

import datetime
import functools
import importlib.util
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import close_old_connections
from django.http.request import split_domain_port, validate_host

from signalr_channels.conf import SignalRSettings
from signalr_channels.hubs.loading import load_function
from signalr_channels.query import query_items

__all__ = ["Identity", "authenticate", "header", "is_origin_allowed", "is_own_host", "is_same_origin", "request_host", "user_identifier"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The first header of that lower-case name, or ``None``."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a request comes from."""

    user: Any
    """The Django user; ``AnonymousUser`` for nobody."""
    expires_at: float | None = None
    """When the access token runs out, in seconds since 1970."""
    challenge: str | None = None
    """What ``WWW-Authenticate`` says if the request needs a login; ``None`` where access tokens are not taken."""


async def authenticate(scope: MutableMapping[str, Any], options: SignalRSettings) -> Identity:
    """
    Find out who is asking: what an outer middleware found, else an access token, else the Django session.

    A token that is not good makes its bearer nobody; the reason is in the challenge.
    """
    if "user" in scope:
        return Identity(user=scope["user"])
    challenge = None
    if access_tokens_are_taken():
        challenge = "Bearer"
        token = _access_token(scope, options)
        if token is not None:
            return await sync_to_async(identify_bearer, thread_sensitive=False)(token)
    return Identity(user=await _session_user(scope), challenge=challenge)


@functools.cache
def access_tokens_are_taken() -> bool:
    """Whether djangorestframework-simplejwt is there to check them."""
    return importlib.util.find_spec("rest_framework_simplejwt") is not None


def _access_token(scope: Mapping[str, Any], options: SignalRSettings) -> str | None:
    """The token of the ``Authorization`` header, or of the query where browsers leave no choice."""
    scheme, _, token = (header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if options.ACCESS_TOKEN_IN_QUERY == "browser":  # noqa: S105
        accept = header(scope, b"accept") or ""
        if scope["type"] != "websocket" and "text/event-stream" not in accept.lower():
            return None
    values = query_items(scope.get("query_string", b"")).get("access_token", [])
    return values[0] if len(values) == 1 and values[0] else None


def identify_bearer(token: str) -> Identity:
    """The user of an access token, checked as djangorestframework-simplejwt is set up to. Uses the database."""
    from rest_framework.exceptions import AuthenticationFailed
    from rest_framework_simplejwt.authentication import JWTAuthentication

    close_old_connections()
    try:
        authentication = JWTAuthentication()
        validated = authentication.get_validated_token(token.encode("utf-8", "replace"))
        return Identity(user=authentication.get_user(validated), expires_at=validated.get("exp"), challenge="Bearer")
    except AuthenticationFailed:
        return Identity(user=AnonymousUser(), challenge=f'Bearer error="invalid_token"{_expiry_text(token)}')
    finally:
        close_old_connections()


def _expiry_text(token: Any) -> str:
    """The reference's words for a token that is good but for its time."""
    from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken
    from rest_framework_simplejwt.state import token_backend

    try:
        token_backend.decode(token)
        return ""
    except TokenBackendExpiredToken:  # and the signature is good
        expires = float(token_backend.decode(token, verify=False)["exp"])
    except TokenBackendError:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(expires, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""
    return f", error_description=\"The token expired at '{moment:%m/%d/%Y %H:%M:%S}'\""


async def _session_user(scope: MutableMapping[str, Any]) -> Any:
    """The user of Django's session: Channels' auth stack, run once. Without a session cookie there is nothing to look up."""
    # HTTP/2 lets a browser send a header for each cookie, and Channels reads the first header only.
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    if settings.SESSION_COOKIE_NAME not in cookies.decode("latin-1"):
        return AnonymousUser()
    headers = [*(pair for pair in scope["headers"] if pair[0] != b"cookie"), (b"cookie", cookies)]
    found: dict[str, Any] = {}

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        found["user"] = scope["user"]

    async def nothing(*args: Any) -> Any:
        raise AssertionError("the auth stack neither reads nor writes")

    await AuthMiddlewareStack(inner)({**scope, "headers": headers}, nothing, nothing)
    user = found["user"]
    return getattr(user, "_wrapped", user)


def user_identifier(user: Any, options: SignalRSettings) -> str | None:
    """What ``clients.user(…)`` addresses: the user's primary key as text, or what ``USER_IDENTIFIER`` makes of the user."""
    if not getattr(user, "is_authenticated", False):
        return None
    provider = options.USER_IDENTIFIER
    if provider is None:
        return str(user.pk)
    identifier = load_function(provider, "USER_IDENTIFIER")(user)
    return None if identifier is None else str(identifier)


def is_origin_allowed(scope: Mapping[str, Any], origin: str | None, options: SignalRSettings) -> bool:
    """
    Whether a page of this origin may connect.

    A request without an origin does not come from a page. Browsers do not apply CORS to web sockets, so this is checked on every request.
    """
    if origin is None:
        return True
    allowed = options.ALLOWED_ORIGINS
    if allowed is not None and ("*" in allowed or origin in allowed):
        return True
    return is_same_origin(scope, origin)


def is_same_origin(scope: Mapping[str, Any], origin: str) -> bool:
    """
    Whether the origin is the host the request was sent to, and that is one of the site's.

    Any page can have its own name lead to this server (DNS rebinding): then origin and host are the same, and neither is ours.
    """
    host = request_host(scope)
    try:
        parts = urlsplit(origin)
        own = urlsplit(f"{parts.scheme}://{host}")
        default = DEFAULT_PORTS[parts.scheme]
        is_same = (parts.hostname, parts.port or default) == (own.hostname, own.port or default)
    except (KeyError, ValueError):
        return False
    return is_same and is_own_host(host)


def request_host(scope: Mapping[str, Any]) -> str:
    """The host a request was sent to, as Django reads it; ``""`` if it names none."""
    host = header(scope, b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else None
    return (host if host is not None else header(scope, b"host")) or ""


def is_own_host(host: str) -> bool:
    """Whether ``ALLOWED_HOSTS`` has a host, read as Django reads it."""
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)
