"""A complete result's way: stored as files first, then published in parts from the file, and told of in its job.

It is on disk once and on MQTT at least once, with the same sha256: what was stored and not yet published when the
process ended is published by the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

import structlog

from bridge import payload, results
from bridge.device import Device
from bridge.journal import Journal
from bridge.model import Json, Result
from bridge.mqtt import Meta
from bridge.outbox import Outbox, Publication
from bridge.results import Stored

PART = 256 << 10  # bytes of one part, or less when the broker takes less
HEADROOM = 1024  # bytes that a packet needs beside its payload
AHEAD = 8  # parts that may wait in the outbox: the rest stays in the file
UNPUBLISHED = "_results"  # the journal's name for what is stored and not yet published; no device is called so

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Shipping:
    """`keep` stores; `run` publishes what is stored, one result after the other."""

    def __init__(
        self,
        state_dir: Path | None,
        devices: Mapping[str, Device],
        outbox: Outbox,
        journal: Journal,
        flush: Callable[[], None],
        largest_packet: Callable[[], int],
        owed: Callable[[str], bool] = lambda topic: False,
    ) -> None:
        self._temporary = TemporaryDirectory(prefix="lab2mqtt-") if state_dir is None else None
        self._directory = (state_dir or Path(self._temporary.name if self._temporary else "")) / results.DIRECTORY
        self._devices, self._outbox, self._journal = devices, outbox, journal
        self._flush, self._largest_packet, self._owed = flush, largest_packet, owed
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self.stored = 0

    async def keep(self, device: str, result: Result) -> Stored:
        """Store it; when this returns it is on disk. OSError or ValueError: it is not."""
        try:
            stored = await asyncio.to_thread(results.store, self._directory, device, result, time())
        except (OSError, ValueError) as error:  # the latter: a driver's columns do not fit its rows
            log.error("a result cannot be stored", device=device, job=result.job, reason=str(error))
            raise
        self.stored += 1
        told = self._devices[device].jobs.told.get(result.job, {}) if device in self._devices else {}
        self._journal.remember(UNPUBLISHED, stored.path.name, told)
        self._waiting.put_nowait(stored.path.name)
        log.info("result stored", device=device, job=result.job, file=stored.path.name, rows=stored.info.rows)
        return stored

    async def run(self) -> None:
        """Until cancelled; begins with what an earlier process did not publish."""
        for name in self._journal.memory(UNPUBLISHED):
            self._waiting.put_nowait(name)
        while True:
            name = await self._waiting.get()
            try:
                stored = await asyncio.to_thread(results.find, self._directory, name)
                await self._publish(stored, self._journal.memory(UNPUBLISHED).get(name))
            except (LookupError, OSError) as error:
                log.error("a stored result cannot be published", file=name, reason=str(error))
            self._journal.remember(UNPUBLISHED, name, None)

    async def _publish(self, stored: Stored, told: Json) -> None:
        """`told`: what was said of its job when it was stored."""
        device = self._devices.get(stored.info.device)
        if device is None:
            return
        limit = min(PART, self._largest_packet() - HEADROOM)
        topics, job = device.topics, stored.info.job
        manifest = results.manifest(stored, limit)
        for number, part in enumerate(results.parts(stored, limit)):
            await self._room()
            meta = Meta(content_type="application/x-npy")
            self._outbox.occurrence(Publication(topics.part(job, number), part, meta=meta), durable=False)
            self._flush()
        self._outbox.occurrence(Publication(topics.manifest(job), payload.json(manifest)), durable=False)
        device = self._devices.get(stored.info.device, device)  # it may have been made afresh meanwhile
        device.jobs.conclude(job, manifest, told if isinstance(told, dict) else {})
        self._flush()
        await self._acknowledged(topics.manifest(job))

    async def _room(self) -> None:
        await asyncio.sleep(0)  # the window may take many parts: others get turns in between
        while self._outbox.occurrences > AHEAD:  # noqa: ASYNC110  (a lane tells nobody when it empties)
            await asyncio.sleep(0.02)

    async def _acknowledged(self, last: str) -> None:
        """Until the broker has the last of it; what is sent in order is acknowledged in order."""
        while self._outbox.occurrences or self._owed(last):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
