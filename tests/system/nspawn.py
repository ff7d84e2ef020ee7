"""A booted Debian in systemd-nspawn, with a network of its own and all changes thrown away at its end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BOOT = 60.0  # seconds


class Machine:
    """`root`: a Debian with systemd, dbus, python3-venv, mosquitto and mosquitto-clients; it is not changed.

    `binds`: directories of this machine and where the other one sees them, read-only.
    """

    def __init__(self, root: Path, log: Path, binds: dict[Path, str]) -> None:
        self._root, self._log, self._binds = root, log, binds
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0  # its PID 1, as it is called here

    def __enter__(self) -> Self:
        binds = [f"--bind-ro={here}:{there}" for here, there in self._binds.items()]
        arguments = [
            f"--directory={self._root}", "--volatile=overlay", f"--machine=lab2mqtt-{time.monotonic_ns()}",
            "--register=no", "--keep-unit", "--private-network", "--boot", "--console=pipe", *binds,
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["systemd-nspawn", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.until(self._booted, "the machine to boot", BOOT)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        try:
            if self._leader:
                self.run("systemctl", "poweroff", check=False)
            self._process.wait(BOOT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, *command: str, check: bool = True, within: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run in the machine, as root, without a shell."""
        spaces = ["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), *spaces, "--", *clean, *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=within,
        )
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"', "sh", path, text)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "-u", unit).stdout

    def until(self, condition: Callable[[], object], what: str, within: float = 30.0, unit: str = "") -> None:
        """Wait until it holds; AssertionError, with what the unit said last: it does not."""
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                said = self.journal(unit) if unit else self._log.read_text()
                raise AssertionError(f"not within {within:g} s: {what}\n{said[-3000:]}")
            time.sleep(0.2)

    def _booted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        found = subprocess.run(
            ["pgrep", "-P", str(self._process.pid), "-x", "systemd"], check=False, capture_output=True, text=True
        )
        self._leader = int(found.stdout.split()[0]) if found.stdout.strip() else 0
        return bool(self._leader) and self._states(("running", "degraded"))

    def _states(self, good: Sequence[str]) -> bool:
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in good
