"""
The lifetime of a classic connection as a table: what happens, what the client tells of it, and which hub methods the server calls.

Each row names its source, sections of the reference that the package names too: ``7.1 #n`` are the statements of Microsoft's article
"Understanding and Handling Connection Lifetime Events in SignalR", ``7.3`` the transitions of both sides, from their source code.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.browser.classic_servers import DISCONNECT_TIMEOUT, KEEP_ALIVE_TIMEOUT
from tests.browser.classic_stage import (
    Step,
    answer,
    begin,
    block,
    call,
    call_aside,
    close_page,
    closed,
    crash,
    cut,
    cut_frozen,
    fail_after,
    fail_start,
    freeze,
    given_up,
    group_told,
    happens,
    hold_start,
    hold_upgrades,
    idle,
    join,
    last_error_is,
    leave_page,
    logged,
    logged_at_once,
    lose_answers_to_upgrades,
    mend,
    negotiate_with,
    nothing_logged,
    one_token,
    pause,
    polling,
    refuse,
    refuse_upgrades,
    release_start,
    release_upgrades,
    requested,
    restarted,
    resume,
    sleep,
    start,
    start_again,
    stop,
    stop_at_once,
    swallow,
    told,
    told_early,
    unblock,
)

WS, SSE, FF, LP = "webSockets", "serverSentEvents", "foreverFrame", "longPolling"
ALL = (WS, SSE, FF, LP)
MONITORED = (WS, SSE, FF)
"""Transports on which the client looks at keep-alives."""
POSTING = (SSE, FF, LP)
"""Transports that send with requests of their own."""


class On(NamedTuple):
    """What a client tells on one transport only."""

    transport: str
    text: str


UNHURRIED = negotiate_with(KeepAliveTimeout=20, DisconnectTimeout=30)
"""As by default. With the keep-alive of these tests a connection may or may not become slow in the seconds before it reconnects."""

CONNECTING = ("disconnected -> connecting", "starting")
CONNECTED = ("connecting -> connected", "started")
STARTED = (*CONNECTING, *CONNECTED)
LOST = (On(WS, "error WebSocket closed."), On(LP, "error Long polling request failed."))
"""Event sources and frames tell of no error."""
RECONNECTING = ("connected -> reconnecting", "reconnecting")
RECONNECTED = ("reconnecting -> connected", "reconnected")
STOPPED = ("connected -> disconnected", "disconnected")
GIVEN_UP_TEXT = f"Couldn't reconnect within the configured timeout of {DISCONNECT_TIMEOUT * 1000:g} ms, disconnecting."
GIVEN_UP = (f"error {GIVEN_UP_TEXT} (TimeoutException)", "reconnecting -> disconnected", "disconnected")
CONNECT_STOPPED = ("connecting -> disconnected", "disconnected")
START_FAILED = (
    "error Error during start request. Stopping the connection.",
    "failed Error during start request. Stopping the connection.",
    *CONNECT_STOPPED,
)
SLEEPY = 6
"""A keep-alive timeout in seconds that leaves the time to fall asleep before the connection is slow."""
INACTIVE = (
    "The client has been inactive since * and it has exceeded the inactivity timeout of "
    f"{(DISCONNECT_TIMEOUT + SLEEPY) * 1000:g} ms. Stopping the connection."
)
NO_TRANSPORT = (
    "No transport could be initialized successfully. Try specifying a different transport or none at all for auto initialization."
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One course of events.

    Attributes:
        source: Where it is written.
        steps: What is done, and waited for.
        events: What the client tells, in order; ``*`` is any text. ``None`` where the page is gone.
        log: The hub's callbacks, without the connection id.
        their_log: The same of Microsoft's server, where ours differs on purpose.
        is_ours: Whether only our server can show it (``True``), only theirs (``False``), or both.
        needs_restart: Whether the server is its own, shared with the same row on other transports.
        needs_process: Whether the page has a process of its own.
    """

    name: str
    source: str
    steps: tuple[Step, ...]
    events: tuple[str | On, ...] | None
    log: tuple[str, ...]
    their_log: tuple[str, ...] | None = None
    transports: tuple[str, ...] = ALL
    is_ours: bool | None = None
    needs_restart: bool = False
    needs_process: bool = False

    def events_on(self, transport: str) -> list[str] | None:
        if self.events is None:
            return None
        return [
            event if isinstance(event, str) else event.text
            for event in self.events
            if isinstance(event, str) or event.transport == transport
        ]


