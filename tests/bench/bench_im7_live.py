"""An IM7 that measures live for minutes, through the daemon to mosquitto: python -m tests.bench.bench_im7_live

1000 rows/s of 4 columns, the simulator losing none: so every row must come over MQTT, in order, and equal the rows
of the result. What the daemon takes for it is printed every so often and at the end.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.system.im7_world import World
from tests.system.observer import Seen
from tests.system.processes import Process, waited

RATE = 1000.0  # rows/s
SETTLED = 15.0  # seconds until the imports and first buffers are there
EVERY = 10.0  # seconds between two looks


def cpu_seconds(process: Process) -> float:
    """Of its whole life, user and system."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(world: World, job: str, seconds: float) -> None:
    """Print CPU share and memory until shortly before the job's end."""
    begun = time.monotonic()
    time.sleep(SETTLED)
    at, used = time.monotonic(), cpu_seconds(world.daemon)
    first_at, first_used = at, used
    print("   s   CPU %   MB")
    while time.monotonic() - begun + EVERY < seconds:
        time.sleep(EVERY)
        now, total = time.monotonic(), cpu_seconds(world.daemon)
        share = 100 * (total - used) / (now - at)
        print(f"{now - begun:4.0f}  {share:5.1f}  {world.daemon.memory / 1e6:5.1f}", flush=True)
        at, used = now, total
    print(f"whole: {100 * (used - first_used) / (at - first_at):.1f} % CPU, job {world.job(job)['state']}")


def live(seen: Sequence[Seen]) -> NDArray[np.float64]:
    """All live rows in order; the offsets say that none is missing between two messages."""
    blocks: list[dict[str, Any]] = [one.json for one in seen]
    rows = [np.array(list(block["columns"].values())).T for block in blocks]
    offsets = np.cumsum([0, *map(len, rows)])[:-1]
    assert [block["offset"] for block in blocks] == offsets.tolist(), "a gap in the offsets"
    return np.concatenate(rows)


def result(world: World, job: str) -> NDArray[np.float64]:
    waited(lambda: "manifest" in world.job(job), "the result", 60.0)
    parts = range(world.job(job)["manifest"]["parts"])
    return np.concatenate(
        [np.load(io.BytesIO(world.observer.on(f"cell/data/{job}/part/{number}")[0].payload)) for number in parts]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    Process.development = False
    exact = ("--loss", "0", "--live-rows", "100000")
    with TemporaryDirectory() as directory, World(Path(directory), exact, device="") as world:
        parameters = {"bias": 0.3, "duration": seconds, "output_data_rate": RATE}
        ranges = {"current_range": 0.01, "autorange": False}
        id_, job = world.start({"type": "poga", "parameters": {**parameters, **ranges}})
        watch(world, job, seconds)
        assert world.observer.answer(id_, 60.0)["outcome"] == "done"
        whole = result(world, job)
        seen = world.observer.on(f"cell/data/{job}/live")
        np.testing.assert_array_equal(live(seen), whole)
        healths = [one.json for one in world.observer.on("_bridge/gate/health")][2:]  # beyond the start
        lags = sorted(one["loop_lag"] for one in healths)
        dropped = {topic: count for one in healths for topic, count in one.get("dropped", {}).items()}
        print(f"{len(whole)} rows in {len(seen)} live messages, all of them, as in the result; dropped: {dropped}")
        print(f"loop lag of {len(lags)} health documents: median {lags[len(lags) // 2]} s, longest {lags[-1]} s")


if __name__ == "__main__":
    main()
