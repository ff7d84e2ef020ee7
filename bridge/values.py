"""The points of one device as users see them, with their last values: what is published, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bridge import payload
from bridge.model import READ, WRITTEN, Json, Quality, Scalar, Update
from bridge.outbox import Publication
from bridge.overlay import View
from bridge.policy import NEVER, Throttle
from bridge.topics import DeviceTopics

VALUED = READ | WRITTEN


@dataclass(slots=True, eq=False)
class Shown:
    """One point with a value."""

    view: View
    plain: bool
    topic: str
    format: payload.StateFormat
    throttle: Throttle
    value: Scalar = None
    quality: Quality = Quality.GOOD
    at: float = -1.0  # seconds since the epoch when the device reported it; negative: never
    seen: float = 0.0  # the same on the loop's clock


class Values:
    """`publish` takes what must go out; `due` (the loop's clock) is when `tick` has something to do."""

    def __init__(self, topics: DeviceTopics, publish: Callable[[Publication], None], plain: bool) -> None:
        self._topics, self._publish, self._plain = topics, publish, plain
        self._shown: dict[str, Shown] = {}
        self._late: set[Shown] = set()  # whose throttle has something due
        self._aging: set[Shown] = set()  # with an age limit
        self.due = NEVER
        self.unknown = 0  # updates of points that were never declared

    def __contains__(self, key: str) -> bool:
        return key in self._shown

    def declare(self, view: View) -> None:
        """A point is there, new or changed. Its last value stays."""
        point, old = view.point, self._shown.get(view.point.key)
        if point.kind not in VALUED:
            self.drop(point.key)
            return
        if old is not None and old.view == view:
            return
        shown = Shown(
            view,
            view.plain,
            self._topics.state(point.key),
            payload.StateFormat(point.unit, self._plain),
            Throttle(point.policy),
        )
        if old is not None:
            self._forget(old)
            if (
                old.view.point.kind is point.kind
                and old.view.scale == view.scale
                and old.view.invert is view.invert
            ):
                shown.value, shown.quality, shown.at, shown.seen = old.value, old.quality, old.at, old.seen
        self._shown[point.key] = shown
        if point.max_age is not None:
            self._aging.add(shown)
        if shown.at >= 0:
            self._emit(shown, shown.seen)  # the unit may be another

    def drop(self, key: str, *, clear: bool = True) -> None:
        """The point is gone: its retained state goes too, unless the point may come back."""
        if (shown := self._shown.pop(key, None)) is not None:
            self._forget(shown)
            if clear:
                self._publish(Publication(shown.topic, b"", qos=1, retain=True))

    def _forget(self, shown: Shown) -> None:
        self._late.discard(shown)
        self._aging.discard(shown)

    def update(self, event: Update, now: float, wall: float) -> None:
        """The hot path: one reported value."""
        shown = self._shown.get(event.key)
        if shown is None:
            self.unknown += 1
            return
        value, quality = event.value, event.quality
        if not shown.plain:
            value = shown.view.outward(value)
        if type(value) is float and not math.isfinite(value):
            value, quality = None, Quality.BAD
        shown.value = value
        shown.at = wall if event.at is None else event.at
        shown.seen = now
        if quality is not shown.quality:
            shown.quality = quality
            self._emit(shown, now)
        elif shown.throttle.offer(value, now):
            self._send(shown)
        if shown.throttle.due < NEVER:
            self._late.add(shown)
            self.due = min(self.due, shown.throttle.due)
        if shown.view.point.max_age is not None:
            self.due = min(self.due, now + shown.view.point.max_age)

    def flush(self, key: str, now: float, *, again: bool = False) -> str | None:
        """Publish what a policy still holds back of this point (`again`: even what was published). Its topic."""
        shown = self._shown.get(key)
        if shown is None or shown.at < 0:
            return None
        if again or shown.throttle.last != shown.value:
            self._emit(shown, now)
        return shown.topic

    def tick(self, now: float) -> None:
        """Publish trailing values, what was silent too long, and what became stale."""
        for shown in [s for s in self._late if s.throttle.due <= now]:
            self._emit(shown, now)
            if shown.throttle.due == NEVER:
                self._late.discard(shown)
        for shown in self._aging:
            limit = shown.view.point.max_age or NEVER
            if shown.quality is Quality.GOOD and shown.at >= 0 and now - shown.seen >= limit:
                shown.quality = Quality.STALE
                self._emit(shown, now)
        dues = [shown.throttle.due for shown in self._late]
        dues += [
            s.seen + (s.view.point.max_age or NEVER)
            for s in self._aging
            if s.quality is Quality.GOOD and s.at >= 0
        ]
        self.due = min(dues, default=NEVER)

    def value(self, key: str) -> Scalar:
        """The last value as it is published; None also when there is none."""
        shown = self._shown.get(key)
        return None if shown is None else shown.value

    def meets(self, key: str, expected: Json) -> bool:
        """Whether the present value is this; numbers within the point's step."""
        shown = self._shown.get(key)
        if shown is None or shown.at < 0:
            return False
        try:
            wanted = shown.view.point.accept(expected)
        except ValueError:
            return False
        if isinstance(wanted, bool) or not isinstance(wanted, int | float):
            return wanted == shown.value
        if isinstance(shown.value, bool) or not isinstance(shown.value, int | float):
            return False
        return abs(wanted - shown.value) <= (shown.view.point.step or 0.0) + 1e-9

    def announce(self) -> Iterator[Publication]:
        """Every value there is, as when it was reported."""
        return (self._publication(shown) for shown in self._shown.values() if shown.at >= 0)

    def _emit(self, shown: Shown, now: float) -> None:
        shown.throttle.published(shown.value, now)
        if shown.throttle.due < NEVER:
            self._late.add(shown)
            self.due = min(self.due, shown.throttle.due)
        self._send(shown)

    def _send(self, shown: Shown) -> None:
        self._publish(self._publication(shown))

    def _publication(self, shown: Shown) -> Publication:
        text = shown.format.encode(shown.value, payload.timestamp(shown.at), shown.quality)
        return Publication(shown.topic, text, 0, True)
