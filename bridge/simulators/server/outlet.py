"""What a connection has to write: in order, at its time, and only while no fault holds it back."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bridge.simulators.server.gate import Gate


class Weather(Protocol):
    """The faults that hold for all connections of a server; each looks at them before everything it does."""

    blocked: Gate
    silent: Gate
    delay: float


@dataclass(slots=True)
class Outgoing:
    """Bytes to write not before `due` (loop time), and what happens right after; no bytes: end of stream."""

    data: bytes
    due: float
    after: Callable[[], None] | None = None


class Outlet:
    """The way out of one connection, which is shut while it is `stalled` or the whole server is blocked."""

    def __init__(self, writer: asyncio.StreamWriter, weather: Weather) -> None:
        self.stalled = Gate()
        self._writer, self._weather = writer, weather
        self._waiting: asyncio.Queue[Outgoing | None] = asyncio.Queue()
        self._is_held = False  # the pump has taken something and not yet written it

    @property
    def is_undisturbed(self) -> bool:
        return self.stalled.is_open and self._weather.blocked.is_open

    async def undisturbed(self) -> None:
        while not self.is_undisturbed:
            await self.stalled.passed()
            await self._weather.blocked.passed()

    def put(self, *chunks: bytes, after: Callable[[], None] | None = None) -> None:
        due = asyncio.get_running_loop().time() + self._weather.delay if self._weather.delay else 0.0
        for chunk in chunks:
            self._waiting.put_nowait(Outgoing(chunk, due, after))

    def end(self) -> None:
        """Nothing follows: the end of the stream, and of `pump`."""
        self._waiting.put_nowait(Outgoing(b"", 0.0))
        self._waiting.put_nowait(None)

    async def pump(self) -> None:
        """Write what is to be sent, when nothing holds it back."""
        while (item := await self._waiting.get()) is not None:
            self._is_held = True
            await self.undisturbed()
            wait = item.due - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._write(item)
            self._is_held = False

    def flush(self) -> None:
        """Write at once what is to be sent and nothing holds back; not to be used after `end`."""
        while self.is_undisturbed and not (self._is_held or self._weather.delay or self._waiting.empty()):
            if (item := self._waiting.get_nowait()) is not None:
                self._write(item)

    def _write(self, item: Outgoing) -> None:
        if self._writer.is_closing():
            return
        if item.data:
            self._writer.write(item.data)
        elif self._writer.can_write_eof():
            with contextlib.suppress(OSError):  # the client may be gone already
                self._writer.write_eof()
        else:  # TLS knows no half-closed connections
            self._writer.close()
        if item.after is not None:
            item.after()
