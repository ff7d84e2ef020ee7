"""What the simulated IM7 measures: believable physics, stop conditions at the right row, refusals by number."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulators.im7.cell import Cell, Track
from bridge.simulators.im7.errors import ERRORS, Refused
from bridge.simulators.im7.measurements import Conditions, measured
from bridge.simulators.im7.orders import Order, order_of
from bridge.simulators.im7.recording import Recording
from tests.simulators.im7_client import EIS, OCV, POGA, RANGE, SWITCH_ON

DATA = Path(__file__).parents[1] / "data" / "im7"
RANGED = {"autorange": True, "current_range": 0.01}
CV = {
    "start_value": 0.0, "first_vertex": 0.6, "second_vertex": -0.2, "end_value": 0.0, "scan_rate": 0.1,
    "output_data_rate": 50.0, "num_cycles": 2.0, "turn_limit_check": False, "upper_turn_boundary": 1.0,
    "lower_turn_boundary": -1.0, "step_height": 0.0, "ir_drop": 0.0, **RANGED,
}  # fmt: skip
RAMP = {
    "start_value": 0.0,
    "end_value": 1.0,
    "scan_rate": 0.1,
    "step_height": 0.0,
    "output_data_rate": 10.0,
    **RANGED,
}
PULSES = {"output_data_rate": 100.0, "current_range": 0.1, "start_value": 0.0, "end_value": 0.5}


def order(kind: str, parameters: dict[str, Any], *stops: tuple[str, dict[str, Any]]) -> Order:
    conditions = [{"type": stop, "parameters": limits} for stop, limits in stops]
    return order_of({"job": {"type": kind, "parameters": parameters, "stop_conditions": conditions}})


def record(wanted: Order, **conditions: Any) -> Recording:
    return measured(wanted, Conditions(**{"at": 100.0, "protocol": 12, **conditions}))


def tracks(recording: Recording) -> tuple[Track, Track, Track]:
    time, voltage, current = recording.matrix[:3]
    return time, voltage, current


def refusal(kind: str, parameters: dict[str, Any], *stops: tuple[str, dict[str, Any]]) -> int:
    with pytest.raises(Refused) as caught:
        order(kind, parameters, *stops)
    return ERRORS[caught.value.error.code][0]


# --- physics -----------------------------------------------------------------------------------------------------


def test_the_open_circuit_drifts_slowly_and_goes_on_where_it_was() -> None:
    _, first, current = tracks(record(order("ocv", {"duration": 600.0, "output_data_rate": 10.0})))
    _, later, _ = tracks(record(order("ocv", {"duration": 600.0, "output_data_rate": 10.0}), at=700.0))
    assert 1e-3 < first[0] - first[-1] < 2e-2
    assert abs(later[0] - first[-1]) < 1e-4
    assert np.abs(current).max() < 1e-11


def test_time_starts_at_one_period() -> None:
    time, _, _ = tracks(record(order("ocv", OCV)))
    assert time.tolist() == [row / 10 for row in range(1, 11)]


def test_noise_follows_the_seed() -> None:
    one, same, other = (record(order("poga", POGA), seed=seed).matrix for seed in (1, 1, 2))
    assert (one == same).all()
    assert not (one == other).all()


def test_a_voltammogram_turns_at_the_vertices_and_has_peaks_both_ways() -> None:
    time, voltage, current = tracks(record(order("cv", CV)))
    assert math.isclose(time[-1], (0.6 + 0.8 * 3 + 0.2) / 0.1)
    assert math.isclose(voltage.max(), 0.6)
    assert math.isclose(voltage.min(), -0.2)
    forward = (np.gradient(voltage) > 0) & (np.abs(voltage - 0.25) < 0.03)
    backward = (np.gradient(voltage) < 0) & (np.abs(voltage - 0.19) < 0.03)
    assert current[forward].min() > 5e-5
    assert current[backward].max() < -5e-5


def test_polarisation_decays() -> None:
    _, voltage, current = tracks(record(order("poga", POGA)))
    assert (voltage == 1.0).all()
    assert current[0] > current[20] > current[-1] > 0


def test_under_current_control_the_values_are_amperes() -> None:
    _, voltage, current = tracks(record(order("poga", {**POGA, "bias": 1e-3}), is_galvanostatic=True))
    assert (current == 1e-3).all()
    assert voltage[-1] > voltage[0] > 0.2


def test_the_spectrum_is_that_of_a_randles_circuit() -> None:
    recording = record(order("eis", EIS))
    frequency, _, time, *_ = recording.matrix
    z = recording.matrix[5] * np.exp(1j * recording.matrix[6])
    expected = Cell().impedance(frequency)
    assert np.abs(z / expected - 1).max() < 5e-3
    assert abs(z[np.argmax(frequency)]) == pytest.approx(10, rel=0.01)
    assert np.angle(z).min() < -0.5
    assert (np.diff(time) > 0).all()


def test_frequencies_go_from_the_start_up_and_then_down_and_repeat() -> None:
    frequency = record(order("eis", EIS)).matrix[0]
    top = int(np.argmax(frequency))
    assert frequency[0] == pytest.approx(1e4)
    assert frequency[top] == pytest.approx(1e5)
    assert frequency[-1] == pytest.approx(10.0)
    assert (np.diff(frequency[: top + 1]) > 0).all()
    assert (np.diff(frequency[top:]) < 0).all()


@pytest.mark.parametrize(
    ("kind", "parameters", "levels"),
    [
        (
            "npv",
            {**PULSES, "base_value": -0.1, "step_value": 0.1, "step_time": 0.5, "pulse_time": 0.1},
            {-0.1, 0.3},
        ),
        (
            "dpv",
            {
                **PULSES,
                "step_value": 0.1,
                "pulse_value": 0.05,
                "step_time": 0.5,
                "pulse_time": 0.1,
                "invert_pulse": True,
            },
            {0.3, 0.25},
        ),
        ("swv", {**PULSES, "step_value": 0.1, "amplitude": 0.05, "period": 0.4}, {0.35, 0.25}),
    ],
)
def test_pulses(kind: str, parameters: dict[str, Any], levels: set[float]) -> None:
    """At the fourth step."""
    time, voltage, _ = tracks(record(order(kind, parameters)))
    period = float(parameters.get("step_time", 0.0)) or parameters["period"]
    step = voltage[(time > 3 * period + 0.005) & (time < 4 * period + 0.005)]
    assert {round(float(value), 6) for value in step} == levels


def test_stairs_waves_and_fast_cycling() -> None:
    stairs = {
        "start_value": 0.0, "end_value": 0.3, "step_time": 1.0, "step_height": 0.1, "hold_time": 0.5,
        "stability_tolerance": 0.01, "output_data_rate": 2.0, **RANGED,
    }  # fmt: skip
    _, voltage, _ = tracks(record(order("steady_stairs", stairs)))
    assert voltage == pytest.approx([0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    played = {"output_data_rate": 4.0, "value_rate": 2.0, "repetitions": 2, "current_range": 0.1, "bias": 1.0}
    _, voltage, _ = tracks(record(order("wave", {**played, "values": [0.0, 0.5]})))
    assert voltage.tolist() == [1.0, 1.0, 1.5, 1.5] * 2
    stored = np.array([0.0, 0.5], "<f8").tobytes()
    _, voltage, _ = tracks(record(order("wave_file", {**played, "resource_id": "w"}), wave=stored))
    assert voltage.tolist() == [1.0, 1.0, 1.5, 1.5] * 2
    cycling = {
        "first_step": 1e-3, "second_step": -1e-3, "end_value": 0.0, "step_time": 0.5, "output_data_rate": 2.0,
        "num_cycles": 2.0, "turn_limit_check": False, "upper_turn_boundary": 1.0, "lower_turn_boundary": 0.0,
        **RANGED,
    }  # fmt: skip
    _, _, current = tracks(record(order("fast_cycling", cycling), is_galvanostatic=True))
    assert current.tolist() == [1e-3, -1e-3, 1e-3, -1e-3, 0.0]


def test_columns_depend_on_generation_and_configuration() -> None:
    def dimensions(**conditions: Any) -> list[str]:
        columns: Any = record(order("ocv", OCV), **conditions).header["columns"]
        assert len(columns["dimensions"]) == len(columns["units"]) == len(columns["urns"])
        return list(columns["dimensions"])

    assert dimensions() == ["time", "voltage", "current", "shunt"]
    assert dimensions(protocol=2) == ["time", "voltage", "current", "debug"]
    assert dimensions(channels=("T1",)) == ["time", "voltage", "current", "shunt", "T1"]


def test_more_rows_than_memory() -> None:
    with pytest.raises(Refused, match="OUT_OF_MEMORY"):
        record(order("ocv", {"duration": 1e6, "output_data_rate": 1e5}))


# --- stop conditions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "limits", "last"),
    [
        ("max", {"for_dimension": "voltage", "maximum": 0.495}, 0.5),
        ("min", {"for_dimension": "voltage", "minimum": 0.495}, 0.01),
        ("min_max", {"for_dimension": "voltage", "minimum": -1.0, "maximum": 0.295}, 0.3),
        ("in_range", {"for_dimension": "voltage", "minimum": 0.2, "maximum": 0.3}, 0.2),
        ("max", {"for_dimension": "time", "maximum": 4.95}, 0.5),
        ("integrating", {"for_dimension": "voltage", "over_dimension": "time", "maximum": 1.27}, 0.5),
        (
            "stability_tolerance",
            {"for_dimension": "voltage", "stability_tolerance": 0.2, "minimum_duration": 3.0},
            0.3,
        ),
    ],
)
def test_each_stop_condition_ends_at_the_first_row_that_meets_it(
    kind: str, limits: dict[str, Any], last: float
) -> None:
    recording = record(order("ramp", RAMP, (kind, limits)))
    assert recording.matrix[1][-1] == pytest.approx(last, abs=1e-9)
    assert recording.limit is not None
    assert recording.limit.code == "STOP_CONDITION_TRIGGERED"


def test_a_condition_that_is_never_met_changes_nothing() -> None:
    recording = record(order("ramp", RAMP, ("max", {"for_dimension": "voltage", "maximum": 2.0})))
    assert recording.limit is None
    assert recording.rows == 100


@given(st.floats(0.02, 0.98), st.floats(0.02, 9.8))
def test_of_several_conditions_the_first_counts(volts: float, seconds: float) -> None:
    both = order(
        "ramp",
        RAMP,
        ("max", {"for_dimension": "voltage", "maximum": volts}),
        ("max", {"for_dimension": "time", "maximum": seconds}),
    )
    time, voltage, _ = tracks(record(both))
    assert voltage[-1] > volts or time[-1] > seconds
    assert (voltage[:-1] <= volts).all()
    assert (time[:-1] <= seconds).all()


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "number"),
    [
        ("ocv", {"duration": 1.0}, 16384),
        ("ocv", {**OCV, "duration": "1"}, 16387),
        ("ocv", {**OCV, "duration": math.nan}, 16387),
        ("ocv", {**OCV, "duration": True}, 16387),
        ("ocv", {**OCV, "output_data_rate": math.inf}, 16388),
        ("ocv", {**OCV, "duration": -1.0}, 16389),
        ("poga", {**POGA, "autorange": 1}, 16385),
        ("eis", {**EIS, "frequency_range": {**RANGE, "amplitude": -0.01}}, 16389),
        ("eis", {**EIS, "frequency_range": {**RANGE, "min_frequency": 2e4}}, 16390),
        ("eis", {**EIS, "frequency_range": 5}, 16385),
        ("eis", {**EIS, "drift_correction": "SOME"}, 16391),
        ("ramp", {**RAMP, "scan_rate": 100.0}, 16392),
        ("ramp", {**RAMP, "end_value": 0.0}, 16394),
        ("cv", {**CV, "second_vertex": 0.6}, 16394),
        ("npv", {**PULSES, "base_value": 0.0, "step_value": 0.1, "step_time": 0.1, "pulse_time": 0.5}, 16390),
        ("get_hardware_property", {"uri": "x" * 300, "key": "y"}, 16395),
        ("set_active_gains", {"adc": "A", "indexes": []}, 16396),
        ("eis_table", {**EIS, "frequency_range": {"type": "table", "spectrum": []}}, 16396),
        ("switch_on", {**SWITCH_ON, "potentiostat": "MAIN:2:POT"}, 16397),
        ("frobnicate", {}, 8195),
    ],
)
def test_parameters_are_refused_by_number(kind: str, parameters: dict[str, Any], number: int) -> None:
    assert refusal(kind, parameters) == number


@pytest.mark.parametrize(
    ("kind", "stop"),
    [
        ("ocv", ("sometimes", {})),
        ("ocv", ("max", {"for_dimension": "colour", "maximum": 1.0})),
        ("ocv", ("min_max", {"for_dimension": "voltage", "minimum": 2.0, "maximum": 1.0})),
        ("eis", ("max", {"for_dimension": "voltage", "maximum": 1.0})),
    ],
)
def test_misconfigured_stop_conditions(kind: str, stop: tuple[str, dict[str, Any]]) -> None:
    assert refusal(kind, OCV if kind == "ocv" else EIS, stop) == 65536


REQUESTS = [
    json.loads(json.loads(line)["text"])["job"]
    for line in (DATA / "job_requests_all_types.jsonl").read_text().splitlines()
    if "check_parameters" in line
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The ways to every part of a JSON value."""
    match value:
        case dict():
            items: Any = value.items()
        case list():
            items = enumerate(value)
        case _:
            items = ()
    for key, part in items:
        yield (*path, key)
        yield from places(part, (*path, key))


@given(st.data())
def test_whatever_is_asked_for_is_accepted_or_refused(data: st.DataObject) -> None:
    wanted = copy.deepcopy(data.draw(st.sampled_from(REQUESTS)))
    *way, last = data.draw(st.sampled_from(list(places(wanted))))
    part: Any = wanted
    for key in way:
        part = part[key]
    part[last] = data.draw(ANYTHING)
    try:
        accepted = order_of({"job": wanted})
    except Refused:
        return
    assert accepted.type == wanted["type"]


def test_a_stop_condition_without_its_limit() -> None:
    assert refusal("ocv", OCV, ("max", {"for_dimension": "voltage"})) == 16384