def restart_row(name: str, number: signal.Signals, lost: tuple[str | On, ...]) -> Row:
    return Row(
        name=name,
        source="7.1 #6; 7.3 /reconnect (None: restart), graceful shutdown; 8.2",
        steps=(
            UNHURRIED,
            start(),
            join(),
            logged("connected"),
            polling(),  # between two polls the client would not be told of the shutdown
            # Otherwise a client may well ask the process that is about to end.
            refuse(),
            block("/reconnect?"),
            restarted(number),
            unblock(),
            mend(),
            happens("reconnected"),
            logged("reconnected"),
            group_told("still a member"),
            happens("message still a member"),
            stop(),
        ),
        events=(*STARTED, *lost, *RECONNECTING, *RECONNECTED, "message still a member", *STOPPED),
        log=("reconnected", "disconnected True"),
        needs_restart=True,
    )


def silence_row(name: str, transports: tuple[str, ...], *prepare: Step) -> Row:
    return Row(
        name=name,
        source="7.3 no bytes for KeepAliveTimeout, /reconnect (Active); 4.8 transport replaced: never; 7.5",
        steps=(
            *prepare,
            start(),
            freeze(),
            told("one"),
            happens("connectionSlow"),
            told("two"),
            happens("reconnected"),
            told("three"),
            happens("message three"),
            logged("reconnected"),
            cut_frozen(),
            stop(),
        ),
        events=(*STARTED, "connectionSlow", *RECONNECTING, *RECONNECTED, "message one", "message two", "message three", *STOPPED),
        log=("connected", "reconnected", "disconnected True"),
        transports=transports,
    )


def rows() -> Iterator[Row]:
    yield from beginnings()
    yield from failing_starts()
    yield from messages()
    yield from interruptions()
    yield from endings()


def beginnings() -> Iterator[Row]:
    yield Row(
        name="connected at the start request, disconnected at once by stop",
        source="7.3 negotiate, /connect, /start, stop(); 7.1 #2",
        steps=(
            hold_start(),
            begin(),
            requested("/start?"),
            nothing_logged(),
            release_start(),
            happens("started"),
            logged_at_once("connected"),
            stop(),
            logged_at_once("disconnected True"),
        ),
        events=(*STARTED, *STOPPED),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="another start is another connection",
        source="7.1 #20",
        steps=(start(), stop(), happens("disconnected"), logged_at_once("disconnected True"), start_again(), stop()),
        events=(*STARTED, *STOPPED, *STARTED, *STOPPED),
        log=("connected", "disconnected True", "connected", "disconnected True"),
    )
    yield Row(
        name="falls back where web sockets are refused",
        source="7.3 /connect again, same token: fallback",
        steps=(refuse_upgrades(), start("auto"), one_token(), stop()),
        events=(*STARTED, *STOPPED),
        log=("connected", "disconnected True"),
        transports=(SSE, FF),
    )
    yield Row(
        name="falls back to the last transport",
        source="7.3 /connect again, same token: fallback",
        steps=(refuse_upgrades(), block("/connect?transport=serverSentEvents"), start("auto"), one_token(), stop()),
        events=(*STARTED, *STOPPED),
        log=("connected", "disconnected True"),
        transports=(LP,),
    )
    yield Row(
        name="falls back where the answer to a web socket is lost",
        source="7.3 init not received within TransportConnectTimeout, /connect again, same token (Pending)",
        steps=(lose_answers_to_upgrades(), start("auto"), one_token(), stop()),
        events=(*STARTED, *STOPPED),
        log=("connected", "disconnected True"),
        transports=(SSE, FF),
    )


