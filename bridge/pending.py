"""Commands that were sent and are not yet answered."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bridge.model import Command, Outcome, Reply


class Pending:
    """A table from whatever correlates an answer (an id, a key, a turn) to its command and deadline."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Command, float]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._entries))

    def add(self, key: str, command: Command, now: float) -> None:
        """Wait for its answer; `command.timeout` seconds from now, or for ever. ValueError: the key is taken."""
        if key in self._entries:
            raise ValueError(f"{key!r} is pending already")
        self._entries[key] = command, math.inf if command.timeout is None else now + command.timeout

    def get(self, key: str) -> Command | None:
        entry = self._entries.get(key)
        return entry[0] if entry else None

    def pop(self, key: str) -> Command | None:
        entry = self._entries.pop(key, None)
        return entry[0] if entry else None

    def oldest(self) -> str | None:
        return next(iter(self._entries), None)

    @property
    def due(self) -> float | None:
        """When `expire` has something to do next; None: never."""
        due = min((due for _, due in self._entries.values()), default=math.inf)
        return None if due == math.inf else due

    def expire(self, now: float, detail: str = "the device did not answer in time") -> Iterator[Reply]:
        """Drop what is overdue, with the honest answer for each."""
        for key, (command, due) in tuple(self._entries.items()):
            if due <= now:
                del self._entries[key]
                yield Reply(command.id, Outcome.UNKNOWN, detail)
