"""Conversations with OST: greeting, updates, modules that come and go, grants and logins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.driver import Close, Hold, ProtocolError, Send, Verdict
from bridge.model import Command, Condition, Declared, Happened, Ready, Reply, Update
from tests.drivers.ost_talk import DENIED, XX, Talk, dump, ea, focuser, log, number, prop

LOGIN: dict[str, Any] = {"login_user": "ADMIN", "login_password": "s3cret{\\"}
STEPS = "MyFocuser/parameters/steps"


# --- the greeting --------------------------------------------------------------------------------------


def test_the_greeting() -> None:
    talk = Talk(silent=True, language="fr")
    assert talk.frames == [{"DU": {"language": "fr"}}]
    assert talk.hear(log(), ea(steps=5), {"ap-dump all property data": {"X": {"p": {}}}}) == talk.events[1:]
    assert not talk.of(Update)
    talk.hear(dump())
    talk.wait(0)
    (ready,) = talk.of(Ready)
    assert ready.info["version"] == "8c085fc2"
    assert talk.last(STEPS) == 1000
    assert talk.groups == [("MyFocuser", "online")]
    assert talk.remembered == [["MyFocuser"]]
    assert not talk.driver.busy


def test_busy_until_greeted() -> None:
    talk = Talk(silent=True)
    assert talk.driver.busy


@pytest.mark.parametrize("frame", ['{"evt": "moduledump", "modules": {}}', '{"moduledump": {}}'])
def test_an_old_server_is_named(frame: str) -> None:
    talk = Talk(silent=True)
    talk.raw(frame)
    (close,) = talk.of(Close)
    assert close.verdict is Verdict.STUBBORN
    assert "too old" in close.reason


def test_something_else_than_ost() -> None:
    talk = Talk(silent=True)
    talk.raw("hello")
    talk.raw(b"\x00")
    with pytest.raises(ProtocolError):
        talk.raw("[]")


def test_a_dump_of_another_shape_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="dump"):
        Talk(silent=True).hear({"d": {"m": [1]}})


def test_a_server_that_stands_still_is_told_of() -> None:
    talk = Talk(silent=True)
    talk.wait(11)
    assert talk.conditions == ["no_dump"]
    assert "February 2026" in talk.of(Condition)[0].reason
    talk.hear(dump())
    talk.wait(0)
    assert talk.conditions == ["no_dump", ""]


def test_a_big_dump_is_told_in_slices() -> None:
    modules: dict[str, Any] = {
        f"M{i}": {"p": {"p": prop({f"e{j}": number(j) for j in range(200)})}, "l": {}} for i in range(20)
    }
    talk = Talk(silent=True)
    first = talk.hear(dump(**modules))
    assert len(talk.of(Declared, first)) < 10
    assert not talk.of(Ready)
    talk.hear(ea("p", "M19", e0=77))
    talk.wait(0)
    assert len(talk.of(Declared)) == 21
    assert len(talk.of(Ready)) == 1
    assert talk.last("M19/p/e0") == 77


# --- updates -------------------------------------------------------------------------------------------


def test_bursts_are_collected_and_repeats_dropped() -> None:
    talk = Talk()
    assert talk.hear(ea(steps=1), ea(steps=2), ea(steps=3)) == []
    assert [(u.key, u.value) for u in talk.of(Update, talk.wait(0.1))] == [(STEPS, 3)]
    talk.hear(ea(steps=3))
    assert talk.wait(1) == []


def test_one_of_many_shows_only_the_result_of_its_burst() -> None:
    talk = Talk()
    assert talk.last("MyFocuser/when") == "Fixed"
    talk.hear(ea("when", dusk=False, fixed=False), ea("when", dusk=True, fixed=False))
    assert [u.value for u in talk.of(Update, talk.wait(0.1))] == ["Dusk"]


def test_a_status_and_garbage_keys() -> None:
    talk = Talk()
    state: dict[str, Any] = {"status": 2, "enabled": False}
    talk.hear({"ps-only property state": {"MyFocuser": {"p": {"actions": state}}}})
    talk.wait(0.1)
    assert talk.last("MyFocuser/actions/status") == "busy"
    talk.hear({"ev-set one element value/min/max/format ": {"MyFocuser": {"p": {"parameters": {"e": {
        "steps": {"value": 7, "min": 1, "max": 9}}}}}}})  # fmt: skip
    talk.wait(0.1)
    assert (talk.points[STEPS].minimum, talk.points[STEPS].maximum, talk.last(STEPS)) == (1, 9, 7)
    talk.hear({"zz-new": {}}, {"zz-new": {}}, {"qa-query answer": {}}, {"ea": [1]})
    assert len(talk.of(Happened)) == 2


def test_a_value_outside_its_list_is_one_more_choice() -> None:
    talk = Talk()
    camera = "MyFocuser/devices/camera"
    assert talk.points[camera].choices == ("CCD Simulator", "Guide cam", "Old")
    talk.hear(ea("devices", camera="Newer"))
    talk.wait(0.1)
    assert talk.points[camera].choices == ("CCD Simulator", "Guide cam", "Newer")
    assert talk.last(camera) == "Newer"


def test_lists_of_a_module_and_of_the_controller() -> None:
    talk = Talk()
    talk.hear(
        {"lc-lov create": {"MyFocuser": {"l": {"CCD": {"label": "CCD"}}}}},
        {"lc-lov create": {"MyFocuser": {"l": {"CCD": {"values": {"QHY": "QHY"}}}}}},
        {"lc-lov create": {"MyFocuser": {"l": {"": {"values": {"default": "default", "night": "night"}}}}}},
        {"lu-lov update": {"lovs": {"optics": {"values": {"N150": "Newton"}}}}},
    )
    told = talk.wait(0.1)
    assert len(talk.of(Declared, told)) == 1
    assert talk.points["MyFocuser/devices/camera"].choices == ("QHY", "Old")
    assert talk.points["MyFocuser/profile"].choices == ("default", "night")
    assert talk.points["MyFocuser/devices/optic"].choices == ("Newton",)


def test_a_list_that_is_made_again_as_it_was_changes_nothing() -> None:
    talk = Talk()
    optics = dump()["d"]["lovs"]["optics"]
    talk.hear({"lu-lov update": {"lovs": {"optics": {}}}}, {"lu-lov update": {"lovs": {"optics": optics}}})
    assert talk.wait(0.1) == []


def test_labels_of_a_translated_dump_are_kept() -> None:
    talk = Talk(language="fr", first=dump(M={"p": {"p": prop({"e": number(1, "Pas")}, "Réglages")}, "l": {}}))
    talk.hear({"ap-dump all property data": {"M": {"p": {"p": prop({"e": number(2, "Step")}, "Settings")}}}})
    talk.wait(0.1)
    assert talk.points["M/p/e"].name == "Réglages Pas"
    assert talk.last("M/p/e") == 2


def test_grids_follow() -> None:
    talk = Talk()

    def grid(key: str, **told: object) -> dict[str, Any]:
        return {key: {"MyFocuser": {"p": {"values": told}}}}

    talk.hear(
        grid("gc-grid new line ", i=2, values={"x": 5, "y": 6}),
        grid("gu-grid update line", i=0, values={"x": 0, "y": 0}),
        grid("gd-grid delete line", i=1),
    )
    talk.call("grid_read", module="MyFocuser", property="values")
    assert talk.of(Reply)[-1].data == {"columns": ["x", "y"], "rows": [{"x": 0, "y": 0}, {"x": 5, "y": 6}]}
    talk.hear(grid("gr-grid reset"))
    talk.call("grid_read", module="MyFocuser", property="values")
    assert talk.of(Reply)[-1].data == {"columns": ["x", "y"], "rows": []}


@pytest.mark.parametrize(
    "message",
    [
        {"gd-grid delete line": {"MyFocuser": {"p": {"values": {"i": 9}}}}},
        {"de-delete/remove element": {"MyFocuser": {}}},
        ea("nope", x=1),
        ea(nope=1),
        ea("parameters", "Nope", x=1),
        {"ap-dump all property data": {"Nope": {"p": {"x": {}}}}},
    ],
)
def test_what_is_unknown_leads_to_one_dump(message: dict[str, Any]) -> None:
    talk = Talk()
    talk.hear(message, message)
    talk.wait(9)
    assert talk.frames.count({"DU": {"language": "en"}}) == 1
    talk.wait(2)
    assert talk.frames.count({"DU": {"language": "en"}}) == 2
    talk.hear(dump())
    talk.wait(0.1)
    assert len(talk.of(Ready)) == 1


def test_logs_from_a_level_on_and_once_a_minute() -> None:
    talk = Talk()
    talk.hear(log("down"), log("down"), log("note", 1), log("hot", 2), log("?", 17))
    assert talk.happened == [("log", "error"), ("log", "warning")]
    talk.wait(61)
    talk.hear(XX, log("down"))
    assert len(talk.of(Happened)) == 3


def test_a_changed_line_of_a_grid_changes_the_elements_too() -> None:
    """Seen with the real server: of the elements nothing is told, and the next dump shows the line's values."""
    talk = Talk(include=("MyFocuser/values/*",))
    talk.hear({"gu-grid update line": {"MyFocuser": {"p": {"values": {"i": 1, "values": {"x": 8, "y": 9}}}}}})
    talk.wait(0.1)
    assert (talk.last("MyFocuser/values/x"), talk.last("MyFocuser/values/y")) == (8, 9)


