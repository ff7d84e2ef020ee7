"""One object of Evok: what it showed last, and what a new record of it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from bridge.drivers.evok_boards import NEVER, silence
from bridge.drivers.evok_frames import Record, number
from bridge.drivers.evok_points import range_of
from bridge.model import Point, Quality, Scalar, Update, point_key

_GOOD, _BAD, _UNCERTAIN = Quality.GOOD, Quality.BAD, Quality.UNCERTAIN
BEYOND = 0.1  # of the range: further out than that, an input measures nothing (open circuits show 1e8 Ω)
_ONEWIRE = frozenset({"temp", "1wdevice"})


def _truth(value: object) -> Scalar:
    known = number(int(value) if isinstance(value, bool) else value)
    return None if known is None else bool(known)


def _text(value: object) -> Scalar:
    return value if isinstance(value, str) else None


def _seconds(value: object) -> Scalar:
    known = number(value)
    return known if known is not None and known < NEVER else None


_SETTINGS: Mapping[str, Callable[[object], Scalar]] = {
    "counter": number,
    "debounce": number,
    "counter_mode": _text,
    "mode": _text,
    "ds_mode": _text,
    "pwm_duty": number,
    "pwm_freq": number,
    "interval": number,
    "scan_interval": number,
    "timeout": number,
    "was_wd_reset": _truth,
    "nv_save": _truth,
    "last_comm": _seconds,
}
_SHAPE = ("mode", "unit", "range")  # what decides on an object's points
_READINGS = ("humidity", "temp", "vdd", "vad", "vis")


class Known:
    """An object that was seen. `shown`: the last update by Evok's name of the field ("value", "mode", ...)."""

    __slots__ = (
        "_facts",
        "_fetch",
        "_high",
        "_low",
        "_read",
        "_readings",
        "_settings",
        "_time",
        "alias",
        "circuit",
        "dev",
        "group",
        "key",
        "kind",
        "points",
        "shown",
    )

    def __init__(self, record: Record, group: str) -> None:
        self.dev = record.dev  # as Evok calls it, and wants it called
        self.kind = record.kind
        self.circuit = record.circuit
        self.key = point_key(self.kind, self.circuit)
        self.group = group
        self.points: dict[str, Point] = {}
        self.shown: dict[str, Update] = {}
        self.alias: object = None
        self._facts: tuple[object, ...] = ()  # all but the value, as fetched from the last record
        self._time: object = None

    def declare(self, record: Record, points: Iterable[Point]) -> None:
        """It has these points too; the record says how to read them. No point ever goes."""
        self.points.update((point.key, point) for point in points)
        self.alias = record.alias
        low, high = range_of(record) if self.kind == "ai" else (None, None)
        margin = 0.0 if low is None or high is None else BEYOND * (high - low)
        self._low = -1e308 if low is None else low - margin
        self._high = 1e308 if high is None else high + margin
        self._read = _READERS.get(self.kind) if self.key in self.points else None
        self._settings = self._declared(_SETTINGS) if self.kind != "1wdevice" else self._declared(("interval",))
        self._readings = self._declared(_READINGS) if self.kind == "1wdevice" else ()
        self._fetch: Callable[[Record], tuple[object, ...]] = attrgetter(
            *_SHAPE, *(field for field, _ in self._settings)
        )
        self._facts = self._fetch(record)[: len(_SHAPE)]  # settings: none yet, so `observe` looks at each

    def _declared(self, fields: Iterable[str]) -> tuple[tuple[str, str], ...]:
        return tuple((field, key) for field in fields if (key := f"{self.key}/{field}") in self.points)

    def fits(self, record: Record) -> bool:
        """The points declared are right for this record."""
        facts = self._fetch(record)
        return facts == self._facts or facts[: len(_SHAPE)] == self._facts[: len(_SHAPE)]

    def field_of(self, key: str) -> str:
        """Evok's name of the field behind a point of this object."""
        return "value" if key == self.key else key[len(self.key) + 1 :]

    def step_of(self, field: str) -> float | None:
        point = self.points.get(self.key if field == "value" else f"{self.key}/{field}")
        return point.step if point else None

    def observe(self, record: Record, report: Callable[[Update], None]) -> bool:
        """Report the value always and the settings when they changed; True when one did."""
        if self.kind in _ONEWIRE and self._repeats(record):
            return self._compare(record, report)
        if self._read is not None:
            value, quality = self._read(self, record)
            update = self.shown["value"] = Update(self.key, value, quality)
            report(update)
        for field, key in self._readings:
            value = None if record.lost is True else number(getattr(record, field))
            update = self.shown[field] = Update(key, value, _BAD if value is None else _GOOD)
            report(update)
        return self._compare(record, report)

    def _repeats(self, record: Record) -> bool:
        """The same 1-Wire reading once more. Reporting it would make a frozen sensor look alive."""
        reading = record.time, record.lost, record.value
        repeats = reading == self._time
        self._time = reading
        return repeats and record.time is not None

    def _compare(self, record: Record, report: Callable[[Update], None]) -> bool:
        facts = self._fetch(record)
        if facts == self._facts:
            return False
        self._facts = facts
        changed = False
        for field, key in self._settings:
            value = _SETTINGS[field](getattr(record, field))
            before = self.shown.get(field)
            if before is None or before.value != value:
                changed = True
                update = self.shown[field] = Update(key, value, _BAD if value is None else _GOOD)
                report(update)
        return changed

    def _analog_in(self, record: Record) -> tuple[Scalar, Quality]:
        if record.mode == "Disabled":
            return None, _GOOD  # asked to show nothing; the number that comes along is meaningless
        value = number(record.value)
        if value is None:
            return None, _BAD
        return value, _GOOD if self._low <= value <= self._high else _UNCERTAIN

    def _number(self, record: Record) -> tuple[Scalar, Quality]:
        value = number(record.value)
        return value, _BAD if value is None else _GOOD

    def _switch(self, record: Record) -> tuple[Scalar, Quality]:
        truth = _truth(record.value)
        return truth, _BAD if truth is None else _GOOD

    def _output(self, record: Record) -> tuple[Scalar, Quality]:
        """A digital output is active with a pulse width too, though its `value` is 0 then."""
        value, quality = self._switch(record)
        if value is False and record.pwm_duty and (number(record.pwm_duty) or 0) > 0:
            return True, quality
        return value, quality

    def _watchdog(self, record: Record) -> tuple[Scalar, Quality]:
        value = number(record.value)  # bit 0: enabled, bit 1: it has reset the section
        return (None, _BAD) if value is None else (int(value) & 1 == 1, _GOOD)

    def _temperature(self, record: Record) -> tuple[Scalar, Quality]:
        return (None, _BAD) if record.lost is True else self._number(record)

    def _answers(self, record: Record) -> tuple[Scalar, Quality]:
        return not silence(record), _GOOD

    def _data(self, record: Record) -> tuple[Scalar, Quality]:
        if record.valid in (False, 0, "false"):
            return None, _BAD
        value, quality = self._number(record)
        # Registers hold 32 bit floats: 22.4 arrives as 22.399999618530273.
        return (float(f"{value:.7g}") if isinstance(value, float) else value), quality


_READERS: Mapping[str, Callable[[Known, Record], tuple[Scalar, Quality]]] = {
    "di": Known._switch,
    "do": Known._output,
    "ro": Known._switch,
    "led": Known._switch,
    "owpower": Known._switch,
    "nv_save": Known._switch,
    "ai": Known._analog_in,
    "ao": Known._number,
    "register": Known._number,
    "temp": Known._temperature,
    "wd": Known._watchdog,
    "data_point": Known._data,
    "modbus_slave": Known._answers,
}
