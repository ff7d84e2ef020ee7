"""The configuration reference (docs/configuration.md), made from the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

HEAD = """\
# Configuration reference

Made by `lab2mqtt schema --markdown`; a test keeps it current. One TOML file, given with `-c FILE`;
[config/lab2mqtt.example.toml](../config/lab2mqtt.example.toml) shows every key at its place, and
[config/lab2mqtt.schema.json](../config/lab2mqtt.schema.json) teaches editors to complete and check it.

* Every key can come from the environment: `LAB2MQTT_MQTT__PORT=1884`, `LAB2MQTT_DEVICES__IO__URL=ws://…`;
  tables and lists as JSON.
* Secrets better come from a directory with one file each (`mqtt__password`, `devices__cell__password`):
  `--secrets DIR`, `LAB2MQTT_SECRETS_DIR`, systemd's credentials, or `/run/secrets`.
* The environment wins over the directory, and that over the file. `lab2mqtt check -c FILE` shows the outcome.
* A key that is not known is an error, and so is a value that does not fit: the bridge ends with code 78 and says
  the file, the key and what was expected.
* Times are in seconds. A relative path begins at the directory in which the command is started.
"""
COMMON = "evok"  # any driver: the keys that all of them share are taken from its variant

Schema = Mapping[str, Any]


def reference(schema: Schema) -> str:
    """The whole page, as Markdown."""
    definitions: Schema = schema["$defs"]
    variants = {name.removeprefix("device_"): d for name, d in definitions.items() if name.startswith("device_")}
    shared = set.intersection(*(set(variant["properties"]) for variant in variants.values()))
    common = {name: key for name, key in variants[COMMON]["properties"].items() if name in shared}
    common["driver"] = {**common["driver"], "enum": sorted(variants)}
    lines = [HEAD]
    for name, section in schema["properties"].items():
        if "$ref" in section:
            table = definitions[_name(section)]
            lines += _section(f"[{name}]", table["properties"], table.get("required", ()), section["description"])
    lines += _section("[mqtt.tls]", definitions["TlsSettings"]["properties"], (), "How to verify the broker; "
                      "an empty table means TLS with the system's authorities")  # fmt: skip
    required = [name for name in variants[COMMON]["required"] if name in shared]
    lines += _section("[devices.NAME]", common, required, "One instrument; the keys that all of them have")
    tables = {
        "[devices.NAME.tls]": ("DeviceTlsSettings", "How to verify a wss:// device"),
        '[devices.NAME.points."KEY"]': ("PointSettings", "An overlay over one point, or over a pattern of keys"),
        "[devices.NAME.presets.PRESET]": ("PresetSettings", "An action with its arguments, as a button"),
        '[devices.NAME.limits."KEY"]': ("LimitSettings", "The values that a point may be set to"),
    }
    for title, (name, text) in tables.items():
        lines += _section(title, definitions[name]["properties"], definitions[name].get("required", ()), text)
    for driver, variant in sorted(variants.items()):
        own = {name: key for name, key in variant["properties"].items() if name not in shared}
        lines += _section(
            f'[devices.NAME], driver = "{driver}"', own, variant["required"], "Beside the keys above"
        )
    return "\n".join(lines)


def _section(title: str, keys: Schema, required: Any, text: str) -> Iterator[str]:
    yield from (f"## `{title}`", "", f"{text.rstrip('.')}.", "")
    if not keys:
        yield from ("No keys of its own.", "")
        return
    yield from ("| key | type | default | |", "|---|---|---|---|")
    for name, key in keys.items():
        default = "required" if name in required else _default(key)
        yield f"| `{name}` | {_cell(_type(key))} | {_cell(default)} | {_cell(key.get('description', ''))} |"
    yield ""


def _name(key: Schema) -> str:
    return str(key["$ref"]).removeprefix("#/$defs/")


def _type(key: Schema) -> str:
    """The type in a word, with what limits it."""
    match key:
        case {"enum": values}:
            return " or ".join(f"`{json.dumps(value)}`" for value in values)
        case {"anyOf": choices}:
            return " or ".join(_type(choice) for choice in choices if choice.get("type") != "null")
        case {"$ref": _}:
            return "any" if _name(key) == "JsonValue" else "table"
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": "array"}:
            return "list"
        case {"type": "object"}:
            return "table"
        case {"type": "string", "format": "password"}:
            return "secret"
        case {"type": "string", "format": "path" | "file-path"}:
            return "path"
        case {"type": "string"}:
            return "text"
        case {"type": kind}:
            return " ".join(filter(None, (str(kind), _range(key))))
    return "any"


def _range(key: Schema) -> str:
    low, above = key.get("minimum"), key.get("exclusiveMinimum")
    high, below = key.get("maximum"), key.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    marks = ((low, "≥"), (above, ">"), (high, "≤"), (below, "<"))
    return ", ".join(f"{mark} {bound}" for bound, mark in marks if bound is not None)


def _default(key: Schema) -> str:
    if key.get("default") in (None, {}, []) or isinstance(key["default"], dict):
        return ""
    return f"`{json.dumps(key['default'], ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
