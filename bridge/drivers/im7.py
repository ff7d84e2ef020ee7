"""The Zahner IM7, an electrochemical workstation: potentiostat, impedance spectroscopy, and jobs that measure.

Requests are correlated by id, a job is accepted first and ends later, and it goes on when the connection is lost:
every new connection begins with a look at what is there. What a job measured is fetched when it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from bridge.driver import Close, Effect, Effects, Frame, Plugin, ProtocolError
from bridge.drivers.im7_checks import touches
from bridge.drivers.im7_commands import Commands
from bridge.drivers.im7_frames import Oddities, Unreadable, mapping, number, parse, plain, text
from bridge.drivers.im7_job import read_info, read_infos
from bridge.drivers.im7_jobs import Jobs
from bridge.drivers.im7_live import Live
from bridge.drivers.im7_long import LONG, Outline
from bridge.drivers.im7_options import IM7Options, headers
from bridge.drivers.im7_points import SEVERITIES
from bridge.drivers.im7_requests import PATIENCE, Answer, Requests
from bridge.drivers.im7_results import Results
from bridge.drivers.im7_stops import Stops
from bridge.model import Command, Condition, Happened, Json, Outcome, Ready, Reply, Update

_NORMAL = "NORMAL"
_CRIPPLED = ("RECOVERY", "FAILSAFE")  # modes in which nothing can be measured
_HASTE = 1.0  # seconds between two looks at least
_WAVES = "LIVE_DATA_WAVES"  # only a preview, and large


class IM7:
    """One connection to an IM7."""

    def __init__(self, options: IM7Options, memory: Mapping[str, Json], carried: Sequence[Command]) -> None:
        self._options, self._carried = options, carried
        self._oddities = Oddities()
        self._requests = Requests()
        self._live = Live(options, self._oddities, memory)
        self._results = Results(options, self._requests, self._oddities, memory)
        waiting = {command.id: command for command in carried}
        self._jobs = Jobs(self._requests, self._live, self._results, options.fetch, memory, waiting)
        self._stops = Stops(self._requests, self._jobs)
        self._commands = Commands(self._requests, self._jobs, self._results, self._stops)
        self._greeting = {"/id", "/status", "/job/list"}
        self._heard = False
        self._info: dict[str, Json] = {}
        self._unreadable = 0
        self._looked_at, self._next_look = -math.inf, math.inf
        self._condition = ""
        self._mode = _NORMAL

    # --- the connection ------------------------------------------------------------------------------

    def start(self, now: float) -> Effects:
        known = self._jobs.carried
        effects: list[Effect] = [self._live.declare()]
        for command in self._carried:
            if command.id not in known:
                lost = "the connection was lost while it was under way"
                effects.append(Reply(command.id, Outcome.UNKNOWN, lost))
        self._jobs.starts.resume(now)
        effects.append(self._requests.ask("/id", self._identified, partial(self._missed, "/id"), now))
        effects += self._look(now)
        return effects

    def _look(self, now: float) -> Iterator[Effect]:
        """Ask how the workstation is and which jobs there are."""
        self._looked_at, self._next_look = now, now + self._options.poll
        yield self._requests.ask("/status", self._status, partial(self._missed, "/status"), now)
        take, miss = partial(self._listed, now), partial(self._missed, "/job/list")
        yield self._requests.ask("/job/list", take, miss, now, {"exclude_finished": False})

    def _identified(self, answer: Answer, now: float) -> Iterator[Effect]:
        workstation = mapping(answer.message.get("workstation"))
        if answer.problem is not None:
            yield from self._oddities.tell(f"/id: {answer.problem}")
        self._results.learn(workstation)
        self._info = {text(key): plain(value) for key, value in workstation.items()}
        self._info.setdefault("manufacturer", "Zahner")
        for name, said in (("model", "model_name"), ("sw_version", "firmware_version")):
            self._info.setdefault(name, self._info.get(said))
        self._mode = text(workstation.get("mode")) or _NORMAL
        yield Update("workstation/mode", self._mode)
        yield Update("workstation/model", text(workstation.get("model_name")) or None)
        yield Update("workstation/firmware", text(workstation.get("firmware_version")) or None)
        yield from self._greeted("/id")

    def _status(self, answer: Answer, now: float) -> Iterator[Effect]:
        status = mapping(answer.message.get("workstation_status"))
        if answer.problem is not None:
            yield from self._oddities.tell(f"/status: {answer.problem}")
        if isinstance(busy := status.get("busy"), bool):
            yield Update("workstation/busy", busy)
        if (uptime := number(status.get("uptime"))) is not None:
            yield Update("workstation/uptime", uptime)
        if calibrated := text(status.get("last_dc_calibration")):
            yield Update("workstation/last_dc_calibration", calibrated)
        yield from self._greeted("/status")

    def _listed(self, asked_at: float, answer: Answer, now: float) -> Iterator[Effect]:
        if answer.problem is not None:
            yield from self._oddities.tell(f"/job/list: {answer.problem}")
        else:
            yield from self._jobs.listed(read_infos(answer.message), asked_at, now)
        yield from self._greeted("/job/list")

    def _greeted(self, request: str) -> Iterator[Effect]:
        """Ready when each of the three was answered, or will not be."""
        self._heard = True
        yield from self._conditions()
        yield from self._passed(request)

    def _missed(self, request: str, now: float) -> Iterator[Effect]:
        if self._greeting == {request} and not self._heard:
            yield Close(f"it did not answer within {PATIENCE:g} s")
            return
        yield from self._conditions()
        yield from self._passed(request)

    def _passed(self, request: str) -> Iterator[Effect]:
        if self._greeting:
            self._greeting.discard(request)
            if not self._greeting:
                yield Ready(self._info)
                yield from self._conditions()

    def _conditions(self) -> Iterator[Effect]:
        state, reason = "", ""
        if self._requests.missed > 1:
            state, reason = "stuck", "the instrument is connected and does not answer requests"
        elif self._mode in _CRIPPLED:
            state, reason = self._mode.lower(), f"the instrument is in the mode {self._mode}"
        if state != self._condition:
            self._condition = state
            yield Condition(state, reason)

    # --- what comes in ---------------------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> Effects:
        if not isinstance(frame, str):
            effects = list(self._results.binary(frame))
        elif len(frame) > LONG:
            effects = list(self._long(frame, now))
        else:
            effects = list(self._message(frame, now))
        effects += self._settle(now)
        return effects

    def _message(self, frame: str, now: float) -> Iterator[Effect]:
        try:
            message = parse(frame)
        except Unreadable as error:
            yield from self._not_readable(error)
            return
        self._unreadable = -1
        match message.get("type"):
            case "EVENT":
                yield from self._event(mapping(message.get("event")), now)
            case "REPLY":
                if message.get("request_id") is None and (stop := self._stops.unanswered) is not None:
                    message["request_id"] = stop
                yield from self._requests.answered(message, now)
            case "JOB_DONE":
                yield from self._jobs.done(message, now)
            case other:
                yield from self._oddities.tell(f"message of type {other!r}")

    def _long(self, frame: str, now: float) -> Iterator[Effect]:
        try:
            outline = Outline(frame)
        except Unreadable as error:
            yield from self._oddities.tell(f"frame of more than {LONG} characters: {error}")
            return
        yield from self._results.long(outline, now)

    def _not_readable(self, error: Unreadable) -> Iterator[Effect]:
        if self._unreadable >= 0:
            self._unreadable += 1
            if self._unreadable >= 3:
                raise ProtocolError(f"the first three frames are no messages, so this is no IM7 ({error})")
        yield from self._oddities.tell("frame that is no JSON object")

    def _event(self, event: Mapping[str, object], now: float) -> Iterator[Effect]:
        info = read_info(event.get("job_info"))
        match event.get("type"):
            case "LIVE_DATA_ROWS" | "LIVE_DATA_ROW_EIS":
                yield from self._live.rows(event, now)
            case "LIVE_DATA_HEADER" | "LIVE_DATA_HEADER_EIS" if info is not None:
                yield from self._jobs.observe(info, now)
                yield from self._live.header(info, event.get("header"), now)
            case "LIVE_DATA_FINISHED" if info is not None:
                yield from self._live.close(info.id, now)
                yield from self._jobs.observe(info, now)
            case "JOB_STATUS_UPDATE" | "JOB_DONE" if info is not None:
                yield from self._jobs.observe(info, now)
            case "MESSAGE_FROM_SERVER" | "MESSAGE_FROM_JOB" as source:
                yield from self._said(source, mapping(event.get("message")))
            case str(kind) if kind == _WAVES:
                return
            case other:
                yield from self._oddities.tell(f"event of type {other!r}")

    def _said(self, source: str, message: Mapping[str, object]) -> Iterator[Effect]:
        severity = text(message.get("severity"))
        data: dict[str, Json] = {
            "message": text(message.get("message")),
            "source": "job" if source == "MESSAGE_FROM_JOB" else "server",
            "severity": severity,
        }
        if job := text(message.get("job_id")):
            data["job"] = job
        if said_at := text(message.get("date_time")):
            data["said_at"] = said_at
        yield Happened(SEVERITIES.get(severity, "info"), data, "message")

    # --- commands and time -------------------------------------------------------------------------------

    def submit(self, command: Command, now: float) -> Effects:
        try:
            effects = list(self._commands.submit(command, now))
        except ValueError as error:
            return [Reply(command.id, Outcome.REJECTED, str(error))]
        effects += self._settle(now)
        return effects

    def fenced(self, token: str, now: float) -> Effects:
        return ()

    def computed(self, token: str, result: object, now: float) -> Effects:
        effects = list(self._results.computed(token, result, now))
        effects += self._settle(now)
        return effects

    def tick(self, now: float) -> Effects:
        effects = list(self._requests.tick(now))
        effects += self._live.tick(now)
        effects += self._jobs.tick(now)
        if self._next_look <= now:
            effects += self._look(now)
        effects += self._settle(now)
        return effects

    def _settle(self, now: float) -> Iterator[Effect]:
        """What follows from a step: a stop is done, the next result is fetched, a job must be looked for."""
        yield from self._stops.tick(now)
        yield from self._results.tick(now)
        if self._jobs.starts.doubt:
            self._jobs.starts.doubt = False
            self._next_look = min(self._next_look, self._looked_at + _HASTE)

    @property
    def wake_at(self) -> float | None:
        due = min(
            self._next_look,
            self._requests.wake_at,
            self._live.wake_at,
            self._jobs.wake_at,
            self._stops.wake_at,
            self._results.wake_at,
        )
        return due if due < math.inf else None

    @property
    def busy(self) -> bool:
        return False  # everything has an id: nothing needs to wait for anything


# A pong waits behind a result that is on its way: 150 MB take 15 s on a 100 Mbit line.
plugin = Plugin(
    IM7Options, IM7, ping=20.0, ping_timeout=90.0, frame_limit=256 << 20, touches=touches, headers=headers
)
