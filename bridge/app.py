"""The daemon: everything is made and wired here, started, supervised and ended in order.

An event's way: Session (socket) -> Driver.receive -> Device.report -> Outbox -> Publisher -> Mqtt.
A command's: Mqtt -> Uplink -> Intake -> Device.submit -> Session -> Driver.submit; then Device -> Intake.answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from functools import partial
from time import monotonic, time

import structlog

from bridge import __version__, configured
from bridge.claims import Claims
from bridge.commands import Ticket
from bridge.device import Device
from bridge.fleet import Fleet
from bridge.herald import Herald
from bridge.intake import Clock, Intake, Origin
from bridge.journal import Journal
from bridge.keeper import keep
from bridge.kept import Kept
from bridge.memory import Memory
from bridge.model import Outcome, Reply
from bridge.mqtt import Filter, Message
from bridge.outbox import Outbox, Publication
from bridge.publisher import Publisher
from bridge.runner import Runner
from bridge.session import Tools
from bridge.settings import ConfigurationError, Settings
from bridge.shipping import Shipping
from bridge.topics import Topics
from bridge.uplink import Uplink
from bridge.workers import Workers

PROVED = 5.0  # seconds to wait for the broker's word on who has our devices, before they are started anyway
DRAIN = 3.0  # seconds, at the end, for what waits to be published
JOBS = "_jobs/"  # before a device's name: the journal's name for its job documents
WATCH = 1.0  # seconds between two looks at the journal's state
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
        path = None if bridge.state_dir is None else bridge.state_dir / "journal.db"
        self.journal = Journal.open(path, time())
        kept = Kept(self.journal)
        self.outbox = Outbox(kept=kept if self.journal.on_disk else None)
        self.outbox.recall(kept.earlier())
        self.herald = herald = Herald(settings, self.topics, self.outbox, self.journal)
        self.publisher = herald.publisher = Publisher(self.outbox, herald.set_aside, herald.gap)
        self._claims = Claims(self.topics, names)
        self.fleet = herald.fleet = Fleet(self._claims, self.publisher.flush, herald.tell_health)
        self.intake = herald.intake = Intake(
            self.topics,
            self.fleet.devices,
            self.journal,
            self.outbox,
            bridge.expires,
            bridge.response_prefix,
            self._commit,
            herald.refused,
            _audit,
            self.publisher.flush,
        )
        try:
            connection = configured.broker(settings, self.topics)
        except ValueError as error:
            raise ConfigurationError([f"mqtt.tls: {error}"]) from None
        self.uplink = herald.uplink = Uplink(connection, self.topics, self._filters, self.publisher, self)
        self._workers = Workers()
        self.shipping = Shipping(
            bridge.state_dir,
            self.fleet.devices,
            self.outbox,
            self.journal,
            self.publisher.flush,
            self.uplink.largest_packet,
            self.publisher.owed,
        )
        memory = Memory(self.journal, self._commit)
        self._tools = Tools(memory, self._workers.compute, self.shipping.keep, self.publisher.flush)
        for name in names:
            self._add(name)
        self._proved = asyncio.Event()

    def _add(self, name: str) -> None:
        profile, topics = configured.profile(name, self._settings), self.topics.device(name)
        told = f"{JOBS}{name}"  # no device is called so
        remember_job = partial(self.journal.remember, told)
        device = Device(profile, topics, self.outbox, self._answer, self.herald.link_changed, remember_job)
        device.jobs.restore(self.journal.memory(told))
        try:
            runner = Runner(device, self._settings.devices[name], self._tools)
        except ValueError as error:
            raise ConfigurationError([f"devices.{name}: {error}"]) from None
        self.fleet.add(device, runner)

    # --- life ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: then devices first, what waits, the broker last. A bug in here ends the process."""
        log.info("started", version=__version__, bridge=self._settings.bridge.id, devices=list(self.fleet.devices))
        if self.journal.trouble:
            log.warning("journal", trouble=self.journal.trouble)
        if not self.journal.durable:
            log.warning("no journal on disk (bridge.state_dir): nothing survives a restart")
        try:
            async with asyncio.TaskGroup() as group:
                broker = keep(self.uplink.attempt, self.uplink.ended, longest=30.0, brisk=math.inf)
                group.create_task(broker, name="broker")
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
        told, trouble = monotonic(), self.journal.trouble
        while True:
            await asyncio.sleep(WATCH)
            if self.journal.trouble != trouble:
                trouble = self.journal.trouble
                self.herald.tell_health()
            if monotonic() - told < HEALTH:
                continue
            told = monotonic()
            for device in self.fleet.devices.values():
                if device.name not in self.fleet.conflicts:
                    device.refresh_link()
            self.herald.tell_health()

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
        yield from self.herald.announce()

    def trouble(self, reason: str) -> None:
        self.herald.trouble(reason)

    def recovered(self, reason: str) -> None:
        self.herald.broker_back(reason)

    def fault(self, topic: str, reason: str) -> None:
        self.herald.refused("fault", reason, topic[:200])

    def taken_over(self, reason: str) -> None:
        self.herald.taken_over(reason)

    def message(self, message: Message) -> None:
        """A command, or news of other bridges."""
        address = self.topics.parse(message.topic)
        if address is None:
            if self._claims.heard(message.topic, message.payload) and self._proved.is_set():
                self.fleet.review()
            return
        if address.device in self.fleet.conflicts:
            return  # the bridge that has this device answers
        if self.outbox.answers > ANSWERS:
            self.herald.refused("overload", "too many answers wait to be published", message.topic)
        elif address.device is None:
            self._called(message, address.key)
        else:
            now = monotonic()
            self.intake.receive(message, address, Clock(now, time(), self.uplink.proof.age(now)))
        self.publisher.flush()

    def _called(self, message: Message, verb: str) -> None:
        """`_bridge/{id}/call/{verb}`."""
        if message.retain and not message.payload:
            return  # somebody clears one
        if message.retain or message.dup:
            self.herald.refused("retained" if message.retain else "duplicate", "not carried out", message.topic)
        elif verb == "refresh":
            self.outbox.restart([*self.announce(), self.uplink.online])  # in order, as on a new connection
            self.intake.tell(message, verb, Outcome.DONE, "announced again")
        else:
            self.intake.tell(message, verb, Outcome.REJECTED, f"no verb {verb!r}; try refresh")

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        self.intake.answer(ticket, reply, time(), ticket.proofs)

    def _commit(self) -> asyncio.Task[bool] | None:
        """What was written to the journal so far is on disk when this is done; None: there is no disk."""
        return asyncio.ensure_future(self.journal.flush()) if self.journal.on_disk else None


def _audit(ticket: Ticket, reply: Reply) -> None:
    asked = [origin.asked for origin in ticket.origins if isinstance(origin, Origin)]
    audit.info(
        "command",
        id=reply.id,
        topic=asked[0] if asked else ticket.point.key,
        value=ticket.command.value,
        args=ticket.command.args or None,
        outcome=reply.outcome.value,
        detail=reply.detail,
    )
