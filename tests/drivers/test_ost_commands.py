"""Commands to OST: what is sent, what is refused before, and what the server's reactions mean."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.driver import Close, Hold, Send
from bridge.drivers.ost import plugin
from bridge.model import Command, Happened, Kind, Outcome, Reply, Update
from tests.drivers.ost_talk import DENIED, XX, Talk, dump, ea, element, focuser, log, prop

STEPS = "MyFocuser/parameters/steps"


def sv(prop_key: str, **values: object) -> dict[str, Any]:
    return {"SV": {"m": {"MyFocuser": {"p": {prop_key: {"e": values}}}}}}


# --- the answer comes with the fence -------------------------------------------------------------------


def test_accepted() -> None:
    talk = Talk()
    talk.ask(STEPS, 1111.0)
    assert talk.frames[-2:] == [sv("parameters", steps=1111), {"XX": {}}]
    assert [send.id for send in talk.of(Send)[-2:]] == ["c1", None]
    assert talk.driver.busy
    talk.hear(ea(steps=1111), {"fc-profile changed": {"MyFocuser": {"f": {"changed": True, "name": "default"}}}})
    assert talk.outcomes == []
    update, _, reply = talk.hear(XX)  # the state that proves it comes first
    assert isinstance(update, Update)
    assert reply == Reply("c1", Outcome.DONE)
    assert not talk.driver.busy


def test_refused_in_the_servers_own_words() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0)
    talk.hear(log("parameters - zu hoch", 2), XX)
    assert talk.replies == [("c1", "failed", "OST refused it: parameters - zu hoch")]


def test_no_effect() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0)
    talk.hear(XX)
    assert talk.replies == [("c1", "failed", "OST took no notice of it (no effect)")]


def test_nothing_to_change() -> None:
    talk = Talk()
    talk.ask(STEPS, 1000.0)
    talk.hear(XX)
    assert talk.replies == [("c1", "done", "it showed that already")]


def test_coerced() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0)
    talk.hear(ea(steps=0), XX)
    assert talk.replies == [("c1", "failed", "OST took it and shows steps = 0")]


def test_what_ost_says_of_it_is_told_though_it_was_done() -> None:
    """The park manager's `close` goes on when it finds no planner to stop."""
    talk = Talk()
    talk.ask("MyFocuser/actions/autofocus")
    talk.hear(ea("actions", autofocus=True, abortfocus=False), log("module not found : Navigator", 3, "CT"), XX)
    assert talk.replies == [("c1", "done", "OST took it and says: module not found : Navigator")]


def ps(prop_key: str, status: int) -> dict[str, Any]:
    state = {"status": status, "enabled": True}
    return {"ps-only property state": {"MyFocuser": {"p": {prop_key: state}}}}


BEGUN = ea("actions", autofocus=True, abortfocus=False)
SPENT = ea("signals", event="deviceerror", eventdescription="Device error", state=3, val_int=0)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ((BEGUN, log("INDI server not connected", 3), ps("actions", 3)), "INDI server not connected"),
        ((BEGUN, log("not connected", 2), SPENT), "not connected"),
        ((BEGUN, SPENT), "Device error"),
    ],
)
def test_an_action_that_ends_in_an_error_at_once_has_failed(frames: tuple[Any, ...], words: str) -> None:
    talk = Talk()
    talk.ask("MyFocuser/actions/autofocus")
    talk.hear(*frames, XX)
    assert talk.replies == [("c1", "failed", f"OST took it and shows an error: {words}")]


def test_an_error_from_before_is_not_of_this_action() -> None:
    talk = Talk()
    talk.hear(ps("actions", 3), SPENT)
    talk.ask("MyFocuser/actions/abortfocus")
    talk.hear(ea("actions", autofocus=False, abortfocus=True), ps("parameters", 0), XX)
    assert talk.replies == [("c1", "done", "")]


def test_a_value_is_set_though_its_property_shows_an_error() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0)
    talk.hear(ea(steps=5), ps("parameters", 3), XX)
    assert talk.replies == [("c1", "done", "")]


def test_what_others_log_meanwhile_is_no_refusal() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0)
    talk.hear(log("x", 3, "MyGuider"), log("y", 1), log("connectIndi", 3), ea(steps=5), XX)
    assert talk.outcomes == ["done"]


