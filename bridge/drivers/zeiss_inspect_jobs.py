"""One import from its acceptance to its end, as its job topic, its event and the device's memory tell it.

What is remembered outlives the connection and the daemon. Whoever finds it ends the job truthfully: one that was
running is `unknown`, for the import may go on without us; one that still waited was never sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bridge.driver import Effect, Remember
from bridge.drivers.zeiss_inspect_points import DURATION, IMPORT, LAST
from bridge.model import Happened, Job, Json, Outcome, Update

MEMORY = "job:"  # and the command's id

_LOST_RUNNING = "the connection was lost during the import: look in ZEISS INSPECT before repeating it"
_LOST_WAITING = "not sent: the connection was lost before its turn"


@dataclass(frozen=True, slots=True)
class Import:
    """Its id is the command's."""

    id: str
    action: str
    args: Mapping[str, Json]  # as they are sent

    def queued(self) -> Iterator[Effect]:
        yield from self._step("queued")

    def running(self) -> Iterator[Effect]:
        """Before its frame is sent, so that a crash in between ends it as `unknown` too."""
        yield from self._step("running")

    def ended(
        self, outcome: Outcome, detail: str = "", *, duration: float | None = None, late: bool = False
    ) -> Iterator[Effect]:
        """`duration`: seconds until the answer. `late`: it had ended as `unknown`, and now its answer came."""
        more: dict[str, Json] = {}
        if detail:
            more["detail"] = detail
        if duration is not None:
            more["duration"] = round(duration, 3)
            yield Update(DURATION.key, round(duration, 3))
        if late:
            more["late"] = True
        yield Update(LAST.key, outcome.value)
        yield from self._tell(outcome.value, more, final=True)
        yield Remember(MEMORY + self.id, None)

    def _step(self, state: str) -> Iterator[Effect]:
        yield Remember(MEMORY + self.id, {"state": state, "action": self.action, "args": self.args})
        yield from self._tell(state, {})

    def _tell(self, state: str, more: Mapping[str, Json], *, final: bool = False) -> Iterator[Effect]:
        about: dict[str, Json] = {"action": self.action, "args": self.args, **more}
        yield Job(self.id, {"state": state, **about}, final)
        yield Happened(state, {"job": self.id, **about}, IMPORT.key)


def left_over(memory: Mapping[str, Json]) -> Iterator[Effect]:
    """End what an earlier connection, or an earlier life of the daemon, left open."""
    for key, kept in memory.items():
        if not key.startswith(MEMORY) or not isinstance(kept, Mapping):
            continue
        action, args = kept.get("action"), kept.get("args")
        job = Import(
            key.removeprefix(MEMORY),
            action if isinstance(action, str) else "",
            args if isinstance(args, Mapping) else {},
        )
        if kept.get("state") == "queued":
            yield from job.ended(Outcome.UNAVAILABLE, _LOST_WAITING)
        else:
            yield from job.ended(Outcome.UNKNOWN, _LOST_RUNNING)
