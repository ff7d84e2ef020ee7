"""What a device's link is doing and why: the retained document under `{device}/link`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from bridge import payload
from bridge.model import Json


class State(StrEnum):
    """A straight line; any of them falls back to offline."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    GREETING = "greeting"
    READY = "ready"


class _Document(Struct, omit_defaults=True):
    bridge: str
    state: str
    reason: str
    since: str
    attempt: int = 0
    next_try: str | None = None
    round_trip_ms: float | None = None
    queue: int = 0
    device: Mapping[str, Json] = {}


class Link(Struct):
    """The mutable story of one link. `shown`: a word of the driver's that stands in for the state."""

    bridge: str
    state: State = State.OFFLINE
    shown: str = ""
    reason: str = "not started"
    since: float = 0.0  # seconds since the epoch
    attempt: int = 0  # tries since it was last ready
    next_try: float | None = None  # seconds since the epoch
    round_trip: float | None = None  # seconds, of the last ping
    queue: int = 0  # commands waiting
    times_ready: int = 0
    info: Mapping[str, Json] = {}  # what the device said it is

    def enter(
        self, state: State, wall: float, reason: str = "", shown: str = "", next_try: float | None = None
    ) -> None:
        if state is State.CONNECTING:
            self.attempt += 1
        if state is State.READY:
            self.attempt = 0
            self.times_ready += self.state is not State.READY
        if state is State.OFFLINE:
            self.round_trip = None
        if state is not self.state or shown != self.shown:
            self.since = wall
        self.state, self.reason, self.shown, self.next_try = state, reason, shown, next_try

    def encode(self) -> bytes:
        return payload.json(
            _Document(
                bridge=self.bridge,
                state=self.shown or self.state,
                reason=self.reason,
                since=payload.timestamp(self.since),
                attempt=self.attempt,
                next_try=None if self.next_try is None else payload.timestamp(self.next_try),
                round_trip_ms=None if self.round_trip is None else round(self.round_trip * 1000, 2),
                queue=self.queue,
                device=self.info,
            )
        )
