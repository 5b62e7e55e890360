"""
What each :class:`~signalr_channels.protocols.endings.CloseReason` means, in one sentence, and what an operator can do about it.

The admin shows both beside the value. Settings are named as they are written in ``SIGNALR``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from signalr_channels.protocols.endings import CloseReason

__all__ = ["EXPLANATIONS", "Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One reason in plain words."""

    meaning: str | Promise
    """One sentence: what happened."""
    advice: str | Promise
    """What to do about it, or that nothing needs doing."""


EXPLANATIONS: Mapping[CloseReason, Explanation] = MappingProxyType(
    {
        CloseReason.CLIENT_CLOSED: Explanation(
            _("The client ended the connection on purpose."),
            _("Nothing to do."),
        ),
        CloseReason.CLIENT_GONE: Explanation(
            _("The network connection went away without a goodbye, as when a page is left, a device sleeps or a proxy cuts."),
            _(
                "Normal now and then. If many end after the same idle time, a proxy or load balancer has an idle timeout below "
                "KEEP_ALIVE_INTERVAL: lower the setting or raise the timeout."
            ),
        ),
        CloseReason.PING_TIMEOUT: Explanation(
            _("Nothing arrived from the client for CLIENT_TIMEOUT_INTERVAL, not even a ping."),
            _(
                "Usually a lost network or a sleeping device. Browsers let background tabs ping only about once a minute: if those "
                "are to stay, raise CLIENT_TIMEOUT_INTERVAL above 60 seconds or hold a Web Lock in the page."
            ),
        ),
        CloseReason.POLL_TIMEOUT: Explanation(
            _("A long-polling client did not come back with its next request within DISCONNECT_TIMEOUT (classic: that of CLASSIC)."),
            _(
                "Usually a closed page. If polls are cut at a constant time, the read timeout of a proxy is shorter than a poll: "
                "raise that timeout."
            ),
        ),
        CloseReason.HANDSHAKE_TIMEOUT: Explanation(
            _("The transport opened, but no handshake followed within HANDSHAKE_TIMEOUT."),
            _(
                "Look for something that is no SignalR client (a port scan, a health check, a classic client on a core hub), or for "
                "a proxy that holds data back."
            ),
        ),
        CloseReason.HANDSHAKE_ERROR: Explanation(
            _("The first message was no handshake this hub can accept."),
            _(
                "Check that the client library fits (npm @microsoft/signalr for core, npm signalr for classic) and that the hub "
                "protocol it asks for is in HUB_PROTOCOLS."
            ),
        ),
        CloseReason.PROTOCOL_ERROR: Explanation(
            _("The client sent a message the hub protocol does not allow."),
            _("The detail says what was wrong. One client version alone points to that library or to a proxy that changes data."),
        ),
        CloseReason.MESSAGE_TOO_BIG: Explanation(
            _("The client sent a message longer than MAXIMUM_RECEIVE_MESSAGE_SIZE (classic: MAXIMUM_WEBSOCKET_MESSAGE_SIZE of CLASSIC)."),
            _("Raise the setting for that hub, or send large data through an ordinary upload and only its address through the hub."),
        ),
        CloseReason.UNAUTHORIZED: Explanation(
            _("The request carried no login the hub accepts, or a connection token that is not good here."),
            _(
                "Without a login: check that the client sends its access token or session cookie. A token that lies in the future means "
                "that the clocks of two machines differ; a very long one may be cut by a proxy. With a bad connection token: now and then "
                "normal, as when a device slept for longer than DISCONNECT_TIMEOUT, since the client negotiates anew. If many are of "
                "another user, start connections anew after a login; if none is ours, give all server processes the same secret key."
            ),
        ),
        CloseReason.TOKEN_EXPIRED: Explanation(
            _("The access token had run out, while the client was connected or before it came."),
            _("Let the client hand out a fresh token when asked (accessTokenFactory), or give tokens a longer life."),
        ),
        CloseReason.ORIGIN_REJECTED: Explanation(
            _("The page that tried to connect comes from an origin that is not allowed."),
            _("If that page is yours, add the origin exactly as shown here to ALLOWED_ORIGINS."),
        ),
        CloseReason.PERMISSION_DENIED: Explanation(
            _("A permission class of the hub refused this user."),
            _("Check the permission classes of the hub and the permissions of the user."),
        ),
        CloseReason.RATE_LIMITED: Explanation(
            _("The client asked too often and was told to wait."),
            _(
                "Look at the user agent and the remote address: a client that repeats a failing request without a pause needs a "
                "growing delay between attempts."
            ),
        ),
        CloseReason.CONNECTION_LIMIT: Explanation(
            _("The server process already carried as many connections as it may."),
            _(
                "Raise MAXIMUM_CONNECTIONS or start more server processes. One user with many connections points to a page that "
                "opens a new one each time it renders."
            ),
        ),
        CloseReason.SLOW_CONSUMER: Explanation(
            _("The client read more slowly than it was written to, and too much was waiting for it."),
            _("Send less or less often, or raise MAXIMUM_BUFFERED_BYTES or TRANSPORT_SEND_TIMEOUT. A single user points to their network."),
        ),
        CloseReason.HUB_ERROR: Explanation(
            _("The hub raised an error while the connection was opened, or the server could not go on with it."),
            _("Look for the traceback in the log of the server process at this time."),
        ),
        CloseReason.CLOSED_BY_APP: Explanation(
            _("Code of the application ended the connection."),
            _("Nothing to do, if the application meant to. The detail carries the text it gave."),
        ),
        CloseReason.CLOSED_BY_ADMIN: Explanation(
            _("An operator ended the connection."),
            _("Nothing to do. The detail says who."),
        ),
        CloseReason.SERVER_DRAIN: Explanation(
            _("The server process asked its clients to connect elsewhere before it stops."),
            _("Normal during a deployment: clients come back on their own."),
        ),
        CloseReason.SERVER_SHUTDOWN: Explanation(
            _("The server process stopped."),
            _("Normal during a deployment. Many at once are gentler when the process is taken out of the load balancer first."),
        ),
        CloseReason.PROCESS_LOST: Explanation(
            _("The server process was silent for PROCESS_LEASE, as after a crash or a kill, and its connections with it."),
            _(
                "Look for a crash or for the out-of-memory killer at the time it was last seen, and give it more memory or a longer "
                "grace period. Clients come back on their own."
            ),
        ),
        CloseReason.BACKPLANE_LOST: Explanation(
            _("The channel layer that connects the server processes could not be reached."),
            _("Check Redis and the network to it. Clients come back on their own."),
        ),
        CloseReason.SUPERSEDED: Explanation(
            _("The connection went on elsewhere: over a newer transport or on another server process."),
            _("Nothing to do."),
        ),
    }
)


def explain(reason: str) -> Explanation | None:
    """The explanation of a stored reason, or ``None`` for ``""`` and for a value of another version of this package."""
    try:
        return EXPLANATIONS[CloseReason(reason)]
    except ValueError:
        return None
