"""What happened while nobody took it survives the daemon, comes once, in order, and says that it is late."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import waited
from tests.system.world import World, side_by_side

EVENTS = "_bridge/gate/event/link"
COMMITTED = 0.5  # seconds for the journal's group commit

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def told(world: World, since: float) -> list[dict[str, Any]]:
    """The instrument's comings and goings, as they were published."""
    return [one.json for one in world.observer.on(EVENTS, since) if one.json.get("device") == "io"]


def blink(world: World) -> None:
    """The instrument goes and comes back; both are occurrences."""
    lines = len(world.daemon.log)
    world.evok.kill()
    waited(lambda: "device offline" in world.daemon.log[lines:], "the daemon to notice")
    world.evok.start()
    waited(lambda: "device online" in world.daemon.log[lines:], "the daemon to be back")


def without_broker(world: World) -> None:
    """For the daemon alone: whoever else listens goes on hearing."""
    world.uplink.refuse()
    world.uplink.cut()


def daemon_killed_meanwhile(directory: Path) -> None:
    with World(directory) as world:
        without_broker(world)
        blink(world)
        time.sleep(COMMITTED)
        world.daemon.kill()
        since = time.monotonic()
        world.uplink.accept()
        world.start("daemon")
        world.until_right(10.0)
        waited(lambda: len(told(world, since)) >= 3, "the two that were kept and the new one", 10.0)
        time.sleep(1.0)
        kept = [one for one in told(world, since) if one.get("cached")]
        new = [one for one in told(world, since) if not one.get("cached")]
        assert [one["state"] for one in kept][-2:] == ["offline", "online"]
        assert sorted(one["time"] for one in kept) == [one["time"] for one in kept]
        assert all(one["state"] == "online" and one["time"] > kept[-1]["time"] for one in new)
        world.daemon.kill()
        since = time.monotonic()
        world.start("daemon")
        world.until_right(10.0)
        time.sleep(1.0)
        assert [one for one in told(world, since) if one.get("cached")] == []  # nothing comes a second time


def daemon_lives_on(directory: Path) -> None:
    with World(directory) as world:
        without_broker(world)
        blink(world)
        since = time.monotonic()
        world.uplink.accept()
        waited(lambda: len(told(world, since)) >= 2, "the two that waited", 10.0)
        time.sleep(1.0)
        heard = [(one["state"], one.get("cached")) for one in told(world, since)]
        assert heard[-2:] == [("offline", True), ("online", True)]  # before them what was in flight at the cut


def what_happens_now_is_not_late(directory: Path) -> None:
    with World(directory, direct=True) as world:
        since = time.monotonic()
        blink(world)
        waited(lambda: len(told(world, since)) >= 2, "both", 10.0)
        assert [one.get("cached") for one in told(world, since)] == [None, None]


def test_occurrences_outlive_broker_and_daemon(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        daemon_killed_meanwhile,
        daemon_lives_on,
        what_happens_now_is_not_late,
    )
