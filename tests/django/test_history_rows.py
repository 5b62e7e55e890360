"""Rows written in one statement are those Django would have written."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from signalr_channels.history_rows import insert_new
from signalr_channels.models import Connection, LifetimeEvent, ServerProcess

pytestmark = pytest.mark.django_db
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


@pytest.fixture(params=["in one statement", "by Django"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by Django":
        monkeypatch.setattr(connections["default"], "vendor", "another")
    return str(request.param)


def columns(key: str, **more: Any) -> dict[str, Any]:
    return {"connection_id": key, "hub": "chat", "opened_at": NOW, "last_seen_at": NOW, **more}


def test_a_row_holds_what_it_was_given_and_defaults(way: str) -> None:
    process = ServerProcess.objects.create(name="a:1:b", started_at=NOW, last_seen_at=NOW)
    insert_new(Connection, [columns("a", process_id=process.pk, user_id=7, stop_called=True), columns("b")], "default")
    first, second = Connection.objects.order_by("connection_id")
    assert (first.opened_at, first.process, first.user_id, first.stop_called, first.closed_at) == (NOW, process, 7, True, None)
    assert (second.process_id, second.user_id, second.stop_called, second.user_agent) == (None, None, None, "")
    Connection.objects.create(**columns("c"))
    written, made = Connection.objects.filter(connection_id__in=("b", "c")).order_by("connection_id").values()
    assert {**written, "id": 0, "connection_id": ""} == {**made, "id": 0, "connection_id": ""}


def test_what_is_there_already_stays_as_it_is(way: str) -> None:
    insert_new(Connection, [columns("a", path="first")], "default")
    insert_new(Connection, [columns("a", path="second"), columns("b", path="third")], "default")
    assert list(Connection.objects.order_by("connection_id").values_list("connection_id", "path")) == [("a", "first"), ("b", "third")]


def test_rows_are_found_through_relations_and_by_time(way: str) -> None:
    insert_new(Connection, [columns("a")], "default")
    insert_new(LifetimeEvent, [{"event_id": "e", "kind": "connected", "time": NOW, "connection_id": "a"}], "default")
    event = LifetimeEvent.objects.get(time=NOW, connection__hub="chat")
    assert event.connection == Connection.objects.get()


def test_it_takes_one_statement(way: str) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        insert_new(Connection, [columns(str(number)) for number in range(20)], "default")
        insert_new(Connection, [], "default")
    assert len([query for query in queries if "INSERT" in query["sql"]]) == 1
