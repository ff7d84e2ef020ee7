"""The objects beside the I/O: 1-Wire sensors and their bus, units, device information, aliases, switches."""

import time
from collections.abc import Callable, Mapping

from bridge.simulators.evok.items import Board, Item, JsonObject, Refused, number, whole


class OneWire(Item):
    """A 1-Wire sensor, read every `interval` seconds; its `time` belongs to the read before (recorded)."""

    keywords = ("interval",)

    def __init__(self, dev: str, circuit: str, interval: float) -> None:
        super().__init__(dev, circuit)
        self.interval = int(interval) if interval == int(interval) else interval
        self.is_lost = False
        self.time: float = 0

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("interval") is not None:
            interval = whole(wish["interval"])
            if not 1 <= interval <= 86400:
                raise Refused(f"no such interval: {interval}")
            self.interval = interval

    def measure(self, celsius: float) -> None:
        """Take a measurement over, but not yet its time."""

    def stamp(self) -> None:
        self.time = round(time.monotonic(), 9)


class Thermometer(OneWire):
    """temp: a DS18B20, pushed at every read, also when nothing changed."""

    def __init__(self, circuit: str, interval: float) -> None:
        super().__init__("temp", circuit, interval)
        self.value: float | None = None

    def fields(self) -> JsonObject:
        family, serial, check = self.circuit[:2], self.circuit[2:-2], self.circuit[-2:]
        return {
            "address": f"{family}.{serial}.{check}",
            "value": self.value,
            "lost": self.is_lost,
            "time": self.time,
            "interval": self.interval,
            "type": "DS18B20",
        }

    def forget(self) -> None:
        self.value, self.time = None, 0

    def measure(self, celsius: float) -> None:
        self.value = round(celsius * 16) / 16


class BatteryMonitor(OneWire):
    """1wdevice: a DS2438 used as humidity sensor; its readings are never pushed."""

    def __init__(self, circuit: str, interval: float) -> None:
        super().__init__("1wdevice", circuit, interval)
        self._readings: JsonObject = {}

    def fields(self) -> JsonObject:
        readings = {name: self._readings.get(name) for name in ("humidity", "vdd", "vad", "temp", "vis")}
        about = {"lost": self.is_lost, "time": self.time, "interval": self.interval, "type": "DS2438"}
        return readings | about

    def forget(self) -> None:
        self._readings, self.time = {}, 0

    def measure(self, celsius: float) -> None:
        self._readings = {
            "humidity": round(62 - celsius, 4),
            "vdd": 5.02,
            "vad": 2.1375,
            "temp": round(celsius + 0.4, 4),
            "vis": 0.0013,
        }


class OneWireBus(Item):
    """owbus: the connection to owserver."""

    keywords = ("do_scan", "do_reset", "interval", "scan_interval", "circuit")

    def __init__(self, circuit: str, interval: float) -> None:
        super().__init__("owbus", circuit)
        self.interval: float = int(interval) if interval == int(interval) else interval
        self.scan_interval: float = 10

    def fields(self) -> JsonObject:
        intervals = {"scan_interval": self.scan_interval, "interval": self.interval}
        return {"bus": self.circuit, **intervals, "do_scan": False, "do_reset": False}

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("interval") is not None:
            self.interval = number(wish["interval"])
        if wish.get("scan_interval") is not None:
            self.scan_interval = number(wish["scan_interval"])


class ModbusSlave(Item):
    """modbus_slave: a unit as Evok sees it; `last_comm` is all that tells of its loss."""

    keywords = ("print_log",)

    def __init__(self, board: Board, slave_id: int, scan_interval: float, silence: Callable[[], float]) -> None:
        super().__init__("modbus_slave", board.name)
        self.slave_id, self.scan_interval, self.silence = slave_id, scan_interval, silence

    def fields(self) -> JsonObject:
        return {
            "last_comm": self.silence(),
            "slave_id": self.slave_id,
            "modbus_type": "TCP",
            "modbus_spec": "127.0.0.1",
            "scan_interval": self.scan_interval,
        }

    def write(self, wish: Mapping[str, object]) -> None:
        """Print its traffic into Evok's log: nothing to see from outside."""


class DeviceInfo(Item):
    """device_info: what is built in or plugged on; the circuit comes last."""

    def __init__(self, family: str, model: str, serial: int | None, boards: int) -> None:
        super().__init__("device_info", model)
        self.about: JsonObject = {"family": family, "model": model, "sn": serial, "board_count": boards}

    def shape(self) -> JsonObject:
        return {"dev": self.dev, **self.about, "circuit": self.circuit}


class Switch(Item):
    """owpower and nv_save: a number at first, a bool after a set; never pushed."""

    keywords = ("value",)

    def __init__(self, dev: str, circuit: str, board: Board) -> None:
        super().__init__(dev, circuit, board)
        self.value: int | bool = 0

    def fields(self) -> JsonObject:
        return {"value": self.value}

    def forget(self) -> None:
        self.value = int(self.value)

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("value") is not None:
            self.value = bool(whole(wish["value"]))


class Run(Item):
    """run: the aliases, and the wish to save them at once."""

    keywords = ("save",)

    def __init__(self, aliases: Mapping[str, Item]) -> None:
        super().__init__("run", "alias")
        self._aliases = aliases

    def fields(self) -> JsonObject:
        listing = {
            name: {"circuit": f"{item.dev}_{item.circuit}", "devtype": item.dev}
            for name, item in self._aliases.items()
        }
        return {"save": False, "aliases": listing}

    def write(self, wish: Mapping[str, object]) -> None:
        """Save the aliases: nothing to see from outside."""
