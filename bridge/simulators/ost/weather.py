"""The weather over the observatory, which changes by itself: clouds that wander, and showers."""

import math
import random
from dataclasses import dataclass, field

STEP = 2.0  # seconds between two looks at the sky


@dataclass(slots=True)
class Weather:
    """A shower of `shower` seconds every `dry` seconds, unless somebody decided (`held`); dry 0: never."""

    dry: float
    shower: float = 60.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    held: bool | None = None
    clock: float = 0.0
    clouds: float = 20.0

    @property
    def rains(self) -> bool:
        if self.held is not None:
            return self.held
        return self.dry > 0 and self.clock % (self.dry + self.shower) >= self.dry

    def pass_on(self) -> None:
        self.clock += STEP
        target = 95.0 if self.rains else 25.0
        self.clouds += (target - self.clouds) * 0.2 + self.chance.uniform(-2, 2)
        self.clouds = min(100.0, max(0.0, self.clouds))

    def measures(self) -> dict[str, float]:
        slow = math.sin(self.clock / 300)
        return {
            "clouds": round(self.clouds, 1),
            "hum": round(55 + 0.4 * self.clouds + 3 * slow, 1),
            "precip": round(self.chance.uniform(0.5, 2.0), 2) if self.rains else 0.0,
            "press": round(1013 + 2 * slow, 1),
            "sqm": round(21.4 - 0.05 * self.clouds, 2),
            "temp": round(8 + 2 * slow, 1),
        }
