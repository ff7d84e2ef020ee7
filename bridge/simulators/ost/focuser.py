"""The focuser: autofocus as a run of exposures along a V curve, with all its frames; abort."""

from typing import ClassVar

from bridge.simulators.ost.declare import number, progress, switch, text, whole
from bridge.simulators.ost.equipment import Equipped, actions, camera, indi, signals
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script

BEST = 36_100  # where the stars are smallest
LOCKED = ("parms", "devices", "parameters")  # while a run lasts
STEP_TIME = 0.4  # seconds per exposure beyond its length


def _properties() -> dict[str, Property]:
    values = {
        **{key: whole(key) for key in ("bestpos", "focpos", "iteration")},
        **{key: number(key) for key in ("bestposfit", "fitk0", "fitk1", "fitk2", "khi", "r2")},
        **{key: number(key) for key in ("imgHFR", "imgHFRdev", "loopHFRavg")},
    }
    grid = Grid(sorted(values), graph_type="XY", graph_params={"X": "focpos", "Y": "loopHFRavg"})
    zonings = {str(n): f"{n}x{n}" for n in range(1, 10)}
    return {
        **indi(camera="CCD", filter="FILTER", focuser="FOCUSER"),
        **camera(),
        **signals(),
        "actions": actions(1, abortfocus="Abort focus", autofocus="Autofocus", loop="Loop"),
        "parameters": Property(
            "Focus parameters",
            {
                "aroundinitial": switch("Focus around actual", auto=True),
                "backlash": whole("Backlash overshoot", 100, auto=True),
                "iterations": whole("Iterations", 5, auto=True),
                "loopIterations": whole("Average over", 3, auto=True),
                "startpos": whole("Start position", 32000, auto=True),
                "steps": whole("Steps gap", 2000, auto=True),
                "zoning": whole("Zoning", 2, 1, 64, auto=True, values=zonings),
            },
            level1="Focus",
            order="222Parms000",
            has_profile=True,
        ),
        "progress": Property("Progress", {"global": progress("", "spinner")}, level1="Control", permission=0),
        "results": Property(
            "Final result",
            {"hfr": number("Final HFR"), "pos": number("Final position")},
            level1="Control",
            permission=0,
        ),
        "values": Property("Values", values, level1="Control", order="Control100", permission=0, grid=grid),
        "zones": Property(
            "Zoning results",
            {"bestpos": number("Best position"), "zone": text("Zone", "0")},
            level1="Control",
            permission=0,
            grid=Grid(["bestpos", "zone"]),
        ),
    }


class Focuser(Equipped):
    library: ClassVar[str] = "focus"
    kind: ClassVar[str] = "Focus"
    description: ClassVar[str] = "Focus (scxml)"
    template: ClassVar[str] = "focus"

    def __init__(self, label: str, site: Site, profile: str = "demo") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None
        self.is_busy = False
        self.sees_stars = True

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        self.show("actions")
        self.show("actions")
        if element == "abortfocus":
            self._abort()
        elif not self.is_busy:
            self._job = self.run(self._focus())

    def autofocus(self) -> None:
        """As when a client (here: the sequencer) presses the button."""
        self._press("autofocus")

    def abort(self) -> None:
        self._press("abortfocus")

    def _press(self, button: str) -> None:
        self.put("actions", abortfocus=False, autofocus=False, loop=False)
        self.put("actions", **{button: True})
        self.acted("actions", button, True)

    def _abort(self) -> None:
        if self._job is not None:
            self._job.close()
        self.is_busy = False
        self.state("actions", 1)
        self.show("progress")
        self._progress("Aborted", 0)
        for prop in LOCKED:
            self.state(prop, 0)

    def _focus(self) -> Script:
        parameters = self.properties["parameters"]
        start, gap, rounds = (int(parameters.number(name)) for name in ("startpos", "steps", "iterations"))
        self.is_busy = True
        self.state("actions", 2)
        self.log(1, "Start focus")
        self.show("actions")
        self.empty_grid("values")
        for prop in LOCKED:
            self.state(prop, 0, enabled=False)
        self.empty_grid("zones")
        self.signal("startfocus", "start focusing", 2, "focusing")
        self.show("progress")
        self._progress(f"0/{rounds}", 0)
        yield 0.05
        self.log(1, f"Moving to start position - backlash {start - int(parameters.number('backlash'))}")
        yield 0.5
        for done in range(rounds):
            yield from self._measured(start + done * gap, done)
            if not self.is_busy:
                return
            self._progress(f"{done + 1}/{rounds}", 100 * (done + 1) // rounds)
        self._finish()

    def _measured(self, position: int, iteration: int) -> Script:
        exposure = self.properties["parms"].number("exposure")
        hfr = round(1.8 + abs(position - BEST) / 2500, 3)
        self.log(1, f"Exposure {exposure:f}")
        self.put("values", focpos=position, iteration=iteration)
        yield exposure + STEP_TIME
        self.shoot(stars=150 if self.sees_stars else 0, hfr=hfr if self.sees_stars else 0)
        self.put("results", hfr=hfr if self.sees_stars else 0, pos=position)
        if not self.sees_stars:
            self._fail()
            return
        self.put("values", imgHFR=hfr, imgHFRdev=0.1, loopHFRavg=hfr)
        self.add_line("values")

    def _fail(self) -> None:
        """The real server leaves the property busy and the parameters disabled until somebody aborts."""
        self.is_busy = False
        self.log(3, "We need at least 1 star to focus - abort")
        self.signal("nostars", "no stars", 3, "error")
        self.put("actions", abortfocus=False, autofocus=False, loop=False)

    def _finish(self) -> None:
        self.is_busy = False
        self.put("values", bestpos=BEST, bestposfit=BEST + 12.5, fitk0=1.8, fitk1=-0.0004, fitk2=1.2e-8, r2=0.98)
        self.put("results", hfr=1.8, pos=BEST)
        self.signal("focusdone", "focus done", 1, "idle")
        self.state("actions", 1)
        for prop in LOCKED:
            self.state(prop, 0)
        self.log(1, "Focusing done")

    def _progress(self, words: str, percent: int) -> None:
        self.properties["progress"].elements["global"].value = {"dynlabel": words, "value": percent}
        self.show("progress")
