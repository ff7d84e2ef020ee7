"""What a client orders: a job's type, parameters and stop conditions, refused unless all of it is in order."""

from dataclasses import dataclass
from typing import Any

from bridge.simulators.im7.errors import JsonObject, Refused
from bridge.simulators.im7.parameters import AC, DC, STOPS, TYPES, Fields

SMALLEST_TURN = 1e-6  # volts or amperes between the two vertices of a cyclic voltammogram
LARGEST_STEP = 1.0  # volts or amperes that a ramp may move between two rows
DIMENSIONS = ("time", "voltage", "current")  # what a stop condition can look at


@dataclass(frozen=True, slots=True)
class StopCondition:
    """When a DC measurement ends early; the parameters are those of its kind in `parameters.STOPS`."""

    kind: str
    dimension: str
    limits: dict[str, float]
    over: str = "time"  # what `integrating` integrates over


@dataclass(frozen=True, slots=True)
class Order:
    """A job as it was asked for, and found to be in order."""

    type: str
    parameters: JsonObject
    stops: tuple[StopCondition, ...] = ()
    meta: JsonObject | None = None
    does_bypass: bool = False
    is_discarded: bool = False

    @property
    def is_measurement(self) -> bool:
        return self.type in DC or self.type in AC

    def number(self, name: str, default: float = 0.0) -> float:
        value = self.parameters.get(name, default)
        return float(value) if isinstance(value, int | float) else default

    def part(self, name: str) -> dict[str, Any]:
        """A parameter that has parameters itself."""
        value = self.parameters.get(name)
        return value if isinstance(value, dict) else {}

    def text(self, name: str) -> str:
        return str(self.parameters.get(name, ""))


def order_of(request: JsonObject) -> Order:
    """The order in a request to start a job or to check its parameters; raises Refused."""
    match request.get("job"):
        case dict() as job:
            pass
        case None:
            raise Refused("PARAMETER_MISSING", "job")
        case _:
            raise Refused("PARAMETER_FORMAT_INVALID", "job")
    kind, parameters, meta = job.get("type"), job.get("parameters", {}), job.get("job_meta", {})
    if not isinstance(kind, str) or kind not in TYPES:
        raise Refused("TYPE_NAME_UNKNOWN", str(kind))
    if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
        raise Refused("PARAMETER_FORMAT_INVALID", "job_meta")
    Fields(TYPES[kind])("parameters", parameters)
    order = Order(
        kind,
        parameters,
        _stops(kind, job.get("stop_conditions", [])),
        meta,
        does_bypass=request.get("bypass_queue") is True,
        is_discarded=request.get("discard_result_data") is True,
    )
    _related(order)
    return order


def _related(order: Order) -> None:
    """What parameters must not be to each other."""
    match order.type:
        case "cv":
            if abs(order.number("first_vertex") - order.number("second_vertex")) < SMALLEST_TURN:
                raise Refused("PARAMETER_VALUES_TOO_CLOSE", "first_vertex", "second_vertex")
            _ramp(order)
        case "ramp":
            if abs(order.number("start_value") - order.number("end_value")) < SMALLEST_TURN:
                raise Refused("PARAMETER_VALUES_TOO_CLOSE", "start_value", "end_value")
            _ramp(order)
        case "npv" | "dpv" if order.number("pulse_time") > order.number("step_time"):
            raise Refused("PARAMETER_RELATIVE_CONSTRAINT_VIOLATED", "pulse_time", "step_time")
        case "swv" | "npv" | "dpv" if abs(order.number("step_value")) < SMALLEST_TURN:
            raise Refused("PARAMETER_VALUES_TOO_CLOSE", "step_value", "0")
        case "eis" | "geis_va" | "eis_multisine":
            _frequencies(order.parameters["frequency_range"])


def _ramp(order: Order) -> None:
    scan_rate, rate = order.number("scan_rate"), order.number("output_data_rate")
    if scan_rate / rate > LARGEST_STEP:
        raise Refused("RAMP_ODR_CONSTRAINT_VIOLATED", scan_rate, rate, LARGEST_STEP)


def _frequencies(given: object) -> None:
    match given:
        case {"min_frequency": low, "start_frequency": start, "max_frequency": high}:
            if low > start:
                raise Refused("PARAMETER_RELATIVE_CONSTRAINT_VIOLATED", "min_frequency", "start_frequency")
            if start > high:
                raise Refused("PARAMETER_RELATIVE_CONSTRAINT_VIOLATED", "start_frequency", "max_frequency")


def _stops(kind: str, given: object) -> tuple[StopCondition, ...]:
    if not isinstance(given, list):
        raise Refused("PARAMETER_FORMAT_INVALID", "stop_conditions")
    if given and kind not in DC:
        raise Refused("STOP_CONDITION_MISCONFIGURED", "-", f"a job of type {kind} has none")
    return tuple(_stop(condition) for condition in given)


def _stop(given: object) -> StopCondition:
    match given:
        case {"type": str(kind), "parameters": dict(parameters)} if kind in STOPS:
            pass
        case {"type": kind}:
            raise Refused("STOP_CONDITION_MISCONFIGURED", str(kind), "there is no such condition")
        case _:
            raise Refused("STOP_CONDITION_MISCONFIGURED", "-", "no type")
    Fields(STOPS[kind])("parameters", parameters)
    for name in ("for_dimension", "over_dimension"):
        if parameters.get(name, "time") not in DIMENSIONS:
            raise Refused("STOP_CONDITION_MISCONFIGURED", kind, f"{name} {parameters[name]}")
    limits = {name: float(parameters[name]) for name in STOPS[kind] if not name.endswith("_dimension")}
    if limits.get("minimum", 0.0) > limits.get("maximum", limits.get("minimum", 0.0)):
        raise Refused("STOP_CONDITION_MISCONFIGURED", kind, "minimum is greater than maximum")
    return StopCondition(kind, parameters["for_dimension"], limits, parameters.get("over_dimension", "time"))
