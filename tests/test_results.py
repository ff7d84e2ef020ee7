"""Results on disk: complete or absent, once, found again, in parts, and within limits."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import math
import os
import resource
import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from bridge.model import Result
from bridge.results import Limits, find, listed, make_room, manifest, parts, store
from bridge.results_files import mapped_rows, part_count, read_stored, written_whole

NOW = 1_795_255_200.0  # 2026-11-21T10:00:00Z
DAY = 86_400.0
ROOMY = Limits(free=0)


def result(rows: NDArray[np.float64] | None = None, job: str = "job-1", name: str = "CV slow") -> Result:
    if rows is None:
        rows = np.arange(12.0).reshape(6, 2)
    columns = tuple(f"c{number}" for number in range(rows.shape[1]))
    return Result(job, name, columns, ("V",) * len(columns), rows, {"sample": "Ω 7", "rate": math.nan})


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def csv_rows(path: Path) -> list[list[float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]


tables = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)) | st.builds(
    np.zeros, st.tuples(st.just(0), st.integers(1, 4))
)


@settings(max_examples=60, deadline=None)
@given(rows=tables, by_columns=st.booleans(), limit=st.integers(500, 3000), with_csv=st.booleans())
def test_what_is_stored_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: NDArray[np.float64],
    by_columns: bool,
    limit: int,
    with_csv: bool,
) -> None:
    directory = tmp_path_factory.mktemp("results")
    ordered = np.asfortranarray(rows) if by_columns else rows
    stored = store(directory, "cell", result(ordered), NOW, ROOMY, csv=with_csv)

    with np.load(stored.path) as archive:
        assert archive["rows"].tobytes() == rows.tobytes()
        assert archive["columns"].tolist() == list(stored.columns)
    assert stored.info.sha256 == hashlib.sha256(rows.tobytes()).hexdigest()
    pieces = list(parts(stored, limit))
    assert all(len(piece) <= limit for piece in pieces)
    loaded = [np.load(io.BytesIO(piece)) for piece in pieces]
    assert b"".join(piece.tobytes() for piece in loaded) == rows.tobytes()
    assert all(piece.dtype == np.float64 and piece.flags.c_contiguous for piece in loaded)
    assert len(pieces) == part_count(stored, limit) == manifest(stored, limit)["parts"]
    assert list(parts(stored, limit, 1)) == pieces[1:]
    if with_csv:
        assert stored.csv is not None
        assert np.array_equal(np.array(csv_rows(stored.csv)).reshape(rows.shape), rows, equal_nan=True)
    shutil.rmtree(directory)


def test_the_manifest_and_the_names(tmp_path: Path) -> None:
    stored = store(tmp_path / "new", "cell", result(), NOW, ROOMY)
    assert names(tmp_path / "new") == [f"20261121T100000Z_cell_CV-slow_job-1.{kind}" for kind in ("csv", "npz")]
    assert manifest(stored, 1000) == {
        "job": "job-1",
        "name": "CV slow",
        "parts": 1,
        "rows": 6,
        "columns": ["c0", "c1"],
        "units": ["V", "V"],
        "sha256": hashlib.sha256(np.arange(12.0).tobytes()).hexdigest(),
        "file": "20261121T100000Z_cell_CV-slow_job-1.npz",
        "bytes": stored.path.stat().st_size,
        "meta": {"sample": "Ω 7", "rate": None},
    }
    assert stored.csv is not None
    assert stored.csv.read_text().splitlines()[:2] == ["c0 [V],c1 [V]", "0.0,1.0"]


@settings(max_examples=60, deadline=None)
@given(job=st.text(), name=st.text())
def test_no_job_and_no_name_leads_out_of_the_directory(
    tmp_path_factory: pytest.TempPathFactory, job: str, name: str
) -> None:
    directory = tmp_path_factory.mktemp("results") / "in"
    stored = store(directory, "cell", result(job=job, name=name), NOW, ROOMY, csv=False)
    assert stored.path.parent == directory
    assert names(directory) == [stored.path.name]
    assert stored.path.name.isascii()
    assert (stored.info.job, stored.info.name) == (job, name)
    assert store(directory, "cell", result(job=job, name=name), NOW + 5, ROOMY, csv=False) == stored
    shutil.rmtree(directory.parent)


@pytest.mark.parametrize("job", ["../../etc/passwd", "/etc/x", "..", ".", "", "a/b", "x" * 400, "ö*?[a]"])
def test_bad_names(tmp_path: Path, job: str) -> None:
    stored = store(tmp_path / "in", "cell", result(job=job, name=job), NOW, ROOMY)
    assert stored.path.parent == tmp_path / "in"
    assert find(tmp_path / "in", stored.path.name) == stored


def test_a_quoted_header(tmp_path: Path) -> None:
    odd = Result("1", "n", ('a,"b', "c"), ("", "%"), np.array([[math.inf, -0.0], [math.nan, -math.inf]]))
    stored = store(tmp_path, "cell", odd, NOW, ROOMY)
    assert stored.csv is not None
    assert stored.csv.read_text() == '"a,""b",c [%]\ninf,-0.0\nnan,-inf\n'


def test_a_repeated_result_is_on_disk_once(tmp_path: Path) -> None:
    first = store(tmp_path, "cell", result(), NOW, ROOMY)
    written = first.path.stat().st_mtime_ns
    assert store(tmp_path, "cell", result(), NOW + 60, ROOMY) == first
    assert first.path.stat().st_mtime_ns == written
    assert first.csv is not None
    first.csv.unlink()  # as after a crash between the two
    assert store(tmp_path, "cell", result(), NOW + 60, ROOMY) == first
    assert len(names(tmp_path)) == 2
    longer = store(tmp_path, "cell", result(np.zeros((7, 2))), NOW, ROOMY)  # the same job, other rows
    other = store(tmp_path, "cell2", result(), NOW, ROOMY)
    assert longer.path.stem == first.path.stem + "-2"
    assert [one.path for one in listed(tmp_path)] == sorted([first.path, longer.path, other.path])


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 columns"):
        store(tmp_path, "cell", Result("1", "n", ("a", "b", "c"), ("", "", ""), np.zeros((4, 2))), NOW)
    stored = store(tmp_path, "cell", result(np.zeros((4, 100))), NOW, ROOMY)
    with pytest.raises(ValueError, match="no room for a row"):
        next(parts(stored, 900))


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            store(tmp_path, "cell", result(np.zeros((1000, 2))), NOW, ROOMY)
        assert names(tmp_path) == []
        without_csv = store(tmp_path, "cell", result(np.full((500, 2), 1 / 3)), NOW, ROOMY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert without_csv.csv is None
    assert names(tmp_path) == [without_csv.path.name]


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    with contextlib.suppress(KeyboardInterrupt), written_whole(tmp_path / "x") as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_parts_outlive_their_file(tmp_path: Path) -> None:
    stored = store(tmp_path, "cell", result(np.ones((1000, 2))), NOW, ROOMY)
    reading = parts(stored, 4000)
    first = next(reading)
    stored.path.unlink()
    assert len([first, *reading]) == part_count(stored, 4000)


def test_strangers_are_not_ours(tmp_path: Path) -> None:
    stored = store(tmp_path, "cell", result(), NOW, ROOMY)
    whole = stored.path.read_bytes()
    strangers = {"empty": b"", "text": b"hello", "half": whole[: len(whole) // 2], "no-info": b""}
    for name, content in strangers.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    np.savez(tmp_path / "no-info.npz", rows=np.zeros((2, 2)))
    for name in strangers:
        with pytest.raises(ValueError, match=r"is not a result of ours"):
            read_stored(tmp_path / f"{name}.npz")
    np.savez_compressed(tmp_path / "compressed.npz", rows=np.zeros((2, 2)))
    np.savez(tmp_path / "by-columns.npz", rows=np.zeros((2, 3), order="F"))
    for name in ("compressed", "by-columns"):
        with pytest.raises(ValueError, match=r"compressed|somebody else"):
            mapped_rows(tmp_path / f"{name}.npz")
    assert listed(tmp_path) == [stored]
    assert listed(tmp_path / "nowhere") == []


def test_finding(tmp_path: Path) -> None:
    old, new = (store(tmp_path, "cell", result(np.full((2, 2), n), "7"), NOW + n, ROOMY) for n in (1.0, 2.0))
    other = store(tmp_path, "cell", result(job="8", name="eis"), NOW, ROOMY)
    assert find(tmp_path, "7") == new
    assert find(tmp_path, old.path.stem) == old
    assert find(tmp_path, "eis") == other
    with pytest.raises(LookupError, match="is called"):
        find(tmp_path, "9999")
    with pytest.raises(LookupError, match=r"fits .*, .*"):
        find(tmp_path, "CV")


# --- limits --------------------------------------------------------------------------------------------


def stored_days(directory: Path, days: int) -> list[str]:
    return [
        store(directory, "cell", result(job=str(day)), NOW + day * DAY, ROOMY).path.stem for day in range(days)
    ]


def test_the_old_go_and_strangers_stay(tmp_path: Path) -> None:
    stems = stored_days(tmp_path, 5)
    strangers = ["notes.txt", "20200101T000000Z.npz", "20200101T000000Z_x.dat", "mine.csv"]
    for stranger in strangers:
        (tmp_path / stranger).write_text("")
    left = tmp_path / ".20200101T000000Z_x.npz.1.tmp"
    left.write_text("")
    os.utime(left, (NOW, NOW))
    (tmp_path / ".20200101T000000Z_y.npz.1.tmp").write_text("")
    os.utime(tmp_path / ".20200101T000000Z_y.npz.1.tmp", (NOW + 4 * DAY, NOW + 4 * DAY))
    assert make_room(tmp_path, NOW + 4 * DAY, Limits(age=2.5 * DAY, free=0)) == stems[:2]
    assert not left.exists()
    kept = [f"{stem}.{kind}" for stem in stems[2:] for kind in ("csv", "npz")]
    assert names(tmp_path) == sorted([*kept, *strangers, ".20200101T000000Z_y.npz.1.tmp"])


def test_the_limit_in_bytes_never_takes_the_one_just_written(tmp_path: Path) -> None:
    stems = stored_days(tmp_path, 4)
    size = sum(path.stat().st_size for path in tmp_path.glob(f"{stems[0]}.*"))
    assert make_room(tmp_path, NOW, Limits(bytes=3 * size + 100, free=0), needed=size) == stems[:2]
    assert make_room(tmp_path, NOW, Limits(bytes=0, free=0), keep=stems[2]) == stems[3:]
    stored = store(tmp_path, "cell", result(job="new"), NOW - 50 * DAY, Limits(age=1.0, bytes=0, free=0))
    assert [one.path for one in listed(tmp_path)] == [stored.path]


def test_free_space_is_made_unless_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stems = stored_days(tmp_path, 4)
    size = sum(path.stat().st_size for path in tmp_path.glob(f"{stems[0]}.*"))
    capacity = 4 * size + 1000  # a disk of our own

    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=capacity - sum(file.stat().st_size for file in tmp_path.iterdir()))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert make_room(tmp_path, NOW, Limits(free=1000)) == []
    assert make_room(tmp_path, NOW, Limits(free=1000 + size)) == stems[:1]
    assert make_room(tmp_path, NOW, Limits(free=1000), needed=2 * size) == stems[1:2]
    assert make_room(tmp_path, NOW, Limits(free=capacity + 1)) == []  # the disk is full of something else


def test_memory_stays_small(tmp_path: Path) -> None:
    rows = np.asfortranarray(np.random.default_rng(1).normal(size=(100_000, 8)))  # 6.4 MB, by columns
    tracemalloc.start()
    try:
        stored = store(tmp_path, "cell", result(rows), NOW, ROOMY)
        assert sum(len(part) for part in parts(stored, 250_000)) > rows.nbytes
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
