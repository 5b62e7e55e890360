"""
The history in Django admin: live connections, how others ended, and the server processes that carry them.

Everything is read-only. Rows are deleted by those who have Django's delete permission, and by ``manage.py signalr_prune``.
The number of queries of a page does not depend on the number of its rows, and no page counts or sorts a whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.paginator import Paginator
from django.db import router
from django.db.models import Count, Model, OuterRef, Prefetch, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from signalr_channels.admin_cells import (
    EMPTY,
    ago,
    duration,
    hub_cell,
    identifier,
    moment,
    reason_cell,
    reason_paragraphs,
    tag,
    text,
    yes_or_no,
)
from signalr_channels.admin_filters import (
    AliveFilter,
    CloseReasonFilter,
    HubFilter,
    KindFilter,
    ProcessFilter,
    ReasonFilter,
    StateFilter,
    TransportFilter,
)
from signalr_channels.conf import get_settings
from signalr_channels.models import Connection, LifetimeEvent, ServerProcess

__all__ = ["ConnectionAdmin", "HistoryAdmin", "LifetimeEventAdmin", "ServerProcessAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin, _Paginator = admin.ModelAdmin, Paginator

MAXIMUM_ROWS = 10_000
"""How many matches a list counts and turns the pages of. Older rows are reached with filters."""

EVENTS_SHOWN = 200
"""How many events the page of a connection shows, the newest ones."""


class BoundedPaginator(_Paginator):
    """Pages of the first ``MAXIMUM_ROWS`` rows, so that a history of millions is neither counted nor skipped through."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, or ``MAXIMUM_ROWS`` if there are more."""
        rows: Any = self.object_list
        return int(rows[:MAXIMUM_ROWS].count())

    @property
    def is_cut(self) -> bool:
        """Whether there may be rows that no page shows."""
        return self.count >= MAXIMUM_ROWS


class HistoryAdmin(_ModelAdmin):
    """What the three lists share."""

    actions_on_top = True
    empty_value_display = EMPTY
    list_per_page = 50
    ordering = ("-id",)
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    empty_text: Any = ""
    """What an empty list says."""

    class Media:
        css = {"all": ("signalr_channels/admin.css",)}

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody adds history."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes history."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows of the database ``DATABASE`` names."""
        return super().get_queryset(request).using(get_settings().DATABASE)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Say beside the list why it may be empty."""
        more = {"history_is_off": not get_settings().HISTORY, "empty_text": self.empty_text, **(extra_context or {})}
        return super().changelist_view(request, more)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, dict[str, int], set[Any], list[Any]]:
        """
        Say what a deletion takes with it: counted, in the database ``DATABASE`` names.

        Django would look in the default database, and list each event of each connection.
        """
        rows = list(objs[:20])
        count = len(objs) if isinstance(objs, list) else objs.count()
        names = [str(row) for row in rows] + ([EMPTY] if count > len(rows) else [])
        counts = {str(self.opts.verbose_name_plural): count, **self.deleted_with(objs)}
        needed = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return names, counts, needed, []

    def deleted_with(self, objs: Any) -> dict[str, int]:
        """What goes when these rows go: name -> number."""
        return {}

    def link(self, viewname: str, *args: Any) -> str | None:
        """The address of another admin page of this app, or ``None`` where the site does not have it."""
        try:
            return reverse(f"{self.admin_site.name}:signalr_channels_{viewname}", args=args)
        except NoReverseMatch:
            return None


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
        """Why it ended."""
        return reason_cell(obj.close_reason)

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
        if not obj.detail:
            return reason_cell(obj.reason)
        reason = reason_cell(obj.reason) if obj.reason else ""
        return format_html('{}<span class="signalr-note signalr-detail">{}</span>', reason, obj.detail)

    @admin.display(description=_("reason"))
    def reason_and_advice(self, obj: LifetimeEvent) -> str:
        """Why it ended or never began, and what to do about it."""
        return reason_paragraphs(obj.reason)


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


def has_permission(request: HttpRequest, action: str, model: type[Model]) -> bool:
    """Whether the user has Django's permission for another model of this app."""
    return request.user.has_perm(f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}")
