"""All jobs of the IM7 that are known here, whoever started them; from their start to their end.

What the instrument says of a job comes by five ways (reply, event, two forms of JOB_DONE, the list), in any order
and repeatedly: each is only an observation, a job's state never goes back, and its end is told once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from bridge.driver import Effect, Remember
from bridge.drivers.im7_errors import ENDPOINT_NOT_FOUND, ID_NOT_FOUND
from bridge.drivers.im7_forms import measures
from bridge.drivers.im7_frames import mapping, plain, text, whole
from bridge.drivers.im7_job import JOB_MEMORY, JobInfo, Tracked, Waiting, read_info
from bridge.drivers.im7_live import Live
from bridge.drivers.im7_requests import Answer, Requests
from bridge.drivers.im7_results import Results
from bridge.drivers.im7_starts import Start, Starts
from bridge.model import Command, Json, Outcome, Reply, Update

MOST = 500  # jobs kept in mind; the oldest that have ended go
_NOT_THERE = (ID_NOT_FOUND, ENDPOINT_NOT_FOUND)
GRACE = 1.0  # seconds from a control job's end to its JOB_DONE, which alone brings what it returned


class Jobs:
    """`fetch`: whose results are wanted (own, all, none)."""

    def __init__(
        self,
        requests: Requests,
        live: Live,
        results: Results,
        fetch: str,
        memory: Mapping[str, Json],
        carried: Mapping[str, Command],
    ) -> None:
        self._requests, self._live, self._results, self._fetch = requests, live, results, fetch
        self.starts = Starts(requests, memory, carried, self._link)
        self._jobs: dict[str, Tracked] = {}
        self._going: dict[str, Tracked] = {}  # those of them that have not ended
        self._owed: dict[str, tuple[Mapping[str, object], Command | None]] = {}  # of earlier connections
        for key, value in memory.items():
            if key.startswith(JOB_MEMORY) and value is not None:
                entry = mapping(value)
                self._owed[key.removeprefix(JOB_MEMORY)] = entry, carried.get(text(entry.get("command")))
        self._shown: Tracked | None = None

    @property
    def carried(self) -> set[str]:
        """The commands that wait for something of an earlier connection."""
        return self.starts.carried | {command.id for _, command in self._owed.values() if command is not None}

    def get(self, job_id: str) -> Tracked | None:
        return self._jobs.get(job_id)

    @property
    def running(self) -> Tracked | None:
        return next((job for job in self._going.values() if job.info.state == "running"), None)

    @property
    def idle(self) -> bool:
        """Nothing runs or waits on the instrument."""
        return not self._going

    def start(self, command: Command, fields: Mapping[str, Json], now: float) -> Iterator[Effect]:
        """Start a job for a command; `fields` are those of `/job/start`."""
        kind = text(mapping(fields["job"]).get("type"))
        before = [job.info.id for job in self._jobs.values() if job.info.tag == command.id]
        wanted = measures(kind) and "discard_result_data" not in fields
        yield from self.starts.begin(command, fields, before, wanted, now)

    # --- observations --------------------------------------------------------------------------------

    def observe(self, info: JobInfo, now: float, *, last: bool = False) -> Iterator[Effect]:
        """The instrument says something of a job; `last`: nothing more will come of it."""
        if (start := self.starts.tagged(info)) is not None:
            yield from self._link(start, info, now)
        job = self._jobs.get(info.id)
        if job is None:
            job = self._track(info)
            yield from self._meet(job)
            news = not job.ended
        else:
            news = not job.ended and info.rank >= job.info.rank and info.state != job.info.state
        job.seen_at = now
        if job.ended:
            return
        if info.rank >= job.info.rank:
            job.info = info
        if job.info.ended:
            yield from self._over(job, now, last=last)
        elif news:
            yield from self._tell(job)

    def _track(self, info: JobInfo) -> Tracked:
        self._jobs[info.id] = self._going[info.id] = job = Tracked(info)
        if len(self._jobs) > MOST:
            ended = [job_id for job_id, old in self._jobs.items() if old.ended and not old.remembered]
            for job_id in ended[: len(self._jobs) - MOST]:
                del self._jobs[job_id]
        return job

    def _meet(self, job: Tracked) -> Iterator[Effect]:
        """A job that is new here: of an earlier connection, or somebody else's."""
        entry, command = self._owed.pop(job.info.id, (None, None))
        if entry is not None:
            job.own, job.fetch = entry.get("own") is True, entry.get("fetch") is True
            job.command = text(entry.get("command")) or None
            job.tries, job.remembered = max(0, whole(entry.get("tries")) or 0), True
            job.waiting += [] if command is None else [Waiting(command)]
        elif job.info.ended:
            job.ended = True  # an old one of somebody else
            del self._going[job.info.id]
        elif self._fetch == "all" and measures(job.info.type):
            job.fetch = job.remembered = True
            yield Remember(job.key, job.memory())

    def _link(self, start: Start, info: JobInfo, now: float) -> Iterator[Effect]:
        """A command of ours has become this job."""
        job = self._jobs.get(info.id)
        if job is None:
            job = self._track(JobInfo(info.id, info.type, meta=info.meta))
            _, owed = self._owed.pop(info.id, (None, None))  # an instrument that gives an id twice
            job.waiting += [] if owed is None else [Waiting(owed)]
        job.own, job.command, job.request_id = True, start.command_id, start.request_id
        job.fetch, job.remembered = start.fetch and self._fetch != "none", True
        yield Remember(job.key, job.memory())
        yield from self.starts.settle(start)
        if start.command is not None:
            yield Reply(start.command.id, Outcome.ACCEPTED, f"job {info.id}", {"job_id": info.id})
            job.waiting.append(Waiting(start.command, start.due))
        if job.ended:  # it was over before anybody knew whose it was
            yield from self._conclude(job)
        else:
            yield from self.observe(info, now)

    def done(self, message: Mapping[str, object], now: float) -> Iterator[Effect]:
        """JOB_DONE in its top-level form, which carries the request's id and perhaps what the job returned."""
        request_id, info = message.get("request_id"), read_info(message.get("job_info"))
        if info is None or not info.ended:
            self.starts.doubt = True
            return
        if (start := self.starts.asked(request_id)) is not None:
            yield from self._link(start, info, now)
        job = self._jobs.get(info.id)
        if job is not None and not job.ended and job.request_id == request_id:
            job.value = plain(message.get("result"))
        yield from self.observe(info, now, last=True)

    def _over(self, job: Tracked, now: float, *, last: bool) -> Iterator[Effect]:
        """It has ended; for what a control job returned one must wait a little."""
        if last or job.request_id is None or measures(job.info.type) or job.settle_at <= now:
            yield from self._end(job, now)
        elif job.settle_at == math.inf:
            job.settle_at = now + GRACE

    def _end(self, job: Tracked, now: float) -> Iterator[Effect]:
        job.ended, job.settle_at = True, math.inf
        self._going.pop(job.info.id, None)
        yield from self._live.close(job.info.id, now)
        if job.own and measures(job.info.type) and self._fetch == "none":
            job.result = "not fetched (fetch is none)"
        yield from self._tell(job)
        if job.info.state == "finished" and self._shown is job:
            yield Update("job/progress", 100.0)
        yield from self._conclude(job)

    def _conclude(self, job: Tracked) -> Iterator[Effect]:
        """Answer who waits, and see to the result."""
        outcome, sentence = job.outcome()
        data: dict[str, Json] = {"job_id": job.info.id, "state": job.info.state, "detail": job.info.detail}
        if job.value is not None:
            data["value"] = job.value
        if job.info.problem is not None:
            data["error"] = job.info.problem.document()
        waiting, job.waiting = job.waiting, []
        for entry in waiting:
            yield Reply(entry.command.id, outcome, sentence, data)
        if job.fetch and job.measured:
            yield from self._results.add(job)
        elif job.remembered:
            job.remembered = False
            yield Remember(job.key, None)

    def _tell(self, job: Tracked) -> Iterator[Effect]:
        """A new state: as the job's document, as an event, and as points."""
        yield job.event()
        yield job.happened()
        yield from self._show(job)
        if job.info.state == "running":
            yield Update("job/progress", None)

    # --- the list --------------------------------------------------------------------------------------

    def listed(self, infos: Sequence[JobInfo], asked_at: float, now: float) -> Iterator[Effect]:
        """The complete list, as asked for at that time: who is missing in it has gone."""
        for info in infos:
            yield from self.observe(info, now)
        yield from self.starts.listed(asked_at)
        running = {job_id: job.info for job_id, job in self._going.items() if job.info.state == "running"}
        yield from self._live.resume(running)
        if self._shown is None:
            newest = max(infos, key=lambda info: text(info.raw.get("created")), default=None)
            yield from self._show(None if newest is None else self._jobs.get(newest.id))
        for job_id in tuple(self._owed):
            yield from self._meet(self._track(JobInfo(job_id)))
        there = {info.id for info in infos}
        for job in tuple(self._going.values()):
            if not job.asking and job.seen_at < asked_at and job.info.id not in there:
                job.asking = True
                take, miss = partial(self._informed, job), partial(self._uninformed, job)
                yield self._requests.ask("/job/info", take, miss, now, {"job_id": job.info.id})

    def _informed(self, job: Tracked, answer: Answer, now: float) -> Iterator[Effect]:
        job.asking = False
        if answer.problem is None and (info := read_info(answer.message.get("job_info"))) is not None:
            yield from self.observe(info, now)
        elif answer.problem is not None and answer.problem.number in _NOT_THERE and not job.ended:
            job.info = JobInfo(job.info.id, job.info.type, meta=job.info.meta, raw=job.info.raw)
            yield from self._end(job, now)

    def _uninformed(self, job: Tracked, now: float) -> Iterator[Effect]:
        job.asking = False
        yield from ()

    # --- what is shown ---------------------------------------------------------------------------------

    def _show(self, changed: Tracked | None) -> Iterator[Effect]:
        """The points under `job/`: the running job, else the one that changed last."""
        job = self.running or changed
        self._shown = job
        info = JobInfo("", state="none") if job is None else job.info
        yield Update("job/state", info.state)
        yield Update("job/type", info.type or None)
        yield Update("job/name", info.name if job is not None else None)
        yield Update("job/id", info.id or None)
        yield Update("job/detail", info.detail or None)
        yield Update("job/started", text(info.raw.get("started")) or None)
        yield Update("job/ended", text(info.raw.get("ended")) or None)
        if changed is not None and changed.info.problem is not None:
            yield Update("job/last_error", str(changed.info.problem))
        queued = sum(1 for job in self._going.values() if job.info.state == "queued")
        yield Update("job/queue", queued)

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> Iterator[Effect]:
        yield from self.starts.tick(now)
        for job in tuple(self._going.values()):
            if job.settle_at <= now:
                yield from self._end(job, now)
            for entry in [entry for entry in job.waiting if entry.due <= now]:
                job.waiting.remove(entry)
                yield Reply(entry.command.id, Outcome.UNKNOWN, f"job {job.info.id} is still {job.info.state}")

    @property
    def wake_at(self) -> float:
        dues = [self.starts.wake_at]
        dues += [job.settle_at for job in self._going.values()]
        dues += [entry.due for job in self._going.values() for entry in job.waiting]
        return min(dues)
