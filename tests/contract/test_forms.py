"""CONTRACT "Commands", "Forms": what `set` and `call` take, and what they turn down."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from tests.contract.bench import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {"io": {"driver": "evok"}, "toy": {"driver": "toy"}}


# --- set: a bare value ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level"),
    [("1", 1), ("0", 0), ("ON", 1), ("off", 0), ("true", 1), ("False", 0), (" on ", 1)],
)
async def test_a_switch_reads_a_bare_payload_by_its_kind(shared: World, text: str, level: int) -> None:
    answer = await shared.client.ask("io/set/ro/2_01", text)
    assert (answer["outcome"], answer["value"]) == ("done", bool(level))
    assert shared.level("ro/2_01") == level


@pytest.mark.parametrize(("text", "value"), [("5.2", 5.2), ("7", 7.0), ("1e0", 1.0)])
async def test_a_number_reads_a_bare_payload_by_its_kind(shared: World, text: str, value: float) -> None:
    answer = await shared.client.ask("toy/set/gain", text)
    assert (answer["outcome"], answer["value"]) == ("done", value)


async def test_a_choice_takes_one_of_its_choices(shared: World) -> None:
    assert (await shared.client.ask("toy/set/mode", "fast"))["value"] == "fast"
    refused = await shared.client.ask("toy/set/mode", "Fast")
    assert refused["outcome"] == "rejected"
    assert "slow, fast" in refused["detail"]


@pytest.mark.parametrize("text", ["ON", "5", '"quoted"', " two words ", "[1]", ""])
async def test_a_text_point_takes_a_bare_payload_literally(shared: World, text: str) -> None:
    answer = await shared.client.ask("toy/set/label", text)
    assert (answer["outcome"], answer["value"]) == ("done", text)
    assert shared.toy.values["label"] == text


@pytest.mark.parametrize("text", ["", "2", "yes", "ONN", "null", "[1]", "NaN"])
async def test_what_is_no_switch_value_is_rejected_and_not_sent(shared: World, text: str) -> None:
    assert (await shared.client.ask("io/set/ro/2_02", text))["outcome"] == "rejected"
    assert shared.executed("ro/2_02") == 0


@pytest.mark.parametrize("text", ["NaN", "inf", "-Infinity", "", "five", "1e999", "101", "-0.1"])
async def test_what_is_no_number_in_range_is_rejected_and_not_sent(shared: World, text: str) -> None:
    written = len(shared.heard("write", name="gain"))
    answer = await shared.client.ask("toy/set/gain", text)
    assert answer["outcome"] == "rejected"
    assert answer["final"] is True
    assert len(shared.heard("write", name="gain")) == written


# --- set: an envelope ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 1, "ON", "1"])
async def test_an_envelope_carries_a_value_of_any_form(shared: World, value: object) -> None:
    before = shared.executed("ro/2_03")
    answer = await shared.client.ask("io/set/ro/2_03", {"value": value, "timeout": 5, "expires": 5})
    assert (answer["outcome"], answer["value"]) == ("done", True)
    assert shared.executed("ro/2_03") == before + 1


@pytest.mark.parametrize(
    "payload",
    [
        {"value": True, "args": {}},
        {"value": True, "Value": True},
        {"value": True, "retain": True},
        {"id": "no-value"},
        {},
        {"value": None},
        {"value": {"value": True}},
        {"value": [True]},
        {"value": True, "expires": -1},
        {"value": True, "expires": "5"},
        {"value": True, "timeout": -0.1},
        {"value": True, "sent": "yesterday"},
        {"value": True, "sent": "2026-11-21T10:00:00"},
        {"value": True, "sent": 1700000000},
        b'{"value": true',
        b'{"value": NaN}',
        b'{"value": Infinity}',
        b"{'value': true}",
        b'{"value": true} {"value": true}',
        b'{"a":' * 5000,
        b"\xff\xfe",
        b'{"value": "\xff"}',
    ],
)
async def test_a_payload_that_is_no_command_is_rejected_and_not_sent(shared: World, payload: object) -> None:
    answer = await shared.client.ask("io/set/ro/2_04", payload)
    assert answer["outcome"] == "rejected"
    assert answer["detail"]
    assert shared.executed("ro/2_04") == 0


async def test_an_id_has_at_most_128_characters(shared: World) -> None:
    longest = "ü" * 128
    assert (await shared.client.ask("io/set/ro/2_05", {"value": 1, "id": longest}))["id"] == longest
    assert shared.executed("ro/2_05") == 1
    for bad in (longest + "x", "", 5, None, ["a"]):
        answer = await shared.client.ask("io/set/ro/2_05", {"value": 0, "id": bad})
        if bad is not None:  # null is as if there were none
            assert answer["outcome"] == "rejected"
            assert answer["id"] not in ("", None)
    assert shared.wishes("ro/2_05") == [{"value": 1}, {"value": 0}]


async def test_a_rejected_envelope_is_answered_with_its_own_id(shared: World) -> None:
    """Who knows his commands by their ids must learn that this one came to nothing."""
    answer = await shared.client.ask("io/set/ro/2_04", {"value": True, "id": "mine", "colour": "red"})
    assert (answer["id"], answer["outcome"]) == ("mine", "rejected")
    answer = await shared.client.ask("io/call/pulse", {"args": {}, "id": "mine too", "colour": "red"})
    assert (answer["id"], answer["outcome"]) == ("mine too", "rejected")


async def test_a_command_without_an_id_gets_one(shared: World) -> None:
    first = await shared.client.ask("toy/set/lamp", "ON")
    second = await shared.client.ask("toy/set/lamp", "ON")
    assert first["id"]
    assert first["id"] != second["id"]


# --- expires, timeout, expect --------------------------------------------------------------------------


async def test_a_command_is_not_sent_after_it_expired(shared: World) -> None:
    sent = len(shared.heard("write", name="lamp"))
    answer = await shared.client.ask("toy/set/lamp", {"value": False, "expires": 0})
    assert answer["outcome"] == "expired"
    assert "sent" not in answer["times"]
    assert len(shared.heard("write", name="lamp")) == sent


async def test_a_command_that_waits_longer_than_it_is_good_for_expires(shared: World) -> None:
    client, since, written = shared.client, shared.client.mark, len(shared.heard("write", name="lamp"))
    shared.toy.slow = True
    client.publish("toy/set/gain", {"value": 2, "id": "slow"})
    client.publish("toy/set/lamp", {"value": True, "id": "late", "expires": 0.05})
    await client.in_order("toy")
    begun = monotonic()
    await client.until(lambda: monotonic() > begun + 0.06)
    shared.toy.let_go()
    await client.until(lambda: client.answers("late", since) and client.answers("slow", since))
    assert client.answers("late", since)[0]["outcome"] == "expired"
    assert client.answers("slow", since)[0]["outcome"] == "done"
    assert len(shared.heard("write", name="lamp")) == written


async def test_after_its_timeout_a_command_that_was_sent_is_unknown(shared: World) -> None:
    shared.toy.mute = True
    answer = await shared.client.ask("toy/set/lamp", {"value": True, "timeout": 0.1, "id": "no answer"})
    shared.toy.mute = False
    assert (answer["outcome"], answer["final"]) == ("unknown", True)
    assert answer["times"]["sent"]
    assert len([answer for answer in shared.client.answers("no answer") if answer["final"]]) == 1


async def test_a_job_has_no_timeout_of_its_own(shared: World) -> None:
    assert shared.daemon is not None
    point = shared.daemon.fleet.devices["toy"].catalogue.points["job_start"]
    assert point.timeout is None


@pytest.mark.parametrize(("expect", "outcome"), [(3.0, "done"), (3.4, "done"), ("2.6", "done"), (4, "rejected")])
async def test_expect_holds_for_numbers_within_the_points_step(
    shared: World, expect: object, outcome: str
) -> None:
    await shared.client.ask("toy/set/gain", "3")
    written = len(shared.heard("write", name="gain"))
    answer = await shared.client.ask("toy/set/gain", {"value": 9, "expect": expect})
    assert answer["outcome"] == outcome
    assert len(shared.heard("write", name="gain")) == written + (outcome == "done")


@pytest.mark.parametrize(
    ("key", "present", "value", "good", "bad"),
    [("lamp", "OFF", "ON", False, True), ("mode", "slow", "fast", "slow", "fast"), ("label", "a", "b", "a", "A")],
)
async def test_expect_is_compared_with_the_present_value(
    shared: World, key: str, present: str, value: str, good: object, bad: object
) -> None:
    await shared.client.ask(f"toy/set/{key}", present)
    refused = await shared.client.ask(f"toy/set/{key}", {"value": value, "expect": bad})
    assert refused["outcome"] == "rejected"
    assert "not" in refused["detail"]
    assert (await shared.client.ask(f"toy/set/{key}", {"value": value, "expect": good}))["outcome"] == "done"
    # Now it is no longer what was expected: the same wish is turned down.
    assert (await shared.client.ask(f"toy/set/{key}", {"value": present, "expect": good}))["outcome"] == "rejected"


async def test_an_expectation_that_the_point_cannot_have_is_not_met(shared: World) -> None:
    assert (await shared.client.ask("toy/set/lamp", {"value": 1, "expect": "maybe"}))["outcome"] == "rejected"


# --- call ----------------------------------------------------------------------------------------------


async def test_a_call_takes_its_arguments_bare_or_in_an_envelope(shared: World) -> None:
    client = shared.client
    for payload in ({"point": "lamp", "value": 1}, {"args": {"point": "lamp", "value": 1}, "expires": 3}):
        moved = len(shared.heard("write", name="lamp", value=1))
        assert (await client.ask("toy/call/move", payload))["outcome"] == "done"
        assert len(shared.heard("write", name="lamp", value=1)) == moved + 1


@pytest.mark.parametrize("payload", ["", "  ", "{}", '{"args": {}}'])
async def test_an_empty_payload_means_no_arguments(shared: World, payload: str) -> None:
    halted = len(shared.heard("halt"))
    assert (await shared.client.ask("toy/call/stop", payload))["outcome"] == "done"
    assert len(shared.heard("halt")) == halted + 1


@pytest.mark.parametrize(
    "payload",
    [
        "null",
        "[]",
        "1",
        "ON",
        '"x"',
        '{"args": null}',
        '{"args": []}',
        '{"args": {}, "value": 1}',
        '{"args": {}, "expect": 1}',
        '{"args": {}, "point": "lamp"}',
        '{"args": {',
        '{"id": "an argument, then"}',
        '{"expires": 1}',
    ],
)
async def test_what_is_no_call_is_rejected_and_not_done(shared: World, payload: str) -> None:
    halted = len(shared.heard("halt"))
    assert (await shared.client.ask("toy/call/stop", payload))["outcome"] == "rejected"
    assert len(shared.heard("halt")) == halted


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ({"point": "lamp"}, "'value' is missing"),
        ({"point": "lamp", "value": 1, "speed": 2}, "unknown argument 'speed'"),
        ({"point": "lamp", "value": "fast"}, "'value'"),
        ({"point": 5, "value": 1}, "'point'"),
    ],
)
async def test_arguments_are_checked_as_declared(shared: World, args: dict[str, object], word: str) -> None:
    answer = await shared.client.ask("toy/call/move", args)
    assert answer["outcome"] == "rejected"
    assert word in answer["detail"]


# --- the wrong door ------------------------------------------------------------------------------------


async def test_set_on_an_action_names_the_right_topic(shared: World) -> None:
    answer = await shared.client.ask("toy/set/stop", "1")
    assert answer["outcome"] == "rejected"
    assert "lab2mqtt/toy/call/stop" in answer["detail"]


async def test_call_on_a_value_names_the_right_topic(shared: World) -> None:
    answer = await shared.client.ask("io/call/ro/2_04", "")
    assert answer["outcome"] == "rejected"
    assert "lab2mqtt/io/set/ro/2_04" in answer["detail"]
    assert shared.executed("ro/2_04") == 0


@pytest.mark.parametrize("key", ["di/1_01", "ai/1_01"])
async def test_what_is_only_read_cannot_be_set(shared: World, key: str) -> None:
    assert (await shared.client.ask(f"io/set/{key}", "1"))["outcome"] == "rejected"


@pytest.mark.parametrize(
    "key", ["ro/9_99", "ro", "ro/2_04/", "/ro/2_04", "RO/2_04", "relay/2_04", "state/ro/2_04"]
)
async def test_there_are_no_other_names_for_a_point(shared: World, key: str) -> None:
    assert (await shared.client.ask(f"io/set/{key}", "1"))["outcome"] == "rejected"
    assert shared.executed("ro/2_04") == 0
