"""Looks at a broker and shows what is heard there, as `monitor` and `demo` do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar, Protocol

from bridge.cli.client import TOOLS, Client, NoAnswerError
from bridge.cli.picture import Picture, filters

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from bridge.cli.stop import Stop
    from bridge.keeper import End
    from bridge.mqtt import ConnectionSettings, Message

REFRESH = 0.25  # seconds between two looks at what is new
LONGEST = 5.0  # seconds between two tries to reach a broker that has gone


class Show(Protocol):
    """Where a picture is shown; both are told the picture's clock. `covers`: nothing else may be written there."""

    covers: ClassVar[bool]

    def refresh(self, now: float) -> None: ...
    def close(self, now: float) -> None: ...


class Watch:
    """`picture` is what was heard; `run` hears until it is cancelled, whatever becomes of the broker later."""

    def __init__(
        self, connection: ConnectionSettings, root: str, prefix: str, devices: Sequence[str] = ()
    ) -> None:
        import asyncio

        self._connection = connection
        self._filters = filters(root, devices, f"{prefix}{TOOLS}/+")
        self.picture = Picture(root, devices)
        self._was_there = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(self, text: str) -> None:
        """Something that the watcher should know, though no bridge said it."""
        self.picture.note(_now(), text)

    async def run(self) -> None:
        from bridge.keeper import keep

        await keep(self._attempt, self._ended, longest=LONGEST)

    async def _attempt(self) -> None:
        import asyncio

        from bridge.mqtt import Filter

        async with Client(self._connection, "", self._hear) as client:
            again, self._was_there = self._was_there, True
            wanted = [Filter(topic, retained=True) for topic in self._filters]
            for topic in await client.subscribe(wanted):
                self.note(f"the broker does not let us read {topic}")
            if again:
                self.note("connected with the broker again")
            await asyncio.wait([client.mqtt.closed])
            raise client.mqtt.closed.result() or ConnectionError("the broker closed the connection")

    def _hear(self, message: Message) -> None:
        self.picture.hear(message.topic, message.payload, _now())

    def _ended(self, end: End) -> None:
        """A broker that was never there is an answer; one that has gone may come back; the rest are bugs."""
        from bridge.driver import Verdict
        from bridge.ends import explain

        if self.failed.done():
            return
        where = f"{self._connection.host}:{self._connection.port}"
        if end.verdict is Verdict.BUG:
            self.failed.set_exception(end.error)
        elif not self._was_there:
            self.failed.set_exception(
                NoAnswerError(f"no connection with the broker at {where}: {explain(end.error)}")
            )
        elif end.first:
            self.note(f"no connection with the broker: {explain(end.error)}")


async def look(watch: Watch, show: Show, stop: Stop, *beside: asyncio.Future[None]) -> None:
    """Show what is heard until it is time to stop or something `beside` it ends.

    NoAnswerError if there is no broker at all.
    """
    import asyncio

    waiting = asyncio.ensure_future(stop.wait())
    running = asyncio.ensure_future(watch.run())
    ends: set[asyncio.Future[None]] = {waiting, running, watch.failed, *beside}
    try:
        while not any(end.done() for end in ends):
            show.refresh(_now())
            await asyncio.wait(ends, timeout=REFRESH, return_when=asyncio.FIRST_COMPLETED)
    finally:
        show.close(_now())
        for task in (waiting, running):
            task.cancel()
        await asyncio.gather(waiting, running, return_exceptions=True)
    if watch.failed.done():
        watch.failed.result()


def has_screen() -> bool:
    """Whether there is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def shown(
    watch: Watch, title: str, above: Sequence[str] = (), *, plain: bool, everything: bool, first: bool
) -> Show:
    """A table on a terminal; lines where there is none, where they are asked for, and where rich is missing."""
    from bridge.cli.lines import Lines

    if not plain and has_screen():
        try:
            from bridge.cli.live import Screen
        except ImportError as error:
            print(f"lab2mqtt: lines instead of a table, because {error.name} is missing: "
                  "pip install 'lab2mqtt[demo]'", file=sys.stderr)  # fmt: skip
        else:
            return Screen(watch.picture, wall, title, above, everything=everything)
    if above:
        print(title, *above, "", sep="\n", flush=True)
    return Lines(watch.picture, wall, everything=everything, first=first)


def _now() -> float:
    from time import monotonic

    return monotonic()


def wall(now: float) -> float:
    """A moment of the picture's clock as seconds since the epoch."""
    from time import monotonic, time

    return time() - (monotonic() - now)
