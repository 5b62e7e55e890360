"""
What a classic request asks for: its operation, its transport, its hubs, its form.

Source: aspnet-signalr-2, "URL scheme and request pipeline"; ``PersistentConnection.cs``, ``HubDispatcher.cs``, ``JsonUtility.cs``.
"""

from __future__ import annotations

import enum
import re
from urllib.parse import unquote_to_bytes

import msgspec

from signalr_channels.exceptions import RemoteProtocolError

__all__ = [
    "ClassicTransport",
    "ConnectionDataError",
    "FrameIdError",
    "Operation",
    "is_callback",
    "jsonp",
    "parse_connection_data",
    "parse_frame_id",
    "read_form",
    "split_operation",
]

LONGEST_CONNECTION_DATA = 32 * 1024
"""Characters. The query of a GET seldom has a quarter of it."""
MOST_BRACKETS = 500
"""Objects and arrays of connection data, one for each hub and one for the list. It bounds their depth too."""
MOST_ITEMS = 100
"""Of a form."""

UINT32_MAX = 2**32 - 1
FRAME_ID = re.compile(r"0*([0-9]{1,10})")

WORDS = """
    Infinity NaN break case catch class const continue debugger default delete do else enum export extends false finally for function if
    implements import in instanceof interface let new null package private protected public return static super switch this throw true
    try typeof undefined var void while with yield
"""
RESERVED_WORDS = frozenset(WORDS.split())
"""No JavaScript function can have such a name."""
JOINERS = frozenset("\u200c\u200d")
"""Invisible in names. Python takes them for parts of identifiers since 3.13."""


class ConnectionDataError(RemoteProtocolError):
    """The query's ``connectionData`` is no list of hubs. The reference fails such a request with status 500."""


class FrameIdError(RemoteProtocolError):
    """The query's ``frameId`` is no number of a frame. The reference fails such a request with status 500."""


class ClassicTransport(str, enum.Enum):
    """A way to carry a classic connection, by its name on the wire, in the order in which clients try them."""

    WEB_SOCKETS = "webSockets"
    SERVER_SENT_EVENTS = "serverSentEvents"
    FOREVER_FRAME = "foreverFrame"
    LONG_POLLING = "longPolling"

    @classmethod
    def named(cls, text: str | None) -> ClassicTransport | None:
        """The transport of a name in any letter case, if there is one."""
        return TRANSPORTS.get(text.lower()) if text else None


class Operation(str, enum.Enum):
    """What a request is for, by the last part of its path."""

    NEGOTIATE = "negotiate"
    PING = "ping"
    CONNECT = "connect"
    START = "start"
    RECONNECT = "reconnect"
    SEND = "send"
    POLL = "poll"
    ABORT = "abort"
    SCRIPT = "script"
    """``/hubs`` and ``/js``: the generated proxies. A mount without hubs has none and treats it like ``OTHER``."""
    OTHER = "other"
    """Old clients reconnect and poll on the bare mount."""


TRANSPORTS = {transport.value.lower(): transport for transport in ClassicTransport}
OPERATIONS = {operation.value: operation for operation in Operation if operation not in (Operation.SCRIPT, Operation.OTHER)}
SCRIPT_NAMES = ("hubs", "js")

HUB_LIST = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
HUB_NAME = msgspec.json.Decoder(str)


def split_operation(path: str) -> tuple[Operation, str]:
    """
    Tell what a request is for.

    Args:
        path: The whole path with the mount, percent-decoded. Its end decides, in any letter case.

    Returns:
        The operation and a path: for negotiate the ``Url`` of the answer, for the script the mount it is made for, else the same path.
        The reference takes ``/negotiate`` out of the url wherever it stands, in this letter case only.
    """
    mount, slash, name = path.rstrip("/").rpartition("/")
    if slash and name.lower() in SCRIPT_NAMES:
        return Operation.SCRIPT, mount
    _, slash, name = path.rpartition("/")
    operation = OPERATIONS.get(name.lower(), Operation.OTHER) if slash else Operation.OTHER
    return operation, path.replace("/negotiate", "") if operation is Operation.NEGOTIATE else path


def parse_connection_data(text: str | None) -> tuple[str, ...]:
    """
    Read the hubs a client names.

    Args:
        text: The query's ``connectionData``, such as ``[{"name":"chat"}]``. The .NET client writes ``Name``.

    Returns:
        The names as written, none of them empty, no two equal but for letter case. No names for ``null``, ``[]`` and no text.

    Raises:
        ConnectionDataError: It is something else, or longer than 32,768 characters, or has more than 500 objects and arrays.
    """
    if not text or text.isspace():
        return ()
    if len(text) > LONGEST_CONNECTION_DATA or text.count("[") + text.count("{") > MOST_BRACKETS:
        raise ConnectionDataError("The connection data is too large.")
    try:
        names = tuple(_hub_name(hub) for hub in HUB_LIST.decode(text) or ())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConnectionDataError("The connection data is no JSON array of objects with a name.") from error
    if len({name.lower() for name in names}) < len(names):
        raise ConnectionDataError("Duplicate Hub names found.")
    return names


def _hub_name(hub: dict[str, msgspec.Raw]) -> str:
    """The name in one member of the list; of several the last. ValueError if there is none."""
    values = [value for key, value in hub.items() if key.lower() == "name"]
    name = HUB_NAME.decode(values[-1]) if values else ""
    if not name:
        raise ValueError("A hub has no name.")
    return name


def is_callback(text: str) -> bool:
    """Whether this is a name that JSONP may call: JavaScript identifiers with dots between them, none a reserved word."""
    parts = text.split(".")
    return JOINERS.isdisjoint(text) and all(part not in RESERVED_WORDS and part.replace("$", "_").isidentifier() for part in parts)


def jsonp(callback: str, payload: bytes) -> bytes:
    """A call of the client's function with a JSON text. The name must have passed :func:`is_callback`."""
    return b"%b(%b);" % (callback.encode(), payload)


def parse_frame_id(text: str | None) -> int:
    """
    Read the number of a forever frame.

    Args:
        text: The query's ``frameId``: digits of a 32-bit number without sign, and nothing else.

    Raises:
        FrameIdError: It is something else.
    """
    match = FRAME_ID.fullmatch(text or "")
    number = int(match[1]) if match else -1
    if not 0 <= number <= UINT32_MAX:
        raise FrameIdError("The supplied frameId is in the incorrect format.", kind="InvalidOperationException")
    return number


def read_form(body: bytes) -> dict[str, str]:
    """
    Read the body of a POST as a form, whatever its content type: the .NET client sends none.

    Args:
        body: ``key=value&key=value``, percent-encoded UTF-8 with ``+`` for a blank. What cannot be decoded stays as it is,
            bytes that are no UTF-8 become U+FFFD. Only the first 100 items are looked at.

    Returns:
        Values by key in lower case. Of a key given twice the first value counts; an empty value is none.
    """
    form: dict[str, str] = {}
    for item in body.split(b"&", MOST_ITEMS)[:MOST_ITEMS]:
        key, _, value = item.partition(b"=")
        if value:
            form.setdefault(_unquote(key).lower(), _unquote(value))
    return form


def _unquote(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")
