"""Topic filters and what they match: the tree of subscriptions and the store of retained messages (4.7)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from bridge.simulators.mqtt_packets import Properties

S = TypeVar("S", bound=Hashable)

_CACHED_TOPICS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Message:
    """An application message inside the broker; `expires` is a moment of the loop's clock.

    The properties are those that travel on unchanged: the message expiry interval is written anew at each
    delivery, and topic aliases end here.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties = ()
    expires: float | None = None

    def expired(self, now: float) -> bool:
        """Whether its message expiry interval has passed."""
        return self.expires is not None and self.expires <= now

    @property
    def size(self) -> int:
        """Roughly the bytes it keeps in memory."""
        return len(self.topic) + len(self.payload)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one subscription was granted (3.8.3.1)."""

    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()


def copies(grants: Sequence[Grant]) -> list[Grant]:
    """What overlapping subscriptions of one client give it (3.3.4): each with an identifier a copy of its own.

    Those without share one, at the highest QoS. Mosquitto does the same for all; Node-RED 5 ignores a message that
    has several identifiers.
    """
    if len(grants) == 1:
        return list(grants)
    plain = [grant for grant in grants if not grant.identifiers]
    shared = Grant(
        max((grant.qos for grant in plain), default=0),
        retain_as_published=any(grant.retain_as_published for grant in plain),
    )
    return [grant for grant in grants if grant.identifiers] + ([shared] if plain else [])


def valid_filter(topic_filter: str) -> bool:
    """Whether wildcards stand alone in their level, and `#` in the last one only."""
    *leading, last = topic_filter.split("/")
    return (
        bool(topic_filter)
        and all(
            level == "+" or ("+" not in level and (level == "#" or "#" not in level)) for level in (*leading, last)
        )
        and "#" not in leading
    )


def matches(pattern: Sequence[str], topic: str) -> bool:
    """Whether a filter, split in levels, matches a topic; `$` topics need their first level named."""
    if topic.startswith("$") and pattern[0] in {"+", "#"}:
        return False
    levels = topic.split("/")
    for index, wanted in enumerate(pattern):
        if wanted == "#":
            return True
        if index >= len(levels) or wanted not in {"+", levels[index]}:
            return False
    return len(pattern) == len(levels)


@dataclass(slots=True, eq=False)
class _Node(Generic[S]):
    children: dict[str, _Node[S]] = field(default_factory=dict)
    grants: dict[S, Grant] = field(default_factory=dict)


class SubscriptionTree(Generic[S]):
    """All subscriptions, by the levels of their filters, so that a message meets only those that match."""

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()
        self._matched: dict[str, list[tuple[S, list[Grant]]]] = {}

    def add(self, topic_filter: str, subscriber: S, grant: Grant) -> None:
        """Grant a subscription; it replaces one of the same subscriber to the same filter."""
        node = self._root
        for level in topic_filter.split("/"):
            node = node.children.setdefault(level, _Node())
        node.grants[subscriber] = grant
        self._matched.clear()

    def remove(self, topic_filter: str, subscriber: S) -> None:
        """Take back a subscription that was granted."""
        path = []
        node = self._root
        for level in topic_filter.split("/"):
            path.append((node, level))
            node = node.children[level]
        del node.grants[subscriber]
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.children or child.grants:
                break
            del parent.children[level]
        self._matched.clear()

    def match(self, topic: str) -> list[tuple[S, list[Grant]]]:
        """The subscribers whose filters match a topic, each once, with all its matching grants."""
        found = self._matched.get(topic)
        if found is None:
            if len(self._matched) >= _CACHED_TOPICS:
                self._matched.clear()
            collected: dict[S, list[Grant]] = {}
            for node in self._nodes(topic):
                for subscriber, grant in node.grants.items():
                    collected.setdefault(subscriber, []).append(grant)
            found = self._matched[topic] = list(collected.items())
        return found

    def _nodes(self, topic: str) -> Iterator[_Node[S]]:
        current = [self._root]
        wildcards = not topic.startswith("$")
        for level in topic.split("/"):
            following = []
            for node in current:
                if wildcards and (rest := node.children.get("#")):
                    yield rest
                if wildcards and (anything := node.children.get("+")):
                    following.append(anything)
                if exact := node.children.get(level):
                    following.append(exact)
            current, wildcards = following, True
        for node in current:
            yield node
            if rest := node.children.get("#"):  # "a/#" matches "a" too
                yield rest


class RetainedMessages:
    """The last retained message of each topic, within a limit of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: dict[str, Message] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._messages)

    def store(self, message: Message, now: float) -> bool:
        """Keep a message, or forget its topic if the payload is empty; False when there is no room."""
        old = self._messages.get(message.topic)
        growth = (message.size if message.payload else 0) - (old.size if old else 0)
        if growth > 0 and self._size + growth > self._limit:
            self._forget_expired(now)
            old = self._messages.get(message.topic)
            growth = message.size - (old.size if old else 0)
            if self._size + growth > self._limit:
                return False
        self._size += growth
        self._messages.pop(message.topic, None)
        if message.payload:
            self._messages[message.topic] = message
        return True

    def matching(self, topic_filter: str, now: float) -> list[Message]:
        """The retained messages that a new subscription is to see, oldest first."""
        if "+" in topic_filter or "#" in topic_filter:
            pattern = topic_filter.split("/")
            found = [message for topic, message in self._messages.items() if matches(pattern, topic)]
        else:
            found = [self._messages[topic_filter]] if topic_filter in self._messages else []
        return [message for message in found if not message.expired(now)]

    def _forget_expired(self, now: float) -> None:
        for message in [message for message in self._messages.values() if message.expired(now)]:
            del self._messages[message.topic]
            self._size -= message.size
