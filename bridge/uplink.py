"""The connection to the broker: subscribe, prove that the line is alive, announce, and say why it ended."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Protocol

import structlog

from bridge.driver import Verdict
from bridge.ends import SessionClosed, explain
from bridge.keeper import End
from bridge.mqtt import ConnectionSettings, Filter, Message, Mqtt, MqttError, Refused
from bridge.mqtt_values import LARGEST_PACKET
from bridge.outbox import Publication
from bridge.proof import CANARY, Proof
from bridge.publisher import Publisher
from bridge.topics import Topics

SUBACK = 10.0  # seconds for the broker to grant subscriptions
PROOF = 3.0  # seconds for the first canary
DISK = 0.05  # seconds, at the end, for commands whose ids are on their way to the disk
FAREWELL = 0.5  # seconds, at the end, for answers to what came until then
DEAD = 10.0  # seconds without canary or PUBACK after which the line is given up
TAKEOVER, SUSPICIOUS = 0x8E, 5.0  # reason code; seconds from connect to end
WINDOW, RESTLESS = 60.0, 20.0  # seconds to look back: for ends that say it, and for such that only look like it

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Owner(Protocol):
    """What the connection needs of the daemon."""

    def announce(self) -> Iterable[Publication]:
        """All retained states but the bridge's own `online`, in the order of the contract."""

    def message(self, message: Message) -> None:
        """A message that is neither canary nor own status."""

    def proved(self) -> None:
        """The first canary is back: all that the broker kept has been read. Before anything is announced."""

    def recovered(self, reason: str) -> None:
        """There is a connection again; `reason` tells how the last one ended or the first tries failed."""

    def fault(self, topic: str, reason: str) -> None:
        """A message could not be worked on."""

    def taken_over(self, reason: str) -> None:
        """We are back after another client had our name."""

    def trouble(self, reason: str) -> None:
        """What the connection is worth knowing of while it is up; "" when all is well."""


