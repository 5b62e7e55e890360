"""Classes and functions that settings and hubs name: given as such, or by dotted name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from signalr_channels.exceptions import HubDefinitionError, NotLoadable
from signalr_channels.hubs.definition import check_class

__all__ = ["load_classes", "load_function"]


def load_classes(entries: Any, base: type, what: str) -> tuple[type, ...]:
    """
    Load a list of classes.

    Args:
        entries: Classes, or their dotted names.
        base: What each has to derive from. Instances are made without arguments.
        what: Where the list stands; errors begin with it.

    Raises:
        NotLoadable: One of them cannot be imported, or is no such class.
    """
    if not isinstance(entries, (list, tuple, set, frozenset)):
        raise NotLoadable(f"{what} must be a list, not {entries!r}.")
    classes = tuple(_load(entry, what) for entry in entries)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise NotLoadable(f"{what}: {cls!r} is no subclass of {base.__qualname__}.")
        try:
            check_class(cls, base)
        except HubDefinitionError as error:
            raise NotLoadable(f"{what}: {error}") from error
    return classes


def load_function(entry: Any, what: str) -> Callable[..., Any]:
    """
    Load a function, or whatever else can be called.

    Raises:
        NotLoadable: It cannot be imported, or not be called.
    """
    function = _load(entry, what)
    if not callable(function):
        raise NotLoadable(f"{what}: {entry!r} cannot be called.")
    return function  # type: ignore[no-any-return]


def _load(entry: Any, what: str) -> Any:
    if not isinstance(entry, str):
        return entry
    module, _, name = entry.rpartition(".")
    if not module or not all(part.isidentifier() for part in entry.split(".")):
        raise NotLoadable(f"{what}: {entry!r} is no dotted name.")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise NotLoadable(f"{what}: cannot import {entry!r}: {error}.") from error
