"""How lifetime events become rows: batches, outages, overflow, lost processes, threads and forks."""

from __future__ import annotations

import asyncio
import datetime
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connections, transaction
from django.test.utils import CaptureQueriesContext

from signalr_channels import history_writer as writer_module
from signalr_channels.history import clean_text, write_batch
from signalr_channels.hubs.lifetime import LifetimeEvent
from signalr_channels.models import Connection, ServerProcess
from signalr_channels.models import LifetimeEvent as EventRow
from signalr_channels.processes import ProcessLease, sweep, sweep_strays
from signalr_channels.protocols.endings import CloseReason
from signalr_channels.recorder import Recorder, get_recorder, use_recorder
from signalr_channels.signals import lifetime_event
from tests.django.history_cast import NOON, PROCESS, end, event, history_database, later

SOON = 10.0
"""Seconds a test waits for another thread before it fails."""


class Listener:
    """Receives the signal, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[LifetimeEvent] = []
        self.arrived = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, event: LifetimeEvent, **kwargs: Any) -> None:
        self.events.append(event)
        self.arrived.release()
        assert self.gate.wait(SOON)

    def wait_for_one(self) -> None:
        assert self.arrived.acquire(timeout=SOON)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    lifetime_event.connect(listener)
    yield listener
    listener.gate.set()
    lifetime_event.disconnect(listener)


@pytest.fixture
def history(settings: Any) -> None:
    settings.SIGNALR = {"PROCESS_LEASE": 30}


@pytest.fixture
def history_file(settings: Any, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """A database the writer thread can see."""
    with django_db_blocker.unblock(), history_database(tmp_path, for_threads=True) as alias:
        settings.SIGNALR = {"DATABASE": alias, "HISTORY_FLUSH_INTERVAL": 0.01, "PROCESS_LEASE": 30}
        yield alias


@pytest.fixture
def recorder(history_file: str) -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.stop()


def rows() -> list[tuple[str, str]]:
    """Connection id and reason of every connection; the reason of an open one is ``"open"``."""
    return [(row.connection_id, row.close_reason if row.closed_at else "open") for row in Connection.objects.order_by("connection_id")]


def writer_threads() -> set[threading.Thread]:
    """Those that write a history: other tests may have left that of the process, which serves signals too."""
    return {thread for thread in threading.enumerate() if thread.name == "signalr-history"}


# What the events of a connection leave


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
class TestBatches:
    def test_a_connection_that_opens_and_ends_in_one_batch_is_one_row_with_its_end(self) -> None:
        write_batch([event("negotiated"), event("connected"), end(time=later(3), detail="Gone.")], {})

        row = Connection.objects.get()
        assert (row.opened_at, row.closed_at, row.close_reason, row.close_detail) == (NOON, later(3), "client_gone", "Gone.")
        assert (row.stop_called, row.allows_reconnect) == (False, False)
        assert [row.kind for row in EventRow.objects.order_by("id")] == ["negotiated", "connected", "disconnected"]

    def test_a_connection_that_ends_in_a_later_batch_gets_its_end(self) -> None:
        user = get_user_model().objects.create_user("ada")
        write_batch([event("connected", info={"user_pk": user.pk})], {})
        write_batch([end(time=later(3))], {})

        row = Connection.objects.get()
        assert (row.opened_at, row.closed_at, row.user) == (NOON, later(3), user)
        assert row.process is not None
        assert (row.process.name, row.process.host, row.process.pid) == (PROCESS, "web-1", 4711)

    def test_everything_known_of_the_request_is_kept(self) -> None:
        write_batch([event("connected")], {})

        row = Connection.objects.get()
        assert (row.hub, row.path, row.transport, row.hub_protocol) == ("chat.hubs.ChatHub", "/chat", "webSockets", "json")
        assert (row.user_identifier, row.remote_address) == ("ada", "203.0.113.7:50000")
        assert (row.user_agent, row.origin) == ("Mozilla/5.0", "https://app.example.com")

    def test_refusals_and_negotiations_make_no_connection(self) -> None:
        refusal = event("rejected", "c2", reason=CloseReason.ORIGIN_REJECTED, detail="Add it to ALLOWED_ORIGINS.")
        write_batch([event("negotiated", "c1"), refusal, event("rejected", "", reason=CloseReason.UNAUTHORIZED)], {})

        assert rows() == []
        assert [(row.connection_id, row.reason) for row in EventRow.objects.order_by("id")] == [
            ("c1", ""),
            ("c2", "origin_rejected"),
            ("", "unauthorized"),
        ]

    def test_an_end_whose_beginning_was_dropped_still_makes_a_row(self) -> None:
        write_batch([end("c1", time=later(9))], {})

        row = Connection.objects.get()
        assert (row.opened_at, row.closed_at, row.hub) == (later(9), later(9), "chat.hubs.ChatHub")

    @pytest.mark.parametrize("batches", [1, 3])
    def test_a_reconnected_connection_is_open_at_its_new_process(self, batches: int) -> None:
        there = event("reconnected", process="web-2:1:b", time=later(8), info={"transport": "longPolling"})
        events = [event("connected"), end(time=later(5), reason=CloseReason.PROCESS_LOST), there]
        for part in [events] if batches == 1 else [[each] for each in events]:
            write_batch(part, {})

        row = Connection.objects.select_related("process").get()
        assert row.process is not None
        assert (row.closed_at, row.close_reason, row.process.name, row.transport) == (None, "", "web-2:1:b", "longPolling")
        assert (row.opened_at, row.last_seen_at) == (NOON, later(8))

    def test_a_process_that_lost_the_connection_to_another_does_not_end_it(self) -> None:
        write_batch([event("connected")], {})
        write_batch([event("reconnected", process="web-2:1:b")], {})
        write_batch([end(reason=CloseReason.SUPERSEDED, process=PROCESS)], {})

        assert rows() == [("c1", "open")]

    def test_a_connection_superseded_on_its_own_process_has_ended(self) -> None:
        write_batch([event("connected")], {})
        write_batch([end(reason=CloseReason.SUPERSEDED)], {})

        assert rows() == [("c1", "superseded")]

    @pytest.mark.parametrize("batches", [1, 2])
    @pytest.mark.parametrize(
        ("first", "second", "kept"),
        [
            (CloseReason.CLIENT_GONE, CloseReason.PROCESS_LOST, "client_gone"),
            (CloseReason.PROCESS_LOST, CloseReason.CLIENT_GONE, "client_gone"),
            (CloseReason.CLIENT_CLOSED, CloseReason.CLIENT_GONE, "client_closed"),
        ],
    )
    def test_the_first_end_counts_unless_it_was_a_guess(self, first: CloseReason, second: CloseReason, kept: str, batches: int) -> None:
        ends = [end(reason=first), end(reason=second)]
        write_batch([event("connected"), *ends[: 3 - batches]], {})
        write_batch(ends[3 - batches :], {})

        assert rows() == [("c1", kept)]

    def test_writing_a_batch_twice_leaves_the_rows_of_writing_it_once(self) -> None:
        batch = [event("connected", "c1"), end("c1"), event("connected", "c2"), event("reconnected", "c2"), end("c3")]
        write_batch(batch, {})
        before = list(Connection.objects.order_by("pk").values())
        write_batch(batch, {})

        assert list(Connection.objects.order_by("pk").values()) == before
        assert EventRow.objects.count() == 5

    def test_last_seen_times_are_written_to_the_second_and_never_go_back(self) -> None:
        write_batch([event("connected", "c1"), event("connected", "c2"), event("connected", "c3")], {})
        write_batch([], {"c1": later(5.7), "c2": later(6.2), "nobody": later(6)})
        write_batch([], {"c1": later(2)})

        seen = dict(Connection.objects.values_list("connection_id", "last_seen_at"))
        assert seen == {"c1": later(5), "c2": later(6), "c3": NOON}

    @pytest.mark.parametrize("kinds", [["connected"], ["connected", "disconnected"], ["disconnected"], ["reconnected"], ["negotiated"]])
    def test_the_number_of_queries_does_not_depend_on_the_number_of_events(self, kinds: list[str]) -> None:
        def count(numbers: range) -> int:
            ids = [f"c{number}" for number in numbers]
            if "connected" not in kinds:
                write_batch([event("connected", key) for key in ids], {})
            batch = [event(kind, key, reason=CloseReason.CLIENT_GONE) for key in ids for kind in kinds]
            with CaptureQueriesContext(connections["default"]) as queries:
                write_batch(batch, dict.fromkeys(ids, later(1)))
            assert EventRow.objects.filter(connection_id__in=ids, kind=kinds[-1]).count() == len(ids)
            return len(queries)

        write_batch([event("connected", "first")], {})  # makes the row of the process
        few = count(range(2))
        assert count(range(100, 120)) == few
        assert few <= 9

    def test_a_user_key_that_is_none_of_this_site_is_left_out(self) -> None:
        write_batch([event("connected", info={"user_pk": "not-a-number"})], {})

        assert (Connection.objects.get().user, Connection.objects.get().user_identifier) == (None, "ada")

    def test_times_are_naive_where_the_site_uses_no_time_zones(self, settings: Any) -> None:
        settings.USE_TZ = False
        settings.TIME_ZONE = "UTC"
        write_batch([event("connected"), end(time=later(1))], {"c1": later(0.5)})

        assert Connection.objects.get().closed_at == datetime.datetime(2026, 3, 1, 12, 0, 1)
        ProcessLease("p:1:a").renew(datetime.datetime(2026, 3, 1, 12, 0, 0), 0)
        assert len(sweep(datetime.datetime(2026, 3, 1, 13, 0, 0))) == 0


# Text from outside


class TestText:
    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            (None, ""),
            ("plain", "plain"),
            ("grüße 你好 👋", "grüße 你好 👋"),
            ("a\x00b\x1b[31mc\r\nd\x7f\x85", r"a\x00b\x1b[31mc\x0d\x0ad\x7f\x85"),
            ("abc\u202etxt.exe\u2066", r"abc\u202etxt.exe\u2066"),
            ("half \ud83d pair", r"half \ud83d pair"),
            ("/chat?id=5&access_token=eyJhbGciOi.J9&x=1", "/chat?id=5&access_token=[left out]&x=1"),
            ("/signalr?connectionToken=abc%3D", "/signalr?connectionToken=[left out]"),
            ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc", "Authorization: Bearer [left out]"),
            ("no bearer token was sent", "no bearer token was sent"),
        ],
    )
    def test_what_is_written(self, text: str | None, clean: str) -> None:
        assert clean_text(text, 100) == clean

    def test_long_text_ends_with_an_ellipsis(self) -> None:
        assert clean_text("x" * 101, 100) == "x" * 99 + "…"
        assert clean_text("x" * 100, 100) == "x" * 100

    def test_a_token_that_is_cut_in_half_is_left_out_whole(self) -> None:
        text = "x" * 80 + " access_token=" + "s" * 100_000
        assert clean_text(text, 100) == "x" * 80 + " access_token=[left…"

    def test_escapes_count_towards_the_length(self) -> None:
        assert len(clean_text("\x00" * 100, 100)) == 100

    @pytest.mark.django_db
    @pytest.mark.usefixtures("history")
    def test_every_column_takes_what_a_client_may_send(self) -> None:
        nasty = "\x00\ud800" + "é" * 5000
        info = dict.fromkeys(
            ("hub", "path", "user_identifier", "transport", "hub_protocol", "remote_address", "user_agent", "origin"), nasty
        )
        batch = [
            event("connected", "i" * 5000, process=nasty, info=info),
            event("disconnected", "i" * 5000, process=nasty, info=info, reason=CloseReason.CLIENT_GONE, detail=nasty, event_id=nasty),
        ]
        write_batch(batch, {})

        models: list[Any] = [Connection, EventRow, ServerProcess]
        for model in models:
            for row in model.objects.all():
                for field in model._meta.concrete_fields:
                    value = field.value_from_object(row)
                    if isinstance(value, str) and value and field.max_length:
                        assert len(value) <= field.max_length
                        assert value.isprintable()
                        value.encode()
        assert Connection.objects.get().close_reason == "client_gone"


# Without a thread


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
class TestSynchronous:
    def test_an_event_is_written_at_once(self, listener: Listener) -> None:
        recorder = Recorder(synchronous=True)
        recorder.record(event("connected"))

        assert rows() == [("c1", "open")]
        assert [(each.kind.value, each.connection.connection_id) for each in listener.events] == [("connected", "c1")]

    def test_no_thread_is_started(self) -> None:
        before = threading.active_count()
        with use_recorder(Recorder(synchronous=True)) as recorder:
            recorder.start(PROCESS)
            recorder.record(event("connected"))
            recorder.touch({"c1": later(5)})
            assert recorder.flush()
        assert threading.active_count() == before
        assert Connection.objects.get().last_seen_at == later(5)
        assert ServerProcess.objects.get().stopped_at is not None

    def test_on_an_event_loop_it_waits_for_a_flush(self) -> None:
        recorder = Recorder(synchronous=True)

        async def hub() -> None:
            recorder.record(event("connected"))

        asyncio.run(hub())
        assert rows() == []
        assert recorder.flush()
        assert rows() == [("c1", "open")]

    def test_flush_raises_what_the_database_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = Recorder(synchronous=True)

        def fail(*args: Any) -> None:
            raise DataError("no")

        with monkeypatch.context() as patch:
            patch.setattr(writer_module, "write_batch", fail)
            recorder._events.append(event("connected", "c1"))
            with pytest.raises(DataError):
                recorder.flush()
        recorder.record(event("connected", "c2"))
        assert rows() == [("c2", "open")]

    def test_a_receiver_may_record(self, listener: Listener) -> None:
        recorder = Recorder(synchronous=True)

        def echo(**kwargs: Any) -> None:
            if kwargs["event"].connection.connection_id == "c1":
                recorder.record(event("connected", "c2"))

        lifetime_event.connect(echo)
        try:
            recorder.record(event("connected", "c1"))
        finally:
            lifetime_event.disconnect(echo)
        assert rows() == [("c1", "open"), ("c2", "open")]
        assert len(listener.events) == 2

    def test_an_error_of_a_receiver_is_logged_and_reaches_nobody(self, listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
        def broken(**kwargs: Any) -> None:
            raise ValueError("broken receiver")

        lifetime_event.connect(broken)
        try:
            Recorder(synchronous=True).record(event("connected"))
        finally:
            lifetime_event.disconnect(broken)
        assert len(listener.events) == 1
        assert "broken receiver" in caplog.text

    def test_without_history_signals_are_sent_and_nothing_is_written(self, settings: Any, listener: Listener) -> None:
        settings.SIGNALR = {"HISTORY": False}
        with CaptureQueriesContext(connections["default"]) as queries, use_recorder(Recorder(synchronous=True)) as recorder:
            recorder.start(PROCESS)
            recorder.record(event("connected"))
            recorder.touch({"c1": later(5)})
        assert len(listener.events) == 1
        # Receivers of the signal may look things up.
        assert [query["sql"] for query in queries if not query["sql"].startswith("SELECT")] == []

    def test_use_recorder_stands_in_for_the_one_of_the_process(self) -> None:
        before = get_recorder()
        with use_recorder(Recorder(synchronous=True)) as recorder:
            assert get_recorder() is recorder
        assert get_recorder() is before


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("history")
async def test_aflush_writes_what_was_recorded_on_the_event_loop() -> None:
    with use_recorder(Recorder(synchronous=True)) as recorder:
        recorder.start(PROCESS)
        recorder.record(event("connected"))
        assert await recorder.aflush()
        assert [row.connection_id async for row in Connection.objects.all()] == ["c1"]
    assert await recorder.astop()
    assert await ServerProcess.objects.filter(stopped_at=None).acount() == 0
    await sync_to_async(connections.close_all)()


# With the writer thread


class TestThread:
    def test_flush_waits_until_everything_is_written(self, recorder: Recorder) -> None:
        for number in range(500):
            recorder.record(event("connected", f"c{number}"))
        recorder.touch({"c7": later(5)})

        assert recorder.flush(SOON)
        assert Connection.objects.count() == 500
        assert Connection.objects.get(connection_id="c7").last_seen_at == later(5)
        assert recorder.dropped == 0

    def test_an_event_is_written_without_a_flush(self, recorder: Recorder, listener: Listener) -> None:
        recorder.record(event("connected"))
        listener.wait_for_one()
        assert rows() == [("c1", "open")]

    def test_a_full_batch_does_not_wait_for_the_interval(self, recorder: Recorder, listener: Listener, settings: Any) -> None:
        settings.SIGNALR = {**settings.SIGNALR, "HISTORY_FLUSH_INTERVAL": 3600, "HISTORY_BATCH_SIZE": 5}
        for number in range(5):
            recorder.record(event("connected", f"c{number}"))
        listener.wait_for_one()
        assert Connection.objects.count() == 5

    def test_it_takes_no_part_in_the_transaction_of_the_caller(self, recorder: Recorder, history_file: str) -> None:
        with transaction.atomic(using=history_file):
            recorder.record(event("connected"))
            assert recorder.flush(SOON)
            transaction.set_rollback(True, using=history_file)
        assert rows() == [("c1", "open")]

    def test_a_full_queue_drops_counts_and_says_so_once(
        self, recorder: Recorder, listener: Listener, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.SIGNALR = {**settings.SIGNALR, "HISTORY_QUEUE_SIZE": 3, "PROCESS_HEARTBEAT_INTERVAL": 0.1}
        recorder.start(PROCESS)
        listener.gate.clear()
        recorder.record(event("connected", "first"))
        listener.wait_for_one()  # the writer is busy with a receiver now
        for number in range(8):
            recorder.record(event("connected", f"c{number}"))
        assert recorder.dropped == 5
        listener.gate.set()

        assert recorder.flush(SOON)
        assert rows() == [("c0", "open"), ("c1", "open"), ("c2", "open"), ("first", "open")]
        assert recorder.stop()
        said = [line.getMessage() for line in caplog.records if line.name == "signalr_channels.history"]
        assert [line for line in said if "HISTORY_QUEUE_SIZE=3" in line] == said[:1]
        assert "5 lifetime events were dropped" in said[1]
        assert ServerProcess.objects.get().dropped_events == 5

    def test_an_outage_of_the_database_loses_nothing(
        self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        outage = [OperationalError("away"), OperationalError("still away")]

        def flaky(events: Any, touches: Any) -> None:
            if outage:
                raise outage.pop()
            write_batch(events, touches)

        monkeypatch.setattr(writer_module, "write_batch", flaky)
        recorder.record(event("connected", "c1"))
        recorder.record(event("connected", "c2"))

        assert recorder.stop()
        assert rows() == [("c1", "open"), ("c2", "open")]
        said = [line.getMessage() for line in caplog.records if line.name == "signalr_channels.history"]
        assert [line.split(",")[0] for line in said] == ["The history cannot be written", "The history is written again."]

    def test_a_missing_table_is_an_outage(self, recorder: Recorder, history_file: str, caplog: pytest.LogCaptureFixture) -> None:
        with connections[history_file].schema_editor() as editor:
            editor.delete_model(EventRow)
        recorder.record(event("connected"))
        assert not recorder.flush(0.3)
        with connections[history_file].schema_editor() as editor:
            editor.create_model(EventRow)
        assert recorder.flush(SOON)
        assert rows() == [("c1", "open")]
        said = [line.getMessage() for line in caplog.records if line.name == "signalr_channels.history"]
        assert said[0].endswith("no such table: signalr_channels_lifetimeevent (run `manage.py migrate --database history_file`)")

    @pytest.mark.parametrize(
        ("error", "is_ours"),
        [
            (OperationalError("no such table: signalr_channels_serverprocess"), True),
            (OperationalError("table signalr_channels_connection has no column named origin"), True),
            (
                ProgrammingError(
                    'relation "signalr_channels_connection" does not exist\nLINE 1: INSERT INTO "signalr_channels_connection"'
                ),
                True,
            ),
            (ProgrammingError(1146, "Table 'site.signalr_channels_connection' doesn't exist"), True),
            (OperationalError('FATAL: database "site" does not exist'), False),
            (ProgrammingError("permission denied for table signalr_channels_connection"), False),
            (IntegrityError("signalr_channels_connection: that does not exist"), False),
        ],
    )
    def test_whoever_has_not_migrated_is_told_to(self, error: Exception, is_ours: bool, caplog: pytest.LogCaptureFixture) -> None:
        Recorder()._failed(error)
        assert caplog.messages[-1].endswith(" (run `manage.py migrate`)") is is_ours

    def test_a_row_the_database_refuses_is_left_out_alone(
        self, recorder: Recorder, listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def picky(events: Any, touches: Any) -> None:
            if any(each.connection.connection_id == "c3" for each in events):
                raise DataError("I do not like c3")
            write_batch(events, touches)

        monkeypatch.setattr(writer_module, "write_batch", picky)
        for number in range(6):
            recorder.record(event("connected", f"c{number}"))

        assert recorder.flush(SOON)
        assert [key for key, _ in rows()] == ["c0", "c1", "c2", "c4", "c5"]
        assert recorder.dropped == 1
        assert "I do not like c3" in caplog.text
        assert sorted(each.connection.connection_id for each in listener.events) == ["c0", "c1", "c2", "c4", "c5"]

    def test_a_receiver_that_flushes_does_not_wait_for_itself(self, recorder: Recorder) -> None:
        answers = []

        def receiver(**kwargs: Any) -> None:
            answers.append(recorder.flush())

        lifetime_event.connect(receiver)
        try:
            recorder.record(event("connected"))
            assert recorder.flush(SOON)
        finally:
            lifetime_event.disconnect(receiver)
        assert answers == [False]

    def test_stop_writes_everything_and_ends_the_thread(self, history_file: str) -> None:
        before = writer_threads()
        recorder = Recorder()
        recorder.start(PROCESS)
        recorder.record(event("connected", "c1"))
        recorder.record(end("c1", CloseReason.SERVER_SHUTDOWN))
        recorder.record(event("connected", "c2"))

        assert recorder.stop()
        assert rows() == [("c1", "server_shutdown"), ("c2", "server_shutdown")]
        process = ServerProcess.objects.get()
        assert process.name == PROCESS
        assert process.stopped_at is not None
        assert writer_threads() == before
        assert recorder.process_name is None

    def test_what_comes_after_stop_is_written_too(self, recorder: Recorder) -> None:
        assert recorder.stop()
        recorder.record(event("connected"))
        assert recorder.flush(SOON)
        assert rows() == [("c1", "open")]

    def test_stop_gives_up_when_the_database_stays_away(
        self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def away(*args: Any) -> None:
            raise OperationalError("away")

        with monkeypatch.context() as patch:
            patch.setattr(writer_module, "write_batch", away)
            recorder.record(event("connected"))
            began = time.monotonic()
            assert not recorder.stop(0.3)
            assert time.monotonic() - began < SOON
        assert recorder.dropped == 1
        assert "1 lifetime events were dropped" in caplog.text

    def test_record_never_raises(self, recorder: Recorder, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.SIGNALR = {"NO_SUCH_SETTING": 1}
        recorder.record(event("connected"))
        assert "could not be recorded" in caplog.text

    def test_events_from_many_threads_all_arrive(self, recorder: Recorder) -> None:
        def work(name: str) -> None:
            for number in range(100):
                recorder.record(event("connected", f"{name}{number}"))

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recorder.flush(SOON)
        assert Connection.objects.count() == 400

    def test_an_idle_recorder_has_no_thread(self, history_file: str) -> None:
        before = writer_threads()
        recorder = Recorder()
        assert recorder.flush(0)
        assert recorder.stop()
        assert writer_threads() == before


@pytest.mark.usefixtures("history_file")
async def test_the_event_loop_can_wait_for_it() -> None:
    recorder = Recorder()
    recorder.record(event("connected"))
    assert await recorder.aflush(SOON)
    assert await recorder.astop()
    assert [row.connection_id async for row in Connection.objects.all()] == ["c1"]
    await sync_to_async(connections.close_all)()


# Server processes


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
class TestProcesses:
    def test_the_heartbeat_says_when_the_process_was_seen(self) -> None:
        lease = ProcessLease(PROCESS)
        lease.renew(NOON, 0)
        lease.renew(later(10), 7)

        row = ServerProcess.objects.get()
        assert (row.name, row.host, row.pid, row.started_at, row.last_seen_at) == (PROCESS, "web-1", 4711, NOON, later(10))
        assert row.dropped_events == 7

    def test_the_connections_of_a_silent_process_end_as_lost(self) -> None:
        ProcessLease(PROCESS).renew(NOON, 0)
        write_batch([event("connected", "c1"), event("connected", "c2", time=later(4)), end("c1", time=later(1))], {})

        assert sweep(later(30)) == []
        (lost,) = sweep(later(31))

        assert (lost.connection.connection_id, lost.reason, lost.process) == ("c2", CloseReason.PROCESS_LOST, PROCESS)
        assert rows() == [("c1", "client_gone"), ("c2", "process_lost")]
        row = Connection.objects.get(connection_id="c2")
        assert row.closed_at == later(4)  # last seen at noon, but this one opened after
        assert row.close_detail == f"No sign of life from server process {PROCESS} since 2026-03-01 12:00:00 UTC."
        written = EventRow.objects.get(connection_id="c2", kind="disconnected")
        assert (written.reason, written.event_id, written.time) == ("process_lost", lost.event_id, later(31))
        assert ServerProcess.objects.get().stopped_at == later(31)
        assert sweep(later(99)) == []

    def test_a_sweep_costs_the_same_for_many_connections(self) -> None:
        def count(name: str, number: int) -> int:
            ProcessLease(name).renew(NOON, 0)
            write_batch([event("connected", f"{name}-{index}", process=name) for index in range(number)], {})
            with CaptureQueriesContext(connections["default"]) as queries:
                assert len(sweep(later(100))) == number
            return len(queries)

        assert count("a:1:a", 1) == count("b:1:b", 40)

    def test_sweeping_waits_until_this_process_was_seen_for_a_whole_lease(self) -> None:
        """After an outage of the database all processes look lost to the first that is back."""
        ProcessLease("other:1:x").renew(NOON, 0)
        write_batch([event("connected", "c1", process="other:1:x")], {})
        lease = ProcessLease(PROCESS)

        assert [len(lease.renew(later(100 + seconds), 0)) for seconds in (0, 10, 20)] == [0, 0, 0]
        assert rows() == [("c1", "open")]
        assert [len(lease.renew(later(100 + seconds), 0)) for seconds in (29, 30)] == [0, 1]
        assert rows() == [("c1", "process_lost")]

    def test_a_gap_in_its_own_heartbeat_starts_the_wait_anew(self) -> None:
        lease = ProcessLease(PROCESS)
        for seconds in (0, 20, 40):
            lease.renew(later(seconds), 0)
        ProcessLease("other:1:x").renew(later(40), 0)
        write_batch([event("connected", "c1", process="other:1:x")], {})

        assert lease.renew(later(200), 0) == []
        assert rows() == [("c1", "open")]

    def test_a_process_that_was_only_late_takes_its_connections_back(self) -> None:
        lease = ProcessLease(PROCESS)
        lease.renew(NOON, 0)
        batch = [event("connected", "c1"), event("connected", "c2"), end("c2")]
        write_batch(batch, {})
        lease.note(batch)
        sweep(later(60))
        assert rows() == [("c1", "process_lost"), ("c2", "client_gone")]

        (back,) = lease.renew(later(61), 0)

        assert (back.kind.value, back.connection.connection_id) == ("reconnected", "c1")
        assert "had stayed open" in back.detail
        assert rows() == [("c1", "open"), ("c2", "client_gone")]
        assert [row.connection_id for row in Connection.objects.live(later(61))] == ["c1"]

    def test_a_row_that_was_deleted_comes_back(self) -> None:
        lease = ProcessLease(PROCESS)
        lease.renew(NOON, 0)
        ServerProcess.objects.all().delete()
        lease.renew(later(10), 0)
        assert ServerProcess.objects.get().last_seen_at == later(10)

    def test_stopping_ends_what_was_left_open(self) -> None:
        lease = ProcessLease(PROCESS)
        lease.renew(NOON, 0)
        write_batch([event("connected", "c1")], {})

        (ended,) = lease.stop(later(5), 3)

        assert ended.reason is CloseReason.SERVER_SHUTDOWN
        assert (Connection.objects.get().closed_at, ServerProcess.objects.get().stopped_at) == (later(5), later(5))
        assert ServerProcess.objects.get().dropped_events == 3
        assert lease.stop(later(6), 3) == []

    def test_connections_of_processes_that_are_gone_end_at_last(self) -> None:
        write_batch([event("connected", "c1"), event("connected", "c2", process="")], {})
        ServerProcess.objects.update(stopped_at=NOON)

        assert sweep_strays(later(30)) == []
        assert sorted(each.connection.connection_id for each in sweep_strays(later(31))) == ["c1", "c2"]
        assert rows() == [("c1", "process_lost"), ("c2", "process_lost")]
        assert EventRow.objects.filter(kind="disconnected").count() == 2
        assert sweep_strays(later(31)) == []

    def test_a_process_unknown_so_far_gets_a_row_that_runs_out(self) -> None:
        """As when a connection is recorded before the first heartbeat, and the heartbeat never comes."""
        write_batch([event("connected", "c1")], {})

        assert ServerProcess.objects.get().last_seen_at == NOON
        assert len(sweep(later(31))) == 1


@pytest.mark.parametrize("attempt", range(3))
def test_two_sweepers_end_a_lost_connection_once(history_file: str, attempt: int) -> None:
    ProcessLease(PROCESS).renew(NOON, 0)
    write_batch([event("connected", f"c{number}") for number in range(20)], {})
    both_ready = threading.Barrier(2)
    ended: list[LifetimeEvent] = []

    def sweep_now() -> None:
        try:
            both_ready.wait(SOON)
            while True:
                try:
                    ended.extend(sweep(later(60)))
                    return
                except OperationalError:  # SQLite's answer to a second writer
                    connections[history_file].close()
        finally:
            connections[history_file].close()

    threads = [threading.Thread(target=sweep_now) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert sorted(each.connection.connection_id for each in ended) == sorted(f"c{number}" for number in range(20))
    assert EventRow.objects.filter(kind="disconnected").count() == 20


def test_the_recorder_keeps_its_process_alive(recorder: Recorder, settings: Any, listener: Listener) -> None:
    settings.SIGNALR = {**settings.SIGNALR, "PROCESS_HEARTBEAT_INTERVAL": 0.1}
    recorder.start(PROCESS)
    recorder.record(event("connected"))
    listener.wait_for_one()
    first = ServerProcess.objects.get().last_seen_at
    deadline = time.monotonic() + SOON
    while ServerProcess.objects.get().last_seen_at == first:
        assert time.monotonic() < deadline
    assert ServerProcess.objects.alive().exists()


# Forks and exits


SCRIPT = """
    import os, sys, datetime
    import django
    from django.conf import settings
    settings.configure(
        SECRET_KEY="x", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "signalr_channels"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        SIGNALR={"HISTORY_FLUSH_INTERVAL": float(sys.argv[2])},
    )
    django.setup()
    from django.core.management import call_command
    from signalr_channels.hubs.lifetime import ConnectionInfo, LifetimeEvent, LifetimeEventKind
    from signalr_channels.recorder import get_recorder
    call_command("migrate", "signalr_channels", verbosity=0)

    def connected(key):
        info = ConnectionInfo(connection_id=key, hub="h", path="/h")
        return LifetimeEvent(kind=LifetimeEventKind.CONNECTED, connection=info, process="p:1:a")
