"""The image in a real Docker engine, as docs/docker.md says to run it; opt-in, because it needs one.

LAB2MQTT_DOCKER=1: use the engine of DOCKER_HOST, which must share this machine's network (Linux).
LAB2MQTT_DOCKER_IMAGE: this image, instead of one built from a clean clone of the last commit.
LAB2MQTT_DOCKER_COMPOSE: the command of Compose, for the demonstration of compose.yaml ("docker compose").
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge import __version__
from tests.system.mosquitto import Mosquitto, free_port
from tests.system.observer import Observer
from tests.system.processes import FAULTS, REPOSITORY, Evok, configuration, waited

USER = 10001
LARGEST = 250_000_000  # bytes of the image
GRACE = 5.0  # seconds for `docker stop`; Docker itself allows ten
BUILD = 600.0
HEALTH = ("--health-interval=1s", "--health-retries=2", "--health-start-period=10s")
LOCKED = (
    *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=128", "--memory=512m"),
    *("--tmpfs=/tmp", f"--tmpfs=/run/lab2mqtt:uid={USER},gid={USER}", "--volume=/var/lib/lab2mqtt"),
)

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("LAB2MQTT_DOCKER") != "1",
        reason="opt-in: LAB2MQTT_DOCKER=1, with a Docker engine on this machine (DOCKER_HOST)",
    ),
    pytest.mark.usefixtures("mosquitto_installed"),
    pytest.mark.timeout(BUILD + 300.0),
]


def docker(*arguments: str, within: float = 60.0) -> str:
    """What it prints; AssertionError when it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=within, check=False)
    assert done.returncode == 0, f"docker {shlex.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image asked for, or one built from a clean clone."""
    if given := os.environ.get("LAB2MQTT_DOCKER_IMAGE"):
        return given
    clone = tmp_path_factory.mktemp("image") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    docker("build", "--network=host", "--tag=lab2mqtt:test", str(clone), within=BUILD)
    return "lab2mqtt:test"


