"""The declared points of a device, group by group, as users see them; and which groups are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bridge.access import Rules, forbidden
from bridge.ghosts import Ghosts
from bridge.model import WRITTEN, Declared, GroupState, GroupStatus, Kind, Point, Policy
from bridge.outbox import Publication
from bridge.overlay import PRESET, Overlay, Preset, View, preset_points, view
from bridge.points_document import PointsDocument, entry
from bridge.topics import DeviceTopics
from bridge.values import VALUED, Values

UNHEARD = "the device does not report it any more"
OFFLINE = GroupState.OFFLINE.encode()


class Catalogue:
    """`publish` takes what is retained; `changed` is told of groups that were declared, renamed, or are gone."""

    def __init__(
        self,
        topics: DeviceTopics,
        values: Values,
        publish: Callable[[Publication], None],
        rules: Rules,
        overlays: Mapping[str, Overlay],
        presets: Mapping[str, Preset],
        defaults: tuple[Policy, ...],
        changed: Callable[[str], None] = lambda group: None,
    ) -> None:
        self._topics, self._values, self._publish = topics, values, publish
        self._rules, self._overlays, self._presets, self._defaults = rules, overlays, presets, defaults
        self._changed = changed
        self._views: dict[str, View] = {}
        self.points: dict[str, Point] = {}  # as users see them
        self._groups: dict[str, dict[str, Point]] = {}  # as the driver declared them
        self._status: dict[str, GroupStatus] = {}
        self._declared: set[str] = set()  # groups told of on this connection
        self.ghosts = Ghosts()

    def view(self, key: str) -> View | None:
        return self._views.get(key)

    def offline(self, group: str) -> str | None:
        """Why this group is not there; None when it is."""
        status = self._status.get(group)
        if status is None or status.state is GroupState.ONLINE:
            return None
        return status.reason or f"{status.name or group} is {status.state}"

    def missing(self, point: Point) -> str | None:
        """Why a command to this point cannot go out now, though it could when it was taken; None: it can."""
        if point.key not in self.points:
            return f"{point.key} is not there any more"
        return self.offline(point.group)

    def known(self, group: str) -> bool:
        """It was declared in this life, and is not gone."""
        return group in self._groups

    def members(self, group: str) -> Iterator[tuple[View, str]]:
        """The points of a group as users see them, each with its access, as in the documents."""
        for key in self._groups.get(group, {}):
            yield self._views[key], self._access(self.points[key])

    def begin(self) -> None:
        """A new connection: what it does not declare is not there any more."""
        self._declared.clear()

    def unheard(self) -> Iterator[GroupStatus]:
        """Groups of earlier connections that this one did not declare."""
        for group in [group for group in self._groups if group and group not in self._declared]:
            self.ghosts.missed(group, self._kinds(self._groups[group]))
            yield GroupStatus(group, GroupState.OFFLINE, UNHEARD, self.name(group))

    def declare(self, event: Declared) -> None:
        group = event.group
        changed = group in self._declared  # on this connection: what is missing now, the driver says is gone
        self._declared.add(group)
        points = [*event.points, *preset_points(self._presets, event.points)]
        new = {point.key: point for point in points}
        old = self._groups.get(group, {})
        untold = group in self._status and not self._told(group)
        for key, kind in self.ghosts.declared(group, new.keys()).items():
            if kind in VALUED and new[key].kind not in VALUED:
                self._publish(Publication(self._topics.state(key), b"", retain=True))
        if new == old and group in self._groups:
            self._heard(group)
            return
        self._groups[group] = new
        if untold:
            self._publish(self._status_of(group))
        left = {key: point for key, point in old.items() if key not in new}
        if changed:
            self.ghosts.cleared(group, left)
        else:
            self.ghosts.missed(group, self._kinds(left))
        for key in left:
            self._remove(key, clear=changed)
        for point in points:
            shown = view(point, self._overlays, self._defaults)
            self._views[point.key], self.points[point.key] = shown, shown.point
            self._values.declare(shown)
        self._publish(self._document(group))
        self._changed(group)
        self._heard(group)

    def _heard(self, group: str) -> None:
        """A group that is declared is there, unless its driver says otherwise."""
        status = self._status.get(group)
        if group and (status is None or status.reason == UNHEARD):
            self.enter(GroupStatus(group, GroupState.ONLINE, name=self.name(group)))

    def enter(self, status: GroupStatus) -> bool:
        """A group's status; True when it changed. A group that is gone takes its points along."""
        old = self._status.get(status.group)
        if status.state is GroupState.GONE:
            self._forget(status.group)
            return old is not None
        self._status[status.group] = status
        if old is not None and old.state is status.state and old.name == status.name:
            return False
        if old is not None and old.name != status.name and status.group in self._groups:
            self._publish(self._document(status.group))
            self._changed(status.group)
        self._publish(self._status_of(status.group))
        return old is None or old.state is not status.state

    def _forget(self, group: str) -> None:
        for key in self._groups.pop(group, {}):
            self._remove(key)
        for key in self.ghosts.forget(group):
            self._clear(key)
        self.ghosts.cleared(group, None)
        self._status.pop(group, None)
        self._changed(group)
        self._clear_group(group)

    def _clear_group(self, group: str) -> None:
        if group:
            self._publish(Publication(self._topics.status(group), b"", retain=True))
        self._publish(Publication(self._topics.points(group), b"", retain=True))  # last: it lists what to clear

    def _remove(self, key: str, *, clear: bool = True) -> None:
        if any(key in points for points in self._groups.values()):
            return  # it moved to another group
        self._views.pop(key, None)
        self.points.pop(key, None)
        self._values.drop(key, clear=clear)

    def _clear(self, key: str) -> None:
        """What an earlier life or connection left of a point."""
        if key not in self.points:
            self._publish(Publication(self._topics.state(key), b"", retain=True))

    # --- what was there before ---------------------------------------------------------------------

    def _kinds(self, points: Mapping[str, Point]) -> dict[str, str]:
        return {key: point.kind.value for key, point in points.items()}

    def found(self, group: str, kinds: Mapping[str, str]) -> None:
        """What the broker keeps of an earlier life. What is not there now is offline, whatever was said of it."""
        declared = self._groups.get(group, {})
        for key in kinds:
            if self.ghosts.was_cleared(group, key):  # when there was no broker, or before it fell back in time
                self._clear(key)
        if self.ghosts.was_cleared(group):
            self._clear_group(group)
            return
        missed = {key: kind for key, kind in kinds.items() if key not in declared}
        missed = {key: kind for key, kind in missed.items() if not self.ghosts.was_cleared(group, key)}
        if missed or group not in self._groups:
            self.ghosts.missed(group, missed)
        if group and group in self.ghosts and group not in self._groups and group not in self._status:
            self._publish(Publication(self._topics.status(group), OFFLINE, retain=True))

    def inventory(self) -> dict[str, Mapping[str, str]]:
        """The device is there and has told all that it has: clear what was absent twice; kinds by group and key.

        A board that is offline may be why others are not told of, and nothing is known of its own points.
        """
        cleared: dict[str, Mapping[str, str]] = {}
        status = self._status.values()
        whole = all(one.state is GroupState.ONLINE or one.reason == UNHEARD for one in status)
        for group in list(self.ghosts) if self._declared else []:
            known = self._status.get(group)
            if group in self._declared:
                vanished = self.ghosts.absent_keys(group) if self.offline(group) is None else []
                if vanished:
                    cleared[group] = self.ghosts.forget(group, vanished)
                    self.ghosts.cleared(group, vanished)
                    for key in vanished:
                        self._clear(key)
                    self._publish(self._document(group))
            elif whole and (known is None or known.reason == UNHEARD) and self.ghosts.absent_group(group):
                cleared[group] = self.ghosts.of(group)
                self._forget(group)
        return cleared

    def statuses(self) -> Iterator[Publication]:
        yield from (self._status_of(group) for group in self._status)
        for group in self.ghosts:
            if group and group not in self._status:
                yield Publication(self._topics.status(group), OFFLINE, retain=True)

    def documents(self) -> Iterator[Publication]:
        return (self._document(group) for group in self._groups)

    def _status_of(self, group: str) -> Publication:
        state = self._status[group].state if self._told(group) else GroupState.OFFLINE
        return Publication(self._topics.status(group), state.encode(), retain=True)

    def _told(self, group: str) -> bool:
        """No: it had points in an earlier life, and its driver names it but knows none: they are not available."""
        return group in self._groups or group not in self.ghosts

    def name(self, group: str) -> str:
        """As a person calls it; "" when nobody said."""
        status = self._status.get(group)
        return status.name if status is not None else ""

    def _document(self, group: str) -> Publication:
        entries = {view.point.key: entry(view.point, access) for view, access in self.members(group)}
        former = {key: kind for key, kind in self.ghosts.of(group).items() if key not in entries}
        document = PointsDocument(group, entries, self.name(group), former)
        return Publication(self._topics.points(group), document.encode(), retain=True)

    def _access(self, point: Point) -> str:
        if point.kind is Kind.EVENT:
            return "event"
        verb = "write" if point.kind in WRITTEN else "call" if point.kind is Kind.ACTION else "read"
        if verb != "read" and (self._rules.read_only or self._forbidden(point)):
            return "read" if verb == "write" else "denied"
        return verb

    def _forbidden(self, point: Point) -> bool:
        """A preset may be denied by its own name, and otherwise has the rights of its action."""
        if not point.key.startswith(PRESET):
            return forbidden(self._rules, point.key, point.guarded) is not None
        action = self.points[self._presets[point.key.removeprefix(PRESET)].action]
        denied = forbidden(Rules(deny=self._rules.deny), point.key, guarded=False)
        return denied is not None or self._forbidden(action)
