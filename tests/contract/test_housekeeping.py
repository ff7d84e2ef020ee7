"""CONTRACT "Housekeeping": what goes away by itself, when, and what never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge import housekeeping
from bridge.housekeeping import Pace
from tests.contract.bench import BRIDGE, Client, World
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOY: dict[str, dict[str, Any]] = {"toy": {"driver": "toy"}}
BOTH: dict[str, dict[str, Any]] = {"toy": {"driver": "toy"}, "second": {"driver": "toy"}}
QUICK = Pace(between=0.15, settled=0.05, patience=0.2)
ROUNDS = 4  # inventories after which nothing more would happen
FOREIGN = {
    "other/state/x": b"1",
    "other/link": b'{"bridge": "elsewhere"}',
    "_bridge/elsewhere/status": b"offline",
    "/homeassistant/device/strange/config": b"{}",
}


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping, "PACE", QUICK)
        yield


async def retained(world: World, below: str = "") -> dict[str, bytes]:
    """What the broker keeps now below this device."""
    newcomer = Client(world.port, name="newcomer")
    await newcomer.open()
    mark = newcomer.mark
    newcomer.publish("/mark", b"x")
    await newcomer.until(lambda: newcomer.on("/mark", mark))
    await newcomer.close()
    kept = {m.topic.removeprefix("lab2mqtt/"): m.payload for m in newcomer.messages if m.retain and m.payload}
    return {topic: payload for topic, payload in kept.items() if topic.startswith(below)}


async def rounds(world: World, count: int = ROUNDS) -> None:
    """So many inventories of a device that is there."""
    daemon = world.daemon
    assert daemon is not None
    wanted = daemon.housekeeping.inventories + count
    await world.client.until(lambda: daemon.housekeeping.inventories >= wanted, "inventories")


async def cleared(world: World, *topics: str) -> None:
    """Wait until the last that was said on these topics is nothing."""

    def gone() -> bool:
        last = [world.client.on(topic)[-1:] for topic in topics]
        return all(not found or not found[0].payload for found in last)

    await world.client.until(gone, f"{topics} cleared")


# --- points and groups ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_module_that_vanished_between_two_lives_goes(alone: Alone, protocol: str) -> None:
    world = await alone(TOY, mqtt={"protocol": protocol})
    await world.start()
    await world.client.until(lambda: world.client.value("toy", "arm/load") == 0.25)
    await world.stop()
    del world.toy.modules["arm"]
    since = world.client.mark
    await world.start()
    discovery = "/homeassistant/device/lab2mqtt-toy-arm/config"
    arm = ["toy/status/arm", "toy/points/arm", "toy/state/arm/angle", "toy/state/arm/load", discovery]
    await cleared(world, *arm)
    said = [m.payload for m in world.client.on("toy/status/arm", since) if m.payload]
    assert said[-1] == b"offline"  # until it went
    assert not [topic for topic in await retained(world, "toy/") if "arm" in topic]
    assert "toy/state/head/temperature" in await retained(world, "toy/")


async def test_a_point_that_vanished_goes_and_the_list_says_so_meanwhile(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy", "presets": {"old": {"action": "stop"}}}})
    await world.start()
    await world.stop()
    assert "preset/old" in world.client.last("toy/points")["points"]
    world.devices = TOY
    since = world.client.mark
    await world.start()
    await world.client.until(lambda: "former" not in (world.client.last("toy/points") or {}))
    said = [json.loads(m.payload) for m in world.client.on("toy/points", since)]
    assert [one.get("former") for one in said][-2:] == [{"preset/old": "action"}, None]
    button = "button/preset/old"

    def components() -> Any:
        return world.client.last("/homeassistant/device/lab2mqtt-toy/config")["components"]

    await world.client.until(lambda: components().get(button) == {"platform": "button"}, "the button's removal")


async def test_what_a_new_connection_does_not_show_at_once_keeps_all_it_had(alone: Alone) -> None:
    world = await alone(TOY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping, "PACE", Pace(between=1.0, settled=0.05))
        await world.start()
    await world.client.until(lambda: world.client.value("toy", "arm/load") == 0.25)
    since = world.client.mark
    world.toy.modules.pop("arm")
    world.toy.hang_up()
    await world.client.until(lambda: world.client.on("toy/status/arm", since), "the arm is missed")
    world.toy.modules["arm"] = "Arm"
    world.toy.hang_up()
    await world.client.until(lambda: world.client.on("toy/status/arm", since)[-1].payload == b"online")
    await rounds(world, 3)
    below = [m for m in world.client.messages[since:] if "arm" in m.topic and m.retain]
    assert not [m.topic for m in below if not m.payload]


async def test_all_that_is_there_stays_over_restarts(alone: Alone) -> None:
    world = await alone(TOY)
    await world.start()
    before = await retained(world, "toy/")
    for _ in range(2):
        await world.stop()
        await world.start()
        await rounds(world)
        after = await retained(world, "toy/")
        assert after.keys() == before.keys()
    assert not [m for m in world.client.on("toy/") if not m.payload]


async def test_while_the_device_is_away_nothing_goes(alone: Alone) -> None:
    world = await alone(BOTH)
    await world.start()
    await world.stop()
    before = await retained(world, "toy/")
    world.devices = {**BOTH, "toy": {"driver": "toy", "url": "ws://127.0.0.1:9"}}
    await world.start()
    await rounds(world)
    after = await retained(world, "toy/")
    assert after.keys() == before.keys()
    assert after["toy/status/arm"] == after["toy/status"] == b"offline"  # what is not there is not online


async def test_a_module_that_is_offline_keeps_what_it_has(alone: Alone) -> None:
    world = await alone(TOY)
    await world.start()
    before = await retained(world, "toy/")
    world.toy.module("arm", "unplugged")
    await world.client.until(lambda: world.client.on("toy/status/arm")[-1].payload == b"offline")
    await rounds(world)
    assert (await retained(world, "toy/")).keys() == before.keys()


async def test_others_are_not_touched(alone: Alone) -> None:
    world = await alone(TOY)
    for topic, payload in FOREIGN.items():
        world.client.publish(topic, payload, retain=True)
    await world.start()
    await rounds(world)
    after = await retained(world)
    assert {topic: after[topic.removeprefix("/")] for topic in FOREIGN} == FOREIGN


# --- devices ----------------------------------------------------------------------------------------------


async def test_a_device_that_left_the_configuration_goes_with_all_it_had(alone: Alone) -> None:
    world = await alone(BOTH)
    await world.start()
    discovery = [f"/homeassistant/device/lab2mqtt-second{group}/config" for group in ("", "-arm", "-head")]
    await world.client.until(lambda: all(world.client.on(topic) for topic in discovery), "discovery")
    world.client.publish("second/job/1", {"job": "1"}, retain=True)
    await world.stop()
    world.devices = TOY
    since = world.client.mark
    await world.start()
    await world.client.until(lambda: world.client.on("second/link", since))
    told = world.client.last("second/link")
    assert (told["bridge"], told["reason"]) == (BRIDGE, "removed from the configuration")
    await cleared(world, "second/link", "second/status", *discovery)
    assert await retained(world, "second/") == {}
    assert world.client.on("second/link")[-1] is world.client.on("second/")[-1]  # the last to go
    assert await retained(world, "toy/")


async def test_a_device_that_is_disabled_goes_too(alone: Alone) -> None:
    world = await alone(BOTH)
    await world.start()
    await world.stop()
    world.devices = {**BOTH, "second": {"driver": "toy", "enabled": False}}
    await start_only_toy(world)
    await cleared(world, "second/link", "second/status", "second/state/lamp")
    assert await retained(world, "second/") == {}


async def start_only_toy(world: World) -> None:
    await world.start(wait=False)
    await world.client.until(lambda: world.client.on("toy/status")[-1].payload == b"online")


async def test_a_device_that_another_bridge_has_now_is_not_touched(alone: Alone) -> None:
    world = await alone(BOTH)
    await world.start()
    await world.stop()
    world.client.publish("second/link", {"bridge": "elsewhere", "state": "ready"}, retain=True)
    before = await retained(world, "second/")
    world.devices = TOY
    await world.start()
    await rounds(world)
    assert await retained(world, "second/") == before


async def test_a_device_that_another_bridge_takes_before_it_is_cleared_is_not_touched(alone: Alone) -> None:
    world = await alone(BOTH)
    await world.start()
    await world.stop()
    world.devices = TOY
    since = world.client.mark
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping, "PACE", Pace(between=0.15, settled=0.05, patience=1.0))
        await world.start()
    await world.client.until(lambda: world.client.on("second/link", since))
    world.client.publish("second/link", {"bridge": "elsewhere", "state": "ready"}, retain=True)
    await rounds(world, 8)
    kept = await retained(world, "second/")
    assert "second/state/lamp" in kept
    assert json.loads(kept["second/link"])["bridge"] == "elsewhere"


async def test_discovery_that_is_switched_off_takes_its_announcements_along(alone: Alone) -> None:
    world = await alone(TOY)
    await world.start()
    await world.client.until(lambda: world.client.on("/homeassistant/device/lab2mqtt-toy-arm/config"))
    await world.stop()
    foreign = {"availability": [{"topic": "lab2mqtt/_bridge/elsewhere/status"}]}
    world.client.publish("/homeassistant/device/lab2mqtt-io/config", foreign, retain=True)
    world.home_assistant = {"discovery": False}
    await world.start()
    await cleared(world, *(f"/homeassistant/device/lab2mqtt-toy{group}/config" for group in ("", "-arm", "-head")))
    await cleared(world, f"/homeassistant/device/lab2mqtt-_bridge-{BRIDGE}/config")
    await rounds(world)
    assert await retained(world, "homeassistant/") == {
        "homeassistant/device/lab2mqtt-io/config": json.dumps(foreign).encode()
    }
