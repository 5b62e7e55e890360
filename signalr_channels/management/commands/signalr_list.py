"""``manage.py signalr_list``: who is connected, on the terminal or as JSON for a script."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Q, QuerySet

from signalr_channels.models import Connection

COLUMNS = ("connection_id", "hub", "user_identifier", "transport", "hub_protocol", "opened_at", "last_seen_at", "remote_address")
ENDED = ("closed_at", "close_reason", "close_detail")
STATES = ("live", "ended", "all")


class Command(BaseCommand):
    help = "List live connections, the newest first, or ended ones with the reason, the last to end first."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--state", choices=STATES, default="live", help="Which connections. Default: live.")
        parser.add_argument("--hub", help="Only this hub: its dotted name, or the name of its class.")
        parser.add_argument("--user", help="Only this user identifier.")
        parser.add_argument("--transport", help="Only this transport, such as webSockets.")
        parser.add_argument("--process", help="Only this server process.")
        parser.add_argument("--limit", type=int, default=100, help="How many at most. Default: 100.")
        parser.add_argument("--count", action="store_true", help="Only say how many there are, whatever the limit.")
        parser.add_argument("--json", action="store_true", help="Answer in JSON: a list of objects, or a number.")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = find(**{name: options[name] for name in ("state", "hub", "user", "transport", "process")})
        if options["count"]:
            self.stdout.write(str(rows.count()))
            return
        order = ("-closed_at", "-pk") if options["state"] == "ended" else ("-pk",)
        found = [as_dict(row) for row in rows.order_by(*order)[: min(max(0, options["limit"]), sys.maxsize)]]
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        names = ("connection_id", "hub", "user_identifier", "transport", "hub_protocol", "opened_at", "remote_address", "process")
        for line in table((*names, *(("closed_at", "close_reason") if options["state"] != "live" else ())), found):
            self.stdout.write(line)


def find(*, state: str, hub: str | None, user: str | None, transport: str | None, process: str | None) -> QuerySet[Connection]:
    """The connections that were asked for."""
    rows = Connection.objects.select_related("process")
    if state == "live":
        rows = Connection.objects.live().select_related("process")
    elif state == "ended":
        rows = Connection.objects.ended().select_related("process")
    if hub:
        rows = rows.filter(Q(hub=hub) | Q(hub__endswith=f".{hub}"))
    exact = {"user_identifier": user, "transport": transport, "process__name": process}
    return rows.filter(**{name: value for name, value in exact.items() if value is not None})


def as_dict(row: Connection) -> dict[str, str | None]:
    """One connection, times in ISO 8601."""
    cells = {name: getattr(row, name) for name in (*COLUMNS, *ENDED)}
    texts = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in cells.items()}
    return {**texts, "path": row.path, "process": row.process.name if row.process else None}


def table(names: tuple[str, ...], rows: list[dict[str, str | None]]) -> list[str]:
    """Columns as wide as their widest cell."""
    lines = [[name.replace("_", " ").upper() for name in names], *([row[name] or "-" for name in names] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
