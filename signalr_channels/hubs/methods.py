"""Hub methods: what ``@hub_method`` marks, and the table of wire names a hub answers to."""

from __future__ import annotations

import dis
import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.permissions import HubPermission
from signalr_channels.hubs.progress import Progress

__all__ = ["HubMethod", "Parameter", "collect_hub_methods", "hub_method"]

F = TypeVar("F", bound=Callable[..., Any])
MARK = "_signalr_hub_method"
STREAM_TYPES = (AsyncIterator, AsyncIterable, AsyncGenerator)
SUSPENDS = frozenset({"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "YIELD_VALUE", "YIELD_FROM", "SEND"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    name: str | None
    permission_classes: tuple[type[HubPermission], ...]


@overload
def hub_method(function: F, /) -> F: ...
@overload
def hub_method(*, name: str | None = None, permission_classes: Sequence[type[HubPermission]] = ()) -> Callable[[F], F]: ...
def hub_method(function: Any = None, /, *, name: str | None = None, permission_classes: Sequence[type[HubPermission]] = ()) -> Any:
    """
    Let clients call a method of a hub.

    Args:
        name: The one wire name, instead of the method's own in snake, camel and Pascal case.
        permission_classes: Who may call it, besides what the hub itself asks.

    Wire names are compared case-insensitively, and no two methods of a hub may share one.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, _Mark(name=name, permission_classes=tuple(permission_classes)))
        return function

    if function is None:
        return mark
    if not callable(function):
        raise TypeError(f"@hub_method takes a function, not {function!r}; write @hub_method(name={function!r})")
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
        HubDefinitionError: Two methods share a wire name, or a signature cannot be called by a client.
    """
    table: dict[str, HubMethod] = {}
    for attribute in dir(hub):
        function = inspect.getattr_static(hub, attribute)
        mark = getattr(function, MARK, None)
        if not isinstance(mark, _Mark):
            continue
        if isinstance(function, (staticmethod, classmethod)) or not callable(function):
            raise HubDefinitionError(f"{hub.__qualname__}.{attribute}: a hub method is a plain method, not {type(function).__name__}.")
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


def _describe(hub: type[Hub], attribute: str, function: Callable[..., Any], mark: _Mark) -> HubMethod:
    where = f"{hub.__qualname__}.{attribute}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise HubDefinitionError(f"{where}: its annotations cannot be resolved: {error}") from error
    parameters = []
    reports_progress = False
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if position == 0:
            continue
        if reports_progress:
            raise HubDefinitionError(f"{where}: the parameter of type Progress has to be the last one.")
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            raise HubDefinitionError(f"{where}: clients pass arguments by position; {parameter} cannot be filled.")
        annotation = hints.get(parameter.name, Any)
        if annotation is Progress or typing.get_origin(annotation) is Progress:
            reports_progress = True
            continue
        is_upload = typing.get_origin(annotation) in STREAM_TYPES or annotation in STREAM_TYPES
        parameters.append(Parameter(name=parameter.name, annotation=annotation, is_upload=is_upload, default=parameter.default))
    returns = hints.get("return")
    is_streaming = inspect.isasyncgenfunction(function) or typing.get_origin(returns) in STREAM_TYPES or returns in STREAM_TYPES
    is_async = inspect.iscoroutinefunction(function)
    uploads = tuple((typing.get_args(p.annotation) or (Any,))[0] for p in parameters if p.is_upload)
    return HubMethod(
        name=mark.name if mark.name is not None else attribute,
        function=function,
        parameters=tuple(parameters),
        permission_classes=mark.permission_classes,
        is_async=is_async,
        is_streaming=is_streaming,
        runs_inline=is_async and not uploads and not mark.permission_classes and not _may_suspend(function),
        item_types=uploads,
        reports_progress=reports_progress,
        returns=returns,
    )


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
