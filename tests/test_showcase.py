"""What of a device is announced to Home Assistant, and when; over the points of all drivers too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bridge.access import Rules
from bridge.device import Device, Profile
from bridge.drivers import zeiss_inspect_points
from bridge.journal import Journal
from bridge.kept import Kept
from bridge.link import State
from bridge.model import Block, Declared, Event, GroupState, GroupStatus, Happened, Kind, Point, Ready, Update
from bridge.occurrences import LARGEST, LONGEST, MOST, PAUSE
from bridge.outbox import Outbox
from bridge.overlay import Overlay, Preset
from bridge.showcase import SETTLING, Presentation
from bridge.topics import Topics
from tests.drivers import evok_talk, im7_talk, ost_talk, test_evok_replay, test_im7_replay, test_ost_replay
from tests.home_assistant_rules import problems, unique_ids
from tests.toy import points as toy

WALL = 1.7e9
RELAY, INPUT = Point("ro", Kind.SWITCH, "Relay"), Point("di", Kind.BINARY, "Input")
SHOWN = Presentation("homeassistant", "lab2mqtt", "here", "Cabinet", "Lab")


class Shown:
    """A device that is shown, without a session; `retained` is what a broker would keep."""

    def __init__(self, presentation: Presentation = SHOWN, kept: Kept | None = None, **profile: Any) -> None:
        self.outbox = Outbox(kept=kept)
        self.retained: dict[str, bytes] = {}
        self.times: dict[str, int] = {}  # how often each topic was published to
        self.now = 1000.0
        self.device = Device(
            Profile("io", "here", presentation=presentation, **profile),
            Topics("lab2mqtt", "here").device("io"),
            self.outbox,
            lambda ticket, reply: None,
        )

    def report(self, *events: Event) -> None:
        for event in events:
            self.device.report(event, self.now, WALL)

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, and publish."""
        self.now += seconds
        for _ in range(100):
            if self.device.due > self.now:
                break
            self.device.tick(self.now)
        while (item := self.outbox.next_state()) is not None:
            self.outbox.remove(item)
            self.retained[item.topic] = item.payload
            self.times[item.topic] = self.times.get(item.topic, 0) + 1

    def announced(self) -> dict[str, bytes]:
        found = {
            topic: text for topic, text in self.retained.items() if topic.startswith("homeassistant/") and text
        }
        for topic, text in found.items():
            assert problems(topic, text) == []
        return found

    def payload(self, group: str = "") -> Any:
        return json.loads(self.announced()[f"homeassistant/device/lab2mqtt-io{group}/config"])

    def components(self, group: str = "") -> dict[str, Any]:
        """Without removals."""
        return {name: body for name, body in self.payload(group)["components"].items() if len(body) > 1}

    def removals(self, group: str = "") -> set[str]:
        return {name for name, body in self.payload(group)["components"].items() if len(body) == 1}

    def occurrences(self) -> list[str]:
        found = []
        while (item := self.outbox.next_occurrence()) is not None:
            self.outbox.remove(item)
            found.append(item.topic.removeprefix("lab2mqtt/io/"))
        return found


@pytest.fixture
def shown() -> Shown:
    made = Shown()
    made.report(Declared((RELAY, INPUT)), Ready({"model": "M1"}))
    made.tick()
    return made


def test_a_device_that_never_was_there_shows_its_link() -> None:
    made = Shown()
    made.tick()
    assert list(made.components()) == ["sensor/_link"]


def test_a_device_shows_its_points_and_what_it_is(shown: Shown) -> None:
    assert list(shown.components()) == ["sensor/_link", "switch/ro", "binary_sensor/di"]
    device = shown.payload()["device"]
    assert (device["name"], device["model"], device["suggested_area"]) == ("Cabinet", "M1", "Lab")


def test_nothing_is_shown_that_is_not_to_be() -> None:
    made = Shown(replace(SHOWN, shown=False))
    made.report(Declared((RELAY,)), Ready(), Happened("rang", {}))
    made.tick()
    assert made.announced() == {}
    assert made.occurrences() == ["event/rang"]


