"""Hubs mapped for classic clients at one path, or a persistent connection, and what a request to it may do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from signalr_channels.auth import authenticate, user_identifier
from signalr_channels.classic_tokens import ClassicToken
from signalr_channels.conf import ClassicSettings, SignalRSettings, classic_setting_problems, classic_settings, get_settings, hub_settings
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.gate import Admission, Refusal, check_origin, clean
from signalr_channels.hubs.binding import bind_methods
from signalr_channels.hubs.hub import Hub, classic_name
from signalr_channels.hubs.methods import HubMethod, collect_hub_methods
from signalr_channels.hubs.permissions import PermissionRequest, is_permitted
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.protocols.classic.hub_protocol import ClassicHubProtocol
from signalr_channels.protocols.classic.negotiation import ClassicNegotiateResponse, resolve_protocol_version
from signalr_channels.protocols.classic.requests import ClassicTransport, ConnectionDataError
from signalr_channels.protocols.classic.scripts import DISABLED_SCRIPT, ScriptHub, ScriptMethod, proxy_script
from signalr_channels.protocols.endings import CloseReason

__all__ = ["ClassicMount", "callable_methods"]

LONGEST_HUB_TEXT = 200
WRONG_MOUNT = "The ConnectionId is in the incorrect format."
"""A connection belongs to the mount it was opened at, whose hubs and permissions it has."""
WRONG_USER = "Unrecognized user identity.  The user identity cannot change during an active SignalR connection."


def callable_methods(hub: type[Hub]) -> dict[str, HubMethod]:
    """What classic clients can call on a hub, by wire name: the protocol has no streams."""
    methods = collect_hub_methods(hub).items()
    return {name: method for name, method in methods if not method.is_streaming and not method.item_types}


class ClassicMount:
    """
    One path that classic clients connect to.

    Attributes:
        path: Without slashes at its ends.
        hubs: Name in lower case -> hub class; empty for a persistent connection.
        endpoints: Name in lower case -> settings and permissions of the hub, or of the persistent connection under ``""``.
        handler: The persistent connection, or ``None``.
        protocols: Name in lower case -> encoding of the hub's messages.
        methods: Name in lower case -> what clients can call, by wire name.
    """

    def __init__(
        self, path: str, hubs: Sequence[type[Hub]], overrides: Mapping[str, Any], handler: type[PersistentConnection] | None = None
    ) -> None:
        """
        Args:
            path: Where clients connect, such as ``signalr``.
            hubs: The hub classes.
            overrides: Settings of ``SIGNALR["CLASSIC"]`` that differ here.
            handler: The persistent connection, in place of hubs.

        Raises:
            HubDefinitionError: Two hubs share a name, a name has a dot, a signature cannot be read, or a setting is wrong.
        """
        self.path = path.strip("/")
        self.handler = handler
        self.hubs: dict[str, type[Hub]] = {}
        what = "map_persistent_connection" if handler is not None else "map_classic_hubs"
        self._source = f"{what}({path!r})"
        for hub in hubs:
            name = classic_name(hub)
            if "." in name:
                raise HubDefinitionError(f"{self._source}: the hub name {name!r} is invalid; it may not contain a dot.")
            other = self.hubs.get(name.lower())
            if other is not None:
                raise HubDefinitionError(
                    f"{self._source}: two hubs must not share the name {name!r}: {other.__qualname__} and {hub.__qualname__}. "
                    f"Give one of them another classic_name."
                )
            self.hubs[name.lower()] = hub
        self.endpoints = {name: HubEndpoint(path, hub, {}) for name, hub in self.hubs.items()}
        if handler is not None:
            self.endpoints[""] = HubEndpoint(path, handler, {})  # type: ignore[arg-type]
        if not self.endpoints:
            raise HubDefinitionError(f"{self._source}: there are no hubs.")
        self.protocols = {name: ClassicHubProtocol(classic_name(hub)) for name, hub in self.hubs.items()}
        self.methods = {name: bind_methods(hub, callable_methods(hub), self.protocols[name]) for name, hub in self.hubs.items()}
        self._overrides = dict(overrides)
        self._main = next(iter(self.endpoints.values()))
        self._request_options: tuple[SignalRSettings, SignalRSettings] | None = None
        if problems := classic_setting_problems(self._overrides, below=get_settings().CLASSIC):
            raise HubDefinitionError(f"{self._source}: " + "; ".join(text for _, text in problems))

    @property
    def options(self) -> ClassicSettings:
        """The classic settings in force here."""
        return classic_settings(self._overrides, source=self._source)

    @property
    def core_options(self) -> SignalRSettings:
        """The settings both generations share: those of the first hub."""
        return hub_settings(self._main.hub)

    @property
    def hub_name(self) -> str:
        """For the history: dotted names of all hubs here."""
        return clean(", ".join(endpoint.hub_name for endpoint in self.endpoints.values()), LONGEST_HUB_TEXT)

    def hub_names(self, names: Sequence[str]) -> str:
        """For the history: dotted names of the hubs that a client named."""
        if self.handler is not None:
            return self._main.hub_name
        return clean(", ".join(self.endpoints[name].hub_name for name in names), LONGEST_HUB_TEXT)

    @property
    def transports(self) -> frozenset[ClassicTransport]:
        """The transports that may be used."""
        return frozenset(ClassicTransport(name) for name in self.options.TRANSPORTS)

    def resolve(self, names: Sequence[str]) -> tuple[str, ...]:
        """
        The hubs a client named, in lower case.

        Raises:
            ConnectionDataError: One of them is not here.
        """
        for name in names:
            if name.lower() not in self.hubs:
                raise ConnectionDataError(f"'{name}' Hub could not be resolved.")
        return tuple(name.lower() for name in names)

    def negotiate(self, url: str, protocol: str | None, token: ClassicToken) -> bytes:
        """
        The JSON that answers a negotiate request. Nothing is kept: the token says it all.

        Args:
            url: Path the client goes on with.
            protocol: The version it speaks.
            token: Of the new connection.
        """
        options = self.options
        return ClassicNegotiateResponse(
            url=url,
            connection_token=token.sign(),
            connection_id=token.connection_id,
            keep_alive_timeout=options.keep_alive_timeout,
            disconnect_timeout=options.DISCONNECT_TIMEOUT,
            connection_timeout=options.CONNECTION_TIMEOUT,
            try_web_sockets=ClassicTransport.WEB_SOCKETS in self.transports,
            protocol_version=resolve_protocol_version(protocol),
            transport_connect_timeout=options.TRANSPORT_CONNECT_TIMEOUT,
            long_poll_delay=options.LONG_POLL_DELAY,
        ).encode()

    # Who may come in

    async def admit(self, scope: MutableMapping[str, Any], names: Sequence[str]) -> tuple[Admission, tuple[str, ...]]:
        """
        Let a request in.

        Args:
            scope: Of ASGI.
            names: The hubs it names, resolved.

        Returns:
            Who it comes from, and those of the hubs that let it in.

        Raises:
            Refusal: 403 for a foreign origin; 401 or 403 if every hub it names says no.
        """
        options = self._options_of_requests()
        check_origin(scope, options)
        identity = await authenticate(scope, options)
        wanted = ("",) if self.handler is not None else tuple(names)
        allowed = tuple([name for name in wanted if await self._is_permitted(identity.user, name)])
        who = Admission(user=identity.user, user_identifier=user_identifier(identity.user, options), expires_at=identity.expires_at)
        if wanted and not allowed:
            if getattr(identity.user, "is_authenticated", False):
                detail = "A permission class of the hub said no."
                raise Refusal(403, reason=CloseReason.PERMISSION_DENIED, detail=detail, admission=who)
            raise Refusal(401, reason=CloseReason.UNAUTHORIZED, detail="The hub asks for a login; the request carried none that is good.")
        return who, () if self.handler is not None else allowed

    async def _is_permitted(self, user: Any, name: str) -> bool:
        endpoint = self.endpoints[name]
        classes = endpoint.permission_classes
        return not classes or await is_permitted(classes, PermissionRequest(user=user, hub=endpoint.hub))

    def _options_of_requests(self) -> SignalRSettings:
        """Classic clients send what the application put into their query on every request, access tokens too."""
        base = self.core_options
        if self._request_options is None or self._request_options[0] is not base:
            self._request_options = (base, dataclasses.replace(base, ACCESS_TOKEN_IN_QUERY="always"))  # noqa: S106
        return self._request_options[1]

    @property
    def cors_endpoint(self) -> HubEndpoint:
        """Whose origins count."""
        return self._main

    # Generated proxies

    def script(self, url: str) -> str:
        """The JavaScript of the hubs here, for clients that load it from ``url``."""
        if not self.options.ENABLE_JAVASCRIPT_PROXIES:
            return DISABLED_SCRIPT
        return proxy_script(url, [_script_hub(hub) for hub in self.hubs.values()])

    @property
    def is_debugging(self) -> bool:
        """Whether texts of errors may stand in answers that fail."""
        return self.options.ENABLE_DETAILED_ERRORS


def _script_hub(hub: type[Hub]) -> ScriptHub:
    methods = {id(method): method for method in callable_methods(hub).values()}.values()
    return ScriptHub(
        classic_name(hub), [ScriptMethod(_script_name(method), method.name, [p.name for p in method.parameters]) for method in methods]
    )


def _script_name(method: HubMethod) -> str:
    """As the reference: a declared name with its first letter in lower case; a Python name without its underscores."""
    head, *rest = method.name.split("_")
    name = head + "".join(part.capitalize() for part in rest)
    return name[:1].lower() + name[1:]
