"""Calls keep their order although some of them wait for the disk."""

from __future__ import annotations

import asyncio

import pytest

from bridge.turns import Turns


@pytest.mark.asyncio
async def test_what_needs_no_disk_is_called_at_once() -> None:
    turns, called = Turns(), []
    for name in "ab":
        turns.take(None, lambda name=name: called.append(name))  # type: ignore[misc]
    assert called == ["a", "b"]


@pytest.mark.asyncio
async def test_what_comes_later_waits_for_what_waits() -> None:
    turns, called = Turns(), []
    first: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    second: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    turns.take(first, lambda: called.append("first"))
    turns.take(None, lambda: called.append("no disk"))
    turns.take(second, lambda: called.append("second"))
    second.set_result(True)
    await asyncio.sleep(0)
    assert called == []
    first.set_result(False)
    await asyncio.sleep(0)
    assert called == ["first", "no disk", "second"]
    turns.take(None, lambda: called.append("after"))
    assert called[-1] == "after"


@pytest.mark.asyncio
async def test_a_commit_that_fails_holds_nobody_up() -> None:
    turns, called = Turns(), []
    broken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    turns.take(broken, lambda: called.append("still carried out"))
    broken.set_exception(OSError("no disk"))
    await asyncio.sleep(0)
    broken.exception()
    assert called == ["still carried out"]
