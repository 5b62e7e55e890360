"""A demo site in two server processes over Redis, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.demo_site import DemoSite, Tab, launch_chromium, tabs_of


# The sync API of Playwright keeps an event loop running in this thread, which tests with loops of their own cannot have.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    with tabs_of(browser) as open_tab:
        yield open_tab


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> DemoSite:
    return DemoSite(tmp_path_factory.mktemp("demo"), redis_url)


@pytest.fixture(scope="module")
def urls(site: DemoSite) -> Iterator[tuple[str, str]]:
    """Two server processes of the site."""
    with site.serve() as one, site.serve() as two:
        yield one.url, two.url
