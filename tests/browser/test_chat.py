"""The demo site in Chromium: @microsoft/signalr in a real page, against two server processes that share a Redis."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.demo_site import ARTIFACTS, DESK, PHONE, DemoSite, Tab, eventually
from tests.live import ROOT

OpenTab = Callable[..., Tab]
LIVE = "/admin/signalr_channels/connection/"
PICTURES = ROOT / "docs" / "_static"
CONTROLS_WITHOUT_A_NAME = """
    [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea")]
    .filter((it) => !it.labels?.length && !it.getAttribute("aria-label") && !it.textContent.trim())
    .map((it) => it.outerHTML)
"""


def test_two_tabs_on_two_server_processes_chat(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(urls[0]).enter("Ada")
    bo = open_tab(urls[1]).enter("Bo")
    expect(ada.note("Bo joined.")).to_be_visible()
    for tab in (ada, bo):
        expect(tab.people).to_have_text(["Ada", "Bo"])

    ada.say("Hello, Bo.", bo)
    bo.say("Hello, Ada.", ada)
    expect(bo.said("Hello, Bo.").locator(".author")).to_have_text("Ada")
    expect(ada.page.locator(".message.mine")).to_have_count(1)

    bo.write("I was just")
    expect(ada.page.locator("#typing-text")).to_have_text("Bo is typing")
    expect(ada.page.locator("#typing")).to_be_visible()
    bo.say("never mind", ada)
    expect(ada.page.locator("#typing")).to_be_hidden()

    bo.page.close()
    expect(ada.note("Bo left.")).to_be_visible()
    expect(ada.people).to_have_text(["Ada"])


def test_rooms_keep_to_themselves_and_are_counted(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(f"{urls[0]}/?room=tea").enter("Ada")
    bo = open_tab(f"{urls[1]}/?room=tea").enter("Bo")
    bo.page.get_by_label("Name of another room").fill("Coffee Corner")
    bo.page.keyboard.press("Enter")
    expect(bo.page.get_by_role("heading", level=1)).to_have_text("coffee-corner")
    assert "room=coffee-corner" in bo.page.url
    expect(ada.note("Bo left.")).to_be_visible()
    for tab in (ada, bo):
        for name in ("tea", "coffee-corner"):
            expect(tab.page.locator(f"#rooms [data-room={name}] .count")).to_have_text("1")

    bo.say("Nobody hears this.")
    bo.page.go_back()
    expect(bo.page.get_by_role("heading", level=1)).to_have_text("tea")
    bo.say("Back again.", ada)
    expect(ada.said("Nobody hears this.")).to_have_count(0)
    expect(ada.page.locator("#rooms [data-room=tea] .count")).to_have_text("2")
    expect(ada.page.locator("#rooms [data-room=coffee-corner]")).to_have_count(0)


def test_a_guest_may_take_another_name_and_may_not_be_without_one(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(f"{urls[0]}/?room=names").enter("Ada")
    bo = open_tab(f"{urls[1]}/?room=names")
    bo.page.keyboard.press("Escape")
    bo.page.keyboard.press("Escape")
    bo.enter("Bo").page.get_by_role("button", name="Rename").click()
    bo.page.get_by_label("Nickname").fill("Beatrice")
    bo.page.keyboard.press("Enter")
    expect(ada.note("Bo is now Beatrice.")).to_be_visible()
    for tab in (ada, bo):
        expect(tab.people).to_have_text(["Ada", "Beatrice"])


def test_the_sentence_of_a_hub_exception_is_on_the_page(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(urls[0]).enter("Ada")
    ada.page.get_by_label("Your message").fill("x" * 501)
    expect(ada.page.locator("#counter")).to_have_text("501 / 500")
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("alert").locator("visible=true")).to_have_text("A message has at most 500 characters; this one has 501.")
    expect(ada.page.locator(".message")).to_have_count(0)
    ada.say("Shorter.")
    expect(ada.page.locator("#error")).to_be_hidden()


def test_a_link_to_a_room_that_cannot_be_ends_in_the_lobby(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(f"{urls[0]}/?room=no/room").enter("Ada")
    expect(ada.page.get_by_role("heading", level=1)).to_have_text("lobby")
    expect(ada.page.locator("#error-text")).to_contain_text("The name of a room has 1 to 30 letters")
    assert ada.page.url.endswith("/?room=lobby")


def test_a_management_command_speaks_from_another_process(site: DemoSite, urls: tuple[str, str], open_tab: OpenTab) -> None:
    tabs = [open_tab(f"{url}/?room=deploys").enter("Ada") for url in urls]
    assert "2 connections" in site.manage("say", "deploys", "Version 2 is out.")
    for tab in tabs:
        expect(tab.said("Version 2 is out.").locator(".author")).to_have_text("manage.py say")


def test_a_django_view_speaks(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada, bo = (open_tab(f"{url}/?room=tea").enter(name) for url, name in zip(urls, ("Ada", "Bo"), strict=True))
    ada.page.get_by_label("An announcement").fill("Tea is ready.")
    ada.page.get_by_role("button", name="Announce from a Django view").click()
    for tab in (ada, bo):
        expect(tab.said("Tea is ready.").locator(".author")).to_have_text("A Django view")

    outside = ada.page.request.post(f"{urls[0]}/announce/", form={"room": "tea", "text": "without a token"})
    assert outside.status == 403


def test_the_admin_shows_who_is_connected_and_why_others_left(urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(urls[0]).enter("Ada")
    ada.page.get_by_role("link", name="Log in").click()
    ada.log_in().wait_connected()
    expect(ada.people).to_have_text(["admin"])
    expect(ada.page.locator("#people .check")).to_be_visible()
    bo = open_tab(f"{urls[1]}/?transport=longPolling").enter("Bo")

    admin = open_tab(f"{urls[1]}{LIVE}", storage_state=ada.page.context.storage_state()).page
    rows = admin.locator("#result_list tbody tr")
    eventually(lambda: admin.reload() and rows.count() == 2, "the admin does not list two connections")
    expect(rows.filter(has_text="longPolling")).to_contain_text("ChatHub")
    expect(rows.filter(has_text="webSockets")).to_contain_text("admin")

    ada.page.get_by_role("link", name="Live connections in the admin").click()
    expect(bo.note("admin left.")).to_be_visible()
    admin.goto(f"{urls[1]}{LIVE}?state=ended&transport=webSockets")
    newest = rows.first
    eventually(lambda: admin.reload() and "admin" in newest.inner_text(), "the admin does not list the end of a connection")
    expect(newest).to_contain_text("client_")
    newest.get_by_role("link").click()
    expect(admin.locator("#content")).to_contain_text("client_")
    expect(admin.locator("#content")).to_contain_text("disconnected")


def test_an_operator_disconnects_somebody_of_another_process(urls: tuple[str, str], open_tab: OpenTab) -> None:
    bo = open_tab(f"{urls[0]}/?room=quiet").enter("Bo")
    eve = open_tab(f"{urls[0]}/?room=quiet&transport=serverSentEvents").enter("Eve")
    expect(bo.people).to_have_text(["Bo", "Eve"])
    eve.may_fail = True  # @microsoft/signalr 10.0 answers a Close over event streams with one of its own, which finds nobody

    admin = open_tab(f"{urls[1]}/admin/login/?next={LIVE}%3Ftransport=serverSentEvents").log_in().page
    rows = admin.locator("#result_list tbody tr")
    eventually(lambda: admin.reload() and rows.count() == 1, "the admin does not list the connection")
    rows.get_by_role("checkbox").check()
    admin.get_by_label("Action:").select_option("Disconnect selected connections")
    admin.get_by_role("button", name="Run").or_(admin.get_by_role("button", name="Go")).click()
    expect(admin.locator(".messagelist")).to_have_text("1 connection was disconnected; the list shows it in a moment.")

    expect(bo.note("Eve left.")).to_be_visible()
    expect(eve.page.locator("#state")).to_have_text("disconnected")
    expect(eve.page.locator("body")).to_contain_text("An operator ended the connection.")
    admin.goto(f"{urls[1]}{LIVE}?state=ended&close_reason=closed_by_admin")
    eventually(lambda: admin.reload() and rows.count() == 1, "the admin does not list the end")
    expect(rows).to_contain_text("Disconnected by admin:")


@pytest.mark.parametrize(
    ("transport", "name"),
    [("webSockets", "web sockets"), ("serverSentEvents", "server-sent events"), ("longPolling", "long polling")],
)
def test_the_page_works_over(transport: str, name: str, urls: tuple[str, str], open_tab: OpenTab) -> None:
    ada = open_tab(f"{urls[0]}/?room=transports&transport={transport}").enter("Ada")
    expect(ada.page.locator("#via")).to_have_text(name)
    expect(ada.page.get_by_label("Transport")).to_have_value(transport)
    bo = open_tab(f"{urls[1]}/?room=transports").enter("Bo")
    ada.say("There", bo)
    bo.say("and back", ada)
    ada.page.get_by_role("button", name="Disconnect").click()
    expect(ada.page.locator("#state")).to_have_text("disconnected")
    expect(bo.note("Ada left.")).to_be_visible()
    ada.page.get_by_role("button", name="Connect now").click()
    ada.wait_connected()
    expect(bo.people).to_have_text(["Bo", "Ada"])


def test_the_page_survives_a_restart_of_the_server(site: DemoSite, open_tab: OpenTab) -> None:
    with site.serve() as first:
        ada = open_tab(f"{first.url}/?room=restart").enter("Ada")
        ada.say("Before")
        ada.may_fail = True  # browsers report every refused connection as an error
    expect(ada.page.locator("#state")).to_have_text("reconnecting")
    expect(ada.page.locator("#banner")).to_contain_text("Reconnecting")
    with site.serve(port=first.port):
        ada.wait_connected()
        expect(ada.page.locator("#banner")).to_be_hidden()
        expect(ada.people).to_have_text(["Ada"])
        ada.say("After")
        expect(ada.said("Before")).to_be_visible()


def test_people_of_a_killed_server_process_leave_the_room(tmp_path: Path, redis_url: str, open_tab: OpenTab) -> None:
    site = DemoSite(tmp_path, redis_url, DJANGO_SETTINGS_MODULE="tests.browser.hasty_settings")
    with site.serve() as lucky, site.serve() as doomed:
        ada = open_tab(f"{lucky.url}/?room=crash").enter("Ada")
        bo = open_tab(f"{doomed.url}/?room=crash").enter("Bo")
        expect(ada.people).to_have_text(["Ada", "Bo"])
        eventually(lambda: site.manage("signalr_list", "--count").strip() == "2", "the history has both connections")
        bo.may_fail = True
        doomed.kill()
        expect(ada.note("Bo left.")).to_be_visible()
        expect(ada.people).to_have_text(["Ada"])
        ada.close()


def test_a_phone_needs_no_horizontal_scrolling_and_every_control_has_a_name(urls: tuple[str, str], open_tab: OpenTab) -> None:
    for width in (320, 390):
        ada = open_tab(f"{urls[0]}/?room=phone", **{**PHONE, "viewport": {"width": width, "height": 700}})
        assert not ada.has_horizontal_scroll()
        ada.enter("Ada with a name that is long")
        ada.say("A-word-that-does-not-end-" * 12)
        assert not ada.has_horizontal_scroll()
        menu = ada.page.get_by_role("button", name="Rooms, people and tools")
        menu.click()
        expect(ada.people.first).to_be_in_viewport()
        assert not ada.has_horizontal_scroll()
        expect(ada.page.get_by_role("button", name="Close the menu")).to_be_focused()
        ada.page.keyboard.press("Escape")
        expect(menu).to_be_focused()
        expect(ada.people.first).not_to_be_in_viewport()
        assert ada.page.evaluate(CONTROLS_WITHOUT_A_NAME) == []
        ada.close()


def test_pictures(site: DemoSite, urls: tuple[str, str], open_tab: OpenTab) -> None:
    """A conversation over three transports and two server processes, on a desk and on a phone, in light and dark."""
    noor = open_tab(f"{urls[0]}/?room=ideas").enter("Noor")
    admin = open_tab(f"{urls[0]}/admin/login/?next=/", device_scale_factor=1.5).log_in().wait_connected()
    ada = open_tab(f"{urls[1]}/", **PHONE, color_scheme="dark").enter("Ada Moreau")
    kofi = open_tab(f"{urls[1]}/?transport=longPolling", **DESK, color_scheme="dark").enter("Kofi")
    everyone = (admin, ada, kofi)
    admin.say("The new version is on staging. Can somebody look?", *everyone)
    ada.say("Looking. I am on the train, so mind the tunnels.", *everyone)
    ada.say("Back again: the page reconnected by itself.", *everyone)
    kofi.say("Long polling through the old proxy works too.", *everyone)
    site.manage("say", "lobby", "Deployed to production: version 2.4")
    for tab in everyone:
        expect(tab.said("Deployed to production: version 2.4")).to_be_visible()
    admin.say("That was quick.", *everyone)
    ada.write("It")
    for tab in (admin, kofi):
        expect(tab.page.locator("#typing-text")).to_have_text("Ada Moreau is typing")
    desk = admin.screenshot("desk")
    kofi.screenshot("desk-dark")
    ada.screenshot("phone-dark")
    ada.page.get_by_role("button", name="Rooms, people and tools").click()
    ada.screenshot("phone-drawer")
    kofi.page.set_viewport_size({"width": 900, "height": 800})
    kofi.screenshot("tablet-dark")

    panel = open_tab(
        f"{urls[0]}{LIVE}",
        viewport={"width": 1280, "height": 600},
        device_scale_factor=1.5,
        storage_state=admin.page.context.storage_state(),
    )
    panel.page.get_by_role("button", name="Toggle navigation").click()
    eventually(lambda: panel.page.reload() and panel.page.locator("#result_list tbody tr").count() == 4, "four connections are live")
    connections = panel.screenshot("admin")
    open_tab(urls[0], **PHONE).screenshot("phone-nickname")
    noor.close()
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        PICTURES.mkdir(exist_ok=True)
        shutil.copy(desk, PICTURES / "chat.png")
        shutil.copy(connections, PICTURES / "admin.png")
    assert len(list(ARTIFACTS.glob("*.png"))) >= 7
