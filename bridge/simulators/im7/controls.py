"""Control jobs: what they do to the instrument, how long they take, and what they give back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bridge.simulators.im7.errors import JsonObject, Refused
from bridge.simulators.im7.orders import Order
from bridge.simulators.im7.parameters import POTENTIOSTATS

SECONDS: Mapping[str, float] = {"switch_on": 0.3, "switch_on_quick": 0.1, "switch_off": 0.1, "calibrate": 120.0}
SHORTEST = 0.02  # seconds that any control job takes
RESISTANCE = 110.0  # ohm, of the cell for direct current


@dataclass(slots=True)
class Potentiostat:
    """A potentiostat's state; `get_potentiostat_state` tells exactly these twelve things."""

    switched_on: bool = False
    autocompensation_on: bool = False
    coupling: str = "POTENTIOSTATIC"
    bias: float = 0.0
    current_range_index: int = 3
    voltage_range_index: int = 0
    bandwidth_index: int = 2
    compliance_range_index: int = 0
    current_range_relaxation_time: float = 0.1
    current_range_integration_time: float = 0.2
    active_current_range_indexes: list[int] = field(default_factory=lambda: list(range(12)))
    active_bandwidth_indexes: list[int] = field(default_factory=lambda: [0, 1, 2])

    def shape(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Hardware:
    """What control jobs change and read."""

    rest: float = 0.2  # volts of the cell at rest
    potentiostats: dict[str, Potentiostat] = field(
        default_factory=lambda: {urn: Potentiostat() for urn in set(POTENTIOSTATS.values())}
    )
    settings: JsonObject = field(
        default_factory=lambda: {"output_potentiostats": [], "channels": [], "impedance_configurations": []}
    )
    properties: dict[tuple[str, str], object] = field(
        default_factory=lambda: {
            ("MIO:1", "DIGITAL_OUT"): 0,
            ("MIO:1", "DIGITAL_IN"): 0,
            ("MIO:1", "ANALOG_OUT"): 0.0,
            ("MIO:1", "ANALOG_IN"): 0.0,
            ("RMUX16:1", "MUX_CHANNEL"): 0,
        }
    )
    led: tuple[float, ...] = (0.0, 0.0, 255.0)

    def potentiostat(self, order: Order) -> Potentiostat:
        return self.potentiostats[POTENTIOSTATS[order.text("potentiostat")]]

    @property
    def main(self) -> Potentiostat:
        return self.potentiostats["37128:POT"]


def seconds_of(order: Order) -> float:
    """How long a control job takes, in simulated seconds."""
    return max(SECONDS.get(order.type, 0.0), order.number("duration"), SHORTEST)


def executed(order: Order, hardware: Hardware) -> JsonObject | None:
    """Do it; the result, or None where the job has none. Raises Refused: then the job fails when it runs."""
    match order.type:
        case "switch_on" | "switch_on_quick":
            return _switch_on(order, hardware)
        case "switch_off":
            hardware.potentiostat(order).switched_on = False
        case "switch_all_off":
            for potentiostat in hardware.potentiostats.values():
                potentiostat.switched_on = False
        case "set_bias":
            _running(order, hardware).bias = order.number("bias")
        case "set_voltage_range":
            hardware.potentiostat(order).voltage_range_index = int(order.number("index"))
        case "set_active_current_ranges":
            hardware.potentiostat(order).active_current_range_indexes = _indexes(order)
        case "set_led_color":
            hardware.led = tuple(order.number(name) for name in ("red", "green", "blue"))
        case "set_hardware_settings":
            hardware.settings = dict(order.parameters)
        case "set_hardware_property":
            hardware.properties[_property(order, hardware)] = order.parameters["value"]
        case "get_hardware_property":
            return {"value": hardware.properties[_property(order, hardware)]}
        case "get_potentiostat_state":
            return hardware.potentiostat(order).shape()
        case "get_hardware_settings":
            return hardware.settings
        case "get_hardware_info":
            return _inventory()
        case "get_adc_state":
            return {"gain_index": 0, "filter_index": 3, "active_gain_indexes": [0, 1, 2]}  # the shape is a guess
        case "get_date_time":
            return {"datetime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")}
        case "measure_integral":
            return {"value": _integral(order, hardware)}
        case _:
            pass  # beeps, clocks, calibrations: nothing to be seen
    return None


def _switch_on(order: Order, hardware: Hardware) -> JsonObject:
    potentiostat = hardware.potentiostat(order)
    if potentiostat.switched_on:  # seen on a device: not POT_STATUS_MISMATCH
        raise Refused("UNEXPECTED_EXCEPTION", "potentiostat is already switched on")
    potentiostat.switched_on = True
    potentiostat.coupling, potentiostat.bias = order.text("coupling"), order.number("bias")
    potentiostat.voltage_range_index = int(order.number("voltage_range_index"))
    potentiostat.compliance_range_index = int(order.number("compliance_range_index"))
    voltage, current = _point(potentiostat, hardware.rest)
    return {"applied_bias": potentiostat.bias, "voltage": voltage, "current": current}


def _running(order: Order, hardware: Hardware) -> Potentiostat:
    potentiostat = hardware.potentiostat(order)
    if not potentiostat.switched_on:
        raise Refused("POT_STATUS_MISMATCH", order.text("potentiostat"))
    return potentiostat


def _point(potentiostat: Potentiostat, rest: float) -> tuple[float, float]:
    """Voltage and current at which the cell is held now."""
    if not potentiostat.switched_on:
        return rest, 0.0
    if potentiostat.coupling == "GALVANOSTATIC":
        return rest + potentiostat.bias * RESISTANCE, potentiostat.bias
    return potentiostat.bias, (potentiostat.bias - rest) / RESISTANCE


def _integral(order: Order, hardware: Hardware) -> float:
    """The mean of a channel: its path ends in `:U` or `:I`."""
    voltage, current = _point(hardware.main, hardware.rest)
    return current if order.text("channel").split("~")[0].endswith(":I") else voltage


def _indexes(order: Order) -> list[int]:
    match order.parameters.get("indexes"):
        case list() as indexes:
            return [int(index) for index in indexes]
    return []


def _property(order: Order, hardware: Hardware) -> tuple[str, str]:
    key = (order.text("uri"), order.text("key"))
    if key not in hardware.properties:
        raise Refused("PROPERTY_OBJECT_MISSING", *key)
    return key


def _inventory() -> JsonObject:
    """Cards and paths; the shape is not known well."""
    card = {
        "name": "Main potentiostat",
        "symbol": "MAIN",
        "serialnumber": "37128",
        "hardware": "1",
        "firmware": "p2",
    }
    paths = [
        {"uri": path, "urn": urn, "name": urn, "dimension": "", "unit": ""} for path, urn in POTENTIOSTATS.items()
    ]
    return {"cards": [{**card, "software": "p2"}], "paths": paths, "potentiostats": [], "adcs": []}