"""


def run_script(directory: Path, flush_interval: float, body: str) -> list[tuple[str, str | None]]:
    """Run Python in a process of its own. Returns connection ids and reasons from its database."""
    database = directory / "script.sqlite3"
    script = textwrap.dedent(SCRIPT) + textwrap.dedent(body)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-W", "ignore", "-c", script, str(database), str(flush_interval)]
    done = subprocess.run(command, env=environment, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(database) as connection:
        found = connection.execute("SELECT connection_id, close_reason FROM signalr_channels_connection ORDER BY connection_id").fetchall()
    connection.close()
    return [tuple(row) for row in found]


def test_the_end_of_the_process_waits_for_the_history(tmp_path: Path) -> None:
    found = run_script(
        tmp_path,
        3600,
        """
        get_recorder().start("p:1:a")
        get_recorder().record(connected("c1"))
        """,
    )
    assert found == [("c1", "server_shutdown")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_writes_its_own_events_and_not_those_of_its_parent(tmp_path: Path) -> None:
    found = run_script(
        tmp_path,
        3600,
        """
        recorder = get_recorder()
        recorder._wake = lambda: None  # a thread inside SQLite at the moment of a fork would leave its locks to the child
        recorder.start("p:1:a")
        recorder.record(connected("parent"))
        child = os.fork()
        del recorder._wake
        if not child:
            is_fresh = get_recorder() is recorder and recorder.process_name is None
            recorder.record(connected("child"))
            is_written = recorder.flush(20)
            os._exit(0 if is_fresh and is_written else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert recorder.flush(20)
        """,
    )
    assert [key for key, _ in found] == ["child", "parent"]
