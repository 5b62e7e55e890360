"""Which version of a distribution is installed."""

from __future__ import annotations

import importlib.metadata
import re

__all__ = ["version_of"]


def version_of(distribution: str) -> tuple[int, ...]:
    """Its version as numbers, such as ``(4, 2, 1)``; empty where it is not installed."""
    try:
        text = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
