"""From an order to a recording: which numbers a measurement gives on this cell."""

from dataclasses import dataclass, field

import numpy as np

from bridge.simulators.im7.cell import Cell, Track
from bridge.simulators.im7.errors import JsonObject, Refused
from bridge.simulators.im7.orders import Order
from bridge.simulators.im7.parameters import AC
from bridge.simulators.im7.programs import program_of
from bridge.simulators.im7.recording import Recording
from bridge.simulators.im7.spectra import CURRENT, VOLTAGE, spectrum
from bridge.simulators.im7.stops import first_stop

TITLES = {  # of these only the first is known from a device
    "ocv": "OCV/OCP Scan",
    "poga": "Polarization",
    "ramp": "Ramp",
    "cv": "Cyclic Voltammetry",
    "steady_stairs": "Steady State Stairs",
    "npv": "Normal Pulse Voltammetry",
    "dpv": "Differential Pulse Voltammetry",
    "swv": "Square Wave Voltammetry",
    "wave": "Arbitrary Wave",
    "wave_file": "Arbitrary Wave",
    "fast_cycling": "Fast Cycling",
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions a measurement is made: the potentiostat's, the firmware's, and chance."""

    at: float  # seconds since the instrument was switched on
    protocol: int
    is_galvanostatic: bool = False
    channels: tuple[str, ...] = ()
    wave: bytes = b""  # little-endian float64, what `wave_file` plays
    seed: int = 1
    cell: Cell = field(default_factory=Cell)


def measured(order: Order, given: Conditions) -> Recording:
    """All numbers of a measurement; Refused when there are too many of them or the wave is no good."""
    rng = np.random.default_rng(given.seed)
    if order.type in AC:
        return spectrum(order, given.cell, order.number("bias"), has_waves=given.protocol >= 12, rng=rng)
    time, value = program_of(order, _wave(order, given.wave))
    voltage, current = _answers(order, given, time, value, rng)
    tracks = {"time": time, "voltage": voltage, "current": current}
    last = "debug" if given.protocol < 7 else "shunt"
    extra = {name: 25.0 + 0.05 * rng.standard_normal(len(time)) for name in given.channels}
    shunt = np.zeros(len(time)) if last == "debug" else _shunt(order, current)
    columns = [*tracks.values(), shunt, *extra.values()]
    rows, limit = len(time), None
    if (stop := first_stop(order.stops, tracks)) is not None:
        rows, limit = stop[0] + 1, stop[1]
    matrix = np.stack([column[:rows] for column in columns])
    return Recording(_header(order, last, given.channels), matrix, time[:rows], limit=limit)


def _answers(
    order: Order, given: Conditions, time: Track, value: Track, rng: np.random.Generator
) -> tuple[Track, Track]:
    """Voltage and current of all rows, with the noise of the instrument."""
    noise = rng.standard_normal(len(time))
    rest = given.cell.open_circuit(given.at + time)
    if order.type == "ocv":
        return rest + 1.5e-6 * noise, 4e-13 + 2e-14 * rng.standard_normal(len(time))
    if given.is_galvanostatic:
        return given.cell.potential(time, value, float(rest[0])) + 1.5e-6 * noise, value
    current = given.cell.current(time, value, float(rest[0]))
    return value, current + (1e-9 + 1e-5 * np.abs(current)) * noise


def _shunt(order: Order, current: Track) -> Track:
    """The index of the current range: one per decade below 1 A."""
    if order.type == "ocv":
        return np.full(len(current), 11.0)
    if not order.parameters.get("autorange"):
        return np.full(len(current), np.clip(np.ceil(-np.log10(order.number("current_range", 1.0))), 0, 11))
    return np.clip(np.floor(-np.log10(np.maximum(np.abs(current), 1e-12))), 0, 11)


def _wave(order: Order, stored: bytes) -> Track:
    """The values of a wave job; only `wave_file` needs the stored ones."""
    values = order.parameters.get("values")
    if isinstance(values, list):
        return np.array(values, dtype=np.float64)
    if order.type == "wave_file" and (not stored or len(stored) % 8):
        raise Refused("RESOURCE_CONTENT_INVALID", order.text("resource_id"))
    return np.frombuffer(stored, dtype="<f8").astype(np.float64)


def _header(order: Order, last: str, channels: tuple[str, ...]) -> JsonObject:
    return {
        "measurement_type": TITLES[order.type],
        "measurement_type_short": order.type,
        "columns": {
            "dimensions": ["time", "voltage", "current", last, *channels],
            "units": ["s", "V", "A", "bits" if last == "debug" else "index", *["°C"] * len(channels)],
            "urns": ["time", VOLTAGE, CURRENT, last, *(f"40511:CH:{name}" for name in channels)],
        },
    }
