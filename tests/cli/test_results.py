"""`results`: what is stored is listed, found by its names, and copied byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.cli.main import main
from bridge.model import Result
from bridge.results import Limits, Stored, store
from tests.cli.running import run

NOW = 1_795_255_200.0  # 2026-11-21T10:00:00Z
ROOMY = Limits(age=None, free=0)
NOT_FOUND = 10


def stored(
    directory: Path, job: str = "3127", name: str = "CV slow", later: float = 0.0, csv: bool = True
) -> Stored:
    rows = np.arange(8.0).reshape(4, 2) + later
    result = Result(job, name, ("time", "voltage"), ("s", "V"), rows, {})
    return store(directory, "cell", result, NOW + later, ROOMY, csv=csv)


@pytest.fixture
def configured(tmp_path: Path) -> tuple[Path, Path]:
    """A configuration file, and where its results are."""
    file = tmp_path / "lab2mqtt.toml"
    file.write_text(f'[bridge]\nid = "gw"\nstate_dir = "{tmp_path / "state"}"\n[mqtt]\nhost = "127.0.0.1"\n')
    return file, tmp_path / "state" / "results"


def test_all_results_are_listed(configured: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    file, directory = configured
    assert main(["results", "list", "-c", str(file)]) == 0
    assert capsys.readouterr().out == "no results\n"
    first, second = stored(directory), stored(directory, "9", "a\x1b[2J\n", 60.0)
    (directory / "20261121T100000Z_cell_broken_1.npz").write_bytes(b"not ours")
    assert main(["results", "list", "-c", str(file)]) == 0
    by_configuration = capsys.readouterr().out
    assert main(["results", "list", "--dir", str(directory)]) == 0
    assert capsys.readouterr().out == by_configuration
    heading, *lines = by_configuration.splitlines()
    assert heading.split() == ["TIME", "DEVICE", "JOB", "NAME", "ROWS", "COLUMNS", "BYTES", "FILE"]
    assert [line.split() for line in lines] == [
        ["2026-11-21T10:00:00Z", "cell", "3127", "CV", "slow", "4", "2", str(first.bytes), first.path.name],
        ["2026-11-21T10:01:00Z", "cell", "9", "a?[2J?", "4", "2", str(second.bytes), second.path.name],
    ]


@pytest.mark.parametrize("csv", [False, True], ids=["npz", "csv"])
def test_a_result_is_copied_byte_for_byte(
    csv: bool, configured: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, directory = configured
    one = stored(directory)
    source = one.path.with_suffix(".csv") if csv else one.path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    targets = {(): source.name, ("-o", str(tmp_path)): f"../{source.name}", ("-o", "named"): "named"}
    for output, target in targets.items():
        get = ["results", "get", "-c", str(file), one.path.name, *output, *(["--csv"] if csv else [])]
        assert main(get) == 0
        assert (elsewhere / target).read_bytes() == source.read_bytes()


def test_a_result_has_several_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, other = stored(tmp_path), stored(tmp_path, later=60.0), stored(tmp_path, "9", "rest", 90.0)
    out = tmp_path / "out"
    get = ["results", "get", "--dir", str(tmp_path), "-o", str(out)]
    for name, found in {"3127": new, old.path.name: old, old.path.stem: old, "rest": other}.items():
        assert main([*get, name]) == 0
        assert out.read_bytes() == found.path.read_bytes()
        assert capsys.readouterr().out == f"{out}\n"


def test_what_cannot_be_had_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = stored(tmp_path, csv=False), stored(tmp_path, "9", later=60.0)
    get = ["results", "get", "--dir", str(tmp_path)]
    said = {
        ("nothing",): (NOT_FOUND, "no result is called 'nothing'"),
        ("CV-slow",): (NOT_FOUND, f"'CV-slow' fits {one.path.stem}, {two.path.stem}"),
        ("3127", "--csv"): (NOT_FOUND, f"{one.path.stem} has no CSV: there was no room for it"),
        ("9", "-o", str(tmp_path / "no" / "where")): (1, "No such file or directory"),
        ("9", "-o", str(two.path)): (1, "same file"),
    }
    for arguments, (code, words) in said.items():
        assert main([*get, *arguments]) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        assert words in printed.err
        assert len(printed.err.splitlines()) == 1


def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forgetful = tmp_path / "forgetful.toml"
    forgetful.write_text('[bridge]\nid = "gw"\n[mqtt]\nhost = "127.0.0.1"\n')
    said = {
        ("list", "--dir", str(tmp_path / "away")): "is no directory",
        ("list", "-c", str(forgetful)): "no bridge.state_dir",
        ("get", "--dir", str(tmp_path)): "NAME",
        (): "ACTION",
    }
    for arguments, words in said.items():
        with pytest.raises(SystemExit, match="64"):
            main(["results", *arguments])
        assert words in capsys.readouterr().err


@pytest.mark.asyncio
async def test_a_result_goes_to_standard_output(tmp_path: Path) -> None:
    one = stored(tmp_path)
    assert one.csv is not None
    ended = await run("results", "get", "--dir", str(tmp_path), "3127", "--csv", "-o", "-")
    assert (ended.code, ended.out, ended.err) == (0, one.csv.read_text(), "")
