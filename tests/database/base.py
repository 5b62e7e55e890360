"""The backend: Django finds it by the name of its package."""

from __future__ import annotations

import threading

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3 import base

__all__ = ["DatabaseWrapper"]


class DatabaseWrapper(base.DatabaseWrapper):
    """
    SQLite, but a thread that closes its connection has closed it.

    Django's own keeps connections to a database in memory open whatever it is told, since the last one takes the database along. Those of
    threads then wait for the garbage collector, and Python 3.13 warns about each. Here only the main thread's stay open: they keep the
    database, and Channels would close them in the middle of a test.
    """

    def close(self) -> None:
        if self._thread_ident == threading.main_thread().ident:
            super().close()
        else:
            self.validate_thread_sharing()
            BaseDatabaseWrapper.close(self)
