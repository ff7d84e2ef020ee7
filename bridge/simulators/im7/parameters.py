"""What each job type takes: names, kinds and limits of its parameters, checked before a job is made."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bridge.simulators.im7.errors import Refused

Check = Callable[[str, object], None]

# --- what a single parameter may be ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within limits; `is_optional` where a generation of the client leaves it out."""

    low: float
    high: float
    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused("PARAMETER_IS_NOT_A_NUMBER", name)
        if isinstance(value, float) and math.isnan(value):
            raise Refused("PARAMETER_IS_NOT_A_NUMBER", name)
        if value < self.low:
            raise Refused("PARAMETER_VALUE_TOO_LOW", name, value, self.low)
        if value > self.high:
            raise Refused("PARAMETER_VALUE_TOO_HIGH", name, value, self.high)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these words."""

    words: tuple[str, ...]
    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if value not in self.words:
            raise Refused("PARAMETER_CONSTRAINT_VIOLATED", name, ", ".join(self.words))


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if not isinstance(value, bool):
            raise Refused("PARAMETER_FORMAT_INVALID", name)


@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most so many characters."""

    longest: int = 256
    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if not isinstance(value, str):
            raise Refused("PARAMETER_FORMAT_INVALID", name)
        if len(value) > self.longest:
            raise Refused("PARAMETER_STRING_LENGTH_INVALID", name, len(value), self.longest)


@dataclass(frozen=True, slots=True)
class Path:
    """The symbolic path of a potentiostat: `MAIN:1:POT`, or by serial number, `37128:POT`."""

    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if not isinstance(value, str):
            raise Refused("PARAMETER_FORMAT_INVALID", name)
        if value not in POTENTIOSTATS:
            raise Refused("PARAMETER_SYMBOLIC_PATH_INVALID", name, value)


@dataclass(frozen=True, slots=True)
class Many:
    """A list, each element of which is checked."""

    each: Check
    least: int = 1
    most: int = 100_000
    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if not isinstance(value, list):
            raise Refused("PARAMETER_FORMAT_INVALID", name)
        if not self.least <= len(value) <= self.most:
            raise Refused("PARAMETER_VECTOR_SIZE_INVALID", name, len(value), self.least, self.most)
        for index, element in enumerate(value):
            self.each(f"{name}[{index}]", element)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with fields of its own."""

    fields: Mapping[str, "Kind"]
    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        if not isinstance(value, dict):
            raise Refused("PARAMETER_FORMAT_INVALID", name)
        for field, kind in self.fields.items():
            if field in value:
                kind(field, value[field])
            elif not kind.is_optional:
                raise Refused("PARAMETER_MISSING", field)


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever it is: shapes that are not known well enough to judge."""

    is_optional: bool = False

    def __call__(self, name: str, value: object) -> None:
        """Nothing to object to."""


Kind = Number | Choice | Flag | Text | Path | Many | Fields | Anything
POTENTIOSTATS = {
    "MAIN:1:POT": "37128:POT",
    "37128:POT": "37128:POT",
    "EPC:1:EXT2:POT": "41007:POT",
    "41007:POT": "41007:POT",
}

# --- the job types -----------------------------------------------------------------------------------------------

VALUE = Number(-10.0, 10.0)  # volts, or amperes when galvanostatic
SECONDS = Number(1e-3, 1e7)
RATE = Number(1e-3, 1e5)
INDEX = Number(0, 32)
POT: dict[str, Kind] = {"potentiostat": Path()}
ON: dict[str, Kind] = {
    **POT,
    "coupling": Choice(("POTENTIOSTATIC", "GALVANOSTATIC", "FRA_PROBE")),
    "bias": VALUE,
    "voltage_range_index": INDEX,
    "compliance_range_index": INDEX,
}
SAMPLED: dict[str, Kind] = {"output_data_rate": RATE, "current_range": Number(1e-12, 100.0)}
RANGED: dict[str, Kind] = {**SAMPLED, "autorange": Flag()}
TURNED: dict[str, Kind] = {
    "num_cycles": Number(0.5, 1e6),
    "turn_limit_check": Flag(),
    "upper_turn_boundary": VALUE,
    "lower_turn_boundary": VALUE,
}
STEPS: dict[str, Kind] = {"start_value": VALUE, "end_value": VALUE}
SCAN: dict[str, Kind] = {"scan_rate": Number(1e-6, 1e4), "step_height": Number(0.0, 1.0)}
LEVELS: dict[str, Kind] = {"value_rate": RATE, "repetitions": Number(1, 1e6), "bias": VALUE, **SAMPLED}
PULSE = Number(1e-4, 1e4)

