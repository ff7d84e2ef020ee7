"""Digital objects: inputs with counters, outputs with timers and PWM, relays, LEDs and the watchdog."""

import asyncio
from collections.abc import Mapping, Sequence

from bridge.simulators.evok.items import Board, Item, JsonObject, Refused, chosen, limited, number, whole


class Relay(Item):
    """ro and led: a value and nothing else."""

    keywords = ("value",)

    def __init__(self, dev: str, circuit: str, board: Board) -> None:
        super().__init__(dev, circuit, board)
        self.level = 0
        self._seen: int | None = 0

    def fields(self) -> JsonObject:
        return {"value": self._seen or 0}

    def read(self) -> bool:
        changed = self._seen != self.level
        self._seen = self.level
        return changed

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("value") is not None:
            self.level = int(bool(whole(wish["value"])))

    def live(self) -> int:
        return self.level


class DigitalOutput(Item):
    """do (and every relay of Evok 2): timed switching, and PWM whose frequency its whole group shares."""

    keywords = ("value", "timeout", "mode", "pwm_freq", "pwm_duty")

    def __init__(self, circuit: str, board: Board, *, dev: str = "do", has_pwm: bool = True) -> None:
        super().__init__(dev, circuit, board)
        self.level = 0
        self.duty: float = 0
        self.frequency = 4800.0
        self.mode = "Simple"
        self.group: Sequence[DigitalOutput] = (self,)
        self._has_pwm = has_pwm
        self._seen: tuple[int, float, float] | None = (0, 0, 4800.0)
        self._touched = 0  # scans until a new frequency shows
        self._timer: asyncio.TimerHandle | None = None
        self._had_timer = False

    def fields(self) -> JsonObject:
        value, duty, frequency = self._seen or (0, 0, 4800.0)
        common: JsonObject = {"value": value, "pending": self._had_timer, "mode": self.mode}
        if not self._has_pwm:
            return common | {"modes": ["Simple"]}
        return common | {"modes": ["Simple", "PWM"], "pwm_freq": frequency, "pwm_duty": duty}

    def read(self) -> bool:
        """A new frequency shows in the second event only: the first still has the old one (recorded)."""
        shown = self._seen[2] if self._seen else self.frequency
        self._touched = max(0, self._touched - 1)
        current = (self.level, self.duty, shown if self._touched else self.frequency)
        changed = self._seen != current or self._touched == 2
        self._seen = current
        return changed

    def forget(self) -> None:
        self._seen = None
        self._had_timer = False
        self._stop_timer()

    def write(self, wish: Mapping[str, object]) -> None:
        value, timeout = wish.get("value"), wish.get("timeout")
        level = None if value is None else int(bool(whole(value)))
        duty = None if wish.get("pwm_duty") is None else number(wish["pwm_duty"])
        if level is not None and duty is not None and duty != 100 * level:
            raise Refused("value and pwm_duty contradict each other")
        seconds = None if timeout is None else number(timeout)
        self._stop_timer()
        if wish.get("pwm_freq") is not None:
            self._set_frequency(number(wish["pwm_freq"]))
        if level is not None:
            self._switch(level)
        elif duty is not None and 0 <= duty <= 100:
            self.level, self.duty, self.mode = 0, duty or 0, "PWM"
        if seconds is not None:
            # Evok calls an output pending when its timer is not 0, and a spent timer is None: true for ever after.
            self._had_timer = True
            if level is not None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(seconds, self._time_is_up, 1 - level)

    def live(self) -> float:
        return self.duty / 100 if self.duty else self.level

    def _switch(self, level: int) -> None:
        self.level, self.duty, self.mode = level, 0, "Simple"

    def _set_frequency(self, frequency: float) -> None:
        if not self._has_pwm or not 0 < frequency <= 48_000_000:
            raise Refused("no such frequency")
        for output in self.group:
            output.frequency = frequency
            output._touched = 3

    def _time_is_up(self, level: int) -> None:
        self._timer = None
        if self.board is not None and self.board.is_reachable:
            self._switch(level)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DigitalInput(Item):
    """di: its counter counts rising edges, also those between two scans."""

    keywords = ("debounce", "mode", "counter", "counter_mode", "ds_mode")

    def __init__(self, circuit: str, board: Board) -> None:
        super().__init__("di", circuit, board)
        self.level = 0
        self.counter = 0
        self.debounce = 50
        self.mode = "Simple"
        self.ds_mode = "Simple"
        self.counter_mode = "Enabled"
        self._seen: tuple[int, int] | None = (0, 0)
        self._is_forced = False

    def fields(self) -> JsonObject:
        value, counter = self._seen or (0, 0)
        shape: JsonObject = {
            "value": value,
            "debounce": self.debounce,
            "counter_modes": ["Enabled", "Disabled"],
            "counter_mode": self.counter_mode,
            "counter": counter,
            "mode": self.mode,
            "modes": ["Simple", "DirectSwitch"],
        }
        if self.mode == "DirectSwitch":
            shape |= {"ds_mode": self.ds_mode, "ds_modes": ["Simple", "Inverted", "Toggle"]}
        return shape

    def read(self) -> bool:
        current = (self.level, self.counter)
        changed = self._seen != current
        self._seen = current
        return changed

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("debounce") is not None:
            self.debounce = limited(wish["debounce"], 0xFFFF)
        if wish.get("counter") is not None:
            self.counter = limited(wish["counter"], 0xFFFF_FFFF)
        self.counter_mode = chosen(wish.get("counter_mode"), ("Enabled", "Disabled")) or self.counter_mode
        self.mode = chosen(wish.get("mode"), ("Simple", "DirectSwitch")) or self.mode
        # Sticky: it shows the last one that was not simple.
        self.ds_mode = chosen(wish.get("ds_mode"), ("Inverted", "Toggle")) or self.ds_mode

    def live(self) -> int:
        return self.level

    def drive(self, level: int) -> None:
        """What the world puts on the terminal."""
        if not self._is_forced:
            self._become(level)

    def pulse(self) -> None:
        """A pulse too short for any scan: only the counter tells."""
        level = self.level
        self._become(1 - level)
        self._become(level)

    def force(self, value: float | None) -> None:
        self._is_forced = value is not None
        if value is not None:
            self._become(int(bool(value)))

    def _become(self, level: int) -> None:
        if level and not self.level and self.counter_mode == "Enabled":
            self.counter = (self.counter + 1) & 0xFFFF_FFFF
        self.level = level


class Watchdog(Item):
    """wd: value 0 to 3 (bit 1: it has reset the section)."""

    keywords = ("value", "timeout", "reset", "nv_save")

    def __init__(self, circuit: str, board: Board, outputs: Sequence[Item]) -> None:
        super().__init__("wd", circuit, board)
        self.level = 0
        self.timeout = 5000
        self.nv_save = 0
        self._outputs = outputs
        self._seen: int | None = 0

    def fields(self) -> JsonObject:
        value = self._seen or 0
        return {"value": value, "timeout": self.timeout, "was_wd_reset": value >> 1, "nv_save": self.nv_save}

    def read(self) -> bool:
        changed = self._seen != self.level
        self._seen = self.level
        return changed

    def forget(self) -> None:
        self._seen = None

    def write(self, wish: Mapping[str, object]) -> None:
        if wish.get("value") is not None:
            self.level = limited(wish["value"], 3)
        if wish.get("timeout") is not None:
            self.timeout = limited(wish["timeout"], 0xFFFF)
        if wish.get("nv_save") is not None:
            self.nv_save = int(bool(whole(wish["nv_save"])))
        if wish.get("reset") is not None and whole(wish["reset"]):  # reboots the section
            for output in self._outputs:
                output.write({"value": 0})
