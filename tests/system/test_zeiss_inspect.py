"""Imports through broker, daemon and INSPECT server, with each of them killed: what was sent is imported once.

All scenarios run against our simulator, and against the genuine script where LAB2MQTT_INSPECT_SCRIPT starts it
(tests/system/zeiss_server.py). LAB2MQTT_LONG_TESTS=1 adds imports of 30 and 70 s with the times that hold in use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system.observer import Observer
from tests.system.processes import waited
from tests.system.proxy import Way
from tests.system.world import together
from tests.system.zeiss_server import FOLDER, SCRIPT, Genuine, Simulator, StartServer
from tests.system.zeiss_world import BRISK, World, wish

SLACK = 1.0  # seconds from the end of an import to its answer, on a loaded machine
IMPATIENT = ("--keepalive", "0.4")  # the server gives up clients whose pongs an import keeps from being read
Scenario = Callable[[StartServer, Path], None]

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


@pytest.fixture(params=["simulator", "genuine"])
def server(request: pytest.FixtureRequest) -> StartServer:
    if request.param == "simulator":
        return Simulator
    if not SCRIPT:
        pytest.skip("LAB2MQTT_INSPECT_SCRIPT does not say how to start the genuine script")
    return Genuine


def at_once(server: StartServer, directory: Path, *scenarios: Scenario) -> None:
    """Run them side by side, each with a world of its own: they wait more than they work."""
    runs = {}
    for scenario in scenarios:
        (own := directory / scenario.__name__).mkdir()
        runs[scenario.__name__] = partial(scenario, server, own)
    together(runs)


# --- answers ----------------------------------------------------------------------------------------------


def imports_longer_than_any_ping_get_one_answer(server: StartServer, directory: Path) -> None:
    with World(server, directory, simulator=IMPATIENT) as world:
        for seconds in (1, 3):
            id_ = world.send(f"slow{seconds}")
            assert world.outcome(id_) == "done"
            duration = world.observer.answer(id_)["data"]["duration"]
            assert seconds <= duration <= seconds + SLACK
            job = world.until_job(id_, "done")
            assert job["duration"] == duration
            assert [answer["outcome"] for answer in world.observer.answers(id_)] == ["accepted", "done"]
        world.until_link("ready")
        assert world.shown("import/last") == "done"
        world.assert_imports(2)


def each_answer_of_the_server_has_its_outcome(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        assert world.outcome(world.send("ok", name="Fresh")) == "done"
        assert world.outcome(world.send("fail")) == "failed"
        missing = world.send("missing")
        assert world.outcome(missing) == "rejected"
        assert "could not be read" in world.until_job(missing, "rejected")["detail"]  # as the server said
        elements = {"file": f"{FOLDER}/ok.gxml", "import_mode": "clipboard"}
        assert world.call("import_elements", **elements)["outcome"] == "done"
        assert world.call("import_elements", **{**elements, "import_mode": "twice"})["outcome"] == "rejected"
        assert world.call("import_image", file="/etc/passwd", name="x", focal_length=1)["outcome"] == "rejected"
        assert world.inspect.imports == 3


def second_asker_waits_for_the_first_and_is_told_so(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world, Observer(world.broker.port) as second:
        second.until(lambda: second.retained("inspect/status"), what="the second asker's subscription")
        first = world.begun("slow2")
        waiting = second.send("inspect/call/import_image", wish("ok"))
        second.until(lambda: second.answers(waiting))
        told = second.answers(waiting)[0]
        assert (told["outcome"], told["data"]["place"]) == ("accepted", 1)
        world.observer.until(lambda: world.shown("import/queue") == 1)  # it comes on another connection
        assert world.until_job(waiting, "queued")["args"]["file"] == f"{FOLDER}/ok.jpg"
        third = world.accepted("ok")
        assert world.call("cancel", job=first)["outcome"] == "rejected"
        assert world.call("cancel", job=third)["outcome"] == "done"
        assert world.outcome(third) == "superseded"
        assert world.outcome(waiting) == "done"
        assert world.outcome(first) == "done"
        world.assert_imports(2)


def server_at_work_for_somebody_else_is_waited_for(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world, world.stranger("slow7"):
        id_ = world.accepted("ok")
        world.until_link("busy_elsewhere", 6.0, reason="somebody else")
        assert world.job(id_)["state"] == "queued"
        assert world.outcome(id_) == "done"
        world.until_link("ready")
        world.assert_imports(1, others=1)


def server_at_work_for_somebody_else_is_not_reached(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world, world.stranger("slow3"):
        world.cable.cut()
        world.until_link("busy_elsewhere")
        assert world.outcome(world.send("ok")) == "unavailable"
        world.until_link("ready")
        world.assert_imports(0, others=1)


def overdue_answer_is_waited_for_or_given_up(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        id_ = world.begun("slow3", timeout=1)
        waiting = world.accepted("ok")
        assert world.outcome(id_) == "unknown"
        world.until_link("stuck")
        assert world.outcome(world.send("ok")) == "unavailable"
        assert world.until_job(id_, "done")["late"] is True
        assert world.outcome(waiting) == "done"
        world.until_link("ready")
        world.assert_imports(2)

        id_ = world.begun("slow3", timeout=1)
        waiting = world.accepted("ok")
        world.until_link("stuck")
        assert world.call("reset")["outcome"] == "done"
        assert world.outcome(waiting) == "unavailable"
        world.until_link("ready")
        assert world.until_job(id_, "unknown").get("late") is None
        assert world.outcome(world.send("ok")) == "done"
        world.assert_imports(4)


def quit_needs_to_be_allowed(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        answer = world.call("quit")
        assert answer["outcome"] == "rejected"
        assert "allow" in answer["detail"]
        assert world.call("reset")["outcome"] == "done"
        assert world.outcome(world.send("ok")) == "done"
        world.assert_imports(1)


def quit_ends_the_conversation(server: StartServer, directory: Path) -> None:
    allowed = f'{BRISK}\nallow = ["import_image", "quit"]'
    with World(server, directory, allowed) as world:
        assert world.call("cancel", job="x")["outcome"] == "rejected"  # not in the list
        busy = world.begun("slow1")
        assert world.call("quit")["outcome"] == "rejected"
        assert world.outcome(busy) == "done"
        answer = world.call("quit")
        assert (answer["outcome"], answer["data"]["reply"]) == ("done", "bye")
        world.until_link("ready")  # the script as it is goes on serving
        world.assert_imports(1)


def preset_is_a_call_with_its_arguments(server: StartServer, directory: Path) -> None:
    preset = f"""
