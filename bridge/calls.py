"""Calls of the bridge itself (`_bridge/{id}/call/VERB`): done once for all who asked, and told to each of them."""

from __future__ import annotations

from typing import Protocol

from bridge.model import Json, Outcome
from bridge.mqtt_values import Message

MOST = 1000  # who wait for the next time: one that hangs must not gather messages for ever
ENDS = "this bridge is stopping"


class Answer(Protocol):
    """Tells who called what came of it."""

    def __call__(self, call: Message, verb: str, outcome: Outcome, detail: str, data: Json = None) -> None: ...


class Calls:
    """Those of one verb that are not answered. Whoever calls while it is being done gets the next time."""

    def __init__(self, verb: str, answer: Answer) -> None:
        self._verb, self._answer = verb, answer
        self._waiting: list[Message] = []
        self._under_way: list[Message] = []
        self._ended = False

    def add(self, call: Message) -> bool:
        """False: it was turned down, and told so."""
        if self._ended:
            self._answer(call, self._verb, Outcome.UNAVAILABLE, ENDS)
        elif len(self._waiting) >= MOST:
            self._answer(call, self._verb, Outcome.REJECTED, "too many ask for it")
        else:
            self._waiting.append(call)
            return True
        return False

    def begin(self) -> None:
        """It is being done for all that wait."""
        self._under_way += self._waiting
        self._waiting = []

    def settle(self, outcome: Outcome, detail: str, data: Json = None) -> None:
        """It is done, or cannot be."""
        calls, self._under_way = self._under_way, []
        for call in calls:
            self._answer(call, self._verb, outcome, detail, data)

    def end(self) -> None:
        """The bridge stops: nothing is begun any more."""
        self._ended = True
        self.begin()
        self.settle(Outcome.UNAVAILABLE, ENDS)
