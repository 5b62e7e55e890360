"""Who is asking: Django session logins, origins, users and their identifiers."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable
from channels.auth import AuthMiddlewareStack
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.utils.module_loading import import_string

from signalr_channels.conf import SignalRSettings

__all__ = ["authenticate", "header", "is_origin_allowed", "is_same_origin", "user_identifier"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The first header of that lower-case name, or ``None``."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


async def authenticate(scope: MutableMapping[str, Any]) -> Any:
    """
    The Django user of a request: what an outer middleware found, else the session's.

    Runs Channels' auth stack once, for the request that opens a transport; without a session cookie there is nothing to look up.
    """
    if "user" in scope:
        return scope["user"]
    cookies = header(scope, b"cookie")
    if cookies is None or settings.SESSION_COOKIE_NAME not in cookies:
        return AnonymousUser()
    found: dict[str, Any] = {}

    async def inner(scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
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
