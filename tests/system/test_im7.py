"""The IM7 over MQTT: jobs, live rows and results; what cables, daemons and brokers that fail do to them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.system.im7_world import World, cv
from tests.system.processes import waited
from tests.system.world import side_by_side, together

AWAY = 3.0  # seconds
PROTOCOLS = ("12", "7", "2")  # results by a binary frame, by base64, by base64 of the oldest firmware

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def answered_once(world: World, id_: str, outcome: str = "done") -> None:
    """`accepted`, then one final answer, and nothing started twice."""
    final = world.observer.answer(id_, 20.0)
    assert final["outcome"] == outcome, final
    assert [answer["outcome"] for answer in world.observer.answers(id_)] == ["accepted", outcome]
    started_once(world, id_)


def started_once(world: World, *ids: str) -> None:
    assert world.im7.starts() == list(ids)


# --- how it should be --------------------------------------------------------------------------------------


def voltammogram(protocol: str, directory: Path) -> None:
    with World(directory, ["--protocol", protocol, "--loss", "0", "--live-rows", "10000"]) as world:
        id_, job = world.start(cv(3.0))
        answered_once(world, id_)
        rows = world.shipped(job)
        assert rows.shape == (15_000, 4)
        assert world.job(job)["manifest"]["parts"] > 1
        assert world.job(job)["state"] == "finished"

        observer = world.observer
        states = [one.json["state"] for one in observer.on(f"cell/job/{job}")]
        assert [state for state in dict.fromkeys(states) if state != "queued"] == ["running", "finished"]
        blocks = [one.json for one in observer.on(f"cell/data/{job}/live")]
        assert len(blocks) > 10  # 15 000 rows, at most 500 in one
        offsets = np.cumsum([0, *(len(block["columns"]["time"]) for block in blocks)])
        assert [block["offset"] for block in blocks] == offsets[:-1].tolist()
        live = np.concatenate([np.array(list(block["columns"].values())).T for block in blocks])
        np.testing.assert_array_equal(live, rows)  # this instrument lost none of them
        observer.until(lambda: observer.document("cell/state/live/time")["value"] == rows[-1, 0])
        assert observer.document("cell/state/job/state")["value"] == "finished"
        assert observer.document("cell/state/job/name")["value"] == "sample A"


def test_a_voltammogram_from_its_start_to_its_rows(tmp_path: Path) -> None:
    for protocol in PROTOCOLS:
        (tmp_path / protocol).mkdir()
    together({f"protocol {each}": partial(voltammogram, each, tmp_path / each) for each in PROTOCOLS})


def progress(directory: Path) -> None:
    with World(directory) as world:
        id_, _ = world.start(cv(3.0, 50.0))
        answered_once(world, id_)
        world.observer.until(lambda: world.observer.document("cell/state/job/progress")["value"] == 100.0)
        said = [one.json["value"] for one in world.observer.on("cell/state/job/progress")]
        percents = [percent for percent in said if percent is not None]
        assert percents == sorted(percents)
        assert sum(0.0 < percent <= 99.0 for percent in percents) > 2


def stopped_by_its_id(directory: Path) -> None:
    with World(directory) as world:
        id_, job = world.start(cv(30.0))
        world.until_measuring(job)
        other = world.call("job_stop", job_id="nobody")
        assert other["outcome"] == "rejected", other
        assert world.im7.state["stops"] == 0
        stop = world.call("job_stop", job_id=job)
        assert (stop["outcome"], stop["data"]) == ("done", {"job_id": job, "state": "stopped"})
        answered_once(world, id_, "failed")
        rows = world.shipped(job)
        assert 100 < len(rows) < 100_000
        assert world.job(job)["state"] == "stopped"


def told_by_the_device_what_is_wrong(directory: Path) -> None:
    with World(directory) as world:
        wrong = cv(3.0)
        wrong["parameters"]["scan_rate"] = 123456.0
        answer = world.call("job_start", job=wrong)
        assert answer["outcome"] == "rejected"
        assert "parameter 'scan_rate' is 123456.0, the maximum is 10000.0" in answer["detail"]
        assert answer["data"]["code"] == "PARAMETER_VALUE_TOO_HIGH"
        missing = cv(3.0)
        del missing["parameters"]["scan_rate"]
        assert "scan_rate" in world.call("job_start", job=missing)["detail"]
        started_once(world)


def test_progress_stops_and_the_devices_own_words(tmp_path: Path) -> None:
    side_by_side(tmp_path, progress, stopped_by_its_id, told_by_the_device_what_is_wrong)


# --- what happens in mid-job -------------------------------------------------------------------------------


def cable_cut(directory: Path, seconds: float = AWAY) -> None:
    """The job goes on, and its live rows are seen again."""
    with World(directory) as world:
        id_, job = world.start(cv(seconds + 5.0))
        world.until_measuring(job)
        world.cut(seconds)
        world.until_measuring(job, time.monotonic())
        answered_once(world, id_)
        world.shipped(job)


def cable_cut_until_the_job_is_over(directory: Path) -> None:
    with World(directory) as world:
        id_, job = world.start(cv(2.0))
        world.until_measuring(job)
        world.cut(AWAY)
        answered_once(world, id_)
        world.shipped(job)


def cable_cut_while_the_result_comes(directory: Path) -> None:
    """Of the old way, one frame of base64: half of it is of no use, and it is asked for again."""
    with World(directory, ["--protocol", "7", "--loss", "1"]) as world:
        id_, job = world.start(cv(2.0, 50_000.0))  # 3.2 MB
        world.cable.limit(1e6)
        waited(lambda: world.im7.state["fetched"].get(job), "the result to be asked for")
        time.sleep(0.5)
        world.cut(0.5)
        world.cable.limit(0.0)
        answered_once(world, id_)
        world.shipped(job)
        assert world.im7.state["fetched"][job] == 2


def start_whose_answer_is_lost(directory: Path) -> None:
    with World(directory) as world:
        world.im7.fault("lose_reply")
        id_, job = world.start(cv(2.0))
        answered_once(world, id_)
        world.shipped(job)


def daemon_killed_and_back_after_the_job(directory: Path) -> None:
    """Nobody is left to answer; the job's topic ends truthfully."""
    with World(directory) as world:
        id_, job = world.start(cv(2.0))
        world.until_measuring(job)
        world.daemon.kill()
        assert world.job(job)["state"] == "running"
        world.until_ended(job)
        world.restart_daemon()
        world.shipped(job)
        assert world.job(job)["state"] == "finished"
        assert world.job(job)["command"] == id_
        assert world.observer.finals([id_]) <= 1
        started_once(world, id_)


