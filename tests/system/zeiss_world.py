"""Broker, INSPECT server, daemon and observer, all of them running, and what the scenarios ask of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import DEADLINE, Daemon, assert_no_faults, waited
from tests.system.proxy import Proxy
from tests.system.zeiss_server import FOLDER, StartServer

BRISK = "ping_interval = 0.3\nopen_timeout = 1.0"  # every import is longer than the time between pings


class World:
    """The daemon reaches its broker through the proxy `uplink` and the server through the proxy `cable`.

    `device` are further lines of the device's table, `simulator` options that only our simulator knows.
    """

    def __init__(
        self, server: StartServer, directory: Path, device: str = BRISK, simulator: tuple[str, ...] = ()
    ) -> None:
        self.broker = Mosquitto(directory, ["log_type all"])
        self.inspect = server(directory, *simulator)
        self.observer = Observer(self.broker.port)
        self.uplink, self.cable = Proxy(self.broker.port), Proxy(self.inspect.port)
        self._directory, self._device = directory, device
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.inspect, self.observer, self.uplink, self.cable):
                stack.enter_context(part)
            self.daemon = Daemon(self._directory, self._configuration())
            stack.enter_context(self.daemon)
            self.until_link("ready")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            assert_no_faults(self.daemon)

    def _configuration(self) -> str:
        return f"""
[bridge]
id = "gate"
log_level = "debug"
log_format = "json"
state_dir = "{self._directory / "state"}"

[mqtt]
host = "{HOST}"
port = {self.uplink.port}

[devices.inspect]
driver = "zeiss_inspect"
url = "ws://{HOST}:{self.cable.port}"
{self._device}
"""

    def kill_server(self) -> None:
        """SIGKILL, and nobody listens any more."""
        self.cable.refuse()
        self.inspect.kill()

    def start_server(self) -> None:
        self.inspect.start()
        self.cable.accept()

    def start_daemon(self) -> None:
        """Start it again, and wait until it has reached everything: what was said before is of an earlier life."""
        begun = time.time()

        def there() -> bool:
            health = self.observer.document("_bridge/gate/health")
            if health.get("links") != {"inspect": "ready"}:
                return False
            return datetime.fromisoformat(health["time"]).timestamp() >= begun

        self.daemon.start()
        self.observer.until(there, DEADLINE, lambda: self.daemon.log[-3000:])

    # --- what is asked ---------------------------------------------------------------------------------

    def send(self, stem: str, *, name: str = "existing", **fields: Any) -> str:
        """Publish the import of an image; its id, which may be one of the `fields`."""
        made = self.observer.send("inspect/call/import_image", {**wish(stem, name), **fields})
        return str(fields.get("id", made))

    def call(self, action: str, **args: Any) -> dict[str, Any]:
        """The final answer to this action."""
        return self.observer.command(f"inspect/call/{action}", {"args": args})

    def begun(self, stem: str, **fields: Any) -> str:
        """Send an import and wait until the server is at work on it; its id."""
        before = self.inspect.imports
        id_ = self.send(stem, **fields)
        waited(
            lambda: self.inspect.imports > before, f"the import to begin; answers: {self.observer.answers(id_)}"
        )
        self.until_job(id_, "running")
        return id_

    def accepted(self, stem: str, **fields: Any) -> str:
        """Send an import and wait until it is accepted; its id."""
        id_ = self.send(stem, **fields)
        self.observer.until(lambda: self.observer.answers(id_), what=f"an answer to {id_}")
        assert self.observer.answers(id_)[0]["outcome"] == "accepted", self.observer.answers(id_)
        return id_

    @contextmanager
    def stranger(self, stem: str) -> Iterator[None]:
        """Another program has the server import; inside, the server is at work on that."""
        before = self.inspect.imports
        with connect(f"ws://{HOST}:{self.inspect.port}", close_timeout=0.0) as client:
            path = f"{FOLDER}/{stem}.jpg"
            client.send(json.dumps({"image": {"file": path, "name": "existing", "focal_length": "50.0"}}))
            waited(lambda: self.inspect.imports > before, "somebody else's import to begin")
            yield

    # --- what is seen ----------------------------------------------------------------------------------

    def outcome(self, id_: str, within: float = 10.0) -> str:
        """How it ended; there is one final answer and nothing behind it."""
        final = self.observer.answer(id_, within)
        answers = self.observer.answers(id_)
        assert [answer["final"] for answer in answers].count(True) == 1, answers
        assert answers[-1] == final, answers
        outcome: str = final["outcome"]
        return outcome

    def job(self, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = self.observer.document(f"inspect/job/{id_}")
        return found

    def until_job(self, id_: str, state: str, within: float = DEADLINE) -> dict[str, Any]:
        """Wait until the import's job topic says so; all of it."""
        self.observer.until(
            lambda: self.job(id_).get("state") == state, within, lambda: f"{state}: {self.job(id_)}"
        )
        return self.job(id_)

    def until_over(self, id_: str) -> str | None:
        """Wait until it neither waits nor runs; how it ended, None: there is no such job."""

        def state() -> str | None:
            return self.job(id_).get("state")

        self.observer.until(lambda: state() not in ("queued", "running"), what=state)
        return state()

    def until_link(self, state: str, within: float = DEADLINE, reason: str = "") -> None:
        """Wait until the link is in this state, for a reason with these words."""

        def shown() -> dict[str, Any]:
            found: dict[str, Any] = self.observer.document("inspect/link")
            return found

        self.observer.until(
            lambda: shown().get("state") == state and reason in (shown().get("reason") or ""),
            within,
            lambda: f"link {state}: {shown()}\n{self.daemon.log[-3000:]}",
        )

    def shown(self, key: str) -> Any:
        return self.observer.document(f"inspect/state/{key}").get("value")

    def assert_imports(self, ours: int, others: int = 0) -> None:
        """The server began as many imports as were sent, and as many as the daemon told of."""
        assert self.inspect.imports == ours + others
        self.observer.until(lambda: len(self._told()) >= ours, 5.0, self._told)  # events wait after a discovery
        assert len(self._told()) == ours, self._told()

    def _told(self) -> list[Any]:
        events = [one.json for one in self.observer.on("inspect/event/import")]
        return [event for event in events if event["event_type"] == "running"]

    def until_quiet(self, seconds: float = 0.5) -> None:
        """Give what should not come the time to come."""
        time.sleep(seconds)


def wish(stem: str, name: str = "existing") -> dict[str, Any]:
    """The command that imports `stem`.jpg, without its id."""
    return {"args": {"file": f"{FOLDER}/{stem}.jpg", "name": name, "focal_length": 50}}
