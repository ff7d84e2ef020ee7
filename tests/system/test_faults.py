"""Lines that break, stall and lie: what it does to commands, and that it is found, said and survived."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.system.processes import World, together, waited
from tests.system.proxy import Way

SOON = 8.0  # seconds for both connections to be back after a short trouble
IMPATIENT = "ping_interval = 1\nping_timeout = 2\nopen_timeout = 2"  # for the device: minutes are too long here

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def executions(world: World, key: str) -> list[object]:
    return [one["wish"]["value"] for one in world.evok.executed(key)]


# --- the age of commands over a broken line to the broker ------------------------------------------------


def cut_for(world: World, seconds: float) -> None:
    world.uplink.refuse()
    world.uplink.cut()
    time.sleep(seconds)
    world.uplink.accept()


def reset_for(world: World, seconds: float) -> None:
    world.uplink.refuse()
    world.uplink.cut(reset=True)
    time.sleep(seconds)
    world.uplink.accept()


def stall_for(world: World, seconds: float) -> None:
    world.uplink.stall()
    time.sleep(seconds)
    world.uplink.flow()


def stall_then_cut(world: World, seconds: float) -> None:
    world.uplink.stall()
    time.sleep(seconds - 1.0)
    cut_for(world, 1.0)
    world.uplink.flow()


def deaf_for(world: World, seconds: float) -> None:
    """We hear nothing from the broker; it hears us."""
    world.uplink.stall(Way.DOWN)
    time.sleep(seconds)
    world.uplink.flow()


BLIPS = (cut_for, reset_for, stall_for, stall_then_cut, deaf_for)


@pytest.mark.parametrize("blip", BLIPS)
def test_commands_over_a_broken_line(blip, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def short() -> None:
        """One command during a blip of three seconds is carried out once, afterwards."""
        with World(tmp_path / "short") as world:
            time.sleep(2.0)  # a line that has been good for a while
            with Meanwhile(partial(blip, world, 3.0)):
                time.sleep(0.3)
                id_ = world.observer.send("io/set/ao/2_01", {"value": 1.5})
            answer = world.observer.answer(id_)
            assert answer["outcome"] == "done", answer
            assert executions(world, "ao/2_01") == [1.5]
            world.until_right(SOON)

    def long() -> None:
        """After twelve seconds nothing of what was asked in the first five is carried out; what comes then is."""
        with World(tmp_path / "long") as world:
            time.sleep(2.0)
            with Meanwhile(partial(blip, world, 12.0)):
                time.sleep(0.3)
                ids = [world.observer.send("io/set/ao/2_01", {"value": 1.5})]
                ids.append(world.observer.send("io/set/ao/2_02", {"value": 2.5}, expiry=4))
                time.sleep(4.0)
                ids.append(world.observer.send("io/set/ao/2_03", {"value": 3.5}))
            world.until_right(SOON)
            assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"
            outcomes = {world.observer.answers(id_)[-1]["outcome"] for id_ in (ids[0], ids[2])}
            assert outcomes <= {"expired", "unknown"}, outcomes
            for key in ("ao/2_01", "ao/2_02", "ao/2_03"):
                assert executions(world, key) == []

    together(short, long)


class Meanwhile:
    """Something else that goes on at the same time."""

    def __init__(self, call) -> None:  # type: ignore[no-untyped-def]
        import threading

        self._thread = threading.Thread(target=call)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
