"""What can be asked of an IM7, from a command to the request that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from bridge.driver import Effect, Effects, Send
from bridge.drivers.im7_checks import start_fields
from bridge.drivers.im7_job import JobInfo, Tracked, read_info, read_infos
from bridge.drivers.im7_jobs import Jobs
from bridge.drivers.im7_points import POTENTIOSTAT
from bridge.drivers.im7_requests import PATIENCE, Answer, Requests
from bridge.drivers.im7_results import Results
from bridge.drivers.im7_stops import Stops
from bridge.model import Command, Json, Outcome, Reply

_Told: TypeAlias = Callable[[Answer], Json]


class Commands:
    def __init__(self, requests: Requests, jobs: Jobs, results: Results, stops: Stops) -> None:
        self._requests, self._jobs, self._results, self._stops = requests, jobs, results, stops

    def submit(self, command: Command, now: float) -> Iterator[Effect]:
        """ValueError: nothing was sent, and why."""
        args = command.args
        match command.key:
            case "job_start":
                yield from self._jobs.start(command, start_fields(args, command.id), now)
            case "switch_off":
                potentiostat = args.get("potentiostat") or POTENTIOSTAT
                yield from self._switch_off(command, "switch_off", {"potentiostat": potentiostat}, now)
            case "switch_all_off":
                yield from self._switch_off(command, "switch_all_off", {}, now)
            case "job_stop":
                yield from self._stops.submit(command, now)
            case "job_check":
                fields = start_fields(args, None)
                yield self._ask(command, "/job/check_parameters", {"job": fields["job"]}, _valid, now)
            case "job_list":
                fields = {"exclude_finished": args.get("exclude_finished") is True}
                yield self._ask(command, "/job/list", fields, _list, now)
            case "job_info":
                yield self._ask(command, "/job/info", {"job_id": _job_id(args)}, _info, now)
            case "job_data":
                yield from self._fetch(command, _job_id(args))
            case other:
                raise ValueError(f"there is no action {other!r}")

    def _switch_off(
        self, command: Command, kind: str, parameters: Mapping[str, Json], now: float
    ) -> Iterator[Effect]:
        """A job like others, but past the queue: behind a long measurement it would come too late."""
        fields = start_fields({"job": {"type": kind, "parameters": parameters}}, command.id)
        if not self._jobs.idle:
            fields["bypass_queue"] = True
        yield from self._jobs.start(command, fields, now)

    def _fetch(self, command: Command, job_id: str) -> Iterator[Effect]:
        job = self._jobs.get(job_id) or Tracked(JobInfo(job_id))
        if job.info.status and not job.ended:
            raise ValueError(f"job {job_id} is {job.info.state}: it has a result when it has ended")
        yield from self._results.add(job, command)

    def _ask(self, command: Command, do: str, fields: Mapping[str, Json], told: _Told, now: float) -> Send:
        """One request and its answer; `told` makes of it what is passed on."""
        patience = PATIENCE if command.timeout is None else command.timeout
        take, miss = partial(_take, command, told), partial(_miss, command)
        return self._requests.ask(do, take, miss, now, fields, command=command.id, patience=patience)


def _take(command: Command, told: _Told, answer: Answer, now: float) -> Effects:
    if answer.problem is not None:
        yield Reply(command.id, Outcome.FAILED, str(answer.problem), answer.problem.document())
    else:
        yield Reply(command.id, Outcome.DONE, "", told(answer))


def _miss(command: Command, now: float) -> Effects:
    yield Reply(command.id, Outcome.UNKNOWN, "the instrument did not answer in time")


def _valid(answer: Answer) -> Json:
    return {"valid": True}


def _list(answer: Answer) -> Json:
    infos = read_infos(answer.message)
    return {"jobs": [{"job": info.id, **Tracked(info).description()} for info in infos]}


def _info(answer: Answer) -> Json:
    info = read_info(answer.message.get("job_info"))
    return {} if info is None else {"job": info.id, **Tracked(info).description()}


def _job_id(args: Mapping[str, Json]) -> str:
    job_id = args.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        raise ValueError("job_id is missing or no text")
    return job_id
