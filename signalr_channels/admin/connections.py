"""The connections: live ones, and those that ended, each with its events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from signalr_channels.admin.cells import (
    EMPTY,
    ago,
    duration,
    hub_cell,
    identifier,
    moment,
    reason_and_detail_cell,
    reason_cell,
    reason_paragraphs,
    tag,
    text,
    yes_or_no,
)
from signalr_channels.admin.disconnecting import Outcome, disconnect, outcome_text
from signalr_channels.admin.filters import CloseReasonFilter, HubFilter, ProcessFilter, StateFilter, TransportFilter
from signalr_channels.admin.history import HistoryAdmin, has_permission
from signalr_channels.models import Connection, LifetimeEvent

__all__ = ["EVENTS_SHOWN", "ConnectionAdmin"]

OUTCOME_LEVELS = {
    Outcome.DISCONNECTED: messages.SUCCESS,
    Outcome.GONE: messages.WARNING,
    Outcome.UNREACHABLE: messages.ERROR,
    Outcome.NO_HUB: messages.ERROR,
}
EVENTS_SHOWN = 200
"""How many events the page of a connection shows, the newest ones."""


@admin.register(Connection)
class ConnectionAdmin(HistoryAdmin):
    """Live connections, and those that ended."""

    list_display = ("hub_and_path", "user_name", "since", "seen", "transport", "hub_protocol", "remote_address", "server")
    list_filter = (StateFilter, HubFilter, TransportFilter, ProcessFilter, CloseReasonFilter)
    list_select_related = ("process",)
    search_fields = ("connection_id__startswith", "user_identifier__startswith", "remote_address__startswith")
    search_help_text = _("Start of a connection id, of a user's name or identifier, or of a remote address.")
    sortable_by = ("since", "ended")
    readonly_fields = (
        *("state", "server", "user_name", "opened", "last_seen", "closed"),
        *("reason_and_advice", "on_purpose", "may_come_back"),
    )
    empty_text = _(
        "No connection matches. The list of live connections fills as soon as a client connects to a hub; the other states are one "
        "click away under Filter."
    )

    def get_list_display(self, request: HttpRequest) -> Any:
        """What matters for live connections, or for ended ones."""
        match request.GET.get("state", "live"):
            case "ended":
                return ("hub_and_path", "user_name", "reason", "ended", "transport", "hub_protocol", "remote_address", "server")
            case "all":
                return ("hub_and_path", "user_name", "state", "since", "reason", "transport", "hub_protocol", "remote_address", "server")
        return self.list_display

    def get_ordering(self, request: HttpRequest) -> Any:
        """The newest first; of ended connections those that ended last, however long ago they began."""
        return ("-closed_at", "-id") if request.GET.get("state") == "ended" else self.ordering

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Live connections have no reason."""
        return self.list_filter[:-1] if request.GET.get("state", "live") == "live" else self.list_filter

    def get_fieldsets(self, request: HttpRequest, obj: Any | None = None) -> Any:
        """What is known, and about the end only if there was one."""
        end = ("reason_and_advice", "close_detail", ("on_purpose", "may_come_back")) if obj and obj.closed_at else ()
        times = ("opened", "last_seen", "closed") if end else ("opened", "last_seen")
        return (
            (None, {"fields": (("connection_id", "state"), ("hub", "path"), ("transport", "hub_protocol"), "server")}),
            (_("Life"), {"fields": (times, *end)}),
            (_("Client"), {"fields": (("user_name", "user_identifier"), ("remote_address", "origin"), "user_agent")}),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with their users, which may live in another database than the history."""
        users = get_user_model()._base_manager.using(router.db_for_read(get_user_model()))
        return super().get_queryset(request).prefetch_related(Prefetch("user", queryset=users))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        """Search by the user's name too: in a query of its own, since users may live in another database."""
        found, has_duplicates = super().get_search_results(request, queryset, search_term)
        if name := search_term.strip():
            model = get_user_model()
            users = model._base_manager.using(router.db_for_read(model)).filter(**{f"{model.USERNAME_FIELD}__istartswith": name})
            if pks := list(users.values_list("pk", flat=True)[:100]):
                found = found | queryset.filter(user__in=pks)
        return found, has_duplicates

    # Disconnecting

    actions = ("disconnect",)

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Whether the user may end connections."""
        return has_permission(request, "disconnect", Connection)

    @admin.action(permissions=["disconnect"], description=_("Disconnect selected connections"))
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End those that are live. Their clients are told not to come back by themselves."""
        rows = [row for row in queryset if row.closed_at is None]
        outcomes = disconnect(rows, closed_by=request.user.get_username())
        for row in rows:
            if outcomes[row.connection_id] is Outcome.DISCONNECTED:
                self.log_change(request, row, "Disconnected.")
        counts = {outcome: list(outcomes.values()).count(outcome) for outcome in Outcome}
        counts[Outcome.GONE] += queryset.count() - len(rows)
        for outcome, count in counts.items():
            if count:
                self.message_user(request, outcome_text(outcome, count), OUTCOME_LEVELS[outcome])

    def deleted_with(self, objs: Any) -> dict[str, int]:
        """The events of the connections."""
        ids = [row.connection_id for row in objs] if isinstance(objs, list) else objs.values("connection_id")
        return {str(LifetimeEvent._meta.verbose_name_plural): LifetimeEvent.objects.filter(connection_id__in=ids).order_by().count()}

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, dict[str, int], set[Any], list[Any]]:
        """Ask for the permission to delete events, which go with their connections, as Django would."""
        names, counts, needed, protected = super().get_deleted_objects(objs, request)
        if not has_permission(request, "delete", LifetimeEvent):
            needed.add(LifetimeEvent._meta.verbose_name)
        return names, counts, needed, protected

    def render_change_form(
        self, request: HttpRequest, context: Any, add: bool = False, change: bool = False, form_url: str = "", obj: Any | None = None
    ) -> Any:
        """Add the events of the connection."""
        if obj is not None and has_permission(request, "view", LifetimeEvent):
            rows = LifetimeEvent.objects.filter(connection_id=obj.connection_id).order_by("-time", "-id")[: EVENTS_SHOWN + 1]
            events = [self.event_cells(row) for row in rows]
            context.update(
                events=events[EVENTS_SHOWN - 1 :: -1] if len(events) > EVENTS_SHOWN else events[::-1],
                events_are_cut=len(events) > EVENTS_SHOWN,
                events_link=self.link("lifetimeevent_changelist"),
            )
        return super().render_change_form(request, context, add, change, form_url, obj)

    @staticmethod
    def event_cells(row: LifetimeEvent) -> dict[str, str]:
        """One line of the table of events."""
        return {
            "time": moment(row.time, to_the_millisecond=True),
            "kind": tag(row.kind, row.kind),
            "transport": text(row.transport),
            "reason": reason_cell(row.reason),
            "detail": text(row.detail),
            "process": identifier(row.process),
        }

    @admin.display(description=_("hub"))
    def hub_and_path(self, obj: Connection) -> str:
        """Class name and path."""
        return hub_cell(obj.hub, obj.path)

    @admin.display(description=_("user"))
    def user_name(self, obj: Connection) -> str:
        """The name of the user, else the identifier, which outlives the account."""
        if obj.user is not None:
            return str(obj.user.get_username())
        return format_html("<i>{}</i>", obj.user_identifier) if obj.user_identifier else EMPTY

    @admin.display(description=_("state"))
    def state(self, obj: Connection) -> str:
        """Live, ended, or in between: its process is silent, and no sweep was there yet."""
        if obj.closed_at is not None:
            return tag(str(_("ended")), "ended")
        return tag(str(_("live")), "live") if obj.is_live else tag(str(_("server process is silent")), "late")

    @admin.display(description=_("since"), ordering="id")
    def since(self, obj: Connection) -> str:
        """How long it has been open, or when it was opened."""
        if obj.closed_at is None:
            return moment(obj.opened_at, duration(timezone.now() - obj.opened_at))
        return ago(obj.opened_at)

    @admin.display(description=_("last seen"))
    def seen(self, obj: Connection) -> str:
        """How long ago the client was heard of."""
        return ago(obj.last_seen_at)

    @admin.display(description=_("ended"), ordering="closed_at")
    def ended(self, obj: Connection) -> str:
        """How long ago it ended, and how long it had lasted."""
        if obj.closed_at is None:
            return EMPTY
        lasted = str(_("lasted %s")) % duration(obj.closed_at - obj.opened_at)
        return format_html('{}<span class="signalr-note">{}</span>', ago(obj.closed_at), lasted)

    @admin.display(description=_("reason"))
    def reason(self, obj: Connection) -> str:
        """Why it ended, and the detail."""
        return reason_and_detail_cell(obj.close_reason, obj.close_detail)

    @admin.display(description=_("reason"))
    def reason_and_advice(self, obj: Connection) -> str:
        """Why it ended, and what to do about it."""
        return reason_paragraphs(obj.close_reason)

    @admin.display(description=_("ended by the client on purpose"))
    def on_purpose(self, obj: Connection) -> str:
        """SignalR's ``stopCalled``."""
        return yes_or_no(obj.stop_called)

    @admin.display(description=_("was told that it may come back"))
    def may_come_back(self, obj: Connection) -> str:
        """SignalR's ``allowReconnect``."""
        return yes_or_no(obj.allows_reconnect)

    @admin.display(description=_("server process"))
    def server(self, obj: Connection) -> str:
        """The process that carries it, or did."""
        return EMPTY if obj.process is None else identifier(obj.process.name)

    @admin.display(description=_("opened"))
    def opened(self, obj: Connection) -> str:
        """When, and how long ago."""
        return format_html("{} ({})", moment(obj.opened_at), ago(obj.opened_at))

    @admin.display(description=_("last seen"))
    def last_seen(self, obj: Connection) -> str:
        """When, and how long ago."""
        return format_html("{} ({})", moment(obj.last_seen_at), ago(obj.last_seen_at))

    @admin.display(description=_("closed"))
    def closed(self, obj: Connection) -> str:
        """When, and after how long."""
        if obj.closed_at is None:
            return EMPTY
        return format_html("{} ({})", moment(obj.closed_at), str(_("lasted %s")) % duration(obj.closed_at - obj.opened_at))
