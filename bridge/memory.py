"""What a session may use of the journal: its device's memory."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping

from bridge.journal import Journal
from bridge.model import Json

DURABLE = "_durable"  # the key that tells a driver that its memory survives a restart


class Memory:
    def __init__(self, journal: Journal, commit: Callable[[], Future[bool] | None]) -> None:
        self._journal, self._commit = journal, commit

    def memory(self, device: str) -> Mapping[str, Json]:
        return {**self._journal.memory(device), DURABLE: self._journal.durable}

    def remember(self, device: str, key: str, value: Json) -> None:
        self._journal.remember(device, key, value)

    def committed(self) -> Future[bool] | None:
        """Done when all that was remembered is on disk; None: there is no disk."""
        return self._commit()
