"""Who may come in: origin, login and permission of one request, with the reason if not."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalr_channels.auth import (
    Identity,
    authenticate,
    header,
    is_origin_allowed,
    is_own_host,
    is_same_origin,
    request_host,
    user_identifier,
)
from signalr_channels.conf import SignalRSettings
from signalr_channels.exceptions import RequestRefused
from signalr_channels.hubs.lifetime import ConnectionInfo
from signalr_channels.hubs.permissions import PermissionRequest, is_permitted
from signalr_channels.protocols.endings import CloseReason

if TYPE_CHECKING:
    from signalr_channels.endpoints import HubEndpoint

__all__ = ["Admission", "Refusal", "admit", "check_origin", "cors_headers", "describe_request"]

LONGEST_TEXT = 256
Headers = list[tuple[bytes, bytes]]


class Refusal(RequestRefused):
    """
    A request that is turned away, with what to record of it.

    Attributes:
        reason: Why, or ``None`` for what is not worth a row in the history.
        detail: A sentence for the operator.
        headers: Of the answer.
        admission: Who it was, if that is why.
    """

    def __init__(
        self,
        status: int,
        body: str = "",
        *,
        reason: CloseReason | None = None,
        detail: str = "",
        headers: Headers | None = None,
        admission: Admission | None = None,
    ) -> None:
        super().__init__(status, body)
        self.reason = reason
        self.detail = detail
        self.headers = headers or []
        self.admission = admission


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request that may go on."""

    user: Any
    user_identifier: str | None
    expires_at: float | None = None
    """When the access token runs out, in seconds since 1970."""


def clean(text: str | None, length: int = LONGEST_TEXT) -> str:
    """A text from the wire for a log or a page: one line, at most ``length`` characters, printable."""
    if not text:
        return ""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:length])


def describe_request(
    scope: Mapping[str, Any], endpoint: HubEndpoint, connection_id: str = "", transport: str = "", admission: Admission | None = None
) -> ConnectionInfo:
    """What is known of a connection from a request. Holds neither query nor cookies, where tokens live."""
    client = scope.get("client")
    return ConnectionInfo(
        connection_id=connection_id,
        hub=endpoint.hub_name,
        path=endpoint.path,
        transport=transport,
        user_pk=None if admission is None else getattr(admission.user, "pk", None),
        user_identifier=None if admission is None else admission.user_identifier,
        remote_address=f"{client[0]}:{client[1]}" if client else "",
        user_agent=clean(header(scope, b"x-signalr-user-agent") or header(scope, b"user-agent")),
        origin=clean(header(scope, b"origin")),
    )


def check_origin(scope: Mapping[str, Any], options: SignalRSettings) -> None:
    """
    Whether the page behind a request may connect.

    Raises:
        Refusal: 403.
    """
    origin = header(scope, b"origin")
    if not is_origin_allowed(scope, origin, options):
        host = request_host(scope)
        own = "is not the host" if is_own_host(host) else "Django's ALLOWED_HOSTS does not have the host"
        raise Refusal(
            403,
            "The origin of this page may not connect. See the setting ALLOWED_ORIGINS.",
            reason=CloseReason.ORIGIN_REJECTED,
            detail=f"The origin {clean(origin)} is not in ALLOWED_ORIGINS, and {own} {clean(host)}.",
        )


async def admit(scope: MutableMapping[str, Any], endpoint: HubEndpoint) -> Admission:
    """
    Let a request of a hub in.

    Raises:
        Refusal: 403 for a foreign origin or a missing permission, 401 for a missing login; before anything else is looked at.
    """
    options = endpoint.options
    check_origin(scope, options)
    identity = await authenticate(scope, options)
    user = identity.user
    permission_classes = endpoint.permission_classes
    if permission_classes and not await is_permitted(permission_classes, PermissionRequest(user=user, hub=endpoint.hub)):
        if getattr(user, "is_authenticated", False):
            detail = "A permission class of the hub said no."
            raise Refusal(403, reason=CloseReason.PERMISSION_DENIED, detail=detail, admission=_admission(identity, options))
        challenge = identity.challenge
        headers = [] if challenge is None else [(b"www-authenticate", challenge.encode("latin-1", "replace"))]
        detail = "The hub asks for a login; the request carried none."
        if challenge is not None and "expired" in challenge:
            raise Refusal(401, reason=CloseReason.TOKEN_EXPIRED, detail="The access token had expired.", headers=headers)
        if challenge is not None and "error" in challenge:
            detail = "The access token is not valid."
        raise Refusal(401, reason=CloseReason.UNAUTHORIZED, detail=detail, headers=headers)
    return _admission(identity, options)


def _admission(identity: Identity, options: SignalRSettings) -> Admission:
    return Admission(user=identity.user, user_identifier=user_identifier(identity.user, options), expires_at=identity.expires_at)


def cors_headers(scope: Mapping[str, Any], endpoint: HubEndpoint) -> Headers:
    """What a browser wants to see before it hands an answer to a page of another origin."""
    origin = header(scope, b"origin")
    if origin is None or is_same_origin(scope, origin) or not is_origin_allowed(scope, origin, endpoint.options):
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def preflight_headers(scope: Mapping[str, Any], endpoint: HubEndpoint) -> Headers | None:
    """The answer to a browser's question before a cross-origin request, or ``None`` if this is none."""
    asked = header(scope, b"access-control-request-method")
    headers = cors_headers(scope, endpoint)
    if asked is None or not headers:
        return None
    headers.append((b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"))
    wanted = header(scope, b"access-control-request-headers")
    if wanted:
        headers.append((b"access-control-allow-headers", clean(wanted).encode("latin-1", "replace")))
    headers.append((b"access-control-max-age", b"600"))
    return headers
