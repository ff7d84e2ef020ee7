"""`health`: what it says of each kind of heartbeat, where it looks, and that it starts fast."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge.alive import NAME, Alive, Unreadable, write
from bridge.cli.health import main, place

FAST = 0.06  # seconds of processor time above Python's own start


def beat(pid: int = 0, age: float = 0.0, status: str = "1 of 1 instruments ready") -> Alive:
    return Alive(pid or os.getpid(), time.time(), time.monotonic() - age, 5.0, True, status, True, 1, 1)


def said(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["--file", str(path)])
    return code, capsys.readouterr().out


def test_a_daemon_that_lives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / NAME, beat())
    assert said(tmp_path / NAME, capsys) == (0, "healthy: 1 of 1 instruments ready\n")


def test_a_daemon_that_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / NAME, beat(age=21.0))
    code, out = said(tmp_path / NAME, capsys)
    assert code == 1
    assert out.startswith("unhealthy: the daemon")
    assert "has not moved for 21 s" in out


def test_a_daemon_that_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    write(tmp_path / NAME, beat(pid=int(ended.stdout)))
    code, out = said(tmp_path / NAME, capsys)
    assert (code, out) == (1, f"unhealthy: the daemon (process {int(ended.stdout)}) is gone\n")


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"pid": 1}', b"\xff"])
def test_what_is_no_heartbeat(content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        (tmp_path / NAME).write_bytes(content)
    code, out = said(tmp_path / NAME, capsys)
    assert code == 1
    assert out.startswith(f"unhealthy: {tmp_path}")
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize(
    ("environ", "configuration", "expected"),
    [
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, None, "/run/a/alive"),
        ({"LAB2MQTT_BRIDGE__STATE_DIR": "/srv/state"}, None, "/srv/state/alive"),
        ({}, '[bridge]\nid = "gw"\nstate_dir = "/srv/other"\n', "/srv/other/alive"),
        ({"LAB2MQTT_BRIDGE__STATE_DIR": "/srv/state"}, '[bridge]\nstate_dir = "/srv/other"\n', "/srv/state/alive"),
    ],
)
def test_where_it_looks(
    environ: Mapping[str, str], configuration: str | None, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "lab2mqtt.toml"
    if configuration is not None:
        file.write_text(configuration)
    assert place(None if configuration is None else file, environ) == Path(expected)


@pytest.mark.parametrize("configuration", ["", "bridge = 1", "[bridge]\nstate_dir = 1", "[bridge", None])
def test_where_nothing_says_where(configuration: str | None, tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    if configuration is not None:
        file.write_text(configuration)
    with pytest.raises(Unreadable):
        place(file, {})


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_the_command_itself(tmp_path: Path) -> None:
    write(tmp_path / NAME, beat())
    for arguments in (("health",), ("health", "--help")):
        ended = _run("-m", "bridge", *arguments, "--file", str(tmp_path / NAME))
        assert (ended.returncode, ended.stderr) == (0, "")
    wrong = _run("-m", "bridge", "health", "--nonsense")
    assert wrong.returncode == 64
    assert len(wrong.stderr.splitlines()) == 1


def test_it_imports_the_standard_library_only(tmp_path: Path) -> None:
    write(tmp_path / NAME, beat())
    program = (
        "import sys; from bridge.__main__ import main; sys.argv[1:] = ['health', '--file', sys.argv[1]]; "
        "code = main(); "
        "print(*(n for n in sys.modules if n.partition('.')[0] not in sys.stdlib_module_names)); sys.exit(code)"
    )
    ended = _run("-c", program, str(tmp_path / NAME))
    assert ended.returncode == 0, ended.stderr
    ours = {"bridge", "bridge.__main__", "bridge.alive", "bridge.cli", "bridge.cli.health", "__main__"}
    installed = {
        "_virtualenv",
        "_distutils_hack",
        "__editable___lab2mqtt_finder",
    }  # of the environment, at any start
    assert set(ended.stdout.splitlines()[-1].split()) <= ours | installed | {"sitecustomize", "usercustomize"}


def _processor_time(*arguments: str) -> float:
    """The least of some runs: what else the machine does counts little."""
    least = 1e9
    for _ in range(5):
        before = os.times()
        _run(*arguments)
        after = os.times()
        least = min(least, after.children_user + after.children_system - before[2] - before[3])
    return least


def test_it_starts_fast(tmp_path: Path) -> None:
    write(tmp_path / NAME, beat())
    health = _processor_time("-m", "bridge", "health", "--file", str(tmp_path / NAME))
    assert health - _processor_time("-c", "pass") < FAST
