"""
Which process owns a connection that is a series of requests.

The process that negotiated a connection is its arbiter: its channel stands in the signed token, and it alone says who owns the
connection. The first process that a transport request reaches becomes the owner; requests that reach another one go to it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from signalr_channels.backplane.relay import Relay
from signalr_channels.backplane.wire import VERSION, Claim, Owner, Release
from signalr_channels.exceptions import BackplaneUnavailable

__all__ = ["GONE", "HERE", "Ownership"]

logger = logging.getLogger("signalr_channels.backplane")

HERE = ""
"""What :meth:`Ownership.locate` says of a connection that this process owns."""
GONE = "-"
"""What it says of one that has ended."""
REMEMBERED = 50_000
SEEK_AFTER = 1.0
"""Seconds the arbiter may take before all processes are asked."""

Seeker = Callable[[str], Awaitable["str | None"]]
"""Connection id -> channel of the owner; ``None`` if nobody is."""

V = TypeVar("V")


class _Recent(OrderedDict[str, V], Generic[V]):
    """A mapping that forgets the oldest of too many entries."""

    def note(self, key: str, value: V) -> None:
        self.pop(key, None)
        self[key] = value
        if len(self) > REMEMBERED:
            self.popitem(last=False)


class Ownership:
    """What this process knows of owners: as an arbiter, and from asking others."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._owners: _Recent[str] = _Recent()
        """Connections negotiated here: channel of the owner, or :data:`GONE`."""
        self._known: _Recent[str] = _Recent()
        """Connections negotiated elsewhere."""
        self._silent: _Recent[bool] = _Recent()
        """Arbiters that did not answer, and were written of in the log."""

    async def locate(
        self, connection_id: str, arbiter: str, *, may_claim: bool, may_reopen: bool = False, seek: Seeker | None = None
    ) -> str | None:
        """
        Find the owner of a connection, or become it.

        Args:
            connection_id: The connection.
            arbiter: Channel of the process that negotiated it, from its token; ``""`` if that has none.
            may_claim: Whether this process becomes the owner if nobody is.
            may_reopen: Whether it may also become the owner of one that has ended.
            seek: Asks all processes for the owner, where there is no arbiter, or it does not answer; see
                :class:`~signalr_channels.backplane.seeking.OwnerSearch`. Gives this process's channel if it becomes the owner.

        Returns:
            :data:`HERE`, the owner's channel, :data:`GONE`, or ``None`` if nobody owns it yet.
        """
        if not arbiter and seek is None:
            return HERE if may_claim else None
        try:
            channel = await self._relay.start()
        except BackplaneUnavailable:
            return HERE if may_claim else None
        if not arbiter:
            return self._as_seen_here(await self._find_without_arbiter(connection_id, channel, seek, may_claim=may_claim))
        if arbiter == channel:
            return self._as_seen_here(self.decide(connection_id, channel, may_claim=may_claim, may_reopen=may_reopen))
        if (known := self._known.get(connection_id)) is not None:
            return self._as_seen_here(known)
        owner = await self._ask(connection_id, arbiter, channel, may_claim=may_claim, may_reopen=may_reopen, seek=seek)
        if owner is not None and owner != GONE:
            self._known.note(connection_id, owner)
        return self._as_seen_here(owner)

    async def _find_without_arbiter(self, connection_id: str, channel: str, seek: Seeker | None, *, may_claim: bool) -> str | None:
        """The owner of a connection that a process without a channel negotiated: whoever has it says so."""
        owner = self._known.get(connection_id)
        if owner is None and seek is not None:
            owner = await seek(connection_id)
        if owner is None:
            return channel if may_claim else None
        if owner != channel:  # what lives here need not be looked for
            self._known.note(connection_id, owner)
        return owner

    async def _ask(
        self, connection_id: str, arbiter: str, channel: str, *, may_claim: bool, may_reopen: bool, seek: Seeker | None
    ) -> str | None:
        def make(reply_to: str, request_id: str) -> Claim:
            return Claim(
                v=VERSION,
                connection_id=connection_id,
                claimant=channel,
                may_claim=may_claim,
                may_reopen=may_reopen,
                reply_to=reply_to,
                request_id=request_id,
            )

        try:
            conversation = await self._relay.ask_process(arbiter, make)
            try:
                answer = await conversation.receive(self._relay.ack_timeout if seek is None else min(self._relay.ack_timeout, SEEK_AFTER))
            finally:
                conversation.close()
        except BackplaneUnavailable:
            answer = None
        if isinstance(answer, Owner):
            self._silent.pop(arbiter, None)
            return answer.channel
        owner = None if seek is None else await seek(connection_id)
        if owner is None or owner == channel:
            # The arbiter is gone, and what it knew with it; whoever is asked first goes on. It may have negotiated thousands.
            level = logging.INFO if arbiter in self._silent else logging.WARNING
            self._silent.note(arbiter, True)
            logger.log(level, "The process that negotiated connection %s, and maybe others, does not answer", connection_id)
        return owner or (channel if may_claim else None)

    def decide(self, connection_id: str, claimant: str, *, may_claim: bool, may_reopen: bool = False) -> str | None:
        """As the arbiter: who owns a connection, ``claimant`` if nobody did."""
        if connection_id in self._owners and not (may_reopen and self._owners[connection_id] == GONE):
            return self._owners[connection_id]
        if not may_claim:
            return None
        self._owners.note(connection_id, claimant)
        return claimant

    async def answer(self, claim: Claim) -> None:
        """Answer another process."""
        owner = self.decide(claim.connection_id, claim.claimant, may_claim=claim.may_claim, may_reopen=claim.may_reopen)
        await self._relay.answer(claim, Owner(v=VERSION, request_id=claim.request_id, channel=owner))

    def forget_owner(self, connection_id: str) -> None:
        """Ask the arbiter anew next time."""
        self._known.pop(connection_id, None)

    def forget(self, connection_id: str, *, owner: str = "", may_move: bool = False) -> None:
        """
        A connection has ended: as the arbiter, remember that, or that anybody may own it next; else ask again next time.

        Args:
            connection_id: The connection.
            owner: Channel of the process it ended in. If it lives in another one by now, that stays so.
            may_move: Whether it may go on elsewhere.
        """
        self._known.pop(connection_id, None)
        if connection_id in self._owners and owner in ("", self._owners[connection_id]):
            if may_move:
                del self._owners[connection_id]
            else:
                self._owners[connection_id] = GONE

    def moved(self, connection_id: str, owner: str) -> None:
        """A process says that it owns a connection now."""
        self._known.pop(connection_id, None)
        if connection_id in self._owners:
            self._owners[connection_id] = owner

    def forget_process(self, channel: str) -> None:
        """A process stops: whoever is asked first owns what it owned."""
        for owners in (self._known, self._owners):
            for connection_id in [key for key, owner in owners.items() if owner == channel]:
                del owners[connection_id]

    async def release(self, connection_id: str, arbiter: str, *, owner: str | None = None, may_move: bool = False) -> None:
        """
        A connection has ended, or may go on elsewhere: let its arbiter know.

        Args:
            connection_id: The connection.
            arbiter: Channel of the process that negotiated it.
            owner: Channel of the process it lived in; this one, unless that does not answer any more.
            may_move: Whether it may go on elsewhere.
        """
        owner = owner or self._relay.channel or ""
        self.forget(connection_id, owner=owner, may_move=may_move)
        if arbiter and arbiter != self._relay.channel:
            try:
                await self._relay.tell(arbiter, Release(v=VERSION, connection_id=connection_id, owner=owner, may_move=may_move))
            except BackplaneUnavailable:
                logger.info("The end of connection %s could not be told to the process that negotiated it", connection_id)

    def _as_seen_here(self, channel: str | None) -> str | None:
        return HERE if channel is not None and channel == self._relay.channel else channel
