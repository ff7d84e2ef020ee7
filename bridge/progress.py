"""Does every part of the daemon still turn? Each says when it turns again at the latest; waiting is no fault.

A part that legitimately waits says so with a later time, or with `math.inf` (a broker, an instrument or a user may
be away for ever). So what is late is stuck by a fault of ours, and only a restart helps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

PATIENCE = 20.0  # seconds by which a part may be late: a loaded machine, a large result
LOOK = 1.0  # seconds between two looks


class Progress:
    """`parts()` gives, by name, the times (of the loop's clock) at which each part turns again at the latest."""

    def __init__(self, parts: Callable[[], Mapping[str, float]]) -> None:
        self._parts = parts
        self._looked = math.inf
        self._excused = -math.inf

    def stuck(self, now: float) -> list[str]:
        """The parts that are late. To be asked every LOOK seconds.

        If nobody asked for long, this process was stopped or starved: then all are late, and none of them is stuck
        before it had time to turn.
        """
        if now - self._looked > 2 * LOOK:
            self._excused = now
        self._looked = now
        return [] if now - self._excused < PATIENCE else list(self._late(now))

    def _late(self, now: float) -> Iterator[str]:
        return (name for name, due in self._parts().items() if now > due + PATIENCE)
