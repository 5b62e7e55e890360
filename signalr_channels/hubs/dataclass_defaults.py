"""Dataclasses as their authors expect them: with all their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import msgspec.inspect

from signalr_channels.exceptions import ArgumentBindingError
from signalr_channels.protocols.core.annotations import all_types
from signalr_channels.protocols.core.binding_errors import conversion_failed

__all__ = ["with_dataclass_defaults"]


def with_dataclass_defaults(decode: Callable[[msgspec.Raw], Any], annotations: Sequence[Any]) -> Callable[[msgspec.Raw], Any]:
    """
    Give decoded dataclasses their defaults as values of their own.

    msgspec leaves a default that is not sent to the class, and then does not write it when the object is sent on. Functions for
    annotations without such a dataclass stay as they are.

    Whatever a ``__post_init__`` raises is a misfit; for msgspec that are :exc:`ValueError` and :exc:`TypeError` only.
    """
    parts = [part for annotation in annotations for part in all_types(msgspec.inspect.type_info(annotation))]
    if any(hasattr(getattr(part, "cls", None), "__post_init__") for part in parts):
        decode = _with_misfits(decode)
    if not any(map(_may_lack_values, parts)):
        return decode

    def decode_and_complete(raw: msgspec.Raw) -> Any:
        value = decode(raw)
        _complete(value)
        return value

    return decode_and_complete


def _with_misfits(decode: Callable[[msgspec.Raw], Any]) -> Callable[[msgspec.Raw], Any]:
    def decode_or_refuse(raw: msgspec.Raw) -> Any:
        try:
            return decode(raw)
        except ArgumentBindingError:
            raise
        except Exception as error:
            raise conversion_failed() from error

    return decode_or_refuse


def _may_lack_values(part: msgspec.inspect.Type) -> bool:
    # Without a dict all values are in slots.
    return isinstance(part, msgspec.inspect.DataclassType) and part.cls.__dictoffset__ != 0


def _complete(value: Any) -> None:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (list, tuple, set, frozenset)):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, msgspec.Struct):
            waiting.extend(getattr(part, name) for name in part.__struct_fields__)
        elif dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                inner = getattr(part, field.name)
                if hasattr(part, "__dict__") and field.name not in part.__dict__:
                    object.__setattr__(part, field.name, inner)
                waiting.append(inner)
