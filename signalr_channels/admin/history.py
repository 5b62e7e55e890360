"""What the lists of the history share: read-only, in their own database, and never counted whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from signalr_channels.admin.cells import EMPTY
from signalr_channels.conf import get_settings

__all__ = ["MAXIMUM_ROWS", "MAXIMUM_SELECTED", "BoundedPaginator", "HistoryAdmin", "has_permission"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin, _Paginator = admin.ModelAdmin, Paginator

MAXIMUM_ROWS = 10_000
"""How many matches a list counts and turns the pages of. Older rows are reached with filters."""
MAXIMUM_SELECTED = 900
"""
How many rows an action takes at once.

The page that asks for confirmation has a field for each, and Django takes forms of up to ``DATA_UPLOAD_MAX_NUMBER_FIELDS``, 1000.
"""


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

    @property
    def is_selectable(self) -> bool:
        """Whether an action can take all rows, those of other pages too."""
        return self.count <= MAXIMUM_SELECTED


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

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *more: Any, **named: Any) -> HttpResponse | None:
        """Run an action on what was selected, but not on a whole history, of which the list counts no more than its beginning."""
        is_all = request.POST.get("select_across", "0") != "0"
        if is_all and queryset[: MAXIMUM_SELECTED + 1].count() > MAXIMUM_SELECTED:
            text = _("At most %d rows can be selected at once. manage.py signalr_prune deletes by age.")
            self.message_user(request, text % MAXIMUM_SELECTED, messages.WARNING)
            return None
        return super().response_action(request, queryset, *more, **named)

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


def has_permission(request: HttpRequest, action: str, model: type[Model]) -> bool:
    """Whether the user has Django's permission for another model of this app."""
    return request.user.has_perm(f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}")
