"""
What hub method annotations mean to msgspec, looked at once when a hub is set up.

Source: msgspec documentation, "Supported Types".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect

__all__ = ["all_types", "annotation_info", "check_annotations", "inner_types", "tuple_of"]

LIST_LIKE = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
WITH_FIELDS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)


def annotation_info(annotation: Any, decoder: Callable[[Any], object] = msgspec.json.Decoder) -> inspect.Type:
    """
    Describe an annotation.

    Args:
        annotation: Of a parameter, resolved.
        decoder: The class that is to read its values; it may refuse more.

    Raises:
        TypeError: msgspec cannot read it; the text names the annotation.
    """
    try:
        info = inspect.type_info(annotation)
        for part in all_types(info):
            # msgspec takes any class for one that a hook of ours converts; there is no such hook. ``object`` is anything.
            if isinstance(part, inspect.CustomType) and part.cls is not object:
                raise TypeError(f"values of {part.cls.__qualname__} cannot be read from the wire")
        decoder(annotation)
    except (TypeError, NameError) as error:
        raise TypeError(f"the annotation {_shown(annotation)} is not supported: {error}") from error
    return info


def check_annotations(annotations: Sequence[Any], decoder: Callable[[Any], object] = msgspec.json.Decoder) -> None:
    """Raise a :exc:`TypeError` for the first annotation that msgspec cannot read."""
    for annotation in annotations:
        annotation_info(annotation, decoder)


def tuple_of(annotations: Sequence[Any]) -> Any:
    """The annotation of a list of arguments: a tuple of exactly these types."""
    return tuple[tuple(annotations)]  # type: ignore[misc]


def inner_types(info: inspect.Type) -> Sequence[inspect.Type]:
    """The types an annotation is made of, one level down."""
    if isinstance(info, LIST_LIKE):
        return (info.item_type,)
    if isinstance(info, inspect.TupleType):
        return info.item_types
    if isinstance(info, inspect.DictType):
        return (info.key_type, info.value_type)
    if isinstance(info, inspect.UnionType):
        return info.types
    if isinstance(info, WITH_FIELDS):
        return [field.type for field in info.fields]
    if isinstance(info, inspect.Metadata):
        return (info.type,)
    return ()


def all_types(info: inspect.Type) -> Iterator[inspect.Type]:
    """An annotation and all it is made of, each once; a class may contain itself."""
    seen: set[int] = set()
    waiting = [info]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting.extend(inner_types(part))


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else repr(annotation)
