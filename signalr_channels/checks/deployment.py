"""Checks of what is around the site: its server, its database connections, and what stands in front of it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004
from django.core.management import get_commands, load_command_class
from django.core.management.commands.runserver import Command as WsgiRunserver

from signalr_channels.checks.options import options_in_force
from signalr_channels.checks.versions import version_of

__all__ = ["check_deployment", "check_environment", "check_server"]


@register("signalr")
def check_server(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W113. Outside of ``DEBUG`` nobody serves a site with ``runserver``."""
    found: list[CheckMessage] = []
    if not settings.DEBUG:
        return found
    if not getattr(settings, "ASGI_APPLICATION", None):
        project = str(getattr(settings, "ROOT_URLCONF", "")).partition(".")[0] or "mysite"
        found.append(
            Warning(
                "ASGI_APPLICATION is not set: runserver does not know what serves hubs.",
                hint=f"Set ASGI_APPLICATION = '{project}.asgi.application', and wrap the application there in a HubRouter.",
                id="signalr_channels.W113",
            )
        )
    if _runserver_is_wsgi():
        found.append(
            Warning(
                "runserver serves WSGI, where hubs do not exist: clients get 404.",
                hint="Install daphne and put 'daphne' first in INSTALLED_APPS; or develop on another ASGI server, such as uvicorn, and "
                "silence this check.",
                id="signalr_channels.W113",
            )
        )
    return found


def _runserver_is_wsgi() -> bool:
    """Whether the ``runserver`` of the site starts Django's own server; those of ASGI servers start theirs."""
    provider = get_commands()["runserver"]
    command = load_command_class(provider, "runserver") if isinstance(provider, str) else provider
    return all(getattr(type(command), step, None) is getattr(WsgiRunserver, step) for step in ("handle", "run", "inner_run"))


@register("signalr")
def check_environment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W107, W108."""
    found: list[CheckMessage] = []
    if () < version_of("daphne") < (4, 2, 2):
        found.append(
            Warning("This version of daphne has known vulnerabilities.", hint="Install daphne>=4.2.2.", id="signalr_channels.W107")
        )
    for alias, database in settings.DATABASES.items():
        if database.get("CONN_MAX_AGE", 0) != 0:
            found.append(
                Warning(
                    f"DATABASES[{alias!r}] keeps connections open (CONN_MAX_AGE), one for each thread of an ASGI server.",
                    hint="Set CONN_MAX_AGE to 0 and use the database's or driver's connection pool.",
                    id="signalr_channels.W108",
                )
            )
    return found


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W105, W106."""
    options = options_in_force()
    found: list[CheckMessage] = []
    if options is not None and options.ALLOWED_ORIGINS is not None and "*" in options.ALLOWED_ORIGINS:
        found.append(
            Warning(
                "ALLOWED_ORIGINS is '*': any page a visitor opens can call hubs with the visitor's session login.",
                hint="List the origins of your own pages.",
                id="signalr_channels.W105",
            )
        )
    if getattr(settings, "SECURE_SSL_REDIRECT", False) and not getattr(settings, "SECURE_PROXY_SSL_HEADER", None):
        found.append(
            Warning(
                "SECURE_SSL_REDIRECT without SECURE_PROXY_SSL_HEADER: behind a proxy that ends TLS, every request is redirected.",
                hint="SignalR clients do not follow redirects of negotiate; set SECURE_PROXY_SSL_HEADER.",
                id="signalr_channels.W106",
            )
        )
    return found
