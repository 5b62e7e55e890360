"""The classic client in Chromium: in the chat, beside the client of ASP.NET Core, and on the page that shows its life."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.demo_site import PHONE, TIMEOUT, DemoSite, Tab, eventually
from tests.browser.test_chat import CONTROLS_WITHOUT_A_NAME, PICTURES
from tests.live import STOP_TIMEOUT, Process, free_port

OpenTab = Callable[..., Tab]
TRANSPORTS = ["webSockets", "serverSentEvents", "foreverFrame", "longPolling"]
GIVE_UP_TIMEOUT = 40_000
"""Milliseconds, for what comes after DISCONNECT_TIMEOUT, which is 12 s in the demo."""


# In the chat


@pytest.mark.parametrize(
    ("transport", "name"),
    [("webSockets", "web sockets"), ("serverSentEvents", "server-sent events"), ("longPolling", "long polling")],
)
def test_a_classic_client_chats_with_a_core_client(transport: str, name: str, urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(f"{urls[0]}/?room=classic&client=classic&transport={transport}").enter("Ada")
    bo = open_tab(f"{urls[1]}/?room=classic").enter("Bo")
    expect(ada.page.locator("#via")).to_have_text(name)
    expect(ada.page.get_by_label("Client")).to_have_value("classic")
    expect(ada.note("Bo joined.")).to_be_visible()
    for tab in (ada, bo):
        expect(tab.people).to_have_text(["Ada", "Bo"])
        expect(tab.page.locator("#people .client")).to_have_count(1)

    ada.say("Hello, Bo.", bo)
    bo.say("Hello, Ada.", ada)
    expect(ada.page.locator(".message.mine")).to_have_count(1)
    for writer, reader, text in ((ada, bo, "Ada is typing"), (bo, ada, "Bo is typing")):
        writer.write("I was just")
        expect(reader.page.locator("#typing-text")).to_have_text(text)
        expect(reader.page.locator("#typing")).to_be_visible()
        writer.say(f"never mind: {text}", reader)
        expect(reader.page.locator("#typing")).to_be_hidden()

    ada.page.get_by_role("button", name="Disconnect").click()
    expect(bo.note("Ada left.").last).to_be_visible()
    ada.page.get_by_role("button", name="Connect now").click()
    ada.wait_connected()
    expect(bo.people).to_have_text(["Bo", "Ada"])
    ada.page.close()
    expect(bo.people).to_have_text(["Bo"])


def test_the_sentence_of_a_hub_exception_reaches_a_classic_client(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(f"{urls[0]}/?client=classic&room=no/room").enter("Ada")
    expect(ada.page.get_by_role("heading", level=1)).to_have_text("lobby")
    expect(ada.page.locator("#error-text")).to_contain_text("The name of a room has 1 to 30 letters")


@pytest.mark.parametrize("how", [Process.stop, Process.kill])
def test_classic_people_stay_in_the_room_when_the_server_restarts(
    how: Callable[[Process], None], site: DemoSite, urls: tuple[str, str], open_tab: OpenTab
) -> None:
    bo = open_tab(f"{urls[1]}/?room=classic-restart").enter("Bo")
    with site.serve() as first:
        ada = open_tab(f"{first.url}/?room=classic-restart&client=classic").enter("Ada")
        expect(bo.people).to_have_text(["Bo", "Ada"])
        ada.may_fail = True  # browsers report every refused connection as an error
        how(first)
    expect(ada.page.locator("#state")).to_have_text("reconnecting")
    with site.serve(port=first.port):
        ada.wait_connected()
        for tab in (ada, bo):
            expect(tab.people).to_have_text(["Bo", "Ada"])
        ada.say("Back again.", bo)
        bo.say("So I see.", ada)
        ada.close()
        expect(bo.people).to_have_text(["Bo"])


# On the page about its life


class Life:
    """The page, with its classic client."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.page = tab.page
        tab.may_fail = True  # browsers report what a cut network and a killed server refuse as errors
        expect(self.page.locator("#process")).to_have_text(re.compile("[0-9]+"))

    def start(self) -> Life:
        self.press("Start")
        expect(self.page.locator("#state")).to_have_text("connected")
        return self

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def cut(self, seconds: int, how: str = "cut") -> None:
        self.page.get_by_label("How it fails").select_option(how)
        self.page.get_by_label("Seconds").fill(str(seconds))
        self.press("Cut the network")
        expect(self.page.locator("#failing")).to_be_visible()

    def send(self, text: str) -> None:
        """A message from the server; returns when the view has sent it."""
        self.page.get_by_label("A message").fill(text)
        with self.page.expect_response("**/say/") as answer:
            self.press("Send from the server")
        assert answer.value.status == 204

    def told_client(self, name: str) -> Locator:
        return self.page.locator(f"#client-events [data-name={name}]")

    def told_server(self, name: str) -> Locator:
        return self.page.locator(f"#server-events [data-name={name}]")

    def history(self) -> Locator:
        return self.page.locator("#history .name")

    @property
    def process(self) -> str:
        return self.page.locator("#process").inner_text()


