"""The park manager: the roof, the mount's park position, and what it does when it rains.

Its actions show no state: like the real one it tells of its work in the log, and by the states of roof and mount.
"""

from typing import ClassVar

from bridge.simulators.ost.declare import clock, light, number, switch
from bridge.simulators.ost.equipment import Equipped, coming, indi, location
from bridge.simulators.ost.model import Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script, is_over
from bridge.simulators.ost.weather import STEP

ROOF_TIME = 5.0  # seconds that the shutter takes
LOOK = 5.0  # seconds between two looks at the weather; the states are repeated without change


def _properties() -> dict[str, Property]:
    buttons = {"abort": "Abort", "auto": "Auto", "close": "Close", "idle": "Idle", "open": "Open"}
    return {
        **indi(dome="DOME", mount="TELESCOPE", weather="WEATHER"),
        **location(),
        **coming(),
        "actions": Property(
            "Actions",
            {key: switch(label, key == "idle") for key, label in buttons.items()},
            level1="Actions",
            order="0000",
            rule=0,
        ),
        "domestate": Property(
            "Dome state",
            {"parked": switch("Parked"), "shutterclosed": switch("Shutter closed", True)},
            level1="Control",
            permission=0,
        ),
        "mountstate": Property(
            "Mount state",
            {
                "DEC": number("DEC", 90),
                "RA": number("RA", 7.95),
                "home": switch("Home"),
                "parked": switch("Parked", True),
                "tracking": switch("Tracking"),
            },
            level1="Control",
            permission=0,
        ),
        "timerules": Property(
            "Time rules",
            {
                "anytime": switch("Any time", auto=True),
                "duskdawn": switch("From dusk to dawn", auto=True),
                "fixed": switch("Fixed times", True, auto=True),
                "fixedend": clock("End", auto=True),
                "fixedstart": clock("Start", auto=True),
            },
            level1="Behaviour",
            rule=0,
            has_profile=True,
        ),
        "weatherrules": Property(
            "Weather rules",
            {"disabled": switch("Disabled", auto=True), "mustbeok": switch("Must be OK", True, auto=True)},
            level1="Behaviour",
            rule=0,
            has_profile=True,
        ),
        "weatherstate": Property("Weather state", {"global": light("Global", 1)}, level1="Control", permission=0),
    }


class Parkmanager(Equipped):
    library: ClassVar[str] = "parkmanager"
    kind: ClassVar[str] = "Parkmanager"
    description: ClassVar[str] = "Park manager module"
    template: ClassVar[str] = "parkmanager"

    def __init__(self, label: str, site: Site, profile: str = "demo") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None

    def live(self) -> tuple[Script]:
        return (self._watch(),)

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        match element:
            case "open" if self._must_be_ok() and self.site.weather.rains:
                self.log(2, "Weather is not OK, open sequence aborted")
                self._idle()
            case "open" | "close":
                self._move(closed=element == "close")
            case "abort":
                self._end()
                self.log(2, "Emergency abort requested")
                self.run(self._stopped())

    def _idle(self) -> None:
        self.put("actions", idle=True)  # what else was on stays so

    def _stopped(self) -> Script:
        yield STEP
        self.log(2, "Emergency stop, aborting all motion")
        self._idle()

    def _move(self, closed: bool) -> None:
        self._end()
        self._job = self.run(self._roof(closed))

    def _end(self) -> None:
        if self._job is not None:
            self._job.close()
            self._job = None

    def _roof(self, closed: bool) -> Script:
        self.log(1, "Stopping mount tracking" if closed else "Opening dome shutter")
        if closed:
            self.put("mountstate", parked=True, tracking=False)
        yield ROOF_TIME
        self.put("domestate", shutterclosed=closed, parked=closed)
        if not closed:
            self.put("mountstate", parked=False, tracking=True)
            self.log(1, "Open sequence complete")
            return
        self.log(1, "Close sequence complete")
        self._idle()

    def _watch(self) -> Script:
        while True:
            yield LOOK
            rains = self.site.weather.rains
            dome = self.properties["domestate"].elements["shutterclosed"].value
            self.show("mountstate")
            self.show("domestate")
            self.put("weatherstate", **{"global": 3 if rains else 1})
            if rains and not dome and self._must_be_ok() and (self._job is None or is_over(self._job)):
                self.log(2, "Weather degraded, triggering close sequence")
                self._move(closed=True)

    def _must_be_ok(self) -> bool:
        return bool(self.properties["weatherrules"].elements["mustbeok"].value)