def test_signals() -> None:
    talk = Talk()
    start = ea("signals", event="startfocus", eventdescription="start", state=2, val_int=7)
    talk.hear(start, start, ea("signals", event="focusdone", eventdescription="done", state=1, val_int=7))
    assert talk.happened == [("signal", "busy"), ("signal", "ok")]
    assert talk.of(Happened)[0].data == {
        "module": "MyFocuser",
        "signal": "startfocus",
        "description": "start",
        "integer": 7,
    }


def test_files_but_no_temporary_ones() -> None:
    talk = Talk()
    talk.hear(
        {"evt": "fileadd", "fileevent": ["/a.jpeg.tmp", "/a.jpeg"]}, {"evt": "filedel", "fileevent": ["/b.tmp"]}
    )
    assert talk.happened == [("file", "fileadd")]
    assert talk.of(Happened)[0].data == {"paths": ["/a.jpeg"]}


def test_the_computer() -> None:
    talk = Talk()
    assert talk.last("system/disk_free/%2F") == 5
    talk.hear({"uc-update controller data": {"systemwatcher": {"cpu": {"load_1m": 0.75}}}})
    talk.wait(0.1)
    assert talk.last("system/cpu_load") == 0.75


# --- modules -------------------------------------------------------------------------------------------


def test_a_module_is_loaded_and_removed() -> None:
    talk = Talk()
    talk.hear({"aa-dump all data": {"MyDummy": focuser()}})
    talk.wait(0.1)
    assert talk.groups[-1] == ("MyDummy", "online")
    assert "MyDummy/parameters/steps" in talk.points
    assert talk.remembered[-1] == ["MyDummy", "MyFocuser"]
    talk.hear(
        *({"dp-delete/remove property": {"MyDummy": {"p": {name: ""}}}} for name in focuser()["p"]),
        {"dm-delete/remove module": {"MyDummy": {}}},
    )
    told = talk.wait(0.1)
    assert not talk.of(Declared, told)  # nothing is cleared before it is gone
    assert talk.groups[-1] == ("MyDummy", "offline")
    talk.wait(11)
    assert talk.groups[-1] == ("MyDummy", "gone")
    assert talk.remembered[-1] == ["MyFocuser"]
    assert talk.happened == [("module", "created"), ("module", "removed")]


