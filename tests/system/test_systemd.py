"""The service in a booted systemd: installed as docs/systemd.md says, killed, frozen, reloaded, stopped, removed.

Opt-in. LAB2MQTT_NSPAWN_ROOT: the directory of a Debian with systemd, dbus, libnss-systemd, python3-venv, mosquitto
and mosquitto-clients. LAB2MQTT_WHEELS: a directory with the wheels of requirements/run.txt, for that machine has
no network (`pip download --require-hashes -r requirements/run.txt -d DIRECTORY`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.nspawn import Machine

REPOSITORY = Path(__file__).parents[2]
ROOT, WHEELS = os.environ.get("LAB2MQTT_NSPAWN_ROOT"), os.environ.get("LAB2MQTT_WHEELS")
UNIT = "lab2mqtt.service"
SECRET = "planted-secret"
EXPOSURE = 1.5  # at most, as systemd-analyze counts

CONFIGURATION = """
[bridge]
id = "{id}"
[mqtt]
host = "127.0.0.1"
username = "gateway1"
[devices.{device}]
driver = "evok"
url = "ws://127.0.0.1:8080/ws"
"""
SECOND = """
[devices.lab]
driver = "evok"
url = "ws://127.0.0.1:8081/ws"
"""

pytestmark = [
    pytest.mark.skipif(
        not (ROOT and WHEELS), reason="needs LAB2MQTT_NSPAWN_ROOT and LAB2MQTT_WHEELS (see this module's head)"
    ),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("systemd-nspawn") is None, reason="needs root and systemd-nspawn"
    ),
    pytest.mark.timeout(600),
]


class Site:
    """A machine with a broker that wants a password, two simulated units, and the service."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def install(self, *options: str, check: bool = True) -> str:
        done = self.machine.run(
            "env",
            "PIP_NO_INDEX=1",
            "PIP_FIND_LINKS=/wheels",
            "sh",
            "/src/systemd/install.sh",
            *options,
            check=check,
        )
        return done.stdout + done.stderr

    def prepare(self) -> None:
        machine = self.machine
        broker = "listener 1883 127.0.0.1\npassword_file /etc/mosquitto/passwd\n"
        machine.write("/etc/mosquitto/conf.d/lab.conf", broker)
        machine.run("mosquitto_passwd", "-b", "-c", "/etc/mosquitto/passwd", "gateway1", SECRET)
        machine.run("chmod", "644", "/etc/mosquitto/passwd")
        machine.run("systemctl", "restart", "mosquitto")
        self.configure(CONFIGURATION.format(id="gateway1", device="io"))
        machine.write("/etc/lab2mqtt/credentials/mqtt__password", SECRET + "\n")
        for port in ("8080", "8081"):
            machine.run(
                "systemd-run", f"--unit=evok{port}", "/opt/lab2mqtt/current/bin/lab2mqtt", "simulate", "evok",
                "--no-lively", "--port", port,
            )  # fmt: skip

    def configure(self, text: str, name: str = "lab2mqtt") -> None:
        self.machine.write(f"/etc/lab2mqtt/{name}.toml", text)

    def retained(self, topic: str) -> str:
        """What is retained under lab2mqtt/{topic}; "" when nothing is."""
        who = ["-h", "127.0.0.1", "-u", "gateway1", "-P", SECRET]
        done = self.machine.run(
            "mosquitto_sub", *who, "-t", f"lab2mqtt/{topic}", "-C", "1", "-W", "2", "--retained-only", check=False
        )
        return done.stdout.strip()

    def link(self, device: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.retained(f"{device}/link") or "{}")
        return found

    def until_ready(self, device: str = "io", unit: str = UNIT) -> None:
        self.machine.until(
            lambda: self.link(device).get("state") == "ready" and self.machine.show(unit, "SubState") == "running",
            f"{device} to be ready",
            unit=unit,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    log = tmp_path_factory.mktemp("nspawn") / "log"
    with Machine(Path(ROOT or ""), log, {REPOSITORY: "/src", Path(WHEELS or ""): "/wheels"}) as machine:
        site = Site(machine)
        assert "edit /etc/lab2mqtt/lab2mqtt.toml" in site.install()
        site.prepare()
        assert f"{UNIT}: active" in site.install()
        site.until_ready()
        yield site


def test_the_units_are_valid_and_the_sandbox_is_tight(site: Site) -> None:
    for unit in (UNIT, "lab2mqtt@hall.service"):
        done = site.machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit.replace('hall', '')}")
        assert done.stderr == ""
    analysis = site.machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analysis)
    assert found is not None
    assert float(found[1]) <= EXPOSURE, analysis


