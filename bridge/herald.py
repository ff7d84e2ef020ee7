"""What the bridge says about itself: its events, its info, its health."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, time

import structlog

from bridge import __version__, health, log_events, payload
from bridge.device import Device
from bridge.fleet import Fleet
from bridge.intake import Intake
from bridge.journal import Journal
from bridge.log import sum_up as log_sums
from bridge.log_events import Level
from bridge.model import Json, Outcome
from bridge.outbox import Outbox, Publication
from bridge.publisher import Publisher
from bridge.settings import Settings
from bridge.topics import Topics
from bridge.uplink import Uplink

WATCH = 1.0  # seconds between two looks at the journal's state
HEALTH = 60.0  # seconds between health documents

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Herald:
    """Made before what it speaks of: `Daemon` gives it the rest when there is one."""

    fleet: Fleet
    intake: Intake
    publisher: Publisher
    uplink: Uplink

    def __init__(self, settings: Settings, topics: Topics, outbox: Outbox, journal: Journal) -> None:
        self._settings, self._topics, self.outbox, self.journal = settings, topics, outbox, journal
        self._started = monotonic()
        self.turns_at = math.inf  # when `run` does, on the loop's clock
        self._end_log: Callable[[], None] = lambda: None
        self._needs_restart: Sequence[str] = ()  # options that were changed by a reload and are not in effect
        self._troubles: dict[str, str] = {}  # by the part that has it
        self.gaps = 0
        self.reloads: Counter[Outcome] = Counter()
        self.reload_failed = False
        self.configured = time()  # since when what is in effect is: seconds since the epoch
        self.turned_down: Counter[str] = Counter()  # by kind

    async def run(self) -> None:
        """Health documents in time, and at once when the journal has trouble; and the log's sums."""
        told, trouble = monotonic(), self.journal.trouble
        while True:
            self.turns_at = monotonic() + WATCH
            await asyncio.sleep(WATCH)
            log_sums()
            if self.journal.trouble != trouble:
                trouble = self.journal.trouble
                self.tell_health()
            if monotonic() - told < HEALTH:
                continue
            told = monotonic()
            for device in self.fleet.devices.values():
                if device.name not in self.fleet.conflicts:
                    device.refresh_link()
            self.tell_health()

    # --- events --------------------------------------------------------------------------------------

    def refused(self, kind: str, reason: str, topic: str) -> None:
        """Something of a message on `set` or `call` was turned down: all of it, or where its answer should go."""
        self.turned_down[kind] += 1
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

    def reloaded(self, settings: Settings, difference: Mapping[str, Sequence[str]]) -> None:
        """These settings are in effect; `needs_restart` of the difference names what is not."""
        self._settings, self.configured, self.reload_failed = settings, time(), False
        self.reloads[Outcome.DONE] += 1
        self._needs_restart = difference["needs_restart"]
        missing = ", ".join(self._needs_restart)
        self.trouble(f"the configuration needs a restart: {missing}" if missing else "", "configuration")
        self.outbox.state(Publication(self._topics.info, self._info(), retain=True))
        self._event("reload", {"outcome": Outcome.DONE, **difference})
        self.tell_health()

    def reload_refused(self, problems: list[str]) -> None:
        """What is in effect goes on, but the next start would fail."""
        self.reload_failed = True
        self.reloads[Outcome.REJECTED] += 1
        self.trouble(f"the configuration cannot be used: {problems[0]}", "configuration")
        self._event("reload", {"outcome": Outcome.REJECTED, "problems": problems})

    def log_to_mqtt(self, level: Level) -> None:
        """From now on, until another level is given."""
        self._end_log()
        self._end_log = log_events.attach(self._logged, level)

    def _logged(self, data: Mapping[str, Json]) -> None:
        """Not on disk: what is logged about the disk must not go there."""
        self.outbox.occurrence(self._occurrence("log", data), durable=False)
        self.publisher.flush()

    def taken_over(self, reason: str) -> None:
        self._event("takeover", {"reason": reason})

    def gap(self, lost: int) -> Publication:
        """The word of occurrences that were lost."""
        self.gaps += 1
        log.error("occurrences were lost: the broker was away or slow for too long", lost=lost)
        return self._occurrence("gap", {"lost": lost})

    def trouble(self, reason: str, part: str = "broker") -> None:
        """What the connection to the broker, or another part, lacks; "" when it lacks nothing."""
        if reason != self._troubles.get(part, ""):
            self._troubles[part] = reason
            self.tell_health()

    def _event(self, name: str, data: Mapping[str, object]) -> None:
        self.outbox.occurrence(self._occurrence(name, data))

    def _occurrence(self, name: str, data: Mapping[str, object]) -> Publication:
        text = payload.json({"event_type": name, "time": payload.timestamp(time()), **data})
        return Publication(self._topics.event(name), text)

    # --- documents -----------------------------------------------------------------------------------

    def tell_health(self) -> None:
        self.outbox.state(self._health())
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
        return health.info(__version__, drivers, devices, self._settings.digest(), self._needs_restart)

    def _health(self) -> Publication:
        fleet, outbox = self.fleet, self.outbox
        lag, fleet.lag = fleet.lag, 0.0
        document = health.Health(
            time=payload.timestamp(time()),
            uptime=round(monotonic() - self._started, 1),
            links={name: device.link.shown or device.link.state for name, device in fleet.devices.items()},
            conflicts=dict(fleet.conflicts),
            trouble=tuple(text for text in (*self._troubles.values(), self.journal.trouble) if text),
            queues={"answers": outbox.answers, "states": outbox.states, "occurrences": outbox.occurrences},
            published=self.publisher.published,
            merged=outbox.merged,
            dropped=dict(outbox.dropped),
            refused=dict(self.publisher.refused),
            turned_down=dict(self.turned_down),
            outcomes={outcome.value: count for outcome, count in self.intake.outcomes.items()},
            loop_lag=round(lag, 4),
            memory=health.memory(),
            round_trip=self.uplink.proof.round_trip,
        )
        return Publication(self._topics.health, document.encode(), retain=True)
