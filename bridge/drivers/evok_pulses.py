"""Pulses: on, for so many seconds, and off again, whatever happens in between.

Digital outputs have a timer in Evok. Relays and LEDs have none, so their end is remembered before ON goes out;
whoever finds such a memory after a lost connection or a restart sends OFF at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.driver import Effect, Hold, Remember
from bridge.drivers.evok_boards import Boards
from bridge.drivers.evok_commands import set_frame
from bridge.drivers.evok_inventory import Inventory
from bridge.drivers.evok_objects import Known
from bridge.drivers.evok_writes import Goal, Purpose, Verdict, Write, Writes
from bridge.model import Command, Happened, Json, Outcome, Reply, Scalar

MEMORY = "pulse:"  # and the point's key
EDGE = 10.0  # seconds for an edge to show
OVERTAKEN = "overtaken by a later write"


@dataclass(slots=True, eq=False)
class Pulse:
    """One pulse on its way. `off_at`: when we send OFF; inf: not yet known, or Evok does."""

    known: Known
    command: Command
    seconds: float
    due: float
    off_at: float = math.inf
    accepted: bool = False
    answered: bool = False
    inherits: bool = False  # it took the place of another, whose end is now its own

    @property
    def timed_by_evok(self) -> bool:
        return self.known.kind == "do"

    def answer(self, outcome: Outcome, detail: str = "") -> Iterator[Reply]:
        """The final reply, once."""
        if not self.answered:
            self.answered = True
            yield Reply(self.command.id, outcome, detail)


@dataclass(slots=True, eq=False)
class Late:
    """A pulse that an earlier connection began and did not end."""

    remembered: Mapping[str, Json]
    command: Command | None = None
    sent: bool = False

    def answer(self, detail: str) -> Iterator[Reply]:
        if self.command is not None:
            yield Reply(self.command.id, Outcome.UNKNOWN, detail)
            self.command = None


class Pulses:
    """Pulses under way and those left over, by their point's key."""

    def __init__(
        self, inventory: Inventory, writes: Writes, memory: Mapping[str, Json], carried: Sequence[Command]
    ) -> None:
        self._inventory = inventory
        self._boards: Boards = inventory.boards
        self._writes = writes
        self._active: dict[str, Pulse] = {}
        self._late: dict[str, Late] = {}
        self._obsolete: set[str] = set()  # remembered, and overtaken by a write that is not processed yet
        waiting = {command.id: command for command in carried}
        for key, value in memory.items():
            if key.startswith(MEMORY) and value is not None:
                remembered = value if isinstance(value, Mapping) else {}
                command = waiting.pop(str(remembered.get("id")), None)
                self._late[key.removeprefix(MEMORY)] = Late(remembered, command)
        self._strangers = tuple(waiting.values())

    def start(self, now: float) -> Iterator[Effect]:
        for command in self._strangers:
            yield Reply(command.id, Outcome.UNKNOWN, "the connection was lost while it was under way")
        for late in self._late.values():
            if late.command is not None:
                yield Hold(late.command.id, now + 60.0)

    def begin(self, known: Known, command: Command, seconds: float, now: float) -> Iterator[Effect]:
        """Switch on, after it is on record that somebody must switch off."""
        pulse = Pulse(known, command, seconds, now + seconds + 2 * EDGE)
        if command.timeout is not None:
            pulse.due = now + command.timeout
        fields: dict[str, Scalar] = {"value": True}
        write = self._write(Purpose.PULSE_ON, known, True, command, now)
        pulse.inherits = known.key in self._active or known.key in self._late
        yield from self.overtaken(write)
        if pulse.timed_by_evok:
            fields["timeout"] = seconds
        else:
            self._obsolete.discard(known.key)
            yield Remember(MEMORY + known.key, {"id": command.id, "seconds": seconds})
            yield Hold(command.id, now + seconds + 60.0)
        self._active[known.key] = pulse
        yield from self._writes.send(write, set_frame(known, fields), now)

    def unsent(self, command: str) -> Iterator[Effect]:
        """It was not switched on, so that it need not be switched off, unless an earlier one did it."""
        for key, pulse in tuple(self._active.items()):
            if pulse.command.id == command and not pulse.inherits:
                del self._active[key]
                self._writes.drop(pulse.known, Purpose.PULSE_ON)
                yield Remember(MEMORY + key, None)

    def _write(self, purpose: Purpose, known: Known, on: bool, command: Command | None, now: float) -> Write:
        settle = self._boards.settling(known.group, analog=False)
        return Write(purpose, known, (Goal(known, "value", on),), command, now + EDGE, settle)

    def overtaken(self, newer: Write) -> Iterator[Effect]:
        """End the waiting of writes and pulses that this newer write makes pointless."""
        for write in self._writes.overtake(newer):
            if write.purpose is Purpose.SET and write.command is not None:
                yield Reply(write.command.id, Outcome.UNKNOWN, OVERTAKEN)
        key = newer.known.key
        if not newer.sets_value:
            return
        pulse, late = self._active.pop(key, None), self._late.pop(key, None)
        if pulse is not None:
            yield from pulse.answer(Outcome.UNKNOWN, OVERTAKEN)
        if late is not None:
            yield from late.answer(OVERTAKEN)
        if late is not None or (pulse is not None and not pulse.timed_by_evok):
            self._obsolete.add(key)

    def fenced(self, write: Write, now: float) -> Iterator[Effect]:
        """A write was processed."""
        key = write.known.key
        pulse = self._active.get(key)
        if write.purpose is Purpose.PULSE_ON and pulse is not None and write.command is pulse.command:
            if not pulse.timed_by_evok:
                pulse.off_at = now + pulse.seconds
        elif key in self._obsolete and write.purpose is Purpose.SET and write.sets_value:
            self._obsolete.discard(key)
            yield Remember(MEMORY + key, None)

    def settled(self, write: Write, verdict: Verdict, now: float) -> Iterator[Effect]:
        """One edge of a pulse has shown, or will not."""
        key = write.known.key
        if verdict is Verdict.SHOWN and self._boards.silence(write.known.group):
            verdict = Verdict.HIDDEN  # what a lost board showed last
        if write.purpose is Purpose.LATE_OFF:
            yield from self._ended_late(key, verdict)
            return
        pulse = self._active.get(key)
        if pulse is None:
            return
        if write.purpose is Purpose.PULSE_ON:
            yield from self._began(pulse, write, verdict, now)
        else:
            yield from self._ended(pulse, verdict)

    def _began(self, pulse: Pulse, write: Write, verdict: Verdict, now: float) -> Iterator[Effect]:
        if verdict is Verdict.SHOWN:
            pulse.accepted = True
            if not pulse.answered:
                yield Reply(pulse.command.id, Outcome.ACCEPTED, f"{pulse.known.key} is ON")
            if pulse.timed_by_evok:
                end = self._write(Purpose.PULSE_OFF, pulse.known, False, pulse.command, now + pulse.seconds)
                self._writes.watch(end, now + pulse.seconds + end.settle)
            return
        processed = self._writes.processed(write)
        yield from pulse.answer(
            Outcome.UNKNOWN,
            f"{'processed' if processed else 'sent, not processed yet'}, but {pulse.known.key} did not show ON",
        )
        if pulse.timed_by_evok:
            del self._active[pulse.known.key]

    def _ended(self, pulse: Pulse, verdict: Verdict) -> Iterator[Effect]:
        key = pulse.known.key
        del self._active[key]
        if verdict is not Verdict.SHOWN:
            yield from pulse.answer(Outcome.UNKNOWN, f"it was switched on, and {key} does not show OFF again")
            if not pulse.timed_by_evok:  # the next `all` tries again
                self._late[key] = Late({"id": pulse.command.id, "seconds": pulse.seconds})
            return
        if not pulse.timed_by_evok:
            yield Remember(MEMORY + key, None)
        if pulse.accepted:
            yield from pulse.answer(Outcome.DONE)
        else:
            yield from pulse.answer(Outcome.UNKNOWN, f"processed, but {key} never showed ON")

    def _ended_late(self, key: str, verdict: Verdict) -> Iterator[Effect]:
        late = self._late.get(key)
        if late is None:
            return
        if verdict is not Verdict.SHOWN:
            late.sent = False
            yield from late.answer(f"the connection was lost during the pulse, and {key} does not show OFF yet")
            return
        del self._late[key]
        yield Remember(MEMORY + key, None)
        yield Happened("pulse_late", {"point": key, **late.remembered})
        yield from late.answer("the connection was lost during the pulse; it was switched off late")

    def end_late(self, now: float) -> Iterator[Effect]:
        """Switch off what an earlier connection left on. For each `all`: a board may have been away."""
        for key, late in tuple(self._late.items()):
            known = self._inventory.find(key)
            if known is None or known.kind not in ("do", "ro", "led"):
                yield from late.answer(
                    f"the connection was lost during the pulse, and {key} is not there to be ended"
                )
            elif why := self._boards.silence(known.group):
                yield from late.answer(f"the connection was lost during the pulse, and it cannot be ended: {why}")
            elif not late.sent:
                late.sent = True
                write = self._write(Purpose.LATE_OFF, known, False, None, now)
                yield from self._writes.send(write, set_frame(known, {"value": False}), now)

    def tick(self, now: float) -> Iterator[Effect]:
        for pulse in tuple(self._active.values()):
            if pulse.off_at <= now:
                pulse.off_at = math.inf
                self._writes.drop(pulse.known, Purpose.PULSE_ON)
                write = self._write(Purpose.PULSE_OFF, pulse.known, False, None, now)
                yield from self._writes.send(write, set_frame(pulse.known, {"value": False}), now)
            if pulse.due <= now:
                yield from pulse.answer(Outcome.UNKNOWN, "it did not end in time")

    @property
    def wake_at(self) -> float:
        if not self._active:
            return math.inf
        dues = [pulse.off_at for pulse in self._active.values()]
        dues += [pulse.due for pulse in self._active.values() if not pulse.answered]
        return min(dues, default=math.inf)
