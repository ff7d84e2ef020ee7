"""`call/refresh`: everything is announced again, once for all who ask at about the same time.

For a device of many points that takes a tenth of a second, in which nothing else is done; so a flood of calls must
not be a flood of announcements.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from bridge.calls import Answer, Calls
from bridge.model import Outcome
from bridge.mqtt_values import Message

VERB = "refresh"
PAUSE = 1.0  # seconds, at least, between two announcements


class Refresh:
    """`again` announces everything once more."""

    def __init__(self, again: Callable[[], None], answer: Answer) -> None:
        self._again, self._calls = again, Calls(VERB, answer)
        self._timer: asyncio.TimerHandle | None = None
        self._latest = -math.inf  # on the loop's clock

    def ask(self, call: Message) -> None:
        """At once, or when the last time is PAUSE seconds ago."""
        if self._calls.add(call) and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._latest + PAUSE - loop.time()), self._do)

    def _do(self) -> None:
        self._timer = None
        self._calls.begin()
        self._again()
        self._latest = asyncio.get_running_loop().time()
        self._calls.settle(Outcome.DONE, "announced again")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._calls.end()
