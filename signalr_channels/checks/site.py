"""Checks of the settings in ``SIGNALR``."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from signalr_channels.checks.options import options_in_force, time_warnings
from signalr_channels.conf import SignalRSettings, classic_settings, setting_problems
from signalr_channels.exceptions import NotLoadable
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.loading import load_classes, load_function
from signalr_channels.hubs.permissions import HubPermission

__all__ = ["check_classic", "check_settings"]


@register("signalr")
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001, E003, E005, E007, W109, W110, W114."""
    values = getattr(settings, "SIGNALR", {})
    if not isinstance(values, dict):
        return [Error(f"SIGNALR must be a dict, not {type(values).__name__}.", id="signalr_channels.E001")]
    found: list[CheckMessage] = [
        Error(f"SIGNALR: {text}.", hint="docs/settings.md lists every setting.", id="signalr_channels.E001")
        for _, text in setting_problems(values)
    ]
    options = options_in_force()
    if options is None:
        return found
    found += _loading_errors(options)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", options.KEY_PREFIX):
        found.append(Error("KEY_PREFIX may hold 1 to 40 letters, digits, hyphens, underscores and full stops.", id="signalr_channels.E005"))
    if options.DATABASE not in settings.DATABASES:
        found.append(
            Error(
                f"DATABASE is {options.DATABASE!r}, which is not in DATABASES.",
                hint="Add it to DATABASES, or leave DATABASE out to keep the history in 'default'.",
                id="signalr_channels.E007",
            )
        )
    if options.PROCESS_LEASE < 2 * options.PROCESS_HEARTBEAT_INTERVAL:
        found.append(
            Warning(
                "PROCESS_LEASE is shorter than two PROCESS_HEARTBEAT_INTERVALs.",
                hint="A single late heartbeat makes a living process look lost.",
                id="signalr_channels.W109",
            )
        )
    return [*found, *time_warnings(options)]


def _loading_errors(options: SignalRSettings) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for load in (
        lambda: load_classes(options.HUB_FILTERS, HubFilter, "HUB_FILTERS"),
        lambda: load_classes(options.DEFAULT_PERMISSION_CLASSES, HubPermission, "DEFAULT_PERMISSION_CLASSES"),
        lambda: None if options.USER_IDENTIFIER is None else load_function(options.USER_IDENTIFIER, "USER_IDENTIFIER"),
    ):
        try:
            load()
        except NotLoadable as error:
            found.append(Error(f"SIGNALR: {error}", id="signalr_channels.E003"))
    return found


@register("signalr")
def check_classic(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W111, W112."""
    found: list[CheckMessage] = []
    if options_in_force() is None:
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
