"""The script as a server: one answer per message, and while it imports it does nothing else at all."""

import asyncio
from typing import Annotated, ClassVar

from bridge.simulators.server import Connection, Fault, Reply, Server
from bridge.simulators.zeiss_inspect.project import MODES, Project, Series
from bridge.simulators.zeiss_inspect.script import (
    Broken,
    ElementsRequest,
    ImageRequest,
    Refused,
    Request,
    decoded,
    understood,
)

CLOSE_TIMEOUT = 10.0  # seconds that the server's library gives a client to answer a close frame


class ZeissInspectSimulator:
    """INSPECT with the script running; the names of the files decide (`ok`, `fail`, `crash`, `exit`, `slow5`).

    `GET /_state` shows the series, the elements and each import with its start and end, also while it imports.
    """

    banner: ClassVar[str] = "Python/3.9 websockets/14.1"
    max_size: ClassVar[int | None] = 2**20

    def __init__(
        self,
        *,
        series: Annotated[str, "measurement series that exist already, separated by commas"] = "existing",
        pace: Annotated[float, "seconds that importing a file `slow1` takes"] = 1.0,
        keepalive: Annotated[float, "seconds between pings, and allowed for a pong; 0: no pings"] = 20.0,
        quit_ends: Annotated[bool, "`quit` ends the script, as its author meant it to"] = False,
        back_after: Annotated[float, "seconds until somebody starts an ended script again; 0: nobody does"] = 0.0,
        basics: Annotated[bool, "the app IPCWebsocketBasics: any JSON is `Ok`, and `quit` ends it"] = False,
    ) -> None:
        self.project = Project({name: Series() for name in series.split(",") if name})
        self.requests = 0
        self._pace, self._keepalive, self._back_after = pace, keepalive, back_after
        self._quit_ends, self._basics = quit_ends or basics, basics
        self._work: asyncio.Future[bool] | None = None  # the import that runs: to its end, or until the script's
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        if self._server is None:
            raise RuntimeError("the simulator is not being served")
        return self._server

    # --- the server's side --------------------------------------------------------------------------------------

    def respond(self, connection: Connection) -> Reply | None:
        """Any path, origin and subprotocol will do."""
        return None

    async def talk(self, connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_alive(connection))
            async for message in connection:
                self.requests += 1
                await self._obey(connection, message)
                if not connection.is_open:
                    break
            keeper.cancel()

    async def run(self, server: Server) -> None:
        self._server = server

    def state(self) -> dict[str, object]:
        return {
            "connections": len(self.server.connections),
            "importing": self._work is not None,
            "requests": self.requests,
            **self.project.shown(),
        }

    # --- the script ---------------------------------------------------------------------------------------------

    async def _obey(self, connection: Connection, message: str | bytes) -> None:
        match message:
            case bytes():
                connection.close(1011)
            case str() if message.startswith("quit"):
                self._quit(connection)
            case _:
                await self._answer(connection, message)

    async def _answer(self, connection: Connection, text: str) -> None:
        try:
            answer = await self._answered(text)
        except Refused as refusal:
            answer = str(refusal)
        except (Broken, RecursionError):
            connection.close(1011)
            return
        try:
            connection.send(answer)
        except UnicodeEncodeError:  # an echoed lone surrogate: the script's library loses the connection
            connection.drop()

    async def _answered(self, text: str) -> str:
        if self._basics:
            decoded(text)
            return "Ok"
        request = understood(text)
        return request if isinstance(request, str) else await self._import(request)

    async def _import(self, request: Request) -> str:
        """Import and say what came of it; a failure of any cause is one and the same sentence."""
        entry, file = self.project.begin(request)
        is_alive = await self._block(file.seconds * self._pace)
        if file.kills and is_alive:
            self.end(self._back_after or None)
        if file.kills or not is_alive:
            entry.finish("killed")
            return ""
        match request:
            case ElementsRequest(path, mode) if file.fails or mode not in MODES:
                failure = f"Error: Elements could not be imported from file {path} with import mode {mode}."
            case ImageRequest(path) if file.fails:
                failure = f"Error: Image could not be imported from file {path}."
            case _:
                self.project.take(entry)
                return "O.k."
        entry.finish("failed")
        raise Refused(failure)

    async def _block(self, seconds: float) -> bool:
        """Work on the event loop, as far as anybody outside can see; False: the script was ended meanwhile."""
        if seconds <= 0:
            return True
        for connection in self.server.connections:
            connection.flush()
        self._work = asyncio.get_running_loop().create_future()
        self.server.blocked.shut()
        try:
            async with asyncio.timeout(seconds):
                return await self._work
        except TimeoutError:
            return True
        finally:
            self._work = None
            self.server.blocked.open()

    def _quit(self, connection: Connection) -> None:
        """Say goodbye; the script as it is then fails to end itself, and goes on serving everybody else."""
        connection.send("bye")
        connection.close(1000, "Closing connection.")
        if self._quit_ends:
            self._end(self._back_after or None, spared=connection)

    async def _keep_alive(self, connection: Connection) -> None:
        """What the library does on its own: ping, and give the connection up without a pong in time.

        A pong that an import kept from being read is too late as well (seen with the genuine script).
        """
        while self._keepalive:
            await asyncio.sleep(self._keepalive)
            await self._unblocked()
            answered = connection.ping()
            try:
                async with asyncio.timeout(self._keepalive):
                    await answered.wait()
            except TimeoutError:
                await self._unblocked()
                connection.fail(1011, "keepalive ping timeout")
                await asyncio.sleep(CLOSE_TIMEOUT)
                connection.drop()
                return

    async def _unblocked(self) -> None:
        """Wait for the end of an import; what clients sent meanwhile is read before any timer runs."""
        await self.server.blocked.passed()
        await asyncio.sleep(0)

    # --- faults -------------------------------------------------------------------------------------------------

    def faults(self) -> list[Fault]:
        return [self.end, self.release]

    def end(self, seconds: float | None = None) -> None:
        """The script ends (Esc, a crash), an import or not: code 1006, then refused, for so long or for ever."""
        self._end(seconds)

    def release(self) -> None:
        """The import that runs is over at once, with the result that it would have had."""
        self._finish_work(True)

    def _end(self, seconds: float | None, spared: Connection | None = None) -> None:
        self._finish_work(False)
        self.server.drop(spared)
        self.server.refuse(seconds, 0)

    def _finish_work(self, is_alive: bool) -> None:
        if self._work is not None and not self._work.done():
            self._work.set_result(is_alive)
