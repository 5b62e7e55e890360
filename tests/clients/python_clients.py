"""What the tests of Python clients on all transports share: texts of the peer hubs, a deadline, and a way to log in."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Awaitable
from typing import TypeVar

from tests.live import PeerSite

DEADLINE = 15.0
NO_METHOD = "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."
FAILED = "An unexpected error occurred invoking 'FailHub' on the server. HubException: Sorry, Zoë."
COUNTED = "An error occurred on the server while streaming results. HubException: counted"
TEXT = "漢字 😀 \x1e \u2028"

T = TypeVar("T")


async def within(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, DEADLINE)


def access_token(site: PeerSite, user: str, seconds: int = 60) -> str:
    with urllib.request.urlopen(f"{site.url}/token?user={user}&seconds={seconds}", timeout=DEADLINE) as response:
        return str(response.read().decode())
