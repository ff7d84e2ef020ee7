"""Whether a command may go to the driver, and as what: everything that can be said without asking the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from bridge.access import Bucket, Rules, forbidden, refusal
from bridge.catalogue import Catalogue
from bridge.commands import Ticket
from bridge.driver import Touch
from bridge.model import WRITTEN, Command, Json, Kind, Outcome, Point, Reply
from bridge.overlay import PRESET, Preset, View
from bridge.topics import DeviceTopics
from bridge.values import Values


class Admission:
    """Reads the catalogue and the values, and counts the commands: more than the rules' rate are not admitted."""

    def __init__(
        self,
        topics: DeviceTopics,
        catalogue: Catalogue,
        values: Values,
        rules: Rules,
        presets: Mapping[str, Preset],
        touches: Callable[[Command], Sequence[Touch]],
    ) -> None:
        self._topics, self._catalogue, self._values = topics, catalogue, values
        self._rules, self._presets, self._touches = rules, presets, touches
        self._bucket = Bucket(rules.rate, rules.burst)

    def ticket(self, verb: str, command: Command, received: float, origin: object) -> Ticket:
        """An open command, about the point as users see it; where there is none, about what was meant.

        `verb` is `set` or `call`; `received` in seconds since the epoch; `origin`: the return address.
        """
        point = self._catalogue.points.get(command.key)
        if point is None:
            point = Point(command.key, Kind.ACTION if verb == "call" else Kind.TEXT, command.key)
        return Ticket(command, point, received, origins=[origin])

    def admit(self, verb: str, ticket: Ticket, now: float) -> Reply | None:
        """Make the ticket ready for the driver, or say why not. `now`: the loop's clock."""
        command, view = ticket.command, self._catalogue.view(ticket.command.key)
        if (refused := self.refuse(verb, command)) is not None or view is None:
            return refused
        try:
            ticket.command = self.prepare(view, command)
            if not view.point.urgent and not self._bucket.take(now):
                raise ValueError(f"more than {self._rules.rate:g} commands a second")
        except ValueError as error:
            return Reply(command.id, Outcome.REJECTED, str(error))
        ticket.urgent = view.point.urgent
        ticket.shows = tuple(key for key in self.shown_by(ticket.command) if key in self._values)
        ticket.proofs = tuple(self._topics.state(key) for key in ticket.shows)
        return None

    def misplaced(self, verb: str, key: str) -> str | None:
        """Where a command to this key belongs, if not there; whatever its payload says."""
        refused = self.refuse(verb, Command("", key)) if key in self._catalogue.points else None
        return refused.detail if refused is not None and refused.outcome is Outcome.REJECTED else None

    def urgent(self, key: str) -> bool:
        point = self._catalogue.points.get(key)
        return point is not None and point.urgent

    def refuse(self, verb: str, command: Command) -> Reply | None:
        """No such point, the wrong verb, a group that is not there; None: go on."""
        point = self._catalogue.points.get(command.key)
        if point is None:
            return Reply(command.id, Outcome.REJECTED, f"there is no point {command.key!r}")
        if (verb == "call") is not (point.kind is Kind.ACTION):
            if point.kind is not Kind.ACTION and point.kind not in WRITTEN:
                return Reply(command.id, Outcome.REJECTED, f"{command.key} is read-only")
            right = "call" if point.kind is Kind.ACTION else "set"
            return Reply(command.id, Outcome.REJECTED, f"use {self._topics.base}/{right}/{command.key}")
        if (reason := self._catalogue.offline(point.group)) is not None:
            return Reply(command.id, Outcome.UNAVAILABLE, reason)
        return None

    def prepare(self, view: View, command: Command) -> Command:
        """The command as the driver gets it; ValueError says in one sentence why it is rejected."""
        if view.point.kind is Kind.ACTION:
            return self._action(view.point, command)
        value = view.point.accept(command.value)
        self._allow(view.point, msgspec.structs.replace(command, value=value))
        return msgspec.structs.replace(command, value=view.inward(value), timeout=_timeout(command, view.point))

    def _action(self, point: Point, command: Command) -> Command:
        command = msgspec.structs.replace(command, args=point.arguments_of(command.args))
        if point.key.startswith(PRESET):
            if denied := forbidden(Rules(deny=self._rules.deny), point.key, guarded=False):
                raise ValueError(denied)
            command = self._presets[point.key.removeprefix(PRESET)].apply(command)
            point = self._catalogue.points[command.key]
            command = msgspec.structs.replace(command, args=point.arguments_of(command.args))
        self._allow(point, command)
        return msgspec.structs.replace(command, timeout=_timeout(command, point))

    def _allow(self, point: Point, command: Command) -> None:
        reason = refusal(self._rules, point, command, self._touches(command), self._catalogue.points)
        if reason is not None:
            raise ValueError(reason)

    def shown_by(self, command: Command) -> tuple[str, ...]:
        """Keys of the points that may show what this command did."""
        point = self._catalogue.points[command.key]
        named: list[Json] = [
            command.args.get(argument.name) for argument in point.arguments if argument.type == "point"
        ]
        keys = [command.key, *(key for key in named if isinstance(key, str))]
        keys += [touch.key for touch in self._touches(command) if touch.point]
        return tuple(dict.fromkeys(keys))


def _timeout(command: Command, point: Point) -> float | None:
    return point.timeout if command.timeout is None else command.timeout
