"""A client of the classic generation on plain sockets that says exactly what a test tells it to."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from tests.conformance.asgi import Answer
from tests.conformance.wire import CLOSE, DEADLINE, TEXT, RawSocket, Request, frame, request

__all__ = [
    "FORM",
    "TRANSPORTS",
    "Classic",
    "connected",
    "connection_data",
    "hub_call",
    "log_of",
    "text_frame",
    "wait_for_log",
    "wait_until",
]

TRANSPORTS = ("webSockets", "serverSentEvents", "foreverFrame", "longPolling")
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
SCRIPT_START, SCRIPT_END = "<script>r(c, ", ");</script>"


def hub_call(method: str, *arguments: Any, hub: str = "peer", id: Any = 0, **more: Any) -> str:
    """An invocation as the jQuery client writes it."""
    return json.dumps({"H": hub, "M": method, "A": list(arguments), "I": id, **more}, separators=(",", ":"))


def connection_data(*hubs: str) -> str:
    """How a client names its hubs."""
    return json.dumps([{"name": hub} for hub in hubs], separators=(",", ":"))


def text_frame(data: bytes) -> bytes:
    """A text frame of any length; the mask is zero."""
    if len(data) < 2**16:
        return frame(TEXT, data)
    return bytes([0x80 | TEXT, 0x80 | 127]) + len(data).to_bytes(8, "big") + bytes(4) + data


def wait_until(claim: Callable[[], object]) -> None:
    """Ask until it is so: hooks run beside the calls, and the server's log tells nobody of new lines."""
    deadline = time.monotonic() + DEADLINE
    while not claim():
        assert time.monotonic() < deadline, claim
        time.sleep(0.02)


def log_of(reader: Classic, client: Classic) -> list[str]:
    """What the hooks of the hub ``peer`` said of a connection, without its id."""
    return [line.replace(f" {client.connection_id}", "") for line in reader.invoke("GetEvents")["R"] if client.connection_id in line]


def wait_for_log(reader: Classic, client: Classic, *lines: str) -> None:
    """The log has these lines of a connection, and no others."""
    wait_until(lambda: len(log_of(reader, client)) >= len(lines))
    assert log_of(reader, client) == list(lines)


