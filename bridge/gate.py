"""What a driver asked to be remembered is on disk before anything later goes out; urgent commands do not wait.

A relay is not switched on before the disk has taken when it goes off: if the disk takes nothing, it is not at all.

Jobs wait as frames do: a retained `queued` that nobody remembers after a crash would stand there for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from bridge.driver import Fence, Send
from bridge.model import Job, Json, Outcome, Reply, Result


class Store(Protocol):
    """Where a device's memory is kept."""

    def memory(self, device: str) -> Mapping[str, Json]: ...

    def remember(self, device: str, key: str, value: Json) -> None: ...

    def committed(self) -> asyncio.Future[bool] | None:
        """Done when all that was remembered is on disk; None: there is no disk."""


class Gate:
    """`send` performs an effect; `keep` stores a result of a device."""

    def __init__(
        self,
        device: str,
        store: Store,
        keep: Callable[[str, Result], Awaitable[object]],
        send: Callable[[Send | Fence | Job | Reply], None],
        opened: Callable[[], None],
    ) -> None:
        self._device, self._store, self._keep, self._send, self._opened = device, store, keep, send, opened
        self._waiting: deque[Send | Fence | Job] = deque()
        self._closed_by: asyncio.Future[bool] | None = None
        self._keeping: set[asyncio.Future[object]] = set()  # results on their way to the disk
        self._forgetting: set[str] = set()  # keys that go when they have arrived

    def out(self, effect: Send | Fence | Job, *, urgent: bool) -> None:
        if self._closed_by is None or urgent:
            self._send(effect)
        else:
            self._waiting.append(effect)

    def release(self) -> None:
        """Send what waited; called by the owner when it was told `opened`."""
        while self._waiting and self._closed_by is None:
            self._send(self._waiting.popleft())

    def abandon(self) -> None:
        """The session has ended: what waits is not sent, and of jobs is told."""
        for effect in self._waiting:
            if isinstance(effect, Job):
                self._send(effect)
        self._waiting.clear()

    def remember(self, key: str, value: Json) -> None:
        """What is to be forgotten while a result is being stored may be what would fetch it again."""
        self._forgetting.discard(key)
        if value is None and self._keeping:
            self._forgetting.add(key)
            asyncio.gather(*self._keeping).add_done_callback(lambda kept: self._forget(key, kept))
            return
        self._store.remember(self._device, key, value)
        if (waiter := self._store.committed()) is not None:
            self._closed_by = waiter
            waiter.add_done_callback(self._open)

    def keep(self, result: Result) -> None:
        kept = asyncio.ensure_future(self._keep(self._device, result))
        self._keeping.add(kept)
        kept.add_done_callback(self._kept)

    def _kept(self, kept: asyncio.Future[object]) -> None:
        self._keeping.discard(kept)
        if not kept.cancelled():
            kept.exception()  # who stores has said it

    def _forget(self, key: str, kept: asyncio.Future[list[object]]) -> None:
        stored = not kept.cancelled() and kept.exception() is None
        if stored and key in self._forgetting:  # and not remembered anew meanwhile
            self._forgetting.discard(key)
            self._store.remember(self._device, key, None)

    def _open(self, waiter: asyncio.Future[bool]) -> None:
        if self._closed_by is not waiter:
            return
        self._closed_by = None
        if waiter.cancelled() or not waiter.result():
            self._drop_commands()
        self._opened()

    def _drop_commands(self) -> None:
        """What should have been remembered is not on disk: the frames of commands behind it do not go out."""
        dropped = [effect.id for effect in self._waiting if isinstance(effect, Send) and effect.id is not None]
        self._waiting = deque(e for e in self._waiting if not isinstance(e, Send) or e.id is None)
        for command in dict.fromkeys(dropped):
            self._send(
                Reply(command, Outcome.REJECTED, "not sent: the disk does not take what must be remembered")
            )
