"""All objects of one Evok host: which points they make, what they show, and on which board they sit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from bridge.drivers.evok_boards import Boards
from bridge.drivers.evok_frames import Record
from bridge.drivers.evok_objects import Known
from bridge.drivers.evok_points import EXPECTED, LABELS, ON_BOARDS, points_of
from bridge.model import Declared, Event, Happened, Point

MOST_KINDS = 50  # of unexpected things reported in one connection


class Inventory:
    """Records go in, events come out. Nothing is forgotten: right after Evok starts, an `all` is incomplete."""

    def __init__(self, devices: Collection[str], actions: Sequence[Point]) -> None:
        self.boards = Boards()
        self.wire_names: set[str] = set()
        self._devices = frozenset(devices)
        self._objects: dict[tuple[str, str], Known] = {}
        self._named: dict[str, Known] = {}  # by their own key
        self._owners: dict[str, Known] = {}  # by the key of a point
        self._ignored: set[str] = set()  # names of types
        self._points: dict[str, dict[str, Point]] = {"": {point.key: point for point in actions}}
        self._undeclared: set[str] = {""}  # groups
        self._bare: set[str] = set()  # boards that showed nothing but what is not wanted
        self._reported: set[str] = set()

    def find(self, key: str) -> Known | None:
        """The object behind a point, or the object of that key."""
        return self._owners.get(key) or self._named.get(key)

    def known(self, records: Sequence[Record]) -> bool:
        """None of these asks for other points than those declared."""
        objects = self._objects
        for record in records:
            known = objects.get((record.dev, record.circuit))
            if (not known.fits(record)) if known is not None else (record.dev not in self._ignored):
                return False
        return True

    def observe(self, records: Sequence[Record], complete: bool) -> tuple[list[Event], list[Known]]:
        """What these records show, and the objects of which a setting changed. The hot path.

        With `complete` they are what Evok remembers: that of silent boards is old, and not reported as new.
        """
        if complete and self.boards.any_silent:
            records = [record for record in records if not self._frozen(record)]
        events: list[Event] = []
        changed: list[Known] = []
        report = events.append
        objects = self._objects
        for record in records:
            known = objects.get((record.dev, record.circuit))
            if known is not None and known.observe(record, report):
                changed.append(known)
        return events, changed

    def _frozen(self, record: Record) -> bool:
        known = self._objects.get((record.dev, record.circuit))
        return known is not None and bool(self.boards.silence(known.group))

    def declare(self, records: Sequence[Record]) -> Iterator[Event]:
        """Make points of objects that are new or not what they were."""
        self.boards.learn(records)
        for record in records:
            if self._wanted(record.kind) and record.circuit:
                self._declare(record)
                continue
            if record.kind not in EXPECTED:
                yield from self.unexpected(f"object type {record.dev!r}" if record.dev else "message without dev")
            if record.circuit and record.dev != "relay" and len(self._ignored) < MOST_KINDS:
                self._ignored.add(record.dev)
        self._declare_bare(records)
        for group in sorted(self._undeclared):
            yield Declared(tuple(self._points[group].values()), group)
        self._undeclared.clear()
        yield from self.boards.changes()

    def _wanted(self, kind: str) -> bool:
        return kind in LABELS and (not self._devices or kind in self._devices)

    def _declare(self, record: Record) -> None:
        group = self.boards.board_of(record.circuit) if record.kind in ON_BOARDS else ""
        known = self._objects.get((record.dev, record.circuit))
        if known is None:
            known = self._objects[record.dev, record.circuit] = Known(record, group)
            self._named.setdefault(known.key, known)
            self.wire_names.add(record.dev)
        points = [
            point for point in points_of(record, group) if self._owners.setdefault(point.key, known) is known
        ]
        if known.group != group:  # its board became known later
            for key in known.points:
                del self._points[known.group][key]
            self._undeclared.add(known.group)
            known.group = group
        declared = self._points.setdefault(group, {})
        for point in points:
            if declared.get(point.key) != point:
                declared[point.key] = point
                self._undeclared.add(group)
        known.declare(record, points)

    def _declare_bare(self, records: Sequence[Record]) -> None:
        """Boards of which nothing is wanted have no points, or what they had would count as not told.

        Not before they showed it twice: right after Evok starts, an `all` is incomplete.
        """
        boards = {self.boards.board_of(record.circuit) for record in records if record.kind in ON_BOARDS}
        for group in (boards & self._bare) - self._points.keys():
            self._points[group] = {}
            self._undeclared.add(group)
        self._bare |= boards - self._points.keys()

    def unexpected(self, what: str) -> Iterator[Happened]:
        """Report something not understood, once per kind of thing."""
        if what not in self._reported and len(self._reported) < MOST_KINDS:
            self._reported.add(what)
            yield Happened("unexpected", {"what": what[:200]})
