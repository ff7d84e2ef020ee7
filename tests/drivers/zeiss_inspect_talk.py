"""A conversation with the ZEISS INSPECT driver in code: no sockets, and time passes only when told to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bridge.driver import Effect, Fence, Remember, Send
from bridge.drivers.zeiss_inspect import ZeissInspect
from bridge.drivers.zeiss_inspect_options import ZeissInspectOptions
from bridge.model import Command, Condition, Happened, Job, Json, Reply, Update

T = TypeVar("T")

IMAGE: dict[str, Json] = {"file": "C:/images/part.jpg", "name": "Microscopy", "focal_length": "50.0"}
ELEMENTS: dict[str, Json] = {"file": "C:/images/points.gxml", "import_mode": "clipboard"}


class Talk:
    """One connection. `events`: all effects so far, in order. The server answers pings by itself unless `deaf`."""

    def __init__(
        self, *, memory: Mapping[str, Json] | None = None, carried: Sequence[Command] = (), **options: Any
    ) -> None:
        self.now = 1000.0
        self.deaf = False
        self.awaited: list[str] = []  # fences without a pong
        self.driver = ZeissInspect(ZeissInspectOptions(**options), memory or {}, carried)
        self.events: list[Effect] = []
        self.take(self.driver.start(self.now))

    def take(self, effects: Iterable[Effect]) -> list[Effect]:
        """What the driver asked for now, including what follows from a pong."""
        seen = len(self.events)
        self.events += effects
        self.awaited += [fence.token for fence in self.of(Fence, self.events[seen:])]
        if not self.deaf:
            self.pong()
        return self.events[seen:]

    def pong(self) -> None:
        while self.awaited:
            self.take(self.driver.fenced(self.awaited.pop(0), self.now))

    def say(self, text: str | bytes, after: float = 0.0) -> list[Effect]:
        """The server says something."""
        self.now += after
        return self.take(self.driver.receive(text, self.now))

    def call(self, action: str, id_: str = "c1", /, **args: Json) -> list[Effect]:
        command = Command(id_, action, args=args)
        return self.take(self.driver.submit(command, self.now))

    def image(
        self, id_: str = "c1", /, within: float | None = None, until: float = math.inf, **args: Json
    ) -> list[Effect]:
        command = Command(id_, "import_image", args={**IMAGE, **args}, expires_at=until, timeout=within)
        return self.take(self.driver.submit(command, self.now))

    def elements(self, id_: str = "c1", /, **args: Json) -> list[Effect]:
        command = Command(id_, "import_elements", args={**ELEMENTS, **args})
        return self.take(self.driver.submit(command, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes; the driver is woken whenever it wishes."""
        end, seen = self.now + seconds, len(self.events)
        for _ in range(1000):
            wake = self.driver.wake_at
            if wake is None or wake > end:
                self.now = end
                return self.events[seen:]
            self.now = max(self.now, wake)
            self.take(self.driver.tick(self.now))
        raise AssertionError("the driver wants to be woken for ever")

    def of(self, kind: type[T], effects: Sequence[Effect] | None = None) -> list[T]:
        return [effect for effect in (self.events if effects is None else effects) if isinstance(effect, kind)]

    @property
    def sent(self) -> list[Any]:
        """What went out: requests parsed, `quit` as it is."""
        frames = [str(send.frame) for send in self.of(Send)]
        return [frame if frame == "quit" else json.loads(frame) for frame in frames]

    @property
    def replies(self) -> list[tuple[str, str, str]]:
        return [(reply.id, reply.outcome.value, reply.detail) for reply in self.of(Reply)]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(reply.id, reply.outcome.value) for reply in self.of(Reply)]

    @property
    def states(self) -> list[tuple[str, object]]:
        """What the job topics went through."""
        return [(job.id, job.data["state"]) for job in self.of(Job)]

    @property
    def happened(self) -> list[tuple[str, object]]:
        """The types of `event/import`."""
        return [(event.name, event.data["job"]) for event in self.of(Happened) if event.key == "import"]

    @property
    def conditions(self) -> list[str]:
        return [condition.state for condition in self.of(Condition)]

    @property
    def memory(self) -> dict[str, Json]:
        """What the next driver would find."""
        kept = {item.key: item.value for item in self.of(Remember)}
        return {key: value for key, value in kept.items() if value is not None}

    def last(self, key: str) -> object:
        return [update.value for update in self.of(Update) if update.key == key][-1]
