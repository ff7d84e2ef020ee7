"""CONTRACT "Commands", "Answers": what they say, where they go, and that every command gets one final answer."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from tests.contract.bench import BRIDGE, Client, World, read
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOWHERE = "ws://127.0.0.1:9/ws"  # the discard port: nobody listens
DEVICES: dict[str, dict[str, Any]] = {
    "io": {"driver": "evok", "poll": 1},
    "toy": {"driver": "toy"},
    "away": {"driver": "evok", "url": NOWHERE},
}


# --- what they say -------------------------------------------------------------------------------------


async def test_an_answer_to_a_set_has_the_value_and_the_times(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    answer = await client.ask("io/set/ro/2_01", {"value": "ON", "id": "shape"})
    assert list(answer) == ["id", "outcome", "final", "detail", "value", "times"]
    assert (answer["id"], answer["outcome"], answer["final"], answer["value"]) == ("shape", "done", True, True)
    times = [datetime.fromisoformat(answer["times"][name]) for name in ("received", "sent", "answered")]
    assert times == sorted(times)
    message = client.on("io/reply/ro/2_01", since)[0]
    assert (message.qos, message.retain, message.meta.content_type) == (1, False, "application/json")


async def test_an_answer_to_a_call_has_data(shared: World) -> None:
    answer = await shared.client.ask("toy/call/stop")
    assert answer["data"] == {"halted": 0}
    assert "value" not in answer


async def test_a_value_that_shows_already_is_done(shared: World) -> None:
    await shared.client.ask("io/set/ro/2_02", "OFF")
    answer = await shared.client.ask("io/set/ro/2_02", "OFF")
    assert (answer["outcome"], answer["value"]) == ("done", False)


async def test_accepted_is_not_final_and_done_follows_once(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    answer = await client.ask("io/call/pulse", {"args": {"point": "do/1_01", "seconds": 0.1}, "id": "twice"})
    assert answer["outcome"] == "done"
    answers = client.answers("twice", since)
    assert [(a["outcome"], a["final"]) for a in answers] == [("accepted", False), ("done", True)]


async def test_a_device_that_refuses_makes_a_command_failed_and_the_true_state_is_told_again(
    shared: World,
) -> None:
    """Whoever showed the wish as fact must be told what is so."""
    client = shared.client
    await client.ask("toy/set/gain", "4")
    since = client.mark
    answer = await client.ask("toy/set/gain", "13")
    assert (answer["outcome"], answer["detail"]) == ("failed", "the amplifier does not like 13")
    states = client.on("toy/state/gain", since)
    assert [read(m.payload)["value"] for m in states] == [4.0]
    assert client.messages.index(states[0]) < client.messages.index(client.on("toy/reply/gain", since)[0])


async def test_what_is_processed_and_does_not_show_is_unknown(shared: World) -> None:
    shared.toy.stubborn_label = True
    answer = await shared.client.ask("toy/set/label", "never shown")
    shared.toy.stubborn_label = False
    assert (answer["outcome"], answer["final"]) == ("unknown", True)


async def test_nothing_is_optimistic(shared: World) -> None:
    """While a command is under way its point shows what was; also when the device never answers."""
    client = shared.client
    await client.ask("toy/set/lamp", "OFF")
    since = client.mark
    shared.toy.mute = True
    await client.ask("toy/set/lamp", {"value": "ON", "timeout": 0.1})
    shared.toy.mute = False
    assert {read(m.payload)["value"] for m in client.on("toy/state/lamp", since)} <= {False}


@pytest.mark.parametrize("turn", range(3))
async def test_the_state_that_proves_a_done_is_published_before_the_answer(shared: World, turn: int) -> None:
    client, since = shared.client, shared.client.mark
    wanted = not shared.level("ro/2_03")
    await client.ask("io/set/ro/2_03", "ON" if wanted else "OFF")
    topics = [m.topic.removeprefix("lab2mqtt/io/") for m in client.messages[since:]]
    assert topics.index("state/ro/2_03") < topics.index("reply/ro/2_03")
    assert read(client.on("io/state/ro/2_03", since)[0].payload)["value"] is wanted


async def test_the_state_that_proves_an_action_is_published_before_the_answer(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    await client.ask("io/call/evok_set", {"dev": "ro", "circuit": "2_04", "value": 1})
    topics = [m.topic.removeprefix("lab2mqtt/io/") for m in client.messages[since:]]
    assert topics.index("state/ro/2_04") < topics.index("reply/evok_set")


# --- where they go -------------------------------------------------------------------------------------


async def test_an_answer_goes_to_the_response_topic_with_the_correlation_data(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    token = bytes(range(256))
    client.publish("io/set/ro/2_01", "1", response_topic="response/me", correlation=token)
    assert (await client.answered(token, since))["outcome"] == "done"
    assert [m.topic for m in client.correlated(token, since)] == ["response/me"]
    assert client.on("io/reply/", since) == []
    assert not client.on("/response/me", since)[0].retain


async def test_the_own_reply_topics_of_the_device_asked_may_be_response_topics(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    await client.ask("io/set/ro/2_01", "1", response_topic="lab2mqtt/io/reply/mine")
    assert len(client.on("io/reply/mine", since)) == 1


@pytest.mark.parametrize(
    "topic",
    [
        "lab2mqtt/io/set/ro/2_05",  # the answer would be a command
        "lab2mqtt/io/call/pulse",
        "lab2mqtt/toy/reply/gain",  # of another device
        "lab2mqtt/io/state/ro/2_05",
        "lab2mqtt/io/status",
        f"lab2mqtt/_bridge/{BRIDGE}/reply/refresh",
        f"lab2mqtt/_bridge/{BRIDGE}/status",
        "homeassistant/device/x/config",
        "zigbee2mqtt/lamp/set",
        "response",
        "responses/me",
        "$SYS/me",
        "response/" + "x" * 248,
        "response/" + "ü" * 124,
    ],
)
async def test_other_response_topics_are_refused_and_the_answer_goes_to_reply(shared: World, topic: str) -> None:
    client, since = shared.client, shared.client.mark
    answer = await client.ask("io/set/ro/2_02", "1", response_topic=topic)
    assert answer["outcome"] == "done"  # the command itself is good
    assert len(client.on("io/reply/ro/2_02", since)) == 1
    assert not client.on("/" + topic, since) or topic.endswith("/status")
    await client.until(lambda: shared.refused("response_topic", since))
    assert shared.executed("ro/2_05") == 0


async def test_a_response_topic_may_have_256_bytes(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    topic = "response/" + "x" * 247
    await client.ask("io/set/ro/2_02", "1", response_topic=topic)
    assert len(client.on("/" + topic, since)) == 1


async def test_refused_response_topics_are_counted(shared: World) -> None:
    client = shared.client

    async def count() -> int:
        since = client.mark
        client.publish(f"_bridge/{BRIDGE}/call/refresh")
        await client.until(lambda: client.on(f"_bridge/{BRIDGE}/health", since))
        return int(client.last(f"_bridge/{BRIDGE}/health")["turned_down"].get("response_topic", 0))

    before = await count()
    await client.ask("io/set/ro/2_02", "1", response_topic="elsewhere")
    assert await count() == before + 1


async def test_answers_and_events_are_never_retained(shared: World, broker: int) -> None:
    await shared.client.ask("io/set/ro/2_01", "1")
    await shared.client.ask("io/set/ro/2_01", "nonsense", response_topic="response/retained")
    late = Client(broker, name="late")
    await late.open()
    await late.until(lambda: late.on(f"_bridge/{BRIDGE}/info"))
    await late.ask("io/set/ro/2_01", "1")  # behind all that is retained
    kept = [m.topic for m in late.messages if m.retain]
    await late.close()
    assert kept
    assert not [
        topic for topic in kept if "/reply/" in topic or "/event/" in topic or topic.startswith("response")
    ]


# --- nobody there --------------------------------------------------------------------------------------


async def test_an_offline_device_makes_a_command_unavailable_at_once(shared: World) -> None:
    answer = await shared.client.ask("away/set/ro/2_01", {"value": 1, "expires": 60})
    assert (answer["outcome"], answer["final"]) == ("unavailable", True)
    assert "away is offline" in answer["detail"]
    assert "sent" not in answer["times"]


async def test_an_offline_group_makes_a_command_unavailable_at_once(shared: World) -> None:
    client = shared.client
    shared.toy.module("arm", "unplugged")
    await client.until(lambda: client.last("toy/status/arm") == "offline")
    written = len(shared.heard("write", name="arm/angle"))
    answer = await client.ask("toy/set/arm/angle", "10")
    assert (answer["outcome"], answer["detail"]) == ("unavailable", "the arm is unplugged")
    shared.toy.module("arm", "plugged")
    await client.until(lambda: client.last("toy/status/arm") == "online")
    assert len(shared.heard("write", name="arm/angle")) == written
    assert (await client.ask("toy/set/arm/angle", "10"))["outcome"] == "done"


async def test_a_command_that_is_sent_when_the_line_breaks_is_unknown_and_a_waiting_one_unavailable(
    shared: World,
) -> None:
    client, since = shared.client, shared.client.mark
    shared.toy.slow = True
    client.publish("toy/set/gain", {"value": 5, "id": "on its way"})
    client.publish("toy/set/lamp", {"value": 1, "id": "in the queue"})
    await client.in_order("toy")
    await client.until(lambda: shared.heard("write", value=5.0))
    shared.toy.slow = False
    shared.toy._waiting.clear()
    shared.toy.hang_up()
    await client.until(lambda: client.answers("on its way", since) and client.answers("in the queue", since))
    assert [a["outcome"] for a in client.answers("on its way", since)] == ["unknown"]
    assert [a["outcome"] for a in client.answers("in the queue", since)] == ["unavailable"]
    await client.until(lambda: client.last("toy/status") == "online")


async def test_every_command_gets_exactly_one_final_answer(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    keys = [f"ro/2_0{n}" for n in range(1, 5)] + ["do/1_02", "nowhere", "di/1_01", "ao/1_01"]
    asked = [(f"many-{n}", keys[n % len(keys)], str(n % 3)) for n in range(80)]
    await client.publish_all((f"io/set/{key}", {"value": value, "id": id_}) for id_, key, value in asked)

    def final() -> Counter[str]:
        return Counter(id_ for id_, _, _ in asked for a in client.answers(id_, since) if a["final"])

    await client.until(lambda: len(final()) == len(asked), "an answer for each")
    await client.in_order("io")
    assert set(final().values()) == {1}


# --- worlds of their own -------------------------------------------------------------------------------


async def test_unknown_is_final_and_what_becomes_known_later_is_an_event(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok", "poll": 1}})
    await world.start()
    client, since = world.client, world.client.mark
    world.evok.board_dead("xS51", "refused", 0.4)
    answer = await client.ask("io/set/ro/xS51_01", {"value": 1, "timeout": 0.1, "id": "blocked"})
    assert answer["outcome"] == "unknown"
    await client.until(lambda: client.on("io/event/processed", since))
    event = read(client.on("io/event/processed", since)[0].payload)
    assert (event["id"], event["late"]) == ("blocked", True)
    assert len(client.answers("blocked", since)) == 1


async def test_a_stopping_bridge_answers_what_is_open(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}})
    await world.start()
    client = world.client
    world.toy.mute = True
    client.publish("toy/set/gain", {"value": 5, "id": "sent"})
    client.publish("toy/set/lamp", {"value": 1, "id": "waits"})
    await client.in_order("toy")
    await client.until(lambda: world.heard("write", value=5.0))
    await world.stop()
    await client.until(lambda: client.last(f"_bridge/{BRIDGE}/status") == "offline")
    assert [a["outcome"] for a in client.answers("sent")] == ["unknown"]
    assert [a["outcome"] for a in client.answers("waits")] == ["unavailable"]


async def test_with_mqtt_3_1_1_answers_go_to_reply(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, mqtt={"protocol": "3.1.1"})
    await world.start()
    client, since = world.client, world.client.mark
    client.publish("io/set/ro/2_01", {"value": 1, "id": "old"}, response_topic="response/x", correlation=b"x")
    await client.until(lambda: client.on("io/reply/ro/2_01", since))
    assert [a["outcome"] for a in client.answers("old", since)] == ["done"]
    assert world.executed("ro/2_01") == 1
    # The command itself was seen with its properties; the answer has none.
    assert client.on("io/reply/ro/2_01", since)[0].meta.correlation is None
    client.publish("io/call/pulse", {"args": {"point": "do/1_01", "seconds": 0.1}, "id": "pulse"})
    await client.until(lambda: len(client.answers("pulse", since)) == 2)
    assert [a["outcome"] for a in client.answers("pulse", since)] == ["accepted", "done"]


async def test_both_sides_may_speak_3_1_1(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, mqtt={"protocol": "3.1.1"})
    await world.start()
    old = Client(world.port, "3.1.1", "old client")
    await old.open()
    old.publish("io/set/ro/2_01", {"value": "ON", "id": "old"})
    await old.until(lambda: old.answers("old"))
    await old.close()
    assert old.answers("old")[0]["outcome"] == "done"
    assert world.executed("ro/2_01") == 1
