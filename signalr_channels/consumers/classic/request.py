"""One request of a classic client, read: what it asks for, on what connection, with what form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from signalr_channels.gate import Refusal
from signalr_channels.protocols.classic.requests import ClassicTransport, read_form, split_operation
from signalr_channels.query import query_items

__all__ = ["ClassicRequest", "read_body"]

Receive = Callable[[], Awaitable[Any]]
EMPTY: Mapping[str, str] = {}


class ClassicRequest:
    """
    A request to a classic mount.

    Attributes:
        scope: Of ASGI.
        operation: What it asks for, by the end of its path.
        url: For negotiate and the script, the path clients go on with.
        transport: The transport it names, if it is one.
        callback: Function name of a JSONP request, or ``""``.
        is_websocket: Whether it is an upgrade.
    """

    __slots__ = ("_form", "_query", "callback", "is_websocket", "operation", "scope", "transport", "url")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self.scope = scope
        self._query = query_items(scope["query_string"])
        self._form = EMPTY
        self.operation, self.url = split_operation(_whole_path(scope))
        self.is_websocket = scope["type"] == "websocket"
        self.transport = ClassicTransport.named(self.query("transport"))
        self.callback = self.query("callback") or ""

    def query(self, name: str) -> str | None:
        """The first value of a query item; names in lower case."""
        values = self._query.get(name)
        return values[0] if values else None

    async def read_form(self, receive: Receive, maximum_size: int) -> None:
        """
        Read the body as a form, whatever its content type: the .NET client sends none.

        Raises:
            Refusal: 413 for a body that is too long, 400 for one that breaks off.
        """
        if self.scope["method"] != "GET":
            self._form = read_form(await read_body(receive, maximum_size))

    @property
    def data(self) -> str | None:
        """What the client sends: of its form, and under long polling else of its query."""
        data = self._form.get("data")
        if data is None and self.transport is ClassicTransport.LONG_POLLING:
            data = self.query("data")
        return data or None

    @property
    def cursor(self) -> str | None:
        """What the client has received, in its own words."""
        return self.query("messageid") or self._form.get("messageid")

    @property
    def groups_token(self) -> str | None:
        """The groups it holds."""
        return self.query("groupstoken") or self._form.get("groupstoken")


def _whole_path(scope: MutableMapping[str, Any]) -> str:
    """Path with the part a proxy or server puts in front, whether or not the server has it in ``path`` already."""
    path, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return path if path.startswith(root) else root + path


async def read_body(receive: Receive, maximum_size: int) -> bytes:
    """
    The whole body of a request.

    Raises:
        Refusal: 413 for one of more than ``maximum_size`` bytes, 400 for one that breaks off.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refusal(400)
        part = event.get("body", b"")
        size += len(part)
        if size > maximum_size:
            raise Refusal(413, f"The body is over {maximum_size} bytes (MAXIMUM_FORM_SIZE).")
        parts.append(part)
        if not event.get("more_body", False):
            return b"".join(parts)
