"""
Settings: ``SIGNALR = {"KEEP_ALIVE_INTERVAL": 15}`` in the Django settings, all of them optional.

Read them with :func:`get_settings`, at call time. A hub overrides some for itself with its ``settings`` mapping.

``SIGNALR = {"CLASSIC": {"DISCONNECT_TIMEOUT": 60}}`` holds those of the classic generation, where some of the names mean something
else. Read them with :func:`classic_settings`; a mount overrides any of them for itself.
"""

from signalr_channels.conf.classic import CLASSIC_FIELDS, CLASSIC_TRANSPORTS, ClassicSettings, classic_setting_problems
from signalr_channels.conf.in_force import classic_settings, get_settings, hub_settings
from signalr_channels.conf.settings import FIELDS, HUB_SETTINGS, SignalRSettings, setting_problems

__all__ = [
    "CLASSIC_FIELDS",
    "CLASSIC_TRANSPORTS",
    "FIELDS",
    "HUB_SETTINGS",
    "ClassicSettings",
    "SignalRSettings",
    "classic_setting_problems",
    "classic_settings",
    "get_settings",
    "hub_settings",
    "setting_problems",
]
