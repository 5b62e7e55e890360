"""
System checks: what can be misconfigured, found before a client does. ``manage.py check``, and ``check --deploy`` for the security ones.

======  ========================================================================
id      finds
======  ========================================================================
E001    an unknown or impossible setting in ``SIGNALR``
E002    a hub class that cannot work, such as two methods with one wire name
E003    ``HUB_FILTERS`` or permission classes that cannot be loaded
E004    ``CHANNEL_LAYER`` names no entry of ``CHANNEL_LAYERS``
E005    a ``KEY_PREFIX`` that is no legal start of a channel-layer name
E006    two hubs with the same dotted name
W101    an in-memory channel layer, or none, outside ``DEBUG``
W102    channels_redis' core layer on redis-py 8 without ``socket_timeout``
W103    a channel layer whose ``capacity`` is too small for one channel per process
W104    a ``GROUP_RENEWAL_INTERVAL`` longer than the layer's ``group_expiry``
W105    ``ALLOWED_ORIGINS`` that lets every page use the visitor's login (deploy)
W106    ``SECURE_SSL_REDIRECT`` without ``SECURE_PROXY_SSL_HEADER`` (deploy)
W107    a daphne with known vulnerabilities
W108    persistent database connections, which async code does not get rid of
W109    a ``PROCESS_LEASE`` shorter than two heartbeats
W110    a ``CLIENT_TIMEOUT_INTERVAL`` that no client with default settings can keep
W111    ``ENABLE_JSONP`` of ``CLASSIC`` outside ``DEBUG``: every page can read answers
W112    a ``TOMBSTONE_TIME`` of ``CLASSIC`` that ends before clients give up
======  ========================================================================
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured

from signalr_channels.conf import SignalRSettings, classic_settings, get_settings, hub_settings, setting_problems
from signalr_channels.endpoints import hub_protocols, load_classes
from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.binding import bind_methods
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.methods import collect_hub_methods
from signalr_channels.hubs.permissions import HubPermission

__all__ = ["check_classic", "check_deployment", "check_hubs", "check_layer", "check_settings"]

SMALLEST_CAPACITY = 1000
CLIENT_KEEP_ALIVE = 15


def _options() -> SignalRSettings | None:
    try:
        return get_settings()
    except ImproperlyConfigured:
        return None  # E001 says it


@register("signalr")
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001, E003, E005, W109, W110."""
    values = getattr(settings, "SIGNALR", {})
    if not isinstance(values, dict):
        return [Error(f"SIGNALR must be a dict, not {type(values).__name__}.", id="signalr_channels.E001")]
    found: list[CheckMessage] = [
        Error(f"SIGNALR: {text}.", hint="docs/settings.md lists every setting.", id="signalr_channels.E001")
        for _, text in setting_problems(values)
    ]
    options = _options()
    if options is None:
        return found
    try:
        load_classes(options.HUB_FILTERS, HubFilter, "HUB_FILTERS")
        load_classes(options.DEFAULT_PERMISSION_CLASSES, HubPermission, "DEFAULT_PERMISSION_CLASSES")
    except (ImportError, HubDefinitionError) as error:
        found.append(Error(str(error), id="signalr_channels.E003"))
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", options.KEY_PREFIX):
        found.append(Error("KEY_PREFIX may hold 1 to 40 letters, digits, hyphens, underscores and full stops.", id="signalr_channels.E005"))
    if options.PROCESS_LEASE < 2 * options.PROCESS_HEARTBEAT_INTERVAL:
        found.append(
            Warning(
                "PROCESS_LEASE is shorter than two PROCESS_HEARTBEAT_INTERVALs.",
                hint="A single late heartbeat makes a living process look lost.",
                id="signalr_channels.W109",
            )
        )
    if options.CLIENT_TIMEOUT_INTERVAL <= CLIENT_KEEP_ALIVE:
        found.append(
            Warning(
                f"CLIENT_TIMEOUT_INTERVAL is {options.CLIENT_TIMEOUT_INTERVAL:g} s, but clients ping every {CLIENT_KEEP_ALIVE} s.",
                hint="Set it to twice the keepAliveIntervalInMilliseconds of your clients.",
                id="signalr_channels.W110",
            )
        )
    return found


