"""What can go wrong with an IM7 beyond its network, on demand."""

from typing import Literal

from bridge.simulators.im7.errors import Error, code_of
from bridge.simulators.im7.instrument import Instrument
from bridge.simulators.im7.jobs import Ending, Job, failed, now
from bridge.simulators.server import Fault, Server

Severity = Literal["DEBUG", "MESSAGE", "WARNING", "CRITICAL_ERROR"]


class Mishaps:
    """The faults of the instrument; `server` is there once it runs."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self.server: Server | None = None
        self.lost_replies = 0
        self.does_drop = True
        self.late_replies = 0
        instrument.rebooted = self.reboot

    def all(self) -> list[Fault]:
        return [
            self.drop_at,
            self.lose_reply,
            self.late_reply,
            self.freeze,
            self.forget,
            self.full_queue,
            self.refuse_jobs,
            self.fail,
            self.nan,
            self.message,
            self.reboot,
        ]

    def drop_at(self, row: int = 5) -> None:
        """End all connections without a close frame when a measurement (this or the next) has so many rows."""
        self._instrument.at_row = (row, self._drop)

    def lose_reply(self, count: int = 1, drop: bool = True) -> None:
        """The next job starts are executed, but not answered; the connection ends instead, or says nothing."""
        self.lost_replies, self.does_drop = count, drop

    def late_reply(self, count: int = 1) -> None:
        """The next job starts are answered only after the job is done: JOB_DONE overtakes the REPLY."""
        self.late_replies = count

    def freeze(self, seconds: float | None = None) -> None:
        """Measurements stand still; without seconds until `freeze?seconds=0`."""
        self._instrument.frozen.shut(seconds)

    def forget(self, job_id: str = "") -> None:
        """The instrument no longer knows this job (or the newest): neither in the list nor its result."""
        jobs = list(self._instrument.jobs.values())
        if not jobs:
            raise ValueError("there are no jobs")
        self._instrument.forget(self._instrument.jobs[job_id] if job_id in self._instrument.jobs else jobs[-1])

    def full_queue(self, full: bool = True) -> None:
        """Every job start is refused: QUEUE_FULL."""
        self._instrument.is_full = full

    def refuse_jobs(self, number: int = 4194304, count: int = 1) -> None:
        """Refuse the next job starts with the error of this number."""
        self._instrument.refusal, self._instrument.refusals = Error(code_of(number)), count

    def fail(self, how: Literal["exception", "safety"] = "exception") -> None:
        """The job that runs fails: by an exception, or because a safety limit was passed."""
        ending = failed(Error("UNEXPECTED_EXCEPTION", ("on demand",)))
        if how == "safety":
            ending = Ending(
                "FAILED", "SAFETY_LIMIT_OCCURRED", Error("HARDWARE_CONFIGURATION_ISSUE", ("MAIN:1:POT",))
            )
        for job in self._instrument.running:
            job.interrupt(ending)

    def nan(self, count: int = 1, column: Literal["voltage", "current"] = "current") -> None:
        """So many values of the running or the next DC measurement are not numbers."""
        self._instrument.spoilt = (count, column)

    def message(self, text: str = "hello", severity: Severity = "MESSAGE", from_job: bool = False) -> None:
        """A message from the server, or from the job that runs."""
        told: dict[str, object] = {"severity": severity, "date_time": now(), "message": text}
        if from_job:
            running: list[Job] = self._instrument.running
            told = {"job_id": running[0].id if running else "void", **told}
        self._instrument.publish(
            {"type": "MESSAGE_FROM_JOB" if from_job else "MESSAGE_FROM_SERVER", "message": told}
        )

    def reboot(self, seconds: float = 5.0) -> None:
        """The instrument starts again: everything is forgotten, and it is away so long."""
        self._instrument.restart()
        self._drop()
        if self.server is not None:
            self.server.faults.refuse(seconds)

    def _drop(self) -> None:
        if self.server is not None:
            self.server.faults.drop()
