"""
Stateful reconnect: what was sent and not acknowledged, and what was received, both counted.

Ids are not on the wire: each side counts the messages that count (all but Ping, Close, Ack, Sequence and the handshake), from 1.

Source: HubProtocol.md, "Ack", "Sequence"; ``MessageBuffer.cs``.
"""

from __future__ import annotations

from collections import deque

from signalr_channels.exceptions import RemoteProtocolError
from signalr_channels.protocols.base import EncodedMessage

__all__ = ["Replay"]


class Replay:
    """
    The counters and the buffer of one connection.

    Attributes:
        pending_bytes: Size of everything that is not acknowledged, sent or not.
    """

    __slots__ = ("_acknowledged", "_expected", "_first_id", "_limit", "_processed", "_sent", "_sent_bytes", "_unsent", "pending_bytes")

    def __init__(self, buffer_size: int) -> None:
        """
        Args:
            buffer_size: Bytes that may be sent without an acknowledgement.
        """
        self._limit = buffer_size
        self._sent: deque[EncodedMessage] = deque()
        self._unsent: deque[EncodedMessage] = deque()
        self._sent_bytes = 0
        self._first_id = 1
        """Id of the first message in ``_sent``, or of the next to be sent."""
        self._expected = 1
        """Id the next message from the client has."""
        self._processed = 0
        self._acknowledged = 0
        self.pending_bytes = 0

    # What we send

    def add(self, message: EncodedMessage) -> None:
        """Keep a message until it is acknowledged."""
        self._unsent.append(message)
        self.pending_bytes += len(message.data)

    def take_sendable(self) -> list[EncodedMessage]:
        """The messages to send now: as many as may be sent without an acknowledgement."""
        sendable = []
        while self._unsent and self._sent_bytes <= self._limit:
            message = self._unsent.popleft()
            self._sent.append(message)
            self._sent_bytes += len(message.data)
            sendable.append(message)
        return sendable

    def acknowledge(self, sequence_id: int) -> None:
        """The client has received everything up to this id. Ids it cannot know of change nothing more."""
        while self._sent and self._first_id <= sequence_id:
            size = len(self._sent.popleft().data)
            self._sent_bytes -= size
            self.pending_bytes -= size
            self._first_id += 1

    def restart(self) -> tuple[int, list[EncodedMessage]]:
        """What to send on a new transport: the id of the first message, and the messages that were sent and not acknowledged."""
        return self._first_id, list(self._sent)

    # What we receive

    def accept(self) -> bool:
        """Count a message from the client. False: it was received before."""
        number = self._expected
        self._expected += 1
        if number <= self._processed:
            return False
        self._processed = number
        return True

    def rewind(self, sequence_id: int) -> None:
        """
        The client goes on from this id.

        Raises:
            RemoteProtocolError: It never sent what comes before, or the id is none.
        """
        if sequence_id > self._expected:
            raise RemoteProtocolError("Sequence ID greater than amount of messages we've received.", kind="InvalidOperationException")
        if sequence_id < 1:
            # The reference takes it, and then takes as many messages for duplicates.
            raise RemoteProtocolError("Sequence ID less than 1.", kind="InvalidOperationException")
        self._expected = sequence_id

    def acknowledgement(self) -> int | None:
        """The id to acknowledge now, or ``None`` if there is nothing new."""
        if self._processed <= self._acknowledged:
            return None
        self._acknowledged = self._processed
        return self._processed

    @property
    def owes_acknowledgement(self) -> bool:
        """Whether there is something to acknowledge."""
        return self._processed > self._acknowledged
