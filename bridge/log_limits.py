"""The same warning many times is a few lines and a count: a flood from outside must not flood the log.

Only warnings and errors are limited; what an operator asked for (info, debug, the audit) is told as it happens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

BURST = 5  # lines of one kind that are told in a window
WINDOW = 60.0  # seconds
KINDS = 500  # that are counted apart; over it the oldest are summed up early, and told again


class Window:
    """One kind of line: what was told and what was held back since it began."""

    __slots__ = ("begun", "held", "last", "told")

    def __init__(self, now: float) -> None:
        self.begun, self.told, self.held = now, 0, 0
        self.last: logging.LogRecord | None = None  # the newest that was held back


class Repeats(logging.Filter):
    """For a handler: passes BURST lines of a kind in a WINDOW; the next one begins with how many were held back.

    A kind is a logger, a level, a message and a device. `due` gives what nobody repeats any more, once.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, int, str, str], Window] = {}
        self._over: deque[Window] = deque(maxlen=KINDS)  # that gave way to others, to be summed up

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        now, kind = self._clock(), _kind(record)
        window = self._windows.get(kind)
        if window is None or now - window.begun >= WINDOW:
            self._windows.pop(kind, None)
            self._windows[kind] = fresh = Window(now)
            if window is not None and window.held:
                _count(record, window.held)
            window = fresh
            while len(self._windows) > KINDS:
                oldest = self._windows.pop(next(iter(self._windows)))
                if oldest.held:
                    self._over.append(oldest)
        window.told += 1
        if window.told <= BURST:
            return True
        window.held += 1
        window.last = record
        return False

    def due(self) -> list[logging.LogRecord]:
        """The newest of each kind whose window is over without another one, with how many were held back."""
        now = self._clock()
        over = list(self._over)
        self._over.clear()
        for kind, window in list(self._windows.items()):
            if now - window.begun >= WINDOW:
                over.append(self._windows.pop(kind))
        found = []
        for window in over:
            if window.last is not None:
                _count(window.last, window.held)
                found.append(window.last)
        return found


def _kind(record: logging.LogRecord) -> tuple[str, int, str, str]:
    event = record.msg
    if isinstance(event, dict):  # one of our own, before it is rendered
        return record.name, record.levelno, str(event.get("event")), str(event.get("device", ""))
    return record.name, record.levelno, str(event), ""


def _count(record: logging.LogRecord, held: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "repeated": held}
    else:
        record.msg = f"{record.msg} (repeated {held} times)"
