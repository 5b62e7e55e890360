"""
The messages of a hub, whatever the encoding. A message that exists is valid.

They are frozen msgspec structs: making one costs a tenth of a frozen dataclass, and one is made for every frame.

Source: HubProtocol.md, "Message types".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "NO_RESULT",
    "Ack",
    "CancelInvocation",
    "Close",
    "Completion",
    "HubMessage",
    "Invocation",
    "Ping",
    "SequenceMessage",
    "StreamInvocation",
    "StreamItem",
]

NO_RESULT: UnsetType = UNSET
"""The result of a completion that carries none, as at the end of a stream. A method that returns nothing has the result ``None``."""


class Invocation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call of ``target``. Without ``invocation_id`` nobody waits for an answer."""

    target: str
    arguments: Any
    """Received: a :class:`msgspec.Raw` array, bound to the hub method's annotations later. To send: a sequence of values."""
    invocation_id: str | None = None
    stream_ids: Sequence[str] = ()
    headers: Mapping[str, str] | None = None


class StreamInvocation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call of ``target`` that is answered by stream items and one completion."""

    target: str
    arguments: Any
    invocation_id: str
    stream_ids: Sequence[str] = ()
    headers: Mapping[str, str] | None = None


class StreamItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One item of the stream ``invocation_id``. Received items are :class:`msgspec.Raw`."""

    invocation_id: str
    item: Any
    headers: Mapping[str, str] | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The end of an invocation or of a stream: an error, a result, or neither. A received result is :class:`msgspec.Raw`."""

    invocation_id: str
    result: Any = NO_RESULT
    error: str | None = None
    headers: Mapping[str, str] | None = None


class CancelInvocation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The client wants no more items of this stream."""

    invocation_id: str
    headers: Mapping[str, str] | None = None


class Ping(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A sign of life."""


class Close(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The last message of a connection."""

    error: str | None = None
    allow_reconnect: bool = False


class Ack(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Stateful reconnect: everything up to ``sequence_id`` was received."""

    sequence_id: int


class SequenceMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Stateful reconnect: the next message that counts has the number ``sequence_id``."""

    sequence_id: int


HubMessage = Union[Invocation, StreamInvocation, StreamItem, Completion, CancelInvocation, Ping, Close, Ack, SequenceMessage]
