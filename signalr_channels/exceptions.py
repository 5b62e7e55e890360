"""
Every error this package raises.

::

    SignalRError
    ├── ProtocolError                 abstract; what to tell the peer before the connection ends
    │   ├── RemoteProtocolError       the peer broke the protocol
    │   │   ├── HandshakeError        … in its handshake request
    │   │   ├── MessageTooBig         … with a message over the limit
    │   │   └── ConnectionDataError, FrameIdError, InvalidCursor, InvalidInvocation    classic; beside what reads them
    │   └── LocalProtocolError        our code asked for something illegal
    ├── RequestRefused                a negotiate or transport request; carries the HTTP status
    ├── InvocationError               ends one invocation, keeps the connection
    │   ├── HubException              raised by hub authors; its text reaches the client
    │   ├── UnknownHubMethod
    │   ├── ArgumentBindingError
    │   └── InvocationNotPermitted
    ├── ClientResultError             a client did not deliver the result it was asked for
    ├── ConnectionClosed              the connection ended while something waited for it
    │   └── SlowConnection            … because the client did not read
    ├── BackplaneUnavailable          the channel layer could not be reached
    ├── HubDefinitionError            a hub class that cannot work; found at start-up
    │   └── NotLoadable               … because of a filter, a permission class or the like
    └── WrongContext                  a sync call inside an event loop, or a call that needs a running server
"""

from __future__ import annotations

__all__ = [
    "ArgumentBindingError",
    "BackplaneUnavailable",
    "ClientResultError",
    "ConnectionClosed",
    "HandshakeError",
    "HubDefinitionError",
    "HubException",
    "InvocationError",
    "InvocationNotPermitted",
    "LocalProtocolError",
    "MessageTooBig",
    "NotLoadable",
    "ProtocolError",
    "RemoteProtocolError",
    "RequestRefused",
    "SignalRError",
    "SlowConnection",
    "UnknownHubMethod",
    "WrongContext",
]


class SignalRError(Exception):
    """Base of all errors of this package."""


class ProtocolError(SignalRError):
    """
    Something illegal on the wire, or about to be written to it.

    Attributes:
        kind: The exception name .NET gives this fault; clients see it with detailed errors only.
        text: What is wrong, in the reference's words.
    """

    def __init__(self, text: str, *, kind: str = "InvalidDataException") -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; its connection ends."""


class HandshakeError(RemoteProtocolError):
    """
    The handshake request cannot be accepted.

    Attributes:
        reply: The base text of the handshake response, shown with or without detailed errors.
        text: The detail behind it, or ``""``.
    """

    def __init__(self, reply: str, text: str = "", *, kind: str = "InvalidDataException") -> None:
        super().__init__(text, kind=kind)
        self.reply = reply

    def __str__(self) -> str:
        return f"{self.reply} {super().__str__()}" if self.text else self.reply


class MessageTooBig(RemoteProtocolError):
    """
    One message is longer than the limit.

    Attributes:
        limit: The limit in bytes, framing included.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"The maximum message size of {limit}B was exceeded. The message size can be configured in AddHubOptions.")
        self.limit = limit


class LocalProtocolError(ProtocolError):
    """Our own code asked for something the protocol does not allow, for example a value that JSON cannot hold."""


class RequestRefused(SignalRError):
    """
    A negotiate or transport request is answered by an HTTP error.

    Attributes:
        status: The HTTP status, such as 404.
        body: The text of the answer; empty for 401, 403, 405 and 409.
    """

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body

    def __str__(self) -> str:
        return f"{self.status} {self.body}".rstrip()


class InvocationError(SignalRError):
    """Ends one invocation with an error completion; the connection lives on."""


class HubException(InvocationError):
    """
    Raise this in a hub method to fail the call with a text the client may read.

    The client sees ``An unexpected error occurred invoking 'X' on the server. HubException: your text``.
    Any other exception shows the client only the first sentence, unless ``ENABLE_DETAILED_ERRORS`` is on.

    Attributes:
        data: More about it, as anything JSON can hold; classic clients find it as the error's data, core clients do not.
    """

    def __init__(self, *args: object, data: object = None) -> None:
        super().__init__(*args)
        self.data = data


class UnknownHubMethod(InvocationError):
    """No hub method answers to the target."""


class ArgumentBindingError(InvocationError):
    """
    The arguments do not fit the hub method's annotations.

    Attributes:
        text: What is wrong, in the reference's words; clients see it with detailed errors only.
    """

    kind = "InvalidDataException"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class InvocationNotPermitted(InvocationError):
    """A permission class of the hub method said no."""


class ClientResultError(HubException):
    """A client that was asked for a result answered with an error, or not at all."""


class ConnectionClosed(SignalRError):
    """The connection ended while something waited for it, or there is none."""

    kind = "IOException"


class SlowConnection(ConnectionClosed):
    """The client reads more slowly than it is written to; see ``MAXIMUM_BUFFERED_BYTES``."""


class BackplaneUnavailable(SignalRError):
    """The channel layer could not be reached; nothing was sent to other server processes."""


class HubDefinitionError(SignalRError):
    """A hub class that cannot work: two methods with one wire name, or a signature that no client could call."""


class NotLoadable(HubDefinitionError):
    """A filter, permission class or function that a setting or a hub names, and that cannot be imported or used. The text says where."""


class WrongContext(SignalRError):
    """A sync call inside a running event loop (the message names its async twin), or a call that needs a server process."""
