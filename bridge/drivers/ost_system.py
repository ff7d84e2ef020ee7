"""What belongs to the OST server itself: its log, its modules' signals, its computer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.drivers.ost_commands import ACTIONS
from bridge.drivers.ost_model import STATES, Element, Module
from bridge.drivers.ost_options import LEVELS
from bridge.drivers.ost_values import number, state, text
from bridge.model import Category, Happened, Json, Kind, Point, Policy, Scalar, Update, point_key

FILES = ("fileadd", "filedel", "folderadd", "folderdel")
_CALM = Policy(min_interval=10.0)
_EVENTS = (
    Point("signal", Kind.EVENT, "Signal", choices=STATES),
    Point("log", Kind.EVENT, "Log entry", choices=LEVELS, category=Category.DIAGNOSTIC),
    Point("module", Kind.EVENT, "Module", choices=("created", "removed"), category=Category.DIAGNOSTIC),
    Point("file", Kind.EVENT, "File", choices=FILES, category=Category.DIAGNOSTIC, enabled=False),
)
_CONFIGURATION = Point(
    "system/configuration", Kind.SENSOR, "Configuration", text=True, category=Category.DIAGNOSTIC
)
_AGAIN = 60.0  # seconds for which the same log entry is not told again: a lost INDI server logs every 2 s
_DISKS = 32


def _measured(key: str, name: str, unit: str | None) -> Point:
    return Point(
        key,
        Kind.SENSOR,
        name,
        unit=unit,
        category=Category.DIAGNOSTIC,
        state_class="measurement",
        precision=1,
        policy=_CALM,
    )


def computer(controller: Mapping[str, Any]) -> dict[Point, Scalar]:
    """Points of the server's computer with their values, from `systemwatcher` (every 10 s)."""
    found: dict[Point, Scalar] = {_CONFIGURATION: text(controller.get("currentconf"))}
    watcher = controller.get("systemwatcher")
    if not isinstance(watcher, Mapping):
        return found
    cpu, ram, disks = watcher.get("cpu"), watcher.get("ram"), watcher.get("disks")
    if isinstance(cpu, Mapping):
        found[_measured("system/cpu_load", "CPU load", None)] = number(cpu.get("load_1m"))
    if isinstance(ram, Mapping):
        found[_measured("system/ram_used", "Memory used", "MB")] = number(ram.get("used_mb"))
    for disk in disks[:_DISKS] if isinstance(disks, list) else ():
        if isinstance(disk, Mapping) and (mount := text(disk.get("mountpoint"))):
            total, used = number(disk.get("total_gb")), number(disk.get("used_gb"))
            free = None if total is None or used is None else round(total - used, 3)
            found[_measured(point_key("system", "disk_free", mount), f"Free on {mount}", "GB")] = free
    return found


def points(controller: Mapping[str, Any]) -> tuple[Point, ...]:
    return (*ACTIONS, *_EVENTS, *{point.key: point for point in computer(controller)}.values())


def updates(controller: Mapping[str, Any]) -> Iterator[Update]:
    return (Update(point.key, value) for point, value in computer(controller).items())


def information(controller: Mapping[str, Any], modules: Mapping[str, Module], grant: str) -> Mapping[str, Json]:
    """What the server says it is."""
    git = controller.get("git")
    told = git if isinstance(git, Mapping) else {}
    version = text(told.get("Gittag")) or text(told.get("Githash"))
    return {
        "manufacturer": "OST",
        "model": "Observatory server",
        "sw_version": version,
        "version": version,
        "version_date": text(told.get("Gitdate")),
        "banner": text(controller.get("banner")),
        "configuration": text(controller.get("currentconf")),
        "modules": len(modules),
        "grant": grant,
    }


class Log:
    """Entries from a level on; the same one is told once a minute."""

    def __init__(self, lowest: int) -> None:
        self._lowest = lowest
        self._told: OrderedDict[tuple[str, int, str], float] = OrderedDict()

    def entry(self, module: str, level: int, words: str, at: str, now: float) -> Iterator[Happened]:
        if not self._lowest <= level < len(LEVELS):
            return
        entry = (module, level, words)
        if now - self._told.get(entry, -_AGAIN) < _AGAIN:
            return
        self._told[entry] = now
        self._told.move_to_end(entry)
        if len(self._told) > 256:
            self._told.popitem(last=False)
        data: dict[str, Json] = {"module": module, "text": words[:2000], "logged": at}
        yield Happened(LEVELS[level], data, key="log")


class Signals:
    """What modules tell through their property `signals`; a repetition is no new signal."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}

    def keep(self, modules: Mapping[str, Module]) -> None:
        """These values are old news: they stand in a dump."""
        self._last = {
            name: _signal(module.properties["signals"].elements)
            for name, module in modules.items()
            if "signals" in module.properties
        }

    def take(self, module: str, elements: Mapping[str, Element]) -> Iterator[Happened]:
        signal = _signal(elements)
        if self._last.get(module) == signal:
            return
        self._last[module] = signal
        shown = {key: element.value for key, element in elements.items() if key != "state"}
        word = state(elements["state"].value if "state" in elements else None)[0]
        data: dict[str, Json] = {"module": module, "signal": text(shown.get("event"))}
        for name, key in (
            ("description", "eventdescription"),
            ("status", "statedescription"),
            ("integer", "val_int"),
            ("number", "val_num"),
            ("text", "val_str"),
        ):
            if isinstance(value := shown.get(key), str) or number(value) is not None:
                data[name] = value
        yield Happened(word if isinstance(word, str) else STATES[0], data, key="signal")


def _signal(elements: Mapping[str, Element]) -> tuple[object, ...]:
    return tuple((key, repr(element.value)) for key, element in elements.items())
