"""The daemon and a simulator as separate processes, each killed and restarted on its own port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.system.mosquitto import HOST, free_port

REPOSITORY = Path(__file__).parents[2]
DEADLINE = 20.0  # seconds for a Python process to start or to end on a loaded machine
FAULTS = ("Traceback", "fault of ours", "was never retrieved", "never awaited")  # what no log may show


class Process:
    """One command line that can be started again and again; all its lives write to one log."""

    program: Sequence[str] = (sys.executable,)  # what the arguments are given to, and where it runs
    working_directory = REPOSITORY
    development = True  # Python looks closely, and is slower
    python_path: Sequence[Path] = (REPOSITORY,)

    def __init__(self, name: str, directory: Path, arguments: Sequence[str]) -> None:
        self.name, self._arguments = name, arguments
        self._log_file = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()  # it may run and not answer
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start; not waited for."""
        assert self._process is None, f"{self.name} runs already"
        environment = {name: text for name, text in os.environ.items() if not name.startswith("LAB2MQTT_")}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, self.python_path))
        if self.development:
            environment["PYTHONDEVMODE"] = "1"
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.program, *self._arguments],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.working_directory,
            )

    def kill(self) -> None:
        """SIGKILL; nothing happens when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE)

    def suspend(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop, by SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def ended(self, within: float = DEADLINE) -> int:
        """Wait until it ends by itself; its exit code."""
        assert self._process is not None, f"{self.name} is not running"
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within:g} s:\n{self.log[-2000:]}") from None
        self._process = None
        return code

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Simulator(Process):
    """`lab2mqtt simulate`, with what every simulator tells and does over HTTP."""

    def __init__(self, instrument: str, directory: Path, *options: str) -> None:
        self.port = free_port()
        arguments = ["-m", "bridge", "simulate", instrument, "--port", str(self.port), *options]
        super().__init__(instrument, directory, arguments)

    def start(self) -> None:
        """Start and wait until it answers."""
        super().start()
        waited(self._answers, f"the simulator's answer; its log: {self.log[-2000:]}")

    def fault(self, name: str, **parameters: object) -> None:
        self.get(f"_fault/{name}?{urlencode(parameters)}")

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("_state"))
        return found

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/{path}", timeout=5.0) as reply:
            body: bytes = reply.read()
            return body

    def _answers(self) -> bool:
        try:
            return bool(self.get("_state"))
        except (urllib.error.URLError, ConnectionError):
            assert self.runs, self.log
            return False


class Evok(Simulator):
    """Nothing moves by itself, so that what is retained can be compared with it."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__("evok", directory, "--no-lively", *options)

    def values(self) -> Mapping[str, float]:
        """The hardware's own values, by the bridge's keys."""
        found: Mapping[str, float] = self.state["values"]
        return found

    def executed(self, key: str) -> list[dict[str, Any]]:
        """The sets carried out at this object: `{"at": seconds since 1970, "wish": {...}}`."""
        recent: list[dict[str, Any]] = self.state["executed"].get(key, {}).get("recent", [])
        return recent


class Daemon(Process):
    """`lab2mqtt run` with a configuration file of its own."""

    def __init__(self, directory: Path, configuration: str, name: str = "daemon") -> None:
        self.configuration = directory / f"{name}.toml"
        self.configuration.write_text(configuration)
        super().__init__(name, directory, ["-m", "bridge", "run", "-c", str(self.configuration)])


def configuration(
    broker: int,
    evok: int,
    *,
    bridge: str = "gate",
    state: Path | None = None,
    mqtt: str = "",
    device: str = "",
    bridge_keys: str = "",
) -> str:
    """One device called `io`; the last arguments are further lines of their tables."""
    kept = "" if state is None else f'state_dir = "{state}"'
    return f"""
[bridge]
id = "{bridge}"
log_level = "debug"
log_format = "json"
{kept}
{bridge_keys}

[mqtt]
host = "{HOST}"
port = {broker}
{mqtt}

[devices.io]
driver = "evok"
url = "ws://{HOST}:{evok}/ws"
{device}
"""


def assert_no_faults(process: Process) -> None:
    log = process.log
    for text in FAULTS:
        assert text not in log, f"{process.name}: {log[max(0, log.index(text) - 500) :][:4000]}"


def waited(condition: Callable[[], object], what: str, within: float = DEADLINE) -> None:
    """Wait until it holds; AssertionError: it does not."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.05)
