"""What is heard as plain lines: for pipes, files, and terminals that can do no more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, TextIO

from bridge.cli.picture import Picture


class Lines:
    """One line per changed value, at most one in `every` seconds for each (the last one is told), and happenings.

    `wall` turns the picture's clock into seconds since the epoch. `first`: also tell the values found at first.
    """

    covers: ClassVar[bool] = False

    def __init__(
        self,
        picture: Picture,
        wall: Callable[[float], float],
        *,
        every: float = 1.0,
        everything: bool = False,
        first: bool = False,
        out: TextIO | None = None,
    ) -> None:
        self._picture, self._wall = picture, wall
        self._every, self._everything, self._first = every, everything, first
        self._out = sys.stdout if out is None else out
        self._told = 0
        self._last: dict[tuple[str, str], float] = {}

    def refresh(self, now: float) -> None:
        """Tell what is new."""
        picture = self._picture
        new = picture.told - self._told
        self._told = picture.told
        for happening in list(picture.recent)[-new:] if new else ():
            self._tell(happening.at, f"{happening.kind}: {happening.text}")
        for at in list(picture.changed):
            if now - self._last.get(at, -self._every) >= self._every:
                del picture.changed[at]
                self._last[at] = now
                self._value(at, now)
        self._out.flush()

    def close(self, now: float) -> None:
        """Tell the rest."""
        self._every = 0.0
        self.refresh(now)

    def _value(self, at: tuple[str, str], now: float) -> None:
        point = self._picture.points.get(at)
        if point is None or not (point.enabled or self._everything):
            return
        if point.changed is not None or self._first:
            name = f"  {point.name}" if point.name else ""
            self._tell(now, f"{point.device}/{point.key} = {point.text}{name}")

    def _tell(self, at: float, text: str) -> None:
        moment = datetime.fromtimestamp(self._wall(at)).astimezone()
        print(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {text}", file=self._out)


def summary(picture: Picture, seconds: float) -> list[str]:
    """What there was, in a few lines."""
    links = ", ".join(f"{name} {device.state}" for name, device in sorted(picture.devices.items())) or "none"
    known = [point for point in picture.points.values() if point.heard]
    moved = sorted((p for p in known if p.changes), key=lambda p: (not p.enabled, -p.changes))
    lines = [
        f"heard in {seconds:.1f} s: {picture.messages} messages, {picture.bytes / 1000:.0f} kB",
        f"devices: {links}",
        f"points: {len(known)} with a value, {len(moved)} of them changed",
    ]
    if moved:
        busiest = ", ".join(f"{p.device}/{p.key} ({p.changes} times)" for p in moved[:3])
        lines.append(f"busiest: {busiest}")
    if picture.outcomes:
        lines.append("answers: " + ", ".join(f"{what} {n}" for what, n in picture.outcomes.most_common()))
    return lines
