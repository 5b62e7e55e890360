"""What server processes say to each other: a closed set of messages, each with a version."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from signalr_channels.hubs.lifetime import Audience

__all__ = ["Ack", "ClientAnswer", "ClientInvoke", "Deliver", "GroupCommand", "RelayMessage", "read", "write"]

VERSION = 1


class Deliver(msgspec.Struct, tag_field="type", tag="signalr.deliver", frozen=True, kw_only=True):
    """Hand a message to the local connections of an audience."""

    v: int
    hub: str
    origin: str
    """Process that sent it; it has served its own connections already."""
    address: str
    """Channel-layer group it went to."""
    number: int
    """Counts what ``origin`` sent to ``address``, so that a loss shows as a gap."""
    audience: Audience
    payloads: dict[str, bytes]
    """Hub protocol name -> encoded message."""


class GroupCommand(msgspec.Struct, tag_field="type", tag="signalr.group", frozen=True, kw_only=True):
    """Put a connection into a group, or take it out; its owner answers with an :class:`Ack`."""

    v: int
    hub: str
    connection_id: str
    group: str
    add: bool
    reply_to: str
    """Channel to answer on."""
    request_id: str


class Ack(msgspec.Struct, tag_field="type", tag="signalr.ack", frozen=True, kw_only=True):
    """The command was carried out, or refused with ``error``."""

    v: int
    request_id: str
    error: str = ""


class ClientInvoke(msgspec.Struct, tag_field="type", tag="signalr.invoke", frozen=True, kw_only=True):
    """Call a client method of one connection; its owner confirms with an :class:`Ack`, and answers with a :class:`ClientAnswer`."""

    v: int
    hub: str
    connection_id: str
    invocation_id: str
    """As the payloads have it; unique over processes."""
    payloads: dict[str, bytes]
    reply_to: str
    request_id: str


class ClientAnswer(msgspec.Struct, tag_field="type", tag="signalr.answer", frozen=True, kw_only=True):
    """What the client answered, or why it did not."""

    v: int
    request_id: str
    protocol: str
    """Hub protocol the result is encoded in."""
    result: bytes | None = None
    error: str | None = None
    is_lost: bool = False
    """The connection ended before it answered."""


RelayMessage = Union[Deliver, GroupCommand, Ack, ClientInvoke, ClientAnswer]


def write(message: RelayMessage) -> dict[str, Any]:
    """A message as the channel layer takes it."""
    data: dict[str, Any] = msgspec.to_builtins(message, builtin_types=(bytes,))
    return data


def read(data: Any) -> RelayMessage:
    """
    A message as the channel layer gave it.

    Raises:
        msgspec.ValidationError: It is not one of ours, or of another version.
    """
    message: RelayMessage = msgspec.convert(data, RelayMessage)
    if message.v != VERSION:
        raise msgspec.ValidationError(f"version {message.v}, not {VERSION}")
    return message
