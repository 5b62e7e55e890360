"""Fixtures of the unit tests."""

from tests.tasks import no_task_left
from tests.unit.gates import gates

__all__ = ["gates", "no_task_left"]
