"""Commands on their way and the answer to each: all that a command causes at once comes before the next `xx`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.driver import Effect, Send
from bridge.drivers.ost_commands import Order
from bridge.drivers.ost_frames import KEEPALIVE
from bridge.drivers.ost_model import Change, Tree
from bridge.drivers.ost_values import same, text
from bridge.model import Command, Outcome, Reply

SILENCE = 60.0  # seconds without the expected `xx`: the server is gone (it may stand still for 30)
SIGNALS = "signals"  # a property in which a module tells its state and events
ERROR = 3  # of a status, and of a light
RETRY = 5.0  # seconds after which a refused command is not tried again


@dataclass(slots=True, eq=False)
class Turn:
    """A command that was sent. `refusal`, `denied`: the server's own words; `states`: properties it told of."""

    command: Command
    order: Order
    sent_at: float
    due: float
    again: bool = False  # it was refused once, for want of a grant
    shown_before: bool = False
    heard: bool = False
    refusal: str = ""
    denied: str = ""
    answered: bool = False
    states: set[str] = field(default_factory=set)

    def note(self, change: Change) -> None:
        """Something changed while the server worked on this."""
        order = self.order
        mine = change.module == order.module and (not order.prop or change.prop in ("", order.prop))
        if mine and change.kind in order.kinds:
            self.heard = True
        if change.module == order.module and (change.kind == "ps" or change.prop == SIGNALS):
            self.states.add(change.prop)

    def log(self, origin: str, level: int, words: str) -> None:
        """The server wrote this into its log; its words are translated, so they are never looked at."""
        if level < 2:
            return
        if origin == "WS":
            self.denied = self.denied or words
        elif origin in ("CT", self.order.module):
            self.refusal = self.refusal or words

    def verdict(self, tree: Tree) -> Reply:
        """What came of it, now that the server has worked on it."""
        id_, order = self.command.id, self.order
        wrong = [key for key, value in order.values.items() if not same(_shown(tree, order, key), value)]
        if order.starts and self.heard and self._failed(tree):
            words = self.refusal or _told(tree, order.module) or "it gives no reason"
            return Reply(id_, Outcome.FAILED, f"OST took it and shows an error: {words}"[:500])
        if not wrong and (self.heard or self.shown_before):
            said = f"OST took it and says: {self.refusal}"[:500] if self.refusal else ""
            return Reply(id_, Outcome.DONE, said if self.heard else "it showed that already")
        if self.refusal or self.denied:
            return Reply(id_, Outcome.FAILED, f"OST refused it: {self.refusal or self.denied}"[:500])
        if self.heard:
            shown = ", ".join(f"{key} = {_shown(tree, order, key)!r}"[:100] for key in wrong[:5])
            return Reply(id_, Outcome.FAILED, f"OST took it and shows {shown}")
        return Reply(id_, Outcome.FAILED, "OST took no notice of it (no effect)")

    def _failed(self, tree: Tree) -> bool:
        """What was to be started has ended in an error already: its property says so, or the module's signals."""
        module = tree.modules.get(self.order.module)
        if module is None:
            return False
        acted, signals = module.properties.get(self.order.prop), module.properties.get(SIGNALS)
        if acted is not None and self.order.prop in self.states and acted.status == ERROR:
            return True
        state = signals.elements.get("state") if signals is not None and SIGNALS in self.states else None
        return state is not None and state.value == ERROR


def _told(tree: Tree, module: str) -> str:
    """The last event in the module's signals, in words."""
    found = tree.modules[module].properties.get(SIGNALS)
    event = None if found is None else found.elements.get("eventdescription")
    return "" if event is None else text(event.value)


def _shown(tree: Tree, order: Order, key: str) -> object:
    module = tree.modules.get(order.module)
    prop = None if module is None else module.properties.get(order.prop)
    return None if prop is None or key not in prop.elements else prop.elements[key].value


class Turns:
    """One entry per `XX` that is out: the command before it, or None for a sign of life."""

    def __init__(self) -> None:
        self._out: deque[tuple[Turn | None, float]] = deque()

    def __len__(self) -> int:
        return sum(turn is not None for turn, _ in self._out)

    @property
    def current(self) -> Turn | None:
        """What the server works on now."""
        return self._out[0][0] if self._out else None

    @property
    def waiting(self) -> bool:
        return bool(self._out)

    def keep_alive(self, now: float) -> Iterator[Effect]:
        self._out.append((None, now))
        yield Send(KEEPALIVE)

    def send(
        self, command: Command, order: Order, tree: Tree, now: float, *, again: bool = False
    ) -> Iterator[Effect]:
        due = math.inf if command.timeout is None else now + command.timeout
        turn = Turn(command, order, now, due, again)
        turn.shown_before = bool(order.values) and all(
            same(_shown(tree, order, key), value) for key, value in order.values.items()
        )
        self._out.append((turn, now))
        yield Send(order.frame, command.id)
        yield Send(KEEPALIVE)

    def passed(self) -> Turn | None:
        """An `xx` came: the server has worked on this."""
        return self._out.popleft()[0] if self._out else None

    def expired(self, now: float) -> Iterator[Reply]:
        """Honest answers for commands that waited too long; the server may still be about to work on them."""
        for turn, _ in self._out:
            if turn is not None and not turn.answered and turn.due <= now:
                turn.answered = True
                yield Reply(
                    turn.command.id, Outcome.UNKNOWN, "OST has not come to it in time: look before repeating"
                )

    def dead(self, now: float) -> bool:
        return bool(self._out) and now >= self._out[0][1] + SILENCE

    @property
    def wake_at(self) -> float:
        dues = [turn.due for turn, _ in self._out if turn is not None and not turn.answered]
        return min([*dues, *(at + SILENCE for _, at in list(self._out)[:1])], default=math.inf)
