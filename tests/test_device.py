"""A device across connections: what is published of it, and what becomes of commands before a driver sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bridge.access import Limit, Rules
from bridge.commands import Ticket
from bridge.device import Device, Profile
from bridge.driver import Touch
from bridge.jobs import NEWEST as JOBS
from bridge.link import State
from bridge.model import (
    Argument,
    Block,
    Command,
    Condition,
    Declared,
    Event,
    GroupState,
    GroupStatus,
    Happened,
    Job,
    Json,
    Kind,
    Outcome,
    Point,
    Policy,
    Quality,
    Ready,
    Reply,
    Update,
)
from bridge.outbox import Outbox, Publication
from bridge.overlay import Overlay, Preset
from bridge.topics import DeviceTopics

GO = Point("go", Kind.ACTION, "Go", arguments=(Argument("to", "point"), Argument("fast", "boolean")))
OWN = (
    Point("lamp", Kind.SWITCH, "Lamp"),
    Point("gain", Kind.NUMBER, "Gain", unit="V", minimum=0.0, maximum=10.0, step=0.5),
    Point("heat", Kind.SENSOR, "Heat", unit="°C", max_age=60.0),
    GO,
    Point("stop", Kind.ACTION, "Stop", urgent=True),
    Point("wipe", Kind.ACTION, "Wipe", guarded=True),
)
ARM = (Point("arm/angle", Kind.NUMBER, "Angle", "arm"),)
WALL = 1_700_000_000.0


class Rig:
    """A device, a driver's side that remembers what it was given, and a clock."""

    def __init__(self, **profile: Any) -> None:
        self.now, self.busy, self.count = 100.0, False, 0
        self.given: list[Command] = []
        self.replies: list[tuple[Ticket, Reply]] = []
        self.published: list[Publication] = []
        self.outbox = Outbox()
        self.changes: list[bool] = []
        self.device = Device(
            Profile("toy", "test", **profile),
            DeviceTopics("lab2mqtt", "toy"),
            self.outbox,
            lambda ticket, reply: self.replies.append((ticket, reply)),
            lambda device: self.changes.append(device.ready),
        )

    def submit(self, command: Command) -> None:
        self.given.append(command)

    def connect(self, *events: Event) -> Rig:
        self.device.begin()
        self.device.enter(State.GREETING, self.wall)
        self.device.attach(self)
        self.report(Declared(OWN), *events, Ready({"serial": "T-1"}))
        return self

    def lose(self) -> None:
        self.device.lose("cut")
        self.device.enter(State.OFFLINE, self.wall, "cut")

    @property
    def wall(self) -> float:
        return WALL + self.now

    def report(self, *events: Event) -> None:
        for event in events:
            self.device.report(event, self.now, self.wall)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.device.tick(self.now)

    def ask(self, verb: str, key: str, value: Json = None, **fields: Any) -> Reply | None:
        """The answer, if there is one at once."""
        self.count += 1
        before = len(self.replies)
        self.device.submit(verb, Command(f"c{self.count}", key, value, **fields), None, self.now, self.wall)
        return self.replies[-1][1] if len(self.replies) > before else None

    def drain(self) -> None:
        outbox = self.outbox
        while item := outbox.next_answer() or outbox.next_occurrence() or outbox.next_state():
            outbox.remove(item)
            self.published.append(item)

    def shows(self, topic: str) -> Any:
        """The last message there."""
        self.drain()
        found = [item.payload for item in self.published if item.topic == f"lab2mqtt/toy/{topic}"]
        if not found or not found[-1]:
            return None
        return json.loads(found[-1]) if found[-1][:1] in b"{[" else found[-1].decode()

    def announced(self) -> list[str]:
        return [item.topic.removeprefix("lab2mqtt/toy/") for item in self.device.announce()]


# --- what is published ---------------------------------------------------------------------------------


