"""What each job type of the IM7 takes (protocol: "Job types and parameters").

Names and kinds as the vendor's own client sends them. Parameters that came with later firmware are optional: the
instrument says by itself when one is missing, and ranges are its business anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

# They change firmware, calibration, clock or settings, or end connections: an explicit `allow` opens them.
DANGEROUS = frozenset(
    {
        "calibrate",
        "initialize_rtc",
        "reboot",
        "set_calibration_data",
        "set_date_time",
        "set_firmware_update",
        "set_hardware_settings",  # among them the polynomials that measured values go through
        "set_mesh_json_file",
    }
)


class Form(Struct, frozen=True):
    """The parameters of one job type: their names, and of what kind each one is.

    Those of `needed` must be there. What else is there is let through: newer firmware knows more.
    """

    needed: Mapping[str, str]
    optional: Mapping[str, str] = {}
    data: str = ""  # what it measures: dc, eis, or nothing


def _kinds(**names: str) -> Mapping[str, str]:
    return {name: kind for kind, joined in names.items() for name in joined.split()}


_RANGED = "output_data_rate current_range"
_TURNS = "turn_limit_check"
_BOUNDS = "upper_turn_boundary lower_turn_boundary"
_POT = _kinds(text="potentiostat")
_SWITCH_ON = _kinds(
    text="potentiostat", coupling="coupling", number="bias", whole="voltage_range_index compliance_range_index"
)
_DRIFT = _kinds(drift="drift_correction")
_AMPLITUDES = "bias minimum_current_amplitude maximum_current_amplitude"
_RANGE = "frequency_range"

FORMS: Mapping[str, Form] = {
    "beep": Form(_kinds(number="frequency duration")),
    "sleep": Form(_kinds(number="duration")),
    "get_date_time": Form({}),
    "set_date_time": Form(_kinds(text="datetime")),
    "initialize_rtc": Form({}),
    "reboot": Form({}),
    "reenumerate_hardware": Form({}),
    "get_hardware_info": Form({}),
    "get_hardware_settings": Form({}),
    "set_hardware_settings": Form(_kinds(list="output_potentiostats channels impedance_configurations")),
    "get_hardware_property": Form(_kinds(text="uri key")),
    "set_hardware_property": Form(_kinds(text="uri key", any="value")),
    "set_led_color": Form(_kinds(whole="red green blue")),
    "switch_on": Form(_SWITCH_ON),
    "switch_on_quick": Form(_SWITCH_ON),
    "switch_off": Form(_POT),
    "switch_all_off": Form({}),
    "set_bias": Form(_kinds(text="potentiostat", number="bias")),
    "set_voltage_range": Form(_kinds(text="potentiostat", whole="index")),
    "set_active_current_ranges": Form(_kinds(text="potentiostat", indexes="indexes")),
    "set_active_gains": Form(_kinds(text="adc", indexes="indexes")),
    "set_cable_options": Form(_kinds(text="potentiostat", number="additional_ce_capacitance")),
    "get_adc_state": Form(_kinds(text="adc")),
    "get_potentiostat_state": Form(_POT),
    "measure_integral": Form(_kinds(text="channel", number="duration")),
    "calibrate": Form(_kinds(text="calibration_type"), _kinds(text="calibration_path", list="indexes paths")),
    "set_firmware_update": Form(_kinds(text="resource_id")),
    "ocv": Form(_kinds(number="duration output_data_rate"), data="dc"),
    "poga": Form(_kinds(number=f"bias duration {_RANGED}"), _kinds(flag="autorange"), "dc"),
    "ramp": Form(
        _kinds(number=f"start_value end_value scan_rate {_RANGED}"),
        _kinds(number="step_height", flag="autorange"),
        "dc",
    ),
    "cv": Form(
        _kinds(number=f"start_value first_vertex second_vertex end_value scan_rate num_cycles {_RANGED}"),
        _kinds(number=f"step_height ir_drop {_BOUNDS}", flag=f"autorange {_TURNS}"),
        "dc",
    ),
    "steady_stairs": Form(
        _kinds(number=f"start_value end_value step_time step_height hold_time stability_tolerance {_RANGED}"),
        _kinds(number="ir_drop", flag="autorange"),
        "dc",
    ),
    "npv": Form(
        _kinds(number=f"base_value start_value step_value end_value step_time pulse_time {_RANGED}"), data="dc"
    ),
    "dpv": Form(
        _kinds(number=f"start_value step_value pulse_value end_value step_time pulse_time {_RANGED}"),
        _kinds(flag="invert_pulse"),
        "dc",
    ),
    "swv": Form(_kinds(number=f"start_value step_value amplitude end_value period {_RANGED}"), data="dc"),
    "wave": Form(
        _kinds(number=f"value_rate {_RANGED}", numbers="values"), _kinds(number="bias", whole="repetitions"), "dc"
    ),
    "wave_file": Form(
        _kinds(number=f"value_rate {_RANGED}", text="resource_id"),
        _kinds(number="bias", whole="repetitions"),
        "dc",
    ),
    "fast_cycling": Form(
        _kinds(number=f"first_step second_step end_value step_time num_cycles {_RANGED}"),
        _kinds(number=_BOUNDS, flag=f"autorange {_TURNS}"),
        "dc",
    ),
    "eis": Form(_kinds(number="bias", sweep=_RANGE), _DRIFT, "eis"),
    "eis_table": Form(_kinds(number="bias", table=_RANGE), _DRIFT, "eis"),
    "geis_va": Form(_kinds(number=_AMPLITUDES, sweep=_RANGE), _DRIFT, "eis"),
    "geis_va_table": Form(_kinds(number=_AMPLITUDES, table=_RANGE), _DRIFT, "eis"),
    "eis_multisine": Form(_kinds(number="bias", sweep=_RANGE), _DRIFT, "eis"),
    "eis_multisine_table": Form(_kinds(number="bias", object=_RANGE), _DRIFT, "eis"),
}
_WAVES = _kinds(number="amplitude pre_duration meas_duration", whole="pre_waves meas_waves")
SWEEP: Mapping[str, str] = {
    **_kinds(number="min_frequency max_frequency start_frequency points_per_decade_upper points_per_decade_lower"),
    **_WAVES,
}
SPECTRUM: Mapping[str, str] = {**_kinds(number="frequency"), **_WAVES}  # one row of a table of frequencies
_LIMITS = _kinds(text="for_dimension", number="minimum maximum")
CONDITIONS: Mapping[str, Mapping[str, str]] = {
    "max": _kinds(text="for_dimension", number="maximum"),
    "min": _kinds(text="for_dimension", number="minimum"),
    "min_max": _LIMITS,
    "in_range": _LIMITS,
    "integrating": _kinds(text="for_dimension over_dimension", number="maximum"),
    "stability_tolerance": _kinds(text="for_dimension", number="stability_tolerance minimum_duration"),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "coupling": ("POTENTIOSTATIC", "GALVANOSTATIC", "FRA_PROBE"),
    "drift": ("FULL", "DC_ONLY", "OFF"),
}


def measures(job_type: str) -> bool:
    """Whether such a job has a result to fetch; of an unknown type that is assumed."""
    form = FORMS.get(job_type)
    return form is None or form.data != ""