def test_the_same_is_told_once(shown: Shown) -> None:
    topic = "homeassistant/device/lab2mqtt-io/config"
    assert shown.times[topic] == 1
    shown.report(Declared((RELAY, INPUT)), Ready({"model": "M1"}), GroupStatus("", GroupState.ONLINE))
    shown.tick(1)
    assert shown.times[topic] == 1
    assert [item.topic for item in shown.device.announce()].count(topic) == 1
    shown.report(Ready({"model": "M2"}))
    shown.tick(1)
    assert shown.times[topic] == 2


def test_statuses_before_discovery_before_points_before_values(shown: Shown) -> None:
    shown.report(Declared((replace(RELAY, key="x"),), "2"), Update("ro", True))
    order = [item.topic for item in shown.device.announce()]
    status, group = "lab2mqtt/io/status", "homeassistant/device/lab2mqtt-io-2/config"
    expected = [status, f"{status}/2", "homeassistant/device/lab2mqtt-io/config", group]
    assert [topic for topic in order if topic in expected] == expected
    assert order.index(group) < order.index("lab2mqtt/io/points") < order.index("lab2mqtt/io/state/ro")


# --- what changes -----------------------------------------------------------------------------------------------


def test_a_component_that_vanishes_is_removed_and_may_come_back(shown: Shown) -> None:
    shown.report(Declared((INPUT,)))
    shown.tick(SETTLING + 1)
    shown.tick()
    assert shown.removals() == {"switch/ro"}
    shown.report(Declared((RELAY, INPUT)))
    shown.tick(1)
    assert shown.removals() == set()
    assert "switch/ro" in shown.components()


def test_what_an_earlier_process_may_have_shown_a_point_as_is_cleared_for_a_while(shown: Shown) -> None:
    assert shown.removals() == {f"{other}/ro" for other in ("light", "fan", "valve", "lock", "binary_sensor")}
    shown.report(Happened("rang", {}))
    shown.tick(SETTLING)
    shown.occurrences()
    shown.tick(SETTLING)
    assert shown.removals() == set()
    shown.report(Happened("rang", {}))
    assert shown.occurrences() == ["event/rang"]


def test_points_of_earlier_processes_are_removed_when_housekeeping_says_so(shown: Shown) -> None:
    shown.tick(SETTLING)
    shown.tick()
    shown.device.showcase.vanished("", {"old thing": "number", "odd": "no such kind"})
    shown.tick()
    assert shown.removals() == {"number/old%20thing", "sensor/old%20thing"}


def test_what_an_earlier_process_announced_stands_until_the_device_has_spoken() -> None:
    made = Shown()
    made.device.catalogue.found("", {"ro": "switch"})
    made.tick()
    assert made.announced() == {}
    assert not [item for item in made.device.announce() if item.topic.startswith("homeassistant")]
    made.report(Declared((RELAY,)))
    made.tick()
    assert "switch/ro" in made.components()


def test_groups_come_are_renamed_and_go(shown: Shown) -> None:
    valve = Point("arm/valve", Kind.SWITCH, "Valve", "arm")
    shown.report(Declared((valve,), "arm"))
    shown.tick()
    assert shown.payload("-arm")["device"]["name"] == "Cabinet arm"
    shown.report(GroupStatus("arm", GroupState.ONLINE, name="The arm"))
    shown.tick()
    assert shown.payload("-arm")["device"]["name"] == "Cabinet The arm"
    shown.report(GroupStatus("arm", GroupState.OFFLINE, name="The arm"))
    shown.tick()
    assert "switch/arm/valve" in shown.components("-arm")
    shown.report(GroupStatus("arm", GroupState.GONE))
    shown.tick()
    assert shown.retained["homeassistant/device/lab2mqtt-io-arm/config"] == b""
    assert not [item for item in shown.device.announce() if "-arm" in item.topic]


def test_a_group_of_an_earlier_process_goes(shown: Shown) -> None:
    shown.device.showcase.vanished("leg", {"leg/x": "sensor"})
    shown.tick()
    assert shown.retained["homeassistant/device/lab2mqtt-io-leg/config"] == b""


