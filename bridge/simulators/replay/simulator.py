"""The recorded device as a simulator: each client gets the next recorded connection, or again the last one."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import ClassVar

from bridge.simulators.replay.part import Part
from bridge.simulators.replay.recording import Recording
from bridge.simulators.server import Connection, Fault, Reply, Server

PAUSE = 1.0  # seconds before a recording begins again


class ReplaySimulator:
    """Any path, and every client, will do. ValueError: there is nothing to play.

    `speed`: so many times as fast, as far as the client's own requests allow. `loop`: from its beginning again
    when a recording has ended; otherwise its connection stays open, with nothing more to say.
    """

    banner: ClassVar[str] = "lab2mqtt replay"
    max_size: ClassVar[int | None] = None

    def __init__(self, recordings: Sequence[Recording], *, speed: float = 1.0, loop: bool = False) -> None:
        if not recordings:
            raise ValueError("there is no connection in it that could be played")
        self._recordings, self._speed, self._loop = recordings, speed, loop
        self._clients = 0
        self._chosen: dict[Connection, Recording] = {}
        self.parts: list[Part] = []

    def respond(self, connection: Connection) -> Reply | None:
        recording = self._recordings[min(self._clients, len(self._recordings) - 1)]
        self._clients += 1
        if recording.refusal is not None:
            return Reply(*recording.refusal)
        self._chosen[connection] = recording
        return None

    async def talk(self, connection: Connection) -> None:
        now = asyncio.get_running_loop().time
        part = Part(self._chosen.pop(connection), connection, now(), self._speed)
        self.parts.append(part)
        news = asyncio.Event()
        connection.on_ping = lambda release: part.ping(release, now())
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(self._play(part, news))
            async for message in connection:
                part.hear(message, now())
                news.set()
            playing.cancel()

    async def _play(self, part: Part, news: asyncio.Event) -> None:
        now = asyncio.get_running_loop().time
        while True:
            part.play(now())
            if part.over and self._loop:
                part.again(now() + PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if part.over else part.wake_at):
                    await news.wait()
            news.clear()

    async def run(self, server: Server) -> None:
        """It does nothing of its own accord."""

    def state(self) -> dict[str, object]:
        return {
            "clients": self._clients,
            "over": [part.over for part in self.parts],
            "missed": [str(line.data)[:200] for part in self.parts for line in part.missed],
            "strangers": [str(message)[:200] for part in self.parts for message in part.strangers],
        }

    def faults(self) -> list[Fault]:
        return []
