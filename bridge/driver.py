"""The contract between a device protocol and the world.

A driver is a state machine. It is told what happened and answers with what should be done. It never waits, never
reads a clock, never touches a socket and makes nothing up at random. One driver lives as long as one connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from msgspec import Struct
from pydantic import BaseModel

from bridge.model import Command, Event, Json

Frame: TypeAlias = str | bytes
CONTRACT = 1  # raised when a driver written for an older one would no longer work


class ProtocolError(Exception):
    """The device said something its protocol does not allow. The connection is given up."""


class Verdict(StrEnum):
    """What the end of a connection means for the next one."""

    AGAIN = "again"  # trying again at once is right
    PASSING = "passing"  # the network, the peer: soon, then slower
    STUBBORN = "stubborn"  # credentials, address, version: seldom
    BUG = "bug"  # ours: seldom, and loudly


# --- what a driver asks for --------------------------------------------------------------------------


class Send(Struct, frozen=True):
    """Send one frame; text for str, binary for bytes. `id`: the command that this frame carries out.

    Until a frame with its id went out, a command counts as not sent: a lost connection makes it `unavailable`
    (safe to repeat). Afterwards it is `unknown`, unless `Hold` said otherwise.
    """

    frame: Frame
    id: str | None = None


class Fence(Struct, frozen=True):
    """Tell me (`fenced`) when the device has processed all that was sent before: a WebSocket ping and its pong."""

    token: str


class Compute(Struct, frozen=True):
    """Run `call(*args)` in a worker process and tell me (`computed`): too heavy for the loop. Both are pickled."""

    token: str
    call: Callable[..., object]
    args: tuple[object, ...] = ()


class Remember(Struct, frozen=True):
    """Keep this over connections and restarts; None forgets. It is on disk before any later `Send` goes out."""

    key: str
    value: Json


class Hold(Struct, frozen=True):
    """A lost connection does not settle this command: hand it to the next driver, which must settle it.

    `until` (the driver's clock): past it the command ends as `unknown`, connected or not.
    """

    id: str
    until: float | None = None


class Close(Struct, frozen=True):
    """Give the connection up."""

    reason: str
    verdict: Verdict = Verdict.PASSING


Effect: TypeAlias = Send | Fence | Compute | Remember | Hold | Close | Event
Effects: TypeAlias = Iterable[Effect]


class Driver(Protocol):
    """Every method returns its effects; `now` is a monotonic clock in seconds."""

    def start(self, now: float) -> Effects:
        """The connection is open."""

    def receive(self, frame: Frame, now: float) -> Effects:
        """A frame arrived. ProtocolError when it breaks the protocol."""

    def submit(self, command: Command, now: float) -> Effects:
        """Somebody wants something done. The value fits its point and access was checked."""

    def fenced(self, token: str, now: float) -> Effects:
        """A fence was passed."""

    def computed(self, token: str, result: object, now: float) -> Effects:
        """A computation ended; `result` is what it returned, or the Exception that it raised."""

    def tick(self, now: float) -> Effects:
        """`wake_at` has come."""

    @property
    def wake_at(self) -> float | None:
        """When `tick` is next due."""

    @property
    def busy(self) -> bool:
        """The next command must wait (urgent ones never do)."""


@runtime_checkable
class Unsent(Protocol):
    """What a driver may have too, if it keeps account of commands that it has sent."""

    def unsent(self, command: str, now: float) -> Effects:
        """A frame of this command did not go out, nor will it: the disk did not take what was to be remembered.

        The command is answered; what was remembered for it is for the driver to forget.
        """


# --- what a driver module offers ---------------------------------------------------------------------


class Touch(Struct, frozen=True):
    """A command to one key also touches this: `allow`, `deny` and `read_only` are asked about it as well.

    With `point` it must be a declared point (so that aliases and unknown circuits are rejected), and `value`, if
    any, must be one that this point accepts; without, it is just a name to allow or deny (a job type).
    """

    key: str
    value: Json = None
    point: bool = True
    guarded: bool = False


class Trouble(StrEnum):
    """Ways not to get a connection that mean something else for different devices."""

    REFUSED = "refused"  # nobody listens
    HANDSHAKE = "handshake"  # TCP connects, the WebSocket handshake does not answer


class Explanation(Struct, frozen=True):
    """What such a trouble means for this device: shown on the link instead of plain `offline`."""

    state: str
    reason: str
    normal: bool = True  # a usual state of affairs, nothing to warn of


OptionsT = TypeVar("OptionsT", bound=BaseModel)


def _touches_nothing(command: Command) -> Sequence[Touch]:
    return ()


@dataclass(frozen=True, slots=True)
class Plugin(Generic[OptionsT]):
    """What a driver module offers to the bridge, named by an entry point of the group `lab2mqtt.drivers`."""

    options: type[OptionsT]  # forbids unknown keys; stands beside the common keys in the device's table
    driver: Callable[[OptionsT, Mapping[str, Json], Sequence[Command]], Driver]  # options, memory, carried
    ping: float | None = 20.0  # seconds between our WebSocket pings; None: never
    ping_timeout: float | None = 30.0  # seconds until a missing pong ends the connection; None: never
    greeting: float = 30.0  # seconds from the open connection to Ready
    frame_limit: int = 16 << 20  # bytes of one message
    touches: Callable[[Command], Sequence[Touch]] = _touches_nothing
    headers: Callable[[OptionsT], Mapping[str, str]] = lambda options: {}
    explain: Mapping[Trouble, Explanation] = field(default_factory=dict)
    contract: int = CONTRACT
