"""The settings in force: the site's, with those of a hub or a mount on top. Read once, and anew after ``override_settings``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from signalr_channels.conf.classic import ClassicSettings, classic_setting_problems
from signalr_channels.conf.fields import LISTS
from signalr_channels.conf.settings import HUB_SETTINGS, SignalRSettings, setting_problems

__all__ = ["classic_settings", "forget_settings", "get_settings", "hub_settings"]


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
        values = cls.__dict__.get("settings", {})
        if not isinstance(values, Mapping):
            raise ImproperlyConfigured(f"{cls.__qualname__}.settings must be a dict, not {values!r}.")
        own.update(values)
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
