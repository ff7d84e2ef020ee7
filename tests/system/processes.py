"""The daemon, an Evok simulator and mosquitto as separate processes, each killed and restarted on its own port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.system.mosquitto import HOST, Mosquitto, free_port
from tests.system.observer import Observer
from tests.system.proxy import Proxy

Part = Literal["broker", "evok", "daemon"]

REPOSITORY = Path(__file__).parents[2]
DEADLINE = 20.0  # seconds for a Python process to start or to end on a loaded machine
FAULTS = ("Traceback", "fault of ours", "was never retrieved", "never awaited")  # what no log may show


class Process:
    """One command line that can be started again and again; all its lives write to one log."""

    def __init__(self, name: str, directory: Path, arguments: Sequence[str]) -> None:
        self.name, self._arguments = name, arguments
        self._log_file = directory / f"{name}.log"
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
        environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONDEVMODE": "1"}
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments], stdout=log, stderr=log, env=environment, cwd=REPOSITORY
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


class Evok(Process):
    """`lab2mqtt simulate evok`: nothing moves by itself, so that what is retained can be compared with it."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        arguments = ["-m", "bridge", "simulate", "evok", "--port", str(self.port), "--no-lively", *options]
        super().__init__("evok", directory, arguments)

    def start(self) -> None:
        """Start and wait until it answers."""
        super().start()
        waited(lambda: self._answers(), f"the simulator's answer; its log: {self.log[-2000:]}")

    def fault(self, name: str, **parameters: object) -> None:
        query = "&".join(f"{key}={value}" for key, value in parameters.items())
        self._get(f"_fault/{name}?{query}")

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get("_state"))
        return found

    def values(self) -> Mapping[str, float]:
        """The hardware's own values, by the bridge's keys."""
        found: Mapping[str, float] = self.state["values"]
        return found

    def executed(self, key: str) -> list[dict[str, Any]]:
        """The sets carried out at this object: `{"at": seconds since 1970, "wish": {...}}`."""
        recent: list[dict[str, Any]] = self.state["executed"].get(key, {}).get("recent", [])
        return recent

    def _answers(self) -> bool:
        try:
            return bool(self._get("_state"))
        except (urllib.error.URLError, ConnectionError):
            assert self.runs, self.log
            return False

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/{path}", timeout=5.0) as reply:
            body: bytes = reply.read()
            return body


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


class World:
    """One broker, one simulated Evok, one daemon between them, and an observer; all of them running.

    The daemon reaches its broker through the proxy `uplink` and its instrument through the proxy `cable`, unless
    it is `direct`. Further options are those of `configuration`.
    """

    def __init__(
        self,
        directory: Path,
        broker_lines: Sequence[str] = (),
        *,
        direct: bool = False,
        simulator: Sequence[str] = (),
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.broker = Mosquitto(directory, broker_lines)
        self.evok = Evok(directory, *simulator)
        self.observer = Observer(self.broker.port)
        self.uplink, self.cable, self._direct = Proxy(self.broker.port), Proxy(self.evok.port), direct
        self.begun = 0.0  # seconds since 1970; what was said of the link before is of an earlier life
        self.unsettled: set[str] = set()  # keys of points that are not compared: somebody is changing them
        self.directory, self._options = directory, options
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.begun = time.time()
            stack.enter_context(self.broker)
            stack.enter_context(self.evok)
            stack.enter_context(self.observer)
            broker, evok = self.broker.port, self.evok.port
            if not self._direct:
                broker = stack.enter_context(self.uplink).port
                evok = stack.enter_context(self.cable).port
            self._options.setdefault("state", self.directory / "state")
            self.daemon = Daemon(self.directory, configuration(broker, evok, **self._options))
            stack.enter_context(self.daemon)
            self.until_right(DEADLINE)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            assert_no_faults(self.daemon)

    # --- right or wrong ------------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """What is not as it should be while all of them run; empty: all is well."""
        observer = self.observer
        found = [
            f"{topic} is {observer.retained(topic)!r}"
            for topic in ("_bridge/gate/status", "io/status", *(f"io/status/{group}" for group in self.groups()))
            if observer.retained(topic) != b"online"
        ]
        link, health = observer.document("io/link"), observer.document("_bridge/gate/health")
        if link.get("state") != "ready" or health.get("links") != {"io": "ready"}:
            found.append(f"the link is {link}, its health {health.get('links')}")
        elif datetime.fromisoformat(health["time"]).timestamp() < self.begun:
            found.append("nothing is known of the link since the last start")
        if not found:
            found = list(self._wrong_values())
        return found

    def groups(self) -> list[str]:
        return list(self.evok.state["units"])

    def _wrong_values(self) -> Iterator[str]:
        for key, value in self.evok.values().items():
            if key.partition("/")[0] not in ("do", "di", "ro", "led", "ao"):
                continue  # analogue inputs are noisy, registers are not published
            if key in self.unsettled:
                continue
            shown = self.observer.document(f"io/state/{key}").get("value")
            if shown is None or abs(float(shown) - value) > 0.01:
                yield f"{key} is {value}, retained is {shown!r}"

    def start(self, part: Part) -> None:
        """Start one that was killed."""
        self.begun = time.time()
        getattr(self, part).start()

    def until_right(self, within: float) -> float:
        """Wait until nothing is wrong; the seconds that it took."""
        begun = time.monotonic()
        self.observer.until(lambda: not self.wrong(), within, lambda: f"{self.wrong()}\n{self.daemon.log[-3000:]}")
        return time.monotonic() - begun

    def logged(self, text: str, within: float = DEADLINE) -> None:
        """Wait until the daemon's log has this text."""
        waited(lambda: text in self.daemon.log, f"{text!r} in the log:\n{self.daemon.log[-3000:]}", within)


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


@contextmanager
def meanwhile(call: Callable[[], None]) -> Iterator[None]:
    """Something else that goes on at the same time as the block, and is over at its end."""
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(call)
        yield
    run.result()


def together(scenarios: Mapping[str, Callable[[], None]]) -> None:
    """Run them at the same time, each in a thread, to the end; then raise what failed, with its name."""
    with ThreadPoolExecutor(len(scenarios)) as pool:
        runs = {name: pool.submit(scenario) for name, scenario in scenarios.items()}
    failures = []
    for name, run in runs.items():
        if isinstance(error := run.exception(), Exception):
            error.add_note(f"in the scenario {name!r}")
            failures.append(error)
    if failures:
        raise ExceptionGroup("scenarios failed", failures)
