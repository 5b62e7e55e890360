"""Checks of the channel layer that connects the server processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from signalr_channels.checks.options import options_in_force
from signalr_channels.checks.versions import version_of

__all__ = ["check_layer"]

SMALLEST_CAPACITY = 1000


@register("signalr")
def check_layer(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E004, W101 to W104."""
    options = options_in_force()
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
    if entry.get("BACKEND") != "channels_redis.core.RedisChannelLayer" or version_of("redis") < (8,):
        return
    hosts = entry.get("CONFIG", {}).get("hosts") or [{}]
    if all(isinstance(host, dict) and "socket_timeout" in host for host in hosts):
        return
    yield Warning(
        f"CHANNEL_LAYERS[{alias!r}]: with redis-py 8 the core layer loses a receiver that is idle for 5 seconds.",
        hint="Install redis<8, use channels_redis.pubsub, or give each host a dict with 'socket_timeout': 30.",
        id="signalr_channels.W102",
    )
