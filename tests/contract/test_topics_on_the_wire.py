"""CONTRACT "Topics", "Values" and "Sessions": what is published, in which order, and how the bridge connects."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import pytest

from bridge.mqtt import Message
from tests.contract.bench import BRIDGE, Client, World, read
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

OVERLAYS = {
    "di/1_01": {"name": "Front door", "class": "door", "invert": True},
    "ro/2_0*": {"invert": True},
    "ao/1_01": {"scale": 10, "unit": "%"},
    "ai/1_01": {"scale": 1000, "unit": "mV"},
}
DEVICES: dict[str, dict[str, Any]] = {
    "io": {"driver": "evok", "poll": 1},
    "laid": {"driver": "evok", "points": OVERLAYS},
    "plain": {"driver": "evok", "payload": "plain"},
    "toy": {"driver": "toy"},
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RETAINED = re.compile(
    rf"_bridge/{BRIDGE}/(status|info|health)|[a-z0-9]+/(status|link|points|state|job)(/.*)?"
    r"|homeassistant/device/lab2mqtt-[A-Za-z0-9_-]+/config",
    re.ASCII,
)


async def snapshot(world: World) -> dict[str, Message]:
    """What a newcomer gets: all that is retained, by topic below the root."""
    newcomer = Client(world.port, name="newcomer")
    await newcomer.open()
    await newcomer.ask("io/set/ro/9_99", "1")  # answered behind all that is retained
    await newcomer.close()
    return {m.topic.removeprefix("lab2mqtt/"): m for m in newcomer.messages if m.retain}


# --- values --------------------------------------------------------------------------------------------


async def test_a_value_is_an_envelope_with_unit_and_time(shared: World) -> None:
    state = shared.client.last("io/state/ai/1_01")
    assert list(state) == ["value", "unit", "time"]
    assert (state["value"], state["unit"]) == (8.703, "V")
    assert TIME.fullmatch(state["time"])
    assert list(shared.client.last("io/state/di/1_01")) == ["value", "time"]


async def test_booleans_are_booleans(shared: World) -> None:
    shared.evok.set_input("1_02", 1)
    await shared.client.until(lambda: shared.client.value("io", "di/1_02") is True)
    shared.evok.set_input("1_02", 0)
    await shared.client.until(lambda: shared.client.value("io", "di/1_02") is False)


async def test_plain_gives_the_bare_scalar(shared: World) -> None:
    client = shared.client
    shared.evok.set_input("1_03", 1)
    await client.until(lambda: [m.payload for m in client.on("plain/state/di/1_03")][-1:] == [b"ON"])
    assert client.on("plain/state/ai/1_01")[-1].payload == b"8.703"
    assert client.on("plain/state/ai/1_01/mode")[-1].payload == b"Voltage"
    shared.evok.set_input("1_03", 0)
    await client.until(lambda: client.on("plain/state/di/1_03")[-1].payload == b"OFF")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_what_is_not_finite_becomes_null_and_bad(shared: World, value: float) -> None:
    client = shared.client
    shared.evok.set_input("2_01", value, "ai")
    await client.until(lambda: (client.last("io/state/ai/2_01") or {}).get("quality") == "bad")
    assert client.last("io/state/ai/2_01")["value"] is None
    shared.evok.set_input("2_01", 2.5, "ai")
    await client.until(lambda: client.value("io", "ai/2_01") == 2.5)
    assert "quality" not in client.last("io/state/ai/2_01")


async def test_time_is_when_the_device_reported_it_and_announcing_again_keeps_it(shared: World) -> None:
    client = shared.client
    shared.evok.set_input("1_04", 1)
    await client.until(lambda: client.value("io", "di/1_04") is True)
    before = client.on("io/state/di/1_04")[-1].payload
    since = client.mark
    client.publish(f"_bridge/{BRIDGE}/call/refresh")
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/status", since))
    assert [m.payload for m in client.on("io/state/di/1_04", since)] == [before]


async def test_a_group_that_is_offline_leaves_its_states_untouched(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    shared.toy.module("arm", "unplugged")
    await client.until(lambda: client.last("toy/status/arm") == "offline")
    shared.toy.module("arm", "plugged")
    await client.until(lambda: client.last("toy/status/arm") == "online")
    assert client.on("toy/state/arm/", since) == []
    assert client.value("toy", "arm/load") == 0.25
    events = [read(m.payload) for m in client.on("toy/event/group", since)]
    assert [(e["group"], e["state"]) for e in events] == [("arm", "offline"), ("arm", "online")]


async def test_occurrences_carry_their_type_and_their_time_and_are_not_retained(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    shared.toy.push("alarm", name="oven", type="overheat")
    await client.until(lambda: client.on("toy/event/alarm", since))
    message = client.on("toy/event/alarm", since)[0]
    event = read(message.payload)
    assert (event["event_type"], event["name"]) == ("overheat", "oven")
    assert TIME.fullmatch(event["time"])
    assert (message.qos, message.retain) == (1, False)
    assert client.last("toy/points")["points"]["alarm"]["choices"] == ["overheat", "leak"]


# --- overlays ------------------------------------------------------------------------------------------


async def test_an_overlay_names_inverts_and_scales_what_is_shown(shared: World) -> None:
    client = shared.client
    door = client.last("laid/points/1")["points"]["di/1_01"]
    assert door["name"] == "Front door"
    assert client.value("laid", "di/1_01") is not client.value("io", "di/1_01")
    scaled = client.last("laid/state/ai/1_01")
    assert (round(scaled["value"], 3), scaled["unit"]) == (8703.0, "mV")
    output = client.last("laid/points/1")["points"]["ao/1_01"]
    assert (output["minimum"], output["maximum"], output["unit"]) == (0.0, 100.0, "%")


async def test_an_overlay_holds_for_what_is_set_as_well(shared: World) -> None:
    client = shared.client
    answer = await client.ask("laid/set/ro/2_05", "ON")
    assert (answer["outcome"], answer["value"]) == ("done", True)
    assert shared.level("ro/2_05") == 0  # the other way round
    answer = await client.ask("laid/set/ao/1_01", "50")
    assert (answer["outcome"], round(answer["value"], 1)) == ("done", 50.0)
    assert shared.wishes("ao/1_01")[-1] == {"value": 5}
    expected = await client.ask("laid/set/ro/2_05", {"value": "OFF", "expect": "ON"})
    assert (expected["outcome"], shared.level("ro/2_05")) == ("done", 1)
    assert (await client.ask("laid/set/ao/1_01", "101"))["outcome"] == "rejected"


# --- topics --------------------------------------------------------------------------------------------


async def test_what_is_retained_is_what_the_contract_says(shared: World) -> None:
    kept = await snapshot(shared)
    assert [topic for topic in kept if not RETAINED.fullmatch(topic)] == []
    levels = {name: message.qos for name, message in kept.items() if "/state/" in name}
    assert set(levels.values()) == {0}
    assert {m.qos for name, m in kept.items() if "/state/" not in name} == {1}


async def test_statuses_are_plain_text(shared: World) -> None:
    kept = await snapshot(shared)
    for topic in (f"_bridge/{BRIDGE}/status", "io/status", "io/status/1", "io/status/xS11", "toy/status/arm"):
        assert kept[topic].payload == b"online"


async def test_the_points_document_says_all_that_is_needed(shared: World) -> None:
    kept = await snapshot(shared)
    board = json.loads(kept["io/points/1"].payload)
    assert board["group"] == "1"
    assert board["name"]
    assert board["points"]["ai/1_01"]["unit"] == "V"
    output = board["points"]["ao/1_01"]
    assert (output["kind"], output["access"], output["minimum"], output["maximum"]) == ("number", "write", 0, 10)
    mode = board["points"]["di/1_01/mode"]
    assert (mode["kind"], mode["dangerous"], mode.get("access", "read")) == ("choice", True, "read")
    assert mode["choices"] == ["Simple", "DirectSwitch"]
    pulse = json.loads(kept["io/points"].payload)["points"]["pulse"]
    assert pulse["access"] == "call"
    assert [(a["name"], a.get("required", False)) for a in pulse["arguments"]] == [
        ("point", True),
        ("seconds", True),
    ]
    shown = {topic.split("/state/")[1] for topic in kept if topic.startswith("io/state/")}
    documents = [json.loads(m.payload)["points"] for topic, m in kept.items() if topic.startswith("io/points")]
    declared = {key for document in documents for key in document}
    assert shown <= declared


async def test_the_link_says_what_is_connected_and_why_not(shared: World) -> None:
    link = json.loads((await snapshot(shared))["io/link"].payload)
    assert (link["bridge"], link["state"]) == (BRIDGE, "ready")
    assert TIME.fullmatch(link["since"])
    assert link["device"]["evok"] == "v3"
    assert link["device"]["model"] == "L533"


async def test_the_link_of_a_device_that_is_away_says_when_it_is_tried_again(alone: Alone) -> None:
    world = await alone({"away": {"driver": "evok", "url": "ws://127.0.0.1:9/ws"}})
    await world.start()
    client = world.client
    await client.until(lambda: (client.last("away/link") or {}).get("next_try"))
    link = client.last("away/link")
    assert (link["state"], link["bridge"]) == ("offline", BRIDGE)
    assert "refused" in link["reason"].lower()
    assert TIME.fullmatch(link["next_try"])
    assert link["attempt"] >= 1


async def test_the_bridge_says_what_it_is_and_how_it_does(shared: World) -> None:
    kept = await snapshot(shared)
    info = json.loads(kept[f"_bridge/{BRIDGE}/info"].payload)
    assert (info["schema"], info["drivers"]) == (1, ["evok", "toy"])
    assert info["devices"].keys() == DEVICES.keys()
    assert re.fullmatch("[0-9a-f]{12}", info["configuration"])
    assert info["version"]
    health = json.loads(kept[f"_bridge/{BRIDGE}/health"].payload)
    assert health["links"] == dict.fromkeys(DEVICES, "ready")
    assert {"queues", "dropped", "loop_lag", "memory", "uptime", "conflicts"} <= health.keys()


async def test_a_job_is_retained_from_queued_to_its_end_with_its_manifest(shared: World) -> None:
    client = shared.client
    client.publish("toy/call/job_start", {"args": {"points": 20}, "id": "run-1"})
    await client.until(lambda: client.answers("run-1"))
    shared.toy.measure("run-1", 5)
    await client.until(lambda: client.on("toy/data/run-1/live"))
    live = read(client.on("toy/data/run-1/live")[0].payload)
    assert (live["job"], live["offset"], live["units"]) == ("run-1", 0, {"time": "s", "voltage": "V"})
    assert live["columns"]["time"] == [0, 1, 2, 3, 4]
    shared.toy.finish("run-1")
    await client.until(lambda: "manifest" in (client.last("toy/job/run-1") or {}))
    job = client.last("toy/job/run-1")
    assert (job["state"], job["manifest"]["rows"]) == ("done", 20)
    assert len(client.on("toy/data/run-1/part/0")) == 1
    assert [a["outcome"] for a in client.answers("run-1")] == ["accepted", "done"]
    assert (await snapshot(shared))["toy/job/run-1"].payload == client.on("toy/job/run-1")[-1].payload


# --- the order of an announcement ----------------------------------------------------------------------


async def quiet(shared: World) -> None:
    """What was told before has arrived: answers overtake states, so the publisher must have nothing left."""
    daemon = shared.daemon
    assert daemon is not None
    await shared.client.until(lambda: daemon.publisher.idle)
    await shared.client.in_order("io")


def announced(client: Client, since: int) -> list[str]:
    """The retained topics from the first status to the bridge's own: before it they were still on their way,
    and behind it is what happens now.
    """
    topics = [m.topic.removeprefix("lab2mqtt/") for m in client.messages[since:]]
    first = next(n for n, topic in enumerate(topics) if topic.endswith("/status"))
    last = topics.index(f"_bridge/{BRIDGE}/status", first)
    return [topic for topic in topics[first : last + 1] if RETAINED.fullmatch(topic)]


def in_order(topics: list[str]) -> None:
    """Statuses, then points, then values of each device, all of them before the bridge's own `online`."""
    ranks = {"status": 0, "link": 0, "points": 1, "job": 2, "state": 2}
    for name in DEVICES:
        own = [topic.split("/")[1] for topic in topics if topic.startswith(f"{name}/")]
        assert [ranks[verb] for verb in own] == sorted(ranks[verb] for verb in own)
        assert {"status", "points", "state"} <= set(own)


