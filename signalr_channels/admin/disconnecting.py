"""Ending live connections from the admin, whatever process and generation they are of."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Iterable, Iterator

from django.utils.translation import ngettext

from signalr_channels.exceptions import BackplaneUnavailable
from signalr_channels.hubs.hub import Hub, hub_name
from signalr_channels.hubs.hub_context import reach_of
from signalr_channels.hubs.persistent_connection import PersistentConnection
from signalr_channels.hubs.reach import Reach
from signalr_channels.models import Connection

__all__ = ["Outcome", "disconnect", "outcome_text"]

logger = logging.getLogger("signalr_channels.connections")


FOR_THE_CLIENT = "An operator ended the connection."


class Outcome(enum.Enum):
    """What became of a connection that was to be ended."""

    DISCONNECTED = enum.auto()
    GONE = enum.auto()
    """No process that could be asked has it."""
    UNREACHABLE = enum.auto()
    """Other processes could not be asked."""
    NO_HUB = enum.auto()
    """It is of no hub that this process knows: such connections have no common address."""


def disconnect(rows: Iterable[Connection], *, closed_by: str) -> dict[str, Outcome]:
    """
    End connections.

    Args:
        rows: The connections.
        closed_by: The operator, for the history.

    Returns:
        Connection id -> what became of it.
    """
    hubs = {hub_name(hub): hub for hub in _hub_classes()}
    by_hub: dict[type, list[str]] = {}
    outcomes: dict[str, Outcome] = {}
    for row in rows:
        # A classic connection lists all its hubs, and ends as a whole.
        hub = next((hubs[name] for name in row.hub.split(", ") if name in hubs), None)
        if hub is None:
            outcomes[row.connection_id] = Outcome.NO_HUB
        else:
            by_hub.setdefault(hub, []).append(row.connection_id)
    for hub, connection_ids in by_hub.items():
        reach = reach_of(hub)
        ended = reach.run("close", lambda reach=reach, ids=connection_ids: _close(reach, ids, closed_by))  # type: ignore[misc]
        outcomes.update(zip(connection_ids, ended, strict=True))
    return outcomes


def outcome_text(outcome: Outcome, count: int) -> str:
    """A sentence for the operator: of how many connections this became."""
    match outcome:
        case Outcome.DISCONNECTED:
            text = ngettext(
                "%d connection was disconnected; the list shows it in a moment.",
                "%d connections were disconnected; the list shows it in a moment.",
                count,
            )
        case Outcome.GONE:
            text = ngettext(
                "%d connection was not found: it has ended, or no process has it.",
                "%d connections were not found: they have ended, or no process has them.",
                count,
            )
        case Outcome.UNREACHABLE:
            text = ngettext(
                "%d connection could not be reached: the channel layer (CHANNEL_LAYERS) does not answer.",
                "%d connections could not be reached: the channel layer (CHANNEL_LAYERS) does not answer.",
                count,
            )
        case Outcome.NO_HUB:
            text = ngettext(
                "%d connection is of no hub that this process knows; only code of the application can end it.",
                "%d connections are of no hub that this process knows; only code of the application can end them.",
                count,
            )
    return text % count


async def _close(reach: Reach, connection_ids: list[str], closed_by: str) -> list[Outcome]:
    async def close(connection_id: str) -> Outcome:
        try:
            was_there = await reach.close(connection_id, FOR_THE_CLIENT, allow_reconnect=False, closed_by=closed_by)
        except BackplaneUnavailable as error:
            logger.warning("%s: it could not be disconnected: %s", connection_id, error)
            return Outcome.UNREACHABLE
        return Outcome.DISCONNECTED if was_there else Outcome.GONE

    return await asyncio.gather(*map(close, connection_ids))


def _hub_classes() -> Iterator[type]:
    pending: list[type] = [Hub, PersistentConnection]
    while pending:
        below: list[type] = pending.pop().__subclasses__()
        yield from below
        pending += below
