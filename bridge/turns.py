"""Calls that keep their order although some of them wait for the disk and others need not."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Callable


class Turns:
    """What need not wait is called at once, unless something before it still waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[bool] | None, Callable[[], None]]] = deque()

    def take(self, committed: Future[bool] | None, call: Callable[[], None]) -> None:
        """Call it when `committed` is done (None: it needs no disk) and all before it were called."""
        self._waiting.append((committed, call))
        if committed is None:
            self._go_on()
        else:
            committed.add_done_callback(lambda _: self._go_on())

    def _go_on(self) -> None:
        while self._waiting and ((first := self._waiting[0][0]) is None or first.done()):
            self._waiting.popleft()[1]()
