"""Hub methods: what ``@hub_method`` marks, and the table of wire names a hub answers to."""

from __future__ import annotations

import dis
import functools
import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.loading import load_classes
from signalr_channels.hubs.permissions import HubPermission
from signalr_channels.hubs.progress import Progress
from signalr_channels.hubs.type_arguments import substitute, type_arguments

__all__ = ["HubMethod", "Parameter", "collect_hub_methods", "hub_method"]

F = TypeVar("F", bound=Callable[..., Any])
MARK = "_signalr_hub_method"
STREAM_TYPES = (AsyncIterator, AsyncIterable, AsyncGenerator)
SYNC_STREAM_TYPES = (Iterator, Generator)
RESERVED = frozenset({*dir(Hub), "_session"})
"""Attributes that every hub has."""
HOOKS = frozenset(name for name, value in vars(Hub).items() if isinstance(value, types.FunctionType))
SUSPENDS = frozenset({"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "YIELD_VALUE", "YIELD_FROM", "SEND"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    name: str | None
    permission_classes: Any


@overload
def hub_method(function: F, /) -> F: ...
@overload
def hub_method(*, name: str | None = None, permission_classes: Sequence[type[HubPermission] | str] = ()) -> Callable[[F], F]: ...
def hub_method(function: Any = None, /, *, name: str | None = None, permission_classes: Sequence[type[HubPermission] | str] = ()) -> Any:
    """
    Let clients call a method of a hub.

    Args:
        name: The one wire name, instead of the method's own in snake, camel and Pascal case.
        permission_classes: Who may call it, besides what the hub itself asks; classes or their dotted names.

    Wire names are compared case-insensitively, and no two methods of a hub may share one.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, _Mark(name=name, permission_classes=permission_classes))
        return function

    if function is None:
        return mark
    if not callable(function):
        hint = f"name={function!r}" if isinstance(function, str) else "permission_classes=…" if isinstance(function, (list, tuple)) else ""
        raise TypeError(f"@hub_method takes a function, not {function!r}" + (f"; write @hub_method({hint})" if hint else ""))
    return mark(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a hub method."""

    name: str
    annotation: Any
    is_upload: bool
    """Filled from an upload stream of the client instead of from the arguments."""
    default: Any
    """What a trailing argument is when it is left out; :data:`inspect.Parameter.empty` if it may not be."""

    @property
    def is_required(self) -> bool:
        """Whether a call must fill it."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class HubMethod:
    """A method clients can call."""

    name: str
    """As declared; error texts show it."""
    function: Callable[..., Any]
    """Takes the hub instance first."""
    parameters: tuple[Parameter, ...]
    permission_classes: tuple[type[HubPermission], ...]
    is_async: bool
    is_streaming: bool
    runs_inline: bool
    """An ``async def`` without a single ``await``: it can be run to its end without a task."""
    item_types: tuple[Any, ...]
    """Of the upload streams, in order."""
    reports_progress: bool = False
    """Whether its last parameter is a :class:`~signalr_channels.hubs.progress.Progress`, which clients do not fill."""
    returns: Any = None
    """Annotation of its result."""

    @property
    def argument_types(self) -> tuple[Any, ...]:
        """Annotations of the parameters that come from the arguments."""
        return tuple(p.annotation for p in self.parameters if not p.is_upload)

    @property
    def required_arguments(self) -> int:
        """How many arguments a call must have; trailing parameters with a default may be left out."""
        return sum(p.is_required for p in self.parameters if not p.is_upload)


def wire_names(name: str) -> frozenset[str]:
    """The names a method called ``name`` in Python answers to, in lower case."""
    return frozenset({name.lower(), name.replace("_", "").lower()})


def collect_hub_methods(hub: type[Hub]) -> dict[str, HubMethod]:
    """
    Find what clients can call on a hub.

    Returns:
        Wire name in lower case -> method.

    Raises:
        HubDefinitionError: Two methods share a wire name, a name is not free, or a signature cannot be called by a client.
        NotLoadable: A permission class cannot be loaded.
    """
    table: dict[str, HubMethod] = {}
    for attribute in dir(hub):
        function = inspect.getattr_static(hub, attribute)
        mark = getattr(_inner(function), MARK, None)
        if not isinstance(mark, _Mark):
            continue
        if _inner(function) is not function or not callable(function):
            raise HubDefinitionError(f"{hub.__qualname__}.{attribute}: a hub method is a plain method, not {type(function).__name__}.")
        _check_name(hub, attribute, mark)
        method = _describe(hub, attribute, function, mark)
        for wire_name in [mark.name.lower()] if mark.name is not None else sorted(wire_names(attribute)):
            other = table.get(wire_name)
            if other is not None:
                raise HubDefinitionError(
                    f"{hub.__qualname__}: {other.function.__qualname__} and {function.__qualname__} both answer to {wire_name!r}; "
                    f"give one of them another @hub_method(name=…)."
                )
            table[wire_name] = method
    return table


def _inner(value: Any) -> Any:
    """The function that was marked before something was made of it that clients cannot call."""
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, (functools.cached_property, functools.partialmethod)) else value


def _check_name(hub: type[Hub], attribute: str, mark: _Mark) -> None:
    where = f"{hub.__qualname__}.{attribute}"
    if attribute in HOOKS:
        raise HubDefinitionError(f"{where}: the server calls it, and clients must not; take @hub_method away.")
    if attribute in RESERVED:
        raise HubDefinitionError(
            f"{where}: every hub has a {attribute!r} of its own; rename the method, and keep the name for clients with "
            f"@hub_method(name={attribute!r})."
        )
    if mark.name is not None and not (isinstance(mark.name, str) and mark.name.strip()):
        raise HubDefinitionError(
            f"{where}: clients cannot call a method named {mark.name!r}; without name=… they call it {attribute!r}, in any spelling."
        )


def _describe(hub: type[Hub], attribute: str, function: Callable[..., Any], mark: _Mark) -> HubMethod:
    where = f"{hub.__qualname__}.{attribute}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise HubDefinitionError(f"{where}: its annotations cannot be resolved: {error}") from error
    if known := type_arguments(hub, next(cls for cls in hub.__mro__ if attribute in vars(cls))):
        hints = {name: substitute(hint, known) for name, hint in hints.items()}
    declared = list(inspect.signature(function).parameters.values())
    _check_self(hub, where, declared, hints)
    parameters, reports_progress = _parameters(where, declared[1:], hints)
    returns = hints.get("return")
    if inspect.isgeneratorfunction(function) or typing.get_origin(returns) in SYNC_STREAM_TYPES or returns in SYNC_STREAM_TYPES:
        raise HubDefinitionError(
            f"{where}: an iterator cannot be sent. To stream, write an async generator, async def with yield; else return a list."
        )
    is_streaming = inspect.isasyncgenfunction(function) or typing.get_origin(returns) in STREAM_TYPES or returns in STREAM_TYPES
    # What sync_to_async gives is an object; only since Python 3.12 it counts as such a function by itself.
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    uploads = tuple((typing.get_args(p.annotation) or (Any,))[0] for p in parameters if p.is_upload)
    if uploads and not (is_streaming or is_async or inspect.iscoroutinefunction(inspect.unwrap(function))):
        raise HubDefinitionError(f"{where}: a plain def cannot read what a client uploads; write async def.")
    permission_classes = load_classes(mark.permission_classes, HubPermission, f"{where}: permission_classes")
    return HubMethod(
        name=mark.name if mark.name is not None else attribute,
        function=function,
        parameters=tuple(parameters),
        permission_classes=permission_classes,
        is_async=is_async,
        is_streaming=is_streaming,
        runs_inline=is_async and not uploads and not permission_classes and not _may_suspend(function),
        item_types=uploads,
        reports_progress=reports_progress,
        returns=returns,
    )


def _check_self(hub: type[Hub], where: str, declared: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> None:
    """Whether the first parameter takes the hub; it may have any name, but not the type of an argument."""
    first = declared[0] if declared else None
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise HubDefinitionError(f"{where}: its first parameter has to be self.")
    hint = hints.get(first.name, Any)
    cls = typing.get_origin(hint) or hint
    # Any is a class since Python 3.11.
    is_argument = isinstance(cls, type) and cls is not Any and cls not in hub.__mro__ and not getattr(cls, "_is_protocol", False)
    if first.name != "self" and is_argument:
        raise HubDefinitionError(f"{where}: its first parameter has to be self; {first.name!r} would be the hub.")


def _parameters(where: str, declared: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> tuple[list[Parameter], bool]:
    """What follows self: the parameters that clients fill, and whether the last one is a Progress."""
    parameters: list[Parameter] = []
    for position, parameter in enumerate(declared):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            raise HubDefinitionError(f"{where}: clients pass arguments by position; {parameter} cannot be filled.")
        annotation = hints.get(parameter.name, Any)
        if annotation is Progress or typing.get_origin(annotation) is Progress:
            if position < len(declared) - 1:
                raise HubDefinitionError(f"{where}: the parameter of type Progress has to be the last one.")
            return parameters, True
        is_upload = typing.get_origin(annotation) in STREAM_TYPES or annotation in STREAM_TYPES
        parameters.append(Parameter(name=parameter.name, annotation=annotation, is_upload=is_upload, default=parameter.default))
    return parameters, False


def _may_suspend(function: Callable[..., Any]) -> bool:
    """
    Whether an ``async def`` can wait for anything.

    One that cannot is run to its end without a task. Others get one: code up to the first ``await`` may look at the current
    task (``asyncio.timeout`` does), so running it outside its own would go wrong.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType) or hasattr(function, "__wrapped__"):
        return True
    return any(instruction.opname in SUSPENDS for instruction in dis.get_instructions(code))
