"""A conversation with the Evok driver in code: no sockets, and time passes only when told to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from bridge.driver import Effect, Fence, Remember, Send
from bridge.drivers.evok import Evok
from bridge.drivers.evok_options import EvokOptions
from bridge.model import Command, Declared, Json, Point, Reply, Update

Object = dict[str, Any]
T = TypeVar("T")

AI_MODES = {
    "Voltage": {"value": 0, "unit": "V", "range": [0, 10]},
    "Current": {"value": 1, "unit": "mA", "range": [0, 20]},
}


def di(circuit: str, value: object = 0, counter: object = 0, **more: object) -> Object:
    return {
        "dev": "di",
        "circuit": circuit,
        "value": value,
        "debounce": 50,
        "counter_modes": ["Enabled", "Disabled"],
        "counter_mode": "Enabled",
        "counter": counter,
        "mode": "Simple",
        "modes": ["Simple", "DirectSwitch"],
        **more,
    }


def do(circuit: str, value: object = 0, **more: object) -> Object:
    shape = {"pending": False, "mode": "Simple", "modes": ["Simple", "PWM"], "pwm_freq": 4800.0, "pwm_duty": 0}
    return {"dev": "do", "circuit": circuit, "value": value, **shape, **more}


def ro(circuit: str, value: object = 0, **more: object) -> Object:
    return {"dev": "ro", "circuit": circuit, "value": value, **more}


def ai(circuit: str, value: object = 8.703, mode: str = "Voltage", **more: object) -> Object:
    shape: Object = dict(AI_MODES.get(mode, {"unit": None, "range": None}))
    given = {"unit": shape["unit"], "mode": mode, "modes": AI_MODES, "range": shape["range"]}
    return {"dev": "ai", "circuit": circuit, "value": value, **given, **more}


def ao(circuit: str, value: object = 0.0, **more: object) -> Object:
    modes = {"Voltage": {"unit": "V", "range": [0, 10]}}
    given = {"mode": "Voltage", "modes": modes, "unit": "V", "range": [0, 10]}
    return {"dev": "ao", "circuit": circuit, "value": value, **given, **more}


def temp(value: object = 21.5, time: object = 100.0, **more: object) -> Object:
    given = {"address": "28.67", "lost": False, "time": time, "interval": 15, "type": "DS18B20"}
    return {"dev": "temp", "circuit": "2867", "value": value, **given, **more}


def slave(circuit: str, last_comm: object = 0.01, scan_interval: float = 0.02, kind: str = "TCP") -> Object:
    return {
        "dev": "modbus_slave",
        "circuit": circuit,
        "last_comm": last_comm,
        "modbus_type": kind,
        "scan_interval": scan_interval,
    }


def info(circuit: str, family: str, model: str, sn: object = None) -> Object:
    return {"dev": "device_info", "circuit": circuit, "family": family, "model": model, "sn": sn, "board_count": 2}


RUN: Object = {"dev": "run", "circuit": "alias", "save": False, "aliases": {}}


def host(*instead: Object, without: str = "") -> list[Object]:
    """Everything of a small unit, with these objects in the place of their likes."""
    objects = [
        di("1_01"),
        do("1_01"),
        do("1_02"),
        ai("1_01"),
        ao("2_01"),
        ro("2_01"),
        ro("2_02"),
        {"dev": "led", "circuit": "1_01", "value": 0},
        {"dev": "wd", "circuit": "1_01", "value": 0, "timeout": 5000, "was_wd_reset": 0, "nv_save": 0},
        {"dev": "register", "circuit": "1_5", "value": 77},
        {"dev": "owbus", "circuit": "OWFS", "bus": "OWFS", "scan_interval": 10, "interval": 60, "do_scan": False},
        {"dev": "nv_save", "circuit": "1", "value": 0},
        temp(),
        ro("xS51_01"),
        ao("xS51_01"),
        di("xS51_01"),
        slave("1"),
        slave("2"),
        slave("xS51", scan_interval=0.1),
        info("L533", "Neuron", "L533", 123),
        info("xS51", "Extension", "xS51"),
        RUN,
    ]
    replaced = {(item["dev"], item["circuit"]): item for item in instead}
    kept = [replaced.pop((item["dev"], item["circuit"]), item) for item in objects]
    return [item for item in (*kept, *replaced.values()) if item["dev"] != without]


class Talk:
    """One connection. `events`: all effects so far, in order."""

    def __init__(
        self,
        *,
        memory: Mapping[str, Json] | None = None,
        carried: Sequence[Command] = (),
        reply: Sequence[Object] | None = (),
        **options: Any,
    ) -> None:
        self.now = 1000.0
        self.driver = Evok(EvokOptions(**options), memory or {"_durable": True}, carried)
        self.events: list[Effect] = []
        self.take(self.driver.start(self.now))
        if reply is not None:
            self.hear(*(reply or host()))

    def take(self, effects: Any) -> list[Effect]:
        fresh: list[Effect] = list(effects)
        self.events += fresh
        return fresh

    def hear(self, *objects: Object, after: float = 0.0) -> list[Effect]:
        """Evok sends one list."""
        self.now += after
        return self.take(self.driver.receive(json.dumps(objects).encode(), self.now))

    def raw(self, frame: str | bytes) -> list[Effect]:
        return self.take(self.driver.receive(frame, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes; the driver is woken whenever it wishes."""
        end, seen = self.now + seconds, len(self.events)
        for _ in range(1000):
            wake = self.driver.wake_at
            if wake is None or wake > end:
                self.now = end
                return self.events[seen:]
            self.now = max(self.now, wake)
            self.take(self.driver.tick(self.now))
        raise AssertionError("the driver wants to be woken for ever")

    def ask(self, key: str, value: Json, name: str = "c1", timeout: float | None = None) -> list[Effect]:
        """Somebody sets a point."""
        return self.take(self.driver.submit(Command(name, key, value, timeout=timeout), self.now))

    def call(self, action: str, name: str = "c1", within: float | None = None, **args: Json) -> list[Effect]:
        """Somebody calls an action."""
        return self.take(self.driver.submit(Command(name, action, args=args, timeout=within), self.now))

    def pass_fence(self, after: float = 0.001) -> list[Effect]:
        """The pong for the newest fence."""
        self.now += after
        token = self.of(Fence)[-1].token
        return self.take(self.driver.fenced(token, self.now))

    def of(self, kind: type[T], effects: Sequence[Effect] | None = None) -> list[T]:
        return [effect for effect in (self.events if effects is None else effects) if isinstance(effect, kind)]

    @property
    def sent(self) -> list[Object]:
        """All commands on the wire but `all`."""
        messages = [json.loads(send.frame) for send in self.of(Send)]
        return [message for message in messages if message["cmd"] != "all"]

    @property
    def asked(self) -> int:
        """How often `all` went out."""
        return len(self.of(Send)) - len(self.sent)

    @property
    def replies(self) -> list[tuple[str, str, str]]:
        return [(reply.id, reply.outcome.value, reply.detail) for reply in self.of(Reply)]

    @property
    def outcomes(self) -> list[str]:
        return [reply.outcome.value for reply in self.of(Reply)]

    @property
    def remembered(self) -> list[tuple[str, Json]]:
        return [(item.key, item.value) for item in self.of(Remember) if item.key != "counters"]

    @property
    def points(self) -> dict[str, Point]:
        groups = {declared.group: declared.points for declared in self.of(Declared)}
        return {point.key: point for points in groups.values() for point in points}

    def last(self, key: str) -> Update:
        return [update for update in self.of(Update) if update.key == key][-1]