class Classic:
    """
    One negotiated connection.

    Attributes:
        connection_id: The public id.
        token: The secret.
        cursor: That of the newest envelope.
        kept: Messages that came with the answer to a reconnect of long polling.
        groups: The newest groups token.
    """

    def __init__(
        self,
        mount: str,
        transport: str = "webSockets",
        *,
        hubs: tuple[str, ...] | None = ("peer",),
        query: str = "",
        headers: Mapping[str, str] = {},
    ) -> None:
        """
        Args:
            mount: Address of the mount.
            transport: By its wire name.
            hubs: For ``connectionData``; ``None`` leaves that out, as clients without hubs do.
            query: More of the query of all requests.
            headers: Of all requests.
        """
        self.mount, self.transport, self.query, self.headers = mount, transport, query, dict(headers)
        self.data = None if hubs is None else connection_data(*hubs)
        self.cursor = self.groups = ""
        self.kept: list[Any] = []
        self._ids = itertools.count(1)
        self._socket: RawSocket | None = None
        self._stream: Request | None = None
        self._results: dict[str, Any] = {}
        self._envelopes: deque[dict[str, Any]] = deque()
        self._messages: deque[Any] = deque()
        items = self._items({"clientProtocol": "2.1", "connectionData": self.data})
        answer = request("GET", f"{mount}/negotiate?{items}", self.headers)
        assert answer.status == 200, answer
        self.negotiated: dict[str, Any] = json.loads(answer.body)
        self.connection_id: str = self.negotiated["ConnectionId"]
        self.token: str = self.negotiated["ConnectionToken"]

    # Requests

    def _items(self, items: Mapping[str, str | None]) -> str:
        encoded = [f"{name}={quote(value, safe='')}" for name, value in items.items() if value is not None]
        return "&".join([*encoded, *([self.query] if self.query else [])])

    def url(self, operation: str, **changes: str | None) -> str:
        """The address of an operation. ``changes`` replace items of the query; ``None`` leaves one out."""
        items = {"transport": self.transport, "clientProtocol": "2.1", "connectionToken": self.token, "connectionData": self.data}
        return f"{self.mount}/{operation}?{self._items({**items, **changes})}"

    def request(
        self, method: str, operation: str, body: bytes | None = None, headers: Mapping[str, str] = {}, **changes: str | None
    ) -> Answer:
        """One request and its answer."""
        return request(method, self.url(operation, **changes), {**self.headers, **headers}, body)

    def send(self, data: str | bytes, **changes: str | None) -> Answer:
        """``POST /send`` of a form, whatever the transport."""
        return self.request("POST", "send", b"data=" + quote(data, safe="").encode(), FORM, **changes)

    def abort(self, **changes: str | None) -> Answer:
        """``POST /abort``."""
        return self.request("POST", "abort", b"", **changes)

    # Receiving

    def attach(self, operation: str = "connect", **changes: str | None) -> None:
        """Open the transport; polls have none."""
        self.detach()
        if self.transport == "foreverFrame":
            changes = {"frameId": "1", **changes}
        if self.transport == "webSockets":
            self._socket = RawSocket(self.url(operation, **changes), self.headers)
            assert self._socket.head.startswith(b"HTTP/1.1 101 "), self._socket.head
        elif self.transport != "longPolling":
            self._stream = Request("GET", self.url(operation, **changes), self.headers)
            assert self._stream.response.status == 200, self._stream.response.read()
        else:
            answer = self.request("POST", operation, b"", FORM, **changes)
            assert answer.status == 200, answer
            self.kept = self._keep(json.loads(answer.body))["M"]

    def reattach(self) -> None:
        """``/reconnect`` with what was received last. A poll comes back with what it brings."""
        self.attach("reconnect", messageId=self.cursor or None, groupsToken=self.groups or None)

    def ready(self) -> Classic:
        """Connect and start."""
        self.attach()
        if self.transport != "longPolling":
            assert self.envelope().get("S") == 1
        assert self.request("GET", "start").brief == (200, b'{ "Response": "started" }')
        return self

    def _keep(self, envelope: dict[str, Any]) -> dict[str, Any]:
        self.cursor = envelope.get("C", self.cursor)
        self.groups = envelope.get("G", self.groups)
        return envelope

    def next_text(self) -> str | None:
        """The next frame of a socket or stream without its clothing, keep-alives too; ``None`` at the end."""
        if self._socket is not None:
            try:
                opcode, data = self._socket.receive()
            except (EOFError, ConnectionResetError):
                return None
            return None if opcode == CLOSE else data.decode()
        assert self._stream is not None, "nothing is attached"
        while line := self._stream.response.readline():
            text = line.decode().strip()
            if self.transport == "serverSentEvents" and text.startswith("data: {"):
                return text.removeprefix("data: ")
            if self.transport == "foreverFrame" and text.endswith(SCRIPT_END):
                return text[text.index(SCRIPT_START) + len(SCRIPT_START) : -len(SCRIPT_END)]
        return None

    def next(self) -> dict[str, Any] | None:
        """The next frame that is no keep-alive, be it an envelope or a result; ``None`` at the end."""
        if self.transport == "longPolling":
            form = self._items({"messageId": self.cursor or None, "groupsToken": self.groups or None})
            answer = self.request("POST", "poll", form.encode(), FORM)
            assert answer.status == 200, answer
            return self._keep(json.loads(answer.body))
        deadline = time.monotonic() + DEADLINE
        while (text := self.next_text()) == "{}":
            assert time.monotonic() < deadline, "nothing but keep-alives came"
        return None if text is None else self._keep(json.loads(text))

    def envelope(self) -> dict[str, Any]:
        """The next envelope; results that come before are kept."""
        if self._envelopes:
            return self._envelopes.popleft()
        while (message := self.next()) is not None and "I" in message:
            self._results[message["I"]] = message
        assert message is not None, "the transport has ended"
        return message

    def messages(self, count: int) -> list[Any]:
        """The next elements of ``M``, however they are divided."""
        while len(self._messages) < count:
            self._messages += self.envelope()["M"]
        return [self._messages.popleft() for _ in range(count)]

    def drain(self) -> list[dict[str, Any]]:
        """All frames until the transport ends."""
        return list(iter(self.next, None))

    # Speaking

    def say(self, data: str | bytes) -> None:
        """One text frame."""
        assert self._socket is not None
        self._socket.send(text_frame(data.encode() if isinstance(data, str) else data))

    @property
    def socket(self) -> RawSocket:
        """The web socket, to say what no client says."""
        assert self._socket is not None
        return self._socket

    def invoke(self, method: str, *arguments: Any, hub: str = "peer", **more: Any) -> dict[str, Any]:
        """Call a hub method; gives the response, whole."""
        id = f"call {next(self._ids)}"
        data = hub_call(method, *arguments, hub=hub, id=id, **more)
        if self.transport != "webSockets":
            answer = self.send(data)
            assert answer.status == 200, answer
            response: dict[str, Any] = json.loads(answer.body)
            return response
        self.say(data)
        while id not in self._results:
            message = self.next()
            assert message is not None, "the socket has ended"
            if "I" in message:
                self._results[message["I"]] = message
            else:
                self._envelopes.append(message)
        kept: dict[str, Any] = self._results.pop(id)
        return kept

    def prove(self) -> None:
        """The connection works, both ways."""
        assert self.invoke("Echo", "still here")["R"] == "still here"
        self.invoke("ToCaller", "still heard")
        while {"H": "peer", "M": "Message", "A": ["ToCaller", "still heard"]} not in self.envelope()["M"]:
            pass

    # Ending

    def detach(self) -> None:
        """Drop the transport."""
        if self._socket is not None:
            self._socket.socket.close()
        if self._stream is not None:
            self._stream.close()
        self._socket = self._stream = None
        self._envelopes.clear()
        self._messages.clear()


@contextlib.contextmanager
def connected(mount: str, transport: str = "webSockets", **options: Any) -> Iterator[Classic]:
    """A connection that was started, for the length of a ``with`` block; it says goodbye."""
    client = Classic(mount, transport, **options)
    try:
        yield client.ready()
    finally:
        client.detach()
        client.abort()
