"""Checks of the classes that were imported: hubs, and connections without a hub."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from signalr_channels.checks.options import options_in_force, time_warnings
from signalr_channels.conf import SignalRSettings, hub_settings
from signalr_channels.endpoints import HUB_BASES, hub_protocols
from signalr_channels.exceptions import HubDefinitionError, NotLoadable
from signalr_channels.hubs.binding import bind_methods
from signalr_channels.hubs.definition import check_class
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.loading import load_classes, load_function
from signalr_channels.hubs.methods import collect_hub_methods
from signalr_channels.hubs.permissions import HubPermission

__all__ = ["check_hubs"]


def _subclasses(base: type) -> list[type]:
    """Every class below one that was imported, each once, however many bases it has."""
    found: dict[type, None] = {}
    waiting: list[type] = base.__subclasses__()
    while waiting:
        cls = waiting.pop(0)
        found[cls] = None
        waiting.extend(cls.__subclasses__())
    return list(found)


@register("signalr")
def check_hubs(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E002, E003, E006, W110, W114: every hub class that was imported, and every class of connections without a hub."""
    found: list[CheckMessage] = []
    site = options_in_force()
    if site is None:
        return found
    for base in HUB_BASES:
        for cls in _subclasses(base):
            found += _check_one(cls, base, site)
    return [*found, *_shared_names()]


def _check_one(cls: type, base: type, site: SignalRSettings) -> Iterator[CheckMessage]:
    where = f"{cls.__qualname__}.settings: "
    try:
        options = hub_settings(cls)
        # Bases of other hubs, and abstract ones, may need arguments that their subclasses give.
        check_class(cls, base, is_made=not (cls.__subclasses__() or inspect.isabstract(cls)))
        if issubclass(cls, Hub):
            methods = collect_hub_methods(cls)
            for protocol in hub_protocols(options):
                bind_methods(cls, methods, protocol)
    except NotLoadable as error:
        yield Error(str(error), obj=cls, id="signalr_channels.E003")
        return
    except (HubDefinitionError, ImproperlyConfigured) as error:
        yield Error(str(error), obj=cls, id="signalr_channels.E002")
        return
    try:
        permission_classes = getattr(cls, "permission_classes", None)
        if permission_classes is not None:
            load_classes(permission_classes, HubPermission, f"{cls.__qualname__}.permission_classes")
        # Those of the site have been looked at.
        if options.HUB_FILTERS is not site.HUB_FILTERS:
            load_classes(options.HUB_FILTERS[len(site.HUB_FILTERS) :], HubFilter, f"{where}HUB_FILTERS")
        if options.USER_IDENTIFIER is not None and options.USER_IDENTIFIER is not site.USER_IDENTIFIER:
            load_function(options.USER_IDENTIFIER, f"{where}USER_IDENTIFIER")
    except NotLoadable as error:
        yield Error(str(error), obj=cls, id="signalr_channels.E003")
    yield from time_warnings(options, where, cls, besides=site)


def _shared_names() -> Iterator[CheckMessage]:
    seen: set[str] = set()
    for hub in _subclasses(Hub):
        name = hub_name(hub)
        if name in seen and "<locals>" not in name:
            yield Error(f"There are two hubs called {name}; their clients would mix.", obj=hub, id="signalr_channels.E006")
        seen.add(name)