[devices.inspect.presets.reference]
action = "import_elements"
args = {{ file = "{FOLDER}/ok.gxml", import_mode = "new_stage" }}
"""
    with World(server, directory, BRISK + preset) as world:
        answer = world.call("preset/reference")
        assert answer["outcome"] == "done"
        assert world.until_job(answer["id"], "done")["args"]["import_mode"] == "new_stage"
        answer = world.call("preset/reference", import_mode="clipboard")
        assert answer["outcome"] == "done"
        assert world.until_job(answer["id"], "done")["args"]["import_mode"] == "clipboard"
        world.assert_imports(2)


def test_each_import_gets_the_answer_that_is_true(server: StartServer, tmp_path: Path) -> None:
    at_once(
        server,
        tmp_path,
        imports_longer_than_any_ping_get_one_answer,
        each_answer_of_the_server_has_its_outcome,
        second_asker_waits_for_the_first_and_is_told_so,
        server_at_work_for_somebody_else_is_waited_for,
        server_at_work_for_somebody_else_is_not_reached,
        overdue_answer_is_waited_for_or_given_up,
        quit_needs_to_be_allowed,
        quit_ends_the_conversation,
        preset_is_a_call_with_its_arguments,
    )


# --- deaths -----------------------------------------------------------------------------------------------


def server_killed_in_the_middle(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        running = world.begun("slow5")
        waiting = world.accepted("ok")
        world.kill_server()
        assert world.outcome(running) == "unknown"
        assert world.outcome(waiting) == "unavailable"
        world.until_link("offline", reason="nobody listens")
        world.start_server()
        world.until_link("ready")
        assert "look in ZEISS INSPECT" in world.until_job(running, "unknown")["detail"]
        assert "not sent" in world.until_job(waiting, "unavailable")["detail"]
        world.assert_imports(1)
        assert world.outcome(world.send("ok")) == "done"
        world.assert_imports(2)


def server_killed_before_anything_was_sent(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        with world.stranger("slow5"):
            waiting = world.accepted("ok")
            world.kill_server()
        assert world.outcome(waiting) == "unavailable"
        world.until_link("offline")
        assert world.outcome(world.send("ok")) == "unavailable"
        world.start_server()
        world.until_link("ready")
        world.until_job(waiting, "unavailable")
        world.until_quiet()
        world.assert_imports(0, others=1)


def daemon_killed_in_the_middle(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        running, waiting = "the-running-one", "the-waiting-one"
        world.begun("slow2", id=running)
        world.accepted("ok", id=waiting)
        world.daemon.kill()
        assert world.job(running)["state"] == "running"
        world.start_daemon()
        assert "look in ZEISS INSPECT" in world.until_job(running, "unknown")["detail"]
        assert "not sent" in world.until_job(waiting, "unavailable")["detail"]
        world.until_link("ready")
        for id_, stem in ((running, "slow2"), (waiting, "ok")):  # repeated, it is not carried out again
            world.send(stem, id=id_)
            assert world.outcome(id_) == "unknown"
        world.until_quiet()
        world.assert_imports(1)
        assert world.outcome(world.send("ok")) == "done"
        world.assert_imports(2)


def daemon_killed_at_any_moment(server: StartServer, directory: Path) -> None:
    """From the command's arrival to a little after its import began: what is told is never better than what is."""
    with World(server, directory) as world:
        for delay in (0.004, 0.010, 0.014, 0.018, 0.022):  # seconds
            before = world.inspect.imports
            id_ = world.send("slow1")
            time.sleep(delay)
            world.daemon.kill()
            world.start_daemon()
            began, state = world.inspect.imports - before, world.until_over(id_)
            assert (began, state) in ((1, "unknown"), (0, "unknown"), (0, "unavailable"), (0, None)), delay
            assert "done" not in [answer["outcome"] for answer in world.observer.answers(id_)]


