"""What the server makes of a value that a client sends: it coerces instead of refusing (nearly always)."""

import math
from collections.abc import Mapping
from datetime import date, time

LARGEST = 2**31  # of an int; beyond that Qt makes 0
SETTABLE = frozenset({"int", "float", "string", "bool", "light", "date", "time", "datetime"})


class NotTaken(Exception):
    """The value is not set; the log gets this text with this level."""

    def __init__(self, level: int, text: str) -> None:
        super().__init__(text)
        self.level = level


def coerced(kind: str, value: object, uses_ms: bool = False) -> object:
    """The value as it is stored; NotTaken for what Qt cannot convert."""
    match kind:
        case "int" | "light":
            return _whole(value)
        case "float":
            return _number(value)
        case "bool":
            return _truth(value)
        case "string":
            return _text(value)
        case "date":
            return _date(value)
        case "time":
            return _time(value, uses_ms)
        case "datetime":
            return {**_date(value), **_time(value, uses_ms=True)}
    raise NotTaken(3, f"can't update, unhandled type : {kind}")


def _whole(value: object) -> int:
    if isinstance(value, str):
        digits = value.strip().removeprefix("-")
        return int(value) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    number = _number(value)
    return math.floor(number + 0.5) if abs(number) < LARGEST else 0


def _number(value: object) -> float:
    match value:
        case bool() | int() | float() | str():
            try:
                return float(value)
            except (ValueError, OverflowError):
                return 0.0
    raise NotTaken(3, "can't update, unhandled type : number")


def _truth(value: object) -> bool:
    match value:
        case bool() | int() | float():
            return bool(value)
        case str():  # "off" is true
            return value.lower() not in {"", "0", "false"}
    return False


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
    return ""


def _date(value: object) -> dict[str, int]:
    parts = value if isinstance(value, Mapping) else {}
    day = {name: _part(parts, name) for name in ("day", "month", "year")}
    try:
        date(day["year"], day["month"], day["day"])
    except (ValueError, OverflowError):
        return {"day": 0, "month": 0, "year": 0}
    return day


def _time(value: object, uses_ms: bool) -> dict[str, int]:
    parts = value if isinstance(value, Mapping) else {}
    names = ("hh", "mm", "ms", "ss") if uses_ms else ("hh", "mm", "ss")
    clock = {name: _part(parts, name) for name in names}
    try:
        time(clock["hh"], clock["mm"], clock["ss"], clock.get("ms", 0) * 1000)
    except (ValueError, OverflowError):
        return dict.fromkeys(names, 0)
    return clock


def _part(parts: Mapping[object, object], name: str) -> int:
    value = parts.get(name, 0)
    return value if isinstance(value, int) else 0
