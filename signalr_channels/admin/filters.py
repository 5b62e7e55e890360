"""The filters of the admin lists. None looks through a whole table for its choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import F
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from signalr_channels.hubs.lifetime import LifetimeEventKind
from signalr_channels.models import ServerProcess
from signalr_channels.protocols.endings import CloseReason

__all__ = ["AliveFilter", "CloseReasonFilter", "HubFilter", "KindFilter", "ProcessFilter", "ReasonFilter", "StateFilter", "TransportFilter"]

RECENT_ROWS = 10_000
"""How many of the newest rows the hub filter takes its names from."""

TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")


class StateFilter(admin.SimpleListFilter):
    """Live connections (the default), ended ones, or all."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """The three views."""
        return [("live", _("Live")), ("ended", _("Ended")), ("all", _("All"))]

    def value(self) -> str:
        """The view that is chosen."""
        return super().value() or "live"

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The views, without a fourth one for "no filter"."""
        for lookup, title in self.lookup_choices:
            # What is live has no reason to be filtered by, and that filter is not shown then.
            gone = ["close_reason"] if lookup == "live" else []
            query_string = changelist.get_query_string({self.parameter_name: lookup}, gone)
            yield {"selected": self.value() == lookup, "query_string": query_string, "display": title}

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Restrict the list."""
        match self.value():
            case "live":
                return queryset.live()
            case "ended":
                return queryset.ended()
            case "all":
                return queryset.all()
        raise IncorrectLookupParameters


class ColumnFilter(admin.SimpleListFilter):
    """One value of a text column."""

    values: Iterable[str] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """The values of an enum, whether or not there are rows with them."""
        return [(value, value) for value in self.values]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Restrict the list."""
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class TransportFilter(ColumnFilter):
    """The transport."""

    title, parameter_name, values = _("transport"), "transport", TRANSPORTS


class KindFilter(ColumnFilter):
    """What happened."""

    title, parameter_name, values = _("kind"), "kind", tuple(kind.value for kind in LifetimeEventKind)


class ReasonFilter(ColumnFilter):
    """Why it ended, or never began."""

    title, parameter_name, values = _("reason"), "reason", tuple(reason.value for reason in CloseReason)


class CloseReasonFilter(ReasonFilter):
    """The same for connections."""

    parameter_name = "close_reason"


class HubFilter(ColumnFilter):
    """The hub: one that occurs in the newest rows, which are found by their primary keys whatever the size of the table."""

    title, parameter_name = _("hub"), "hub"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Dotted names."""
        rows = model_admin.get_queryset(request)
        newest = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
        names = set(rows.filter(pk__gt=newest - RECENT_ROWS).order_by("hub").values_list("hub", flat=True).distinct()[:100])
        if chosen := self.used_parameters.get(self.parameter_name):
            names.add(chosen)
        return [(name, name) for name in sorted(names) if name]


class ProcessFilter(admin.SimpleListFilter):
    """The server process: one of the last to be seen."""

    title = _("server process")
    parameter_name = "process"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Processes that run come first."""
        rows = ServerProcess.objects.order_by(F("stopped_at").desc(nulls_first=True), "-last_seen_at")
        return [(str(pk), name) for pk, name in rows.values_list("pk", "name")[:30]]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Restrict the list."""
        value = self.value()
        if value and not (value.isdecimal() and len(value) < 19):  # what every database takes as a primary key
            raise IncorrectLookupParameters
        return queryset.filter(process=value) if value else queryset


class AliveFilter(admin.SimpleListFilter):
    """Processes that run, or ran."""

    title = _("state")
    parameter_name = "alive"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Both."""
        return [("yes", _("Alive")), ("no", _("Silent or stopped"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Restrict the list."""
        if self.value() == "yes":
            return queryset.alive()
        if self.value() == "no":
            return queryset.exclude(pk__in=ServerProcess.objects.alive())
        return queryset