def test_the_status_turns_once_and_is_told() -> None:
    rig = Rig().connect()
    assert (rig.shows("status"), rig.shows("link")["state"]) == ("online", "ready")
    assert rig.shows("link")["device"] == {"serial": "T-1"}
    rig.lose()
    assert (rig.shows("status"), rig.shows("link")["reason"]) == ("offline", "cut")
    assert rig.changes == [True, False]


def test_a_condition_shows_on_the_link_whenever_it_was_told() -> None:
    rig = Rig().connect(Condition("read_only", "no grant"))
    assert (rig.shows("link")["state"], rig.shows("link")["reason"]) == ("read_only", "no grant")
    assert rig.device.ready
    rig.report(Condition("", ""))
    assert rig.shows("link")["state"] == "ready"
    rig.report(Condition("stuck", "an import"))
    rig.lose()
    rig.connect()
    assert rig.shows("link")["state"] == "ready", "it belonged to the old connection"


def test_the_announcement_has_the_order_of_the_contract() -> None:
    rig = Rig().connect(Declared(ARM, "arm"))
    rig.report(Update("lamp", True), Update("arm/angle", 1.0), Job("7", {"state": "running"}))
    order = ["status", "status/arm", "link", "points", "points/arm", "job/7", "state/lamp", "state/arm/angle"]
    assert rig.announced() == order
    assert all(item.retain for item in rig.device.announce())


def test_a_value_of_the_instruments_own_time_keeps_it() -> None:
    rig = Rig().connect()
    rig.report(Update("heat", 20.0, at=WALL))
    assert rig.shows("state/heat") == {"value": 20.0, "unit": "°C", "time": "2023-11-14T22:13:20.000Z"}
    rig.report(Update("heat", float("nan")))
    assert rig.shows("state/heat")["value"] is None
    assert rig.shows("state/heat")["quality"] == "bad"
    rig.report(Update("nobody", 1))
    assert rig.device.values.unknown == 1


def test_a_value_that_is_not_reported_for_too_long_is_stale() -> None:
    rig = Rig().connect()
    rig.report(Update("heat", 20.0))
    assert rig.device.due == rig.now + 60.0
    rig.tick(59.0)
    assert "quality" not in rig.shows("state/heat")
    rig.tick(1.0)
    assert rig.shows("state/heat")["quality"] == "stale"
    rig.report(Update("heat", 20.0, Quality.GOOD))
    assert "quality" not in rig.shows("state/heat")


def test_overlays_change_what_is_shown_and_what_is_sent() -> None:
    overlays = {"lamp": Overlay(invert=True, name="Shutter"), "ga*": Overlay(scale=1000.0, unit="mV")}
    rig = Rig(overlays=overlays).connect()
    rig.report(Update("lamp", True), Update("gain", 2.0))
    assert rig.shows("state/lamp")["value"] is False
    assert (rig.shows("state/gain")["value"], rig.shows("state/gain")["unit"]) == (2000.0, "mV")
    assert rig.shows("points")["points"]["gain"]["maximum"] == 10_000.0
    rig.ask("set", "lamp", "ON")
    rig.ask("set", "gain", "500")
    assert [command.value for command in rig.given] == [False, 0.5]
    assert rig.ask("set", "gain", 10_001).outcome is Outcome.REJECTED  # type: ignore[union-attr]


def test_plain_payloads_are_bare() -> None:
    rig = Rig(plain=True).connect()
    rig.report(Update("lamp", True))
    assert rig.shows("state/lamp") == "ON"


def test_what_happens_and_what_is_measured_is_told_each_time() -> None:
    rig = Rig().connect()
    rig.report(Happened("leak", {"where": "left"}, key="alarm"), Happened("leak", {}))
    assert rig.shows("event/alarm")["where"] == "left"
    assert rig.shows("event/leak")["event_type"] == "leak"
    rig.report(Block("7", 2, ("t",), ("s",), np.array([[1.0], [np.nan]])))
    assert rig.shows("data/7/live") == {"job": "7", "offset": 2, "columns": {"t": [1, None]}, "units": {"t": "s"}}


