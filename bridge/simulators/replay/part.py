"""Plays the device's part of a recording to one client: pure, with time as an argument."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.simulators.replay.matching import Ids, renamed
from bridge.simulators.replay.recording import MESSAGES, Line, Recording
from bridge.simulators.replay.score import Score

PATIENCE = 3.0  # seconds that the device waits for what the client said then
LEAD = 2.0  # seconds that the client may be early
Release = Callable[[], None]  # sends a pong


class Stage(Protocol):
    """The way to the client."""

    def send(self, message: str | bytes) -> None: ...
    def ping(self) -> object: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    def drop(self) -> None: ...


class Part:
    """`hear` and `ping` as the client speaks, `play` when `wake_at` has come and after each of them.

    What the device said comes at its time (divided by `speed`), and not before the client has said what it said
    before it. A client that is late moves all that follows; one that does not come is not waited for any longer
    than PATIENCE (`missed`). A request that the recording has at another place is answered as there; what it has
    nowhere is among the `strangers`. A pong waits for the answers to what came before its ping.
    """

    def __init__(self, recording: Recording, stage: Stage, now: float, speed: float = 1.0) -> None:
        self._score, self._stage, self._speed, self._begun = Score(recording), stage, speed, now
        self._next = 0
        self._come: set[int] = set()  # requests and pings that the client has made
        self._ids: Ids = {}
        self._pongs: dict[int, list[Release]] = {}  # by the line that has to be played first
        self._owed = -1  # the last line that answers what the client has said
        self.wake_at = now
        self.missed: list[Line] = []
        self.strangers: list[str | bytes] = []

    @property
    def over(self) -> bool:
        return self._next >= len(self._score.lines)

    def again(self, now: float) -> None:
        """From the beginning, without waiting for anything: the client has said it all before."""
        self._begun, self._next, self._owed, self.wake_at = now, 0, -1, now
        self._come.update(self._score.requests)

    # --- what the client says --------------------------------------------------------------------------

    def hear(self, message: str | bytes, now: float) -> None:
        found = self._score.find(message, self._expected(self._open(), now))
        if found is not None:
            index, ids = found
            self._come.add(index)
            self._ids |= ids
            self._begun += max(now - self._due(index), 0.0)
            self._owed = max(self._owed, self._score.owed(index))
        elif (known := self._score.nearest(message, self._next)) is not None:
            index, ids = known
            self._come.add(index)
            for answer in self._score.answers(index):
                self._send(self._score.lines[answer].data, ids)
        else:
            self.strangers.append(message)

    def ping(self, release: Release, now: float) -> None:
        """A ping came; `release` sends its pong."""
        pongs, behind = self._score.pongs, self._owed
        # Behind a request that has not come stands another ping than this one.
        until = next((index for index in self._open() if index not in self._come), math.inf)
        open_ = [ping for ping, pong in pongs.items() if pong >= self._next and ping < until]
        if expected := self._expected(open_, now):
            self._come.add(expected[0])
            behind = pongs[expected[0]]
        if behind < self._next:
            release()
        else:
            self._pongs.setdefault(behind, []).append(release)

    def _open(self) -> list[int]:
        """The requests for which it is not too late."""
        return [index for index in self._score.requests if index >= self._next]

    def _expected(self, indices: list[int], now: float) -> list[int]:
        """Those of them that have not come and are due soon."""
        return [index for index in indices if index not in self._come and self._due(index) <= now + LEAD]

    # --- what the device says ----------------------------------------------------------------------------

    def play(self, now: float) -> None:
        """Say all that is due, and set `wake_at`."""
        while not self.over:
            line = self._score.lines[self._next]
            due = self._due(self._next)
            if line.dir == ">" and line.kind in MESSAGES and self._next not in self._come:
                if now < due + PATIENCE:
                    self.wake_at = due + PATIENCE
                    return
                self.missed.append(line)
            elif line.dir == "<" and now < due:
                self.wake_at = due
                return
            elif line.dir == "<":
                self._perform(line)
            for release in self._pongs.pop(self._next, ()):
                release()
            self._next += 1
        self.wake_at = math.inf

    def _perform(self, line: Line) -> None:
        match line.kind, line.data:
            case (("text" | "binary"), data):
                self._send(data, self._ids)
            case "ping", _:
                self._stage.ping()
            case "close", Mapping() as data:
                code = data.get("code")
                if not isinstance(code, int) or code in (1005, 1006):  # there was none
                    code = 1000
                self._stage.close(code, str(data.get("reason", "")))
            case "end", _:
                self._stage.drop()

    def _send(self, data: object, ids: Ids) -> None:
        match data:
            case str():
                self._stage.send(renamed(data, ids))
            case bytes():
                self._stage.send(data)

    def _due(self, index: int) -> float:
        return self._begun + self._score.lines[index].at / self._speed
