"""What Home Assistant is shown of one device: which payloads are announced, and when they must be again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, field

from bridge import discovery
from bridge.catalogue import Catalogue
from bridge.discovery_components import PLATFORMS, Component, component
from bridge.model import Json, Kind
from bridge.occurrences import Occurrences
from bridge.outbox import Publication
from bridge.topics import DeviceTopics, Topics

STUBS = 1000  # removals of components that one payload carries at most
SETTLING = 30.0  # seconds for which a payload clears what an earlier process may have shown its points as


class Presentation(Struct, frozen=True):
    """How a device is shown, if it is; nothing in it is known to a driver."""

    prefix: str
    root: str
    bridge: str
    name: str  # as a person calls it
    area: str | None = None
    plain: bool = False  # its states are bare scalars
    shown: bool = True


HIDDEN = Presentation("", "", "", "", shown=False)


class _Told(Struct):
    """What is announced of one group."""

    text: bytes = b""
    platforms: dict[str, str] = field(default_factory=dict)  # by component id
    vanished: dict[str, str] = field(default_factory=dict)
    settled: float | None = None  # the loop's clock; None: that tells the next tick; infinity: it is


class Showcase:
    """Changes are gathered until `tick`, which tells one group at a time: thousands of points take a while.

    `publish` takes what is announced.
    """

    def __init__(
        self,
        device: str,
        own: DeviceTopics,
        presentation: Presentation,
        catalogue: Catalogue,
        publish: Callable[[Publication], None],
        occurrences: Occurrences,
    ) -> None:
        self._device, self._own, self._shown = device, own, presentation
        self._catalogue, self._publish, self._occurrences = catalogue, publish, occurrences
        self._topics = Topics(presentation.root, presentation.bridge)
        self._info: Mapping[str, Json] = {}
        self._told: dict[str, _Told] = {}
        # Groups, in their order; True: with news for a user.
        self._changed = {"": True} if presentation.shown else {}

    # --- what happens to the device ------------------------------------------------------------------

    def note(self, group: str) -> None:
        """A group was declared, renamed, or is gone."""
        if not self._shown.shown:
            return
        if group and not self._catalogue.known(group):
            self._changed.pop(group, None)
            self._told.pop(group, None)  # or an earlier process announced it
            self._publish(Publication(self._topic(group), b"", retain=True))
            return
        self._changed[group] = True
        self._occurrences.hold()

    def informed(self, info: Mapping[str, Json]) -> None:
        """What the device says it is."""
        if info != self._info:
            self._info = info
            for group in ["", *self._told]:
                self.note(group)

    def vanished(self, group: str, kinds: Mapping[str, str]) -> None:
        """Points (their kinds by key) that were announced before this process or connection, and are no more."""
        self._told.setdefault(group, _Told()).vanished.update(_possible(kinds))
        self.note(group)

    def renew(self) -> None:
        """Another bridge announced this device meanwhile: all of it must be told again."""
        for group, told in list(self._told.items()):
            told.text = b""
            self.note(group)

    # --- what goes out ---------------------------------------------------------------------------------

    def announce(self) -> Iterator[Publication]:
        """All of it, the instrument before its groups."""
        while self._changed:
            self._tell(*self._next())
        for group in sorted(self._told, key=bool):
            if self._told[group].text:
                yield self._publication(group)

    @property
    def due(self) -> float:
        """When `tick` has something to do next, on the loop's clock."""
        if self._changed or any(told.settled is None for told in self._told.values()):
            return -math.inf
        return min((told.settled for told in self._told.values() if told.settled is not None), default=math.inf)

    def tick(self, now: float) -> None:
        if self._changed:
            group, news = self._next()
            if self._tell(group, news):
                self._publish(self._publication(group))
        for group, told in self._told.items():
            if told.settled is None:
                told.settled = now + SETTLING
            elif told.settled <= now:
                told.settled = math.inf
                self._changed.setdefault(group, False)

    def _next(self) -> tuple[str, bool]:
        """What is to be told next: the instrument before the groups that are behind it."""
        group = "" if "" in self._changed else next(iter(self._changed))
        return group, self._changed.pop(group)

    def _tell(self, group: str, news: bool) -> bool:
        """Make one group's payload afresh; True when it is another than before."""
        if not self._catalogue.known(group) and group in self._catalogue.ghosts:
            return False  # what an earlier process announced stands until the device has declared what there is
        found, kinds = self._components(group)
        told = self._told.setdefault(group, _Told())
        vanished = self._stubs(group, told, found, kinds)
        text = self._payload(group, found, vanished) if found or vanished else b""
        if text == told.text:
            return False
        told.text = text
        if news:
            self._occurrences.hold()
        return True

    def _components(self, group: str) -> tuple[dict[str, Component], dict[str, Kind]]:
        """The components by id, and the kinds of all points by key."""
        found = dict([discovery.link_component(self._topics, self._own)] if not group else [])
        kinds = {}
        for view, access in self._catalogue.members(group):
            key = view.point.key
            kinds[key] = view.point.kind
            body = component(view.point, access, view.shown_as, self._own, plain=self._shown.plain)
            if body is not None:
                found[discovery.component_id(key, str(body["platform"]))] = body
        return discovery.selected(found), kinds

    def _may_come_back(self, group: str) -> set[str]:
        """Components of points that this connection has not declared, but that do not yet count as vanished."""
        return set(_possible(self._catalogue.ghosts.of(group)))

    def _stubs(
        self, group: str, told: _Told, found: Mapping[str, Component], kinds: Mapping[str, Kind]
    ) -> dict[str, str]:
        """The components to be removed. An earlier process may have had other platforms: which, nobody knows."""
        told.vanished = {name: told.vanished[name] for name in told.vanished if name not in found}
        stays = found.keys() | self._may_come_back(group)
        told.vanished |= {name: platform for name, platform in told.platforms.items() if name not in stays}
        told.vanished = dict(list(told.vanished.items())[-STUBS:])
        told.platforms = {name: str(body["platform"]) for name, body in found.items()}
        if told.settled == math.inf:
            return told.vanished
        maybe = [(name, platform) for name, platform in _possible(kinds).items() if name not in found]
        return dict(maybe[:STUBS]) | told.vanished

    def _payload(self, group: str, found: Mapping[str, Component], vanished: Mapping[str, str]) -> bytes:
        shown = self._shown
        about = discovery.About(
            device=self._device,
            name=shown.name,
            bridge=shown.bridge,
            area=shown.area,
            group=group,
            group_name=self._catalogue.name(group),
            info=self._info,
        )
        return discovery.device_payload(about, self._topics, self._own, found, vanished)

    def _publication(self, group: str) -> Publication:
        return Publication(self._topic(group), self._told[group].text, retain=True)

    def _topic(self, group: str) -> str:
        return discovery.topic(self._shown.prefix, self._device, group)


def _possible(kinds: Mapping[str, str]) -> dict[str, str]:
    """All components (platforms by id) that points of these kinds, by key, may ever have been shown as."""
    return {
        discovery.component_id(key, platform): platform
        for key, kind in kinds.items()
        for platform in PLATFORMS.get(kind, ())  # a document on the broker may tell of any kind
    }
