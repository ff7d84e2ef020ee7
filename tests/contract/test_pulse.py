"""CONTRACT "Devices", `pulse`: by Evok's own timeout where there is one, by the bridge's memory where not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.bench import World, read
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {
    "io": {"driver": "evok"},
    "careless": {"driver": "evok", "pulse_without_state": True},
}
DURABLE = {"io": {"driver": "evok", "poll": 1}}


def pulse(point: str, seconds: float, id_: str) -> dict[str, Any]:
    return {"args": {"point": point, "seconds": seconds}, "id": id_}


async def levels(world: World, point: str, since: int) -> list[bool]:
    return [read(m.payload)["value"] for m in world.client.on(f"io/state/{point}", since)]


async def test_a_digital_output_is_pulsed_by_evoks_own_timeout(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    answer = await client.ask("io/call/pulse", pulse("do/1_01", 0.2, "do"))
    assert answer["outcome"] == "done"
    assert shared.wishes("do/1_01") == [{"value": 1, "timeout": 0.2}]  # one `set`, no second one for the end
    assert [a["outcome"] for a in client.answers("do", since)] == ["accepted", "done"]
    assert await levels(shared, "do/1_01", since) == [True, False]
    assert shared.level("do/1_01") == 0


async def test_accepted_comes_when_on_shows_and_done_when_off_shows(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    await client.ask("io/call/pulse", pulse("do/1_02", 0.2, "order"))
    story: list[object] = []
    for message in client.messages[since:]:
        if message.topic == "lab2mqtt/io/state/do/1_02":
            story.append(read(message.payload)["value"])
        elif message.topic == "lab2mqtt/io/reply/pulse":
            story.append(read(message.payload)["outcome"])
    assert story == [True, "accepted", False, "done"]


@pytest.mark.parametrize("point", ["ro/2_01", "led/1_01"])
async def test_without_a_state_directory_what_evok_cannot_time_is_rejected(shared: World, point: str) -> None:
    answer = await shared.client.ask("io/call/pulse", pulse(point, 0.2, point))
    assert answer["outcome"] == "rejected"
    assert "state directory" in answer["detail"]
    assert shared.executed(point) == 0


async def test_unless_it_is_allowed(shared: World) -> None:
    answer = await shared.client.ask("careless/call/pulse", pulse("ro/2_02", 0.1, "careless"))
    assert answer["outcome"] == "done"
    assert shared.wishes("ro/2_02") == [{"value": 1}, {"value": 0}]


@pytest.mark.parametrize("seconds", [0, 0.05, -1, 86401, "long", None])
async def test_the_length_of_a_pulse_is_bounded(shared: World, seconds: object) -> None:
    args = {"point": "do/1_03", "seconds": seconds}
    assert (await shared.client.ask("io/call/pulse", args))["outcome"] == "rejected"
    assert shared.executed("do/1_03") == 0


async def test_a_later_write_ends_a_pulse(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    client.publish("io/call/pulse", pulse("do/1_04", 30, "long"))
    await client.until(lambda: client.answers("long", since))
    assert (await client.ask("io/set/do/1_04", "OFF"))["outcome"] == "done"
    assert [a["outcome"] for a in client.answers("long", since)] == ["accepted", "unknown"]


async def test_with_a_state_directory_a_relay_is_pulsed_by_the_bridge(alone: Alone) -> None:
    world = await alone(DURABLE, durable=True)
    await world.start()
    client = world.client
    answer = await client.ask("io/call/pulse", pulse("ro/2_01", 0.2, "ro"))
    assert answer["outcome"] == "done"
    assert [a["outcome"] for a in client.answers("ro")] == ["accepted", "done"]
    assert world.wishes("ro/2_01") == [{"value": 1}, {"value": 0}]
    assert not client.on("io/event/pulse_late")


async def test_an_overdue_end_is_sent_first_after_a_restart_and_reported(alone: Alone) -> None:
    world = await alone(DURABLE, durable=True)
    await world.start()
    client = world.client
    client.publish("io/call/pulse", pulse("ro/2_01", 60, "long"))
    await client.until(lambda: client.answers("long"))
    assert world.level("ro/2_01") == 1
    await world.stop()
    assert [(a["outcome"], a["final"]) for a in client.answers("long")] == [("accepted", False), ("unknown", True)]
    assert world.level("ro/2_01") == 1
    await world.start()
    await client.until(lambda: client.on("io/event/pulse_late"))
    event = read(client.on("io/event/pulse_late")[0].payload)
    assert (event["point"], event["id"]) == ("ro/2_01", "long")
    assert world.level("ro/2_01") == 0
    assert world.wishes("ro/2_01") == [{"value": 1}, {"value": 0}]
    # It is forgotten then: the next start switches nothing.
    await client.ask("io/set/ro/2_01", "ON")
    await world.stop()
    await world.start()
    await client.in_order("io")
    assert world.level("ro/2_01") == 1


async def test_an_overdue_end_is_sent_after_a_lost_connection(alone: Alone) -> None:
    world = await alone(DURABLE, durable=True)
    await world.start()
    client = world.client
    client.publish("io/call/pulse", pulse("ro/2_01", 60, "long"))
    await client.until(lambda: client.answers("long"))
    world.server.faults.drop()
    await client.until(lambda: len(client.answers("long")) == 2)
    assert client.answers("long")[1]["outcome"] == "unknown"
    assert world.wishes("ro/2_01") == [{"value": 1}, {"value": 0}]
    assert world.level("ro/2_01") == 0
    await client.until(lambda: client.on("io/event/pulse_late"))
