"""OST's values as scalars, and wishes as OST's values: checked here, for the server coerces and stores."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from urllib.parse import quote
from zlib import crc32

from msgspec import UNSET

from bridge.drivers.ost_model import STATES, Element, Module, Tree
from bridge.model import Json, Quality, Scalar, boolean, in_range

SETTABLE = frozenset({"int", "float", "string", "bool", "date", "time", "datetime", "light"})  # what SA must hold
NUMBERS = frozenset({"int", "float"})
MOMENTS = frozenset({"date", "time", "datetime"})
_TINY, _HUGE = 1e-300, 1e100  # elements never set hold uninitialised memory: 6.95e-310 and 8e165 were seen
_WIDEST = 2**31 - 1  # of an int

Reading = tuple[Scalar, Quality]
_LOST: Reading = (None, Quality.BAD)


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """A finite number that is no uninitialised memory."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        garbage = not math.isfinite(value) or 0 < abs(value) < _TINY or abs(value) > _HUGE
    except OverflowError:
        return None
    return None if garbage else value


def state(value: object) -> Reading:
    """A light or a status in a word."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(STATES):
        return STATES[value], Quality.GOOD
    return _LOST


# --- lists of values -----------------------------------------------------------------------------------


def options(element: Element, module: Module, tree: Tree) -> dict[str, str]:
    """The list of an element, keys to labels as a person tells them apart; empty: it has none."""
    listed: object = element.options
    if isinstance(element.lov, str) and element.lov:
        lists = tree.lovs if element.scope == "controller" else {} if module.lovs is UNSET else module.lovs
        found = lists.get(element.lov)
        listed = found.values if found is not None else None
    if not isinstance(listed, Mapping) or not listed:
        return {}
    labels = {str(key): text(label).strip() or str(key) or "(none)" for key, label in listed.items()}
    seen = Counter(labels.values())
    return {key: label if seen[label] == 1 else f"{label} ({key})" for key, label in labels.items()}


def option_key(element: Element) -> str | None:
    """The present value as the key of a list: keys are texts, also of numbers."""
    value = element.value
    if isinstance(value, str):
        return value
    if (plain := number(value)) is not None:
        return str(int(plain)) if float(plain).is_integer() else repr(plain)
    return None


def from_key(element: Element, key: str) -> Json:
    """The value that a key of the list stands for. ValueError: it is not of the element's type."""
    if element.type not in NUMBERS:
        return key
    plain = in_range(key, None, None)
    return plain if element.type == "float" else int(plain)


# --- what is shown -------------------------------------------------------------------------------------


def reading(element: Element, media_url: str | None = None) -> Reading:
    """The present value as a scalar; lists of values are told elsewhere."""
    value: object = element.value
    match element.type:
        case "int" | "float":
            plain = number(value)
            return _LOST if plain is None else (plain, Quality.GOOD)
        case "bool":
            return (value, Quality.GOOD) if isinstance(value, bool) else _LOST
        case "light":
            return state(value)
        case "prg":
            return _progress(element, value)
        case "date" | "time" | "datetime":
            return _moment(element.type, value), Quality.GOOD
        case "img" | "video":
            return _address(value, media_url), Quality.GOOD
    return (value, Quality.GOOD) if isinstance(value, str) else _LOST


def _progress(element: Element, value: object) -> Reading:
    told = value if isinstance(value, Mapping) else {}
    if element.prgtype != "bar":  # the number of a spinner means nothing
        return text(told.get("dynlabel")), Quality.GOOD
    percent = number(told.get("value"))
    return _LOST if percent is None else (percent, Quality.GOOD)


def progress_label(element: Element) -> Reading:
    """What stands on a progress bar."""
    return text(element.value.get("dynlabel") if isinstance(element.value, Mapping) else None), Quality.GOOD


def _moment(kind: str, value: object) -> str | None:
    """ISO 8601 without a zone, for OST tells none; None: never set (year 0), or no moment at all."""
    if not isinstance(value, Mapping):
        return None
    try:
        return _as_moment(kind, value).isoformat()
    except (TypeError, ValueError, OverflowError):
        return None


def _as_moment(kind: str, told: Mapping[str, object]) -> date | time | datetime:
    def part(name: str) -> int:
        value = told.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or int(value) != value:
            raise ValueError(f"{name} is no whole number")
        return int(value)

    if kind == "date":
        return date(part("year"), part("month"), part("day"))
    clock = time(part("hh"), part("mm"), part("ss"), part("ms") * 1000)
    if kind == "time":
        return clock
    return datetime.combine(date(part("year"), part("month"), part("day")), clock)


