"""Time in the observatory: scripts that say how long they wait, advanced by a clock that is an argument."""

import heapq
import inspect
from collections.abc import Generator
from typing import TypeAlias

Script: TypeAlias = Generator[float, None, None]
LATE = 0.1  # seconds; as much is made up for


def is_over(script: Script) -> bool:
    """It has come to its end, or was closed."""
    return inspect.getgeneratorstate(script) == inspect.GEN_CLOSED


class Stage:
    """Runs scripts up to their waits. `pace` is how many times faster than real everything goes."""

    def __init__(self, pace: float = 1.0) -> None:
        self._pace = pace
        self._now = 0.0
        self._waiting: list[tuple[float, int, Script]] = []
        self._count = 0

    def start(self, script: Script) -> Script:
        """Run its first step at once: what it says then precedes the answer to the next request."""
        self._step(script, self._now)
        return script

    def advance(self, now: float) -> None:
        """Continue everything that is due, in time with itself; who was held up for long catches nothing up."""
        self._now = now
        while self._waiting and self._waiting[0][0] <= now:
            due, _, script = heapq.heappop(self._waiting)
            self._step(script, due if now - due < LATE else now)

    def _step(self, script: Script, since: float) -> None:
        try:
            wait = next(script)
        except StopIteration:  # at its end, or closed by who stopped it
            return
        self._count += 1
        heapq.heappush(self._waiting, (since + wait / self._pace, self._count, script))
