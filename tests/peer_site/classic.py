"""The classic contract: what it has beyond the hubs of the core contract, and who a request says it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from signalr_channels import Disconnect, Hub, hub_method
from signalr_channels.hubs.permissions import IsAuthenticated
from signalr_channels.hubs.persistent_connection import PersistentConnection
from tests.peer_site.hubs import log

Application = Callable[[Any, Any, Any], Awaitable[Any]]


class SecretHub(Hub):
    """Only for users."""

    classic_name = "secret"
    permission_classes = [IsAuthenticated]

    @hub_method(name="Echo")
    async def echo(self, text: str | None) -> str | None:
        return text


class RawConnection(PersistentConnection):
    """Sends back what it receives."""

    async def on_connected(self) -> None:
        log.add(f"connected {self.context.connection_id}")

    async def on_reconnected(self) -> None:
        log.add(f"reconnected {self.context.connection_id}")

    async def on_received(self, data: str) -> None:
        await self.connection.asend(self.context.connection_id, data)

    async def on_disconnected(self, disconnect: Disconnect) -> None:
        log.add(f"disconnected {self.context.connection_id} {disconnect.stop_called}")


class NamedUser:
    """A user who is what the request says: the name is the user identifier too. The database knows nothing of it."""

    is_authenticated = is_active = True
    is_anonymous = is_staff = is_superuser = False

    def __init__(self, name: str) -> None:
        self.pk = self.username = name

    def get_username(self) -> str:
        return self.username


class NamedUsers:
    """A middleware that signs a request in as ``?user=NAME`` or as the cookie ``user``. The query counts more."""

    def __init__(self, application: Application, *mounts: str) -> None:
        """
        Args:
            application: What it stands in front of.
            mounts: Paths it looks at, with what is below them.
        """
        self._application = application
        self._mounts = mounts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].startswith(self._mounts):
            name = name_in_query(scope) or name_in_cookies(scope)
            if name:
                scope = {**scope, "user": NamedUser(name)}
        await self._application(scope, receive, send)


def name_in_query(scope: Any) -> str:
    """The first ``user`` of the query."""
    values = parse_qs(scope["query_string"].decode("latin-1")).get("user", [""])
    return values[0]


def name_in_cookies(scope: Any) -> str:
    """The cookie ``user``."""
    cookies: SimpleCookie = SimpleCookie()
    for header, value in scope["headers"]:
        if header == b"cookie":
            try:
                cookies.load(value.decode("latin-1"))
            except CookieError:
                return ""
    return str(cookies["user"].value) if "user" in cookies else ""
