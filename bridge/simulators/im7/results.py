"""The results that the instrument keeps: a bounded store, and the two shapes in which it gives them away."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.simulators.im7.errors import JsonObject, Refused
from bridge.simulators.im7.jobs import Job, now

if TYPE_CHECKING:
    from bridge.simulators.im7.recording import Recording


@dataclass(frozen=True, slots=True)
class Result:
    """The rows that a job measured: all, or those until it was stopped."""

    job: Job
    recording: Recording
    rows: int
    created: str = field(default_factory=now)

    @property
    def resource_id(self) -> str:
        return f"r-{self.job.id}"

    def raw(self) -> bytes:
        return self.recording.raw(self.rows)

    def resource(self) -> JsonObject:
        """The entry of `/JOB_RESULT/list` (protocol 8 and newer)."""
        return {
            "resource_id": self.resource_id,
            "name": self.job.id,
            "job_id": self.job.id,
            "type": "JOB_RESULT",
            "sub_type": "DATASET_AC" if self.recording.is_spectrum else "DATASET_DC",
            "size": self.rows * self.recording.matrix.shape[0] * 8,
            "created": self.created,
            "updated": self.created,
            "header": {
                "job_data_header": self.recording.header,
                "job_info": self.job.info(),
                "number_of_rows": self.rows,
            },
        }

    def events(self) -> list[JsonObject]:
        """The reply to `/job/data` (protocol 7 and older): header, rows, end.

        The shape for a spectrum is a guess: no client takes any that was tried. Here it is what the events were.
        """
        info, header = self.job.info(), self.recording.header
        if self.recording.is_spectrum:
            events = [
                {"type": "LIVE_DATA_HEADER_EIS", "header": header, "job_info": info},
                *(spectrum_row(self.recording, row) for row in range(self.rows)),
            ]
        else:
            rows = base64.b64encode(self.raw()).decode("ascii")
            events = [
                {"type": "LIVE_DATA_HEADER", "header": header, "job_info": info},
                {"type": "LIVE_DATA_ROWS", "data": rows},
            ]
        return [
            {"type": "EVENT", "event": event}
            for event in (*events, {"type": "LIVE_DATA_FINISHED", "job_info": info})
        ]


def spectrum_row(recording: Recording, row: int) -> JsonObject:
    """The event that tells of one frequency."""
    blocks = recording.point(row)
    return {
        "type": "LIVE_DATA_ROW_EIS",
        "meta": blocks["meta"][0],
        "paths": blocks["paths"],
        "impedances": blocks["impedances"],
        "potentiostats": blocks["potentiostats"],
        "async_paths": [],
        "paths_waves": [[] for _ in blocks["paths"]],
    }


class Results:
    """At most so many results; the oldest makes room. `fetched` counts how often each was taken, by job."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[str, Result] = {}
        self._discarded: set[str] = set()
        self.fetched: Counter[str] = Counter()
        self._last: tuple[Result, bytes] | None = None  # who takes a large result by pieces asks for it often

    def raw(self, result: Result) -> bytes:
        """The result's bytes: little-endian float64, column after column."""
        if self._last is None or self._last[0] is not result:
            self._last = (result, result.raw())
        return self._last[1]

    def keep(self, result: Result) -> None:
        if result.job.order.is_discarded:
            self._discarded.add(result.job.id)
            return
        self._kept[result.job.id] = result
        while len(self._kept) > self._room:
            del self._kept[next(iter(self._kept))]

    def all(self) -> list[Result]:
        return list(self._kept.values())

    def of_job(self, job_id: str) -> Result:
        if job_id in self._discarded:
            raise Refused("RESULT_DATA_DISCARDED", job_id)
        if (result := self._kept.get(job_id)) is None:
            raise Refused("ID_NOT_FOUND", "job (result resource)", "job_id", job_id)
        return result

    def by_id(self, resource_id: str) -> Result:
        for result in self._kept.values():
            if result.resource_id == resource_id:
                return result
        raise Refused("ID_NOT_FOUND", "resource", "resource_id", resource_id)

    def fetch(self, result: Result) -> Result:
        """Count that somebody takes it."""
        self.fetched[result.job.id] += 1
        return result

    def forget(self, job_id: str) -> None:
        self._kept.pop(job_id, None)

    def clear(self) -> None:
        self._kept.clear()
        self._last = None
