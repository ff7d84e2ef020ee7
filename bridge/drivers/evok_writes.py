"""Writes under way: sent, processed (the fence has passed), shown.

Evok confirms nothing. A write is proved by the fence and by the object then showing what was wanted. What a reply
to `all` says right after a write is old in 97 of 100 cases: nothing is judged by one that was asked for too early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from msgspec import Struct

from bridge.driver import Close, Effect, Fence, Send
from bridge.drivers.evok_commands import FIELDS, same, written
from bridge.drivers.evok_objects import Known
from bridge.model import Command, Outcome, Reply, Scalar

TIMEOUT = 10.0  # seconds, when the command says nothing
SLOW = 5.0  # seconds: a fence that has not passed by then is worth mentioning
LOST = 30.0  # seconds: then the connection is given up


class Purpose(Enum):
    SET = "set"
    PULSE_ON = "pulse on"
    PULSE_OFF = "pulse off"
    LATE_OFF = "late off"  # the end of a pulse that an earlier connection began


class Verdict(Enum):
    SHOWN = "shown"
    HIDDEN = "processed, not shown"
    TIMEOUT = "timeout"


class Goal(Struct, frozen=True):
    """This field of this object should show that."""

    known: Known
    field: str
    wanted: Scalar
    step: float | None = None

    @property
    def shown(self) -> Scalar:
        if self.field == "alias":  # no point, but each `all` tells it
            return self.known.alias if isinstance(self.known.alias, str) else ""
        update = self.known.shown.get(self.field)
        return update.value if update else None

    @property
    def reached(self) -> bool:
        return same(self.shown, self.wanted, self.step)


@dataclass(slots=True, eq=False)
class Write:
    """One `set` on its way. `due`: waiting for it ends; `settle`: seconds from the fence to a fair judgement."""

    purpose: Purpose
    known: Known
    goals: tuple[Goal, ...]
    command: Command | None
    due: float
    settle: float
    unseen: tuple[str, ...] = ()  # fields that Evok never shows
    already: bool = False  # it was shown before
    wary: bool = False  # so what is shown proves nothing until it can be judged
    judge_at: float = math.inf

    @property
    def sets_value(self) -> bool:
        return any(goal.field == "value" for goal in self.goals)

    def overlaps(self, other: Write) -> bool:
        mine = {(goal.known.key, goal.field) for goal in self.goals}
        return any((goal.known.key, goal.field) in mine for goal in other.goals)


def setting(known: Known, fields: Mapping[str, Scalar], command: Command, settle: float, now: float) -> Write:
    """The write of these fields; they were checked."""
    takes = FIELDS[known.kind]
    shown = [name for name in fields if takes[name].point or name == "alias"]
    # How long a value holds is not shown, but neither does it make the value doubtful.
    unseen = tuple(name for name in fields if name not in shown and (known.kind, name) != ("do", "timeout"))
    goals = tuple(Goal(known, name, fields[name], known.step_of(name)) for name in shown)
    timeout = TIMEOUT if command.timeout is None else command.timeout
    return Write(Purpose.SET, known, goals, command, now + timeout, settle, unseen)


def answer(write: Write, command: Command, verdict: Verdict, processed: bool, silence: str) -> Reply:
    """What to say of a setting that has come to its end. `silence`: why its board counts as lost."""
    goals = write.goals
    data: Scalar = goals[0].shown if len(goals) == 1 else None
    if verdict is Verdict.SHOWN and not write.unseen:
        return Reply(command.id, Outcome.DONE, "it showed that already" if write.already else "", data)
    if verdict is Verdict.SHOWN:
        detail = f"processed, but Evok does not report {', '.join(write.unseen)}"
    elif not processed:
        detail = "sent, but not processed in time: a board that does not answer blocks Evok"
    else:
        shown = ", ".join(f"{goal.field} is {written(goal.shown)}" for goal in goals)
        detail = f"processed, but {write.known.key} does not show it: {shown}"
    return Reply(command.id, Outcome.UNKNOWN, f"{detail} ({silence})" if silence else detail, data)


class Writes:
    """All writes under way and the fences behind them."""

    def __init__(self) -> None:
        self._open: list[Write] = []
        self._fences: dict[str, tuple[float, Write]] = {}  # when sent
        self._turn = 0
        self._asked_at = -math.inf  # the newest `all`
        self._stuck = False
        self._closing = False

    @property
    def busy(self) -> bool:
        return bool(self._fences)

    def __bool__(self) -> bool:
        return bool(self._open)

    def send(self, write: Write, frame: str, now: float) -> Iterator[Effect]:
        """Send it, with a fence behind it."""
        write.already = bool(write.goals) and all(goal.reached for goal in write.goals)
        write.wary = write.already and write.purpose in (Purpose.PULSE_OFF, Purpose.LATE_OFF)
        self._turn += 1
        token = f"set:{self._turn}"
        self._open.append(write)
        self._fences[token] = now, write
        yield Send(frame, write.command.id if write.command else None)
        yield Fence(token)

    def watch(self, write: Write, judge_at: float) -> None:
        """Wait for something that Evok does by itself."""
        write.judge_at = judge_at
        self._open.append(write)

    def fenced(self, token: str, now: float) -> Write | None:
        """The write that was just processed; None for other fences."""
        entry = self._fences.pop(token, None)
        if entry is None:
            return None
        entry[1].judge_at = now + entry[1].settle
        return entry[1]

    def refused(self) -> Write | None:
        """Evok reports an error: that of the oldest write it has not finished, if somebody still waits for it."""
        _, write = next(iter(self._fences.values()), (0.0, None))
        if write is None or write not in self._open:
            return None
        self._open.remove(write)
        return write

    def waiting(self, write: Write) -> bool:
        return write in self._open

    def processed(self, write: Write) -> bool:
        return all(write is not other for _, other in self._fences.values())

    def overtake(self, newer: Write) -> list[Write]:
        """Drop what this newer write makes pointless."""
        older = [write for write in self._open if write.overlaps(newer)]
        self._open = [write for write in self._open if write not in older]
        return older

    def drop(self, known: Known, purpose: Purpose) -> None:
        self._open = [write for write in self._open if write.known is not known or write.purpose is not purpose]

    def asked(self, now: float) -> None:
        """An `all` goes out."""
        self._asked_at = now

    def settled(self, asked_at: float | None = None) -> Iterator[tuple[Write, Verdict]]:
        """Writes of which the end is known now; `asked_at`: when the `all` was sent whose reply just came."""
        for write in tuple(self._open):
            if not self.processed(write):
                continue
            judged = asked_at is not None and asked_at >= write.judge_at
            shown = all(goal.reached for goal in write.goals)
            if judged or (shown and not write.wary):
                self._open.remove(write)
                yield write, Verdict.SHOWN if shown else Verdict.HIDDEN

    def expired(self, now: float) -> Iterator[tuple[Write, Verdict]]:
        """Writes for which nobody waits any longer."""
        for write in tuple(self._open):
            if write.due <= now:
                self._open.remove(write)
                yield write, Verdict.TIMEOUT

    def stuck(self, now: float) -> bool:
        """Evok works on a command for suspiciously long: its connection is blocked by a board."""
        self._stuck = any(sent + SLOW <= now for sent, _ in self._fences.values())
        return self._stuck

    def give_up(self, now: float) -> Iterator[Close]:
        if not self._closing and any(sent + LOST <= now for sent, _ in self._fences.values()):
            self._closing = True
            yield Close(f"Evok has not processed a command within {LOST:g} s")

    def wants_all(self, now: float) -> bool:
        """A write is due to be judged, and no `all` asked for so far can tell."""
        return any(self._asked_at < write.judge_at <= now for write in self._open)

    @property
    def wake_at(self) -> float:
        """When one of the above has something new to say; inf: never."""
        if not self._open and not self._fences:
            return math.inf
        dues = [write.due for write in self._open]
        dues += [write.judge_at for write in self._open if write.judge_at > self._asked_at]
        if not self._closing:
            dues += [sent + (LOST if self._stuck else SLOW) for sent, _ in self._fences.values()]
        return min(dues, default=math.inf)
