"""CONTRACT "Topics", "Discovery slug": Home Assistant's discovery on the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.contract.bench import BRIDGE, Client, World
from tests.contract.conftest import Alone
from tests.home_assistant_rules import problems, unique_ids

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {
    "toy": {
        "driver": "toy",
        "name": "Toy",
        "area": "Lab",
        "presets": {"halt": {"action": "stop"}},
        "points": {"lamp": {"as": "light", "name": "Signal lamp"}, "door": {"class": "window", "enabled": False}},
    },
    "io": {"driver": "evok", "deny": ["ro/2_01"]},
}
BIRTH = "/homeassistant/status"
OWN = f"/homeassistant/device/lab2mqtt-_bridge-{BRIDGE}/config"


def config(slug: str, prefix: str = "homeassistant") -> str:
    return f"/{prefix}/device/lab2mqtt-{slug}/config"


def announced(client: Client, prefix: str = "homeassistant", since: int = 0) -> dict[str, bytes]:
    """What Home Assistant would find now."""
    found = {m.topic: m.payload for m in client.messages[since:] if m.topic.startswith(f"{prefix}/device/")}
    return {topic: payload for topic, payload in found.items() if payload}


async def settled(world: World, slug: str, component: str) -> Any:
    """The payload as soon as it has this component."""
    client = world.client

    def there() -> bool:
        found = client.last(config(slug))
        return isinstance(found, dict) and component in found["components"]

    await client.until(there, f"{component} in {slug}")
    return client.last(config(slug))


async def test_everything_is_announced_as_home_assistant_wants_it(shared: World) -> None:
    await settled(shared, "toy", "light/lamp")
    await settled(shared, "toy-arm", "number/arm/angle")
    await settled(shared, "io-1", "switch/do/1_01")
    payloads = announced(shared.client)
    assert [(topic, problems(topic, payload)) for topic, payload in payloads.items()] == [
        (topic, []) for topic in payloads
    ]
    ids = unique_ids(list(payloads.values()))
    assert len(set(ids)) == len(ids)
    assert all(m.retain or m.qos == 1 for m in shared.client.messages if m.topic in payloads)


async def test_what_is_behind_what(shared: World) -> None:
    toy, arm = await settled(shared, "toy", "light/lamp"), await settled(shared, "toy-arm", "number/arm/angle")
    bridge = shared.client.last(OWN)
    assert toy["device"]["via_device"] in bridge["device"]["identifiers"]
    assert arm["device"]["via_device"] in toy["device"]["identifiers"]
    assert (toy["device"]["name"], toy["device"]["suggested_area"]) == ("Toy", "Lab")


async def test_the_configurations_words_are_home_assistants(shared: World) -> None:
    found = (await settled(shared, "toy", "light/lamp"))["components"]
    assert found["light/lamp"]["name"] == "Signal lamp"
    door = found["binary_sensor/door"]
    assert (door["device_class"], door["enabled_by_default"]) == ("window", False)
    assert found["button/preset/halt"]["command_topic"] == "lab2mqtt/toy/call/preset/halt"
    assert found.get("button/self_test") in (None, {"platform": "button"})  # at most its removal
    relays = (await settled(shared, "io-2", "binary_sensor/ro/2_01"))["components"]
    assert len(relays["switch/ro/2_02"]) > 1
    assert relays.get("switch/ro/2_01", {"platform": "switch"}) == {"platform": "switch"}


async def test_its_commands_are_understood(shared: World) -> None:
    client = shared.client
    found = (await settled(shared, "toy", "light/lamp"))["components"]
    for component, payload in (
        (found["light/lamp"], found["light/lamp"]["payload_on"]),
        (found["number/gain"], "12.5"),
        (found["select/mode"], "fast"),
        (found["text/label"], json.dumps({"value": "{not JSON"})),
        (found["button/stop"], found["button/stop"]["payload_press"]),
    ):
        topic = "/" + component["command_topic"]
        answer = await client.ask(topic, payload)
        assert answer["outcome"] == "done", (topic, answer)
    assert client.value("toy", "label") == "{not JSON"


async def test_a_birth_has_everything_told_again_in_order(shared: World) -> None:
    client = shared.client
    await settled(shared, "toy", "light/lamp")
    since = client.mark
    client.publish(BIRTH, "offline")
    client.publish(BIRTH, "online")
    client.publish(BIRTH, "online")
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/status", since), "the bridge's own status")
    topics = [
        m.topic.removeprefix("lab2mqtt/")
        for m in client.messages[since:]
        if "/device/" in m.topic or "toy" in m.topic
    ]
    assert topics.count(config("toy")[1:]) == 1
    order = [
        "toy/status",
        "toy/status/arm",
        config("toy")[1:],
        config("toy-arm")[1:],
        "toy/points",
        "toy/state/gain",
    ]
    assert [topics.index(topic) for topic in order] == sorted(topics.index(topic) for topic in order)
    first = client.on(OWN, since)[0]
    assert client.messages.index(first, since) < client.messages.index(client.on(config("toy"), since)[0], since)
    await client.in_order("toy")
    assert len(client.on(OWN, since)) == 1


async def test_a_retained_birth_is_old_news(shared: World) -> None:
    client = shared.client
    since = client.mark
    client.publish(BIRTH, "online", retain=True)
    client.publish(BIRTH, b"", retain=True)
    await client.ask(f"_bridge/{BRIDGE}/call/refresh")
    await client.until(lambda: client.on(OWN, since), "the refresh")
    assert len(client.on(OWN, since)) == 1


async def test_a_module_that_leaves_takes_its_device_along(shared: World) -> None:
    client = shared.client
    await settled(shared, "toy-arm", "number/arm/angle")
    shared.toy.module("arm", "removed")
    await client.until(lambda: client.on(config("toy-arm"))[-1].payload == b"", "the removal")
    shared.toy.module("arm", "plugged")
    await settled(shared, "toy-arm", "number/arm/angle")


async def test_an_event_waits_for_home_assistant(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}})
    await world.start(wait=False)
    client = world.client
    await client.until(lambda: client.last("toy/status") == "online", "the toy")
    await settled(world, "toy", "event/alarm")
    loop = asyncio.get_running_loop()
    seen = loop.time()
    world.toy.push("alarm", name="oven", type="leak")
    answer = await client.ask("toy/set/lamp", "ON")
    assert answer["outcome"] == "done"
    assert not client.on("toy/event/alarm"), "commands and their answers wait for nothing"
    await client.until(lambda: client.on("toy/event/alarm"), "the alarm")
    assert loop.time() - seen > 0.3  # a little less than the pause: it had begun when the discovery was sent


async def test_discovery_can_be_off(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}})
    world.home_assistant = {"discovery": False}
    await world.start()
    client = world.client
    client.publish(BIRTH, "online")
    await client.ask(f"_bridge/{BRIDGE}/call/refresh")
    assert not [m.topic for m in client.messages if m.topic.startswith("homeassistant/device")]


async def test_the_prefix_is_the_configurations(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}})
    world.home_assistant = {"prefix": "house/ha"}
    await world.start()
    client = world.client
    await client.until(lambda: len(announced(client, "house/ha")) >= 4, "the toy, its modules and the bridge")
    assert announced(client) == {}
    since = client.mark
    client.publish("/house/ha/status", "online")
    await client.until(lambda: client.on(config("toy", "house/ha"), since), "the birth's effect")
