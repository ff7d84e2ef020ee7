"""What the bridge talks about: points, events, commands and replies.

Every value here is frozen and knows nothing of sockets, topics or clocks. They are msgspec structs instead of
dataclasses because one is made per measured value (docs/decisions/0004-values-are-msgspec-structs.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, Union

from msgspec import Struct

from bridge.keys import key_levels as key_levels
from bridge.keys import point_key as point_key
from bridge.reading import boolean as boolean
from bridge.reading import in_range as in_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scalar: TypeAlias = bool | int | float | str | None
Json: TypeAlias = Union[Scalar, Sequence["Json"], Mapping[str, "Json"]]  # noqa: UP007  (forward references)


class Kind(StrEnum):
    SENSOR = "sensor"  # a number, a text or one of `choices`, read
    BINARY = "binary"  # on or off, read
    SWITCH = "switch"  # on or off, written
    NUMBER = "number"  # a number, written
    CHOICE = "choice"  # one of `choices`, written
    TEXT = "text"  # free text, written
    ACTION = "action"  # something to do, with declared arguments and a reply
    EVENT = "event"  # something that happens; `choices` are its types
    IMAGE = "image"  # a URL


READ = frozenset({Kind.SENSOR, Kind.BINARY, Kind.IMAGE})
WRITTEN = frozenset({Kind.SWITCH, Kind.NUMBER, Kind.CHOICE, Kind.TEXT})
BOOLEAN = frozenset({Kind.BINARY, Kind.SWITCH})


class Quality(StrEnum):
    GOOD = "good"
    STALE = "stale"  # older than the point's age limit
    UNCERTAIN = "uncertain"  # given, but outside the range the unit can measure
    BAD = "bad"  # the sensor is lost, or never answered


class Category(StrEnum):
    PRIMARY = "primary"
    CONFIGURATION = "config"
    DIAGNOSTIC = "diagnostic"


class Policy(Struct, frozen=True):
    """How often a value is published. None: inherited (bridge, then device, then point)."""

    deadband: float | None = None  # in the point's unit; a smaller change is not published
    min_interval: float | None = None  # seconds; what comes sooner waits, and the last one is published
    max_silence: float | None = None  # seconds; then the value is published again, changed or not


class Argument(Struct, frozen=True, omit_defaults=True):
    """One argument of an action.

    `type` is one of number, integer, text, boolean, object, array, any, or point: the key of a point, which is
    then checked as if that point were set (CONTRACT.md, "Access").
    """

    name: str
    type: str = "text"
    required: bool = False
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    def accept(self, value: Json) -> Json:
        """The value, if it fits; ValueError says what is wrong."""
        match self.type:
            case "number" | "integer":
                number = in_range(value, self.minimum, self.maximum, self.unit)
                if self.type == "integer" and not number.is_integer():
                    raise ValueError(f"{value!r} is not a whole number")
                return int(number) if self.type == "integer" else number
            case "boolean":
                return boolean(value)
            case "text" | "point" if not isinstance(value, str):
                raise ValueError(f"{value!r} is not a text")
            case "object" if not isinstance(value, Mapping):
                raise ValueError(f"{value!r} is not an object")
            case "array" if isinstance(value, str) or not isinstance(value, Sequence):
                raise ValueError(f"{value!r} is not an array")
        if self.choices and value not in self.choices:
            raise ValueError(f"{value!r} is not one of {', '.join(self.choices)}")
        return value


class Point(Struct, frozen=True):
    """One thing a device can show or do; all that any consumer may know of it stands here."""

    key: str  # one or more levels joined by "/"; values and actions share one name space
    kind: Kind
    name: str  # without the device's name
    group: str = ""  # a board, a module; "" is the device itself
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    urgent: bool = False  # stop, switch off, abort: to the head, past every limit
    guarded: bool = False  # dangerous: needs an explicit `allow` in the configuration
    timeout: float | None = 10.0  # seconds from sending to `unknown`; None: a job, which takes what it takes
    expires: float | None = None  # seconds a command may wait; None: the contract's default
    text: bool = False  # a sensor without choices: its values are texts, not numbers
    device_class: str | None = None  # Home Assistant's word for what is measured
    state_class: str | None = None  # measurement, total_increasing
    precision: int | None = None  # decimals worth showing
    max_age: float | None = None  # seconds after which an unreported value is stale
    policy: Policy = Policy()
    category: Category = Category.PRIMARY
    enabled: bool = True  # shown by default

    def accept(self, value: Json) -> Scalar:
        """The value as this point wants it; a bare payload arrives as text. ValueError says what is wrong."""
        match self.kind:
            case Kind.SWITCH:
                return boolean(value)
            case Kind.NUMBER:
                return in_range(value, self.minimum, self.maximum, self.unit)
            case Kind.CHOICE:
                if isinstance(value, str) and value in self.choices:
                    return value
                raise ValueError(f"{value!r} is not one of {', '.join(self.choices)}")
            case Kind.TEXT:
                if isinstance(value, str):
                    return value
                raise ValueError(f"{value!r} is not a text")
        raise ValueError(f"{self.key} is read-only")

    def arguments_of(self, args: Mapping[str, Json]) -> Mapping[str, Json]:
        """The arguments of this action as declared; ValueError names the one that is wrong."""
        known = {argument.name: argument for argument in self.arguments}
        if unknown := [name for name in args if name not in known]:
            takes = ", ".join(known) or "no arguments"
            raise ValueError(f"unknown argument {unknown[0]!r} ({self.key} takes {takes})")
        for name, argument in known.items():
            if argument.required and name not in args:
                raise ValueError(f"argument {name!r} is missing")
        checked: dict[str, Json] = {}
        for name, value in args.items():
            try:
                checked[name] = known[name].accept(value)
            except ValueError as error:
                raise ValueError(f"argument {name!r}: {error}") from None
        return checked


# --- what a driver reports ---------------------------------------------------------------------------


class Declared(Struct, frozen=True):
    """The complete list of one group's points; replaces that group's earlier list."""

    points: tuple[Point, ...]
    group: str = ""


class GroupState(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    GONE = "gone"  # it will not come back: its points go


class GroupStatus(Struct, frozen=True):
    group: str
    state: GroupState
    reason: str = ""
    name: str = ""  # as a person calls it


class Ready(Struct, frozen=True):
    """The greeting is over; commands are welcome. `info`: what the device says it is."""

    info: Mapping[str, Json] = {}


class Condition(Struct, frozen=True):
    """Something about the link that its reader must know while it is up (`stuck`, `read_only`); "" clears it."""

    state: str
    reason: str = ""


class Update(Struct, frozen=True, gc=False):
    """A point has a value. Only the latest matters."""

    key: str
    value: Scalar
    quality: Quality = Quality.GOOD
    at: float | None = None  # seconds since the epoch by the instrument's clock; None: now


class Happened(Struct, frozen=True):
    """Something took place. Each one matters. `key`: the point of kind EVENT that it belongs to, if any."""

    name: str
    data: Mapping[str, Json]
    key: str | None = None


class Block(Struct, frozen=True, eq=False):
    """Measured rows of a running job. Each one matters, and so does their order."""

    job: str
    offset: int  # rows of this job reported before
    columns: tuple[str, ...]
    units: tuple[str, ...]
    rows: NDArray[np.float64]  # rows x columns


class Job(Struct, frozen=True):
    """One job as it is now, from queued to its end."""

    id: str
    data: Mapping[str, Json]
    final: bool = False


class Result(Struct, frozen=True, eq=False):
    """All that a job measured."""

    job: str
    name: str  # for the file: from the job's meta, or the preset
    columns: tuple[str, ...]
    units: tuple[str, ...]
    rows: NDArray[np.float64]  # rows x columns, any strides
    meta: Mapping[str, Json] = {}


class Outcome(StrEnum):
    REJECTED = "rejected"  # nothing happened: malformed, forbidden, out of range
    EXPIRED = "expired"  # nothing happened: too old
    UNAVAILABLE = "unavailable"  # nothing happened: nobody there
    SUPERSEDED = "superseded"  # nothing happened: a newer one took its place
    ACCEPTED = "accepted"  # under way, a final reply follows
    DONE = "done"  # the device reported it, or already showed it
    FAILED = "failed"  # the device says it did not work
    UNKNOWN = "unknown"  # sent, and nobody knows: look before repeating

    @property
    def final(self) -> bool:
        return self is not Outcome.ACCEPTED


class Reply(Struct, frozen=True):
    """What came of a command. `data`: the value shown, or what an action returned."""

    id: str
    outcome: Outcome
    detail: str = ""
    data: Json = None


Event: TypeAlias = Declared | GroupStatus | Ready | Condition | Update | Happened | Block | Job | Result | Reply


class Command(Struct, frozen=True):
    """A wish about now: set the point `key` to `value`, or do the action `key` with `args`."""

    id: str
    key: str
    value: Json = None
    args: Mapping[str, Json] = {}
    expires_at: float = math.inf  # on the loop's clock; not sent after that
    timeout: float | None = None  # seconds from sending to `unknown`; None: no limit
    expect: Json = None  # only if the present value is this
    origin: object = None  # the return address; opaque to drivers
