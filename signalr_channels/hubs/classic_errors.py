"""
Words for calls of classic clients that fail before the hub method runs.

Source: reference section 5.4; ``Resources.resx``.
"""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec

from signalr_channels.exceptions import ArgumentBindingError
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.protocols.classic.hub_messages import ClassicInvocation

__all__ = ["describe_binding_error", "describe_unknown_method", "generic_text"]

NET_NAMES = {
    str: "String",
    int: "Int32",
    float: "Double",
    bool: "Boolean",
    bytes: "Byte[]",
    type(None): "Void",
    None: "Void",
    Any: "Object",
}
"""What clients of .NET expect types to be called."""


def generic_text(call: ClassicInvocation) -> str:
    """What a client learns without ``ENABLE_DETAILED_ERRORS``: names as it sent them."""
    return f"There was an error invoking Hub method '{call.hub}.{call.method}'."


def describe_unknown_method(name: str, candidate: HubMethod | None) -> str:
    """No method answers to a name, or not with that many arguments; a candidate is told only to who spells it as declared."""
    text = f"'{name}' method could not be resolved. "
    if candidate is None or candidate.name != name:
        return text + "No method found with that name."
    parameters = ", ".join(f"{parameter.name}:{_net_name(parameter.annotation)}" for parameter in candidate.parameters)
    return f"{text}Potential candidates are: \n{candidate.name}({parameters}):{_net_name(candidate.returns)}"


def describe_binding_error(call: ClassicInvocation, method: HubMethod, error: ArgumentBindingError) -> str:
    """Why arguments do not fit: their number comes first, as in the reference."""
    given = len(msgspec.json.decode(call.arguments, type=list[msgspec.Raw]))
    if not method.required_arguments <= given <= len(method.argument_types):
        return describe_unknown_method(call.method, method)
    return error.text


def _net_name(annotation: Any) -> str:
    if annotation in NET_NAMES:
        return NET_NAMES[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _net_name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _net_name(next(argument for argument in arguments if argument is not type(None)))
    return str(getattr(origin or annotation, "__name__", annotation))
