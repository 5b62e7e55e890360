"""Arguments as received -> arguments as the hub method's annotations say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from signalr_channels.exceptions import ArgumentBindingError, HubDefinitionError
from signalr_channels.hubs.dataclass_defaults import with_dataclass_defaults
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.methods import HubMethod
from signalr_channels.hubs.progress import NO_PROGRESS
from signalr_channels.protocols.base import HubProtocol

__all__ = ["ArgumentDecoder", "BoundMethod", "bind_methods"]

ArgumentDecoder = Callable[[msgspec.Raw], Sequence[Any]]


class BoundMethod:
    """
    A hub method with its decoders for one hub protocol.

    Attributes:
        decode: Turns a received array into arguments; raises :exc:`ArgumentBindingError`.
        item_decoders: For the items of its upload streams, in order.
    """

    __slots__ = ("decode", "item_decoders", "method", "runs_inline")

    def __init__(self, method: HubMethod, protocol: HubProtocol) -> None:
        self.method = method
        self.runs_inline = method.runs_inline
        types = method.argument_types
        decode = with_dataclass_defaults(protocol.argument_decoder(types), types)
        required = method.required_arguments
        if required < len(types):
            shorter = [
                with_dataclass_defaults(protocol.argument_decoder(types[:count]), types[:count])
                for count in range(len(types) - 1, required - 1, -1)
            ]
            decode = _with_defaults(decode, shorter)
        if method.reports_progress:
            decode = _with_progress(decode, method)
        self.decode: ArgumentDecoder = decode
        self.item_decoders = tuple(
            with_dataclass_defaults(protocol.value_decoder(item_type), [item_type]) for item_type in method.item_types
        )


def _with_defaults(decode: ArgumentDecoder, shorter: Sequence[ArgumentDecoder]) -> ArgumentDecoder:
    """Let trailing arguments that have a default be left out. The error, if any, is that of the full list."""

    def decode_any(raw: msgspec.Raw) -> Sequence[Any]:
        try:
            return decode(raw)
        except ArgumentBindingError:
            for other in shorter:
                try:
                    return other(raw)
                except ArgumentBindingError:
                    continue
            raise

    return decode_any


def _with_progress(decode: ArgumentDecoder, method: HubMethod) -> ArgumentDecoder:
    """Fill the last parameter, and what was left out in front of it; the call replaces it where a client hears of progress."""
    defaults = tuple(parameter.default for parameter in method.parameters if not parameter.is_upload)

    def decode_and_fill(raw: msgspec.Raw) -> Sequence[Any]:
        arguments = decode(raw)
        return (*arguments, *defaults[len(arguments) :], NO_PROGRESS)

    return decode_and_fill


def bind_methods(hub: type[Hub], methods: Mapping[str, HubMethod], protocol: HubProtocol) -> dict[str, BoundMethod]:
    """
    Prepare a hub's methods for one hub protocol.

    Returns:
        Wire name in lower case -> bound method, and each declared name as it is written, which spares a conversion.

    Raises:
        HubDefinitionError: An annotation is of a type that cannot be read from the wire.
    """
    bound: dict[int, BoundMethod] = {}
    table: dict[str, BoundMethod] = {}
    for wire_name, method in methods.items():
        if id(method) not in bound:
            try:
                bound[id(method)] = BoundMethod(method, protocol)
            except TypeError as error:
                raise HubDefinitionError(f"{hub.__qualname__}.{method.function.__name__}: {error}") from error
        table[wire_name] = bound[id(method)]
    return table
