"""Analogue objects: inputs and outputs with modes, registers, and the data points of sensors on Modbus."""

import math
import struct
from collections.abc import Callable, Mapping
from typing import Literal

from bridge.simulators.evok.items import Board, Item, JsonObject, Refused, chosen, limited, number

Modes = dict[str, JsonObject]

SECTION_INPUT: Modes = {
    "Disabled": {"value": 0},
    "Voltage10": {"value": 1, "unit": "V", "range": [0, 10]},
    "Voltage2V5": {"value": 2, "unit": "V", "range": [0, 2.5]},
    "Current20m": {"value": 3, "unit": "mA", "range": [0, 20]},
    "Resistance3W": {"value": 4, "unit": "Ohm", "range": [0, 1960]},
    "Resistance2W": {"value": 5, "unit": "Ohm", "range": [0, 100000]},
}
BRAIN_INPUT: Modes = {
    "Voltage": {"value": 0, "unit": "V", "range": [0, 10]},
    "Current": {"value": 1, "unit": "mA", "range": [0, 20]},
}
SECTION_OUTPUT: Modes = {"Voltage": {"unit": "V", "range": [0, 10]}}
BRAIN_OUTPUT: Modes = {
    "Voltage": {"value": 0, "unit": "V", "range": [0, 10]},
    "Current": {"value": 1, "unit": "mA", "range": [0, 20]},
    "Resistance": {"value": 2, "unit": "Ohm", "range": [0, 2000]},
}
Sense = Callable[[], float]


class AnalogueInput(Item):
    """ai: pushed when value or mode changes, and at every scan while it is NaN, which is not equal to itself."""

    keywords = ("mode",)
    slow = True

    def __init__(self, circuit: str, board: Board, modes: Modes, mode: str, value: float) -> None:
        super().__init__("ai", circuit, board)
        self.sense: Sense = lambda: value
        self._modes, self._mode = modes, mode
        self._seen: tuple[float, str] | None = (value, mode)
        self._forced: float | None = None

    def fields(self) -> JsonObject:
        value, mode = self._seen or (0.0, self._mode)
        about = self._modes[mode]
        return {
            "value": value,
            "unit": about.get("unit"),
            "mode": mode,
            "modes": self._modes,
            "range": about.get("range"),
        }

    def read(self) -> bool:
        current = (round(self.live(), 3), self._mode)
        changed = self._seen is None or self._seen != current
        self._seen = current
        return changed

    @property
    def is_restless(self) -> bool:
        """Whether Evok finds it changed at every scan, even without reading it."""
        return self._seen is not None and math.isnan(self._seen[0])

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        self._mode = chosen(wish.get("mode"), self._modes) or self._mode

    def live(self) -> float:
        return self.sense() if self._forced is None else self._forced

    def force(self, value: float | None) -> None:
        self._forced = value


class AnalogueOutput(Item):
    """ao of a section (4095 steps of 2.5 mV, read back rounded) or of the brain module (takes any number)."""

    keywords = ("value", "mode")
    slow = True

    def __init__(self, circuit: str, board: Board, kind: Literal["section", "brain"]) -> None:
        super().__init__("ao", circuit, board)
        self.level = 0.0
        self._is_brain = kind == "brain"
        self._modes = BRAIN_OUTPUT if self._is_brain else SECTION_OUTPUT
        self._mode = "Voltage"
        self._seen: float | None = 0.0

    def fields(self) -> JsonObject:
        value, about = self._seen or 0.0, self._modes[self._mode]
        head: JsonObject = {"mode": self._mode, "modes": self._modes}
        if self._is_brain:
            return head | {"unit": about["unit"], "value": value}
        return head | {"value": value, "unit": about["unit"], "range": about["range"]}

    def read(self) -> bool:
        changed = self._seen != self.level
        self._seen = self.level
        return changed

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("value") is not None:
            value = number(wish["value"])
            steps = min(4095, max(0, round(value / 0.0025)))
            self.level = value if self._is_brain else round(steps * 0.0025 + 1e-9, 3)
        self._mode = chosen(wish.get("mode"), self._modes) or self._mode

    def live(self) -> float:
        return self.level


class Register(Item):
    """register: a 16-bit word, never pushed; some show inputs or outputs, the others keep what is written."""

    keywords = ("value",)

    def __init__(self, circuit: str, board: Board, source: Callable[[], int] | None) -> None:
        super().__init__("register", circuit, board)
        self._source = source
        self._word = 0
        self._seen: int | None = 0

    def fields(self) -> JsonObject:
        return {"value": self._seen}

    def read(self) -> bool:
        self._seen = self.live()
        return False

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("value") is not None:
            self._word = limited(wish["value"], 0xFFFF)

    def live(self) -> int:
        return (self._source() if self._source else self._word) & 0xFFFF


class DataPoint(Item):
    """data_point: a float32 of a Modbus sensor, with the artefacts of one; NaN becomes a text, and only once."""

    def __init__(self, circuit: str, board: Board, name: str, unit: str, value: float) -> None:
        super().__init__("data_point", circuit, board)
        self.name, self.unit = name, unit
        self.sense: Sense = lambda: value
        self._forced: float | None = None
        self._seen: float | str | None = self._word()

    def fields(self) -> JsonObject:
        return {"value": self._seen, "name": self.name, "unit": self.unit}

    def read(self) -> bool:
        word = self._word()
        changed = self._seen != word
        self._seen = word
        return changed

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        raise Refused("a data point is read only")

    def live(self) -> float:
        return self.sense() if self._forced is None else self._forced

    def force(self, value: float | None) -> None:
        self._forced = value

    def _word(self) -> float | str:
        value = self.live()
        if math.isnan(value):
            return "NaN"
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
        return rounded
