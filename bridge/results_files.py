"""One complete result as files: an `.npz` that is read back in parts, and a CSV for people and spreadsheets.

Plain blocking functions without asyncio; the caller runs them in a thread or a worker process.
Memory stays at a few MB however large the result is.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from bridge.model import Json, Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows: TypeAlias = NDArray[np.float64]  # rows x columns

SLICE_BYTES = 1 << 20  # of rows in hand at a time


class Info(Struct, frozen=True):
    """What the .npz says of its rows, as JSON in `info`."""

    device: str
    job: str
    name: str
    time: float  # seconds since the epoch: when it was stored
    rows: int
    sha256: str  # of all rows in C order, little-endian float64
    format: int = 1  # of the .npz


class Stored(Struct, frozen=True):
    """A result on disk."""

    path: Path  # the .npz
    csv: Path | None
    bytes: int  # of the .npz
    info: Info
    columns: tuple[str, ...]
    units: tuple[str, ...]
    meta: Mapping[str, Json]


def slices(rows: Rows, limit: int = SLICE_BYTES) -> Iterator[Rows]:
    """The rows in their order as C-contiguous little-endian float64, at most `limit` bytes (or one row) each."""
    import numpy as np  # noqa: PLC0415

    step = max(1, limit // max(1, rows.shape[1] * 8))
    for first in range(0, rows.shape[0], step):
        yield np.ascontiguousarray(rows[first : first + step], dtype="<f8")


def sha256_of(rows: Rows) -> str:
    """Of all rows in C order, little-endian float64. Blocks 0.1 s per 100 MB, or more by columns."""
    digest = hashlib.sha256()
    for piece in slices(rows):
        digest.update(piece.data)
    return digest.hexdigest()


# --- writing -------------------------------------------------------------------------------------------


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is complete and on disk, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_npz(file: IO[bytes], result: Result, info: Info) -> None:
    """Arrays `rows`, `columns`, `units`, and the JSON texts `meta`, `info`, for `numpy.load`. 0.2 s per 100 MB."""
    import numpy as np  # noqa: PLC0415

    texts = {
        "columns": result.columns,
        "units": result.units,
        "meta": msgspec.json.encode(result.meta).decode(),
        "info": msgspec.json.encode(info).decode(),
    }
    with zipfile.ZipFile(file, "w") as archive:  # not compressed: parts are read from where they lie
        with archive.open("rows.npy", "w", force_zip64=True) as member:
            member.write(npy_header(*result.rows.shape))
            for piece in slices(result.rows):
                member.write(piece.data)
        for name, text in texts.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.array(text, dtype=np.str_))


def npy_header(rows: int, columns: int) -> bytes:
    """The head of an .npy file (version 1.0) of float64 in C order, little-endian."""
    import io  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415

    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (rows, columns)})
    return head.getvalue()


def write_csv(file: IO[bytes], result: Result) -> None:
    """A header line `name [unit],…`, then the rows with every digit; `nan`, `inf`. 2 s per 100 MB of rows."""
    import csv  # noqa: PLC0415
    import io  # noqa: PLC0415

    head = io.StringIO(newline="")
    names = (f"{name} [{unit}]" if unit else name for name, unit in zip(result.columns, result.units, strict=True))
    csv.writer(head, lineterminator="\n").writerow(names)
    file.write(head.getvalue().encode())
    for piece in slices(result.rows, SLICE_BYTES // 8):
        file.write(_csv_lines(piece))


def _csv_lines(rows: Rows) -> bytes:
    import numpy as np  # noqa: PLC0415

    if rows.size and np.isfinite(rows).all():  # [[1.0,2.0],[3.0,4.0]]: nearly there, and 5 times as fast
        return msgspec.json.encode(rows.tolist())[2:-2].replace(b"],[", b"\n") + b"\n"
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


# --- reading -------------------------------------------------------------------------------------------


def read_stored(path: Path) -> Stored:
    """What an .npz of ours says of itself, without its rows: about 1 ms. ValueError: it is none of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = msgspec.json.decode(str(_member(archive, "info")), type=Info)
            columns, units = (tuple(_member(archive, name).tolist()) for name in ("columns", "units"))
            meta = msgspec.json.decode(str(_member(archive, "meta")))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} is not a result of ours: {error}") from error
    if info.format != 1:
        raise ValueError(f"{path.name} is of format {info.format}, not 1")
    csv = path.with_suffix(".csv")
    return Stored(path, csv if csv.exists() else None, path.stat().st_size, info, columns, units, meta)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[np.str_]:
    import numpy as np  # noqa: PLC0415

    with archive.open(f"{name}.npy") as member:
        array: NDArray[np.str_] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def mapped_rows(path: Path) -> Rows:
    """The rows where they lie in the .npz, read as they are used. ValueError: they do not lie there plainly."""
    import numpy as np  # noqa: PLC0415

    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo("rows.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{path.name} is compressed")
        file.seek(
            member.header_offset + 26
        )  # the local header ends with two lengths, the name and the extra field
        name_length = int.from_bytes(file.read(2), "little")
        extra_length = int.from_bytes(file.read(2), "little")
        file.seek(name_length + extra_length, os.SEEK_CUR)
        np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        if by_columns or dtype != np.dtype("<f8") or len(shape) != 2:
            raise ValueError(f"{path.name} was written by somebody else")
        if 0 in shape:  # nothing to map
            return np.zeros(shape)
        return np.memmap(path, dtype=dtype, mode="r", offset=file.tell(), shape=shape)


def rows_per_part(columns: int, limit: int) -> int:
    """How many rows fit in one .npy of at most `limit` bytes. ValueError: not even one."""
    fitting = (limit - len(npy_header(10**12, columns))) // max(1, columns * 8)
    if fitting < 1:
        raise ValueError(f"a part of {limit} bytes has no room for a row of {columns} columns")
    return fitting


def part_count(stored: Stored, limit: int) -> int:
    """How many parts of at most `limit` bytes the rows need; 0 without rows."""
    return -(-stored.info.rows // rows_per_part(len(stored.columns), limit))


def parts(stored: Stored, limit: int, first: int = 0) -> Iterator[bytes]:
    """The rows as complete .npy files of at most `limit` bytes each, from part `first` on.

    Each step reads at most `limit` bytes from disk: 1 ms per MB. A file deleted meanwhile is read to its end.
    """
    rows = mapped_rows(stored.path)
    step = rows_per_part(len(stored.columns), limit)
    for start in range(first * step, stored.info.rows, step):
        piece = rows[start : start + step]
        yield npy_header(*piece.shape) + piece.tobytes()


def manifest(stored: Stored, limit: int) -> dict[str, Json]:
    """What tells a reader of the parts what they are (CONTRACT.md, `data/{job}/manifest`)."""
    return {
        "job": stored.info.job,
        "name": stored.info.name,
        "parts": part_count(stored, limit),
        "rows": stored.info.rows,
        "columns": list(stored.columns),
        "units": list(stored.units),
        "sha256": stored.info.sha256,
        "file": stored.path.name,
        "bytes": stored.bytes,
        "meta": stored.meta,
    }