def test_reactions_to_an_urgent_command_are_its_own() -> None:
    talk = Talk()
    talk.ask("MyFocuser/actions/autofocus", name="start")
    talk.ask("MyFocuser/actions/abortfocus", name="abort")
    talk.hear(XX, ea("actions", autofocus=False, abortfocus=True), XX)
    assert [(id_, outcome) for id_, outcome, _ in talk.replies] == [("start", "failed"), ("abort", "done")]


def test_a_sign_of_life_before_a_command_is_not_its_fence() -> None:
    talk = Talk()
    talk.wait(31)
    talk.ask(STEPS, 5.0)
    talk.hear(log("old"), XX)
    assert talk.outcomes == []
    talk.hear(ea(steps=5), XX)
    assert talk.outcomes == ["done"]


def test_late_is_not_never() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0, timeout=10.0)
    talk.wait(11)
    assert talk.outcomes == ["unknown"]
    assert talk.driver.busy  # the server stands still: nothing more is sent
    talk.hear(ea(steps=5), XX)
    assert talk.outcomes == ["unknown"]
    assert [(event.name, event.data["outcome"]) for event in talk.of(Happened)] == [("late", "done")]
    assert not talk.driver.busy


# --- points --------------------------------------------------------------------------------------------


def test_an_action_is_a_call_and_aborts_are_urgent() -> None:
    talk = Talk()
    assert talk.points["MyFocuser/actions/autofocus"].kind is Kind.ACTION
    assert not talk.points["MyFocuser/actions/autofocus"].urgent
    assert talk.points["MyFocuser/actions/abortfocus"].urgent
    talk.ask("MyFocuser/actions/autofocus")
    assert talk.sent == [sv("actions", autofocus=True)]
    talk.hear({"ps-only property state": {"MyFocuser": {"p": {"actions": {"status": 2, "enabled": True}}}}}, XX)
    assert talk.outcomes == ["done"]
    assert talk.last("MyFocuser/actions/status") == "busy"


def test_sa_where_sv_would_do_nothing() -> None:
    talk = Talk()
    talk.ask("MyFocuser/form/a", 9.0)
    assert talk.sent == [{"SA": {"m": {"MyFocuser": {"p": {"form": {"e": {"a": 9, "b": "x"}}}}}}}]


def test_one_of_many() -> None:
    talk = Talk()
    talk.ask("MyFocuser/when", "Dusk")
    assert talk.sent == [sv("when", dusk=True)]
    talk.hear(ea("when", dusk=False, fixed=False), ea("when", dusk=True, fixed=False), XX)
    assert talk.outcomes == ["done"]
    assert talk.last("MyFocuser/when") == "Dusk"


@pytest.mark.parametrize(
    ("key", "value", "sent"),
    [
        ("devices/camera", "Guide cam", "Guide"),
        ("devices/optic", "Newton (R80)", "R80"),
        ("devices/binning", "1x1", 1),
        ("parameters/begin", "21:30", {"hh": 21, "mm": 30, "ss": 0, "ms": 0}),
        ("parameters/note", 'say "hi" {now} \\', 'say "hi" {now} \\'),
        ("parameters/gain", 2.5, 2.5),
        ("parameters/around", True, True),
    ],
)
def test_values_as_ost_wants_them(key: str, value: Any, sent: object) -> None:
    talk = Talk()
    talk.ask(f"MyFocuser/{key}", talk.points[f"MyFocuser/{key}"].accept(value))
    prop_key, _, element_key = key.partition("/")
    assert talk.sent == [sv(prop_key, **{element_key: sent})]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("parameters/steps", 1.5, "whole number"),
        ("parameters/steps", 3e9, "maximum"),
        ("parameters/zoning", 65.0, "maximum"),
        ("parameters/begin", "25:00", "no time"),
        ("parameters/begin", "10:00+02:00", "time zone"),
        ("results/hfr", 1.0, "read-only"),
        ("nope/x", 1.0, "there is no"),
    ],
)
def test_rejected_before_it_is_sent(key: str, value: Any, words: str) -> None:
    talk = Talk()
    talk.ask(f"MyFocuser/{key}", value)
    assert talk.sent == []
    ((_, outcome, detail),) = talk.replies
    assert outcome == "rejected"
    assert words in detail


def test_a_disabled_property_keeps_its_values() -> None:
    talk = Talk()
    state = {"MyFocuser": {"p": {"parameters": {"status": 0, "enabled": False}}}}
    talk.hear({"ps-only property state": state})
    told = talk.wait(0.1)
    assert STEPS not in [update.key for update in talk.of(Update, told)]
    talk.ask(STEPS, 5.0)
    assert talk.replies == [("c1", "rejected", "MyFocuser/parameters is disabled by the server")]


