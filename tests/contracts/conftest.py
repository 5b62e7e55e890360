"""Fixtures of the contract suite."""

from tests.tasks import no_task_left

__all__ = ["no_task_left"]
