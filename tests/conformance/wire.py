"""HTTP requests and web-socket frames on plain sockets, for what only a real server shows."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from urllib.parse import urlsplit

from tests.conformance.asgi import Answer

DEADLINE = 10.0
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
CONTINUATION = 0
SEPARATOR = b"\x1e"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Request:
    """One HTTP request under way; read its answer when it is time."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=DEADLINE)
        self._connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers))
        self._response: http.client.HTTPResponse | None = None

    @property
    def response(self) -> http.client.HTTPResponse:
        """The answer, once its head is there."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def answer(self) -> Answer:
        """The whole answer."""
        with self:
            body = self.response.read()
            headers = {name.lower(): value for name, value in self.response.getheaders()}
            return Answer(self.response.status, headers, body)

    def event(self) -> bytes:
        """The next server-sent event or comment as it is, ``b""`` at the end."""
        lines = b""
        while line := self.response.readline():
            lines += line
            if line == b"\r\n":
                break
        return lines

    def close(self) -> None:
        """Go away."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def __enter__(self) -> Request:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def request(method: str, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None) -> Answer:
    """A request and its answer."""
    return Request(method, url, headers, body).answer()


def frame(opcode: int, data: bytes, *, is_final: bool = True, reserved: int = 0, is_masked: bool = True) -> bytes:
    """A frame as a client sends it; the mask is zero."""
    first = opcode | reserved | (0x80 if is_final else 0)
    mask_bit = 0x80 if is_masked else 0
    length = bytes([mask_bit | len(data)]) if len(data) < 126 else bytes([mask_bit | 126]) + len(data).to_bytes(2, "big")
    return bytes([first]) + length + (bytes(4) if is_masked else b"") + data


class RawSocket:
    """A web socket whose client obeys no rule."""

    def __init__(self, url: str, headers: Mapping[str, str] = {}) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.socket = socket.create_connection((parts.hostname, parts.port), DEADLINE)
        lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in {**UPGRADE, **headers}.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self._read(1)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """Opcode and content of the next frame, pings of the hub passed over."""
        while True:
            first, length = self._read(2)
            if length == 126:
                length = int.from_bytes(self._read(2), "big")
            elif length == 127:
                length = int.from_bytes(self._read(8), "big")
            data = self._read(length)
            if data not in (b'{"type":6}\x1e', b"\x02\x91\x06"):
                return first & 0x0F, data

    def end(self) -> int | None:
        """The code of the Close frame that comes next, ``None`` if the connection just ends."""
        try:
            opcode, data = self.receive()
        except (EOFError, ConnectionResetError):
            return None
        assert opcode == CLOSE, data
        return int.from_bytes(data[:2], "big") if data else 1005


@contextlib.contextmanager
def raw_socket(url: str, *, handshake: bytes = b"", headers: Mapping[str, str] = {}) -> Iterator[RawSocket]:
    """A web socket for the length of a ``with`` block, shaken hands with if there is a handshake."""
    client = RawSocket(url, headers)
    try:
        if handshake:
            client.send(frame(TEXT, handshake))
            assert client.receive()[1] == b"{}\x1e"
        yield client
    finally:
        client.socket.close()