def _address(value: object, media_url: str | None) -> str | None:
    """Where a picture is. The file keeps its name, so what is told of it makes the address new."""
    told = value if isinstance(value, Mapping) else {}
    path = text(told.get("urljpeg") or told.get("url"))
    if not path or not media_url:
        return path or None
    mark = crc32(json.dumps(told, sort_keys=True).encode())
    base = path if path.startswith(("http://", "https://")) else f"{media_url}/{quote(path.lstrip('/'))}"
    return f"{base}?v={mark:08x}"


# --- what is wanted ------------------------------------------------------------------------------------


def wanted(element: Element, value: Json, listed: Mapping[str, str]) -> Json:
    """The value as OST stores it unchanged; ValueError says what it would have coerced or refused."""
    if listed:
        value = _listed(element, value, listed)
    match element.type:
        case "int" | "float":
            return _number(element, value)
        case "bool":
            return boolean(value)
        case "string":
            if not isinstance(value, str):
                raise ValueError(f"{value!r} is not a text")
            return value
        case "light":
            if isinstance(value, str) and value in STATES:
                return STATES.index(value)
            return int(_whole(in_range(value, 0, len(STATES) - 1)))
        case "date" | "time" | "datetime":
            return _when(element.type, value)
    raise ValueError(f"OST takes no value for an element of type {element.type}")


def _listed(element: Element, value: Json, listed: Mapping[str, str]) -> Json:
    """A label or a key of the list; other values only where the list is a suggestion."""
    keys = {label: key for key, label in listed.items()}
    if isinstance(value, str) and (value in listed or value in keys):
        return from_key(element, value if value in listed else keys[value])
    plain = number(value)
    if plain is not None and any(_equal(key, plain) for key in listed):
        return value
    if element.constrained is True and not (value == "" and element.nullable is True):
        raise ValueError(f"{value!r} is not one of {', '.join(listed.values())}")
    return value


def _equal(key: str, plain: float) -> bool:
    try:
        return float(key) == plain
    except ValueError:
        return False


def _number(element: Element, value: Json) -> Json:
    low, high = limits(element)
    plain = in_range(value, low, high)
    if element.type == "int":
        return int(in_range(_whole(plain), -_WIDEST - 1, _WIDEST))
    return plain


def _whole(plain: float) -> float:
    if not plain.is_integer():
        raise ValueError(f"{plain:g} is not a whole number")
    return plain


def limits(element: Element) -> tuple[float | None, float | None]:
    """The smallest and the largest value; OST means none where the largest is not above the smallest.

    The server cuts a float's largest value to a whole number (0.9 is told as 0): up to one more may be right.
    """
    low, high = number(element.minimum), number(element.maximum)
    if low is None or high is None or not high > low:
        return None, None
    cut = element.type == "float" and high > 0 and float(high).is_integer()
    return low, high + 1 if cut else high


def _when(kind: str, value: Json) -> Json:
    """From ISO 8601 or OST's own object."""
    if isinstance(value, str):
        try:
            moment: date | time | datetime = _PARSE[kind](value)
        except ValueError:
            raise ValueError(f"{value!r} is no {kind} like {_EXAMPLES[kind]}") from None
        if getattr(moment, "tzinfo", None) is not None:
            raise ValueError(f"{value!r} has a time zone, and OST knows none")
    elif isinstance(value, Mapping):
        try:
            moment = _as_moment(kind, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"that is no {kind}: {error}") from None
    else:
        raise ValueError(f"{value!r} is no {kind} like {_EXAMPLES[kind]}")
    return _fields(moment)


_PARSE: Mapping[str, Callable[[str], date | time | datetime]] = {
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "datetime": datetime.fromisoformat,
}
_EXAMPLES = {"date": "2026-11-21", "time": "22:30:00", "datetime": "2026-11-21T22:30:00"}


def _fields(moment: date | time | datetime) -> Json:
    told: dict[str, Json] = {}
    if isinstance(moment, date):
        told |= {"year": moment.year, "month": moment.month, "day": moment.day}
    if isinstance(moment, time | datetime):
        told |= {"hh": moment.hour, "mm": moment.minute, "ss": moment.second, "ms": moment.microsecond // 1000}
    return told


def same(shown: object, sent: object) -> bool:
    """What the server shows is what was sent; it keeps some floats in single precision, and may leave out `ms`."""
    if isinstance(shown, Mapping) and isinstance(sent, Mapping):
        return all(same(shown.get(name, 0), value) for name, value in sent.items())
    if isinstance(shown, bool) or isinstance(sent, bool):
        return shown is sent
    a, b = number(shown), number(sent)
    if a is not None and b is not None:
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
    return shown == sent
