"""The daemon: everything is made and wired here, started, supervised and ended in order.

An event's way: Session (socket) -> Driver.receive -> Device.report -> Outbox -> Publisher -> Mqtt.
A command's: Mqtt -> Uplink -> Intake -> Device.submit -> Session -> Driver.submit; then Device -> Intake.answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from time import monotonic, time

import structlog

from bridge import __version__, health, payload
from bridge.claims import Claims
from bridge.commands import Ticket
from bridge.device import Device
from bridge.fleet import Fleet
from bridge.intake import Clock, Intake
from bridge.journal import Journal
from bridge.keeper import keep
from bridge.memory import Memory
from bridge.model import Json, Reply
from bridge.mqtt import ConnectionSettings, Filter, Message, Will
from bridge.outbox import Outbox, Publication
from bridge.publisher import Publisher
from bridge.runner import Runner, profile
from bridge.session import Tools
from bridge.settings import ConfigurationError, Settings
from bridge.shipping import Shipping
from bridge.tls import client_context
from bridge.topics import Topics
from bridge.uplink import Uplink
from bridge.workers import Workers

PROVED = 5.0  # seconds to wait for the broker's word on who has our devices, before they are started anyway
DRAIN = 3.0  # seconds, at the end, for what waits to be published
HEALTH = 60.0  # seconds between health documents
ANSWERS = 10_000  # answers waiting at which no more commands are taken

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)
audit: structlog.typing.FilteringBoundLogger = structlog.get_logger("bridge.audit")


class Daemon:
    """Made on the running loop; `run` until cancelled. ConfigurationError for what only shows when it is used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        bridge = settings.bridge
        names = [name for name, device in settings.devices.items() if device.enabled]
        self.topics = Topics(bridge.root, bridge.id)
        self.outbox = Outbox()
        self.publisher = Publisher(self.outbox, self._set_aside)
        path = None if bridge.state_dir is None else bridge.state_dir / "journal.db"
        self.journal = Journal.open(path, time())
        self._claims = Claims(self.topics, names)
        self.fleet = Fleet(self._claims, self.publisher.flush, self._health)
        self.intake = Intake(
            self.topics,
            self.fleet.devices,
            self.journal,
            self.outbox,
            bridge.expires,
            bridge.response_prefix,
            self._commit,
            self._refused,
            _audit,
        )
        self.uplink = Uplink(_connection(settings, self.topics), self.topics, self._filters, self.publisher, self)
        self._workers = Workers()
        self.shipping = Shipping(
            bridge.state_dir,
            self.fleet.devices,
            self.outbox,
            self.journal,
            self.publisher.flush,
            self.uplink.largest_packet,
        )
        self._tools = Tools(
            Memory(self.journal, self._commit), self._workers.compute, self.shipping.keep, self.publisher.flush
        )
        for name in names:
            self._add(name)
        self._started = monotonic()
        self._proved = asyncio.Event()
        self._trouble: dict[str, str] = {}
        self._noticed: Counter[str] = Counter()

    def _add(self, name: str) -> None:
        topics = self.topics.device(name)
        device = Device(profile(name, self._settings), topics, self.outbox, self._answer)
        try:
            runner = Runner(
                device, self._settings.devices[name], self._tools, lambda data: self._event("link", data)
            )
        except ValueError as error:
            raise ConfigurationError([f"devices.{name}: {error}"]) from None
        self.fleet.add(device, runner)

    # --- life ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; then devices first, then what waits, then the broker. A bug in here ends the process."""
        log.info("started", version=__version__, bridge=self._settings.bridge.id, devices=list(self.fleet.devices))
        if self.journal.trouble:
            log.warning("journal", trouble=self.journal.trouble)
        if not self.journal.durable:
            log.warning("no state directory: what must survive a restart is kept in memory only")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep(self.uplink.attempt, self.uplink.ended, longest=30.0), name="broker")
                group.create_task(self._report(), name="health")
                group.create_task(self.shipping.run(), name="shipping")
                try:
                    async with asyncio.timeout(PROVED):
                        await self._proved.wait()
                except TimeoutError:
                    log.warning(
                        "the broker cannot be asked: devices are started without it", reason=self.uplink.reason
                    )
                self.fleet.open(group)
                await self._stop_asked()
        finally:
            self._workers.close()
            self.shipping.close()
            await self.journal.close()

    async def _stop_asked(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.uplink.stopping = True
            await self.fleet.close()
            await self.uplink.leave([Publication(self.topics.status, b"offline", retain=True)], DRAIN)
            log.info("stopped")

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(HEALTH)
            for device in self.fleet.devices.values():
                device.refresh_link()
            self._health()

    # --- what the broker's connection asks -------------------------------------------------------------

    def _filters(self) -> list[Filter]:
        commands = [Filter(topic) for topic in self.topics.filters(list(self.fleet.devices))]
        return [*commands, *(Filter(topic, retained=True) for topic in self._claims.filters())]

    def proved(self) -> None:
        """What the broker kept has been read: it is known who has which device."""
        self._proved.set()
        self.fleet.review()

    def announce(self) -> Iterator[Publication]:
        yield from self.fleet.announce()
        yield Publication(self.topics.info, self._info(), retain=True)
        yield Publication(self.topics.health, self._health_now().encode(), retain=True)

    def trouble(self, reason: str) -> None:
        self._trouble["broker"] = reason
        self._health()

    def message(self, message: Message) -> None:
        """A command, or news of other bridges."""
        address = self.topics.parse(message.topic)
        if address is None:
            if self._claims.heard(message.topic, message.payload) and self._proved.is_set():
                self.fleet.review()
            return
        if self.outbox.answers > ANSWERS:
            self._refused("overload", "too many answers wait to be published", message.topic)
        elif address.device is None:
            self._called(message, address.key)
        else:
            now = monotonic()
            self.intake.receive(message, address, Clock(now, time(), self.uplink.proof.age(now)))
        self.publisher.flush()

    def _called(self, message: Message, verb: str) -> None:
        """`_bridge/{id}/call/{verb}`."""
        if message.retain or message.dup:
            self._refused("retained" if message.retain else "duplicate", "not carried out", message.topic)
            return
        known = verb == "refresh"
        if known:
            for item in [*self.announce(), self.uplink.online]:
                self.outbox.state(item)
        outcome, detail = ("done", "announced again") if known else ("rejected", f"no verb {verb!r}; try refresh")
        text = payload.json({"outcome": outcome, "final": True, "detail": detail})
        self.outbox.answer(Publication(self.topics.reply(None, verb), text))

    # --- what is said about the bridge ------------------------------------------------------------------

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        self.intake.answer(ticket, reply, time(), ticket.proofs)

    def _event(self, name: str, data: Mapping[str, object]) -> None:
        text = payload.json({"event_type": name, "time": payload.timestamp(time()), **data})
        self.outbox.occurrence(Publication(self.topics.event(name), text))

    def _refused(self, kind: str, reason: str, topic: str) -> None:
        self._noticed[kind] += 1
        log.warning("command not carried out", kind=kind, reason=reason, topic=topic)
        self._event("refused", {"kind": kind, "reason": reason, "topic": topic})

    def _set_aside(self, reason: str, topic: str) -> None:
        log.error("a message cannot be published", topic=topic, reason=reason)
        self._event("refused", {"kind": "publication", "reason": reason, "topic": topic})

    def _info(self) -> bytes:
        devices: dict[str, Json] = {
            name: {"driver": self._settings.devices[name].driver, "name": self._settings.devices[name].name}
            for name in self.fleet.devices
        }
        drivers = sorted({self._settings.devices[name].driver for name in self.fleet.devices})
        return health.info(__version__, drivers, devices, self._settings.digest())

    def _health(self) -> None:
        self.outbox.state(Publication(self.topics.health, self._health_now().encode(), retain=True))
        self.publisher.flush()

    def _health_now(self) -> health.Health:
        fleet, outbox = self.fleet, self.outbox
        lag, fleet.lag = fleet.lag, 0.0
        trouble = [*self._trouble.values(), self.journal.trouble or ""]
        return health.Health(
            time=payload.timestamp(time()),
            uptime=round(monotonic() - self._started, 1),
            links={name: device.link.shown or device.link.state for name, device in fleet.devices.items()},
            conflicts=dict(fleet.conflicts),
            trouble=tuple(text for text in trouble if text),
            queues={"answers": outbox.answers, "states": outbox.states, "occurrences": outbox.occurrences},
            published=self.publisher.published,
            merged=outbox.merged,
            dropped=dict(outbox.dropped),
            refused=dict(self.publisher.refused),
            outcomes={outcome.value: count for outcome, count in self.intake.outcomes.items()},
            loop_lag=round(lag, 4),
            memory=health.memory(),
            round_trip=self.uplink.proof.round_trip,
        )

    def _commit(self) -> asyncio.Task[bool] | None:
        """What was written to the journal so far is on disk when this is done; None: there is no disk."""
        return asyncio.ensure_future(self.journal.flush()) if self.journal.durable else None


def _audit(ticket: Ticket, reply: Reply) -> None:
    audit.info(
        "command",
        id=reply.id,
        key=ticket.point.key,
        value=ticket.command.value,
        args=ticket.command.args or None,
        outcome=reply.outcome.value,
        detail=reply.detail,
    )


def _connection(settings: Settings, topics: Topics) -> ConnectionSettings:
    mqtt, tls = settings.mqtt, None
    if mqtt.tls is not None:
        try:
            tls = client_context(
                ca=mqtt.tls.ca,
                certificate=mqtt.tls.certificate,
                key=mqtt.tls.key,
                minimum_version=mqtt.tls.minimum_version,
                insecure=mqtt.tls.insecure,
            )
        except ValueError as error:
            raise ConfigurationError([f"mqtt.tls: {error}"]) from None
    return ConnectionSettings(
        host=mqtt.host,
        port=mqtt.port,
        client_id=settings.client_id,
        protocol=mqtt.protocol,
        username=mqtt.username,
        password=None if mqtt.password is None else mqtt.password.get_secret_value(),
        tls=tls,
        will=Will(topics.status, b"offline", delay=mqtt.will_delay),
        keepalive=mqtt.keepalive,
        session_expiry=mqtt.session_expiry,
        receive_maximum=mqtt.receive_maximum,
        timeout=mqtt.timeout,
    )
