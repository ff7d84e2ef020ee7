"""What one Evok object costs between the socket and the broker's buffer: python tests/bench/bench_hot_path.py

Medians of several rounds; the machine's other work shows in them, so compare two versions in turn on one machine.
The WebSocket and MQTT layers have benchmarks of their own in docs/performance.md (end to end).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

from bridge.device import Device, Profile
from bridge.driver import Driver, Fence, Send
from bridge.drivers.evok import plugin
from bridge.model import Policy, Update
from bridge.outbox import Outbox
from bridge.topics import Topics

ROUNDS, FRAMES, CIRCUITS = 9, 2000, 64
MODES = {
    "Voltage": {"value": 0, "unit": "V", "range": [0, 10]},
    "Current": {"value": 1, "unit": "mA", "range": [0, 20]},
    "Resistance": {"value": 2, "unit": "Ohm", "range": [0, 1960]},
}


def analogue(number: int, value: float) -> dict[str, object]:
    circuit = f"1_{number % CIRCUITS + 1:02d}"
    common = {"unit": "V", "mode": "Voltage", "modes": MODES, "range": [0, 10]}
    return {"dev": "ai", "circuit": circuit, "value": value, **common}


def everything() -> str:
    slave = {"dev": "modbus_slave", "circuit": "1", "last_comm": 0.1, "slave_id": 1}
    return json.dumps([*(analogue(number, 0.0) for number in range(CIRCUITS)), slave])


def frames(items: int) -> list[str]:
    return [
        json.dumps([analogue(frame + item, (frame + item) % 97 / 10) for item in range(items)])
        for frame in range(FRAMES)
    ]


def ready() -> tuple[Driver, Device, Outbox]:
    outbox, topics = Outbox(), Topics("lab2mqtt", "bench")
    profile = Profile("io", "bench", policies=(Policy(min_interval=0),))
    device = Device(profile, topics.device("io"), outbox, lambda ticket, reply: None)
    driver = plugin.driver(plugin.options(), {}, ())
    for effect in [*driver.start(0.0), *driver.receive(everything(), 0.1)]:
        if not isinstance(effect, Send | Fence):
            device.report(effect, 0.1, 0.1)  # type: ignore[arg-type]
    return driver, device, outbox


def measure(items: int) -> tuple[float, float]:
    """Microseconds per object: of the driver alone, and to the outbox."""
    driver, device, outbox = ready()
    texts = frames(items)

    def decode() -> None:
        for text in texts:
            list(driver.receive(text, 1.0))

    def carry() -> None:
        wall = time.time()
        for text in texts:
            for effect in driver.receive(text, 1.0):
                if type(effect) is Update:
                    device.report(effect, 1.0, wall)
            outbox.restart(())

    return per_object(decode, items), per_object(carry, items)


def per_object(run: Callable[[], None], items: int) -> float:
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) / FRAMES / items * 1e6


def main() -> None:
    print("objects per frame   driver us   to the outbox us")
    for items in (1, 10):
        driver, whole = measure(items)
        print(f"{items:17}   {driver:9.2f}   {whole:16.2f}")


if __name__ == "__main__":
    main()
