"""One job of the IM7: what the instrument says of it, and what that means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from bridge.drivers.im7_checks import TAG
from bridge.drivers.im7_errors import STOP_CONDITION_TRIGGERED, STOPPED, STOPPED_BEFORE_RUN, Problem, problem
from bridge.drivers.im7_frames import mapping, number, plain, sequence, text
from bridge.model import Command, Happened, Job, Json, Outcome

JOB_MEMORY = "job:"  # and the job's id: its end or its result is still owed
STATES = (
    "none",
    "queued",
    "running",
    "finished",
    "stop_condition",
    "limit",
    "stopped",
    "cancelled",
    "safety_limit",
    "failed",
    "deleted",
    "unknown",
)
_MOST_CYCLES = 1e9  # of a voltammogram; more is no number to reckon with
_GOING_ON = {"PENDING": "queued", "RUNNING": "running"}
_BY_NUMBER = {STOP_CONDITION_TRIGGERED: "stop_condition", STOPPED_BEFORE_RUN: "cancelled", STOPPED: "stopped"}
_BY_DETAIL = {
    "RUN_TO_COMPLETION": "finished",
    "STOPPED_BY_USER": "stopped",
    "CANCELLED_BEFORE_RUN": "cancelled",
    "FUNCTIONAL_LIMIT_OCCURRED": "limit",
    "SAFETY_LIMIT_OCCURRED": "safety_limit",
    "RUNTIME_ERROR": "failed",
    "FAILED_TO_CREATE": "failed",
}
_BY_STATUS = {"FINISHED": "finished", "FAILED": "failed", "DELETED": "deleted"}
_RANK = {"none": 0, "unknown": 0, "queued": 1, "running": 2}
_SENTENCES = {
    "finished": "",
    "stop_condition": "ended by its stop condition",
    "limit": "ended at a functional limit",
    "stopped": "it was stopped",
    "cancelled": "it was cancelled before it ran",
    "safety_limit": "ended at a safety limit",
    "failed": "it failed",
    "deleted": "it was deleted on the instrument",
    "unknown": "the instrument no longer knows this job",
}
_GOOD = frozenset({"finished", "stop_condition", "limit"})
_DOUBTFUL = frozenset({"deleted", "unknown"})
_UNMEASURED = frozenset({"cancelled", "deleted", "unknown"})  # no result to fetch


class JobInfo(Struct, frozen=True):
    """A `job_info` object (protocol: "Envelope", "Job lifecycle")."""

    id: str
    type: str = ""
    state: str = "unknown"  # one of STATES
    status: str = ""
    detail: str = ""
    meta: Mapping[str, Json] = {}
    problem: Problem | None = None
    raw: Mapping[str, object] = {}

    @property
    def ended(self) -> bool:
        return self.state not in _RANK

    @property
    def rank(self) -> int:
        """A job's state only ever goes up."""
        return _RANK.get(self.state, 3)

    @property
    def tag(self) -> str | None:
        """The command that started it, if that was one of a bridge."""
        tag = self.meta.get(TAG)
        return tag if isinstance(tag, str) else None

    @property
    def name(self) -> str:
        """What a person calls its result."""
        name = self.meta.get("name")
        return name if isinstance(name, str) and name else self.type or "job"


def read_info(value: object) -> JobInfo | None:
    """None: it names no job."""
    raw = mapping(value)
    job_id = text(raw.get("job_id"))
    if not job_id:
        return None
    status, detail, error = text(raw.get("status")), text(raw.get("status_detail")), problem(raw.get("error"))
    meta = {text(key): plain(item) for key, item in mapping(raw.get("job_meta")).items()}
    return JobInfo(job_id, text(raw.get("type")), _state(status, detail, error), status, detail, meta, error, raw)


def read_infos(answer: Mapping[str, object]) -> list[JobInfo]:
    """The jobs in the reply to `/job/list`."""
    return [info for entry in sequence(answer.get("jobs")) if (info := read_info(entry)) is not None]


def _state(status: str, detail: str, error: Problem | None) -> str:
    """The detail counts; a stopped measurement has been seen as FAILED and may come as FINISHED."""
    if detail not in _BY_DETAIL and status in _GOING_ON:
        return _GOING_ON[status]
    if error is not None and error.number in _BY_NUMBER:
        return _BY_NUMBER[error.number]
    state = _BY_DETAIL.get(detail) or _BY_STATUS.get(status, "unknown")
    return "failed" if state == "finished" and error is not None else state


