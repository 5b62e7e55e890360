"""The admin pages of the history: what they show, to whom, at what cost, and what they never show."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from signalr_channels.admin import ConnectionAdmin
from signalr_channels.admin.disconnecting import Outcome
from signalr_channels.admin.history import MAXIMUM_SELECTED
from signalr_channels.conf import CLASSIC_FIELDS, FIELDS
from signalr_channels.explanations import EXPLANATIONS, explain
from signalr_channels.history import write_batch
from signalr_channels.models import Connection, LifetimeEvent, ServerProcess
from signalr_channels.processes import ProcessLease
from signalr_channels.protocols.endings import CloseReason
from tests.django.history_cast import PROCESS, end, event, history_database

pytestmark = pytest.mark.django_db

ROOT = "/admin/signalr_channels/"
CONNECTIONS, EVENTS, PROCESSES = f"{ROOT}connection/", f"{ROOT}lifetimeevent/", f"{ROOT}serverprocess/"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.SIGNALR = {}


@pytest.fixture
def staff(client: Client) -> Any:
    """Makes a client of a staff user with some permissions of this app."""

    def log_in(*codenames: str) -> Client:
        user = get_user_model().objects.create_user("operator", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(content_type__app_label="signalr_channels", codename__in=codenames))
        client.force_login(user)
        return client

    return log_in


def shown(client: Client, url: str) -> str:
    """The text of a page that must be there."""
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code)
    return str(response.content.decode())


def ids(client: Client, url: str) -> list[str]:
    """The connection ids a list shows, in order."""
    response = client.get(url)
    assert response.status_code == 200
    return [row.connection_id for row in response.context["cl"].result_list]


def page(row: Any) -> str:
    """The address of a row's own page."""
    return f"{ROOT}{row._meta.model_name}/{row.pk}/change/"


def now() -> Any:
    return timezone.now()


def populate(*events: Any) -> None:
    """Write events, on a process that is alive."""
    ProcessLease(PROCESS).renew(now(), 0)
    write_batch(events, {})


# Connections


def test_live_connections_are_the_default_view(admin_client: Client) -> None:
    populate(event("connected", "c1", time=now()), event("connected", "c2", time=now()), end("c2", time=now()))
    write_batch([event("connected", "c3", process="silent:1:a")], {})  # a process that was never heard of again

    assert ids(admin_client, CONNECTIONS) == ids(admin_client, f"{CONNECTIONS}?state=live") == ["c1"]
    assert ids(admin_client, f"{CONNECTIONS}?state=ended") == ["c2"]
    assert ids(admin_client, f"{CONNECTIONS}?state=all") == ["c3", "c2", "c1"]
    assert "server process is silent" in shown(admin_client, f"{CONNECTIONS}?state=all")


def test_the_live_list_tells_who_and_how(admin_client: Client) -> None:
    user = get_user_model().objects.create_user("grace")
    populate(event("connected", time=now() - datetime.timedelta(minutes=5), info={"user_pk": user.pk}))

    html = shown(admin_client, CONNECTIONS)

    for text in ("ChatHub", "/chat", "grace", "webSockets", "json", "5\xa0minutes", "203.0.113.7:50000", PROCESS):
        assert text in html, text


def test_the_list_of_ended_connections_explains_the_reason(admin_client: Client) -> None:
    populate(event("connected", time=now()), end(reason=CloseReason.SLOW_CONSUMER, time=now()))

    html = shown(admin_client, f"{CONNECTIONS}?state=ended")

    assert "slow_consumer" in html
    assert "The client read more slowly than it was written to" in html
    assert "slow_consumer" not in shown(admin_client, CONNECTIONS)


def test_the_list_of_ended_connections_begins_with_the_last_to_end(admin_client: Client) -> None:
    """Whoever looks for the reason of a loss looks for what ended just now, and that may have been open for days."""
    ages = {"c1": 0, "c2": 60, "c3": 30}
    populate(*(event("connected", key, time=now()) for key in ages))
    populate(*(end(key, time=now() - datetime.timedelta(seconds=age)) for key, age in ages.items()))

    assert ids(admin_client, f"{CONNECTIONS}?state=ended") == ["c1", "c3", "c2"]
    assert ids(admin_client, f"{CONNECTIONS}?state=all") == ["c3", "c2", "c1"]


