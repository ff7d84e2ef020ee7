"""Frames of the IM7: requests out, and messages in that may hold anything.

The instrument writes JSON with bare NaN and Infinity, and its firmware may add fields and types: nothing here
trusts more than it needs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from bridge.driver import Effect, Frame
from bridge.model import Happened, Json

DEEPEST = 20  # levels of what is passed on
LONGEST = 256  # entries of a list that is passed on; a wave's values are not for a topic
MOST_KINDS = 50  # of unexpected things reported in one connection
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_INT64 = 1 << 63


class Unreadable(ValueError):
    """A text frame that is no JSON object."""


def request(do: str, request_id: str, fields: Mapping[str, Json] = {}) -> str:
    """A request (protocol: "Envelope"). ValueError: a number in it is not finite."""
    return json.dumps({"do": do, **fields, "request_id": request_id}, allow_nan=False, separators=(",", ":"))


def parse(frame: Frame) -> dict[str, object]:
    """A message; Unreadable when it is no JSON object."""
    try:
        content = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {str(error)[:200]}") from None
    if not isinstance(content, dict):
        raise Unreadable(f"a JSON {type(content).__name__}, not an object")
    return content


def mapping(value: object) -> Mapping[str, object]:
    """It, or an empty one for what else may stand in its place."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def text(value: object) -> str:
    """A text fit for a topic's payload; "" for what is none."""
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """A finite number; None for what else may stand in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: object) -> int | None:
    """An integer of at most 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < _INT64:
        return None
    return value


def plain(value: object, longest: int = LONGEST, depth: int = DEEPEST) -> Json:
    """What can be passed on as JSON: NaN is null, and what is too long, too deep or too big is said in words."""
    match value:
        case None | bool():
            return value
        case str():
            return text(value)
        case float():
            return value if math.isfinite(value) else None
        case int():
            return value if whole(value) is not None else number(value)
        case dict() | list() if depth == 0:
            return "…"
        case dict():
            return {text(key): plain(item, longest, depth - 1) for key, item in value.items()}
        case list():
            if len(value) > longest:
                return f"{len(value)} entries"
            return [plain(item, longest, depth - 1) for item in value]
    return str(value)


class Oddities:
    """Reports what is not understood, once per kind and connection."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, what: str) -> Iterator[Effect]:
        what = text(what)[:200]
        if what not in self._told and len(self._told) < MOST_KINDS:
            self._told.add(what)
            yield Happened("unexpected", {"what": what})
