"""Broker, IM7 simulator, daemon and observer, all of them running, and what the scenarios ask of a result."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import DEADLINE, Daemon, Simulator, assert_no_faults
from tests.system.proxy import Proxy

BRISK = "ping_interval = 0.5\nopen_timeout = 1.0\npoll = 1"  # a broken line is noticed soon
Document = Mapping[str, Any]


def cv(seconds: float, rate: float = 5000.0, name: str = "sample A") -> dict[str, Any]:
    """A cyclic voltammogram of so long and `seconds` x `rate` rows; none of its numbers is round."""
    vertices = {"start_value": 0.0, "first_vertex": 1.0, "second_vertex": -1.0, "end_value": 0.0}  # 4 V in all
    pace = {"scan_rate": 4.0 / seconds, "num_cycles": 1.0, "output_data_rate": rate}
    ranges = {"current_range": 0.01, "autorange": False, "turn_limit_check": False, "step_height": 0.0}
    turns = {"upper_turn_boundary": 0.0, "lower_turn_boundary": 0.0}
    return {"type": "cv", "parameters": {**vertices, **pace, **ranges, **turns}, "job_meta": {"name": name}}


class IM7(Simulator):
    """An IM7 whose potentiostat is on."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__("im7", directory, "--on", "0.1", *options)

    def starts(self) -> list[str]:
        """The commands by which jobs were started, in order."""
        return [str(one["job_meta"].get("mqtt_id")) for one in self.state["starts"]["recent"]]

    def rows(self, job: str, columns: int) -> NDArray[np.float64]:
        """The instrument's own numbers: rows x columns."""
        return np.frombuffer(self.get(f"_result/{job}"), "<f8").reshape(columns, -1).T


