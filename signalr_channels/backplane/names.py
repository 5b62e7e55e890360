"""Names in the channel layer: fixed length, safe alphabet, whatever the group or user is called."""

from __future__ import annotations

import hashlib

__all__ = ["everyone", "group", "user"]


def _address(prefix: str, kind: str, *parts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))  # so that ("ab", "c") and ("a", "bc") differ
        digest.update(data)
    return f"{prefix}.{kind}.{digest.hexdigest()}"


def everyone(prefix: str, hub: str) -> str:
    """The channel-layer group of all processes that have a connection of a hub."""
    return _address(prefix, "all", hub)


def group(prefix: str, hub: str, name: str) -> str:
    """The channel-layer group of the processes that have a member of a group."""
    return _address(prefix, "group", hub, name)


def user(prefix: str, hub: str, user_identifier: str) -> str:
    """The channel-layer group of the processes that have a connection of a user."""
    return _address(prefix, "user", hub, user_identifier)
