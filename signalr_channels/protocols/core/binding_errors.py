"""
Words for arguments that do not fit, and what can go wrong in msgspec on data from outside.

Source: ``JsonHubProtocol.cs``, ``MessagePackHubProtocolWorker.cs``.
"""

from __future__ import annotations

import msgspec

from signalr_channels.exceptions import ArgumentBindingError, LocalProtocolError

__all__ = ["DECODE_ERRORS", "ENCODE_ERRORS", "array_missing", "cannot_encode", "conversion_failed", "wrong_count"]

DECODE_ERRORS = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""What decoding raises on bad input: malformed or unfitting values, bytes that are not UTF-8, numbers out of range, endless nesting."""
ENCODE_ERRORS = (msgspec.MsgspecError, TypeError, ValueError, ArithmeticError, RecursionError)
"""What encoding raises on a value that cannot be written: an unknown type, half a surrogate pair, an integer too large, endless nesting."""


def cannot_encode(error: Exception) -> LocalProtocolError:
    """One of :data:`ENCODE_ERRORS`, and what to do about a type that no hub protocol knows."""
    text = str(error)
    if isinstance(error, TypeError):
        text = (
            f"{text.rstrip('.')}. What can be sent: texts, numbers, dates, UUIDs, enums, bytes, dataclasses, msgspec Structs, lists and "
            "dicts of these. Make one of them first; of a QuerySet, list(queryset.values())."
        )
    return LocalProtocolError(text, kind=type(error).__name__)


def wrong_count(given: int, expected: int) -> ArgumentBindingError:
    """The arguments are too few or too many."""
    return ArgumentBindingError(f"Invocation provides {given} argument(s) but target expects {expected}.")


def conversion_failed() -> ArgumentBindingError:
    """An argument is not of the annotated type."""
    return ArgumentBindingError(
        "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked."
    )


def array_missing() -> ArgumentBindingError:
    """MessagePack only: the arguments are no array, or announce more items than there are bytes."""
    return ArgumentBindingError("Reading array length for 'arguments' failed.")
