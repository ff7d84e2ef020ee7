"""Measured data of the IM7 as arrays.

Two orientations and three carriers: live rows are JSON arrays, row by row; fetched results are little-endian
float64, column by column, as base64 in JSON or as a binary frame (protocol: "Result data"). The type of the data
and where it came from decide; the shape never does.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bridge.drivers.im7_frames import mapping, sequence, text

Rows: TypeAlias = NDArray[np.float64]

WIDEST = 500  # columns
_SECTIONS = ("impedances", "paths", "potentiostats", "async_paths")  # of an EIS header, in the order of a result


class DataError(ValueError):
    """A result that cannot be decoded. One sentence."""


class Header(Struct, frozen=True):
    """What the columns of a job's data are. Names are unique."""

    columns: tuple[str, ...]
    units: tuple[str, ...]
    urns: tuple[str, ...]  # where each was measured
    title: str = ""  # as the instrument calls the measurement
    eis: bool = False

    @property
    def width(self) -> int:
        return len(self.columns)


class Table(Struct, frozen=True, eq=False):
    """A decoded result. `remainder`: values left over at the end, which fit no whole row."""

    header: Header
    rows: Rows  # rows x columns
    info: Mapping[str, object]  # the job_info that came along
    remainder: int = 0


# --- headers -------------------------------------------------------------------------------------------


def read_header(value: object) -> Header | None:
    """A live header, or the `job_data_header` of a result; None when it names no columns."""
    header = mapping(value)
    eis = "columns" not in header
    tracks = list(_eis_tracks(header) if eis else _tracks(mapping(header["columns"]), ""))
    if not 0 < len(tracks) <= WIDEST:
        return None
    names = _unique([name for name, _, _ in tracks])
    units, urns = tuple(unit for _, unit, _ in tracks), tuple(urn for _, _, urn in tracks)
    return Header(names, units, urns, text(header.get("measurement_type")), eis)


def _tracks(columns: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Name, unit and URN of each column; missing units and URNs are empty."""
    units, urns = sequence(columns.get("units")), sequence(columns.get("urns"))
    for turn, dimension in enumerate(sequence(columns.get("dimensions"))):
        name = " ".join(filter(None, (prefix, text(dimension)))) or f"column {turn + 1}"
        yield (
            name,
            text(units[turn]) if turn < len(units) else "",
            text(urns[turn]) if turn < len(urns) else "",
        )


def _eis_tracks(header: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    yield from _tracks(mapping(header.get("meta")), "")
    for section in _SECTIONS:
        items = [mapping(item) for item in sequence(header.get(section))]
        for turn, item in enumerate(items):
            yield from _tracks(item, _prefix(section, item, turn, len(items)))


def _prefix(section: str, item: Mapping[str, object], turn: int, count: int) -> str:
    """`voltage dc`, `current dc`, `potentiostat dc`; the one impedance needs no name."""
    if section == "impedances":
        return "" if count == 1 else text(item.get("impedance_name")) or f"impedance {turn + 1}"
    if section == "potentiostats":
        return "potentiostat" if count == 1 else f"potentiostat {turn + 1}"
    return text(item.get("name")) or f"path {turn + 1}"


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in names:
        free, turn = name, 1
        while free in found:
            turn += 1
            free = f"{name} {turn}"
        found[free] = None
    return tuple(found)


# --- live rows -----------------------------------------------------------------------------------------


def live_rows(data: object, width: int) -> tuple[list[list[float]], int]:
    """The rows of a live message, and how many had to be dropped. Null is NaN.

    How the oldest firmware sends live rows is not known: base64 is taken to be column by column, as in results.
    """
    if isinstance(data, str):
        try:
            rows, remainder = from_base64(data, width)
        except DataError:
            return [], 1
        return rows.tolist(), 1 if remainder else 0
    if not isinstance(data, list):
        return [], 1
    found = [row for entry in data if (row := _row(entry, width)) is not None]
    return found, len(data) - len(found)


def live_eis_row(event: Mapping[str, object], width: int) -> list[float] | None:
    """One frequency: its sections one after the other, as a result's columns stand; None when it does not fit."""
    values = list(sequence(event.get("meta")))
    for section in _SECTIONS:
        for item in sequence(event.get(section)):
            values += sequence(item)
    return _row(values, width)


def _row(entry: object, width: int) -> list[float] | None:
    if not isinstance(entry, list) or len(entry) != width:
        return None
    try:
        return [_value(value) for value in entry]
    except (TypeError, OverflowError):
        return None


def _value(value: object) -> float:
    kind = type(value)
    if kind is float or kind is int:
        return float(value)  # type: ignore[arg-type]
    if value is None:
        return float("nan")
    raise TypeError


# --- results -------------------------------------------------------------------------------------------


def from_bytes(data: bytes | bytearray, width: int) -> tuple[Rows, int]:
    """The rows in column-major bytes, as a view without a copy, and how many values are left over."""
    if len(data) % 8:
        raise DataError(f"{len(data)} bytes are no whole number of values")
    values = np.frombuffer(data, dtype="<f8")
    count, remainder = divmod(values.size, width)
    return values[: count * width].reshape(width, count).T, remainder


def from_base64(data: str, width: int) -> tuple[Rows, int]:
    try:
        decoded = a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise DataError(f"no valid base64: {error}") from None
    return from_bytes(decoded, width)


def job_data(message: Mapping[str, object]) -> Table:
    """The reply to `/job/data`: event envelopes with a header, blocks of rows, and an end.

    Several blocks are joined row by row: each has its own columns one after the other.
    """
    header: Header | None = None
    info: Mapping[str, object] = {}
    blocks: list[Rows] = []
    left = 0
    for envelope in sequence(message.get("data")):
        event = mapping(mapping(envelope).get("event"))
        kind = event.get("type")
        info = mapping(event.get("job_info")) or info
        if kind in ("LIVE_DATA_HEADER", "LIVE_DATA_HEADER_EIS"):
            header = read_header(event.get("header"))
        elif kind in ("LIVE_DATA_ROWS", "LIVE_DATA_ROW_EIS"):
            if header is None:
                raise DataError("rows without a header")
            rows, remainder = _block(event, header.width)
            blocks.append(rows)
            left += remainder
    if header is None:
        raise DataError("no header that names columns")
    if not blocks:
        blocks.append(np.empty((0, header.width)))
    return Table(header, blocks[0] if len(blocks) == 1 else np.concatenate(blocks), info, left)


def _block(event: Mapping[str, object], width: int) -> tuple[Rows, int]:
    data = event.get("data")
    if isinstance(data, bytes | bytearray):  # of a long reply, decoded already
        return from_bytes(data, width)
    if isinstance(data, str):
        return from_base64(data, width)
    if event.get("type") == "LIVE_DATA_ROW_EIS":
        row = live_eis_row(event, width)
        rows, dropped = ([], 1) if row is None else ([row], 0)
    else:
        rows, dropped = live_rows(data, width)
    if dropped:
        raise DataError(f"{dropped} rows do not have {width} values")
    return np.array(rows, dtype=np.float64).reshape(len(rows), width), 0
