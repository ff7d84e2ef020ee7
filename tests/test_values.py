"""The last values of one device: what is published and when, stale ones, bad ones, and what an answer needs."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Kind, Point, Policy, Quality, Scalar, Update
from bridge.outbox import Publication
from bridge.overlay import View
from bridge.policy import NEVER
from bridge.topics import DeviceTopics
from bridge.values import Values

WALL = 1_700_000_000.0


class Told:
    """Values with all that they published."""

    def __init__(self, *points: Point, plain: bool = False, views: tuple[View, ...] = ()) -> None:
        self.sent: list[Publication] = []
        self.values = Values(DeviceTopics("root", "io"), self.sent.append, plain)
        for view in (*(View(point) for point in points), *views):
            self.values.declare(view)

    def update(self, key: str, value: Scalar, now: float, quality: Quality = Quality.GOOD) -> None:
        self.values.update(Update(key, value, quality=quality), now, WALL + now)

    def documents(self, key: str) -> list[Any]:
        return [json.loads(p.payload) for p in self.sent if p.topic == f"root/io/state/{key}" and p.payload]

    def shown(self, key: str) -> list[Scalar]:
        return [document["value"] for document in self.documents(key)]


VOLTAGE = Point("ai/1", Kind.SENSOR, "Voltage", unit="V")
RELAY = Point("ro/1", Kind.SWITCH, "Relay")
NUMBER = Point("ao/1", Kind.NUMBER, "Output", minimum=0, maximum=10, step=0.5)


def test_every_change_is_published_retained_with_qos_0() -> None:
    told = Told(VOLTAGE)
    for now, value in enumerate((1.0, 1.0, 2.0)):
        told.update("ai/1", value, float(now))
    assert told.shown("ai/1") == [1.0, 2.0]
    assert {(p.qos, p.retain) for p in told.sent} == {(0, True)}


def test_time_is_when_the_device_reported_the_published_value() -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", 1.0, 5.5)
    assert told.documents("ai/1")[0]["time"].endswith("13:25.500Z")  # WALL is 22:13:20
    told.values.update(Update("ai/1", 2.0, at=WALL - 60), 9.0, WALL + 9)  # the instrument's own clock
    assert told.documents("ai/1")[1]["time"].endswith("12:20.000Z")


def test_announcing_again_keeps_the_time() -> None:
    told = Told(VOLTAGE, RELAY)
    told.update("ai/1", 1.0, 1.0)
    first = told.sent[-1]
    assert list(told.values.announce()) == [first]  # and nothing of a point that was never reported


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null_and_bad(value: float) -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", value, 0.0)
    told.update("ai/1", value, 1.0)  # the same again is no news
    told.update("ai/1", 1.0, 2.0)
    assert [(d["value"], d.get("quality")) for d in told.documents("ai/1")] == [(None, "bad"), (1.0, None)]


def test_a_change_of_quality_is_told_at_once_whatever_the_policy() -> None:
    told = Told(Point("t", Kind.SENSOR, "T", policy=Policy(min_interval=100, deadband=100)))
    told.update("t", 1.0, 0.0)
    told.update("t", 1.0, 0.1, Quality.UNCERTAIN)
    told.update("t", 1.0, 0.2)
    assert [d.get("quality") for d in told.documents("t")] == [None, "uncertain", None]


def test_an_unknown_point_is_counted_and_not_published() -> None:
    told = Told(VOLTAGE)
    told.update("ai/9", 1.0, 0.0)
    assert (told.values.unknown, told.sent) == (1, [])


# --- stale ----------------------------------------------------------------


def test_a_value_older_than_the_limit_is_stale_once_and_good_again_when_reported() -> None:
    told = Told(Point("t", Kind.SENSOR, "T", max_age=10))
    told.update("t", 1.0, 0.0)
    assert told.values.due == 10.0
    told.values.tick(9.9)
    told.values.tick(10.0)
    told.values.tick(30.0)
    told.update("t", 1.0, 40.0)
    assert [d.get("quality") for d in told.documents("t")] == [None, "stale", None]
    assert told.documents("t")[1]["time"] == told.documents("t")[0]["time"]
    assert told.values.due == 50.0


def test_a_value_that_is_reported_unchanged_does_not_become_stale() -> None:
    told = Told(Point("t", Kind.SENSOR, "T", max_age=10))
    for now in range(0, 100, 5):
        told.update("t", 1.0, float(now))
        told.values.tick(float(now) + 4.9)
    assert told.shown("t") == [1.0]


def test_a_point_that_never_reported_is_not_stale() -> None:
    told = Told(Point("t", Kind.SENSOR, "T", max_age=10))
    told.values.tick(100.0)
    assert (told.sent, told.values.due) == ([], NEVER)


# --- policy ----------------------------------------------------------------


def test_a_held_back_value_follows_at_the_end_of_the_interval() -> None:
    told = Told(Point("t", Kind.SENSOR, "T", policy=Policy(min_interval=1)))
    for now, value in ((0.0, 1), (0.3, 2), (0.6, 3)):
        told.update("t", value, now)
    assert told.values.due == 1.0
    told.values.tick(1.0)
    assert told.shown("t") == [1, 3]


def test_silence_is_broken_with_the_same_value_and_its_old_time() -> None:
    told = Told(Point("t", Kind.SENSOR, "T", policy=Policy(max_silence=10)))
    told.update("t", 1, 0.0)
    told.values.tick(10.0)
    told.values.tick(20.0)
    assert len(told.sent) == 3
    assert len({p.payload for p in told.sent}) == 1


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3)), min_size=1, max_size=30))
def test_whoever_ticks_when_due_shows_the_last_value_in_the_end(steps: list[tuple[float, int]]) -> None:
    told = Told(Point("t", Kind.SENSOR, "T", policy=Policy(min_interval=1)))
    now = 0.0
    for wait, value in steps:
        now += wait
        while told.values.due <= now:
            told.values.tick(told.values.due)
        told.update("t", value, now)
    while told.values.due < NEVER:
        told.values.tick(told.values.due)
    assert told.shown("t")[-1] == steps[-1][1] == told.values.value("t")


# --- what an answer needs ----------------------------------------------------------------


def test_flush_publishes_what_a_policy_holds_back() -> None:
    told = Told(Point("t", Kind.NUMBER, "T", policy=Policy(min_interval=100)))
    told.update("t", 1, 0.0)
    told.update("t", 2, 0.1)
    assert told.values.flush("t", 0.2) == "root/io/state/t"
    assert told.shown("t") == [1, 2]
    told.values.flush("t", 0.3)
    assert told.shown("t") == [1, 2]
    told.values.flush("t", 0.4, again=True)  # for optimistic eyes
    assert told.shown("t") == [1, 2, 2]


def test_flush_of_what_was_never_reported_is_nothing() -> None:
    told = Told(VOLTAGE)
    assert told.values.flush("ai/1", 0.0, again=True) is None
    assert told.values.flush("nowhere", 0.0) is None
    assert told.sent == []


@pytest.mark.parametrize(
    ("point", "value", "expected", "met"),
    [
        (RELAY, True, True, True),
        (RELAY, True, "ON", True),
        (RELAY, True, 0, False),
        (RELAY, True, "perhaps", False),
        (NUMBER, 5.0, 5, True),
        (NUMBER, 5.0, 5.5, True),
        (NUMBER, 5.0, "4.5", True),
        (NUMBER, 5.0, 5.51, False),
        (NUMBER, 5.0, 99, False),  # out of its range
        (NUMBER, None, 5, False),
        (Point("c", Kind.CHOICE, "C", choices=("a", "b")), "a", "a", True),
        (Point("c", Kind.CHOICE, "C", choices=("a", "b")), "a", "b", False),
        (Point("x", Kind.TEXT, "X"), "5", "5", True),
        (Point("x", Kind.TEXT, "X"), "5", 5, False),
        (VOLTAGE, 5.0, 5.0, False),  # nobody can set it, so nobody can expect it
    ],
)
def test_an_expectation_is_met_or_not(point: Point, value: Scalar, expected: Scalar, met: bool) -> None:
    told = Told(point)
    assert not told.values.meets(point.key, expected)  # nothing is known yet
    told.update(point.key, value, 0.0)
    assert told.values.meets(point.key, expected) is met


# --- declarations ----------------------------------------------------------------


def test_a_point_that_is_dropped_takes_its_retained_state_along() -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", 1.0, 0.0)
    told.values.drop("ai/1")
    told.values.drop("ai/1")
    assert [p.payload for p in told.sent[1:]] == [b""]
    assert told.sent[-1].retain
    assert "ai/1" not in told.values


def test_declaring_the_same_again_changes_nothing() -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", 1.0, 0.0)
    told.values.declare(View(VOLTAGE))
    assert len(told.sent) == 1


def test_a_point_in_another_unit_is_told_again_with_its_last_value() -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", 1.0, 0.0)
    told.values.declare(View(Point("ai/1", Kind.SENSOR, "Current", unit="mA")))
    assert [(d["value"], d["unit"]) for d in told.documents("ai/1")] == [(1.0, "V"), (1.0, "mA")]


@pytest.mark.parametrize(
    "other",
    [View(Point("ai/1", Kind.SWITCH, "S")), View(VOLTAGE, scale=2.0)],
)
def test_a_point_that_means_something_else_forgets_its_value(other: View) -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", 1.0, 0.0)
    told.values.declare(other)
    assert told.values.value("ai/1") is None
    assert len(told.sent) == 1


def test_a_point_that_becomes_an_action_loses_its_state() -> None:
    told = Told(VOLTAGE)
    told.update("ai/1", 1.0, 0.0)
    told.values.declare(View(Point("ai/1", Kind.ACTION, "Now an action")))
    assert told.sent[-1].payload == b""
    assert "ai/1" not in told.values


def test_a_view_is_applied_on_the_way_out() -> None:
    told = Told(views=(View(RELAY, invert=True), View(VOLTAGE, scale=1000.0)))
    told.update("ro/1", True, 0.0)
    told.update("ai/1", 1.5, 0.0)
    assert (told.shown("ro/1"), told.shown("ai/1")) == ([False], [1500.0])
    assert told.values.value("ro/1") is False


def test_plain_values_are_bare() -> None:
    told = Told(RELAY, plain=True)
    told.update("ro/1", True, 0.0)
    assert told.sent[-1].payload == b"ON"
