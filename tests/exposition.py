"""Reads Prometheus' text format as strictly as its own tools do, and complains of what they would."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"'
SERIES = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
ESCAPED = re.compile(r'\\([\\n"])')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    type: str
    help: str
    series: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """The value of the one series with exactly these labels."""
        (found,) = [value for (_, have), value in self.series.items() if have == frozenset(labels.items())]
        return found


def read(text: str) -> dict[str, Family]:
    """The families by name; AssertionError says what is wrong with the text."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    helps: dict[str, str] = {}
    current = ""
    for line in text.removesuffix("\n").split("\n"):
        match line.split(" ", 3):
            case ["#", "HELP", name, help_]:
                assert name not in helps, f"a second HELP of {name}"
                assert help_.strip(), f"{name}: nothing is said of it"
                helps[name] = help_
            case ["#", "TYPE", name, type_]:
                assert name in helps, f"{name}: no HELP before TYPE"
                assert name not in families, f"a second TYPE of {name}"
                assert type_ in ("counter", "gauge", "histogram"), line
                assert (type_ == "counter") is name.endswith("_total"), f"{name} is a {type_}"
                families[name], current = Family(type_, helps[name]), name
            case _:
                _series(line, current, families)
    assert helps.keys() == families.keys()
    for name, family in families.items():
        if family.type == "histogram":
            _histogram(name, family)
    return families


def _series(line: str, current: str, families: dict[str, Family]) -> None:
    found = SERIES.fullmatch(line)
    assert found, f"not a series: {line!r}"
    name, pairs, value = found[1], found[2], float(found[found.re.groups])
    family = families[current]
    allowed = [current + suffix for suffix in SUFFIXES.get(family.type, ("",))]
    assert name in allowed, f"{name} stands under {current}"
    labels = [(key, unescaped(text)) for key, text in re.findall(LABEL, pairs or "")]
    assert len(dict(labels)) == len(labels), f"a label twice: {line!r}"
    key = name, frozenset(labels)
    assert key not in family.series, f"a series twice: {line!r}"
    assert family.type != "counter" or value >= 0
    family.series[key] = value


def _histogram(name: str, family: Family) -> None:
    """Buckets grow with their bounds, the last has none, and the count is what is in it."""
    rows: dict[Labels, list[tuple[float, float]]] = {}
    for (series, labels), value in family.series.items():
        if series == f"{name}_bucket":
            bound = float(dict(labels)["le"])
            rows.setdefault(frozenset(pair for pair in labels if pair[0] != "le"), []).append((bound, value))
    for labels, row in rows.items():
        bounds, counts = [bound for bound, _ in row], [count for _, count in row]
        assert bounds == sorted(set(bounds)), f"{name}: bounds out of order"
        assert bounds[-1] == float("inf"), f"{name}: no last bucket"
        assert counts == sorted(counts), f"{name}: buckets shrink"
        assert family.series[f"{name}_count", labels] == counts[-1]
        assert (f"{name}_sum", labels) in family.series


def unescaped(text: str) -> str:
    return ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
