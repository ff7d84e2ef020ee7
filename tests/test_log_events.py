"""The log as events: from its level on, never about publishing, never a flood, never a secret."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
import structlog

from bridge import log, log_events
from bridge.log_events import BURST, LONGEST
from bridge.model import Json

pytestmark = pytest.mark.asyncio
PLANTED = "planted-s3cret"


@pytest_asyncio.fixture
async def told() -> AsyncIterator[list[Mapping[str, Json]]]:
    """What would be published, from `warning` on."""
    found: list[Mapping[str, Json]] = []
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    log.configure("debug", "json")
    end = log_events.attach(found.append, "warning")
    yield found
    end()
    assert not any(isinstance(handler, log_events.LogEvents) for handler in root.handlers)
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


async def test_a_warning_is_told_with_its_context(told: list[Mapping[str, Json]]) -> None:
    with structlog.contextvars.bound_contextvars(device="io"):
        structlog.get_logger("bridge.runner").warning("no connection", reason="refused", retry_in=3.0)
    structlog.get_logger("bridge.runner").info("not this")
    await asyncio.sleep(0)
    (event,) = told
    assert event == {
        "level": "warning",
        "logger": "bridge.runner",
        "message": "no connection",
        "device": "io",
        "reason": "refused",
        "retry_in": 3.0,
    }
    assert json.dumps(event)


@pytest.mark.parametrize(
    "name", ["bridge.herald", "bridge.uplink", "bridge.publisher", "bridge.mqtt", "paho", "paho.mqtt.client"]
)
async def test_what_is_said_of_publishing_makes_no_publication(name: str, told: list[Mapping[str, Json]]) -> None:
    logging.getLogger(name).error("a message cannot be published")
    await asyncio.sleep(0)
    assert told == []


async def test_a_flood_is_a_few_events_and_a_count(told: list[Mapping[str, Json]]) -> None:
    logger = structlog.get_logger("bridge.x")
    for number in range(500):
        logger.error("flood", number=number)
    await asyncio.sleep(0)
    assert len(told) == BURST


async def test_secrets_and_frames_are_not_told(told: list[Mapping[str, Json]]) -> None:
    log.hide([PLANTED])
    try:
        try:
            raise ValueError(PLANTED)
        except ValueError:
            structlog.get_logger("bridge.x").exception(
                f"said {PLANTED}",
                token="short",
                url=f"ws://me:{PLANTED}@host",
                last_frames=[PLANTED],
                much="x" * 999,
            )
        await asyncio.sleep(0)
    finally:
        log.hide([])
    (event,) = told
    assert PLANTED not in json.dumps(event)
    assert event["token"] == "***"
    assert event["much"] == "x" * LONGEST
    assert "last_frames" not in event


async def test_a_secret_is_masked_before_anything_is_cut(told: list[Mapping[str, Json]]) -> None:
    log.hide([PLANTED])
    try:
        much = "x" * (LONGEST - 5) + PLANTED
        structlog.get_logger("bridge.x").error(
            "said", much=much, options={"password": "short"}, listed=[{"url": f"ws://me:{PLANTED}@host"}],
            error=ValueError(much),
        )  # fmt: skip
        await asyncio.sleep(0)
    finally:
        log.hide([])
    (event,) = told
    assert PLANTED[:5] not in json.dumps(event)
    assert "short" not in json.dumps(event)


async def test_who_logs_badly_does_not_suffer_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    handler = log_events.LogEvents(lambda data: None, "warning")
    handler.handle(logging.LogRecord("somebody", logging.ERROR, "", 1, "%d", ("no number",), None))
    assert "Logging error" in capsys.readouterr().err


async def test_another_thread_may_log(told: list[Mapping[str, Json]]) -> None:
    thread = threading.Thread(target=lambda: logging.getLogger("bridge.journal_writer").error("the disk is full"))
    thread.start()
    thread.join()
    while not told:
        await asyncio.sleep(0)
    assert told[0]["message"] == "the disk is full"


async def test_off_is_off() -> None:
    before = logging.getLogger().handlers[:]
    log_events.attach(lambda data: None, "off")()
    assert logging.getLogger().handlers == before
