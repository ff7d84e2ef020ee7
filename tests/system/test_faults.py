"""Lines that break, stall and lie: what it does to commands, and that it is found, said and survived."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.system.processes import waited
from tests.system.proxy import Way
from tests.system.world import World, meanwhile, side_by_side, together

SOON = 8.0  # seconds for both connections to be back after a short trouble

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


Blip = Callable[[World, float], None]
BLIPS: tuple[Blip, ...] = (cut_for, reset_for, stall_for, stall_then_cut, deaf_for)


def short(blip: Blip, directory: Path) -> None:
    with World(directory) as world:
        time.sleep(2.0)  # a line that has been good for a while
        with meanwhile(partial(blip, world, 3.0)):
            time.sleep(0.3)
            id_ = world.observer.send("io/set/ao/2_01", {"value": 1.5})
        answer = world.observer.answer(id_)
        if blip is stall_then_cut:  # it was on its way when the line was cut: nobody knows that it was not read
            assert answer["outcome"] == "unknown", answer
            assert executions(world, "ao/2_01") == []
        else:
            assert answer["outcome"] == "done", answer
            assert executions(world, "ao/2_01") == [1.5]
        world.until_right(SOON)


def long(blip: Blip, directory: Path) -> None:
    with World(directory) as world:
        time.sleep(2.0)
        with meanwhile(partial(blip, world, 12.0)):
            time.sleep(0.3)
            ids = [world.observer.send("io/set/ao/2_01", {"value": 1.5})]
            ids.append(world.observer.send("io/set/ao/2_02", {"value": 2.5, "expires": 7}))
            world.observer.send("io/set/ao/2_03", {"value": 3.5}, expiry=4)
        world.begun = time.time()
        world.until_right(SOON)
        assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"
        outcomes = {world.observer.answers(id_)[-1]["outcome"] for id_ in ids}
        assert outcomes <= {"expired", "unknown"}, outcomes
        assert [executions(world, key) for key in ("ao/2_01", "ao/2_02", "ao/2_03")] == [[], [], []]


def test_a_command_during_three_bad_seconds_is_carried_out_once_afterwards(tmp_path: Path) -> None:
    together({blip.__name__: partial(short, blip, tmp_path / blip.__name__) for blip in BLIPS})


def test_a_command_early_in_twelve_bad_seconds_is_never_carried_out(tmp_path: Path) -> None:
    together({blip.__name__: partial(long, blip, tmp_path / blip.__name__) for blip in BLIPS})


def daemon_that_was_stopped_knows_that_its_commands_are_old(directory: Path) -> None:
    with World(directory) as world:
        world.daemon.suspend()
        id_ = world.observer.send("io/set/ao/2_01", {"value": 1.5})
        time.sleep(7.0)
        world.daemon.resume()
        assert world.observer.answer(id_)["outcome"] in ("expired", "unknown")
        assert executions(world, "ao/2_01") == []
        world.until_right(SOON)


# --- once, and only what is a command ---------------------------------------------------------------------


def what_is_delivered_again_is_not_carried_out_again(directory: Path) -> None:
    """Our PUBACKs do not arrive, so that the broker delivers again what was carried out already."""
    with World(directory) as world:
        since = time.monotonic()
        world.uplink.stall(Way.UP)
        with_id = world.observer.send("io/set/ao/2_01", {"value": 1.5})
        world.observer.publish("io/set/ao/2_02", b"2.5")
        waited(lambda: executions(world, "ao/2_02"), "both to be carried out")
        world.uplink.cut(reset=True)
        world.uplink.flow()
        assert world.observer.answer(with_id)["outcome"] == "done"
        replies = partial(world.observer.on, "io/reply/ao/2_02", since)
        world.observer.until(lambda: "unknown" in [one.json["outcome"] for one in replies()], what=replies)
        refused = partial(world.observer.on, "_bridge/gate/event/refused", since)
        world.observer.until(refused)
        assert [one.json["kind"] for one in refused()] == ["duplicate"]
        assert (executions(world, "ao/2_01"), executions(world, "ao/2_02")) == ([1.5], [2.5])


def retained_command_is_reported_and_never_carried_out(directory: Path) -> None:
    with World(directory) as world:
        world.observer.publish("io/set/ro/2_02", b"ON", retain=True)
        refused = partial(world.observer.on, "_bridge/gate/event/refused")
        world.observer.until(refused)
        world.daemon.kill()
        world.start("daemon")
        world.until_right(SOON)
        cut_for(world, 0.5)
        assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"
        assert executions(world, "ro/2_02") == []
        assert {one.json["kind"] for one in refused()} == {"retained"}


def pulse_whose_daemon_died_is_ended_by_the_next_one(directory: Path) -> None:
    with World(directory) as world:
        world.observer.send("io/call/pulse", {"args": {"point": "ro/2_03", "seconds": 2.0}})
        waited(lambda: world.evok.values()["ro/2_03"] == 1, "the relay to be on")
        world.daemon.kill()
        time.sleep(1.0)
        assert world.evok.values()["ro/2_03"] == 1
        world.start("daemon")
        late = partial(world.observer.on, "io/event/pulse_late")
        world.observer.until(late, SOON)
        assert late()[0].json["point"] == "ro/2_03"
        waited(lambda: world.evok.values()["ro/2_03"] == 0, "the relay to be off")
        world.until_right(SOON)
        cut_for(world, 0.5)
        world.cable.cut()
        time.sleep(2.0)
        assert executions(world, "ro/2_03") == [True, False]
        assert len(late()) == 1


def test_nothing_is_carried_out_late_or_twice_or_unasked(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        daemon_that_was_stopped_knows_that_its_commands_are_old,
        what_is_delivered_again_is_not_carried_out_again,
        retained_command_is_reported_and_never_carried_out,
        pulse_whose_daemon_died_is_ended_by_the_next_one,
    )
