"""CONTRACT "Commands", "Order": first in, first out; bounded; superseded; urgent ones; the rate limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.bench import Client, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {
    "toy": {"driver": "toy", "backlog": 4},
    "rated": {"driver": "toy", "rate": 0.01, "burst": 3},
    "io": {"driver": "evok"},
}


@pytest_asyncio.fixture(loop_scope="module")
async def busy(shared: World) -> AsyncIterator[World]:
    """The toy works on a command, so that the next ones wait."""
    toy, client = shared.toy, shared.client
    toy.heard.clear()
    toy.slow = True
    since = client.mark
    client.publish("toy/set/gain", {"value": 50, "id": f"first-{since}"})
    await client.until(lambda: shared.heard("write"))
    yield shared
    toy.let_go()
    await client.until(lambda: client.answers(f"first-{since}"))


async def ended(client: Client, *ids: str, since: int = 0) -> list[str]:
    await client.until(lambda: all(client.answers(id_, since) for id_ in ids), f"answers to {ids}")
    found = [client.answers(id_, since) for id_ in ids]
    assert all(len(answers) == 1 for answers in found)
    return [answers[0]["outcome"] for answers in found]


async def test_commands_are_sent_in_the_order_they_came(busy: World) -> None:
    client, since = busy.client, busy.client.mark
    client.publish("toy/set/lamp", {"value": 1, "id": "a"})
    client.publish("toy/set/mode", {"value": "fast", "id": "b"})
    client.publish("toy/call/move", {"args": {"point": "lamp", "value": 0}, "id": "c"})
    client.publish("toy/set/arm/angle", {"value": 5, "id": "d"})
    await client.in_order("toy")
    busy.toy.let_go()
    assert await ended(client, "a", "b", "c", "d", since=since) == ["done"] * 4
    assert [r["name"] for r in busy.heard("write")] == ["gain", "lamp", "mode", "lamp", "arm/angle"]


async def test_one_device_waits_for_no_other(busy: World) -> None:
    assert (await busy.client.ask("io/set/ro/2_01", "1"))["outcome"] == "done"


async def test_a_newer_set_of_a_point_supersedes_one_that_still_waits(busy: World) -> None:
    client, since = busy.client, busy.client.mark
    for number in range(3):
        client.publish("toy/set/arm/angle", {"value": number, "id": f"angle {number}"})
    await client.in_order("toy")
    assert await ended(client, "angle 0", "angle 1", since=since) == ["superseded"] * 2  # at once
    busy.toy.let_go()
    assert await ended(client, "angle 2", since=since) == ["done"]
    assert [r["value"] for r in busy.heard("write", name="arm/angle")] == [2.0]


async def test_one_that_is_sent_already_is_not_superseded(busy: World) -> None:
    client = busy.client
    first = next(r for r in busy.heard("write"))
    client.publish("toy/set/gain", {"value": 51, "id": "second"})
    await client.in_order("toy")
    assert not client.answers(first["id"])
    busy.toy.let_go()
    assert await ended(client, first["id"], "second") == ["done", "done"]


async def test_what_is_not_valid_supersedes_nothing(busy: World) -> None:
    client, since = busy.client, busy.client.mark
    client.publish("toy/set/arm/angle", {"value": 7, "id": "valid"})
    client.publish("toy/set/arm/angle", {"value": 999, "id": "too far"})
    assert await ended(client, "too far", since=since) == ["rejected"]
    busy.toy.let_go()
    assert await ended(client, "valid", since=since) == ["done"]


async def test_actions_are_never_superseded(busy: World) -> None:
    client, since = busy.client, busy.client.mark
    for number in range(3):
        client.publish("toy/call/move", {"args": {"point": "gain", "value": number}, "id": f"move {number}"})
    await client.in_order("toy")
    busy.toy.let_go()
    assert await ended(client, "move 0", "move 1", "move 2", since=since) == ["done"] * 3
    assert [r["value"] for r in busy.heard("write", name="gain")] == [50.0, 0.0, 1.0, 2.0]


async def test_the_queue_is_bounded(busy: World) -> None:
    client, since = busy.client, busy.client.mark
    ids = [f"place {number}" for number in range(6)]
    for number, id_ in enumerate(ids):
        client.publish("toy/call/move", {"args": {"point": "gain", "value": number}, "id": id_})
    assert await ended(client, *ids[4:], since=since) == ["rejected"] * 2  # at once, the others still wait
    assert "4 commands are waiting" in client.answers(ids[4], since)[0]["detail"]
    busy.toy.let_go()
    assert await ended(client, *ids[:4], since=since) == ["done"] * 4


async def test_an_urgent_action_goes_past_all_that_waits_and_without_waiting_for_what_is_out(busy: World) -> None:
    client, since = busy.client, busy.client.mark
    for number in range(5):  # the queue is full
        client.publish("toy/call/move", {"args": {"point": "gain", "value": number}, "id": f"wait {number}"})
    await client.in_order("toy")
    assert (await client.ask("toy/call/stop"))["outcome"] == "done"
    assert not client.answers("wait 0", since)
    assert [r["op"] for r in busy.toy.heard] == ["write", "halt"]
    busy.toy.let_go()
    await ended(client, *(f"wait {number}" for number in range(4)), since=since)


async def test_the_rate_limit_rejects_what_is_over_it(shared: World) -> None:
    shared.toy.heard.clear()
    answers = [await shared.client.ask("rated/set/gain", str(number)) for number in range(5)]
    assert [answer["outcome"] for answer in answers] == ["done"] * 3 + ["rejected"] * 2
    assert "0.01 commands a second" in answers[3]["detail"]
    assert len(shared.heard("write")) == 3


async def test_no_rate_limit_holds_for_urgent_actions(shared: World) -> None:
    shared.toy.heard.clear()
    for _ in range(5):
        assert (await shared.client.ask("rated/call/stop"))["outcome"] == "done"
    assert len(shared.heard("halt")) == 5
