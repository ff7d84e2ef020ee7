"""What nothing stands behind any more, and what is somebody else's."""

from __future__ import annotations

import json
from time import monotonic

import pytest

from bridge import leftovers
from bridge.topics import Topics

TOPICS = Topics("lab2mqtt", "gate")
PREFIX = "homeassistant"


def link(bridge: str) -> bytes:
    return json.dumps({"bridge": bridge, "state": "offline"}).encode()


def config(*topics: str) -> bytes:
    return json.dumps({"availability": [{"topic": topic} for topic in topics], "components": {}}).encode()


OWN, OTHER = TOPICS.status, TOPICS.status_of("other")
BASE = {
    "lab2mqtt/_bridge/gate/status": b"online",
    "lab2mqtt/io/link": link("gate"),
    "lab2mqtt/io/status": b"online",
    "lab2mqtt/io/points": b'{"group": "", "points": {"a": {"kind": "sensor"}}, "former": {"b": "sensor"}}',
    "lab2mqtt/io/points/1": b'{"group": "1", "points": {"do/1_01": {"kind": "switch"}}}',
    "lab2mqtt/io/status/1": b"online",
    "lab2mqtt/io/state/a": b"1",
    "lab2mqtt/io/state/b": b"1",
    "lab2mqtt/io/state/do/1_01": b"true",
    "homeassistant/device/lab2mqtt-io/config": config(OWN, "lab2mqtt/io/status"),
    "homeassistant/device/lab2mqtt-io-1/config": config(OWN, "lab2mqtt/io/status", "lab2mqtt/io/status/1"),
    "homeassistant/device/lab2mqtt-_bridge-gate/config": config(OWN),
    "homeassistant/device/zigbee2mqtt/config": config("zigbee2mqtt/bridge/state"),
    "homeassistant/device/strange/config": b"\xff",
    # of somebody who shows something of his own as available, or connected, while we are
    "homeassistant/device/door_bell/config": config(OWN, "lab2mqtt/io/status"),
    "homeassistant/device/panel/config": f'{{"components":{{"a":{{"state_topic":"{OWN}"}}}}}}'.encode(),
}


def test_nothing_is_left_over_of_what_is_there() -> None:
    assert leftovers.ghosts(BASE, TOPICS, "io") == []
    assert leftovers.unannounced(BASE, TOPICS, PREFIX, ["io"]) == []
    assert leftovers.commands(BASE, TOPICS, ["io"]) == []


def test_states_that_no_list_has_are_ghosts() -> None:
    kept = BASE | {"lab2mqtt/io/state/do/9_99": b"1", "lab2mqtt/other/state/x": b"1"}
    assert leftovers.ghosts(kept, TOPICS, "io") == ["lab2mqtt/io/state/do/9_99"]


def test_without_lists_that_can_be_read_nothing_is_a_ghost() -> None:
    kept = {topic: payload for topic, payload in BASE.items() if "/points" not in topic}
    assert leftovers.ghosts(kept, TOPICS, "io") == []
    assert leftovers.ghosts(BASE | {"lab2mqtt/io/points/1": b"?"}, TOPICS, "io") == []


def test_only_what_we_announce_is_ours() -> None:
    found = dict(leftovers.announcements(BASE, PREFIX, OWN))
    assert set(found) == {topic for topic in BASE if topic.startswith("homeassistant/device/lab2mqtt-")}


def test_a_device_that_left_goes_with_its_discovery_and_its_link_last() -> None:
    found = leftovers.of_device(BASE, TOPICS, "io", PREFIX)
    assert found is not None
    first, last = found
    assert last == ["lab2mqtt/io/status", "lab2mqtt/io/link"]
    assert sorted(first + last) == sorted(
        topic for topic in BASE if topic.startswith(("lab2mqtt/io/", "homeassistant/device/lab2mqtt-io"))
    )


def test_many_that_left_are_found_in_one_pass() -> None:
    """Whoever may publish links may invent tens of thousands of names."""
    names = [f"old{number}" for number in range(20_000)]
    kept = {f"lab2mqtt/{name}/link": link("gate") for name in names} | {
        "lab2mqtt/old7/": b"1",
        "lab2mqtt/old7": b"1",
    }
    kept["homeassistant/device/lab2mqtt-old7/config"] = config(OWN, "lab2mqtt/old7/status")
    begun = monotonic()
    found = leftovers.of_devices(kept, TOPICS, names, PREFIX)
    assert monotonic() - begun < 5.0
    assert found["old7"] == (
        ["homeassistant/device/lab2mqtt-old7/config", "lab2mqtt/old7/"],
        ["lab2mqtt/old7/link"],
    )
    assert len(found) == len(names)


