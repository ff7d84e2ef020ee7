"""Real processes and a real broker: what left goes, what is there stays, whoever is killed in between."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import DEADLINE, REPOSITORY, Daemon, Evok, assert_no_faults, waited

pytestmark = pytest.mark.usefixtures("mosquitto_installed")

CLEARED = 30.0  # seconds for two inventories, or for a device that left, on a loaded machine
ROUNDS = 7.0  # seconds for three of them


class Hasty(Daemon):
    """The daemon with a quick housekeeping."""

    def __init__(self, directory: Path, text: str, name: str = "daemon") -> None:
        super().__init__(directory, text, name)
        self._arguments = ["-m", "tests.system.hasty", "run", "-c", str(self.configuration)]


class World:
    """A broker, an Evok with boards 1 and 2, an observer, and daemons."""

    def __init__(self, directory: Path, broker: Mosquitto, evok: Evok, observer: Observer) -> None:
        self.directory, self.broker, self.evok, self.observer = directory, broker, evok, observer

    def text(self, *devices: str, bridge: str = "gate", more: str = "") -> str:
        tables = "".join(
            f'[devices.{name}]\ndriver = "evok"\nurl = "ws://{HOST}:{self.evok.port}/ws"\npoll = 1\n'
            for name in devices
        )
        head = f'[bridge]\nid = "{bridge}"\nlog_level = "info"\nlog_format = "json"\n'
        return f'{head}[mqtt]\nhost = "{HOST}"\nport = {self.broker.port}\nusername = "{bridge}"\n{more}\n{tables}'

    @contextmanager
    def daemon(self, *devices: str, bridge: str = "gate", more: str = "") -> Iterator[Daemon]:
        """Until all its devices are online; killed in the end."""
        self.observer.until(lambda: self.observer.retained(f"_bridge/{bridge}/status") != b"online")
        with Hasty(self.directory, self.text(*devices, bridge=bridge, more=more), bridge) as daemon:
            began = time.monotonic()
            for name in devices:
                self.until_online(name, since=began, why=daemon)
            yield daemon
            assert_no_faults(daemon)

    def until_online(self, name: str, since: float, why: Daemon) -> None:
        """Wait until the newest that was said since then of the device's status is this."""
        self.observer.until(
            lambda: [one.payload for one in self.observer.on(f"{name}/status", since)][-1:] == [b"online"],
            DEADLINE,
            lambda: why.log[-2000:],
        )

    def kept(self, *names: str) -> set[str]:
        """The topics of these devices where something is retained, discovery among them."""
        wanted = tuple(f"lab2mqtt/{name}/" for name in names)
        found = self.observer.topics("")
        return {
            topic
            for topic in found
            if topic.startswith(wanted) or any(f"/lab2mqtt-{name}" in topic for name in names)
        }

    def until_nothing_of(self, name: str) -> None:
        self.observer.until(lambda: not self.kept(name), CLEARED, lambda: sorted(self.kept(name))[:10])

    def cleanup(self, daemon: Daemon, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bridge", "cleanup", "-c", str(daemon.configuration), *options]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=REPOSITORY, timeout=DEADLINE
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Mosquitto(tmp_path) as broker, Evok(tmp_path) as evok, Observer(broker.port) as observer:
        yield World(tmp_path, broker, evok, observer)


def test_a_device_that_left_goes_even_if_the_daemon_is_killed_meanwhile(world: World) -> None:
    with world.daemon("io", "second"):
        world.observer.until(lambda: len(world.kept("second")) > 50)
        world.observer.until(lambda: len(world.kept("io")) == len(world.kept("second")))
        time.sleep(1.0)
        before = world.kept("io")
    with world.daemon("io") as daemon:
        left = world.observer.document("second/link")
        assert (left["bridge"], left["reason"]) == ("gate", "removed from the configuration")
        assert world.observer.retained("second/status") == b"offline"
        daemon.kill()  # between the first step and the second
    with world.daemon("io") as daemon:
        waited(lambda: "what a device left is cleared" in daemon.log, "its removal", CLEARED)
        daemon.kill()  # and while it is being cleared
    with world.daemon("io"):
        world.until_nothing_of("second")
        assert world.kept("io") == before


def test_a_replaced_gateway_takes_over_and_the_old_one_touches_nothing(world: World) -> None:
    with world.daemon("io"):
        world.observer.until(lambda: len(world.kept("io")) > 50)
    with world.daemon("io", bridge="fresh") as fresh:
        world.observer.until(lambda: world.observer.document("io/link").get("bridge") == "fresh")
        time.sleep(1.0)
        before = world.kept("io")
        with world.daemon() as old:  # still there, without the device
            time.sleep(ROUNDS)
            ended = world.cleanup(old)
            assert ended.returncode == 0, ended.stderr
            assert world.kept("io") == before
        world.observer.until(lambda: world.observer.retained("_bridge/gate/status") == b"offline", 15.0)
        ended = world.cleanup(fresh, "--bridge", "gate")
        assert "the bridge gate: " in ended.stdout
        world.observer.until(lambda: not world.observer.topics("_bridge/gate/"))
        assert world.kept("io") == before


def test_a_board_that_is_silent_at_the_start_keeps_all_it_had(world: World) -> None:
    unit = next(iter(world.evok.state["units"]))
    status = f"io/status/{unit}"
    with world.daemon("io"):
        world.observer.until(lambda: world.observer.retained(status) == b"online")
        time.sleep(1.0)
        before = world.kept("io")
    world.evok.fault("board_dead", unit=unit)
    with world.daemon("io"):
        world.observer.until(lambda: world.observer.retained(status) == b"offline", 20.0)
        time.sleep(ROUNDS)
        assert world.kept("io") == before
        world.evok.fault("board_back", unit=unit, at_once=True)
        world.observer.until(lambda: world.observer.retained(status) == b"online", 20.0)
        assert world.kept("io") == before


def test_a_server_that_has_just_started_shows_less_and_nothing_goes(world: World) -> None:
    with world.daemon("io") as daemon:
        time.sleep(1.0)
        before = world.kept("io")
        for _ in range(2):
            restarted = time.monotonic()
            world.evok.fault("restart", step=0.7)  # Evok tells of 11 objects first, then of 153, then of all
            world.until_online("io", since=restarted, why=daemon)
            time.sleep(2.0)
        assert world.kept("io") == before
        cleared = [
            one.topic for one in world.observer.seen if "/io/" in one.topic and one.retain and not one.payload
        ]
        assert not cleared, daemon.log[-2000:]


def test_with_no_more_rights_than_the_example_gives(tmp_path: Path) -> None:
    rules = tmp_path / "rules.acl"
    example = (REPOSITORY / "config" / "mosquitto.acl.example").read_text()
    rules.write_text(f"topic readwrite #\n{example}")  # the observer, who has no name, may do everything
    with (
        Mosquitto(tmp_path, [f"acl_file {rules}"]) as broker,
        Evok(tmp_path) as evok,
        Observer(broker.port) as observer,
    ):
        world = World(tmp_path, broker, evok, observer)
        with world.daemon("io", "cell", bridge="gateway1"):
            time.sleep(1.0)
            before = world.kept("io")
            assert len(world.kept("cell")) > 50
        with world.daemon("io", bridge="gateway1") as daemon:
            world.until_nothing_of("cell")
            observer.publish("io/state/ghost", b"1", retain=True)
            observer.until(lambda: observer.retained("io/state/ghost"))
            assert world.cleanup(daemon).stdout.splitlines()[-1] == "1 topic cleared"
            assert world.kept("io") == before


def test_cleanup_lists_and_clears_only_what_is_left(world: World) -> None:
    observer = world.observer
    with world.daemon("io") as daemon:
        time.sleep(1.0)
        before = set(observer.topics(""))
        observer.publish("io/state/ghost", b"1", retain=True)
        observer.publish("io/set/do/1_01", b"ON", retain=True)
        observer.publish("foreign/state/x", b"1", retain=True)
        observer.publish("old/link", {"bridge": "gate", "state": "offline"}, retain=True)
        observer.publish("old/state/x", b"1", retain=True)
        new = {f"lab2mqtt/{one}" for one in ("io/state/ghost", "io/set/do/1_01", "old/link", "old/state/x")}
        foreign = "lab2mqtt/foreign/state/x"
        observer.until(lambda: set(observer.topics("")) == before | new | {foreign})

        listed = world.cleanup(daemon, "--dry-run", "--json")
        found = json.loads(listed.stdout)["found"]
        assert {topic for group in found for topic in group["topics"]} == new
        assert not any(group["cleared"] for group in found)
        assert set(observer.topics("")) == before | new | {foreign}

        ended = world.cleanup(daemon)
        assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "3 topics cleared")
        observer.until(lambda: set(observer.topics("")) == before | {"lab2mqtt/io/set/do/1_01", foreign})
        assert world.cleanup(daemon, "--commands").stdout.splitlines()[-1] == "1 topic cleared"
        observer.until(lambda: set(observer.topics("")) == before | {foreign})


