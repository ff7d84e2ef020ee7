"""The listening side of a simulator: TCP, who may connect, the control path, and the tasks of all connections."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol
from urllib.parse import parse_qsl, urlsplit

from websockets.http11 import Request, Response

from bridge.simulators.server.connection import Connection
from bridge.simulators.server.faults import Fault, Faults, asked, described
from bridge.simulators.server.gate import Gate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer instead of a WebSocket."""

    status: int
    body: str | bytes = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class Simulator(Protocol):
    """What an instrument's simulator is to the server.

    `banner` is the HTTP `Server` header; `max_size` the largest message it takes, in bytes (a larger one closes
    with 1009). All methods run on the event loop; an exception ends that connection and is raised by `serve`.
    """

    banner: ClassVar[str]
    max_size: ClassVar[int | None]

    def respond(self, connection: Connection) -> Reply | None:
        """Answer a request by its path and headers with plain HTTP; None accepts the WebSocket."""
        ...

    async def talk(self, connection: Connection) -> None:
        """Hold one conversation; the connection is closed (1000) when this returns."""
        ...

    async def run(self, server: "Server") -> None:
        """Live, as long as the server does: physics, pushes."""
        ...

    def state(self) -> object:
        """What `GET /_state` shows: any JSON value."""
        ...

    def faults(self) -> list[Fault]:
        """The instrument's own faults; methods with scalar parameters and a docstring."""
        ...


class Server:
    """A simulator on a port. Public: `port`, `url`, `connections`, `faults`; the rest is used by the faults."""

    def __init__(
        self,
        simulator: Simulator,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        credentials: tuple[str, str] | None,
    ) -> None:
        self.simulator = simulator
        self.host, self.port = host, port
        self.connections: list[Connection] = []
        self.faults = Faults(self)
        self.blocked, self.hanging, self.silent = Gate(), Gate(), Gate()
        self.delay = 0.0
        self.errors: list[Exception] = []
        self._tls = tls
        self._credentials = credentials
        self._status = 0  # refuse with this HTTP status
        self._timer: asyncio.TimerHandle | None = None
        self._socket: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._is_wanted = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: set[Connection] = set()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self._tls else 'ws'}://{host}:{self.port}"

    # --- listening ----------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Listen on the port, unless somebody changed his mind meanwhile."""
        self._reserve()
        listener = await asyncio.start_server(self._accept, sock=self._socket, ssl=self._tls)
        self._socket = None
        if self._is_wanted:
            self._listener = listener
        else:
            listener.close()
            self._reserve()

    def refuse(self, seconds: float | None, status: int) -> None:
        """Refuse new connections for so long (None: until `accept`), by TCP or with an HTTP status."""
        self.accept()
        self._status = status
        if not status:
            self._is_wanted = False
            if self._listener is not None:
                self._listener.close()
                self._listener = None
                self._reserve()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.accept)

    def accept(self) -> None:
        """End what `refuse` began."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._status = 0
        if not self._is_wanted:
            self._is_wanted = True
            self._start(self.listen())

    def drop(self, spared: Connection | None = None) -> None:
        """End all connections as a dying program does, those in their handshake too; control paths live on."""
        for client in list(self._clients):
            if client is not spared and not client.path.startswith("/_fault"):
                client.drop()

    async def stop(self) -> None:
        """End everything at once, without a close frame, as a killed process does."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.close()
        for client in list(self._clients):
            client.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        if self._socket is not None:
            self._socket.close()

    def _reserve(self) -> None:
        """Bind the port without listening: connections are refused, and nobody else can take it."""
        if self._socket is not None:
            return
        family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; else two frames can be 40 ms apart.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)
        self.port = self._socket.getsockname()[1]

    # --- connections --------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._start(self.simulator.run(self))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        """A mistake in one conversation must not end the others, and must not stay unseen either."""
        try:
            await work
        except Exception as error:
            log.exception("a task of the simulator failed")
            self.errors.append(error)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self, self.simulator.max_size)
        self._clients.add(connection)
        self._start(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        pump = asyncio.create_task(connection.pump())
        try:
            request = await connection.request()
            if request is not None:
                await self._answer(connection, request)
            await connection.finish(pump)
        finally:
            connection.drop()
            self._clients.discard(connection)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _answer(self, connection: Connection, request: Request) -> None:
        reply = control = self._control(connection.path)
        if reply is None:
            await self.blocked.passed()
            await self.hanging.passed()
            if connection.is_lost:
                return
            reply = self._refusal(connection) or self.simulator.respond(connection)
        response = connection.accepted(request) if reply is None else _response(connection, reply)
        response.headers["Server"] = self.simulator.banner
        connection.respond(response, at_once=control is not None)
        if not connection.is_open:
            return
        self.connections.append(connection)
        try:
            await self.simulator.talk(connection)
        finally:
            self.connections.remove(connection)
        connection.close()

    def _refusal(self, connection: Connection) -> Reply | None:
        if self._status:
            return Reply(self._status, "refused on demand\n")
        if self._credentials is None:
            return None
        expected = "Basic " + base64.b64encode(":".join(self._credentials).encode()).decode()
        if connection.headers.get("Authorization") == expected:
            return None
        return Reply(401, "who are you?\n", headers=(("WWW-Authenticate", 'Basic realm="simulator"'),))

    def _control(self, target: str) -> Reply | None:
        """Answer the control path; None for all other paths."""
        url = urlsplit(target)
        known = {fault.__name__: fault for fault in (*self.simulator.faults(), *self.faults.all())}
        match url.path.strip("/").split("/"):
            case ["_state"]:
                return Reply(200, json.dumps(self.simulator.state()) + "\n", "application/json")
            case ["_fault"]:
                return Reply(200, described(known) + "\n", "application/json")
            case ["_fault", name] if name in known:
                query = dict(parse_qsl(url.query))
                try:
                    asked(known[name], query)
                except ValueError as error:
                    return Reply(400, f"{name}: {error}\n")
                return Reply(200, json.dumps({"fault": name, **query}) + "\n", "application/json")
            case ["_fault", name]:
                return Reply(404, f"no fault {name}; there are: {', '.join(known)}\n")
        return None


def _response(connection: Connection, reply: Reply) -> Response:
    response = connection.rejected(reply.status, "")
    response.body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    for name, value in (("Content-Type", reply.content_type), ("Content-Length", str(len(response.body)))):
        del response.headers[name]
        response.headers[name] = value
    for name, value in reply.headers:
        response.headers[name] = value
    return response


@asynccontextmanager
async def serve(
    simulator: Simulator,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    credentials: tuple[str, str] | None = None,
) -> AsyncIterator[Server]:
    """Run a simulator on a port (0: a free one) until the block is left.

    `credentials` are the user and password that HTTP Basic must bring. Mistakes of the simulator are logged when
    they happen and raised, as a group, at the end of a block that did not itself fail.
    """
    server = Server(simulator, host, port, tls=tls, credentials=credentials)
    await server.listen()
    server.start()
    try:
        yield server
    finally:
        await server.stop()
    if server.errors:
        raise ExceptionGroup("the simulator made mistakes", server.errors)
