"""The peer site as an ASGI application."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.peer_site.settings")
django_app = get_asgi_application()

from signalr_channels.routing import HubRouter, map_connection_handler, map_hub  # noqa: E402 - hubs need Django set up
from tests.peer_site.extra_hubs import ClosedHub, EverythingHub, StaffHub  # noqa: E402
from tests.peer_site.hubs import BenchHub, EchoConnection, ParallelHub, PeerHub, SecureHub, StrictHub  # noqa: E402
from tests.peer_site.transport_hubs import TransportHub  # noqa: E402

# Everything a test would have to wait for comes soon.
QUICK = {"POLL_TIMEOUT": 1, "KEEP_ALIVE_INTERVAL": 1, "CLIENT_TIMEOUT_INTERVAL": 2}

application = HubRouter(
    [
        map_hub("peer", PeerHub, ALLOW_STATEFUL_RECONNECTS=True),
        map_hub("peer-ws", PeerHub, TRANSPORTS=["webSockets"]),
        map_hub("peer-sse", PeerHub, TRANSPORTS=["serverSentEvents"]),
        map_hub("peer-lp", PeerHub, TRANSPORTS=["longPolling"]),
        map_hub("peer-strict", StrictHub),
        map_hub("peer-parallel", ParallelHub),
        map_hub("secure", SecureHub),
        map_hub("bench", BenchHub),
        map_connection_handler("echo", EchoConnection),
        map_hub("everything", EverythingHub),
        map_hub("everything-unlimited", EverythingHub, MAXIMUM_RECEIVE_MESSAGE_SIZE=None),
        map_hub("everything-impatient", EverythingHub, TRANSPORT_SEND_TIMEOUT=1),
        map_hub("staff", StaffHub),
        map_hub("closed", ClosedHub),
        map_hub("transports", TransportHub, ALLOW_STATEFUL_RECONNECTS=True),
        map_hub("transports-quick", TransportHub, ALLOW_STATEFUL_RECONNECTS=True, **QUICK),
    ],
    django_app,
)
