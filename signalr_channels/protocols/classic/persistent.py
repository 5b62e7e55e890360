"""
The encoding of connections without hubs: each message is the JSON of the value that was sent.

Source: reference sections 5.1 and 6.10.
"""

from __future__ import annotations

import msgspec

from signalr_channels.exceptions import LocalProtocolError
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from signalr_channels.protocols.messages import HubMessage, Invocation

__all__ = ["PersistentProtocol"]


PREFIX, SUFFIX = b'{"H":"","M":"","A":[', b"]}"


class _Sent(msgspec.Struct):
    arguments: list[msgspec.Raw]


read_sent = msgspec.json.Decoder(_Sent).decode


class PersistentProtocol(ClassicHubProtocol):
    """Values without names around them. A value travels between server processes as the one argument of an invocation."""

    def __init__(self) -> None:
        super().__init__("")

    def encode(self, message: HubMessage) -> bytes:
        """
        Write one value.

        Raises:
            LocalProtocolError: It cannot be written as JSON, or the message is no invocation with one argument.
        """
        if not isinstance(message, Invocation) or len(message.arguments) != 1:
            raise LocalProtocolError("A persistent connection sends single values.", kind="InvalidOperationException")
        return super().encode(message)[len(PREFIX) : -len(SUFFIX)]

    def transcode(self, json_message: bytes) -> bytes:
        """The value in a core JSON invocation."""
        return bytes(read_sent(json_message.rstrip(b"\x1e")).arguments[0])
