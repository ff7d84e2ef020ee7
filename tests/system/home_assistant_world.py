"""Broker, four simulated instruments and the daemon, with the example configuration, at a real Home Assistant."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError

from tests.system.home_assistant import HomeAssistant
from tests.system.home_assistant_expected import Seen, differences
from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import DEADLINE, REPOSITORY, Daemon, Simulator, assert_no_faults

EXAMPLE = REPOSITORY / "config" / "home-assistant" / "lab2mqtt.toml"
BRIDGE_ID = "gateway1"
AFTER_RESTART = 90.0  # seconds for everything to be right after broker or Home Assistant were away
PATHS = {"io": "/ws", "cell": "/default", "inspect": "/", "dome": "/"}  # of the instruments' WebSockets


class World:
    """Everything runs from the beginning to the end of the block; what Home Assistant knew before is removed.

    Wherever there is an `environment`, it is settings that are laid over the example configuration, by their names
    in the environment without the prefix: `MQTT__WILL_DELAY="0"`.
    """

    def __init__(self, hass: HomeAssistant, directory: Path) -> None:
        self.hass = hass
        self.broker = Mosquitto(directory, ["set_tcp_nodelay true"])
        self.broker.port = int(os.environ["LAB2MQTT_HA_BROKER_PORT"])
        self.io = Simulator("evok", directory, "--no-lively", "--one-wire-interval", "2")
        self.cell = Simulator("im7", directory, "--on", "0.1")
        self.inspect = Simulator("zeiss_inspect", directory)
        self.dome = Simulator("ost", directory, "--dry", "0")
        self.observer = Observer(self.broker.port)
        self.daemon = Daemon(directory, EXAMPLE.read_text(encoding="utf-8"))
        self._directory = directory
        self._begun = 0.0  # seconds since 1970: the present life of the daemon
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.observer, self.io, self.cell, self.inspect, self.dome):
                stack.enter_context(part)
            self.until_connected()
            self.forget()
            stack.callback(self.leave_nothing)
            self.start_daemon()
            stack.callback(self.daemon.kill)
            self.until_right()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            assert_no_faults(self.daemon)

    def configure(self, environment: Mapping[str, str]) -> None:
        """What the daemon's next life is told beside the example: it knows the simulators by these variables."""
        told = {
            "DEVICES__IO__POLL": "1",  # so that a lost board is noticed soon
            "BRIDGE__STATE_DIR": str(self._directory / "state"),
            "BRIDGE__LOG_FORMAT": "json",
            "MQTT__HOST": HOST,
            "MQTT__PORT": str(self.broker.port),
            **{
                f"DEVICES__{name.upper()}__URL": f"ws://{HOST}:{self.simulator(name).port}{path}"
                for name, path in PATHS.items()
            },
            **environment,
        }
        self.daemon.program = ["env", *(f"LAB2MQTT_{name}={text}" for name, text in told.items()), sys.executable]

    def simulator(self, device: str) -> Simulator:
        found: Simulator = getattr(self, device)
        return found

    def restart_daemon(self, **environment: str) -> None:
        """End it in order, and start it with these settings over the example."""
        self.daemon.terminate()
        self.daemon.ended()
        self.start_daemon(**environment)

    def start_daemon(self, **environment: str) -> None:
        """Start it with these settings over the example; what was said before is of an earlier life."""
        self.configure(environment)
        self._begun = time.time()
        self.daemon.start()

    # --- what Home Assistant shows ------------------------------------------------------------------------

    def entity(self, key: str) -> str:
        """The entity id of `{device}/{key}`."""
        return self.hass.entities()[f"lab2mqtt/{key}"].id

    def differences(self) -> list[str]:
        """How Home Assistant differs from what the bridge has published; empty: not at all."""
        return differences(Seen.by(self.observer), self.hass)

    def until_right(self, within: float = DEADLINE) -> float:
        """Wait until there is no difference; the seconds that it took."""
        return self.hass.until(
            lambda: self._ready() and not self.differences(),
            within,
            lambda: f"{self.health.get('links')} {self.differences()}\n{self.daemon.log[-3000:]}",
        )

    @property
    def health(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.observer.document(f"_bridge/{BRIDGE_ID}/health")
        return found

    def _ready(self) -> bool:
        links: Mapping[str, str] = self.health.get("links", {})
        said = datetime.fromisoformat(self.health.get("time", "1970-01-01T00:00:00+00:00")).timestamp()
        online = self.observer.retained(f"_bridge/{BRIDGE_ID}/status") == b"online"
        return online and said >= self._begun - 0.001 and set(links.values()) == {"ready"}

    # --- before and after ---------------------------------------------------------------------------------

    def until_connected(self) -> None:
        """Wait until Home Assistant has found the broker."""

        def heard() -> bool:
            with suppress(HTTPError):
                self.hass.call("mqtt", "publish", topic=f"{self.observer.root}/hello", payload="there")
            return bool(self.observer.on("hello"))

        self.hass.until(heard, AFTER_RESTART, "Home Assistant is connected to the broker")

    def forget(self) -> None:
        """Remove every device that its MQTT integration has: it is a Home Assistant for tests.

        Without its broker it would keep their states, and the next entities of these names got others.
        """
        known = {one.id for one in self.hass.entities().values()}
        for device in self.hass.devices().values():
            self.hass.remove(device)
        self.hass.until(lambda: not known & self.hass.states().keys(), what="the states are removed")
        self.hass.forget_complaints()

    def leave_nothing(self) -> None:
        for process in (self.daemon, self.io, self.cell, self.inspect, self.dome):
            process.kill()
        self.forget()
