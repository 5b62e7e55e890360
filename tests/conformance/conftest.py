"""Fixtures of the conformance tests."""

from tests.tasks import no_task_left

__all__ = ["no_task_left"]
