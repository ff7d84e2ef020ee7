"""Frames of Evok as records: typed and fast for the usual ones, forgiving for the rest.

A frame is a list of objects (Modbus changes, the reply to `all`) or one bare object (1-Wire events, errors of
later versions). Names of version 2 are translated here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

from bridge.driver import Frame
from bridge.model import Scalar

# What objects are called by version 2, by `set` and by filters -> what version 3 calls them in its frames.
ALIASES: Mapping[str, str] = {
    "relay": "ro",
    "output": "do",
    "digitaloutput": "do",
    "input": "di",
    "digitalinput": "di",
    "analoginput": "ai",
    "analogoutput": "ao",
    "watchdog": "wd",
    "sensor": "temp",
    "unit_register": "data_point",
    "neuron": "modbus_slave",
}


class Record(Struct, frozen=True):
    """One object as Evok shows it; None where a field is missing or null."""

    dev: str = ""
    circuit: str = ""
    value: Scalar = None
    alias: Scalar = None
    mode: Scalar = None
    modes: Raw = Raw(b"null")  # a dict for analogue ones, a list otherwise and in version 2; read when declaring
    unit: Scalar = None
    range: list[float] | str | None = None
    # di
    debounce: Scalar = None
    counter: Scalar = None
    counter_mode: Scalar = None
    counter_modes: Raw = Raw(b"null")
    ds_mode: Scalar = None
    ds_modes: Raw = Raw(b"null")
    # do
    pwm_freq: Scalar = None
    pwm_duty: Scalar = None
    relay_type: Scalar = None  # version 2: "digital" marks what version 3 calls `do`
    # 1-Wire
    type: Scalar = None
    lost: Scalar = None
    time: Scalar = None  # Evok's monotonic clock: tells a new reading from a repeated one, and nothing else
    interval: Scalar = None
    humidity: Scalar = None
    temp: Scalar = None
    vdd: Scalar = None
    vad: Scalar = None
    vis: Scalar = None
    scan_interval: Scalar = None
    # wd
    timeout: Scalar = None
    was_wd_reset: Scalar = None
    nv_save: Scalar = None
    # data_point
    name: Scalar = None
    valid: Scalar = None
    # modbus_slave, device_info
    last_comm: Scalar = None
    modbus_type: Scalar = None
    family: Scalar = None
    model: Scalar = None
    sn: Scalar = None
    board_count: Scalar = None
    # replies of a coming version
    success: Scalar = None
    errors: Raw = Raw(b"null")

    @property
    def kind(self) -> str:
        """The object's type by its name in version 3."""
        if self.dev == "relay":
            return "do" if self.relay_type == "digital" else "ro"
        return ALIASES.get(self.dev, self.dev)


_decoder = msgspec.json.Decoder(list[Record] | Record)
_one = msgspec.json.Decoder(Record)
_PLAIN = bool | int | float | str | None


class Unreadable(ValueError):
    """A frame that is no JSON at all."""


def decode(frame: Frame) -> tuple[list[Record], int]:
    """The frame's records, and how many entries had to be skipped. Unreadable: this is not JSON."""
    try:
        decoded = _decoder.decode(frame)
    except (ValueError, RecursionError):
        return _decode_slowly(frame)
    return (decoded, 0) if isinstance(decoded, list) else ([decoded], 0)


def _decode_slowly(frame: Frame) -> tuple[list[Record], int]:
    """For NaN and Infinity, which Evok writes as bare words (here they become texts), and for broken entries."""
    try:
        content = json.loads(frame, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from None
    entries = content if isinstance(content, list) else [content]
    records = list(_readable(entries))
    return records, len(entries) - len(records)


def _readable(entries: list[object]) -> Iterator[Record]:
    for entry in entries:
        if isinstance(entry, dict):
            plain = {name: value for name, value in entry.items() if isinstance(value, _PLAIN)}
            for content in (entry, plain):  # better without a malformed range than not at all
                try:
                    yield _one.decode(msgspec.json.encode(content))
                except (ValueError, OverflowError, RecursionError):
                    continue
                break


def number(value: object) -> float | int | None:
    """A finite number, or None for what else may stand in its place (null, "NaN", a text); 0.0 for -0.0."""
    kind = type(value)
    if kind is float:
        return value + 0.0 if value - value == 0.0 else None  # type: ignore[operator]
    if kind is int and -(1 << 63) <= value < 1 << 64:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    return None


def span(value: object) -> tuple[float | None, float | None]:
    """A range: [low, high], or in version 2 its upper end as a text ("10.0"). (None, None): not known."""
    if isinstance(value, list) and len(value) == 2:
        low, high = number(value[0]), number(value[1])
        return (low, high) if low is not None and high is not None and low < high else (None, None)
    if isinstance(value, str):
        try:
            upper = number(float(value))
        except ValueError:
            return None, None
        return (0, upper) if upper is not None and upper > 0 else (None, None)
    return None, None


def modes(raw: Raw) -> dict[str, object]:
    """Names of modes and what is known of each; {} when there are none."""
    try:
        content = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return {}
    if isinstance(content, dict):
        return content
    if isinstance(content, list):
        return {name: None for name in content if isinstance(name, str)}
    return {}
