"""A device across connections: its points, its last values, its status, its open commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Protocol

import msgspec

from bridge import payload
from bridge.access import Rules
from bridge.admission import Admission
from bridge.catalogue import Catalogue
from bridge.commands import Commands, Ticket
from bridge.driver import Touch
from bridge.jobs import Jobs
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
    Json,
    Kind,
    Outcome,
    Policy,
    Ready,
    Reply,
    Update,
)
from bridge.occurrences import Occurrences
from bridge.outbox import Outbox, Publication
from bridge.overlay import Overlay, Preset
from bridge.showcase import HIDDEN, Presentation, Showcase
from bridge.topics import DeviceTopics
from bridge.values import Values


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
    keep_live: bool = False  # live data survives this process until the broker has it
    presentation: Presentation = HIDDEN  # in Home Assistant
    touches: Callable[[Command], Sequence[Touch]] = lambda command: ()


class Device:
    """`answer(ticket, reply)` takes what becomes of commands, `changed` is told when it becomes ready or offline.

    Results go another way (bridge.shipping).
    """

    def __init__(
        self,
        profile: Profile,
        topics: DeviceTopics,
        outbox: Outbox,
        answer: Callable[[Ticket, Reply], None],
        changed: Callable[[Device], None] = lambda device: None,
        remember_job: Callable[[str, Json], None] = lambda job, document: None,
    ) -> None:
        self.profile, self.topics, self._outbox = profile, topics, outbox
        self._answer_out, self._changed = answer, changed
        self.silent = False  # another bridge has this device, and its word holds
        self.leaving = ""  # why it ends: no command is taken any more
        self.link = Link(profile.bridge, since=time())
        self.values = Values(topics, self._tell, profile.plain)
        self.catalogue = Catalogue(
            topics,
            self.values,
            self._tell,
            profile.rules,
            profile.overlays,
            profile.presets,
            profile.policies,
            lambda group: self.showcase.note(group),  # noqa: PLW0108  (which is made after the catalogue)
        )
        self.occurrences = Occurrences(topics, outbox, keep_live=profile.keep_live)
        self.showcase = Showcase(
            profile.name, topics, profile.presentation, self.catalogue, self._tell, self.occurrences
        )
        self.admission = Admission(
            topics, self.catalogue, self.values, profile.rules, profile.presets, profile.touches
        )
        self.commands = Commands(self._answer, profile.backlog)
        self._carrier: Carrier | None = None
        self.jobs = Jobs(topics, self._tell, remember_job)
        self._now = 0.0
        self.events = 0  # values that it reported
        self.heard = 0.0  # seconds since the epoch, of its last event; 0: never

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def ready(self) -> bool:
        return self.link.state is State.READY

    # --- what the session reports ----------------------------------------------------------------

    def report(self, event: Event, now: float, wall: float) -> None:
        """One event of the driver; `now` is the loop's clock, `wall` seconds since the epoch."""
        self._now, self.heard = now, wall
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
                    told = {"group": event.group, "state": event.state, "reason": event.reason}
                    self.occurrences.happened(Happened("group", told), wall)
            case Happened():
                self.occurrences.happened(event, wall)
            case Job():
                self.jobs.update(event)
            case Block():
                self.occurrences.measured(event)
            case Condition(state, reason):
                self.enter(self.link.state, wall, reason, state)
            case Ready(info):
                self.link.info = info
                self.showcase.informed(info)
                for status in self.catalogue.unheard():
                    self.catalogue.enter(status)
                kept = (self.link.reason, self.link.shown) if self.link.shown else ("", "")
                self.enter(State.READY, wall, *kept)  # a condition that the driver told of holds on

    def _tell(self, item: Publication) -> None:
        if not self.silent:
            self._outbox.state(item)

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
        self._tell(self._link())
        if self.ready is not was:
            self._tell(self._status())
            self._changed(self)

    def leave(self, reason: str) -> None:
        """It ends soon: nothing more is sent, and what is under way gets a moment."""
        self.leaving = reason
        self.commands.abandon(reason)

    def lose(self, reason: str, *, for_good: bool = False) -> None:
        """The connection is gone: settle what nobody will answer now."""
        self._carrier = None
        self.commands.lose(reason, keep_held=not for_good)
        if for_good:
            self.occurrences.release()

    def announce(self) -> Iterator[Publication]:
        """All that is retained, in the order of the contract."""
        yield self._status()
        yield from self.catalogue.statuses()
        yield self._link()
        yield from self.showcase.announce()
        yield from self.catalogue.documents()
        yield from self.jobs.documents()
        yield from self.values.announce()

    def _status(self) -> Publication:
        return Publication(self.topics.status(), b"online" if self.ready else b"offline", retain=True)

    def _link(self) -> Publication:
        return Publication(self.topics.link, self.link.encode(), retain=True)

    def refresh_link(self) -> None:
        self.link.queue = self.commands.waiting
        self._tell(self._link())

    # --- commands --------------------------------------------------------------------------------

    def submit(self, verb: str, command: Command, origin: object, now: float, wall: float) -> None:
        """Take a command, or answer at once why not. `verb` is `set` or `call`."""
        self._now = now
        ticket = self.admission.ticket(verb, command, wall, origin)
        if self.leaving or not self.ready or self._carrier is None:
            detail = self.leaving or f"{self.name} is {self.link.shown or self.link.state}: {self.link.reason}"
            refused: Reply | None = Reply(command.id, Outcome.UNAVAILABLE, detail)
        elif command.id in self.commands:
            refused = Reply(command.id, Outcome.REJECTED, "a command with this id is under way")
        else:
            refused = self.admission.admit(verb, ticket, now)
        if refused is not None:
            self._answer(ticket, refused)
            return
        self.commands.add(ticket)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Give the driver what it can take."""
        while (carrier := self._carrier) is not None:
            ticket = self.commands.take(now, carrier.busy)
            if ticket is None:
                return
            command = ticket.command
            if (reason := self.catalogue.missing(ticket.point)) is not None:
                self.commands.settle(Reply(command.id, Outcome.UNAVAILABLE, reason))
            elif command.expect is not None and not self.values.meets(command.key, command.expect):
                present = payload.json(self.values.value(command.key)).decode()
                detail = f"{command.key} is {present}, not {payload.json(command.expect).decode()}"
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
        return min(self.values.due, self.commands.due, self.showcase.due, self.occurrences.due)

    def tick(self, now: float) -> None:
        self._now = now
        self.values.tick(now)
        self.commands.expire(now)
        self.showcase.tick(now)
        self.occurrences.tick(now)
