"""The project that is open in INSPECT, and the files on its disk: their names decide what becomes of them."""

import math
import re
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Literal

from bridge.simulators.zeiss_inspect.script import Broken, ElementsRequest, ImageRequest, Refused

Outcome = Literal["running", "done", "failed", "killed"]
WORDS = re.compile(r"(?<![a-z])(?:(ok|fail|crash|exit)|slow(\d+(?:\.\d+)?))(?![a-z])", re.IGNORECASE)
ABSOLUTE = re.compile(r"[a-z]:[/\\]|\\\\[^\\]|/", re.IGNORECASE)
MODES = ("clipboard", "new_stage")
REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be read: what importing it does, and the seconds that it takes."""

    seconds: float
    fails: bool
    kills: bool


def found(path: object) -> File | None:
    """The file at an absolute path whose name bears `ok`, `fail`, `crash`, `exit` or `slowN` (seconds).

    Words may be joined (`slow5-fail.jpg`); other letters must not touch them. Everything else cannot be read.
    Raises Broken for what Python takes for no path; whole numbers are file descriptors, but of no regular file.
    """
    if not isinstance(path, str | int) or (isinstance(path, int) and not -(2**31) <= path < 2**31):
        raise Broken
    if not isinstance(path, str) or not ABSOLUTE.match(path) or not path.isprintable():
        return None
    name = re.split(r"[/\\]", path)[-1]
    words, seconds = set(), 0.0
    for word, duration in WORDS.findall(name):
        words.add(word.lower())
        seconds = max(seconds, float(duration or 0))
    return File(seconds, not words.isdisjoint({"fail", "crash"}), "exit" in words) if words else None


@dataclass(slots=True)
class Import:
    """One call of an import command; times in seconds since 1970, `into` is the series or the import mode."""

    kind: Literal["image", "elements"]
    file: object
    into: object
    start: float
    end: float | None = None
    outcome: Outcome = "running"

    def finish(self, outcome: Outcome) -> None:
        self.end, self.outcome = time.time(), outcome


@dataclass(slots=True)
class Series:
    """A measurement series; the focal length is what it was created with."""

    focal_length: object = None
    images: int = 0


@dataclass(slots=True)
class Project:
    """Measurement series by name, elements counted by import mode, and the latest imports."""

    series: dict[str, Series]
    elements: Counter[str] = field(default_factory=Counter)
    count: int = 0
    recent: deque[Import] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def begin(self, request: ImageRequest | ElementsRequest) -> tuple[Import, File]:
        """Check the file and call the import command; raises Refused or Broken when it does not come to that."""
        file = found(request.file)
        if file is None:
            kind = "Image" if isinstance(request, ImageRequest) else "Elements"
            raise Refused(f"Error: {kind} file {request.file} could not be read.")
        now = time.time()
        match request:
            case ImageRequest(path, series, focal_length):
                self._provide(series, focal_length)
                entry = Import("image", path, series, now)
            case ElementsRequest(path, mode):
                entry = Import("elements", path, mode, now)
        self.count += 1
        self.recent.append(entry)
        return entry, file

    def take(self, entry: Import) -> None:
        """An import succeeded."""
        entry.finish("done")
        if entry.kind == "image":
            self.series[str(entry.into)].images += 1
        else:
            self.elements[str(entry.into)] += 1

    def shown(self) -> dict[str, object]:
        return {
            "series": {name: asdict(series) for name, series in self.series.items()},
            "elements": dict(self.elements),
            "imports": {"count": self.count, "recent": [asdict(entry) for entry in self.recent]},
        }

    def _provide(self, name: object, focal_length: object) -> None:
        """Look the series up, or create it (only then the focal length matters); nobody catches a failure."""
        if isinstance(name, str) and name in self.series:
            return
        if not isinstance(name, str) or name == "badcreate" or not _is_length(focal_length):
            raise Broken
        self.series[name] = Series(focal_length)


def _is_length(value: object) -> bool:
    """A positive number or its text: what INSPECT itself accepts is unknown."""
    if not isinstance(value, str | int | float):
        return False
    try:
        length = float(value)
    except (ValueError, OverflowError):
        return False
    return math.isfinite(length) and length > 0
