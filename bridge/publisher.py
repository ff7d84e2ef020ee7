"""From the outbox to the broker: what is in flight, what comes back, what is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from bridge.mqtt import Mqtt, MqttError
from bridge.mqtt_values import REFUSAL
from bridge.outbox import Lane, Outbox, Publication, marked

STRIKES = 3  # lost connections in a row with the same message alone in flight: it is the message
OCCURRENCES_AT_ONCE = 50  # before the states get their turn
LATE_AT_ONCE = 10  # late occurrences in flight: the rest of the window is for what happens now
REFUSED_TOPICS = 100  # counted by name; the rest, for others choose response topics, under "others"


class Publisher:
    """`report(reason, topic)` is told of what can never be sent; `gap(lost)` is the word of lost occurrences."""

    def __init__(
        self, outbox: Outbox, report: Callable[[str, str], None], gap: Callable[[int], Publication]
    ) -> None:
        self._outbox, self._report, self._gap = outbox, report, gap
        self._mqtt: Mqtt | None = None
        self._flying: dict[int, tuple[Lane, Publication]] = {}
        self._late = 0  # of those, late occurrences
        self._strikes: Counter[Publication] = Counter()
        self._poison: set[Publication] = set()
        self._crowds = 0  # connections lost in a row with several in flight: which one it was does not show
        self._single = 0  # so many more go one at a time, so that it does
        self.published = 0
        self.refused: Counter[str] = Counter()  # by topic

    def attach(self, mqtt: Mqtt, states: Iterable[Publication]) -> None:
        """A new connection: all states are told from the beginning."""
        self._mqtt = mqtt
        self._outbox.begin()
        self._outbox.restart(item for item in states if item not in self._poison)
        self.flush()

    def detach(self) -> None:
        """The connection is gone. What was in flight goes again, unless it seems to be what kills connections."""
        self._mqtt = None
        again: dict[Lane, list[Publication]] = {lane: [] for lane in Lane}
        alone = len(self._flying) == 1
        self._crowds += len(self._flying) > 1
        if self._crowds > 1:
            self._single = max(self._single, 2 * len(self._flying))
        flying = [
            (lane, marked(item) if lane is Lane.OCCURRENCE else item) for lane, item in self._flying.values()
        ]  # as it will look the next time, so that its strikes count on
        self._strikes = Counter({item: self._strikes[item] + 1 for _, item in flying if alone})
        for lane, item in flying:
            if self._strikes[item] >= STRIKES:
                self._poison.add(item)
                self._set_aside(f"in flight at {STRIKES} lost connections in a row", item)
            else:
                again[lane].append(item)
        self._flying.clear()
        self._late = 0
        removals = [item for item in again[Lane.STATE] if not item.payload]
        self._outbox.put_back(again[Lane.ANSWER], again[Lane.OCCURRENCE], again[Lane.LATE], removals)

    def state(self, item: Publication) -> None:
        self._outbox.state(item)
        self.flush()

    def flush(self) -> None:
        """Hand over what the broker takes now."""
        mqtt, outbox = self._mqtt, self._outbox
        if mqtt is None:
            return
        if outbox.answers or outbox.occurrences or outbox.lost:
            self._flush_queues(mqtt, outbox)
        while (item := outbox.next_state()) is not None and self._send(mqtt, item):
            pass
        while self._late < LATE_AT_ONCE and not outbox.states and (item := outbox.next_late()) is not None:
            if not self._send(mqtt, item):
                break

    def _flush_queues(self, mqtt: Mqtt, outbox: Outbox) -> None:
        while (item := outbox.next_answer()) is not None and self._send(mqtt, item):
            pass
        if outbox.lost and mqtt.room:
            outbox.head(self._gap(outbox.lost))
        for _ in range(OCCURRENCES_AT_ONCE):
            if (item := outbox.next_occurrence()) is None or not self._send(mqtt, item):
                break

    def _send(self, mqtt: Mqtt, item: Publication) -> bool:
        """False: not now, and nothing after it either."""
        if mqtt.congested or (item.qos and (not mqtt.room or (self._single and self._flying))):
            return False
        try:
            mid = mqtt.publish(item.topic, item.payload, item.qos, item.retain, item.meta)
        except ValueError as error:  # TooLarge, or no topic: never on this connection
            self._outbox.remove(item)
            self._set_aside(str(error), item)
            return True
        except (BufferError, MqttError):
            return False
        lane = self._outbox.remove(item)
        self.published += 1
        if mid is not None:
            self._flying[mid] = lane, item
            self._late += lane is Lane.LATE
        return True

    def acknowledged(self, mid: int, code: int) -> None:
        """A PUBACK. A refusal is final: the same message would be refused again."""
        lane, item = self._flying.pop(mid, (None, None))
        if item is None:
            return
        self._late -= lane is Lane.LATE
        self._outbox.settled(item)
        self._single = max(0, self._single - 1)
        self._crowds = self._crowds if self._single or self._flying else 0
        self._strikes.pop(item, None)
        if code >= REFUSAL:
            self._set_aside(f"refused by the broker (0x{code:02X})", item)
        self.flush()

    def _set_aside(self, reason: str, item: Publication) -> None:
        named = item.topic in self.refused or len(self.refused) < REFUSED_TOPICS
        self.refused[item.topic if named else "others"] += 1
        self._outbox.settled(item)
        self._report(reason, item.topic)

    def owed(self, topic: str) -> bool:
        """A message to this topic was sent and is not acknowledged."""
        return any(item.topic == topic for _, item in self._flying.values())

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not self._flying and not self._outbox
