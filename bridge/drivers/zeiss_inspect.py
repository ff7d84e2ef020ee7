"""ZEISS INSPECT, by the server of its App example IPCWebsocketExample: imports of images and of elements.

One plain-text answer per request, in order, without an id; and the server imports on its own event loop, so that
meanwhile it answers nothing, not even a ping. Hence one request is out at a time, each goes out only behind an
answered ping (so one that was sent to a server at work for somebody else, or to a connection that is about to be
closed, is rare), and nothing is ever sent twice. After a deadline nobody can tell which request the next answer
belongs to: the driver is `stuck` until that answer, the end of the connection or `reset`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from bridge.driver import (
    Close,
    Effect,
    Effects,
    Explanation,
    Fence,
    Frame,
    Plugin,
    ProtocolError,
    Trouble,
    Verdict,
)
from bridge.drivers.zeiss_inspect_answers import excerpt
from bridge.drivers.zeiss_inspect_jobs import Import, left_over
from bridge.drivers.zeiss_inspect_options import ZeissInspectOptions
from bridge.drivers.zeiss_inspect_points import (
    CANCEL,
    IMPORT_ELEMENTS,
    IMPORT_IMAGE,
    POINTS,
    QUEUE,
    QUIT,
    RESET,
    RUNNING,
)
from bridge.drivers.zeiss_inspect_requests import Request, elements, image
from bridge.drivers.zeiss_inspect_turns import Turn
from bridge.model import Command, Condition, Declared, Happened, Json, Outcome, Ready, Reply, Update

PROBE = 15.0  # seconds between pings to an idle server: they tell that it is at work for somebody else
SLOW = 5.0  # seconds for a pong, then it is
QUIT_TIMEOUT = 10.0  # seconds from sending `quit` to `unknown`

_REQUESTS: Mapping[str, Callable[[Command, ZeissInspectOptions], Request]] = {
    IMPORT_IMAGE.key: image,
    IMPORT_ELEMENTS.key: elements,
}
_AT_WORK = "ZEISS INSPECT does not answer: it imports for somebody else, waits for a person, or hangs"
_NOT_SENT = "not sent: the disk does not take what must be remembered"
_STUCK = "an answer is overdue: look in ZEISS INSPECT; `reset` gives it up"


class ZeissInspect:
    """One connection to the server."""

    def __init__(
        self, options: ZeissInspectOptions, memory: Mapping[str, Json], carried: Sequence[Command]
    ) -> None:
        self._options, self._memory, self._carried = options, memory, carried
        self._queue: deque[Turn] = deque()
        self._out: Turn | None = None  # sent, not answered
        self._stuck = False  # and its deadline has passed
        self._fence_at: float | None = None  # since when a pong is awaited
        self._probe_at = math.inf
        self._shown = Condition("")
        self._counted = 0
        self._surprised = False

    # --- the connection ---------------------------------------------------------------------------------

    def start(self, now: float) -> Effects:
        self._probe_at = now + PROBE
        return [
            Declared(POINTS),
            *left_over(self._memory),
            *(Reply(command.id, Outcome.UNKNOWN, "the connection was lost") for command in self._carried),
            Update(RUNNING.key, False),
            Update(QUEUE.key, 0),
            Ready({"manufacturer": "ZEISS", "model": "ZEISS INSPECT"}),
        ]

    def receive(self, frame: Frame, now: float) -> Effects:
        if isinstance(frame, bytes):
            raise ProtocolError("a binary message, and this server speaks text only")
        effects: list[Effect] = []
        if (turn := self._out) is not None:
            effects += turn.late(frame, now) if self._stuck else turn.answered(frame, now)
            self._out, self._stuck = None, False
        elif not self._surprised:
            self._surprised = True
            effects.append(Happened("unexpected", {"text": excerpt(frame)}))
        return effects + self._go_on(now)

    # --- commands ---------------------------------------------------------------------------------------

    def submit(self, command: Command, now: float) -> Effects:
        effects: list[Effect] = []
        try:
            match command.key:
                case IMPORT_IMAGE.key | IMPORT_ELEMENTS.key:
                    effects += self._import(command)
                case CANCEL.key:
                    effects += self._cancel(command)
                case QUIT.key:
                    effects += self._quit(command)
                case RESET.key:
                    effects += self._reset(command)
                case _:
                    raise ValueError(f"there is no action {command.key!r}")
        except ValueError as error:
            effects = [Reply(command.id, Outcome.REJECTED, str(error))]
        return effects + self._go_on(now)

    def _import(self, command: Command) -> Iterator[Effect]:
        request = _REQUESTS[command.key](command, self._options)
        timeout = self._timeout(command, self._options.job_timeout)
        if self._stuck:
            yield Reply(command.id, Outcome.UNAVAILABLE, _STUCK)
            return
        if len(self._queue) >= self._options.queue:
            raise ValueError(f"{len(self._queue)} imports are waiting already")
        job = Import(command.id, request.action, request.args)
        self._queue.append(Turn(command, request.frame, self._options.success, timeout, job))
        place = len(self._queue)
        yield from job.queued()
        yield Reply(command.id, Outcome.ACCEPTED, f"place {place} in the queue", {"job": job.id, "place": place})

    def _timeout(self, command: Command, default: float) -> float:
        timeout, longest = command.timeout, self._options.max_job_timeout
        if timeout is not None and not 1 <= timeout <= longest:
            raise ValueError(f"a timeout of {timeout:g} s is not between 1 and {longest:g} s")
        return default if timeout is None else timeout

    def _cancel(self, command: Command) -> Iterator[Effect]:
        id_ = CANCEL.arguments_of(command.args)["job"]
        if self._out is not None and self._out.job is not None and self._out.job.id == id_:
            raise ValueError("it was sent already, and ZEISS INSPECT cannot cancel an import")
        turn = next((turn for turn in self._queue if turn.job is not None and turn.job.id == id_), None)
        if turn is None:
            raise ValueError("no import with this id is waiting")
        self._queue.remove(turn)
        yield from turn.unsent(Outcome.SUPERSEDED, "cancelled before it was sent")
        yield Reply(command.id, Outcome.DONE)

    def _quit(self, command: Command) -> Iterator[Effect]:
        QUIT.arguments_of(command.args)
        timeout = self._timeout(command, QUIT_TIMEOUT)
        if self._stuck:
            yield Reply(command.id, Outcome.UNAVAILABLE, _STUCK)
            return
        if self._out is not None or self._queue:
            raise ValueError("something is running or waiting")
        self._queue.append(Turn(command, "quit", "bye", timeout))

    def _reset(self, command: Command) -> Iterator[Effect]:
        RESET.arguments_of(command.args)
        if not self._stuck:
            yield Reply(command.id, Outcome.DONE, "nothing is stuck")
            return
        while self._queue:
            yield from self._queue.popleft().unsent(Outcome.UNAVAILABLE, "not sent: the connection was reset")
        yield Reply(command.id, Outcome.DONE, "the connection is opened afresh")
        yield Close("reset", Verdict.AGAIN)  # on a new connection the overdue answer cannot come any more

    # --- whose turn it is -------------------------------------------------------------------------------

    def _go_on(self, now: float) -> list[Effect]:
        """After anything that happened: drop what is too old, ask for the next turn, tell what changed."""
        effects = self._drop_expired(now)
        if self._out is None and self._fence_at is None and (self._queue or self._probe_at <= now):
            self._fence_at = now
            effects.append(Fence("turn"))
        if len(self._queue) != self._counted:
            self._counted = len(self._queue)
            effects.append(Update(QUEUE.key, self._counted))
        if (shown := self._condition(now)) != self._shown:
            self._shown = shown
            effects.append(shown)
        return effects

    def _drop_expired(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for turn in [turn for turn in self._queue if turn.expired(now)]:
            self._queue.remove(turn)
            effects += turn.unsent(Outcome.EXPIRED, "it waited too long and was not sent")
        return effects

    def fenced(self, token: str, now: float) -> Effects:
        if self._fence_at is None:
            return ()
        self._fence_at = None
        self._probe_at = now + PROBE
        effects = self._drop_expired(now)
        if self._queue:
            self._out = self._queue.popleft()
            effects += self._out.send(now)
        return effects + self._go_on(now)

    def unsent(self, command: str, now: float) -> Effects:
        if (turn := self._out) is None or turn.command.id != command:
            return ()
        self._out = None
        return [Update(RUNNING.key, False), *turn.unsent(Outcome.REJECTED, _NOT_SENT), *self._go_on(now)]

    def _condition(self, now: float) -> Condition:
        if self._stuck:
            return Condition("stuck", _STUCK)
        if self._out is not None:
            return Condition("busy", f"{self._out.command.key} is under way")
        if self._fence_at is not None and now >= self._fence_at + SLOW:
            return Condition("busy_elsewhere", _AT_WORK)
        return Condition("")

    # --- time -------------------------------------------------------------------------------------------

    def computed(self, token: str, result: object, now: float) -> Effects:
        return ()

    def tick(self, now: float) -> Effects:
        effects: list[Effect] = []
        if self._out is not None and not self._stuck and self._out.due <= now:
            self._stuck = True
            effects += self._out.overdue()
        return effects + self._go_on(now)

    @property
    def wake_at(self) -> float | None:
        dues = [turn.command.expires_at for turn in self._queue]
        if self._out is not None:
            dues += [] if self._stuck else [self._out.due]
        elif self._fence_at is None:
            dues.append(self._probe_at)
        elif self._shown.state != "busy_elsewhere":
            dues.append(self._fence_at + SLOW)
        due = min(dues, default=math.inf)
        return due if due < math.inf else None

    @property
    def busy(self) -> bool:
        """Never: the queue is here, so that its imports can be told of and cancelled."""
        return False


plugin = Plugin(
    ZeissInspectOptions,
    ZeissInspect,
    ping=20.0,
    ping_timeout=None,  # an import of minutes answers no ping
    frame_limit=4 << 20,  # "Unknown request" echoes what it was sent
    explain={
        Trouble.REFUSED: Explanation(
            "offline", "nobody listens: the server is not started in ZEISS INSPECT, or its dialog not confirmed"
        ),
        Trouble.HANDSHAKE: Explanation("busy_elsewhere", _AT_WORK),
    },
)
