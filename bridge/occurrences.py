"""What happens at a device, on its way to be published; it waits while Home Assistant gets to know the device."""

from __future__ import annotations

import math
from collections import deque

from bridge import payload
from bridge.model import Block, Happened, point_key
from bridge.outbox import Outbox, Publication
from bridge.topics import DeviceTopics

PAUSE = 0.5  # seconds after a discovery; Home Assistant gathers its subscriptions for 0.1 s
LONGEST = 5.0  # seconds that one waits while discoveries follow one another
MOST, LARGEST = 1000, 1 << 20  # that wait, and their bytes; then all go: an early one is better than a lost one


class Occurrences:
    """Their order is kept, and none is lost here."""

    def __init__(self, topics: DeviceTopics, outbox: Outbox, *, keep_live: bool) -> None:
        self._topics, self._outbox, self._keep_live = topics, outbox, keep_live
        self._waiting: deque[Publication] = deque()
        self._bytes = 0
        self._held = False
        self._until: float | None = None  # the loop's clock; None: that tells the next tick
        self._latest = math.inf  # the same, of the first hold of several

    def happened(self, event: Happened, wall: float) -> None:
        """`wall`: seconds since the epoch."""
        data = {"event_type": event.name, "time": payload.timestamp(wall), **event.data}
        topic = self._topics.event(event.key or point_key(event.name))
        self._offer(Publication(topic, payload.json(data)), durable=True)

    def measured(self, block: Block) -> None:
        item = Publication(self._topics.live(block.job), payload.live_block(block))
        self._offer(item, durable=self._keep_live)

    def _offer(self, item: Publication, *, durable: bool) -> None:
        if not self._held:
            self._outbox.occurrence(item, durable=durable)
            return
        self._waiting.append(self._outbox.keep(item) if durable else item)
        self._bytes += len(item.payload)
        if len(self._waiting) >= MOST or self._bytes >= LARGEST:
            self._let_go()

    def hold(self) -> None:
        """Something of the device was announced just now, or is about to be."""
        self._held, self._until = True, None

    @property
    def due(self) -> float:
        """When `tick` has something to do next."""
        if not self._held:
            return math.inf
        return -math.inf if self._until is None else self._until

    def tick(self, now: float) -> None:
        if self._held and self._until is None:
            self._latest = min(self._latest, now + LONGEST)
            self._until = min(now + PAUSE, self._latest)
        elif self._until is not None and now >= self._until:
            self.release()

    def release(self) -> None:
        """Nothing need wait any more."""
        self._held, self._until, self._latest = False, None, math.inf
        self._let_go()

    def _let_go(self) -> None:
        self._bytes = 0
        while self._waiting:
            self._outbox.occurrence(self._waiting.popleft(), durable=False)  # those that are durable are kept
