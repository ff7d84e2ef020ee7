"""Who asks for an announcement gets one, and many get one together."""

from __future__ import annotations

import asyncio

import pytest

from bridge.calls import MOST
from bridge.model import Json, Outcome
from bridge.mqtt import Message, Meta
from bridge.refresh import PAUSE, Refresh

pytestmark = pytest.mark.asyncio
CALL = Message("lab2mqtt/_bridge/gate/call/refresh", b"", 1, False, False, Meta())


class Asked:
    """What was done, in order: an outcome for each answer, None for an announcement."""

    def __init__(self) -> None:
        self.done: list[Outcome | None] = []
        self.refresh = Refresh(lambda: self.done.append(None), self._answered)

    def _answered(self, call: Message, verb: str, outcome: Outcome, detail: str, data: Json = None) -> None:
        self.done.append(outcome)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10 * PAUSE):
            while len(self.done) < count:
                await asyncio.sleep(0)


async def test_the_first_is_served_at_once_and_the_next_ones_together() -> None:
    asked = Asked()
    asked.refresh.ask(CALL)
    await asked.until(2)
    assert asked.done == [None, Outcome.DONE]
    begun = asyncio.get_running_loop().time()
    for _ in range(5):
        asked.refresh.ask(CALL)
    await asked.until(8)
    assert asked.done[2:] == [None, *[Outcome.DONE] * 5]
    assert asyncio.get_running_loop().time() - begun > 0.9 * PAUSE


async def test_a_flood_is_bounded_and_everybody_is_answered_at_the_end() -> None:
    asked = Asked()
    for _ in range(MOST + 2):
        asked.refresh.ask(CALL)
    assert asked.done == [Outcome.REJECTED] * 2
    asked.refresh.close()
    assert asked.done[2:] == [Outcome.UNAVAILABLE] * MOST
    asked.refresh.close()
    assert len(asked.done) == MOST + 2


async def test_nothing_is_announced_any_more_once_the_bridge_stops() -> None:
    asked = Asked()
    asked.refresh.close()
    asked.refresh.ask(CALL)
    assert asked.done == [Outcome.UNAVAILABLE]
    await asyncio.sleep(0)
    assert asked.done == [Outcome.UNAVAILABLE]
