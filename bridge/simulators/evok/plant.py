"""The world around the unit: a door, a water meter, a heated room, daylight, and outputs that affect inputs."""

import math
import random
from collections.abc import Mapping

from bridge.simulators.evok.analogue import AnalogueInput, AnalogueOutput, DataPoint
from bridge.simulators.evok.digital import DigitalInput
from bridge.simulators.evok.items import Item

LAG = 2.0  # seconds: time constant of the valve behind ao 2_01
Key = tuple[str, str]


class Plant:
    """Drives the inputs as time goes by.

    di 1_01 a door contact, di 1_02 a water meter (faster while the pump ro 2_01 runs), di 2_01 the feedback
    contact of ro 2_02, di 1_03 what do 1_01 is wired to; ai 1_01 a supply voltage, ai 2_01 follows ao 2_01 through
    a first-order lag, ai 2_02 a room temperature (0.1 V per degree) that drifts by the day and rises with the
    heater ro 2_03, ai 2_03 a light sensor that also sees the lamp ro 2_04, ai 2_04 noise. `day` is the length of a
    day in seconds.
    """

    def __init__(self, items: Mapping[Key, Item], day: float, seed: int, now: float) -> None:
        self._items, self._day = items, day
        self._random = random.Random(seed)
        self._start = self._now = now
        self._valve = 0.0
        self._heat = 0.0
        self._door_next = now + 3.0
        self._meter_next = now + 1.0
        senses = {
            "1_01": lambda: 8.7 + self._noise(0.004),
            "2_01": lambda: self._valve + self._noise(0.003),
            "2_02": lambda: self.celsius() / 10 + self._noise(0.002),
            "2_03": lambda: self._light() + self._noise(0.01),
            "2_04": lambda: self._noise(0.003),
        }
        for circuit, sense in senses.items():
            item = items.get(("ai", circuit))
            if isinstance(item, AnalogueInput):
                item.sense = sense
        air = {
            "temperature": self.celsius,
            "rel_humid": lambda: 62 - self.celsius(),
            "CO2": lambda: 600 + 150 * self._wave(900),
            "ambient_light": lambda: round(130 * self._light()),
            "uptime": lambda: float(int(self._now - self._start)),
        }
        for item in items.values():
            if isinstance(item, DataPoint) and item.name in air:
                item.sense = air[item.name]

    def advance(self, now: float) -> None:
        """Bring the world to this moment (monotonic seconds)."""
        elapsed, self._now = now - self._now, now
        self._valve += (self._level("ao", "2_01") - self._valve) * (1 - math.exp(-elapsed / LAG))
        self._heat += (4 * self._level("ro", "2_03") - self._heat) * (1 - math.exp(-elapsed / 60))
        while now >= self._door_next:
            is_opening = not self._level("di", "1_01")
            self._drive("1_01", int(is_opening))
            self._door_next += self._random.expovariate(1 / (5.0 if is_opening else 20.0)) + 0.5
        while now >= self._meter_next:
            self._drive("1_02", 1 - int(self._level("di", "1_02")))
            self._meter_next += 0.25 if self._level("ro", "2_01") else 1.5
        self._drive("2_01", int(self._level("ro", "2_02")))
        self._drive("1_03", int(self._level("do", "1_01") > 0))

    def celsius(self) -> float:
        """The room: coldest early in the day, with a slow ripple, in steps of 0.1 degrees."""
        return round(21 + 3 * self._wave(self._day) + 0.3 * self._wave(600) + self._heat, 1)

    def _light(self) -> float:
        clouds = 0.8 + 0.2 * self._wave(97)
        return max(0.0, 6 * self._wave(self._day) * clouds) + 2 * self._level("ro", "2_04")

    def _wave(self, period: float) -> float:
        return math.sin(2 * math.pi * (self._now - self._start) / period)

    def _noise(self, sigma: float) -> float:
        return self._random.gauss(0, sigma)

    def _level(self, dev: str, circuit: str) -> float:
        item = self._items.get((dev, circuit))
        match item:
            case None:
                return 0.0
            case AnalogueOutput():
                return item.level
            case _:
                level = item.live()
                return float(level) if isinstance(level, int | float) else 0.0

    def _drive(self, circuit: str, level: int) -> None:
        item = self._items.get(("di", circuit))
        if isinstance(item, DigitalInput):
            item.drive(level)