def test_the_newest_jobs_are_kept_and_older_topics_cleared() -> None:
    rig = Rig().connect()
    for number in range(JOBS + 2):
        rig.report(Job(str(number), {"state": "done"}))
    rig.report(Job("2", {"state": "done", "again": True}))
    assert rig.shows("job/0") is rig.shows("job/1") is None
    assert rig.shows("job/2")["again"] is True
    assert len([topic for topic in rig.announced() if topic.startswith("job/")]) == JOBS


def test_a_jobs_manifest_stays_with_it() -> None:
    rig = Rig().connect()
    rig.device.jobs.conclude("7", {"parts": 3}, {})
    rig.report(Job("7", {"state": "done"}))
    assert rig.shows("job/7") == {"job": "7", "state": "done", "manifest": {"parts": 3}}


def test_manifests_of_many_jobs_keep_the_limit_too() -> None:
    rig = Rig().connect()
    for number in range(JOBS + 2):
        rig.device.jobs.conclude(str(number), {"parts": 3}, {})
    assert len([topic for topic in rig.announced() if topic.startswith("job/")]) == JOBS
    assert rig.shows("job/0") is None


def test_jobs_of_an_earlier_process_are_told_again_and_count() -> None:
    kept: dict[str, Json] = {str(number): {"job": str(number), "state": "done"} for number in range(JOBS)}
    rig = Rig().connect()
    rig.device.jobs.restore(kept)
    assert len([topic for topic in rig.announced() if topic.startswith("job/")]) == JOBS
    rig.report(Job("new", {"state": "done"}))
    assert rig.shows("job/0") is None
    assert rig.shows("job/new")["state"] == "done"


def test_jobs_that_nobody_remembers_are_cleared_and_no_others() -> None:
    rig = Rig().connect()
    rig.device.jobs.restore({"1": {"job": "1", "state": "done"}})
    for job in "123":
        rig.device.jobs.found(f"lab2mqtt/toy/job/{job}", kept=True)
    rig.device.jobs.found("lab2mqtt/toy/job/4", kept=True)
    rig.device.jobs.found("lab2mqtt/toy/job/4", kept=False)
    rig.report(Job("3", {"state": "running"}))
    rig.drain()
    assert rig.device.jobs.inventory() == 1
    removal = rig.outbox.next_state()
    assert removal is not None
    assert (removal.topic, removal.payload) == ("lab2mqtt/toy/job/2", b"")
    assert rig.device.jobs.inventory() == 0


# --- groups --------------------------------------------------------------------------------------------


def test_a_point_that_is_declared_no_more_is_cleared() -> None:
    rig = Rig().connect()
    rig.report(Update("lamp", True), Declared(OWN[1:]))
    assert rig.shows("state/lamp") is None
    assert "lamp" not in rig.shows("points")["points"]
    assert rig.ask("set", "lamp", True).outcome is Outcome.REJECTED  # type: ignore[union-attr]


def test_a_group_that_a_new_connection_does_not_declare_is_offline_until_one_does() -> None:
    rig = Rig().connect(Declared(ARM, "arm"), GroupStatus("arm", GroupState.ONLINE, name="Arm"))
    rig.lose()
    rig.connect()
    assert rig.shows("status/arm") == "offline"
    assert rig.ask("set", "arm/angle", 1).outcome is Outcome.UNAVAILABLE  # type: ignore[union-attr]
    rig.lose()
    rig.connect(Declared(ARM, "arm"))
    assert rig.shows("status/arm") == "online"
    assert rig.shows("points/arm")["name"] == "Arm"


