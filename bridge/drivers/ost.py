"""OST, an observatory server: modules with properties and elements that come and go at run time.

The server sends everything once (`DU`, answered by `d`) and then what changes. It knows no request ids and no
error frames, but it is single-threaded and in order: after each command an `XX` is sent, and all that the command
caused comes before the answering `xx`. Its grants belong to network addresses, so another client of the same
address takes ours away; what it refused for that reason is tried once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bridge.driver import Close, Effect, Effects, Frame, Plugin, ProtocolError, Verdict
from bridge.drivers import ost_frames as frames
from bridge.drivers import ost_system
from bridge.drivers.ost_access import Access
from bridge.drivers.ost_commands import NAMES, Order, find_property, of_action, of_target, rows, touches
from bridge.drivers.ost_model import Change, Dump, Tree, Unknown, read_dump
from bridge.drivers.ost_options import OstOptions
from bridge.drivers.ost_panel import Panel
from bridge.drivers.ost_turns import Turn, Turns
from bridge.drivers.ost_values import text
from bridge.model import Command, Condition, Happened, Json, Outcome, Ready, Reply

KEEPALIVE = 30.0  # seconds between signs of life
_DUMP_AGAIN = 1.0, 10.0  # seconds: how soon a dump is asked for again, and how seldom
_OLD = "this OST server is too old: it speaks the protocol from before February 2026 (moduledump)"
_PATIENCE = 10.0  # seconds for the first dump
_NO_DUMP = (
    "OST does not answer DU: it stands still while it connects to INDI (3 s for each module), "
    "or it is from before February 2026"
)
_IGNORED = frozenset({"qa", "av", "am"})


class Ost:
    """One connection to an OST server."""

    def __init__(self, options: OstOptions, memory: Mapping[str, Json], carried: Sequence[Command]) -> None:
        self._options = options
        self._access = Access(options, carried)
        self._turns = Turns()
        self._panel = Panel(options, memory, Tree(Dump()))
        self._log = ost_system.Log(options.lowest_level)
        self._signals = ost_system.Signals()
        self._dumped = False
        self._ready = False
        self._alive_at = math.inf  # when the next sign of life is due
        self._wonder_at = math.inf  # the first dump should be there then
        self._wondering = False
        self._dump_at = math.inf
        self._dumped_at = -math.inf
        self._told: set[str] = set()
        self._over = False  # given up
        self._readable = False
        self._unreadable = 0

    @property
    def _tree(self) -> Tree:
        return self._panel.tree

    # --- the connection --------------------------------------------------------------------------------

    def start(self, now: float) -> Effects:
        self._alive_at = now + KEEPALIVE
        self._wonder_at = now + _PATIENCE
        return list(self._access.begin(now))

    def receive(self, frame: Frame, now: float) -> Effects:
        try:
            message = frames.decode(frame)
        except frames.UnreadableError as error:
            return self._strange(error)
        self._readable = True
        try:
            return list(self._take(message, now))
        except Unknown as place:
            self._ask_again(now)
            return list(self._unexpected(f"about something unknown ({message.kind})", str(place)))
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
            if message.kind == "d":
                raise ProtocolError(f"the dump is not what OST sends: {error}") from None
            return list(self._unexpected(f"of another shape ({message.kind[:40]})", str(error)))

    def _take(self, message: frames.Message, now: float) -> Iterator[Effect]:
        match message.kind:
            case "d":
                yield from self._dump(read_dump(message.body), now)
            case "xx":
                yield from self._passed(self._turns.passed(), now)
            case "l":
                yield from self._entry(msgspec.json.decode(message.body), now)
            case "evt":
                yield from self._files(message)
            case "moduledump":
                yield Close(_OLD, Verdict.STUBBORN)
            case kind if kind not in _IGNORED and self._dumped:
                yield from self._update(kind, message.body, now)

    def _strange(self, error: frames.UnreadableError) -> Effects:
        self._unreadable += 1
        if not self._readable and self._unreadable >= 3:
            raise ProtocolError(f"the first three frames are no JSON objects, so this is not OST ({error})")
        return list(self._unexpected("that is no JSON object", str(error)))

    def _unexpected(self, what: str, detail: str) -> Iterator[Effect]:
        """Once per kind: devices get new versions."""
        if what not in self._told and len(self._told) < 50:
            self._told.add(what)
            yield Happened("unexpected", {"message": f"a message {what}", "detail": detail[:500]})

    # --- what the server tells -------------------------------------------------------------------------

    def _dump(self, dump: Dump, now: float) -> Iterator[Effect]:
        if self._wondering:
            yield Condition("")
        self._wonder_at, self._wondering = math.inf, False
        yield from self._access.dumped(dump)
        if dump.modules is None:
            return
        self._panel.replace(Tree(dump, keep_labels=self._options.language != "en"), now)
        self._signals.keep(self._tree.modules)
        self._dumped, self._dumped_at, self._dump_at = True, now, math.inf
        yield from self._panel.flush(now)
        yield from self._greet(now)

    def _greet(self, now: float) -> Iterator[Effect]:
        """Ready when all of the first dump is told and the question of the login is settled."""
        if not self._ready and self._dumped and self._panel.complete and not self._access.asking:
            self._ready = True
            yield Ready(ost_system.information(self._tree.controller, self._tree.modules, self._access.grant))
        if self._ready and not self._access.asking:
            again, replies = self._access.retries()
            yield from replies
            for command in again:
                yield from self._submit(command, now, again=True)

    def _update(self, kind: str, body: msgspec.Raw, now: float) -> Iterator[Effect]:
        known = set(self._tree.modules) if kind in ("aa", "dm") else set()
        changes = self._tree.apply(kind, body)
        if not changes:
            yield from self._unexpected(f"of an unknown kind ({kind[:40]})", "")
        for change in changes:
            if (turn := self._turns.current) is not None:
                turn.note(change)
            self._panel.note(change, now)
            yield from self._occurrences(change, known)

    def _occurrences(self, change: Change, known: set[str]) -> Iterator[Effect]:
        module, there = change.module, change.module in self._tree.modules
        if change.kind in ("ea", "ee") and change.prop == "signals":
            yield from self._signals.take(module, self._tree.find(module, "signals").elements)
        elif change.kind == "aa" and module not in known:
            yield Happened("created", {"module": module}, key="module")
        elif change.kind == "dm" and module in known and not there:
            yield Happened("removed", {"module": module}, key="module")

    def _entry(self, told: object, now: float) -> Iterator[Effect]:
        if not isinstance(told, Mapping) or not isinstance(level := told.get("l"), int):
            return
        origin, words = text(told.get("c")), text(told.get("t"))
        if (turn := self._turns.current) is not None:
            turn.log(origin, level, words)
        yield from self._log.entry(origin, level, words, text(told.get("d")), now)

    def _files(self, message: frames.Message) -> Iterator[Effect]:
        kind = msgspec.json.decode(message.body)
        if kind == "moduledump":
            yield Close(_OLD, Verdict.STUBBORN)
        elif kind in ost_system.FILES and "fileevent" in message.root and self._dumped:
            told = msgspec.json.decode(message.root["fileevent"])
            paths = [path for path in told if isinstance(path, str)] if isinstance(told, list) else []
            if kept := [path[:500] for path in paths[:100] if not path.endswith(".tmp")]:
                yield Happened(kind, {"paths": kept}, key="file")

    def _ask_again(self, now: float) -> None:
        """It knows more than we do: a dump tells, but not too often."""
        soon, seldom = _DUMP_AGAIN
        if self._dumped and self._dump_at == math.inf and not self._access.asking:
            self._dump_at = max(now + soon, self._dumped_at + seldom)

    # --- commands --------------------------------------------------------------------------------------

    def submit(self, command: Command, now: float) -> Effects:
        return list(self._submit(command, now))

    def _submit(self, command: Command, now: float, *, again: bool = False) -> Iterator[Effect]:
        try:
            if command.key == "grid_read":
                prop = find_property(self._tree, str(command.args["module"]), str(command.args["property"]))
                yield Reply(command.id, Outcome.DONE, data={"columns": prop.headers, "rows": rows(prop)})
                return
            if (refused := self._access.refusal()) is not None:
                raise ValueError(refused)
            yield from self._turns.send(command, self._order(command), self._tree, now, again=again)
        except ValueError as error:
            yield Reply(command.id, Outcome.REJECTED, str(error))

    def _order(self, command: Command) -> Order:
        """ValueError says why it is rejected."""
        if command.key in NAMES:
            return of_action(command, self._tree)
        found = self._panel.target(command.key)
        if found is None:
            raise ValueError(f"there is no {command.key}")
        return of_target(*found, command.value, self._tree)

    def _passed(self, turn: Turn | None, now: float) -> Iterator[Effect]:
        if turn is None:
            return
        yield from self._panel.show(turn.order.module, now)
        reply = turn.verdict(self._tree)
        if turn.answered:
            told = {"id": turn.command.id, "outcome": reply.outcome.value, "detail": reply.detail, "late": True}
            yield Happened("late", told)
        elif turn.denied and reply.outcome is not Outcome.DONE:
            yield from self._access.denied(turn, now)
        else:
            yield reply
        if not self._turns.waiting:
            yield from self._access.conclude()

    # --- time ------------------------------------------------------------------------------------------

    def fenced(self, token: str, now: float) -> Effects:
        return ()

    def computed(self, token: str, result: object, now: float) -> Effects:
        return ()

    def tick(self, now: float) -> Effects:
        effects: list[Effect] = [*self._turns.expired(now), *self._access.expired(now)]
        if self._turns.dead(now):
            self._over = True
            return [*effects, Close("OST has not answered for 60 s")]
        if self._wonder_at <= now:
            self._wonder_at, self._wondering = math.inf, True
            effects.append(Condition("no_dump", _NO_DUMP))
        if self._dumped:
            effects += self._panel.flush(now)
            effects += self._greet(now)
        if self._dump_at <= now:
            self._dump_at, self._dumped_at = math.inf, now
            effects += self._access.ask()
        if self._alive_at <= now:
            self._alive_at = now + KEEPALIVE
            if not self._turns.waiting:
                effects += self._turns.keep_alive(now)
        return effects

    @property
    def wake_at(self) -> float | None:
        due = min(
            self._alive_at, self._dump_at, self._turns.wake_at, self._panel.due, self._access.due, self._wonder_at
        )
        return due if due < math.inf and not self._over else None

    @property
    def busy(self) -> bool:
        return not self._ready or len(self._turns) > 0 or self._access.asking


# The server stands still for up to 30 s while it connects to INDI, and a dump of a rig passes a megabyte.
plugin = Plugin(
    OstOptions, Ost, ping=20.0, ping_timeout=75.0, greeting=75.0, frame_limit=64 << 20, touches=touches
)