async def test_refresh_announces_everything_in_order(shared: World) -> None:
    await quiet(shared)
    client, since = shared.client, shared.client.mark
    client.publish(f"_bridge/{BRIDGE}/call/refresh")
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/status", since))
    in_order(announced(client, since))
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/reply/refresh", since))
    reply = client.last(f"_bridge/{BRIDGE}/reply/refresh")
    assert (reply["outcome"], reply["final"]) == ("done", True)


async def test_a_flood_of_refreshes_is_no_flood_of_announcements(shared: World) -> None:
    await shared.client.in_order("io")
    client, since = shared.client, shared.client.mark
    ids = [f"flood-{number}" for number in range(100)]
    await client.publish_all((f"_bridge/{BRIDGE}/call/refresh", {"id": id_}) for id_ in ids)
    for id_ in ids:
        await client.until(partial(client.answers, id_, since), f"the answer to {id_}")
        assert [answer["outcome"] for answer in client.answers(id_, since)] == ["done"]
    assert len(client.on(f"_bridge/{BRIDGE}/info", since)) <= 3


async def test_every_connection_announces_everything_in_order(shared: World) -> None:
    await quiet(shared)
    client, since = shared.client, shared.client.mark
    shared.line.cut()
    shared.evok.set_input("1_01", 1)  # nobody is told of it meanwhile
    shared.line.mend()
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/status", since))
    in_order(announced(client, since))
    await client.until(lambda: client.value("io", "di/1_01") is True)
    shared.evok.set_input("1_01", 0)


