"""Hubs mapped to paths, and what a negotiate request to one of them is answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from signalr_channels.conf import HUB_SETTINGS, SignalRSettings, get_settings, hub_settings, setting_problems
from signalr_channels.exceptions import HubDefinitionError, RemoteProtocolError
from signalr_channels.hubs.connection_handler import ConnectionHandler
from signalr_channels.hubs.definition import check_class
from signalr_channels.hubs.filters import HubFilter
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.loading import load_classes, load_function
from signalr_channels.hubs.methods import collect_hub_methods
from signalr_channels.hubs.permissions import HubPermission
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.protocols.base import HubProtocol
from signalr_channels.protocols.core.json_camel_case import CamelCaseJsonHubProtocol
from signalr_channels.protocols.core.json_protocol import JsonHubProtocol
from signalr_channels.protocols.core.messagepack_protocol import MessagePackHubProtocol
from signalr_channels.protocols.core.negotiation import (
    NegotiateResponse,
    Transport,
    encode_negotiate_error,
    parse_negotiate_request,
)
from signalr_channels.tokens import make_connection_id, new_token

__all__ = ["HUB_BASES", "HubEndpoint", "Negotiated", "hub_protocols"]

HUB_BASES: tuple[type, ...] = (Hub, ConnectionHandler, PersistentConnection)
"""What can be at a path derives from one of these."""

PROTOCOLS: dict[str, HubProtocol] = {protocol.name: protocol for protocol in (JsonHubProtocol(), MessagePackHubProtocol())}
CAMEL_CASE_PROTOCOLS: dict[str, HubProtocol] = {**PROTOCOLS, "json": CamelCaseJsonHubProtocol()}
"""For hubs with camelCase names. One of each for all, since messages are encoded once per protocol."""
TRANSPORT_NAMES = {
    "webSockets": Transport.WEB_SOCKETS,
    "serverSentEvents": Transport.SERVER_SENT_EVENTS,
    "longPolling": Transport.LONG_POLLING,
}


def hub_protocols(options: SignalRSettings) -> tuple[HubProtocol, ...]:
    """The encodings a hub offers."""
    protocols = CAMEL_CASE_PROTOCOLS if options.PROPERTY_NAMES == "camel_case" else PROTOCOLS
    return tuple(protocols[name] for name in options.HUB_PROTOCOLS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated:
    """The answer to a negotiate request."""

    body: bytes
    """JSON."""
    connection_id: str
    """The id that was handed out, or ``""`` for an error."""


class HubEndpoint:
    """
    A hub at a path.

    Attributes:
        path: Without slashes at its ends.
        hub: The hub class.
        hub_name: Its dotted name.
    """

    def __init__(self, path: str, hub: type[Hub], overrides: Mapping[str, Any]) -> None:
        """
        Args:
            path: Where clients connect, such as ``hubs/chat``.
            hub: The hub class.
            overrides: Settings of this path that differ from the hub's.

        Raises:
            HubDefinitionError: A setting is wrong, or the class cannot work.
        """
        self.path = path.strip("/")
        self.hub = hub
        self.hub_name = hub_name(hub)
        self._overrides = dict(overrides)
        self._merged: tuple[SignalRSettings, SignalRSettings] | None = None
        if problems := setting_problems(self._overrides, known=HUB_SETTINGS):
            raise HubDefinitionError(f"map_hub({path!r}): " + "; ".join(text for _, text in problems))
        if "PROPERTY_NAMES" in self._overrides:
            raise HubDefinitionError(f"map_hub({path!r}): PROPERTY_NAMES is the same at all paths of a hub; put it into the hub's settings")
        self._check(f"map_hub({path!r}): ")

    def _check(self, source: str) -> None:
        """Find mistakes now. A server that starts would answer 500 to everything, or fail when a client leaves."""
        # No system check sees the settings of a path.
        load_classes(self._overrides.get("HUB_FILTERS", ()), HubFilter, f"{source}HUB_FILTERS")
        if (provider := self._overrides.get("USER_IDENTIFIER")) is not None:
            load_function(provider, f"{source}USER_IDENTIFIER")
        check_class(self.hub, next(base for base in HUB_BASES if issubclass(self.hub, base)))
        if issubclass(self.hub, Hub):
            collect_hub_methods(self.hub)

    @property
    def options(self) -> SignalRSettings:
        """The settings in force here. ``HUB_FILTERS`` of the path come after the others, as those of a hub come after the site's."""
        options = hub_settings(self.hub)
        if not self._overrides:
            return options
        if self._merged is None or self._merged[0] is not options:
            filters = (*options.HUB_FILTERS, *self._overrides.get("HUB_FILTERS", ()))
            self._merged = (options, dataclasses.replace(options, **{**self._overrides, "HUB_FILTERS": filters}))
        return self._merged[1]

    @property
    def permission_classes(self) -> tuple[type[HubPermission], ...]:
        """Who may connect."""
        entries = self.hub.permission_classes
        if entries is None:
            return load_classes(get_settings().DEFAULT_PERMISSION_CLASSES, HubPermission, "DEFAULT_PERMISSION_CLASSES")
        return load_classes(entries, HubPermission, f"{self.hub.__qualname__}.permission_classes")

    @property
    def transports(self) -> tuple[Transport, ...]:
        """The transports that may be used, in the reference's order."""
        names = self.options.TRANSPORTS
        return tuple(transport for name, transport in TRANSPORT_NAMES.items() if name in names)

    def negotiate(self, query: Mapping[str, Sequence[str]], user_identifier: str | None, arbiter: str = "") -> Negotiated:
        """
        Answer a negotiate request. Nothing is kept: the token says it all.

        Args:
            query: The request's query, keys in lower case.
            user_identifier: Of the user who asks.
            arbiter: Channel of this server process, where it has one.
        """
        try:
            request = parse_negotiate_request(query)
        except RemoteProtocolError as error:
            return Negotiated(body=encode_negotiate_error(error.text), connection_id="")
        connection_id = make_connection_id()
        is_stateful = request.use_stateful_reconnect and self.options.ALLOW_STATEFUL_RECONNECTS
        token = new_token(
            connection_id=connection_id,
            hub=self.hub_name,
            user_identifier=user_identifier,
            is_stateful=is_stateful,
            arbiter=arbiter,
        ).sign()
        response = NegotiateResponse(
            negotiate_version=request.version,
            # Under version 0 the one id is public and secret at once, so it has to be the token.
            connection_id=connection_id if request.version else token,
            connection_token=token if request.version else None,
            transports=self.transports,
            use_stateful_reconnect=is_stateful,
        )
        return Negotiated(body=response.encode(), connection_id=connection_id)

    def filters(self) -> tuple[HubFilter, ...]:
        """Instances of the hub's filters, outermost first."""
        return tuple(cls() for cls in load_classes(self.options.HUB_FILTERS, HubFilter, "HUB_FILTERS"))
