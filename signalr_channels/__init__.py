"""
A SignalR server for Django: both generations of clients, on Django Channels.

Importing this package loads no Django.
"""

from signalr_channels.exceptions import HubException
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.hub_context import HubContext, get_hub_context
from signalr_channels.hubs.methods import hub_method
from signalr_channels.protocols.endings import CloseReason, Disconnect

__all__ = [
    "CloseReason",
    "Disconnect",
    "Hub",
    "HubContext",
    "HubException",
    "HubFilter",
    "get_hub_context",
    "hub_method",
]

__version__ = "0.1.0"
