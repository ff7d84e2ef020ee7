"""The configuration's JSON schema, where a device's table is the common keys and those of its driver."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue, models_json_schema

from bridge.settings import Settings
from bridge.settings_device import DeviceSettings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(options: Mapping[str, type[BaseModel]]) -> JsonSchemaValue:
    """The schema with a variant of the device's table for each driver. `options`: their models by name."""
    models: list[type[BaseModel]] = [Settings, DeviceSettings, *options.values()]
    references, document = models_json_schema([(model, "validation") for model in models], by_alias=True)
    definitions: dict[str, JsonSchemaValue] = document["$defs"]

    names = {model: references[model, "validation"]["$ref"].removeprefix("#/$defs/") for model in models}
    top, common = definitions[names[Settings]], definitions[names[DeviceSettings]]
    for name, model in options.items():
        definitions[f"device_{name}"] = _variant(common, name, definitions[names[model]])
    for merged in {*names.values(), "BaseModel"}:  # BaseModel: what `options` looks like to pydantic
        del definitions[merged]
    devices = top["properties"]["devices"]["patternProperties"]
    for pattern in devices:
        devices[pattern] = {"oneOf": [{"$ref": f"#/$defs/device_{name}"} for name in options]}
    return {"$schema": DIALECT, **top, "title": "lab2mqtt", "$defs": dict(sorted(definitions.items()))}


def _variant(common: JsonSchemaValue, driver: str, own: JsonSchemaValue) -> JsonSchemaValue:
    """The device's table as this driver wants it: its keys beside the common ones."""
    keys = {name: key for name, key in common["properties"].items() if name != "options"}
    keys["driver"] = {"const": driver, "description": keys["driver"]["description"]}
    required = [name for name in common["required"] if name != "options"] + own.get("required", [])
    return {
        **common,
        "title": f"A device of the driver {driver}",
        "description": own.get("description", common["description"]),
        "properties": {**keys, **own.get("properties", {})},
        "required": required,
    }
