"""The sequencer: lines of exposures per filter, autofocus between filters, progress every second; abort."""

from typing import ClassVar

from bridge.simulators.ost.declare import listed, number, progress, switch, text, whole
from bridge.simulators.ost.equipment import FILTERS, Equipped, actions, camera, indi, signals
from bridge.simulators.ost.focuser import Focuser
from bridge.simulators.ost.guider import Guider
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script


def _properties() -> dict[str, Property]:
    return {
        **indi(camera="CCD", filter="FILTER"),
        **camera(),
        **signals(),
        "actions": actions(1, abortsequence="Abort sequence", startsequence="Start sequence"),
        "focusparameters": Property(
            "Focus parameters",
            {"autofocusonfilterchange": switch("Auto-focus on filter change", True, auto=True)},
            level1="Focus",
            has_profile=True,
        ),
        "parameters": Property(
            "Sequence parameters",
            {
                "enablecooling": switch("Enable camera cooling", auto=True),
                "frametype": text("Frame type", "L", auto=True, values={"L": "Light", "F": "Flat", "D": "Dark"}),
                "gain": whole("Gain", 100, auto=True),
                "offset": whole("Offset", 100, auto=True),
                "targettemperature": number("Target temperature (°C)", -10, auto=True),
            },
            level1="Sequence",
            has_profile=True,
        ),
        "progress": Property(
            "Progress",
            {
                "avgfocusduration": text("Average focus duration"),
                "avgguideduration": text("Average guide-start duration"),
                "exposure": progress("Current exposure"),
                "global": progress("Sequence (shots)"),
                "realelapsed": text("Real elapsed duration"),
                "theoreticalremaining": text("Theoretical remaining duration", "0:00"),
                "theoreticaltotal": text("Theoretical total duration", "0:00"),
                "totaltime": progress("Sequence (time)"),
            },
            level1="Control",
            order="2",
            permission=0,
        ),
        "sequence": Property(
            "Sequence",
            {
                "count": whole("Count", 2),
                "exposure": number("Exposure", 5),
                "filter": text("Filter", "3", values=FILTERS),
            },
            level1="Sequence",
            order="1",
            has_profile=True,
            grid=Grid(["count", "exposure", "filter"], [[2, 5, "8"], [2, 5, "1"], [2, 5, "2"], [2, 5, "3"]]),
        ),
        "slaves": Property(
            "Slaves",
            {
                "focusmodule": listed("Focus module instance", "loadedModules-focus", "MyFocuser"),
                "guidermodule": listed("Guider module instance", "loadedModules-guider", "MyGuider"),
            },
            level1="Slaves",
            order="100",
            has_profile=True,
        ),
    }


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Sequencer(Equipped):
    library: ClassVar[str] = "sequencer"
    kind: ClassVar[str] = "Sequencer"
    description: ClassVar[str] = "Sequencer module"
    template: ClassVar[str] = "sequence"

    def __init__(self, label: str, site: Site, profile: str = "LRGB-60s") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        self.show("actions")
        if self._job is not None:
            self._job.close()
            self._job = None
        if element == "abortsequence":
            for other in self.site.modules.values():
                if isinstance(other, Guider | Focuser):
                    other.abort()
            self.log(1, "Sequence aborted")
            self.state("actions", 1)
        elif self.site.indi_hangs:
            self.log(2, "connectDevice - Indi server is not connected")
            self.signal("deviceerror", "Device error", 3, "error")
        else:
            self._job = self.run(self._sequence())

    def _sequence(self) -> Script:
        self.state("actions", 2)
        grid = self.grid("sequence")
        lines = [grid.line(index) for index in range(len(grid.rows))]
        shots = [line for line in lines for _ in range(_whole(line["count"]))]
        total = sum(_whole(line["exposure"]) for line in shots)
        for line in lines:  # it walks through its own grid to know the total
            self.put("sequence", **line)
        self.put(
            "progress", theoreticaltotal=_minutes(total), theoreticalremaining=_minutes(total), realelapsed="0:00"
        )
        self.signal("startsequence", "Start sequence", 2, "running")
        elapsed, current = 0, ""
        for done, line in enumerate(shots):
            if line["filter"] != current:
                current = str(line["filter"])
                yield from self._filter(current)
            for _ in range(_whole(line["exposure"])):
                yield 1.0
                elapsed += 1
                self._show_progress(done, len(shots), elapsed, total)
            self.shoot()
            self._show_progress(done + 1, len(shots), elapsed, total)
        self.signal("sequencedone", "Sequence done", 1, "idle")
        self.state("actions", 1)
        self.log(1, "Sequence completed")

    def _filter(self, chosen: str) -> Script:
        name = FILTERS.get(chosen, chosen)
        self.signal("startline", "Starting line", 2, "running")
        self.log(1, f"Set filter to {name}")
        root = f"/{self.key}"
        self.site.files.folder(root, f"{root}/LIGHT", f"{root}/LIGHT/{name}")
        yield 0.5
        slave = self.site.modules.get(str(self.properties["slaves"].elements["focusmodule"].value))
        if self.properties["focusparameters"].elements["autofocusonfilterchange"].value and isinstance(
            slave, Focuser
        ):
            self.log(1, f"Requesting autofocus from {slave.key}")
            slave.autofocus()
            while slave.is_busy:
                yield 0.5

    def _show_progress(self, done: int, shots: int, elapsed: float, total: float) -> None:
        self.put(
            "progress",
            realelapsed=_minutes(elapsed),
            theoreticalremaining=_minutes(max(0.0, total - elapsed)),
            totaltime={"dynlabel": _minutes(elapsed), "value": min(100, round(100 * elapsed / (total or 1)))},
            **{"global": {"dynlabel": f"{done}/{shots}", "value": round(100 * done / shots)}},
        )


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