def test_a_profile_is_a_choice() -> None:
    talk = Talk()
    talk.ask("MyFocuser/profile", "default")
    assert talk.sent == [{"PL": {"m": {"MyFocuser": {"profile": "default"}}}}]
    talk.hear({"fl-profile loaded": {"MyFocuser": {"f": {"changed": False, "name": "default"}}}}, XX)
    assert talk.outcomes == ["done"]


# --- actions of the device -----------------------------------------------------------------------------


def test_set_property_is_completed() -> None:
    talk = Talk()
    talk.call("set_property", module="MyFocuser", property="parameters", values={"steps": 7, "gain": 1})
    (frame,) = talk.sent
    values = frame["SA"]["m"]["MyFocuser"]["p"]["parameters"]["e"]
    assert values == {
        "steps": 7,
        "zoning": 2,
        "around": False,
        "gain": 1,
        "note": "",
        "begin": {"hh": 20, "mm": 0, "ss": 0},
    }
    talk.hear(ea(steps=7, gain=2), log("gain - too high", 2), XX)
    assert talk.replies == [("c1", "failed", "OST refused it: gain - too high")]


def test_one_of_many_in_set_property_turns_the_others_off() -> None:
    talk = Talk()
    talk.call("set_property", module="MyFocuser", property="when", values={"dusk": True})
    assert talk.sent == [{"SA": {"m": {"MyFocuser": {"p": {"when": {"e": {"dusk": True, "fixed": False}}}}}}}]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"module": "Nope"}, "no module"),
        ({"property": "nope"}, "no property"),
        ({"property": "results", "values": {"hfr": 1}}, "read-only"),
        ({"values": {}}, "empty"),
        ({"values": {"nope": 1}}, "no element"),
        ({"values": {"steps": "abc"}}, "steps: 'abc' is not a finite number"),
        ({"values": {"around": "maybe"}}, "around"),
        ({"property": "actions", "values": {"autofocus": True}}, "call it"),
        ({"property": "when", "values": {"dusk": True, "fixed": True}}, "only one"),
        ({"property": "devices", "values": {"optic": "Other"}}, "optic: 'Other' is not one of"),
        ({"property": "form", "values": {"c": 1}}, "no value"),
    ],
)
def test_set_property_rejected(args: dict[str, Any], words: str) -> None:
    talk = Talk()
    talk.call("set_property", **{"module": "MyFocuser", "property": "parameters", "values": {"steps": 1}, **args})
    assert talk.sent == []
    ((_, outcome, detail),) = talk.replies
    assert outcome == "rejected"
    assert words in detail


def test_a_list_that_only_suggests() -> None:
    talk = Talk()
    talk.call("set_property", module="MyFocuser", property="devices", values={"camera": "Unheard of"})
    assert talk.sent[0]["SA"]["m"]["MyFocuser"]["p"]["devices"]["e"]["camera"] == "Unheard of"


def test_what_was_started_can_be_unset() -> None:
    talk = Talk()
    talk.hear(ea("actions", autofocus=True, abortfocus=False))
    talk.call("set_property", module="MyFocuser", property="actions", values={"autofocus": False})
    assert talk.sent[0]["SA"]["m"]["MyFocuser"]["p"]["actions"]["e"] == {"autofocus": False, "abortfocus": False}


def test_a_value_that_is_not_known_cannot_be_filled_in() -> None:
    talk = Talk()
    talk.hear(ea("form", a=None))
    talk.call("set_property", module="MyFocuser", property="form", values={"b": "y"})
    assert "give 'a' too" in talk.replies[0][2]


GRID = {"module": "MyFocuser", "property": "values"}


