"""
The history in Django admin: live connections, how others ended, and the server processes that carry them.

Everything is read-only. Rows are deleted by those who have Django's delete permission, and by ``manage.py signalr_prune``.
The number of queries of a page does not depend on the number of its rows, and no page counts or sorts a whole table.
"""

from signalr_channels.admin.connections import ConnectionAdmin
from signalr_channels.admin.events import LifetimeEventAdmin
from signalr_channels.admin.history import HistoryAdmin
from signalr_channels.admin.processes import ServerProcessAdmin

__all__ = ["ConnectionAdmin", "HistoryAdmin", "LifetimeEventAdmin", "ServerProcessAdmin"]
