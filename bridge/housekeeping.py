"""What this bridge left on the broker and nothing stands behind any more goes away, in two steps.

Points and groups that were not seen in two complete inventories, a minute apart, and devices that left the
configuration. The list of what there is are the broker's own retained documents: `points` and `link`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic, time

import structlog

from bridge import discovery, leftovers, retained
from bridge.device import Device
from bridge.ends import explain
from bridge.ghosts import read_document
from bridge.keys import key_levels
from bridge.link import Link, State
from bridge.mqtt import ConnectionSettings, Filter, Message, MqttError
from bridge.outbox import Publication
from bridge.publisher import Publisher
from bridge.settings import Settings
from bridge.topics import DeviceTopics, Topics

REMOVED = "removed from the configuration"
DISABLED = "disabled in the configuration"
HARMLESS = ("", "read_only")  # conditions of a link under which a device still shows all that it has
MOST_DEVICES = 1000  # that left; strangers may invent names
AT_ONCE = 20  # of them that are cleared away in one round
MOST_TOPICS = 20_000  # cleared at once; the rest a minute later

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    between: float = 60.0  # two inventories
    settled: float = 10.0  # that a device must have been there without interruption
    patience: float = 60.0  # from the word that a device left to its removal


PACE = Pace()


@dataclass(frozen=True, slots=True)
class _Gone:
    link: bytes  # as it is told
    due: float  # on the loop's clock


class Housekeeping:
    """`connected`: all is announced; before that the broker tells what it keeps."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        topics: Topics,
        devices: Mapping[str, Device],
        connection: ConnectionSettings,
        publisher: Publisher,
        connected: Callable[[], bool],
    ) -> None:
        self._settings, self._topics, self._devices = settings, topics, devices
        self._connection, self._publisher, self._connected = connection, publisher, connected
        announced = settings().home_assistant
        self._prefix = announced.prefix
        self._unannounce = not announced.discovery  # switched off: what an earlier life announced goes
        self._met: dict[str, Device] = {}  # that a reload is about to add
        self._gone: dict[str, _Gone] = {}
        self._pace = PACE
        self.inventories = 0  # so far

    # --- what the broker keeps -------------------------------------------------------------------------

    def filters(self) -> list[Filter]:
        """Not `no_local`: some brokers would then keep back what an earlier life of this very client retained."""
        own = [one for device in self._devices.values() for one in documents(device.topics)]
        return [*own, Filter(f"{self._topics.root}/+/link", 0, retained=True)]

    def meet(self, devices: Iterable[Device]) -> list[Filter]:
        """Devices that a reload adds or makes afresh; what to subscribe to before they are there."""
        for device in devices:
            self._met[device.name] = device
            self._gone.pop(device.name, None)  # it came back
        return [one for device in self._met.values() for one in documents(device.topics)]

    def heard(self, message: Message) -> None:
        """A document of an earlier life, or word of who has a device."""
        name = leftovers.device_of(message.topic, self._topics)
        if name is not None:
            if name not in self._devices:
                self._claimed(name, leftovers.owner(message.payload))
        elif message.topic.startswith(f"{self._topics.root}/"):
            name = message.topic.removeprefix(f"{self._topics.root}/").partition("/")[0]
            if (device := self._met.get(name) or self._devices.get(name)) is not None:
                self._documented(device, message)

    def _documented(self, device: Device, message: Message) -> None:
        """Later on it is only the echo of what we say ourselves."""
        if message.topic.startswith(f"{device.topics.base}/job/"):
            device.jobs.found(message.topic, kept=bool(message.payload))
            return
        if self._connected() and device.catalogue.points:
            return
        if message.payload and (group := _group_of(message.topic, device)):
            ours = message.payload == b"offline" and group in device.catalogue.ghosts  # what we said comes back
            if not ours:
                device.catalogue.found(group, {})  # it may have no list: only its name was known
            return
        document = read_document(message.payload)
        if document is not None and message.topic == device.topics.points(document.group):
            device.catalogue.found(document.group, document.kinds)

    def _claimed(self, name: str, bridge: str) -> None:
        if bridge != self._topics.bridge:
            self._gone.pop(name, None)
        elif not self._connected() and len(self._gone) < MOST_DEVICES:
            self.removed(name, DISABLED if name in self._settings().devices else REMOVED)

    # --- devices that left -----------------------------------------------------------------------------

    def removed(self, name: str, reason: str = REMOVED) -> None:
        """A device left the configuration; nothing of it runs any more. After a while it is cleared away."""
        if name not in self._gone:
            link = Link(self._topics.bridge, reason=reason, since=time())
            self._gone[name] = _Gone(link.encode(), monotonic() + self._pace.patience)
            log.info("a device left: what is retained of it will be cleared", device=name, reason=reason)
        self._met.pop(name, None)
        if self._connected():
            for item in self._farewell(name):
                self._publisher.state(item)

    def announce(self) -> Iterator[Publication]:
        for name in self._gone:
            yield from self._farewell(name)

    def _farewell(self, name: str) -> Iterator[Publication]:
        """The link goes on naming this bridge: by that the next life knows that it may clear the rest."""
        device = self._topics.device(name)
        yield Publication(device.status(), b"offline", retain=True)
        yield Publication(device.link, self._gone[name].link, retain=True)

    # --- in time -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._pace.between)
            self._met = {name: made for name, made in self._met.items() if self._devices.get(name) is not made}
            before = self._there()
            await asyncio.sleep(self._pace.settled)
            self._inventory({name for name, since in self._there().items() if before.get(name) == since})
            try:
                await self._sweep()
            except (OSError, MqttError) as error:  # TimeoutError is one
                log.info("what the broker keeps cannot be read now", reason=explain(error))

    def _there(self) -> dict[str, tuple[int, float]]:
        """The devices that show all that they have, each with what changes when that is interrupted."""
        return {
            name: (device.link.times_ready, device.link.since)
            for name, device in self._devices.items()
            if device.link.state is State.READY and device.link.shown in HARMLESS and not device.silent
        }

    def _inventory(self, names: set[str]) -> None:
        for name in names:
            device = self._devices[name]
            if found := device.catalogue.inventory():
                for group, kinds in found.items():
                    device.showcase.vanished(group, kinds)
                points = sum(map(len, found.values()))
                log.info("not there any more, cleared", device=name, points=points, groups=[g for g in found if g])
            if jobs := device.jobs.inventory():
                log.info("jobs of an earlier life that nobody remembers, cleared", device=name, jobs=jobs)
        self.inventories += 1
        self._publisher.flush()

    async def _sweep(self) -> None:
        """Clear away what is left of devices that are gone, and of discovery that was switched off."""
        now = monotonic()
        self._gone = {name: gone for name, gone in self._gone.items() if name not in self._devices}
        due = [name for name, gone in self._gone.items() if gone.due <= now][:AT_ONCE]
        if not self._connected() or not (due or self._unannounce):
            return
        wanted = [*(f"{self._topics.root}/{name}/#" for name in due), discovery.topic_filter(self._prefix)]
        kept = await retained.read(self._connection, self._topics.canary, wanted)
        if self._unannounce:
            announced = leftovers.announcements(kept.messages, self._prefix, self._topics.status)
            self._clear([topic for topic, _ in announced], "discovery is switched off: announcements cleared")
            self._unannounce = not kept.complete
        for name in due:
            await asyncio.sleep(0)  # all that was read is looked through for each of them
            if name in self._gone and name not in self._devices:  # else it came back, here or elsewhere
                self._clear_away(name, kept)

    def _clear_away(self, name: str, kept: retained.Kept) -> None:
        """All but link and status; and these a minute later, when nothing else was found.

        What was read in part only may be without the link, or with nothing else: then in another minute.
        """
        self._gone[name] = self._gone.pop(name)  # next time it is the others' turn
        found = leftovers.of_device(kept.messages, self._topics, name, self._prefix)
        first, last = found or ([], [])
        if first:
            self._clear(first[:MOST_TOPICS], "what a device left is cleared", device=name)
        elif kept.complete:
            del self._gone[name]
            self._clear(last, "a device that left is cleared away", device=name)

    def _clear(self, topics: list[str], what: str, **about: str) -> None:
        for topic in topics:
            self._publisher.state(Publication(topic, b"", retain=True))
        if topics:
            log.info(what, topics=len(topics), **about)


def _group_of(topic: str, device: Device) -> str:
    """The group whose status this topic is; "" for none."""
    level = topic.removeprefix(f"{device.topics.status()}/")
    try:
        group = key_levels(level)[0]
    except UnicodeDecodeError:
        return ""
    return group if topic == device.topics.status(group) else ""


def documents(topics: DeviceTopics) -> Iterator[Filter]:
    """What is read back of a device: the retained documents that tell what earlier lives have told."""
    yield Filter(f"{topics.points()}/#", 0, retained=True)
    yield Filter(f"{topics.status()}/+", 0, retained=True)
    yield Filter(f"{topics.base}/job/+", 0, retained=True)
