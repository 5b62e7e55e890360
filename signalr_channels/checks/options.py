"""What several checks need: the settings in force, and warnings about times that may stand in the site's settings or a hub's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.core.exceptions import ImproperlyConfigured

from signalr_channels.conf import SignalRSettings, get_settings

__all__ = ["options_in_force", "time_warnings"]

CLIENT_KEEP_ALIVE = 15
CLIENT_SERVER_TIMEOUT = 30
"""Seconds: ``keepAliveIntervalInMilliseconds`` and ``serverTimeoutInMilliseconds`` of clients where nothing else is set."""


def options_in_force() -> SignalRSettings | None:
    """The settings of the site; ``None`` where they are wrong, which E001 says."""
    try:
        return get_settings()
    except ImproperlyConfigured:
        return None


def time_warnings(
    options: SignalRSettings, where: str = "", obj: Any = None, besides: SignalRSettings | None = None
) -> Iterator[CheckMessage]:
    """
    W110, W114.

    Args:
        options: The settings to look at.
        where: Whose they are; messages begin with it.
        obj: What the messages are about.
        besides: Settings that were looked at before: what is the same in them is not told again.
    """
    timeout, interval = options.CLIENT_TIMEOUT_INTERVAL, options.KEEP_ALIVE_INTERVAL
    if timeout <= CLIENT_KEEP_ALIVE and (besides is None or timeout != besides.CLIENT_TIMEOUT_INTERVAL):
        yield Warning(
            f"{where}CLIENT_TIMEOUT_INTERVAL is {timeout:g} s, but clients ping every {CLIENT_KEEP_ALIVE} s.",
            hint="Set it to twice the keepAliveIntervalInMilliseconds of your clients.",
            obj=obj,
            id="signalr_channels.W110",
        )
    if 2 * interval > CLIENT_SERVER_TIMEOUT and (besides is None or interval != besides.KEEP_ALIVE_INTERVAL):
        yield Warning(
            f"{where}KEEP_ALIVE_INTERVAL is {interval:g} s, but clients give up after {CLIENT_SERVER_TIMEOUT} s without a message.",
            hint=f"Leave it at {CLIENT_SERVER_TIMEOUT // 2} s, or set serverTimeoutInMilliseconds of all your clients to twice as much "
            "and silence this check.",
            obj=obj,
            id="signalr_channels.W114",
        )
