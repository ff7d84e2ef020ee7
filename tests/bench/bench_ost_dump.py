"""A huge OST dump and many updates through the daemon to mosquitto: python -m tests.bench.bench_ost_dump

First a dump of 10 MB with 20,000 elements comes again and again, while an Evok beside it is commanded: told are
how late the loop was and how long the commands took. Then come 1000 updates/s over 200 points for a minute: told
are CPU, memory, how many came out as states, and how long a command behind all that takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench.bench_im7_live import cpu_seconds
from tests.system.mosquitto import HOST
from tests.system.ost_world import World
from tests.system.processes import Evok, Process, waited

DUMPS = 5
HEALTH = "_bridge/gate/health"
EVERY = 5.0  # seconds between two looks


def evok(port: int) -> str:
    return f'[devices.io]\ndriver = "evok"\nurl = "ws://{HOST}:{port}/ws"\n'


def commands(world: World, over: Callable[[], bool]) -> list[float]:
    """Seconds from each command to the other device to its answer, one after the other."""
    taken: list[float] = []
    while not over():
        begun = time.monotonic()
        answer = world.observer.command("io/set/do/1_01", {"value": len(taken) % 2 == 0})
        assert answer["outcome"] == "done", answer
        taken.append(time.monotonic() - begun)
        time.sleep(0.005)
    return taken


def until_dumped(world: World) -> None:
    """Drop the connection, and wait until the next one is ready."""
    before = len(world.observer.on("dome/link"))
    world.ost.fault("drop")
    world.observer.until(lambda: "ready" in world.links[before:], 60.0)


def many_dumps(world: World) -> None:
    for _ in range(DUMPS):
        until_dumped(world)


def dumps(directory: Path) -> None:
    large = ("--elements", "20000", "--dry", "0")
    with Evok(directory) as io, World(directory, large, others=evok(io.port)) as world:
        world.until_link("ready", 60.0)
        world.observer.until(lambda: world.observer.document("io/link").get("state") == "ready")
        time.sleep(2.0)
        before = len(world.observer.on(HEALTH))
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(many_dumps, world)
            taken = commands(world, job.done)
            job.result()
        waited(lambda: len(world.observer.on(HEALTH)) > before, "a health document", 70.0)
        lags = [one.json["loop_lag"] for one in world.observer.on(HEALTH)[before:]]
        modules = world.observer.document("dome/link")["device"]["modules"]
        print(f"{DUMPS} dumps of {modules} modules; loop lag in {len(lags)} health documents: {lags} s")
        print(f"{len(taken)} commands beside: median {median(taken):.4f} s, longest {max(taken):.3f} s")


def counts(world: World) -> tuple[float, float, float]:
    """CPU seconds of the daemon, frames of the server, messages of the broker."""
    frames: Mapping[str, int] = world.ost.state["sent"]
    return cpu_seconds(world.daemon), sum(frames.values()), len(world.observer.seen)


def updates(directory: Path, seconds: float) -> None:
    many = ("--updates", "1000", "--elements", "2000", "--dry", "0")
    with World(directory, many, "hidden_limit = 5000") as world:
        world.until_link("ready", 60.0)
        begun = at = time.monotonic()
        now = counts(world)
        print("   s   CPU %   MB   updates/s  messages/s")
        while at - begun < seconds:
            time.sleep(EVERY)
            before, at = at, time.monotonic()
            then = counts(world)
            cpu, rate, out = ((new - old) / (at - before) for new, old in zip(then, now, strict=True))
            print(
                f"{at - begun:4.0f}  {100 * cpu:5.1f}  {world.daemon.memory / 1e6:5.1f}  {rate:6.0f}  {out:6.0f}"
            )
            now = then
        begun = time.monotonic()
        assert world.set("MyFocuser/parameters/steps", 1234) == ("done", "")
        print(f"a command behind all that is answered within {time.monotonic() - begun:.3f} s; {world.links}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of many updates (60)")
    seconds = parser.parse_args().seconds
    Process.development = False
    with TemporaryDirectory() as directory:
        dumps(Path(directory))
    with TemporaryDirectory() as directory:
        updates(Path(directory), seconds)


if __name__ == "__main__":
    main()
