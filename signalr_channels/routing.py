"""
Where hubs live: ``map_hub`` puts a hub at a path, ``HubRouter`` is the ASGI application that serves them.

::

    # mysite/asgi.py
    from django.core.asgi import get_asgi_application

    django_app = get_asgi_application()

    from chat.hubs import ChatHub
    from signalr_channels.routing import HubRouter, map_hub

    application = HubRouter([map_hub("hubs/chat", ChatHub)], django_app)
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Sequence
from typing import Any

from django.urls import URLPattern, re_path

from signalr_channels.classic_mounts import ClassicMount
from signalr_channels.conf import get_settings
from signalr_channels.consumers.classic.consumer import ClassicConsumer
from signalr_channels.consumers.requests import NegotiateConsumer, TransportRequestConsumer
from signalr_channels.consumers.websocket import WebSocketConsumer
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.connection_handler import ConnectionHandler
from signalr_channels.hubs.hub import Hub
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.responses import respond
from signalr_channels.runtime import get_runtime
from signalr_channels.views import classic_negotiate_view, negotiate_view

__all__ = ["HubRouter", "map_classic_hubs", "map_connection_handler", "map_hub", "map_persistent_connection", "negotiate_urls"]


def map_hub(path: str, hub: type[Hub], **settings: Any) -> HubEndpoint:
    """
    Put a hub at a path.

    Args:
        path: Where clients connect, such as ``hubs/chat``. Letter case does not matter.
        hub: The hub class.
        settings: Settings of this path that differ from the hub's, by the names of ``SIGNALR``, such as ``TRANSPORTS=["webSockets"]``.

    Raises:
        HubDefinitionError: A setting is unknown.
    """
    if not (isinstance(hub, type) and issubclass(hub, Hub)):
        raise TypeError(f"map_hub() takes a hub class, not {hub!r}")
    return HubEndpoint(path, hub, settings)


def map_connection_handler(path: str, handler: type[ConnectionHandler], **settings: Any) -> HubEndpoint:
    """
    Put a connection without a hub at a path.

    Args:
        path: Where clients connect.
        handler: The handler class.
        settings: Settings of this path that differ from the project's.
    """
    if not (isinstance(handler, type) and issubclass(handler, ConnectionHandler)):
        raise TypeError(f"map_connection_handler() takes a handler class, not {handler!r}")
    return HubEndpoint(path, handler, settings)  # type: ignore[arg-type]


def map_classic_hubs(path: str, hubs: Sequence[type[Hub]], **settings: Any) -> ClassicMount:
    """
    Put hubs at a path for clients of ASP.NET SignalR 2, all of them behind one connection.

    Args:
        path: Where clients connect; ``signalr`` is what they try by themselves.
        hubs: The hub classes. Clients know them by ``classic_name``, or the name of the class.
        settings: Settings of this path that differ from ``SIGNALR["CLASSIC"]``, by the same names, such as ``ENABLE_JSONP=True``.

    Raises:
        HubDefinitionError: Two hubs share a name, a name has a dot, or a setting is wrong.
    """
    if isinstance(hubs, type):
        raise TypeError(f"map_classic_hubs() takes a list of hub classes, not {hubs!r}")
    for hub in hubs:
        if not (isinstance(hub, type) and issubclass(hub, Hub)):
            raise TypeError(f"map_classic_hubs() takes a list of hub classes, not {hub!r} in one")
    return ClassicMount(path, hubs, settings)


def map_persistent_connection(path: str, handler: type[PersistentConnection], **settings: Any) -> ClassicMount:
    """
    Put a persistent connection of ASP.NET SignalR 2, which has no hubs, at a path.

    Args:
        path: Where clients connect.
        handler: The handler class.
        settings: Settings of this path that differ from ``SIGNALR["CLASSIC"]``.

    Raises:
        HubDefinitionError: A setting is wrong.
    """
    if not (isinstance(handler, type) and issubclass(handler, PersistentConnection)):
        raise TypeError(f"map_persistent_connection() takes a PersistentConnection class, not {handler!r}")
    return ClassicMount(path, (), settings, handler)


class HubRouter:
    """
    An ASGI application that serves hubs, and hands everything else to another one.

    Negotiate, web sockets and the other transports of a hub are answered here; session logins are read with Channels' auth stack.
    It also answers ASGI lifespan events, which Django does not know.
    """

    def __init__(self, endpoints: Iterable[HubEndpoint | ClassicMount], application: Any = None) -> None:
        """
        Args:
            endpoints: What :func:`map_hub`, :func:`map_classic_hubs` and the others gave.
            application: For all other requests; usually Django's ``get_asgi_application()``, or another router.

        Raises:
            HubDefinitionError: Two hubs at one path.
            TypeError: ``endpoints`` is something else.
        """
        if isinstance(endpoints, (HubEndpoint, ClassicMount)):
            raise TypeError("HubRouter() takes a list of what map_hub() and its kin give; put it in brackets.")
        self._application = application
        self._http: dict[str, Any] = {}
        self._websocket: dict[str, Any] = {}
        self._classic: dict[str, ClassicConsumer] = {}
        for endpoint in endpoints:
            if not isinstance(endpoint, (HubEndpoint, ClassicMount)):
                raise TypeError(f"HubRouter() takes a list of what map_hub() and its kin give, not {endpoint!r} in one")
            if isinstance(endpoint, ClassicMount):
                if endpoint.path.lower() in (*self._classic, *self._websocket):
                    raise HubDefinitionError(f"Two things are mapped at {endpoint.path!r}; give core and classic clients a path each.")
                self._classic[endpoint.path.lower()] = ClassicConsumer(endpoint)
                continue
            path = endpoint.path.lower()
            if path in self._classic:
                raise HubDefinitionError(f"Two things are mapped at {endpoint.path!r}; give core and classic clients a path each.")
            if (other := self._websocket.get(path)) is not None:
                raise HubDefinitionError(f"Two hubs are mapped at {endpoint.path!r}: {other.hub_name} and {endpoint.hub_name}.")
            self._websocket[path] = WebSocketConsumer(endpoint)
            self._http[path] = TransportRequestConsumer(endpoint)
            self._http[f"{path}/negotiate".lstrip("/")] = NegotiateConsumer(endpoint)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, web socket or lifespan."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
            return
        routes = self._websocket if kind == "websocket" else self._http if kind == "http" else {}
        target = routes.get(_own_path(scope))
        if target is None and self._classic and kind in ("http", "websocket"):
            target = self._find_classic(_own_path(scope))
        if target is not None:
            # The consumers keep nothing of a request in themselves, so one of each serves all.
            await target(_take_query(scope) if kind == "http" else scope, receive, send)
        elif self._application is not None and not (kind == "websocket" and _is_django(self._application)):
            await self._application(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await respond(send, 404)

    def _find_classic(self, path: str) -> ClassicConsumer | None:
        """The mount a path is below: the longest that is made of whole segments of it."""
        while path:
            if (consumer := self._classic.get(path.rstrip("/"))) is not None:
                return consumer
            path = path.rpartition("/")[0]
        return self._classic.get("")

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                try:
                    get_runtime()
                except Exception as error:  # whatever is wrong, a server that starts would answer 500 to everything
                    await send({"type": "lifespan.startup.failed", "message": f"Hubs cannot be served. {type(error).__name__}: {error}"})
                    return
                if get_settings().GC_FREEZE:
                    gc.collect()
                    gc.freeze()
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                await get_runtime().stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _take_query(scope: Any) -> Any:
    """
    The scope for a consumer; the server is left with one without the query, for its access log.

    Web sockets live too long for a scope of their own each; see :func:`signalr_channels.responses.without_query`.
    """
    own = dict(scope)
    scope["query_string"] = b""
    return own


def _own_path(scope: Any) -> str:
    path: str = scope["path"]
    root = scope.get("root_path") or ""
    if root and path.startswith(root):
        path = path[len(root) :]
    return path.strip("/").lower()


def _is_django(application: Any) -> bool:
    # Django answers a web socket with an exception; refusing it is friendlier.
    from django.core.handlers.asgi import ASGIHandler

    return isinstance(application, ASGIHandler)


def negotiate_urls(endpoints: Iterable[HubEndpoint | ClassicMount]) -> list[URLPattern]:
    """
    URL patterns of the negotiate views, for a WSGI process that shares the site with the ASGI one.

    Add them to ``urlpatterns``; in the ASGI process :class:`HubRouter` answers first.
    """
    patterns = []
    for endpoint in endpoints:
        if isinstance(endpoint, ClassicMount):
            # Their clients write slashes twice, and look below the path as well.
            pattern, view = re.escape(endpoint.path) + "(/.*)?/negotiate$", classic_negotiate_view(endpoint)
        else:
            pattern, view = re.escape(f"{endpoint.path}/negotiate".lstrip("/")) + "/?$", negotiate_view(endpoint)
        patterns.append(re_path(f"(?i)^{pattern}", view, name=f"signalr-negotiate-{endpoint.path}"))
    return patterns
