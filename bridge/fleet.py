"""All devices of this bridge: which of them run, which belong to somebody else, and their common clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic, time

import structlog

from bridge.claims import Claims
from bridge.device import Device
from bridge.link import State
from bridge.outbox import Publication
from bridge.runner import Runner

TICK = 0.25  # seconds, at most, between two looks at what is due
SETTLING = 1.0  # seconds for commands under way at the end

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Fleet:
    """A device that another bridge has is not started, and says so; it starts when that bridge goes."""

    def __init__(self, claims: Claims, flush: Callable[[], None], changed: Callable[[], None]) -> None:
        self._claims, self._flush, self._changed = claims, flush, changed
        self.devices: dict[str, Device] = {}
        self.runners: dict[str, Runner] = {}
        self.conflicts: dict[str, str] = {}  # device -> the bridge that has it
        self.lag = 0.0  # the loop's longest, in seconds, since somebody set it to 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def add(self, device: Device, runner: Runner) -> None:
        self.devices[device.name], self.runners[device.name] = device, runner

    def open(self, group: asyncio.TaskGroup) -> None:
        """From now on devices may be started, in this group."""
        self._group = group
        group.create_task(self._tick(), name="tick")
        self.review()

    def review(self) -> None:
        """Leave what is not ours, and start what is. Called whenever it is known who has what."""
        for name, device in self.devices.items():
            rival = self._claims.rival(name)
            if rival is not None and self.conflicts.get(name) != rival:
                self._leave_to(device, rival)
            elif rival is None and self._group is not None and name not in self._tasks:
                self.conflicts.pop(name, None)
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

    def announce(self) -> Iterator[Publication]:
        for name, device in self.devices.items():
            if name not in self.conflicts:
                yield from device.announce()

    async def close(self) -> None:
        """Every device settles its commands and says offline. What is under way gets a moment to end."""
        self._group = None  # nothing is started any more
        deadline = monotonic() + SETTLING
        while self._under_way and monotonic() < deadline:  # noqa: ASYNC110  (the last second of a process)
            await asyncio.sleep(0.02)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for name, device in self.devices.items():
            device.lose("this bridge is stopping", for_good=True)
            if name not in self.conflicts:
                device.enter(State.OFFLINE, time(), "this bridge has stopped")
        self._tasks.clear()

    @property
    def _under_way(self) -> bool:
        return any(device.commands.sending for device in self.devices.values())

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
            await asyncio.sleep(wait)
            self.lag = max(self.lag, monotonic() - now - wait)
