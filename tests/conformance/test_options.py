"""Section 6 of the reference: options and their defaults."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from signalr_channels.conf import FIELDS, HUB_SETTINGS, get_settings, hub_settings, setting_problems
from signalr_channels.endpoints import HubEndpoint
from signalr_channels.exceptions import HubDefinitionError
from signalr_channels.hubs.hub import Hub

ALL = ("webSockets", "serverSentEvents", "longPolling")

# The reference's option, our setting, the default, whether a hub may differ
OPTIONS: list[tuple[str, str, Any, bool]] = [
    ("KeepAliveInterval", "KEEP_ALIVE_INTERVAL", 15, True),
    ("ClientTimeoutInterval", "CLIENT_TIMEOUT_INTERVAL", 30, True),
    ("HandshakeTimeout", "HANDSHAKE_TIMEOUT", 15, True),
    ("MaximumReceiveMessageSize", "MAXIMUM_RECEIVE_MESSAGE_SIZE", 32_768, True),
    ("EnableDetailedErrors", "ENABLE_DETAILED_ERRORS", False, True),
    ("StreamBufferCapacity", "STREAM_BUFFER_CAPACITY", 10, True),
    ("MaximumParallelInvocationsPerClient", "MAXIMUM_PARALLEL_INVOCATIONS", 1, True),
    ("SupportedProtocols", "HUB_PROTOCOLS", ("json", "messagepack"), True),
    ("PropertyNamingPolicy", "PROPERTY_NAMES", "as_written", True),
    ("StatefulReconnectBufferSize", "STATEFUL_RECONNECT_BUFFER_SIZE", 100_000, True),
    ("AddFilter", "HUB_FILTERS", (), True),
    ("Transports", "TRANSPORTS", ALL, True),
    ("TransportMaxBufferSize", "TRANSPORT_BUFFER_SIZE", 65_536, True),
    ("ApplicationMaxBufferSize", "APPLICATION_BUFFER_SIZE", 65_536, True),
    ("TransportSendTimeout", "TRANSPORT_SEND_TIMEOUT", 10, True),
    ("WebSockets.CloseTimeout", "WEBSOCKET_CLOSE_TIMEOUT", 5, True),
    ("LongPolling.PollTimeout", "POLL_TIMEOUT", 90, True),
    ("CloseOnAuthenticationExpiration", "CLOSE_ON_AUTHENTICATION_EXPIRATION", False, True),
    ("AllowStatefulReconnects", "ALLOW_STATEFUL_RECONNECTS", False, True),
    ("AuthorizationData", "DEFAULT_PERMISSION_CLASSES", (), False),
    ("DisconnectTimeout", "DISCONNECT_TIMEOUT", 15, False),
    ("IUserIdProvider", "USER_IDENTIFIER", None, True),
]


@pytest.mark.parametrize(("option", "name", "default", "per_hub"), OPTIONS, ids=[row[0] for row in OPTIONS])
@override_settings(SIGNALR={})
def test_an_option_and_its_default(option: str, name: str, default: Any, per_hub: bool) -> None:
    assert FIELDS[name].metadata["mirrors"] == option
    assert getattr(get_settings(), name) == default
    assert (name in HUB_SETTINGS) is per_hub


def test_every_option_that_is_mirrored_is_looked_at() -> None:
    assert {name for name, field in FIELDS.items() if field.metadata["mirrors"]} == {name for _, name, *_ in OPTIONS}


@override_settings(SIGNALR={"KEEP_ALIVE_INTERVAL": 7, "HANDSHAKE_TIMEOUT": 8})
def test_a_hub_begins_with_the_global_values_and_a_path_with_the_hubs() -> None:
    class OwnHub(Hub):
        settings = {"HANDSHAKE_TIMEOUT": 9, "POLL_TIMEOUT": 10}

    options = hub_settings(OwnHub)
    assert (options.KEEP_ALIVE_INTERVAL, options.HANDSHAKE_TIMEOUT, options.POLL_TIMEOUT) == (7, 9, 10)
    endpoint = HubEndpoint("own", OwnHub, {"POLL_TIMEOUT": 11}).options
    assert (endpoint.KEEP_ALIVE_INTERVAL, endpoint.HANDSHAKE_TIMEOUT, endpoint.POLL_TIMEOUT) == (7, 9, 11)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRANSPORT_SEND_TIMEOUT", 0),
        ("MAXIMUM_PARALLEL_INVOCATIONS", 0),
        ("KEEP_ALIVE_INTERVAL", None),
        ("STREAM_BUFFER_CAPACITY", 0),
        ("TRANSPORTS", ["WebSockets"]),
    ],
)
def test_values_that_are_rejected(name: str, value: Any) -> None:
    ((rejected, _),) = setting_problems({name: value})
    assert rejected == name


@pytest.mark.parametrize(("name", "value"), [("TRANSPORT_SEND_TIMEOUT", float("inf")), ("MAXIMUM_RECEIVE_MESSAGE_SIZE", None)])
def test_values_without_a_limit(name: str, value: Any) -> None:
    assert setting_problems({name: value}) == []


@pytest.mark.parametrize(("names", "problem"), [([], "must not be empty"), (["bson"], "must be of 'json', 'messagepack', not 'bson'")])
def test_a_hub_speaks_something(names: list[str], problem: str) -> None:
    with pytest.raises(HubDefinitionError, match=rf"map_hub\('hub'\): HUB_PROTOCOLS {problem}"):
        HubEndpoint("hub", Hub, {"HUB_PROTOCOLS": names})
