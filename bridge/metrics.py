"""Numbers as text that Prometheus reads (text format 0.0.4): families of samples, and a histogram to count into.

https://prometheus.io/docs/instrumenting/exposition_formats/ tells the format; docs/metrics.md tells our names.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Type = Literal["counter", "gauge", "histogram"]

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Histogram:
    """Counts observations by size. `bounds`: the upper, inclusive ends of the buckets, ascending, finite."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)  # of each bucket alone; the last one has no end
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """About 0.2 µs; NaN is for nobody to observe."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Sample(Struct, frozen=True):
    """One series. `suffix` goes behind the family's name."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(Struct, frozen=True):
    """All series of one name."""

    name: str
    type: Type
    help: str
    samples: Sequence[Sample]


def counter(name: str, help_: str, value: float) -> Family:
    return Family(name, "counter", help_, [Sample(value)])


def gauge(name: str, help_: str, value: float) -> Family:
    return Family(name, "gauge", help_, [Sample(value)])


def labelled(
    name: str, type_: Type, help_: str, label: str, values: Iterable[tuple[str, float | Histogram | None]]
) -> Family:
    """One series per value of one label; None: there is no number (now), and so no series."""
    samples: list[Sample] = []
    for text, value in values:
        if isinstance(value, Histogram):
            samples += buckets(value, {label: text})
        elif value is not None:
            samples.append(Sample(value, {label: text}))
    return Family(name, type_, help_, samples)


def buckets(histogram: Histogram, labels: Mapping[str, str] = {}) -> Iterator[Sample]:
    """The series of one histogram: cumulative buckets, the sum and the count."""
    total = 0
    for bound, count in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
        total += count
        yield Sample(total, {**labels, "le": number(bound)}, "_bucket")
    yield Sample(histogram.sum, labels, "_sum")
    yield Sample(total, labels, "_count")


def render(families: Iterable[Family]) -> bytes:
    """The whole page. ValueError for a name that Prometheus would not take."""
    return "".join(line for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    name = _checked(family.name)
    yield f"# HELP {name} {family.help.translate(_IN_HELP)}\n"
    yield f"# TYPE {name} {family.type}\n"
    for sample in family.samples:
        pairs = ",".join(f'{_checked(key)}="{text.translate(_IN_LABEL)}"' for key, text in sample.labels.items())
        yield f"{name}{sample.suffix}{f'{{{pairs}}}' if pairs else ''} {number(sample.value)}\n"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name for Prometheus: {name!r}")
    return name


def number(value: float) -> str:
    """As Go reads it; a whole number without a fraction."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
