"""What Home Assistant lets a component call itself: device classes with their units and state classes.

Read in Home Assistant 2025.4, `sensor/const.py` and the other platforms' lists; later versions only add to it. A
class that is not here, or does not go with the unit, is left out: the entity lives without it, and some versions
would refuse it with one.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.model import Point

_PRESSURE = "Pa hPa kPa bar cbar mbar mmHg inHg psi"
_LENGTH = "mm cm m km in ft yd mi nmi"
_ENERGY = "J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal"
_FLUX = "in/d in/h mm/d mm/h"
_SPEED = "Beaufort ft/s in/s m/s km/h kn mph mm/s"
_GAS = "CCF ft³ m³"
_VOLUME = f"{_GAS} L mL gal"
_DENSITY = "µg/m³"

_UNITS: Mapping[str, str] = {
    "apparent_power": "VA",
    "area": "m² cm² km² mm² in² ft² yd² mi² ac ha",
    "atmospheric_pressure": _PRESSURE,
    "battery": "%",
    "carbon_dioxide": "ppm",
    "carbon_monoxide": "ppm",
    "conductivity": "S/cm µS/cm mS/cm",
    "current": "mA A",
    "data_rate": "bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s KiB/s MiB/s GiB/s",
    "data_size": "bit kbit Mbit Gbit B kB MB GB TB PB KiB MiB GiB TiB PiB",
    "distance": _LENGTH,
    "duration": "d h min s ms µs",
    "energy": _ENERGY,
    "energy_storage": _ENERGY,
    "frequency": "Hz kHz MHz GHz",
    "gas": _GAS,
    "humidity": "%",
    "illuminance": "lx",
    "irradiance": "W/m² BTU/(h⋅ft²)",
    "moisture": "%",
    "nitrogen_dioxide": _DENSITY,
    "nitrogen_monoxide": _DENSITY,
    "nitrous_oxide": _DENSITY,
    "ozone": _DENSITY,
    "pm1": _DENSITY,
    "pm10": _DENSITY,
    "pm25": _DENSITY,
    "power": "mW W kW MW GW TW",
    "power_factor": "%",
    "precipitation": "in mm cm",
    "precipitation_intensity": _FLUX,
    "pressure": _PRESSURE,
    "reactive_power": "var",
    "signal_strength": "dB dBm",
    "sound_pressure": "dB dBA",
    "speed": f"{_SPEED} {_FLUX}",
    "sulphur_dioxide": _DENSITY,
    "temperature": "°C °F K",
    "volatile_organic_compounds": _DENSITY,
    "volatile_organic_compounds_parts": "ppb ppm",
    "voltage": "µV mV V kV MV",
    "volume": _VOLUME,
    "volume_flow_rate": "m³/h ft³/min L/min gal/min mL/s",
    "volume_storage": _VOLUME,
    "water": _VOLUME,
    "weight": "g kg mg µg oz lb st",
    "wind_direction": "°",
    "wind_speed": _SPEED,
}
_UNITLESS = frozenset({"aqi", "ph", "power_factor"})

_SUMS = frozenset({"total", "total_increasing"})
_MEASURED = frozenset({"measurement"})
_STATE_CLASSES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("area", "data_size", "distance", "duration", "precipitation", "weight"), _SUMS | _MEASURED),
    **dict.fromkeys(("energy", "gas", "volume", "water"), _SUMS),
    "wind_direction": frozenset(),  # a class of its own, which older versions do not know
}

_BINARY = frozenset(
    {
        "battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas",
        "heat", "light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power",
        "presence", "problem", "running", "safety", "smoke", "sound", "tamper", "update", "vibration", "window",
    }
)  # fmt: skip
_OTHERS: Mapping[str, frozenset[str]] = {
    "binary_sensor": _BINARY,
    "button": frozenset({"identify", "restart", "update"}),
    "event": frozenset({"button", "doorbell", "motion"}),
    "switch": frozenset({"outlet", "switch"}),
    "valve": frozenset({"gas", "water"}),
}
MOMENTS = frozenset({"date", "timestamp"})  # classes of sensors whose values are texts


def measured(point: Point) -> str | None:
    """The device class of a number, shown or set."""
    name, unit = point.device_class or "", point.unit
    fits = unit in _UNITS.get(name, "").split() if unit else name in _UNITLESS
    return name if fits else None


def state_class(point: Point) -> str | None:
    """How Home Assistant keeps statistics of a number; None: not at all."""
    device_class = measured(point)
    known = _SUMS | _MEASURED if device_class is None else _STATE_CLASSES.get(device_class, _MEASURED)
    return point.state_class if point.state_class in known else None


def other(platform: str, point: Point) -> str | None:
    """The device class of what is no number."""
    return point.device_class if point.device_class in _OTHERS.get(platform, ()) else None
