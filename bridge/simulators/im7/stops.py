"""Stop conditions: the first row at which one of them is met."""

import numpy as np

from bridge.simulators.im7.cell import Track
from bridge.simulators.im7.errors import Error
from bridge.simulators.im7.orders import StopCondition


def first_stop(stops: tuple[StopCondition, ...], tracks: dict[str, Track]) -> tuple[int, Error] | None:
    """The row (counted from 0) that ends the measurement, and the error that says why; None if none is met."""
    found = [(row, stop) for stop in stops if (row := _met_at(stop, tracks)) is not None]
    if not found:
        return None
    row, stop = min(found, key=lambda pair: pair[0])
    return row, Error("STOP_CONDITION_TRIGGERED", (stop.kind, stop.dimension))


def _met_at(stop: StopCondition, tracks: dict[str, Track]) -> int | None:
    track, limits = tracks[stop.dimension], stop.limits
    match stop.kind:
        case "max":
            met = track > limits["maximum"]
        case "min":
            met = track < limits["minimum"]
        case "min_max":
            met = (track < limits["minimum"]) | (track > limits["maximum"])
        case "in_range":
            met = (track >= limits["minimum"]) & (track <= limits["maximum"])
        case "integrating":
            met = np.cumsum(np.abs(track) * np.diff(tracks[stop.over], prepend=0.0)) > limits["maximum"]
        case _:  # stability_tolerance: the change per second, looked at after a while
            slope = np.gradient(track, tracks["time"]) if len(track) > 1 else np.full(len(track), np.inf)
            met = (np.abs(slope) < limits["stability_tolerance"]) & (tracks["time"] >= limits["minimum_duration"])
    return int(np.argmax(met)) if met.any() else None
