"""Keep something running: judge how it ended, wait, try again. The only retry loop there is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from bridge.driver import Verdict
from bridge.ends import SessionClosed, judge

STEADY = 10.0  # seconds up before a loss starts the delays afresh
FIRST, LONGEST = 0.5, 60.0  # seconds between tries
GROWTH = 1.25  # so that a wait is about a quarter of the outage: what is away briefly is not missed for long
BRISK, LIVELY = 120.0, 3.0  # for so long no wait is longer than that: whoever restarts something watches it


def delays(first: float = FIRST, longest: float = LONGEST, brisk: float = BRISK) -> Iterator[float]:
    """Exponential back-off with jitter, so that a rack of gateways does not come back all at once."""
    delay, waited = first, 0.0
    while True:
        wait = delay * random.uniform(0.5, 1.0)
        yield wait
        waited += wait
        delay = min(delay * GROWTH, longest if waited >= brisk else min(LIVELY, longest))


@dataclass(frozen=True, slots=True)
class End:
    """How one attempt ended."""

    error: Exception
    verdict: Verdict
    wait: float  # seconds until the next one
    first: bool  # of a row of failures


async def keep(
    attempt: Callable[[], Awaitable[None]],
    on_end: Callable[[End], None],
    longest: float = LONGEST,
    brisk: float = BRISK,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run `attempt` for ever; only cancellation ends it. `on_end` tells the world before each wait."""
    waits, first = delays(longest=longest, brisk=brisk), True
    while True:
        begun = monotonic()
        try:
            await attempt()
            error: Exception = SessionClosed("it ended by itself")
        except Exception as caught:  # `judge` sorts what the net caught
            error = caught
        verdict = judge(error)
        if monotonic() - begun >= STEADY:
            waits, first = delays(longest=longest, brisk=brisk), True
        match verdict:
            case Verdict.AGAIN if first:
                wait = 0.0
            case Verdict.AGAIN | Verdict.PASSING:
                wait = next(waits)
            case _:
                wait = longest * random.uniform(0.8, 1.0)
        on_end(End(error, verdict, wait, first))
        first = False
        await sleep(wait)
