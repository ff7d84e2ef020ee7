"""Fetches what jobs measured: one result at a time, by the way that the instrument's firmware knows.

Protocol 8 and later keep results as resources: a list, then a download in one binary frame without an id. Before,
one JSON reply has it all as base64. The instrument's store is small: what is gone is gone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from bridge.driver import Close, Compute, Effect, Remember
from bridge.drivers.im7_data import DataError, Header, Table, from_bytes, job_data, read_header
from bridge.drivers.im7_errors import DATA_DISCARDED, ENDPOINT_NOT_FOUND, ID_NOT_FOUND, Problem, refusal
from bridge.drivers.im7_frames import Oddities, mapping, plain, sequence, text, whole
from bridge.drivers.im7_job import Tracked, expected_rows
from bridge.drivers.im7_long import Decoding, Outline, decode_piece
from bridge.drivers.im7_options import IM7Options
from bridge.drivers.im7_requests import Answer, Requests
from bridge.drivers.im7_ways import RESOURCES, Way
from bridge.model import Command, Happened, Json, Outcome, Reply, Result

_PAUSES = (1.0, 3.0, 10.0)  # seconds before asking again for a result that is not there yet
_TRIES = 3  # times that a result is asked for in all, over lost connections
_COLUMNS = 4  # of a usual measurement, to guess a result's size
_WHOLE = 1 << 20  # entries of a list in a result's description: a wave's values belong to it


@dataclass(slots=True, eq=False)
class Fetch:
    """One result on its way."""

    job: Tracked
    commands: list[Command] = field(default_factory=list)
    pauses: int = 0
    not_before: float = -math.inf
    request: str = ""  # the id of the request that brings the numbers
    header: Header | None = None  # of a resource
    info: Mapping[str, object] = field(default_factory=dict)
    replied: bool = False
    content: bytes | None = None  # the binary frame
    message: Mapping[str, object] = field(default_factory=dict)  # a long reply's outline
    decoding: Decoding | None = None  # of a long reply


class Results:
    def __init__(
        self, options: IM7Options, requests: Requests, oddities: Oddities, memory: Mapping[str, Json]
    ) -> None:
        self._options, self._requests, self._oddities = options, requests, oddities
        self._queue: deque[Fetch] = deque()
        self._current: Fetch | None = None
        self._due = math.inf  # for a binary frame
        self._turn = 0
        self._way = Way(memory)

    def learn(self, workstation: Mapping[str, object]) -> None:
        self._way.learn(workstation)

    def add(self, job: Tracked, command: Command | None = None) -> Iterator[Effect]:
        """Fetch it as soon as its turn has come; a command waits for it."""
        fetch = next((f for f in (self._current, *self._queue) if f and f.job.info.id == job.info.id), None)
        if fetch is None:
            fetch = Fetch(job)
            self._queue.append(fetch)
            job.tries = job.tries if command is None else 0
            yield from self._tell(job, "waiting to be fetched")
        if command is not None:
            fetch.commands.append(command)

    def tick(self, now: float) -> Iterator[Effect]:
        """Begin what is next, and give up what takes too long. For every step of the driver."""
        if self._due <= now:
            self._due = math.inf
            yield Close("a result did not arrive in time")
        while self._current is None and (ready := self._ready(now)) is not None:
            self._queue.remove(ready)
            self._current = ready
            yield from self._begin(ready, now)

    def _ready(self, now: float) -> Fetch | None:
        return next((fetch for fetch in self._queue if fetch.not_before <= now), None)

    def _begin(self, ready: Fetch, now: float) -> Iterator[Effect]:
        if ready.job.tries >= _TRIES:
            yield from self._end(ready, f"left on the instrument: {_TRIES} attempts to fetch it failed")
        elif self._way.name == RESOURCES:
            take, miss = partial(self._listed, ready), partial(self._silent, ready)
            yield self._requests.ask("/JOB_RESULT/list", take, miss, now)
        elif self._too_large(size := self._guess(ready.job)):
            yield from self._leave(ready, size)
        else:
            yield from self._ask(ready, "/job/data", {"job_id": ready.job.info.id}, now)

    def _ask(self, fetch: Fetch, do: str, fields: Mapping[str, Json], now: float) -> Iterator[Effect]:
        """Ask for the numbers. Counted on disk before: they may be more than the connection bears."""
        fetch.job.tries += 1
        if fetch.job.remembered:
            yield Remember(fetch.job.key, fetch.job.memory())
        fetch.request = self._requests.name()
        take = self._downloaded if do.startswith("/JOB_RESULT") else self._replied
        yield self._requests.ask(
            do,
            partial(take, fetch),
            partial(self._silent, fetch),
            now,
            fields,
            name=fetch.request,
            patience=self._options.result_timeout,
        )

    def _guess(self, job: Tracked) -> float:
        return (expected_rows(job.info) or 0.0) * _COLUMNS * 8

    def _too_large(self, size: float) -> bool:
        return size > self._options.max_result

    # --- resources -----------------------------------------------------------------------------------

    def _listed(self, fetch: Fetch, answer: Answer, now: float) -> Iterator[Effect]:
        if answer.problem is not None:
            yield from self._refused(fetch, answer.problem, now)
            return
        resources = [mapping(entry) for entry in sequence(answer.message.get("resources"))]
        found = next((entry for entry in resources if entry.get("job_id") == fetch.job.info.id), None)
        if found is None:
            yield from self._pause(fetch, "the instrument has no result of this job", now)
            return
        yield from self._way.works()
        description = mapping(found.get("header"))
        fetch.header = read_header(description.get("job_data_header"))
        fetch.info = mapping(description.get("job_info"))
        resource, size = text(found.get("resource_id")), whole(found.get("size")) or 0
        if fetch.header is None or not resource:
            yield from self._end(fetch, "cannot be fetched: its header names no columns")
        elif self._too_large(size):
            yield from self._leave(fetch, size)
        else:
            self._due = now + self._options.result_timeout
            yield from self._ask(fetch, "/JOB_RESULT/download", {"resource_id": resource}, now)

    def binary(self, frame: bytes) -> Iterator[Effect]:
        """A binary frame has no id: it belongs to the download under way."""
        fetch = self._current
        if fetch is None or self._due == math.inf or fetch.content is not None:
            yield from self._oddities.tell("binary frame that nobody asked for")
            return
        fetch.content = frame
        yield from self._complete(fetch)

    def _downloaded(self, fetch: Fetch, answer: Answer, now: float) -> Iterator[Effect]:
        if answer.problem is not None:
            yield from self._refused(fetch, answer.problem, now)
            return
        fetch.replied = True
        yield from self._complete(fetch)

    def _complete(self, fetch: Fetch) -> Iterator[Effect]:
        """Reply and frame come in either order."""
        if fetch.replied and fetch.content is not None and fetch.header is not None:
            try:
                rows, remainder = from_bytes(fetch.content, fetch.header.width)
            except DataError as error:
                yield from self._end(fetch, f"cannot be decoded: {error}")
            else:
                yield from self._publish(fetch, Table(fetch.header, rows, fetch.info, remainder))

    # --- one JSON reply ------------------------------------------------------------------------------

    def _replied(self, fetch: Fetch, answer: Answer, now: float) -> Iterator[Effect]:
        if answer.problem is not None:
            yield from self._refused(fetch, answer.problem, now)
            return
        yield from self._way.works()
        yield from self._read(fetch, answer.message)

    def long(self, outline: Outline, now: float) -> Iterator[Effect]:
        """A reply too long for the loop: a worker process decodes it, piece by piece."""
        fetch, request_id = self._current, outline.message.get("request_id")
        if fetch is None or request_id != fetch.request or fetch.request not in self._requests:
            yield from self._oddities.tell("long reply that nobody waits for")
            return
        self._requests.drop(fetch.request)
        if (problem := refusal(outline.message)) is not None:
            yield from self._refused(fetch, problem, now)
            return
        yield from self._way.works()
        fetch.message, fetch.decoding = outline.message, outline.decoding()
        if self._too_large(fetch.decoding.size):
            yield from self._leave(fetch, fetch.decoding.size)
        else:
            yield from self._decode(fetch, fetch.decoding)

    def _decode(self, fetch: Fetch, decoding: Decoding) -> Iterator[Effect]:
        if (piece := decoding.piece) is not None:
            self._turn += 1
            yield Compute(f"piece {self._turn}", decode_piece, piece)
        else:
            yield from self._read(fetch, decoding.finish(fetch.message))

    def computed(self, token: str, found: object, now: float) -> Iterator[Effect]:
        fetch = self._current
        if fetch is None or fetch.decoding is None or token != f"piece {self._turn}":
            return
        if isinstance(found, bytes):
            fetch.decoding.take(found)
            yield from self._decode(fetch, fetch.decoding)
        elif isinstance(found, DataError):
            yield from self._end(fetch, f"cannot be decoded: {found}")
        else:
            yield from self._pause(fetch, f"decoding it failed: {found!r}", now)

    def _read(self, fetch: Fetch, message: Mapping[str, object]) -> Iterator[Effect]:
        try:
            table = job_data(message)
        except DataError as error:
            yield from self._end(fetch, f"cannot be decoded: {error}")
        else:
            yield from self._publish(fetch, table)

    # --- ends ----------------------------------------------------------------------------------------

    def _publish(self, fetch: Fetch, table: Table) -> Iterator[Effect]:
        job, header = fetch.job, table.header
        if self._too_large(table.rows.nbytes):
            yield from self._leave(fetch, table.rows.nbytes)
            return
        raw = table.info or job.info.raw
        meta: dict[str, Json] = {"job_info": plain(raw, _WHOLE), "measurement": header.title}
        meta["urns"] = list(header.urns)
        if table.remainder:
            meta["remainder"] = table.remainder
            yield Happened(
                "remainder",
                {"job": job.info.id, "values": table.remainder, "columns": header.width},
            )
        yield Result(job.info.id, job.info.name, header.columns, header.units, table.rows, meta)
        data: Json = {"job_id": job.info.id, "rows": len(table.rows), "columns": list(header.columns)}
        yield from self._end(fetch, "fetched", data)

    def _leave(self, fetch: Fetch, size: float) -> Iterator[Effect]:
        limit = self._options.max_result
        yield from self._end(fetch, f"left on the instrument: about {size:.0f} bytes, and max_result is {limit}")

    def _refused(self, fetch: Fetch, problem: Problem, now: float) -> Iterator[Effect]:
        match problem.number:
            case number if number == ENDPOINT_NOT_FOUND and self._way.change():
                yield from self._pause(fetch, str(problem), now, 0.0)
            case number if number == ID_NOT_FOUND:
                yield from self._pause(fetch, str(problem), now)
            case number if number == DATA_DISCARDED:
                yield from self._end(fetch, "discarded on the instrument")
            case _:
                yield from self._end(fetch, f"cannot be fetched: {problem}")

    def _silent(self, fetch: Fetch, now: float) -> Iterator[Effect]:
        """No answer in time. A binary frame that comes now would be taken for the next one's."""
        if fetch.request and self._way.name == RESOURCES:
            yield Close("a result did not arrive in time")
        else:
            yield from self._pause(fetch, "the instrument did not answer in time", now)

    def _pause(self, fetch: Fetch, why: str, now: float, seconds: float | None = None) -> Iterator[Effect]:
        """Try again later, a few times."""
        if seconds is None:
            if fetch.pauses == len(_PAUSES):
                yield from self._end(fetch, f"not fetched: {why}")
                return
            seconds = _PAUSES[fetch.pauses]
            fetch.pauses += 1
        again = Fetch(fetch.job, fetch.commands, fetch.pauses, now + seconds)
        self._current, self._due = None, math.inf
        self._queue.appendleft(again)

    def _end(self, fetch: Fetch, what: str, data: Json = None) -> Iterator[Effect]:
        self._current, self._due = None, math.inf
        if fetch.job.remembered:
            fetch.job.remembered = False
            yield Remember(fetch.job.key, None)
        yield from self._tell(fetch.job, what)
        outcome = Outcome.FAILED if data is None else Outcome.DONE
        for command in fetch.commands:
            yield Reply(command.id, outcome, "" if data is not None else what, data)

    def _tell(self, job: Tracked, what: str) -> Iterator[Effect]:
        job.result = what
        if job.info.status:  # else all that is known of it is its id
            yield job.event()

    @property
    def wake_at(self) -> float:
        if self._current is not None:
            return self._due
        return min((fetch.not_before for fetch in self._queue), default=math.inf)
