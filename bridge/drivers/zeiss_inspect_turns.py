"""A request to the server, from its place in the queue to the one final reply of its command."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bridge.driver import Effect, Send
from bridge.drivers.zeiss_inspect_answers import excerpt, outcome
from bridge.drivers.zeiss_inspect_jobs import Import
from bridge.drivers.zeiss_inspect_points import QUIT, RUNNING
from bridge.model import Command, Happened, Json, Outcome, Reply, Update


@dataclass(slots=True, eq=False)
class Turn:
    """One of `unsent`, `answered` and `overdue` gives the final reply; after `overdue`, `late` may follow."""

    command: Command
    frame: str
    success: str  # the answer that means done
    timeout: float  # seconds from sending to `unknown`
    job: Import | None = None  # None: `quit`
    sent_at: float = math.inf

    @property
    def due(self) -> float:
        return self.sent_at + self.timeout

    def expired(self, now: float) -> bool:
        return self.command.expires_at <= now

    def unsent(self, end: Outcome, detail: str) -> Iterator[Effect]:
        """It leaves the queue, and nothing happened."""
        if self.job is not None:
            yield from self.job.ended(end, detail)
        yield Reply(self.command.id, end, detail)

    def send(self, now: float) -> Iterator[Effect]:
        self.sent_at = now
        if self.job is not None:
            yield from self.job.running()
            yield Update(RUNNING.key, True)
        yield Send(self.frame, self.command.id)

    def answered(self, text: str, now: float) -> Iterator[Effect]:
        said, detail = self._meaning(text)
        duration = now - self.sent_at
        if self.job is not None:
            yield Update(RUNNING.key, False)
            yield from self.job.ended(said, detail, duration=duration)
        data: dict[str, Json] = {"reply": excerpt(text), "duration": round(duration, 3)}
        yield Reply(self.command.id, said, detail, data)

    def overdue(self) -> Iterator[Effect]:
        """Its deadline has passed."""
        detail = f"sent, and no answer within {self.timeout:g} s: look in ZEISS INSPECT before repeating it"
        if self.job is not None:
            yield Update(RUNNING.key, False)
            yield from self.job.ended(Outcome.UNKNOWN, detail)
        yield Reply(self.command.id, Outcome.UNKNOWN, detail)

    def late(self, text: str, now: float) -> Iterator[Effect]:
        """Its answer came after all. The command has its reply; this is told of the job."""
        said, detail = self._meaning(text)
        if self.job is not None:
            yield from self.job.ended(said, detail, duration=now - self.sent_at, late=True)
        else:
            yield Happened(QUIT.key, {"id": self.command.id, "reply": excerpt(text), "late": True})

    def _meaning(self, text: str) -> tuple[Outcome, str]:
        said = outcome(text, self.success)
        if said is Outcome.DONE:
            return said, ""
        if said is Outcome.UNKNOWN:
            return said, f"the answer is neither {self.success!r} nor an error: {excerpt(text)!r}"
        return said, excerpt(text)
