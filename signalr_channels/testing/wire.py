"""What a client of a test writes and reads: messages to bytes and back, in the encodings of its hub."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Sequence
from typing import Any

import msgspec

from signalr_channels.protocols.base import Data, HubProtocol, TransferFormat
from signalr_channels.protocols.messages import HubMessage

__all__ = ["ClientWire", "split_uploads"]

SEPARATOR = b"\x1e"
HIGHEST_WITHOUT_RECONNECT = 1
"""Version of a handshake that does not ask for stateful reconnect."""


class _HandshakeResponse(msgspec.Struct):
    error: str | None = None


class ClientWire:
    """
    What a client writes and reads. One per connection.

    Attributes:
        handshake_error: What the server refused the handshake with; ``None`` while it has not.
    """

    def __init__(self, protocol: HubProtocol) -> None:
        self.handshake_error: str | None = None
        self._protocol = protocol
        self._splitter = protocol.splitter(None)
        self._awaits_response = True
        self._decoder = functools.lru_cache(protocol.value_decoder)

    def use_variant_of(self, offered: Sequence[HubProtocol]) -> None:
        """Speak a hub's own variant of the protocol, if it has it, before the handshake."""
        for protocol in offered:
            if protocol.name == self._protocol.name:
                self._protocol = protocol
                self._splitter = protocol.splitter(None)
                self._decoder = functools.lru_cache(protocol.value_decoder)

    def handshake(self) -> bytes:
        """The handshake request."""
        return msgspec.json.encode({"protocol": self._protocol.name, "version": HIGHEST_WITHOUT_RECONNECT}) + SEPARATOR

    def encode(self, message: HubMessage) -> Data:
        """
        One message, as a frame of the kind that the protocol uses.

        Raises:
            LocalProtocolError: An argument cannot be encoded.
        """
        data = self._protocol.encode(message)
        return data.decode() if self._protocol.transfer_format is TransferFormat.TEXT else data

    def feed(self, data: bytes) -> list[HubMessage]:
        """The messages of a frame of the server; its handshake response is none."""
        if self._awaits_response:
            response, _, data = data.partition(SEPARATOR)
            self.handshake_error = msgspec.json.decode(response, type=_HandshakeResponse).error
            self._awaits_response = False
        messages = [self._protocol.parse(frame) for frame in self._splitter.feed(data)]
        return [message for message in messages if message is not None]

    def read(self, value: Any, type: Any) -> Any:
        """
        A received value, converted.

        Raises:
            ArgumentBindingError: It is of another type.
        """
        return self._decoder(type)(value)


def split_uploads(arguments: Sequence[Any]) -> tuple[list[Any], list[AsyncIterable[Any]]]:
    """Part a call's arguments into values, and async iterables that are sent as upload streams."""
    uploads = [argument for argument in arguments if isinstance(argument, AsyncIterable)]
    return [argument for argument in arguments if not isinstance(argument, AsyncIterable)], uploads
