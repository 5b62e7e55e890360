"""Finding out that the channel layer lost something: whoever publishes numbers what it sends to an address."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GapCounter", "Loss"]

WINDOW = 1000
"""Numbers this far behind the highest are those of a publisher that began anew."""
PATIENCE = 2
"""Beats a number may be late: a publisher's messages may overtake each other on its connections to the layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Messages that did not come."""

    origin: str
    """Process that sent them."""
    hub: str
    count: int


class _Sequence:
    """What one process sent to one address."""

    __slots__ = ("highest", "hub", "missing", "skipped")

    def __init__(self, hub: str, highest: int) -> None:
        self.hub = hub
        self.highest = highest
        self.missing: dict[int, int] = {}
        self.skipped = 0


class GapCounter:
    """Numbers seen, by address and origin. Time is counted in beats of :meth:`tick`."""

    def __init__(self) -> None:
        self._sequences: dict[str, dict[str, _Sequence]] = {}
        self._incomplete: dict[tuple[str, str], _Sequence] = {}
        self._beat = 0

    def note(self, address: str, origin: str, hub: str, number: int) -> None:
        """A message has come."""
        sequences = self._sequences.setdefault(address, {})
        sequence = sequences.get(origin)
        if sequence is None or number < sequence.highest - WINDOW:
            sequences[origin] = _Sequence(hub, number)
            return
        expected = sequence.highest + 1
        if number < expected:
            sequence.missing.pop(number, None)
            return
        sequence.highest = number
        if number > expected:
            first = max(expected, number - WINDOW)
            sequence.skipped += first - expected
            sequence.missing.update(dict.fromkeys(range(first, number), self._beat))
            self._incomplete[address, origin] = sequence

    def forget(self, address: str) -> None:
        """Nothing is expected from this address any more."""
        for origin in self._sequences.pop(address, ()):
            self._incomplete.pop((address, origin), None)

    def tick(self) -> list[Loss]:
        """A second has passed: what was lost for good."""
        self._beat += 1
        losses = []
        for key, sequence in tuple(self._incomplete.items()):
            late = [number for number, beat in sequence.missing.items() if self._beat - beat > PATIENCE]
            for number in late:
                del sequence.missing[number]
            count = len(late) + sequence.skipped
            sequence.skipped = 0
            if count:
                losses.append(Loss(origin=key[1], hub=sequence.hub, count=count))
            if not sequence.missing:
                del self._incomplete[key]
        return losses
