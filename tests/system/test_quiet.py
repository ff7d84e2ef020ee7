"""Where nothing happens nothing is said: no echo, retry or timer of ours makes a storm."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import Daemon, Simulator, assert_no_faults

INSTRUMENTS = {
    "io": ("evok", ("--no-lively",), "/ws"),
    "cell": ("im7", (), "/default"),
    "inspect": ("zeiss_inspect", (), ""),
    "dome": ("ost", ("--no-alive",), ""),
}
LOOK = 4.0  # seconds
MUCH = 150  # messages in that time; the first retries of four instruments that are away make 50 of them

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


def heard(observer: Observer) -> Counter[str]:
    """What is published in a while, but for what proves that the line is alive."""
    since = time.monotonic()
    time.sleep(LOOK)
    return Counter(one.topic for one in observer.seen if one.at >= since and not one.topic.endswith("/canary"))


def assert_quiet(observer: Observer) -> None:
    found = heard(observer)
    assert found.total() <= MUCH, found.most_common(5)


def test_an_idle_bridge_is_quiet(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(tmp_path))
        observer = stack.enter_context(Observer(broker.port))
        simulators = {
            name: stack.enter_context(Simulator(kind, tmp_path, *options))
            for name, (kind, options, _) in INSTRUMENTS.items()
        }
        text = f'[bridge]\nid = "gate"\nstate_dir = "{tmp_path}/state"\n'
        text += f'[mqtt]\nhost = "{HOST}"\nport = {broker.port}\n'
        for name, (kind, _, path) in INSTRUMENTS.items():
            url = f"ws://{HOST}:{simulators[name].port}{path}"
            text += f'[devices.{name}]\ndriver = "{kind}"\nurl = "{url}"\nmin_interval = 1.0\n'
        with Daemon(tmp_path, text) as daemon:
            for name in INSTRUMENTS:
                observer.until_retained(f"{name}/status", b"online", 30.0)
            time.sleep(2.0)
            assert_quiet(observer)  # all is well
            for simulator in simulators.values():
                simulator.kill()
            for name in INSTRUMENTS:
                observer.until_retained(f"{name}/status", b"offline", 30.0)
            assert_quiet(observer)  # instruments away
        with Daemon(tmp_path, text, "second") as second:
            observer.until_retained("_bridge/gate/status", b"online", 30.0)
            time.sleep(1.0)
            assert_quiet(observer)  # still away, and what an earlier life told is there
            broker.kill()
            time.sleep(0.5)
            broker.start()
            observer.until_retained("_bridge/gate/status", b"online", 30.0)
            time.sleep(2.0)
            assert_quiet(observer)  # and now it is not
            for process in (daemon, second):
                assert_no_faults(process)
