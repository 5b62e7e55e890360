"""How the admin shows times, hubs and reasons. Whatever came from a client passes through ``format_html``."""

from __future__ import annotations

import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from signalr_channels.explanations import explain

__all__ = [
    "EMPTY",
    "ago",
    "duration",
    "hub_cell",
    "identifier",
    "moment",
    "reason_and_detail_cell",
    "reason_cell",
    "reason_paragraphs",
    "tag",
    "text",
    "yes_or_no",
]

EMPTY = "-"


def text(value: str | None) -> str:
    """Text, or a dash."""
    return value or EMPTY


def yes_or_no(value: bool | None) -> str:
    """In words: neither answer is good or bad, as Django's icons would have it."""
    return EMPTY if value is None else str(_("Yes") if value else _("No"))


def duration(delta: datetime.timedelta) -> str:
    """The largest unit: ``42 seconds``, ``3 hours``."""
    seconds = max(0, int(delta.total_seconds()))
    if seconds < 60:
        return ngettext("%d second", "%d seconds", seconds) % seconds
    now = timezone.now()
    return timesince(now - delta, now, depth=1)


def moment(value: datetime.datetime | None, shown: str | None = None, *, to_the_millisecond: bool = False) -> str:
    """A time, to the millisecond where a pointer rests on it; with ``shown`` in its place."""
    if value is None:
        return EMPTY
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    second = f"{date_format(local, 'DATE_FORMAT')} {local:%H:%M:%S}"
    millisecond = f"{second}.{local.microsecond // 1000:03d}"
    shown = shown or (millisecond if to_the_millisecond else second)
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), f"{millisecond} {local:%Z}".rstrip(), shown)


def ago(value: datetime.datetime | None) -> str:
    """How long ago something was."""
    return EMPTY if value is None else moment(value, str(_("%s ago")) % duration(timezone.now() - value))


def hub_cell(hub: str, path: str) -> str:
    """The class name with the path below it, and the dotted name where a pointer rests."""
    return format_html('<span title="{}">{}</span><span class="signalr-note">{}</span>', hub, hub.rpartition(".")[2] or EMPTY, path)


def reason_cell(reason: str) -> str:
    """The value, and its sentence."""
    if not reason:
        return EMPTY
    explanation = explain(reason)
    return format_html(
        '<code class="signalr-tag">{}</code><span class="signalr-note signalr-sentence">{}</span>',
        reason,
        explanation.meaning if explanation else "",
    )


def reason_and_detail_cell(reason: str, detail: str) -> str:
    """The value, its sentence, and what was special about it."""
    if not detail:
        return reason_cell(reason)
    return format_html('{}<span class="signalr-note signalr-detail">{}</span>', reason_cell(reason) if reason else "", detail)


def reason_paragraphs(reason: str) -> str:
    """The value, its sentence, and what to do about it."""
    explanation = explain(reason)
    if explanation is None:
        return reason or EMPTY
    return format_html(
        '<code class="signalr-tag">{}</code> {}<span class="signalr-advice"><strong>{}</strong> {}</span>',
        reason,
        explanation.meaning,
        _("What to do:"),
        explanation.advice,
    )


def identifier(value: str) -> str:
    """A connection id or the name of a process."""
    return format_html('<span class="signalr-id">{}</span>', value) if value else EMPTY


def tag(value: str, kind: str = "") -> str:
    """A value of an enum."""
    return format_html('<code class="signalr-tag{}">{}</code>', f" signalr-{kind}" if kind else "", value) if value else EMPTY
