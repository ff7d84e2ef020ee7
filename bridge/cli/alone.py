"""A device without broker, disk and commands, for tools that only ask what is there.

What the daemon remembers of it is neither read nor written, so not even an overdue pulse is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time

from bridge import configured
from bridge.device import Device
from bridge.journal import Journal
from bridge.memory import Memory
from bridge.model import Result
from bridge.outbox import Outbox
from bridge.session import Tools
from bridge.settings import Settings
from bridge.topics import Topics
from bridge.workers import Workers


@contextmanager
def alone(settings: Settings, name: str, news: Callable[[], None]) -> Iterator[tuple[Device, Tools]]:
    """One of the configuration's, and what a session of it uses; `news()` whenever something was reported."""
    topics = Topics(settings.bridge.root, settings.bridge.id).device(name)
    device = Device(configured.profile(name, settings), topics, Outbox(), lambda ticket, reply: None)
    memory, workers = Memory(Journal.open(None, time()), lambda: None), Workers()
    try:
        yield device, Tools(memory, workers.compute, _keep_nothing, news)
    finally:
        workers.close()


async def _keep_nothing(name: str, result: Result) -> None:
    pass
