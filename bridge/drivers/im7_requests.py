"""Requests under way: each has an id, a deadline, and somebody who takes its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bridge.driver import Effect, Effects, Send
from bridge.drivers.im7_errors import Problem, refusal
from bridge.drivers.im7_frames import request
from bridge.model import Json

OURS = "lab2mqtt"  # how the ids begin that are no command's
PATIENCE = 10.0  # seconds for an ordinary answer


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; `problem`: why it is none of success."""

    message: Mapping[str, object]
    problem: Problem | None


Take: TypeAlias = Callable[[Answer, float], Effects]
Miss: TypeAlias = Callable[[float], Effects]


@dataclass(frozen=True, slots=True)
class _Open:
    due: float
    take: Take
    miss: Miss


class Requests:
    """Correlates by `request_id` only (protocol: "Envelope")."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._turn = 0
        self.missed = 0  # in a row

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._open

    def name(self, wish: str | None = None) -> str:
        """An id that no request has had: the wish, or the next of our own."""
        name = wish or OURS
        if name in self._open or name.startswith(OURS):
            self._turn += 1
            name = f"{OURS}/{self._turn}"
        return name

    def ask(
        self,
        do: str,
        take: Take,
        miss: Miss,
        now: float,
        fields: Mapping[str, Json] = {},
        *,
        command: str | None = None,
        name: str | None = None,
        patience: float = PATIENCE,
    ) -> Send:
        """Send a request; `take` gets its answer, or `miss` is told that none came in time.

        `command`: the id of the command that this carries out. `name`: an id from `self.name`.
        """
        name = name or self.name(command)
        self._open[name] = _Open(now + patience, take, miss)
        return Send(request(do, name, fields), command)

    def answered(self, message: Mapping[str, object], now: float) -> Iterator[Effect]:
        """A reply arrived. One that nobody waits for (any more) is nothing."""
        request_id = message.get("request_id")
        found = self._open.pop(request_id, None) if isinstance(request_id, str) else None
        if found is not None:
            self.missed = 0
            yield from found.take(Answer(message, refusal(message)), now)

    def drop(self, name: str) -> None:
        """Nobody waits for this one any longer."""
        self._open.pop(name, None)

    def tick(self, now: float) -> Iterator[Effect]:
        for name, found in tuple(self._open.items()):
            if found.due <= now and self._open.pop(name, None) is not None:
                self.missed += 1
                yield from found.miss(now)

    @property
    def wake_at(self) -> float:
        return min((found.due for found in self._open.values()), default=math.inf)
