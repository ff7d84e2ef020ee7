"""The declared points of a device, group by group: documents, statuses, what moves and what goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bridge.access import Rules
from bridge.catalogue import Catalogue
from bridge.model import (
    Argument,
    Category,
    Declared,
    GroupState,
    GroupStatus,
    Kind,
    Point,
    Update,
)
from bridge.outbox import Publication
from bridge.overlay import Overlay, Preset
from bridge.topics import DeviceTopics
from bridge.values import Values

ONLINE, OFFLINE, GONE = GroupState.ONLINE, GroupState.OFFLINE, GroupState.GONE


class Shop:
    """A catalogue with its values; `retained` is what a broker would keep, without the root and the device."""

    def __init__(
        self, rules: Rules | None = None, overlays: Mapping[str, Overlay] | None = None, **presets: Preset
    ) -> None:
        self.sent: list[Publication] = []
        topics = DeviceTopics("root", "io")
        self.values = Values(topics, self.sent.append, plain=False)
        self.catalogue = Catalogue(
            topics, self.values, self.sent.append, rules or Rules(), overlays or {}, presets, ()
        )

    @property
    def retained(self) -> dict[str, bytes]:
        assert all(p.retain for p in self.sent)
        latest = {p.topic.removeprefix("root/io/"): p.payload for p in self.sent}
        return {topic: payload for topic, payload in latest.items() if payload}

    def declare(self, group: str, *points: Point) -> None:
        self.catalogue.declare(Declared(points, group))

    def document(self, group: str = "") -> Any:
        return json.loads(self.retained[f"points/{group}" if group else "points"])

    def update(self, key: str, value: float) -> None:
        self.values.update(Update(key, value), 0.0, 0.0)


def sensor(key: str, group: str = "") -> Point:
    return Point(key, Kind.SENSOR, key, group, "V")


# --- documents ----------------------------------------------------------------


def test_the_document_says_of_each_point_what_it_is() -> None:
    shop = Shop()
    shop.declare(
        "1",
        Point("ao", Kind.NUMBER, "Output", "1", "V", 0, 10, 0.1),
        Point("mode", Kind.CHOICE, "Mode", "1", choices=("a", "b"), guarded=True, category=Category.CONFIGURATION),
        Point("stop", Kind.ACTION, "Stop", "1", urgent=True, arguments=(Argument("how", required=True),)),
        Point("log", Kind.EVENT, "Log", "1", choices=("info",), enabled=False),
    )
    points = shop.document("1")["points"]
    assert points["ao"] == {
        "kind": "number", "name": "Output", "access": "write",
        "unit": "V", "minimum": 0, "maximum": 10, "step": 0.1,
    }  # fmt: skip
    assert (points["mode"]["dangerous"], points["mode"]["category"]) == (True, "config")
    assert points["mode"].get("access", "read") == "read"  # it needs an explicit allow
    assert (points["stop"]["access"], points["stop"]["urgent"]) == ("call", True)
    assert points["stop"]["arguments"] == [{"name": "how", "required": True}]
    assert (points["log"]["access"], points["log"]["enabled"]) == ("event", False)


@pytest.mark.parametrize(
    ("rules", "access"),
    [
        (Rules(), ("read", "write", "call", "denied")),
        (Rules(read_only=True), ("read", "read", "denied", "denied")),
        (Rules(allow=("ro", "reset")), ("read", "write", "denied", "call")),
        (Rules(deny=("ro",)), ("read", "read", "call", "denied")),
        (Rules(allow=("*",), deny=("stop",)), ("read", "write", "denied", "denied")),  # dangerous: not by a star
    ],
)
def test_the_document_says_what_may_be_done(rules: Rules, access: tuple[str, ...]) -> None:
    shop = Shop(rules)
    shop.declare(
        "",
        sensor("ai"),
        Point("ro", Kind.SWITCH, "R"),
        Point("stop", Kind.ACTION, "S"),
        Point("reset", Kind.ACTION, "X", guarded=True),
    )
    points = shop.document()["points"]
    assert tuple(points[key].get("access", "read") for key in ("ai", "ro", "stop", "reset")) == access


def test_overlays_and_presets_show() -> None:
    shop = Shop(overlays={"ai": Overlay(name="Pressure", unit="bar")}, fast=Preset("move", {"speed": 9}))
    shop.declare("", sensor("ai"), Point("move", Kind.ACTION, "Move", arguments=(Argument("speed", "number"),)))
    points = shop.document()["points"]
    assert (points["ai"]["name"], points["ai"]["unit"]) == ("Pressure", "bar")
    assert points["preset/fast"]["kind"] == "action"
    assert shop.catalogue.points["preset/fast"].name == "Fast"


@pytest.mark.parametrize(
    ("rules", "access"),
    [
        (Rules(), ("call", "denied")),
        (Rules(read_only=True), ("denied", "denied")),
        (Rules(allow=("move",)), ("call", "denied")),
        (Rules(allow=("preset/*",)), ("denied", "denied")),
        (Rules(allow=("*", "erase"), deny=("preset/go",)), ("denied", "call")),
        (Rules(deny=("move",)), ("denied", "denied")),
    ],
)
def test_a_preset_has_the_rights_of_its_action(rules: Rules, access: tuple[str, str]) -> None:
    shop = Shop(rules, go=Preset("move"), burn=Preset("erase"))
    shop.declare("", Point("move", Kind.ACTION, "M"), Point("erase", Kind.ACTION, "E", guarded=True))
    points = shop.document()["points"]
    assert (points["preset/go"]["access"], points["preset/burn"]["access"]) == access


def test_the_same_declaration_again_is_no_news() -> None:
    shop = Shop()
    shop.declare("1", sensor("ai", "1"))
    count = len(shop.sent)
    shop.declare("1", sensor("ai", "1"))
    assert len(shop.sent) == count


def test_an_empty_group_is_a_group() -> None:
    shop = Shop()
    shop.declare("1")
    assert shop.document("1")["points"] == {}
    assert shop.retained["status/1"] == b"online"


# --- what moves and what goes ----------------------------------------------------------------


def test_a_point_that_is_not_declared_any_more_goes_with_its_state() -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"), sensor("b", "1"))
    shop.update("a", 1.0)
    shop.update("b", 2.0)
    shop.declare("1", sensor("b", "1"))
    assert "a" not in shop.catalogue.points
    assert shop.catalogue.view("a") is None
    assert {topic for topic in shop.retained if topic.startswith("state/")} == {"state/b"}
    assert list(shop.document("1")["points"]) == ["b"]


@pytest.mark.parametrize("new_group_first", [True, False])
def test_a_point_may_move_to_another_group(new_group_first: bool) -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"), sensor("b", "1"))
    shop.update("a", 1.0)
    moves = [("2", (sensor("a", "2"),)), ("1", (sensor("b", "1"),))]
    for group, points in moves if new_group_first else reversed(moves):
        shop.declare(group, *points)
    assert shop.catalogue.points["a"].group == "2"
    assert list(shop.document("1")["points"]) == ["b"]
    assert list(shop.document("2")["points"]) == ["a"]
    if new_group_first:  # else it was away for a moment
        assert json.loads(shop.retained["state/a"])["value"] == 1.0


def test_a_group_that_is_gone_takes_everything_along() -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"))
    shop.declare("", sensor("own"))
    shop.update("a", 1.0)
    assert shop.catalogue.enter(GroupStatus("1", GONE))
    assert set(shop.retained) == {"points"}
    assert list(shop.catalogue.points) == ["own"]
    assert shop.catalogue.offline("1") is None
    assert not shop.catalogue.enter(GroupStatus("1", GONE))


def test_what_moved_away_from_a_group_survives_its_end() -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"))
    shop.declare("2", sensor("a", "2"))
    shop.catalogue.enter(GroupStatus("1", GONE))
    assert shop.catalogue.points["a"].group == "2"
    assert list(shop.document("2")["points"]) == ["a"]


# --- statuses ----------------------------------------------------------------


def test_a_status_is_told_when_it_changes() -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"))
    shop.update("a", 1.0)
    assert shop.retained["status/1"] == b"online"
    assert not shop.catalogue.enter(GroupStatus("1", ONLINE))
    assert shop.catalogue.enter(GroupStatus("1", OFFLINE, "unplugged"))
    assert not shop.catalogue.enter(GroupStatus("1", OFFLINE, "still unplugged"))
    assert shop.retained["status/1"] == b"offline"
    assert shop.catalogue.offline("1") == "still unplugged"
    assert json.loads(shop.retained["state/a"])["value"] == 1.0  # untouched
    assert shop.catalogue.enter(GroupStatus("1", ONLINE))
    assert shop.catalogue.offline("1") is None


def test_an_offline_group_says_why_even_when_nobody_said_it() -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"))
    shop.catalogue.enter(GroupStatus("1", OFFLINE, name="Arm"))
    assert shop.catalogue.offline("1") == "Arm is offline"


def test_the_name_of_a_group_stands_in_its_document() -> None:
    shop = Shop()
    shop.declare("1", sensor("a", "1"))
    assert not shop.catalogue.enter(GroupStatus("1", ONLINE, name="Arm"))
    assert shop.document("1")["name"] == "Arm"


def test_what_a_new_connection_does_not_declare_is_not_there_any_more() -> None:
    shop = Shop()
    shop.declare("", sensor("own"))
    shop.declare("1", sensor("a", "1"))
    shop.declare("2", sensor("b", "2"))
    shop.catalogue.begin()
    shop.declare("", sensor("own"))
    shop.declare("2", sensor("b", "2"))
    unheard = list(shop.catalogue.unheard())
    assert [(status.group, status.state) for status in unheard] == [("1", OFFLINE)]


def test_all_is_told_again_on_demand() -> None:
    shop = Shop()
    shop.declare("", sensor("own"))
    shop.declare("1", sensor("a", "1"))
    topics = [p.topic.removeprefix("root/io/") for p in (*shop.catalogue.statuses(), *shop.catalogue.documents())]
    assert topics == ["status/1", "points", "points/1"]
    assert {p.topic: p.payload for p in shop.catalogue.documents()}["root/io/points"] == shop.retained["points"]
