"""What waits to be published: answers, states and occurrences, each with its own rule of loss.

Answers are never dropped, states overwrite each other, occurrences are bounded and every loss is counted. An
occurrence that waited for a connection, or for this process to begin, is late: it goes after what happens now, and
its payload says `"cached": true`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Protocol

import msgspec
from msgspec import Struct

from bridge.mqtt_values import Meta

CACHED = b',"cached":true}'


class Publication(Struct, frozen=True, gc=False):
    """One message. `after`: topics of states that must go first, if they still wait.

    `number`: of an occurrence that survives this process until the broker has it; 0: it does not.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    meta: Meta | None = None
    after: tuple[str, ...] = ()
    number: int = 0


class Lane(Enum):
    ANSWER = auto()
    STATE = auto()
    OCCURRENCE = auto()
    LATE = auto()  # occurrences that waited for a connection


class Keep(Protocol):
    """Where occurrences survive this process."""

    def keep(self, item: Publication) -> int:
        """Its number there, from 1 on."""

    def forget(self, number: int) -> None: ...


class Outbox:
    """`kept`: where durable occurrences survive this process, if anywhere."""

    def __init__(
        self, occurrences: int = 10_000, occurrence_bytes: int = 16 << 20, kept: Keep | None = None
    ) -> None:
        self._answers: deque[Publication] = deque()
        self._states: dict[str, Publication] = {}
        self._occurrences: deque[Publication] = deque()
        self._late: deque[Publication] = deque()
        self._limit, self._byte_limit, self._kept = occurrences, occurrence_bytes, kept
        self._bytes = 0
        self.merged = 0
        self.dropped: Counter[str] = Counter()  # occurrences lost, by topic
        self.lost = 0  # occurrences lost and not yet told of

    def __len__(self) -> int:
        return len(self._answers) + len(self._states) + self.occurrences

    @property
    def answers(self) -> int:
        return len(self._answers)

    @property
    def states(self) -> int:
        return len(self._states)

    @property
    def occurrences(self) -> int:
        return len(self._occurrences) + len(self._late)

    def answer(self, item: Publication) -> None:
        self._answers.append(item)

    def state(self, item: Publication) -> None:
        """The latest wins, and waits where the first one stood."""
        self.merged += item.topic in self._states
        self._states[item.topic] = item

    def keep(self, item: Publication) -> Publication:
        """An occurrence that is for `occurrence` later; it survives this process from now on, if any do."""
        return item if self._kept is None else msgspec.structs.replace(item, number=self._kept.keep(item))

    def occurrence(self, item: Publication, *, durable: bool = True) -> None:
        """Over the bound the oldest go; `lost` counts them. `durable` ones survive this process, if any do."""
        if durable and not item.number:
            item = self.keep(item)
        self._occurrences.append(item)
        self._bytes += len(item.payload)
        self._shrink()

    def recall(self, items: Iterable[Publication]) -> None:
        """What an earlier process kept and the broker did not acknowledge, oldest first."""
        self._make_late(items)
        self._shrink()

    def head(self, gap: Publication) -> None:
        """The word of what was lost goes before what is left."""
        self.lost = 0
        self._occurrences.appendleft(gap)
        self._bytes += len(gap.payload)

    def _shrink(self) -> None:
        while self.occurrences > self._limit or (self._bytes > self._byte_limit and self.occurrences > 1):
            oldest = (self._late or self._occurrences).popleft()
            self._bytes -= len(oldest.payload)
            self.dropped[oldest.topic] += 1
            self.lost += 1
            self.settled(oldest)

    def _make_late(self, items: Iterable[Publication]) -> None:
        for item in map(marked, items):
            self._late.append(item)
            self._bytes += len(item.payload)

    def settled(self, item: Publication) -> None:
        """The broker has it, or never will: it need not survive any more."""
        if item.number and self._kept is not None:
            self._kept.forget(item.number)

    def begin(self) -> None:
        """There is a connection: the occurrences that waited for it are late."""
        waited, self._occurrences = self._occurrences, deque()
        self._bytes -= sum(len(item.payload) for item in waited)
        self._make_late(waited)

    def restart(self, states: Iterable[Publication]) -> None:
        """A new connection: the states are told from the beginning, in this order; removals that wait go first."""
        removals = {topic: item for topic, item in self._states.items() if not item.payload}
        announced = {item.topic: item for item in states}
        self._states = {topic: item for topic, item in removals.items() if topic not in announced} | announced

    def put_back(
        self,
        answers: Iterable[Publication],
        occurrences: Iterable[Publication],
        late: Iterable[Publication] = (),
        removals: Iterable[Publication] = (),
    ) -> None:
        """What was sent and not acknowledged goes to the head of its lane again, in its old order.

        Of states only removals: nothing else would ever tell them again.
        """
        self._answers.extendleft(reversed(list(answers)))
        for lane, items in ((self._occurrences, list(occurrences)), (self._late, list(late))):
            lane.extendleft(reversed(items))
            self._bytes += sum(len(item.payload) for item in items)
        self._states = {item.topic: item for item in removals} | self._states

    def next_answer(self) -> Publication | None:
        """The next answer, or first a state that it speaks of. It stays until `drop` is told."""
        if not self._answers:
            return None
        for topic in self._answers[0].after:
            if (state := self._states.get(topic)) is not None:
                return state
        return self._answers[0]

    def next_state(self) -> Publication | None:
        return next(iter(self._states.values()), None)

    def next_occurrence(self) -> Publication | None:
        return self._occurrences[0] if self._occurrences else None

    def next_late(self) -> Publication | None:
        return self._late[0] if self._late else None

    def remove(self, item: Publication) -> Lane:
        """What `next_...` gave was sent, or never can be. Which lane it was in."""
        if self._states.get(item.topic) is item:
            del self._states[item.topic]
            return Lane.STATE
        if self._answers and self._answers[0] is item:
            self._answers.popleft()
            return Lane.ANSWER
        self._bytes -= len(item.payload)
        if self._occurrences and self._occurrences[0] is item:
            self._occurrences.popleft()
            return Lane.OCCURRENCE
        self._late.popleft()
        return Lane.LATE


def marked(item: Publication) -> Publication:
    """The occurrence, its JSON object with `"cached": true`; said once, and other payloads stay as they are."""
    if not item.payload.startswith(b'{"') or item.payload.endswith(CACHED):
        return item
    return msgspec.structs.replace(item, payload=item.payload[:-1] + CACHED)
