"""The event loop's threads: at the end nobody waits for long, least of all for a name server that is gone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from time import monotonic
from typing import ParamSpec, TypeVar

PATIENCE = 10.0  # seconds for what is still under way at the end: a result on its way to the disk
ENDLESS = (socket.getaddrinfo, socket.getnameinfo)  # of no use to anybody at the end
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads(ThreadPoolExecutor):
    """For `loop.set_default_executor`: each call in a daemon thread, so that the process can end without it.

    asyncio looks names up in its default executor, and both `asyncio.run` and the interpreter wait for the threads
    of the usual one: without an answering name server that is ten seconds and more for each look-up, which nobody
    waits for here. For anything else the end waits a while.
    """

    def __init__(self) -> None:
        super().__init__()
        self._running: set[Thread] = set()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()

        def run() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            finally:
                self._running.discard(thread)

        thread = Thread(target=run, name="asyncio", daemon=True)
        if fn not in ENDLESS:
            self._running.add(thread)
        thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        until = monotonic() + PATIENCE
        for thread in list(self._running) if wait else ():
            thread.join(max(0.0, until - monotonic()))
