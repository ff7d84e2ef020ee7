"""A job from its order to its end, as the instrument tells of it."""

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from bridge.simulators.im7.errors import Error, JsonObject
from bridge.simulators.im7.orders import Order


def now() -> str:
    """The time as the instrument writes it: UTC, microseconds, `Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Starter(Protocol):
    """Who ordered a job by WebSocket: told directly when it is done, and then given a reply that is late."""

    late: JsonObject | None

    def notify(self, done: JsonObject) -> None: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended: its last status, the detail, and the error (none when it ran to completion)."""

    status: str
    detail: str
    error: Error = field(default_factory=Error)


COMPLETED = Ending("FINISHED", "RUN_TO_COMPLETION")
STOPPED = Ending("FAILED", "STOPPED_BY_USER", Error("STOPPED_MANUALLY"))
CANCELLED = Ending("FAILED", "CANCELLED_BEFORE_RUN", Error("STOPPED_MANUALLY_BEFORE_RUN"))


def failed(error: Error) -> Ending:
    return Ending("FAILED", "RUNTIME_ERROR", error)


class Ended(Exception):
    """A job is to end now, as its `ending` says."""


@dataclass(slots=True, eq=False)
class Job:
    """A job; nobody who ordered it by HTTP can be told that it is done."""

    order: Order
    starter: Starter | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "PENDING"
    created: str = field(default_factory=now)
    started: str = ""
    ended: str = ""
    ending: Ending | None = None
    result: JsonObject | None = None  # of a control job
    _wanted: Ending | None = None
    _interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_open(self) -> bool:
        return self.ending is None

    def run(self) -> None:
        self.status, self.started = "RUNNING", now()

    def end(self, ending: Ending) -> None:
        self.status, self.ending, self.ended = ending.status, ending, now()

    def interrupt(self, ending: Ending) -> None:
        """Have it end like that at the next opportunity; the first wish counts."""
        self._wanted = self._wanted or ending
        self._interrupted.set()

    async def pause(self, seconds: float) -> None:
        """Let so much real time pass; raises Ended as soon as it is to end."""
        try:
            async with asyncio.timeout(seconds):
                await self._interrupted.wait()
        except TimeoutError:
            return
        raise Ended

    @property
    def wanted(self) -> Ending:
        """How it is to end; what `Ended` is about."""
        return self._wanted or COMPLETED

    def info(self) -> JsonObject:
        """`job_info`; `started` is there from the beginning, `ended` only in the end."""
        ending = self.ending
        shape: JsonObject = {
            "job_id": self.id,
            "status": self.status,
            "status_detail": ending.detail if ending else "NOT_FINISHED",
            "job_meta": self.order.meta or {},
            "created": self.created,
            "type": self.order.type,
            "parameters": self.order.parameters,
            "started": self.started or self.created,
            "error": (ending.error if ending else Error()).shape(),
        }
        if self.order.does_bypass:
            shape["bypass_queue"] = True
        if self.order.is_discarded:
            shape["discard_result_data"] = True
        if self.ended:
            shape["ended"] = self.ended
        return shape