def failing_starts() -> Iterator[Row]:
    yield Row(
        name="no server",
        source="10.1 negotiate failure",
        steps=(refuse(), begin(), happens("disconnected")),
        events=(*CONNECTING, "error Error during negotiation request.", "failed Error during negotiation request.", *CONNECT_STOPPED),
        log=(),
    )
    yield Row(
        name="no transport",
        source="7.3 init not received: none left",
        steps=(refuse_upgrades(), block("/connect?"), begin(), happens("disconnected")),
        events=(*CONNECTING, f"error {NO_TRANSPORT}", f"failed {NO_TRANSPORT}", *CONNECT_STOPPED),
        log=(),
    )
    yield Row(
        name="the start request fails",
        source="7.3 /start fails; 4.8 attached but /start never came",
        steps=(hold_start(), begin(), requested("/start?"), polling(), fail_start(), happens("disconnected")),
        events=(*CONNECTING, *START_FAILED),
        log=(),
        their_log=("disconnected True",),
    )
    yield Row(
        name="the answer to the start request is lost",
        source="7.3 /start fails, OnConnected has run",
        steps=(fail_after("/start"), begin(), happens("disconnected")),
        events=(*CONNECTING, *START_FAILED),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="the transport is lost during the start request",
        source="7.3 /start fails: transport lost meanwhile",
        steps=(hold_start(), begin(), requested("/start?"), polling(), cut(), happens("disconnected")),
        events=(*CONNECTING, *START_FAILED),
        log=(),
        their_log=("disconnected True",),
        transports=(WS, SSE, LP),
    )
    yield Row(
        name="stop during the start request",
        source="7.3 stop() (C)",
        steps=(hold_start(), begin(), requested("/start?"), polling(), stop_at_once()),
        events=(*CONNECTING, "failed The connection was stopped during the start request.", *CONNECT_STOPPED),
        log=(),
        their_log=("disconnected True",),
    )


def messages() -> Iterator[Row]:
    burst = [f"{n}" for n in range(20)]
    yield Row(
        name="messages arrive in order, and a short silence is nothing",
        source="7.3 message published; 7.1 #14",
        steps=(start(), told("one"), pause(), told("two", "three"), resume(), told(*burst), happens("message 19"), stop()),
        events=(*STARTED, "message one", "message two", "message three", *(f"message {text}" for text in burst), *STOPPED),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="a message that comes before the start has ended waits for it",
        source="7.3 /start (Pending): buffered messages; 5.1",
        steps=(
            hold_start(),
            begin(),
            requested("/start?"),
            polling(),
            told_early("early"),
            release_start(),
            happens("started"),
            logged("connected"),
            stop(),
        ),
        events=(*CONNECTING, "connecting -> connected", "message early", "started", *STOPPED),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="keep-alives are signs of life",
        source="7.3 heartbeat (Active, alive); 7.1 #7",
        steps=(start(), idle(KEEP_ALIVE_TIMEOUT + 1), told("hello"), happens("message hello"), stop()),
        events=(*STARTED, "message hello", *STOPPED),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="polls end and begin unnoticed",
        source="7.3 ConnectionTimeout on LP; 7.1 #17",
        steps=(start(), requested("/poll?", 2), told("hello"), happens("message hello"), stop()),
        events=(*STARTED, "message hello", *STOPPED),
        log=("connected", "disconnected True"),
        transports=(LP,),
    )
    yield Row(
        name="pings are answered",
        source="1.3 /ping; 10.6",
        steps=(start(pingInterval=300), requested("/ping?", 3), stop()),
        events=(*STARTED, *STOPPED),
        log=("connected", "disconnected True"),
    )