def test_a_module_that_returns_in_time_was_never_gone() -> None:
    talk = Talk()
    talk.hear({"dm-delete/remove module": {"MyFocuser": {}}})
    talk.wait(1)
    talk.hear({"aa-dump all data": {"MyFocuser": focuser()}})
    talk.wait(20)
    assert talk.groups == [("MyFocuser", "online"), ("MyFocuser", "offline"), ("MyFocuser", "online")]
    assert talk.last(STEPS) == 1000


def test_a_restart_with_other_modules_leaves_no_ghost() -> None:
    talk = Talk(memory={"modules": ["MyFocuser", "MyOld"]})
    assert talk.groups == [("MyFocuser", "online"), ("MyOld", "offline")]
    talk.wait(11)
    assert talk.groups[-1] == ("MyOld", "gone")
    assert talk.remembered == [["MyFocuser"]]


def test_a_partial_aa_is_merged() -> None:
    talk = Talk()
    talk.hear({"aa-dump all data": {"MyFocuser": {"p": {"form": prop({"a": number(5)}, "Form")}}}})
    talk.wait(0.1)
    assert talk.last("MyFocuser/form/a") == 5
    assert STEPS in talk.points


def test_a_property_is_created_and_deleted() -> None:
    talk = Talk()
    talk.hear({"ap-dump all property data": {"MyFocuser": {"p": {"new+1": prop({"x/y": number(5)}, "New")}}}})
    talk.wait(0.1)
    assert talk.last("MyFocuser/new%2B1/x%2Fy") == 5
    talk.hear({"dp-delete/remove property": {"MyFocuser": {"p": {"new+1": ""}}}})
    talk.wait(0.1)
    assert "MyFocuser/new%2B1/x%2Fy" not in talk.points


