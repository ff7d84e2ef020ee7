"""The mount: the navigator, which tells the position about five times a second and goes to targets."""

from typing import ClassVar

from bridge.simulators.ost.declare import day, listed, number, switch, text, whole
from bridge.simulators.ost.equipment import Equipped, actions, camera, indi, location, signals
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script

PERIOD = 0.2  # seconds between two positions
SIDEREAL = 1.0027379 / 3600 * PERIOD  # hours that an idle mount's right ascension drifts in a period
SLEW = 20.0  # periods that a slew takes


def _properties() -> dict[str, Property]:
    found = {key: text(key) for key in ("NS", "alias", "catalog", "code", "name")}
    found |= {key: number(key) for key in ("DEC", "RA", "diam", "mag")}
    return {
        **indi(camera="CCD", gps="GPS", mount="TELESCOPE"),
        **camera(5),
        **signals(),
        **location(),
        "actions": actions(1, abortnavigator="Abort", addtoplanner="Add to planner", gototarget="Go to target"),
        "centeringparams": Property(
            "Centering parameters",
            {
                "maxiterations": whole("Max iterations", 5, 1, 10, auto=True),
                "syncafter": switch("Sync after", True, auto=True),
                "tolerance": number("Tolerance", 30, 5, 300, auto=True),
            },
            level1="Parameters",
            has_profile=True,
        ),
        "gpstime": Property(
            "GPS Date and time",
            {"date": day("Date (UTC)"), "offset": number("Offset")},
            level1="Control",
            permission=0,
        ),
        "mountposition": Property(
            "Mount position",
            {"DEC": number("DEC", 90), "RA": number("RA", 7.95)},
            level1="Control",
            order="Control0000",
            permission=0,
            rule=0,
        ),
        "results": Property("Results", found, level1="Control", grid=Grid(sorted(found))),
        "search": Property("Search object", {"name": text("Name", "ngc281", auto=True)}, level1="Control"),
        "slaves": Property(
            "Slaves",
            {"plannermodule": listed("Planner module instance", "loadedModules-planner", "MyPlanner")},
            level1="Slaves",
            has_profile=True,
        ),
        "target": Property(
            "Target",
            {
                "targetde": number("DEC", 0, auto=True),
                "targetname": text("Name", auto=True),
                "targetra": number("RA", 0, auto=True),
            },
            level1="Target",
            has_profile=True,
        ),
    }


class Navigator(Equipped):
    library: ClassVar[str] = "navigator"
    kind: ClassVar[str] = "Navigator"
    description: ClassVar[str] = "Navigator module"
    template: ClassVar[str] = "navigator"

    def __init__(self, label: str, site: Site, profile: str = "demo") -> None:
        super().__init__(label, site, _properties(), profile)
        self._goal: tuple[float, float] | None = None

    def live(self) -> tuple[Script]:
        return (self._positions(),)

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        if element == "gototarget":
            self.state("actions", 2)
            target = self.properties["target"]
            self.log(1, f"Slewing to {target.elements['targetname'].value}")
            self.signal("slewing", "Slewing", 2, "slewing")
            self._goal = target.number("targetra"), target.number("targetde")
        elif element == "abortnavigator":
            self._goal = None
            self.signal("navigatoraborted", "Aborted", 1, "idle")
            self.state("actions", 1)

    def _positions(self) -> Script:
        left = SLEW
        while True:
            yield PERIOD
            position = self.properties["mountposition"]
            ra, de = position.number("RA"), position.number("DEC")
            if self._goal is None:
                left = SLEW
                ra = (ra + SIDEREAL) % 24
            else:
                ra, de = ra + (self._goal[0] - ra) / left, de + (self._goal[1] - de) / left
                left -= 1
            self.put("mountposition", RA=ra, DEC=de)
            if left == 0:
                self._goal = None
                self.signal("navigatordone", "Target reached", 1, "idle")
                self.state("actions", 1)
