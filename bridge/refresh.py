"""`call/refresh`: everything is announced again, once for all who ask at about the same time.

For a device of many points that takes a tenth of a second, in which nothing else is done; so a flood of calls must
not be a flood of announcements.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from bridge.model import Outcome
from bridge.mqtt import Message

VERB = "refresh"
PAUSE = 1.0  # seconds, at least, between two announcements
MOST = 1000  # who wait for one
ENDS = "this bridge is stopping"

Answer = Callable[[Message, str, Outcome, str], None]


class Refresh:
    """`again` announces everything once more; `answer(call, verb, outcome, detail)` tells who asked."""

    def __init__(self, again: Callable[[], None], answer: Answer) -> None:
        self._again, self._answer = again, answer
        self._calls: list[Message] = []
        self._timer: asyncio.TimerHandle | None = None
        self._latest = -math.inf  # on the loop's clock

    def ask(self, call: Message) -> None:
        """At once, or when the last time is PAUSE seconds ago."""
        if len(self._calls) >= MOST:
            self._answer(call, VERB, Outcome.REJECTED, "too many ask for it")
            return
        self._calls.append(call)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._latest + PAUSE - loop.time()), self._do)

    def _do(self) -> None:
        self._again()
        self._latest = asyncio.get_running_loop().time()
        self._settle(Outcome.DONE, "announced again")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._settle(Outcome.UNAVAILABLE, ENDS)

    def _settle(self, outcome: Outcome, detail: str) -> None:
        calls, self._calls, self._timer = self._calls, [], None
        for call in calls:
            self._answer(call, VERB, outcome, detail)