@pytest.mark.parametrize(
    ("action", "args", "frame", "told"),
    [
        (
            "grid_append",
            {"values": {"x": 9}},
            {"GC": {"e": {"x": 9, "y": 0}}},
            ("gc-x ", {"i": 2, "values": {"x": 9}}),
        ),
        (
            "grid_update",
            {"line": 1, "values": {"y": 9}},
            {"GU": {"i": 1, "e": {"x": 3, "y": 9}}},
            ("gu-x", {"i": 1, "values": {"x": 3, "y": 9}}),
        ),
        ("grid_delete", {"line": 1}, {"GD": {"i": 1}}, ("gd-x", {"i": 1})),
        ("grid_move", {"line": 1, "direction": "up"}, {"GH": {"i": 1}}, ("ap-x", prop({}))),
        ("grid_move", {"line": 0, "direction": "down"}, {"GB": {"i": 0}}, ("ap-x", prop({}))),
        ("grid_clear", {}, {"GR": {}}, ("gr-x", {})),
    ],
)
def test_grids(action: str, args: dict[str, Any], frame: dict[str, Any], told: tuple[str, Any]) -> None:
    talk = Talk()
    talk.call(action, **GRID, **args)
    ((verb, body),) = frame.items()
    assert talk.sent == [{verb: {"m": {"MyFocuser": {"p": {"values": body}}}}}]
    talk.hear({told[0]: {"MyFocuser": {"p": {"values": told[1]}}}}, XX)
    assert talk.outcomes == ["done"]


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("grid_delete", {"line": 2}),
        ("grid_update", {"line": 7, "values": {}}),
        ("grid_move", {"line": 0, "direction": "up"}),
        ("grid_move", {"line": 1, "direction": "down"}),
        ("grid_append", {"values": {"z": 1}}),
        ("grid_clear", {"property": "parameters"}),
        ("grid_read", {"property": "nope"}),
        ("profile_load", {"profile": "../x"}),
        ("module_load", {"library": "nope", "label": "My"}),
        ("module_load", {"library": "dummy", "label": "My Focuser"}),
        ("module_load", {"library": "dummy", "label": " "}),
        ("module_kill", {"module": "Nope"}),
    ],
)
def test_other_actions_rejected(action: str, args: dict[str, Any]) -> None:
    talk = Talk()
    talk.call(action, **{**GRID, **args})
    assert talk.outcomes == ["rejected"]
    assert talk.sent == []


def test_modules() -> None:
    talk = Talk()
    talk.call("module_load", library="dummy", label="My Dummy")
    assert talk.sent == [{"ML": {"lib": "dummy", "label": "My Dummy", "profile": "default"}}]
    talk.hear({"aa-dump all data": {"MyDummy": focuser()}}, XX)
    talk.call("module_kill", "c2", module="MyDummy")
    assert talk.sent[1] == {"MK": {"name": "MyDummy"}}
    talk.hear({"dm-delete/remove module": {"MyDummy": {}}}, XX)
    talk.call("module_kill", "c3", module="MyFocuser")
    talk.hear(log("cannot be killed", 3, "CT"), XX)
    assert talk.outcomes == ["done", "done", "failed"]


def test_profiles() -> None:
    talk = Talk()
    talk.call("profile_save", module="MyFocuser", profile="night")
    assert talk.sent == [{"PS": {"m": {"MyFocuser": {"profile": "night"}}}}]
    talk.hear({"fs-profile saved": {"MyFocuser": {"f": {"changed": False, "name": "night"}}}}, XX)
    talk.call("profile_load", "c2", module="MyFocuser", profile="nope")
    talk.hear(log("Error loading profile nope"), XX)
    assert talk.outcomes == ["done", "failed"]


def test_what_an_action_touches() -> None:
    args: dict[str, Any] = {"module": "MyFocuser", "property": "parameters", "values": {"steps": 5}}
    touched = plugin.touches(Command("c", "set_property", args=args))
    assert [(touch.key, touch.value) for touch in touched] == [("MyFocuser/parameters", None), (STEPS, 5)]
    touched = plugin.touches(Command("c", "profile_load", args={"module": "M", "profile": "x"}))
    assert [touch.key for touch in touched] == ["M/profile"]
    assert plugin.touches(Command("c", STEPS, 5)) == ()


def test_a_denial_of_an_urgent_command_behind_another() -> None:
    talk = Talk()
    talk.ask(STEPS, 5.0, "c1")
    talk.ask("MyFocuser/actions/abortfocus", None, "c2")
    talk.hear(DENIED, XX)
    assert not talk.of(Close)
    talk.hear(DENIED, XX)
    assert [hold.id for hold in talk.of(Hold)] == ["c1", "c2"]
    assert len(talk.of(Close)) == 1


def test_a_choice_among_booleans_of_the_same_name() -> None:
    same = prop({"a": element("bool", True, "On"), "b": element("bool", False, "On")}, "X", rule=0)
    talk = Talk(first=dump(M={"p": {"x": same}, "l": {}}))
    assert talk.points["M/x"].choices == ("On (a)", "On (b)")
