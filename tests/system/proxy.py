"""A TCP proxy on the loopback that does to a connection what networks do: stall, delay, cut, forget, garble.

It runs on an event loop of its own in a thread; every control may be called from any thread and holds when it
returns. What is not forwarded is not read either, so that a stall fills the sender's buffers as a real one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self, TypeVar

HOST = "127.0.0.1"
CHUNK = 16 * 1024  # bytes read at once
T = TypeVar("T")


class Way(Enum):
    """A direction: from the client up to the server, or down again."""

    UP = "up"
    DOWN = "down"


class _Lane:
    """What holds for one direction of all connections."""

    def __init__(self) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.delay = 0.0  # seconds
        self.rate = 0.0  # bytes a second; 0: no limit
        self.garbled = 0  # chunks to damage
        self.passed = 0  # bytes forwarded


class _Link:
    """One connection through the proxy: two streams that feed each other, and a task per direction."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.tasks: list[asyncio.Task[None]] = []

    def end(self, *, reset: bool) -> None:
        for task in self.tasks:
            task.cancel()
        for writer in (self.client, self.server):
            if writer is not None:
                _close(writer, reset=reset)


class Proxy:
    """Forwards `port` to the loopback's `target`. The port stays the proxy's own even while it refuses."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._listener: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._links: set[_Link] = set()
        self._lost: set[_Link] = set()  # half-open: the client's sides that nobody serves any more
        self._answering = True
        self._lanes: dict[Way, _Lane] = {}

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._lanes = self._do(lambda: {way: _Lane() for way in Way})
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- controls ------------------------------------------------------------------------------------

    def stall(self, *ways: Way) -> None:
        """Forward nothing in these directions (none named: in both) until `flow`."""
        self._do(lambda: self._let(False, ways))

    def flow(self, *ways: Way) -> None:
        """End a stall: what was withheld follows."""
        self._do(lambda: self._let(True, ways))

    def delay(self, seconds: float, *ways: Way) -> None:
        """Everything comes this much later; 0 ends it."""
        for way in ways or Way:
            self._lanes[way].delay = seconds

    def limit(self, rate: float, *ways: Way) -> None:
        """Forward at most so many bytes a second; 0 ends it."""
        for way in ways or Way:
            self._lanes[way].rate = rate

    def garble(self, way: Way, chunks: int = 1) -> None:
        """Turn over every bit of the next chunks."""
        self._lanes[way].garbled = chunks

    def cut(self, *, reset: bool = False) -> None:
        """End all connections on both sides; with `reset` by RST. New ones work."""
        self._do(lambda: self._cut(reset))

    def forget(self) -> None:
        """Half-open: the servers of all connections see the end, their clients nothing, ever. New ones work."""
        self._do(self._forget)

    def mute(self) -> None:
        """New connections are accepted and nothing follows, until `accept`."""
        self._answering = False

    def refuse(self) -> None:
        """Refuse new connections, until `accept`; those that are open stay."""
        self._run(self._deafen())

    def accept(self) -> None:
        """Forward new connections again."""
        self._answering = True
        self._run(self._listen())

    # --- what a test may ask -------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many are being forwarded."""
        return self._do(lambda: len(self._links - self._lost))

    def passed(self, way: Way) -> int:
        """Bytes forwarded so far."""
        return self._lanes[way].passed

    # --- on the loop ---------------------------------------------------------------------------------

    def _let(self, flow: bool, ways: tuple[Way, ...]) -> None:
        for way in ways or Way:
            flowing = self._lanes[way].flowing
            (flowing.set if flow else flowing.clear)()

    def _cut(self, reset: bool) -> None:
        for link in self._links:
            link.end(reset=reset)

    async def _listen(self) -> None:
        if self._listener is None:
            reserved = self._reserved or self._bound()
            self._reserved = None
            self._listener = await asyncio.start_server(self._accepted, sock=reserved, limit=CHUNK // 4)

    async def _deafen(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._reserved = self._bound()

    def _bound(self) -> socket.socket:
        """A socket bound to our port and not listening: connections are refused, and nobody else gets the port."""
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)  # what waits should wait at the sender
        bound.bind((HOST, self.port))
        self.port = bound.getsockname()[1]
        return bound

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        if not self._answering:
            self._lost.add(link)
            return
        try:
            opened = asyncio.open_connection(HOST, self.target, limit=CHUNK // 4)
            from_server, link.server = await opened
        except OSError:
            link.end(reset=True)
            self._links.discard(link)
            return
        directions = ((Way.UP, reader, link.server), (Way.DOWN, from_server, writer))
        link.tasks = [asyncio.ensure_future(self._forward(*one)) for one in directions]
        await asyncio.wait(link.tasks)
        if link not in self._lost:
            link.end(reset=any(task.cancelled() or task.exception() for task in link.tasks))
            self._links.discard(link)

    async def _forward(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the end of the stream, which is passed on like everything else."""
        lane, loop = self._lanes[way], asyncio.get_running_loop()
        while True:
            await lane.flowing.wait()
            data = await reader.read(min(CHUNK, int(lane.rate * 0.05) or CHUNK))
            due = loop.time() + lane.delay
            await lane.flowing.wait()
            if lane.garbled:
                lane.garbled -= 1
                data = bytes(byte ^ 0xFF for byte in data)
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            lane.passed += len(data)
            if lane.rate:
                await asyncio.sleep(len(data) / lane.rate)

    def _forget(self) -> None:
        for link in self._links - self._lost:
            self._lost.add(link)
            for task in link.tasks:
                task.cancel()
            if link.server is not None:
                _close(link.server, reset=False)

    async def _close(self) -> None:
        for listening in (self._listener, self._reserved):
            if listening is not None:
                listening.close()
        for link in self._links:
            link.end(reset=True)
        for _ in range(3):  # turns for the transports and tasks to notice
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # --- from other threads --------------------------------------------------------------------------

    def _do(self, call: Callable[[], T]) -> T:
        async def on_loop() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(5.0)

    def _run(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5.0)


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):  # closed already
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.close()
