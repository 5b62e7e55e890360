"""
Settings: ``SIGNALR = {"KEEP_ALIVE_INTERVAL": 15}`` in the Django settings, all of them optional.

Read them with :func:`get_settings`, at call time. A hub overrides some for itself with its ``settings`` mapping.

``SIGNALR = {"CLASSIC": {"DISCONNECT_TIMEOUT": 60}}`` holds those of the classic generation, where some of the names mean something
else. Read them with :func:`classic_settings`; a mount overrides any of them for itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = [
    "CLASSIC_TRANSPORTS",
    "HUB_SETTINGS",
    "ClassicSettings",
    "SignalRSettings",
    "classic_setting_problems",
    "classic_settings",
    "get_settings",
    "hub_settings",
    "setting_problems",
]

CLASSIC_TRANSPORTS = ("webSockets", "serverSentEvents", "foreverFrame", "longPolling")
"""The transports of the classic generation as clients name them, in the order in which the jQuery client tries them."""


def _setting(
    default: Any,
    unit: str,
    text: str,
    *,
    mirrors: str = "",
    hub: bool = False,
    minimum: float | None = None,
    too_small: str = "",
    nullable: bool = False,
    choices: Sequence[str] = (),
) -> Any:
    metadata = {
        "unit": unit,
        "text": text,
        "mirrors": mirrors,
        "hub": hub,
        "minimum": minimum,
        "too_small": too_small,
        "nullable": nullable,
        "choices": choices,
    }
    if isinstance(default, Mapping):
        # A dict is made anew for each, and has no hash.
        return field(default_factory=lambda: dict(default), hash=False, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRSettings:
    """Every setting with its default. ``metadata`` of a field holds its unit, its text and the SignalR option it mirrors."""

    # Protocol, per hub
    KEEP_ALIVE_INTERVAL: float = _setting(
        15.0, "seconds", "How often a connection is pinged.", mirrors="KeepAliveInterval", hub=True, minimum=0.1
    )
    CLIENT_TIMEOUT_INTERVAL: float = _setting(
        30.0,
        "seconds",
        "How long a client that pings may be silent. Recommended: twice the client's keep-alive interval.",
        mirrors="ClientTimeoutInterval",
        hub=True,
        minimum=0.1,
    )
    HANDSHAKE_TIMEOUT: float = _setting(
        15.0,
        "seconds",
        "How long a client may take to say which hub protocol it speaks.",
        mirrors="HandshakeTimeout",
        hub=True,
        minimum=0.1,
    )
    MAXIMUM_RECEIVE_MESSAGE_SIZE: int | None = _setting(
        32 * 1024,
        "bytes",
        "Longest message a client may send, framing included. None is no limit.",
        mirrors="MaximumReceiveMessageSize",
        hub=True,
        minimum=1,
        nullable=True,
    )
    ENABLE_DETAILED_ERRORS: bool = _setting(
        False,
        "",
        "Whether clients see the type and text of every exception, not only of HubException.",
        mirrors="EnableDetailedErrors",
        hub=True,
    )
    MAXIMUM_PARALLEL_INVOCATIONS: int = _setting(
        1,
        "calls",
        "How many hub methods of one connection may run at once. 1 keeps them in order.",
        mirrors="MaximumParallelInvocationsPerClient",
        hub=True,
        minimum=1,
    )
    STREAM_BUFFER_CAPACITY: int = _setting(
        10,
        "items",
        "How many items of an upload stream wait for the hub method before the connection is no longer read.",
        mirrors="StreamBufferCapacity",
        hub=True,
        minimum=1,
    )
    HUB_PROTOCOLS: Sequence[str] = _setting(
        ("json", "messagepack"), "", "Encodings a client may choose from.", mirrors="SupportedProtocols", hub=True
    )
    PROPERTY_NAMES: str = _setting(
        "as_written",
        "",
        "How JSON names the fields of dataclasses: 'as_written', or in 'camel_case' as .NET does, then read in any letter case. "
        "The same at all paths of a hub.",
        mirrors="PropertyNamingPolicy",
        hub=True,
        choices=("as_written", "camel_case"),
    )
    TRANSPORTS: Sequence[str] = _setting(
        ("webSockets", "serverSentEvents", "longPolling"),
        "",
        "Transports a client may choose from.",
        mirrors="Transports",
        hub=True,
        choices=("webSockets", "serverSentEvents", "longPolling"),
    )
    HUB_FILTERS: Sequence[Any] = _setting(
        (),
        "",
        "HubFilter classes or their dotted names, outermost first; a hub's own come after the global ones.",
        mirrors="AddFilter",
        hub=True,
    )
    DEFAULT_PERMISSION_CLASSES: Sequence[Any] = _setting(
        (), "", "Permission classes of hubs that name none. Empty lets everyone in.", mirrors="AuthorizationData"
    )

    ALLOW_STATEFUL_RECONNECTS: bool = _setting(
        False,
        "",
        "Whether a client that asks for it may go on after a lost web socket without losing messages.",
        mirrors="AllowStatefulReconnects",
        hub=True,
    )
    STATEFUL_RECONNECT_BUFFER_SIZE: int = _setting(
        100_000,
        "bytes",
        "How much may be sent to a client with stateful reconnect before it acknowledges.",
        mirrors="StatefulReconnectBufferSize",
        hub=True,
        minimum=1,
    )

    # Connections
    DISCONNECT_TIMEOUT: float = _setting(
        15.0, "seconds", "How long a negotiated connection may take to open its transport.", mirrors="DisconnectTimeout", minimum=0.1
    )
    POLL_TIMEOUT: float = _setting(
        90.0,
        "seconds",
        "How long a poll waits for data before it is answered empty.",
        mirrors="LongPolling.PollTimeout",
        hub=True,
        minimum=0.1,
    )
    TRANSPORT_BUFFER_SIZE: int = _setting(
        64 * 1024,
        "bytes",
        "How much may wait for the next poll before hub methods that stream wait as well.",
        mirrors="TransportMaxBufferSize",
        hub=True,
        minimum=1,
    )
    TRANSPORT_SEND_TIMEOUT: float = _setting(
        10.0,
        "seconds",
        "How long one write to a client may take before the client counts as too slow.",
        mirrors="TransportSendTimeout",
        hub=True,
        minimum=0.1,
    )
    MAXIMUM_BUFFERED_BYTES: int = _setting(
        1024 * 1024,
        "bytes",
        "How much may wait for a client that does not read; more ends its connection as slow_consumer.",
        hub=True,
        minimum=1024,
    )
    APPLICATION_BUFFER_SIZE: int = _setting(
        64 * 1024,
        "bytes",
        "How much of a client's messages may wait for a free hub method slot before its transport is no longer read.",
        mirrors="ApplicationMaxBufferSize",
        hub=True,
        minimum=1,
    )
    UVICORN_FAST_PATH: bool = _setting(
        True, "", "Whether frames are written straight to uvicorn's transport where its internals are as expected.", hub=True
    )
    WEBSOCKET_CLOSE_TIMEOUT: float = _setting(
        5.0,
        "seconds",
        "How long a client may take to answer a WebSocket Close frame.",
        mirrors="WebSockets.CloseTimeout",
        hub=True,
        minimum=0.1,
    )
    MAXIMUM_CONNECTIONS: int | None = _setting(
        None,
        "connections",
        "How many connections one server process takes; further ones are refused with 503. None is no limit.",
        minimum=1,
        nullable=True,
    )
    MAXIMUM_GROUPS_PER_CONNECTION: int = _setting(
        1000, "groups", "How many groups one connection may be in; joining one more raises HubException.", hub=True, minimum=1
    )
    ALLOWED_ORIGINS: Sequence[str] | None = _setting(
        None,
        "",
        "Origins whose pages may connect, such as https://app.example.com. None allows the site's own host only; '*' allows all.",
        nullable=True,
    )
    USER_IDENTIFIER: Any = _setting(
        None,
        "",
        "Callable (or its dotted name) that turns a user into the text clients.user() addresses. None takes the primary key.",
        mirrors="IUserIdProvider",
        hub=True,
        nullable=True,
    )

    ACCESS_TOKEN_IN_QUERY: str = _setting(
        "browser",
        "",
        "Where an access_token in the query counts: 'browser' for web sockets and event streams only, where browsers cannot send a header; "
        "'always' for every request.",
        hub=True,
        choices=("browser", "always"),
    )
    CLOSE_ON_AUTHENTICATION_EXPIRATION: bool = _setting(
        False,
        "",
        "Whether a connection ends when its access token runs out; the client may come back with a new one.",
        mirrors="CloseOnAuthenticationExpiration",
        hub=True,
    )

    GC_FREEZE: bool = _setting(
        True,
        "",
        "Whether what is in memory when the ASGI server starts is left out of all later garbage collections (gc.freeze), whose pauses "
        "otherwise grow with the size of the site.",
    )

    # Hub methods
    SYNC_THREADS: int = _setting(
        16, "threads", "Size of the pool for plain def hub methods. 0 runs them in the one thread asgiref shares with Django.", minimum=0
    )
    ON_DISCONNECTED_TIMEOUT: float = _setting(
        30.0, "seconds", "How long on_disconnected may take before it is cancelled.", hub=True, minimum=0.1
    )

    # Backplane
    CHANNEL_LAYER: str = _setting("default", "", "Alias in CHANNEL_LAYERS that connects the server processes.")
    KEY_PREFIX: str = _setting("signalr", "", "Start of every channel-layer name, so that two sites can share one Redis.")
    GROUP_RENEWAL_INTERVAL: float | None = _setting(
        None,
        "seconds",
        "How often a server process renews its channel-layer groups. None is a third of the layer's group_expiry.",
        minimum=1,
        nullable=True,
    )
    BACKPLANE_ACK_TIMEOUT: float = _setting(
        5.0, "seconds", "How long to wait for the process of a connection to confirm that it joined or left a group.", minimum=0.1
    )

    # History
    HISTORY: bool = _setting(True, "", "Whether connections and their lifetime events are written to the database.")
    DATABASE: str = _setting("default", "", "Alias in DATABASES the history is written to.")
    HISTORY_QUEUE_SIZE: int = _setting(
        10_000, "events", "How many events may wait for the database; more are counted and dropped.", minimum=1
    )
    HISTORY_BATCH_SIZE: int = _setting(1000, "events", "How many events are written at once.", minimum=1)
    HISTORY_FLUSH_INTERVAL: float = _setting(0.5, "seconds", "How long an event may wait for others to be written with.", minimum=0.01)
    HISTORY_RETENTION: float = _setting(
        30.0, "days", "Age at which manage.py signalr_prune deletes ended connections and their events.", minimum=0
    )
    PROCESS_HEARTBEAT_INTERVAL: float = _setting(10.0, "seconds", "How often a server process says that it lives.", minimum=0.1)
    PROCESS_LEASE: float = _setting(
        35.0, "seconds", "Silence after which a server process counts as lost, and its connections as ended.", minimum=0.5
    )

    # Classic
    CLASSIC: Mapping[str, Any] = _setting({}, "", "Settings of the classic generation, a dict; see below.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicSettings:
    """
    Every setting of the classic generation with its default.

    Where a setting is left out whose sensible value follows from others, :func:`classic_settings` works it out.
    """

    # Times
    KEEP_ALIVE: float | None = _setting(
        10.0,
        "seconds",
        "How often a connection is written to, idle or not; clients miss it after twice that. At most a third of DISCONNECT_TIMEOUT, "
        "and a third of it where only that is given. None turns it off.",
        mirrors="KeepAlive",
        minimum=2,
        too_small="must be at least two seconds",
        nullable=True,
    )
    DISCONNECT_TIMEOUT: float = _setting(
        30.0,
        "seconds",
        "How long a client that was lost may take to come back before on_disconnected runs; clients try for as long.",
        mirrors="DisconnectTimeout",
        minimum=6,
        too_small="must be at least six seconds",
    )
    CONNECTION_TIMEOUT: float = _setting(
        110.0,
        "seconds",
        "How long a poll waits for messages before it is answered empty. Without KEEP_ALIVE the other transports end after it as well.",
        mirrors="ConnectionTimeout",
        minimum=0.1,
    )
    TRANSPORT_CONNECT_TIMEOUT: float = _setting(
        5.0,
        "seconds",
        "How long a client waits for the first message of a transport before it tries the next one.",
        mirrors="TransportConnectTimeout",
        minimum=0.1,
    )
    LONG_POLL_DELAY: float = _setting(
        0.0, "seconds", "How long a client waits between the answer to a poll and the next poll.", mirrors="LongPollDelay", minimum=0
    )
    CONNECTION_TOKEN_LIFETIME: float | None = _setting(
        None,
        "seconds",
        "Age at which a connection token from negotiate no longer begins a connection that the server does not know. None is no limit.",
        minimum=1,
        nullable=True,
    )
    TOMBSTONE_TIME: float = _setting(
        100.0,
        "seconds",
        "How long a connection that timed out, or that the server closed, is refused when its client comes back. It must cover the time "
        "in which clients try that: DISCONNECT_TIMEOUT and twice KEEP_ALIVE. Left out, it grows with these, to twice their sum.",
        minimum=0,
    )

    # Sizes
    MESSAGE_BUFFER_SIZE: int = _setting(
        1000,
        "messages",
        "How many messages are kept for each connection, so that a client that comes back misses none. Older ones are lost.",
        mirrors="DefaultMessageBufferSize",
        minimum=32,
    )
    MAXIMUM_WEBSOCKET_MESSAGE_SIZE: int | None = _setting(
        64 * 1024,
        "bytes",
        "Longest message a client may send on a web socket. None is no limit.",
        mirrors="MaxIncomingWebSocketMessageSize",
        minimum=1,
        nullable=True,
    )
    MAXIMUM_FORM_SIZE: int = _setting(
        4 * 1024 * 1024, "bytes", "Largest body of a POST, which is how clients send on all transports but web sockets.", minimum=1
    )
    MAXIMUM_STATE_SIZE: int = _setting(4096, "characters", "Longest JSON text of the client's state that may come with a call.", minimum=1)
    PARALLEL_INVOCATIONS: int = _setting(
        64, "calls", "How many hub methods of one connection may run at once; further calls wait.", minimum=1
    )

    # Features
    TRANSPORTS: Sequence[str] = _setting(CLASSIC_TRANSPORTS, "", "Transports a client may choose from.", choices=CLASSIC_TRANSPORTS)
    ENABLE_JSONP: bool = _setting(
        False,
        "",
        "Whether answers may be scripts that call a function of the page (JSONP), for browsers that cannot ask across origins. "
        "Pages of every origin can read them.",
        mirrors="EnableJSONP",
    )
    ENABLE_JAVASCRIPT_PROXIES: bool = _setting(
        True, "", "Whether the script with a proxy for each hub is served.", mirrors="EnableJavaScriptProxies"
    )
    ENABLE_DETAILED_ERRORS: bool = _setting(
        False, "", "Whether clients see the text of every exception, not only of HubException.", mirrors="EnableDetailedErrors"
    )

    @property
    def keep_alive_timeout(self) -> float | None:
        """Seconds of silence after which a client counts its connection as lost; ``None`` where nothing is written to keep it alive."""
        return None if self.KEEP_ALIVE is None else 2 * self.KEEP_ALIVE

    @property
    def reconnect_window(self) -> float:
        """Seconds after its last sign of life in which a client may still try to come back."""
        return self.DISCONNECT_TIMEOUT + (self.keep_alive_timeout or 0)


LISTS = (list, tuple, set, frozenset)
FIELDS = {f.name: f for f in dataclasses.fields(SignalRSettings)}
CLASSIC_FIELDS = {f.name: f for f in dataclasses.fields(ClassicSettings)}
HUB_SETTINGS = frozenset(name for name, f in FIELDS.items() if f.metadata["hub"])
"""Names a hub may override in its ``settings``."""


def setting_problems(values: Mapping[str, Any], *, known: frozenset[str] | None = None) -> list[tuple[str, str]]:
    """Say what is wrong with a settings mapping: ``(name, sentence)`` each."""
    names = FIELDS.keys() if known is None else known
    problems = []
    for name, value in values.items():
        if name not in names:
            problems.append((name, _unknown(name, names)))
        elif problem := _value_problem(FIELDS[name], value):
            problems.append((name, f"{name} {problem}"))
        elif name == "CLASSIC":
            problems += [(name, f"{name}: {text}") for _, text in classic_setting_problems(value)]
    return problems


def classic_setting_problems(values: Mapping[str, Any], *, below: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """
    Say what is wrong with a mapping of classic settings: ``(name, sentence)`` each.

    Args:
        values: ``SIGNALR["CLASSIC"]``, or what a mount sets for itself.
        below: For a mount: ``SIGNALR["CLASSIC"]``, which holds where the mount says nothing.

    Source: ``DefaultConfigurationManager`` of ASP.NET SignalR 2. Its rule that DisconnectTimeout is set before KeepAlive has no
    counterpart: the entries of a dict have no order, and both are looked at together.
    """
    problems = []
    for name, value in values.items():
        if name not in CLASSIC_FIELDS:
            problems.append((name, _unknown(name, CLASSIC_FIELDS)))
        # Clients are told the times in JSON, which knows no infinity.
        elif problem := _value_problem(CLASSIC_FIELDS[name], value, is_finite=True):
            problems.append((name, f"{name} {problem}"))
    if not {"KEEP_ALIVE", "DISCONNECT_TIMEOUT"} & {name for name, _ in problems}:
        problems += _keep_alive_problems(values, below or {})
    return problems


def _keep_alive_problems(values: Mapping[str, Any], below: Mapping[str, Any]) -> list[tuple[str, str]]:
    merged = {**below, **values}
    keep_alive = merged.get("KEEP_ALIVE")
    timeout = merged.get("DISCONNECT_TIMEOUT", CLASSIC_FIELDS["DISCONNECT_TIMEOUT"].default)
    if keep_alive is None or keep_alive <= timeout / 3:
        return []

    def origin(name: str) -> str:
        return "" if name in values else " (in SIGNALR['CLASSIC'])" if name in below else " (the default)"

    text = (
        "KEEP_ALIVE must be no more than a third of DISCONNECT_TIMEOUT: "
        f"{keep_alive:.9g}{origin('KEEP_ALIVE')} is more than a third of {timeout:.9g}{origin('DISCONNECT_TIMEOUT')}"
    )
    return [("KEEP_ALIVE", text)]


def _unknown(name: Any, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _value_problem(setting: dataclasses.Field[Any], value: Any, *, is_finite: bool = False) -> str | None:
    """What is wrong with one value, said after its name."""
    meta, annotation = setting.metadata, str(setting.type)
    if value is None:
        return None if meta["nullable"] else "may not be None"
    # One text in place of a list would be taken letter by letter, and an origin would allow every part of itself.
    if annotation.startswith("Sequence") and not isinstance(value, LISTS):
        return f"must be a list, not {value!r}"
    if annotation.startswith("Mapping") and not isinstance(value, Mapping):
        return f"must be a dict, not {value!r}"
    if annotation == "bool" and not isinstance(value, bool):
        return f"must be True or False, not {value!r}"
    choices = meta["choices"]
    for one in value if annotation.startswith("Sequence") else [value]:
        if choices and one not in choices:
            return f"must be {'of' if one is not value else 'one of'} {', '.join(map(repr, choices))}, not {one!r}"
    return None if meta["minimum"] is None else _number_problem(setting, value, is_finite)


def _number_problem(setting: dataclasses.Field[Any], value: Any, is_finite: bool) -> str | None:
    meta = setting.metadata
    number = int if str(setting.type).startswith("int") else (int, float)
    is_number = isinstance(value, number) and not isinstance(value, bool)
    if is_number and value >= meta["minimum"] and not (is_finite and value == math.inf):
        return None
    if is_number and value < meta["minimum"] and meta["too_small"]:
        return f"{meta['too_small']}, not {value!r}"
    kind = "a whole number" if number is int else "a number"
    return f"must be {kind} of {meta['unit']}, at least {meta['minimum']:g}, not {value!r}"


@functools.cache
def get_settings() -> SignalRSettings:
    """
    The settings in force.

    Raises:
        ImproperlyConfigured: A name is unknown or a value impossible; the text says which, and the nearest known name.
    """
    from django.conf import settings

    values = getattr(settings, "SIGNALR", {})
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"SIGNALR must be a dict, not {type(values).__name__}.")
    if problems := setting_problems(values):
        raise ImproperlyConfigured("SIGNALR: " + "; ".join(text for _, text in problems))
    return SignalRSettings(**values)


def hub_settings(hub: type) -> SignalRSettings:
    """
    The settings in force for one hub class: the global ones with its own ``settings`` on top.

    ``HUB_FILTERS`` of the hub come after the global ones instead of replacing them.
    """
    settings = _hub_settings.get(hub)
    if settings is None:
        settings = _hub_settings[hub] = _merge_hub_settings(hub)
    return settings


_hub_settings: dict[type, SignalRSettings] = {}


def _merge_hub_settings(hub: type) -> SignalRSettings:
    base = get_settings()
    own: dict[str, Any] = {}
    for cls in reversed(hub.__mro__):
        own.update(cls.__dict__.get("settings", {}))
    if problems := setting_problems(own, known=HUB_SETTINGS):
        raise ImproperlyConfigured(f"{hub.__qualname__}.settings: " + "; ".join(text for _, text in problems))
    if "HUB_FILTERS" in own:
        own["HUB_FILTERS"] = (*base.HUB_FILTERS, *own["HUB_FILTERS"])
    return dataclasses.replace(base, **own)


def classic_settings(overrides: Mapping[str, Any] | None = None, *, source: str = "a classic mount") -> ClassicSettings:
    """
    The settings in force for classic clients: ``SIGNALR["CLASSIC"]`` with those of a mount on top.

    ``DISCONNECT_TIMEOUT`` without ``KEEP_ALIVE`` sets that to a third, and longer times lengthen ``TOMBSTONE_TIME`` where it is left out.

    Args:
        overrides: What the mount sets for itself.
        source: Who set the overrides, such as ``map_classic_hubs('signalr')``; errors begin with it.

    Raises:
        ImproperlyConfigured: A name is unknown, a value impossible, or two do not go together; the text says which, and where.
    """
    # The type tells True from 1.
    key = tuple((name, type(value), tuple(value) if isinstance(value, LISTS) else value) for name, value in (overrides or {}).items())
    try:
        settings = _classic_settings.get(key)
    except TypeError:
        settings = None  # A value without a hash is none of those that are allowed; merging says so.
    if settings is None:
        settings = _classic_settings[key] = _merge_classic_settings(overrides or {}, source)
    return settings


_classic_settings: dict[tuple[Any, ...], ClassicSettings] = {}


def _merge_classic_settings(overrides: Mapping[str, Any], source: str) -> ClassicSettings:
    site = get_settings().CLASSIC
    if problems := classic_setting_problems(overrides, below=site):
        raise ImproperlyConfigured(f"{source}: " + "; ".join(text for _, text in problems))
    values = {**site, **overrides}
    if "DISCONNECT_TIMEOUT" in values:
        values.setdefault("KEEP_ALIVE", values["DISCONNECT_TIMEOUT"] / 3)
    settings = ClassicSettings(**values)
    if "TOMBSTONE_TIME" in values:
        return settings
    return dataclasses.replace(settings, TOMBSTONE_TIME=max(settings.TOMBSTONE_TIME, 2 * settings.reconnect_window))


def forget_settings(*, setting: str, **kwargs: Any) -> None:
    """Read the settings anew after ``override_settings``."""
    if setting == "SIGNALR":
        get_settings.cache_clear()
        _hub_settings.clear()
        _classic_settings.clear()


setting_changed.connect(forget_settings, dispatch_uid="signalr_channels.conf")
