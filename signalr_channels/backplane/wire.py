"""What server processes say to each other: a closed set of messages, each with a version."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from signalr_channels.hubs.lifetime import Audience

__all__ = [
    "ANSWERS",
    "PROCESS_MESSAGES",
    "Ack",
    "Answer",
    "Attach",
    "Claim",
    "ClassicAttach",
    "ClassicCall",
    "ClientAnswer",
    "ClientInvoke",
    "CloseConnection",
    "CloseSocket",
    "Deliver",
    "Detached",
    "Fetch",
    "Fetched",
    "Frame",
    "GroupCommand",
    "Holding",
    "HubQuestion",
    "Leave",
    "Leaving",
    "Missing",
    "Owner",
    "Post",
    "ProcessMessage",
    "Received",
    "RelayMessage",
    "Release",
    "Seek",
    "Status",
    "Taken",
    "Unfetch",
    "read",
    "write",
]

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


class CloseConnection(msgspec.Struct, tag_field="type", tag="signalr.close", frozen=True, kw_only=True):
    """End a connection; its owner answers with an :class:`Ack`."""

    v: int
    hub: str
    connection_id: str
    error: str | None
    allow_reconnect: bool
    closed_by: str = ""
    """The operator who wants it; empty if it is the application."""
    reply_to: str
    request_id: str


class Claim(msgspec.Struct, tag_field="type", tag="signalr.claim", frozen=True, kw_only=True):
    """To the process that negotiated a connection: who owns it? Nobody yet: then ``claimant`` does, if it may."""

    v: int
    connection_id: str
    claimant: str
    """Channel of the process that asks."""
    may_claim: bool
    reply_to: str
    request_id: str
    may_reopen: bool = False
    """Whether a connection that has ended may begin again, as classic ones may."""


class Owner(msgspec.Struct, tag_field="type", tag="signalr.owner", frozen=True, kw_only=True):
    """The answer to a :class:`Claim`."""

    v: int
    request_id: str
    channel: str | None
    """Channel of the owner; ``"-"`` if the connection has ended, ``None`` if nobody owns it yet."""


class Seek(msgspec.Struct, tag_field="type", tag="signalr.seek", frozen=True, kw_only=True):
    """To all processes, where the one that negotiated a connection does not answer: its owner answers with an :class:`Owner`."""

    v: int
    hub: str
    connection_id: str
    reply_to: str
    request_id: str
    number: int = 0
    """Place among those that would own it, should nobody answer; 0 if the asker would not."""


class Leaving(msgspec.Struct, tag_field="type", tag="signalr.leaving", frozen=True, kw_only=True):
    """To all processes: the one behind this channel stops, and what it owned may go on elsewhere."""

    v: int
    hub: str
    connection_id: str
    """If it is about one of them only, which it lets go to the process that is told."""
    channel: str


class Taken(msgspec.Struct, tag_field="type", tag="signalr.taken", frozen=True, kw_only=True):
    """To all processes: a connection whose owner did not answer goes on in the one behind this channel; who has it lets it go."""

    v: int
    hub: str
    connection_id: str
    channel: str


class Holding(msgspec.Struct, tag_field="type", tag="signalr.holding", frozen=True, kw_only=True):
    """To a process that holds transports of connections of ours: does it still? It answers with a :class:`Missing`."""

    v: int
    attach_ids: list[str]
    """Request ids of what they were attached by."""
    reply_to: str
    request_id: str


class Missing(msgspec.Struct, tag_field="type", tag="signalr.missing", frozen=True, kw_only=True):
    """The answer to a :class:`Holding`."""

    v: int
    request_id: str
    attach_ids: list[str]
    """Those it holds no more."""


class Release(msgspec.Struct, tag_field="type", tag="signalr.release", frozen=True, kw_only=True):
    """To the process that negotiated a connection: it has ended."""

    v: int
    connection_id: str
    owner: str = ""
    """Channel of the process whose connection it was; if another one owns it by now, this is old news."""
    may_move: bool = False
    """Whether another process may own it next, since this one stops."""


class Post(msgspec.Struct, tag_field="type", tag="signalr.post", frozen=True, kw_only=True):
    """To the owner: part of a POST body that came elsewhere; it answers with a :class:`Status`."""

    v: int
    connection_id: str
    data: bytes
    reply_to: str
    request_id: str


class Fetch(msgspec.Struct, tag_field="type", tag="signalr.fetch", frozen=True, kw_only=True):
    """To the owner: a poll that came elsewhere; it answers with a :class:`Fetched` or a :class:`Status`."""

    v: int
    connection_id: str
    timeout: float
    expires_at: float | None
    """When the poll's access token runs out, in seconds since 1970."""
    reply_to: str
    request_id: str


