"""A real greeting: the driver itself, on a connection of its own, until it is ready. Nothing is commanded.

What the daemon remembers of the device is neither read nor written, so not even an overdue pulse is ended.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from time import time

from bridge import configured, plugins
from bridge.device import Device
from bridge.journal import Journal
from bridge.link import State
from bridge.memory import Memory
from bridge.model import Result
from bridge.outbox import Outbox
from bridge.session import Session, Tools
from bridge.settings import Settings
from bridge.topics import Topics
from bridge.transcript import Redaction
from bridge.workers import Workers

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
    device = Device(
        configured.profile(name, settings),
        Topics(settings.bridge.root, settings.bridge.id).device(name),
        Outbox(),
        lambda ticket, reply: None,
    )
    target, pings = configured.target(own, plugin), configured.pings(own, plugin)
    news, workers = asyncio.Event(), Workers()
    tools = Tools(Memory(Journal.open(None, time()), lambda: None), workers.compute, _keep_nothing, news.set)
    session = Session(device, plugin, own.options, target, pings, tools)
    running = asyncio.create_task(session.run())
    running.add_done_callback(lambda task: news.set())
    connected = False
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
        workers.close()
    error = ended[0] if isinstance(ended[0], Exception) else None
    return Greeting(ready, connected, state, reason, error, _heard(session), points)


async def _keep_nothing(name: str, result: Result) -> None:
    pass


def _heard(session: Session) -> tuple[str, ...]:
    entries = [json.loads(line) for line in session.recent.lines(Redaction())]
    return tuple(str(entry["data"]) for entry in entries if entry["dir"] == "<" and entry["kind"] == "text")
