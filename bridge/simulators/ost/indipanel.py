"""The INDI panel: one property per INDI property of every running driver, created and deleted at run time."""

from collections.abc import Iterator
from typing import ClassVar

from bridge.simulators.ost.declare import number, switch, text
from bridge.simulators.ost.equipment import DEVICES
from bridge.simulators.ost.model import Property
from bridge.simulators.ost.module import Module, Site
from bridge.simulators.ost.stage import Script

NAMES = tuple(sorted({device for devices in DEVICES.values() for device in devices}))
DRIVERS = {f"indi_simulator_{name.split()[0].lower()}": name for name in NAMES}  # device by driver


def _of(device: str) -> Iterator[tuple[str, Property]]:
    """The keys are the device's name (with a space) and INDI's name of the property."""
    yield (
        f"{device}CONNECTION",
        Property(
            "Connection", {"CONNECT": switch("Connect", True), "DISCONNECT": switch("Disconnect")}, device, rule=0
        ),
    )
    yield (
        f"{device}DRIVER_INFO",
        Property("Driver info", {"DRIVER_NAME": text("Name", device)}, device, permission=0),
    )
    yield (
        f"{device}POLLING_PERIOD",
        Property("Polling", {"PERIOD_MS": number("Period (ms)", 1000, 10, 600000)}, device),
    )
    if device.startswith("CCD"):
        temperature = {"CCD_TEMPERATURE_VALUE": number("Temperature (C)", 20, -50, 50)}
        yield f"{device}CCD_TEMPERATURE", Property("Temperature", temperature, device)
        cooler = {"COOLER_ON": switch("ON"), "COOLER_OFF": switch("OFF", True)}
        yield f"{device}CCD_COOLER", Property("Cooler", cooler, device, rule=0)


class Indipanel(Module):
    library: ClassVar[str] = "indipanel"
    kind: ClassVar[str] = "Indipanel"
    description: ClassVar[str] = "Indi control panel"

    def __init__(self, label: str, site: Site, profile: str = "default") -> None:
        super().__init__(label, site, {}, profile)

    def live(self) -> tuple[Script]:
        return (self._appear(),)

    def _appear(self) -> Script:
        yield 0.05
        for device in NAMES:
            self.driver_started(device)

    def driver_started(self, device: str) -> None:
        for key, held in _of(device):
            if key not in self.properties:
                self.create(key, held)

    def driver_stopped(self, device: str) -> None:
        for key in [key for key in self.properties if key.startswith(device)]:
            self.delete(key)
