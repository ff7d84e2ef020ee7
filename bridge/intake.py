"""Commands from MQTT and their answers: read, judged for repetition and age, remembered, answered once.

CONTRACT.md, "Commands". What a device may do is not judged here (bridge.device), only whether this message is a
command that may be carried out now.
"""

from __future__ import annotations

import math
import secrets
from asyncio import Future
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from time import monotonic, time

import msgspec
from msgspec import Struct

from bridge import payload
from bridge.commands import Ticket
from bridge.device import Device
from bridge.journal import Journal, digest
from bridge.metrics import Histogram
from bridge.model import Command, Json, Kind, Outcome, Point, Reply
from bridge.mqtt import Message, Meta
from bridge.outbox import Outbox, Publication
from bridge.payload import Times, Wish
from bridge.topics import Address, Topics
from bridge.turns import Turns

BRIDGE = "_bridge"  # who was asked, if it is no device
DURATIONS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)  # seconds
CLOCKS_APART = 30.0  # seconds; a `sent` further off means that one of the clocks is wrong


class Origin(Struct, frozen=True):
    """Where an answer goes."""

    topic: str
    correlation: bytes | None
    action: bool
    asked: str  # the topic of the command
    remembered: bool = False  # its id is in the journal
    device: str = BRIDGE  # who was asked


class Clock(Struct, frozen=True):
    """When a message came and how old it may be."""

    now: float  # the loop's clock
    wall: float  # seconds since the epoch
    age: float  # seconds that it may have been on its way; inf: nobody knows