def test_after_a_rival_everything_is_told_again(shown: Shown) -> None:
    shown.device.showcase.renew()
    shown.tick()
    assert shown.times["homeassistant/device/lab2mqtt-io/config"] == 2


# --- what the configuration says ------------------------------------------------------------------------------


def test_overlays_take_effect() -> None:
    overlays = {
        "ro": Overlay(name="Door", shown_as="lock"),
        "di": Overlay(device_class="door", enabled=False),
        "t": Overlay(unit="°F", device_class="temperature"),
    }
    made = Shown(overlays=overlays)
    made.report(Declared((RELAY, INPUT, Point("t", Kind.SENSOR, "T", unit="°C", device_class="temperature"))))
    made.tick()
    found = made.components()
    assert found["lock/ro"]["name"] == "Door"
    assert (found["binary_sensor/di"]["device_class"], found["binary_sensor/di"]["enabled_by_default"]) == (
        "door",
        False,
    )
    assert found["sensor/t"]["unit_of_measurement"] == "°F"


@pytest.mark.parametrize("rules", [Rules(read_only=True), Rules(deny=("ro", "stop", "preset/*"))])
def test_what_may_not_be_done_cannot_be_clicked(rules: Rules) -> None:
    made = Shown(rules=rules, presets={"halt": Preset("stop", {"hard": True})})
    made.report(Declared((RELAY, Point("stop", Kind.ACTION, "Stop"))))
    made.tick()
    assert list(made.components()) == ["sensor/_link", "binary_sensor/ro"]


def test_a_preset_is_a_button() -> None:
    made = Shown(presets={"halt": Preset("stop", {"hard": True})})
    made.report(Declared((Point("stop", Kind.ACTION, "Stop"),)))
    made.tick()
    assert made.components()["button/preset/halt"]["command_topic"] == "lab2mqtt/io/call/preset/halt"


def test_a_group_without_points_is_not_shown(shown: Shown) -> None:
    shown.report(Declared((), "b"), GroupStatus("b", GroupState.ONLINE))
    shown.tick()
    assert list(shown.announced()) == ["homeassistant/device/lab2mqtt-io/config"]


# --- what happens meanwhile -------------------------------------------------------------------------------------


def test_nothing_happens_while_home_assistant_subscribes(shown: Shown) -> None:
    shown.tick(1)
    shown.report(Declared((RELAY,)), Happened("one", {}))
    shown.tick(0.2)
    shown.report(Happened("two", {}))
    shown.tick(PAUSE - 0.01)
    assert shown.occurrences() == []
    shown.tick(0.02)
    assert shown.occurrences() == ["event/one", "event/two"]
    shown.report(Happened("three", {}))
    assert shown.occurrences() == ["event/three"]


def test_measured_rows_keep_their_place_among_events(shown: Shown) -> None:
    import numpy as np

    shown.report(Declared((RELAY,)), Happened("one", {}), Block("7", 0, ("t",), ("s",), np.zeros((1, 1))))
    shown.report(Happened("two", {}))
    shown.tick(0.1)
    assert shown.occurrences() == []
    shown.tick(1)
    assert shown.occurrences() == ["event/one", "data/7/live", "event/two"]


def test_too_many_wait_for_nothing_and_none_is_lost(shown: Shown) -> None:
    shown.report(Declared((RELAY,)), *(Happened(f"e{n}", {}) for n in range(MOST + 5)))
    assert len(shown.occurrences()) == MOST
    shown.tick(0.1)
    shown.tick(PAUSE)
    assert shown.occurrences() == [f"event/e{MOST + n}" for n in range(5)]


def test_much_waits_for_nothing_either(shown: Shown) -> None:
    shown.report(Declared((RELAY,)), Happened("large", {"text": "x" * LARGEST}), Happened("small", {}))
    assert shown.occurrences() == ["event/large"]
    shown.tick(0.1)
    shown.tick(PAUSE)
    assert shown.occurrences() == ["event/small"]


