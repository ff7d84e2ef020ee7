"""The open commands of one device: every one of them gets exactly one final answer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from bridge.model import Command, Kind, Outcome, Point, Reply

GRACE = 5.0  # seconds after its timeout at which a command is settled here, should its driver have forgotten it
FORGOTTEN = 60.0  # the same for one that the driver took and did not even send: it may have a queue of its own


class Stage(Enum):
    WAITING = auto()  # not yet given to the driver
    SUBMITTED = auto()  # the driver has it; nothing went out for it
    SENT = auto()  # a frame went out for it


@dataclass(slots=True, eq=False)
class Ticket:
    """One open command and what is needed to answer it."""

    command: Command
    point: Point  # as users see it; the preset's own point for a preset
    received: float  # seconds since the epoch
    shows: tuple[str, ...] = ()  # keys of the points whose states prove it
    proofs: tuple[str, ...] = ()  # and the topics of these states
    urgent: bool = False
    stage: Stage = Stage.WAITING
    sent: float | None = None  # seconds since the epoch
    due: float = math.inf  # on the loop's clock: settled here at the latest
    held: bool = False
    origins: list[object] = field(default_factory=list)  # return addresses; a repeated command adds one


class Commands:
    """`answer(ticket, reply)` is called for each `accepted` and once with a final reply, and never again."""

    def __init__(self, answer: Callable[[Ticket, Reply], None], backlog: int) -> None:
        self._answer = answer
        self._backlog = backlog
        self._urgent: deque[Ticket] = deque()
        self._waiting: deque[Ticket] = deque()
        self._open: dict[str, Ticket] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._open

    def get(self, id_: str) -> Ticket | None:
        return self._open.get(id_)

    def urgent(self, id_: str | None) -> bool:
        return id_ is not None and (ticket := self._open.get(id_)) is not None and ticket.urgent

    @property
    def waiting(self) -> int:
        return len(self._urgent) + len(self._waiting)

    @property
    def sending(self) -> bool:
        """Something was given to the driver and will be settled by it soon (jobs go on without us)."""
        return any(t.stage is not Stage.WAITING and not t.held for t in self._open.values())

    def add(self, ticket: Ticket) -> None:
        """Queue a command. A newer `set` of a point supersedes an older one that still waits."""
        id_ = ticket.command.id
        if id_ in self._open:
            raise ValueError(f"{id_!r} is open already")
        if ticket.point.kind is not Kind.ACTION:
            self._supersede(ticket.command.key)
        if not ticket.urgent and len(self._waiting) >= self._backlog:
            self._answer(ticket, Reply(id_, Outcome.REJECTED, f"{self._backlog} commands are waiting already"))
            return
        ticket.due = ticket.command.expires_at
        self._open[id_] = ticket
        (self._urgent if ticket.urgent else self._waiting).append(ticket)

    def _supersede(self, key: str) -> None:
        for older in [t for t in self._waiting if t.command.key == key and t.point.kind is not Kind.ACTION]:
            self._waiting.remove(older)
            self._end(older, Reply(older.command.id, Outcome.SUPERSEDED, "a newer value took its place"))

    def _expired(self, ticket: Ticket) -> None:
        self._end(ticket, Reply(ticket.command.id, Outcome.EXPIRED, "it waited too long and was not sent"))

    def take(self, now: float, busy: bool) -> Ticket | None:
        """The next one to give to the driver; while it is busy only an urgent one. Too old: `expired`."""
        while self._urgent or (self._waiting and not busy):
            ticket = (self._urgent or self._waiting).popleft()
            if ticket.command.expires_at > now:
                ticket.stage, timeout = Stage.SUBMITTED, ticket.command.timeout
                ticket.due = math.inf if timeout is None else now + timeout + FORGOTTEN
                return ticket
            self._expired(ticket)
        return None

    def sent(self, id_: str, now: float, wall: float) -> None:
        """A frame that carries this command out goes on its way."""
        ticket = self._open.get(id_)
        if ticket is not None and ticket.stage is not Stage.SENT:
            ticket.stage, ticket.sent = Stage.SENT, wall
            if ticket.command.timeout is not None and not ticket.held:
                ticket.due = now + ticket.command.timeout + GRACE

    def hold(self, id_: str, until: float | None) -> None:
        """A lost connection shall not settle this one."""
        if (ticket := self._open.get(id_)) is not None:
            ticket.held = True
            ticket.due = math.inf if until is None else until + GRACE

    def settle(self, reply: Reply) -> Ticket | None:
        """What the driver answered. None: nobody waits for it (any more), or the driver never had it."""
        ticket = self._open.get(reply.id)
        if ticket is None or ticket.stage is Stage.WAITING:
            return None
        if reply.outcome.final:
            self._end(ticket, reply)
        else:
            self._answer(ticket, reply)
        return ticket

    def carried(self) -> list[Command]:
        """What the next driver must settle."""
        return [ticket.command for ticket in self._open.values() if ticket.held]

    def abandon(self, reason: str) -> None:
        """No more is given to the driver: those that wait are answered, those under way go on."""
        self._urgent.clear()
        self._waiting.clear()
        for ticket in [t for t in self._open.values() if t.stage is Stage.WAITING]:
            self._end(ticket, Reply(ticket.command.id, Outcome.UNAVAILABLE, f"not sent: {reason}"))

    def lose(self, reason: str, *, keep_held: bool = True) -> None:
        """The connection is gone: nobody waits any more, but for what is held."""
        self._urgent.clear()
        self._waiting.clear()
        for ticket in tuple(self._open.values()):
            if ticket.held and keep_held:
                continue
            if ticket.stage is Stage.SENT:
                reply = Reply(ticket.command.id, Outcome.UNKNOWN, f"sent, then the connection was lost: {reason}")
            else:
                reply = Reply(ticket.command.id, Outcome.UNAVAILABLE, f"not sent: {reason}")
            self._end(ticket, reply)

    def expire(self, now: float) -> None:
        """Settle what is overdue: waiting ones, held ones whose device stayed away, and what a driver forgot."""
        for ticket in [t for t in self._open.values() if t.due <= now]:
            if ticket.stage is Stage.WAITING:
                (self._urgent if ticket.urgent else self._waiting).remove(ticket)
                self._expired(ticket)
                continue
            self._end(ticket, Reply(ticket.command.id, Outcome.UNKNOWN, "no answer came in time"))

    @property
    def due(self) -> float:
        return min((ticket.due for ticket in self._open.values()), default=math.inf)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(tuple(self._open.values()))

    def _end(self, ticket: Ticket, reply: Reply) -> None:
        self._open.pop(ticket.command.id, None)
        self._answer(ticket, reply)