def test_a_group_that_its_driver_called_offline_stays_so_when_it_is_declared_again() -> None:
    rig = Rig().connect(Declared(ARM, "arm"), GroupStatus("arm", GroupState.OFFLINE, "unplugged"))
    rig.report(Declared(ARM, "arm"))
    assert rig.shows("status/arm") == "offline"


@pytest.mark.parametrize(
    "event", [GroupStatus("arm", GroupState.GONE), GroupStatus("arm", GroupState.OFFLINE), Declared((), "arm")]
)
def test_what_waits_for_a_point_that_vanishes_is_unavailable(event: Event) -> None:
    rig = Rig().connect(Declared(ARM, "arm"))
    rig.busy = True
    assert rig.ask("set", "arm/angle", 1) is None
    rig.report(event)
    rig.busy = False
    rig.device.pump(rig.now)
    assert rig.given == []
    assert [reply.outcome for _, reply in rig.replies] == [Outcome.UNAVAILABLE]


# --- commands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "key", "value", "args", "why"),
    [
        ("set", "nobody", 1, {}, "there is no point 'nobody'"),
        ("set", "go", 1, {}, "use lab2mqtt/toy/call/go"),
        ("call", "lamp", None, {}, "use lab2mqtt/toy/set/lamp"),
        ("set", "heat", 1, {}, "heat is read-only"),
        ("set", "gain", 11, {}, "above the maximum of 10 V"),
        ("set", "gain", 9, {}, "above the configured limit of 8"),
        ("set", "gain", "much", {}, "is not a finite number"),
        ("call", "go", None, {"where": 1}, "unknown argument 'where'"),
        ("call", "go", None, {"to": "heat"}, "heat is read-only"),
        ("call", "go", None, {"to": "nobody"}, "there is no point 'nobody'"),
        ("call", "wipe", None, {}, "needs an explicit `allow`"),
        ("set", "lamp", True, {}, "lamp is denied"),
        ("call", "go", None, {"to": "lamp"}, "lamp is denied"),
    ],
)
def test_what_cannot_be_is_rejected_before_the_driver_sees_it(
    verb: str, key: str, value: Json, args: Mapping[str, Json], why: str
) -> None:
    rig = Rig(rules=Rules(deny=("lamp",), limits={"gain": Limit(maximum=8.0)})).connect()
    reply = rig.ask(verb, key, value, args=args)
    assert reply is not None
    assert reply.outcome is Outcome.REJECTED
    assert why in reply.detail
    assert rig.given == []


def test_what_a_driver_says_is_touched_is_checked_too() -> None:
    rig = Rig(rules=Rules(deny=("lamp",)), touches=lambda command: (Touch("lamp"),)).connect()
    assert rig.ask("call", "go").outcome is Outcome.REJECTED  # type: ignore[union-attr]


def test_an_offline_device_takes_nothing() -> None:
    rig = Rig()
    assert rig.ask("set", "lamp", 1).outcome is Outcome.UNAVAILABLE  # type: ignore[union-attr]
    rig.connect()
    rig.lose()
    reply = rig.ask("set", "lamp", 1)
    assert reply is not None
    assert (reply.outcome, reply.detail) == (Outcome.UNAVAILABLE, "toy is offline: cut")


def test_an_id_under_way_is_not_taken_twice() -> None:
    rig = Rig().connect()
    for _ in range(2):
        rig.device.submit("set", Command("same", "lamp", True), None, rig.now, rig.wall)
    assert len(rig.given) == 1
    assert [reply.outcome for _, reply in rig.replies] == [Outcome.REJECTED]
    rig.report(Reply("same", Outcome.DONE))
    assert [reply.outcome for _, reply in rig.replies] == [Outcome.REJECTED, Outcome.DONE]


