"""The document of a forever frame: what clients and scripts read in it. The reference, sections 4.2 and 4.5."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_channels.protocols.classic.forever_frame import KEEP_ALIVE, encode_frame, preamble
from tests.unit.test_classic_scripts import run_in_node

FRAME = re.compile(r"r\(c, (\{.*\})\);", re.DOTALL)

PAGE = """
var calls = [], connection = {id: "the connection"};
var foreverFrame = {
    getConnection: function (id) { calls.push(["getConnection", id]); return id === "7" ? connection : undefined; },
    started: function (c) { calls.push(["started", c.id]); },
    receive: function (c, data) { calls.push(["receive", c.id, data]); }
};
var window = {parent: @PARENT@};
@SCRIPTS@
console.log(JSON.stringify(calls));
"""
WITH_JQUERY = "{jQuery: {signalR: {transports: {foreverFrame: foreverFrame}}}}"


class Scripts(HTMLParser):
    """The texts of all script elements, as a browser finds them."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._text: list[str] | None = None
        self.feed(document.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._text = [] if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._text is not None:
            self.texts.append("".join(self._text))
        self._text = None


def in_page(document: bytes, parent: str) -> list[object]:
    """Run the scripts of a document in a page, and give the calls of the client's functions."""
    script = PAGE.replace("@PARENT@", parent).replace("@SCRIPTS@", "\n".join(Scripts(document).texts))
    calls: list[object] = json.loads(run_in_node(script))
    return calls


def test_frames_byte_by_byte() -> None:
    assert encode_frame(b'{"C":"x","M":[]}') == b'<script>r(c, {"C":"x","M":[]});</script>\r\n'
    assert KEEP_ALIVE == b"<script>r(c, {});</script>\n\n"


def test_a_payload_cannot_end_its_script() -> None:
    assert encode_frame(b'{"M":["</script><!--"]}') == b'<script>r(c, {"M":["\\u003c/script\\u003e\\u003c!--"]});</script>\r\n'


@given(st.text())
def test_any_message_stays_in_its_script(message: str) -> None:
    envelope = json.dumps({"C": "x", "M": [message]}).encode()
    first, second, keep_alive = Scripts(preamble(1) + encode_frame(envelope) + encode_frame(b"{}") + KEEP_ALIVE).texts[1:]
    assert second == keep_alive == "r(c, {});"
    match = FRAME.fullmatch(first)
    assert match is not None
    assert json.loads(match[1]) == {"C": "x", "M": [message]}


@pytest.mark.parametrize("frame_id", [0, 7, 2**32 - 1])
def test_the_preamble_leaves_the_body_open(frame_id: int) -> None:
    document = preamble(frame_id)
    assert document.startswith(b"<!DOCTYPE html>")
    assert document.endswith(b"<body>\r\n")
    assert b"</body>" not in document
    assert b'getConnection("%d")' % frame_id in document
    # A reader that cuts the stream behind scripts finds the document's head in front of the first frame, not as a frame of its own.
    assert b"</script>\r\n" not in document and b"</script>\n\n" not in document


def test_the_page_is_told_of_the_start_before_the_first_frame() -> None:
    document = preamble(7) + encode_frame(b'{"C":"x","S":1,"M":["</script>"]}') + KEEP_ALIVE
    assert in_page(document, WITH_JQUERY) == [
        ["getConnection", "7"],
        ["started", "the connection"],
        ["receive", "the connection", {"C": "x", "S": 1, "M": ["</script>"]}],
        ["receive", "the connection", {}],
    ]


@pytest.mark.parametrize("parent", ["{}", "{jQuery: {}}", "{jQuery: {signalR: {transports: {}}}}"])
def test_without_a_client_around_it_nothing_happens(parent: str) -> None:
    assert in_page(preamble(7) + encode_frame(b'{"M":[]}') + KEEP_ALIVE, parent) == []


def test_a_connection_that_the_page_gave_up_is_left_alone() -> None:
    assert in_page(preamble(8) + encode_frame(b'{"M":[]}') + KEEP_ALIVE, WITH_JQUERY) == [["getConnection", "8"]]
