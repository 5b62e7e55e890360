"""The server processes that carry the connections."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from signalr_channels.admin.cells import ago, identifier, tag
from signalr_channels.admin.filters import AliveFilter
from signalr_channels.admin.history import HistoryAdmin
from signalr_channels.models import Connection, ServerProcess

__all__ = ["ServerProcessAdmin"]


@admin.register(ServerProcess)
class ServerProcessAdmin(HistoryAdmin):
    """The processes that carry connections. Rows of stopped ones go with ``signalr_prune``."""

    list_display = ("name_column", "state", "seen", "live_connections", "dropped", "started", "stopped")
    list_filter = (AliveFilter,)
    search_fields = ("name__startswith",)
    search_help_text = _("Start of a name: the host comes first.")
    sortable_by = ("started",)
    fieldsets = (
        (None, {"fields": ("name", ("host", "pid"), "state")}),
        (_("Life"), {"fields": (("started", "seen", "stopped"),)}),
        (_("Connections"), {"fields": (("live_connections", "dropped"),)}),
    )
    readonly_fields = ("state", "started", "seen", "stopped", "live_connections", "dropped")
    empty_text = _("No server process matches. One appears when the site runs on an ASGI server and the first client connects to a hub.")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody takes a process away from its connections."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with the number of their open connections."""
        open_ones = Connection.objects.filter(process=OuterRef("pk"), closed_at=None).order_by().values("process")
        number = Subquery(open_ones.annotate(number=Count("pk")).values("number"))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(open_connections=number)
        return rows

    @admin.display(description=_("name"))
    def name_column(self, obj: ServerProcess) -> str:
        """``host:pid:random``."""
        return identifier(obj.name)

    @admin.display(description=_("state"))
    def state(self, obj: ServerProcess) -> str:
        """Alive, stopped, or silent: not seen within ``PROCESS_LEASE``, and not swept yet."""
        if obj.stopped_at is not None:
            return tag(str(_("stopped")), "ended")
        return tag(str(_("alive")), "live") if obj.is_alive else tag(str(_("silent")), "late")

    @admin.display(description=_("started"), ordering="id")
    def started(self, obj: ServerProcess) -> str:
        """How long ago."""
        return ago(obj.started_at)

    @admin.display(description=_("last seen"))
    def seen(self, obj: ServerProcess) -> str:
        """How long ago."""
        return ago(obj.last_seen_at)

    @admin.display(description=_("stopped"))
    def stopped(self, obj: ServerProcess) -> str:
        """How long ago."""
        return ago(obj.stopped_at)

    @admin.display(description=_("live connections"))
    def live_connections(self, obj: Any) -> str:
        """How many, leading to them."""
        number = (obj.open_connections or 0) if obj.is_alive else 0
        url = self.link("connection_changelist")
        return format_html('<a href="{}?process={}">{}</a>', url, obj.pk, number) if url and number else str(number)

    @admin.display(description=_("dropped events"))
    def dropped(self, obj: ServerProcess) -> str:
        """How many lifetime events are missing from the history."""
        return tag(str(obj.dropped_events), "late") if obj.dropped_events else "0"
