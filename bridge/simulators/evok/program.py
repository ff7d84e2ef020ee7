"""The Evok program: which objects there are, what `all` shows, what `set` does, and how it starts."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.simulators.evok import v2
from bridge.simulators.evok.filters import NAMES, Filter
from bridge.simulators.evok.items import Item, JsonObject, Refused
from bridge.simulators.evok.system import (
    BatteryMonitor,
    DeviceInfo,
    ModbusSlave,
    OneWire,
    OneWireBus,
    Run,
    Thermometer,
)
from bridge.simulators.evok.unit import Unit
from bridge.simulators.server import Gate

# The order of the kinds in a recorded reply to `all`.
KINDS = (
    "ro do di ai ao temp 1wdevice owbus modbus_slave led wd register data_point device_info owpower run nv_save"
)
FROM_THE_START = {"owbus", "modbus_slave", "device_info", "run"}
FILTERED = ("di", "ro", "ai", "ao", "temp", "1wdevice")  # what `all` shows with `all_filtered`


@dataclass(slots=True)
class Executions:
    """The sets executed at one object: how many, and the latest with the seconds since 1970."""

    count: int = 0
    recent: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=200))


class Program:
    """Objects by (dev, circuit). `units_up` and `complete` are the steps of the start-up second.

    Step one: 11 objects; with `units_up` 153, 59 of them with the value null; with `complete` all of them.
    """

    def __init__(self, units: list[Unit], interval: float, all_filtered: bool, is_old: bool) -> None:
        self.units = {unit.name: unit for unit in units}
        self.all_filtered, self.is_old = all_filtered, is_old
        self.units_up, self.complete = Gate(), Gate()
        self.aliases: dict[str, Item] = {}
        self.executed: dict[Item, Executions] = {}
        self.one_wire: list[OneWire] = [
            Thermometer("2867C6697351FF68", interval),
            BatteryMonitor("264AEC29CDBAABEA", interval),
        ]
        slaves = [ModbusSlave(unit, unit.slave_id, unit.scan_interval, unit.silence) for unit in units]
        first, second, third = (unit.name for unit in units[2:])
        about = [
            DeviceInfo("Neuron", "L533", 123, 2),
            DeviceInfo("Extension", first, None, 1),
            DeviceInfo("Extension", second, None, 1),
            DeviceInfo("unknown", third, None, 1),
        ]
        order = KINDS.split()
        everything: list[Item] = [item for unit in units for item in unit.items]
        everything += [*self.one_wire, OneWireBus("OWFS", interval), *slaves, *about, Run(self.aliases)]
        everything.sort(key=lambda item: order.index(item.dev))
        self.items = {(item.dev, item.circuit): item for item in everything}
        for unit in units:  # start with a filled cache
            if unit.is_known:
                unit.scan()

    def shape(self, item: Item) -> JsonObject:
        shape = item.shape()
        if item.dev == "register" and not self.complete.is_open and item.circuit != "1_0":
            shape["value"] = None
        return v2.shaped(shape) if self.is_old else shape

    def all(self, chosen: Filter) -> list[JsonObject]:
        """The reply to `all`: from the cache, ignoring the filter unless `all_filtered` is set."""
        present = [item for item in self.items.values() if self._exists(item)]
        if self.all_filtered:
            wanted = FILTERED if chosen.is_default else ()  # any other filter: nothing at all, a known bug
            present = [item for dev in wanted for item in present if item.dev == dev]
        return [self.shape(item) for item in present]

    def find(self, dev: str, circuit: str) -> Item | None:
        """The object that a client means by name or by alias; the type must fit."""
        names = [NAMES.get(dev)] + (["do"] if self.is_old and dev == "relay" else [])
        for name in names:
            item = self.items.get((name, circuit)) if name else None
            if item is None and circuit in self.aliases and self.aliases[circuit].dev == name:
                item = self.aliases[circuit]
            if item is not None and self._exists(item):
                return item
        return None

    async def set(self, dev: str, circuit: str, fields: Mapping[str, object]) -> None:
        """Execute a `set`. Nothing is told about it; a dead unit keeps the caller waiting."""
        item = self.find(dev, circuit)
        if item is None:
            return
        wish = _wish(item, fields)
        if not wish.keys() <= {*item.keywords, "alias"}:
            return  # Python: unexpected keyword argument
        try:
            if (alias := wish.pop("alias", None)) is not None:
                self._rename(item, alias)
            if wish and await self._answers(item):
                item.write(wish)
                executions = self.executed.setdefault(item, Executions())
                executions.count += 1
                executions.recent.append({"at": time.time(), "wish": wish})
        except Refused:
            pass  # a line in Evok's log

    def stop(self) -> None:
        """The program ends; the hardware lives on."""
        self.units_up.shut()
        self.complete.shut()
        for item in self.items.values():
            item.forget()
        for unit in self.units.values():
            unit.forget()

    def _exists(self, item: Item) -> bool:
        if item.dev in FROM_THE_START:
            return True
        if isinstance(item.board, Unit) and not item.board.is_known:
            return False
        return self.units_up.is_open if item.dev != "1wdevice" else self.complete.is_open

    async def _answers(self, item: Item) -> bool:
        """Whether the object's unit takes a write; finding out takes as long as with the real one."""
        unit = item.board
        if not isinstance(unit, Unit) or unit.failure is None:
            return True
        if unit.failure == "serial":  # waits without limit, then does what nobody wants any more
            await unit.alive()
            return True
        await asyncio.sleep(unit.blocking)
        return False

    def _rename(self, item: Item, alias: object) -> None:
        if not isinstance(alias, str) or not re.fullmatch(r"[A-Za-z0-9._-]*", alias):
            raise Refused(f"no alias: {alias!r}")
        if alias in self.aliases:
            raise Refused(f"{alias} is taken")
        self.aliases.pop(item.alias, None)
        item.alias = alias
        if alias:
            self.aliases[alias] = item


def _wish(item: Item, fields: Mapping[str, object]) -> dict[str, object]:
    """The fields meant: a top-level `value` swallows all others, and may itself be an object of fields."""
    if "value" not in fields:
        return dict(fields)
    value = fields["value"]
    if isinstance(value, dict):
        return dict(value)
    return {item.keywords[0]: value} if item.keywords else {"value": value}
