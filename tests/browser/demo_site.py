"""The demo site as a visitor meets it: server processes, tabs, and a Chromium that is there or is not."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, Playwright, expect

from tests.live import ROOT, Server, missing, serve

APPLICATION = "demo_project.asgi:application"
ADMIN, PASSWORD = "admin", "only-for-tests"
TIMEOUT = 10.0
ARTIFACTS = ROOT / "tests" / "artifacts"
CHROMIUM_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}


def launch_chromium(playwright: Playwright) -> Browser:
    path = shutil.which("chromium")
    if path is None:
        missing("Chromium")
    expect.set_options(timeout=TIMEOUT * 1000)
    return playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)


def eventually(check: Callable[[], object], what: str) -> None:
    """Ask until it is true. What is asked takes its time: it loads a page."""
    deadline = time.monotonic() + TIMEOUT
    while not check():
        assert time.monotonic() < deadline, what


@functools.cache
def migrated_database() -> bytes:
    """An empty database with the admin user; making one takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="signalr-demo-") as folder:
        database = Path(folder) / "db.sqlite3"
        environment = {"DJANGO_SETTINGS_MODULE": "demo_project.settings", "DATABASE_PATH": str(database), "DEMO_ADMIN_PASSWORD": PASSWORD}
        for command in (["migrate", "--verbosity", "0"], ["demo_setup"]):
            arguments = [sys.executable, "manage.py", *command]
            subprocess.run(arguments, cwd=ROOT, env={**os.environ, **environment}, check=True, timeout=60, stdout=subprocess.DEVNULL)
        return database.read_bytes()


class DemoSite:
    """One database and one Redis, whatever the number of server processes."""

    def __init__(self, folder: Path, redis_url: str = "", **environment: str) -> None:
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "DEMO_DEBUG": "1",
            "DATABASE_PATH": str(folder / "db.sqlite3"),
            "REDIS_URL": redis_url,
            **environment,
        }
        (folder / "db.sqlite3").write_bytes(migrated_database())

    def manage(self, *arguments: str) -> str:
        """``manage.py``, in a process of its own. Gives what it prints."""
        environ = {**os.environ, **self.environment}
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serve(self, port: int | None = None) -> contextlib.AbstractContextManager[Server]:
        return serve(APPLICATION, env=self.environment, port=port)


@dataclass
class Tab:
    """One tab with the page in it, in a browser profile of its own."""

    page: Page
    problems: list[str]
    """Errors on the console; there may be none, unless ``may_fail``."""
    may_fail: bool = False

    @classmethod
    def open(cls, browser: Browser, url: str, **options: Any) -> Tab:
        page = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **{**DESK, **options}).new_page()
        tab = cls(page, [])
        page.on("console", lambda message: tab.problems.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: tab.problems.append(str(error)))
        page.goto(url)
        return tab

    def enter(self, nickname: str) -> Tab:
        self.page.get_by_label("Nickname").fill(nickname)
        self.page.keyboard.press("Enter")
        return self.wait_connected()

    def wait_connected(self) -> Tab:
        expect(self.page.locator("#state")).to_have_text("connected")
        return self

    def write(self, text: str) -> None:
        """Into the message box, key by key."""
        self.page.get_by_label("Your message").press_sequentially(text)

    def say(self, text: str, *hearers: Tab) -> None:
        """Write and send; wait until it is on this page and on others."""
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")
        for tab in (self, *hearers):
            expect(tab.said(text)).to_be_visible()

    def said(self, text: str) -> Locator:
        return self.page.locator(".message", has=self.page.get_by_text(text, exact=True))

    def note(self, text: str) -> Locator:
        return self.page.locator(".line.note", has_text=text)

    @property
    def people(self) -> Locator:
        return self.page.locator("#people .person-name")

    def log_in(self) -> Tab:
        """As the admin user, from the chat's own link or on the admin's login page."""
        self.page.get_by_label("Username").fill(ADMIN)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        return self

    def has_horizontal_scroll(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth"))

    def screenshot(self, name: str) -> Path:
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled", caret="hide")
        return path

    def close(self) -> None:
        self.page.context.close()


@contextlib.contextmanager
def tabs_of(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, and closes them; fails if the console of one had anything to complain about."""
    tabs: list[Tab] = []

    def open_tab(url: str, **options: Any) -> Tab:
        tabs.append(Tab.open(browser, url, **options))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.close()
    for tab in tabs:
        assert tab.may_fail or not tab.problems, tab.problems
