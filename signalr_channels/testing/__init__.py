"""
Tests of hubs: a client in the process of the test, without a server, a network or a thread.

::

    async with HubCommunicator(ChatHub, user=anna) as client:
        await client.ainvoke("SendMessage", "lobby", "hi")
        assert await client.receive("messageReceived") == ["anna", "hi"]

What the client does goes through the same protocol, permissions, filters and lifetime manager as in production. All clients of one
event loop reach each other, and ``get_hub_context()`` reaches them.
"""

from signalr_channels.testing.communicator import HubCommunicator
from signalr_channels.testing.conversation import ClientCall, HubInvocationError
from signalr_channels.testing.streams import HubStream, upload

__all__ = ["ClientCall", "HubCommunicator", "HubInvocationError", "HubStream", "upload"]
