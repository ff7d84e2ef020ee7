"""CONTRACT "Commands", "Age": how old a command may be, and how that is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.bench import BRIDGE, World, read
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES: dict[str, dict[str, Any]] = {"io": {"driver": "evok"}}


def ago(seconds: float) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- `sent` --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [31.5, 3600, -31.5])
async def test_a_clock_more_than_30_s_off_is_rejected(shared: World, seconds: float) -> None:
    answer = await shared.client.ask("io/set/ro/2_01", {"value": 1, "sent": ago(seconds), "expires": 9999})
    assert answer["outcome"] == "rejected"
    assert "clock" in answer["detail"]
    assert shared.executed("ro/2_01") == 0


async def test_a_command_older_than_it_is_good_for_is_expired(shared: World) -> None:
    """Five seconds, when it does not say for how long."""
    answer = await shared.client.ask("io/set/ro/2_02", {"value": 1, "sent": ago(8)})
    assert (answer["outcome"], answer["final"]) == ("expired", True)
    assert "8.0 s old" in answer["detail"]
    assert shared.executed("ro/2_02") == 0


@pytest.mark.parametrize(
    ("seconds", "fields"),
    [(0, {}), (2, {}), (-10, {}), (10, {"expires": 60})],  # -10: its clock is ahead, within reason
)
async def test_a_command_young_enough_is_carried_out(
    shared: World, seconds: float, fields: dict[str, object]
) -> None:
    before = shared.executed("ro/2_03")
    answer = await shared.client.ask("io/set/ro/2_03", {"value": 1, "sent": ago(seconds), **fields})
    assert answer["outcome"] == "done"
    assert shared.executed("ro/2_03") == before + 1


async def test_other_time_zones_are_read(shared: World) -> None:
    east = (datetime.now(UTC) + timedelta(hours=5, minutes=30)).replace(tzinfo=None).isoformat() + "+05:30"
    assert (await shared.client.ask("io/set/ro/2_04", {"value": 1, "sent": east}))["outcome"] == "done"


async def test_a_message_expiry_that_still_runs_does_no_harm(shared: World) -> None:
    answer = await shared.client.ask("io/set/ro/2_05", {"value": 1, "sent": ago(1)}, expiry=30)
    assert answer["outcome"] == "done"


async def test_sent_counts_also_when_the_message_expiry_is_longer(shared: World) -> None:
    answer = await shared.client.ask("io/set/ro/2_01", {"value": 1, "sent": ago(8)}, expiry=600)
    assert answer["outcome"] == "expired"
    assert shared.executed("ro/2_01") == 0


# --- what waited in the broker -------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def cut(alone: Alone) -> AsyncIterator[World]:
    """A bridge whose line to the broker is cut; the broker knows that, and keeps messages for it."""
    world = await alone({"io": {"driver": "evok"}}, mqtt={"will_delay": 0})
    await world.start()
    world.line.cut()
    await world.client.until(lambda: world.client.last(f"_bridge/{BRIDGE}/status") == "offline")
    yield world


async def mended(world: World) -> None:
    since = world.client.mark
    world.line.mend()
    await world.client.until(lambda: world.client.on(f"_bridge/{BRIDGE}/status", since))


async def outcome(world: World, id_: str) -> str:
    await world.client.until(lambda: world.client.answers(id_))
    answers = world.client.answers(id_)
    assert len(answers) == 1
    return str(answers[0]["outcome"])


async def test_a_blip_loses_nothing_and_executes_nothing_older_than_its_own_limit(cut: World) -> None:
    """The bound is the time since the old link was last proved alive: it covers both, whenever they were sent."""
    cut.client.publish("io/set/ro/2_01", {"value": 1, "id": "good for 5 s"})
    cut.client.publish("io/set/ro/2_02", {"value": 1, "id": "not any more", "expires": 0.1})
    cut.client.publish("io/set/ro/2_03", {"value": 1, "id": "its publisher knows", "sent": ago(0), "expires": 4})
    begun = monotonic()
    await cut.client.until(lambda: monotonic() > begun + 0.12)
    await mended(cut)
    assert await outcome(cut, "good for 5 s") == "done"
    assert await outcome(cut, "not any more") == "expired"
    assert await outcome(cut, "its publisher knows") == "done"
    assert (cut.executed("ro/2_01"), cut.executed("ro/2_02")) == (1, 0)


async def test_a_message_expiry_is_the_publishers_word(cut: World) -> None:
    cut.client.publish("io/set/ro/2_01", {"value": 1, "id": "long"}, expiry=60)
    cut.client.publish("io/set/ro/2_02", {"value": 1, "id": "both", "expires": 0.1}, expiry=60)
    begun = monotonic()
    await cut.client.until(lambda: monotonic() > begun + 0.12)
    await mended(cut)
    assert await outcome(cut, "long") == "done"
    assert await outcome(cut, "both") == "expired"  # its own limit is the shorter one
    assert cut.executed("ro/2_02") == 0


async def test_after_the_first_canary_nothing_counts_as_old(cut: World) -> None:
    await mended(cut)
    cut.client.publish("io/set/ro/2_01", {"value": 1, "id": "fresh", "expires": 0.5})
    assert await outcome(cut, "fresh") == "done"


async def test_what_waited_while_the_bridge_was_away_is_not_executed(alone: Alone) -> None:
    """A new process knows nothing of the old link, and the broker has kept the session."""
    world = await alone({"io": {"driver": "evok"}})
    await world.start()
    await world.stop()
    world.client.publish("io/set/ro/2_01", {"value": 1, "id": "nobody knows", "expires": 60})
    world.client.publish("io/set/ro/2_02", {"value": 1, "id": "sent", "sent": ago(0)})
    world.client.publish("io/set/ro/2_03", {"value": 1, "id": "expiry"}, expiry=60)
    await world.client.until(lambda: world.client.on("io/set/ro/2_03"))
    await world.start()
    assert await outcome(world, "nobody knows") == "expired"
    assert "nobody knows for how long" in read(world.client.on("io/reply/ro/2_01")[0].payload)["detail"]
    assert world.executed("ro/2_01") == 0
    # These two were good, but came before the device was there: nothing ever waits for an offline device.
    assert {await outcome(world, "sent"), await outcome(world, "expiry")} <= {"unavailable", "done"}
    fresh = await world.client.ask("io/set/ro/2_04", "1")
    assert fresh["outcome"] == "done"


async def test_with_a_clean_session_nothing_can_have_waited(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, mqtt={"protocol": "3.1.1"})
    await world.start()
    await world.stop()
    world.client.publish("io/set/ro/2_01", {"value": 1, "id": "lost"})
    await world.client.until(lambda: world.client.on("io/set/ro/2_01"))
    await world.start()
    await world.client.until(lambda: world.client.last("io/status") == "online")
    world.client.publish("io/set/ro/2_02", {"value": 1, "id": "new", "expires": 0.5})
    assert await outcome(world, "new") == "done"
    assert (world.client.answers("lost"), world.executed("ro/2_01")) == ([], 0)
