"""An observatory through daemon and broker: a session step by step, and modules that come and go."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest

from tests.system.ost_world import GONE_AFTER, STEPS, World
from tests.system.world import side_by_side

FAST = 0.050  # seconds from a command to its answer, in the middle

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
    world.until_shown("MyPlanner/progress/global/label", "Megrez")
    world.until_shown("MyPlanner/planning/progress/label", "Running")


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


# --- modules ----------------------------------------------------------------------------------------------


def module_goes_and_comes_back(directory: Path) -> None:
    with World(directory) as world:
        world.until_module("MyAllsky", "online")
        world.until_link("ready")
        others = world.announced("MyFocuser")
        there = world.announced("MyAllsky")
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

        def events() -> list[tuple[str, str]]:
            return [(one.json["event_type"], one.json["module"]) for one in world.observer.on("dome/event/module")]

        world.observer.until(lambda: events() == [("removed", "MyAllsky"), ("created", "MyAllsky")], what=events)


def module_that_is_loaded_again_stays(directory: Path) -> None:
    with World(directory) as world:
        world.until_link("ready")
        there = world.announced("MyGuider")
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
        world.until_only("MyFocuser", "MyDummy")  # also of what only an earlier life had told


def test_modules_come_and_go_and_leave_no_ghost(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        module_goes_and_comes_back,
        module_that_is_loaded_again_stays,
        server_restarts_with_other_modules,
        server_restarts_while_the_daemon_is_dead,
    )
