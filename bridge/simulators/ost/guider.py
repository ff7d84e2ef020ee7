"""The guider: guiding with corrections and RMS in a grid that is full at times; calibration, dither, abort."""

import math
import random
from typing import ClassVar

from bridge.simulators.ost.declare import number, switch, whole
from bridge.simulators.ost.equipment import Equipped, actions, camera, indi, signals
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script

EXPOSURE = 2.0  # seconds between two guiding exposures
KEPT = 100  # lines of the guiding graph


def _properties() -> dict[str, Property]:
    guiding = {key: number(key) for key in ("DE", "RA", "RMS", "SNR", "pDE", "pRA", "time")}
    params = {"D": "time", "DE": "DE", "RA": "RA", "RMS": "RMS", "RSB": "SNR", "pDE": "pDE", "pRA": "pRA"}
    directions = ("disDE+", "disDE-", "disRA+", "disRA-")
    return {
        **indi(camera="CCD", guider="GUIDER"),
        **camera(),
        **signals(),
        "actions": actions(
            1,
            abortguider="Abort",
            calibrate="Calibrate",
            dither="Dither",
            guide="Guide",
            resetcalibration="Reset calibration",
        ),
        "disCorrections": Property(
            "Disable guiding corrections",
            {key: switch(key, auto=True) for key in directions},
            level1="Guiding",
            has_profile=True,
        ),
        "guideParams": Property(
            "Guide parameters",
            {
                "deAgr": number("DEC aggressivity", 0.8, auto=True),
                "ditherpixel": whole("Dither (px)", 5, 1, 50, auto=True),
                "pulsemax": whole("Pulse max", 2000, auto=True),
                "pulsemin": whole("Pulse min", 20, auto=True),
                "raAgr": number("RA aggressivity", 0.8, auto=True),
                "rmsOver": whole("RMS over", 10, 2, 100, auto=True),
            },
            level1="Guiding",
            has_profile=True,
        ),
        "guiding": Property(
            "Guiding graph",
            guiding,
            level1="Control",
            permission=0,
            grid=Grid(sorted(guiding), limit=KEPT, graph_type="PHD", graph_params=dict(params)),
        ),
        "values": Property(
            "Values",
            {
                **{key: whole(key) for key in ("pulseE", "pulseN", "pulseS", "pulseW")},
                **{key: number(key) for key in ("rmsDEC", "rmsRA", "rmsTotal")},
            },
            level1="Control",
            permission=0,
        ),
    }


class Guider(Equipped):
    library: ClassVar[str] = "guider"
    kind: ClassVar[str] = "Guider"
    description: ClassVar[str] = "Guider module"
    template: ClassVar[str] = "guider"

    def __init__(self, label: str, site: Site, profile: str = "demo") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None
        self._chance = random.Random(2)

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        self.show("actions")
        match element:
            case "guide":
                self._end()
                self._job = self.run(self._guide())
            case "abortguider":
                self._end()
                self.state("actions", 1)
            case "calibrate" | "resetcalibration":
                self._end()
                self._job = self.run(self._calibrate())
            case "dither":
                self.signal("ditherdone", "Dithering done", 2, "guiding")

    def abort(self) -> None:
        """What the sequencer does; nothing is said about the state of the property."""
        self._end()
        names = list(self.properties["actions"].elements)
        for _ in names[1:]:
            self.put("actions", **dict.fromkeys(names, False))
        self.put("actions", abortguider=True)
        self.show("actions")

    def lose_star(self) -> None:
        """The guide star is gone: guiding ends with an error."""
        self._end()
        self.log(3, "Guide star lost")
        self.signal("guidelost", "Guide star lost", 3, "error")
        self.state("actions", 3)

    def _end(self) -> None:
        if self._job is not None:
            self._job.close()
            self._job = None

    def _calibrate(self) -> Script:
        self.state("actions", 2)
        self.signal("startcalibration", "Start calibration", 2, "calibrating")
        yield 6.0
        self.signal("calibrationdone", "Calibration done", 1, "idle")
        self.state("actions", 1)

    def _guide(self) -> Script:
        self.state("actions", 2)
        self.empty_grid("guiding")
        self.signal("guidestarted", "Guiding started", 2, "guiding")
        time, errors = 0.0, [0.0]
        while True:
            yield EXPOSURE
            time += EXPOSURE
            right_ascension, declination = self._chance.gauss(0, 0.6), self._chance.gauss(0, 0.5)
            errors = [*errors[-9:], right_ascension**2 + declination**2]
            rms = round(math.sqrt(sum(errors) / len(errors)), 3)
            self._correct(time, round(right_ascension, 3), round(declination, 3), rms)

    def _correct(self, time: float, right_ascension: float, declination: float, rms: float) -> None:
        pulse_ra, pulse_de = round(-400 * right_ascension), round(-400 * declination)
        self.put(
            "guiding",
            RA=right_ascension,
            DE=declination,
            RMS=rms,
            SNR=round(self._chance.uniform(20, 30), 1),
            pRA=pulse_ra,
            pDE=pulse_de,
            time=time,
        )
        self.add_line("guiding")
        self.put(
            "values",
            pulseE=max(0, pulse_ra),
            pulseW=max(0, -pulse_ra),
            pulseN=max(0, pulse_de),
            pulseS=max(0, -pulse_de),
            rmsRA=abs(right_ascension),
            rmsDEC=abs(declination),
            rmsTotal=rms,
        )