@register("signalr")
def check_classic(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W111, W112."""
    found: list[CheckMessage] = []
    if _options() is None:
        return found
    options = classic_settings()
    if options.ENABLE_JSONP and not settings.DEBUG:
        found.append(
            Warning(
                "CLASSIC has ENABLE_JSONP: any page a visitor opens can connect and read the answers, whatever ALLOWED_ORIGINS says.",
                hint="Leave it off, and list the origins of other sites that may connect in ALLOWED_ORIGINS; browsers then ask by CORS.",
                id="signalr_channels.W111",
            )
        )
    if options.reconnect_window > options.TOMBSTONE_TIME:
        found.append(
            Warning(
                f"CLASSIC has a TOMBSTONE_TIME of {options.TOMBSTONE_TIME:g} s, but clients try to come back "
                f"for {options.reconnect_window:g} s (DISCONNECT_TIMEOUT and twice KEEP_ALIVE).",
                hint="Leave TOMBSTONE_TIME out: a connection that has ended could be taken for one that goes on.",
                id="signalr_channels.W112",
            )
        )
    return found


def _all_hubs() -> list[type[Hub]]:
    """Every hub class that was imported, each once, however many bases it has."""
    found: dict[type[Hub], None] = {}
    waiting = Hub.__subclasses__()
    while waiting:
        hub = waiting.pop(0)
        found[hub] = None
        waiting.extend(hub.__subclasses__())
    return list(found)


@register("signalr")
def check_hubs(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E002, E003, E006: every hub class that was imported."""
    found: list[CheckMessage] = []
    seen: dict[str, type[Hub]] = {}
    if _options() is None:
        return found
    for hub in _all_hubs():
        try:
            options = hub_settings(hub)
            methods = collect_hub_methods(hub)
            for protocol in hub_protocols(options):
                bind_methods(hub, methods, protocol)
        except (HubDefinitionError, ImproperlyConfigured) as error:
            found.append(Error(str(error), obj=hub, id="signalr_channels.E002"))
            continue
        try:
            load_classes(hub.permission_classes or (), HubPermission, f"{hub.__qualname__}.permission_classes")
            load_classes(options.HUB_FILTERS, HubFilter, f"{hub.__qualname__} HUB_FILTERS")
        except (ImportError, HubDefinitionError) as error:
            found.append(Error(str(error), obj=hub, id="signalr_channels.E003"))
        name = hub_name(hub)
        if name in seen and "<locals>" not in name:
            found.append(Error(f"There are two hubs called {name}; their clients would mix.", obj=hub, id="signalr_channels.E006"))
        seen[name] = hub
    return found


@register("signalr")
def check_layer(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E004, W101 to W104."""
    options = _options()
    if options is None:
        return []
    alias = options.CHANNEL_LAYER
    configured = getattr(settings, "CHANNEL_LAYERS", {})
    if alias not in configured:
        if alias != "default":
            return [Error(f"CHANNEL_LAYER is {alias!r}, which is not in CHANNEL_LAYERS.", id="signalr_channels.E004")]
        return _in_memory_warning("There is no channel layer")
    try:
        layer = channel_layers[alias]
    except Exception as error:
        return [Error(f"CHANNEL_LAYERS[{alias!r}] cannot be made: {type(error).__name__}: {error}", id="signalr_channels.E004")]
    if isinstance(layer, InMemoryChannelLayer):
        return _in_memory_warning(f"CHANNEL_LAYERS[{alias!r}] is in memory")
    found = [*_redis_8_warning(alias, configured[alias])]
    if type(layer).__module__.startswith("channels_redis.pubsub"):
        return found  # it drops nothing and forgets nothing
    capacity, expiry = getattr(layer, "capacity", None), getattr(layer, "group_expiry", None)
    if isinstance(capacity, int) and capacity < SMALLEST_CAPACITY:
        found.append(
            Warning(
                f"CHANNEL_LAYERS[{alias!r}] has a capacity of {capacity} messages; all of a server process pass through one channel.",
                hint=f"Set CONFIG['capacity'] to {SMALLEST_CAPACITY} or more: what overflows is lost.",
                id="signalr_channels.W103",
            )
        )
    interval = options.GROUP_RENEWAL_INTERVAL
    if isinstance(expiry, (int, float)) and interval is not None and interval > expiry / 2:
        found.append(
            Warning(
                f"GROUP_RENEWAL_INTERVAL is {interval:g} s, but the channel layer forgets members after {expiry:g} s (group_expiry).",
                hint="Leave GROUP_RENEWAL_INTERVAL at None, which is a third of group_expiry.",
                id="signalr_channels.W104",
            )
        )
    return found


def _in_memory_warning(text: str) -> list[CheckMessage]:
    if settings.DEBUG:
        return []
    return [
        Warning(
            f"{text}: messages stay in one server process.",
            hint="Configure channels_redis.pubsub.RedisPubSubChannelLayer, or keep to one process and silence this check.",
            id="signalr_channels.W101",
        )
    ]


def _redis_8_warning(alias: str, entry: dict[str, Any]) -> Iterator[CheckMessage]:
    if entry.get("BACKEND") != "channels_redis.core.RedisChannelLayer" or _version("redis") < (8,):
        return
    hosts = entry.get("CONFIG", {}).get("hosts") or [{}]
    if all(isinstance(host, dict) and "socket_timeout" in host for host in hosts):
        return
    yield Warning(
        f"CHANNEL_LAYERS[{alias!r}]: with redis-py 8 the core layer loses a receiver that is idle for 5 seconds.",
        hint="Install redis<8, use channels_redis.pubsub, or give each host a dict with 'socket_timeout': 30.",
        id="signalr_channels.W102",
    )


def _version(distribution: str) -> tuple[int, ...]:
    try:
        text = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


@register("signalr")
def check_environment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W107, W108."""
    found: list[CheckMessage] = []
    if () < _version("daphne") < (4, 2, 2):
        found.append(
            Warning("This version of daphne has known vulnerabilities.", hint="Install daphne>=4.2.2.", id="signalr_channels.W107")
        )
    for alias, database in settings.DATABASES.items():
        if database.get("CONN_MAX_AGE", 0) != 0:
            found.append(
                Warning(
                    f"DATABASES[{alias!r}] keeps connections open (CONN_MAX_AGE), one for each thread of an ASGI server.",
                    hint="Set CONN_MAX_AGE to 0 and use the database's or driver's connection pool.",
                    id="signalr_channels.W108",
                )
            )
    return found


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W105, W106."""
    options = _options()
    found: list[CheckMessage] = []
    if options is not None and options.ALLOWED_ORIGINS is not None and "*" in options.ALLOWED_ORIGINS:
        found.append(
            Warning(
                "ALLOWED_ORIGINS is '*': any page a visitor opens can call hubs with the visitor's session login.",
                hint="List the origins of your own pages.",
                id="signalr_channels.W105",
            )
        )
    if getattr(settings, "SECURE_SSL_REDIRECT", False) and not getattr(settings, "SECURE_PROXY_SSL_HEADER", None):
        found.append(
            Warning(
                "SECURE_SSL_REDIRECT without SECURE_PROXY_SSL_HEADER: behind a proxy that ends TLS, every request is redirected.",
                hint="SignalR clients do not follow redirects of negotiate; set SECURE_PROXY_SSL_HEADER.",
                id="signalr_channels.W106",
            )
        )
    return found
