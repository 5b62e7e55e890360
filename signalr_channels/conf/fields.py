"""One setting: how it is declared, and whether a value fits it."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["LISTS", "setting", "unknown_problem", "value_problem"]

LISTS = (list, tuple, set, frozenset)
"""What is taken for a list."""


def setting(
    default: Any,
    unit: str,
    text: str,
    *,
    mirrors: str = "",
    hub: bool = False,
    minimum: float | None = None,
    too_small: str = "",
    nullable: bool = False,
    choices: Sequence[str] = (),
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """
    Declare a setting: a dataclass field whose ``metadata`` holds these arguments.

    Args:
        default: The value where nothing is set.
        unit: What a number counts, such as ``seconds``; empty where it counts nothing.
        text: What it does.
        mirrors: The SignalR option of the same meaning.
        hub: Whether a hub may override it.
        minimum: The least a number may be. None where the value is no number.
        too_small: What to say of a lesser number, in place of our own words.
        nullable: Whether it may be None.
        choices: The texts it may be, or may be a list of.
        check: Says what else is wrong with a value, or with one in a list.
    """
    metadata = {
        "unit": unit,
        "text": text,
        "mirrors": mirrors,
        "hub": hub,
        "minimum": minimum,
        "too_small": too_small,
        "nullable": nullable,
        "choices": choices,
        "check": check,
    }
    if isinstance(default, Mapping):
        # A dict is made anew for each, and has no hash.
        return dataclasses.field(default_factory=lambda: dict(default), hash=False, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def unknown_problem(name: Any, names: Iterable[str]) -> str:
    """That there is no such setting, and which one is nearest."""
    near = difflib.get_close_matches(str(name).upper(), names, n=1)
    return f"unknown setting {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def value_problem(declared: dataclasses.Field[Any], value: Any, *, is_finite: bool = False) -> str | None:
    """What is wrong with one value, said after its name."""
    meta, annotation = declared.metadata, str(declared.type)
    if value is None:
        return None if meta["nullable"] else "may not be None"
    # One text in place of a list would be taken letter by letter, and an origin would allow every part of itself.
    if annotation.startswith("Sequence") and not isinstance(value, LISTS):
        return f"must be a list, not {value!r}"
    if annotation.startswith("Mapping") and not isinstance(value, Mapping):
        return f"must be a dict, not {value!r}"
    if annotation == "bool" and not isinstance(value, bool):
        return f"must be True or False, not {value!r}"
    if annotation == "str" and not isinstance(value, str):
        return f"must be a text, not {value!r}"
    if annotation.startswith("Sequence") and meta["choices"] and not value:
        return "must not be empty: clients choose from it, and none could connect"
    for one in value if annotation.startswith("Sequence") else [value]:
        if problem := _choice_problem(meta, one, "of" if one is not value else "one of"):
            return problem
    return None if meta["minimum"] is None else _number_problem(declared, value, is_finite)


def _choice_problem(meta: Mapping[str, Any], value: Any, of: str) -> str | None:
    if meta["choices"] and value not in meta["choices"]:
        return f"must be {of} {', '.join(map(repr, meta['choices']))}, not {value!r}"
    check: Callable[[Any], str | None] | None = meta["check"]
    return None if check is None else check(value)


def _number_problem(declared: dataclasses.Field[Any], value: Any, is_finite: bool) -> str | None:
    meta = declared.metadata
    number = int if str(declared.type).startswith("int") else (int, float)
    is_number = isinstance(value, number) and not isinstance(value, bool)
    if is_number and value >= meta["minimum"] and not (is_finite and value == math.inf):
        return None
    if is_number and value < meta["minimum"] and meta["too_small"]:
        return f"{meta['too_small']}, not {value!r}"
    kind = "a whole number" if number is int else "a number"
    return f"must be {kind} of {meta['unit']}, at least {meta['minimum']:g}, not {value!r}"
