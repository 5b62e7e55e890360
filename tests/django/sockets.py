"""A web socket of a core client, to a hub in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from asgiref.testing import ApplicationCommunicator

from signalr_channels.hubs.hub import Hub
from signalr_channels.recorder import Recorder, use_recorder
from signalr_channels.routing import HubRouter, map_hub
from signalr_channels.runtime import get_runtime
from tests.django.test_routing import TIMEOUT, connect, websocket_scope

__all__ = ["connected"]


@contextlib.asynccontextmanager
async def connected(hub: type[Hub]) -> AsyncIterator[ApplicationCommunicator]:
    """One that has shaken hands. The runtime stops behind it, and the history has no thread."""
    with use_recorder(Recorder(synchronous=True)):
        communicator, _ = await connect(HubRouter([map_hub("hub", hub)]), websocket_scope("/hub"))
        await communicator.send_input({"type": "websocket.receive", "text": '{"protocol":"json","version":1}\x1e'})
        assert (await communicator.receive_output(TIMEOUT))["text"] == "{}\x1e"
        yield communicator
        await get_runtime().stop()
        await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await communicator.wait(TIMEOUT)
