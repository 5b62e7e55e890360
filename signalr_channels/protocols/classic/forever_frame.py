"""
The forever frame: an HTML document without an end, in a hidden frame of the page, whose scripts hand over one envelope each.

Source: aspnet-signalr-2, "foreverFrame"; ``ForeverFrameTransport.cs``, ``jquery.signalR.transports.foreverFrame.js``.
"""

from __future__ import annotations

__all__ = ["KEEP_ALIVE", "encode_frame", "preamble"]

KEEP_ALIVE = b"<script>r(c, {});</script>\n\n"
"""A frame that says only that the connection lives."""

# In the page, foreverFrame.started() is what raises the client's reconnected event. The document works alone as well, and does
# nothing then; so it does for a connection that the page has given up meanwhile.
DOCUMENT = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>SignalR forever frame</title><script>
    var c = null, r = function () {};
    (function (jQuery) {
        var transport = jQuery && jQuery.signalR ? jQuery.signalR.transports.foreverFrame : null;
        c = transport ? transport.getConnection("%d") : null;
        if (c) {
            r = transport.receive;
            transport.started(c);
        }
    }(window.parent.jQuery));
</script></head><body>
"""


def preamble(frame_id: int) -> bytes:
    """
    The document as far as its open body. Frames follow as they come, and never close it.

    Args:
        frame_id: The number under which the page knows its frame.
    """
    return (DOCUMENT % frame_id).replace("\n", "\r\n").encode("ascii")


def encode_frame(envelope: bytes) -> bytes:
    """
    Make a script element of an envelope.

    Args:
        envelope: JSON in ASCII, which is JavaScript too. ``<`` and ``>`` stand in its strings only; escaped, they cannot end the element.
    """
    return b"<script>r(c, %b);</script>\r\n" % escape_markup(envelope)


def escape_markup(data: bytes) -> bytes:
    """JSON without the characters that begin and end elements; they stand in its strings only."""
    return data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
