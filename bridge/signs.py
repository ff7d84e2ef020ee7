"""Signs of life, while there is progress: READY, STATUS and the watchdog for systemd, the heartbeat file."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, time

import structlog

from bridge import alive, notify
from bridge.alive import Alive
from bridge.progress import LOOK, Progress

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """How it is now."""

    devices: int
    devices_ready: int
    broker: bool

    def sentence(self) -> str:
        broker = "broker connected" if self.broker else "no connection to the broker"
        return f"{self.devices_ready} of {self.devices} instruments ready, {broker}"


class Signs:
    """`run` is a task beside those that it speaks of: a blocked loop gives no sign, a stuck part ends them.

    systemd restarts a daemon that gives none for as long as its WatchdogSec says.
    """

    def __init__(self, picture: Callable[[], Picture], progress: Progress, state_dir: Path | None) -> None:
        self._picture, self._progress = picture, progress
        self._path = alive.place(state_dir)
        self._interval = notify.watchdog_interval()
        self._fed = self._beaten = -math.inf
        self._told = ""
        self._note = ""  # what stands behind the status: a reload that was refused
        self.stuck: list[str] = []  # the parts that did not turn any more at the last look
        self._ready = True  # the configuration is valid, and nobody asked to stop
        self._writing: Future[None] | None = None

    async def run(self) -> None:
        """Until cancelled. From now on the tasks run, whether anybody else is there or not."""
        self._told = self._status()
        notify.notify(notify.READY, notify.status(self._told))
        while True:
            self.turn(monotonic())
            await asyncio.sleep(min(LOOK, self._interval or LOOK))

    def turn(self, now: float) -> None:
        """One look, and what is said after it; `now` on the loop's clock."""
        if (stuck := self._progress.stuck(now)) != self.stuck:
            self.stuck = stuck
            if stuck:
                log.error("something does not turn any more: no signs of life are given", stuck=stuck)
            else:
                log.warning("all of it turns again")
        if self._ready and (status := self._status()) != self._told:
            self._told = status
            notify.notify(notify.status(status))
        if stuck:
            return
        hungry = self._interval is not None and now - self._fed >= self._interval - LOOK / 2
        if hungry and notify.notify(notify.WATCHDOG):
            self._fed = now
        if now - self._beaten >= alive.INTERVAL:
            self._beaten = now
            self._beat()

    def _status(self) -> str:
        stuck = f"stuck: {', '.join(self.stuck)}; " if self.stuck else ""
        return stuck + self._picture().sentence() + self._note

    # --- what happens to the whole of it ---------------------------------------------------------------

    def reloading(self) -> None:
        notify.notify(notify.reloading())

    def reloaded(self, note: str) -> None:
        """`note`: what an operator should know until the next one; "" when all of it is in effect."""
        self._note = f"; {note}" if note else ""
        self._told = self._status()
        notify.notify(notify.READY, notify.status(self._told))

    def stopping(self) -> None:
        """systemd has a time limit of its own for what follows; the watchdog is fed meanwhile."""
        notify.notify(notify.STOPPING, notify.status("stopping"))
        self._ready = False
        path, self._path = self._path, None
        if self._writing is not None:
            wait([self._writing], 1.0)  # what is being written would come back
        if path is not None:
            alive.remove(path)

    # --- the heartbeat file ----------------------------------------------------------------------------

    def _beat(self) -> None:
        """In a thread of its own: a disk that hangs makes the file old, and nobody waits for it."""
        if self._path is None or (self._writing is not None and not self._writing.done()):
            return
        picture = self._picture()
        beat = Alive(
            pid=os.getpid(),
            at=round(time(), 3),
            monotonic=round(monotonic(), 3),
            interval=alive.INTERVAL,
            ready=self._ready,
            status=self._status(),
            broker=picture.broker,
            devices=picture.devices,
            devices_ready=picture.devices_ready,
        )
        self._writing = Future()
        Thread(target=_write, args=(self._path, beat, self._writing), name="alive", daemon=True).start()


def _write(path: Path, beat: Alive, done: Future[None]) -> None:
    with suppress(OSError):  # a full disk: the file grows old, and that is the sign
        alive.write(path, beat)
    done.set_result(None)
