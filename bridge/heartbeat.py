"""Pings of one connection: as keepalive, and as fences behind which all that was sent before is processed."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

MOST = 1000  # pings that may be out where their pongs may stay away for ever


@dataclass(frozen=True, slots=True)
class Pings:
    interval: float | None  # seconds without one of ours until the next; None: never by themselves
    timeout: float | None  # seconds until a missing pong means that the peer is dead; None: never


class Heartbeat:
    """Says what to send and what a pong means; all times are of one monotonic clock."""

    def __init__(self, pings: Pings, now: float) -> None:
        self._pings = pings
        self._flying: deque[tuple[bytes, str | None, float]] = deque(maxlen=MOST)  # payload, fence's token, when
        self._count = 0
        self.next = now + pings.interval if pings.interval else math.inf  # when a keepalive is due

    def ping(self, now: float, token: str | None = None) -> bytes:
        """The payload of the next ping; with a token it is a fence."""
        self._count += 1
        payload = b"%d" % self._count
        self._flying.append((payload, token, now))
        self.next = now + self._pings.interval if self._pings.interval else math.inf
        return payload

    def pong(self, payload: bytes, now: float) -> tuple[list[str], float | None]:
        """The fences that this pong passes (its own and those before it), and its round trip in seconds."""
        if all(flying[0] != payload for flying in self._flying):
            return [], None  # unsolicited: a peer may send them as a heartbeat of its own
        passed: list[str] = []
        while True:
            sent, token, at = self._flying.popleft()
            if token is not None:
                passed.append(token)
            if sent == payload:
                return passed, now - at

    def overdue(self, now: float) -> bool:
        return now >= self._deadline

    @property
    def due(self) -> float:
        """When there is something to send or to give up."""
        return min(self.next, self._deadline)

    @property
    def _deadline(self) -> float:
        if not self._pings.timeout or not self._flying:
            return math.inf
        return self._flying[0][2] + self._pings.timeout
