"""Hub code that waits until a test lets it go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

__all__ = ["Gates", "gates"]


class Gates:
    """Doors that hub code waits behind, and what happened so far."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self._doors: dict[str, asyncio.Event] = {}

    def door(self, name: str) -> asyncio.Event:
        return self._doors.setdefault(name, asyncio.Event())

    def open(self, *names: str) -> None:
        for name in names:
            self.door(name).set()


@pytest.fixture
def gates() -> Gates:
    return Gates()
