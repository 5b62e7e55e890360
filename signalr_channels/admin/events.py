"""The lifetime events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from signalr_channels.admin.cells import EMPTY, ago, hub_cell, identifier, moment, reason_and_detail_cell, reason_paragraphs, tag, text
from signalr_channels.admin.filters import HubFilter, KindFilter, ReasonFilter, TransportFilter
from signalr_channels.admin.history import HistoryAdmin
from signalr_channels.models import LifetimeEvent

__all__ = ["LifetimeEventAdmin"]


@admin.register(LifetimeEvent)
class LifetimeEventAdmin(HistoryAdmin):
    """What happened, the newest first."""

    list_display = ("when", "kind_tag", "reason_and_detail", "hub_and_path", "link_to_connection", "who", "transport", "remote_address")
    list_display_links = ("when",)
    list_filter = (KindFilter, ReasonFilter, HubFilter, TransportFilter)
    search_fields = ("connection__connection_id__startswith", "user_identifier__startswith", "remote_address__startswith")
    search_help_text = _("Start of a connection id, of a user identifier, or of a remote address.")
    sortable_by = ("when",)
    fieldsets = (
        (None, {"fields": ("exact_time", "kind_tag", "reason_and_advice", "detail")}),
        (_("Connection"), {"fields": ("link_to_connection", "hub", "path", "transport", "process")}),
        (_("Client"), {"fields": ("user_identifier", "remote_address", "user_agent", "origin")}),
    )
    readonly_fields = ("exact_time", "kind_tag", "reason_and_advice", "link_to_connection")
    empty_text = _("No lifetime event matches. They are written when clients negotiate, connect, come back, leave or are refused.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with their connections, where there are some."""
        return super().get_queryset(request).select_related("connection")

    @admin.display(description=_("time"), ordering="id")
    def when(self, obj: LifetimeEvent) -> str:
        """How long ago."""
        return ago(obj.time)

    @admin.display(description=_("time"))
    def exact_time(self, obj: LifetimeEvent) -> str:
        """When, and how long ago."""
        return format_html("{} ({})", moment(obj.time), ago(obj.time))

    @admin.display(description=_("kind"))
    def kind_tag(self, obj: LifetimeEvent) -> str:
        """What happened."""
        return tag(obj.kind, obj.kind)

    @admin.display(description=_("connection"))
    def link_to_connection(self, obj: LifetimeEvent) -> str:
        """The connection id, leading to the connection if there is one."""
        if not obj.connection_id:
            return EMPTY
        url = self.link("connection_change", obj.connection.pk) if obj.connection else None
        shown = identifier(obj.connection_id)
        return format_html('<a href="{}">{}</a>', url, shown) if url else shown

    @admin.display(description=_("hub"))
    def hub_and_path(self, obj: LifetimeEvent) -> str:
        """Class name and path."""
        return hub_cell(obj.hub, obj.path)

    @admin.display(description=_("user"))
    def who(self, obj: LifetimeEvent) -> str:
        """The user identifier."""
        return text(obj.user_identifier)

    @admin.display(description=_("reason"))
    def reason_and_detail(self, obj: LifetimeEvent) -> str:
        """Why it ended or never began, and the detail."""
        return reason_and_detail_cell(obj.reason, obj.detail)

    @admin.display(description=_("reason"))
    def reason_and_advice(self, obj: LifetimeEvent) -> str:
        """Why it ended or never began, and what to do about it."""
        return reason_paragraphs(obj.reason)