def test_the_driver_gets_values_and_arguments_as_declared_and_a_timeout() -> None:
    rig = Rig(presets={"home": Preset("go", {"fast": "on"}, "Go home")}).connect()
    rig.ask("set", "lamp", "on")
    rig.ask("set", "gain", "2.5", timeout=1.0)
    rig.ask("call", "preset/home", args={"to": "lamp"})
    lamp, gain, go = rig.given
    assert (lamp.value, lamp.timeout) == (True, 10.0)
    assert (gain.value, gain.timeout) == (2.5, 1.0)
    assert (go.key, go.args) == ("go", {"fast": True, "to": "lamp"})
    assert rig.shows("points")["points"]["preset/home"]["name"] == "Go home"


@pytest.mark.parametrize(("expect", "given"), [(1.0, True), ("1.4", True), (2.0, False), ("eh", False)])
def test_an_expectation_is_looked_at_when_its_turn_has_come(expect: Json, given: bool) -> None:
    rig = Rig().connect()
    rig.busy = True
    rig.ask("set", "gain", 3.0, expect=expect)
    rig.report(Update("gain", 1.0))
    rig.busy = False
    rig.device.pump(rig.now)
    assert bool(rig.given) is given
    assert [reply.outcome for _, reply in rig.replies] == ([] if given else [Outcome.REJECTED])


def test_the_rate_limit_spares_what_is_urgent() -> None:
    rig = Rig(rules=Rules(rate=1.0, burst=2)).connect()
    assert [rig.ask("set", "gain", value) for value in (1, 2)] == [None, None]
    assert rig.ask("set", "gain", 3).outcome is Outcome.REJECTED  # type: ignore[union-attr]
    assert rig.ask("call", "stop") is None
    rig.now += 1.0
    assert rig.ask("set", "gain", 4) is None


def test_the_state_that_proves_an_answer_is_offered_before_it_whatever_the_policy() -> None:
    rig = Rig(policies=(Policy(min_interval=60.0),)).connect()
    rig.report(Update("gain", 1.0))
    rig.ask("set", "gain", 2.0)
    rig.report(Update("gain", 2.0))
    assert rig.shows("state/gain")["value"] == 1.0
    rig.report(Reply("c1", Outcome.DONE))
    assert rig.shows("state/gain")["value"] == 2.0
    ((ticket, reply),) = rig.replies
    assert reply.data == 2.0
    assert ticket.proofs == ("lab2mqtt/toy/state/gain",)


def test_after_a_failure_the_state_is_told_again() -> None:
    rig = Rig().connect()
    rig.report(Update("lamp", False))
    rig.drain()
    rig.published.clear()
    rig.ask("set", "lamp", True)
    rig.report(Reply("c1", Outcome.FAILED, "blown"))
    assert rig.shows("state/lamp")["value"] is False


def test_an_action_shows_the_points_that_it_names() -> None:
    rig = Rig().connect()
    rig.ask("call", "go", args={"to": "gain"})
    rig.report(Reply("c1", Outcome.DONE, data={"moved": 3}))
    ((ticket, reply),) = rig.replies
    assert reply.data == {"moved": 3}
    assert ticket.proofs == ("lab2mqtt/toy/state/gain",)


def test_what_waits_is_counted_on_the_link_and_expires() -> None:
    rig = Rig().connect()
    rig.busy = True
    rig.ask("set", "lamp", True, expires_at=rig.now + 5.0)
    rig.device.refresh_link()
    assert rig.shows("link")["queue"] == 1
    assert rig.device.due == rig.now + 5.0
    rig.tick(5.0)
    assert [reply.outcome for _, reply in rig.replies] == [Outcome.EXPIRED]


def test_what_is_held_waits_for_the_next_connection_and_not_for_ever() -> None:
    rig = Rig().connect()
    rig.ask("call", "go")
    rig.device.commands.sent("c1", rig.now, rig.wall)
    rig.device.commands.hold("c1", rig.now + 30.0)
    rig.lose()
    assert [command.id for command in rig.device.commands.carried()] == ["c1"]
    rig.tick(60.0)
    assert [reply.outcome for _, reply in rig.replies] == [Outcome.UNKNOWN]
