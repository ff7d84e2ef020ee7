"""All devices of this bridge: which of them run, which belong to somebody else, and their common clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from time import monotonic, time

import structlog

from bridge.claims import Claims
from bridge.device import Device
from bridge.link import State
from bridge.metrics import Histogram
from bridge.outbox import Publication
from bridge.runner import Runner

TICK = 0.25  # seconds, at most, between two looks at what is due
SETTLING = 1.0  # seconds for commands under way at the end
LEAVING = 1.5  # seconds for those of a device that leaves while the bridge goes on
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds: buckets

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Fleet:
    """A device that another bridge has is not started, and says so; it starts when that bridge goes."""

    def __init__(self, claims: Claims, flush: Callable[[], None], changed: Callable[[], None]) -> None:
        self._claims, self._flush, self._changed = claims, flush, changed
        self.devices: dict[str, Device] = {}
        self.runners: dict[str, Runner] = {}
        self.conflicts: dict[str, str] = {}  # device -> the bridge that has it
        self.lag = 0.0  # the loop's longest, in seconds, since somebody set it to 0
        self.lags = Histogram(LAGS)  # all of them, at each tick
        self._turns_at = math.inf  # when `_tick` does so
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def add(self, device: Device, runner: Runner) -> None:
        self.devices[device.name], self.runners[device.name] = device, runner

    def open(self, group: asyncio.TaskGroup) -> None:
        """From now on devices may be started, in this group."""
        self._group = group
        group.create_task(self._tick(), name="tick")
        self.review()

    @property
    def opened(self) -> bool:
        """Devices may run: not before the broker was asked, and not while the bridge stops."""
        return self._group is not None

    def review(self) -> None:
        """Leave what is not ours, and start what is. Called whenever it is known who has what."""
        for name, device in self.devices.items():
            rival = self._claims.rival(name)
            if rival is not None and self.conflicts.get(name) != rival:
                self._leave_to(device, rival)
            elif rival is None and self._group is not None and name not in self._tasks and not device.leaving:
                if self.conflicts.pop(name, None) is not None:
                    device.showcase.renew()
                device.silent = False
                self._tasks[name] = self._group.create_task(self.runners[name].run(), name=name)
                self._changed()

    def _leave_to(self, device: Device, rival: str) -> None:
        self.conflicts[device.name] = rival
        device.silent = True
        device.lose("another bridge has this device", for_good=True)
        if (task := self._tasks.pop(device.name, None)) is not None:
            task.cancel()
        log.error("another bridge has this device: it is not started here", device=device.name, bridge=rival)
        self._changed()

    async def retire(self, name: str, reason: str) -> None:
        """End one device: its commands are answered within two seconds. It stays until `remove`."""
        device = self.devices[name]
        device.leave(reason)
        await _until(lambda: not device.commands.sending, LEAVING)
        if (task := self._tasks.get(name)) is not None:
            task.cancel()
            await asyncio.wait([task])
        device.lose(reason, for_good=True)
        if name not in self.conflicts:
            device.enter(State.OFFLINE, time(), reason)
        self._flush()

    def remove(self, name: str) -> None:
        """One that has retired."""
        for table in (self.devices, self.runners, self._tasks, self.conflicts):
            table.pop(name, None)

    def turns(self) -> Iterator[tuple[str, float]]:
        """For bridge.progress: the clock, which also flushes the publisher, and every device that runs."""
        yield "clock", self._turns_at
        for name, task in self._tasks.items():
            if self._group is not None and not self.devices[name].leaving:  # or else it is ending
                yield f"device {name}", -math.inf if task.done() else self.runners[name].turns_at

    def announce(self) -> Iterator[Publication]:
        for name, device in self.devices.items():
            if name not in self.conflicts:
                yield from device.announce()

    async def close(self) -> None:
        """Every device settles its commands and says offline. What is under way gets a moment to end."""
        self._group = None  # nothing is started any more
        await _until(lambda: not any(d.commands.sending for d in self.devices.values()), SETTLING)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for name, device in self.devices.items():
            device.lose("this bridge is stopping", for_good=True)
            if name not in self.conflicts:
                device.enter(State.OFFLINE, time(), "this bridge has stopped")
        self._tasks.clear()

    async def _tick(self) -> None:
        """Trailing values, stale values, overdue commands; and how punctual the loop is."""
        while True:
            now = monotonic()
            for device in self.devices.values():
                if device.due <= now:
                    device.tick(now)
            self._flush()
            due = min((device.due for device in self.devices.values()), default=now + TICK)
            wait = min(TICK, max(0.001, due - now))
            self._turns_at = now + wait
            await asyncio.sleep(wait)
            lag = max(0.0, monotonic() - now - wait)
            self.lags.observe(lag)
            self.lag = max(self.lag, lag)


async def _until(condition: Callable[[], bool], within: float) -> None:
    """Until it holds, or so many seconds have passed."""
    deadline = monotonic() + within
    while not condition() and monotonic() < deadline:  # noqa: ASYNC110  (nobody tells when it does)
        await asyncio.sleep(0.02)
