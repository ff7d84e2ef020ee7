"""The recorded plant: an L533 of two boards, two extensions and an air sensor; 154 objects with the rest of Evok.

Circuits, order of keys, modes and first values are those of the recordings.
"""

import struct
from collections.abc import Callable, Sequence

from bridge.simulators.evok.analogue import (
    BRAIN_INPUT,
    SECTION_INPUT,
    AnalogueInput,
    AnalogueOutput,
    DataPoint,
    Register,
)
from bridge.simulators.evok.digital import DigitalInput, DigitalOutput, Relay, Watchdog
from bridge.simulators.evok.items import Item
from bridge.simulators.evok.system import Switch
from bridge.simulators.evok.unit import Unit

POINTS: tuple[tuple[int, str, str, float], ...] = (
    (0, "temperature", "°C", 22.4),
    (6, "rel_humid", "%", 41.5),
    (8, "dew_point", "°C", 9.1),
    (10, "abs_humid", "%", 8.3),
    (18, "CO2", "ppm", 612.0),
    (26, "VOC_index", "N/A", 55.0),
    (28, "VOC_precision", "N/A", 2.0),
    (34, "VOC_CO2_eq", "ppm", 640.0),
    (42, "ambient_light", "lux", 130.5),
    (76, "atm_pressure", "hPa", 987.6),
    (84, "uptime", "sec", 1234.0),
)
SCAN_TIME = 0.0013  # seconds that a scan takes: at 50 Hz the real one reached 47 messages a second
Sources = dict[int, Callable[[], int]]


def units(rate: float, slow_every: int, is_old: bool) -> list[Unit]:
    """All units with their objects; extensions scan 10 times a second, the sensor 5 times, whatever `rate` is."""
    interval = 1 / rate if rate else 0.0
    period = interval + SCAN_TIME if rate else 0.0
    first, second, third = ("UART_1_1", "UART_2_2", "UART_3_3") if is_old else ("xS51", "xS11", "IAQ")
    brain = Unit("1", "built-in", 1, interval, period, slow_every)
    section = Unit("2", "built-in", 2, interval, period, slow_every)
    xs51 = Unit(first, "extensions", 1, 0.1, 0.1)
    xs11 = Unit(second, "extensions", 2, 0.1, 0.1)
    air = Unit(third, "sensors", 1, 0.02, 0.2)
    _furnish_brain(brain)
    _furnish_section(section, is_old)
    _furnish_xs51(xs51, is_old)
    relays = _relays(xs11, 13, is_old)
    xs11.items = [*relays, *_inputs(xs11, 12), *_leds(xs11, 3), Watchdog(f"{second}_01", xs11, relays)]
    air.items = [DataPoint(f"{third}_{n}", air, name, unit, value) for n, name, unit, value in POINTS]
    return [brain, section, xs51, xs11, air]


def _furnish_brain(unit: Unit) -> None:
    outputs = [DigitalOutput(f"1_{n:02}", unit) for n in range(1, 5)]
    for output in outputs:
        output.group = outputs
    inputs = _inputs(unit, 4)
    sources: Sources = {0: lambda: _bits(inputs), 1: lambda: _bits(outputs)}
    sources |= {8 + 2 * n: _counter(item) for n, item in enumerate(inputs)}
    unit.items = [
        *outputs,
        *inputs,
        AnalogueInput("1_01", unit, BRAIN_INPUT, "Voltage", 8.703),
        AnalogueOutput("1_01", unit, "brain"),
        *_leds(unit, 4),
        Watchdog("1_01", unit, outputs),
        *_registers(unit, 21, sources),
        Switch("owpower", "1", unit),
        Switch("nv_save", "1", unit),
    ]


def _furnish_section(unit: Unit, is_old: bool) -> None:
    relays = _relays(unit, 5, is_old)
    outputs = [AnalogueOutput(f"2_{n:02}", unit, "section") for n in range(1, 5)]
    unit.items = [
        *relays,
        *_inputs(unit, 4),
        *(AnalogueInput(f"2_{n:02}", unit, SECTION_INPUT, "Voltage10", -0.003) for n in range(1, 5)),
        *outputs,
        Watchdog("2_01", unit, [*relays, *outputs]),
    ]


def _furnish_xs51(unit: Unit, is_old: bool) -> None:
    relays, inputs = _relays(unit, 5, is_old), _inputs(unit, 4)
    volts = [
        AnalogueInput(f"{unit.name}_{n:02}", unit, SECTION_INPUT, "Voltage10", 1.25 * (n - 1)) for n in range(1, 5)
    ]
    outputs = [AnalogueOutput(f"{unit.name}_{n:02}", unit, "section") for n in range(1, 5)]
    sources: Sources = {0: lambda: _bits(inputs)}
    sources |= {6 + 2 * n + half: _word(item, half) for n, item in enumerate(volts) for half in (0, 1)}
    sources |= {15 + 2 * n: _counter(item) for n, item in enumerate(inputs)}
    unit.items = [
        *relays,
        *inputs,
        *volts,
        *outputs,
        Watchdog(f"{unit.name}_01", unit, [*relays, *outputs]),
        *_registers(unit, 27, sources),
    ]


def _relays(unit: Unit, count: int, is_old: bool) -> list[Item]:
    circuits = [f"{unit.name}_{n:02}" for n in range(1, count + 1)]
    if is_old:  # Evok 2 has one kind of relay, and all of them take a timeout
        return [DigitalOutput(circuit, unit, dev="ro", has_pwm=False) for circuit in circuits]
    return [Relay("ro", circuit, unit) for circuit in circuits]


def _inputs(unit: Unit, count: int) -> list[DigitalInput]:
    return [DigitalInput(f"{unit.name}_{n:02}", unit) for n in range(1, count + 1)]


def _leds(unit: Unit, count: int) -> list[Item]:
    return [Relay("led", f"{unit.name}_{n:02}", unit) for n in range(1, count + 1)]


def _registers(unit: Unit, count: int, sources: Sources) -> list[Item]:
    return [Register(f"{unit.name}_{n}", unit, sources.get(n)) for n in range(count)]


def _bits(items: Sequence[DigitalInput | DigitalOutput]) -> int:
    return sum(item.level << n for n, item in enumerate(items))


def _counter(item: DigitalInput) -> Callable[[], int]:
    return lambda: item.counter


def _word(item: AnalogueInput, half: int) -> Callable[[], int]:
    """One half of a float32, the low word first."""
    return lambda: int(struct.unpack("<HH", struct.pack("<f", item.live()))[half])