def test_a_property_that_returns_is_told_again() -> None:
    talk = Talk()
    gone: dict[str, Any] = {"dp-delete/remove property": {"MyFocuser": {"p": {"results": ""}}}}
    talk.hear(gone)
    talk.wait(0.1)
    assert "MyFocuser/results/hfr" not in talk.points
    talk.hear({"ap-dump all property data": {"MyFocuser": {"p": {"results": focuser()["p"]["results"]}}}})
    assert "MyFocuser/results/hfr" in [update.key for update in talk.of(Update, talk.wait(0.1))]


def test_a_flood_of_properties_shows_only_the_usual_ones() -> None:
    many = {f"dev{i}": prop({f"e{j}": number(j) for j in range(10)}) for i in range(60)}
    talk = Talk(first=dump(Panel={"p": {**many, "errors": prop({"x": number(1)})}, "l": {}}))
    assert [key for key in talk.points if key.startswith("Panel/")] == ["Panel/errors/x", "Panel/errors/status"]


# --- grants and logins ---------------------------------------------------------------------------------


def test_a_login_when_it_is_needed() -> None:
    talk = Talk(silent=True, **LOGIN)
    talk.hear({"d": {"grant-client": "-1", "grant-server": "2"}})
    assert talk.sent == [{"LO": {"user": "ADMIN", "pw": "s3cret{\\", "language": "en"}}]
    assert not talk.of(Ready)
    talk.hear(dump("1", "2"))
    talk.wait(0)
    assert len(talk.of(Ready)) == 1


def test_no_login_when_it_is_not_needed() -> None:
    assert Talk(**LOGIN).sent == []  # a wrong one would cost the access there is


@pytest.mark.parametrize(("options", "words"), [(LOGIN, "refused the login"), ({}, "login_user")])
def test_no_access_at_all(options: dict[str, Any], words: str) -> None:
    talk = Talk(silent=True, **options)
    talk.hear({"d": {"grant-client": "-1", "grant-server": "2"}})
    if options:
        talk.hear({"d": {"grant-client": "-1", "grant-server": "2"}})
    (close,) = talk.of(Close)
    assert close.verdict is Verdict.STUBBORN
    assert words in close.reason
    assert "s3cret" not in close.reason


@pytest.mark.parametrize("grant", ["0", ""])
def test_read_only(grant: str) -> None:
    talk = Talk(first=dump(grant, "1"))
    assert talk.conditions == ["read_only"]
    talk.ask(STEPS, 5.0)
    assert talk.outcomes == ["rejected"]
    assert talk.sent == []
    talk.call("grid_read", "c2", module="MyFocuser", property="values")
    assert talk.outcomes == ["rejected", "done"]


def test_a_guest_may_only_read() -> None:
    talk = Talk(first=dump("0", "1"), **LOGIN)
    talk.hear(dump("0", "1"))
    talk.wait(0)
    assert "ADMIN" in talk.of(Condition)[0].reason
    assert len(talk.of(Ready)) == 1


