"""Occurrences that survive this process: each is in the journal from when it happens until the broker has it."""

from __future__ import annotations

from collections.abc import Iterator
from time import time

from bridge.journal import Journal, Occurrence
from bridge.outbox import Publication


class Kept:
    """For `Outbox`, whose bounds are the journal's too."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def keep(self, item: Publication) -> int:
        return self._journal.append([Occurrence(item.topic, item.payload, time())]).seqs[0]

    def forget(self, number: int) -> None:
        self._journal.acknowledge(number)

    def earlier(self) -> Iterator[Publication]:
        """What earlier processes left, oldest first."""
        for number, occurrence in self._journal.replay():
            yield Publication(occurrence.topic, occurrence.payload, number=number)
