"""Heavy work in a process of its own: results, errors, and a worker that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures.process import BrokenProcessPool

import pytest
import pytest_asyncio

from bridge.workers import Workers


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers()
    yield made
    made.close()


def end_yourself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.asyncio
async def test_work_is_done_elsewhere_and_its_errors_come_back(workers: Workers) -> None:
    elsewhere = await workers.compute(os.getpid, ())
    assert elsewhere != os.getpid()
    assert await workers.compute(divmod, (7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.compute(divmod, (7, 0))
    assert await workers.compute(os.getpid, ()) == elsewhere, "one worker, kept"


@pytest.mark.asyncio
async def test_what_cannot_be_pickled_is_an_error_and_no_hang(workers: Workers) -> None:
    with pytest.raises(Exception, match="pickle"):
        await workers.compute(lambda: None, ())
    assert await workers.compute(abs, (-1,)) == 1


@pytest.mark.asyncio
async def test_after_a_killed_worker_comes_the_next(workers: Workers) -> None:
    with pytest.raises(BrokenProcessPool):
        await workers.compute(end_yourself, ())
    assert await workers.compute(abs, (-2,)) == 2


@pytest.mark.asyncio
async def test_closing_cancels_what_waits(workers: Workers) -> None:
    first, *others = [workers.compute(abs, (-number,)) for number in range(20)]
    await first
    workers.close()
    ends = await asyncio.gather(*others, return_exceptions=True)
    assert all(end == number or isinstance(end, asyncio.CancelledError) for number, end in enumerate(ends, 1))
    workers.close()
