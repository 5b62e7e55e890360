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

    __slots__ = (
        "_acknowledged",
        "_expected",
        "_first_id",
        "_limit",
        "_processed",
        "_restart_id",
        "_restart_sent",
        "_sent",
        "_sent_bytes",
        "_unsent",
        "pending_bytes",
    )

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
        self._restart_id: int | None = None
        """Id from which the client may still be counting since it came back, or ``None`` once it is known to be further."""
        self._restart_sent = 0
        """Highest id that was sent before the client came back."""
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

    def take_rest(self) -> list[EncodedMessage]:
        """The messages that still wait, when the connection ends: no acknowledgement will make room for them."""
        rest = list(self._unsent)
        self._unsent.clear()
        return rest

    @property
    def is_full(self) -> bool:
        """Whether more is kept than may be sent without an acknowledgement."""
        return self.pending_bytes > self._limit

    def acknowledge(self, sequence_id: int) -> None:
        """The client has received everything up to this id. Ids it cannot know of change nothing more."""
        while self._sent and self._first_id <= sequence_id:
            size = len(self._sent.popleft().data)
            self._sent_bytes -= size
            self.pending_bytes -= size
            self._first_id += 1
        if sequence_id > self._restart_sent:
            self._restart_id = None

    def restart(self) -> tuple[int, int, list[EncodedMessage]]:
        """
        What to send on a new transport.

        A client that is told a number counts from there, and may be lost again before it has received the rest. Clients refuse a number
        above the one they have come to, whatever they acknowledged (@microsoft/signalr 10.0, .NET 10). So they are told the old one
        again, and get a message without meaning in the place of each that they have acknowledged since, which they drop as received.

        Returns:
            ``(sequence_id, fillers, messages)``: the id to go on from, how many messages without meaning, and then those that were sent
            and not acknowledged.
        """
        first = self._first_id if self._restart_id is None else min(self._restart_id, self._first_id)
        self._restart_id = first
        self._restart_sent = self._first_id + len(self._sent) - 1
        return first, self._first_id - first, list(self._sent)

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
        # A client that was lost while it sent things again goes on from what we acknowledged, which may be more than it sent again.
        if sequence_id > max(self._expected, self._processed + 1):
            raise RemoteProtocolError("Sequence ID greater than amount of messages we've received.", kind="InvalidOperationException")
        if sequence_id < 1:
            # The reference takes it, and then takes as many messages for duplicates.
            raise RemoteProtocolError("Sequence ID less than 1.", kind="InvalidOperationException")
        self._expected = sequence_id
        # What it sends again it knows no acknowledgement of: ours was lost, and a client with a full buffer waits for it.
        self._acknowledged = min(self._acknowledged, sequence_id - 1)

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
