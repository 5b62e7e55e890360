"""Sending from outside a hub: from a view, a command, a worker, a loop, with and without a server in the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.test import override_settings

from signalr_channels import HubContext, get_hub_context
from signalr_channels.endpoints import PROTOCOLS
from signalr_channels.exceptions import BackplaneUnavailable, ConnectionClosed, WrongContext
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.runtime import Runtime, get_runtime
from tests.contracts.sites import Backplane, Client, ServerProcess, close_layer, eventually, running

TIMEOUT = 5.0


class NewsHub(Hub):
    pass


class OtherHub(Hub):
    pass


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    """The part of a server process that serves hubs."""
    runtime = get_runtime()
    yield runtime
    await runtime.stop()


async def connect(runtime: Runtime, connection_id: str, user: str | None = None) -> Client:
    return await ServerProcess(runtime.manager_for(NewsHub)).connect(connection_id, user, PROTOCOLS["json"])


# In a server process


async def test_async_code_sends_in_its_own_loop(runtime: Runtime) -> None:
    one, two = await connect(runtime, "one", "anna"), await connect(runtime, "two")
    context = get_hub_context(NewsHub)
    await context.clients.all.asend("all", 1)
    await context.clients.client("one").asend("client")
    await context.groups.aadd("two", "lobby")
    await context.clients.group("lobby").asend("group")
    await context.clients.user("anna").asend("user")
    await context.clients.all_except(["one"]).asend("except")
    await get_hub_context(OtherHub).clients.all.asend("another hub")
    assert one.calls() == [("all", 1), ("client",), ("user",)]
    assert two.calls() == [("all", 1), ("group",), ("except",)]


async def test_sync_code_in_a_thread_sends_through_the_servers_loop(runtime: Runtime) -> None:
    one = await connect(runtime, "one", "anna")

    def work() -> Any:  # a WSGI view in an ASGI process, a plain hub method, a signal handler
        context = get_hub_context(NewsHub)
        context.groups.add("one", "lobby")
        context.clients.group("lobby").send("group", "hi")
        context.groups.remove("one", "lobby")
        context.clients.group("lobby").send("nobody")
        return context.clients.client("one").invoke("question", result_type=int)

    working = asyncio.ensure_future(asyncio.to_thread(work))
    await eventually(lambda: "question" in one.targets())
    one.answer(result=7)
    assert await asyncio.wait_for(working, TIMEOUT) == 7
    assert one.targets() == ["group", "question"]


async def test_sync_code_inside_a_loop_is_told_of_the_async_twin(runtime: Runtime) -> None:
    context = get_hub_context(NewsHub)
    for call, twin in [
        (lambda: context.clients.all.send("x"), "asend"),
        (lambda: context.clients.client("one").invoke("x"), "ainvoke"),
        (lambda: context.groups.add("one", "lobby"), "aadd"),
        (lambda: context.groups.remove("one", "lobby"), "aremove"),
    ]:
        with pytest.raises(WrongContext, match=rf"`await …{twin}\(…\)`"):
            call()


async def test_an_unknown_connection_cannot_be_asked(runtime: Runtime) -> None:
    with pytest.raises(ConnectionClosed, match="Connection 'nobody' does not exist"):
        await get_hub_context(NewsHub).clients.client("nobody").ainvoke("question")


# In another process


def test_without_a_layer_it_says_that_nobody_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "signalr_channels.runtime"):
        get_hub_context(NewsHub).clients.all.send("x")
    assert "nobody is reached from this process" in caplog.text
    assert "CHANNEL_LAYERS['default']" in caplog.text


@pytest.mark.parametrize("kind", ["core", "pubsub"])
async def test_a_process_without_a_server_reaches_those_that_have_one(kind: str, redis_url: str) -> None:
    backend = {"core": "channels_redis.core.RedisChannelLayer", "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer"}[kind]
    async with running(Backplane(kind, redis_url)) as backplane:
        prefix = backplane.make_layer().prefix if kind == "core" else backplane._prefix
        server = backplane.make_process(hub=hub_name(NewsHub))
        client = await server.connect("one", "anna")
        layers = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [redis_url], "prefix": prefix}}}
        with override_settings(CHANNEL_LAYERS=layers):

            def work() -> None:  # a management command, a Celery task, the shell
                context = get_hub_context(NewsHub)
                context.clients.all.send("sync", 1)
                context.groups.add("one", "lobby")
                context.clients.group("lobby").send("group")
                context.clients.user("anna").send("user")

            await asyncio.to_thread(work)
            await get_hub_context(NewsHub).clients.all.asend("async")
            await eventually(lambda: len(client.calls()) == 4)
            assert client.calls() == [("sync", 1), ("group",), ("user",), ("async",)]
            await close_layer(get_channel_layer())


def test_a_layer_that_cannot_be_reached_is_an_error_of_the_sender() -> None:
    layers = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]}}}
    with override_settings(CHANNEL_LAYERS=layers), pytest.raises(BackplaneUnavailable):
        get_hub_context(NewsHub).clients.all.send("x")


# Mistakes


@pytest.mark.parametrize("hub", ["NewsHub", NewsHub.__mro__[1:], dict, None])
def test_only_a_hub_class_has_a_context(hub: Any) -> None:
    with pytest.raises(TypeError, match=r"^get_hub_context\(\) takes a hub class, not "):
        get_hub_context(hub)


def test_a_context_says_whose_it_is_and_can_be_kept() -> None:
    context = get_hub_context(NewsHub)
    assert isinstance(context, HubContext)
    assert repr(context) == "<HubContext of NewsHub>"
