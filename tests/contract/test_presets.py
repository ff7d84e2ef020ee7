"""CONTRACT "Commands", "Presets": actions with their arguments, made by the device shell."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.bench import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

GAIN = {"action": "move", "args": {"point": "gain", "value": 5}}
DEVICES: dict[str, dict[str, Any]] = {
    "toy": {
        "driver": "toy",
        "presets": {
            "five": {**GAIN, "name": "Gain of five"},
            "half_done": {"action": "move", "args": {"point": "gain"}},
            "wrong": {"action": "move", "args": {"point": "gain", "value": "much"}},
            "to_nowhere": {"action": "move", "args": {"point": "nowhere", "value": 1}},
            "burn": {"action": "job_start", "args": {"points": 1, "kind": "burn"}},
            "halt": {"action": "stop"},
            "no_such": {"action": "fly"},
        },
    },
    "denied": {"driver": "toy", "presets": {"five": GAIN}, "deny": ["gain"]},
    "io": {
        "driver": "evok",
        "presets": {"bell": {"action": "pulse", "args": {"point": "do/1_01", "seconds": 0.1}}},
    },
}


async def test_a_preset_is_an_action_of_its_own(shared: World) -> None:
    points = shared.client.last("toy/points")["points"]
    assert (points["preset/five"]["kind"], points["preset/five"]["access"]) == ("action", "call")
    assert points["preset/five"]["name"] == "Gain of five"
    assert points["preset/half_done"]["name"] == "Half done"
    assert points["preset/halt"]["urgent"] is True
    assert "preset/no_such" not in points


async def test_a_preset_needs_no_arguments(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    shared.toy.heard.clear()
    answer = await client.ask("toy/call/preset/five", {"args": {}, "id": "preset"})
    assert (answer["id"], answer["outcome"]) == ("preset", "done")
    assert [(r["name"], r["value"]) for r in shared.heard("write")] == [("gain", 5.0)]
    assert client.on("toy/reply/preset/five", since)
    assert client.value("toy", "gain") == 5.0


async def test_the_arguments_of_a_call_are_laid_over_the_presets(shared: World) -> None:
    shared.toy.heard.clear()
    for payload in ({"value": 6}, {"args": {"value": 7}}, {"point": "arm/angle"}):
        assert (await shared.client.ask("toy/call/preset/five", payload))["outcome"] == "done"
    written = [(r["name"], r["value"]) for r in shared.heard("write")]
    assert written == [("gain", 6.0), ("gain", 7.0), ("arm/angle", 5.0)]


async def test_what_a_preset_leaves_open_must_be_given(shared: World) -> None:
    answer = await shared.client.ask("toy/call/preset/half_done")
    assert (answer["outcome"], "'value' is missing" in answer["detail"]) == ("rejected", True)
    assert (await shared.client.ask("toy/call/preset/half_done", {"value": 1}))["outcome"] == "done"


@pytest.mark.parametrize(
    ("preset", "payload", "word"),
    [
        ("five", {"colour": "red"}, "unknown argument 'colour'"),
        ("five", {"value": "much"}, "'value'"),
        ("wrong", "", "'value'"),
        ("to_nowhere", "", "no point 'nowhere'"),
        ("no_such", "", "no point"),
        ("burn", "", "needs an explicit `allow`"),
    ],
)
async def test_a_preset_is_checked_like_its_action(shared: World, preset: str, payload: object, word: str) -> None:
    heard = len(shared.toy.heard)
    answer = await shared.client.ask(f"toy/call/preset/{preset}", payload)
    assert answer["outcome"] == "rejected"
    assert word in answer["detail"]
    assert len(shared.toy.heard) == heard


async def test_access_rules_hold_for_what_a_preset_touches(shared: World) -> None:
    answer = await shared.client.ask("denied/call/preset/five")
    assert (answer["outcome"], answer["detail"]) == ("rejected", "gain is denied by the configuration")


async def test_a_preset_of_an_urgent_action_is_urgent(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    shared.toy.slow = True
    client.publish("toy/set/gain", {"value": 8, "id": "in the way"})
    await client.in_order("toy")
    assert (await client.ask("toy/call/preset/halt"))["outcome"] == "done"
    assert not client.answers("in the way", since)
    shared.toy.let_go()
    await client.until(lambda: client.answers("in the way", since))


async def test_set_on_a_preset_names_the_right_topic(shared: World) -> None:
    answer = await shared.client.ask("toy/set/preset/five", "1")
    assert "lab2mqtt/toy/call/preset/five" in answer["detail"]


async def test_a_preset_of_a_pulse_is_accepted_and_done(shared: World) -> None:
    client, since = shared.client, shared.client.mark
    answer = await client.ask("io/call/preset/bell", {"args": {}, "id": "bell"})
    assert answer["outcome"] == "done"
    assert [a["outcome"] for a in client.answers("bell", since)] == ["accepted", "done"]
    assert shared.wishes("do/1_01")[-1] == {"value": 1, "timeout": 0.1}