def test_the_secret_comes_by_credential_and_stands_nowhere_else(site: Site) -> None:
    pid = site.machine.show(UNIT, "MainPID")
    assert SECRET not in site.machine.run("cat", f"/proc/{pid}/environ").stdout
    assert SECRET not in site.machine.journal(UNIT)
    assert "mqtt__password" in site.machine.run("systemctl", "cat", UNIT).stdout
    assert site.retained("_bridge/gateway1/status") == "online"


def test_the_status_line_says_how_it_is(site: Site) -> None:
    site.machine.until(lambda: "1 of 1" in site.machine.show(UNIT, "StatusText"), "the status line")


def test_a_reload_leaves_an_untouched_device_alone(site: Site) -> None:
    since = site.link("io")["since"]
    site.configure(CONFIGURATION.format(id="gateway1", device="io") + SECOND)
    site.machine.run("systemctl", "reload", UNIT)
    site.until_ready("lab")
    assert site.link("io")["since"] == since
    site.configure("[bridge]\nid = 5\n")
    site.machine.run("systemctl", "reload", UNIT)  # a wrong one changes nothing
    site.machine.until(lambda: "bridge.id" in site.machine.journal(UNIT), "the reason in the journal")
    assert site.machine.show(UNIT, "ActiveState") == "active"
    assert site.link("io")["since"] == since
    site.configure(CONFIGURATION.format(id="gateway1", device="io"))
    site.machine.run("systemctl", "reload", UNIT)
    site.machine.until(lambda: site.link("lab").get("state") != "ready", "the second device to go")


def test_a_killed_daemon_comes_back(site: Site) -> None:
    before, restarts = site.machine.show(UNIT, "MainPID"), int(site.machine.show(UNIT, "NRestarts"))
    site.machine.run("systemctl", "kill", "-s", "KILL", UNIT)
    site.machine.until(lambda: int(site.machine.show(UNIT, "NRestarts")) > restarts, "a restart")
    site.until_ready()
    assert site.machine.show(UNIT, "MainPID") != before


def test_a_frozen_daemon_is_ended_by_the_watchdog(site: Site) -> None:
    site.machine.write("/etc/systemd/system/lab2mqtt.service.d/test.conf", "[Service]\nWatchdogSec=4\n")
    site.machine.run("systemctl", "daemon-reload")
    site.machine.run("systemctl", "restart", UNIT)
    site.until_ready()
    site.machine.run("sleep", "6")
    assert site.machine.show(UNIT, "NRestarts") == "0"  # it is fed
    site.machine.run("systemctl", "kill", "-s", "STOP", UNIT)
    site.machine.until(lambda: "Watchdog timeout" in site.machine.journal(UNIT), "the watchdog")
    site.machine.until(lambda: int(site.machine.show(UNIT, "NRestarts")) == 1, "a restart")
    site.until_ready()


def test_a_stop_says_offline(site: Site) -> None:
    site.machine.run("systemctl", "stop", UNIT)
    assert site.machine.show(UNIT, "Result") == "success"
    assert site.retained("_bridge/gateway1/status") == "offline"
    assert site.retained("io/status") == "offline"
    site.machine.run("systemctl", "start", UNIT)
    site.until_ready()


def test_a_wrong_configuration_ends_it_once(site: Site) -> None:
    site.configure("[bridge]\nid = 5\n")
    done = site.machine.run("systemctl", "restart", UNIT, check=False)
    assert done.returncode != 0
    site.machine.run("sleep", "5")
    assert site.machine.show(UNIT, "ExecMainStatus") == "78"
    assert site.machine.show(UNIT, "ActiveState") == "failed"
    assert "not right yet" in site.install(check=False)
    site.configure(CONFIGURATION.format(id="gateway1", device="io"))
    assert f"{UNIT}: active" in site.install()
    site.until_ready()


def test_several_bridges_live_side_by_side(site: Site) -> None:
    hall = "lab2mqtt@hall.service"
    assert "edit /etc/lab2mqtt/hall.toml" in site.install("--name", "hall")
    site.configure(CONFIGURATION.format(id="hall", device="hall_io").replace("8080", "8081"), "hall")
    site.machine.write("/etc/lab2mqtt/credentials/hall/mqtt__password", SECRET + "\n")
    assert f"{hall}: active" in site.install("--name", "hall")
    site.until_ready("hall_io", hall)
    site.until_ready()
    assert site.machine.run("ls", "/var/lib/lab2mqtt-hall/").stdout.split()


def test_it_is_removed_without_a_trace_but_what_is_the_users(site: Site) -> None:
    site.install("--remove")
    assert site.machine.run("ls", "/etc/systemd/system").stdout.count("lab2mqtt") == 0
    assert site.machine.run("test", "-e", "/opt/lab2mqtt", check=False).returncode == 1
    site.machine.run("test", "-e", "/etc/lab2mqtt/lab2mqtt.toml")
    site.machine.run("test", "-d", "/var/lib/lab2mqtt/")
