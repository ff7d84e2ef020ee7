"""A real greeting: the driver itself, on a connection of its own, until it is ready. Nothing is commanded."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass

from bridge import configured, plugins
from bridge.cli.alone import alone
from bridge.link import State
from bridge.session import Session
from bridge.settings import Settings
from bridge.transcript import Redaction

SETTLE = 0.5  # seconds after Ready: conditions are told, and strangers speak


@dataclass(frozen=True, slots=True)
class Greeting:
    """`state`, `reason`: the link's. `error`: how the connection ended, if it did. `heard`: frames, cut short.

    `points`: how many points and actions the device declared.
    """

    ready: bool
    connected: bool
    state: str
    reason: str
    error: BaseException | None
    heard: tuple[str, ...]
    points: int


async def greet(settings: Settings, name: str, within: float) -> Greeting:
    """ValueError when the settings cannot work: a certificate's file, a header."""
    own = settings.devices[name]
    plugin = plugins.load(own.driver)
    target, pings = configured.target(own, plugin), configured.pings(own, plugin)
    news, connected = asyncio.Event(), False
    with alone(settings, name, news.set) as (device, tools):
        session = Session(device, plugin, own.options, target, pings, tools)
        running = asyncio.create_task(session.run())
        running.add_done_callback(lambda task: news.set())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    while not (device.ready or running.done()):
                        await news.wait()
                        news.clear()
                        connected = connected or device.link.state in (State.GREETING, State.READY)
            if device.ready:
                await asyncio.wait([running], timeout=SETTLE)
            link, points = device.link, len(device.catalogue.points)
            ready, state, reason = device.ready, link.shown, link.reason
        finally:
            running.cancel()
            ended = await asyncio.gather(running, return_exceptions=True)
    error = ended[0] if isinstance(ended[0], Exception) else None
    return Greeting(ready, connected, state, reason, error, _heard(session), points)


def _heard(session: Session) -> tuple[str, ...]:
    entries = [json.loads(line) for line in session.recent.lines(Redaction())]
    return tuple(str(entry["data"]) for entry in entries if entry["dir"] == "<" and entry["kind"] == "text")
