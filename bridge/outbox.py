"""What waits to be published: answers, states and occurrences, each with its own rule of loss.

Answers are never dropped, states overwrite each other, occurrences are bounded and every loss is counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from enum import Enum, auto

from msgspec import Struct

from bridge.mqtt_values import Meta


class Publication(Struct, frozen=True, gc=False):
    """One message. `after`: topics of states that must go first, if they still wait."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    meta: Meta | None = None
    after: tuple[str, ...] = ()


class Lane(Enum):
    ANSWER = auto()
    STATE = auto()
    OCCURRENCE = auto()


class Outbox:
    def __init__(self, occurrences: int = 10_000, occurrence_bytes: int = 16 << 20) -> None:
        self._answers: deque[Publication] = deque()
        self._states: dict[str, Publication] = {}
        self._occurrences: deque[Publication] = deque()
        self._limit, self._byte_limit = occurrences, occurrence_bytes
        self._bytes = 0
        self.merged = 0
        self.dropped: Counter[str] = Counter()  # occurrences lost, by topic
        self.lost = 0  # occurrences lost and not yet told of

    def __len__(self) -> int:
        return len(self._answers) + len(self._states) + len(self._occurrences)

    @property
    def answers(self) -> int:
        return len(self._answers)

    @property
    def states(self) -> int:
        return len(self._states)

    @property
    def occurrences(self) -> int:
        return len(self._occurrences)

    def answer(self, item: Publication) -> None:
        self._answers.append(item)

    def state(self, item: Publication) -> None:
        """The latest wins, and waits where the first one stood."""
        self.merged += item.topic in self._states
        self._states[item.topic] = item

    def occurrence(self, item: Publication) -> None:
        """Over the bound the oldest go; `lost` counts them."""
        self._occurrences.append(item)
        self._bytes += len(item.payload)
        while len(self._occurrences) > self._limit or (
            self._bytes > self._byte_limit and len(self._occurrences) > 1
        ):
            oldest = self._occurrences.popleft()
            self._bytes -= len(oldest.payload)
            self.dropped[oldest.topic] += 1
            self.lost += 1

    def head(self, gap: Publication) -> None:
        """The word of what was lost goes before what is left."""
        self.lost = 0
        self._occurrences.appendleft(gap)
        self._bytes += len(gap.payload)

    def restart(self, states: Iterable[Publication]) -> None:
        """A new connection: the states are told from the beginning, in this order; removals that wait go first."""
        removals = {topic: item for topic, item in self._states.items() if not item.payload}
        announced = {item.topic: item for item in states}
        self._states = {topic: item for topic, item in removals.items() if topic not in announced} | announced

    def put_back(
        self,
        answers: Iterable[Publication],
        occurrences: Iterable[Publication],
        removals: Iterable[Publication] = (),
    ) -> None:
        """What was sent and not acknowledged goes to the head again, in its old order.

        Of states only removals: nothing else would ever tell them again.
        """
        self._answers.extendleft(reversed(list(answers)))
        again = list(occurrences)
        self._occurrences.extendleft(reversed(again))
        self._bytes += sum(len(item.payload) for item in again)
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

    def remove(self, item: Publication) -> Lane:
        """What `next_...` gave was sent, or never can be. Which lane it was in."""
        if self._states.get(item.topic) is item:
            del self._states[item.topic]
            return Lane.STATE
        if self._answers and self._answers[0] is item:
            self._answers.popleft()
            return Lane.ANSWER
        self._occurrences.popleft()
        self._bytes -= len(item.payload)
        return Lane.OCCURRENCE
