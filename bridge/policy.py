"""When a changed value is worth a message: deadband, minimum interval with trailing value, maximum silence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bridge.model import Policy, Scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER = math.inf


def inherit(*layers: Policy) -> Policy:
    """The last layer that says something wins, field by field (what the point suggests, bridge, device, point)."""
    return Policy(
        deadband=_last([layer.deadband for layer in layers]),
        min_interval=_last([layer.min_interval for layer in layers]),
        max_silence=_last([layer.max_silence for layer in layers]),
    )


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


class Throttle:
    """The memory of one point: what was published last, and when the next message is due.

    Usage: `offer` a new value; True: publish it now. At `due`, publish the latest value and say `published`.
    """

    __slots__ = ("_deadband", "_interval", "_silence", "due", "last", "since")

    def __init__(self, policy: Policy) -> None:
        self._deadband = policy.deadband or 0.0
        self._interval = policy.min_interval or 0.0
        self._silence = max(policy.max_silence or NEVER, self._interval)
        self.last: Scalar = None
        self.since = -NEVER  # when something was published last
        self.due = NEVER  # when the latest value must be published although nothing new came

    def offer(self, value: Scalar, now: float) -> bool:
        """Whether this value goes out now. A value that must wait is due at the end of the interval."""
        if self.since != -NEVER and not self._moved(value):
            self.due = self.since + self._silence  # it is what is published already: nothing trails
            return False
        if now - self.since < self._interval:
            self.due = self.since + self._interval
            return False
        self.published(value, now)
        return True

    def published(self, value: Scalar, now: float) -> None:
        self.last, self.since, self.due = value, now, now + self._silence

    def _moved(self, value: Scalar) -> bool:
        last = self.last
        if value == last and type(value) is type(last):
            return False
        if self._deadband and isinstance(value, int | float) and isinstance(last, int | float):
            return abs(value - last) >= self._deadband or isinstance(value, bool)
        return True
