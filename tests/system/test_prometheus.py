"""A real Prometheus scrapes a real daemon: everything it says is taken, and every alert's query finds its data."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.exposition import read
from tests.system.mosquitto import HOST, Mosquitto, free_port
from tests.system.processes import REPOSITORY, Daemon, Evok, Process, assert_no_faults, configuration, waited

PROMETHEUS = REPOSITORY / "config" / "prometheus"
RULES = PROMETHEUS / "lab2mqtt.rules.yml"
SELECTOR = re.compile(r"\b(?:lab2mqtt_\w+|process_\w+|up)\b(?:\{[^}]*\})?")

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def program(name: str) -> str:
    """Its path; skips without it, and fails instead where it is required."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("LAB2MQTT_PROMETHEUS") == "1":
            pytest.fail(f"{name} is required (LAB2MQTT_PROMETHEUS=1) and not on PATH")
        pytest.skip(f"{name} is not on PATH (Debian: apt install --no-install-recommends prometheus)")
    return found


def promtool(*arguments: str, text: str | None = None, where: Path = PROMETHEUS) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], input=text, capture_output=True, text=True, cwd=where, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr


def test_the_example_is_a_configuration() -> None:
    promtool("check", "config", "prometheus.example.yml")


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", "--lint-fatal", RULES.name)


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", "lab2mqtt.test.yml"],
        capture_output=True,
        text=True,
        cwd=PROMETHEUS / "tests",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus(Process):
    """The real one, with the example's configuration and shorter times."""

    def __init__(self, directory: Path, target: int) -> None:
        self.port = free_port()
        text = (PROMETHEUS / "prometheus.example.yml").read_text()
        assert text.count("15s") == 2
        assert text.count(":9464") == 1
        (directory / "prometheus.yml").write_text(text.replace("15s", "1s").replace(":9464", f":{target}"))
        shutil.copy(RULES, directory)
        self.program = [program("prometheus")]
        options = {
            "config.file": directory / "prometheus.yml",
            "storage.tsdb.path": directory / "prometheus",
            "storage.tsdb.retention.size": "100MB",
            "web.listen-address": f"{HOST}:{self.port}",
        }
        super().__init__("prometheus", directory, [f"--{name}={value}" for name, value in options.items()])

    def api(self, path: str, **parameters: str) -> Any:
        url = f"http://{HOST}:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=5.0) as reply:
            return json.load(reply)["data"]

    def query(self, text: str) -> list[Any]:
        found: list[Any] = self.api("query", query=text)["result"]
        return found

    @property
    def ready(self) -> bool:
        try:
            return bool(self.api("targets")["activeTargets"])
        except OSError:
            assert self.runs, self.log
            return False


def page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}/{path}", timeout=5.0) as reply:
        text: str = reply.read().decode()
        return text


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[tuple[int, Prometheus, Daemon, Evok]]:
    """The port of the daemon's pages, and who is there."""
    port = free_port()
    prometheus = Prometheus(tmp_path, port)
    with Mosquitto(tmp_path) as broker, Evok(tmp_path) as evok:
        text = configuration(broker.port, evok.port, state=tmp_path / "state")
        with Daemon(tmp_path, f"{text}\n[http]\nenabled = true\nport = {port}\n") as daemon, prometheus:
            waited(lambda: prometheus.ready, "Prometheus")
            yield port, prometheus, daemon, evok
        assert_no_faults(daemon)


def test_a_real_prometheus(scraped: tuple[int, Prometheus, Daemon, Evok]) -> None:
    port, prometheus, daemon, evok = scraped

    def value(query: str) -> float | None:
        found = prometheus.query(query)
        return float(found[0]["value"][1]) if found else None

    waited(lambda: value('lab2mqtt_device_up{device="io"}') == 1, f"the device; {daemon.log[-2000:]}")
    text = page(port, "metrics")
    promtool("check", "metrics", text=text)
    promtool("query", "instant", f"http://{HOST}:{prometheus.port}", "lab2mqtt_build_info")

    # all of it was taken, under the names of the page, and nothing was complained of
    (target,) = prometheus.api("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    known = prometheus.api("metadata")
    for name, family in read(text).items():
        assert known[name] == [{"type": family.type, "help": family.help, "unit": ""}]
        for (series, labels), _ in family.series.items():
            pairs = ",".join(f'{key}="{text}"' for key, text in labels if key not in ("le", "configuration"))
            assert prometheus.query(f"{series}{{{pairs}}}"), (series, pairs)

    # every selector of every alert has data, and none is about to fire
    waited(lambda: all(rule["health"] == "ok" for rule in alerts(prometheus)), "all rules evaluated")
    rules = alerts(prometheus)
    assert len(rules) == RULES.read_text().count("- alert:")
    for rule in rules:
        selectors = SELECTOR.findall(rule["query"])
        assert selectors, rule["name"]
        for selector in selectors:
            assert prometheus.query(selector), f"{rule['name']}: nothing is found for {selector}"

    waited(lambda: all(rule["state"] == "inactive" for rule in alerts(prometheus)), "no alert")

    # what goes wrong shows
    evok.kill()
    waited(lambda: value('lab2mqtt_device_up{device="io"}') == 0, "the device's loss")
    waited(lambda: state(prometheus, "Lab2mqttDeviceDown") == "pending", "its alert")
    daemon.terminate()
    assert daemon.ended() == 0
    waited(lambda: state(prometheus, "Lab2mqttAbsent") == "pending", "the daemon's alert")
    daemon.start()
    waited(lambda: state(prometheus, "Lab2mqttAbsent") == "inactive", "the daemon's return")


def alerts(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]


def state(prometheus: Prometheus, name: str) -> str:
    (found,) = [rule["state"] for rule in alerts(prometheus) if rule["name"] == name]
    return str(found)
