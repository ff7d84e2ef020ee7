"""One Modbus unit: its objects, its scan, and how it fails."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bridge.simulators.evok.analogue import AnalogueInput
from bridge.simulators.evok.items import Item

Failure = Literal["refused", "hanging", "exception", "serial"]
BLOCKING = {"refused": 1.0, "hanging": 3.0}  # seconds that a read or a write of a dead unit takes


@dataclass(slots=True)
class Unit:
    """A unit on a bus. Units of one TCP bus share its fate when it refuses or hangs.

    `scan_interval` (s) is what Evok reports and `period` what it achieves; analogue blocks are read at every
    `slow_every`-th scan only.
    """

    name: str
    bus: str
    slave_id: int
    scan_interval: float
    period: float
    slow_every: int = 1
    items: list[Item] = field(default_factory=list)
    failure: Failure | None = None
    blocking: float = 0.0  # seconds that a read or a write takes while it fails
    is_known: bool = True  # False: it was away when Evok started, so Evok has no objects for it
    _last: float | None = None
    scans: int = 0
    _at_once: asyncio.Event = field(default_factory=asyncio.Event)
    _alive: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_reachable(self) -> bool:
        return self.failure is None and self.is_known

    def scan(self) -> Sequence[Item]:
        """Read the unit; what Evok would push for it, all in one message."""
        self._last = time.monotonic()
        is_slow_turn = self.scans % self.slow_every == 0
        self.scans += 1
        changed = []
        for item in self.items:
            is_due = is_slow_turn or not item.slow
            if (is_due and item.read()) or (isinstance(item, AnalogueInput) and item.is_restless):
                changed.append(item)
        return changed

    def silence(self) -> float:
        """Seconds since the last contact; before the first one, the seconds since 1970 (recorded)."""
        return time.time() if self._last is None else time.monotonic() - self._last

    def forget(self) -> None:
        """Evok starts anew: what it cannot reach now it will not know until its next start."""
        self._last = None
        self.scans = 0
        self.is_known = self.failure is None
        for item in self.items:
            item.forget()

    def fail(self, how: Failure, blocking: float | None) -> None:
        """Fail from now on; `blocking` seconds for each read or write (None: as the real one)."""
        self.failure = how
        self.blocking = BLOCKING.get(how, 0.0) if blocking is None else blocking
        self._at_once.clear()
        self._alive.clear()

    def recover(self, at_once: bool) -> None:
        """The unit answers again; Evok notices when its pause is over, or at once."""
        self.failure = None
        self._alive.set()
        if at_once:
            self._at_once.set()

    async def pause(self, seconds: float) -> None:
        """Evok leaves a failed unit alone for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._at_once.wait()
        except TimeoutError:
            pass

    async def alive(self) -> None:
        """Wait until the unit answers again."""
        if self.failure is not None:
            await self._alive.wait()
