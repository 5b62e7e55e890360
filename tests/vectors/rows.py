"""What a row of a table is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from signalr_channels.protocols.messages import HubMessage


class Direction(enum.Enum):
    """In which direction the bytes of a row hold. Many spellings can be read, one is written."""

    BOTH = "both"
    READ = "read"


@dataclass(frozen=True)
class Vector:
    """
    A message and its bytes.

    Arguments, items and results of ``message`` are plain values; read ones are compared after decoding.
    """

    name: str
    message: HubMessage
    wire: bytes
    """Framing included."""
    source: str
    direction: Direction = Direction.BOTH
