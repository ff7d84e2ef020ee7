"""A device across connections: its points, its last values, its status, its open commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from bridge import payload
from bridge.access import Bucket, Rules, refusal
from bridge.catalogue import Catalogue
from bridge.commands import Commands, Ticket
from bridge.driver import Touch
from bridge.link import Link, State
from bridge.model import (
    Block,
    Command,
    Condition,
    Declared,
    Event,
    GroupStatus,
    Happened,
    Job,
    Kind,
    Outcome,
    Point,
    Policy,
    Ready,
    Reply,
    Result,
    Update,
)
from bridge.outbox import Outbox, Publication
from bridge.overlay import PRESET, Overlay, Preset
from bridge.topics import DeviceTopics
from bridge.values import Values

JOBS = 20  # job topics kept per device


class Carrier(Protocol):
    """What a device needs of the session that is connected."""

    @property
    def busy(self) -> bool: ...

    def submit(self, command: Command) -> None: ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What the configuration says of a device; nothing in it is known to a driver."""

    name: str
    bridge: str
    rules: Rules = field(default_factory=Rules)
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()  # the bridge's, the device's
    plain: bool = False  # bare scalars instead of envelopes
    backlog: int = 32
    touches: Callable[[Command], Sequence[Touch]] = lambda command: ()


