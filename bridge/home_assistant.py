"""The bridge itself in Home Assistant, and what is done when Home Assistant says that it has started."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator

import structlog

from bridge import discovery
from bridge.mqtt import Filter, Message
from bridge.outbox import Publication
from bridge.settings_models import HomeAssistantSettings
from bridge.topics import Topics

SOONEST, LATEST = 0.1, 1.0  # seconds after a birth: not all bridges of a house at the same moment

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class HomeAssistant:
    """`again` announces everything once more."""

    def __init__(self, settings: HomeAssistantSettings, topics: Topics, again: Callable[[], None]) -> None:
        self._settings, self._topics, self._again = settings, topics, again
        self._timer: asyncio.TimerHandle | None = None

    def filters(self) -> list[Filter]:
        return [Filter(self._settings.birth)] if self._settings.discovery else []

    def announce(self) -> Iterator[Publication]:
        """The bridge as a device: before those that are behind it."""
        if self._settings.discovery:
            topic = discovery.bridge_topic(self._settings.prefix, self._topics.bridge)
            yield Publication(topic, discovery.bridge_payload(self._topics), retain=True)

    def heard(self, message: Message) -> bool:
        """True when this was Home Assistant's birth or will. A retained one is no news."""
        if not self._settings.discovery or message.topic != self._settings.birth:
            return False
        if message.payload == b"online" and not message.retain and self._timer is None:
            log.info("Home Assistant has started: everything is announced again")
            wait = random.uniform(SOONEST, LATEST)
            self._timer = asyncio.get_running_loop().call_later(wait, self._announce)
        return True

    def _announce(self) -> None:
        self._timer = None
        self._again()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