class Intake:
    """`notice(kind, reason, topic)` is told of messages that are not carried out; `audit` of every answer."""

    def __init__(
        self,
        topics: Topics,
        devices: Mapping[str, Device],
        journal: Journal,
        outbox: Outbox,
        expires: float,
        response_prefix: str,
        commit: Callable[[], Future[bool] | None],
        notice: Callable[[str, str, str], None],
        audit: Callable[[Ticket, Reply], None] = lambda ticket, reply: None,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._topics, self._devices, self._journal, self._outbox = topics, devices, journal, outbox
        self.expires, self._prefix = expires, response_prefix
        self._commit, self._notice, self._audit, self._flush = commit, notice, audit, flush
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)  # of each device
        self._journal_epoch = time() - monotonic()  # so that nobody who sets the clock makes ids old
        self.outcomes: Counter[Outcome] = Counter()
        self.answers: Counter[tuple[str, Outcome]] = Counter()  # the same by who was asked
        self.durations: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(DURATIONS))

    def receive(self, message: Message, address: Address, clock: Clock) -> None:
        """One message on `set` or `call` of a device."""
        if message.retain:
            if not message.payload:
                return  # somebody clears one
            self._notice("retained", "a retained command is never carried out; clear it", message.topic)
            return
        device = self._devices.get(address.device or "")
        if device is None:
            return
        origin = self._origin(message, address)
        try:
            wish = (
                payload.read_set(message.payload) if address.verb == "set" else payload.read_call(message.payload)
            )
        except ValueError as error:
            detail = device.admission.misplaced(address.verb, address.key) or str(error)
            self._refuse(origin, payload.id_of(message.payload), Outcome.REJECTED, detail, clock)
            return
        known = None if wish.id is None else self._journal.find_command(wish.id)
        if known is not None:  # behind the first one, which may be on its way over the disk
            self._turns[device.name].take(None, lambda: self._again(message, origin, known.id, device, clock))
        elif message.dup:
            self._notice(
                "duplicate", "delivered again, and whether it was carried out is not known", message.topic
            )
            detail = "delivered again after a lost connection, and it is not known whether it was carried out"
            origin = self._remembered(message, origin, wish, clock)
            self._refuse(origin, wish.id or "", Outcome.UNKNOWN, detail, clock)
        else:
            self._begin(message, address, origin, wish, device, clock)

    def _begin(
        self, message: Message, address: Address, origin: Origin, wish: Wish, device: Device, clock: Clock
    ) -> None:
        id_ = wish.id or secrets.token_hex(8)
        origin = self._remembered(message, origin, wish, clock)
        try:
            expires_at = self._deadline(wish, message.meta.expiry, self._limit(wish, device, address), clock)
        except ValueError as error:
            self._refuse(origin, id_, Outcome.REJECTED, str(error), clock)
            return
        if expires_at <= clock.now:
            self._refuse(
                origin, id_, Outcome.EXPIRED, self._too_old(wish, self._limit(wish, device, address), clock), clock
            )
            return
        command = Command(id_, address.key, wish.value, wish.args, expires_at, wish.timeout, wish.expect, origin)
        if device.admission.urgent(address.key):
            device.submit(address.verb, command, origin, clock.now, clock.wall)
            return
        # A crash after this must find the id, or a repetition would be carried out again.
        committed = self._commit() if origin.remembered else None
        self._turns[device.name].take(committed, lambda: self._submit(device, address.verb, command, clock.wall))

    def _remembered(self, message: Message, origin: Origin, wish: Wish, clock: Clock) -> Origin:
        """From now on the id is known, if the command has one, and a repetition gets the same answer."""
        if wish.id is None:
            return origin
        self._journal.record_command(wish.id, message.topic, digest(message.payload), self._journal_time())
        return msgspec.structs.replace(origin, remembered=True)

    def _submit(self, device: Device, verb: str, command: Command, wall: float) -> None:
        device.submit(verb, command, command.origin, monotonic(), wall)
        self._flush()

    def _limit(self, wish: Wish, device: Device, address: Address) -> float:
        """For how many seconds the command is good: its own word, the point's, or the bridge's."""
        if wish.expires is not None:
            return wish.expires
        point = device.catalogue.points.get(address.key)
        return self.expires if point is None or point.expires is None else point.expires

    @staticmethod
    def _deadline(wish: Wish, remaining: int | None, limit: float, clock: Clock) -> float:
        """Until when the command may be sent, on the loop's clock. ValueError: the clocks do not agree."""
        age = clock.age
        if wish.sent is not None:
            age = clock.wall - wish.sent
            if abs(age) > CLOCKS_APART:
                raise ValueError(f"`sent` is {abs(age):.0f} s off this bridge's clock")
            age = max(0.0, age)
        elif remaining is not None and wish.expires is None:
            return clock.now + remaining  # the publisher said how long, and the broker counted down
        deadline = clock.now - age + limit
        return deadline if remaining is None else min(deadline, clock.now + remaining)

    @staticmethod
    def _too_old(wish: Wish, limit: float, clock: Clock) -> str:
        age = clock.age if wish.sent is None else clock.wall - wish.sent
        if age == math.inf:
            return "it waited in the broker while this bridge was away, nobody knows for how long"
        return f"it may be {age:.1f} s old, and it is good for {limit:g} s"

    def _again(self, message: Message, origin: Origin, id_: str, device: Device, clock: Clock) -> None:
        self._repeat(message, origin, id_, device, clock)
        self._flush()

    def _repeat(self, message: Message, origin: Origin, id_: str, device: Device, clock: Clock) -> None:
        """The id is known: the stored answer, or one more who waits for it; never a second execution."""
        known = self._journal.find_command(id_)
        if known is None:  # forgotten meanwhile
            self._refuse(origin, id_, Outcome.UNKNOWN, "its answer is not known any more", clock)
            return
        if known.topic != message.topic or known.digest != digest(message.payload):
            detail = "this id was used for another command"
            self._refuse(origin, known.id, Outcome.REJECTED, detail, clock)
            return
        ticket = device.commands.get(known.id)
        asked = [(o.topic, o.correlation) for o in ticket.origins if isinstance(o, Origin)] if ticket else []
        if ticket is not None and (origin.topic, origin.correlation) not in asked:
            ticket.origins.append(origin)
        if isinstance(known.answer, Mapping):
            self._publish(origin, payload.json(known.answer), ())

    def _origin(self, message: Message, address: Address) -> Origin:
        topic = self._topics.reply(address.device, address.key)
        asked = message.meta.response_topic
        if asked is not None and not self._topics.may_answer(asked, address.device, self._prefix):
            self._notice(
                "response_topic", f"no answer is given on the response topic {asked[:256]!r}", message.topic
            )
            asked = None
        device = address.device or BRIDGE
        call = address.verb == "call"
        return Origin(asked or topic, message.meta.correlation, call, message.topic, device=device)

    # --- answers -------------------------------------------------------------------------------------

    def _refuse(
        self, origin: Origin, id_: str, outcome: Outcome, detail: str, clock: Clock, data: Json = None
    ) -> None:
        """An answer to what never became a command of a device."""
        reply = Reply(id_ or secrets.token_hex(8), outcome, detail, data)
        self._audit(Ticket(Command(reply.id, origin.asked), Point(origin.asked, Kind.TEXT, ""), clock.wall), reply)
        self._tell(origin, reply, Times(payload.timestamp(clock.wall), None, payload.timestamp(clock.wall)), ())

    def tell(self, message: Message, verb: str, outcome: Outcome, detail: str, data: Json = None) -> None:
        """The answer to a call of the bridge itself."""
        origin = self._origin(message, Address("call", None, verb))
        clock = Clock(monotonic(), time(), 0.0)
        self._refuse(origin, payload.id_of(message.payload), outcome, detail, clock, data)

    def answer(self, ticket: Ticket, reply: Reply, wall: float, after: tuple[str, ...]) -> None:
        """What a device says of a command."""
        times = Times(
            payload.timestamp(ticket.received),
            None if ticket.sent is None else payload.timestamp(ticket.sent),
            payload.timestamp(wall),
        )
        self._audit(ticket, reply)
        for origin in ticket.origins:
            if isinstance(origin, Origin):
                self._tell(origin, reply, times, after)
                if reply.outcome.final:
                    self.durations[origin.device].observe(max(0.0, wall - ticket.received))

    def _tell(self, origin: Origin, reply: Reply, times: Times, after: tuple[str, ...]) -> None:
        self.outcomes[reply.outcome] += 1
        self.answers[origin.device, reply.outcome] += 1
        text = payload.answer(reply, action=origin.action, times=times)
        if origin.remembered:
            answer = msgspec.json.decode(text)
            self._journal.answer_command(reply.id, answer, self._journal_time(), final=reply.outcome.final)
        self._publish(origin, text, after)

    def _journal_time(self) -> float:
        """Seconds since the epoch, by the clock as it stood at the start."""
        return self._journal_epoch + monotonic()

    def _publish(self, origin: Origin, text: bytes, after: tuple[str, ...]) -> None:
        meta = Meta(content_type="application/json", correlation=origin.correlation)
        self._outbox.answer(Publication(origin.topic, text, meta=meta, after=after))