def interruptions() -> Iterator[Row]:
    yield Row(
        name="slow for a while, twice",
        source="7.3 no bytes for 2/3 of KeepAliveTimeout; 7.1 #9",
        steps=(
            start(),
            pause(),
            happens("connectionSlow"),
            resume(),
            told("one"),
            happens("message one"),
            pause(),
            happens("connectionSlow", 2),
            resume(),
            told("two"),
            happens("message two"),
            stop(),
        ),
        events=(*STARTED, "connectionSlow", "message one", "connectionSlow", "message two", *STOPPED),
        log=("connected", "disconnected True"),
        transports=MONITORED,
    )
    yield Row(
        name="polls may be silent",
        source="7.1 #7; 4.2 client monitors keep-alive",
        steps=(start(), pause(), idle(KEEP_ALIVE_TIMEOUT + 1), resume(), told("hello"), happens("message hello"), stop()),
        events=(*STARTED, "message hello", *STOPPED),
        log=("connected", "disconnected True"),
        transports=(LP,),
    )
    yield Row(
        name="cut and reconnected, and nothing is lost or repeated",
        source="7.3 socket/stream closed, LP poll fails, /reconnect (Detached), message published (Detached); 7.1 #1 #10 #12; 8.2",
        steps=(
            UNHURRIED,
            start(),
            join(),
            told("zero"),
            happens("message zero"),
            refuse(),
            cut(),
            told("one", "two"),
            happens("reconnecting"),
            told("three"),
            mend(),
            happens("reconnected"),
            told("four"),
            happens("message four"),
            group_told("five"),
            happens("message five"),
            logged("reconnected"),
            stop(),
        ),
        events=(
            *(*STARTED, "message zero", *LOST, *RECONNECTING, *RECONNECTED),
            *("message one", "message two", "message three", "message four", "message five", *STOPPED),
        ),
        log=("connected", "reconnected", "disconnected True"),
    )
    yield silence_row("silence, then reconnected on another connection", (WS, SSE))
    # The client looks again before it asks to reconnect, and will ask as often, unless the keep-alive is as long as by default.
    yield silence_row("silence, then reconnected in the frame", (FF,), negotiate_with(KeepAliveTimeout=19))
    yield Row(
        name="calls pass while the receiving side reconnects",
        source="7.1 #11; 10.5",
        steps=(
            UNHURRIED,
            start(),
            block("/reconnect?"),
            cut(),
            happens("reconnecting"),
            call("Echo", "passes", result="passes"),
            call("ToCaller", "later", result=None),
            unblock(),
            happens("message later"),
            logged("reconnected"),
            stop(),
        ),
        events=(*STARTED, *LOST, *RECONNECTING, *RECONNECTED, "message later", *STOPPED),
        log=("connected", "reconnected", "disconnected True"),
        transports=POSTING,
    )
    yield Row(
        name="calls fail while the web socket reconnects",
        source="7.1 #11; 10.5",
        steps=(
            UNHURRIED,
            start(),
            hold_upgrades(),
            call_aside("Slow", 5_000),
            cut(),
            happens("reconnecting"),
            call_aside("Echo", "fails"),
            release_upgrades(),
            happens("reconnected"),
            logged("reconnected"),
            call("Echo", "again", result="again"),
            stop(),
        ),
        events=(
            *(*STARTED, *LOST, "connected -> reconnecting"),
            "rejected Connection started reconnecting before invocation result was received.",
            "reconnecting",
            "error The Web Socket transport is in an invalid state, transitioning into reconnecting.",
            "rejected Error: The Web Socket transport is in an invalid state, transitioning into reconnecting.",
            *(*RECONNECTED, *STOPPED),
        ),
        log=("connected", "reconnected", "disconnected True"),
        transports=(WS,),
    )
    # Told of a shutdown, long polling takes itself for reconnected as soon as it has asked.
    too_soon = (*RECONNECTING, *RECONNECTED, "error Long polling request failed.")
    yield restart_row("another process after a shutdown", signal.SIGTERM, tuple(On(LP, event) for event in too_soon))
    yield restart_row("another process after a crash of the server", signal.SIGKILL, (*LOST, On(FF, "connectionSlow")))


