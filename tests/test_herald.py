"""What the bridge says about itself, of a daemon that was made and is not running."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bridge.app import Daemon
from bridge.outbox import Publication
from bridge.settings import Settings

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Daemon]:
    made = Daemon(
        Settings.model_validate(
            {
                "bridge": {"id": "here"},
                "mqtt": {"username": "u", "password": "s3cret"},
                "devices": {
                    "io": {"driver": "evok", "url": "ws://10.0.0.5/ws", "name": "Cabinet"},
                    "off": {"driver": "evok", "url": "ws://10.0.0.6/ws", "enabled": False},
                },
            }
        )
    )
    yield made
    made.shipping.close()


def events(daemon: Daemon, name: str) -> list[Any]:
    """The events of this name that wait; all that wait are taken away."""
    found = []
    while (item := daemon.outbox.next_occurrence()) is not None:
        daemon.outbox.remove(item)
        assert not item.retain
        assert item.qos == 1
        if item.topic == f"lab2mqtt/_bridge/here/event/{name}":
            found.append(json.loads(item.payload))
    return found


def documents(daemon: Daemon) -> dict[str, Publication]:
    return {item.topic.rpartition("/")[2]: item for item in daemon.herald.announce()}


async def test_events_carry_their_type_and_time(daemon: Daemon) -> None:
    daemon.herald.refused("retained", "why", "lab2mqtt/io/set/x")
    (event,) = events(daemon, "refused")
    assert event.pop("time").endswith("Z")
    assert event == {"event_type": "refused", "kind": "retained", "reason": "why", "topic": "lab2mqtt/io/set/x"}


async def test_what_can_never_be_published_is_told(daemon: Daemon) -> None:
    daemon.herald.set_aside("too large", "lab2mqtt/io/points")
    (event,) = events(daemon, "refused")
    assert (event["kind"], event["topic"]) == ("publication", "lab2mqtt/io/points")


async def test_a_loss_is_told_with_its_number(daemon: Daemon) -> None:
    gap = daemon.herald.gap(17)
    assert gap.topic == "lab2mqtt/_bridge/here/event/gap"
    assert json.loads(gap.payload)["lost"] == 17


async def test_a_link_that_changes_is_told_and_shows_in_the_health(daemon: Daemon) -> None:
    device = daemon.fleet.devices["io"]
    daemon.herald.link_changed(device)
    (event,) = events(daemon, "link")
    assert (event["device"], event["state"], event["reason"]) == ("io", "offline", "not started")
    assert daemon.outbox.states == 1


async def test_info_says_what_runs_here_and_no_secret(daemon: Daemon) -> None:
    item = documents(daemon)["info"]
    info = json.loads(item.payload)
    assert item.retain
    assert info["schema"] == 1
    assert info["drivers"] == ["evok"]
    assert info["devices"] == {"io": {"driver": "evok", "name": "Cabinet"}}  # `off` is as if it were not there
    assert len(info["configuration"]) == 12
    assert b"s3cret" not in item.payload


async def test_health_counts_what_was_turned_down_and_lost(daemon: Daemon) -> None:
    for kind in ("retained", "duplicate", "retained"):
        daemon.herald.refused(kind, "", "")
    health = json.loads(documents(daemon)["health"].payload)
    assert health["turned_down"] == {"retained": 2, "duplicate": 1}
    assert health["queues"] == {"answers": 0, "states": 0, "occurrences": 3}
    assert health["links"] == {"io": "offline"}
    assert health["memory"] > 1_000_000
    assert health["uptime"] >= 0
    assert health["dropped"] == {}


async def test_a_trouble_stays_in_the_health_until_it_is_over(daemon: Daemon) -> None:
    daemon.herald.trouble("subscriptions refused")
    assert json.loads(documents(daemon)["health"].payload)["trouble"] == ["subscriptions refused"]
    assert daemon.outbox.states == 1  # told at once
    daemon.herald.trouble("")
    assert json.loads(documents(daemon)["health"].payload)["trouble"] == []


async def test_the_worst_lag_is_told_once(daemon: Daemon) -> None:
    daemon.fleet.lag = 0.25
    assert json.loads(documents(daemon)["health"].payload)["loop_lag"] == 0.25
    assert json.loads(documents(daemon)["health"].payload)["loop_lag"] == 0.0


async def test_what_the_broker_missed_is_told_afterwards(daemon: Daemon) -> None:
    daemon.herald.broker_back("the broker closed the connection")
    (event,) = events(daemon, "link")
    assert (event["state"], event["reason"]) == ("online", "the broker closed the connection")
    daemon.herald.taken_over("another client")
    assert [event["reason"] for event in events(daemon, "takeover")] == ["another client"]
