"""What a device was said to have and has not shown since: kept until it was absent from two complete inventories.

Earlier lives are known from the documents that the broker keeps under `points`, earlier connections of this life
from the catalogue. Nothing else is written down: what the broker keeps is the only list of what is on it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import msgspec

from bridge.keys import key_levels, point_key

MOST = 10_000  # points and groups that are remembered as cleared in this life, and groups that are missed
LARGEST = 50_000  # points that are missed at a time: strangers may write lists, too
INVENTORIES = 2  # complete ones, without it, until something counts as vanished
_GROUP = ""  # in place of a key: the group itself


class _Point(msgspec.Struct):
    kind: str = ""


class Document(msgspec.Struct):
    """What of a document under `points` says which topics there may be."""

    group: str = ""
    points: dict[str, _Point] = {}
    former: dict[str, str] = {}  # kinds by key

    @property
    def kinds(self) -> dict[str, str]:
        """By key; what is no key could name a topic that is none of the device's."""
        all_of = self.former | {key: point.kind for key, point in self.points.items()}
        return {key: kind for key, kind in islice(all_of.items(), LARGEST) if _is_key(key)}


def _is_key(text: str) -> bool:
    try:
        return point_key(*key_levels(text)) == text
    except UnicodeDecodeError:  # what it escapes is no UTF-8
        return False


def read_document(payload: bytes) -> Document | None:
    """None: it is none of ours."""
    try:
        return msgspec.json.decode(payload, type=Document)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


class Ghosts:
    """Of one device: kinds by key, group by group."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, str]] = {}
        self._absences: Counter[tuple[str, str]] = Counter()
        self._size = 0  # of all groups together
        self._cleared: OrderedDict[tuple[str, str], None] = OrderedDict()  # in this life, the oldest first

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __contains__(self, group: str) -> bool:
        return group in self._kinds

    def of(self, group: str) -> Mapping[str, str]:
        return self._kinds.get(group, {})

    def missed(self, group: str, kinds: Mapping[str, str]) -> None:
        """These were there before, and are not declared now. Over the bounds they are not noticed."""
        if group not in self._kinds and len(self._kinds) >= MOST:
            return
        known = self._kinds.setdefault(group, {})
        new = [key for key in kinds if key not in known][: LARGEST - self._size]
        known.update((key, kinds[key]) for key in new)
        self._size += len(new)

    def declared(self, group: str, keys: Collection[str]) -> Mapping[str, str]:
        """The group is there, with these points; what those of them were that had been missed."""
        self._absences.pop((group, _GROUP), None)
        for key in (_GROUP, *keys):
            self._cleared.pop((group, key), None)
        back = self._kinds.get(group, {}).keys() & set(keys)
        return self.forget(group, back)

    def absent_group(self, group: str) -> bool:
        """A complete inventory is without the group; True when it has vanished."""
        self._absences[group, _GROUP] += 1
        return self._absences[group, _GROUP] >= INVENTORIES

    def absent_keys(self, group: str) -> list[str]:
        """A complete inventory has the group, but not the points that are missed; those that have vanished."""
        vanished = []
        for key in self.of(group):
            self._absences[group, key] += 1
            if self._absences[group, key] >= INVENTORIES:
                vanished.append(key)
        return vanished

    def forget(self, group: str, keys: Collection[str] | None = None) -> Mapping[str, str]:
        """They are cleared, or all of the group with itself; what they were."""
        kinds = self._kinds.get(group, {})
        these = kinds.keys() if keys is None else set(keys)
        gone = {key: kind for key, kind in kinds.items() if key in these}
        self._size -= len(gone)
        for key in gone:
            self._absences.pop((group, key), None)
        left = {key: kind for key, kind in kinds.items() if key not in gone}
        if left:
            self._kinds[group] = left
        else:
            self._kinds.pop(group, None)
            self._absences.pop((group, _GROUP), None)
        return gone

    def cleared(self, group: str, keys: Collection[str] | None) -> None:
        """These points, or the whole group, were cleared: should the broker still show them, they are no news."""
        for key in (_GROUP,) if keys is None else keys:
            self._cleared[group, key] = None
        while len(self._cleared) > MOST:
            self._cleared.popitem(last=False)

    def was_cleared(self, group: str, key: str = _GROUP) -> bool:
        return (group, key) in self._cleared or (group, _GROUP) in self._cleared
