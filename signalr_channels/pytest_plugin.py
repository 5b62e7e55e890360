"""
A pytest fixture for tests of hubs.

Installed with the package, without anything to configure; a project without Django is not bothered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from signalr_channels.testing import HubCommunicator

__all__ = ["hub_communicator"]


@pytest.fixture
def hub_communicator(request: pytest.FixtureRequest) -> Iterator[Callable[..., HubCommunicator]]:
    """
    Give a function that makes test clients, with the arguments of ``HubCommunicator``.

    Example: ``async with hub_communicator(ChatHub, user=anna) as client``.

    In a test with pytest-django's ``db``, all database work takes part in the test's transaction, whatever thread it runs in.
    A client that is still connected when the test is over fails it.
    """
    from signalr_channels.testing import HubCommunicator

    if "db" in request.fixturenames:
        request.getfixturevalue("db")  # before this one; the mark is always
    clients: list[HubCommunicator] = []

    def make(*args: Any, **kwargs: Any) -> HubCommunicator:
        clients.append(HubCommunicator(*args, **kwargs))
        return clients[-1]

    with share_transaction():
        yield make
    left = [client for client in clients if client.is_started]
    assert not left, f"{len(left)} HubCommunicator(s) were not stopped: use `async with`, or await stop()."


@contextlib.contextmanager
def share_transaction() -> Iterator[None]:
    """
    Let the thread in which asgiref runs Django's sync code use the open transactions of this thread.

    pytest's event loops run in the main thread, where the test's transaction is open; sync code then has a thread of its own, and would
    have database connections of its own. It is safe as long as only one of the threads uses them: async code may not.
    """
    from django.db import connections

    shared = {connection.alias: connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block}
    if not shared:
        yield
        return
    before: dict[str, Any] = {}

    def lend() -> None:
        before.update({connection.alias: connection for connection in connections.all(initialized_only=True)})
        for alias, connection in shared.items():
            connections[alias] = connection

    def give_back() -> None:
        for alias in shared:
            if alias in before:
                connections[alias] = before[alias]
            else:
                del connections[alias]

    for connection in shared.values():
        connection.inc_thread_sharing()
    _run_in_thread_of_sync_code(lend)
    try:
        yield
    finally:
        _run_in_thread_of_sync_code(give_back)
        for connection in shared.values():
            connection.dec_thread_sharing()


def _run_in_thread_of_sync_code(function: Callable[[], None]) -> None:
    from asgiref.sync import sync_to_async

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(sync_to_async(function, thread_sensitive=True)())
    finally:
        loop.close()
