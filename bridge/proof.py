"""How old may a command be that just arrived? What the canary proves about the line to the broker.

A publisher's own time is seldom known. But a message that we published ourselves and got back proves that
whatever comes after it was published after it. Nothing else proves anything: a proxy ends or refuses connections
on its own, and an acknowledgement may have been on its way for long. On a new connection to an old session, before
the first canary is back, the last one of the old connection still holds: what came after it may have waited since.
"""

from __future__ import annotations

import math

CANARY = 1.0  # seconds between canaries
SLOW = 1.0  # seconds: a canary that takes longer came through a line that was stalled
KEPT = 32  # canaries that may be out; where none may be read they never come back


class Proof:
    """All times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._bound = -math.inf  # nothing that arrives now was published before this ...
        self._fresh = False  # ... and in truth it was published just now
        self._sent = -math.inf  # the newest canary
        self._out: dict[bytes, float] = {}  # canaries not yet back
        self.round_trip: float | None = None

    def connected(self, now: float, *, session_present: bool) -> None:
        """A new connection. Without an old session the broker kept nothing for us."""
        self._fresh = not session_present
        if not session_present:
            self._bound = self._sent = now
        self._out.clear()
        self.round_trip = None

    def sent(self, token: bytes, now: float) -> None:
        if self._late(now):
            self._fresh = False  # until this one is back
        self._out[token] = self._sent = now
        if len(self._out) > KEPT:
            del self._out[next(iter(self._out))]

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
        """The greatest age, in seconds, that what arrives now may have; inf: nothing is known.

        Zero only while canaries come and go.
        """
        if self._fresh and self.waiting(now) <= SLOW and not self._late(now):
            return 0.0
        return max(0.0, now - self._bound)

    def _late(self, now: float) -> bool:
        """No canary went out for long: this process itself was stopped, or could not send."""
        return now - self._sent > CANARY + SLOW
