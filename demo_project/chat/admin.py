"""Presence in Django admin, to look at."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from demo_project.chat.models import Presence

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Presence]
else:
    _ModelAdmin = admin.ModelAdmin


@admin.register(Presence)
class PresenceAdmin(_ModelAdmin):
    list_display = ("name", "is_user", "is_classic", "room", "since", "connection_id")
    list_filter = ("room", "is_user", "is_classic")
    search_fields = ("name", "connection_id")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
