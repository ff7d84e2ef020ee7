"""What an observatory does not do for us: what is refused and how, and who may write."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.system.mosquitto import HOST
from tests.system.ost_world import STEPS, World
from tests.system.processes import waited
from tests.system.world import side_by_side

ADMIN = 'login_user = "ADMIN"\nlogin_password = "admin"'

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


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


def action_that_fails_at_once_or_is_commented(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        assert world.call("grid_clear", module="MyPlanner", property="planning") == ("done", "")
        refused = world.call("MyPlanner/actions/start")
        assert refused == ("failed", "OST took it and shows an error: Planning grid is empty")
        world.until_shown("MyPlanner/actions/status", "error")
        world.ost.fault("rain")
        commented = world.call("MyParkmanager/actions/open")
        assert commented == ("done", "OST took it and says: Weather is not OK, open sequence aborted")
        assert world.held("MyParkmanager", "domestate", "shutterclosed") is True


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
        action_that_fails_at_once_or_is_commented,
        answer_that_comes_too_late,
    )


def every_refusal_to_one_who_may_write(directory: Path) -> None:
    with World(directory, ("--dry", "0", "--grant", "1"), ADMIN) as world:
        world.until_link("ready")
        refused = world.call("profile_load", module="MyFocuser", profile="nope")
        assert refused == ("failed", "OST refused it: Error loading profile nope")
        ignored = world.call("grid_clear", module="MyAllsky", property="archives")
        assert ignored == ("failed", "OST took no notice of it (no effect)")
        out_of_range = world.set("MyFocuser/parms/exposure", 1e9)
        assert out_of_range == ("rejected", "1e+09 is above the maximum of 301")
        assert world.set(STEPS, "abc") == ("rejected", "'abc' is not a finite number")
        unknown = world.set_property("MyFocuser", "parameters", {"nothing": 1})
        assert unknown[0] == "rejected"
        assert "there is no element 'nothing'; there are aroundinitial" in unknown[1]
        read_only = world.set("MyFocuser/results/hfr", 1)
        assert read_only == ("rejected", "MyFocuser/results/hfr is read-only")
        assert world.executed == []  # none of these has changed anything

        assert world.call("MyFocuser/actions/autofocus") == ("done", "")
        world.until_shown("MyFocuser/actions/status", "busy")
        assert world.set(STEPS, 1000) == ("rejected", "MyFocuser/parameters is disabled by the server")
        assert world.call("MyFocuser/actions/abortfocus") == ("done", "")

        stranger_comes_and_goes(world)  # and logs us out
        assert world.links[-1] == "ready"  # nothing tells of it before the next command
        world.until_shown("MyFocuser/actions/status", "ok")
        assert world.set(STEPS, 1000) == ("done", "")
        assert world.links[-2:] == ["grant_lost", "ready"]


def test_every_way_of_not_being_carried_out(tmp_path: Path) -> None:
    """Refused, ignored, out of range, wrong type, unknown, read-only, disabled, logged out; and not logged in."""
    side_by_side(tmp_path, every_refusal_to_one_who_may_write, no_login_for_writing)


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
