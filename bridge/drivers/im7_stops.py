"""Stopping: `/stop` is for whichever job runs, so who names a job has it looked up first.

A stop is done when the job that ran has ended, or when the instrument took it and nothing was known to run. The
instrument may never answer it (protocol: "Commands").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bridge.driver import Effect
from bridge.drivers.im7_job import Tracked, read_infos
from bridge.drivers.im7_jobs import Jobs
from bridge.drivers.im7_requests import PATIENCE, Answer, Requests
from bridge.model import Command, Outcome, Reply


@dataclass(slots=True, eq=False)
class Stop:
    """One stop on its way."""

    command: Command
    due: float
    target: Tracked | None = None  # the job that ran
    request: str = ""  # the id of the `/stop`
    taken: bool = False  # the instrument said so


class Stops:
    def __init__(self, requests: Requests, jobs: Jobs) -> None:
        self._requests, self._jobs = requests, jobs
        self._open: list[Stop] = []

    def submit(self, command: Command, now: float) -> Iterator[Effect]:
        stop = Stop(command, now + (PATIENCE if command.timeout is None else command.timeout))
        self._open.append(stop)
        if command.args.get("job_id") is None:
            yield from self._send(stop, now)
        else:
            take, miss = partial(self._checked, stop), partial(self._unchecked, stop)
            fields = {"exclude_finished": True}
            patience = stop.due - now
            yield self._requests.ask("/job/list", take, miss, now, fields, command=command.id, patience=patience)

    def _checked(self, stop: Stop, answer: Answer, now: float) -> Iterator[Effect]:
        job_id = stop.command.args.get("job_id")
        if answer.problem is not None:
            yield from self._end(stop, Outcome.FAILED, f"nothing was stopped: {answer.problem}")
            return
        infos = read_infos(answer.message)
        for info in infos:
            yield from self._jobs.observe(info, now)
        found = next((info for info in infos if info.id == job_id), None)
        if found is None or found.state != "running":
            state = "no such job there" if found is None else f"{found.state}"
            detail = f"nothing was stopped: {job_id} is not the running job ({state})"
            yield from self._end(stop, Outcome.REJECTED, detail)
        else:
            yield from self._send(stop, now)

    def _unchecked(self, stop: Stop, now: float) -> Iterator[Effect]:
        yield from self._end(
            stop, Outcome.UNAVAILABLE, "nothing was stopped: the instrument did not say what runs"
        )

    def _send(self, stop: Stop, now: float) -> Iterator[Effect]:
        args = stop.command.args
        job_id = args.get("job_id")
        stop.target = self._jobs.running if job_id is None else self._jobs.get(str(job_id))
        mode = args.get("mode") or ("flush" if job_id is None else "continue")
        stop.request = self._requests.name(stop.command.id)
        yield self._requests.ask(
            "/stop",
            partial(self._replied, stop),
            partial(self._silent, stop),
            now,
            {"queue": mode},
            command=stop.command.id,
            name=stop.request,
            patience=math.inf,  # the job's end counts as well as an answer
        )

    def _replied(self, stop: Stop, answer: Answer, now: float) -> Iterator[Effect]:
        stop.taken = True
        if answer.problem is not None:
            yield from self._end(stop, Outcome.FAILED, str(answer.problem))
        elif stop.target is None:
            yield from self._end(stop, Outcome.DONE, "no job was known to run")
        else:
            self._jobs.starts.doubt = True  # it must end now

    def _silent(self, stop: Stop, now: float) -> Iterator[Effect]:
        yield from ()

    @property
    def unanswered(self) -> str | None:
        """The request that a reply without an id must belong to: `/stop` is seen to be answered so."""
        waiting = [stop.request for stop in self._open if stop.request and not stop.taken]
        return waiting[0] if len(waiting) == 1 else None

    def tick(self, now: float) -> Iterator[Effect]:
        """For every step of the driver: a job's end is noticed here."""
        for stop in tuple(self._open):
            if stop.target is not None and stop.target.ended:
                data = {"job_id": stop.target.info.id, "state": stop.target.info.state}
                yield from self._end(stop, Outcome.DONE, f"job {stop.target.info.id} has ended", data)
            elif stop.due <= now and stop.request:
                said = "the instrument took it" if stop.taken else "the instrument did not answer"
                yield from self._end(stop, Outcome.UNKNOWN, f"sent; {said}, and no job has ended")

    def _end(
        self, stop: Stop, outcome: Outcome, detail: str, data: dict[str, str] | None = None
    ) -> Iterator[Effect]:
        if stop in self._open:
            self._open.remove(stop)
            self._requests.drop(stop.request)
            yield Reply(stop.command.id, outcome, detail, data)

    @property
    def wake_at(self) -> float:
        return min((stop.due for stop in self._open if stop.request), default=math.inf)