def test_cleanup_under_an_earlier_prefix(world: World) -> None:
    with world.daemon("io", more='[home_assistant]\nprefix = "ha"'):
        world.observer.until(lambda: world.observer.topics("ha/device/lab2mqtt-io"))
    with world.daemon("io") as daemon:
        time.sleep(1.0)
        now = world.observer.topics("homeassistant/device/")
        assert world.cleanup(daemon, "--prefix", "ha").returncode == 0
        world.observer.until(lambda: not world.observer.topics("ha/device/"))
        assert world.observer.topics("homeassistant/device/") == now
        assert world.cleanup(daemon, "--prefix", "homeassistant").returncode == 64


def test_cleanup_without_a_broker(world: World) -> None:
    with world.daemon("io") as daemon:
        pass
    world.broker.kill()
    assert world.cleanup(daemon).returncode == 15


def test_jobs_and_groups_that_no_list_tells_of_go_and_nobody_elses(world: World) -> None:
    for device in ("io", "stranger"):
        world.observer.publish(f"{device}/job/old", {"job": "old", "state": "running"}, retain=True)
        world.observer.publish(f"{device}/status/old", b"offline", retain=True)
    world.observer.until(lambda: len(world.observer.topics("/old")) == 4)
    with world.daemon("io"):
        world.observer.until(lambda: len(world.observer.topics("/old")) == 2, CLEARED)
        assert world.observer.retained("stranger/job/old")
        assert world.observer.retained("stranger/status/old")


def test_our_own_word_comes_back_once_and_not_for_ever(world: World) -> None:
    """A bridge that meets what it left, while the instrument is away, says once that it is offline."""
    with world.daemon("io"):
        world.observer.until(lambda: world.observer.retained("io/status/1") == b"online")
    world.evok.kill()
    with Hasty(world.directory, world.text("io")) as daemon:
        world.observer.until(lambda: world.observer.retained("io/status/1") == b"offline")
        since = time.monotonic()
        time.sleep(2.0)
        assert len(world.observer.on("io/status/1", since)) <= 2
        world.observer.publish("io/status/1", b"online", retain=True)  # whoever says so
        world.observer.until(lambda: world.observer.retained("io/status/1") == b"offline")
        assert len(world.observer.on("io/status/#", since)) <= 8
        assert_no_faults(daemon)
