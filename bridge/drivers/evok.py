"""Evok, the server of Unipi controllers: digital and analogue inputs and outputs, relays, LEDs, 1-Wire sensors.

Evok pushes changes and nothing else: no reply to a command, no error, no word when a board is lost, and many
settings never. So everything is asked for again (`all`) at intervals, and a write counts as done when Evok has
processed it (the fence) and the object shows it. One command is under way at a time, for one to a dead board
blocks the connection.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from bridge.driver import Close, Effect, Effects, Fence, Frame, Plugin, ProtocolError, Send
from bridge.drivers.evok_commands import (
    ACTIONS,
    EVOK_SET,
    PULSE,
    PULSED,
    checked,
    fields_of,
    key_of,
    set_frame,
    touches,
)
from bridge.drivers.evok_counters import MEMORY, Counters
from bridge.drivers.evok_frames import Record, Unreadable, decode
from bridge.drivers.evok_inventory import Inventory
from bridge.drivers.evok_objects import Known
from bridge.drivers.evok_options import EvokOptions, headers
from bridge.drivers.evok_pulses import Pulses
from bridge.drivers.evok_writes import Purpose, Verdict, Write, Writes, answer, setting
from bridge.model import WRITTEN, Command, Condition, Happened, Json, Outcome, Ready, Reply

_ONLY_IN_ALL = frozenset({"run", "device_info", "modbus_slave", "neuron"})
# What may stand in Evok's own filter; it takes the names that it also uses in its frames, and no others.
_FILTERED = frozenset({"di", "do", "ro", "led", "ai", "ao", "wd", "temp", "data_point", "input", "relay"})
_FILTERED_REASON = (
    "Evok applies the event filter to `all`: boards, outputs or settings may be missing. "
    "Set `all_filtered: false` under `apis.websocket` in Evok's configuration and restart Evok."
)
_STUCK_REASON = "Evok has been working on a command for more than 5 s: a board does not answer and blocks the rest"


class Evok:
    """One connection to Evok."""

    def __init__(self, options: EvokOptions, memory: Mapping[str, Json], carried: Sequence[Command]) -> None:
        self._options = options
        self._durable = memory.get("_durable") is True or options.pulse_without_state
        self._inventory = Inventory(options.devices, ACTIONS)
        self._counters = Counters(memory.get(MEMORY))
        self._writes = Writes()
        self._pulses = Pulses(self._inventory, self._writes, memory, carried)
        self._asks: deque[float] = deque(maxlen=16)  # when `all` was sent, of those without a reply
        self._asked_at = -math.inf
        self._next_all = math.inf
        self._early: dict[tuple[str, str], Record] = {}  # events before the first `all`
        self._conclude_at = math.inf  # then it is clear that `all` does not give everything
        self._ready = False
        self._filtered = False
        self._filter: tuple[str, ...] | None = None
        self._condition = ""
        self._unreadable = 0

    # --- the connection ---------------------------------------------------------------------------------

    def start(self, now: float) -> Effects:
        effects = [*self._pulses.start(now), *self._ask(now), Fence("all")]
        self._next_all = now + 2.0  # Evok may have started just now, and then the first reply has gaps
        return effects

    def receive(self, frame: Frame, now: float) -> Effects:
        try:
            records, skipped = decode(frame)
        except Unreadable as error:
            return self._not_json(error)
        self._unreadable = -1
        for record in records:
            if record.dev in _ONLY_IN_ALL:
                complete = bool(self._asks) and len(records) > 1  # later versions push boards, one at a time
                return self._take(records, skipped, complete, now)
        if not self._ready:
            if len(self._early) < 10_000:
                self._early.update(((record.dev, record.circuit), record) for record in records)
            return ()
        if skipped or not self._inventory.known(records):
            return self._take(records, skipped, False, now)
        effects: list[Effect] = []
        self._observe(records, effects, now)
        return effects

    def _take(self, records: Sequence[Record], skipped: int, complete: bool, now: float) -> Effects:
        """Records that may need new points: all of an `all`, and unknown or changed objects of an event."""
        effects: list[Effect] = []
        if skipped:
            effects += self._inventory.unexpected("message without dev and circuit")
        effects += self._errors(records, now)
        effects += self._inventory.declare([record for record in records if record.success is None])
        self._observe(records, effects, now, self._asks.popleft() if complete else None)
        effects += self._counters.gap()
        if complete:
            self._filtered = False
            effects += self._pulses.end_late(now)
            effects += self._greet()
            effects += self._tell_filter()
            effects += self._conditions(now)
        return effects

    def _observe(
        self, records: Sequence[Record], effects: list[Effect], now: float, asked_at: float | None = None
    ) -> None:
        events, changed = self._inventory.observe(records, asked_at is not None)
        effects += events
        for known in changed:
            if known.kind == "di" and (counter := known.shown.get("counter")) is not None:
                self._counters.note(counter.key, counter.value)
        if changed:
            effects += self._counters.save(now)
        if self._writes:
            for write, verdict in self._writes.settled(asked_at):
                effects += self._settle(write, verdict, now)
        if asked_at is None and self._inventory.boards.any_silent:
            self._next_all = min(self._next_all, max(now, self._asked_at + 1.0))  # a lost board may be back

    def _errors(self, records: Sequence[Record], now: float) -> Iterator[Effect]:
        """Coming versions of Evok report errors; they belong to the command that it works on."""
        for record in records:
            if record.success is False:
                text = bytes(record.errors).decode()[:500]
                write = self._writes.refused()
                if write is None:
                    yield from self._inventory.unexpected(f"error reported: {text}")
                elif write.purpose is Purpose.SET and write.command is not None:
                    yield Reply(write.command.id, Outcome.FAILED, f"Evok refused it: {text}")
                else:
                    yield from self._pulses.settled(write, Verdict.HIDDEN, now)

    def _not_json(self, error: Unreadable) -> Effects:
        if self._unreadable >= 0:
            self._unreadable += 1
            if self._unreadable >= 3:
                raise ProtocolError(f"the first three frames are no JSON, so this is not Evok ({error})")
        return list(self._inventory.unexpected("frame that is no JSON"))

    def _greet(self) -> Iterator[Effect]:
        if not self._ready:
            self._ready = True
            self._early.clear()
            version = "v2" if self._inventory.wire_names & {"input", "relay"} else "v3"
            told = {"evok": version, "sw_version": f"Evok {version}"}
            yield Ready(self._inventory.boards.info() | told)

    def _conclude(self, now: float) -> Iterator[Effect]:
        """The reply to `all` has passed and was not complete: go on with what there is."""
        self._conclude_at = math.inf
        if not self._ready:
            if not any(dev for dev, _ in self._early) and (self._early or self._unreadable > 0):
                yield Close("it answers, but not as Evok does, so this is another device")
                return
            self._filtered = True
            yield from self._take(list(self._early.values()), 0, False, now)
            yield from self._greet()

    def _tell_filter(self) -> Iterator[Effect]:
        names = tuple(sorted(self._inventory.wire_names & _FILTERED))
        if self._options.filter_on_evok and self._options.devices and names != self._filter:
            self._filter = names
            yield Send(json.dumps({"cmd": "filter", "devices": names}))

    def _ask(self, now: float) -> Iterator[Effect]:
        self._asks.append(now)
        self._asked_at = now
        self._next_all = now + self._options.poll
        self._writes.asked(now)
        yield Send('{"cmd": "all"}')

    def _conditions(self, now: float) -> Iterator[Effect]:
        stuck = self._writes.stuck(now)
        state = "stuck" if stuck else "filtered" if self._filtered else ""
        if state != self._condition:
            self._condition = state
            yield Condition(state, _STUCK_REASON if stuck else _FILTERED_REASON if state else "")

    # --- commands ---------------------------------------------------------------------------------------

    def submit(self, command: Command, now: float) -> Effects:
        try:
            if command.key == PULSE.key:
                return list(self._pulse(command, now))
            if command.key == EVOK_SET.key:
                args = EVOK_SET.arguments_of(command.args)
                return list(self._set(self._find(key_of(args)), fields_of(args), command, now))
            known = self._find(command.key)
            if command.key not in known.points or known.points[command.key].kind not in WRITTEN:
                raise ValueError(f"{command.key} is not written")
            return list(self._set(known, {known.field_of(command.key): command.value}, command, now))
        except ValueError as error:
            return [Reply(command.id, Outcome.REJECTED, str(error))]

    def _find(self, key: str) -> Known:
        """The object behind a point; ValueError when there is none."""
        known = self._inventory.find(key)
        if known is None:
            raise ValueError(f"there is no {key}")
        return known

    def _pulse(self, command: Command, now: float) -> Iterator[Effect]:
        args = PULSE.arguments_of(command.args)
        key = str(args["point"])
        known = self._find(key)
        if known.kind not in PULSED or key != known.key:
            raise ValueError(f"{key} cannot be pulsed: it is no digital output, relay or LED")
        if known.kind != "do" and not self._durable:
            raise ValueError(
                f"without a state directory nobody would remember to switch {key} off after a crash "
                "(`pulse_without_state = true` allows it)"
            )
        if why := self._inventory.boards.silence(known.group):
            yield Reply(command.id, Outcome.UNAVAILABLE, why)
            return
        yield from self._pulses.begin(known, command, float(str(args["seconds"])), now)

    def unsent(self, command: str, now: float) -> Effects:
        return list(self._pulses.unsent(command))

    def _set(self, known: Known, fields: Mapping[str, Json], command: Command, now: float) -> Iterator[Effect]:
        accepted = checked(known, fields)
        if why := self._inventory.boards.silence(known.group):
            yield Reply(command.id, Outcome.UNAVAILABLE, why)
            return
        settle = self._inventory.boards.settling(known.group, known.kind in ("ai", "ao"))
        write = setting(known, accepted, command, settle, now)
        yield from self._pulses.overtaken(write)
        yield from self._writes.send(write, set_frame(known, accepted), now)

    def _settle(self, write: Write, verdict: Verdict, now: float) -> Iterator[Effect]:
        """Answer a write, with the real state before the answer: whoever showed the wish as fact snaps back."""
        if verdict is not Verdict.SHOWN:
            self._next_all = min(self._next_all, now + 5.0)  # its board may be lost: soon that can be told
        for goal in write.goals:
            if (update := write.known.shown.get(goal.field)) is not None:
                yield update
        if write.purpose is not Purpose.SET:
            yield from self._pulses.settled(write, verdict, now)
        elif write.command is not None:
            silence = self._inventory.boards.silence(write.known.group)
            yield answer(write, write.command, verdict, self._writes.processed(write), silence)

    # --- time -------------------------------------------------------------------------------------------

    def fenced(self, token: str, now: float) -> Effects:
        if token == "all":  # noqa: S105  (a fence, no secret)
            self._conclude_at = now + 1.0  # the pong may overtake the reply inside our own queues
            return ()
        write = self._writes.fenced(token, now)
        if write is None:
            return ()
        effects = list(self._pulses.fenced(write, now))
        if write.purpose is Purpose.SET and write.command is not None and not self._writes.waiting(write):
            late: dict[str, Json] = {"id": write.command.id, "point": write.known.key, "late": True}
            effects.append(Happened("processed", late))
        for settled, verdict in self._writes.settled():
            effects += self._settle(settled, verdict, now)
        effects += self._conditions(now)
        return effects

    def computed(self, token: str, result: object, now: float) -> Effects:
        return ()

    def tick(self, now: float) -> Effects:
        effects: list[Effect] = []
        for write, verdict in self._writes.expired(now):
            effects += self._settle(write, verdict, now)
        effects += self._pulses.tick(now)
        if self._conclude_at <= now:
            effects += self._conclude(now)
        if self._next_all <= now or self._writes.wants_all(now):
            effects += self._ask(now)
        effects += self._counters.save(now)
        effects += self._conditions(now)
        effects += self._writes.give_up(now)
        return effects

    @property
    def wake_at(self) -> float | None:
        due = min(
            self._next_all, self._conclude_at, self._counters.due, self._writes.wake_at, self._pulses.wake_at
        )
        return due if due < math.inf else None

    @property
    def busy(self) -> bool:
        return self._writes.busy


# No ping timeout under 30 s: a `set` to a dead board keeps Evok from answering pings for seconds.
plugin = Plugin(EvokOptions, Evok, ping=20.0, ping_timeout=60.0, touches=touches, headers=headers)
