"""
Connection tokens: the secret that ties transport requests to a negotiated connection.

A token is signed and self-contained, so negotiate may run in any process, WSGI ones included, and keeps nothing.
Signing uses ``SECRET_KEY`` and accepts ``SECRET_KEY_FALLBACKS``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time
from typing import TypeVar

import msgspec
from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

__all__ = ["ConnectionToken", "digest", "make_connection_id", "new_token", "read_connection_token", "read_signed", "read_token", "sign"]

LONGEST_TOKEN = 512
SIGNATURE_SIZE = 16
SALT = "signalr_channels.connection-token"

Token = TypeVar("Token", bound=msgspec.Struct)


class ConnectionToken(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    connection_id: str
    hub: str
    """Digest of the hub's name: a token of one hub opens no other."""
    user: str
    """Digest of the user identifier: a connection belongs to the user who negotiated it."""
    issued_at: int
    """Seconds since 1970."""
    is_stateful: bool = False
    """Whether stateful reconnect was agreed on."""
    arbiter: str = ""
    """Channel of the server process that negotiated, which knows the connection's owner; ``""`` where there is none."""

    def sign(self) -> str:
        """The token as text: base64url, since clients append it to URLs as it is."""
        return sign(msgspec.msgpack.encode(self), SALT)


def make_connection_id() -> str:
    """128 random bits as 22 characters of base64url."""
    return secrets.token_urlsafe(16)


def digest(text: str | None) -> str:
    """A short fingerprint, so that tokens stay short and name nobody."""
    if text is None:
        return ""
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=9).digest()).decode()


def new_token(
    *, connection_id: str, hub: str, user_identifier: str | None, is_stateful: bool = False, arbiter: str = ""
) -> ConnectionToken:
    """The token of a connection that is negotiated now."""
    return ConnectionToken(connection_id, digest(hub), digest(user_identifier), int(time.time()), is_stateful, arbiter)


def read_connection_token(text: str) -> ConnectionToken | None:
    """What a token says, or ``None`` if it is not one of ours."""
    return read_token(text, SALT, ConnectionToken)


def read_token(text: str, salt: str, kind: type[Token]) -> Token | None:
    """What a token of some kind says, or ``None`` if it was not signed with this salt."""
    payload = read_signed(text, salt, LONGEST_TOKEN)
    if payload is None:
        return None
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except msgspec.DecodeError:
        return None


def sign(payload: bytes, salt: str) -> str:
    """A payload with its signature in front, as base64url."""
    return base64.urlsafe_b64encode(_signature(payload, settings.SECRET_KEY, salt) + payload).rstrip(b"=").decode()


def read_signed(text: str, salt: str, longest: int) -> bytes | None:
    """The payload of a text of at most ``longest`` characters that :func:`sign` made, or ``None`` for any other."""
    if len(text) > longest or "=" in text:  # one token has one form
        return None
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    signature, payload = data[:SIGNATURE_SIZE], data[SIGNATURE_SIZE:]
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(constant_time_compare(signature, _signature(payload, key, salt)) for key in keys):
        return None
    return payload


def _signature(payload: bytes, key: str | bytes, salt: str) -> bytes:
    return salted_hmac(salt, payload, secret=key, algorithm="sha256").digest()[:SIGNATURE_SIZE]