def test_discoveries_without_end_do_not_keep_back_for_ever(shown: Shown) -> None:
    shown.tick(1)
    shown.report(Happened("one", {}))
    shown.occurrences()
    waited = 0.0
    for turn in range(100):
        shown.report(Declared((replace(RELAY, name=f"Relay {turn}"),)), Happened("two", {}))
        shown.tick(0.2)
        waited += 0.2
        if shown.occurrences():
            break
    assert LONGEST <= waited <= LONGEST + 0.5


def test_at_the_end_nothing_waits_any_more(shown: Shown) -> None:
    shown.report(Declared((RELAY,)), Happened("one", {}))
    shown.device.lose("this bridge is stopping", for_good=True)
    assert shown.occurrences() == ["event/one"]


# --- the points of all drivers ----------------------------------------------------------------------------------


def evok() -> Iterable[Declared]:
    talk = evok_talk.Talk(reply=None)
    ((_, whole),) = test_evok_replay.frames(test_evok_replay.FILES[0])
    talk.raw(whole)
    return talk.of(Declared)


def im7() -> Iterable[Declared]:
    talk = im7_talk.Talk(fetch="all")
    for moment, frame in test_im7_replay.frames(test_im7_replay.RECORDINGS / "session_protocol12.jsonl"):
        talk.wait(max(0.0, 1000 + moment - talk.now))
        talk.raw(frame)
    return talk.of(Declared)


def ost() -> Iterable[Declared]:
    talk = ost_talk.Talk(silent=True)
    talk.raw(test_ost_replay.whole("08"))
    talk.wait(0)
    return talk.of(Declared)


def inspect() -> Iterable[Declared]:
    return [Declared(zeiss_inspect_points.POINTS)]


def toys() -> Iterable[Declared]:
    return [Declared(toy.INSTRUMENT), *(Declared(toy.points_of(name, ()), name) for name in ("head", "arm"))]


@pytest.mark.parametrize(
    "rules", [Rules(), Rules(read_only=True), Rules(allow=("**", "*"))], ids=["all", "read", "allow"]
)
@pytest.mark.parametrize("driver", [evok, im7, ost, inspect, toys], ids=lambda driver: driver.__name__)
@pytest.mark.parametrize("plain", [False, True], ids=["json", "plain"])
def test_every_point_of_every_driver(driver: Any, rules: Rules, plain: bool) -> None:
    made = Shown(replace(SHOWN, plain=plain), rules=rules, plain=plain)
    declared = {one.group: one for one in driver()}
    made.report(*declared.values(), Ready())
    made.tick()
    payloads = made.announced()
    assert len(payloads) == len({"", *(group for group, one in declared.items() if one.points)})
    ids = unique_ids(list(payloads.values()))
    assert len(set(ids)) == len(ids)
    known = {unique.removeprefix("lab2mqtt/io/") for _, unique in ids}
    points = {point.key: point for one in declared.values() for point in one.points}
    missing = {key: point for key, point in points.items() if key not in known}
    assert known <= points.keys() | {"_link"}
    assert all(point.kind is Kind.ACTION for point in missing.values())
    if not rules.read_only:
        needy = [p for p in missing.values() if not p.guarded and not any(a.required for a in p.arguments)]
        assert needy == []


def test_a_silent_device_publishes_nothing() -> None:
    made = Shown()
    made.device.silent = True
    made.report(Declared((RELAY,)))
    made.device.enter(State.OFFLINE, WALL, "another bridge has it")
    made.tick()
    assert made.retained == {}


def test_what_waits_for_home_assistant_survives_the_process_like_what_waits_for_the_broker(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.db", WALL)
    made = Shown(kept=Kept(journal))
    made.report(Declared((RELAY,)), Happened("one", {}), Happened("two", {}))
    assert made.occurrences() == []
    assert [occurrence.topic for _, occurrence in journal.replay()] == [
        "lab2mqtt/io/event/one",
        "lab2mqtt/io/event/two",
    ]
    made.tick(0.1)
    made.tick(1)
    assert made.occurrences() == ["event/one", "event/two"]
    assert journal.waiting == 2
