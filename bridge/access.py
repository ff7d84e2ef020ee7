"""Who may do what: read-only, allowed and denied keys, value limits, the rate of commands. CONTRACT "Access"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

from bridge.driver import Touch
from bridge.model import WRITTEN, Command, Json, Kind, Point
from bridge.patterns import matches, opens


class Limit(Struct, frozen=True):
    """Bounds for what is set, in the unit that is published."""

    minimum: float | None = None
    maximum: float | None = None


class Rules(Struct, frozen=True):
    """A device's access rules. Patterns are globs over whole keys: `ro/*` matches `ro/1_01/x` too."""

    read_only: bool = False
    allow: tuple[str, ...] = ()  # when given, only these (and always needed for guarded keys)
    deny: tuple[str, ...] = ()
    limits: Mapping[str, Limit] = {}
    rate: float | None = None  # commands per second; None: no limit
    burst: int = 10


def refusal(
    rules: Rules, point: Point, command: Command, touches: Iterable[Touch], points: Mapping[str, Point]
) -> str | None:
    """Why this command is not allowed, in one sentence; None when it is.

    `command.value` is what the point accepted. A point named by an argument of type `point`, and whatever the
    driver says that the command touches, is checked as if it were set itself.
    """
    if rules.read_only:
        return "this bridge may only read here (read_only)"
    if reason := forbidden(rules, point.key, point.guarded, command.value):
        return reason
    named = [
        Touch(str(command.args[a.name])) for a in point.arguments if a.type == "point" and a.name in command.args
    ]
    for touch in (*named, *touches):
        if reason := _touched(rules, touch, points):
            return reason
    return None


def _touched(rules: Rules, touch: Touch, points: Mapping[str, Point]) -> str | None:
    guarded = touch.guarded
    if touch.point:
        point = points.get(touch.key)
        if point is None:
            return f"there is no point {touch.key!r}"
        if point.kind not in WRITTEN and point.kind is not Kind.ACTION:
            return f"{touch.key} is read-only"
        guarded = guarded or point.guarded
        if touch.value is not None and point.kind in WRITTEN:
            try:
                point.accept(touch.value)
            except ValueError as error:
                return f"{touch.key}: {error}"
    return forbidden(rules, touch.key, guarded, touch.value)


def forbidden(rules: Rules, key: str, guarded: bool, value: Json = None) -> str | None:
    """Why `allow`, `deny` and `limits` turn down a command to this key; None when they do not."""
    if any(matches(pattern, key) for pattern in rules.deny):
        return f"{key} is denied by the configuration"
    allowed = any(matches(pattern, key) for pattern in rules.allow)
    if guarded and not any(opens(pattern, key) for pattern in rules.allow):
        return f"{key} is dangerous or unknown and needs an explicit `allow` in the configuration"
    if rules.allow and not allowed:
        return f"{key} is not in the configuration's `allow`"
    if isinstance(value, int | float) and not isinstance(value, bool):
        for pattern, limit in rules.limits.items():
            if matches(pattern, key):
                if limit.minimum is not None and value < limit.minimum:
                    return f"{value:g} is below the configured limit of {limit.minimum:g} for {key}"
                if limit.maximum is not None and value > limit.maximum:
                    return f"{value:g} is above the configured limit of {limit.maximum:g} for {key}"
    return None


class Bucket:
    """The rate limit: `rate` commands a second on average, `burst` at once."""

    def __init__(self, rate: float | None, burst: int) -> None:
        self._rate, self._burst = rate, float(max(1, burst))
        self._tokens, self._at = self._burst, -math.inf

    def take(self, now: float) -> bool:
        if self._rate is None:
            return True
        if self._at > -math.inf:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
