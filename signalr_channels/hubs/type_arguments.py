"""What the type variables of a generic hub stand for in a hub below it."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, ForwardRef, TypeVar

__all__ = ["substitute", "type_arguments"]


def type_arguments(hub: type, owner: type) -> dict[Any, Any]:
    """
    Find what a hub says about the type variables of one of its bases.

    Returns:
        Type variable -> annotation, such as ``{T: Order}`` for ``class OrderHub(CrudHub[Order])``. A variable left open is left out.
    """
    return _descend(hub, owner, {})


def _descend(cls: type, owner: type, known: Mapping[Any, Any]) -> dict[Any, Any]:
    if cls is owner:
        return dict(known)
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if isinstance(origin, type) and issubclass(origin, owner):
            given = (substitute(argument, known) for argument in typing.get_args(base))
            pairs = zip(getattr(origin, "__parameters__", ()), given, strict=False)
            # The name of a class that does not exist yet says nothing.
            return _descend(origin, owner, {name: value for name, value in pairs if not isinstance(value, (TypeVar, ForwardRef))})
    return {}


def substitute(annotation: Any, known: Mapping[Any, Any]) -> Any:
    """An annotation with what is known of its type variables."""
    if isinstance(annotation, TypeVar):
        return known.get(annotation, annotation)
    variables = () if typing.get_origin(annotation) is None else getattr(annotation, "__parameters__", ())
    if not any(variable in known for variable in variables):
        return annotation
    return annotation[tuple(known.get(variable, variable) for variable in variables)]
