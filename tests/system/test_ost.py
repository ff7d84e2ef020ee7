"""An observatory through daemon and broker: a session step by step, what is refused and how, modules that go."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest
from websockets.sync.client import connect

from tests.system.mosquitto import HOST
from tests.system.ost_world import GONE_AFTER, World
from tests.system.processes import waited
from tests.system.world import side_by_side

ADMIN = 'login_user = "ADMIN"\nlogin_password = "admin"'
FAST = 0.050  # seconds from a command to its answer, in the middle
STEPS = "MyFocuser/parameters/steps"

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


# --- the example session ----------------------------------------------------------------------------------


def dump_is_shown(world: World) -> None:
    """What the server holds is what is retained, element by element."""
    world.until_link("ready")
    assert world.observer.document("dome/link")["device"]["grant"] == "1"
    parameters = world.ost.state["modules"]["MyFocuser"]["parameters"]
    zoning = parameters.pop("zoning")
    for element, value in parameters.items():
        world.until_shown(f"MyFocuser/parameters/{element}", value)
    world.until_shown("MyFocuser/parameters/zoning", f"{zoning}x{zoning}")  # a list is shown by its labels
    world.until_module("MyFocuser", "online")


def updates_are_followed(world: World) -> None:
    world.ost.fault("put", module="MyFocuser", prop="parameters", element="steps", value=1700)
    world.until_shown(STEPS, 1700)
    world.ost.fault("log", level=3, text="the roof creaks")
    world.observer.until(lambda: [one for one in world.observer.on("dome/event/log") if b"creaks" in one.payload])


def abort_ends_what_runs(world: World) -> None:
    assert world.call("MyFocuser/actions/autofocus") == ("done", "")  # it has begun
    world.until_shown("MyFocuser/actions/status", "busy")
    assert world.call("MyFocuser/actions/abortfocus") == ("done", "")
    world.until_shown("MyFocuser/progress/global", "Aborted")
    world.until_shown("MyFocuser/actions/status", "ok")
    assert [one["element"] for one in world.executed] == ["autofocus", "abortfocus"]


def start_begins_something(world: World) -> None:
    assert world.call("MyPlanner/actions/start") == ("done", "")
    assert world.executed[-1]["module"] == "MyPlanner"
    world.until_shown("MyPlanner/actions/status", "busy")


def several_values_at_once(world: World) -> None:
    assert world.set_property("MyGuider", "parms", {"exposure": 5.0, "gain": 101}) == ("done", "")
    world.until_shown("MyGuider/parms/exposure", 5.0)
    world.until_shown("MyGuider/parms/gain", 101)
    held = world.ost.state["modules"]["MyGuider"]["parms"]
    assert (held["exposure"], held["gain"]) == (5.0, 101)


def answers_are_fast(world: World) -> None:
    taken = []
    for gain in range(200, 250):
        begun = time.monotonic()
        assert world.set("MyGuider/parms/gain", gain) == ("done", "")
        taken.append(time.monotonic() - begun)
    assert world.held("MyGuider", "parms", "gain") == gain
    assert median(taken) < FAST


def test_example_session(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        dump_is_shown(world)
        updates_are_followed(world)
        abort_ends_what_runs(world)
        start_begins_something(world)
        several_values_at_once(world)
        answers_are_fast(world)


# --- what does not work -----------------------------------------------------------------------------------


def wrong_commands_are_not_sent(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        world.call("module_load", library="dummy", label="My Dummy")
        for (outcome, detail), words in (
            (world.set(STEPS, "abc"), "'abc' is not a finite number"),
            (world.set(STEPS, 1.5), "1.5 is not a whole number"),
            (world.set("MyFocuser/parms/exposure", 1e9), "above the maximum of 301"),
            (world.set("MyFocuser/parms/gain", -1), "below the minimum of 0"),
            (world.set("MyFocuser/parameters/zoning", 99), "99 is not one of 1x1"),
            (world.set("MyFocuser/devices/camera", "Webcam"), "'Webcam' is not one of CCD Simulator"),
            (world.set("MyDummy/datesRWDE/date1", "2026-02-30"), "is no date"),
            (world.set("MyFocuser/results/hfr", 1), "is read-only"),
            (world.set_property("MyFocuser", "results", {"hfr": 1}), "is read-only"),
            (world.set("MyFocuser/parameters/nothing", 1), "there is no point"),
            (world.call("MyFocuser/actions/nothing"), "there is no point"),
            (world.set_property("MyNothing", "parameters", {"steps": 1}), "there is no module 'MyNothing'"),
            (world.set_property("MyFocuser", "nothing", {"steps": 1}), "has no property 'nothing'"),
            (world.set_property("MyFocuser", "parameters", {"nothing": 1}), "there is no element 'nothing'"),
            (
                world.set_property("MyFocuser", "parameters", {"steps": 1, "zoning": 99}),
                "zoning: 99 is above the maximum of 64",
            ),
            (world.set_property("MyFocuser", "actions", {"autofocus": True}), "an action of its own: call it"),
        ):
            assert outcome == "rejected", detail
            assert words in detail
        assert world.executed == []


def refused_commands_fail(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        refused = world.call("profile_load", module="MyFocuser", profile="nope")
        assert refused == ("failed", "OST refused it: Error loading profile nope")
        refused = world.call("module_kill", module="GlobalDatastore")
        assert refused == ("failed", "OST refused it: GlobalDatastore cannot be killed")
        assert world.executed == []


def disabled_property_is_not_set(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        world.call("MyFocuser/actions/autofocus")
        world.until_shown("MyFocuser/actions/status", "busy")
        assert world.set(STEPS, 1000) == ("rejected", "MyFocuser/parameters is disabled by the server")
        world.call("MyFocuser/actions/abortfocus")
        world.until_shown("MyFocuser/actions/status", "ok")
        assert world.set(STEPS, 1000) == ("done", "")


def answer_that_comes_too_late(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        world.ost.suspend()
        id_ = world.observer.send(f"dome/set/{STEPS}", {"value": 1111, "timeout": 1})
        answer = world.observer.answer(id_)
        assert (answer["outcome"], "look before repeating" in answer["detail"]) == ("unknown", True)
        world.ost.resume()
        world.observer.until(lambda: world.observer.on("dome/event/late"))
        late = world.observer.on("dome/event/late")[0].json
        assert (late["id"], late["outcome"]) == (id_, "done")
        world.until_shown(STEPS, 1111)


def test_each_refusal_has_its_outcome_and_sentence(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        wrong_commands_are_not_sent,
        refused_commands_fail,
        disabled_property_is_not_set,
        answer_that_comes_too_late,
    )


# --- access -----------------------------------------------------------------------------------------------


def stranger_comes_and_goes(world: World) -> None:
    """Another client of our address, which thereby takes the right to write away from us."""
    with connect(f"ws://{HOST}:{world.ost.port}"):
        waited(lambda: world.ost.state["connections"] == 2, "the stranger's connection")
    waited(lambda: world.ost.state["grants"] == {}, "the loss of the grant")


def everybody_may_write(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        stranger_comes_and_goes(world)
        assert world.set(STEPS, 777) == ("done", "")  # refused, connected again, done
        assert "grant_lost" in world.links
        world.until_link("ready")
        assert [one["value"] for one in world.executed] == [777]


def login_for_writing(directory: Path) -> None:
    with World(directory, ("--grant", "1"), ADMIN) as world:
        world.until_link("ready")
        stranger_comes_and_goes(world)
        assert world.set(STEPS, 777) == ("done", "")  # refused, logged in again, done
        assert world.links[-2:] == ["grant_lost", "ready"]
        assert [one["value"] for one in world.executed] == [777]


def login_for_reading(directory: Path) -> None:
    with World(directory, ("--grant", "2"), ADMIN) as world:
        world.until_link("ready")
        assert world.shown(STEPS) == 2000
        assert world.set(STEPS, 777) == ("done", "")


def no_login_for_writing(directory: Path) -> None:
    with World(directory, ("--grant", "1")) as world:
        world.until_link("read_only", reason="give login_user")
        outcome, detail = world.set(STEPS, 777)
        assert (outcome, "only read: give login_user" in detail) == ("rejected", True)
        assert world.executed == []


def no_login_for_reading(directory: Path) -> None:
    with World(directory, ("--grant", "2")) as world:
        world.until_link("offline", reason="OST shows nothing without a login")
        assert world.set(STEPS, 777)[0] == "unavailable"


def wrong_password(directory: Path) -> None:
    with World(directory, ("--grant", "2"), ADMIN.replace('"admin"', '"pa55word"')) as world:
        world.until_link("offline", reason="OST refused the login of ADMIN")
        assert world.set(STEPS, 777)[0] == "unavailable"
        assert "pa55word" not in world.daemon.log


def guest_reads(directory: Path) -> None:
    login = 'login_user = "GUEST"\nlogin_password = "guest"'
    with World(directory, ("--grant", "2"), login) as world:
        world.until_link("read_only", reason="also as GUEST")
        world.until_shown(STEPS, 2000)
        assert world.set(STEPS, 777)[0] == "rejected"
        assert world.executed == []


def test_who_may_write(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        everybody_may_write,
        login_for_writing,
        login_for_reading,
        no_login_for_writing,
        no_login_for_reading,
        wrong_password,
        guest_reads,
    )


# --- modules ----------------------------------------------------------------------------------------------


def module_goes_and_comes_back(directory: Path) -> None:
    with World(directory) as world:
        world.until_module("MyAllsky", "online")
        world.until_link("ready")
        others = world.topics("MyFocuser")
        there = world.topics("MyAllsky")
        world.ost.fault("kill_module", module="MyAllsky")
        offline_at = world.until_module("MyAllsky", "offline")
        gone_at = world.until_module("MyAllsky", None, 2 * GONE_AFTER)
        assert gone_at - offline_at > GONE_AFTER - 1.0
        world.observer.until(lambda: not world.topics("MyAllsky"), what=lambda: world.topics("MyAllsky"))
        assert world.topics("MyFocuser") == others
        assert world.set("MyAllsky/parms/exposure", 2)[0] == "rejected"
        world.ost.fault("load_module", lib="allsky", label="My Allsky")
        world.until_module("MyAllsky", "online")
        world.observer.until(lambda: world.topics("MyAllsky") == there, what=lambda: world.topics("MyAllsky"))
        assert world.set("MyAllsky/parms/exposure", 2) == ("done", "")
        events = [(one.json["event_type"], one.json["module"]) for one in world.observer.on("dome/event/module")]
        assert events == [("removed", "MyAllsky"), ("created", "MyAllsky")]


def module_that_is_loaded_again_stays(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        there = world.topics("MyGuider")
        assert world.call("module_kill", module="MyGuider") == ("done", "")
        world.until_module("MyGuider", "offline")
        assert world.topics("MyGuider") == there
        assert world.call("module_load", library="guider", label="My Guider") == ("done", "")
        world.until_module("MyGuider", "online")
        time.sleep(GONE_AFTER + 1.0)  # nothing goes later
        assert world.topics("MyGuider") == there


def server_restarts_with_other_modules(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        world.ost.fault("restart", modules="Focuser,Dummy")
        world.until_module("MyDummy", "online")
        world.until_only("MyFocuser", "MyDummy")


def server_restarts_while_the_daemon_is_dead(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        world.daemon.kill()
        world.ost.fault("restart", modules="Focuser,Dummy", down=0.1)
        world.daemon.start()
        world.until_module("MyAllsky", "offline")
        world.until_only("MyFocuser", "MyDummy", beside="/state/")  # whose topics the new daemon does not know


def test_modules_come_and_go_and_leave_no_ghost(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        module_goes_and_comes_back,
        module_that_is_loaded_again_stays,
        server_restarts_with_other_modules,
        server_restarts_while_the_daemon_is_dead,
    )
