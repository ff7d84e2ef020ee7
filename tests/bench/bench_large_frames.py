"""What a result of 115 MB does to the daemon: python tests/bench/bench_large_frames.py

The simulated IM7 measures an hour of 1000 rows a second in half a second. Firmware of protocol 12 sends the
result as one binary frame of 115 MB, firmware of protocol 7 as one text with 154 MB of base64. The daemon, a
process of its own, fetches it, stores it and publishes it to an embedded broker. Wanted: no turn of its loop
longer than 50 ms (binary) or 100 ms (text), and no growth beyond 2.5 frames. Other work of the machine shows in
the figures.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, time

from bridge import log, settings
from bridge.app import Daemon
from bridge.model import Command, Json
from bridge.simulators.mqtt_broker import Broker

DEADLINE = 120.0  # seconds for one result
FRAMES = {"binary": (12, 115.2e6), "text": (7, 153.6e6)}  # protocol version; bytes of the frame
JOB: Json = {"type": "ocv", "parameters": {"duration": 3600.0, "output_data_rate": 1000.0}, "job_meta": {}}


class Beat:
    """How long the loop did not come back to a timer of 1 ms."""

    def __init__(self) -> None:
        self._loop, self._last, self.stalls = asyncio.get_running_loop(), perf_counter(), [0.0]
        self._timer = self._loop.call_later(0.001, self._beat)

    def _beat(self) -> None:
        now = perf_counter()
        self.stalls.append(now - self._last)
        self._last, self._timer = now, self._loop.call_later(0.001, self._beat)

    def stop(self) -> None:
        self._timer.cancel()


def memory(key: str, pid: int | str = "self") -> int:
    """VmRSS (now) or VmHWM (the most so far) of a process in bytes."""
    found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def worker_peak() -> int:
    peaks = [0]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                peaks.append(memory("VmHWM", stat.parent.name))
    return max(peaks)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def fetch(configuration: Path, frame: float) -> None:
    """The daemon's process: run one job and fetch its result."""
    log.configure("warning", "console")
    daemon = Daemon(settings.load(configuration))
    task = asyncio.create_task(daemon.run())
    device = daemon.fleet.devices["cell"]
    await until(lambda: device.ready)
    before, begun, beat = memory("VmRSS"), perf_counter(), Beat()
    device.submit("call", Command("bench", "job_start", args={"job": JOB}), None, monotonic(), time())
    await until(lambda: daemon.shipping.stored == 1)
    stored, stalls = perf_counter() - begun, list(beat.stalls)
    await until(lambda: not daemon.journal.memory("_results"))
    beat.stop()
    stalls, publishing = sorted(stalls, reverse=True), max(beat.stalls[len(stalls) :])
    growth, longest = (memory("VmHWM") - before) / frame, " ".join(f"{stall * 1e3:.0f}" for stall in stalls[:4])
    print(f"  longest turns until it is stored: {longest} ms; while it is published: {publishing * 1e3:.0f} ms")
    print(f"  growth {growth:.2f} frames, from {before / 1e6:.0f} MB; worker's peak {worker_peak() / 1e6:.0f} MB")
    print(f"  stored after {stored:.1f} s, published after {perf_counter() - begun:.1f} s", flush=True)
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def simulator(protocol: int) -> AsyncIterator[str]:
    options = ("--protocol", str(protocol), "--speed", "7200")
    arguments = ("-m", "bridge", "simulate", "im7", *options)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        while not (found := re.search(rb'url = "(.*)"', await process.stdout.readline())):
            assert process.returncode is None, "the simulator did not start"
        yield found[1].decode()
    finally:
        process.terminate()
        await process.wait()


async def main() -> None:
    for name, (protocol, frame) in FRAMES.items():
        print(f"{name}, {frame / 1e6:.0f} MB", flush=True)
        with TemporaryDirectory() as directory:
            async with simulator(protocol) as url, Broker() as broker:
                configuration = Path(directory, "lab2mqtt.toml")
                configuration.write_text(
                    f'[bridge]\nid = "bench"\nstate_dir = "{directory}/state"\nlog_level = "warning"\n'
                    f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
                    f'[devices.cell]\ndriver = "im7"\nurl = "{url}"\n'
                )
                arguments = (__file__, str(configuration), str(frame))
                process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
                await process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(fetch(Path(sys.argv[1]), float(sys.argv[2])))
    else:
        asyncio.run(main())