def test_the_list_of_ended_connections_tells_the_detail(admin_client: Client) -> None:
    populate(event("connected", time=now()), end(reason=CloseReason.HUB_ERROR, detail="ValueError: <no>", time=now()))
    assert "ValueError: &lt;no&gt;" in shown(admin_client, f"{CONNECTIONS}?state=ended")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("hub=shop.hubs.OrdersHub", ["c2"]),
        ("transport=longPolling", ["c2"]),
        ("close_reason=client_closed", ["c1"]),
        ("q=c2", ["c2"]),
        ("q=ada", ["c1"]),
        ("q=GRA", ["c2"]),
        ("q=198.51", ["c2"]),
        ("q=nobody", []),
    ],
)
def test_filters_and_search(admin_client: Client, query: str, found: list[str]) -> None:
    user = get_user_model().objects.create_user("grace")
    other = {"hub": "shop.hubs.OrdersHub", "transport": "longPolling", "remote_address": "198.51.100.1:1", "user_identifier": "7"}
    populate(
        event("connected", "c1", time=now()),
        end("c1", CloseReason.CLIENT_CLOSED, time=now()),
        event("connected", "c2", time=now(), info={**other, "user_pk": user.pk}),
    )

    assert ids(admin_client, f"{CONNECTIONS}?state=all&{query}") == found


@pytest.mark.parametrize("hub", ["chat.hubs.ChatHub", "gone.hubs.OldHub"])
def test_the_hub_filter_offers_what_there_is_and_what_is_chosen(admin_client: Client, hub: str) -> None:
    populate(event("connected", "c1", time=now()))

    response = admin_client.get(f"{CONNECTIONS}?hub={hub}")

    [offered] = [spec.lookup_choices for spec in response.context["cl"].filter_specs if spec.parameter_name == "hub"]
    assert offered == [(name, name) for name in sorted({"chat.hubs.ChatHub", hub})]


def test_the_filter_by_server_process(admin_client: Client) -> None:
    ProcessLease("web-2:1:b").renew(now(), 0)
    populate(event("connected", "c1", time=now()), event("connected", "c2", time=now(), process="web-2:1:b"))
    process = ServerProcess.objects.get(name="web-2:1:b")

    assert ids(admin_client, f"{CONNECTIONS}?process={process.pk}") == ["c2"]
    assert f"?process={process.pk}" in shown(admin_client, CONNECTIONS)


@pytest.mark.parametrize("query", ["state=nonsense", "process=nonsense", f"process={'9' * 30}", f"process={'9' * 5000}"])
def test_a_nonsensical_filter_leads_back_to_the_list(admin_client: Client, query: str) -> None:
    populate(event("connected", time=now()))
    response = admin_client.get(f"{CONNECTIONS}?{query}")
    assert (response.status_code, response.headers["Location"]) == (302, f"{CONNECTIONS}?e=1")


def test_the_page_of_a_connection_shows_its_life_so_far(admin_client: Client) -> None:
    populate(
        event("negotiated", time=now() - datetime.timedelta(seconds=3)),
        event("connected", time=now() - datetime.timedelta(seconds=2)),
        end(reason=CloseReason.PING_TIMEOUT, detail="Silent for 30 seconds.", time=now()),
        event("connected", "another", time=now()),
    )
    response = admin_client.get(page(Connection.objects.get(connection_id="c1")))
    html = response.content.decode()

    assert [re.sub("<[^>]*>", "", row["kind"]) for row in response.context["events"]] == ["negotiated", "connected", "disconnected"]
    for text in (
        "ping_timeout",
        "Silent for 30 seconds.",
        "What to do:",
        "CLIENT_TIMEOUT_INTERVAL",
        "Mozilla/5.0",
        "https://app.example.com",
    ):
        assert text in html, text


def test_the_page_of_a_live_connection_says_nothing_of_an_end(admin_client: Client) -> None:
    populate(event("connected", time=now()))

    html = shown(admin_client, page(Connection.objects.get()))

    assert "signalr-live" in html
    assert "What to do:" not in html


