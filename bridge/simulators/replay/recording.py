"""A transcript as the connections that it has, each up to its end."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MESSAGES = ("text", "binary")
_SPOKEN = {*MESSAGES, "ping", "pong", "close", "end"}


@dataclass(frozen=True, slots=True)
class Line:
    """What one side said. `at`: seconds since the connection was open; `data`: bytes only for kind "binary"."""

    at: float
    dir: Literal[">", "<"]
    kind: str
    data: object


@dataclass(frozen=True, slots=True)
class Recording:
    """One connection. `refusal`: status and text of a handshake that the device refused."""

    number: int
    lines: tuple[Line, ...]
    refusal: tuple[int, str] | None = None


def read(path: Path) -> list[Recording]:
    """Those connections of which there is something to play. OSError; ValueError: it is no transcript."""
    with path.open(encoding="utf-8") as file:
        return recordings(file)


def recordings(text: Iterable[str]) -> list[Recording]:
    by_number: dict[int, list[tuple[float, str, str, object]]] = {}
    for number, line in enumerate(text, 1):
        if line.strip():
            try:
                found = json.loads(line)
                data, kind = found["data"], found["kind"]
                if kind == "binary":
                    data = base64.b64decode(data, validate=True)
                by_number.setdefault(found.get("conn", 1), []).append(
                    (float(found["t"]), found["dir"], kind, data)
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"line {number} is none of a transcript: {error!r}") from None
    made = (_recording(number, lines) for number, lines in sorted(by_number.items()))
    return [one for one in made if one is not None]


def _recording(number: int, entries: list[tuple[float, str, str, object]]) -> Recording | None:
    begun, lines = entries[0][0], list[Line]()
    for t, direction, kind, data in entries:
        if kind == "http" and direction == "<":
            begun = t
            if (refusal := _refusal(data)) is not None:
                return Recording(number, (), refusal)
        elif kind in _SPOKEN and direction in ("<", ">"):
            end = kind in ("close", "end")
            if end and direction == ">":
                break  # the client left: what the device did then is no news
            lines.append(Line(max(t - begun, 0.0), "<" if direction == "<" else ">", kind, data))
            if end:
                break
    return Recording(number, tuple(lines)) if lines else None


def _refusal(head: object) -> tuple[int, str] | None:
    if not isinstance(head, Mapping):
        return None
    status = str(head.get("line", "")).split(" ")[1:2]
    if not status or not status[0].isdecimal() or status[0] == "101":
        return None
    return int(status[0]), str(head.get("body", ""))
