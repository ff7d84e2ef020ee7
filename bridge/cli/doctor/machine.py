"""This machine: versions, clock, the state directory and its journal. Nothing of a running daemon's is touched."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import getpass
import os
import sqlite3
import struct
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from time import gmtime, time
from urllib.parse import quote

from bridge import __version__, alive
from bridge.cli.doctor.findings import Finding
from bridge.journal_file import NAME as JOURNAL
from bridge.journal_file import SCHEMA

MADE = 2026  # the year this program was made
ROOM, FULL = 100 << 20, 1 << 20  # bytes
TRIAL = 64 << 10  # bytes written to see whether it can be done
_UNSYNCHRONISED = 5  # what adjtimex returns: TIME_ERROR
_RUNTIME = Path("/run/lab2mqtt")
_TIMESYNC = Path("/run/systemd/timesync/synchronized")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Where SQLite locks a database (its file format, "Locking"): the shared range behind the pending byte.
_SHARED, _LENGTH = 0x40000002, 510
_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, pid


def versions() -> Finding:
    used = ", ".join(f"{name} {version(name)}" for name in ("paho-mqtt", "websockets", "pydantic", "msgspec"))
    return Finding(
        "machine.versions",
        "machine",
        f"lab2mqtt {__version__}, Python {python_version()}, {used}, SQLite {sqlite3.sqlite_version}",
    )


def clock() -> Finding:
    """The contract's times and the 30 s allowed for `sent` lean on it."""
    if (year := gmtime(time()).tm_year) < MADE:
        return Finding(
            "clock.year",
            "clock",
            f"this machine's clock stands in the year {year}: set it, and let something keep it right "
            "(systemd-timesyncd, chrony)",
        )
    if _TIMESYNC.exists() or _adjtimex() not in (_UNSYNCHRONISED, None):
        return Finding("clock.ok", "clock", "the clock is synchronised")
    return Finding(
        "clock.unsynchronised",
        "clock",
        "the kernel does not say that the clock is synchronised: if nothing on this machine (or the host of "
        "this container) does it, start systemd-timesyncd or chrony",
    )


def _adjtimex() -> int | None:
    """The state of the kernel's clock, only read; None where that is forbidden."""
    buffer = ctypes.create_string_buffer(512)  # struct timex with modes = 0; it has 208 bytes
    try:
        state = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None


# --- the state directory ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the journal: another process (pid 0: in another container)."""

    pid: int


def state(directory: Path | None) -> tuple[list[Finding], Holder | None]:
    """What is wrong with it, and who uses it now."""
    if directory is None:
        return [
            Finding("state.absent", "state", "bridge.state_dir is not given: what must survive a restart does not")
        ], None
    journal = directory / JOURNAL
    try:
        if (problem := _directory(directory)) is not None:
            return [problem], None
        if not journal.exists():
            return [Finding("state.ok", "state", f"{directory} can be used; there is no journal yet")], None
        holder = _holder(journal)
    except OSError as error:
        return [_unwritable(directory, error)], None
    if holder is not None:
        return [], holder
    return [_integrity(journal)], None


def _directory(directory: Path) -> Finding | None:
    if not directory.is_dir():
        parent = next(folder for folder in directory.parents if folder.exists())
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return Finding("state.ok", "state", f"{directory} does not exist yet and will be made")
        return Finding(
            "state.missing",
            "state",
            f"{directory} does not exist and {getpass.getuser()} cannot make it in {parent}: make it, owned by "
            "the bridge's user",
        )
    try:
        with tempfile.TemporaryFile(prefix=".doctor-", dir=directory) as file:
            file.write(bytes(TRIAL))
            file.flush()
    except OSError as error:
        if error.errno in _NO_SPACE:
            return _full(directory)
        return _unwritable(directory, error)
    system = os.statvfs(directory)
    free = system.f_bavail * system.f_frsize
    if free < FULL:
        return _full(directory)
    if free < ROOM:
        return Finding(
            "state.space",
            "state",
            f"only {free >> 20} MiB are free in {directory}: results may find no room; make some",
        )
    return None


def _full(directory: Path) -> Finding:
    return Finding(
        "state.full",
        "state",
        f"there is no space left in {directory}: the journal and results cannot be kept; make room there",
    )


def _unwritable(directory: Path, error: OSError) -> Finding:
    return Finding(
        "state.unwritable",
        "state",
        f"{getpass.getuser()} cannot write in {directory} ({error.strerror}): give it to the bridge's user "
        "(chown), or run the doctor as that user",
    )


def _holder(journal: Path) -> Holder | None:
    """Asks the kernel for SQLite's lock; opening the database could leave files of our own beside it."""
    with journal.open("rb") as file:
        wish = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _SHARED, _LENGTH, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, wish))
    return None if kind == fcntl.F_UNLCK else Holder(max(pid, 0))


def has_journal(directory: Path) -> bool:
    """A daemon has used this directory."""
    return (directory / JOURNAL).exists()


def disconnected(holder: Holder, directory: Path) -> bool:
    """The daemon that holds the journal says itself that it has no connection to the broker."""
    for path in (directory / alive.NAME, _RUNTIME / alive.NAME):
        try:
            beat = alive.read(path)
        except alive.Unreadable:
            continue
        if beat.pid == holder.pid and not beat.stale():
            return not beat.broker
    return False


def _integrity(journal: Path) -> Finding:
    """Of a file that nobody uses; `immutable`: nothing is created or written beside it."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(journal))}?immutable=1", uri=True)
        try:
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            (word,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return _damaged(journal, str(error))
    if word != "ok":
        return _damaged(journal, word)
    if schema not in (0, SCHEMA):
        return _damaged(journal, f"its schema is {schema}, not {SCHEMA}")
    return Finding("state.ok", "state", f"{journal.parent} can be used, and the journal is sound")


def _damaged(journal: Path, why: str) -> Finding:
    return Finding(
        "state.damaged",
        "state",
        f"the journal {journal} cannot be read ({why}): the daemon will set it aside and begin anew; look at the "
        "disk",
    )


def held(holder: Holder, *, online: bool | None) -> Finding:
    """`online`: a daemon with our id is, as the broker says; None: the broker could not be asked."""
    who = f"process {holder.pid}" if holder.pid else "a process in another container"
    if online:
        return Finding("state.in_use", "state", f"the journal is in use by {who}: the running daemon")
    if online is None:
        return Finding("state.in_use", "state", f"the journal is in use by {who}, probably the daemon")
    return Finding(
        "state.locked",
        "state",
        f"{who} holds the journal, and no daemon with this id is online: end it, or give each bridge a "
        "bridge.state_dir of its own",
    )
