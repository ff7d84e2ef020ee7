"""A gate that lets everybody pass unless it is shut, for a time or until further notice."""

import asyncio


class Gate:
    """Open at first; `passed()` waits while it is shut."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._free.is_set()

    def shut(self, seconds: float | None = None) -> None:
        """Shut it for so many seconds, or (None) until `open` is called."""
        self._forget_timer()
        self._free.clear()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.open)

    def open(self) -> None:
        self._forget_timer()
        self._free.set()

    async def passed(self) -> None:
        """Wait until it is open; who wakes up and finds it shut again goes on waiting."""
        while not self._free.is_set():
            await self._free.wait()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
