"""What all of Evok's objects have in common: a name, a JSON shape, a cache that scans fill, and fields to set."""

from collections.abc import Container, Mapping
from typing import ClassVar, Protocol

JsonObject = dict[str, object]


class Refused(Exception):
    """Evok would write a line into its log and tell the client nothing."""


class Board(Protocol):
    """What an object knows of the unit it belongs to."""

    name: str

    @property
    def is_reachable(self) -> bool: ...


class Item:
    """One object of `all`.

    Two sides: the hardware (changed by `write` and by the world) and Evok's cache (what `shape` shows). `read`
    brings the first into the second and tells whether Evok pushes the object for it. `keywords` are the fields
    that `set` takes; the first one also takes a top-level `value`.
    """

    keywords: ClassVar[tuple[str, ...]] = ()
    slow: ClassVar[bool] = False  # read every tenth scan only

    def __init__(self, dev: str, circuit: str, board: Board | None = None) -> None:
        self.dev, self.circuit, self.board = dev, circuit, board
        self.alias = ""

    def shape(self) -> JsonObject:
        """The JSON object, from the cache."""
        alias = {"alias": self.alias} if self.alias else {}
        return {"dev": self.dev, "circuit": self.circuit, **self.fields(), **alias}

    def fields(self) -> JsonObject:
        return {}

    def read(self) -> bool:
        """Take the hardware's state over; True when the object is to be pushed."""
        return False

    def forget(self) -> None:
        """Empty the cache, as a restart of Evok does."""

    def write(self, wish: Mapping[str, object]) -> None:
        """Change the hardware; None means not given. Raises Refused."""
        raise Refused(f"{self.dev} cannot be set")

    def live(self) -> object:
        """The hardware's own value, for those who check what really happened."""
        return self.fields().get("value")

    def force(self, value: float | None) -> None:
        """Hold the hardware's value, whatever the world does; None lets it go."""
        raise ValueError(f"{self.dev} {self.circuit} is no input")


def whole(value: object) -> int:
    """What Python's int() makes of it: 1.9, "1" and True pass; "1.0", "on", NaN and lists do not."""
    if not isinstance(value, str | int | float):
        raise Refused(f"no number: {value!r}")
    try:
        return int(value)
    except (ValueError, OverflowError) as error:
        raise Refused(str(error)) from error


def number(value: object) -> float:
    """What Python's float() makes of it, without NaN and infinities."""
    if not isinstance(value, str | int | float):
        raise Refused(f"no number: {value!r}")
    try:
        result = float(value)
    except (ValueError, OverflowError) as error:
        raise Refused(str(error)) from error
    if result - result != 0:
        raise Refused(f"not finite: {value!r}")
    return result


def limited(value: object, most: int) -> int:
    """A whole number of a Modbus register: 0 to `most`."""
    result = whole(value)
    if not 0 <= result <= most:
        raise Refused(f"{result} is not within 0 to {most}")
    return result


def chosen(value: object, choices: Container[str]) -> str | None:
    """The choice that is meant; anything else is ignored and not refused."""
    return value if isinstance(value, str) and value in choices else None
