"""A complete result's way: on disk first, then in parts from the file, with its job told where it is."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import pytest

from bridge.device import Device, Profile
from bridge.journal import Journal
from bridge.model import Job, Result
from bridge.outbox import Outbox, Publication
from bridge.shipping import AHEAD, Shipping
from bridge.topics import DeviceTopics

PACKET = 4096
DEADLINE = 10.0  # seconds
TOPICS = DeviceTopics("root", "cell")


class Quay:
    """Shipping whose outbox is emptied at once, unless `held`."""

    def __init__(self, directory: Path | None, journal: Journal | None = None) -> None:
        self.journal = journal or Journal.open(None, time())
        self.outbox = Outbox()
        self.device = Device(Profile("cell", "here"), TOPICS, self.outbox, lambda ticket, reply: None)
        self.held = False
        self.sent: list[Publication] = []
        self.shipping = Shipping(
            directory, {"cell": self.device}, self.outbox, self.journal, self.flush, lambda: PACKET
        )
        self._news = asyncio.Event()

    def flush(self) -> None:
        while not self.held and (item := self.outbox.next_occurrence() or self.outbox.next_state()) is not None:
            self.outbox.remove(item)
            self.sent.append(item)
        self._news.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Quay]:
        task = asyncio.create_task(self.shipping.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.shipping.close()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def on(self, topic: str) -> list[Publication]:
        return [item for item in self.sent if item.topic == topic]

    def job(self, job: str) -> Any:
        found = self.on(TOPICS.job(job))
        return json.loads(found[-1].payload) if found else {}


def result(job: str = "run", rows: int = 1000) -> Result:
    numbers = np.arange(rows * 3, dtype="<f8").reshape(rows, 3)
    return Result(job, "cv", ("time", "U", "I"), ("s", "V", "A"), numbers, {"cell": 7})


@pytest.mark.asyncio
async def test_a_result_is_stored_and_then_published_whole(tmp_path: Path) -> None:
    async with Quay(tmp_path).running() as quay:
        quay.device.report(Job("run", {"state": "done"}, final=True), 0.0, time())
        stored = await quay.shipping.keep("cell", result())
        assert stored.path.parent == tmp_path / "results"
        await quay.until(lambda: "manifest" in quay.job("run"))
        manifest = json.loads(quay.on(TOPICS.manifest("run"))[0].payload)
        parts = [quay.on(TOPICS.part("run", n)) for n in range(manifest["parts"])]
        assert len(parts) > 3
        assert all(len(part) == 1 and len(part[0].payload) <= PACKET for part in parts)
        rows = np.concatenate([np.load(io.BytesIO(part[0].payload)) for part in parts])
        assert np.array_equal(rows, result().rows)
        assert manifest["sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()
        assert (manifest["rows"], manifest["columns"]) == (1000, ["time", "U", "I"])
        assert quay.job("run") == {"job": "run", "state": "done", "manifest": manifest}
        topics = [item.topic for item in quay.sent if "/data/" in item.topic]
        assert topics[-1] == TOPICS.manifest("run")  # when it comes, all parts are there


@pytest.mark.asyncio
async def test_only_a_few_parts_wait_in_memory(tmp_path: Path) -> None:
    quay = Quay(tmp_path)
    quay.held = True
    async with quay.running():
        await quay.shipping.keep("cell", result(rows=10_000))
        await quay.until(lambda: quay.outbox.occurrences > AHEAD)
        assert quay.outbox.occurrences == AHEAD + 1
        quay.held = False
        quay.flush()
        await quay.until(lambda: quay.on(TOPICS.manifest("run")))


@pytest.mark.asyncio
async def test_what_an_earlier_process_stored_and_did_not_publish_is_published(tmp_path: Path) -> None:
    first = Quay(tmp_path)
    first.device.report(Job("a", {"state": "done"}, final=True), 0.0, time())
    await first.shipping.keep("cell", result("a"))
    await first.shipping.keep("cell", result("b"))
    async with Quay(tmp_path, first.journal).running() as second:
        await second.until(lambda: second.on(TOPICS.manifest("a")) and second.on(TOPICS.manifest("b")))
        await second.until(lambda: not second.journal.memory("_results"))
        assert second.job("a") == {"job": "a", "state": "done", "manifest": second.job("a")["manifest"]}
    async with Quay(tmp_path, first.journal).running() as third:
        await third.shipping.keep("cell", result("c"))
        await third.until(lambda: third.on(TOPICS.manifest("c")))
        assert third.on(TOPICS.manifest("a")) == []


@pytest.mark.asyncio
async def test_a_result_that_was_deleted_meanwhile_stops_nothing(tmp_path: Path) -> None:
    first = Quay(tmp_path)
    stored = await first.shipping.keep("cell", result("a"))
    stored.path.unlink()
    async with Quay(tmp_path, first.journal).running() as quay:
        await quay.shipping.keep("cell", result("b"))
        await quay.until(lambda: quay.on(TOPICS.manifest("b")))


@pytest.mark.asyncio
async def test_a_result_of_a_device_that_is_not_configured_any_more_stops_nothing(tmp_path: Path) -> None:
    async with Quay(tmp_path).running() as quay:
        await quay.shipping.keep("other", result("a"))
        await quay.shipping.keep("cell", result("b"))
        await quay.until(lambda: quay.on(TOPICS.manifest("b")))
        assert not [item for item in quay.sent if "/data/a/" in item.topic]


@pytest.mark.asyncio
async def test_the_same_result_again_is_on_disk_once_and_published_again(tmp_path: Path) -> None:
    async with Quay(tmp_path).running() as quay:
        for _ in range(2):
            await quay.shipping.keep("cell", result())
        await quay.until(lambda: len(quay.on(TOPICS.manifest("run"))) == 2)
    assert len(list((tmp_path / "results").glob("*.npz"))) == 1


@pytest.mark.asyncio
async def test_when_the_disk_takes_nothing_its_caller_hears_it(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the directory should be")
    async with Quay(tmp_path).running() as quay:
        with pytest.raises(OSError, match="results"):
            await quay.shipping.keep("cell", result())
        with pytest.raises(ValueError, match="2 columns"):
            await quay.shipping.keep("cell", Result("run", "x", ("a", "b"), ("s", "V"), np.zeros((3, 3))))
        assert quay.shipping.stored == 0


@pytest.mark.asyncio
async def test_without_a_state_directory_results_live_as_long_as_the_process() -> None:
    async with Quay(None).running() as quay:
        stored = await quay.shipping.keep("cell", result())
        assert stored.path.exists()
        await quay.until(lambda: quay.on(TOPICS.manifest("run")))
    assert not stored.path.exists()