def daemon_stopped_in_the_middle(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        running = world.begun("slow2")
        waiting = world.accepted("ok")
        world.daemon.terminate()
        assert world.daemon.ended() == 0
        assert world.outcome(running) == "unknown"
        assert world.outcome(waiting) == "unavailable"
        world.start_daemon()
        world.until_job(running, "unknown")
        world.until_job(waiting, "unavailable")
        world.assert_imports(1)


def line_cut_in_the_middle(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        running = world.begun("slow2")
        waiting = world.accepted("ok")
        world.cable.cut(reset=True)
        assert world.outcome(running) == "unknown"
        assert world.outcome(waiting) == "unavailable"
        world.until_link("busy_elsewhere")  # with what we started
        world.until_link("ready")
        world.until_job(running, "unknown")
        world.assert_imports(1)


def broker_killed_in_the_middle(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        running = world.begun("slow2")
        world.broker.kill()
        time.sleep(2.5)  # so that the import ends while nobody can be told
        world.broker.start()
        assert world.until_job(running, "done")["duration"] >= 2
        # The answer went where nobody had subscribed yet, perhaps; whoever repeats the command gets it.
        world.send("slow2", id=running)
        world.observer.until(lambda: world.observer.finals([running]))
        assert world.observer.answers(running)[-1]["outcome"] == "done"
        world.until_link("ready")
        assert world.inspect.imports == 1


def test_what_was_sent_is_imported_once_whoever_dies(server: StartServer, tmp_path: Path) -> None:
    at_once(
        server,
        tmp_path,
        server_killed_in_the_middle,
        server_killed_before_anything_was_sent,
        daemon_killed_in_the_middle,
        daemon_killed_at_any_moment,
        daemon_stopped_in_the_middle,
        line_cut_in_the_middle,
        broker_killed_in_the_middle,
    )


# --- repetition -------------------------------------------------------------------------------------------


def refused(world: World) -> list[str]:
    """The kinds of messages that the bridge told of and did not carry out."""
    return [one.json["kind"] for one in world.observer.on("_bridge/gate/event/refused")]


def same_id_twice(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        world.begun("slow1", id="part-7")
        world.send("slow1", id="part-7")  # while it runs
        assert world.outcome("part-7") == "done"
        world.until_quiet()
        finals = world.observer.finals(["part-7"])
        world.send("slow1", id="part-7")  # and when it has ended
        world.observer.until(lambda: world.observer.finals(["part-7"]) > finals)
        assert {one["outcome"] for one in world.observer.answers("part-7") if one["final"]} == {"done"}
        world.send("ok", id="part-7")
        world.observer.until(lambda: world.observer.answers("part-7")[-1]["outcome"] == "rejected")
        world.assert_imports(1)


def retained_command(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        topic = "inspect/call/import_image"
        world.observer.publish(topic, {"id": "kept", **wish("ok")}, retain=True)
        world.observer.until(lambda: refused(world) == ["retained"], what=lambda: refused(world))
        for _ in range(2):  # and not when it is delivered to a new connection either
            world.daemon.kill()
            world.start_daemon()
        assert world.outcome(world.send("ok")) == "done"
        assert world.observer.answers("kept") == []
        world.assert_imports(1)


def expired_command(server: StartServer, directory: Path) -> None:
    with World(server, directory) as world:
        old = datetime.fromtimestamp(time.time() - 20, UTC).isoformat()
        assert world.outcome(world.send("ok", sent=old, expires=5)) == "expired"
        running = world.begun("slow2")
        assert world.outcome(world.accepted("ok", expires=1)) == "expired"  # waiting for its turn
        assert world.job(running)["state"] == "running"
        assert world.outcome(running) == "done"
        world.until_quiet()
        world.assert_imports(1)


def redelivery_by_the_broker(server: StartServer, directory: Path) -> None:
    """The broker never gets the acknowledgement, loses the connection and sends again, with DUP set."""
    with World(server, directory) as world:
        world.uplink.stall(Way.UP)
        named = world.observer.send("inspect/call/import_image", wish("slow1"))
        world.observer.publish("inspect/call/import_image", wish("ok"))  # without an id
        waited(lambda: world.inspect.imports == 2, "both imports")
        world.uplink.cut()
        world.uplink.flow()
        waited(lambda: "PUBLISH to lab2mqtt-gate (d1, q1" in world.broker.log, "a second delivery")
        assert world.observer.answer(named)["outcome"] == "done"
        world.observer.until(lambda: refused(world) == ["duplicate"], what=lambda: refused(world))
        assert world.outcome(world.send("ok")) == "done"
        world.until_quiet()
        assert world.inspect.imports == 3


def test_a_repetition_imports_nothing(server: StartServer, tmp_path: Path) -> None:
    at_once(server, tmp_path, same_id_twice, retained_command, expired_command, redelivery_by_the_broker)


# --- long -------------------------------------------------------------------------------------------------


def long_import(seconds: int, server: StartServer, directory: Path) -> None:
    with World(server, directory, device="") as world:
        id_ = world.send(f"slow{seconds}")
        assert world.outcome(id_, seconds + 10.0) == "done"
        answer = world.observer.answer(id_)
        assert seconds <= answer["data"]["duration"] <= seconds + SLACK
        world.until_job(id_, "done")
        world.until_quiet(3.0)
        world.until_link("ready")
        world.assert_imports(1)
        print(f"{seconds} s: {answer['data']['duration']} s")


def idle_daemon_notices_somebody_else(server: StartServer, directory: Path) -> None:
    with World(server, directory, device="") as world, world.stranger("slow30"):
        world.until_link("busy_elsewhere", 22.0)
        world.until_link("ready", 30.0)
        world.assert_imports(0, others=1)


@pytest.mark.skipif(os.environ.get("LAB2MQTT_LONG_TESTS") != "1", reason="LAB2MQTT_LONG_TESTS=1: 75 s")
def test_the_times_of_real_imports(server: StartServer, tmp_path: Path) -> None:
    scenarios: dict[str, Any] = {f"{seconds} s": partial(long_import, seconds) for seconds in (5, 30, 70)}
    scenarios["idle"] = idle_daemon_notices_somebody_else
    runs = {}
    for name, scenario in scenarios.items():
        (own := tmp_path / name.replace(" ", "")).mkdir()
        runs[name] = partial(scenario, server, own)
    together(runs)