class World:
    """The daemon reaches its broker through the proxy `uplink` and the IM7 through the proxy `cable`.

    `device` are further lines of the device's table, `simulator` options of the simulator.
    """

    def __init__(
        self,
        directory: Path,
        simulator: Sequence[str] = (),
        broker_lines: Sequence[str] = (),
        device: str = BRISK,
    ) -> None:
        self.broker = Mosquitto(directory, broker_lines)
        self.im7 = IM7(directory, *simulator)
        self.observer = Observer(self.broker.port)
        self.uplink, self.cable = Proxy(self.broker.port), Proxy(self.im7.port)
        self.state = directory / "state"
        self._directory, self._device = directory, device
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.im7, self.observer, self.uplink, self.cable):
                stack.enter_context(part)
            self.daemon = Daemon(self._directory, self._configuration())
            begun = time.time()
            stack.enter_context(self.daemon)
            self.until_ready(begun)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            assert_no_faults(self.daemon)
            assert_no_faults(self.im7)

    def _configuration(self) -> str:
        return f"""
[bridge]
id = "gate"
log_level = "debug"
log_format = "json"
state_dir = "{self.state}"

[mqtt]
host = "{HOST}"
port = {self.uplink.port}

[devices.cell]
driver = "im7"
url = "ws://{HOST}:{self.cable.port}/default"
{self._device}
"""

    def until_ready(self, since: float) -> None:
        """Wait until the daemon says that it has reached everything; `since`, in seconds since 1970."""

        def there() -> bool:
            health = self.observer.document("_bridge/gate/health")
            said = datetime.fromisoformat(health.get("time", "1970-01-01T00:00:00+00:00")).timestamp()
            return said >= since - 0.001 and health["links"] == {"cell": "ready"}

        self.observer.until(there, DEADLINE, lambda: self.daemon.log[-3000:])

    def restart_daemon(self) -> None:
        begun = time.time()
        self.daemon.start()
        self.until_ready(begun)

    def cut(self, seconds: float) -> None:
        """The instrument's cable is out for so long."""
        self.cable.refuse()
        self.cable.cut()
        time.sleep(seconds)
        self.cable.accept()

    # --- jobs ------------------------------------------------------------------------------------------

    def start(self, job: Document) -> tuple[str, str]:
        """Start it and wait until it is accepted; the ids of the command and of the job."""
        id_ = self.observer.send("cell/call/job_start", {"args": {"job": job}})
        self.observer.until(
            lambda: self.observer.answers(id_), what=lambda: f"an answer; {self.daemon.log[-3000:]}"
        )
        answer = self.observer.answers(id_)[0]
        assert answer["outcome"] == "accepted", answer
        return id_, answer["data"]["job_id"]

    def call(self, action: str, **args: Any) -> dict[str, Any]:
        """The final answer to this action."""
        return self.observer.command(f"cell/call/{action}", {"args": args})

    def job(self, job: str) -> Document:
        found: Document = self.observer.document(f"cell/job/{job}")
        return found

    def until_measuring(self, job: str, since: float = 0.0) -> None:
        """Wait for a block of live rows that came since then (time.monotonic())."""
        self.observer.until(
            lambda: self.observer.on(f"cell/data/{job}/live", since),
            what=lambda: f"live rows: {self.job(job)}\n{self.daemon.log[-3000:]}",
        )

    def until_ended(self, job: str) -> None:
        """Wait until the instrument itself has the result."""
        self.observer.until(lambda: job in self.im7.state["results"], DEADLINE, f"the end of {job}")

    # --- what must hold of a result ----------------------------------------------------------------------

    def shipped(self, job: str, within: float = DEADLINE) -> NDArray[np.float64]:
        """Wait for the manifest in the job's topic; then disk, MQTT and instrument must have the same rows, once.

        The rows. On disk there is one file, under its last name; on MQTT every copy of every part is the same.
        """
        self.observer.until(
            lambda: "sha256" in (self.job(job).get("manifest") or {}),
            within,
            lambda: f"a manifest: {self.job(job)}\n{self.daemon.log[-3000:]}",
        )
        manifest = self.job(job)["manifest"]
        rows = self._parts(job, manifest)
        assert hashlib.sha256(rows.tobytes()).hexdigest() == manifest["sha256"]
        exact = self.im7.rows(job, len(manifest["columns"]))
        np.testing.assert_array_equal(rows.view(np.uint64), np.ascontiguousarray(exact).view(np.uint64))
        self._assert_stored_once(job, manifest, rows)
        return rows

    def _parts(self, job: str, manifest: Document) -> NDArray[np.float64]:
        told = [one.json for one in self.observer.on(f"cell/data/{job}/manifest")]
        assert told, "no manifest beside the parts"
        assert all(one == manifest for one in told), (told, manifest)
        copies = [
            {one.payload for one in self.observer.on(f"cell/data/{job}/part/{number}")}
            for number in range(manifest["parts"])
        ]
        assert [len(each) for each in copies] == [1] * manifest["parts"]
        assert not self.observer.on(f"cell/data/{job}/part/{manifest['parts']}")
        rows: NDArray[np.float64] = np.concatenate([np.load(io.BytesIO(each.pop())) for each in copies])
        assert rows.shape == (manifest["rows"], len(manifest["columns"]))
        return rows

    def _assert_stored_once(self, job: str, manifest: Document, rows: NDArray[np.float64]) -> None:
        stem = Path(manifest["file"]).stem
        found = [path.name for path in (self.state / "results").iterdir() if job in path.name]
        assert sorted(found) == [f"{stem}.csv", f"{stem}.npz"]  # nothing half-written either
        with np.load(self.state / "results" / f"{stem}.npz") as stored:
            np.testing.assert_array_equal(stored["rows"].view(np.uint64), rows.view(np.uint64))
        with (self.state / "results" / f"{stem}.csv").open(newline="") as file:
            written = np.array([[float(cell) for cell in line] for line in list(csv.reader(file))[1:]])
        np.testing.assert_array_equal(written, rows)
