"""How commands that run until they are asked to stop are asked: by a signal, or by the clock."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Stop:
    """In its block SIGTERM, SIGINT and SIGHUP end `wait`, not the process; to be entered on the running loop."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds

    def __enter__(self) -> Self:
        import asyncio
        import signal

        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for number in self._signals:
            self._loop.add_signal_handler(number, self._asked.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._signals:
            self._loop.remove_signal_handler(number)

    async def wait(self) -> None:
        """Until somebody asks, or until the seconds (counted from this call) are over."""
        import asyncio

        try:
            async with asyncio.timeout(self._seconds):
                await self._asked.wait()
        except TimeoutError:
            pass


def seconds(text: str) -> float:
    """A number of seconds on the command line."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return number


def port(text: str) -> int:
    """A TCP port on the command line; 0: a free one."""
    if not text.isdecimal() or int(text) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)
