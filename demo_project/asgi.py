"""The demo site as an ASGI application: hubs at their paths, Django behind them."""

import os
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
django_app: Any = get_asgi_application()
if settings.DEBUG:
    django_app = ASGIStaticFilesHandler(django_app)  # so that any ASGI server serves the static files, not only runserver

from demo_project.chat.hubs import ChatHub  # noqa: E402 - hubs need Django set up
from demo_project.lifetime.hubs import LifetimeFeedHub, LifetimeHub  # noqa: E402
from demo_project.lifetime.network import UnreliableNetwork  # noqa: E402
from signalr_channels.routing import HubRouter, map_classic_hubs, map_hub  # noqa: E402

hubs = HubRouter(
    [
        map_hub("hubs/chat", ChatHub),  # clients of ASP.NET Core
        map_hub("hubs/lifetime", LifetimeFeedHub),
        map_classic_hubs("signalr", [ChatHub, LifetimeHub]),  # clients of ASP.NET SignalR 2
    ],
    django_app,
)

# A site that is no demo serves the router as it is: it has no use for a network that can be cut.
application = UnreliableNetwork(hubs, "signalr")