@pytest.mark.parametrize("payload", ["", "{}"])
async def test_the_bridge_rejects_verbs_that_it_does_not_know(shared: World, payload: str) -> None:
    client, since = shared.client, shared.client.mark
    client.publish(f"_bridge/{BRIDGE}/call/explode", payload)
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/reply/explode", since))
    assert client.last(f"_bridge/{BRIDGE}/reply/explode")["outcome"] == "rejected"


async def test_a_retained_call_of_the_bridge_is_only_reported(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    client.publish(f"_bridge/{BRIDGE}/call/explode", "1", retain=True)
    await client.until(lambda: shared.refused("retained", since))
    client.publish(f"_bridge/{BRIDGE}/call/explode", "", retain=True)
    await client.in_order("io")
    assert client.on(f"_bridge/{BRIDGE}/reply/explode", since) == []
    assert len(shared.refused("retained", since)) == 1


# --- what goes away ------------------------------------------------------------------------------------


async def test_a_group_that_is_gone_takes_its_retained_topics_along(shared: World) -> None:
    client = shared.client
    shared.toy.module("head", "removed")
    await client.until(lambda: client.on("toy/status/head")[-1].payload == b"")
    assert not [topic for topic in await snapshot(shared) if "head" in topic]
    assert (await client.ask("toy/set/head/temperature", "1"))["outcome"] == "rejected"


async def test_what_goes_away_while_the_broker_is_away_is_cleared_afterwards(alone: Alone) -> None:
    """Otherwise the broker would show it for ever."""
    world = await alone({"toy": {"driver": "toy"}, "io": {"driver": "evok"}})
    await world.start()
    client = world.client
    assert "toy/state/arm/angle" in await snapshot(world)
    world.line.cut()
    world.toy.module("arm", "removed")
    assert world.daemon is not None
    points = world.daemon.fleet.devices["toy"].catalogue.points
    await client.until(lambda: "arm/angle" not in points)
    since = client.mark
    world.line.mend()
    await client.until(lambda: client.on(f"_bridge/{BRIDGE}/status", since))
    assert not [topic for topic in await snapshot(world) if "/arm" in topic]


# --- sessions ------------------------------------------------------------------------------------------


def properties(data: bytes) -> dict[int, int]:
    """The numeric properties of a CONNECT or of its will (MQTT 5, 2.2.2.2)."""
    sizes = {0x11: 4, 0x18: 4, 0x21: 2, 0x27: 4, 0x01: 1}
    found: dict[int, int] = {}
    while data:
        size = sizes[data[0]]
        found[data[0]] = int.from_bytes(data[1 : 1 + size])
        data = data[1 + size :]
    return found


async def test_the_bridge_connects_as_the_contract_says(shared: World) -> None:
    connect = shared.line.connects[0]
    body = connect[2:] if connect[1] < 128 else connect[3:]
    assert body[:7] == b"\x00\x04MQTT\x05"
    flags, keepalive = body[7], int.from_bytes(body[8:10])
    assert flags & 0x02 == 0  # clean start
    assert flags & 0x3C == 0x2C  # a will: QoS 1, retained
    assert keepalive == 15
    length = body[10]
    given = properties(body[11 : 11 + length])
    assert (given[0x11], given[0x21]) == (30, 100)  # session expiry, receive maximum
    rest = body[11 + length :]
    name = int.from_bytes(rest[:2])
    assert rest[2 : 2 + name] == f"lab2mqtt-{BRIDGE}".encode()
    will = rest[2 + name :]
    assert properties(will[1 : 1 + will[0]]).get(0x18) == 5  # will delay
    assert f"lab2mqtt/_bridge/{BRIDGE}/status".encode() in will
    assert will.endswith(b"\x00\x07offline")


async def test_3_1_1_has_a_clean_session(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}}, mqtt={"protocol": "3.1.1", "keepalive": 7})
    await world.start()
    body = world.line.connects[0][2:]
    assert body[:7] == b"\x00\x04MQTT\x04"
    assert body[7] & 0x02
    assert int.from_bytes(body[8:10]) == 7


