"""The flows of config/node-red in a real Node-RED, with mosquitto, the daemon and the four simulators."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.system.mosquitto import Mosquitto
from tests.system.node_red import FLOWS, PROGRAM, NodeRed, flow, node_named
from tests.system.node_red_world import BRIDGE, CORE, IM7, INSPECT, OBSERVATORY, UNIPI, World
from tests.system.observer import Observer
from tests.system.processes import assert_no_faults, waited

pytestmark = [
    pytest.mark.skipif(
        PROGRAM not in os.environ,
        reason=f"needs Node-RED: {PROGRAM}=where `npm install node-red @flowfuse/node-red-dashboard` ran",
    ),
    pytest.mark.usefixtures("mosquitto_installed"),
    pytest.mark.timeout(180),
]

DASHBOARDS = sorted(path.stem for path in FLOWS.glob("*-dashboard.json"))
COMPLAINT = re.compile(r"\[(warn|error|fatal)\].*|.*missing types.*")
RAIN = "dome/state/MyParkmanager/weatherstate/global"
CLOSE = "dome/call/MyParkmanager/actions/close"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        found = World(tmp_path_factory.mktemp("world"), stack)
        yield found
        assert_no_faults(found.daemon)
        assert_no_complaints(found.red)


def assert_no_complaints(red: NodeRed) -> None:
    """Since it started with no flows at all; that a broker is away is no fault of a flow."""
    _, _, log = red.log.partition("Started flows")
    own = [match[0] for match in COMPLAINT.finditer(log) if "Connection failed" not in match[0]]
    assert own == []


# --- importing ----------------------------------------------------------------------------------------------


def test_each_flow_alone_and_all_together_import_without_a_warning(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, NodeRed(tmp_path) as red:
        files = CORE + (DASHBOARDS if "ui-chart" in red.types else [])
        for name in files:
            nodes = flow(name, broker.port)
            assert {node["type"] for node in nodes} - {"tab", "group", "junction"} <= red.types
            red.deploy(*nodes)
        red.deploy(*(node for name in files for node in flow(name, broker.port)))
        waited(lambda: red.log.count("Connected to broker") > len(files) / 2, f"connections:\n{red.log}")
        assert_no_complaints(red)


# --- commands and answers -----------------------------------------------------------------------------------


def test_a_relay_is_switched_and_the_answer_shown(world: World) -> None:
    for button, level in (("relay 2.01 on", 1), ("relay 2.01 off", 0)):
        assert world.ask(UNIPI, button).startswith("done")
        assert world.unipi.state["values"]["ro/2_01"] == level
    assert world.ask(UNIPI, "output 2.01 to 3.3 V").startswith("done")
    assert world.unipi.state["values"]["ao/2_01"] == pytest.approx(3.3, abs=0.003)
    assert world.ask(UNIPI, "relay 2.02 for 3 s").startswith("done")
    assert "relay 2.02 for 3 s: accepted, ro/2_02 is ON" in world.red.answers(UNIPI)


def test_what_is_refused_is_shown_with_its_sentence(world: World) -> None:
    assert world.ask(UNIPI, "refused: 99 V") == "rejected, 99 is above the maximum of 10 V"
    assert world.ask(IM7, "refused: no data rate").startswith("rejected, parameter output_data_rate")
    assert world.ask(IM7, "the preset rest").startswith("rejected, ")
    assert world.ask(INSPECT, "refused: not an image").startswith("rejected, ")
    assert world.ask(OBSERVATORY, "refused: steps a lot").startswith("rejected, ")
    assert world.ask(BRIDGE, "announce everything again").startswith("done")


def test_nobody_answers_while_the_bridge_is_away(world: World) -> None:
    world.daemon.kill()
    waited(lambda: not world.available(UNIPI), "the flow knows that the bridge is gone")
    red, alarm = world.red, node_named("bridge", "offline for long?")
    waited(lambda: red.node_context(alarm, "seen")["_bridge/demo"]["alarmed"], "the alarm")
    assert world.ask(UNIPI, "relay 2.01 on").startswith("no answer")
    world.daemon.start()
    waited(lambda: world.available(UNIPI), "the flow knows that the bridge is back")
    waited(lambda: not red.node_context(alarm, "seen")["_bridge/demo"]["alarmed"], "the end of the alarm")
    assert world.unipi.state["values"]["ro/2_01"] == 0  # nobody executed it later


def test_a_job_is_started_watched_and_stopped(world: World) -> None:
    before = len(world.red.answers(IM7))
    world.red.press(IM7, "rest potential, 20 s")
    waited(lambda: any("accepted" in one for one in world.red.answers(IM7)[before:]), "the start")
    assert world.ask(IM7, "stop what runs").startswith("done")
    assert world.answered(IM7, "rest potential, 20 s", before).startswith("failed")

    def stopped() -> bool:
        jobs = list((world.red.context(IM7, "jobs") or {}).values())
        return [(job["name"], job["state"]) for job in jobs] == [("rest potential", "stopped")]

    waited(stopped, "the list of jobs")


def test_a_voltammogram_is_taken(world: World) -> None:
    before = len(world.red.answers(IM7))
    world.red.press(IM7, "voltammogram, 20 s")
    waited(lambda: any("accepted" in one for one in world.red.answers(IM7)[before:]), "the start")
    assert world.ask(IM7, "stop what runs").startswith("done")
    assert world.answered(IM7, "voltammogram, 20 s", before).startswith("failed")


def test_a_file_that_arrives_is_imported(world: World) -> None:
    (world.images / "part-ok.jpg").write_bytes(b"a picture")
    (world.images / "notes.txt").write_bytes(b"no picture")
    assert world.answered(INSPECT, "part-ok.jpg").startswith("done")
    imports = json.dumps(world.inspect.state)
    assert "D:/images/part-ok.jpg" in imports
    assert "notes" not in imports


def test_an_import_that_waits_is_cancelled(world: World) -> None:
    world.red.press(INSPECT, "a slow one, 5 s")
    waited(lambda: world.observer.document("inspect/state/import/running").get("value"), "it runs")
    before = len(world.red.answers(INSPECT))
    world.red.press(INSPECT, "elements")
    waited(lambda: world.red.context(INSPECT, "waiting_jobs"), "the second waits")
    world.red.press(INSPECT, "cancel the newest")
    assert world.answered(INSPECT, "elements", before).startswith("superseded")
    assert world.answered(INSPECT, "a slow one, 5 s").startswith("done")


# --- rules --------------------------------------------------------------------------------------------------


def test_the_lamp_follows_the_door_and_no_deploy_switches_it(world: World) -> None:
    def door(level: int) -> None:
        world.unipi.get(f"_fault/set_input?circuit=1_01&value={level}")
        shown = "io/state/di/1_01"  # a shorter opening is none: Evok scans
        waited(lambda: world.observer.document(shown).get("value") is bool(level), f"the door is {level}")

    def lamp(level: int) -> None:
        waited(lambda: world.unipi.state["values"]["ro/2_04"] == level, f"the lamp is {level}")

    for level in (1, 0, 1):
        door(level)
        lamp(level)
    assert world.observer.command("io/set/ro/2_04", {"value": False})["outcome"] == "done"  # by hand
    world.deploy()  # the open door is retained
    waited(lambda: world.red.context(UNIPI, "values"), "the retained values are there")
    assert world.ask(UNIPI, "relay 2.01 off").startswith("done")  # whatever the rule sent came before
    lamp(0)
    door(0)
    door(1)
    lamp(1)


def test_an_evening_begins_when_nothing_speaks_against_it(world: World) -> None:
    start = node_named("ost", "start tonight?")
    waited(lambda: (world.red.node_context(start, "seen") or {}).get("heard"), "fresh weather")
    world.red.press(OBSERVATORY, "every minute")  # nobody armed it
    world.red.press(OBSERVATORY, "try it: as if dark and dry")
    assert world.answered(OBSERVATORY, "open the roof").startswith("done")
    assert world.answered(OBSERVATORY, "start the planner").startswith("done")
    executed = json.dumps(world.observatory.state["executed"])
    assert executed.index("MyParkmanager") < executed.index("MyPlanner")


def test_rain_stops_and_closes(world: World) -> None:
    assert world.ask(OBSERVATORY, "focuser: 1500 steps").startswith("done")
    assert world.observatory.state["modules"]["MyFocuser"]["parameters"]["steps"] == 1500
    opened = world.observer.command("dome/call/MyParkmanager/actions/open", {"args": {}})
    assert opened["outcome"] == "done"
    roof = "dome/state/MyParkmanager/domestate/shutterclosed"
    waited(lambda: world.observer.document(roof).get("value") is False, "the roof is open")
    world.observatory.get("_fault/rain")
    assert world.answered(OBSERVATORY, "rain: MyParkmanager/actions/close").startswith("done")
    waited(lambda: world.observer.document(roof).get("value") is True, "the roof is closed")


def test_after_a_broker_restart_everything_works_again(world: World) -> None:
    connected = world.red.log.count("Connected to broker")
    world.broker.restart()
    waited(lambda: world.red.log.count("Connected to broker") > connected, "Node-RED is back", 60.0)
    waited(lambda: world.observer.retained("io/status") == b"online", "the bridge is back", 60.0)
    assert world.ask(UNIPI, "relay 2.01 on").startswith("done")
    assert world.unipi.state["values"]["ro/2_01"] == 1


# --- rain that is no news: no bridge, only what the broker keeps or brings -------------------------------------


def weather(value: str, age: float = 0.0, **more: object) -> dict[str, object]:
    time = datetime.now(UTC) - timedelta(seconds=age)
    return {"value": value, "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **more}


def test_rain_that_the_broker_kept_or_that_is_late_closes_nothing(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Observer(broker.port) as observer, NodeRed(tmp_path) as red:
        node = node_named("ost", "rain now?")

        def told() -> Callable[[], bool]:
            """Until the node has seen one more."""
            seen = red.log.count("[debug:rain: your messenger]")
            return lambda: red.log.count("[debug:rain: your messenger]") > seen

        observer.publish(RAIN, weather("error"), retain=True)
        nodes = flow("ost", broker.port)
        for one in nodes:
            if one.get("name") == "rain: your messenger":
                one["console"] = True  # what is told stands in the log
        heard = told()
        red.deploy(*nodes)
        waited(heard, f"word of the retained rain:\n{red.log[-2000:]}")
        for stale in (weather("error", cached=True), weather("error", age=600.0)):
            heard = told()
            observer.publish(RAIN, stale)
            waited(heard, f"word of {stale}")
        assert observer.on(CLOSE) == []
        assert red.node_context(node, "rains") in (None, {})
        observer.publish(RAIN, weather("error"), retain=True)  # now it rains
        observer.until(lambda: observer.on(CLOSE), what="the roof is closed")
        assert not any(one.retain for one in observer.on(CLOSE))
        assert_no_complaints(red)