def test_a_long_life_shows_its_last_events(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_channels.admin.connections.EVENTS_SHOWN", 3)
    populate(event("connected", time=now()), *(event("reconnected", time=now(), detail=f"no. {number}") for number in range(5)))

    response = admin_client.get(page(Connection.objects.get()))

    assert [row["detail"] for row in response.context["events"]] == ["no. 2", "no. 3", "no. 4"]
    assert f"{EVENTS}?q=c1" in response.content.decode()


# Events and processes


def test_the_list_of_events(admin_client: Client) -> None:
    populate(
        event("connected", "c1", time=now()),
        event(
            "rejected",
            "",
            time=now(),
            reason=CloseReason.ORIGIN_REJECTED,
            detail="https://evil.example",
            info={"origin": "https://evil.example"},
        ),
    )
    html = shown(admin_client, EVENTS)

    for text in ("rejected", "origin_rejected", "comes from an origin that is not allowed", "https://evil.example", "203.0.113.7:50000"):
        assert text in html, text
    assert page(Connection.objects.get()) in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("kind=connected", ["c1"]),
        ("reason=unauthorized", ["c2"]),
        ("hub=shop.hubs.OrdersHub", ["c2"]),
        ("transport=longPolling", ["c2"]),
        ("q=c2", ["c2"]),
        ("q=ada", ["c1"]),
        ("q=198.51", ["c2"]),
    ],
)
def test_filters_and_search_of_events(admin_client: Client, query: str, found: list[str]) -> None:
    other = {"hub": "shop.hubs.OrdersHub", "transport": "longPolling", "remote_address": "198.51.100.1:1", "user_identifier": "7"}
    populate(event("connected", "c1", time=now()), event("rejected", "c2", time=now(), reason=CloseReason.UNAUTHORIZED, info=other))

    assert ids(admin_client, f"{EVENTS}?{query}") == found


def test_the_page_of_an_event_whose_connection_never_opened(admin_client: Client) -> None:
    populate(event("rejected", "c9", time=now(), reason=CloseReason.HANDSHAKE_ERROR))

    html = shown(admin_client, page(LifetimeEvent.objects.get()))

    assert "c9" in html
    assert "@microsoft/signalr" in html


def test_the_list_of_server_processes(admin_client: Client) -> None:
    populate(event("connected", "c1", time=now()), event("connected", "c2", time=now()), end("c2", time=now()))
    ServerProcess.objects.create(name="old:1:a", started_at=now(), last_seen_at=now(), stopped_at=now(), dropped_events=17)
    alive = ServerProcess.objects.get(name=PROCESS)

    html = shown(admin_client, PROCESSES)

    assert f'<a href="{CONNECTIONS}?process={alive.pk}">1</a>' in html
    assert "17" in html
    assert "old:1:a" in shown(admin_client, f"{PROCESSES}?alive=no")
    assert "old:1:a" not in shown(admin_client, f"{PROCESSES}?alive=yes").partition('id="result_list"')[2]
    assert PROCESS in shown(admin_client, page(alive))


def test_an_empty_list_says_why(admin_client: Client, settings: Any) -> None:
    assert "as soon as a client connects to a hub" in shown(admin_client, CONNECTIONS)
    assert "HISTORY is off" not in shown(admin_client, CONNECTIONS)
    settings.SIGNALR = {"HISTORY": False}
    assert "HISTORY is off" in shown(admin_client, CONNECTIONS)


