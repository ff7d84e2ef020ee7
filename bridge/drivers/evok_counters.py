"""Pulses that were counted while nobody listened: the counters remembered, against those found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from bridge.driver import Remember
from bridge.model import Happened, Json

MEMORY = "counters"
PERIOD = 30.0  # seconds between two writes to the memory
WRAP = 1 << 32
NEAR = 1 << 24  # this close to the top a smaller count is a wrap, not a reset


def missed(before: int, now: int) -> tuple[int, bool]:
    """Pulses between two readings of a 32 bit counter, and whether it was reset (then only those since)."""
    if now >= before:
        return now - before, False
    if before >= WRAP - NEAR and now < NEAR:
        return now + WRAP - before, False
    return now, True


class Counters:
    """Counters by their point's key. What is remembered is at most PERIOD older than what was reported."""

    def __init__(self, memory: Json) -> None:
        remembered = memory if isinstance(memory, Mapping) else {}
        self._before = {key: n for key, n in remembered.items() if type(n) is int and 0 <= n < WRAP}
        self._seen: dict[str, int] = dict(self._before)
        self._found: dict[str, tuple[int, int]] = {}
        self._saved_at = -math.inf
        self._moved = False

    def note(self, key: str, value: object) -> None:
        """A counter shows this."""
        if type(value) is not int or not 0 <= value < WRAP:
            return
        if (before := self._before.pop(key, None)) is not None and before != value:
            self._found[key] = before, value
        if self._seen.get(key) != value:
            self._seen[key] = value
            self._moved = True

    def gap(self) -> Iterator[Happened]:
        """The pulses that no event told of. `before` may be up to PERIOD older than the lost connection."""
        if not self._found:
            return
        pulses: dict[str, Json] = {}
        counters: dict[str, Json] = {}
        for key, (before, now) in self._found.items():
            count, reset = missed(before, now)
            pulses[key] = count
            counters[key] = {"before": before, "now": now, "reset": reset}
        self._found.clear()
        yield Happened("gap", {"pulses": pulses, "counters": counters})

    def save(self, now: float) -> Iterator[Remember]:
        """Remember the counters, when they moved and the last time is long enough ago."""
        if self.due <= now:
            self._saved_at, self._moved = now, False
            yield Remember(MEMORY, dict(self._seen))

    @property
    def due(self) -> float:
        """When `save` has something to do; inf: not before a counter moves."""
        return self._saved_at + PERIOD if self._moved else math.inf
