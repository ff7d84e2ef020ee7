"""Complete results in their directory: each one stored once, found again, and kept within limits.

Plain blocking functions without asyncio; the caller runs them in a thread or a worker process. Only files
whose names are of our making are ever deleted.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from calendar import timegm
from pathlib import Path
from time import gmtime, strftime, strptime

from msgspec import Struct

from bridge.model import Result
from bridge.results_files import (
    Info,
    Stored,
    manifest,
    part_count,
    parts,
    read_stored,
    sha256_of,
    write_csv,
    write_npz,
    written_whole,
)

__all__ = (
    "DIRECTORY", "Limits", "Stored", "find", "listed", "make_room", "manifest", "part_count", "parts", "store",
)  # fmt: skip

DIRECTORY = "results"  # in the state directory
_STAMP = "%Y%m%dT%H%M%SZ"
_OURS = re.compile(r"(?P<stem>(?P<stamp>\d{8}T\d{6}Z)_[A-Za-z0-9._-]+)\.(?:npz|csv)")
_TEMPORARY = re.compile(r"\.\d{8}T\d{6}Z_[A-Za-z0-9._-]+\.(?:npz|csv)\.\d+\.tmp")
_DAY = 86_400.0


class Limits(Struct, frozen=True):
    """How much is kept; over any of them the oldest go. None: no limit."""

    age: float | None = 90 * _DAY  # seconds
    bytes: int | None = 10 << 30  # of all results together
    free: int = 512 << 20  # bytes of the file system that stay free


_DEFAULT = Limits()


def store(
    directory: Path, device: str, result: Result, now: float, limits: Limits = _DEFAULT, *, csv: bool = True
) -> Stored:
    """Write the result, unless the same rows of the same job are there already: then those are returned.

    `now`: seconds since the epoch; it begins the name, so that names sort by time. Room is made before, the limits
    are kept afterwards. ValueError: not one name and unit per column. OSError: the disk takes no more, and nothing
    is left behind; when only the CSV found no room, `csv` of the answer is None.
    Blocks 0.3 s per 100 MB without CSV and 2.5 s with it; another thread then waits up to 10 ms for the GIL, so
    call it in a thread at least. One call at a time for a directory.
    """
    if not (result.rows.ndim == 2 and result.rows.shape[1] == len(result.columns) == len(result.units)):
        raise ValueError(f"{result.rows.shape} rows, {len(result.columns)} columns, {len(result.units)} units")
    directory.mkdir(parents=True, exist_ok=True)
    sha256 = sha256_of(result.rows)
    if (path := _same(directory, device, result.job, sha256)) is None:
        make_room(directory, now, limits, needed=result.rows.nbytes * (4 if csv else 1))
        path = _unused(directory, device, result, now)
        info = Info(device, result.job, result.name, now, result.rows.shape[0], sha256)
        with written_whole(path) as file:
            write_npz(file, result, info)
    if csv and not path.with_suffix(".csv").exists():
        with contextlib.suppress(OSError), written_whole(path.with_suffix(".csv")) as file:
            write_csv(file, result)
    make_room(directory, now, limits, keep=path.stem)
    return read_stored(path)


def _same(directory: Path, device: str, job: str, sha256: str) -> Path | None:
    """The file of the same rows of the same job: a result that is fetched again is on disk once."""
    for path in directory.glob(f"*_{_plain(job)}*.npz"):
        with contextlib.suppress(ValueError, OSError):
            stored = read_stored(path)
            if (stored.info.device, stored.info.job, stored.info.sha256) == (device, job, sha256):
                return path
    return None


def _unused(directory: Path, device: str, result: Result, now: float) -> Path:
    words = (strftime(_STAMP, gmtime(now)), _plain(device), _plain(result.name), _plain(result.job))
    stem = "_".join(filter(None, words))
    path, number = directory / f"{stem}.npz", 1
    while path.exists():
        number += 1
        path = directory / f"{stem}-{number}.npz"
    return path


def _plain(text: str) -> str:
    """What any file system, shell and spreadsheet takes as part of a name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:60]


# --- keeping the limits --------------------------------------------------------------------------------


def make_room(
    directory: Path, now: float, limits: Limits = _DEFAULT, *, needed: int = 0, keep: str | None = None
) -> list[str]:
    """Delete the oldest results over the limits, except `keep`; their names without ending. Milliseconds.

    `needed`: bytes that are about to be written. For free space nothing is deleted that would be deleted in vain.
    """
    _remove_leftovers(directory, now)
    groups = {stem: files for stem, files in _groups(directory).items() if stem != keep}
    sizes = {stem: sum(file.stat().st_size for file in files) for stem, files in groups.items()}
    total = sum(file.stat().st_size for files in _groups(directory).values() for file in files) + needed
    lacking = limits.free + needed - shutil.disk_usage(directory).free
    if lacking > sum(sizes.values()):
        lacking = 0
    removed = []
    for stem, files in groups.items():  # the oldest first
        too_old = limits.age is not None and _time_of(stem) < now - limits.age
        if not (too_old or lacking > 0 or (limits.bytes is not None and total > limits.bytes)):
            break
        for file in files:
            file.unlink(missing_ok=True)
        total -= sizes[stem]
        lacking -= sizes[stem]
        removed.append(stem)
    return removed


def _groups(directory: Path) -> dict[str, list[Path]]:
    """The files of each result, by their common name, the oldest first."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(directory.iterdir()):
        if match := _OURS.fullmatch(path.name):
            groups.setdefault(match["stem"], []).append(path)
    return groups


def _time_of(stem: str) -> float:
    try:
        return timegm(strptime(stem.partition("_")[0], _STAMP))
    except ValueError:  # the 31st of February
        return 0.0


def _remove_leftovers(directory: Path, now: float) -> None:
    """Half-written files of a killed process; when younger than a day somebody may still be writing them."""
    for path in directory.iterdir():
        if _TEMPORARY.fullmatch(path.name) and path.stat().st_mtime < now - _DAY:
            path.unlink(missing_ok=True)


# --- looking them up -----------------------------------------------------------------------------------


def listed(directory: Path) -> list[Stored]:
    """All that can be read, the oldest first; about 1 ms each."""
    stored = []
    for path in sorted(directory.glob("*.npz")) if directory.is_dir() else ():
        with contextlib.suppress(ValueError, OSError):
            stored.append(read_stored(path))
    return stored


def find(directory: Path, name: str) -> Stored:
    """By file name, by job (then the newest), or by a part of one name only. LookupError: none, or many."""
    stored = listed(directory)
    exact = [one for one in stored if name in (one.info.job, one.path.name, one.path.stem)]
    if exact:
        return exact[-1]
    match [one for one in stored if name in one.path.stem]:
        case [one]:
            return one
        case []:
            raise LookupError(f"no result is called {name!r}")
        case several:
            raise LookupError(f"{name!r} fits {', '.join(one.path.stem for one in several)}")
