"""What a hub protocol is: a name, a way to cut a stream of bytes into messages, and two directions of conversion."""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Union

import msgspec

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.messages import HubMessage

__all__ = ["Data", "EncodedMessage", "HubProtocol", "MessageSplitter", "TransferFormat"]

Data = Union[bytes, str]
"""A chunk from a transport: text frames stay ``str``, which spares a conversion."""


class TransferFormat(str, enum.Enum):
    """What a transport can carry, and what a hub protocol needs."""

    TEXT = "Text"
    BINARY = "Binary"


class EncodedMessage(msgspec.Struct, gc=False):
    """A message encoded once for many receivers."""

    data: bytes
    """Framing included."""
    transfer_format: TransferFormat
    """Whether it is text or binary."""
    is_tracked: bool = True
    """Whether stateful reconnect counts it."""
    frame: Any = None
    """Room for the form a transport needs, made by the first receiver and shared by the others."""
    wire: bytes | None = None
    """The same for a transport that writes bytes to the network itself."""


class MessageSplitter(Protocol):
    """Cuts what arrives into single messages and keeps the incomplete rest. One per connection."""

    error: RemoteProtocolError | None
    """Set when the rest can never become a message: too long, or no legal length prefix."""

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete message are held."""

    def feed(self, data: Data) -> Sequence[Data]:
        """Take a chunk; give the complete messages in order, without their framing. Look at ``error`` afterwards."""

    def discard_pending(self) -> None:
        """Forget the incomplete rest."""


class HubProtocol(abc.ABC):
    """One encoding of hub messages. Stateless; shared by all connections."""

    name: ClassVar[str]
    """As in the handshake request; compared case-insensitively."""
    version: ClassVar[int]
    """The highest version of the handshake."""
    transfer_format: ClassVar[TransferFormat]

    @abc.abstractmethod
    def splitter(self, maximum_message_size: int | None) -> MessageSplitter:
        """Make the splitter of a connection. The limit counts framing; ``None`` is no limit."""

    @abc.abstractmethod
    def parse(self, data: Data) -> HubMessage | None:
        """
        Read one message, framing removed.

        Returns:
            The message, or ``None`` for a message type nobody knows, which is to be skipped.

        Raises:
            RemoteProtocolError: The message is not valid.
        """

    @abc.abstractmethod
    def encode(self, message: HubMessage) -> bytes:
        """
        Write one message, framing included.

        Raises:
            LocalProtocolError: A value cannot be written in this encoding.
        """

    @abc.abstractmethod
    def argument_decoder(self, types: Sequence[Any]) -> Callable[[msgspec.Raw], Sequence[Any]]:
        """
        Make a function that converts received arguments to these annotations, one per argument.

        The function raises :exc:`ArgumentBindingError` for a wrong count or a value that does not fit.
        """

    @abc.abstractmethod
    def value_decoder(self, type: Any) -> Callable[[msgspec.Raw], Any]:
        """Make a function that converts a received stream item or result to an annotation. It raises :exc:`ArgumentBindingError`."""
