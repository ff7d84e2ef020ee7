"""The toy's driver, which uses all that the boundary offers: the proof that other devices will fit.

One request is out at a time; a job is answered twice, when it is accepted and when its result is there. Its tag is
the command's id and is remembered before it starts, so that a job is found again after any loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, SecretStr

from bridge.driver import (
    Close,
    Compute,
    Effect,
    Effects,
    Explanation,
    Fence,
    Frame,
    Hold,
    Plugin,
    ProtocolError,
    Remember,
    Send,
    Touch,
    Trouble,
    Verdict,
)
from bridge.model import (
    Block,
    Command,
    Condition,
    Declared,
    GroupState,
    GroupStatus,
    Happened,
    Job,
    Json,
    Outcome,
    Ready,
    Reply,
    Result,
    Scalar,
    Update,
)
from bridge.pending import Pending
from tests.toy.messages import Inventory, Message, Rows, Run, decoded, read
from tests.toy.points import COLUMNS, INSTRUMENT, UNITS, points_of

JOB = "job/"  # of a key in memory: job/{tag}
_ENDED = ("done", "halted")
_MODULE_STATES = {"plugged": GroupState.ONLINE, "unplugged": GroupState.OFFLINE, "removed": GroupState.GONE}


class ToyOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr = SecretStr("")
    version: int = 1


class Toy:
    """One connection to the toy instrument."""

    def __init__(self, options: ToyOptions, memory: Mapping[str, Json], carried: Sequence[Command]) -> None:
        self._options = options
        self._wanted = {key.removeprefix(JOB) for key in memory if key.startswith(JOB)}
        self._starters = {command.id: command for command in carried}  # who waits for a job's end, by its tag
        self._values: dict[str, Scalar] = {}
        self._pending = Pending()  # requests by id, labels by their fence
        self._fetching: set[str] = set()
        self._unexpected: set[str] = set()

    def start(self, now: float) -> Effects:
        yield self._request("hello", "hello", version=self._options.version)

    # --- what the instrument says ----------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> Effects:
        if isinstance(frame, bytes):
            tag, found, body = frame.partition(b"\n")
            if not found:
                raise ProtocolError("a result without its tag")
            return [Compute(tag.decode(errors="replace"), decoded, (body,))]
        try:
            message = read(frame)
            return list(self._pushed(message) if message.push else self._answered(message))
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProtocolError(f"not the toy's language: {error}") from None

    def _answered(self, message: Message) -> Iterator[Effect]:
        if message.id == "hello":
            yield from self._greeted(message)
        elif (command := self._pending.pop(message.id)) is None:
            yield from self._surprise("answer to nothing")
        elif message.error:
            if command.key == "job_start":
                yield from self._concluded(command.id, Outcome.FAILED, message.error)
            else:
                yield Reply(command.id, Outcome.FAILED, message.error)
        elif command.key == "job_start":
            yield Job(command.id, {"state": "accepted"})
            yield Reply(command.id, Outcome.ACCEPTED, "the job runs")
        else:
            yield Reply(command.id, Outcome.DONE, data=msgspec.json.decode(message.ok))

    def _greeted(self, message: Message) -> Iterator[Effect]:
        if message.error:
            yield Close(message.error, Verdict.STUBBORN)
            return
        inventory = msgspec.json.decode(message.ok, type=Inventory)
        yield Declared(INSTRUMENT)
        for module, title in inventory.modules.items():
            names = [name for name in inventory.values if name.startswith(f"{module}/")]
            yield Declared(points_of(module, names), module)
            yield GroupStatus(module, GroupState.ONLINE, name=title)
        for name, value in inventory.values.items():
            yield self._update(name, value)
        for tag in sorted(self._wanted | self._starters.keys()):
            yield from self._found(tag, inventory.jobs.get(tag))
        yield Ready({"serial": inventory.serial})

    def _pushed(self, message: Message) -> Iterator[Effect]:
        match message.push:
            case "value":
                yield self._update(message.name, message.value)
            case "job":
                rows = msgspec.json.decode(message.rows, type=int)
                yield from self._found(message.tag, Run(message.state, rows))
            case "rows" if message.tag in self._wanted:
                rows_of = np.array(msgspec.json.decode(message.rows, type=Rows)).reshape(-1, len(COLUMNS))
                yield Block(message.tag, message.offset, COLUMNS, UNITS, rows_of)
            case "module" if message.state in _MODULE_STATES:
                if message.state == "plugged":
                    yield Declared(points_of(message.name, ()), message.name)
                reason = "" if message.state == "plugged" else f"the {message.title.lower()} is {message.state}"
                yield GroupStatus(message.name, _MODULE_STATES[message.state], reason, message.title)
            case "alarm":
                yield Happened(message.type, {"name": message.name}, key="alarm")
            case "local":
                yield Condition("read_only" if message.on else "", "switched to local" if message.on else "")
            case "bye":
                yield Close(message.reason, Verdict.AGAIN)
            case "rows":
                pass  # of somebody else's job
            case other:
                yield from self._surprise(other)

    def _update(self, name: str, value: Scalar) -> Update:
        self._values[name] = value
        return Update(name, value)

    def _surprise(self, what: str) -> Iterator[Effect]:
        if what not in self._unexpected and len(self._unexpected) < 100:
            self._unexpected.add(what)
            yield Happened("unexpected", {"what": what})

    # --- jobs ------------------------------------------------------------------------------------------

    def _found(self, tag: str, run: Run | None) -> Iterator[Effect]:
        """How a job of ours stands."""
        if (tag not in self._wanted and tag not in self._starters) or tag in self._fetching:
            return
        if run is None:
            yield from self._concluded(tag, Outcome.UNAVAILABLE, "it never reached the instrument")
        elif run.state in _ENDED:
            self._fetching.add(tag)
            yield Job(tag, {"state": "fetching", "rows": run.rows})
            yield self._request("fetch", tag=tag)
        else:
            yield Job(tag, {"state": run.state, "rows": run.rows})

    def computed(self, token: str, result: object, now: float) -> Effects:
        if isinstance(result, Exception):
            return list(self._concluded(token, Outcome.FAILED, f"unreadable result: {result}"))
        rows: NDArray[np.float64] = np.asarray(result)
        kept = Result(token, "toy", COLUMNS, UNITS, rows, {"tag": token})
        return [kept, *self._concluded(token, Outcome.DONE, "", {"rows": len(rows)})]

    def _concluded(
        self, tag: str, outcome: Outcome, detail: str, data: Mapping[str, Json] | None = None
    ) -> Iterator[Effect]:
        self._wanted.discard(tag)
        starter = self._starters.pop(tag, None)
        yield Remember(JOB + tag, None)
        yield Job(tag, {"state": outcome.value, "detail": detail, **(data or {})}, final=True)
        if starter is not None:
            yield Reply(tag, outcome, detail, data)

    # --- commands --------------------------------------------------------------------------------------

    def submit(self, command: Command, now: float) -> Effects:
        match command.key:
            case "job_start":
                return self._start_job(command, now)
            case "label":
                return self._label(command, now)
            case "stop":
                request = self._request("halt", command.id)
            case "self_test":
                request = self._request("self_test", command.id)
            case "move":
                request = self._write(command, str(command.args["point"]), command.args["value"])
            case key:
                request = self._write(command, key, command.value)
        self._pending.add(command.id, command, now)
        return [Send(request.frame, command.id)]

    def _start_job(self, command: Command, now: float) -> Effects:
        self._pending.add(command.id, command, now)
        self._wanted.add(command.id)
        self._starters[command.id] = command
        request = self._request("run", command.id, tag=command.id, points=command.args["points"])
        return [Remember(JOB + command.id, True), Hold(command.id), Send(request.frame, command.id)]

    def _label(self, command: Command, now: float) -> Effects:
        """Never answered: what shows behind the fence is what came of it."""
        self._pending.add(command.id, command, now)
        return [Send(self._request("label", value=command.value).frame, command.id), Fence(command.id)]

    def fenced(self, token: str, now: float) -> Effects:
        if (command := self._pending.pop(token)) is None:
            return ()
        if self._values.get("label") == command.value:
            return [Reply(token, Outcome.DONE)]
        return [Reply(token, Outcome.UNKNOWN, "processed, but the label does not show it")]

    def _write(self, command: Command, name: str, value: Json) -> Send:
        return self._request("write", command.id, name=name, value=value)

    def _request(self, op: str, id_: str | None = None, **fields: Json) -> Send:
        head = {"op": op} if id_ is None else {"id": id_, "op": op}
        return Send(json.dumps({**head, **fields}))

    # --- time ------------------------------------------------------------------------------------------

    def tick(self, now: float) -> Effects:
        return list(self._pending.expire(now))

    @property
    def wake_at(self) -> float | None:
        return self._pending.due

    @property
    def busy(self) -> bool:
        return len(self._pending) > 0


def touches(command: Command) -> Sequence[Touch]:
    """Burning something is dangerous, whatever starts it."""
    kind = command.args.get("kind")
    return [Touch(f"job/{kind}", point=False, guarded=kind == "burn")] if isinstance(kind, str) else ()


plugin = Plugin(
    ToyOptions,
    Toy,
    greeting=5.0,
    frame_limit=64 << 20,
    touches=touches,
    headers=lambda options: {"X-Toy-Key": options.key.get_secret_value()},
    explain={Trouble.REFUSED: Explanation("asleep", "the toy is switched off")},
)
