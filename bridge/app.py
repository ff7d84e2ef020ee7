"""The daemon: everything is made and wired here, started, supervised and ended in order.

An event's way: Session (socket) -> Driver.receive -> Device.report -> Outbox -> Publisher -> Mqtt.
A command's: Mqtt -> Uplink -> Intake -> Device.submit -> Session -> Driver.submit; then Device -> Intake.answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic, time

import structlog

from bridge import __version__, configured, log
from bridge.audit import audit
from bridge.claims import Claims
from bridge.commands import Ticket
from bridge.fleet import Fleet
from bridge.herald import Herald
from bridge.home_assistant import HomeAssistant
from bridge.housekeeping import Housekeeping
from bridge.http import Server
from bridge.intake import Clock, Intake
from bridge.journal import Journal
from bridge.journal_file import NAME as JOURNAL
from bridge.keeper import keep
from bridge.kept import Kept
from bridge.maker import Maker
from bridge.memory import Memory
from bridge.model import Json, Outcome, Reply
from bridge.mqtt import Filter, Message
from bridge.outbox import Outbox, Publication
from bridge.progress import Progress
from bridge.publisher import Publisher
from bridge.reconfigure import VERB as RELOAD
from bridge.reconfigure import Parts, Reconfigure
from bridge.refresh import VERB as REFRESH
from bridge.refresh import Refresh
from bridge.session import Tools
from bridge.settings import Settings
from bridge.settings_secrets import secrets_of
from bridge.shipping import Shipping
from bridge.signs import Picture, Signs
from bridge.topics import Topics
from bridge.uplink import Uplink
from bridge.vitals import Vitals
from bridge.workers import Workers

PROVED = 5.0  # seconds to wait for the broker's word on who has our devices, before they are started anyway
DRAIN = 3.0  # seconds, at the end, for the devices and what waits to be published,
LEAST = 1.0  # and of these for the latter in any case: a process that is asked to stop ends within 5
ANSWERS = 10_000  # answers waiting at which no more commands are taken

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Daemon:
    """Made on the running loop; `run` until cancelled. ConfigurationError for what only shows when it is used."""

    def __init__(self, settings: Settings, read: Callable[[], Settings] | None = None) -> None:
        """`read` gives the configuration anew, for a reload."""
        self._settings = settings
        bridge = settings.bridge
        names = settings.enabled_devices
        self.topics = Topics(bridge.root, bridge.id)
        path = None if bridge.state_dir is None else bridge.state_dir / JOURNAL
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
            audit,
            self.publisher.flush,
        )
        connection = configured.broker(settings, self.topics)
        self.uplink = herald.uplink = Uplink(connection, self.topics, self._filters, self.publisher, self)
        self._home_assistant = HomeAssistant(settings.home_assistant, self.topics, self._announce_again)
        self._refresh = Refresh(self._announce_again, self._tell)
        devices, flush = self.fleet.devices, self.publisher.flush
        self.housekeeping = Housekeeping(
            lambda: self._settings, self.topics, devices, connection, self.publisher, lambda: self.uplink.announced
        )
        self._workers = Workers()
        packet, owed = self.uplink.largest_packet, self.publisher.owed
        self.shipping = Shipping(bridge.state_dir, devices, self.outbox, self.journal, flush, packet, owed)
        self._vitals = Vitals(lambda: self._settings, herald, self.shipping, lambda: self.signs.stuck)
        tools = Tools(Memory(self.journal, self._commit), self._workers.compute, self.shipping.keep, flush)
        maker = Maker(self.topics, self.outbox, self.journal, tools, self._answer, herald.link_changed)
        for name in names:
            runner = maker.make(name, settings)
            maker.restore(runner)
            self.fleet.add(runner.device, runner)
        self.signs = Signs(self._picture, Progress(self._turns), bridge.state_dir)
        parts = Parts(
            self.topics, self._claims, self.fleet, self.housekeeping, maker, self.uplink, herald, self.signs
        )
        self._reconfigure = Reconfigure(settings, read, parts, self._apply, self._tell)
        self._verbs = {RELOAD: self._reconfigure.ask, REFRESH: self._refresh.ask}
        self._proved = asyncio.Event()

    # --- life ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: then devices first, what waits, the broker last. A bug in here ends the process."""
        self._apply(self._settings)
        herald, names = self.herald, list(self.fleet.devices)
        logger.info("started", version=__version__, bridge=self.topics.bridge, devices=names)
        if self.journal.trouble:
            logger.warning("journal", trouble=self.journal.trouble)
        if not self.journal.durable:
            logger.warning("no journal on disk (bridge.state_dir): nothing survives a restart")
        try:
            async with asyncio.TaskGroup() as group:
                broker = keep(self.uplink.attempt, self.uplink.ended, longest=30.0, brisk=math.inf)
                group.create_task(broker, name="broker")
                group.create_task(herald.run(), name="health")
                group.create_task(self.signs.run(), name="signs")
                self._reconfigure.open(group)
                group.create_task(self.shipping.run(), name="shipping")
                group.create_task(self.housekeeping.run(), name="housekeeping")
                if (http := self._settings.http).enabled:
                    told = partial(self.herald.trouble, part="http")
                    group.create_task(Server(http.host, http.port, self._vitals.pages, told).run(), name="http")
                try:
                    async with asyncio.timeout(PROVED):
                        await self._proved.wait()
                except TimeoutError:
                    logger.warning(
                        "the broker cannot be asked: devices are started without it", reason=self.uplink.reason
                    )
                self.fleet.open(group)
                await self._stop_asked()
        finally:
            self.herald.log_to_mqtt("off")
            self._workers.close()
            self.shipping.close()
            await self.journal.close()

    async def _stop_asked(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            asked = monotonic()
            self.uplink.stopping = True
            self.signs.stopping()
            self._home_assistant.close()
            self._refresh.close()
            await self._reconfigure.close()
            await self.fleet.close()
            drain = max(LEAST, asked + DRAIN - monotonic())
            await self.uplink.leave([Publication(self.topics.status, b"offline", retain=True)], drain)
            logger.info("stopped")

    def reload(self) -> None:
        """Read the configuration again and put into effect what changed; soon."""
        self._reconfigure.ask()

    def _apply(self, settings: Settings) -> None:
        """What is in effect from now on, for all that is no device's."""
        old, new = self._settings.bridge, settings.bridge
        self._settings, self.intake.expires = settings, new.expires
        if (old.log_level, old.log_format) != (new.log_level, new.log_format):
            log.configure(new.log_level, new.log_format)
        log.hide(secrets_of(settings))
        self.herald.log_to_mqtt(new.log_to_mqtt)

    def _picture(self) -> Picture:
        devices = self.fleet.devices.values()
        ready = sum(device.ready for device in devices)
        return Picture(len(devices), ready, self.uplink.announced)

    def _turns(self) -> dict[str, float]:
        """When each part does something at the latest, on the loop's clock."""
        own = {"health": self.herald.turns_at, "broker": self.uplink.turns_at, "journal": self.journal.turns_at}
        return own | dict(self.fleet.turns())

    # --- what the broker's connection asks -------------------------------------------------------------

    def _filters(self) -> list[Filter]:
        commands = [Filter(topic) for topic in self.topics.filters(list(self.fleet.devices))]
        claims = [Filter(topic, retained=True) for topic in self._claims.filters()]
        return [*commands, *claims, *self.housekeeping.filters(), *self._home_assistant.filters()]

    def proved(self) -> None:
        """What the broker kept has been read: it is known who has which device."""
        self._proved.set()
        self.fleet.review()

    def announce(self) -> Iterator[Publication]:
        yield from self._home_assistant.announce()
        yield from self.fleet.announce()
        yield from self.housekeeping.announce()
        yield from self.herald.announce()

    def _announce_again(self) -> None:
        """In order, as on a new connection."""
        self.outbox.restart([*self.announce(), self.uplink.online])
        self.publisher.flush()

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
            if self._home_assistant.heard(message):
                return
            self.housekeeping.heard(message)
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
        elif (ask := self._verbs.get(verb)) is not None:
            ask(message)
        else:
            self._tell(message, verb, Outcome.REJECTED, f"no verb {verb!r}; there are {' and '.join(self._verbs)}")

    def _tell(self, call: Message, verb: str, outcome: Outcome, detail: str, data: Json = None) -> None:
        """The answer to a call of the bridge itself, whenever it comes."""
        self.intake.tell(call, verb, outcome, detail, data)
        self.publisher.flush()

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        self.intake.answer(ticket, reply, time(), ticket.proofs)

    def _commit(self) -> asyncio.Task[bool] | None:
        """What was written to the journal so far is on disk when this is done; None: there is no disk."""
        return asyncio.ensure_future(self.journal.flush()) if self.journal.on_disk else None
