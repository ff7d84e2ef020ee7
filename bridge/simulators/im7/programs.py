"""What the potentiostat is told to do during a DC measurement: the value over time, for each job type."""

from collections.abc import Callable

import numpy as np

from bridge.simulators.im7.cell import Track
from bridge.simulators.im7.errors import Refused
from bridge.simulators.im7.orders import Order

MAX_ROWS = 12_000_000  # of a measurement: beyond that the instrument is out of memory


def time_of(order: Order, seconds: float) -> Track:
    """The instants of the rows; the first is at 1/rate, not at 0."""
    rate = order.number("output_data_rate")
    rows = max(round(seconds * rate), 1)
    if rows > MAX_ROWS:
        raise Refused("OUT_OF_MEMORY")
    return np.arange(1, rows + 1, dtype=np.float64) / rate


def program_of(order: Order, wave: Track) -> tuple[Track, Track]:
    """Time and value of all rows (volts, or amperes when galvanostatic); `wave` is what a wave job plays."""
    if order.type in {"wave", "wave_file"}:
        return _wave(order, wave)
    return PROGRAMS[order.type](order)


def _poga(order: Order) -> tuple[Track, Track]:
    time = time_of(order, order.number("duration"))
    return time, np.full(len(time), order.number("bias"))


def _ocv(order: Order) -> tuple[Track, Track]:
    time = time_of(order, order.number("duration"))
    return time, np.zeros(len(time))


def _through(order: Order, corners: list[float]) -> tuple[Track, Track]:
    """A path through corners at the scan rate, in stairs where a step height is given."""
    lengths = np.abs(np.diff(np.array(corners, dtype=np.float64)))
    instants = np.concatenate([[0.0], np.cumsum(lengths)]) / order.number("scan_rate")
    time = time_of(order, float(instants[-1]))
    value = np.interp(time, instants, corners)
    if (step := order.number("step_height")) > 0:
        value = corners[0] + step * np.round((value - corners[0]) / step)
    return time, value


def _ramp(order: Order) -> tuple[Track, Track]:
    return _through(order, [order.number("start_value"), order.number("end_value")])


def _cv(order: Order) -> tuple[Track, Track]:
    """Start, then to and fro between the vertices in half cycles, and to the end value."""
    vertices = [order.number("first_vertex"), order.number("second_vertex")]
    halves = max(round(2 * order.number("num_cycles")), 1)
    corners = [
        order.number("start_value"),
        *(vertices[half % 2] for half in range(halves)),
        order.number("end_value"),
    ]
    return _through(order, corners)


def _levels(order: Order, levels: Track, seconds: float) -> tuple[Track, Track]:
    """Levels one after another, each so many seconds long."""
    time = time_of(order, len(levels) * seconds)
    index = np.minimum(((time - 1e-12) / seconds).astype(np.int64), len(levels) - 1)
    return time, levels[index]


def _stairs(order: Order, step: float) -> Track:
    start, end = order.number("start_value"), order.number("end_value")
    count = int(abs(end - start) / abs(step) + 1e-9) + 1
    if count > MAX_ROWS:
        raise Refused("OUT_OF_MEMORY")
    stairs: Track = start + np.copysign(step, end - start) * np.arange(count, dtype=np.float64)
    return stairs


def _steady_stairs(order: Order) -> tuple[Track, Track]:
    return _levels(order, _stairs(order, order.number("step_height")), order.number("step_time"))


def _npv(order: Order) -> tuple[Track, Track]:
    """The base value; at the end of each step a pulse, higher and higher."""
    return _pulsed(order, lambda stairs: (np.full(len(stairs), order.number("base_value")), stairs))


def _dpv(order: Order) -> tuple[Track, Track]:
    """A staircase; at the end of each step a pulse of always the same height."""
    pulse = order.number("pulse_value") * (-1 if order.parameters.get("invert_pulse") else 1)
    return _pulsed(order, lambda stairs: (stairs, stairs + pulse))


def _pulsed(order: Order, levels: Callable[[Track], tuple[Track, Track]]) -> tuple[Track, Track]:
    step_time, pulse_time = order.number("step_time"), order.number("pulse_time")
    base, pulse = levels(_stairs(order, order.number("step_value")))
    time, value = _levels(order, base, step_time)
    _, pulses = _levels(order, pulse, step_time)
    in_pulse = (time - 1e-12) % step_time >= step_time - pulse_time
    return time, np.where(in_pulse, pulses, value)


def _swv(order: Order) -> tuple[Track, Track]:
    """A staircase with a square wave on it."""
    stairs, amplitude = _stairs(order, order.number("step_value")), order.number("amplitude")
    both = np.stack([stairs + amplitude, stairs - amplitude], axis=1).ravel()
    return _levels(order, both, order.number("period") / 2)


def _wave(order: Order, wave: Track) -> tuple[Track, Track]:
    repetitions = int(order.number("repetitions"))
    if len(wave) * repetitions > MAX_ROWS:
        raise Refused("OUT_OF_MEMORY")
    return _levels(order, order.number("bias") + np.tile(wave, repetitions), 1 / order.number("value_rate"))


def _fast_cycling(order: Order) -> tuple[Track, Track]:
    steps = [order.number("first_step"), order.number("second_step")]
    count = max(round(2 * order.number("num_cycles")), 1)
    if count > MAX_ROWS:
        raise Refused("OUT_OF_MEMORY")
    levels = np.resize(np.array(steps), count)
    return _levels(order, np.append(levels, order.number("end_value")), order.number("step_time"))


PROGRAMS: dict[str, Callable[[Order], tuple[Track, Track]]] = {
    "ocv": _ocv,
    "poga": _poga,
    "ramp": _ramp,
    "cv": _cv,
    "steady_stairs": _steady_stairs,
    "npv": _npv,
    "dpv": _dpv,
    "swv": _swv,
    "fast_cycling": _fast_cycling,
}
