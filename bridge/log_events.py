"""Warnings and errors as events on MQTT, for those who watch the broker and not the machine: `log_to_mqtt`.

Never what is said of publishing itself (each of those has an event of its own, or could make the next one), never
more than the broker's readers can bear, and never a secret.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Literal

from bridge.access import Bucket
from bridge.log import redact
from bridge.model import Json

RATE, BURST = 0.2, 20  # events per second, and at once
LONGEST = 300  # characters of one value

_OF_PUBLISHING = (
    "bridge.herald", "bridge.uplink", "bridge.publisher", "bridge.outbox", "bridge.occurrences", "bridge.mqtt",
    "bridge.paho_client", "bridge.wire", "paho",
)  # fmt: skip
_NOT_TOLD = frozenset({"event", "level", "logger", "timestamp", "exc_info", "stack_info", "last_frames"})

Level = Literal["off", "warning", "error"]


class LogEvents(logging.Handler):
    """`tell(data)` publishes one. Any thread may log; `tell` is called on the loop."""

    def __init__(self, tell: Callable[[Mapping[str, Json]], None], level: Level) -> None:
        super().__init__(level.upper())
        self._tell, self._loop = tell, asyncio.get_running_loop()
        self._bucket = Bucket(RATE, BURST)
        self._held = 0

    def emit(self, record: logging.LogRecord) -> None:
        if any(record.name == name or record.name.startswith(f"{name}.") for name in _OF_PUBLISHING):
            return
        if not self._bucket.take(monotonic()):
            self._held += 1
            return
        try:
            data, self._held = _data(record, self._held), 0
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tell, data)
        except Exception:  # as all handlers of `logging` do: who logs must not suffer for it
            self.handleError(record)


def attach(tell: Callable[[Mapping[str, Json]], None], level: Level) -> Callable[[], None]:
    """Begin; what is returned ends it."""
    if level == "off":
        return lambda: None
    handler = LogEvents(tell, level)
    root = logging.getLogger()
    root.addHandler(handler)
    return lambda: root.removeHandler(handler)


def _data(record: logging.LogRecord, held: int) -> dict[str, Json]:
    """Secrets are masked before anything is made a text or cut: half of one would be unknown."""
    event = redact(None, "", record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()})
    told: dict[str, Json] = {
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": str(event.get("event", "")),
    }
    told |= {str(key): _plain(value) for key, value in event.items() if key not in _NOT_TOLD and value is not None}
    if held:
        told["held_back"] = held
    return {key: _cut(value) for key, value in redact(None, "", told).items()}


def _plain(value: object) -> Json:
    return value if isinstance(value, bool | int | float) else str(value)


def _cut(value: Json) -> Json:
    return value[:LONGEST] if isinstance(value, str) else value
