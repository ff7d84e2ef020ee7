"""What each object type of Evok offers as points: kinds, units, ranges, choices and defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from bridge.drivers.evok_frames import Record, modes, number, span
from bridge.model import Category, Kind, Point, Policy, point_key

POLL, LONGEST_POLL = 30.0, 60.0  # seconds between two `all`: what is not pushed is at most this old

LABELS: Mapping[str, str] = {
    "di": "DI",
    "do": "DO",
    "ro": "RO",
    "led": "LED",
    "ai": "AI",
    "ao": "AO",
    "temp": "Temperature",
    "1wdevice": "1-Wire",
    "wd": "Watchdog",
    "register": "Register",
    "data_point": "Data point",
    "modbus_slave": "Board",
    "owbus": "1-Wire bus",
    "owpower": "1-Wire power",
    "nv_save": "Settings of board",
    "run": "Aliases",
}
SILENT = frozenset({"device_info", "board", "tcp_bus"})  # known, and nothing to show of them
EXPECTED = SILENT | LABELS.keys()
ON_BOARDS = frozenset({"di", "do", "ro", "led", "ai", "ao", "wd", "register", "data_point", "nv_save"})

UNITS: Mapping[str, str | None] = {"Ohm": "Ω", "lux": "lx", "sec": "s", "N/A": None}
_CLASSES = {"V": "voltage", "mA": "current"}
_DATA_CLASSES = {"°C": "temperature", "hPa": "atmospheric_pressure", "lx": "illuminance", "s": "duration"}
_CONFIG, _DIAGNOSTIC = Category.CONFIGURATION, Category.DIAGNOSTIC


class Place(Struct, frozen=True):
    """Where the points of one object go, and what they are called."""

    key: str
    name: str
    group: str = ""

    def point(self, kind: Kind, field: str = "", **features: object) -> Point:
        """A point of this object: the value itself, or one of its fields."""
        key = f"{self.key}/{field}" if field else self.key
        name = f"{self.name} {field.replace('_', ' ')}" if field else self.name
        return Point(key, kind, name, self.group, **features)  # type: ignore[arg-type]

    def setting(self, kind: Kind, field: str, **features: object) -> Point:
        """A field that configures the object: not shown by default."""
        return self.point(kind, field, category=_CONFIG, enabled=False, **features)

    def choice(self, field: str, choices: Mapping[str, object], guarded: bool = False) -> Iterator[Point]:
        if choices:
            yield self.setting(Kind.CHOICE, field, choices=tuple(choices), guarded=guarded)


def place(record: Record, group: str) -> Place:
    kind, circuit = record.kind, record.circuit
    board, _, turn = circuit.rpartition("_")
    name = f"{LABELS[kind]} {board}.{turn}" if board and turn.isdigit() else f"{LABELS[kind]} {circuit}"
    for given in (record.alias, record.name if kind == "data_point" else None):
        if isinstance(given, str) and given:
            name = given
            break
    return Place(point_key(kind, circuit), name, group)


def unit_of(record: Record) -> str | None:
    """The unit as it is usually written; None: no unit."""
    return UNITS.get(record.unit, record.unit) if isinstance(record.unit, str) else None


def range_of(record: Record) -> tuple[float | None, float | None]:
    """The range, which an analogue output of a main unit only gives with its mode."""
    low, high = span(record.range)
    if low is None:
        mode = modes(record.modes).get(record.mode) if isinstance(record.mode, str) else None
        return span(mode.get("range")) if isinstance(mode, dict) else (None, None)
    return low, high


def _di(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.BINARY)
    if record.counter is not None:
        yield at.point(Kind.SENSOR, "counter", state_class="total_increasing", precision=0, enabled=False)
    if record.debounce is not None:
        yield at.setting(Kind.NUMBER, "debounce", unit="ms", minimum=0, maximum=65535, step=1)
    yield from at.choice("counter_mode", modes(record.counter_modes))
    yield from at.choice("mode", modes(record.modes), guarded=True)
    yield from at.choice("ds_mode", modes(record.ds_modes), guarded=True)


def _do(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.SWITCH)
    if "PWM" in modes(record.modes):
        yield at.point(Kind.NUMBER, "pwm_duty", unit="%", minimum=0, maximum=100, step=1, enabled=False)
        yield at.setting(Kind.NUMBER, "pwm_freq", unit="Hz", minimum=1, maximum=1e6, step=1)
    if choices := tuple(modes(record.modes)):  # Evok ignores a mode that is set here
        yield at.point(Kind.SENSOR, "mode", choices=choices, category=_DIAGNOSTIC, enabled=False)


def _relay(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.SWITCH)


def _led(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.SWITCH, category=_CONFIG)


def _ai(record: Record, at: Place) -> Iterator[Point]:
    unit = unit_of(record)
    low, high = range_of(record)
    # The noise of an open input comes with every scan, 47 times a second. Resistances span decades: no deadband.
    deadband = (high - low) / 2000 if unit in _CLASSES and low is not None and high is not None else None
    yield at.point(
        Kind.SENSOR,
        unit=unit,
        minimum=low,
        maximum=high,
        device_class=_CLASSES.get(unit or ""),
        state_class="measurement",
        precision=3 if unit in _CLASSES else 1,
        policy=Policy(deadband=deadband, min_interval=1.0),
    )
    yield from at.choice("mode", modes(record.modes), guarded=True)


def _ao(record: Record, at: Place) -> Iterator[Point]:
    unit = unit_of(record)
    low, high = range_of(record)
    yield at.point(
        Kind.NUMBER,
        unit=unit,
        minimum=low,
        maximum=high,
        step=0.01,
        device_class=_CLASSES.get(unit or ""),
        precision=2,
    )
    yield from at.choice("mode", modes(record.modes), guarded=True)


def _interval(record: Record, at: Place) -> Iterator[Point]:
    if record.interval is not None:
        yield at.setting(Kind.NUMBER, "interval", unit="s", minimum=1, maximum=86400, step=1)


def _age(record: Record, least: float) -> float:
    """When a 1-Wire reading is stale: owserver may die without a word, and then the values freeze."""
    return max(3.0 * (number(record.interval) or 0), least)


def _temp(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(
        Kind.SENSOR,
        unit="°C",
        device_class="temperature",
        state_class="measurement",
        precision=2,
        max_age=_age(record, 10.0),
    )
    yield from _interval(record, at)


_READINGS: tuple[tuple[str, str | None, str | None, bool], ...] = (
    ("humidity", "%", "humidity", True),
    ("temp", "°C", "temperature", True),
    ("vdd", "V", "voltage", True),
    ("vad", "V", "voltage", True),
    ("vis", None, None, False),
)


def _onewire(record: Record, at: Place) -> Iterator[Point]:
    if record.type != "DS2438":  # the others never show a value
        return
    for field, unit, device_class, enabled in _READINGS:
        yield at.point(
            Kind.SENSOR,
            field,
            unit=unit,
            device_class=device_class,
            state_class="measurement",
            precision=2,
            max_age=_age(record, 3 * LONGEST_POLL),
            enabled=enabled,
        )
    yield from _interval(record, at)


def _wd(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.SWITCH, category=_CONFIG, enabled=False)
    if record.timeout is not None:
        yield at.setting(Kind.NUMBER, "timeout", unit="ms", minimum=0, maximum=65535, step=1)
    if record.was_wd_reset is not None:
        yield at.point(Kind.BINARY, "was_wd_reset", device_class="problem", category=_DIAGNOSTIC, enabled=False)
    if record.nv_save is not None:
        yield at.setting(Kind.SWITCH, "nv_save", guarded=True)


def _register(record: Record, at: Place) -> Iterator[Point]:
    if record.circuit.endswith("_inp"):  # an input register
        yield at.point(Kind.SENSOR, precision=0, category=_DIAGNOSTIC, enabled=False)
    else:
        yield at.point(
            Kind.NUMBER, minimum=0, maximum=65535, step=1, guarded=True, category=_CONFIG, enabled=False
        )


def _data_point(record: Record, at: Place) -> Iterator[Point]:
    unit, name = unit_of(record), str(record.name).lower()
    device_class = _DATA_CLASSES.get(unit or "")
    if unit == "%" and "humid" in name:
        device_class = "humidity"
    elif unit == "ppm" and "co2" in name:
        device_class = "carbon_dioxide"
    yield at.point(Kind.SENSOR, unit=unit, device_class=device_class, state_class="measurement")


def _slave(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.BINARY, device_class="connectivity", category=_DIAGNOSTIC)
    yield at.point(
        Kind.SENSOR,
        "last_comm",
        unit="s",
        device_class="duration",
        precision=1,
        category=_DIAGNOSTIC,
        enabled=False,
    )


def _owbus(record: Record, at: Place) -> Iterator[Point]:
    yield from _interval(record, at)
    if record.scan_interval is not None:
        yield at.setting(Kind.NUMBER, "scan_interval", unit="s", minimum=0, maximum=86400, step=1)


def _owpower(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.SWITCH, category=_CONFIG, enabled=False)


def _nv_save(record: Record, at: Place) -> Iterator[Point]:
    yield at.point(Kind.SWITCH, category=_CONFIG, enabled=False, guarded=True)  # it writes flash


def _run(record: Record, at: Place) -> Iterator[Point]:
    yield from ()  # there is nothing to see, but `evok_set` can have the aliases saved


_BUILDERS: Mapping[str, Callable[[Record, Place], Iterator[Point]]] = {
    "di": _di,
    "do": _do,
    "ro": _relay,
    "led": _led,
    "ai": _ai,
    "ao": _ao,
    "temp": _temp,
    "1wdevice": _onewire,
    "wd": _wd,
    "register": _register,
    "data_point": _data_point,
    "modbus_slave": _slave,
    "owbus": _owbus,
    "owpower": _owpower,
    "nv_save": _nv_save,
    "run": _run,
}


def points_of(record: Record, group: str) -> tuple[Point, ...]:
    """The points of one object of a known type."""
    return tuple(_BUILDERS[record.kind](record, place(record, group)))
