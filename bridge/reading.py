"""Reading what people and programs write as a boolean or a number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.model import Json

_TRUE = frozenset({"1", "on", "true"})
_FALSE = frozenset({"0", "off", "false"})


def boolean(value: Json) -> bool:
    """ON, off, true, 1, ... as a boolean; ValueError for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and (word := value.strip().lower()) in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError(f"{value!r} is neither ON nor OFF")


def in_range(value: Json, minimum: float | None, maximum: float | None, unit: str | None = None) -> float:
    """A finite number between the limits; texts are read. ValueError says what is wrong."""
    readable = isinstance(value, int | float | str) and not isinstance(value, bool)
    try:
        number = float(str(value).replace("_", "?")) if readable else math.nan  # 1_000 is for programmers
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    unit = f" {unit}" if unit else ""
    if minimum is not None and number < minimum:
        raise ValueError(f"{number:g} is below the minimum of {minimum:g}{unit}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{number:g} is above the maximum of {maximum:g}{unit}")
    return number
