"""
The two tokens of a classic client: one that ties its requests to a connection, one that holds the groups it is in.

Both are signed with ``SECRET_KEY``, accept ``SECRET_KEY_FALLBACKS``, and are URL-safe, since clients write them into queries.

Source: reference section 3.
"""

from __future__ import annotations

import functools
import logging
import time
import uuid
import zlib
from collections.abc import Sequence

import msgspec

from signalr_channels.tokens import digest, read_signed, read_token, sign

__all__ = ["ClassicToken", "new_classic_token", "read_classic_token", "read_groups_token", "sign_groups"]

logger = logging.getLogger("signalr_channels.connections")

CONNECTION_SALT = "signalr_channels.classic.connection-token"
GROUPS_SALT = "signalr_channels.classic.groups-token"
LONGEST_GROUPS_TOKEN = 4096
LONGEST_GROUPS = 1024 * 1024
"""Bytes of group names, unpacked."""


class ClassicToken(msgspec.Struct, frozen=True, array_like=True):
    """What a connection token says. It opens a connection at any classic mount, as in the reference, and is good at that one afterwards."""

    connection_id: str
    user: str
    """Digest of the user identifier, letter case put aside."""
    issued_at: int
    """Seconds since 1970."""
    arbiter: str = ""
    """Channel of the server process that negotiated, which knows the connection's owner; ``""`` where there is none."""

    def sign(self) -> str:
        """The token as text."""
        return sign(msgspec.msgpack.encode(self), CONNECTION_SALT)

    def belongs_to(self, user_identifier: str | None) -> bool:
        """Whether it was given to this user."""
        return self.user == _user_digest(user_identifier)


def new_classic_token(user_identifier: str | None, arbiter: str) -> ClassicToken:
    """The token of a connection that is negotiated now, with a new id: a GUID, in lower case with hyphens."""
    return ClassicToken(str(uuid.uuid4()), _user_digest(user_identifier), int(time.time()), arbiter)


def read_classic_token(text: str) -> ClassicToken | None:
    """What a token says, or ``None`` if it is not one of ours."""
    return read_token(text, CONNECTION_SALT, ClassicToken)


def _user_digest(user_identifier: str | None) -> str:
    return digest(None if user_identifier is None else user_identifier.casefold())


def sign_groups(connection_id: str, names: Sequence[str]) -> str:
    """
    The groups token of a connection.

    It travels in queries, and a web socket whose request line is over 8 KiB is never answered. Of groups that do not fit into
    :data:`LONGEST_GROUPS_TOKEN` characters, the last ones are left out: the server knows them as long as the process lives.

    Args:
        connection_id: The connection; nobody else's request can use the token.
        names: Names of hub and group, joined by a dot.
    """
    kept = list(names)
    while len(token := _sign_groups(connection_id, kept)) > LONGEST_GROUPS_TOKEN:
        kept = kept[: len(kept) * LONGEST_GROUPS_TOKEN // (len(token) + 1)]
    if len(kept) < len(names):
        _warn_once(connection_id)
    return token


def _sign_groups(connection_id: str, names: list[str]) -> str:
    return sign(zlib.compress(msgspec.msgpack.encode((digest(connection_id), names))), GROUPS_SALT)


@functools.lru_cache(maxsize=1000)
def _warn_once(connection_id: str) -> None:
    logger.warning(
        "%s is in more groups than its groups token can hold (%d characters); it is in all of them until its server process ends",
        connection_id,
        LONGEST_GROUPS_TOKEN,
    )


def read_groups_token(text: str | None, connection_id: str) -> list[str]:
    """The groups of a token; none if it is not one of ours, or another connection's."""
    payload = read_signed(text or "", GROUPS_SALT, LONGEST_GROUPS_TOKEN)
    if payload is None:
        return []
    try:
        unpacker = zlib.decompressobj()
        owner, names = msgspec.msgpack.decode(unpacker.decompress(payload, LONGEST_GROUPS), type=tuple[str, list[str]])
    except (zlib.error, msgspec.DecodeError):
        return []
    return names if owner == digest(connection_id) else []
