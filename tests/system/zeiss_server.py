"""The server of ZEISS INSPECT as a process: our simulator, or the genuine script beside a stand-in for INSPECT.

LAB2MQTT_INSPECT_SCRIPT is a command line that starts the genuine script; the port to listen on is added to it. Its
working directory has the files, `C:/inspect/slow1.jpg` and so on, whose names must decide what importing them does
as they do in our simulator; and each import adds a line of JSON, with `import` in its `call`, to the file GOM_LOG.
"""

from __future__ import annotations

import json
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from tests.system.mosquitto import HOST, free_port
from tests.system.processes import Process, waited

FOLDER = "C:/inspect"
FILES = ("ok", "fail", "slow1", "slow2", "slow3", "slow5", "slow7", "slow30", "slow70")
SCRIPT = os.environ.get("LAB2MQTT_INSPECT_SCRIPT", "")


class Simulator(Process):
    """`lab2mqtt simulate zeiss_inspect`; `options` are those of its command line."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self._earlier = 0
        arguments = ["-m", "bridge", "simulate", "zeiss_inspect", "--port", str(self.port), *options]
        super().__init__("inspect", directory, arguments)

    def start(self) -> None:
        """Start and wait until it answers."""
        super().start()
        waited(lambda: self._count() is not None, f"the simulator's answer; its log: {self.log[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, with its count of imports kept."""
        self._earlier = self.imports
        super().kill()

    @property
    def imports(self) -> int:
        """How many imports were begun, in all lives."""
        return self._earlier + (self._count() or 0)

    def _count(self) -> int | None:
        if not self.runs:
            return None
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/_state", timeout=5.0) as reply:
                count: int = json.load(reply)["imports"]["count"]
                return count
        except (urllib.error.URLError, ConnectionError):
            return None


class Genuine(Process):
    """The genuine script; it keeps its own times and knows none of the simulator's options."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self._calls = directory / "calls.jsonl"
        self.working_directory = directory
        self.program = ("env", f"GOM_LOG={self._calls}", *shlex.split(SCRIPT))
        folder = directory / FOLDER
        folder.mkdir(parents=True)
        for name in FILES:
            for extension in ("jpg", "gxml"):
                (folder / f"{name}.{extension}").touch()
        super().__init__("inspect", directory, [str(self.port)])

    def start(self) -> None:
        super().start()
        waited(self._answers, f"the script's answer; its log: {self.log[-2000:]}")

    @property
    def imports(self) -> int:
        """How many imports were begun, in all lives."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return sum("import" in json.loads(line)["call"] for line in lines)

    def _answers(self) -> bool:
        try:
            with connect(f"ws://{HOST}:{self.port}", open_timeout=1.0):
                return True
        except (OSError, InvalidHandshake):
            assert self.runs, self.log
            return False


Server = Simulator | Genuine
StartServer = Callable[..., Server]  # its directory and, for a simulator, options