@pytest.mark.parametrize("text", [link("other"), b"", b"online", b'{"bridge": 1}'])
def test_a_device_with_another_link_is_not_ours(text: bytes) -> None:
    assert leftovers.of_device(BASE | {"lab2mqtt/io/link": text}, TOPICS, "io", PREFIX) is None


def test_discovery_of_a_device_or_a_group_that_is_not_there() -> None:
    config_of_old = config(OWN, "lab2mqtt/old/status")
    group = config(OWN, "lab2mqtt/io/status", "lab2mqtt/io/status/2")
    foreign = config(OTHER, "lab2mqtt/old/status")
    kept = BASE | {
        "homeassistant/device/lab2mqtt-a/config": config_of_old,
        "homeassistant/device/lab2mqtt-b/config": group,
    }
    kept |= {
        "homeassistant/device/lab2mqtt-c/config": foreign,
        "elsewhere/device/lab2mqtt-d/config": config_of_old,
    }
    found = leftovers.unannounced(kept, TOPICS, PREFIX, ["io"])
    assert found == ["homeassistant/device/lab2mqtt-a/config", "homeassistant/device/lab2mqtt-b/config"]


def test_the_devices_of_a_running_bridge() -> None:
    health = {"lab2mqtt/_bridge/gate/health": b'{"links": {"io": "ready", "cell": "offline"}}'}
    assert leftovers.running(BASE | health, TOPICS) == ["io", "cell"]
    stopped = {"lab2mqtt/_bridge/gate/status": b"offline"}
    assert leftovers.running(BASE | health | stopped, TOPICS) == []


def test_commands_that_somebody_left() -> None:
    kept = dict.fromkeys(("lab2mqtt/io/set/a", "lab2mqtt/io/call/b", "lab2mqtt/other/set/a"), b"1")
    kept["lab2mqtt/_bridge/gate/call/refresh"] = b"{}"
    assert leftovers.commands(BASE | kept, TOPICS, ["io"]) == [
        "lab2mqtt/io/set/a", "lab2mqtt/io/call/b", "lab2mqtt/_bridge/gate/call/refresh",
    ]  # fmt: skip


@pytest.mark.parametrize("topic", ["lab2mqtt/_bridge/link", "lab2mqtt/A/link", "lab2mqtt/a/b/link", "link"])
def test_only_a_device_can_be_one_that_left(topic: str) -> None:
    assert leftovers.devices_of({topic: link("gate")}, TOPICS, "gate") == []
    assert leftovers.devices_of({"lab2mqtt/a_1/link": link("gate")}, TOPICS, "gate") == ["a_1"]


def test_an_old_bridge_goes_with_its_devices_but_not_with_ours() -> None:
    kept = BASE | {
        "lab2mqtt/_bridge/old/status": b"offline",
        "lab2mqtt/_bridge/old/health": b"{}",
        "lab2mqtt/cell/link": link("old"),
        "lab2mqtt/cell/state/a": b"1",
        "lab2mqtt/io/link": link("old"),  # it is configured here, and comes to us as soon as we start
        "homeassistant/device/lab2mqtt-cell/config": config(TOPICS.status_of("old"), "lab2mqtt/cell/status"),
    }
    found = leftovers.of_bridge(kept, TOPICS, "old", ["io"], PREFIX)
    assert sorted(found) == [
        "homeassistant/device/lab2mqtt-cell/config",
        "lab2mqtt/_bridge/old/health",
        "lab2mqtt/_bridge/old/status",
        "lab2mqtt/cell/link",
        "lab2mqtt/cell/state/a",
    ]


def test_a_bridge_that_is_online_or_unknown_is_not_touched() -> None:
    with pytest.raises(ValueError, match="online"):
        leftovers.of_bridge(BASE | {"lab2mqtt/_bridge/old/status": b"online"}, TOPICS, "old", [], PREFIX)
    with pytest.raises(ValueError, match="nothing"):
        leftovers.of_bridge(BASE, TOPICS, "old", [], PREFIX)
