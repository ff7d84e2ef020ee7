"""kill -9 and restart of the broker, the instrument and the daemon, in every order, while commands come in."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.system.processes import waited
from tests.system.world import Part, World, side_by_side, together

RIGHT = 5.0  # seconds after all three are up
DOWN = 0.7  # seconds between a death and the restart
EXPIRES = 5.0  # seconds: the default
WILL = 5.0  # seconds: the default will delay
KEY = "ao/2_04"  # where the commands go
ORDERS: list[tuple[Part, ...]] = list(itertools.permutations(("broker", "evok", "daemon")))

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


class Traffic:
    """Commands all the time, each with a value of its own, so that the instrument can be asked what it did."""

    def __init__(self, world: World) -> None:
        self.sent: dict[float, float] = {}  # value -> seconds since 1970
        self.executed: dict[float, list[float]] = {}  # value -> when it was carried out
        self._world = world
        self._harvested = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        world.unsettled.add(KEY)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def harvest(self) -> None:
        """Ask the instrument what it carried out; before it is killed it has to tell."""
        for one in self._world.evok.executed(KEY):
            if one["at"] > self._harvested:
                self.executed.setdefault(one["wish"]["value"], []).append(one["at"])
                self._harvested = one["at"]

    def _run(self) -> None:
        for number in itertools.count(1):
            if self._done.wait(0.1):
                return
            value, now = number / 500, time.time()
            self.sent[value] = now
            wish: dict[str, Any] = {"value": value, "sent": datetime.fromtimestamp(now, UTC).isoformat()}
            self._world.observer.send(f"io/set/{KEY}", wish)

    def check(self) -> None:
        """None twice, none over its age, none that nobody sent; and many at all."""
        assert {value: times for value, times in self.executed.items() if len(times) > 1} == {}
        ages = {value: times[0] - self.sent[value] for value, times in self.executed.items()}
        assert {value: age for value, age in ages.items() if age > EXPIRES} == {}
        assert len(ages) >= 10  # or else nothing was shown


def kill(world: World, traffic: Traffic, part: Part) -> None:
    if part == "evok":
        world.evok.suspend()  # so that nothing is carried out after it has told
        world.evok.resume()
        traffic.harvest()
    getattr(world, part).kill()


def works(world: World) -> None:
    """A command goes all the way."""
    answer = world.observer.command("io/set/ro/2_01", {"value": True})
    assert answer["outcome"] == "done", answer
    waited(lambda: world.evok.values()["ro/2_01"] == 1, "the relay to be on")


def scenario(order: tuple[Part, ...], directory: Path, broker_lines: list[str]) -> None:
    with World(directory, broker_lines, direct=True) as world, Traffic(world) as traffic:
        for level, part in enumerate(order):  # one after the other
            time.sleep(0.5)
            kill(world, traffic, part)
            time.sleep(DOWN)
            if part != "evok":
                world.evok.fault("set_input", circuit="2_01", value=1 - level % 2)
            world.start(part)
            world.until_right(RIGHT)
        works(world)
        for part in order:  # all of them down at once
            kill(world, traffic, part)
            time.sleep(DOWN)
        for part in order:
            world.start(part)
        world.until_right(RIGHT)
        works(world)
        traffic.harvest()
        traffic.check()


@pytest.mark.parametrize("forgetful", [True, False], ids=["forgetful broker", "broker with a memory"])
def test_every_order_of_deaths_is_survived(forgetful: bool, tmp_path: Path) -> None:
    def one(order: tuple[Part, ...]) -> None:
        directory = tmp_path / "-".join(order)
        directory.mkdir()
        kept = ["persistence true", f"persistence_location {directory}/", "autosave_interval 1"]
        scenario(order, directory, ["persistence false"] if forgetful else kept)

    together({", ".join(order): partial(one, order) for order in ORDERS})


def dead_daemon_is_offline_after_the_will_delay_and_not_before(directory: Path) -> None:
    with World(directory, direct=True) as world:
        world.daemon.kill()
        died = time.monotonic()
        world.observer.until_retained("_bridge/gate/status", b"offline", WILL + 2.0)
        assert time.monotonic() - died > WILL - 1.0
        world.start("daemon")
        world.until_right(RIGHT)


def daemon_back_within_the_will_delay_was_never_offline(directory: Path) -> None:
    with World(directory, direct=True) as world:
        since = time.monotonic()
        world.daemon.kill()
        world.start("daemon")
        world.until_right(RIGHT)
        time.sleep(WILL + 1.0)
        assert {one.payload for one in world.observer.on("_bridge/gate/status", since)} == {b"online"}


def dead_instrument_is_offline_at_once_and_its_command_answered(directory: Path) -> None:
    with World(directory, direct=True) as world:
        world.evok.kill()
        world.observer.until_retained("io/status", b"offline", 2.0)
        answer = world.observer.command("io/set/ro/2_01", {"value": True})
        assert answer["outcome"] == "unavailable", answer
        assert world.observer.document("io/link")["reason"]
        world.start("evok")
        world.until_right(RIGHT)
        assert world.evok.executed("ro/2_01") == []


def dead_board_is_offline_alone(directory: Path) -> None:
    with World(directory, direct=True, device="poll = 1") as world:
        world.evok.fault("board_dead", unit="xS11", how="exception")
        world.observer.until_retained("io/status/xS11", b"offline", WILL + 2.0)
        assert world.observer.retained("io/status") == b"online"
        answer = world.observer.command("io/set/ro/xS11_01", {"value": True})
        assert answer["outcome"] == "unavailable", answer
        works(world)
        world.evok.fault("board_back", at_once="1")


def broker_that_forgot_everything_is_told_again(directory: Path) -> None:
    with World(directory, ["persistence false"], direct=True) as world:
        world.evok.fault("set_input", circuit="2_02", value=1)
        world.broker.kill()
        world.evok.fault("set_input", circuit="2_01", value=1)
        world.start("broker")
        world.until_right(RIGHT)
        assert world.observer.document("_bridge/gate/info")["devices"] == {"io": {"driver": "evok", "name": None}}
        assert world.observer.document("io/points/2")


def test_the_status_that_counts_is_right_in_time(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        dead_daemon_is_offline_after_the_will_delay_and_not_before,
        daemon_back_within_the_will_delay_was_never_offline,
        dead_instrument_is_offline_at_once_and_its_command_answered,
        dead_board_is_offline_alone,
        broker_that_forgot_everything_is_told_again,
    )
