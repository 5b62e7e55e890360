"""What can be said of a class before it is used: that it can be made, and that what it overrides can be called."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

from signalr_channels.exceptions import HubDefinitionError

__all__ = ["check_class"]


def check_class(cls: type, base: type, *, is_made: bool = True) -> None:
    """
    Look for mistakes in a class of the application.

    Args:
        cls: The class.
        base: What it derives from, such as ``Hub``. Instances are made, and methods called, as those of this class can be.
        is_made: Whether instances are made of it, and not only of classes below it.

    Raises:
        HubDefinitionError: It needs arguments that it does not get, or a method takes others than it gets.
    """
    if is_made:
        _check_construction(cls, base)
    for name, original in vars(base).items():
        if isinstance(original, types.FunctionType) and not name.startswith("_"):
            _check_override(cls, name, original)


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _check_construction(cls: type, base: type) -> None:
    given = _parameters(base)
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return  # Made by C code, which does not say what it takes.
    try:
        signature.bind(*given)
    except TypeError as error:
        what = f"the arguments {', '.join(given)}" if given else "no arguments"
        raise HubDefinitionError(
            f"{cls.__qualname__}.__init__: instances are made with {what} ({error}); write def __init__({', '.join(['self', *given])})."
        ) from error


def _check_override(cls: type, name: str, original: types.FunctionType) -> None:
    found = inspect.getattr_static(cls, name)
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    if function is original or not isinstance(function, types.FunctionType):
        return  # Only of functions is it known how they are called.
    where = f"{cls.__qualname__}.{name}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HubDefinitionError(f"{where}: nothing in it would ever run, since it has a yield; write it without.")
    parameters = _parameters(original)
    # What a decorator gives takes the arguments, not what is inside.
    signature = inspect.signature(function, follow_wrapped=False)
    try:
        signature.bind(*(parameters[1:] if isinstance(found, staticmethod) else parameters))
    except TypeError as error:
        kind = "async def" if inspect.iscoroutinefunction(function) else "def"
        raise HubDefinitionError(
            f"{where}{_without_annotations(signature)} does not take what it is called with; write {kind} {name}({', '.join(parameters)})."
        ) from error


def _without_annotations(signature: inspect.Signature) -> inspect.Signature:
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=signature.empty)
