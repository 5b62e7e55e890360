"""Fixtures of the tests at the Django edge."""

from __future__ import annotations

import threading

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.fixture
def threads_close_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other threads close their connections to the in-memory database, which Django keeps open whatever it is told."""

    def close_old_connections() -> None:
        if threading.current_thread() is not threading.main_thread():
            for connection in connections.all(initialized_only=True):
                BaseDatabaseWrapper.close(connection)

    monkeypatch.setattr("signalr_channels.auth.close_old_connections", close_old_connections)
