"""Every setting of ``SIGNALR["CLASSIC"]`` with its default, and what may be wrong with a mapping of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from signalr_channels.conf.fields import setting, unknown_problem, value_problem

__all__ = ["CLASSIC_FIELDS", "CLASSIC_TRANSPORTS", "ClassicSettings", "classic_setting_problems"]

CLASSIC_TRANSPORTS = ("webSockets", "serverSentEvents", "foreverFrame", "longPolling")
"""The transports of the classic generation as clients name them, in the order in which the jQuery client tries them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicSettings:
    """
    Every setting of the classic generation with its default.

    Where a setting is left out whose sensible value follows from others, :func:`signalr_channels.conf.classic_settings` works it out.
    """

    # Times
    KEEP_ALIVE: float | None = setting(
        10.0,
        "seconds",
        "How often a connection is written to, idle or not; clients miss it after twice that. At most a third of DISCONNECT_TIMEOUT, "
        "and a third of it where only that is given. None turns it off.",
        mirrors="KeepAlive",
        minimum=2,
        too_small="must be at least two seconds",
        nullable=True,
    )
    DISCONNECT_TIMEOUT: float = setting(
        30.0,
        "seconds",
        "How long a client that was lost may take to come back before on_disconnected runs; clients try for as long.",
        mirrors="DisconnectTimeout",
        minimum=6,
        too_small="must be at least six seconds",
    )
    CONNECTION_TIMEOUT: float = setting(
        110.0,
        "seconds",
        "How long a poll waits for messages before it is answered empty. Without KEEP_ALIVE the other transports end after it as well.",
        mirrors="ConnectionTimeout",
        minimum=0.1,
    )
    TRANSPORT_CONNECT_TIMEOUT: float = setting(
        5.0,
        "seconds",
        "How long a client waits for the first message of a transport before it tries the next one.",
        mirrors="TransportConnectTimeout",
        minimum=0.1,
    )
    LONG_POLL_DELAY: float = setting(
        0.0, "seconds", "How long a client waits between the answer to a poll and the next poll.", mirrors="LongPollDelay", minimum=0
    )
    CONNECTION_TOKEN_LIFETIME: float | None = setting(
        None,
        "seconds",
        "Age at which a connection token from negotiate no longer begins a connection that the server does not know. None is no limit.",
        minimum=1,
        nullable=True,
    )
    TOMBSTONE_TIME: float = setting(
        100.0,
        "seconds",
        "How long a connection that timed out, or that the server closed, is refused when its client comes back. It must cover the time "
        "in which clients try that: DISCONNECT_TIMEOUT and twice KEEP_ALIVE. Left out, it grows with these, to twice their sum.",
        minimum=0,
    )

    # Sizes
    MESSAGE_BUFFER_SIZE: int = setting(
        1000,
        "messages",
        "How many messages are kept for each connection, so that a client that comes back misses none. Older ones are lost.",
        mirrors="DefaultMessageBufferSize",
        minimum=32,
    )
    MAXIMUM_WEBSOCKET_MESSAGE_SIZE: int | None = setting(
        64 * 1024,
        "bytes",
        "Longest message a client may send on a web socket. None is no limit.",
        mirrors="MaxIncomingWebSocketMessageSize",
        minimum=1,
        nullable=True,
    )
    MAXIMUM_FORM_SIZE: int = setting(
        4 * 1024 * 1024, "bytes", "Largest body of a POST, which is how clients send on all transports but web sockets.", minimum=1
    )
    MAXIMUM_STATE_SIZE: int = setting(4096, "characters", "Longest JSON text of the client's state that may come with a call.", minimum=1)
    PARALLEL_INVOCATIONS: int = setting(
        64, "calls", "How many hub methods of one connection may run at once; further calls wait.", minimum=1
    )

    # Features
    TRANSPORTS: Sequence[str] = setting(CLASSIC_TRANSPORTS, "", "Transports a client may choose from.", choices=CLASSIC_TRANSPORTS)
    ENABLE_JSONP: bool = setting(
        False,
        "",
        "Whether answers may be scripts that call a function of the page (JSONP), for browsers that cannot ask across origins. "
        "Pages of every origin can read them.",
        mirrors="EnableJSONP",
    )
    ENABLE_JAVASCRIPT_PROXIES: bool = setting(
        True, "", "Whether the script with a proxy for each hub is served.", mirrors="EnableJavaScriptProxies"
    )
    ENABLE_DETAILED_ERRORS: bool = setting(
        False, "", "Whether clients see the text of every exception, not only of HubException.", mirrors="EnableDetailedErrors"
    )

    @property
    def keep_alive_timeout(self) -> float | None:
        """Seconds of silence after which a client counts its connection as lost; ``None`` where nothing is written to keep it alive."""
        return None if self.KEEP_ALIVE is None else 2 * self.KEEP_ALIVE

    @property
    def reconnect_window(self) -> float:
        """Seconds after its last sign of life in which a client may still try to come back."""
        return self.DISCONNECT_TIMEOUT + (self.keep_alive_timeout or 0)


CLASSIC_FIELDS = {f.name: f for f in dataclasses.fields(ClassicSettings)}


def classic_setting_problems(values: Mapping[str, Any], *, below: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """
    Say what is wrong with a mapping of classic settings: ``(name, sentence)`` each.

    Args:
        values: ``SIGNALR["CLASSIC"]``, or what a mount sets for itself.
        below: For a mount: ``SIGNALR["CLASSIC"]``, which holds where the mount says nothing.

    Source: ``DefaultConfigurationManager`` of ASP.NET SignalR 2. Its rule that DisconnectTimeout is set before KeepAlive has no
    counterpart: the entries of a dict have no order, and both are looked at together.
    """
    problems = []
    for name, value in values.items():
        if name not in CLASSIC_FIELDS:
            problems.append((name, unknown_problem(name, CLASSIC_FIELDS)))
        # Clients are told the times in JSON, which knows no infinity.
        elif problem := value_problem(CLASSIC_FIELDS[name], value, is_finite=True):
            problems.append((name, f"{name} {problem}"))
    if not {"KEEP_ALIVE", "DISCONNECT_TIMEOUT"} & {name for name, _ in problems}:
        problems += _keep_alive_problems(values, below or {})
    return problems


def _keep_alive_problems(values: Mapping[str, Any], below: Mapping[str, Any]) -> list[tuple[str, str]]:
    merged = {**below, **values}
    keep_alive = merged.get("KEEP_ALIVE")
    timeout = merged.get("DISCONNECT_TIMEOUT", CLASSIC_FIELDS["DISCONNECT_TIMEOUT"].default)
    if keep_alive is None or keep_alive <= timeout / 3:
        return []

    def origin(name: str) -> str:
        return "" if name in values else " (in SIGNALR['CLASSIC'])" if name in below else " (the default)"

    text = (
        "KEEP_ALIVE must be no more than a third of DISCONNECT_TIMEOUT: "
        f"{keep_alive:.9g}{origin('KEEP_ALIVE')} is more than a third of {timeout:.9g}{origin('DISCONNECT_TIMEOUT')}"
    )
    return [("KEEP_ALIVE", text)]