@contextlib.contextmanager
def serve_demo(site: DemoSite) -> Iterator[tuple[str, Process]]:
    """``manage.py demo``: its URL, and the process that starts servers."""
    port = free_port()
    process = Process([sys.executable, "manage.py", "demo", str(port)], port, site.environment)
    try:
        process.wait_ready()
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.stop()
        process.log.close()


@pytest.fixture(scope="module")
def demo_site(tmp_path_factory: pytest.TempPathFactory) -> DemoSite:
    """As ``make demo`` has it: no Redis, and everything as it comes."""
    return DemoSite(tmp_path_factory.mktemp("lifetime"))


@pytest.fixture(scope="module")
def demo(demo_site: DemoSite) -> Iterator[str]:
    with serve_demo(demo_site) as (url, _):
        yield url


@pytest.fixture
def open_life(demo: str, open_tab: OpenTab) -> Callable[..., Life]:
    return lambda transport="auto", **options: Life(open_tab(f"{demo}/lifetime/?transport={transport}", **options))


OpenLife = Callable[..., Life]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cut_network_is_mended_and_nothing_is_lost(transport: str, open_life: OpenLife) -> None:
    life = open_life(transport).start()
    expect(life.page.locator("#via")).to_have_text(transport)
    expect(life.told_server("on_connected")).to_contain_text(f"over {transport}")
    life.send("before")
    expect(life.told_client("received")).to_have_count(1)

    life.cut(2)
    life.send("meanwhile")
    expect(life.told_client("reconnecting")).to_have_count(1)
    expect(life.told_client("reconnected")).to_have_count(1)
    expect(life.told_server("on_reconnected")).to_contain_text(f"over {transport}")
    expect(life.page.locator("#state")).to_have_text("connected")
    life.send("after")
    expect(life.told_client("received").locator(".text")).to_contain_text(["before", "meanwhile", "after"])
    expect(life.history()).to_have_text(["negotiated", "connected", "reconnected"])
    expect(life.told_server("on_disconnected")).to_have_count(0)

    life.press("Stop the client")
    expect(life.told_client("disconnected")).to_contain_text("stop() was called")
    expect(life.told_server("on_disconnected")).to_contain_text("client_closed, stop_called True")
    expect(life.history()).to_have_text(["negotiated", "connected", "reconnected", "disconnected"])


@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents", "foreverFrame"])
def test_short_silence_is_noticed_and_survived(transport: str, open_life: OpenLife) -> None:
    life = open_life(transport).start()
    life.send("the last byte before")
    expect(life.told_client("received")).to_have_count(1)
    life.cut(5, "hold")
    life.send("meanwhile")
    expect(life.told_client("connectionSlow")).to_have_count(1)
    expect(life.told_client("received")).to_have_count(2)
    expect(life.told_client("reconnecting")).to_have_count(0)
    expect(life.told_server("on_reconnected")).to_have_count(0)
    expect(life.page.locator("#state")).to_have_text("connected")


def test_a_client_that_stays_away_is_given_up_by_both_sides(open_life: OpenLife) -> None:
    life = open_life("webSockets").start()
    life.cut(60)
    expect(life.page.locator("#gives-up")).to_be_visible()
    expect(life.told_client("disconnected")).to_contain_text("Couldn't reconnect within", timeout=GIVE_UP_TIMEOUT)
    expect(life.told_server("on_disconnected")).to_contain_text("client_gone, stop_called False", timeout=GIVE_UP_TIMEOUT)
    expect(life.page.locator("#history-state")).to_have_text("ended")
    expect(life.page.locator("#history-note")).to_contain_text("DISCONNECT_TIMEOUT")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_killed_server_is_replaced_and_the_client_goes_on(transport: str, open_life: OpenLife) -> None:
    life = open_life(transport).start()
    connection_id = life.page.locator("#connection-id").inner_text()
    first = life.process
    expect(life.told_server("on_connected")).to_have_attribute("data-process", first)
    expect(life.history()).to_have_text(["negotiated", "connected"])  # what is not written yet dies with the process
    life.press("Kill the server process")
    # A forever frame that was refused several times goes on to reconnect several times.
    expect(life.told_client("reconnecting")).not_to_have_count(0)
    expect(life.told_client("reconnected")).not_to_have_count(0, timeout=GIVE_UP_TIMEOUT)
    on_reconnected = life.told_server("on_reconnected").first
    expect(on_reconnected).to_be_visible()
    expect(life.page.locator("#process")).to_have_text(re.compile("[0-9]+"))
    assert life.process != first
    assert on_reconnected.get_attribute("data-process") == life.process
    expect(life.told_server("on_disconnected")).to_have_count(0)

    life.send("from the new process")
    expect(life.told_client("received")).to_contain_text("from the new process")
    assert life.page.locator("#connection-id").inner_text() == connection_id
    expect(life.history().filter(has_text="reconnected")).not_to_have_count(0)
    assert life.history().all_inner_texts()[:3] == ["negotiated", "connected", "reconnected"]
    expect(life.page.locator("#history-state")).to_have_text("live")


