"""Every setting of ``SIGNALR`` with its default, and what may be wrong with a mapping of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from signalr_channels.conf.classic import classic_setting_problems
from signalr_channels.conf.fields import setting, unknown_problem, value_problem
from signalr_channels.conf.values import function_problem, origin_problem

__all__ = ["FIELDS", "HUB_SETTINGS", "SignalRSettings", "setting_problems"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRSettings:
    """Every setting with its default. ``metadata`` of a field holds its unit, its text and the SignalR option it mirrors."""

    # Protocol, per hub
    KEEP_ALIVE_INTERVAL: float = setting(
        15.0, "seconds", "How often a connection is pinged.", mirrors="KeepAliveInterval", hub=True, minimum=0.1
    )
    CLIENT_TIMEOUT_INTERVAL: float = setting(
        30.0,
        "seconds",
        "How long a client that pings may be silent. Recommended: twice the client's keep-alive interval.",
        mirrors="ClientTimeoutInterval",
        hub=True,
        minimum=0.1,
    )
    HANDSHAKE_TIMEOUT: float = setting(
        15.0,
        "seconds",
        "How long a client may take to say which hub protocol it speaks.",
        mirrors="HandshakeTimeout",
        hub=True,
        minimum=0.1,
    )
    MAXIMUM_RECEIVE_MESSAGE_SIZE: int | None = setting(
        32 * 1024,
        "bytes",
        "Longest message a client may send, framing included. None is no limit.",
        mirrors="MaximumReceiveMessageSize",
        hub=True,
        minimum=1,
        nullable=True,
    )
    ENABLE_DETAILED_ERRORS: bool = setting(
        False,
        "",
        "Whether clients see the type and text of every exception, not only of HubException.",
        mirrors="EnableDetailedErrors",
        hub=True,
    )
    MAXIMUM_PARALLEL_INVOCATIONS: int = setting(
        1,
        "calls",
        "How many hub methods of one connection may run at once. 1 keeps them in order.",
        mirrors="MaximumParallelInvocationsPerClient",
        hub=True,
        minimum=1,
    )
    STREAM_BUFFER_CAPACITY: int = setting(
        10,
        "items",
        "How many items of an upload stream wait for the hub method before the connection is no longer read.",
        mirrors="StreamBufferCapacity",
        hub=True,
        minimum=1,
    )
    HUB_PROTOCOLS: Sequence[str] = setting(
        ("json", "messagepack"),
        "",
        "Encodings a client may choose from.",
        mirrors="SupportedProtocols",
        hub=True,
        choices=("json", "messagepack"),
    )
    PROPERTY_NAMES: str = setting(
        "as_written",
        "",
        "How JSON names the fields of dataclasses: 'as_written', or in 'camel_case' as .NET does, then read in any letter case. "
        "The same at all paths of a hub.",
        mirrors="PropertyNamingPolicy",
        hub=True,
        choices=("as_written", "camel_case"),
    )
    TRANSPORTS: Sequence[str] = setting(
        ("webSockets", "serverSentEvents", "longPolling"),
        "",
        "Transports a client may choose from.",
        mirrors="Transports",
        hub=True,
        choices=("webSockets", "serverSentEvents", "longPolling"),
    )
    HUB_FILTERS: Sequence[Any] = setting(
        (),
        "",
        "HubFilter classes or their dotted names, outermost first; a hub's own come after the global ones, a path's after both.",
        mirrors="AddFilter",
        hub=True,
    )
    DEFAULT_PERMISSION_CLASSES: Sequence[Any] = setting(
        (), "", "Permission classes of hubs that name none. Empty lets everyone in.", mirrors="AuthorizationData"
    )

    ALLOW_STATEFUL_RECONNECTS: bool = setting(
        False,
        "",
        "Whether a client that asks for it may go on after a lost web socket without losing messages.",
        mirrors="AllowStatefulReconnects",
        hub=True,
    )
    STATEFUL_RECONNECT_BUFFER_SIZE: int = setting(
        100_000,
        "bytes",
        "How much may be sent to a client with stateful reconnect before it acknowledges.",
        mirrors="StatefulReconnectBufferSize",
        hub=True,
        minimum=1,
    )

    # Connections
    DISCONNECT_TIMEOUT: float = setting(
        15.0, "seconds", "How long a negotiated connection may take to open its transport.", mirrors="DisconnectTimeout", minimum=0.1
    )
    POLL_TIMEOUT: float = setting(
        90.0,
        "seconds",
        "How long a poll waits for data before it is answered empty.",
        mirrors="LongPolling.PollTimeout",
        hub=True,
        minimum=0.1,
    )
    TRANSPORT_BUFFER_SIZE: int = setting(
        64 * 1024,
        "bytes",
        "How much may wait for the next poll before hub methods that stream wait as well.",
        mirrors="TransportMaxBufferSize",
        hub=True,
        minimum=1,
    )
    TRANSPORT_SEND_TIMEOUT: float = setting(
        10.0,
        "seconds",
        "How long one write to a client may take before the client counts as too slow.",
        mirrors="TransportSendTimeout",
        hub=True,
        minimum=0.1,
    )
    MAXIMUM_BUFFERED_BYTES: int = setting(
        1024 * 1024,
        "bytes",
        "How much may wait for a client that does not read; more ends its connection as slow_consumer.",
        hub=True,
        minimum=1024,
    )
    APPLICATION_BUFFER_SIZE: int = setting(
        64 * 1024,
        "bytes",
        "How much of a client's messages may wait for a free hub method slot before its transport is no longer read.",
        mirrors="ApplicationMaxBufferSize",
        hub=True,
        minimum=1,
    )
    UVICORN_FAST_PATH: bool = setting(
        True, "", "Whether frames are written straight to uvicorn's transport where its internals are as expected.", hub=True
    )
    WEBSOCKET_CLOSE_TIMEOUT: float = setting(
        5.0,
        "seconds",
        "How long a client may take to answer a WebSocket Close frame.",
        mirrors="WebSockets.CloseTimeout",
        hub=True,
        minimum=0.1,
    )
    MAXIMUM_CONNECTIONS: int | None = setting(
        None,
        "connections",
        "How many connections one server process takes; further ones are refused with 503. None is no limit.",
        minimum=1,
        nullable=True,
    )
    MAXIMUM_GROUPS_PER_CONNECTION: int = setting(
        1000, "groups", "How many groups one connection may be in; joining one more raises HubException.", hub=True, minimum=1
    )
    ALLOWED_ORIGINS: Sequence[str] | None = setting(
        None,
        "",
        "Origins whose pages may connect, such as https://app.example.com: with scheme, without a slash at the end. None allows the "
        "site's own host only; '*' allows all.",
        nullable=True,
        check=origin_problem,
    )
    USER_IDENTIFIER: Any = setting(
        None,
        "",
        "Callable (or its dotted name) that turns a user into the text clients.user() addresses. None takes the primary key.",
        mirrors="IUserIdProvider",
        hub=True,
        nullable=True,
        check=function_problem,
    )

    ACCESS_TOKEN_IN_QUERY: str = setting(
        "browser",
        "",
        "Where an access_token in the query counts: 'browser' for web sockets and event streams only, where browsers cannot send a header; "
        "'always' for every request.",
        hub=True,
        choices=("browser", "always"),
    )
    CLOSE_ON_AUTHENTICATION_EXPIRATION: bool = setting(
        False,
        "",
        "Whether a connection ends when its access token runs out; the client may come back with a new one.",
        mirrors="CloseOnAuthenticationExpiration",
        hub=True,
    )

    GC_FREEZE: bool = setting(
        True,
        "",
        "Whether what is in memory when the ASGI server starts is left out of all later garbage collections (gc.freeze), whose pauses "
        "otherwise grow with the size of the site.",
    )

    # Hub methods
    SYNC_THREADS: int = setting(
        16, "threads", "Size of the pool for plain def hub methods. 0 runs them in the one thread asgiref shares with Django.", minimum=0
    )
    ON_DISCONNECTED_TIMEOUT: float = setting(
        30.0, "seconds", "How long on_disconnected may take before it is cancelled.", hub=True, minimum=0.1
    )

    # Backplane
    CHANNEL_LAYER: str = setting("default", "", "Alias in CHANNEL_LAYERS that connects the server processes.")
    KEY_PREFIX: str = setting("signalr", "", "Start of every channel-layer name, so that two sites can share one Redis.")
    GROUP_RENEWAL_INTERVAL: float | None = setting(
        None,
        "seconds",
        "How often a server process renews its channel-layer groups. None is a third of the layer's group_expiry.",
        minimum=1,
        nullable=True,
    )
    BACKPLANE_ACK_TIMEOUT: float = setting(
        5.0, "seconds", "How long to wait for the process of a connection to confirm that it joined or left a group.", minimum=0.1
    )

    # History
    HISTORY: bool = setting(True, "", "Whether connections and their lifetime events are written to the database.")
    DATABASE: str = setting("default", "", "Alias in DATABASES the history is written to.")
    HISTORY_QUEUE_SIZE: int = setting(
        10_000, "events", "How many events may wait for the database; more are counted and dropped.", minimum=1
    )
    HISTORY_BATCH_SIZE: int = setting(1000, "events", "How many events are written at once.", minimum=1)
    HISTORY_FLUSH_INTERVAL: float = setting(0.5, "seconds", "How long an event may wait for others to be written with.", minimum=0.01)
    HISTORY_RETENTION: float = setting(
        30.0, "days", "Age at which manage.py signalr_prune deletes ended connections and their events.", minimum=0
    )
    PROCESS_HEARTBEAT_INTERVAL: float = setting(10.0, "seconds", "How often a server process says that it lives.", minimum=0.1)
    PROCESS_LEASE: float = setting(
        35.0, "seconds", "Silence after which a server process counts as lost, and its connections as ended.", minimum=0.5
    )

    # Classic
    CLASSIC: Mapping[str, Any] = setting({}, "", "Settings of the classic generation, a dict; see below.")


FIELDS = {f.name: f for f in dataclasses.fields(SignalRSettings)}
HUB_SETTINGS = frozenset(name for name, f in FIELDS.items() if f.metadata["hub"])
"""Names a hub may override in its ``settings``."""


def setting_problems(values: Mapping[str, Any], *, known: frozenset[str] | None = None) -> list[tuple[str, str]]:
    """Say what is wrong with a settings mapping: ``(name, sentence)`` each."""
    names = FIELDS.keys() if known is None else known
    problems = []
    for name, value in values.items():
        if name not in names:
            problems.append((name, unknown_problem(name, names)))
        elif problem := value_problem(FIELDS[name], value):
            problems.append((name, f"{name} {problem}"))
        elif name == "CLASSIC":
            problems += [(name, f"{name}: {text}") for _, text in classic_setting_problems(value)]
    return problems
