"""The planner: a list of targets, worked off one after another, with its progress in the grid."""

from typing import ClassVar

from bridge.simulators.ost.declare import listed, number, progress, text, whole
from bridge.simulators.ost.equipment import Equipped, actions, indi, location
from bridge.simulators.ost.frames import LINE_CHANGED
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script

TARGET_TIME = 30  # seconds per target


def _queued() -> dict[str, object]:
    return {"dynlabel": "Queued", "value": 0}


def _properties() -> dict[str, Property]:
    headers = ["dec", "object", "profile", "progress", "ra"]
    rows: list[list[object]] = [
        [57.032597, "Megrez", "LRGB-60s", _queued(), 12.25707],
        [56.58, "NGC 281", "LRGB-60s", _queued(), 0.8767],
    ]
    return {
        **indi(gps="GPS"),
        **location(),
        "actions": actions(2, start="Start", stop="Stop"),
        "planning": Property(
            "Planning",
            {
                "dec": number("DEC", 57.032597),
                "object": text("Object", "Megrez"),
                "profile": listed("Profile", "profiles-Sequencer", "LRGB-60s", auto=False),
                "progress": progress("Progress", dynlabel="Queued"),
                "ra": number("RA", 12.25707),
            },
            level1="Planning",
            order="050",
            autoupdate=False,
            has_profile=True,
            grid=Grid(headers, rows),
        ),
        "progress": Property(
            "Progress", {"global": progress("", dynlabel="Idle")}, level1="Control", order="001", permission=0
        ),
        "slaves": Property(
            "Slaves",
            {
                "navigatormodule": listed("Navigator module instance", "loadedModules-navigator", "MyNavigator"),
                "sequencemodule": listed("Sequence module instance", "loadedModules-sequence", "MySequencer"),
            },
            level1="Slaves",
            has_profile=True,
        ),
        "visibility": Property(
            "Visibility constraints",
            {
                "maxretries": whole("Max retries", 3, auto=True),
                "minelevation": number("Minimum elevation", 20, auto=True),
                "moonseparationthreshold": number("Moon separation", 30, auto=True),
            },
            level1="Visibility",
            order="060",
            has_profile=True,
        ),
    }


class Planner(Equipped):
    library: ClassVar[str] = "planner"
    kind: ClassVar[str] = "Planner"
    description: ClassVar[str] = "Planner module"
    template: ClassVar[str] = "planner"

    def __init__(self, label: str, site: Site, profile: str = "demo") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        if self._job is not None:
            self._job.close()
            self._job = None
        if element == "start":
            self._job = self.run(self._plan())
        else:
            self.log(1, "Planner stopped")
            self._progress("Stopped", 0)
            self.state("actions", 1)

    def _plan(self) -> Script:
        self.state("actions", 2)
        self.log(1, "Planner started")
        grid = self.grid("planning")
        for index, target in enumerate([grid.line(index) for index in range(len(grid.rows))]):
            for second in range(TARGET_TIME):
                percent = round(100 * second / TARGET_TIME)
                self._progress(str(target["object"]), percent)
                if second % 10 == 0:
                    self._show_line(index, "Running", percent)
                yield 1.0
            self._show_line(index, "Done", 100)
        self._progress("Done", 100)
        self.log(1, "Planning done")
        self.state("actions", 1)

    def _show_line(self, index: int, words: str, percent: int) -> None:
        grid = self.grid("planning")
        if index < len(grid.rows):  # nobody deleted it meanwhile
            grid.rows[index][grid.headers.index("progress")] = {"dynlabel": words, "value": percent}
            self.tell(LINE_CHANGED, "planning", {"i": index, "values": grid.line(index)})

    def _progress(self, words: str, percent: int) -> None:
        self.put("progress", **{"global": {"dynlabel": words, "value": percent}})