class Device:
    """`answer(ticket, reply)` takes what becomes of commands, `keep(result)` complete results."""

    def __init__(
        self,
        profile: Profile,
        topics: DeviceTopics,
        outbox: Outbox,
        answer: Callable[[Ticket, Reply], None],
        keep: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self.profile, self.topics, self._outbox = profile, topics, outbox
        self._answer_out, self._keep = answer, keep
        self.link = Link(profile.bridge)
        self.values = Values(topics, outbox.state, profile.plain)
        self.catalogue = Catalogue(
            topics,
            self.values,
            outbox.state,
            profile.rules,
            profile.overlays,
            profile.presets,
            profile.policies,
        )
        self.commands = Commands(self._answer, profile.backlog)
        self._bucket = Bucket(profile.rules.rate, profile.rules.burst)
        self._carrier: Carrier | None = None
        self._jobs: dict[str, Publication] = {}
        self._now = 0.0
        self.events = 0

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def ready(self) -> bool:
        return self.link.state is State.READY

    # --- what the session reports ----------------------------------------------------------------

    def report(self, event: Event, now: float, wall: float) -> None:
        """One event of the driver; `now` is the loop's clock, `wall` seconds since the epoch."""
        self._now = now
        match event:
            case Update():
                self.events += 1
                self.values.update(event, now, wall)
            case Reply():
                self.commands.settle(event)
            case Declared():
                self.catalogue.declare(event)
            case GroupStatus():
                if self.catalogue.enter(event):
                    self._happened(
                        Happened("group", {"group": event.group, "state": event.state, "reason": event.reason}),
                        wall,
                    )
            case Happened():
                self._happened(event, wall)
            case Job():
                self._job(event)
            case Block():
                self._outbox.occurrence(Publication(self.topics.live(event.job), payload.live_block(event)))
            case Result():
                self._keep(event)
            case Condition(state, reason):
                self.enter(self.link.state, wall, reason, state)
            case Ready(info):
                self.link.info = info
                for status in self.catalogue.unheard():
                    self.catalogue.enter(status)
                self.enter(State.READY, wall)

    def _happened(self, event: Happened, wall: float) -> None:
        data = {"event_type": event.name, "time": payload.timestamp(wall), **event.data}
        self._outbox.occurrence(Publication(self.topics.event(event.key or event.name), payload.json(data)))

    def _job(self, event: Job) -> None:
        topic = self.topics.job(event.id)
        self._jobs.pop(topic, None)
        self._jobs[topic] = item = Publication(topic, payload.json({"job": event.id, **event.data}), retain=True)
        self._outbox.state(item)
        while len(self._jobs) > JOBS:
            oldest = next(iter(self._jobs))
            del self._jobs[oldest]
            self._outbox.state(Publication(oldest, b"", retain=True))

    # --- the link --------------------------------------------------------------------------------

    def begin(self) -> None:
        """A connection is open; its driver will declare afresh."""
        self.catalogue.begin()

    def attach(self, carrier: Carrier | None) -> None:
        self._carrier = carrier

    def enter(
        self, state: State, wall: float, reason: str = "", shown: str = "", next_try: float | None = None
    ) -> None:
        """The one place where a device's status changes."""
        was = self.ready
        self.link.queue = self.commands.waiting
        self.link.enter(state, wall, reason, shown, next_try)
        self._outbox.state(self._link())
        if self.ready is not was:
            self._outbox.state(self._status())

    def lose(self, reason: str, *, for_good: bool = False) -> None:
        """The connection is gone: settle what nobody will answer now."""
        self._carrier = None
        self.commands.lose(reason, keep_held=not for_good)

    def announce(self) -> Iterator[Publication]:
        """All that is retained, in the order of the contract."""
        yield self._status()
        yield from self.catalogue.statuses()
        yield self._link()
        yield from self.catalogue.documents()
        yield from self._jobs.values()
        yield from self.values.announce()

    def _status(self) -> Publication:
        return Publication(self.topics.status(), b"online" if self.ready else b"offline", retain=True)

    def _link(self) -> Publication:
        return Publication(self.topics.link, self.link.encode(), retain=True)

    def refresh_link(self) -> None:
        self.link.queue = self.commands.waiting
        self._outbox.state(self._link())

    # --- commands --------------------------------------------------------------------------------

    def submit(self, verb: str, command: Command, origin: object, now: float, wall: float) -> None:
        """Take a command, or answer at once why not. `verb` is `set` or `call`."""
        self._now = now
        view = self.catalogue.view(command.key)
        point = None if view is None else view.point
        refused = self._refuse(verb, command, now)
        if refused is None and view is not None:
            try:
                inner = self._checked(command, now)
            except ValueError as error:
                refused = Reply(command.id, Outcome.REJECTED, str(error))
        ticket = Ticket(command, point or _nowhere(verb, command.key), wall, origins=[origin])
        if refused is not None:
            self._answer(ticket, refused)
            return
        assert point is not None
        ticket.command, ticket.urgent = inner, point.urgent
        ticket.shows = self._shows(inner)
        ticket.proofs = tuple(self.topics.state(key) for key in ticket.shows)
        self.commands.add(ticket)
        self.pump(now)

    def urgent(self, key: str) -> bool:
        point = self.catalogue.points.get(key)
        return point is not None and point.urgent

    def _refuse(self, verb: str, command: Command, now: float) -> Reply | None:
        """Nobody there, no such point, the wrong verb."""
        if not self.ready or self._carrier is None:
            return Reply(command.id, Outcome.UNAVAILABLE, f"{self.name} is {self.link.state}: {self.link.reason}")
        point = self.catalogue.points.get(command.key)
        if point is None:
            return Reply(command.id, Outcome.REJECTED, f"{self.name} has no point {command.key!r}")
        if (verb == "call") is not (point.kind is Kind.ACTION):
            right = "call" if point.kind is Kind.ACTION else "set"
            return Reply(command.id, Outcome.REJECTED, f"use {self.topics.base}/{right}/{command.key}")
        if (reason := self.catalogue.offline(point.group)) is not None:
            return Reply(command.id, Outcome.UNAVAILABLE, reason)
        return None

    def _checked(self, command: Command, now: float) -> Command:
        """The command as the driver gets it; ValueError says why it is rejected."""
        view = self.catalogue.view(command.key)
        assert view is not None
        inner, point = command, view.point
        if point.kind is Kind.ACTION:
            inner = msgspec.structs.replace(inner, args=point.arguments_of(command.args))
            if command.key.startswith(PRESET):
                inner = self.profile.presets[command.key.removeprefix(PRESET)].apply(inner)
                point = self.catalogue.points[inner.key]
                inner = msgspec.structs.replace(inner, args=point.arguments_of(inner.args))
        else:
            value = point.accept(command.value)
            inner = msgspec.structs.replace(inner, value=value)
        reason = refusal(self.profile.rules, point, inner, self.profile.touches(inner), self.catalogue.points)
        if reason is None and not point.urgent and not self._bucket.take(now):
            reason = f"more than {self.profile.rules.rate:g} commands a second"
        if reason is not None:
            raise ValueError(reason)
        timeout = command.timeout if command.timeout is not None else point.timeout
        if point.kind is not Kind.ACTION:
            inner = msgspec.structs.replace(inner, value=view.inward(point.accept(command.value)))
        return msgspec.structs.replace(inner, timeout=timeout)

    def _shows(self, command: Command) -> tuple[str, ...]:
        point = self.catalogue.points[command.key]
        named = [command.args.get(argument.name) for argument in point.arguments if argument.type == "point"]
        keys = [command.key, *(key for key in named if isinstance(key, str))]
        keys += [touch.key for touch in self.profile.touches(command) if touch.point]
        return tuple(dict.fromkeys(key for key in keys if key in self.values))

    def pump(self, now: float) -> None:
        """Give the driver what it can take."""
        while (carrier := self._carrier) is not None:
            ticket = self.commands.take(now, carrier.busy)
            if ticket is None:
                return
            command = ticket.command
            if (reason := self.catalogue.offline(ticket.point.group)) is not None:
                self.commands.settle(Reply(command.id, Outcome.UNAVAILABLE, reason))
            elif command.expect is not None and not self.values.meets(command.key, command.expect):
                detail = f"{command.key} is {self.values.value(command.key)!r}, not {command.expect!r}"
                self.commands.settle(Reply(command.id, Outcome.REJECTED, detail))
            else:
                carrier.submit(command)

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        """The states that prove an answer go first; after a failure they are told again, for optimistic eyes."""
        again = reply.outcome in (Outcome.FAILED, Outcome.UNKNOWN) and ticket.point.kind is not Kind.ACTION
        for key in ticket.shows:
            self.values.flush(key, self._now, again=again)
        if ticket.point.kind is not Kind.ACTION and reply.outcome is Outcome.DONE:
            reply = msgspec.structs.replace(reply, data=self.values.value(ticket.point.key))
        self._answer_out(ticket, reply)

    # --- time ------------------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """When `tick` has something to do next, on the loop's clock."""
        return min(self.values.due, self.commands.due)

    def tick(self, now: float) -> None:
        self._now = now
        self.values.tick(now)
        self.commands.expire(now)


def _nowhere(verb: str, key: str) -> Point:
    return Point(key, Kind.ACTION if verb == "call" else Kind.TEXT, key)
