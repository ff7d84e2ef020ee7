"""CONTRACT "Commands", "Repetition": the same id, a message delivered again, a retained command."""

from __future__ import annotations

from time import time
from typing import Any

import pytest

from bridge.journal import Journal, digest
from tests.contract.bench import World, encoded, full
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {"io": {"driver": "evok"}, "toy": {"driver": "toy"}}


# --- the same id ---------------------------------------------------------------------------------------


async def test_the_same_command_again_gets_the_stored_answer_and_is_not_executed(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    command = {"value": True, "id": "again"}
    first = await client.ask("io/set/ro/2_01", command)
    assert await client.ask("io/set/ro/2_01", command) == first  # its times, too
    assert await client.ask("io/set/ro/2_01", command, response_topic="response/other") == first
    assert [m.topic for m in client.on("/response/", since)] == ["response/other"]
    assert shared.executed("ro/2_01") == 1


async def test_a_stored_answer_is_no_wish_about_now(shared: World) -> None:
    """Somebody switched it back in between: the old command still is not carried out a second time."""
    client = shared.client
    await client.ask("io/set/ro/2_02", {"value": True, "id": "once"})
    await client.ask("io/set/ro/2_02", "OFF")
    assert (await client.ask("io/set/ro/2_02", {"value": True, "id": "once"}))["outcome"] == "done"
    assert shared.level("ro/2_02") == 0


async def test_a_failure_is_stored_as_well(shared: World) -> None:
    client = shared.client
    first = await client.ask("toy/set/gain", {"value": 13, "id": "fails"})
    assert first["outcome"] == "failed"
    assert await client.ask("toy/set/gain", {"value": 13, "id": "fails"}) == first
    assert len(shared.heard("write", value=13.0)) == 1


@pytest.mark.parametrize(
    "command", [{"value": "x", "id": "bad value"}, {"value": 1, "id": "expired", "expires": 0}]
)
async def test_what_was_never_sent_is_stored_as_well(shared: World, command: dict[str, object]) -> None:
    first = await shared.client.ask("io/set/ro/2_03", command)
    assert await shared.client.ask("io/set/ro/2_03", command) == first
    assert shared.executed("ro/2_03") == 0


async def test_the_same_command_while_it_is_open_is_executed_once_and_both_are_answered(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    shared.toy.slow = True
    command = {"value": 7, "id": "open"}
    client.publish("toy/set/gain", command, response_topic="response/a", correlation=b"a")
    client.publish("toy/set/gain", command, response_topic="response/b", correlation=b"b")
    client.publish("toy/set/gain", command, response_topic="response/b", correlation=b"b")  # the same asker
    await client.in_order("toy")
    await client.until(lambda: shared.heard("write", value=7.0))
    assert not client.answers("open", since)
    shared.toy.let_go()
    assert await client.answered(b"a", since) == await client.answered(b"b", since)
    await client.in_order("toy")
    assert [m.topic for m in client.on("/response/", since)] == ["response/a", "response/b"]
    assert len(shared.heard("write", value=7.0)) == 1


async def test_who_asks_again_during_a_pulse_hears_accepted_at_once_and_done_later(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    command = {"args": {"point": "do/1_02", "seconds": 0.3}, "id": "pulse"}
    client.publish("io/call/pulse", command, correlation=b"first")
    await client.until(lambda: client.correlated(b"first", since))
    client.publish("io/call/pulse", command, correlation=b"second")
    assert (await client.answered(b"second", since))["outcome"] == "done"
    assert (await client.answered(b"first", since))["outcome"] == "done"
    assert len(client.correlated(b"second", since)) == 2
    assert shared.executed("do/1_02") == 1


async def test_an_id_used_for_another_payload_is_rejected(shared: World) -> None:
    client = shared.client
    first = await client.ask("io/set/ro/2_04", {"value": True, "id": "mine"})
    answer = await client.ask("io/set/ro/2_04", {"value": False, "id": "mine"})
    assert (answer["id"], answer["outcome"]) == ("mine", "rejected")
    assert "another command" in answer["detail"]
    # The first one's answer is not harmed by that.
    assert await client.ask("io/set/ro/2_04", {"value": True, "id": "mine"}) == first
    assert shared.executed("ro/2_04") == 1


async def test_the_same_payload_in_other_bytes_is_another_payload(shared: World) -> None:
    client = shared.client
    await client.ask("io/set/led/1_01", '{"value": true, "id": "bytes"}')
    assert (await client.ask("io/set/led/1_01", '{"id": "bytes", "value": true}'))["outcome"] == "rejected"
    assert shared.executed("led/1_01") == 1


async def test_an_id_used_on_another_topic_is_rejected(shared: World) -> None:
    client = shared.client
    await client.ask("io/set/led/1_02", {"value": True, "id": "topic"})
    assert (await client.ask("io/set/led/1_03", {"value": True, "id": "topic"}))["outcome"] == "rejected"
    assert (await client.ask("toy/set/lamp", {"value": True, "id": "topic"}))["outcome"] == "rejected"
    assert shared.executed("led/1_03") == 0


async def test_correlation_data_identifies_nothing(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    before = shared.executed("led/1_04")
    for value in ("1", "0"):
        await client.ask("io/set/led/1_04", value)
    client.publish("io/set/led/1_04", "1", correlation=b"same")
    await client.until(lambda: len(client.correlated(b"same", since)) == 1)
    client.publish("io/set/led/1_04", "1", correlation=b"same")
    await client.until(lambda: len(client.correlated(b"same", since)) == 2)
    assert shared.executed("led/1_04") == before + 4


# --- delivered again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["1", {"value": 1}, {"value": 1, "id": "never heard of"}])
async def test_a_message_delivered_again_whose_id_is_not_remembered_is_unknown(
    shared: World, command: object
) -> None:
    client, since = shared.client, shared.client.mark
    shared.line.again.add("lab2mqtt/io/set/do/1_03")
    answer = await client.ask("io/set/do/1_03", command)
    assert (answer["outcome"], answer["final"]) == ("unknown", True)
    if isinstance(command, dict) and "id" in command:
        assert answer["id"] == command["id"]
    await client.until(lambda: shared.refused("duplicate", since))
    assert shared.refused("duplicate", since)[0]["topic"] == "lab2mqtt/io/set/do/1_03"
    assert shared.executed("do/1_03") == 0


async def test_a_call_delivered_again_is_not_executed_either(shared: World) -> None:
    shared.line.again.add("lab2mqtt/toy/call/stop")
    halted = len(shared.heard("halt"))
    assert (await shared.client.ask("toy/call/stop"))["outcome"] == "unknown"
    shared.line.again.discard("lab2mqtt/toy/call/stop")
    assert len(shared.heard("halt")) == halted


async def test_a_message_delivered_again_whose_id_is_remembered_gets_the_stored_answer(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    command = {"value": True, "id": "remembered"}
    first = await client.ask("io/set/do/1_04", command)
    shared.line.again.add("lab2mqtt/io/set/do/1_04")
    assert await client.ask("io/set/do/1_04", command) == first
    assert (await client.ask("io/set/do/1_04", {"value": False, "id": "remembered"}))["outcome"] == "rejected"
    assert shared.executed("do/1_04") == 1
    events = shared.refused("duplicate", since)
    assert "lab2mqtt/io/set/do/1_04" not in [event["topic"] for event in events]


# --- retained ------------------------------------------------------------------------------------------


async def test_a_retained_command_is_never_executed_and_not_answered_only_reported(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    client.publish("io/set/led/xS11_01", "1", retain=True)
    client.publish("toy/call/stop", "{}", retain=True)
    await client.until(lambda: len(shared.refused("retained", since)) == 2)
    events = shared.refused("retained", since)
    assert {event["topic"] for event in events} == {"lab2mqtt/io/set/led/xS11_01", "lab2mqtt/toy/call/stop"}
    client.publish("io/set/led/xS11_01", "", retain=True)
    client.publish("toy/call/stop", "", retain=True)
    await client.in_order("io")
    await client.in_order("toy")
    assert len(shared.refused("retained", since)) == 2  # clearing is no event
    assert not client.on("io/reply/led/xS11_01", since)
    assert not client.on("toy/reply/stop", since)
    assert shared.executed("led/xS11_01") == 0


async def test_a_command_that_lies_retained_in_the_broker_does_not_even_come(alone: Alone) -> None:
    """Retain Handling 2: also not when the bridge subscribes anew."""
    world = await alone({"io": {"driver": "evok"}})
    world.client.publish("io/set/ro/2_01", "1", retain=True)
    await world.client.until(lambda: world.client.on("io/set/ro/2_01"))
    for _ in range(2):
        await world.start()
        await world.client.in_order("io")
        assert not world.refused("retained")
        await world.stop()
    assert world.executed("ro/2_01") == 0


async def test_under_3_1_1_a_retained_command_comes_and_is_not_executed(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, mqtt={"protocol": "3.1.1"})
    world.client.publish("io/set/ro/2_01", "1", retain=True)
    await world.client.until(lambda: world.client.on("io/set/ro/2_01"))
    await world.start()
    await world.client.until(lambda: world.refused("retained"))
    assert world.executed("ro/2_01") == 0
    assert not world.client.on("io/reply/ro/2_01")


# --- over a restart ------------------------------------------------------------------------------------


async def test_after_a_restart_the_answer_is_still_known(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, durable=True)
    await world.start()
    command = {"value": True, "id": "before"}
    first = await world.client.ask("io/set/ro/2_01", command)
    assert first["outcome"] == "done"
    await world.stop()
    await world.start()
    assert await world.client.ask("io/set/ro/2_01", command) == first
    assert (await world.client.ask("io/set/ro/2_01", {**command, "value": False}))["outcome"] == "rejected"
    assert world.executed("ro/2_01") == 1


async def test_a_command_under_way_when_the_bridge_crashed_is_unknown_ever_after(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, durable=True)
    command = encoded({"value": True, "id": "crashed"})
    alone.state_dir.mkdir()
    journal = Journal.open(alone.state_dir / "journal.db", time())
    journal.record_command("crashed", full("io/set/ro/2_01"), digest(command), time())
    assert await journal.flush()
    await journal.close()
    await world.start()
    answer = await world.client.ask("io/set/ro/2_01", command)
    assert (answer["id"], answer["outcome"], answer["final"]) == ("crashed", "unknown", True)
    assert world.executed("ro/2_01") == 0


async def test_the_same_command_twice_at_once_is_executed_once_and_both_are_answered(alone: Alone) -> None:
    """The second comes while the first one's id is on its way to the disk."""
    world = await alone({"io": {"driver": "evok"}}, durable=True)
    await world.start()
    client = world.client
    command = {"value": True, "id": "twin"}
    for name in ("a", "b", "c"):
        client.publish("io/set/ro/2_01", command, response_topic=f"response/{name}", correlation=name.encode())
    answers = [await client.answered(name) for name in (b"a", b"b", b"c")]
    assert [answer["outcome"] for answer in answers] == ["done"] * 3
    assert world.executed("ro/2_01") == 1


async def test_a_refused_command_twice_at_once_is_answered_to_both(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, durable=True)
    await world.start()
    client = world.client
    for name in ("a", "b"):
        client.publish("io/set/ro/2_01", {"value": "?", "id": "twin"}, correlation=name.encode())
    answers = [await client.answered(name) for name in (b"a", b"b")]
    assert [answer["outcome"] for answer in answers] == ["rejected"] * 2


async def test_commands_with_and_without_ids_keep_their_order_on_their_way_over_the_disk(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}}, durable=True)
    await world.start()
    world.toy.heard.clear()
    ids: list[dict[str, object]] = [{"id": f"n{n}"} if n % 3 else {} for n in range(12)]
    commands = [("toy/call/move", {"args": {"point": "gain", "value": n}, **id_}) for n, id_ in enumerate(ids)]
    await world.client.publish_all(commands)
    await world.client.until(lambda: len(world.heard("write")) == len(commands))
    assert [request["value"] for request in world.heard("write")] == list(range(len(commands)))
