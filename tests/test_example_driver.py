"""The driver of docs/writing-a-driver.md: as the page says, and installed from a package of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.simulators.mqtt_broker import Broker
from tests.system.mosquitto import HOST, free_port
from tests.system.observer import Observer
from tests.system.processes import Daemon, Process, assert_no_faults

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = DOCS / "example-driver"
CONFIGURATION = """
[bridge]
id = "gate"
[mqtt]
host = "{host}"
port = {broker}
[devices.bench]
driver = "lamp"
url = "ws://{host}:{lamp}"
brightest = 80
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package was installed, by pip, without a network."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".toml"):
            target = source / path.relative_to(EXAMPLE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


def blocks(language: str) -> list[str]:
    page = (DOCS / "writing-a-driver.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_all_that_the_page_shows_is_in_the_package() -> None:
    files = [*EXAMPLE.rglob("*.py"), EXAMPLE / "pyproject.toml"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    shown = [block for block in blocks("python") + blocks("toml") if "[devices." not in block]
    assert len(shown) == 8
    for block in shown:
        assert block in code, block


def test_its_own_tests_pass(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE)]
    done = subprocess.run(
        [*command, str(EXAMPLE / "tests")], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout


class Lamp(Process):
    """The package's simulator."""

    def __init__(self, directory: Path, site: Path) -> None:
        self.port = free_port()
        self.python_path = [site]
        super().__init__("lamp", directory, ["-m", "lab2mqtt_lamp.simulator", str(self.port)])


@pytest.mark.asyncio
async def test_it_works_without_a_change_in_the_bridge(site: Path, tmp_path: Path) -> None:
    async with Broker(HOST) as broker:
        await asyncio.to_thread(_use, broker.port, site, tmp_path)


def _use(broker: int, site: Path, directory: Path) -> None:
    with Lamp(directory, site) as lamp:
        text = CONFIGURATION.format(host=HOST, broker=broker, lamp=lamp.port)
        daemon = Daemon(directory, text)
        daemon.python_path = [*daemon.python_path, site]
        with Observer(broker) as observer, daemon:
            observer.until_retained("bench/status", b"online", 20.0)
            assert observer.document("bench/state/level")["value"] == 40
            assert observer.document("bench/link")["device"]["model"] == "Bench lamp"
            assert observer.command("bench/set/level", {"value": 55})["outcome"] == "done"
            assert observer.document("bench/state/level")["value"] == 55
            refused = observer.command("bench/set/level", {"value": 0})
            assert (refused["outcome"], refused["detail"]) == ("failed", "0 % is off: switch it off")
            assert observer.command("bench/set/level", {"value": 90})["outcome"] == "rejected"
            assert observer.command("bench/call/cool_down", {"args": {}})["outcome"] == "done"
            observer.until(lambda: observer.on("bench/event/alarm"), what="the alarm")
            assert json.loads(observer.on("bench/event/alarm")[0].payload)["event_type"] == "overheated"
            assert_no_faults(daemon)