class Uplink:
    """`attempt` is one connection and `ended` the word of its end, for `keep`; `owner` is told of all between."""

    def __init__(
        self,
        settings: ConnectionSettings,
        topics: Topics,
        filters: Callable[[], list[Filter]],
        publisher: Publisher,
        owner: Owner,
    ) -> None:
        self._settings, self._topics, self._filters = settings, topics, filters
        self._publisher, self._owner = publisher, owner
        self.proof = Proof()
        self.mqtt: Mqtt | None = None
        self.announced = False  # connected, and everything is told: from then on until the end
        self.connections = 0  # that were announced on
        self.reason = "not yet connected"
        self.stopping = False
        self.turns_at = math.inf  # when it does something at the latest, on the loop's clock
        self._deaf = False  # nothing that arrives is looked at any more
        self._short: deque[float] = deque(maxlen=4)  # ends that look like a take-over
        self._heard = 0.0  # when something came from the broker
        self._taken = ""  # why it seems that another client has our name
        self._lost = ""  # how the trouble began that is over when there is a connection again
        self._home: asyncio.Future[None] | None = None  # the first canary of this connection
        self._echoes: dict[bytes, asyncio.Future[None]] = {}  # canaries that somebody waits for

    @property
    def online(self) -> Publication:
        return Publication(self._topics.status, b"online", retain=True)

    def largest_packet(self) -> int:
        """Bytes that the broker takes in one packet, as far as is known."""
        return self.mqtt.limits.packet if self.mqtt is not None else LARGEST_PACKET

    async def attempt(self) -> None:
        """One connection, from its beginning to its end; raises what ended it."""
        mqtt = Mqtt(self._settings, self._message, self._acknowledged, self._publisher.flush)
        self.turns_at = monotonic() + self._settings.timeout + SUBACK + PROOF
        begun = None
        self.proof.connected(monotonic(), session_present=True)  # kept messages may come before connect() returns
        try:
            await mqtt.connect()
            begun = self._heard = monotonic()
            self.mqtt = mqtt
            if not mqtt.limits.session_present:
                self.proof.connected(begun, session_present=False)
            own = [Filter(self._topics.status, retained=True), Filter(self._topics.canary, retained=False)]
            self._owner.trouble("")
            await self._subscribe(mqtt, [*own, *self._filters()])
            await self._prove(mqtt)
            self._publisher.attach(mqtt, [*self._owner.announce(), self.online])
            self.announced, self.reason = True, ""
            self.connections += 1
            if self._taken:
                self._owner.taken_over(self._taken)
                self._taken = ""
            if self._lost:
                self._owner.recovered(self._lost)
                self._lost = ""
            log.info("connected to the broker", host=self._settings.host, port=self._settings.port)
            await self._watch(mqtt)
            raise mqtt.closed.result() or SessionClosed("disconnected")
        except Exception as error:
            raise self._suspect(error, begun) from error
        finally:
            self.announced = False
            if not self.stopping:
                self.mqtt = None
                self._publisher.detach()
                await mqtt.disconnect(within=0.0)

    async def leave(self, last: list[Publication], drain: float) -> None:
        """The orderly end: what waits goes out, `last` after it, then goodbye."""
        mqtt = self.mqtt
        if mqtt is None or not mqtt.up:
            return
        await self._drain(mqtt, drain)
        self._deaf = True  # a command that came now would be answered after `last`, or to nobody
        await asyncio.sleep(DISK)
        await self._drain(mqtt, FAREWELL)
        self._publisher.detach()
        for item in last:
            if mqtt.room:
                mqtt.publish(item.topic, item.payload, item.qos, item.retain)
        await mqtt.disconnect(within=1.0)

    async def _drain(self, mqtt: Mqtt, within: float) -> None:
        deadline = monotonic() + within
        while not self._publisher.idle and monotonic() < deadline and mqtt.up:
            self._publisher.flush()
            await asyncio.sleep(0.01)

    async def ask(self, filters: list[Filter], within: float) -> None:
        """Subscribe to more, and return when all is read that the broker kept there, or it cannot be asked now.

        Then the next connection asks for all filters again.
        """
        try:
            async with asyncio.timeout(within):
                await self._ask(filters)
        except (MqttError, OSError) as error:  # TimeoutError is one
            log.warning("the broker cannot be asked", reason=explain(error))

    async def _ask(self, filters: list[Filter]) -> None:
        while (mqtt := self.mqtt) is not None and not self.announced:  # noqa: ASYNC110  (it is about to be announced)
            await asyncio.sleep(0.05)
        if mqtt is None:
            return
        await self._subscribe(mqtt, filters)
        while not mqtt.room and mqtt.up:  # noqa: ASYNC110  (as in `_drain`)
            await asyncio.sleep(0.02)
        self._echoes[token := self._send_canary(mqtt)] = echo = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([echo, mqtt.closed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._echoes[token]

    async def _subscribe(self, mqtt: Mqtt, wanted: list[Filter]) -> None:
        try:
            await mqtt.subscribe(wanted, SUBACK)
        except Refused as error:
            if not error.refused:
                raise
            topics = ", ".join(item.topic for item in error.refused)
            self._owner.trouble(f"the broker refuses subscriptions: {topics}")
            log.warning("subscriptions refused", topics=topics, reason=str(error))

    async def _prove(self, mqtt: Mqtt) -> None:
        """Wait for the first canary: a SUBACK alone is no proof that we may read."""
        self._home = asyncio.get_running_loop().create_future()
        self._send_canary(mqtt)
        ends: list[asyncio.Future[None] | asyncio.Future[Exception | None]] = [self._home, mqtt.closed]
        await asyncio.wait(ends, timeout=PROOF, return_when=asyncio.FIRST_COMPLETED)
        if mqtt.closed.done():
            raise mqtt.closed.result() or SessionClosed("disconnected")
        if not self._home.done():
            self._owner.trouble("the broker does not deliver what this bridge writes to its own canary topic")
            log.warning("may not read own topics: check the broker's access rules", topic=self._topics.canary)
        self._owner.proved()

    def _send_canary(self, mqtt: Mqtt) -> bytes:
        token = secrets.token_hex(8).encode()
        self.proof.sent(token, monotonic())
        mqtt.publish(self._topics.canary, token, qos=1)
        return token

    async def _watch(self, mqtt: Mqtt) -> None:
        """Send canaries and look at the clock until the connection has ended."""
        while not mqtt.closed.done():
            now = monotonic()
            oldest = mqtt.oldest_unacked
            readable = self._home is not None and self._home.done()  # or else no canary will ever come
            late = max(self.proof.waiting(now) if readable else 0.0, 0.0 if oldest is None else now - oldest)
            if late > DEAD and now - self._heard > DEAD:  # a slow line brings something, if not in time
                mqtt.abort(TimeoutError(f"the broker has answered nothing for {late:.0f} s"))
            elif mqtt.room:
                self._send_canary(mqtt)
            self.turns_at = now + CANARY
            await asyncio.wait([mqtt.closed], timeout=CANARY)

    # --- callbacks of the connection ------------------------------------------------------------------

    def _message(self, message: Message) -> None:
        self._heard = monotonic()
        if self._deaf:
            return
        if message.topic == self._topics.canary:
            back = self.proof.returned(message.payload, monotonic())
            if back and self._home is not None and not self._home.done():
                self._home.set_result(None)
            if (echo := self._echoes.get(message.payload)) is not None and not echo.done():
                echo.set_result(None)
        elif message.topic == self._topics.status:
            if message.payload != b"online" and not self.stopping and self.announced:
                log.warning("somebody said that this bridge is not online; corrected")
                self._publisher.state(self.online)
        else:
            self._hand_over(message)

    def _hand_over(self, message: Message) -> None:
        """A wide net: one odd message must not cost the connection, and a retained one for ever."""
        try:
            self._owner.message(message)
        except Exception as error:
            log.exception("a message could not be worked on by a fault of ours", topic=message.topic[:200])
            self._owner.fault(message.topic, f"{type(error).__name__} in this bridge")

    def _acknowledged(self, mid: int, code: int) -> None:
        self._heard = monotonic()
        self._publisher.acknowledged(mid, code)

    # --- ends -----------------------------------------------------------------------------------------

    def _suspect(self, error: Exception, begun: float | None) -> Exception:
        """Is there a second client of our name? Brokers that do not say so just close, again and again."""
        now = monotonic()
        if begun is None:
            self._short.clear()  # the broker itself was away
        taken = isinstance(error, Refused) and error.code == TAKEOVER
        short = isinstance(error, ConnectionError) and begun is not None and now - begun < SUSPICIOUS
        if not taken and not short:
            return error
        self._short.append(now)
        recent = [at for at in self._short if at > now - (WINDOW if taken else RESTLESS)]
        if len(recent) >= (2 if taken else 4):
            reason = f"another client seems to use the client id {self._settings.client_id!r}: {explain(error)}"
            self._taken = reason
            return SessionClosed(reason, Verdict.STUBBORN)
        return SessionClosed(explain(error)) if taken else error

    def ended(self, end: End) -> None:
        """For `keep`: tell once, then quietly."""
        self.turns_at = monotonic() + end.wait
        if self.stopping:
            return
        self.reason = explain(end.error)
        self._lost = self._lost or self.reason
        level = log.warning if end.first or end.verdict is not Verdict.PASSING else log.debug
        if end.verdict is Verdict.BUG:
            log.error(
                "broker connection failed by a fault of ours", exc_info=end.error, retry_in=round(end.wait, 1)
            )
        else:
            level("no connection to the broker", reason=self.reason, retry_in=round(end.wait, 1))
