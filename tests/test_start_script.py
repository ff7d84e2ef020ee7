"""The start script `lab2mqtt`: which Python it takes, when it installs, what it runs, and how it complains.

Python, pip and apt-get are stand-ins here, so that nothing is downloaded; CI runs the real ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import bridge

TOP = Path(bridge.__file__).parent.parent

# What every Python answers, and what is found in an environment made by it.
PYTHON = """#!/bin/sh
case "$*" in
    "-c import ensurepip"*) [ -e "$STATE/venv-module" ] && [ -e "$STATE/python" ] ;;
    "-c import sys"*) [ -e "$STATE/python" ] ;;
    -V) echo Python 3.11.2 ;;
    "-m venv --clear "*)
        echo "venv" >>"$STATE/log"
        mkdir -p "$4/bin"
        cp "$0" "$4/bin/python"
        for tool in lab2mqtt ruff mypy; do
            printf '#!/bin/sh\\necho "%s $* in $PWD"\\n[ ! -e "$STATE/broken-%s" ]\\n' $tool $tool >"$4/bin/$tool"
            chmod +x "$4/bin/$tool"
        done ;;
    "-m pip --version") ;;
    "-m pip install "*)
        echo "$*" >>"$STATE/log"
        [ ! -e "$STATE/interrupted" ] || kill -INT $PPID
        [ ! -e "$STATE/broken-pip" ] ;;
    "-m pytest"*) echo "pytest $* $LAB2MQTT_REQUIRE_MOSQUITTO"; [ ! -e "$STATE/broken-pytest" ] ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$STATE/log"
