"""What the client libraries of others leave behind is cleared away where it was made, not in whatever test runs next."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def leftovers_of_clients() -> Iterator[None]:
    """signalrcore and its kin leave sockets to the garbage collector; a warning about one is no fault of ours."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
