"""Calls of the peer hub that fail, and what a client of the core generation is told."""

from __future__ import annotations

from typing import Any

__all__ = ["REFUSED_CALLS"]

FAILED = "Failed to invoke '{}' due to an error on the server. {}"

REFUSED_CALLS: list[tuple[str, list[Any], str]] = [
    ("FailHub", ["no"], "An unexpected error occurred invoking 'FailHub' on the server. HubException: no"),
    ("Nope", [], FAILED.format("Nope", "HubException: Method does not exist.")),
    ("Add", [1], FAILED.format("Add", "InvalidDataException: Invocation provides 1 argument(s) but target expects 2.")),
]
"""``(hub method, arguments, text)``"""
