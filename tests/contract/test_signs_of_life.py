"""Every part says when it turns again, and does: with instruments and a broker that come, go and are silent."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
import structlog

from bridge import alive, log
from tests.contract.bench import BRIDGE, World
from tests.contract.conftest import Alone

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLACK = 1.0  # seconds on a loaded machine; far less than anybody's patience
AWAY: dict[str, Any] = {"driver": "evok", "url": "ws://127.0.0.1:9/ws", "open_timeout": 0.5}


def turns(world: World) -> dict[str, float]:
    """For each part, in how many seconds it turns again at the latest."""
    assert world.daemon is not None
    now = monotonic()
    return {name: at - now for name, at in world.daemon._turns().items()}


async def watch(world: World, seconds: float) -> set[str]:
    """Look again and again; the parts that were seen."""
    seen: set[str] = set()
    end = monotonic() + seconds

    def over() -> bool:
        found = turns(world)
        late = {name: left for name, left in found.items() if left < -SLACK}
        assert not late, late
        seen.update(name for name, left in found.items() if left < math.inf)
        return monotonic() >= end

    await world.client.until(over)
    return seen


async def test_nothing_is_late_whatever_is_away(alone: Alone) -> None:
    world = await alone({"toy": {"driver": "toy"}, "io": {"driver": "evok"}, "away": AWAY}, durable=True)
    await world.start()
    seen = await watch(world, 3.0)
    assert seen >= {"clock", "health", "broker", "device io", "device away"}
    world.line.cut()
    await watch(world, 3.0)
    world.toy.hang_up()
    await watch(world, 1.0)
    world.line.mend()
    await watch(world, 2.0)
    assert world.daemon is not None
    assert world.daemon.signs.stuck == []


async def test_the_heartbeat_lies_in_the_state_directory_while_the_daemon_runs(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}, "away": AWAY}, durable=True)
    await world.start()
    path = alone.state_dir / alive.NAME
    await world.client.until(lambda: path.exists() and alive.read(path).devices_ready == 1, "a heartbeat")
    assert alive.read(path).status == "1 of 2 instruments ready, broker connected"
    await world.stop()
    assert not path.exists()


@pytest.fixture
def logging_as_in_the_daemon() -> Iterator[None]:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    log.configure("info", "json", stream=io.StringIO())
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


@pytest.mark.usefixtures("logging_as_in_the_daemon")
async def test_warnings_are_events_if_that_is_asked_for(alone: Alone) -> None:
    world = await alone({"io": {"driver": "evok"}}, bridge={"log_to_mqtt": "warning"})
    await world.start()
    since = world.client.mark
    world.devices = {"io": {"driver": "evok"}, "away": AWAY}
    await world.client.ask(f"_bridge/{BRIDGE}/call/reload")
    topic = f"_bridge/{BRIDGE}/event/log"
    await world.client.until(lambda: world.client.on(topic, since), "the warning as an event")
    event = json.loads(world.client.on(topic, since)[0].payload)
    assert (event["event_type"], event["level"], event["device"]) == ("log", "warning", "away")
    assert event["message"] == "no connection"
    assert not world.client.on(topic, since)[0].retain
    world.bridge = {}
    assert (await world.client.ask(f"_bridge/{BRIDGE}/call/reload"))["data"]["applied"] == ["bridge.log_to_mqtt"]
    since = world.client.mark
    world.devices = {"io": {"driver": "evok"}, "other": AWAY}
    await world.client.ask(f"_bridge/{BRIDGE}/call/reload")
    await world.client.until(lambda: (world.client.last("other/link") or {}).get("state") == "offline")
    await asyncio.sleep(0)
    assert not world.client.on(topic, since)
