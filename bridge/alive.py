"""The heartbeat file: what the daemon says of itself to whoever asks often and must be cheap (`lab2mqtt health`).

One JSON line, written anew every few seconds and only while the daemon makes progress, so that a file that grows
old is the news. It lies in systemd's RUNTIME_DIRECTORY, else in the state directory, and is removed at the end.
Standard library only, and nothing of the rest of `bridge`: a health check must not pay for the daemon's imports.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "alive"
INTERVAL = 5.0  # seconds between two beats
MISSED = 4  # so many intervals without one, and the daemon hangs

# Where others may write, too: neither through a link of theirs, nor waiting for a reader of their pipe.
_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unreadable(Exception):
    """There is no heartbeat: no such file, or it is none of ours. One sentence, for a person."""


@dataclass(frozen=True, slots=True)
class Alive:
    """How the daemon was at `at`. A broker or an instrument that is away is no fault of the daemon."""

    pid: int
    at: float  # wall time, seconds since the epoch
    monotonic: float  # seconds of CLOCK_MONOTONIC, which all processes of a machine share
    interval: float  # seconds until the next beat
    ready: bool  # the configuration is valid and the tasks run; false while it stops
    status: str  # one line: "3 of 4 instruments ready, broker connected"
    broker: bool  # connected
    devices: int  # configured and enabled
    devices_ready: int

    def age(self, monotonic: float | None = None) -> float:
        """Seconds since it was written; negative: the machine was restarted in between."""
        return (time.monotonic() if monotonic is None else monotonic) - self.monotonic

    def stale(self, monotonic: float | None = None) -> str:
        """Why the daemon does not live any more; "" when it does. The wall clock plays no part: it may be set."""
        age = self.age(monotonic)
        if age < 0:
            return "it was written before this machine was started"
        if age > MISSED * self.interval:
            return f"the daemon (process {self.pid}) has not moved for {age:.0f} s"
        return ""


def place(state_dir: Path | None, environ: Mapping[str, str] | None = None) -> Path | None:
    """Where the file is; None: there is no directory for it."""
    environ = os.environ if environ is None else environ
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # systemd joins several with colons
    directory = Path(given) if given else state_dir
    return None if directory is None else directory / NAME


def write(path: Path, beat: Alive) -> None:
    """Replace the file as a whole; OSError when that fails. Not synced: after a power cut it is worth nothing."""
    draft = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(draft, _ANEW, 0o644), "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(beat)) + "\n")
    draft.replace(path)


def remove(path: Path) -> None:
    """At the end of the daemon; nothing happens when there is none."""
    with suppress(OSError):
        path.unlink()


def read(path: Path) -> Alive:
    """The last beat; Unreadable when there is none. Whether it is recent: `Alive.stale`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        beat = Alive(**{name: found[name] for name in Alive.__slots__})
        if type(beat.pid) is not int or not 0 < beat.pid < 1 << 31:
            raise ValueError("no process")
        if not all(math.isfinite(number) for number in (beat.monotonic, beat.interval)):
            raise ValueError("no time")
        return beat
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}: does the daemon run?") from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Unreadable(f"{path} is no heartbeat of lab2mqtt") from None
