"""The demo site's settings, with server processes that count as lost after 1.5 s of silence."""

from demo_project.settings import *  # noqa: F403

SIGNALR = {"PROCESS_HEARTBEAT_INTERVAL": 0.5, "PROCESS_LEASE": 1.5}
