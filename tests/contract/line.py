"""The line from the bridge to its broker: it can be cut, and it can set the DUP flag as a broker that sends again.

No broker passes a publisher's DUP flag on, and no test can make one lose exactly the wanted PUBACK.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

PUBLISH, QOS, DUP = 0x30, 0x06, 0x08


class Line:
    """Forwards `port` to the loopback's `target`, packet by packet on the way to the bridge."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.again: set[str] = set()  # topics whose messages are marked as delivered again
        self.is_cut = False
        self.connects: list[bytes] = []  # what the bridge sent first on each connection
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """The line is dead, and new connections end at once, until `mend`."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, to_broker}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, to_broker))
                group.create_task(self._down(from_broker, writer))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, to_broker):
                each.transport.abort()
                self._writers.discard(each)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = True
        while data := await reader.read(65536):
            if first:
                self.connects.append(data)
            first = False
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first = (await reader.readexactly(1))[0]
            length = shift = 0
            raw = b""
            while not raw or raw[-1] > 127:
                raw += await reader.readexactly(1)
                length, shift = length + ((raw[-1] & 127) << shift), shift + 7
            body = await reader.readexactly(length)
            if first & 0xF0 == PUBLISH and first & QOS and self._topic(body) in self.again:
                first |= DUP
            writer.write(bytes([first]) + raw + body)
            await writer.drain()

    @staticmethod
    def _topic(body: bytes) -> str:
        return body[2 : 2 + int.from_bytes(body[:2])].decode()
