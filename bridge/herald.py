"""What the bridge says about itself: its events, its info, its health."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from time import monotonic, time

import structlog

from bridge import __version__, health, payload
from bridge.device import Device
from bridge.fleet import Fleet
from bridge.intake import Intake
from bridge.journal import Journal
from bridge.model import Json
from bridge.outbox import Outbox, Publication
from bridge.publisher import Publisher
from bridge.settings import Settings
from bridge.topics import Topics
from bridge.uplink import Uplink

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Herald:
    """Made before what it speaks of: `Daemon` gives it the rest when there is one."""

    fleet: Fleet
    intake: Intake
    publisher: Publisher
    uplink: Uplink

    def __init__(self, settings: Settings, topics: Topics, outbox: Outbox, journal: Journal) -> None:
        self._settings, self._topics, self._outbox, self._journal = settings, topics, outbox, journal
        self._started = monotonic()
        self._trouble = ""
        self._turned_down: Counter[str] = Counter()

    # --- events --------------------------------------------------------------------------------------

    def refused(self, kind: str, reason: str, topic: str) -> None:
        """Something of a message on `set` or `call` was turned down: all of it, or where its answer should go."""
        self._turned_down[kind] += 1
        log.warning("turned down", kind=kind, reason=reason, topic=topic)
        self._event("refused", {"kind": kind, "reason": reason, "topic": topic})

    def set_aside(self, reason: str, topic: str) -> None:
        """A message of ours can never be published."""
        log.error("a message cannot be published", topic=topic, reason=reason)
        self._event("refused", {"kind": "publication", "reason": reason, "topic": topic})

    def link_changed(self, device: Device) -> None:
        state = "online" if device.ready else "offline"
        log.info(f"device {state}", device=device.name, reason=device.link.reason or None)
        self._event("link", {"device": device.name, "state": state, "reason": device.link.reason})
        self.tell_health()

    def broker_back(self, reason: str) -> None:
        """Nothing could be said while the connection to the broker was lost: so what it was is said afterwards."""
        broker = f"{self._settings.mqtt.host}:{self._settings.mqtt.port}"
        self._event("link", {"broker": broker, "state": "online", "reason": reason})

    def taken_over(self, reason: str) -> None:
        self._event("takeover", {"reason": reason})

    def gap(self, lost: int) -> Publication:
        """The word of occurrences that were lost."""
        log.error("occurrences were lost: the broker was away or slow for too long", lost=lost)
        return self._occurrence("gap", {"lost": lost})

    def trouble(self, reason: str) -> None:
        """What the connection to the broker lacks; "" when it lacks nothing."""
        if reason != self._trouble:
            self._trouble = reason
            self.tell_health()

    def _event(self, name: str, data: Mapping[str, object]) -> None:
        self._outbox.occurrence(self._occurrence(name, data))

    def _occurrence(self, name: str, data: Mapping[str, object]) -> Publication:
        text = payload.json({"event_type": name, "time": payload.timestamp(time()), **data})
        return Publication(self._topics.event(name), text)

    # --- documents -----------------------------------------------------------------------------------

    def tell_health(self) -> None:
        self._outbox.state(self._health())
        self.publisher.flush()

    def announce(self) -> Iterator[Publication]:
        yield Publication(self._topics.info, self._info(), retain=True)
        yield self._health()

    def _info(self) -> bytes:
        configured = self._settings.devices
        devices: dict[str, Json] = {
            name: {"driver": configured[name].driver, "name": configured[name].name} for name in self.fleet.devices
        }
        drivers = sorted({configured[name].driver for name in self.fleet.devices})
        return health.info(__version__, drivers, devices, self._settings.digest())

    def _health(self) -> Publication:
        fleet, outbox = self.fleet, self._outbox
        lag, fleet.lag = fleet.lag, 0.0
        document = health.Health(
            time=payload.timestamp(time()),
            uptime=round(monotonic() - self._started, 1),
            links={name: device.link.shown or device.link.state for name, device in fleet.devices.items()},
            conflicts=dict(fleet.conflicts),
            trouble=tuple(text for text in (self._trouble, self._journal.trouble) if text),
            queues={"answers": outbox.answers, "states": outbox.states, "occurrences": outbox.occurrences},
            published=self.publisher.published,
            merged=outbox.merged,
            dropped=dict(outbox.dropped),
            refused=dict(self.publisher.refused),
            turned_down=dict(self._turned_down),
            outcomes={outcome.value: count for outcome, count in self.intake.outcomes.items()},
            loop_lag=round(lag, 4),
            memory=health.memory(),
            round_trip=self.uplink.proof.round_trip,
        )
        return Publication(self._topics.health, document.encode(), retain=True)
