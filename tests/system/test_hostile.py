"""Devices and brokers that misbehave: each way is found, said on the link or by the bridge, and survived."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.system.proxy import Way
from tests.system.world import World, side_by_side, together

SOON = 8.0  # seconds for everything to be back
IMPATIENT = "ping_interval = 1\nping_timeout = 2\nopen_timeout = 2\npoll = 1"  # the defaults are minutes
GROWTH = 25 << 20  # bytes that the daemon may grow by, with queues at their limits

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


# --- devices ----------------------------------------------------------------------------------------------


def stops_within_a_frame(world: World) -> None:
    world.evok.fault("cut", then="silence")


def breaks_off_within_a_frame(world: World) -> None:
    world.evok.fault("cut", then="drop")


def stands_still(world: World) -> None:
    world.evok.fault("stall")


def is_half_open(world: World) -> None:
    world.cable.forget()


def breaks_the_protocol(world: World) -> None:
    world.evok.fault("garble", kind="frame")


def goes_without_a_word(world: World) -> None:
    world.evok.fault("drop")


def hangs_up(world: World) -> None:
    world.evok.fault("close", code=1011)


def hangs_in_the_handshake(world: World) -> None:
    world.evok.fault("hang", seconds=4)
    world.evok.fault("drop")


def is_stopped(world: World) -> None:
    world.evok.suspend()
    time.sleep(4.0)
    world.evok.resume()


DEVICES: dict[Callable[[World], None], str] = {  # and what the link says of it
    stops_within_a_frame: "ping",
    breaks_off_within_a_frame: "",
    stands_still: "ping",
    is_half_open: "ping",
    breaks_the_protocol: "",
    goes_without_a_word: "",
    hangs_up: "1011",
    hangs_in_the_handshake: "handshake",
    is_stopped: "ping",
}


def bad_device(fault: Callable[[World], None], words: str, directory: Path) -> None:
    with World(directory, device=IMPATIENT) as world:
        begun, since = time.time(), time.monotonic()
        fault(world)

        def said() -> list[str]:
            links = [one.json for one in world.observer.on("io/link", since)]
            return [link["reason"] for link in links if link["state"] == "offline"]

        world.observer.until(lambda: any(words in reason for reason in said()), what=said)
        assert all(said())
        world.observer.until(lambda: b"offline" in [one.payload for one in world.observer.on("io/status", since)])
        world.begun = begun
        world.until_right(SOON)
        assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"
        events = [one.json for one in world.observer.on("_bridge/gate/event/link", since)]
        assert [event["state"] for event in events] == ["offline", "online"]


def test_a_bad_device_is_found_said_and_survived(tmp_path: Path) -> None:
    together({f.__name__: partial(bad_device, f, words, tmp_path / f.__name__) for f, words in DEVICES.items()})


def device_that_talks_nonsense_now_and_then_stays_connected(directory: Path) -> None:
    with World(directory, device=IMPATIENT) as world:
        since = time.monotonic()
        world.evok.fault("garble", kind="text", count=2)
        world.observer.until(lambda: world.observer.on("io/event/unexpected", since))
        world.evok.fault("set_input", circuit="2_01", value=1)
        world.until_right(SOON)
        assert world.observer.on("io/status", since) == []


def device_that_refuses_is_said_to(directory: Path) -> None:
    with World(directory, device=IMPATIENT) as world:
        world.evok.fault("refuse", seconds=60, status=401)
        world.evok.fault("drop")
        world.observer.until(lambda: "401" in world.observer.document("io/link")["reason"])


# --- brokers ----------------------------------------------------------------------------------------------


def stops_reading(world: World) -> None:
    world.uplink.stall(Way.UP)
    time.sleep(13.0)
    world.uplink.flow()


def stops_altogether(world: World) -> None:
    world.broker.suspend()
    time.sleep(13.0)
    world.broker.resume()


def never_answers(world: World) -> None:
    world.uplink.mute()
    world.uplink.cut()
    time.sleep(5.0)
    world.uplink.accept()
    world.uplink.cut()


def talks_nonsense(world: World) -> None:
    world.uplink.garble(Way.DOWN, 3)


def forgets_the_connection(world: World) -> None:
    world.uplink.forget()
    time.sleep(12.0)


BROKERS: dict[Callable[[World], None], str] = {  # and what is said of it
    stops_reading: "answered nothing",
    stops_altogether: "answered nothing",
    never_answers: "connection",
    talks_nonsense: "",
    forgets_the_connection: "answered nothing",
}


def bad_broker(fault: Callable[[World], None], words: str, directory: Path) -> None:
    with World(directory, mqtt="timeout = 2", simulator=["--busy"]) as world:
        world.unsettled |= set(world.evok.values())  # all of them change all the time
        since = time.monotonic()
        begun, memory = time.time(), world.daemon.memory
        fault(world)
        world.begun = begun
        world.until_right(SOON)
        events = partial(world.observer.on, "_bridge/gate/event/link", since)
        world.observer.until(lambda: [one for one in events() if "broker" in one.json], what=events)
        reasons = [one.json["reason"] for one in events() if "broker" in one.json]
        assert words in reasons[0], reasons
        assert world.observer.command("io/set/ao/2_01", {"value": 1.5})["outcome"] == "done"
        assert world.daemon.memory - memory < GROWTH
        assert {one.json["state"] for one in world.observer.on("io/link", since)} <= {"ready"}


def test_a_bad_broker_is_found_said_and_survived_and_the_devices_know_nothing_of_it(tmp_path: Path) -> None:
    together({f.__name__: partial(bad_broker, f, words, tmp_path / f.__name__) for f, words in BROKERS.items()})


def slow_line_gets_the_newest_values_and_no_queue(directory: Path) -> None:
    """30 kB a second is a fraction of what a busy Evok has to say."""
    with World(directory, simulator=["--busy"]) as world:
        world.unsettled |= set(world.evok.values())
        since, memory = time.monotonic(), world.daemon.memory
        world.uplink.limit(30_000.0, Way.UP)
        time.sleep(8.0)
        world.observer.until(lambda: world.observer.document("_bridge/gate/health").get("merged", 0) > 0)
        world.uplink.limit(0.0)
        world.until_right(SOON)
        assert world.daemon.memory - memory < GROWTH
        time.sleep(2.0)  # until a canary has proved the line again
        assert world.observer.command("io/set/ao/2_01", {"value": 1.5})["outcome"] == "done"
        assert world.observer.on("_bridge/gate/status", since) == []  # one connection all the time


def flood_is_answered_and_leaves_nothing_behind(directory: Path) -> None:
    """Twenty thousand messages of the instrument, two thousand commands on top, and all of it once more."""
    with World(directory, ["max_queued_messages 0"]) as world:
        flood(world)
        memory = world.daemon.memory
        flood(world)
        assert world.daemon.memory - memory < GROWTH
        world.until_right(SOON)
        assert world.observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"


def flood(world: World) -> None:
    message = '[{"dev": "ro", "circuit": "2_01", "value": 0, "pending": false, "alias": ""}]'
    world.evok.fault("flood", count=20_000, text=message)
    ids = [world.observer.send("io/set/ao/2_01", {"value": n % 100 / 10}) for n in range(2000)]
    finals = partial(world.observer.finals, ids)
    world.observer.until(lambda: finals() >= len(ids), 30.0, finals)
    assert finals() == len(ids)


def test_too_much_too_slow_and_nonsense(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        slow_line_gets_the_newest_values_and_no_queue,
        flood_is_answered_and_leaves_nothing_behind,
        device_that_talks_nonsense_now_and_then_stays_connected,
        device_that_refuses_is_said_to,
    )
