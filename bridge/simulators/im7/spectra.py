"""Impedance spectra: the frequencies in the order of measurement, and what is measured at each of them."""

from dataclasses import dataclass

import numpy as np

from bridge.simulators.im7.cell import Cell, Track
from bridge.simulators.im7.errors import JsonObject
from bridge.simulators.im7.orders import Order
from bridge.simulators.im7.recording import Recording

MAINS_LIMIT = 66.0  # hertz: above it the upper number of points per decade holds
VOLTAGE, CURRENT = "37128:POT:U~43639:PAD_U", "37128:POT:I~43639:PAD_I"
PATH = (("dc", "{}"), ("amplitude", "{}"), ("gain", ""), ("filter", ""), ("thd", "%"), ("drift", "1/period"))
IMPEDANCE = (
    ("|impedance|", "Ω"), ("phase", "rad"), ("impedance error", ""), ("phase error", ""),
    ("impedance drift", ""), ("phase drift", ""),
)  # fmt: skip
POTENTIOSTAT = (("dc", "V"), ("shunt", ""), ("bandwith", ""), ("filter", "Hz"))  # the vendor's spelling
META = (("frequency", "Hz"), ("periods", ""), ("time", "s"))
WAVES = (("wave_id", ""), ("wave_size", ""))  # newer firmware only; -1 and 0: no wave in the result
WAVE_SIZE = 32


@dataclass(frozen=True, slots=True)
class Sines:
    """What is applied: one element per frequency."""

    frequency: Track
    amplitude: Track
    before: Track  # seconds until the sine is steady
    periods: Track

    @property
    def seconds(self) -> Track:
        return self.before + self.periods / self.frequency


def sines_of(order: Order) -> Sines:
    given = order.part("frequency_range")
    if order.type == "eis_multisine_table":
        base = float(given["fundamental_frequency"])
        points = [{**given, "frequency": base * float(tone["harmonic"])} for tone in given["harmonics"]]
    elif "spectrum" in given:
        points = given["spectrum"]
    else:
        points = [{**given, "frequency": float(frequency)} for frequency in _generated(given)]

    def of(name: str) -> Track:
        return np.array([float(point[name]) for point in points])

    frequency = of("frequency")
    return Sines(
        frequency,
        of("amplitude"),
        np.maximum(of("pre_duration"), of("pre_waves") / frequency),
        np.maximum(np.ceil(of("meas_duration") * frequency), of("meas_waves")),
    )


def _generated(given: dict[str, float]) -> list[float]:
    """From the start up to the maximum, then down to the minimum: frequencies can repeat."""
    low, start, high = given["min_frequency"], given["start_frequency"], given["max_frequency"]

    def span(first: float, last: float) -> list[float]:
        middle = 10 ** ((np.log10(first) + np.log10(last)) / 2)
        dense = given["points_per_decade_upper" if middle > MAINS_LIMIT else "points_per_decade_lower"]
        count = max(int(np.ceil(abs(np.log10(last / first)) * dense)), 1)
        return [float(f) for f in np.geomspace(first, last, count + 1)]

    down = span(high, low)
    if low < MAINS_LIMIT < high:
        down = span(high, MAINS_LIMIT)[:-1] + span(MAINS_LIMIT, low)
    return (span(start, high)[:-1] if start < high else []) + down


def spectrum(order: Order, cell: Cell, bias: float, *, has_waves: bool, rng: np.random.Generator) -> Recording:
    """The whole spectrum; `has_waves` adds two columns to the meta data."""
    sines = sines_of(order)
    count = len(sines.frequency)
    z = cell.impedance(sines.frequency) * (1 + 3e-4 * rng.standard_normal(count))
    phase = np.angle(z) + 2e-4 * rng.standard_normal(count)
    due = np.cumsum(sines.seconds)
    zero = np.zeros(count)
    meta = [
        sines.frequency,
        sines.periods,
        due,
        *([zero - 1, zero] if has_waves else []),
    ]
    impedance = [np.abs(z), phase, zero + 3e-4, zero + 2e-4, 1e-5 * rng.standard_normal(count), zero]
    voltage = [zero + bias, sines.amplitude, zero + 1, zero + 3, zero + 0.1, zero]
    current = [zero + bias / 400, sines.amplitude / np.abs(z), zero + 10, zero + 3, zero + 0.2, zero]
    potentiostat = [zero + bias, zero + 5, zero + 1, zero]
    columns = [*meta, *impedance, *voltage, *current, *potentiostat]
    layout = (
        ("meta", len(meta)), ("impedances", len(impedance)), ("paths", len(voltage)), ("paths", len(current)),
        ("potentiostats", len(potentiostat)),
    )  # fmt: skip
    return Recording(_header(has_waves), np.stack(columns), due, layout)


def preview(recording: Recording, row: int, protocol: int) -> JsonObject:
    """The event that previews the sines of one frequency: voltage and current."""
    blocks = recording.point(row)
    angle = 2 * np.pi * np.arange(WAVE_SIZE) / WAVE_SIZE
    phase = blocks["impedances"][0][1]
    (_, voltage, *_), (_, current, *_) = blocks["paths"]
    waves: list[list[float]] = [(voltage * np.sin(angle)).tolist(), (current * np.sin(angle - phase)).tolist()]
    place: JsonObject = {"offset": 0, "full_wave_size": WAVE_SIZE} if protocol >= 8 else {"position": 0}
    return {"type": "LIVE_DATA_WAVES", "paths_waves": waves, **place}


def _header(has_waves: bool) -> JsonObject:
    return {
        "measurement_type": "Electrochemical Impedance Spectroscopy",
        "measurement_type_short": "eis",
        "meta": _flat(META + WAVES if has_waves else META),
        "paths": [_path("voltage", VOLTAGE, "V"), _path("current", CURRENT, "A")],
        "impedances": [
            {
                "impedance_name": "cell",
                "name": "cell",
                "numerator": VOLTAGE,
                "denominator": CURRENT,
                **_flat(IMPEDANCE, f"{VOLTAGE}/{CURRENT}"),
            }
        ],
        "potentiostats": [
            {
                "name": "37128:POT",
                "uri": "37128:POT",
                "identifier": "37128:POT",
                **_flat(POTENTIOSTAT, "37128:POT"),
            }
        ],
        "async_paths": [],
    }


def _path(name: str, uri: str, unit: str) -> JsonObject:
    columns = tuple((dimension, given.format(unit)) for dimension, given in PATH)
    return {"name": name, "uri": uri, "polynomial": [0.0, 1.0], **_flat(columns, uri)}


def _flat(columns: tuple[tuple[str, str], ...], urn: str = "") -> JsonObject:
    return {
        "dimensions": [dimension for dimension, _ in columns],
        "units": [unit for _, unit in columns],
        "urns": [urn or dimension for dimension, _ in columns],
    }