case "$*" in *python3-venv*) touch "$STATE/python" "$STATE/venv-module" ;; esac
[ ! -e "$STATE/broken-apt" ]
"""
TOOLS = ("sh", "cat", "cksum", "cp", "dirname", "mkdir", "printf", "readlink", "rm", "touch", "chmod")


@dataclass(frozen=True)
class Checkout:
    """A checkout and a machine that has nothing but what a test gives it."""

    top: Path
    state: Path
    programs: Path

    def run(self, *arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        script = environ.pop("script", str(self.top / "lab2mqtt"))
        return subprocess.run(
            ["/bin/sh", script, *arguments],
            cwd=cwd or self.top,
            env={"PATH": str(self.programs), "STATE": str(self.state), **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def log(self) -> list[str]:
        """What was installed and made since the last question."""
        path = self.state / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def has(self, *names: str) -> None:
        for name in names:
            (self.state / name).touch()

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def is_run_by(self, user: int) -> None:
        self.program("id", f"#!/bin/sh\necho {user}\n")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    top, state, programs = tmp_path / "check out", tmp_path / "state", tmp_path / "bin"
    for directory in (top, state, programs):
        directory.mkdir()
    shutil.copy(TOP / "lab2mqtt", top)
    shutil.copy(TOP / "pyproject.toml", top)
    shutil.copytree(TOP / "requirements", top / "requirements")
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    checkout = Checkout(top.resolve(), state, programs)
    checkout.program("python3", PYTHON)
    checkout.program("apt-get", APT)
    checkout.program("mosquitto", "#!/bin/sh\n")
    checkout.is_run_by(1000)
    checkout.has("python", "venv-module")
    return checkout


def test_the_first_run_makes_an_environment_and_the_next_ones_only_run(checkout: Checkout) -> None:
    first = checkout.run("run", "-c", "x y.toml")
    assert first.returncode == 0
    assert first.stdout == f"lab2mqtt run -c x y.toml in {checkout.top}\n"
    venv, locked, ours = checkout.log
    assert venv == "venv"
    assert f"--require-hashes -r {checkout.top}/requirements/run.txt" in locked
    assert f"--no-deps --no-build-isolation -e {checkout.top}" in ours
    second = checkout.run("--version")
    assert (second.stdout, second.stderr) == (f"lab2mqtt --version in {checkout.top}\n", "")
    assert checkout.log == []


def test_the_exit_code_is_the_commands(checkout: Checkout) -> None:
    checkout.has("broken-lab2mqtt")
    assert checkout.run("run").returncode == 1


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements/run.txt"])
def test_an_update_installs_again(changed: str, checkout: Checkout) -> None:
    checkout.run("run")
    assert checkout.log
    with (checkout.top / changed).open("a") as file:
        file.write("# changed\n")
    checkout.run("run")
    assert [line for line in checkout.log if "--require-hashes" in line]


def test_another_python_behind_the_environment_installs_again(checkout: Checkout) -> None:
    checkout.run("run")
    assert checkout.log
    python = checkout.top / ".venv" / "bin" / "python"
    python.rename(python.with_name("python3.13"))
    python.symlink_to("python3.13")
    checkout.run("run")
    assert [line for line in checkout.log if "--require-hashes" in line]


def test_an_interrupted_installation_is_repeated(checkout: Checkout) -> None:
    checkout.has("broken-pip")
    failed = checkout.run("run")
    assert failed.returncode == 69
    assert failed.stderr.splitlines()[-1].startswith("lab2mqtt: the requirements could not be installed (")
    (checkout.state / "broken-pip").unlink()
    assert checkout.log
    assert checkout.run("run").returncode == 0
    assert len(checkout.log) == 2, "the environment is there, the packages are not"


def test_whoever_interrupts_it_is_told_that_it_goes_on(checkout: Checkout) -> None:
    checkout.has("interrupted")
    stopped = checkout.run("run")
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines()[-1] == "lab2mqtt: interrupted: call it again, and it goes on"
    (checkout.state / "interrupted").unlink()
    assert checkout.run("run").returncode == 0


def test_demo_and_test_bring_what_they_need_and_the_larger_set_serves_all(checkout: Checkout) -> None:
    checkout.run("run")
    assert any("requirements/run.txt" in line for line in checkout.log)
    checkout.run("demo")
    assert any("requirements/demo.txt" in line for line in checkout.log)
    checkout.run("test")
    assert any("requirements/test.txt" in line for line in checkout.log)
    checkout.run("demo")
    checkout.run("run")
    assert checkout.log == []


def test_from_another_directory_and_through_links(checkout: Checkout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "absolute").symlink_to(checkout.top / "lab2mqtt")
    (elsewhere / "relative").symlink_to(os.path.relpath(checkout.top / "lab2mqtt", elsewhere))
    (elsewhere / "chain").symlink_to("relative")
    for name in ("absolute", "relative", "chain"):
        done = checkout.run("run", cwd=elsewhere, script=name)
        assert done.stdout == f"lab2mqtt run in {elsewhere}\n"
    assert (checkout.top / ".venv").is_dir()


def test_the_environment_may_be_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    assert checkout.run("run", cwd=tmp_path, LAB2MQTT_VENV="my venv").returncode == 0
    assert (tmp_path / "my venv" / "bin" / "python").exists()
    assert not (checkout.top / ".venv").exists()


# --- what is missing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "line"),
    [
        (("python", "venv-module"), "Python 3.11 or newer is missing: sudo apt install python3 python3-venv"),
        (("venv-module",), "Python's venv module is missing: sudo apt install python3-venv"),
    ],
)
def test_a_user_is_told_in_one_line_what_to_install(gone: tuple[str, ...], line: str, checkout: Checkout) -> None:
    for name in gone:
        (checkout.state / name).unlink()
    done = checkout.run("run")
    assert (done.returncode, done.stdout, done.stderr) == (69, "", f"lab2mqtt: {line}\n")
    assert checkout.log == []


def test_root_gets_it_installed(checkout: Checkout) -> None:
    checkout.is_run_by(0)
    (checkout.state / "venv-module").unlink()
    assert checkout.run("run").returncode == 0
    assert checkout.log[:3] == [
        "apt-get -qq update",
        "apt-get -qq install -y --no-install-recommends python3-venv",
        "venv",
    ]


def test_root_without_a_network_is_told_what_is_missing(checkout: Checkout) -> None:
    checkout.is_run_by(0)
    (checkout.state / "venv-module").unlink()
    checkout.has("broken-apt")
    done = checkout.run("run")
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1] == (
        "lab2mqtt: Python's venv module is missing and apt-get could not install python3-venv"
    )


# --- test ----------------------------------------------------------------------------------------------


def test_test_runs_the_checkers_and_then_pytest_whose_line_is_the_last(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.run("test", "-k", "a b", cwd=tmp_path)
    assert done.returncode == 0
    top = checkout.top
    assert done.stdout.splitlines() == [
        f"ruff check in {top}",
        f"ruff format --check in {top}",
        f"mypy  in {top}",
        "pytest -m pytest -k a b 1",
    ]


@pytest.mark.parametrize("tool", ["ruff", "mypy", "pytest"])
def test_test_fails_if_anything_fails_and_still_runs_the_tests(tool: str, checkout: Checkout) -> None:
    checkout.has(f"broken-{tool}")
    done = checkout.run("test")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("pytest")
    assert ("fails already" in done.stderr) == (tool != "pytest")
