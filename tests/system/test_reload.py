"""A daemon whose configuration changes while it runs, and what systemd hears: SIGHUP, SIGSTOP, and the end."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from bridge import alive
from tests.system.mosquitto import free_port
from tests.system.processes import Daemon, Evok, configuration, waited
from tests.system.world import World

SECRETS = ("planted-s3cret-one", "planted-s3cret-two", "planted-s3cret-three")

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def hang_up(daemon: Daemon, text: str) -> None:
    """Write a new configuration and have it read."""
    daemon.configuration.write_text(text)
    os.kill(daemon.pid, signal.SIGHUP)


@contextmanager
def two_devices(directory: Path) -> Iterator[tuple[World, Evok, str]]:
    """The world, a second instrument, and the configuration with both (`io` and `second`)."""
    (directory / "second").mkdir()
    with ExitStack() as stack:
        second = stack.enter_context(Evok(directory / "second"))
        world = stack.enter_context(World(directory / "world"))
        text = world.daemon.configuration.read_text()
        both = f'{text}\n[devices.second]\ndriver = "evok"\nurl = "ws://127.0.0.1:{second.port}/ws"\n'
        yield world, second, both


def test_an_untouched_device_keeps_its_connection(tmp_path: Path) -> None:
    with two_devices(tmp_path) as (world, second, both):
        observer, daemon = world.observer, world.daemon
        before = world.daemon.configuration.read_text()
        hang_up(daemon, both)
        observer.until_retained("second/status", b"online", 10.0)
        assert (world.evok.state["accepted"], second.state["accepted"]) == (1, 1)
        assert observer.command("second/set/ro/2_01", {"value": True})["outcome"] == "done"

        since = time.monotonic()
        hang_up(daemon, both + "rate = 5.0\n")
        waited(lambda: second.state["accepted"] == 2, "the changed device's new connection")
        observer.until_retained("second/status", b"online", 10.0)
        assert world.evok.state["accepted"] == 1
        assert not observer.on("io/status", since)
        reloads = [one.json for one in observer.on("_bridge/gate/event/reload")]
        assert [(one["added"], one["changed"]) for one in reloads] == [(["second"], []), ([], ["second"])]

        hang_up(daemon, before)
        waited(lambda: second.state["connections"] == 0, "the removed device to be left alone")
        observer.until_retained("second/status", b"offline", 5.0)
        assert "removed" in observer.document("second/link")["reason"]
        assert world.evok.state["accepted"] == 1
        world.until_right(5.0)


def test_a_bad_file_is_told_with_its_key_and_changes_nothing(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        text = world.daemon.configuration.read_text()
        for wrong, said in (
            (text.replace('driver = "evok"', 'driver = "evoc"'), "unknown driver 'evoc'"),
            (text + "polll = 3\n", "devices.io.polll: unknown key (did you mean poll?)"),
            ("[bridge\n", "daemon.toml: "),
        ):
            hang_up(world.daemon, wrong)
            world.logged(said)
            assert world.daemon.runs
        world.daemon.configuration.unlink()
        os.kill(world.daemon.pid, signal.SIGHUP)
        world.logged("No such file or directory")
        assert world.evok.state["accepted"] == 1
        world.begun = time.time()
        hang_up(world.daemon, text.replace('log_level = "debug"', 'log_level = "warning"'))
        world.observer.until(lambda: not world.observer.document("_bridge/gate/health").get("trouble"))
        assert not world.wrong()


def test_no_secret_of_any_configuration_is_ever_told(tmp_path: Path) -> None:
    """Planted in three ways, changed by reloads, wrong in between; looked for in the log and on the broker."""
    first, second, third = SECRETS
    with World(tmp_path, bridge_keys='log_to_mqtt = "warning"', device=f'token = "{first}"') as world:
        text = world.daemon.configuration.read_text()
        new = text.replace(first, second) + f'username = "me"\npassword = "{third}"\n'
        hang_up(world.daemon, new)
        waited(lambda: world.evok.state["accepted"] == 2, "the device made afresh")
        hang_up(world.daemon, new.replace("[mqtt]", f'[mqtt]\nusername = 5\npassword = "{first}"'))
        world.logged("mqtt.username: expected a text")
        hang_up(world.daemon, new.replace(f'"{third}"', f'["{third}"]'))
        world.logged("devices.io.password")
        hang_up(world.daemon, new.replace("[mqtt]", f'[mqtt]\nusername = "me"\npassword = "{first}"'))
        world.logged("mqtt.password")
        observer = world.observer
        observer.until(lambda: observer.on("_bridge/gate/event/log"))
        said = world.daemon.log + "".join(f"{one.topic} {one.payload!r}" for one in observer.seen)
        for secret in SECRETS:
            assert secret not in said, said[max(0, said.index(secret) - 300) :][:600]


# --- systemd -------------------------------------------------------------------------------------------------


class Systemd:
    """Hears what a daemon says to its NOTIFY_SOCKET."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self._path, self._patch = path, patch
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.lines: list[str] = []

    def watch(self) -> None:
        """Whatever is started from now on is watched. (Not before: mosquitto speaks to systemd too.)"""
        runtime = self._path.parent / "run"
        runtime.mkdir()
        self._patch.setenv("NOTIFY_SOCKET", str(self._path))
        self._patch.setenv("WATCHDOG_USEC", "1000000")
        self._patch.setenv("RUNTIME_DIRECTORY", str(runtime))
        self._patch.delenv("WATCHDOG_PID", raising=False)

    def heard(self, text: str) -> int:
        """How many lines of all so far have this text."""
        with suppress(BlockingIOError):
            while True:
                self.lines += self._socket.recv(4096).decode().split("\n")
        return sum(text in line for line in self.lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    made = Systemd(tmp_path / "notify", monkeypatch)
    yield made
    made.close()


def test_systemd_hears_of_the_whole_life(systemd: Systemd, tmp_path: Path) -> None:
    with two_devices(tmp_path) as (world, _, both):
        world.daemon.kill()
        systemd.watch()
        world.start("daemon")
        waited(lambda: systemd.heard("STATUS=1 of 1 instruments ready, broker connected"), "the status")
        assert systemd.heard("READY=1") == 1
        beats = tmp_path / "run" / alive.NAME
        waited(beats.exists, "a heartbeat")
        assert alive.read(beats).pid == world.daemon.pid

        hang_up(world.daemon, both)
        waited(lambda: systemd.heard("STATUS=2 of 2 instruments ready"), "the status after the reload")
        assert systemd.heard("RELOADING=1") == systemd.heard("MONOTONIC_USEC=") == 1
        assert systemd.heard("READY=1") == 2
        hang_up(world.daemon, "no TOML")
        waited(lambda: systemd.heard("the new configuration cannot be used"), "the status with the reason")
        assert systemd.heard("READY=1") == 3
        hang_up(world.daemon, both)
        waited(lambda: systemd.heard("READY=1") == 4, "the end of the last reload")
        assert systemd.lines[-1].endswith("broker connected") or systemd.lines[-1] == "WATCHDOG=1"

        fed = systemd.heard("WATCHDOG=1")
        world.daemon.suspend()
        systemd.heard("")
        fed = systemd.heard("WATCHDOG=1")
        time.sleep(1.5)
        assert systemd.heard("WATCHDOG=1") == fed, "a loop that is blocked feeds nobody"
        world.daemon.resume()
        waited(lambda: systemd.heard("WATCHDOG=1") > fed, "the watchdog to be fed again")

        world.daemon.terminate()
        assert world.daemon.ended() == 0
        assert systemd.heard("STOPPING=1") == 1
        assert not beats.exists()


def test_who_is_away_never_ends_the_signs_of_life(systemd: Systemd, tmp_path: Path) -> None:
    """No broker, no instrument: ready all the same, and the watchdog is fed for longer than anybody's patience."""
    systemd.watch()
    with Daemon(tmp_path, configuration(free_port(), free_port(), state=tmp_path / "state")):
        waited(lambda: systemd.heard("READY=1"), "READY")
        begun = time.monotonic()
        while time.monotonic() < begun + 25.0:
            fed = systemd.heard("WATCHDOG=1")
            time.sleep(1.0)
            assert systemd.heard("WATCHDOG=1") > fed
        assert systemd.heard("STATUS=0 of 1 instruments ready, no connection to the broker")
        assert not systemd.heard("stuck")
