"""``manage.py signalr_prune``: delete old history. Run it once a day, for example from cron or a systemd timer."""

from __future__ import annotations

import argparse
import datetime
import json
import math
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from signalr_channels.conf import get_settings
from signalr_channels.history import CHUNK
from signalr_channels.models import Connection, LifetimeEvent, ServerProcess
from signalr_channels.processes import sweep, sweep_strays
from signalr_channels.signals import announce


class Command(BaseCommand):
    help = (
        "Delete connections that ended more than HISTORY_RETENTION days ago, their events, and what is left of server processes "
        "that stopped before. Connections of lost server processes are ended first."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--days", type=days, help="Keep what ended within this many days, instead of HISTORY_RETENTION.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be deleted, and leave everything as it is.")
        parser.add_argument("--json", action="store_true", help="Answer in JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        retention = get_settings().HISTORY_RETENTION if options["days"] is None else options["days"]
        cutoff = days_before(now, retention)
        lost: list[Any] = []
        if not options["dry_run"]:
            lost = [*sweep(now), *sweep_strays(now)]
            announce(lost)
        counts = {"ended_as_lost": len(lost), **prune(cutoff, is_dry_run=options["dry_run"])}
        if options["json"]:
            self.stdout.write(json.dumps({"before": cutoff.isoformat(), "dry_run": options["dry_run"], **counts}))
        else:
            verb = "Would delete" if options["dry_run"] else "Deleted"
            if lost:
                self.stdout.write(f"Ended {len(lost)} connections of lost server processes.")
            self.stdout.write(
                f"{verb} {counts['connections']} connections, {counts['lifetime_events']} lifetime events and "
                f"{counts['server_processes']} server processes from before {cutoff:%Y-%m-%d %H:%M %Z}."
            )


def days(text: str) -> float:
    """A number of days, not negative."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError("must be a number of days, at least 0")
    return value


def days_before(now: datetime.datetime, days: float) -> datetime.datetime:
    """A time so many days ago, or the beginning of the calendar if that was before it."""
    try:
        return now - datetime.timedelta(days=days)
    except OverflowError:
        return datetime.datetime.min.replace(tzinfo=now.tzinfo)


def prune(cutoff: datetime.datetime, *, is_dry_run: bool = False) -> dict[str, int]:
    """
    Delete what is older than ``cutoff``, a few hundred rows in a transaction, so that nobody waits for it.

    Events go with their connection. Those without one (refusals, negotiations nobody followed up) go by their own age; those of a
    connection that is still open, or ended later, stay.

    Returns:
        How many rows of each kind went.
    """
    ended = Connection.objects.ended().filter(closed_at__lt=cutoff)
    kept = Connection.objects.filter(connection_id=OuterRef("connection_id"))
    loose = LifetimeEvent.objects.filter(~Exists(kept), time__lt=cutoff)
    stopped = ServerProcess.objects.filter(stopped_at__lt=cutoff).filter(~Exists(Connection.objects.filter(process=OuterRef("pk"))))
    if is_dry_run:
        with_connection = LifetimeEvent.objects.filter(connection_id__in=ended.values("connection_id"))
        return {
            "connections": ended.count(),
            "lifetime_events": with_connection.count() + loose.count(),
            "server_processes": stopped.count(),
        }
    connections = events = 0
    while rows := list(ended.order_by("closed_at")[:CHUNK].values_list("pk", "connection_id")):
        events += LifetimeEvent.objects.filter(connection_id__in=[key for _, key in rows]).delete()[0]
        connections += Connection.objects.filter(pk__in=[pk for pk, _ in rows]).delete()[0]
    events += delete_in_chunks(loose.order_by("time"))
    return {"connections": connections, "lifetime_events": events, "server_processes": delete_in_chunks(stopped)}


def delete_in_chunks(rows: QuerySet[Any]) -> int:
    """Delete the rows of a query. Returns how many they were."""
    deleted = 0
    while pks := list(rows.values_list("pk", flat=True)[:CHUNK]):
        deleted += rows.model._default_manager.filter(pk__in=pks).delete()[0]
    return deleted
