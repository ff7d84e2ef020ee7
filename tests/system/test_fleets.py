"""A fleet from one template: what differs between the gateways stands in their environment (docs/fleets.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.conftest import StartMosquitto
from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import Daemon, Evok, assert_no_faults, waited

GATEWAYS = ("gw1", "gw2", "gw3", "gw4", "gw5")
UNITS = ("unit1", "unit2", "unit3", "unit4", "unit5")
ALL_UP = 40.0  # seconds for five daemons and five simulators on a loaded machine
TAKEN_OVER = 15.0  # seconds: the will's delay, and a start

pytestmark = pytest.mark.usefixtures("mosquitto_installed")


class Gateway(Daemon):
    """One daemon of the fleet: the template, and its own variables."""

    development = False  # there are five of them

    def __init__(self, directory: Path, template: str, name: str, variables: Mapping[str, str]) -> None:
        own = {"BRIDGE__ID": name, "BRIDGE__STATE_DIR": str(directory / name), **variables}
        self.program = ("env", *(f"LAB2MQTT_{key}={text}" for key, text in own.items()), sys.executable)
        self.bridge = name
        super().__init__(directory, template, name)


@contextmanager
def units(directory: Path) -> Iterator[dict[str, Evok]]:
    """Five simulated Unipi units."""
    with ExitStack() as stack:
        found = {}
        for name in UNITS:
            own = directory / name
            own.mkdir()
            found[name] = stack.enter_context(Evok(own))
        yield found


@contextmanager
def fleet(gateways: list[Gateway]) -> Iterator[dict[str, Gateway]]:
    with ExitStack() as stack:
        yield {gateway.bridge: stack.enter_context(gateway) for gateway in gateways}
        for gateway in gateways:
            assert_no_faults(gateway)


HEAD = """
[bridge]
root = "{root}"
log_level = "warning"

[mqtt]
host = "{host}"
port = {port}
"""


RIGHTS = """
topic readwrite #
pattern readwrite site7/%u/#
pattern read homeassistant/status
pattern readwrite homeassistant/device/+/config
"""  # the first is for the observer, who has no name


def test_each_gateway_has_its_own_tree(start_mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """The same device id behind every gateway: `root = "site7/{bridge}"` keeps them apart, in their rights too."""
    rights = tmp_path / "acl"
    rights.write_text(RIGHTS)
    rights.chmod(0o600)
    mosquitto = start_mosquitto([f"acl_file {rights}"])
    template = HEAD.format(root="site7/{bridge}", host=HOST, port=mosquitto.port)
    template += '[devices.io]\ndriver = "evok"\n'
    with units(tmp_path) as evoks, Observer(mosquitto.port, "site7") as observer:
        gateways = [
            Gateway(
                tmp_path,
                template,
                name,
                {"MQTT__USERNAME": name, "DEVICES__IO__URL": f"ws://{HOST}:{evok.port}/ws"},
            )
            for name, evok in zip(GATEWAYS, evoks.values(), strict=True)
        ]
        with fleet(gateways):
            for name, evok in zip(GATEWAYS, evoks.values(), strict=True):
                observer.until_retained(f"{name}/io/status", b"online", ALL_UP)
                assert observer.command(f"{name}/io/set/ro/2_01", {"value": True})["outcome"] == "done"
                assert len(evok.executed("ro/2_01")) == 1
            assert all(evok.state["connections"] == 1 for evok in evoks.values())
            healths = [observer.document(f"{name}/_bridge/{name}/health") for name in GATEWAYS]
            assert not any(health["conflicts"] or health["trouble"] for health in healths), healths


class Ring:
    """Every unit is enabled on two gateways, its own and the next one's, all under one root."""

    def __init__(self, observer: Observer, evoks: Mapping[str, Evok]) -> None:
        self._observer, self._evoks = observer, evoks

    @staticmethod
    def of(gateway: str) -> tuple[str, str]:
        """The units of a gateway."""
        at = GATEWAYS.index(gateway)
        return UNITS[at], UNITS[(at + 1) % len(UNITS)]

    def owner(self, unit: str) -> str:
        return str(self._observer.document(f"{unit}/link").get("bridge"))

    def wrong(self, alive: set[str]) -> list[str]:
        """What is not as it should be: each unit has one owner, whose rival knows it and keeps away."""
        found = [f"{unit} has no owner" for unit in UNITS if self.owner(unit) not in alive]
        found += [
            f"{unit} is {state}"
            for unit in UNITS
            if (state := self._observer.document(f"{unit}/link").get("state")) != "ready"
        ]
        for name in alive:
            others = {unit: self.owner(unit) for unit in self.of(name) if self.owner(unit) != name}
            told = self._observer.document(f"_bridge/{name}/health").get("conflicts")
            if told != others:
                found.append(f"{name} says {told} and not {others}")
        return found

    def until_right(self, alive: set[str], within: float) -> None:
        self._observer.until(lambda: not self.wrong(alive), within, lambda: self.wrong(alive))
        waited(lambda: {evok.state["connections"] for evok in self._evoks.values()} == {1}, "one connection each")
        for unit in self._evoks:
            assert self._observer.command(f"{unit}/set/ro/2_01", {"value": True})["outcome"] == "done"


def test_a_device_that_two_gateways_claim_has_one_and_survives_it(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """One template lists all devices, switched off; a variable switches on those of the gateway."""
    template = HEAD.format(root="site7", host=HOST, port=mosquitto.port)
    with units(tmp_path) as evoks, Observer(mosquitto.port, "site7") as observer:
        for unit, evok in evoks.items():
            template += f'[devices.{unit}]\ndriver = "evok"\nurl = "ws://{HOST}:{evok.port}/ws"\nenabled = false\n'
        gateways = [
            Gateway(
                tmp_path, template, name, {f"DEVICES__{unit.upper()}__ENABLED": "true" for unit in Ring.of(name)}
            )
            for name in GATEWAYS
        ]
        ring, everybody = Ring(observer, evoks), set(GATEWAYS)
        with fleet(gateways) as running:
            ring.until_right(everybody, ALL_UP)

            lost = ring.owner("unit3")
            running[lost].kill()
            ring.until_right(everybody - {lost}, TAKEN_OVER)
            assert ring.owner("unit3") != lost

            running[lost].start()  # its replacement: the same template, the same variables
            ring.until_right(everybody, ALL_UP)
            assert ring.owner("unit3") != lost
