"""What running jobs measure, as it comes: attributed to its job, collected into blocks, and shown as points.

Live rows name no job. They belong to the one whose header is open; when two are open they could belong to either,
and are dropped and counted (protocol: "Pitfalls for our decoder"). Live data has gaps by nature: only the fetched
result is complete.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from bridge.driver import Effect, Remember
from bridge.drivers.im7_data import WIDEST, Header, live_eis_row, live_rows, read_header
from bridge.drivers.im7_frames import Oddities, mapping, plain, text
from bridge.drivers.im7_job import JobInfo, duration, expected_rows
from bridge.drivers.im7_options import IM7Options
from bridge.drivers.im7_points import live_key, points
from bridge.model import Block, Declared, Happened, Json, Update

MEMORY = "live"  # the dimensions seen so far, so that their points outlive a connection
HEADER_MEMORY = "header:"  # and a job's id: it is sent once, and its rows go on after a lost connection
MOST_DIMENSIONS = 100
_WIDEST_BLOCK = 16_384  # values of one block: about 300 KiB of JSON


@dataclass(slots=True, eq=False)
class Open:
    """A job whose header is open."""

    info: JobInfo
    header: Header
    rows: list[list[float]] = field(default_factory=list)  # not yet reported
    offset: int = 0  # rows reported on this connection
    dropped: int = 0
    flushed: float = -math.inf


class Live:
    def __init__(self, options: IM7Options, oddities: Oddities, memory: Mapping[str, Json]) -> None:
        self._options, self._oddities = options, oddities
        self._open: dict[str, Open] = {}
        self._strays = 0  # messages without a header, or with two
        known = mapping(memory.get(MEMORY))
        self._dimensions = {text(name): text(unit) for name, unit in known.items() if text(name)}
        self._former = {
            key.removeprefix(HEADER_MEMORY): content
            for key, content in memory.items()
            if key.startswith(HEADER_MEMORY) and content is not None
        }

    def declare(self) -> Declared:
        return Declared(points(self._dimensions.items(), self._options.result_timeout))

    def header(self, info: JobInfo, content: object, now: float) -> Iterator[Effect]:
        """A job begins to measure."""
        header = read_header(content)
        if header is None:
            yield from self._oddities.tell("live header without columns")
            return
        yield from self.close(info.id, now)
        self._open[info.id] = Open(info, header)
        yield Remember(HEADER_MEMORY + info.id, plain(content, WIDEST))
        new = {
            name: unit
            for name, unit in zip(header.columns, header.units, strict=True)
            if self._dimensions.get(name) != unit
        }
        if self._options.live and new and len(self._dimensions | new) <= MOST_DIMENSIONS:
            self._dimensions |= new
            yield Remember(MEMORY, dict(self._dimensions))
            yield self.declare()

    def rows(self, event: Mapping[str, object], now: float) -> Iterator[Effect]:
        """Rows of a DC measurement, or one row of a spectrum."""
        eis = event.get("type") == "LIVE_DATA_ROW_EIS"
        fitting = [job for job in self._open.values() if job.header.eis is eis]
        if len(fitting) != 1:
            self._strays += 1
            what = "of two jobs at once" if fitting else "without a header"
            yield from self._oddities.tell(f"live rows {what}: they are not published")
            return
        job = fitting[0]
        if eis:
            row = live_eis_row(event, job.header.width)
            found, dropped = ([], 1) if row is None else ([row], 0)
        else:
            found, dropped = live_rows(event.get("data"), job.header.width)
        job.dropped += dropped
        job.rows += found
        enough = min(self._options.live_rows, max(1, _WIDEST_BLOCK // job.header.width))
        while len(job.rows) >= enough:
            yield from self._flush(job, now, enough)
        if job.rows and now - job.flushed >= self._options.live_interval:
            yield from self._flush(job, now, enough)

    def resume(self, running: Mapping[str, JobInfo]) -> Iterator[Effect]:
        """What was measuring when the last connection was lost, and still runs, is measuring."""
        former, self._former = self._former, {}
        for job_id, content in former.items():
            header = read_header(content)
            if job_id in running and header is not None:
                self._open.setdefault(job_id, Open(running[job_id], header))
            elif job_id not in self._open:
                yield Remember(HEADER_MEMORY + job_id, None)

    def close(self, job_id: str, now: float) -> Iterator[Effect]:
        """The job measures no more."""
        job = self._open.pop(job_id, None)
        if job is None:
            return
        yield Remember(HEADER_MEMORY + job_id, None)
        if job.rows:
            yield from self._flush(job, now, len(job.rows))
        if job.dropped or self._strays:
            lost: dict[str, Json] = {"job": job_id, "misfits": job.dropped, "unattributed": self._strays}
            self._strays = 0
            yield Happened("live_dropped", lost)

    def tick(self, now: float) -> Iterator[Effect]:
        for job in tuple(self._open.values()):
            if job.rows and now - job.flushed >= self._options.live_interval:
                yield from self._flush(job, now, len(job.rows))

    @property
    def wake_at(self) -> float:
        dues = (job.flushed + self._options.live_interval for job in self._open.values() if job.rows)
        return min(dues, default=math.inf)

    def _flush(self, job: Open, now: float, count: int) -> Iterator[Effect]:
        """Report the oldest rows, and the latest value of each dimension."""
        some, job.rows = job.rows[:count], job.rows[count:]
        job.flushed = now
        offset, job.offset = job.offset, job.offset + len(some)
        if self._options.live:
            rows = np.array(some, dtype=np.float64)
            yield Block(job.info.id, offset, job.header.columns, job.header.units, rows)
            for name, value in zip(job.header.columns, some[-1], strict=True):
                if name in self._dimensions:
                    yield Update(live_key(name), value if math.isfinite(value) else None)
        if (progress := _progress(job, some[-1])) is not None:
            yield Update("job/progress", progress)


def _progress(job: Open, row: list[float]) -> float | None:
    """Percent, where the parameters say how long it takes. What is not over is at most 99."""
    whole = duration(job.info)
    if whole is not None and "time" in job.header.columns:
        done = row[job.header.columns.index("time")]
    else:
        whole, done = expected_rows(job.info), job.offset
    if not whole or not math.isfinite(done):
        return None
    return round(min(max(100.0 * done / whole, 0.0), 99.0), 1)
