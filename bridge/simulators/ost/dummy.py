"""The dummy module, to be loaded at run time: elements of every type, every rule, grids and graphs."""

from typing import ClassVar

from bridge.simulators.ost import declare as d
from bridge.simulators.ost.equipment import Equipped, camera, indi, interface, signals
from bridge.simulators.ost.model import Element, Grid, Property
from bridge.simulators.ost.module import Site

STARTED = {"day": 8, "month": 11, "year": 2024}
ENDED = {"day": 10, "month": 11, "year": 2024}
NOON = {"hh": 12, "mm": 13, "ms": 0, "ss": 14}
SERIES = {"S": "S", "X": "X", "Y": "Y"}


def _with(element: Element, value: object) -> Element:
    element.value = value
    return element


def _bools(label: str, rule: int, *on: str) -> Property:
    elements = {key: d.switch(key, key in on, auto=True) for key in ("b1", "b2", "b3", "b4")}
    return Property(label, elements, level1="Examples", level2="Booleans", rule=rule, has_profile=True)


def _texts(writable: bool) -> Property:
    elements = {
        "extext1": d.text("Text 1", "torototo", auto=writable),
        "extext2": d.text("Text 2", "bbbb", auto=writable),
        "extext3": d.listed("Text 3", interface("CCD"), "cccc", auto=writable),
        "extext4": d.text(
            "Text 4", "i1", auto=writable, values={"i1": "Value 1", "i2": "Value 2", "i3": "Value 2"}
        ),
    }
    return Property(
        "Text example", elements, level1="Examples", level2="Texts", permission=2 if writable else 0, status=2
    )


def _properties() -> dict[str, Property]:
    dates = {
        "date1": _with(d.day("Date 1", auto=True), STARTED),
        "date2": _with(d.day("Date 2", auto=True), ENDED),
    }
    mixed = {
        "b1": d.switch("Bool 1", auto=True),
        "b2": d.switch("Bool 2", auto=True),
        "b3": d.switch("Bool 3", True, auto=True),
        "date": _with(d.moment("Date", auto=True), {**STARTED, **NOON}),
        "n1": d.whole("Number 1", 10, 0, 100, auto=True),
        "n2": d.whole("Number 2", 11, -100, 100, auto=True),
        "t1": d.text("Text", "Mixed text value", auto=True),
        "time": _with(d.clock("Time", auto=True), {"hh": 13, "mm": 14, "ss": 15}),
    }
    numbers = {
        "n1": d.whole("Number 1", 0, 0, 100, auto=True),
        "n2": d.whole("Number 2", 50, -100, 100, auto=True),
        "n3": d.number("Number 3", 999666, auto=True, values={"0.1": "tenth", "0.2": "fifth"}),
        "n4": d.whole("Number 4", -20, auto=True, values={"-20": "low", "1": "one"}),
        "n5": d.number("Number 5", 6.9503646495591e-310, auto=True),
    }
    series = {"S": d.text("Series", "P1"), "X": d.number("X", 5.5), "Y": d.number("Y", 0.32)}
    points: list[list[object]] = [["P0", 0, 0], ["P0", 1, 0.1], ["P1", 1.5, 0], ["P1", 2.5, 0.1]]
    return {
        **indi(camera="CCD", mount="TELESCOPE"),
        **camera(0, 0),
        **signals(),
        "agrapSXY": Property(
            "Graph example",
            series,
            level1="Graphes",
            has_profile=True,
            grid=Grid(["S", "X", "Y"], points, limit=20, graph_type="SXY", graph_params=dict(SERIES)),
        ),
        "boolsRW0": _bools("One of many", 0, "b1"),
        "boolsRW1": _bools("At most one", 1),
        "boolsRW2": _bools("Any", 2, "b1", "b2", "b3"),
        "datesRWDE": Property("Dates direct edit", dates, level1="Dates", rule=0, has_profile=True),
        "dynprop": Property(
            "Dynamic",
            {"dynbool": d.switch("Bool"), "dynlight": d.light("Light", 1), "dyntext": d.text("Text", "Okydoky")},
            level1="Examples",
            has_profile=True,
            status=2,
        ),
        "extextRO": _texts(writable=False),
        "extextRW": _texts(writable=True),
        "mixedRW": Property("Mixed types", mixed, level1="Examples", rule=0, has_profile=True),
        "numbersRW": Property(
            "Numbers example", numbers, level1="Examples", has_profile=True, status=3, grid=Grid(sorted(numbers))
        ),
        "testimage": Property(
            "Test image", {"image1": d.image("Image"), "progress": d.progress("Progress")}, permission=0
        ),
    }


class Dummy(Equipped):
    library: ClassVar[str] = "dummy"
    kind: ClassVar[str] = "Dummy"
    description: ClassVar[str] = "Dummy module to show what we can do and not"

    def __init__(self, label: str, site: Site, profile: str = "default") -> None:
        super().__init__(label, site, _properties(), profile)
        self.is_changed = True
