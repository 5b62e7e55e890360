"""Server-sent events."""

from __future__ import annotations

import pytest

from signalr_channels.protocols.sse import FIRST_BYTES, encode_event


def test_the_stream_starts_with_a_comment() -> None:
    assert FIRST_BYTES == b":\r\n"


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b"{}\x1e", b"data: {}\x1e\r\n\r\n"),
        ("é\x1e".encode(), "data: é\x1e\r\n\r\n".encode()),
        (b"", b"data: \r\n\r\n"),
        (b"a\nb", b"data: a\r\ndata: b\r\n\r\n"),
        (b"a\r\nb", b"data: a\r\ndata: b\r\n\r\n"),
        (b"a\n\nb", b"data: a\r\ndata: \r\ndata: b\r\n\r\n"),
        (b"end\n", b"data: end\r\ndata: \r\n\r\n"),
        (b"\n", b"data: \r\ndata: \r\n\r\n"),
        (b"a\rb", b"data: a\rb\r\n\r\n"),
        (b"a\r\n\r\nb", b"data: a\r\ndata: \r\r\ndata: b\r\n\r\n"),
    ],
)
def test_only_line_feeds_split(payload: bytes, event: bytes) -> None:
    """Observed: ASP.NET Core 10.0, but for the empty payload, which it never sends."""
    assert encode_event(payload) == event
