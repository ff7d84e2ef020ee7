"""OST on a WebSocket: grants, dumps and commands in order, the observatory's life, and its ways to fail."""

import asyncio
from typing import Annotated, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from bridge.simulators.ost import frames
from bridge.simulators.ost.clients import Clients
from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.grants import Grants
from bridge.simulators.ost.module import Module
from bridge.simulators.ost.observatory import NAMES, USUAL, Observatory
from bridge.simulators.ost.pictures import jpeg
from bridge.simulators.ost.values import NotTaken
from bridge.simulators.ost.weather import Weather
from bridge.simulators.ost.wire import Wire
from bridge.simulators.server import Connection, Fault, Reply, Server

TICK = 0.02  # seconds; what is due is done at the next tick


class OstSimulator:
    """An observatory with focuser, sequencer, planner, guider, mount, roof, all-sky camera and weather.

    `GET /_state` shows the values and every executed set; `GET /_fault` lists the faults; pictures are at
    `/ostmedia/<urljpeg>` on the same port.
    """

    banner: ClassVar[str] = "OST server"
    max_size: ClassVar[int | None] = None

    def __init__(
        self,
        *,
        grant: Annotated[Literal["0", "1", "2", "none"], "the server's option --grant; none: not given"] = "0",
        modules: Annotated[str, "modules, separated by commas, or all"] = "all",
        elements: Annotated[int, "more elements, in modules that do nothing (20000: a dump of 10 MB)"] = 0,
        updates: Annotated[float, "more updates per second"] = 0.0,
        pace: Annotated[float, "how many times faster than real everything happens"] = 1.0,
        dry: Annotated[float, "seconds between two showers; 0: it never rains"] = 600.0,
        alive: Annotated[bool, "things happen by themselves"] = True,
        old: Annotated[bool, "speak like a server of 2025: a dump is answered by `moduledump`"] = False,
    ) -> None:
        kinds = _kinds(modules)
        if elements < 0 or updates < 0 or dry < 0 or not pace > 0:
            raise ValueError("--elements, --updates and --dry cannot be negative, and --pace must be above 0")
        if not alive and (elements or updates):
            raise ValueError("--no-alive goes with neither --elements nor --updates: nothing happens then")
        if updates and not elements and "Navigator" not in kinds:
            raise ValueError("--updates has nothing to change: add --elements, or Navigator to --modules")
        self._elements, self._updates, self._pace, self._dry = elements, updates, pace, dry
        self._is_alive = alive
        self.wire = Wire()
        self.grants = Grants("" if grant == "none" else grant)
        self.clients = Clients(self.wire, self.grants, is_old=old)
        self._server: Server | None = None
        self.observatory = self._started(kinds)

    def _started(self, modules: tuple[str, ...]) -> Observatory:
        self.wire.logs.clear()
        observatory = Observatory(self.wire, Weather(self._dry), self._pace, modules, self._block)
        if self._is_alive:
            observatory.live(self._elements, self._updates)
        return observatory

    def _block(self, seconds: float) -> None:
        if self._server is not None:
            self._server.faults.block(seconds)

    # --- the server's side --------------------------------------------------------------------------------------

    def respond(self, connection: Connection) -> Reply | None:
        """WebSocket on any path; plain HTTP for the pictures, which really have a web server of their own."""
        if connection.headers.get("Upgrade", "").lower() == "websocket":
            return None
        root, _, name = unquote(urlsplit(connection.path).path).partition("/ostmedia")
        if not root and (count := self.observatory.files.taken[name]):
            return Reply(200, jpeg(count), "image/jpeg")
        return Reply(404, "not found\n")

    async def talk(self, connection: Connection) -> None:
        self.clients.joined(connection)
        try:
            async for message in connection:
                if isinstance(message, str):  # binary frames are ignored
                    self.clients.obey(self.observatory, connection, message)
        finally:
            self.clients.left(connection)

    async def run(self, server: Server) -> None:
        self._server = server
        loop = asyncio.get_running_loop()
        while True:
            await server.blocked.passed()
            self.observatory.stage.advance(loop.time())
            await asyncio.sleep(TICK)

    def state(self) -> JsonObject:
        return {
            "connections": len(self.wire.clients),
            "grants": self.grants.all(),
            "modules": {
                key: {prop: held.values() for prop, held in module.properties.items()}
                for key, module in self.observatory.modules.items()
                if module.library != "load"
            },
            "executed": list(self.wire.executed),
            "executions": dict(self.wire.executions),
            "sent": dict(self.wire.sent),
            "rains": self.observatory.weather.rains,
        }

    # --- faults -------------------------------------------------------------------------------------------------

    def faults(self) -> list[Fault]:
        return [
            self.indi_lost,
            self.indi_back,
            self.kill_module,
            self.load_module,
            self.restart,
            self.lose_grant,
            self.put,
            self.rain,
            self.no_stars,
            self.guide_loss,
            self.property_gone,
            self.element_gone,
            self.badge,
            self.log,
        ]

    def indi_lost(self, seconds: float = 3.0) -> None:
        """INDI does not answer: each module in turn blocks the whole server so long, every two seconds."""
        self.observatory.indi_lost(seconds)

    def indi_back(self) -> None:
        """INDI answers again."""
        self.observatory.indi_hangs = 0.0

    def kill_module(self, module: str = "MyAllsky") -> None:
        """As with MK: its properties go, then the module."""
        self.observatory.kill(module)

    def load_module(self, lib: str = "dummy", label: str = "My Dummy") -> None:
        """As with ML."""
        self.observatory.load(lib, label, "default")

    def restart(self, down: float = 0.8, modules: str = "all") -> None:
        """Kill and start the server, with these modules (names separated by commas) and all values as at first."""
        chosen = _kinds(modules)
        if self._server is not None:
            self._server.faults.drop()
            self._server.faults.refuse(down)
        self.observatory = self._started(chosen)

    def lose_grant(self, address: str = "") -> None:
        """Forget what this address (or every one) may do, as when another client of it leaves."""
        self.grants.lose(address)

    def put(self, module: str, prop: str, element: str, value: str) -> None:
        """An element changes by itself; `nan` makes a number unknown (null)."""
        owner = self._owner(module, prop)
        held = owner.properties[prop].elements.get(element)
        if held is None:
            raise ValueError(f"no element {element}; there are {', '.join(owner.properties[prop].elements)}")
        try:
            held.value = held.taken(value)
        except NotTaken as error:
            raise ValueError(str(error)) from error
        owner.show(prop)

    def rain(self, on: bool = True) -> None:
        """It rains from now on, or not."""
        self.observatory.weather.held = on

    def no_stars(self, on: bool = True) -> None:
        """Focusing finds no stars and fails (on=false: it finds them again)."""
        for module in self.observatory.modules.values():
            if hasattr(module, "sees_stars"):
                module.sees_stars = not on

    def guide_loss(self) -> None:
        """The guide star is lost."""
        for module in self.observatory.modules.values():
            if hasattr(module, "lose_star"):
                module.lose_star()

    def property_gone(self, module: str, prop: str) -> None:
        """A property is deleted (restart brings it back)."""
        self._owner(module, prop).delete(prop)

    def badge(self, module: str, prop: str) -> None:
        """The badge of a property goes on or off."""
        self._owner(module, prop).show_badge(prop)

    def element_gone(self, module: str, prop: str) -> None:
        """The frame that says an element is deleted, and not which."""
        self._owner(module, prop).tell(frames.ELEMENT_GONE, prop, {})

    def log(self, level: int = 3, text: str = "something went wrong", origin: str = "CT") -> None:
        """A log entry to everybody."""
        self.wire.log(origin, level, text)

    def _owner(self, module: str, prop: str) -> Module:
        """The module, which has this property."""
        owner = self.observatory.modules.get(module)
        if owner is None:
            raise ValueError(f"no module {module}; there are {', '.join(self.observatory.modules)}")
        if prop not in owner.properties:
            raise ValueError(f"no property {prop}; there are {', '.join(owner.properties)}")
        return owner


def _kinds(names: str) -> tuple[str, ...]:
    """The modules to start with; ValueError for one that does not exist."""
    if names == "all":
        return USUAL
    chosen = tuple(name.strip().capitalize() for name in names.split(",") if name.strip())
    if unknown := [name for name in chosen if name not in NAMES]:
        raise ValueError(f"no module {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return chosen
