"""Evok on a WebSocket: commands without answers, one event message per unit and scan, and its ways to fail."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from bridge.simulators.evok.analogue import AnalogueInput
from bridge.simulators.evok.digital import DigitalInput, DigitalOutput, Relay
from bridge.simulators.evok.filters import NAMES, Filter
from bridge.simulators.evok.inventory import units
from bridge.simulators.evok.items import Item, JsonObject
from bridge.simulators.evok.plant import Plant
from bridge.simulators.evok.program import Program
from bridge.simulators.evok.system import OneWire
from bridge.simulators.evok.unit import Failure, Unit
from bridge.simulators.server import Connection, Fault, Reply, Server

LONGEST_PAUSE = 120.0
SWITCHED = {"ro", "do", "led"}  # objects whose method `set_state` can be called as a command


class EvokSimulator:
    """An L533 with two boards, two extensions, an air sensor and two 1-Wire sensors, under Evok 3.0.6 (or 2).

    `GET /_state` shows the hardware's values and the sets executed at each object; `GET /_fault` lists the faults.
    """

    banner: ClassVar[str] = "TornadoServer/6.3.3"
    max_size: ClassVar[int | None] = 10 * 2**20

    def __init__(
        self,
        *,
        rate: Annotated[float, "scans per second of the built-in boards; 0: as fast as it goes"] = 50.0,
        slow_every: Annotated[int, "scans for each reading of the analogue blocks (real: 10)"] = 10,
        lively: Annotated[bool, "inputs move by themselves"] = True,
        busy: Annotated[bool, "every input, relay and LED of the built-in boards changes at every scan"] = False,
        day: Annotated[float, "length of a simulated day in seconds"] = 86400.0,
        seed: Annotated[int, "seed of everything that looks random"] = 1,
        one_wire_interval: Annotated[float, "seconds between two reads of the 1-Wire sensors"] = 60.0,
        absent: Annotated[str, "units that were away when Evok started, separated by commas"] = "",
        all_filtered: Annotated[bool, "Evok's setting of that name, which makes `all` incomplete"] = False,
        version: Annotated[int, "3, or 2 for the names and shapes of Evok 2"] = 3,
        back_off: Annotated[float, "first pause in seconds after a failed scan; doubles up to 120 s"] = 1.0,
    ) -> None:
        is_old = version == 2
        boards = units(rate, slow_every, is_old)
        away = set(filter(None, absent.split(",")))
        if unknown := away - {unit.name for unit in boards}:
            raise ValueError(f"no unit {', '.join(unknown)}; there are {', '.join(unit.name for unit in boards)}")
        for unit in boards:
            unit.is_known = unit.name not in away
        self.program = Program(boards, one_wire_interval, all_filtered, is_old)
        self.plant = Plant(self.program.items, day, seed, time.monotonic()) if lively else None
        self._busy, self._back_off = busy, back_off
        self._owserver_lives = True
        self._filters: dict[Connection, Filter] = {}
        self._accepted = 0  # connections since the start
        self._server: Server | None = None
        self._start: asyncio.Task[None] | None = None

    # --- the server's side --------------------------------------------------------------------------------------

    def respond(self, connection: Connection) -> Reply | None:
        match urlsplit(connection.path).path:
            case "/ws" | "/ws/":
                if connection.headers.get("Upgrade", "").lower() == "websocket":
                    return None
                return Reply(400, 'Can "Upgrade" only to "WebSocket".', "text/html; charset=UTF-8")
            case "/rest/all" | "/json/all":
                shapes = [s for s in self.program.all(Filter()) if s["dev"] not in {"run", "nv_save"}]
                return Reply(200, json.dumps(shapes), "application/json")
            case "/version":
                return Reply(200, "v2.5.8", "text/html; charset=UTF-8")
        page = "<html><title>404: Not Found</title><body>404: Not Found</body></html>"
        return Reply(404, page, "text/html; charset=UTF-8")

    async def talk(self, connection: Connection) -> None:
        self._filters[connection] = Filter()
        self._accepted += 1
        try:
            async for message in connection:
                await self._obey(connection, message)
        finally:
            del self._filters[connection]

    async def run(self, server: Server) -> None:
        self._server = server
        try:
            async with asyncio.TaskGroup() as group:
                for unit in self.program.units.values():
                    group.create_task(self._scan(unit))
                for sensor in self.program.one_wire:
                    group.create_task(self._measure(sensor))
        finally:
            if self._start is not None:
                self._start.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._start

    def state(self) -> JsonObject:
        name = "{0.dev}/{0.circuit}".format
        return {
            "connections": len(self._filters),
            "accepted": self._accepted,
            "units": {
                unit.name: {"failure": unit.failure, "known": unit.is_known, "last_comm": unit.silence()}
                for unit in self.program.units.values()
            },
            "values": {name(item): item.live() for item in self.program.items.values() if item.board},
            "executed": {
                name(item): {"count": executions.count, "recent": list(executions.recent)}
                for item, executions in self.program.executed.items()
            },
        }

    # --- commands -----------------------------------------------------------------------------------------------

    async def _obey(self, connection: Connection, text: str | bytes) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        match message:
            case {"cmd": "all"}:
                connection.send(json.dumps(self.program.all(self._filters[connection])))
            case {"cmd": "filter", "devices": devices}:
                self._filters[connection] = self._filters[connection].replaced(devices)
            case {"cmd": "set", "dev": str(dev), "circuit": str(circuit), **fields}:
                await self.program.set(dev, circuit, {str(name): value for name, value in fields.items()})
            case {"cmd": "set_state", "dev": str(dev), "circuit": str(circuit), "value": value}:
                if NAMES.get(dev) in SWITCHED:
                    await self.program.set(dev, circuit, {"value": value})
            case {"cmd": "full", "dev": str(dev), "circuit": str(circuit)} if self.program.is_old:
                if (item := self.program.find(dev, circuit)) is not None:
                    connection.send(json.dumps(self.program.shape(item)))

    # --- events -------------------------------------------------------------------------------------------------

    async def _scan(self, unit: Unit) -> None:
        pause = self._back_off
        gate = self.program.complete if unit.bus == "sensors" else self.program.units_up
        while True:
            await gate.passed()
            if unit.failure is not None:
                await unit.pause(unit.blocking + pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = self._back_off
            if unit.is_known:
                if self.plant is not None:
                    self.plant.advance(time.monotonic())
                if self._busy and unit.bus == "built-in":
                    _agitate(unit)
                self._push(unit.scan())
            await asyncio.sleep(unit.period)

    async def _measure(self, sensor: OneWire) -> None:
        """1-Wire: pushed at every read, each alone, and with the old time; a DS2438 is pushed when lost only."""
        while True:
            await asyncio.sleep(sensor.interval)
            await self.program.complete.passed()
            if not self._owserver_lives or sensor.is_lost:
                continue
            sensor.measure(self.plant.celsius() if self.plant is not None else 22.0)
            if sensor.dev == "temp":
                self._push([sensor], is_single=True)
            sensor.stamp()

    def _push(self, items: Sequence[Item], *, is_single: bool = False) -> None:
        """One message to everybody who wants it; a single object stands bare under the default filter."""
        if not items or not self._filters:
            return
        shapes = [self.program.shape(item) for item in items]
        texts: dict[Filter, str] = {}
        for connection, chosen in self._filters.items():
            if chosen not in texts:
                wanted = [shape for shape in shapes if chosen.passes(str(shape["dev"]))]
                bare = is_single and chosen.is_default
                texts[chosen] = json.dumps(wanted[0] if bare else wanted) if wanted else ""
            if texts[chosen]:
                connection.send(texts[chosen])

    # --- faults -------------------------------------------------------------------------------------------------

    def faults(self) -> list[Fault]:
        return [
            self.board_dead,
            self.board_back,
            self.owserver,
            self.sensor_lost,
            self.set_input,
            self.release_input,
            self.pulse,
            self.all_filtered,
            self.restart,
        ]

    def board_dead(self, unit: str = "xS51", how: Failure = "refused", blocking: float | None = None) -> None:
        """A unit fails: its TCP bus refuses (1 s per set) or hangs (3 s), it answers exceptions, its line is gone.

        A serial line that is gone keeps sets waiting for ever and executes them late; `blocking`: other seconds.
        """
        failed = self._unit(unit)
        for other in self.program.units.values():
            if other is failed or (how in {"refused", "hanging"} and other.bus == failed.bus):
                other.fail(how, blocking)

    def board_back(self, unit: str = "", at_once: bool = False) -> None:
        """The unit and its bus (or all) answer again; Evok notices after its pause, or at once."""
        bus = self._unit(unit).bus if unit else ""
        for other in self.program.units.values():
            if other.failure is not None and bus in {"", other.bus}:
                other.recover(at_once)

    def owserver(self, dead: bool = True) -> None:
        """1-Wire freezes for ever, without a word; dead=false: somebody repaired it."""
        self._owserver_lives = not dead

    def sensor_lost(self, lost: bool = True) -> None:
        """The 1-Wire sensors are gone (pushed), or found again at their next read."""
        for sensor in self.program.one_wire:
            sensor.is_lost = lost
            if lost:
                self._push([sensor], is_single=True)

    def set_input(self, circuit: str, value: float, dev: str = "di") -> None:
        """Hold an input: di 0 or 1, ai and data_point any number, nan and inf too."""
        self._item(dev, circuit).force(value)

    def release_input(self, circuit: str, dev: str = "di") -> None:
        """Leave an input to the world again."""
        self._item(dev, circuit).force(None)

    def pulse(self, circuit: str) -> None:
        """A pulse at a digital input, too short for a scan."""
        item = self._item("di", circuit)
        if isinstance(item, DigitalInput):
            item.pulse()

    def all_filtered(self, on: bool = True) -> None:
        """Evok's setting `all_filtered`."""
        self.program.all_filtered = on

    def restart(self, down: float = 0.8, step: float = 0.1) -> None:
        """Kill and start Evok: refused for `down` seconds, then 11, 153, 154 objects, `step` seconds apart."""
        if self._start is not None:
            self._start.cancel()
        self._start = asyncio.get_running_loop().create_task(self._restart(down, step))

    async def _restart(self, down: float, step: float) -> None:
        self.program.stop()
        if self._server is not None:
            self._server.faults.drop()
            self._server.faults.refuse(down)
        await asyncio.sleep(down + step)
        self.program.units_up.open()
        await asyncio.sleep(step)
        self.program.complete.open()

    def _unit(self, name: str) -> Unit:
        if name not in self.program.units:
            raise ValueError(f"no unit {name}; there are {', '.join(self.program.units)}")
        return self.program.units[name]

    def _item(self, dev: str, circuit: str) -> Item:
        item = self.program.items.get((NAMES.get(dev, dev), circuit))
        if item is None:
            raise ValueError(f"no {dev} {circuit}")
        return item


def _agitate(unit: Unit) -> None:
    """Change everything that can: what the real program was measured with (10.7 objects a message)."""
    for item in unit.items:
        match item:
            case Relay() | DigitalOutput():
                item.level = 1 - item.level
            case DigitalInput():
                item.drive(1 - item.level)
            case AnalogueInput():
                item.force(round(item.live() + 0.001, 3))
