"""
Django signals of this package.

``lifetime_event`` is sent for every :class:`~signalr_channels.hubs.lifetime.LifetimeEvent`, after it was written to the history
(and also where ``HISTORY`` is off)::

    @receiver(lifetime_event)
    def note(sender, event, **kwargs):
        if event.reason is CloseReason.SLOW_CONSUMER: ...

Receivers run one after the other in the writer thread of the recorder, outside any transaction: they may use the ORM, and a slow one
delays the history but no connection. What they raise is logged by ``django.dispatch`` and reaches nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.dispatch import Signal

from signalr_channels.hubs.lifetime import LifetimeEvent

__all__ = ["announce", "lifetime_event"]

lifetime_event = Signal()
"""Keyword argument: ``event``, a ``LifetimeEvent``. The sender is its class."""


def announce(events: Iterable[LifetimeEvent]) -> None:
    """Send ``lifetime_event`` for each, in this thread. Nothing that a receiver raises gets out."""
    for event in events:
        lifetime_event.send_robust(sender=LifetimeEvent, event=event)