def test_the_server_closes_a_connection(open_life: OpenLife) -> None:
    life = open_life().start()
    life.press("Close from the server")
    expect(life.told_client("disconnected")).to_contain_text("Closed from the server")
    expect(life.told_server("on_disconnected")).to_contain_text("closed_by_app, stop_called False")
    life.press("Close from the server")
    expect(life.page.get_by_role("alert").locator("visible=true")).to_have_text("There is no connection to close.")
    life.start()
    expect(life.told_server("on_connected")).to_have_count(2)


def test_two_pages_do_not_disturb_each_other(open_life: OpenLife) -> None:
    one, two = open_life("webSockets").start(), open_life("serverSentEvents").start()
    one.cut(2)
    expect(one.told_server("on_reconnected")).to_have_count(1)
    two.send("for two")
    expect(two.told_client("received")).to_have_count(1)
    expect(two.told_client("reconnecting")).to_have_count(0)
    expect(two.told_server("on_connected")).to_have_count(1)
    expect(one.told_client("received")).to_have_count(0)


def test_a_closed_page_has_stopped_its_client(demo_site: DemoSite, open_life: OpenLife) -> None:
    life = open_life().start()
    connection_id = life.page.locator("#connection-id").inner_text()
    life.page.close()

    def reason() -> str | None:
        rows = json.loads(demo_site.manage("signalr_list", "--state", "all", "--json"))
        return next(row for row in rows if row["connection_id"] == connection_id).get("close_reason")

    eventually(lambda: reason() == "client_closed", "the end of the connection is not recorded as a goodbye")


def test_what_the_buttons_refuse(demo: str, open_life: OpenLife) -> None:
    life = open_life()
    life.press("Send from the server")
    expect(life.page.get_by_role("alert").locator("visible=true")).to_have_text("There has been no connection yet.")
    request = life.page.request
    token = life.page.locator("[name=csrfmiddlewaretoken]").input_value()
    actions = f"{demo}/lifetime/"
    visit = life.page.locator("body").get_attribute("data-visit")

    def post(path: str, **data: str) -> int:
        return int(request.post(actions + path, form={"csrfmiddlewaretoken": token, **data}).status)

    assert [post(f"{visit}/cut/", seconds=seconds) for seconds in ("0", "61", "-1", "x", "")] == [400] * 5
    assert post(f"{visit}/say/", text="x" * 201) == 400
    assert post("kill/", process="1") == 409
    assert request.post(f"{actions}kill/", form={"process": life.process}).status == 403
    assert life.process == open_life().process


def test_a_server_that_nobody_starts_again_cannot_be_killed(urls: tuple[str, str], open_tab: OpenTab) -> None:
    page = open_tab(f"{urls[0]}/lifetime/").page
    expect(page.get_by_role("button", name="Kill the server process")).to_be_disabled()
    token = page.locator("[name=csrfmiddlewaretoken]").input_value()
    process = page.locator("#process").inner_text()
    answer = page.request.post(f"{urls[0]}/lifetime/kill/", form={"csrfmiddlewaretoken": token, "process": process})
    assert answer.status == 403
    assert "manage.py demo" in answer.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_and_its_server(number: int, tmp_path: Path) -> None:
    with serve_demo(DemoSite(tmp_path)) as (url, process):
        process.signal(number)
        assert process.process.wait(STOP_TIMEOUT) == 0
        assert "/lifetime/" in process.output()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(url, timeout=TIMEOUT)


def test_the_lifetime_page_fits_a_phone_and_every_control_has_a_name(open_life: OpenLife) -> None:
    for width in (320, 390):
        life = open_life(**{**PHONE, "viewport": {"width": width, "height": 700}}).start()
        life.send("A-word-that-does-not-end-" * 8)
        expect(life.told_client("received")).to_have_count(1)
        expect(life.history()).to_have_count(2)
        assert not life.tab.has_horizontal_scroll()
        assert life.page.evaluate(CONTROLS_WITHOUT_A_NAME) == []


def test_pictures_of_a_life(open_life: OpenLife) -> None:
    """A cut, a message meanwhile and a killed server, on a desk; a long cut on a phone, in the dark."""
    life = open_life(viewport={"width": 1280, "height": 920}, device_scale_factor=1.5).start()
    life.cut(2)
    life.send("sent while the network was cut")
    expect(life.told_client("received")).to_have_count(1)
    expect(life.history()).to_have_count(3)
    life.press("Kill the server process")
    expect(life.told_server("on_reconnected")).to_have_count(2)
    expect(life.history()).to_have_count(4)
    life.page.evaluate("scrollTo(0, 0)")
    desk = life.tab.screenshot("lifetime")
    phone = open_life(**PHONE, color_scheme="dark").start()
    phone.cut(30)
    expect(phone.told_client("reconnecting")).to_have_count(1)
    expect(phone.page.locator("#gives-up")).to_be_visible()
    phone.tab.screenshot("lifetime-phone-dark")
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        shutil.copy(desk, PICTURES / "lifetime.png")
