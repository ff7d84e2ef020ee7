"""While the daemon lives, every command gets exactly one final answer, whatever drivers, lines and clocks do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge import payload
from bridge.commands import Ticket
from bridge.device import Device, Profile
from bridge.link import State
from bridge.model import (
    Argument,
    Command,
    Declared,
    GroupState,
    GroupStatus,
    Json,
    Kind,
    Outcome,
    Point,
    Policy,
    Ready,
    Reply,
    Update,
)
from bridge.outbox import Lane, Outbox, Publication
from bridge.overlay import Preset
from bridge.topics import DeviceTopics

SELDOM = Policy(min_interval=5.0)  # so that there is something to hold back when a command is done
OWN = (
    Point("lamp", Kind.SWITCH, "Lamp"),
    Point("gain", Kind.NUMBER, "Gain", policy=SELDOM),
    Point("go", Kind.ACTION, "Go", arguments=(Argument("far", "boolean"),), timeout=None),
    Point("stop", Kind.ACTION, "Stop", urgent=True),
)
ARM = (
    Point("arm/angle", Kind.NUMBER, "Angle", "arm", policy=SELDOM),
    Point("arm/park", Kind.ACTION, "Park", "arm"),
)
MEASURED = ("gain", "arm/angle")
SET, CALLED = ("gain", "arm/angle", "lamp"), ("go", "arm/park", "stop", "preset/far", "nose")
BACKLOG = 4
SAFE = frozenset({Outcome.REJECTED, Outcome.EXPIRED, Outcome.UNAVAILABLE, Outcome.SUPERSEDED})

Wish = tuple[str, Json, int, float, float | None, Json]
WISHES = st.tuples(
    st.sampled_from((*SET, *SET, *CALLED)),
    st.sampled_from([1, 1, "1", "nonsense"]),  # the value
    st.integers(0, 20),  # 0 to 2: with the id of an earlier one
    st.sampled_from([5.0, 100.0, 0.5, 0.0]),  # seconds until it expires
    st.sampled_from([None, 1.0, 20.0, 0.0]),  # the timeout
    st.sampled_from([None, None, None, 1.0]),  # expect
)
DEEDS = st.tuples(
    st.sampled_from(["send", "hold", "reply", "reply"]),
    st.integers(0, 4),  # of the latest commands, and what nobody asked for
    st.sampled_from(Outcome),
    st.booleans(),  # with a state that proves it
)
BUSY = st.sampled_from([False, False, True])
ARM_THERE = st.sampled_from([True, True, False])


@dataclass(eq=False)
class Submission:
    """What was asked, and what became of it."""

    number: int
    id: str
    key: str
    expires_at: float
    given: bool = False
    sent: bool = False
    held: bool = False
    answers: list[Reply] = field(default_factory=list)

    @property
    def final(self) -> bool:
        return any(reply.outcome.final for reply in self.answers)


@dataclass(eq=False)
class Scripted:
    """The side of the driver: says nothing by itself, and remembers what it was given."""

    machine: Promise
    busy: bool = False

    def submit(self, command: Command) -> None:
        self.machine.give(self, command)


class Promise(RuleBasedStateMachine):
    @initialize(arm=ARM_THERE, busy=BUSY)
    def begin(self, arm: bool, busy: bool) -> None:
        self.now, self.wall = 100.0, 1.7e9
        self.count = 0
        self.all: list[Submission] = []
        self.carrier: Scripted | None = None
        self.arm = GroupState.GONE
        self.topics = DeviceTopics("lab2mqtt", "toy")
        self.outbox = Outbox()
        self.retained: dict[str, bytes] = {}
        self.answered: list[tuple[str, float]] = []  # by number: a state topic, and what it must show
        self.device = self.made()
        self.connect(arm, busy)

    def made(self) -> Device:
        profile = Profile("toy", "test", presets={"far": Preset("go", {"far": True})}, backlog=BACKLOG)
        return Device(profile, self.topics, self.outbox, self.answer)

    # --- what the device does --------------------------------------------------------------------------

    def give(self, carrier: Scripted, command: Command) -> None:
        submission = self.open(command.id)
        assert submission is not None, "given after its final answer"
        assert not submission.given, "given twice"
        assert carrier is self.carrier, "given to a connection that is over"
        assert self.device.ready
        assert submission.expires_at > self.now, "given too late"
        urgent = submission.key == "stop"
        assert urgent or not carrier.busy, "the driver is busy"
        assert self.arm is GroupState.ONLINE or not submission.key.startswith("arm/"), "its group is not there"
        before = [s for s in self.all[: submission.number] if self.waits(s) and (s.key == "stop") is urgent]
        assert not before, "others came first"
        assert urgent or not any(self.waits(s) and s.key == "stop" for s in self.all), "urgent ones come first"
        submission.given = True

    def answer(self, ticket: Ticket, reply: Reply) -> None:
        (submission,) = ticket.origins
        assert isinstance(submission, Submission)
        assert reply.id == submission.id
        assert not submission.final, f"{reply} after {submission.answers}"
        if reply.outcome in SAFE and not submission.held:
            assert not submission.sent or reply.detail == "by the driver", "something went out for it"
        submission.answers.append(reply)
        if reply.outcome is Outcome.DONE and submission.key in MEASURED and isinstance(reply.data, float):
            self.answered.append((self.topics.state(submission.key), reply.data))
        else:
            self.answered.append(("", 0.0))
        text = payload.json(len(self.answered) - 1)
        self.outbox.answer(Publication(f"reply/{submission.key}", text, after=ticket.proofs))

    def open(self, id_: str) -> Submission | None:
        """The one that a driver means by this id."""
        found = [s for s in self.all if s.id == id_ and not s.final]
        assert len(found) <= 1, "two open commands with one id"
        return found[0] if found else None

    def waits(self, submission: Submission) -> bool:
        return not submission.given and not submission.final

    # --- users -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.carrier is not None)
    @rule(wishes=st.lists(WISHES, min_size=1, max_size=5))
    def ask(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            self.submit(wish)

    def submit(self, wish: Wish) -> None:
        key, value, repeated, lasts, timeout, expect = wish
        number = len(self.all)
        id_ = self.all[-1 - repeated].id if repeated < min(3, number) else f"c{number}"
        submission = Submission(number, id_, key, self.now + lasts)
        taken = self.open(id_) is not None
        self.all.append(submission)
        command = Command(id_, key, value, {}, submission.expires_at, timeout, expect if key in SET else None)
        if taken:
            submission.given = True  # an open id belongs to the one that had it first
        self.device.submit("set" if key in SET else "call", command, submission, self.now, self.wall)
        if self.device.leaving or not self.device.ready:
            assert [reply.outcome for reply in submission.answers] == [Outcome.UNAVAILABLE]
        elif taken:
            assert [reply.outcome for reply in submission.answers] == [Outcome.REJECTED]
        elif key == "stop":
            assert submission.given or submission.final, "an urgent one never waits"

    # --- the driver and its line -----------------------------------------------------------------------

    def some(self, index: int) -> str:
        """The latest ones, and what nobody asked for."""
        return self.all[-1 - index].id if index < len(self.all) else "ghost"

    @precondition(lambda self: self.carrier is not None)
    @rule(deeds=st.lists(DEEDS, min_size=1, max_size=5))
    def drive(self, deeds: list[tuple[str, int, Outcome, bool]]) -> None:
        for deed, index, outcome, proof in deeds:
            submission = self.open(self.some(index))
            if deed == "reply":
                self.reply(self.some(index), submission, outcome, proof)
            elif submission is not None and submission.given:
                self.advance(deed, submission, None if proof else self.now + 3.0)
        self.device.pump(self.now)

    def reply(self, id_: str, submission: Submission | None, outcome: Outcome, proof: bool) -> None:
        """To anything, once more, or to what it never was given."""
        before = len(submission.answers) if submission else 0
        if submission is not None and proof and submission.key in MEASURED:
            self.update(submission.key)
            self.update(submission.key)  # too soon to be published by itself
        self.report(Reply(id_, outcome, "by the driver"))
        if submission is not None and not submission.given:
            assert len(submission.answers) == before, "answered by a driver that never saw it"

    def advance(self, deed: str, submission: Submission, until: float | None) -> None:
        if deed == "send":
            self.device.commands.sent(submission.id, self.now, self.wall)
            submission.sent = True
        else:
            self.device.commands.hold(submission.id, until)
            submission.held = True

    @precondition(lambda self: self.carrier is not None)
    @rule(key=st.sampled_from(MEASURED))
    def update(self, key: str) -> None:
        """Values only grow, so that a newer one is known from an older one."""
        self.count += 1
        self.report(Update(key, float(self.count)))

    @precondition(lambda self: self.carrier is not None)
    @rule(busy=BUSY)
    def work(self, busy: bool) -> None:
        assert self.carrier is not None
        self.carrier.busy = busy
        self.device.pump(self.now)

    @precondition(lambda self: self.carrier is not None and self.device.ready)
    @rule(state=st.sampled_from(GroupState))
    def group(self, state: GroupState) -> None:
        self.arm = state
        if state is GroupState.ONLINE:
            self.report(Declared(ARM, "arm"))
        self.report(GroupStatus("arm", state, f"the arm is {state}"))
        self.work(busy=False)

    @precondition(lambda self: self.carrier is None)
    @rule(arm=ARM_THERE, busy=BUSY)
    def connect(self, arm: bool, busy: bool) -> None:
        self.device.begin()
        self.device.enter(State.GREETING, self.wall)
        self.carrier = Scripted(self, busy)
        self.device.attach(self.carrier)
        assert {command.id for command in self.device.commands.carried()} == set(self.held())
        self.report(Declared(OWN))
        if arm:
            self.arm = GroupState.ONLINE
            self.report(Declared(ARM, "arm"))
            self.report(GroupStatus("arm", GroupState.ONLINE))
        elif self.arm is GroupState.ONLINE:
            self.arm = GroupState.OFFLINE
        self.report(Ready())
        self.device.pump(self.now)

    def held(self) -> Iterator[str]:
        return (s.id for s in self.all if s.held and not s.final)

    @precondition(lambda self: self.carrier is not None)
    @rule(again=st.booleans(), arm=ARM_THERE, busy=BUSY, vain=WISHES)
    def lose(self, again: bool, arm: bool, busy: bool, vain: Wish) -> None:
        held = set(self.held())
        self.carrier = None
        self.device.lose("the line broke")
        self.device.enter(State.OFFLINE, self.wall)
        assert {s.id for s in self.all if not s.final} == held, "whoever is not held is answered at once"
        self.submit(vain)
        if again:
            self.connect(arm, busy)

    @precondition(lambda self: self.carrier is not None)
    @rule()
    def stop(self) -> None:
        """The bridge stops, or its configuration takes the device away; then it starts again."""
        self.carrier = None
        self.device.lose("stopping", for_good=True)
        self.device.enter(State.OFFLINE, self.wall)
        assert all(submission.final for submission in self.all)

    @precondition(lambda self: self.carrier is not None)
    @rule(deeds=st.lists(DEEDS, max_size=5), vain=WISHES)
    def reload(self, deeds: list[tuple[str, int, Outcome, bool]], vain: Wish) -> None:
        """A new configuration: the device is left, what is under way gets a moment, and another one begins."""
        self.device.leave("its configuration was changed")
        assert not any(self.waits(submission) for submission in self.all), "who waits is answered at once"
        self.submit(vain)
        self.drive(deeds)
        self.carrier = None
        self.device.lose("its configuration was changed", for_good=True)
        self.device.enter(State.OFFLINE, self.wall)
        assert all(submission.final for submission in self.all)
        self.device, self.arm = self.made(), GroupState.GONE

    def report(self, event: Declared | GroupStatus | Ready | Update | Reply) -> None:
        self.device.report(event, self.now, self.wall)

    # --- time, and the broker --------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.01, 0.6, 4.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds
        if self.device.due <= self.now:
            self.device.tick(self.now)
        assert self.device.due > self.now, "it would be asked again at once, for ever"
        late = [s for s in self.all if self.waits(s) and s.expires_at <= self.now]
        assert not late, "who waits too long is told so at once"

    @rule(count=st.integers(1, 20))
    def publish(self, count: int) -> None:
        """The broker takes a few messages, as the publisher offers them."""
        for _ in range(count):
            item = self.outbox.next_answer() or self.outbox.next_occurrence() or self.outbox.next_state()
            if item is None:
                return
            if self.outbox.remove(item) is Lane.ANSWER:
                self.check(*self.answered[json.loads(item.payload)])
            elif item.retain:
                self.retained[item.topic] = item.payload

    def check(self, topic: str, proven: float) -> None:
        """The state that proves a `done` went before it; or a newer one, or none when the point has gone."""
        if topic and (shown := self.retained[topic]):
            assert json.loads(shown)["value"] >= proven

    # --- always ----------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_forgotten(self) -> None:
        unanswered = {s.id for s in self.all if not s.final}
        assert {ticket.command.id for ticket in self.device.commands} == unanswered
        waiting = [s for s in self.all if self.waits(s)]
        assert self.device.commands.waiting == len(waiting) <= BACKLOG
        assert not waiting or self.carrier is not None, "nothing waits for a device that is away"
        for submission in self.all:
            finals = [reply.outcome.final for reply in submission.answers]
            assert not any(finals[:-1]), "something was said after the final answer"

    def teardown(self) -> None:
        self.stop()
        assert all(sum(reply.outcome.final for reply in s.answers) == 1 for s in self.all)
        while self.outbox:
            self.publish(20)


PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)  # explaining takes a minute
TestPromise = Promise.TestCase
TestPromise.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, phases=PHASES)


def a_step(life: Promise, chance: Random) -> None:
    """One rule, drawn at a hundredth of the price of a strategy: this finds more, hypothesis explains better."""
    arm, busy = chance.random() < 0.7, chance.random() < 0.5

    def wish() -> Wish:
        values: list[Json] = [1, 2, "1", "nonsense"]
        expect = chance.choice([None, None, None, 1.0])
        lasts, timeout = chance.choice([0.0, 0.5, 5.0, 100.0]), chance.choice([None, 0.0, 1.0, 20.0])
        return (
            chance.choice((*SET, *SET, *CALLED)),
            chance.choice(values),
            chance.randrange(20),
            lasts,
            timeout,
            expect,
        )

    def deed() -> tuple[str, int, Outcome, bool]:
        doing = chance.choice(["send", "hold", "reply", "reply"])
        return doing, chance.randrange(5), chance.choice(list(Outcome)), chance.random() < 0.5

    if life.carrier is None:
        life.connect(arm, busy)
    match chance.randrange(40):
        case 0:
            life.lose(again=arm, arm=arm, busy=busy, vain=wish())
        case 1:
            life.stop()
        case 2:
            life.reload([deed() for _ in range(chance.randrange(4))], wish())
        case choice if choice < 12:
            life.ask([wish() for _ in range(chance.randrange(1, 4))])
        case choice if choice < 20:
            life.drive([deed() for _ in range(chance.randrange(1, 4))])
        case choice if choice < 24:
            life.update(chance.choice(MEASURED))
        case choice if choice < 29:
            life.work(busy)
        case choice if choice < 32 and life.device.ready:
            life.group(chance.choice(list(GroupState)))
        case choice if choice < 36:
            life.wait(chance.choice([0.01, 0.01, 0.6, 4.0, 30.0]))
        case _:
            life.publish(chance.randrange(1, 20))


@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_steps_of_chance(seed: int) -> None:
    life, chance = Promise(), Random(seed)
    life.begin(arm=True, busy=False)
    for _ in range(100):
        a_step(life, chance)
        life.nothing_is_forgotten()
    life.teardown()
