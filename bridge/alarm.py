"""One timer of the event loop for everything that is due: it may ring early, never late."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import monotonic

SOONEST = 0.001  # seconds: who wants to be woken in the past must not spin the loop


class Alarm:
    """`ring()` is called on the running loop; after that nothing is set any more."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._tell = ring
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self.rings_at = math.inf  # on the loop's clock; infinity: not at all

    def set(self, due: float) -> None:
        """Ring then at the latest, on the loop's clock. A later time than the one that is set changes nothing."""
        if due < self.rings_at and not self._over:
            if self._timer is not None:
                self._timer.cancel()
            self.rings_at = max(due, monotonic() + SOONEST)
            self._timer = asyncio.get_running_loop().call_at(self.rings_at, self._ring)

    def end(self) -> None:
        """It never rings again, whatever is set."""
        self._over, self.rings_at = True, math.inf
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer, self.rings_at = None, math.inf
        self._tell()