CONTROLS: Mapping[str, Mapping[str, Kind]] = {
    "beep": {"frequency": Number(20.0, 20e3), "duration": Number(0.0, 60.0)},
    "sleep": {"duration": Number(0.0, 1e7)},
    "get_date_time": {},
    "set_date_time": {"datetime": Text()},
    "initialize_rtc": {},
    "reboot": {},
    "reenumerate_hardware": {},
    "get_hardware_info": {},
    "get_hardware_settings": {},
    "set_hardware_settings": {
        "output_potentiostats": Many(Anything(), 0),
        "channels": Many(Anything(), 0),
        "impedance_configurations": Many(Anything(), 0),
    },
    "get_hardware_property": {"uri": Text(), "key": Text()},
    "set_hardware_property": {"uri": Text(), "key": Text(), "value": Anything()},
    "set_led_color": {"red": Number(0, 255), "green": Number(0, 255), "blue": Number(0, 255)},
    "switch_on": ON,
    "switch_on_quick": ON,
    "switch_off": POT,
    "switch_all_off": {},
    "set_bias": {**POT, "bias": VALUE},
    "set_voltage_range": {**POT, "index": INDEX},
    "set_active_current_ranges": {**POT, "indexes": Many(INDEX)},
    "set_active_gains": {"adc": Text(), "indexes": Many(INDEX)},
    "set_cable_options": {**POT, "additional_ce_capacitance": Number(0.0, 1e-3)},
    "get_adc_state": {"adc": Text()},
    "get_potentiostat_state": POT,
    "measure_integral": {"channel": Text(), "duration": Number(0.0, 1e4)},
    "calibrate": {
        "calibration_type": Text(),
        "calibration_path": Text(),
        "indexes": Many(INDEX, 0),
        "paths": Many(Text(), 0),
    },
    "set_firmware_update": {"resource_id": Text()},
}
DC: Mapping[str, Mapping[str, Kind]] = {
    "ocv": {"duration": SECONDS, "output_data_rate": RATE},
    "poga": {"bias": VALUE, "duration": SECONDS, **RANGED},
    "ramp": {**STEPS, **SCAN, **RANGED},
    "cv": {
        **STEPS, **SCAN, **RANGED, **TURNED,
        "first_vertex": VALUE, "second_vertex": VALUE, "ir_drop": Number(0.0, 1e6, is_optional=True),
    },
    "steady_stairs": {
        **STEPS, **RANGED,
        "step_time": PULSE, "step_height": Number(1e-6, 10.0), "hold_time": Number(0.0, 1e4),
        "stability_tolerance": Number(0.0, 10.0),
    },
    "npv": {**STEPS, **SAMPLED, "base_value": VALUE, "step_value": VALUE, "step_time": PULSE, "pulse_time": PULSE},
    "dpv": {
        **STEPS, **SAMPLED,
        "step_value": VALUE, "pulse_value": VALUE, "step_time": PULSE, "pulse_time": PULSE, "invert_pulse": Flag(),
    },
    "swv": {**STEPS, **SAMPLED, "step_value": VALUE, "amplitude": Number(0.0, 10.0), "period": PULSE},
    "wave": {**LEVELS, "values": Many(VALUE)},
    "wave_file": {**LEVELS, "resource_id": Text()},
    "fast_cycling": {
        **RANGED, **TURNED, "first_step": VALUE, "second_step": VALUE, "end_value": VALUE, "step_time": PULSE,
    },
}  # fmt: skip
FREQUENCY = Number(1e-6, 1e7)
AMPLITUDE = Number(0.0, 10.0)
COUNT = Number(0, 1e6)
SINE: dict[str, Kind] = {
    "amplitude": AMPLITUDE, "pre_duration": Number(0.0, 1e6), "pre_waves": COUNT,
    "meas_duration": Number(0.0, 1e6), "meas_waves": Number(1, 1e6),
}  # fmt: skip
GENERATED = Fields({
    **SINE, "min_frequency": FREQUENCY, "max_frequency": FREQUENCY, "start_frequency": FREQUENCY,
    "points_per_decade_upper": Number(1, 1000), "points_per_decade_lower": Number(1, 1000),
})  # fmt: skip
TABLE = Fields({"spectrum": Many(Fields({**SINE, "frequency": FREQUENCY}), most=10_000)})
HARMONICS = Fields({
    **SINE, "fundamental_frequency": FREQUENCY,
    "harmonics": Many(Fields({"harmonic": Number(1, 1e6), "weight": Number(0.0, 1e3)}), most=1000),
})  # fmt: skip
SPECTRUM: dict[str, Kind] = {
    "bias": VALUE,
    "drift_correction": Choice(("FULL", "DC_ONLY", "OFF"), is_optional=True),  # unknown to protocol 7
}
VARIED: dict[str, Kind] = {"minimum_current_amplitude": AMPLITUDE, "maximum_current_amplitude": AMPLITUDE}
AC: Mapping[str, Mapping[str, Kind]] = {
    "eis": {**SPECTRUM, "frequency_range": GENERATED},
    "eis_table": {**SPECTRUM, "frequency_range": TABLE},
    "geis_va": {**SPECTRUM, **VARIED, "frequency_range": GENERATED},
    "geis_va_table": {**SPECTRUM, **VARIED, "frequency_range": TABLE},
    "eis_multisine": {**SPECTRUM, "frequency_range": GENERATED},
    "eis_multisine_table": {**SPECTRUM, "frequency_range": HARMONICS},
}
TYPES = {**CONTROLS, **DC, **AC}
STOPS: Mapping[str, Mapping[str, Kind]] = {
    "max": {"for_dimension": Text(), "maximum": Number(-1e9, 1e9)},
    "min": {"for_dimension": Text(), "minimum": Number(-1e9, 1e9)},
    "min_max": {"for_dimension": Text(), "minimum": Number(-1e9, 1e9), "maximum": Number(-1e9, 1e9)},
    "in_range": {"for_dimension": Text(), "minimum": Number(-1e9, 1e9), "maximum": Number(-1e9, 1e9)},
    "integrating": {"for_dimension": Text(), "over_dimension": Text(), "maximum": Number(-1e12, 1e12)},
    "stability_tolerance": {
        "for_dimension": Text(), "stability_tolerance": Number(0.0, 1e9), "minimum_duration": Number(0.0, 1e7),
    },
}  # fmt: skip
