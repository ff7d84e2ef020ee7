"""Work too heavy for the event loop: one worker process, started when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context


class Workers:
    """A process, because a thread would hold the interpreter's lock for up to a second (DESIGN section 0)."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def compute(self, call: Callable[..., object], args: tuple[object, ...]) -> asyncio.Future[object]:
        """What `call(*args)` returns or raises; both are pickled."""
        loop = asyncio.get_running_loop()
        try:
            return loop.run_in_executor(self._ready(), call, *args)
        except BrokenProcessPool:  # the worker was killed: the next one is as good
            self.close()
            return loop.run_in_executor(self._ready(), call, *args)

    def _ready(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
