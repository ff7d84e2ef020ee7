"""Jobs between their request and the first word of them: a start is sent once, whatever happens to the answer.

What was sent is on disk before. When the connection or the answer is lost, the job list is searched for the tag
that the start carried in `job_meta`; never is it sent again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bridge.driver import Effect, Effects, Hold, Remember
from bridge.drivers.im7_errors import BYPASS_NOT_ALLOWED
from bridge.drivers.im7_frames import mapping, sequence, text
from bridge.drivers.im7_job import JobInfo, read_info
from bridge.drivers.im7_requests import Answer, Requests
from bridge.model import Command, Json, Outcome, Reply

MEMORY = "start:"  # and the command's id
_SEARCH = 30.0  # seconds for the job list to show it


@dataclass(slots=True, eq=False)
class Start:
    """One `/job/start` on its way."""

    command_id: str
    command: Command | None  # None: nobody waits (any more)
    before: frozenset[str]  # jobs with the same tag that were there before
    fetch: bool  # its result is wanted
    request_id: str | None = None  # None: of an earlier connection
    due: float = math.inf  # then its command is answered with `unknown`
    search_from: float = math.inf  # a list asked for since then must show it

    @property
    def key(self) -> str:
        return MEMORY + self.command_id


class Starts:
    """`link` is told which job a start has become."""

    def __init__(
        self,
        requests: Requests,
        memory: Mapping[str, Json],
        carried: Mapping[str, Command],
        link: Callable[[Start, JobInfo, float], Effects],
    ) -> None:
        self._requests, self._link = requests, link
        self._open: dict[str, Start] = {}
        self.doubt = False  # the job list must be looked at
        for key, value in memory.items():
            if key.startswith(MEMORY) and value is not None:
                command_id, entry = key.removeprefix(MEMORY), mapping(value)
                before = frozenset(map(text, sequence(entry.get("before"))))
                start = Start(command_id, carried.get(command_id), before, entry.get("fetch") is True)
                start.search_from = -math.inf
                self._open[command_id] = start

    def resume(self, now: float) -> None:
        """Those of earlier connections are searched for a while."""
        for start in self._open.values():
            start.due = now + _SEARCH

    def begin(
        self, command: Command, fields: Mapping[str, Json], before: Iterable[str], fetch: bool, now: float
    ) -> Iterator[Effect]:
        """Send it, once it is on disk that it is sent."""
        start = Start(command.id, command, frozenset(before), fetch, self._requests.name(command.id))
        if command.timeout is not None:
            start.due = now + command.timeout
        self._open[command.id] = start
        yield Remember(start.key, {"before": sorted(start.before), "fetch": fetch})
        yield Hold(command.id, None if start.due == math.inf else start.due)
        take, miss = partial(self._replied, start), partial(self._silent, start)
        yield self._requests.ask("/job/start", take, miss, now, fields, command=command.id, name=start.request_id)

    def _replied(self, start: Start, answer: Answer, now: float) -> Iterator[Effect]:
        if self._open.get(start.command_id) is not start:  # an event was faster
            return
        if answer.problem is not None:
            yield from self.settle(start)
            why = str(answer.problem)
            if answer.problem.number == BYPASS_NOT_ALLOWED:
                why += "; job_stop ends the job that runs"
            yield from self._answer(start, Outcome.REJECTED, why, answer.problem.document())
        elif (info := read_info(answer.message.get("job_info"))) is not None:
            yield from self._link(start, info, now)
        else:
            yield from self._silent(start, now)

    def _silent(self, start: Start, now: float) -> Iterator[Effect]:
        """No usable answer: whether it runs is written in the job list."""
        start.search_from = now
        start.due = min(start.due, now + _SEARCH)
        self.doubt = True
        yield from ()

    def asked(self, request_id: object) -> Start | None:
        """The start that was sent with this request id, if it has not become a job yet."""
        return next(
            (s for s in self._open.values() if s.request_id is not None and s.request_id == request_id), None
        )

    def tagged(self, info: JobInfo) -> Start | None:
        """The start that became this job, by its tag."""
        start = None if info.tag is None else self._open.get(info.tag)
        return start if start is not None and info.id not in start.before else None

    def settle(self, start: Start) -> Iterator[Effect]:
        """It became a job, or will not."""
        if self._open.get(start.command_id) is start:
            del self._open[start.command_id]
            yield Remember(start.key, None)

    def listed(self, asked_at: float) -> Iterator[Effect]:
        """The complete job list is known: those not linked by now are not in it."""
        for start in tuple(self._open.values()):
            if start.search_from <= asked_at:
                yield from self._missing(start)

    def _missing(self, start: Start) -> Iterator[Effect]:
        start.search_from = math.inf
        if start.request_id is None:
            yield from self.settle(start)
            why = "the connection was lost after it was sent"
        else:  # should it appear later, it is still known whose it is
            why = "the instrument did not answer"
        yield from self._answer(start, Outcome.UNKNOWN, f"{why}, and its job list does not show the job")

    def _answer(self, start: Start, outcome: Outcome, detail: str, data: Json = None) -> Iterator[Effect]:
        command, start.command, start.due = start.command, None, math.inf
        if command is not None:
            yield Reply(command.id, outcome, detail, data)

    @property
    def carried(self) -> set[str]:
        """The commands that wait for starts of earlier connections."""
        return {start.command.id for start in self._open.values() if start.command is not None}

    def tick(self, now: float) -> Iterator[Effect]:
        for start in tuple(self._open.values()):
            if start.due <= now:
                yield from self._answer(start, Outcome.UNKNOWN, "sent, and nothing was heard of the job in time")

    @property
    def wake_at(self) -> float:
        return min((start.due for start in self._open.values()), default=math.inf)
