"""What a driver asked to be remembered is on disk before anything later goes out."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping

import numpy as np
import pytest

from bridge.driver import Fence, Send
from bridge.gate import Gate
from bridge.model import Job, Json, Reply, Result

RESULT = Result("run", "run", ("a",), ("s",), np.zeros((1, 1)))


class Disk:
    """A store whose commits end when the test says so, or that has no disk."""

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.remembered: dict[str, Json] = {}
        self.commits: list[asyncio.Future[bool]] = []
        self.results: list[asyncio.Future[object]] = []

    def memory(self, device: str) -> Mapping[str, Json]:
        return self.remembered

    def remember(self, device: str, key: str, value: Json) -> None:
        assert device == "io"
        self.remembered[key] = value

    def committed(self) -> asyncio.Future[bool] | None:
        if not self.durable:
            return None
        self.commits.append(asyncio.get_running_loop().create_future())
        return self.commits[-1]

    async def keep(self, device: str, result: Result) -> object:
        self.results.append(asyncio.get_running_loop().create_future())
        return await self.results[-1]


class Door:
    def __init__(self, disk: Disk) -> None:
        self.out: list[str] = []
        self.gate = Gate("io", disk, disk.keep, self._send, self._opened)

    def _send(self, effect: Send | Fence | Job | Reply) -> None:
        match effect:
            case Reply(id_, outcome):
                self.out.append(f"{id_} {outcome}")
            case Send(frame):
                self.out.append(str(frame))
            case Fence(token):
                self.out.append(token)
            case Job(id_, data):
                self.out.append(f"{id_} {data['state']}")

    def _opened(self) -> None:
        self.gate.release()

    def send(self, *names: str, urgent: bool = False) -> None:
        for name in names:
            self.gate.out(Send(name), urgent=urgent)


@pytest.mark.asyncio
async def test_nothing_waits_when_nothing_is_to_be_remembered() -> None:
    door = Door(Disk())
    door.send("a")
    door.gate.out(Fence("f"), urgent=False)
    assert door.out == ["a", "f"]


@pytest.mark.asyncio
async def test_what_follows_waits_for_the_disk_and_keeps_its_order() -> None:
    disk = Disk()
    door = Door(disk)
    door.gate.remember("pulse", 1)
    door.send("on")
    door.gate.out(Fence("f"), urgent=False)
    assert door.out == []
    disk.commits[0].set_result(True)
    await asyncio.sleep(0)
    assert door.out == ["on", "f"]


@pytest.mark.asyncio
async def test_the_last_of_several_commits_counts() -> None:
    disk = Disk()
    door = Door(disk)
    door.gate.remember("a", 1)
    door.send("one")
    door.gate.remember("b", 2)
    door.send("two")
    disk.commits[0].set_result(True)
    await asyncio.sleep(0)
    assert door.out == []
    disk.commits[1].set_result(True)
    await asyncio.sleep(0)
    assert door.out == ["one", "two"]


@pytest.mark.asyncio
async def test_an_urgent_command_never_waits() -> None:
    disk = Disk()
    door = Door(disk)
    door.gate.remember("pulse", 1)
    door.send("on")
    door.send("stop", urgent=True)
    assert door.out == ["stop"]


@pytest.mark.asyncio
async def test_a_job_is_told_when_a_crash_would_not_forget_it() -> None:
    disk = Disk()
    door = Door(disk)
    door.gate.remember("job:7", "queued")
    door.gate.out(Job("7", {"state": "queued"}), urgent=False)
    assert door.out == []
    disk.commits[0].set_result(True)
    await asyncio.sleep(0)
    assert door.out == ["7 queued"]


@pytest.mark.asyncio
async def test_a_session_that_ends_tells_of_jobs_and_sends_nothing() -> None:
    disk = Disk()
    door = Door(disk)
    door.gate.remember("job:7", "running")
    door.gate.out(Job("7", {"state": "running"}), urgent=False)
    door.send("start")
    door.gate.abandon()
    assert door.out == ["7 running"]
    disk.commits[0].set_result(True)
    await asyncio.sleep(0)
    assert door.out == ["7 running"]


@pytest.mark.asyncio
async def test_without_a_disk_nothing_waits() -> None:
    door = Door(Disk(durable=False))
    door.gate.remember("pulse", 1)
    door.send("on")
    assert door.out == ["on"]


@pytest.mark.asyncio
@pytest.mark.parametrize("stored", [True, False])
async def test_what_would_fetch_a_result_again_is_forgotten_when_it_is_stored(stored: bool) -> None:
    disk = Disk()
    door = Door(disk)
    disk.remembered["job"] = True
    door.gate.keep(RESULT)
    await asyncio.sleep(0)
    door.gate.remember("job", None)
    assert disk.remembered["job"] is True
    if stored:
        disk.results[0].set_result(None)
    else:
        disk.results[0].set_exception(OSError("disk full"))
    for _ in range(4):
        await asyncio.sleep(0)
    assert disk.remembered["job"] is (None if stored else True)


@pytest.mark.asyncio
async def test_a_result_that_cannot_be_stored_is_no_unseen_error() -> None:
    disk = Disk()
    door = Door(disk)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    door.gate.keep(RESULT)
    await asyncio.sleep(0)
    disk.results.pop().set_exception(OSError("disk full"))
    for _ in range(4):
        await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


@pytest.mark.asyncio
async def test_forgetting_waits_for_no_result_that_is_not_on_its_way() -> None:
    disk = Disk()
    door = Door(disk)
    door.gate.remember("job", None)
    assert disk.remembered == {"job": None}


@pytest.mark.asyncio
async def test_a_disk_that_takes_nothing_keeps_commands_from_going_out() -> None:
    """A relay would be switched on whose end nobody remembers after a crash."""
    disk = Disk()
    door = Door(disk)
    door.gate.remember("pulse", 1)
    door.gate.out(Send("on", "p1"), urgent=False)
    door.gate.out(Fence("f"), urgent=False)
    door.send("all")
    disk.commits[0].set_result(False)
    await asyncio.sleep(0)
    assert door.out == ["p1 rejected", "f", "all"]
