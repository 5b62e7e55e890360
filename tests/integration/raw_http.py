"""Clients of every transport that say exactly what a test tells them to, over real sockets, and read hub messages as bytes."""

from __future__ import annotations

import http.client
import json
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosedOK

from signalr_channels.endpoints import PROTOCOLS
from signalr_channels.protocols.messages import Completion, HubMessage, Invocation, Ping
from tests.integration.raw import DEADLINE, RawClient

__all__ = ["TALKERS", "EventStreamTalker", "PollingTalker", "Talker", "WebSocketTalker", "request"]

Answer = tuple[int, str]
NORMAL_CLOSURE = 1000


def request(method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Status and body of one HTTP request. A body that is an iterator goes out in chunks."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Talker:
    """
    One client of a hub, on one transport, in one hub protocol.

    Attributes:
        url: With the token, for requests of all kinds.
        protocol: The hub protocol.
        connection_id: The public id.
    """

    def __init__(
        self, base: str, protocol: str = "json", *, headers: Mapping[str, str] | None = None, query: str = "", version: int = 1
    ) -> None:
        """
        Args:
            base: Address of the hub.
            protocol: ``json`` or ``messagepack``.
            headers: Of all requests, such as a login.
            query: Of the negotiate request, such as ``&useStatefulReconnect=true``.
            version: Of the handshake.
        """
        self.protocol = PROTOCOLS[protocol]
        self.headers = {"User-Agent": f"talker {uuid.uuid4().hex}", **(headers or {})}
        status, body = request("POST", f"{base}/negotiate?negotiateVersion=1{query}", headers=self.headers)
        assert status == 200, (status, body)
        negotiated = json.loads(body)
        self.connection_id: str = negotiated["connectionId"]
        self.base = base
        self.token: str = negotiated["connectionToken"]
        self.url = f"{base}?id={self.token}"
        self._splitter = self.protocol.splitter(None)
        self._messages: deque[bytes] = deque()
        self._frames = self._open()
        self.send_bytes(f'{{"protocol":"{protocol}","version":{version}}}\x1e'.encode())
        assert self._next_frame() == b"{}\x1e"

    # Writing

    def send(self, *messages: HubMessage) -> None:
        """Send messages, joined."""
        self.send_bytes(b"".join(map(self.protocol.encode, messages)))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes in one piece."""
        status, body = request("POST", self.url, data, self.headers)
        assert (status, body) == (200, "")

    # Reading

    def receive(self) -> bytes:
        """The next message that is no ping, without its framing."""
        while not self._messages:
            frame = self._next_frame()
            assert frame is not None, "the connection has ended"
            self._take(frame)
        return self._messages.popleft()

    def receive_message(self) -> HubMessage:
        """The next message, understood."""
        message = self.protocol.parse(self.receive())
        assert message is not None
        return message

    def receive_to_end(self) -> list[bytes]:
        """The messages that still come before the connection ends in order."""
        while (frame := self._next_frame()) is not None:
            self._take(frame)
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def _take(self, frame: bytes) -> None:
        ping = self.body(Ping())
        for body in self._splitter.feed(frame):
            assert isinstance(body, bytes)
            if body != ping:
                self._messages.append(body)

    def body(self, message: HubMessage) -> bytes:
        """What :meth:`receive` gives for a message."""
        (body,) = self.protocol.splitter(None).feed(self.protocol.encode(message))
        assert isinstance(body, bytes)
        return body

    def prove(self, text: str = "still here") -> None:
        """The connection works."""
        self.send(Invocation(target="Echo", arguments=[text], invocation_id="proof"))
        expected = self.body(Completion(invocation_id="proof", result=text))
        while self.receive() != expected:
            pass

    # What transports differ in

    def _open(self) -> Iterator[bytes]:
        """Open the transport; gives frames as they come, to the orderly end."""
        raise AssertionError("abstract")

    def _next_frame(self) -> bytes | None:
        return next(self._frames, None)

    def vanish(self) -> None:
        """Drop what the transport has open."""
        raise AssertionError("abstract")

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.vanish()


class WebSocketTalker(Talker):
    """Over a web socket, in frames of the kind the protocol asks for."""

    def _open(self) -> Iterator[bytes]:
        self.client = RawClient(self.base, token=self.token, shakes_hands=False, user_agent=self.headers["User-Agent"])
        return self._receive()

    def _receive(self) -> Iterator[bytes]:
        while True:
            try:
                frame = self.client.socket.recv(DEADLINE)
            except ConnectionClosedOK as closed:
                if closed.rcvd is None or closed.rcvd.code != NORMAL_CLOSURE or closed.rcvd.reason:
                    raise
                return
            yield frame.encode() if isinstance(frame, str) else frame

    def send_bytes(self, data: bytes) -> None:
        """Send one binary frame, as JSON is read from too."""
        self.client.send(data)

    def vanish(self) -> None:
        """Close the web socket."""
        self.client.close()


class EventStreamTalker(Talker):
    """Over an event stream and POSTs."""

    def _open(self) -> Iterator[bytes]:
        parts = urlsplit(self.url)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE)
        self._connection.request("GET", f"{parts.path}?{parts.query}", headers={**self.headers, "Accept": "text/event-stream"})
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        assert self._response.readline() == b":\r\n"
        return self._receive()

    def _receive(self) -> Iterator[bytes]:
        while line := self._response.readline():
            if line != b"\r\n":
                assert line.startswith(b"data: ")
                yield line.removeprefix(b"data: ").removesuffix(b"\r\n")

    def vanish(self) -> None:
        """Drop the event stream."""
        self._response.close()
        self._connection.close()


class PollingTalker(Talker):
    """Over polls and POSTs."""

    def _open(self) -> Iterator[bytes]:
        assert request("GET", self.url, headers=self.headers) == (200, "")
        return self._receive()

    def _receive(self) -> Iterator[bytes]:
        parts = urlsplit(self.url)
        while True:
            connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE)
            connection.request("GET", f"{parts.path}?{parts.query}", headers=self.headers)
            response = connection.getresponse()
            data = response.read()
            connection.close()
            if response.status == 204:
                return
            assert response.status == 200, (response.status, data)
            if data:
                yield data

    def vanish(self) -> None:
        """Say goodbye, as nothing is open between two polls."""
        assert request("DELETE", self.url, headers=self.headers)[0] in (202, 404)


TALKERS: dict[str, tuple[type[Talker], str]] = {
    "web socket, json": (WebSocketTalker, "json"),
    "web socket, messagepack": (WebSocketTalker, "messagepack"),
    "event stream, json": (EventStreamTalker, "json"),
    "polls, json": (PollingTalker, "json"),
    "polls, messagepack": (PollingTalker, "messagepack"),
}
"""Every transport with every hub protocol it can carry."""
