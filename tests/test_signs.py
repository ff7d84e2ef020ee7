"""Signs of life: to a socket that stands for systemd, and in the heartbeat file; none when something is stuck."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bridge import alive
from bridge.progress import LOOK, PATIENCE, Progress
from bridge.signs import Picture, Signs

pytestmark = pytest.mark.asyncio


class Systemd:
    """Hears every datagram."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What came since the last time, line by line."""
        lines = []
        with suppress(BlockingIOError):
            while True:
                lines += self._socket.recv(4096).decode().split("\n")
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    path = tmp_path / "notify"
    made = Systemd(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    yield made
    made.close()


class Parts:
    """What the signs speak of."""

    def __init__(self) -> None:
        self.turns_at = 1e12
        self.ready = 3
        self.broker = True

    def signs(self, state: Path | None = None) -> Signs:
        return Signs(
            lambda: Picture(4, self.ready, self.broker), Progress(lambda: {"clock": self.turns_at}), state
        )


async def test_ready_is_said_when_the_tasks_run_and_stopping_at_the_end(systemd: Systemd) -> None:
    signs = Parts().signs()
    assert systemd.heard() == []
    task = asyncio.create_task(signs.run())
    await asyncio.sleep(0)
    assert systemd.heard() == ["READY=1", "STATUS=3 of 4 instruments ready, broker connected", "WATCHDOG=1"]
    signs.stopping()
    signs.turn(1e9)
    assert systemd.heard() == ["STOPPING=1", "STATUS=stopping", "WATCHDOG=1"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_status_is_told_when_it_changes(systemd: Systemd) -> None:
    parts = Parts()
    signs = parts.signs()
    signs.turn(0.0)
    systemd.heard()
    signs.turn(1.0)
    assert systemd.heard() == []
    parts.ready, parts.broker = 4, False
    signs.turn(2.0)
    assert systemd.heard() == ["STATUS=4 of 4 instruments ready, no connection to the broker"]


async def test_the_watchdog_is_fed_at_half_its_interval(systemd: Systemd) -> None:
    signs = Parts().signs()
    fed = []
    for now in range(100, 131):
        signs.turn(float(now))
        fed += [now] * systemd.heard().count("WATCHDOG=1")
    assert fed == [100, 105, 110, 115, 120, 125, 130]


async def test_a_broker_or_an_instrument_that_is_away_is_no_reason_for_a_restart(systemd: Systemd) -> None:
    parts = Parts()
    parts.ready, parts.broker = 0, False
    signs = parts.signs()
    fed = 0
    for now in range(1000):
        signs.turn(float(now))
        fed += systemd.heard().count("WATCHDOG=1")
    assert fed == 200


async def test_a_stuck_part_ends_the_signs_and_they_come_back_with_it(systemd: Systemd, tmp_path: Path) -> None:
    parts = Parts()
    signs = parts.signs(tmp_path)
    signs.turn(0.0)
    parts.turns_at = 1.0
    systemd.heard()
    now = 1.0
    while now <= PATIENCE + 1.0:
        signs.turn(now)
        now += LOOK
    assert "WATCHDOG=1" in systemd.heard()
    begun = now
    while now <= begun + 60.0:
        signs.turn(now)
        now += LOOK
    told = systemd.heard()
    assert "WATCHDOG=1" not in told
    assert told == ["STATUS=stuck: clock; 3 of 4 instruments ready, broker connected"]
    assert signs.stuck == ["clock"]
    parts.turns_at = now + 1000.0
    signs.turn(now)
    assert systemd.heard() == ["STATUS=3 of 4 instruments ready, broker connected", "WATCHDOG=1"]


async def test_a_reload_is_told_with_what_came_of_it(systemd: Systemd) -> None:
    signs = Parts().signs()
    signs.reloading()
    first, second = systemd.heard()
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    signs.reloaded("the new configuration cannot be used")
    whole = "STATUS=3 of 4 instruments ready, broker connected; the new configuration cannot be used"
    assert systemd.heard() == ["READY=1", whole]


async def test_the_heartbeat_is_written_every_five_seconds_and_goes_at_the_end(tmp_path: Path) -> None:
    signs = Parts().signs(tmp_path)
    signs.turn(100.0)
    await written(tmp_path / "alive")
    beat = alive.read(tmp_path / "alive")
    assert (beat.pid, beat.devices, beat.devices_ready, beat.broker) == (os.getpid(), 4, 3, True)
    assert beat.status == "3 of 4 instruments ready, broker connected"
    assert beat.stale() == ""
    (tmp_path / "alive").unlink()
    signs.turn(104.0)
    await asyncio.sleep(0)
    assert not (tmp_path / "alive").exists()
    signs.turn(105.0)
    await written(tmp_path / "alive")
    signs.stopping()
    assert list(tmp_path.iterdir()) == []


async def written(path: Path) -> None:
    deadline = asyncio.get_running_loop().time() + 5.0
    while not path.exists():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


async def test_a_directory_that_takes_nothing_harms_nobody(tmp_path: Path) -> None:
    signs = Parts().signs(tmp_path / "missing")
    signs.turn(100.0)
    signs.turn(105.0)
    signs.stopping()
