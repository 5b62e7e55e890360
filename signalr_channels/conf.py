"""
Settings: ``SIGNALR = {"KEEP_ALIVE_INTERVAL": 15}`` in the Django settings, all of them optional.

Read them with :func:`get_settings`, at call time. A hub overrides some for itself with its ``settings`` mapping.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

__all__ = ["HUB_SETTINGS", "SignalRSettings", "get_settings", "hub_settings", "setting_problems"]


def _setting(
    default: Any,
    unit: str,
    text: str,
    *,
    mirrors: str = "",
    hub: bool = False,
    minimum: float | None = None,
    nullable: bool = False,
    choices: Sequence[str] = (),
) -> Any:
    return field(
        default=default,
        metadata={
            "unit": unit,
            "text": text,
            "mirrors": mirrors,
            "hub": hub,
            "minimum": minimum,
            "nullable": nullable,
            "choices": choices,
        },
    )


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
    HISTORY_BATCH_SIZE: int = _setting(200, "events", "How many events are written at once.", minimum=1)
    HISTORY_FLUSH_INTERVAL: float = _setting(0.5, "seconds", "How long an event may wait for others to be written with.", minimum=0.01)
    HISTORY_RETENTION: float = _setting(
        30.0, "days", "Age at which manage.py signalr_prune deletes ended connections and their events.", minimum=0
    )
    PROCESS_HEARTBEAT_INTERVAL: float = _setting(10.0, "seconds", "How often a server process says that it lives.", minimum=0.1)
    PROCESS_LEASE: float = _setting(
        35.0, "seconds", "Silence after which a server process counts as lost, and its connections as ended.", minimum=0.5
    )


FIELDS = {f.name: f for f in dataclasses.fields(SignalRSettings)}
HUB_SETTINGS = frozenset(name for name, f in FIELDS.items() if f.metadata["hub"])
"""Names a hub may override in its ``settings``."""


def setting_problems(values: Mapping[str, Any], *, known: frozenset[str] | None = None) -> list[tuple[str, str]]:
    """Say what is wrong with a settings mapping: ``(name, sentence)`` each."""
    names = FIELDS.keys() if known is None else known
    problems = []
    for name, value in values.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            problems.append((name, f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")))
            continue
        if problem := _value_problem(FIELDS[name], value):
            problems.append((name, f"{name} {problem}"))
    return problems


def _value_problem(setting: dataclasses.Field[Any], value: Any) -> str | None:
    """What is wrong with one value, said after its name."""
    meta, annotation = setting.metadata, str(setting.type)
    if value is None:
        return None if meta["nullable"] else "may not be None"
    # One text in place of a list would be taken letter by letter, and an origin would allow every part of itself.
    if annotation.startswith("Sequence") and not isinstance(value, (list, tuple, set, frozenset)):
        return f"must be a list, not {value!r}"
    if annotation == "bool" and not isinstance(value, bool):
        return f"must be True or False, not {value!r}"
    choices = meta["choices"]
    for one in value if annotation.startswith("Sequence") else [value]:
        if choices and one not in choices:
            return f"must be {'of' if one is not value else 'one of'} {', '.join(map(repr, choices))}, not {one!r}"
    if meta["minimum"] is not None:
        number = int if annotation.startswith("int") else (int, float)
        if isinstance(value, bool) or not isinstance(value, number) or not value >= meta["minimum"]:
            kind = "a whole number" if number is int else "a number"
            return f"must be {kind} of {meta['unit']}, at least {meta['minimum']:g}, not {value!r}"
    return None


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


def forget_settings(*, setting: str, **kwargs: Any) -> None:
    """Read the settings anew after ``override_settings``."""
    if setting == "SIGNALR":
        get_settings.cache_clear()
        _hub_settings.clear()


setting_changed.connect(forget_settings, dispatch_uid="signalr_channels.conf")
