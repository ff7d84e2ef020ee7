"""The newest jobs of a device as they stand on their topics, also after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bridge import payload
from bridge.model import Job, Json
from bridge.outbox import Publication
from bridge.topics import DeviceTopics

NEWEST = 20  # job topics kept per device; older ones are cleared
MOST = 10_000  # of those that nobody remembers, noticed at a time


class Jobs:
    """`tell` publishes; `remember(job, document or None)` keeps a document for the next process."""

    def __init__(
        self,
        topics: DeviceTopics,
        tell: Callable[[Publication], None],
        remember: Callable[[str, Json], None] = lambda job, document: None,
    ) -> None:
        self._topics, self._tell, self._remember = topics, tell, remember
        self.told: dict[str, Mapping[str, Json]] = {}  # the oldest first
        self._strays: set[str] = set()  # topics that the broker keeps and that were not ours when it said so

    def restore(self, documents: Mapping[str, Json]) -> None:
        """What an earlier process told. A job that was under way is settled by the driver, who remembers it."""
        self.told.update((job, document) for job, document in documents.items() if isinstance(document, Mapping))

    def found(self, topic: str, *, kept: bool) -> None:
        """What the broker says of a topic of a job, our own words among it. Strangers may invent some."""
        if not kept:
            self._strays.discard(topic)
        elif len(self._strays) < MOST and topic not in self._topics_told():
            self._strays.add(topic)

    def inventory(self) -> int:
        """The device is there: clear what nobody remembers, such as another driver's; how many there were."""
        strays, self._strays = self._strays - self._topics_told(), set()
        for topic in strays:
            self._tell(Publication(topic, b"", retain=True))
        return len(strays)

    def _topics_told(self) -> set[str]:
        return {self._topics.job(job) for job in self.told}

    def update(self, event: Job) -> None:
        """How a job stands now; a manifest that it has stays."""
        former = self.told.pop(event.id, {})
        manifest = {"manifest": former["manifest"]} if "manifest" in former else {}
        self._set(event.id, {"job": event.id, **event.data, **manifest})

    def conclude(self, job: str, manifest: Mapping[str, Json], former: Mapping[str, Json]) -> None:
        """The job's result is published: its topic says where. `former`: what was told when it was stored."""
        self._set(job, {"job": job, **self.told.get(job, former), "manifest": manifest})

    def documents(self) -> Iterator[Publication]:
        return (self._publication(job) for job in self.told)

    def _set(self, job: str, document: Mapping[str, Json]) -> None:
        self.told[job] = document
        self._remember(job, document)
        self._tell(self._publication(job))
        while len(self.told) > NEWEST:
            oldest = next(iter(self.told))
            del self.told[oldest]
            self._remember(oldest, None)
            self._tell(Publication(self._topics.job(oldest), b"", retain=True))

    def _publication(self, job: str) -> Publication:
        return Publication(self._topics.job(job), payload.json(self.told[job]), retain=True)
