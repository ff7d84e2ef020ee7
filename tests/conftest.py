"""What holds for every test: no asyncio task outlives the test that made it, and no configuration of the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

TURNS = 10  # of the loop, for tasks that were cancelled at the very end and only need to notice it


@pytest_asyncio.fixture
async def _watched_loop() -> AsyncIterator[None]:
    """Set up first and so torn down last: what other fixtures have closed by then is no leak."""
    yield
    for _ in range(TURNS):
        leaked = asyncio.all_tasks() - {asyncio.current_task()}
        if not leaked:
            return
        await asyncio.sleep(0)
    named = ", ".join(repr(task) for task in leaked)
    for task in leaked:
        task.cancel()
    await asyncio.wait(leaked, timeout=1.0)
    pytest.fail(f"asyncio tasks left behind: {named}")


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Fails an asyncio test that leaves tasks behind; other tests get no loop made for them."""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("_watched_loop")


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that is run in this process configures the log of all of it."""
    root, configured = logging.getLogger(), structlog.is_configured()
    handlers, level = list(root.handlers), root.level
    yield
    if structlog.is_configured() and not configured:
        structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
