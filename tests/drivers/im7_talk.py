"""A conversation with the IM7 driver in code: no sockets, and time passes only when told to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from bridge.driver import Effect, Hold, Remember, Send
from bridge.drivers.im7 import IM7
from bridge.drivers.im7_options import IM7Options
from bridge.model import Block, Command, Declared, Job, Json, Point, Reply, Result, Update

Object = dict[str, Any]
T = TypeVar("T")

NO_ERROR: Object = {"number": 0, "code": "NONE", "message": "no error occoured", "message_parameters": []}
STOPPED: Object = {
    "number": 65539,
    "code": "STOPPED_MANUALLY",
    "message": "manually stopped",
    "message_parameters": [],
}
OCV: Object = {"type": "ocv", "parameters": {"duration": 2.0, "output_data_rate": 2.0}}
COLUMNS: Object = {
    "dimensions": ["time", "voltage", "current", "shunt"],
    "units": ["s", "V", "A", "index"],
    "urns": ["time", "37128:POT:U~43639:PAD_U", "37128:POT:I~43639:PAD_I", "shunt"],
}
DC: Object = {"measurement_type": "OCV/OCP Scan", "measurement_type_short": "ocv", "columns": COLUMNS}


def workstation(version: int = 12, **more: object) -> Object:
    given = {"serial_number": "73000000", "model_name": "IM7x", "firmware_version": "p2", "system_name": "cell"}
    return {"protocol_version": version, **given, **more}


def info(job_id: str = "j1", status: str = "PENDING", detail: str = "NOT_FINISHED", **more: Any) -> Object:
    """A job_info object."""
    return {
        "job_id": job_id,
        "status": status,
        "status_detail": detail,
        "job_meta": {},
        "created": "2026-11-21T10:17:31.024756Z",
        "started": "2026-11-21T10:17:31.024761Z",
        "error": NO_ERROR,
        **OCV,
        **more,
    }


def ended(job_id: str = "j1", **more: Any) -> Object:
    return info(job_id, "FINISHED", "RUN_TO_COMPLETION", ended="2026-11-21T10:17:33.0Z", **more)


def event(kind: str, **fields: Any) -> Object:
    return {"type": "EVENT", "event": {"type": kind, **fields}}


def status(job: Object) -> Object:
    return event("JOB_STATUS_UPDATE", new_status=job["status"], job_info=job)


class Talk:
    """One connection. `events`: all effects so far, in order."""

    def __init__(
        self,
        *,
        memory: Mapping[str, Json] | None = None,
        carried: Sequence[Command] = (),
        jobs: Sequence[Object] | None = (),
        version: int = 12,
        now: float = 1000.0,
        **options: Any,
    ) -> None:
        self.now = now
        self.driver = IM7(IM7Options(**options), memory or {}, carried)
        self.events: list[Effect] = []
        self._answered: set[str] = set()
        self.take(self.driver.start(self.now))
        if jobs is not None:
            self.greet(jobs, version)

    def greet(self, jobs: Sequence[Object] = (), version: int = 12) -> None:
        self.reply("/id", workstation=workstation(version))
        self.reply(
            "/status", workstation_status={"busy": False, "uptime": 12, "last_dc_calibration": "2026-01-01"}
        )
        self.reply("/job/list", jobs=list(jobs))

    def take(self, effects: Any) -> list[Effect]:
        fresh: list[Effect] = list(effects)
        self.events += fresh
        return fresh

    def hear(self, *messages: Object, after: float = 0.0) -> list[Effect]:
        """The instrument sends messages."""
        self.now += after
        fresh: list[Effect] = []
        for message in messages:
            fresh += self.raw(json.dumps(message))
        return fresh

    def raw(self, frame: str | bytes) -> list[Effect]:
        return self.take(self.driver.receive(frame, self.now))

    def reply(self, do: str, status: str = "SUCCESS", **payload: Any) -> list[Effect]:
        """Answer the oldest request of this kind that is open."""
        request = next(r for r in self.sent if r["do"] == do and r["request_id"] not in self._answered)
        self._answered.add(request["request_id"])
        return self.hear({"type": "REPLY", "status": status, "request_id": request["request_id"], **payload})

    def refuse(self, do: str, number: int, message: str = "no", *parameters: object) -> list[Effect]:
        error = {"number": number, "code": "CODE", "message": message, "message_parameters": list(parameters)}
        return self.reply(do, "FAILURE", error=error)

    def done(self, job: Object, request_id: str = "c1", **more: Any) -> list[Effect]:
        """The top-level JOB_DONE."""
        return self.hear({"type": "JOB_DONE", "request_id": request_id, "job_info": job, **more})

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes; the driver is woken whenever it wishes."""
        end, seen = self.now + seconds, len(self.events)
        for _ in range(2000):
            wake = self.driver.wake_at
            if wake is None or wake > end:
                self.now = end
                return self.events[seen:]
            self.now = max(self.now, wake)
            self.take(self.driver.tick(self.now))
        raise AssertionError("the driver wants to be woken for ever")

    def call(self, action: str, name: str = "c1", within: float | None = None, **args: Json) -> list[Effect]:
        """Somebody calls an action."""
        return self.take(self.driver.submit(Command(name, action, args=args, timeout=within), self.now))

    def started(self, job_id: str = "j1", job: Object = OCV, name: str = "c1", **args: Any) -> None:
        """A job is started and runs."""
        self.call("job_start", name, job=job, **args)
        self.reply("/job/start", job_info=self.described(job_id, name, job))
        self.hear(status(self.described(job_id, name, job, "RUNNING")))

    @staticmethod
    def described(job_id: str = "j1", name: str = "c1", job: Object = OCV, status: str = "PENDING") -> Object:
        meta = {**job.get("job_meta", {}), "mqtt_id": name}
        return info(job_id, status, **{**job, "job_meta": meta})

    def again(self, jobs: Sequence[Object] | None = (), carried: bool = True, **options: Any) -> Talk:
        """The connection was lost, and the next driver begins: in the same process, or in another one."""
        memory: dict[str, Json] = {}
        for item in self.of(Remember):
            memory[item.key] = item.value
        memory = {key: value for key, value in memory.items() if value is not None}
        held = {hold.id for hold in self.of(Hold)} - {r.id for r in self.of(Reply) if r.outcome.final}
        commands = [Command(name, "job_start") for name in sorted(held)] if carried else []
        return Talk(memory=memory, carried=commands, jobs=jobs, now=self.now + 5.0, **options)

    def of(self, kind: type[T], effects: Sequence[Effect] | None = None) -> list[T]:
        return [effect for effect in (self.events if effects is None else effects) if isinstance(effect, kind)]

    @property
    def sent(self) -> list[Object]:
        return [json.loads(send.frame) for send in self.of(Send)]

    def asked(self, do: str) -> list[Object]:
        return [request for request in self.sent if request["do"] == do]

    @property
    def replies(self) -> list[tuple[str, str, str]]:
        return [(reply.id, reply.outcome.value, reply.detail) for reply in self.of(Reply)]

    @property
    def outcomes(self) -> list[str]:
        return [reply.outcome.value for reply in self.of(Reply)]

    @property
    def remembered(self) -> dict[str, Json]:
        memory = {item.key: item.value for item in self.of(Remember)}
        return {key: value for key, value in memory.items() if value is not None}

    @property
    def points(self) -> dict[str, Point]:
        return {point.key: point for point in self.of(Declared)[-1].points}

    @property
    def jobs(self) -> list[Job]:
        return self.of(Job)

    @property
    def blocks(self) -> list[Block]:
        return self.of(Block)

    @property
    def results(self) -> list[Result]:
        return self.of(Result)

    def last(self, key: str) -> Json:
        return [update for update in self.of(Update) if update.key == key][-1].value
