"""The driver of the bench lamp: JSON texts, answers with the id of their request, status and alarms unasked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from bridge.driver import Effect, Frame, Plugin, ProtocolError, Send
from bridge.model import (
    READ,
    WRITTEN,
    Command,
    Declared,
    Happened,
    Json,
    Kind,
    Outcome,
    Point,
    Ready,
    Reply,
    Update,
)
from bridge.pending import Pending


class Options(BaseModel):
    """The lamp's own keys in its table `[devices.NAME]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brightest: float = Field(default=100.0, gt=0, le=100, description="Percent that may be set at most")


def points(options: Options) -> tuple[Point, ...]:
    return (
        Point("on", Kind.SWITCH, "Light"),
        Point("level", Kind.NUMBER, "Brightness", unit="%", minimum=0, maximum=options.brightest, step=1),
        Point("hours", Kind.SENSOR, "Hours of use", unit="h", state_class="total_increasing", precision=1),
        Point("cool_down", Kind.ACTION, "Cool down", urgent=True),
        Point("alarm", Kind.EVENT, "Alarm", choices=("overheated", "worn")),
    )


class Lamp:
    def __init__(self, options: Options, memory: Mapping[str, Json], carried: Sequence[Command]) -> None:
        self._points = points(options)
        self._values = [point.key for point in self._points if point.kind in READ | WRITTEN]
        self._pending = Pending()
        self._ready = False

    # --- the connection ------------------------------------------------------------------------------

    def start(self, now: float) -> Iterator[Effect]:
        yield Send('{"get": "status"}')

    def receive(self, frame: Frame, now: float) -> Iterator[Effect]:
        try:
            message = json.loads(frame)
        except ValueError as error:
            raise ProtocolError(f"no JSON: {error}") from None
        match message:
            case {"status": dict(status), **rest}:
                if not self._ready:
                    yield Declared(self._points)
                for key in self._values:
                    if key in status:
                        yield Update(key, status[key])
                if not self._ready:
                    self._ready = True
                    yield Ready(
                        {"manufacturer": "Example", "model": "Bench lamp", "serial_number": rest.get("serial")}
                    )
            case {"id": str(request), "ok": True}:
                yield from self._answer(request, Outcome.DONE)
            case {"id": str(request), "error": str(reason)}:
                yield from self._answer(request, Outcome.FAILED, reason)
            case {"alarm": str(kind)}:
                yield Happened(kind, {}, key="alarm")
            case dict():
                yield Happened("unexpected", {"keys": sorted(message)[:10]})
            case _:
                raise ProtocolError("no JSON object")

    # --- commands ------------------------------------------------------------------------------------

    def submit(self, command: Command, now: float) -> Iterator[Effect]:
        wish = {"do": command.key} if command.key == "cool_down" else {"set": {command.key: command.value}}
        self._pending.add(command.id, command, now)
        yield Send(json.dumps({"id": command.id, **wish}), command.id)

    def _answer(self, request: str, outcome: Outcome, detail: str = "") -> Iterator[Effect]:
        if self._pending.pop(request) is not None:
            yield Reply(request, outcome, detail)

    @property
    def busy(self) -> bool:
        return len(self._pending) > 0

    # --- time ----------------------------------------------------------------------------------------

    @property
    def wake_at(self) -> float | None:
        return self._pending.due

    def tick(self, now: float) -> Iterator[Effect]:
        yield from self._pending.expire(now)

    def fenced(self, token: str, now: float) -> Iterator[Effect]:
        yield from ()

    def computed(self, token: str, result: object, now: float) -> Iterator[Effect]:
        yield from ()


plugin = Plugin(Options, Lamp)
