"""The instrument at work: its queue, the job that runs, what it tells about it, and the results it keeps."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bridge.simulators.im7.controls import Hardware, executed, seconds_of
from bridge.simulators.im7.errors import Error, JsonObject, Refused
from bridge.simulators.im7.jobs import CANCELLED, COMPLETED, STOPPED, Ended, Ending, Job, Starter, failed
from bridge.simulators.im7.orders import Order
from bridge.simulators.im7.resources import Resources
from bridge.simulators.im7.results import Results
from bridge.simulators.server import Gate

STARTS_TOLD = 1000  # of the last job starts, in the state


class Publish(Protocol):
    """How the instrument tells something to all connections, or to all but one."""

    def __call__(self, event: JsonObject, besides: Starter | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Temper:
    """How this instrument behaves; the simulator's options say what each of it is."""

    protocol: int = 12
    speed: float = 1.0
    queue: int = 10
    bypass: str = "controls"
    jobs: int = 64
    results: int = 16
    loss: float = 0.08
    live_rows: int = 100
    limit_status: str = "FAILED"
    tells_twice: bool = False
    channels: tuple[str, ...] = ()
    seed: int = 1


class Instrument:
    """An IM7 without its network: `publish` is what it tells everybody."""

    def __init__(self, temper: Temper, publish: Publish) -> None:
        self.temper, self.publish = temper, publish
        self.switched_on_at = time.monotonic()
        self.hardware, self.resources = Hardware(), Resources()
        self.results = Results(temper.results)
        self.settings: JsonObject = {
            "system.name": "My Zahner Workstation",
            "network.hostname": "im7",
            "display.brightness": 80,
            "http.authentication": False,
        }
        self.jobs: dict[str, Job] = {}
        self.running: list[Job] = []
        self.queue: deque[Job] = deque()
        self.starts: deque[JsonObject] = deque(maxlen=STARTS_TOLD)
        self.counts: Counter[str] = Counter()
        self.frozen = Gate()
        self.is_full = False
        self.refusal: Error | None = None  # of the next job starts
        self.refusals = 0
        self.spoilt: tuple[int, str] | None = None  # so many values of that column will be NaN
        self.at_row: tuple[int, Callable[[], None]] | None = None
        self.rebooted: Callable[[], None] = lambda: None
        self._filled = asyncio.Event()
        self._bypassing: asyncio.Queue[Job] = asyncio.Queue()

    @property
    def uptime(self) -> float:
        """Simulated seconds since it was switched on."""
        return (time.monotonic() - self.switched_on_at) * self.temper.speed

    # --- orders -------------------------------------------------------------------------------------------------

    def accept(self, order: Order, starter: Starter | None) -> Job:
        """Make a job of an order, or refuse it; `submit` then starts it."""
        if self.refusals and self.refusal is not None:
            self.refusals -= 1
            raise Refused(self.refusal.code, *self.refusal.parameters)
        if order.does_bypass:
            if not self._may_bypass(order):
                raise Refused("QUEUE_BYPASS_NOT_ALLOWED", order.type)
        elif self.is_full or len(self.queue) >= self.temper.queue:
            raise Refused("QUEUE_FULL")
        job = Job(order, starter)
        self.jobs[job.id] = job
        self.counts[order.type] += 1
        self.starts.append({"job_id": job.id, "type": order.type, "job_meta": order.meta or {}})
        self._forget_old()
        return job

    def submit(self, job: Job) -> None:
        """Into the queue, or past it."""
        self._tell_status(job)
        if job.order.does_bypass:
            self._bypassing.put_nowait(job)
            return
        self.queue.append(job)
        self._filled.set()

    def stop(self, *, flush: bool) -> None:
        """End what runs now; with `flush` also what waits. Jobs that bypass the queue are stopped, too."""
        self.counts["/stop"] += 1
        for job in self.running or [job for job in list(self.queue)[:1] if not flush]:  # it is about to run
            job.interrupt(STOPPED)
        while flush and self.queue:
            self._finish(self.queue.popleft(), CANCELLED)

    def find(self, job_id: object) -> Job:
        if (job := self.jobs.get(str(job_id))) is None:
            raise Refused("ID_NOT_FOUND", "job", "job_id", str(job_id))
        return job

    def listed(self, *, open_only: bool) -> list[JsonObject]:
        """All jobs it knows; their order tells nothing."""
        jobs = sorted(self.jobs.values(), key=lambda job: job.id)
        return [job.info() for job in jobs if job.is_open or not open_only]

    def forget(self, job: Job) -> None:
        """Neither job nor result have ever been; a job that runs ends without a word."""
        self.jobs.pop(job.id, None)
        self.results.forget(job.id)
        job.starter = None
        if job in self.queue:
            self.queue.remove(job)
        elif job.is_open:
            job.interrupt(COMPLETED)

    def restart(self) -> None:
        """Forget everything that a loss of power would take away."""
        for job in list(self.jobs.values()):
            self.forget(job)
        self.results.clear()
        self.hardware, self.switched_on_at = Hardware(), time.monotonic()

    def _may_bypass(self, order: Order) -> bool:
        match self.temper.bypass:
            case "all":
                return True
            case "none":
                return False
        return not order.is_measurement or not any(job.order.is_measurement for job in self.running)

    def _forget_old(self) -> None:
        closed = [job for job in self.jobs.values() if not job.is_open]
        for job in closed[: max(len(self.jobs) - self.temper.jobs, 0)]:
            del self.jobs[job.id]

    # --- work ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work through the queue, one job at a time; beside it, the jobs that bypass it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())
            while True:
                job = await self._bypassing.get()
                group.create_task(self._perform(job))

    async def _work(self) -> None:
        while True:
            while self.queue:
                await self._perform(self.queue.popleft())
            self._filled.clear()
            await self._filled.wait()

    async def _perform(self, job: Job) -> None:
        job.run()
        self.running.append(job)
        self._tell_status(job)
        try:
            if job.order.is_measurement:
                ending = await self._measure(job)
            else:
                ending = await self._control(job)
        except Ended:
            ending = job.wanted
        except Refused as refusal:
            ending = failed(refusal.error)
        self.running.remove(job)
        self._finish(job, ending)

    async def _control(self, job: Job) -> Ending:
        await job.pause(seconds_of(job.order) / self.temper.speed)
        job.result = executed(job.order, self.hardware)
        if job.order.type == "reboot":
            self.rebooted()
        return COMPLETED

    async def _measure(self, job: Job) -> Ending:
        from bridge.simulators.im7.measuring import Measuring  # noqa: PLC0415  it needs numpy

        measuring = Measuring(self, job)
        try:
            ending = await measuring.run()
        except Ended:
            ending = job.wanted
        job.end(ending)
        if job.id in self.jobs:
            self.results.keep(measuring.result())
            self.publish({"type": "LIVE_DATA_FINISHED", "job_info": job.info()})
        return ending

    # --- what it tells ------------------------------------------------------------------------------------------

    def _tell_status(self, job: Job) -> None:
        if job.id in self.jobs:
            self.publish({"type": "JOB_STATUS_UPDATE", "new_status": job.status, "job_info": job.info()})

    def _finish(self, job: Job, ending: Ending) -> None:
        if job.is_open:
            job.end(ending)
        if job.id not in self.jobs:
            return
        self._tell_status(job)
        if job.starter is not None:
            done: JsonObject = {"job_info": job.info()}
            job.starter.notify(done if job.result is None else {**done, "result": job.result})
        # The vendor's client hangs when it gets both forms while it asks for the job list.
        self.publish(
            {"type": "JOB_DONE", "job_info": job.info()}, None if self.temper.tells_twice else job.starter
        )
