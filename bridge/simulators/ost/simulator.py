"""OST on a WebSocket: grants, dumps and commands in order, the observatory's life, and its ways to fail."""

import asyncio
import contextlib
from typing import Annotated, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from bridge.simulators.ost import frames
from bridge.simulators.ost.commands import execute
from bridge.simulators.ost.frames import JsonObject, encoded
from bridge.simulators.ost.grants import NONE, WRITE, Grants
from bridge.simulators.ost.observatory import LIBRARIES, USUAL, Observatory
from bridge.simulators.ost.pictures import jpeg
from bridge.simulators.ost.requests import FREE, Misunderstood, parsed
from bridge.simulators.ost.weather import Weather
from bridge.simulators.ost.wire import Wire
from bridge.simulators.server import Connection, Fault, Reply, Server

TICK = 0.02  # seconds; what is due is done at the next tick
LANGUAGE = "en"


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
        self._modules = _kinds(modules)
        self._elements, self._updates, self._pace, self._dry = elements, updates, pace, dry
        self._is_alive, self._is_old = alive, old
        self.wire = Wire()
        self.grants = Grants("" if grant == "none" else grant)
        self._server: Server | None = None
        self._restarting: asyncio.Task[None] | None = None
        self.observatory = self._started(self._modules)

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
        path = unquote(urlsplit(connection.path).path)
        if path.startswith("/ostmedia/") and path.endswith(".jpeg"):
            name = path.removeprefix("/ostmedia")
            return Reply(200, jpeg(self.wire.sent[frames.VALUES] + len(name)), "image/jpeg")
        return Reply(404, "not found\n")

    async def talk(self, connection: Connection) -> None:
        self.grants.connected(connection.remote)
        self.wire.clients[connection] = LANGUAGE
        try:
            async for message in connection:
                if isinstance(message, str):  # binary frames are ignored
                    self._obey(connection, message)
        finally:
            del self.wire.clients[connection]
            self.grants.left(connection.remote)

    async def run(self, server: Server) -> None:
        self._server = server
        loop = asyncio.get_running_loop()
        try:
            while True:
                await server.blocked.passed()
                self.observatory.stage.advance(loop.time())
                await asyncio.sleep(TICK)
        finally:
            if self._restarting is not None:
                self._restarting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._restarting

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

    # --- requests -----------------------------------------------------------------------------------------------

    def _obey(self, connection: Connection, text: str) -> None:
        try:
            key, body = parsed(text)
            if key in FREE:
                self._free(connection, key, body)
            elif self.grants.of(connection.remote) == WRITE:
                execute(self.observatory, key, body)
            else:
                raise Misunderstood("WS", "Client not granted for updates")
        except Misunderstood as error:
            self.wire.log(error.origin, 3, str(error), connection)

    def _free(self, connection: Connection, key: str, body: JsonObject) -> None:
        """What needs no grant."""
        match key:
            case "XX":
                connection.send(encoded({"xx": {}}))
            case "DU":
                self.wire.log("WS", 0, "Full dump request: DU", connection)
                self._choose(connection, body)
                self._dump(connection)
            case "IL":
                if not isinstance(body.get("language"), str):
                    raise Misunderstood("WS", "Invalid language data")
                self._choose(connection, body)
                self._dump(connection)
            case "LO":
                self._log_in(connection, body)

    def _choose(self, connection: Connection, body: JsonObject) -> None:
        if isinstance(language := body.get("language"), str):
            self.wire.clients[connection] = language
            self.wire.log("WS", 0, f"Client set language: {language}", connection)

    def _log_in(self, connection: Connection, body: JsonObject) -> None:
        user, password = body.get("user"), body.get("pw")
        if not isinstance(user, str) or not isinstance(password, str):
            raise Misunderstood("WS", "Invalid login data")
        self.wire.log("WS", 0, "Login request: LO", connection)
        if not self.grants.logged_in(connection.remote, user, password):
            self.wire.log("DBManager", 3, f"getGrants - Invalid credentials - {user}-", connection)
        if isinstance(language := body.get("language"), str):
            self.wire.clients[connection] = language
        self._dump(connection)

    def _dump(self, connection: Connection) -> None:
        """With the grant -1, the dump holds nothing but the two grants."""
        if self._is_old:
            connection.send(encoded({"evt": "moduledump", "mod": "MyFocuser", "modules": {}}))
            return
        grant = self.grants.of(connection.remote)
        shown: JsonObject = {"grant-client": grant, "grant-server": self.grants.server}
        if grant != NONE:
            shown |= self.observatory.dumped(self.wire.clients[connection])
        connection.send(encoded({"d": shown}))

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
        if self._restarting is not None:
            self._restarting.cancel()
        self._restarting = asyncio.get_running_loop().create_task(self._restart(down, chosen))

    async def _restart(self, down: float, modules: tuple[str, ...]) -> None:
        if self._server is not None:
            self._server.faults.drop()
            self._server.faults.refuse(down)
        self.observatory = self._started(modules)

    def lose_grant(self, address: str = "") -> None:
        """Forget what this address (or every one) may do, as when another client of it leaves."""
        self.grants.lose(address)

    def put(self, module: str, prop: str, element: str, value: str) -> None:
        """Give an element a value, by itself; numbers and true or false are taken as such."""
        held = self.observatory.modules[module].properties[prop].elements[element]
        held.value = held.taken(value)
        self.observatory.modules[module].show(prop)

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
        self.observatory.modules[module].delete(prop)

    def element_gone(self, module: str, prop: str) -> None:
        """The frame that says an element is deleted, and not which."""
        self.observatory.modules[module].tell(frames.ELEMENT_GONE, prop, {})

    def log(self, level: int = 3, text: str = "something went wrong", origin: str = "CT") -> None:
        """A log entry to everybody."""
        self.wire.log(origin, level, text)


def _kinds(names: str) -> tuple[str, ...]:
    """The modules to start with; ValueError for one that does not exist."""
    if names == "all":
        return USUAL
    chosen = tuple(name.strip().capitalize() for name in names.split(",") if name.strip())
    if unknown := [name for name in chosen if name.lower() not in LIBRARIES]:
        raise ValueError(f"no module {', '.join(unknown)}; there are {', '.join(LIBRARIES)}")
    return chosen