def test_a_huge_list_counts_only_its_beginning(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_channels.admin.history.MAXIMUM_ROWS", 60)
    populate(*(event("connected", f"c{number}", time=now()) for number in range(70)))

    response = admin_client.get(CONNECTIONS)

    assert response.context["cl"].result_count == 60
    assert "Only the first 60 matches" in response.content.decode()
    assert len(ids(admin_client, f"{CONNECTIONS}?p=2")) == 10


# Cost


@pytest.mark.parametrize("url", [CONNECTIONS, f"{CONNECTIONS}?state=ended", f"{CONNECTIONS}?state=all&q=u", EVENTS, PROCESSES])
def test_a_page_costs_the_same_number_of_queries_whatever_it_shows(admin_client: Client, url: str) -> None:
    def add(numbers: range) -> None:
        for number in numbers:
            user = get_user_model().objects.create_user(f"u{number}")
            process = f"web-{number}:1:a"
            ProcessLease(process).renew(now(), 0)
            keys = {"user_pk": user.pk, "user_identifier": user.username}
            write_batch(
                [
                    event("connected", f"open{number}", process=process, time=now(), info=keys),
                    event("connected", f"ended{number}", process=process, time=now(), info=keys),
                    end(f"ended{number}", process=process, time=now(), info=keys),
                ],
                {},
            )

    def count() -> int:
        with CaptureQueriesContext(connections["default"]) as queries:
            shown(admin_client, url)
        return len(queries)

    add(range(2))
    shown(admin_client, url)  # warms Django's caches
    few = count()
    add(range(2, 12))
    assert count() == few
    assert few <= 10


def test_the_page_of_a_connection_costs_the_same_whatever_happened(admin_client: Client, django_assert_num_queries: Any) -> None:
    populate(event("connected", "c1", time=now()), event("connected", "c2", time=now()))
    populate(*(event("reconnected", "c2", time=now()) for _ in range(20)))
    shown(admin_client, page(Connection.objects.get(connection_id="c1")))

    for key in ("c1", "c2"):
        url = page(Connection.objects.get(connection_id=key))
        with django_assert_num_queries(5):  # session, user, savepoint, the connection, its events; nobody to look up
            shown(admin_client, url)


# Permissions


@pytest.mark.parametrize("url", [CONNECTIONS, EVENTS, PROCESSES])
def test_who_may_not_view_sees_nothing(staff: Any, url: str) -> None:
    populate(event("connected", time=now()))
    client = staff()

    assert client.get(url).status_code == 403
    for model in (Connection, LifetimeEvent, ServerProcess):
        assert client.get(page(model.objects.get())).status_code == 403
    assert "signalr_channels" not in shown(client, "/admin/")


def test_the_events_of_a_connection_need_their_own_permission(staff: Any) -> None:
    populate(event("connected", time=now()))
    client = staff("view_connection")

    response = client.get(page(Connection.objects.get()))

    assert response.status_code == 200
    assert "events" not in response.context
    assert "signalr-events" not in response.content.decode()


@pytest.mark.parametrize("url", [CONNECTIONS, EVENTS, PROCESSES])
def test_nobody_adds(admin_client: Client, url: str) -> None:
    assert admin_client.get(f"{url}add/").status_code == 403


@pytest.mark.parametrize("model", [Connection, LifetimeEvent, ServerProcess])
def test_nobody_changes(admin_client: Client, model: Any) -> None:
    populate(event("connected", time=now()))
    url = page(model.objects.get())

    assert '<input type="text"' not in shown(admin_client, url)
    assert admin_client.post(url, {"hub": "changed"}).status_code == 403


def test_deleting_needs_the_permission(staff: Any) -> None:
    populate(event("connected", time=now()))
    client = staff("view_connection", "view_lifetimeevent", "delete_lifetimeevent")
    url = f"{CONNECTIONS}{Connection.objects.get().pk}/delete/"

    assert client.post(url, {"post": "yes"}).status_code == 403
    assert "delete_selected" not in shown(client, CONNECTIONS)
    assert Connection.objects.exists()


def test_deleting_a_connection_needs_the_permission_for_its_events(staff: Any) -> None:
    populate(event("connected", time=now()))
    client = staff("view_connection", "delete_connection")

    assert client.post(f"{CONNECTIONS}{Connection.objects.get().pk}/delete/", {"post": "yes"}).status_code == 403
    assert Connection.objects.exists()


def test_who_may_delete_is_told_how_much(admin_client: Client) -> None:
    populate(event("connected", "c1", time=now()), event("reconnected", "c1", time=now()), event("connected", "c2", time=now()))
    url = f"{CONNECTIONS}{Connection.objects.get(connection_id='c1').pk}/delete/"

    assert "<li>Lifetime events: 2</li>" in shown(admin_client, url)
    assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert [row.connection_id for row in Connection.objects.all()] == ["c2"]
    assert [row.connection_id for row in LifetimeEvent.objects.all()] == ["c2"]


def test_selected_rows_are_deleted_together(admin_client: Client) -> None:
    populate(*(event("connected", f"c{number}", time=now()) for number in range(30)))
    pks = [row.pk for row in Connection.objects.order_by("pk")[:25]]
    form = {"action": "delete_selected", "_selected_action": pks}

    confirmation = admin_client.post(CONNECTIONS, form).content.decode()
    assert "<li>Connections: 25</li>" in confirmation
    assert "<li>Lifetime events: 25</li>" in confirmation
    admin_client.post(CONNECTIONS, {**form, "post": "yes"})

    assert (Connection.objects.count(), LifetimeEvent.objects.count()) == (5, 5)


def test_disconnecting_needs_its_permission(staff: Any) -> None:
    populate(event("connected", time=now()))
    client = staff("view_connection", "delete_connection", "delete_lifetimeevent")
    form = {"action": "disconnect", "_selected_action": [Connection.objects.get().pk]}

    assert "Disconnect selected" not in shown(client, CONNECTIONS)
    assert "No action selected" in client.post(CONNECTIONS, form, follow=True).content.decode()


def test_an_operator_is_told_what_became_of_connections(staff: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    populate(*(event("connected", f"c{number}", time=now()) for number in range(5)), end("c4", time=now()))
    asked: list[str] = []

    def disconnect(rows: Any, *, closed_by: str) -> dict[str, Outcome]:
        asked.extend([closed_by, *sorted(row.connection_id for row in rows)])
        return {f"c{number}": outcome for number, outcome in enumerate(Outcome)}

    monkeypatch.setattr("signalr_channels.admin.connections.disconnect", disconnect)
    client = staff("view_connection", "disconnect_connection")
    form = {"action": "disconnect", "_selected_action": [row.pk for row in Connection.objects.all()]}
    html = client.post(f"{CONNECTIONS}?state=all", form, follow=True).content.decode()

    assert asked == ["operator", "c0", "c1", "c2", "c3"]
    assert "1 connection was disconnected" in html
    assert "2 connections were not found" in html  # one of them has ended
    assert "1 connection could not be reached" in html
    assert "1 connection is of no hub" in html
    [entry] = LogEntry.objects.all()
    assert (entry.object_repr, entry.change_message) == ("c0", "Disconnected.")


def test_what_a_form_cannot_carry_is_not_offered_for_selection(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above Django's limit for the fields of a form, the page that asks for confirmation would be answered 400."""
    monkeypatch.setattr(ConnectionAdmin, "list_per_page", 2)
    populate(*(event("connected", f"c{number}", time=now()) for number in range(4)))
    form = {"action": "delete_selected", "_selected_action": [Connection.objects.latest("pk").pk], "select_across": "1", "index": "0"}

    assert "Select all 4 connections" in shown(admin_client, CONNECTIONS)
    assert "<li>Connections: 4</li>" in admin_client.post(CONNECTIONS, form).content.decode()

    monkeypatch.setattr("signalr_channels.admin.history.MAXIMUM_SELECTED", 3)
    html = shown(admin_client, CONNECTIONS)
    assert "Select all 4" not in html
    assert "0 of 2 selected" in html
    response = admin_client.post(CONNECTIONS, form, follow=True)
    assert "At most 3 rows can be selected at once" in response.content.decode()
    assert "<li>Connections: 1</li>" in admin_client.post(CONNECTIONS, {**form, "select_across": "0"}).content.decode()


def test_the_largest_selection_fits_into_a_form(settings: Any) -> None:
    assert MAXIMUM_SELECTED + 10 < settings.DATA_UPLOAD_MAX_NUMBER_FIELDS


def test_server_processes_are_not_deleted_here(admin_client: Client) -> None:
    populate(event("connected", time=now()))
    assert admin_client.post(f"{PROCESSES}{ServerProcess.objects.get().pk}/delete/", {"post": "yes"}).status_code == 403


# What a page may not contain

EVIL = '<script>alert("x")</script>'


def urls() -> list[str]:
    """Every page there is."""
    lists = [CONNECTIONS, f"{CONNECTIONS}?state=ended", f"{CONNECTIONS}?state=all", EVENTS, PROCESSES]
    models: list[Any] = [Connection, LifetimeEvent, ServerProcess]
    return [*lists, *(page(row) for model in models for row in model.objects.all())]


def evil_history() -> None:
    """Connections, refusals and a process whose every text is an attack."""
    names = ("hub", "path", "user_identifier", "transport", "hub_protocol", "remote_address", "user_agent", "origin")
    info = dict.fromkeys(names, EVIL)
    populate(
        event("connected", EVIL, time=now(), info=info),
        event("connected", f"2{EVIL}", time=now(), info=info),
        event("disconnected", f"2{EVIL}", time=now(), info=info, reason=CloseReason.PROTOCOL_ERROR, detail=EVIL),
        event("rejected", "", time=now(), info=info, reason=CloseReason.UNAUTHORIZED, detail=EVIL, process=EVIL),
    )


def test_text_from_a_client_is_escaped_on_every_page(admin_client: Client) -> None:
    evil_history()
    ServerProcess.objects.create(name=EVIL, host=EVIL, started_at=now(), last_seen_at=now())

    pages = [shown(admin_client, url) for url in urls()]

    assert len(pages) >= 11
    assert not [html for html in pages if "<script>alert" in html or "<Script>alert" in html]
    assert [html for html in pages if "&lt;script&gt;alert(" in html]


def test_pages_need_no_inline_script_or_style(admin_client: Client) -> None:
    populate(event("connected", "c1", time=now()), event("connected", "c2", time=now()), end("c2", time=now()))

    for url in urls():
        html = shown(admin_client, url)
        inline = [tag for tag in re.findall(r"<script[^>]*>", html) if "src=" not in tag and "application/json" not in tag]
        assert not inline, url
        assert "<style" not in html, url
        assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", html), url
        assert "signalr_channels/admin.css" in html, url


def test_a_token_that_strayed_into_a_text_is_left_out(admin_client: Client) -> None:
    secret = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"
    info = {"path": f"/chat?access_token={secret}", "user_agent": f"Bearer {secret}"}
    populate(event("connected", time=now(), info=info), end(time=now(), info=info, detail=f"GET /chat?access_token={secret} failed"))

    assert not [url for url in urls() if secret in shown(admin_client, url)]


# Surroundings


def test_users_may_live_in_another_database(admin_client: Client, settings: Any, tmp_path: Path) -> None:
    user = get_user_model().objects.create_user("grace")
    with history_database(tmp_path) as alias:
        settings.SIGNALR = {"DATABASE": alias}
        populate(event("connected", "c1", time=now(), info={"user_pk": user.pk}), event("connected", "c2", time=now()))

        html = shown(admin_client, f"{CONNECTIONS}?q=gra")
        assert "grace" in html
        assert all(shown(admin_client, url) for url in urls())
        assert admin_client.post(
            CONNECTIONS, {"action": "delete_selected", "_selected_action": [row.pk for row in Connection.objects.all()]}
        )
        url = f"{CONNECTIONS}{Connection.objects.get(connection_id='c1').pk}/delete/"
        assert "c1" in shown(admin_client, url)
        assert admin_client.post(url, {"post": "yes"}).status_code == 302
        assert [row.connection_id for row in Connection.objects.all()] == ["c2"]
        assert [row.connection_id for row in LifetimeEvent.objects.all()] == ["c2"]


def test_a_deleted_user_is_shown_by_the_identifier(admin_client: Client) -> None:
    populate(event("connected", time=now(), info={"user_pk": 4711, "user_identifier": "gone"}))

    assert "<i>gone</i>" in shown(admin_client, CONNECTIONS)
    assert "<i>gone</i>" in shown(admin_client, page(Connection.objects.get()))


def test_pages_work_without_time_zones(admin_client: Client, settings: Any) -> None:
    settings.USE_TZ = False
    populate(event("connected", "c1", time=now()), event("connected", "c2", time=now()), end("c2", time=now()))

    assert all(shown(admin_client, url) for url in urls())


def test_pages_work_right_to_left(admin_client: Client, settings: Any) -> None:
    settings.LANGUAGE_CODE = "he"
    populate(event("connected", time=now()), end(time=now()))
    with translation.override("he"):
        assert all(shown(admin_client, url) for url in urls())


def test_every_reason_is_explained_and_names_only_settings_there_are() -> None:
    assert set(EXPLANATIONS) == set(CloseReason)
    for reason, explanation in EXPLANATIONS.items():
        texts = (str(explanation.meaning), str(explanation.advice))
        assert all(text.endswith(".") for text in texts), reason
        assert str(explanation.meaning).count(". ") == 0, reason
        assert set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", " ".join(texts))) <= FIELDS.keys() | CLASSIC_FIELDS.keys(), reason
    assert explain("") is None
    assert explain("of_another_version") is None
