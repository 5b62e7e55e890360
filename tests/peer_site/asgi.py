"""The peer site as an ASGI application."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.peer_site.settings")
django_app = get_asgi_application()

from signalr_channels.routing import (  # noqa: E402 - hubs need Django set up
    HubRouter,
    map_classic_hubs,
    map_connection_handler,
    map_hub,
    map_persistent_connection,
)
from tests.peer_site.classic import NamedUsers, RawConnection, SecretHub  # noqa: E402
from tests.peer_site.classic_extra import (  # noqa: E402
    GuardedNewsHub,
    MoodyHub,
    OpenNewsHub,
    PartlyStaffHub,
    RoomConnection,
    StaffClassicHub,
    UsersConnection,
)
from tests.peer_site.extra_hubs import ClosedHub, EverythingHub, StaffHub  # noqa: E402
from tests.peer_site.hubs import BenchHub, EchoConnection, ParallelHub, PeerHub, SecureHub, StrictHub  # noqa: E402
from tests.peer_site.transport_hubs import TransportHub  # noqa: E402

# Everything a test would have to wait for comes soon.
QUICK = {"POLL_TIMEOUT": 1, "KEEP_ALIVE_INTERVAL": 1, "CLIENT_TIMEOUT_INTERVAL": 2}

CLASSIC_HUBS = [PeerHub, SecretHub, BenchHub]

hubs = HubRouter(
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
        map_classic_hubs("signalr", CLASSIC_HUBS),
        map_classic_hubs("detailed", CLASSIC_HUBS, ENABLE_DETAILED_ERRORS=True, ENABLE_JSONP=True),
        map_persistent_connection("raw", RawConnection),
        map_classic_hubs("extra", [MoodyHub, StaffClassicHub, PartlyStaffHub, OpenNewsHub], ENABLE_DETAILED_ERRORS=True),
        map_classic_hubs("guarded", [MoodyHub, GuardedNewsHub]),
        map_classic_hubs("sparse", [PeerHub], ENABLE_JAVASCRIPT_PROXIES=False, TRANSPORTS=["longPolling"], LONG_POLL_DELAY=0.25),
        map_persistent_connection("room", RoomConnection, ENABLE_DETAILED_ERRORS=True),
        map_persistent_connection("users", UsersConnection),
    ],
    django_app,
)
application = NamedUsers(hubs, "/signalr", "/detailed", "/raw", "/extra", "/guarded", "/users")
