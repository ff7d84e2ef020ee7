"""A device, its session and all that is between them and MQTT; what would be published is kept in a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

from bridge import payload
from bridge.commands import Ticket
from bridge.device import Device, Profile
from bridge.gate import Store
from bridge.heartbeat import Pings
from bridge.journal import Journal
from bridge.memory import Memory
from bridge.model import Command, Json, Reply
from bridge.outbox import Outbox, Publication
from bridge.plugins import AnyPlugin
from bridge.session import Session, Tools
from bridge.shipping import Shipping
from bridge.topics import DeviceTopics
from bridge.websocket import Target
from bridge.workers import Workers
from tests.toy import driver
from tests.toy.instrument import Instrument

DEADLINE = 10.0  # seconds for anything that a test waits for
NAME = "toy"


class Bell:
    """Rung whenever something may have changed, so that tests wait for conditions instead of times."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._rung.clear()
                await self._rung.wait()


class RingingMemory(Memory):
    def __init__(self, bell: Bell, journal: Journal, commit: Callable[[], asyncio.Future[bool] | None]) -> None:
        super().__init__(journal, commit)
        self._bell = bell

    def remember(self, device: str, key: str, value: Json) -> None:
        super().remember(device, key, value)
        self._bell.ring()


class Bench:
    """`published`: in the order of a publisher that is never held up. `retained`: what a broker would keep."""

    def __init__(
        self,
        instrument: Instrument,
        *,
        plugin: AnyPlugin = driver.plugin,  # type: ignore[assignment]  # as plugins.load says it
        profile: Profile | None = None,
        options: dict[str, object] | None = None,
        pings: Pings | None = None,
        journal: Journal | None = None,
        store: Store | None = None,
        results: Path | None = None,
        send_limit: int = 4 << 20,
    ) -> None:
        self.bell = Bell()
        instrument.noticed = self.bell.ring
        self.published: list[Publication] = []
        self.retained: dict[str, bytes] = {}
        self.replies: list[Reply] = []
        self.outbox = Outbox()
        self.topics = DeviceTopics("lab2mqtt", NAME)
        self.device = Device(
            profile or Profile(NAME, "test", touches=plugin.touches), self.topics, self.outbox, self._answer
        )
        self.journal = journal or Journal.open(None, time())
        self.workers = Workers()
        self.shipping = Shipping(
            results, {NAME: self.device}, self.outbox, self.journal, self.flush, largest_packet=lambda: 1 << 20
        )
        self._store = store or RingingMemory(self.bell, self.journal, self._commit)
        self._plugin, self._instrument = plugin, instrument
        self._options = plugin.options.model_validate(options or {})
        self._pings = pings or Pings(None, None)
        self._send_limit = send_limit
        self.session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._count = 0

    # --- the line --------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """A new session, until it is ready or over."""
        self.session = Session(
            self.device,
            self._plugin,
            self._options,
            Target(
                self._instrument.url,
                headers=self._plugin.headers(self._options),
                frame_limit=self._plugin.frame_limit,
                send_limit=self._send_limit,
            ),
            self._pings,
            Tools(self._store, self.workers.compute, self.shipping.keep, self.flush),
        )
        self._task = asyncio.create_task(self.session.run())
        self._task.add_done_callback(lambda _: self.bell.ring())
        await self.until(lambda: self.device.ready or self._task is None or self._task.done())

    async def ended(self) -> Exception:
        """What ended the session."""
        assert self._task is not None
        await asyncio.wait([self._task], timeout=DEADLINE)
        error = self._task.exception()
        assert isinstance(error, Exception)
        return error

    async def leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Bench]:
        """Ready at the beginning, and nothing is left at the end."""
        async with self.closing():
            await self.connect()
            assert self.device.ready, await self.ended()
            yield self

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[Bench]:
        try:
            yield self
        finally:
            await self.leave()
            self.workers.close()
            self.shipping.close()
            await self.journal.close()

    async def until(self, condition: Callable[[], object]) -> None:
        await self.bell.until(condition)

    def _commit(self) -> asyncio.Future[bool] | None:
        return asyncio.ensure_future(self.journal.flush()) if self.journal.durable else None

    # --- commands --------------------------------------------------------------------------------------

    def set(self, key: str, value: Json, **envelope: Any) -> str:
        """Submit it; its id."""
        return self._submit("set", Command(self._id(), key, value=value, **envelope))

    def call(self, key: str, args: dict[str, Json] | None = None, **envelope: Any) -> str:
        return self._submit("call", Command(self._id(), key, args=args or {}, **envelope))

    async def answer(self, id_: str) -> Reply:
        """The final one."""
        await self.until(lambda: any(reply.outcome.final for reply in self.answers(id_)))
        return self.answers(id_)[-1]

    def answers(self, id_: str) -> list[Reply]:
        return [reply for reply in self.replies if reply.id == id_]

    def _id(self) -> str:
        self._count += 1
        return f"c{self._count}"

    def _submit(self, verb: str, command: Command) -> str:
        self.device.submit(verb, command, None, monotonic(), time())
        self.flush()
        return command.id

    def _answer(self, ticket: Ticket, reply: Reply) -> None:
        self.replies.append(reply)
        text = payload.json({"id": reply.id, "outcome": reply.outcome, "data": reply.data})
        self.outbox.answer(Publication(f"{self.topics.base}/reply/{ticket.point.key}", text, after=ticket.proofs))

    # --- what is published -----------------------------------------------------------------------------

    def flush(self) -> None:
        outbox = self.outbox
        while item := outbox.next_answer() or outbox.next_occurrence() or outbox.next_state():
            outbox.remove(item)
            self.published.append(item)
            if item.retain:
                self.retained[item.topic] = item.payload
        self.bell.ring()

    def all(self, topic: str) -> list[Any]:
        """Every payload published on a topic below the device's."""
        items = [item for item in self.published if item.topic == f"{self.topics.base}/{topic}"]
        return [json.loads(item.payload) for item in items]

    def shows(self, topic: str) -> Any:
        """What a broker keeps there; None: nothing."""
        text = self.retained.get(f"{self.topics.base}/{topic}", b"")
        return (json.loads(text) if text[:1] in b"{[" else text.decode()) if text else None

    def value(self, key: str) -> Any:
        return (self.shows(f"state/{key}") or {}).get("value")

    def position(self, topic: str) -> int:
        """Where in the order of all that was published the last message of this topic stands."""
        return max(
            index for index, item in enumerate(self.published) if item.topic == f"{self.topics.base}/{topic}"
        )