@pytest.mark.parametrize("said", ["offline", "", "Offline"])
async def test_who_says_that_the_bridge_is_not_online_is_corrected_at_once(said: str, shared: World) -> None:
    client, since = shared.client, shared.client.mark
    client.publish(f"_bridge/{BRIDGE}/status", said, retain=True)

    # Two of our subscriptions fit this topic: a broker may deliver it twice, and then it is corrected twice.
    # And the second correction of an earlier one may come only now.
    def corrected() -> bool:
        heard = [message.payload for message in client.on(f"_bridge/{BRIDGE}/status", since)]
        return said.encode() in heard and heard[-1] == b"online"

    await client.until(corrected)


async def test_the_canary_shows_that_the_line_is_alive_in_both_directions(shared: World) -> None:
    canaries = shared.client.on(f"_bridge/{BRIDGE}/canary")
    assert canaries
    assert {(m.qos, m.retain) for m in canaries} == {(1, False)}


async def test_an_orderly_end_says_offline_devices_first(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}, "io": {"driver": "evok"}})
    await world.start()
    since = world.client.mark
    await world.stop()
    await world.client.until(lambda: world.client.on(f"_bridge/{BRIDGE}/status", since))
    ends = [m.topic.removeprefix("lab2mqtt/") for m in world.client.messages[since:] if m.payload == b"offline"]
    assert sorted(ends[:-1]) == ["io/status", "toy/status"]
    assert ends[-1] == f"_bridge/{BRIDGE}/status"


