"""Which connections count as live, what survives a deleted user, and what old history costs: the models and their commands."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from signalr_channels.history import write_batch
from signalr_channels.models import Connection, LifetimeEvent, ServerProcess
from signalr_channels.protocols.endings import CloseReason
from tests.django.history_cast import NOON, PROCESS, end, event, history_database, later

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.SIGNALR = {"PROCESS_LEASE": 30}


def run(command: str, *args: str) -> str:
    out = io.StringIO()
    call_command(command, *args, stdout=out)
    return out.getvalue()


def test_a_connection_is_live_while_its_process_was_seen_within_the_lease() -> None:
    write_batch([event("connected", "c1")], {})
    ServerProcess.objects.update(last_seen_at=NOON)

    assert [row.connection_id for row in Connection.objects.live(later(30))] == ["c1"]
    assert not Connection.objects.live(later(31)).exists()
    assert not Connection.objects.ended().exists()


def test_connections_of_a_stopped_process_are_not_live() -> None:
    write_batch([event("connected", "c1")], {})
    ServerProcess.objects.update(last_seen_at=NOON, stopped_at=NOON)

    assert not Connection.objects.live(NOON).exists()
    assert not ServerProcess.objects.alive(NOON).exists()
    assert not Connection.objects.get().is_live


def test_connections_of_no_process_are_not_live() -> None:
    write_batch([event("connected", "c1", process="")], {})

    assert Connection.objects.get().process is None
    assert not Connection.objects.live(NOON).exists()
    assert not Connection.objects.get().is_live


def test_an_ended_connection_is_ended_and_not_live() -> None:
    write_batch([event("connected", "c1"), end("c1")], {})

    assert [row.connection_id for row in Connection.objects.ended()] == ["c1"]
    assert not Connection.objects.live(NOON).exists()


def test_is_live_agrees_with_live() -> None:
    write_batch([event("connected", "c1")], {})
    ServerProcess.objects.update(last_seen_at=timezone.now())

    assert Connection.objects.live().get().is_live


def test_the_history_outlives_the_user() -> None:
    user = get_user_model().objects.create_user("ada")
    write_batch([event("connected", "c1", info={"user_pk": user.pk, "user_identifier": "ada"})], {})
    assert Connection.objects.get().user == user

    user.delete()

    row = Connection.objects.get()
    assert (row.user, row.user_identifier) == (None, "ada")


def test_a_user_can_be_deleted_where_the_history_has_its_own_database(tmp_path: Path, settings: Any) -> None:
    user = get_user_model().objects.create_user("ada")
    with history_database(tmp_path) as alias:
        settings.SIGNALR = {"DATABASE": alias}
        write_batch([event("connected", "c1", info={"user_pk": user.pk})], {})
        user.delete()
        row = Connection.objects.get()
        assert (row._state.db, row.user_identifier) == (alias, "ada")


def test_the_managers_use_the_configured_database_unless_told_otherwise(settings: Any) -> None:
    settings.SIGNALR = {"DATABASE": "elsewhere"}

    assert Connection.objects.live().db == "elsewhere"
    assert LifetimeEvent.objects.all().db == "elsewhere"
    assert ServerProcess.objects.using("default").db == "default"
    assert Connection.objects.db_manager("default").live().db == "default"


def test_an_event_finds_its_connection_by_the_connection_id() -> None:
    write_batch([event("negotiated", "c1"), event("connected", "c1"), event("rejected", "", reason=CloseReason.UNAUTHORIZED)], {})

    rows = LifetimeEvent.objects.order_by("id").select_related("connection")
    assert [(row.kind, row.connection_id, row.connection and row.connection.hub) for row in rows] == [
        ("negotiated", "c1", "chat.hubs.ChatHub"),
        ("connected", "c1", "chat.hubs.ChatHub"),
        ("rejected", "", None),
    ]
    assert [row.kind for row in Connection.objects.get().lifetime_events.order_by("id")] == ["negotiated", "connected"]


def test_the_events_of_a_connection_go_with_it() -> None:
    write_batch([event("connected", "c1"), end("c1"), event("connected", "c2")], {})

    Connection.objects.get(connection_id="c1").delete()

    assert [row.connection_id for row in LifetimeEvent.objects.all()] == ["c2"]


def test_no_column_can_hold_a_token() -> None:
    names = {field.name for model in (Connection, LifetimeEvent, ServerProcess) for field in model._meta.get_fields()}
    assert not [name for name in names if "token" in name]


def test_the_migration_is_complete() -> None:
    call_command("makemigrations", "signalr_channels", "--check", "--dry-run", verbosity=0)
    assert "signalr_channels_connection" in connections["default"].introspection.table_names()


# signalr_prune


def test_prune_deletes_what_ended_before_and_its_events() -> None:
    old, new = timezone.now() - datetime.timedelta(days=40), timezone.now()
    write_batch(
        [
            *(event("connected", "old", time=old), end("old", time=old)),
            *(event("connected", "open", time=old), event("connected", "new", time=old), end("new", time=new)),
            *(
                event("rejected", "", time=old, reason=CloseReason.UNAUTHORIZED),
                event("rejected", "", time=new, reason=CloseReason.UNAUTHORIZED),
            ),
        ],
        {},
    )
    ServerProcess.objects.create(name="gone:1:a", started_at=old, last_seen_at=old, stopped_at=old)
    ServerProcess.objects.filter(name=PROCESS).update(last_seen_at=new)

    said = json.loads(run("signalr_prune", "--days", "30", "--json"))

    assert {name: said[name] for name in ("connections", "lifetime_events", "server_processes", "ended_as_lost")} == {
        "connections": 1,
        "lifetime_events": 3,
        "server_processes": 1,
        "ended_as_lost": 0,
    }
    assert sorted(Connection.objects.values_list("connection_id", flat=True)) == ["new", "open"]
    assert sorted(row.connection_id or "" for row in LifetimeEvent.objects.all()) == ["", "new", "new", "open"]
    assert ServerProcess.objects.get().name == PROCESS


def test_prune_keeps_to_the_retention_setting(settings: Any) -> None:
    settings.SIGNALR = {"HISTORY_RETENTION": 2}
    old = timezone.now() - datetime.timedelta(days=3)
    write_batch([event("connected", "c1", time=old), end("c1", time=old)], {})

    assert "Deleted 1 connections, 2 lifetime events and 0 server processes" in run("signalr_prune")
    assert not Connection.objects.exists()


def test_a_dry_run_changes_nothing() -> None:
    old = timezone.now() - datetime.timedelta(days=3)
    write_batch([event("connected", "c1", time=old), end("c1", time=old), event("connected", "c2", time=old)], {})

    assert "Would delete 1 connections, 2 lifetime events" in run("signalr_prune", "--dry-run", "--days", "1")
    assert Connection.objects.count() == 2
    assert Connection.objects.filter(closed_at=None).count() == 1


def test_prune_ends_the_connections_of_lost_processes_first() -> None:
    old = timezone.now() - datetime.timedelta(days=3)
    write_batch([event("connected", "c1", time=old)], {})

    said = json.loads(run("signalr_prune", "--json", "--days", "30"))

    assert said["ended_as_lost"] == 1
    assert Connection.objects.get().close_reason == "process_lost"


@pytest.mark.parametrize("days", [750_000, 1e300])
def test_an_age_before_the_calendar_began_keeps_everything(days: float, settings: Any) -> None:
    settings.SIGNALR = {"HISTORY_RETENTION": days}
    old = timezone.now() - datetime.timedelta(days=3)
    write_batch([event("connected", "c1", time=old), end("c1", time=old)], {})

    for arguments in ([], ["--days", str(days)]):
        assert "Deleted 0 connections" in run("signalr_prune", *arguments)
    assert Connection.objects.exists()


@pytest.mark.parametrize("days", ["-1", "soon", "nan", "inf"])
def test_prune_refuses_a_nonsensical_age(days: str) -> None:
    with pytest.raises(CommandError):
        run("signalr_prune", f"--days={days}")


# signalr_list


def test_list_shows_live_connections() -> None:
    now = timezone.now()
    write_batch([event("connected", "c1", time=now), event("connected", "c2", time=now), end("c2", time=now)], {})

    lines = run("signalr_list").splitlines()

    assert lines[0].split("  ")[0] == "CONNECTION ID"
    assert [line.split()[0] for line in lines[1:]] == ["c1"]
    assert run("signalr_list", "--count").strip() == "1"


def test_list_begins_with_the_last_to_end() -> None:
    write_batch([*(event("connected", key) for key in ("c1", "c2")), end("c2", time=later(5)), end("c1", time=later(6))], {})
    assert [row["connection_id"] for row in json.loads(run("signalr_list", "--state", "ended", "--json"))] == ["c1", "c2"]


def test_list_answers_in_json_with_the_reason() -> None:
    write_batch([event("connected", "c1"), end("c1", CloseReason.PING_TIMEOUT, detail="Silent.", time=later(5))], {})

    (found,) = json.loads(run("signalr_list", "--state", "ended", "--json"))

    assert (found["connection_id"], found["close_reason"], found["close_detail"]) == ("c1", "ping_timeout", "Silent.")
    assert (found["opened_at"], found["closed_at"]) == (NOON.isoformat(), later(5).isoformat())
    assert found["process"] == PROCESS


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        (["--hub", "ChatHub"], ["c1"]),
        (["--hub", "shop.hubs.OrdersHub"], ["c2"]),
        (["--user", "grace"], ["c2"]),
        (["--transport", "webSockets"], ["c1"]),
        (["--process", "web-2:1:b"], ["c2"]),
        (["--limit", "1"], ["c2"]),
        (["--limit", "-1"], []),
        (["--limit", "9" * 20], ["c2", "c1"]),
    ],
)
def test_list_filters(args: list[str], ids: list[str]) -> None:
    other = {"hub": "shop.hubs.OrdersHub", "user_identifier": "grace", "transport": "longPolling"}
    write_batch([event("connected", "c1"), event("connected", "c2", process="web-2:1:b", info=other)], {})

    found = json.loads(run("signalr_list", "--state", "all", "--json", *args))

    assert [row["connection_id"] for row in found] == ids
