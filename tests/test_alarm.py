"""One timer for all that is due: the earliest counts, the past does not spin, and the end is the end."""

from __future__ import annotations

import asyncio
import math
from time import monotonic

import pytest

from bridge.alarm import SOONEST, Alarm

pytestmark = pytest.mark.asyncio


class Clock:
    """When the alarm rang; `after` is set again by the ring itself, as often as it has entries."""

    def __init__(self, *after: float) -> None:
        self.alarm = Alarm(self._rang)
        self.rang: list[float] = []
        self._after = list(after)
        self._news = asyncio.Event()

    def _rang(self) -> None:
        self.rang.append(monotonic())
        self._news.set()
        if self._after:
            self.alarm.set(monotonic() + self._after.pop(0))

    async def until(self, times: int) -> None:
        async with asyncio.timeout(5.0):
            while len(self.rang) < times:
                self._news.clear()
                await self._news.wait()


async def test_the_earliest_of_all_that_is_set_counts() -> None:
    clock, now = Clock(), monotonic()
    for due in (now + 60.0, now + 0.02, now + 30.0):
        clock.alarm.set(due)
    assert clock.alarm.rings_at == now + 0.02
    await clock.until(1)
    assert 0.02 <= clock.rang[0] - now < 30.0
    assert clock.alarm.rings_at == math.inf


async def test_what_is_due_already_rings_soon_and_does_not_spin_the_loop() -> None:
    clock, now = Clock(-1.0, -1.0, -1.0), monotonic()
    clock.alarm.set(now - 1.0)
    assert clock.alarm.rings_at >= now + SOONEST
    await clock.until(4)
    assert clock.rang[-1] - now >= 4 * SOONEST


async def test_after_the_end_it_never_rings() -> None:
    ended, other = Clock(), Clock()
    ended.alarm.set(monotonic() + 0.001)
    ended.alarm.end()
    ended.alarm.set(monotonic() + 0.001)
    assert ended.alarm.rings_at == math.inf
    other.alarm.set(monotonic() + 0.05)
    await other.until(1)
    assert ended.rang == []