def inspected(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    return found


class Container:
    """One container with its configuration, on this machine's network, removed at the end."""

    def __init__(self, image: str, text: str, directory: Path, *options: str) -> None:
        place = directory / "config"
        place.mkdir()
        (place / "lab2mqtt.toml").write_text(text)
        place.chmod(0o755)  # it is read by another user
        self.name = f"lab2mqtt-test-{secrets.token_hex(4)}"
        self._command = [
            *("run", "--detach", f"--name={self.name}", "--network=host", f"--volume={place}:/config:ro"),
            *(*HEALTH, *LOCKED, *options, image),
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        docker(*self._command)
        try:
            yield
            for text in FAULTS:
                assert text not in self.log
        finally:
            docker("rm", "--force", "--volumes", self.name)

    @property
    def log(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", "--format={{json .State}}", self.name))
        return found

    def until(self, health: str, within: float = 30.0) -> None:
        """Wait for `healthy` or `unhealthy`."""
        waited(lambda: self.state["Health"]["Status"] == health, f"{health}: {self.state['Health']}", within)

    def run(self, *command: str) -> str:
        return docker("exec", self.name, *command)

    def stop(self) -> tuple[int, float]:
        """Exit code, and the seconds that it took."""
        begun = time.monotonic()
        docker("stop", self.name)
        return self.state["ExitCode"], time.monotonic() - begun


# --- the image --------------------------------------------------------------------------------------------


def test_image_is_small_and_says_what_it_is(image: str) -> None:
    found = inspected(image)
    config, labels = found["Config"], found["Config"]["Labels"]
    assert found["Size"] < LARGEST
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["lab2mqtt"]
    assert config["Cmd"] == ["run", "-c", "/config/lab2mqtt.toml"]
    assert config["Healthcheck"]["Test"] == ["CMD", "lab2mqtt", "health"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == __version__
    for label in ("title", "description", "revision", "source", "base.name"):
        assert labels[f"org.opencontainers.image.{label}"], label
    assert docker("run", "--rm", "--network=none", image, "--version") == f"lab2mqtt {__version__}"


def test_nothing_that_only_builds_is_left_in_it(image: str) -> None:
    listing = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    options = ("--rm", "--network=none", "--entrypoint=/opt/venv/bin/python")
    names = set(docker("run", *options, image, "-I", "-c", listing).split())
    assert {"lab2mqtt", "numpy", "websockets", "paho-mqtt"} <= names
    assert not names & {"pip", "setuptools", "hatchling", "pluggy", "trove-classifiers", "pytest", "rich"}


# --- its life ---------------------------------------------------------------------------------------------

INSIDE = r"""
import pathlib, re
status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", pathlib.Path("/proc/1/status").read_text()))
print(*status["Uid"].split(), status["CapEff"].strip("0"), status["CapBnd"].strip("0"), status["NoNewPrivs"])
try:
    pathlib.Path("/opt/venv/x").write_text("")
except OSError as error:
    print(error.strerror)
"""


def test_locked_down_it_works_and_stops_in_order(image: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Evok(tmp_path) as evok, Observer(mosquitto.port) as observer:
        container = Container(image, configuration(mosquitto.port, evok.port), tmp_path)
        with container.running():
            observer.until_retained("_bridge/gate/status", b"online", 30.0)
            observer.until_retained("io/status", b"online", 30.0)
            assert observer.command("io/set/ro/2_01", {"value": True})["outcome"] == "done"
            container.until("healthy")
            inside = container.run("/opt/venv/bin/python", "-c", INSIDE).splitlines()
            assert inside[0].split() == [*[str(USER)] * 4, "1"]  # no capability is left to print
            assert inside[1] == "Read-only file system"
            assert container.run(
                "python", "-c", "import os; print(os.path.exists('/var/lib/lab2mqtt/journal.db'))"
            )
            since = time.monotonic()
            code, took = container.stop()
            assert (code, took < GRACE) == (0, True), (code, took, container.log[-2000:])
            assert observer.on("_bridge/gate/status", since)[0].payload == b"offline"
            assert observer.retained("io/status") == b"offline"


def test_a_broker_that_is_away_is_no_fault_of_the_daemon(image: str, tmp_path: Path) -> None:
    container = Container(image, configuration(free_port(), free_port()), tmp_path)
    with container.running():
        container.until("healthy")
        code, took = container.stop()
        assert (code, took < GRACE) == (0, True), (code, took, container.log[-2000:])


def test_a_hung_daemon_is_unhealthy_until_it_goes_on(image: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Evok(tmp_path) as evok, Observer(mosquitto.port) as observer:
        container = Container(image, configuration(mosquitto.port, evok.port), tmp_path)
        with container.running():
            container.until("healthy")
            docker("kill", "--signal=STOP", container.name)
            container.until("unhealthy", 60.0)
            docker("kill", "--signal=CONT", container.name)
            container.until("healthy", 60.0)
            observer.until_retained("_bridge/gate/status", b"online", 60.0)


def test_a_wrong_configuration_ends_with_78(image: str, tmp_path: Path) -> None:
    container = Container(image, '[bridge]\nid = "gate"\n[mqtt]\nprot = 1883\n', tmp_path)
    with container.running():
        waited(lambda: not container.state["Running"], "the end")
        assert container.state["ExitCode"] == 78
        assert "mqtt.prot" in container.log


# --- compose.yaml -----------------------------------------------------------------------------------------


def compose() -> Sequence[str]:
    command = shlex.split(os.environ.get("LAB2MQTT_DOCKER_COMPOSE", ""))
    if not command:
        pytest.skip("opt-in: LAB2MQTT_DOCKER_COMPOSE with Compose's command, and the image eclipse-mosquitto")
    return command


def test_compose_gives_a_working_demonstration(image: str) -> None:
    project = f"lab2mqtt-test-{secrets.token_hex(4)}"
    command = [*compose(), "-p", project, "-f", str(REPOSITORY / "compose.yaml"), "--profile", "demo"]
    repository, _, tag = image.partition(":")
    assert repository == "lab2mqtt", "compose.yaml has only the tag as a variable"
    environment = {**os.environ, "TAG": tag, "MQTT_LISTEN": f"127.0.0.1:{free_port()}"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, env=environment, timeout=BUILD, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def states() -> dict[str, str]:
        own = f"--filter=label=com.docker.compose.project={project}"
        shown = docker("ps", own, '--format={{.Label "com.docker.compose.service"}}\t{{.Status}}')
        return dict(line.split("\t") for line in shown.splitlines())

    try:
        run("up", "--detach")
        services = {"mosquitto", "lab2mqtt", "evok", "im7", "inspect", "ost"}
        waited(
            lambda: services == {name for name, state in states().items() if "(healthy)" in state},
            f"six healthy services; the last look: {states()}",
            120.0,
        )
        ask = "mosquitto_rr -V 5 -t lab2mqtt/io/set/do/1_01 -m ON -e response/operator/test -W 10"
        answer = json.loads(run("exec", "-T", "mosquitto", *ask.split()))
        assert answer["outcome"] == "done"
        for device in ("io", "cell", "inspect", "dome"):
            see = f"mosquitto_sub -t lab2mqtt/{device}/status -C 1 -W 10"
            assert run("exec", "-T", "mosquitto", *see.split()).strip() == "online"
        run("stop", "lab2mqtt")
        see = "mosquitto_sub -t lab2mqtt/_bridge/gateway1/status -C 1 -W 10"
        assert run("exec", "-T", "mosquitto", *see.split()).strip() == "offline"
    finally:
        run("down", "--volumes")
