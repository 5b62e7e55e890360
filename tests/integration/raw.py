"""A web socket that says exactly what a test tells it to, and reads what the server sends."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SEPARATOR = "\x1e"
HANDSHAKE = '{"protocol":"json","version":1}' + SEPARATOR
DEADLINE = 10.0

Frame = str | bytes


def call(target: str, *arguments: Any, invocation_id: str | None = "0") -> str:
    """An invocation as a client writes it."""
    message: dict[str, Any] = {"type": 1, "target": target, "arguments": arguments}
    if invocation_id is not None:
        message["invocationId"] = invocation_id
    return json.dumps(message) + SEPARATOR


def answer(status: int, body: str) -> str:
    return f"{status} {body}".rstrip()


def post(url: str, headers: Mapping[str, str] = {}) -> tuple[int, str]:
    """Status and body of a POST without a body."""
    request = urllib.request.Request(url, method="POST", headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def negotiate(url: str, headers: Mapping[str, str] = {}) -> dict[str, Any]:
    """Negotiate with the hub at ``url``."""
    status, body = post(f"{url}/negotiate?negotiateVersion=1", headers)
    assert status == 200, answer(status, body)
    negotiated: dict[str, Any] = json.loads(body)
    return negotiated


class RawClient:
    """
    One web socket to a hub.

    Attributes:
        user_agent: Sent along and unique, so that the history can be asked about clients that never had a connection id.
    """

    def __init__(self, url: str, *, token: str | None = None, shakes_hands: bool = True, **headers: str) -> None:
        """
        Args:
            url: Of the hub, with ``http:``.
            token: The connection token; without one negotiation is skipped.
            shakes_hands: Whether to do the handshake, successfully.
            headers: More headers of the request, with ``_`` for ``-``.
        """
        self.user_agent = headers.pop("user_agent", "") or f"raw {uuid.uuid4().hex}"
        address = "ws" + url.removeprefix("http") + (f"?id={token}" if token is not None else "")
        self.socket = connect(
            address,
            additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
            user_agent_header=self.user_agent,
            compression=None,
            max_size=None,
            ping_interval=None,
            close_timeout=DEADLINE,
            proxy=None,
        )
        if shakes_hands:
            self.send(HANDSHAKE)
            assert self.receive() == "{}" + SEPARATOR

    def send(self, frame: Frame, *, as_text: bool | None = None) -> None:
        """Send one frame: text for ``str``, binary for ``bytes``, unless told otherwise. How it ends, if it does, is seen by receiving."""
        with contextlib.suppress(ConnectionClosed):
            self.socket.send(frame, text=as_text)

    def receive(self) -> Frame:
        """The next frame that is not a ping."""
        while (frame := self.socket.recv(DEADLINE)) == '{"type":6}' + SEPARATOR:
            pass
        return frame

    def receive_to_end(self) -> tuple[list[Frame], int]:
        """The frames that still come, and the code of the server's Close frame; 1006 if there is none."""
        frames = []
        while True:
            try:
                frames.append(self.receive())
            except ConnectionClosed as error:
                return frames, error.rcvd.code if error.rcvd is not None else 1006

    def ask(self, target: str, *arguments: Any) -> Any:
        """Call a hub method; what comes before its result is passed over."""
        self.send(call(target, *arguments, invocation_id="question"))
        while (message := json.loads(str(self.receive()).removesuffix(SEPARATOR))).get("invocationId") != "question":
            pass
        return message["result"]

    def echo(self, text: str = "hello") -> None:
        """Prove that the connection works."""
        assert self.ask("Echo", text) == text

    def vanish(self) -> None:
        """End the TCP connection without a Close frame."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
