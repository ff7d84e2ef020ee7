"""What the toy driver declares: points of every kind, for the instrument itself and for its modules."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.model import Argument, Category, Kind, Point, Policy

COLUMNS = ("time", "voltage")
UNITS = ("s", "V")
BULK = "bulk"  # the module of names that nobody knows beforehand

_JOB_ARGUMENTS = (
    Argument("points", "integer", required=True, minimum=0, maximum=5e6),
    Argument("kind", choices=("scan", "burn")),
    Argument("note"),
)
_MOVE_ARGUMENTS = (Argument("point", "point", required=True), Argument("value", "number", required=True))

INSTRUMENT = (
    Point("lamp", Kind.SWITCH, "Lamp"),
    Point("gain", Kind.NUMBER, "Gain", unit="V", minimum=0.0, maximum=100.0, step=0.5),
    Point("mode", Kind.CHOICE, "Mode", choices=("slow", "fast"), category=Category.CONFIGURATION),
    Point("label", Kind.TEXT, "Label", timeout=2.0),
    Point("uptime", Kind.SENSOR, "Uptime", unit="s", category=Category.DIAGNOSTIC, max_age=60.0),
    Point("door", Kind.BINARY, "Door", device_class="door"),
    Point("picture", Kind.IMAGE, "Last picture"),
    Point("alarm", Kind.EVENT, "Alarm", choices=("overheat", "leak")),
    Point("job_start", Kind.ACTION, "Start a job", arguments=_JOB_ARGUMENTS, timeout=None),
    Point("stop", Kind.ACTION, "Stop", urgent=True, timeout=5.0),
    Point("self_test", Kind.ACTION, "Self test", guarded=True),
    Point("move", Kind.ACTION, "Move", arguments=_MOVE_ARGUMENTS),
)
_MODULES = {
    "head": (Point("head/temperature", Kind.SENSOR, "Temperature", "head", "°C", policy=Policy(deadband=0.1)),),
    "arm": (
        Point("arm/angle", Kind.NUMBER, "Angle", "arm", "°", minimum=-90.0, maximum=90.0),
        Point("arm/load", Kind.SENSOR, "Load", "arm", "N"),
    ),
}


def points_of(module: str, names: Iterable[str]) -> tuple[Point, ...]:
    """Of a module; `names` are the values that the instrument says it has there."""
    if module == BULK:
        return tuple(Point(name, Kind.SENSOR, name, BULK) for name in names)
    return _MODULES.get(module, ())
