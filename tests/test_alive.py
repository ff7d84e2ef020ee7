"""The heartbeat file: written as a whole, read without the rest of the package, and old when nobody writes it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bridge import alive

BEAT = alive.Alive(
    pid=4711,
    at=1.7e9,
    monotonic=100.0,
    interval=5.0,
    ready=True,
    status="3 of 4 instruments ready, broker connected",
    broker=True,
    devices=4,
    devices_ready=3,
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    alive.write(tmp_path / "alive", BEAT)
    alive.write(tmp_path / "alive", replace(BEAT, devices_ready=4))
    assert alive.read(tmp_path / "alive") == replace(BEAT, devices_ready=4)
    assert [path.name for path in tmp_path.iterdir()] == ["alive"]
    assert (tmp_path / "alive").read_text().count("\n") == 1


def test_a_beat_is_good_for_four_intervals() -> None:
    assert BEAT.stale(100.0) == BEAT.stale(120.0) == ""
    assert "4711" in BEAT.stale(120.1)
    assert "not moved for 60 s" in BEAT.stale(160.0)


def test_a_beat_of_before_the_machines_start_is_none() -> None:
    assert "before this machine was started" in BEAT.stale(40.0)


def changed(**fields: object) -> str:
    return json.dumps(asdict(BEAT) | fields)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "3", '{"pid": 1}', "no JSON", "\0", "[" * 100_000, changed(pid="1"), changed(pid=-1),
        changed(pid=10**30), changed(monotonic="x"), changed(monotonic=math.nan), changed(interval=10**400),
    ],
)  # fmt: skip
def test_what_is_no_heartbeat_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "alive").write_text(text)
    with pytest.raises(alive.Unreadable, match="is no heartbeat"):
        alive.read(tmp_path / "alive")


@pytest.mark.parametrize("make", [lambda path, other: path.symlink_to(other), lambda path, other: os.mkfifo(path)])
def test_who_may_write_there_too_cannot_have_another_file_written(
    tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "precious").write_text("mine")
    make(tmp_path / ".alive.new", tmp_path / "precious")
    with pytest.raises(OSError, match=r"\.alive\.new"):
        alive.write(tmp_path / "alive", BEAT)
    assert (tmp_path / "precious").read_text() == "mine"


def test_no_file_is_no_daemon(tmp_path: Path) -> None:
    alive.remove(tmp_path / "alive")
    with pytest.raises(alive.Unreadable, match=r"No such file.*does the daemon run\?"):
        alive.read(tmp_path / "alive")


def test_it_lies_in_the_runtime_directory_and_else_in_the_state_directory(tmp_path: Path) -> None:
    assert alive.place(tmp_path, {"RUNTIME_DIRECTORY": "/run/lab2mqtt:/run/other"}) == Path("/run/lab2mqtt/alive")
    assert alive.place(tmp_path, {}) == tmp_path / "alive"
    assert alive.place(None, {}) is None


def test_reading_it_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, bridge.alive; print(*sorted(m for m in sys.modules if m.startswith('bridge')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["bridge", "bridge.alive"]
