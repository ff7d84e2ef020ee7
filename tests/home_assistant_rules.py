"""What Home Assistant accepts of a device discovery, said once more and by other means than in the bridge.

From its documentation and from what versions 2025.4 and 2026.11 were seen to refuse: an unknown key at the root, a
component without `unique_id` or a missing `origin` cost the whole device, a bad value its component, and a class
with a wrong unit a warning in each start of Home Assistant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Body = Mapping[str, Any]

ROOT = {
    "device",
    "origin",
    "components",
    "availability",
    "availability_mode",
    "qos",
    "state_topic",
    "command_topic",
}
DEVICE = {
    "identifiers", "name", "manufacturer", "model", "model_id", "serial_number", "sw_version", "hw_version",
    "via_device", "suggested_area", "configuration_url",
}  # fmt: skip
ORIGIN = {"name", "sw_version", "support_url"}
COMMON = {
    "platform", "unique_id", "name", "entity_category", "enabled_by_default", "availability", "availability_mode",
    "json_attributes_topic", "json_attributes_template", "qos", "device_class", "message_expiry_interval",
}  # fmt: skip
READ = {"state_topic", "value_template"}
ON_OFF = {"payload_on", "payload_off"}
WRITE = {"command_topic", "command_template"}
OWN: Mapping[str, set[str]] = {
    "sensor": READ | {"unit_of_measurement", "state_class", "suggested_display_precision", "options"},
    "binary_sensor": READ | ON_OFF,
    "switch": READ | WRITE | ON_OFF,
    "light": {"state_topic", "state_value_template"} | WRITE | ON_OFF,
    "fan": {"state_topic", "state_value_template"} | WRITE | ON_OFF,
    "valve": READ | WRITE | {"payload_open", "payload_close", "state_open", "state_closed"},
    "lock": READ | WRITE | {"payload_lock", "payload_unlock", "state_locked", "state_unlocked"},
    "number": READ | WRITE | {"min", "max", "step", "mode", "unit_of_measurement"},
    "select": READ | WRITE | {"options"},
    "text": READ | WRITE | {"min", "max", "pattern"},
    "button": WRITE | {"payload_press"},
    "event": {"state_topic", "event_types", "value_template"},
    "image": {"url_topic", "url_template"},
}
NEEDED: Mapping[str, set[str]] = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "number": {"command_topic", "state_topic", "min", "max", "step"},
    "select": {"command_topic", "state_topic", "options"},
    "event": {"event_types", "state_topic"},
    "image": {"url_topic"},
    **{name: {"command_topic", "state_topic"} for name in ("switch", "light", "fan", "valve", "lock", "text")},
    "button": {"command_topic"},
}
NO_CLASS = {"light", "fan", "lock", "select", "text", "image"}

# For each class of a measurement a pattern for its units; "" is no unit.
PRESSURE, DENSITY, ENERGY = "[hk]?Pa|[cm]?bar|mmHg|inHg|psi", "µg/m³", "[mkMGT]?Wh|[kMG]?J|[kMG]?cal"
UNITS: Mapping[str, str] = {
    "voltage": "[µmkM]?V",
    "current": "m?A",
    "power": "[mkMGT]?W",
    "apparent_power": "VA",
    "reactive_power": "var",
    "energy": ENERGY,
    "energy_storage": ENERGY,
    "frequency": "[kMG]?Hz",
    "temperature": "°C|°F|K",
    "humidity": "%",
    "moisture": "%",
    "battery": "%",
    "power_factor": "%?",
    "ph": "",
    "aqi": "",
    "pressure": PRESSURE,
    "atmospheric_pressure": PRESSURE,
    "illuminance": "lx",
    "duration": "d|h|min|s|ms|µs",
    "data_size": "[kMGTP]?B|[KMGTP]iB|[kMG]?bit",
    "data_rate": "([kMG]?B|[KMG]iB|[kMG]?bit)/s",
    "distance": "[mck]?m|in|ft|yd|n?mi",
    "speed": "mm/s|m/s|km/h|mph|kn|ft/s|in/s|Beaufort|(in|mm)/[dh]",
    "wind_speed": "mm/s|m/s|km/h|mph|kn|ft/s|in/s|Beaufort",
    "wind_direction": "°",
    "weight": "[mkµ]?g|oz|lb|st",
    "area": "[cmk]?m²|in²|ft²|yd²|mi²|ac|ha",
    "volume": "CCF|ft³|m³|m?L|gal",
    "volume_storage": "CCF|ft³|m³|m?L|gal",
    "water": "CCF|ft³|m³|m?L|gal",
    "gas": "CCF|ft³|m³",
    "volume_flow_rate": "m³/h|ft³/min|L/min|gal/min|mL/s",
    "irradiance": "W/m²|BTU/\\(h⋅ft²\\)",
    "conductivity": "[µm]?S/cm",
    "precipitation": "[cm]m|in",
    "precipitation_intensity": "(in|mm)/[dh]",
    "signal_strength": "dBm?",
    "sound_pressure": "dBA?",
    "carbon_dioxide": "ppm",
    "carbon_monoxide": "ppm",
    "volatile_organic_compounds": DENSITY,
    "volatile_organic_compounds_parts": "pp[bm]",
    **dict.fromkeys(("pm1", "pm10", "pm25", "ozone", "sulphur_dioxide", "nitrogen_dioxide"), DENSITY),
    **dict.fromkeys(("nitrogen_monoxide", "nitrous_oxide"), DENSITY),
}
STATE_CLASSES = {"measurement", "total", "total_increasing"}
ONLY_SUMS = {"energy", "gas", "water", "volume"}
MAY_SUM = ONLY_SUMS | {"area", "data_size", "distance", "duration", "precipitation", "weight"}
OTHER_CLASSES: Mapping[str, str] = {
    "binary_sensor": "battery(_charging)?|carbon_monoxide|cold|connectivity|(garage_)?door|gas|heat|light|lock|"
    "moisture|motion|moving|occupancy|opening|plug|power|presence|problem|running|safety|smoke|sound|tamper|update|"
    "vibration|window",
    "switch": "outlet|switch",
    "button": "identify|restart|update",
    "event": "button|doorbell|motion",
    "valve": "water|gas",
}


def problems(topic: str, payload: bytes, prefix: str = "homeassistant") -> list[str]:
    """All that Home Assistant would refuse, change or warn of; nothing for the empty payload."""
    return list(_problems(topic, payload, prefix)) if payload else []


def _problems(topic: str, payload: bytes, prefix: str) -> Iterator[str]:
    if not re.fullmatch(f"{re.escape(prefix)}/device/[a-zA-Z0-9_-]+/config", topic):
        yield f"topic {topic!r}"
    if len(payload) > 1_000_000:
        yield f"{len(payload)} bytes"
    document = json.loads(payload)
    yield from (f"root key {key!r}" for key in document.keys() - ROOT)
    yield from (f"no {key}" for key in {"device", "origin", "components"} - document.keys())
    yield from (f"device key {key!r}" for key in document["device"].keys() - DEVICE)
    yield from (f"origin key {key!r}" for key in document["origin"].keys() - ORIGIN)
    device = document["device"]
    if not device.get("identifiers") or not device.get("name") or not document["origin"].get("name"):
        yield "no identifiers or no name"
    for key, value in device.items():
        if key != "identifiers" and (not isinstance(value, str) or not value or len(value) > 255):
            yield f"device {key} {value!r}"
    if not re.fullmatch("https?://.+", device.get("configuration_url", "http://x")):
        yield "configuration_url"
    yield from _availability(document)
    if not document["components"]:
        yield "no components"
    for name, body in document["components"].items():
        yield from (f"{name}: {problem}" for problem in _component(name, body))


def _availability(body: Body) -> Iterator[str]:
    for item in body.get("availability", []):
        if item.keys() != {"topic"}:
            yield f"availability {item}"
        yield from _topic(item["topic"])


def _component(name: str, body: Body) -> Iterator[str]:
    platform = str(body.get("platform"))
    if platform not in OWN:
        yield f"platform {platform!r}"
        return
    if " " in name:
        yield "a space: removing the device would not remove it"
    if len(body) == 1:
        return  # a removal
    yield from (f"key {key!r}" for key in body.keys() - COMMON - OWN[platform])
    yield from (f"no {key!r}" for key in (NEEDED[platform] | {"unique_id", "name"}) - body.keys())
    for key, value in body.items():
        if key.endswith("_topic"):
            yield from _topic(value)
        if key.endswith("template") and not (value.startswith("{{ ") and value.endswith(" }}")):
            yield f"{key} {value!r}"
    if body.get("entity_category") not in (None, "config", "diagnostic"):
        yield "entity_category"
    if body.get("entity_category") == "config" and not body.get("command_topic"):
        yield "config, and nothing to set"
    if not 0 < len(body.get("name", "")) <= 255:
        yield "name"
    if "command_topic" in body and body.get("qos") != 1:
        yield "a command without QoS 1"
    yield from _availability(body)
    yield from _class(platform, body)
    yield from _values(platform, body)


def _topic(topic: str) -> Iterator[str]:
    if not topic or len(topic.encode()) > 65_535 or any(char in "+#" for char in topic):
        yield f"topic {topic[:40]!r}"
    if re.search("[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef]", topic) or any(ord(c) & 0xFFFF >= 0xFFFE for c in topic):
        yield f"characters in topic {topic[:40]!r}"


def _class(platform: str, body: Body) -> Iterator[str]:
    known, unit = body.get("device_class"), body.get("unit_of_measurement")
    if unit == "":
        yield "an empty unit"
    if known is None:
        if body.get("state_class") not in (None, *STATE_CLASSES):
            yield "state_class"
        return
    if platform in NO_CLASS:
        yield f"device_class {known!r}"
    elif platform in OTHER_CLASSES:
        if not re.fullmatch(OTHER_CLASSES[platform], known):
            yield f"device_class {known!r}"
    elif known in ("enum", "timestamp", "date"):
        if platform != "sensor" or body.keys() & {
            "unit_of_measurement",
            "state_class",
            "suggested_display_precision",
        }:
            yield f"{known} with a unit or a state class"
        if (known == "enum") != ("options" in body):
            yield "options go with enum"
    elif known not in UNITS or not re.fullmatch(UNITS[known], unit or ""):
        yield f"device_class {known!r} with the unit {unit!r}"
    else:
        yield from _state_class(known, body)


def _state_class(known: str, body: Body) -> Iterator[str]:
    kept = body.get("state_class")
    if kept is None:
        return
    sums = kept in ("total", "total_increasing")
    if kept not in STATE_CLASSES or (sums and known not in MAY_SUM) or (not sums and known in ONLY_SUMS):
        yield f"state_class {kept!r} with device_class {known!r}"
    if known == "wind_direction":
        yield "an angle has a state class of its own"


def _values(platform: str, body: Body) -> Iterator[str]:
    match platform:
        case "number":
            if not body["min"] < body["max"] or body["step"] < 0.001:
                yield f"min {body['min']}, max {body['max']}, step {body['step']}"
        case "select" | "event" | "sensor":
            options = body.get("options", body.get("event_types"))
            if options is not None:
                if not options or len(set(options)) != len(options):
                    yield "none or twice the same option"
                if any(not 0 < len(option.strip()) == len(option) <= 255 for option in options):
                    yield "an option that cannot be a state"
        case "text":
            if not 0 <= body.get("min", 0) <= body["max"] <= 255:
                yield "length of a text"
    precision = body.get("suggested_display_precision", 0)
    if isinstance(precision, bool) or not isinstance(precision, int) or not 0 <= precision <= 20:
        yield "precision"


def unique_ids(payloads: list[bytes]) -> list[tuple[str, str]]:
    """The platforms and unique ids of all components of all devices."""
    bodies = [body for payload in payloads if payload for body in json.loads(payload)["components"].values()]
    return [(body["platform"], body["unique_id"]) for body in bodies if len(body) > 1]