class Fetched(msgspec.Struct, tag_field="type", tag="signalr.fetched", frozen=True, kw_only=True):
    """How a poll ended."""

    v: int
    request_id: str
    outcome: str
    data: bytes = b""


class Unfetch(msgspec.Struct, tag_field="type", tag="signalr.unfetch", frozen=True, kw_only=True):
    """To the owner: the client of a poll has gone."""

    v: int
    connection_id: str
    fetch_id: str
    """Request id of the :class:`Fetch`."""


class Leave(msgspec.Struct, tag_field="type", tag="signalr.leave", frozen=True, kw_only=True):
    """To the owner: a DELETE that came elsewhere; it answers with a :class:`Status`."""

    v: int
    connection_id: str
    reply_to: str
    request_id: str


class Attach(msgspec.Struct, tag_field="type", tag="signalr.attach", frozen=True, kw_only=True):
    """To the owner: a transport request that came elsewhere; 101 in its :class:`Status` means that frames follow."""

    v: int
    connection_id: str
    transport: str
    expires_at: float | None
    """When the request's access token runs out, in seconds since 1970."""
    reply_to: str
    request_id: str


class ClassicCall(msgspec.Struct, tag_field="type", tag="signalr.classic-call", frozen=True, kw_only=True):
    """To the owner: a send, start or abort of a classic client that came elsewhere; it answers with a :class:`Status`."""

    v: int
    connection_id: str
    path: str
    """Of the mount."""
    operation: str
    hubs: list[str]
    """Names of the hubs in the request that let the client in."""
    data: str | None
    reply_to: str
    request_id: str


class ClassicAttach(msgspec.Struct, tag_field="type", tag="signalr.classic-attach", frozen=True, kw_only=True):
    """To the owner: a classic client's receiving request that came elsewhere; 101 in its :class:`Status` means that frames follow."""

    v: int
    connection_id: str
    path: str
    operation: str
    transport: str
    hubs: list[str]
    protocol: str
    """Version the client speaks."""
    cursor: str | None
    groups_token: str | None
    expires_at: float | None
    reply_to: str
    request_id: str


class Status(msgspec.Struct, tag_field="type", tag="signalr.status", frozen=True, kw_only=True):
    """What to answer a request with."""

    v: int
    request_id: str
    status: int
    body: str = ""
    content_type: str = ""


class Frame(msgspec.Struct, tag_field="type", tag="signalr.frame", frozen=True, kw_only=True):
    """To the process that holds a web socket: write this."""

    v: int
    request_id: str
    """Of the :class:`Attach`."""
    data: bytes
    is_text: bool


class CloseSocket(msgspec.Struct, tag_field="type", tag="signalr.close-socket", frozen=True, kw_only=True):
    """To the process that holds a web socket: close it."""

    v: int
    request_id: str
    code: int


class Received(msgspec.Struct, tag_field="type", tag="signalr.received", frozen=True, kw_only=True):
    """To the owner: what came on a web socket that is held elsewhere."""

    v: int
    connection_id: str
    attach_id: str
    data: bytes
    is_text: bool


class Detached(msgspec.Struct, tag_field="type", tag="signalr.detached", frozen=True, kw_only=True):
    """To the owner: a web socket that was held elsewhere has ended."""

    v: int
    connection_id: str
    attach_id: str
    reason: str


Answer = Union[Ack, ClientAnswer, Owner, Missing, Fetched, Status, Frame, CloseSocket]
"""Goes to whoever waits for its ``request_id``."""
HubQuestion = Union[GroupCommand, ClientInvoke, CloseConnection, Seek, Leaving, Taken]
"""About a connection of a hub; its owner answers."""
ProcessMessage = Union[Claim, Release, Holding, Post, Fetch, Unfetch, Leave, Attach, ClassicCall, ClassicAttach, Received, Detached]
"""To one process."""
RelayMessage = Union[Deliver, HubQuestion, Answer, ProcessMessage]
ANSWERS = (Ack, ClientAnswer, Owner, Missing, Fetched, Status, Frame, CloseSocket)
PROCESS_MESSAGES = (Claim, Release, Holding, Post, Fetch, Unfetch, Leave, Attach, ClassicCall, ClassicAttach, Received, Detached)


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
