"""The connections of one process, and the ids of those that ended."""

from __future__ import annotations

from signalr_channels.connections.connection import Connection
from signalr_channels.connections.store import ConnectionStore
from signalr_channels.connections.transports import FakeTransport
from signalr_channels.protocols.core.engine import CoreEngine
from tests.unit.scripted import JSON, Clock


def make_connection(connection_id: str) -> Connection:
    return Connection(connection_id=connection_id, engine=CoreEngine(hub_protocols=[JSON]), transport=FakeTransport(), clock=Clock())


def test_a_connection_is_found_by_its_id_while_it_lives() -> None:
    store = ConnectionStore(Clock(), 20.0)
    connection = make_connection("a")
    assert store.get("a") is None
    store.add(connection)
    assert store.get("a") is connection
    assert not store.has_ended("a")
    assert len(store) == 1
    store.remove(connection)
    assert store.get("a") is None
    assert store.has_ended("a")
    assert len(store) == 0


def test_the_id_of_one_that_ended_is_known_for_the_tombstone_time() -> None:
    clock = Clock()
    store = ConnectionStore(clock, 20.0)
    for connection_id in ("a", "b"):
        connection = make_connection(connection_id)
        store.add(connection)
        store.remove(connection)
        clock.now += 5.0
    store.expire(19.9)
    assert store.has_ended("a") and store.has_ended("b")
    store.expire(20.0)
    assert not store.has_ended("a") and store.has_ended("b")
    store.expire(1_000.0)
    assert not store.has_ended("b")


def test_a_connection_that_never_was_leaves_no_tombstone() -> None:
    store = ConnectionStore(Clock(), 20.0)
    store.remove(make_connection("a"))
    assert not store.has_ended("a")


def test_removing_twice_does_not_prolong_the_tombstone() -> None:
    clock = Clock()
    store = ConnectionStore(clock, 20.0)
    connection = make_connection("a")
    store.add(connection)
    store.remove(connection)
    clock.now = 19.0
    store.remove(connection)
    store.expire(20.0)
    assert not store.has_ended("a")


def test_connections_may_end_while_one_walks_through_them() -> None:
    store = ConnectionStore(Clock(), 20.0)
    for connection_id in ("a", "b", "c"):
        store.add(make_connection(connection_id))
    seen = []
    for connection in store:
        seen.append(connection.connection_id)
        store.remove(connection)
    assert seen == ["a", "b", "c"]
    assert len(store) == 0