def test_a_lost_grant_and_a_login_then_one_more_try() -> None:
    talk = Talk(first=dump("1", "1"), **LOGIN)
    talk.ask(STEPS, 5.0)
    talk.hear(DENIED, XX)
    assert talk.conditions == ["grant_lost"]
    assert list(talk.sent[-1]) == ["LO"]
    assert talk.driver.busy
    talk.hear(dump("1", "1"))
    talk.wait(0)
    assert talk.conditions == ["grant_lost", ""]
    assert talk.outcomes == []
    assert [list(frame) for frame in talk.sent] == [["SV"], ["LO"], ["SV"]]
    talk.hear(ea(steps=5), XX)
    assert talk.outcomes == ["done"]


def test_refused_twice_is_failed() -> None:
    talk = Talk(first=dump("1", "1"), **LOGIN)
    talk.ask(STEPS, 5.0)
    talk.hear(DENIED, XX, dump("1", "1"))
    talk.wait(0)
    talk.hear(DENIED, XX)
    assert talk.replies == [("c1", "failed", "OST refused it twice: Client not granted for updates")]


def test_a_refused_command_that_is_old_is_not_tried_again() -> None:
    talk = Talk(first=dump("1", "1"), **LOGIN)
    talk.ask(STEPS, 5.0)
    talk.wait(20)
    talk.hear(DENIED, XX)
    assert talk.outcomes == ["failed"]


def test_the_new_login_fails() -> None:
    talk = Talk(first=dump("1", "1"), **LOGIN)
    talk.ask(STEPS, 5.0)
    talk.hear(DENIED, XX, {"d": {"grant-client": "-1", "grant-server": "1"}})
    assert talk.outcomes == ["failed"]
    assert talk.of(Close)[0].verdict is Verdict.STUBBORN


def test_without_a_login_a_new_connection_tries_once_more() -> None:
    talk = Talk()
    command = Command("c1", STEPS, 5.0)
    talk.take(talk.driver.submit(command, talk.now))
    talk.hear(DENIED, XX)
    assert [hold.id for hold in talk.of(Hold)] == ["c1"]
    assert talk.of(Close)[0].verdict is Verdict.AGAIN
    assert "same network address" in talk.of(Condition)[0].reason
    following = Talk(carried=[command])
    assert [list(frame) for frame in following.sent] == [["SV"]]
    following.hear(DENIED, XX)
    assert following.outcomes == ["failed"]
    assert not following.of(Close)


def test_a_command_carried_over_is_answered_if_it_cannot_be_tried() -> None:
    assert Talk(carried=[Command("c1", STEPS, 5.0)], first=dump("0", "1")).outcomes == ["failed"]
    late = Talk(carried=[Command("c1", STEPS, 5.0)], silent=True)
    late.wait(11)
    assert late.outcomes == ["failed"]
    late.hear(dump())
    late.wait(0)
    assert late.outcomes == ["failed"]


def test_where_not_everybody_may_write_a_new_connection_would_not_help() -> None:
    talk = Talk(first=dump("1", "1"))
    talk.ask(STEPS, 5.0)
    talk.hear(DENIED, XX)
    assert talk.outcomes == ["failed"]
    assert talk.conditions == ["read_only"]
    assert not talk.of(Close)


def test_passwords_go_nowhere_but_into_the_login() -> None:
    talk = Talk(first=dump("0", "1"), **LOGIN)
    told = [
        json.dumps(repr(event)) for event in talk.events if not (isinstance(event, Send) and "LO" in event.frame)
    ]
    assert not any("s3cret" in text for text in told)


# --- signs of life -------------------------------------------------------------------------------------


def test_a_sign_of_life_and_a_dead_server() -> None:
    talk = Talk()
    talk.wait(31)
    assert talk.frames[-1] == {"XX": {}}
    talk.hear(XX)
    talk.wait(30)
    assert [list(frame) for frame in talk.frames[-2:]] == [["XX"], ["XX"]]
    talk.wait(58)
    assert not talk.of(Close)
    talk.wait(3)
    assert talk.of(Close)[0].verdict is Verdict.PASSING
