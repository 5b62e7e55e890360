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
from django.utils.module_loading import import_string

from signalr_channels.conf import SignalRSettings
from signalr_channels.query import query_items

__all__ = ["Identity", "authenticate", "header", "is_origin_allowed", "is_same_origin", "user_identifier"]

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


def _expiry_text(token: str) -> str:
    """The reference's words for a token that is good but for its time."""
    import jwt

    try:
        claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
        expires = float(claims["exp"])
        moment = datetime.datetime.fromtimestamp(expires, datetime.timezone.utc)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return ""
    if moment > datetime.datetime.now(datetime.timezone.utc):
        return ""
    return f", error_description=\"The token expired at '{moment:%m/%d/%Y %H:%M:%S}'\""


async def _session_user(scope: MutableMapping[str, Any]) -> Any:
    """The user of Django's session: Channels' auth stack, run once. Without a session cookie there is nothing to look up."""
    cookies = header(scope, b"cookie")
    if cookies is None or settings.SESSION_COOKIE_NAME not in cookies:
        return AnonymousUser()
    found: dict[str, Any] = {}

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        found["user"] = scope["user"]

    async def nothing(*args: Any) -> Any:
        raise AssertionError("the auth stack neither reads nor writes")

    await AuthMiddlewareStack(inner)(dict(scope), nothing, nothing)
    user = found["user"]
    return getattr(user, "_wrapped", user)


def user_identifier(user: Any, options: SignalRSettings) -> str | None:
    """What ``clients.user(…)`` addresses: the user's primary key as text, or what ``USER_IDENTIFIER`` makes of the user."""
    if not getattr(user, "is_authenticated", False):
        return None
    provider = options.USER_IDENTIFIER
    if provider is None:
        return str(user.pk)
    if isinstance(provider, str):
        provider = import_string(provider)
    identifier = provider(user)
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
    """Whether the origin is the host the request was sent to."""
    host = header(scope, b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else None
    host = host if host is not None else header(scope, b"host")
    try:
        parts = urlsplit(origin)
        own = urlsplit(f"{parts.scheme}://{host}")
        default = DEFAULT_PORTS.get(parts.scheme)
        return bool(parts.hostname) and (parts.hostname, parts.port or default) == (own.hostname, own.port or default)
    except ValueError:
        return False