def daemon_killed_and_back_during_the_job(directory: Path) -> None:
    with World(directory) as world:
        id_, job = world.start(cv(8.0))
        world.until_measuring(job)
        world.daemon.kill()
        world.restart_daemon()
        world.until_measuring(job, time.monotonic())
        world.shipped(job)
        assert world.job(job)["state"] == "finished"
        started_once(world, id_)


def daemon_killed_while_it_publishes(directory: Path) -> None:
    """What was stored is published again, from the same file."""
    with World(directory, ["--loss", "1"]) as world:
        id_, job = world.start(cv(2.0, 50_000.0))  # 13 parts
        world.uplink.limit(1e6)
        world.observer.until(lambda: world.observer.on(f"cell/data/{job}/part/1"), 20.0)
        world.daemon.kill()
        world.uplink.limit(0.0)
        assert not world.observer.on(f"cell/data/{job}/manifest")
        world.restart_daemon()
        world.shipped(job)
        assert len(world.observer.on(f"cell/data/{job}/part/0")) == 2
        assert (world.job(job)["state"], world.job(job)["command"]) == ("finished", id_)
        started_once(world, id_)


def broker_restarted(directory: Path) -> None:
    """One that forgets everything, and nobody else notices."""
    with World(directory) as world:
        id_, job = world.start(cv(6.0))
        world.until_measuring(job)
        world.broker.restart()
        world.until_measuring(job, time.monotonic())
        answered_once(world, id_)
        world.shipped(job)


def broker_away_at_the_end(directory: Path) -> None:
    with World(directory) as world:
        id_, job = world.start(cv(2.0))
        world.until_measuring(job)
        world.uplink.refuse()
        world.uplink.cut()
        world.until_ended(job)
        time.sleep(1.0)
        world.uplink.accept()
        answered_once(world, id_)
        world.shipped(job)


def test_a_result_survives_what_happens_to_the_cable(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        cable_cut,
        cable_cut_until_the_job_is_over,
        cable_cut_while_the_result_comes,
        start_whose_answer_is_lost,
    )


def test_a_result_survives_the_death_of_the_daemon(tmp_path: Path) -> None:
    side_by_side(
        tmp_path,
        daemon_killed_and_back_after_the_job,
        daemon_killed_and_back_during_the_job,
        daemon_killed_while_it_publishes,
    )


def test_a_result_survives_what_happens_to_the_broker(tmp_path: Path) -> None:
    side_by_side(tmp_path, broker_restarted, broker_away_at_the_end)
