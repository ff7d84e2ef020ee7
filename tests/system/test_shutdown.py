"""The ends of the daemon: asked to stop in every situation, and not even begun."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.system.mosquitto import free_port
from tests.system.processes import Daemon, assert_no_faults, configuration, waited
from tests.system.world import World, meanwhile

STOPPED = 5.0  # seconds from SIGTERM to the end of the process

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def test_a_stop_says_offline_for_all_and_at_once(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        since = time.monotonic()
        world.daemon.terminate()
        assert world.daemon.ended(STOPPED) == 0
        took = time.monotonic() - since
        for topic in ("_bridge/gate/status", "io/status"):
            world.observer.until_retained(topic, b"offline", 1.0)
        assert world.observer.document("io/link")["state"] == "offline"
        assert world.observer.document("io/link")["reason"] == "this bridge has stopped"
        offline = [one for one in world.observer.on("_bridge/gate/status", since) if one.payload == b"offline"]
        assert len(offline) == 1  # said, and not by the will
        last = world.observer.on("#", since)[-1]
        assert last.topic.endswith("_bridge/gate/status")
        assert took < 2.0
        waited(lambda: world.evok.state["connections"] == 0, "the instrument to be left alone")


def test_a_stop_with_commands_under_way_answers_all_of_them(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        pulse = world.observer.send("io/call/pulse", {"args": {"point": "ro/2_01", "seconds": 30}})
        world.observer.until(lambda: world.observer.answers(pulse))
        ids = [world.observer.send(f"io/set/ao/2_0{n % 4 + 1}", {"value": n / 10}) for n in range(40)]
        world.observer.until(lambda: world.observer.answers(ids[3]))
        world.daemon.terminate()
        assert world.daemon.ended(STOPPED) == 0
        world.start("daemon")
        world.until_right(8.0)
        for id_ in [pulse, *ids]:
            finals = [answer for answer in world.observer.answers(id_) if answer["final"]]
            assert len(finals) == 1, (id_, finals, world.observer.answers(id_))
        waited(lambda: world.evok.values()["ro/2_01"] == 0, "the pulse to be ended by the next life")


def test_a_stop_under_a_flood_of_commands_says_offline_last_and_keeps_no_answer_to_itself(tmp_path: Path) -> None:
    with World(tmp_path, ["max_queued_messages 0"]) as world:
        ids: list[str] = []

        def flood() -> None:
            while world.daemon.runs:
                ids.extend(world.observer.send("io/set/ao/2_01", {"value": n}) for n in range(5))
                time.sleep(0.01)

        with meanwhile(flood):
            world.observer.until(lambda: world.observer.finals(ids[:100]) == 100)
            since = time.monotonic()
            world.daemon.terminate()
            assert world.daemon.ended(STOPPED) == 0
        world.observer.until_retained("_bridge/gate/status", b"offline", 2.0)
        own = [one for one in world.observer.on("#", since) if "/set/" not in one.topic]
        assert own[-1].topic.endswith("_bridge/gate/status")
        journal = sqlite3.connect(tmp_path / "state" / "journal.db")
        kept = {id_ for (id_,) in journal.execute("SELECT id FROM commands WHERE final")}
        journal.close()
        assert kept <= {one.json["id"] for one in world.observer.on("io/reply/ao/2_01")}


@pytest.mark.parametrize(
    "situation", ["broker dead", "broker stalled", "device stalled", "device away", "both stalled"]
)
def test_a_stop_ends_whatever_the_others_do(situation: str, tmp_path: Path) -> None:
    with World(tmp_path) as world:
        match situation:
            case "broker dead":
                world.broker.kill()
                world.logged("no connection to the broker")
            case "broker stalled":
                world.broker.suspend()
            case "device stalled":
                world.evok.suspend()
            case "both stalled":
                world.evok.suspend()
                world.observer.send("io/set/ro/2_01", {"value": True})  # which nobody will answer
                time.sleep(0.2)
                world.broker.suspend()
            case "device away":
                world.evok.kill()
                world.observer.until_retained("io/status", b"offline")
        world.daemon.terminate()
        assert world.daemon.ended(STOPPED) == 0
        if situation in ("device stalled", "device away"):
            world.observer.until_retained("_bridge/gate/status", b"offline", 1.0)
        if situation in ("broker stalled", "both stalled"):
            world.broker.resume()
        if situation in ("device stalled", "both stalled"):
            world.evok.resume()


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.2])
def test_a_second_signal_does_no_harm(pause: float, tmp_path: Path) -> None:
    """A terminal and a wrapper both pass on Ctrl-C; the second one must not cut the first one's work short."""
    with World(tmp_path) as world:
        world.observer.send("io/call/pulse", {"args": {"point": "do/1_01", "seconds": 1}})
        world.daemon.terminate()
        time.sleep(pause)
        if world.daemon.runs:
            world.daemon.terminate()
        assert world.daemon.ended(STOPPED) == 0
        for topic in ("_bridge/gate/status", "io/status"):
            world.observer.until_retained(topic, b"offline", 1.0)


def test_a_stop_before_anything_was_reached(tmp_path: Path) -> None:
    with Daemon(tmp_path, configuration(free_port(), free_port())) as daemon:
        waited(lambda: "started" in daemon.log, "the start")
        daemon.terminate()
        assert daemon.ended(STOPPED) == 0
    assert_no_faults(daemon)


def test_a_word_of_a_new_configuration_that_comes_too_soon_is_heard_in_time(tmp_path: Path) -> None:
    with Daemon(tmp_path, configuration(free_port(), free_port())) as daemon:
        status = Path(f"/proc/{daemon.pid}/status")

        def blocked() -> bool:
            masks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigBlk")]
            return bool(int(masks[0], 16) & 1 << (signal.SIGHUP - 1))

        waited(blocked, "its first line")
        os.kill(daemon.pid, signal.SIGHUP)
        waited(lambda: "configuration reloaded" in daemon.log, "the reload")
        daemon.terminate()
        assert daemon.ended(STOPPED) == 0
    assert_no_faults(daemon)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[bridge]\nid = 'Gate!'\n", "bridge.id"),
        ("[bridge\n", "line 1"),
        (configuration(1883, 8080, mqtt='tls = { ca = "/nowhere/ca.pem" }'), "/nowhere/ca.pem"),
        (configuration(1883, 8080, device="pol = 1"), "pol"),
        (configuration(1883, 8080).replace('"evok"', '"evoc"'), "evoc"),
    ],
)
def test_a_wrong_configuration_ends_at_once_with_78(text: str, complaint: str, tmp_path: Path) -> None:
    with Daemon(tmp_path, text) as daemon:
        assert daemon.ended() == 78
    assert complaint in daemon.log
    assert_no_faults(daemon)