def duration(info: JobInfo) -> float | None:
    """Seconds that it measures, where its parameters say so."""
    parameters = mapping(info.raw.get("parameters"))
    if info.type in ("ocv", "poga"):
        return number(parameters.get("duration"))
    way, rate = _way(info.type, parameters), number(parameters.get("scan_rate"))
    return abs(way / rate) if way is not None and rate else None


def _way(kind: str, parameters: Mapping[str, object]) -> float | None:
    """Volts that a sweep goes: a voltammogram to its vertices in turn, two to a cycle, and to the end value."""
    start, end = number(parameters.get("start_value")), number(parameters.get("end_value"))
    first, second = number(parameters.get("first_vertex")), number(parameters.get("second_vertex"))
    cycles = number(parameters.get("num_cycles"))
    if start is None or end is None:
        return None
    if kind == "ramp":
        return abs(end - start)
    if kind != "cv" or first is None or second is None or cycles is None or cycles > _MOST_CYCLES:
        return None
    halves = max(round(2 * cycles), 1)  # that they can be halves is told of the vendor's client, not of the device
    last = second if halves % 2 == 0 else first
    return abs(first - start) + (halves - 1) * abs(second - first) + abs(end - last)


def expected_rows(info: JobInfo) -> float | None:
    """How many rows it will measure, where its parameters say so."""
    parameters = mapping(info.raw.get("parameters"))
    if spectrum := sequence(mapping(parameters.get("frequency_range")).get("spectrum")):
        return float(len(spectrum))
    seconds, rate = duration(info), number(parameters.get("output_data_rate"))
    return None if seconds is None or rate is None else seconds * rate


@dataclass(slots=True, eq=False)
class Waiting:
    """Somebody who waits for the end of a job. `due`: then the answer is `unknown`."""

    command: Command
    due: float = math.inf


@dataclass(slots=True, eq=False)
class Tracked:
    """A job as far as it is known here."""

    info: JobInfo
    command: str | None = None  # the id of the command that started it
    own: bool = False  # started by this bridge
    fetch: bool = False  # its result is wanted
    remembered: bool = False
    tries: int = 0  # how often its result was asked for
    request_id: str | None = None  # of its start on this connection: its JOB_DONE brings the value
    waiting: list[Waiting] = field(default_factory=list)
    ended: bool = False
    settle_at: float = math.inf  # then it has ended, even without its JOB_DONE
    value: Json = None  # what a control job returned
    result: str = ""  # what became of its result
    seen_at: float = -math.inf
    asking: bool = False  # whether the instrument still knows it

    @property
    def key(self) -> str:
        return JOB_MEMORY + self.info.id

    @property
    def measured(self) -> bool:
        return self.info.state not in _UNMEASURED

    def memory(self) -> Json:
        return {"command": self.command, "own": self.own, "fetch": self.fetch, "tries": self.tries}

    def description(self) -> dict[str, Json]:
        info = self.info
        found: dict[str, Json] = {"state": info.state, "type": info.type, "name": info.name, "detail": info.detail}
        found |= {name: text(info.raw.get(name)) or None for name in ("created", "started", "ended")}
        found |= {"parameters": plain(info.raw.get("parameters")), "meta": dict(info.meta)}
        if self.command is not None:
            found["command"] = self.command
        if info.problem is not None:
            found["error"] = {**info.problem.document(), "text": str(info.problem)}
        if self.value is not None:
            found["value"] = self.value
        if self.result:
            found["result"] = self.result
        return found

    def event(self) -> Job:
        return Job(self.info.id, self.description(), self.ended)

    def happened(self) -> Happened:
        info = self.info
        data: dict[str, Json] = {"job": info.id, "type": info.type, "detail": info.detail}
        if info.problem is not None:
            data["error"] = str(info.problem)
        if self.command is not None:
            data["command"] = self.command
        if self.own and self.ended and not self.waiting:
            data["late"] = True  # its command has had its answer
        return Happened(info.state, data, "job")

    def outcome(self) -> tuple[Outcome, str]:
        """What its end means for the command that started it."""
        state, error = self.info.state, self.info.problem
        sentence = _SENTENCES.get(state, f"it ended as {state}")
        if state in _GOOD:
            return Outcome.DONE, sentence
        sentence = f"{sentence}: {error}" if error is not None else sentence
        return (Outcome.UNKNOWN if state in _DOUBTFUL else Outcome.FAILED), sentence
