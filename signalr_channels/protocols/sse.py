"""
Framing of server-sent events, as ASP.NET Core SignalR writes them.

Source: TransportProtocols.md, "Server-Sent Events (Server-to-Client only)"; ``ServerSentEventsMessageFormatter.cs``.
"""

from __future__ import annotations

__all__ = ["FIRST_BYTES", "encode_event"]

FIRST_BYTES = b":\r\n"
"""A comment line, sent at once: in some clients the stream counts as open only with its first byte."""


def encode_event(data: bytes) -> bytes:
    """
    Make one unnamed event.

    Args:
        data: UTF-8. Each LF starts another ``data:`` line; one CR before it is dropped where something stands before that CR.
    """
    if b"\n" not in data:
        return b"data: " + data + b"\r\n\r\n"
    *lines, last = data.split(b"\n")
    # The reference keeps a CR that is alone on its line.
    cut = [line[:-1] if len(line) > 1 and line.endswith(b"\r") else line for line in lines]
    return b"".join(b"data: " + line + b"\r\n" for line in [*cut, last]) + b"\r\n"
