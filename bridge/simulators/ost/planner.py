"""The planner: a list of targets, worked off one after another, with its progress in the grid.

Its actions never show `busy`; like the real one it only tells when it has ended.
"""

from typing import ClassVar

from bridge.simulators.ost.declare import listed, number, progress, text, whole
from bridge.simulators.ost.equipment import Equipped, actions, indi, location
from bridge.simulators.ost.frames import PROPERTY
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script, is_over

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
    own_grids: ClassVar[frozenset[str]] = frozenset({"planning"})

    def __init__(self, label: str, site: Site, profile: str = "demo") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        if element == "start":
            self._start()
        else:
            self._stop()

    def _start(self) -> None:
        if self._job is not None and not is_over(self._job):
            self.log(2, "Operation already running")
            return
        self.put("actions", start=True, stop=False)
        if self.site.indi_hangs:
            self._refuse("INDI server not connected")
        elif not self.grid("planning").rows:
            self._refuse("Planning grid is empty")
        else:
            self.log(1, "Starting planner...")
            self.state("devices", 0, enabled=False)
            self._job = self.run(self._plan())

    def _refuse(self, words: str) -> None:
        self.log(3, words)
        self.state("actions", 3)
        self.put("actions", start=False, stop=True)

    def _stop(self) -> None:
        self.put("actions", start=False, stop=True)
        if self._job is None or is_over(self._job):
            return
        self._job.close()
        self.log(1, "Operation aborted")
        self._end("Aborted", 0)

    def _end(self, words: str, percent: int) -> None:
        self.state("devices", 0)
        self._progress(words, percent)
        self.state("actions", 1)

    def _plan(self) -> Script:
        grid = self.grid("planning")
        for index, target in enumerate([grid.line(index) for index in range(len(grid.rows))]):
            for second in range(TARGET_TIME):
                percent = round(100 * second / TARGET_TIME)
                self._progress(str(target["object"]), percent)
                if second % 10 == 0:
                    self._show_line(index, "Running", percent)
                yield 1.0
            self._show_line(index, "Done", 100)
        self.log(1, "Operation completed successfully")
        self._end("Completed", 100)

    def _show_line(self, index: int, words: str, percent: int) -> None:
        """The line and, with its values, the elements; the whole property is sent for it."""
        grid, held = self.grid("planning"), self.properties["planning"]
        if index < len(grid.rows):  # nobody deleted it meanwhile
            grid.rows[index][grid.headers.index("progress")] = {"dynlabel": words, "value": percent}
            for key, value in grid.line(index).items():
                held.elements[key].value = value
            self.tell(PROPERTY, "planning", held.dumped("en"))

    def _progress(self, words: str, percent: int) -> None:
        self.put("progress", **{"global": {"dynlabel": words, "value": percent}})
