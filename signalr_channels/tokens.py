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

import msgspec
from django.core.signing import BadSignature, Signer

__all__ = ["ConnectionToken", "make_connection_id", "read_connection_token"]

LONGEST_TOKEN = 512


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

    def sign(self) -> str:
        """The token as text: URL-safe without escaping, since clients append it to URLs as it is."""
        return _signer().sign(base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode())


def make_connection_id() -> str:
    """128 random bits as 22 characters of base64url."""
    return secrets.token_urlsafe(16)


def digest(text: str | None) -> str:
    """A short fingerprint, so that tokens stay short and name nobody."""
    if text is None:
        return ""
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=9).digest()).decode()


def new_token(*, connection_id: str, hub: str, user_identifier: str | None, is_stateful: bool = False) -> ConnectionToken:
    """The token of a connection that is negotiated now."""
    return ConnectionToken(connection_id, digest(hub), digest(user_identifier), int(time.time()), is_stateful)


def read_connection_token(text: str) -> ConnectionToken | None:
    """What a token says, or ``None`` if it is not one of ours."""
    if len(text) > LONGEST_TOKEN:
        return None
    try:
        payload = _signer().unsign(text)
        data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.msgpack.decode(data, type=ConnectionToken)
    except (BadSignature, binascii.Error, msgspec.DecodeError, ValueError):
        return None


def _signer() -> Signer:
    return Signer(salt="signalr_channels.connection-token", sep=".")
