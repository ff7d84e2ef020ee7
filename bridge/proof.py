"""How old may a command be that just arrived? What the canary proves about the line to the broker.

A publisher's own time is seldom known. But a message that we published ourselves and got back proves that whatever
comes after it was sent after it. On a new connection to an old session, before the first canary is back, all that
is known is when the old line was last alive.
"""

from __future__ import annotations

import math

SLOW = 1.0  # seconds: a canary that takes longer came through a line that was stalled


class Proof:
    """All times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._alive = -math.inf  # when the line was last alive, on whatever connection
        self._bound = -math.inf  # nothing that arrives now was published before this ...
        self._fresh = False  # ... and in truth it was published just now
        self._out: dict[bytes, float] = {}  # canaries not yet back
        self.round_trip: float | None = None

    def connected(self, now: float, *, session_present: bool) -> None:
        """A new connection. Without an old session the broker kept nothing for us."""
        self._fresh = not session_present
        self._bound = self._alive if session_present else now
        self._out.clear()
        self.round_trip = None

    def heard(self, now: float) -> None:
        """Something came from the broker, be it the orderly end of the connection."""
        self._alive = now

    def sent(self, token: bytes, now: float) -> None:
        self._out[token] = now

    def returned(self, token: bytes, now: float) -> bool:
        """A canary is back; False when it is none of this connection's."""
        sent = self._out.pop(token, None)
        if sent is None:
            return False
        self._bound, self.round_trip = sent, now - sent
        self._fresh = self.round_trip <= SLOW
        return True

    def waiting(self, now: float) -> float:
        """For how long the oldest canary has been out; 0: none is."""
        return now - min(self._out.values(), default=now)

    def age(self, now: float) -> float:
        """The greatest age, in seconds, that what arrives now may have; inf: nothing is known."""
        if self._fresh and self.waiting(now) <= SLOW:
            return 0.0
        return max(0.0, now - self._bound)
