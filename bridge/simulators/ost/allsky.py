"""The all-sky camera: pictures in a loop, and the weather measures with their history."""

from datetime import datetime
from typing import ClassVar

from bridge.simulators.ost.declare import image, moment, number, picture_value, switch, text, video, whole
from bridge.simulators.ost.equipment import Equipped, camera, coming, indi, signals
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site
from bridge.simulators.ost.stage import Script
from bridge.simulators.ost.weather import STEP

HISTORY = {"D": "D", "S": "S", "Y": "Y"}


def _properties() -> dict[str, Property]:
    shot = camera(5, 0)
    shot["parms"].elements["delay"] = whole("Delay (s)", 5, 1, 120)
    return {
        **indi(camera="CCD", gps="GPS", meteo="WEATHER"),
        **shot,
        **signals(),
        **coming(),
        "actions": Property(
            "Actions",
            {
                "abort": switch("Stop", True, auto=True),
                "loop": switch("Play", auto=True),
                "pause": switch("Pause"),
            },
            level1="Actions",
            order="0000",
            rule=0,
        ),
        "archives": Property(
            "Archives",
            {
                "date": text("Date"),
                "keogram": image("Keogram"),
                "stack": image("Stack"),
                "timelapse": video("Timelapse"),
            },
            level1="Archives",
            autoupdate=False,
            grid=Grid(["date", "keogram", "stack", "timelapse"]),
        ),
        "history": Property(
            "History",
            {"D": moment(""), "S": text(""), "Y": number("", 2.1219957957e-313)},
            level1="Meteo",
            permission=0,
            grid=Grid(["D", "S", "Y"], limit=60, graph_type="SDY", graph_params=dict(HISTORY)),
        ),
        "geogps": Property(
            "GPS localization",
            {"lat": number("Latitude", 4.642e-310), "long": number("Longitude", 2.122e-314)},
            level1="Schedule",
            permission=0,
            enabled=False,
        ),
        "keogram": Property("Keogram", {"image1": image("Keogram")}, level1="Results", permission=0),
        "measures": Property(
            "Measures",
            {
                "clouds": number("Clouds", None),  # not a number, until somebody measures
                "hum": number("Humidity", 2.45002553969e-312),
                "precip": number("Precipitations"),
                "press": number("Pressure", 8.026302426160059e165),
                "sqm": number("SQM", 4e-323),
                "temp": number("Temperature", 2.12199587e-314),
            },
            level1="Meteo",
            permission=0,
        ),
        "timelapse": Property("Timelapse", {"video1": video("Timelapse")}, level1="Results", permission=0),
        "type": Property(
            "Schedule type",
            {"fixed": switch("Fixed time", True, auto=True), "manual": switch("Manual", auto=True)},
            level1="Schedule",
            rule=0,
            has_profile=True,
        ),
    }


class Allsky(Equipped):
    library: ClassVar[str] = "allsky"
    kind: ClassVar[str] = "Allsky"
    description: ClassVar[str] = "Allsky camera module"

    def __init__(self, label: str, site: Site, profile: str = "default") -> None:
        super().__init__(label, site, _properties(), profile)
        self._job: Script | None = None

    def live(self) -> tuple[Script, Script]:
        return self._measure(), self._repeat()

    def acted(self, prop: str, element: str, value: object) -> None:
        super().acted(prop, element, value)
        if prop != "actions" or not value:
            return
        if self._job is not None:
            self._job.close()
            self._job = None
        if element == "loop":
            self._job = self.run(self._loop())
        else:
            self.state("actions", 1)

    def _loop(self) -> Script:
        self.state("actions", 2)
        self.signal("loopstarted", "Loop started", 2, "looping")
        while True:
            yield self.properties["parms"].number("delay")
            self.shoot()
            self.site.files.picture(f"/{self.key}Keogram.jpeg")
            self.put("keogram", image1=picture_value(f"{self.key}Keogram", width=600, height=300))

    def _measure(self) -> Script:
        while True:
            yield STEP
            measures = self.site.weather.measures()
            self.put("measures", **measures)
            at = datetime.now()
            stamp = {"day": at.day, "hh": at.hour, "mm": at.minute, "month": at.month, "ss": at.second}
            for name in ("clouds", "temp"):
                elements = self.properties["history"].elements
                elements["D"].value = {**stamp, "ms": 0, "year": at.year}
                elements["S"].value, elements["Y"].value = name, measures[name]
                self.add_line("history")

    def _repeat(self) -> Script:
        """The events to come, again and again without change."""
        while True:
            yield 2.0
            self.show("coming")
