"""A TCP relay between a client and a device, byte for byte, that overhears what they say.

Pings, pongs and closes travel from end to end: drivers take a pong for the proof that the device has worked off
what was sent before, and a relay that answered by itself would make that a lie. Only the request's head is
changed (`heads.for_device`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, cast

from bridge.cli.record import heads
from bridge.cli.record.frames import Frames
from bridge.cli.record.recorder import Recorder
from bridge.ends import explain
from bridge.model import Json
from bridge.tls import abort
from bridge.transcript import Direction
from bridge.websocket import Target

HOST = "127.0.0.1"
CHUNK = 64 << 10  # bytes read at once
LINGER = 2.0  # seconds for the last bytes
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """`async with Relay(…) as relay: relay.url`; OSError: the port is taken. `tell` hears who comes and goes."""

    def __init__(
        self, target: Target, recorder: Recorder, tell: Callable[[str], None], *, port: int = 0, largest: int
    ) -> None:
        self._target, self._recorder, self._tell = target, recorder, tell
        self._port, self._largest = port, largest
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, HOST, self._port, limit=heads.LARGEST)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where the device's client has to connect to instead."""
        return f"ws://{HOST}:{self._port}{self._target.uri.resource_name}"

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve((reader, writer), self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Streams, number: int) -> None:
        talk = Talk(self._recorder, number, self._largest)
        talk.add("!", "note", {"connected": heads.without_query(self._target.url)})
        device: Streams | None = None
        try:
            head, rest = await _head(client[0])
            device = await self._connect()
            self._tell(f"connection {number}: open")
            head = head and heads.for_device(head, self._host)
            device[1].write(head + rest)
            talk.requested(head, rest)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(client[0], device[1], talk.up))
                both.create_task(_pump(device[0], client[1], talk.down))
            self._tell(f"connection {number}: ended")
        except* OSError as errors:
            why = explain(errors.exceptions[0])
            talk.add("!", "note", {"lost": why})
            self._tell(f"connection {number}: {why}")
        finally:
            await _close([writer for _, writer in filter(None, (client, device))])

    async def _connect(self) -> Streams:
        target, uri = self._target, self._target.uri
        name = (target.server_name or uri.host) if target.tls else None
        try:
            async with asyncio.timeout(target.open_timeout):
                return await asyncio.open_connection(uri.host, uri.port, ssl=target.tls, server_hostname=name)
        except TimeoutError:
            raise TimeoutError(f"{uri.host} port {uri.port} does not answer") from None

    @property
    def _host(self) -> str:
        uri = self._target.uri
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        return host if uri.port == (443 if uri.secure else 80) else f"{host}:{uri.port}"


async def _head(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The request's head, and what came behind it; if there is no such head, all that came counts as behind it."""
    try:
        return await reader.readuntil(heads.END), b""
    except asyncio.IncompleteReadError as error:
        return b"", error.partial
    except asyncio.LimitOverrunError as error:
        return b"", await reader.read(error.consumed)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[bytes], None]) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        hear(data)  # it is on its way already
        await writer.drain()
    hear(b"")
    if writer.can_write_eof():
        with suppress(OSError):  # the other side may be gone, too
            writer.write_eof()
    else:
        writer.close()  # TLS knows no half-closed connections


async def _close(writers: Sequence[asyncio.StreamWriter]) -> None:
    """What was written still goes out, if it is read soon."""
    try:
        for writer in writers:
            with suppress(AttributeError):  # Python 3.11.2: TLS, closed twice
                writer.close()
        async with asyncio.timeout(LINGER):
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
    except TimeoutError:
        pass
    finally:
        for writer in writers:
            abort(cast(asyncio.Transport, writer.transport))


class Talk:
    """What is overheard of one connection, on its way to the recorder."""

    def __init__(self, recorder: Recorder, number: int, largest: int) -> None:
        self._recorder, self._number, self._largest = recorder, number, largest
        self._from_client: Frames | None = None
        self._from_device: Frames | None = None
        self._reply: bytes | None = b""  # of the handshake, as far as it came; None: it is complete

    def add(self, direction: Direction, kind: str, data: Json | bytes) -> None:
        self._recorder.add(direction, kind, data, self._number)

    def requested(self, head: bytes, rest: bytes) -> None:
        if not head:
            self.add("!", "note", "what the client sends is no HTTP: it is passed on and not recorded")
            return
        self.add(">", "http", heads.shown(head))
        if heads.is_websocket(head):
            self._from_client = Frames(masked=True, largest=self._largest)
            if rest:
                self._hear(">", self._from_client, rest)
        else:
            self.add("!", "note", "this is no request for a WebSocket: what follows is passed on and not recorded")

    def up(self, data: bytes) -> None:
        """From the client; empty: the end."""
        self._hear(">", self._from_client, data)

    def down(self, data: bytes) -> None:
        """From the device; empty: the end."""
        if self._reply is not None and data:
            self._reply += data
            head, end, data = self._reply.partition(heads.END)
            if not end and len(head) < heads.LARGEST:
                return
            self._reply = None
            self._answered(head + end, data)
            if not data:
                return
        self._hear("<", self._from_device, data)

    def _answered(self, head: bytes, rest: bytes) -> None:
        if heads.is_accepted(head) and self._from_client is not None:
            self.add("<", "http", heads.shown(head))
            self._from_device = Frames(masked=False, largest=self._largest)
        else:
            self.add("<", "http", heads.shown(head, rest))

    def _hear(self, direction: Direction, frames: Frames | None, data: bytes) -> None:
        if not data:
            self.add(direction, "end", None)
        elif frames is not None:
            for said in frames.feed(data):
                self.add(direction, said.kind, said.data)