async def test_the_will_says_offline_when_the_line_is_lost(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}}, mqtt={"will_delay": 0})
    await world.start()
    since = world.client.mark
    world.line.cut()
    await world.client.until(lambda: world.client.on(f"_bridge/{BRIDGE}/status", since))
    message = world.client.on(f"_bridge/{BRIDGE}/status", since)[0]
    assert (message.payload, message.retain) == (b"offline", True)


async def test_a_device_that_another_bridge_has_is_not_started(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}})
    client = world.client
    client.publish("toy/link", {"bridge": "other", "state": "ready"}, retain=True)
    client.publish("_bridge/other/status", "online", retain=True)
    await client.until(lambda: client.on("_bridge/other/status"))
    await world.start(wait=False)
    await client.until(lambda: (client.last(f"_bridge/{BRIDGE}/health") or {}).get("conflicts"))
    assert client.last(f"_bridge/{BRIDGE}/health")["conflicts"] == {"toy": "other"}
    assert world.toy.connections == 0
    assert client.last("toy/link")["bridge"] == "other"
    client.publish("_bridge/other/status", "offline", retain=True)
    await client.until(lambda: client.last("toy/status") == "online")
    assert client.last("toy/link")["bridge"] == BRIDGE


async def test_a_link_left_by_a_bridge_that_is_gone_stops_nobody(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}})
    client = world.client
    client.publish("toy/link", {"bridge": "other"}, retain=True)
    client.publish("_bridge/other/status", "offline", retain=True)
    await client.until(lambda: client.on("_bridge/other/status"))
    await world.start()
    assert client.last("toy/link")["bridge"] == BRIDGE