def endings() -> Iterator[Row]:
    yield Row(
        name="calls that still run when the client stops",
        source="10.5; 7.1 #2",
        steps=(start(), call_aside("Slow", 5_000), stop(), logged_at_once("disconnected True")),
        events=(
            *(*STARTED, "connected -> disconnected"),
            "rejected Connection was disconnected before invocation result was received.",
            "disconnected",
        ),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="stop while reconnecting",
        source="7.3 stop() (R)",
        steps=(
            UNHURRIED,
            start(),
            refuse_upgrades(),
            block("/reconnect?"),
            cut(),
            happens("reconnecting"),
            stop_at_once(),
            logged_at_once("disconnected True"),
        ),
        events=(*STARTED, *LOST, *RECONNECTING, "reconnecting -> disconnected", "disconnected"),
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="the page is closed",
        source="7.1 #16; 10.6 unload",
        steps=(start(), logged("connected"), close_page(), logged_at_once("disconnected True")),
        events=None,
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="the page is left for another",
        source="7.1 #16; 10.6 unload",
        steps=(start(), logged("connected"), leave_page(), logged_at_once("disconnected True")),
        events=None,
        log=("connected", "disconnected True"),
    )
    yield Row(
        name="the page crashes",
        source="7.1 #4; 7.3 DisconnectTimeout in Detached",
        steps=(start(), logged("connected"), crash(), given_up()),
        events=None,
        needs_process=True,
        log=("connected", "disconnected False"),
    )
    yield Row(
        name="the network is gone for good",
        source="7.1 #3 #5 #13 #22; 7.3 client in R for DisconnectTimeout: no abort",
        steps=(
            negotiate_with(KeepAliveTimeout=20),
            start(),
            refuse(),
            cut(),
            happens("disconnected"),
            last_error_is(GIVEN_UP_TEXT),
            mend(),
            given_up(),
        ),
        events=(*STARTED, *LOST, *RECONNECTING, *GIVEN_UP),
        log=("connected", "disconnected False"),
    )
    yield Row(
        name="silence for good",
        source="7.3 no bytes for KeepAliveTimeout, client in R for DisconnectTimeout; 7.5",
        steps=(start(), swallow(), happens("disconnected"), mend(), cut_frozen(), given_up()),
        events=(*STARTED, "connectionSlow", *RECONNECTING, *GIVEN_UP),
        log=("connected", "disconnected False"),
        transports=MONITORED,
    )
    yield Row(
        name="the client sleeps for too long",
        source="7.3 client inactive >= DisconnectTimeout+KeepAliveTimeout: no abort",
        steps=(
            negotiate_with(KeepAliveTimeout=SLEEPY, ConnectionTimeout=60),
            start(),
            swallow(),
            sleep(DISCONNECT_TIMEOUT + SLEEPY + 1),
            happens("disconnected"),
            mend(),
            cut_frozen(),
            logged("disconnected False"),
        ),
        events=(*STARTED, f"error {INACTIVE} (TimeoutException)", *STOPPED),
        log=("connected", "disconnected False"),
        needs_process=True,
    )
    yield Row(
        name="a ping is refused",
        source="7.3 ping 401/403",
        steps=(start(pingInterval=1000), answer("/ping", 401), happens("disconnected")),
        events=(*STARTED, "error Failed to ping server.  Server responded with status code 401, stopping the connection.", *STOPPED),
        log=("connected", "disconnected True"),
    )
    comes_late = (UNHURRIED, start(), refuse(), cut(), given_up(), mend())
    yield Row(
        name="a late reconnect is refused",
        source="7.1 #1 #8; 7.4",
        steps=(*comes_late, happens("disconnected")),
        events=(*STARTED, *LOST, *RECONNECTING, *RECONNECTED, "error * (ServerError)", *STOPPED),
        log=("connected", "disconnected False"),
        is_ours=True,
    )
    yield Row(
        name="a late reconnect is a reconnect",
        source="7.4 servers >= 2.1",
        steps=(*comes_late, happens("reconnected"), logged("reconnected"), stop()),
        events=(*STARTED, *LOST, *RECONNECTING, *RECONNECTED, *STOPPED),
        log=("connected", "disconnected False", "reconnected", "disconnected True"),
        is_ours=False,
    )
    yield Row(
        name="the server closes the connection",
        source="7.3 E frame: no abort; 7.1 #21",
        steps=(start(), closed("Enough for today."), happens("disconnected"), logged_at_once("disconnected False")),
        events=(*STARTED, "error Enough for today. (ServerError)", *STOPPED),
        log=("connected", "disconnected False"),
        is_ours=True,
    )
    yield Row(
        name="the server closes the connection while the client reconnects",
        source="7.3 E frame; 7.4",
        steps=(UNHURRIED, start(), refuse(), cut(), happens("reconnecting"), closed("Too late."), mend(), happens("disconnected")),
        events=(*STARTED, *LOST, *RECONNECTING, *RECONNECTED, "error * (ServerError)", *STOPPED),
        log=("connected", "disconnected False"),
        is_ours=True,
    )
