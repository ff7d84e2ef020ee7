"""The one retry loop: how long it waits after what, without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

import pytest

from bridge import keeper
from bridge.driver import ProtocolError, Verdict
from bridge.ends import SessionClosed
from bridge.keeper import BRISK, End, delays, keep


class Stopped(BaseException):
    """Ends the loop from within, as a cancellation does."""


async def ends_of(*errors: Exception | None, attempt: Callable[[], Awaitable[None]] | None = None) -> list[End]:
    """What the loop says about attempts that end so; None: it returned."""
    left, ends, waited = iter(errors), list[End](), list[float]()

    async def one() -> None:
        try:
            error = next(left)
        except StopIteration:
            raise Stopped from None
        if attempt is not None:
            await attempt()
        if error is not None:
            raise error

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    with pytest.raises(Stopped):
        await keep(one, ends.append, sleep=sleep)
    assert waited == [end.wait for end in ends]
    return ends


def sums(waits: Iterator[float]) -> Iterator[float]:
    total = 0.0
    for wait in waits:
        total += wait
        yield total


def test_delays_grow_to_the_longest_and_differ_from_gateway_to_gateway() -> None:
    waits = list(islice(delays(first=0.5, longest=60.0), 500))
    assert 0.25 <= waits[0] <= 0.5
    assert all(wait <= 60.0 for wait in waits)
    assert all(wait >= 30.0 for wait in waits[-100:])
    assert len(set(waits)) == len(waits)


def test_whoever_restarts_something_does_not_wait_long_for_it() -> None:
    waits = list(islice(delays(longest=60.0), 500))
    early = [wait for wait, total in zip(waits, sums(iter(waits)), strict=True) if total < BRISK]
    assert len(early) > 30
    assert max(early) <= 3.0


@pytest.mark.asyncio
async def test_what_passes_is_tried_soon_and_only_the_first_of_a_row_is_news() -> None:
    ends = await ends_of(ConnectionRefusedError(), TimeoutError(), ProtocolError("eh?"), None)
    assert [end.verdict for end in ends] == [Verdict.PASSING] * 4
    assert [end.first for end in ends] == [True, False, False, False]
    assert all(0 < end.wait < 3 for end in ends)
    assert isinstance(ends[-1].error, SessionClosed)


@pytest.mark.parametrize("error", [SessionClosed("wrong password", Verdict.STUBBORN), KeyError("a bug")])
@pytest.mark.asyncio
async def test_what_does_not_pass_waits_the_longest_at_once(error: Exception) -> None:
    (end,) = await ends_of(error)
    assert end.error is error
    assert 0.8 * keeper.LONGEST <= end.wait <= keeper.LONGEST


@pytest.mark.asyncio
async def test_again_at_once_is_given_once_in_a_row() -> None:
    again = SessionClosed("the grant is gone", Verdict.AGAIN)
    first, second = await ends_of(again, again)
    assert first.wait == 0
    assert second.wait > 0


@pytest.mark.asyncio
async def test_after_a_steady_time_a_loss_is_news_again_and_delays_begin_afresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(keeper, "monotonic", lambda: clock[0])

    async def up() -> None:
        clock[0] += keeper.STEADY

    ends = await ends_of(*[OSError()] * 30, attempt=up)
    assert all(end.first for end in ends)
    assert all(end.wait <= keeper.FIRST for end in ends)


@pytest.mark.asyncio
async def test_only_cancellation_ends_it() -> None:
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(keep(forever, lambda end: pytest.fail("it did not end")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
