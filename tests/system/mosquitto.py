"""A real mosquitto for system tests: own configuration, port and process; stopped, killed, restarted at will."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
DEADLINE = 10.0  # seconds for the broker to listen, or to be gone
_giving, _given = threading.Lock(), set[int]()  # many scenarios ask at once, and use theirs a little later


def mosquitto_program() -> str | None:
    """The path of mosquitto, on PATH or where Debian puts it, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now, and that this process has not been given before."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        with _giving:
            if port not in _given:
                _given.add(port)
                return port


class Mosquitto:
    """One broker on the loopback. It keeps its port, so that `restart` is what a client sees as a restart.

    `config` are further lines of mosquitto.conf; they come after the listener, so `cafile` and the like belong
    to it. Nothing is kept on disk unless `config` says so (`persistence true`).
    Every call blocks until it is done.
    """

    def __init__(self, directory: Path, config: Sequence[str] = (), *, anonymous: bool = True) -> None:
        self.host = HOST
        self.port = free_port()
        self.config = list(config)
        self.anonymous = anonymous
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """All that this broker, in all its lives, has written."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("mosquitto is not running")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until the port takes connections."""
        program = mosquitto_program()
        if program is None:
            raise FileNotFoundError("mosquitto")
        if self._process is not None:
            raise RuntimeError("mosquitto runs already")
        configuration = self._directory / f"mosquitto-{self.port}.conf"
        configuration.write_text("\n".join(self._lines()) + "\n")
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"mosquitto does not start:\n{self.log[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """SIGTERM: the broker says goodbye to its clients and is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: only the kernel closes the connections. Nothing happens when it is not running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop, and start again on the same port."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """SIGSTOP: connections stay, nothing is read or answered, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def _log_file(self) -> Path:
        return self._directory / f"mosquitto-{self.port}.log"

    def _lines(self) -> list[str]:
        return [
            f"listener {self.port} {self.host}",
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",  # else root becomes nobody, who cannot read our files
            f"allow_anonymous {str(self.anonymous).lower()}",
            "log_dest stdout",
            *self.config,
        ]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((self.host, self.port)) == 0

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"mosquitto did not end on {number.name}") from None
