"""Everything at once: broker, instrument, daemon and an observer; and whether all of it is as it should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.system.mosquitto import Mosquitto
from tests.system.observer import Observer
from tests.system.processes import DEADLINE, Daemon, Evok, assert_no_faults, configuration, waited
from tests.system.proxy import Proxy

Part = Literal["broker", "evok", "daemon"]


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


def side_by_side(directory: Path, *scenarios: Callable[[Path], None]) -> None:
    """Run them together, each in a directory of its own: they wait more than they work."""
    runs: dict[str, Callable[[], None]] = {}
    for scenario in scenarios:
        own = directory / scenario.__name__
        own.mkdir()
        runs[scenario.__name__] = partial(scenario, own)
    together(runs)
