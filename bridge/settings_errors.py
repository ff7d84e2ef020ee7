"""Turns what pydantic found wrong into lines for people: where, which key, what was expected, what was given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeGuard, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from bridge import plugins
from bridge.settings_device import DeviceSettings
from bridge.settings_models import ID_PATTERN
from bridge.settings_secrets import SECRET_NAME

Path = tuple[str, ...]

_EXPECTED = {
    "missing": "missing",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "string_type": "expected a text",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """One source of values: a file, a directory (its name ends in a slash) or variables."""

    name: str
    values: Mapping[str, object]
    variables: Mapping[str, str] = field(default_factory=dict)

    def holds(self, path: Path) -> bool:
        """Whether the value at this path, or the text that stands where a table should, is from here."""
        value: object = self.values
        for key in path:
            if not isinstance(value, Mapping):
                return True
            if key not in value:
                return False
            value = value[key]
        return not isinstance(value, Mapping) or bool(value)

    def place(self, path: Path) -> str:
        """The file, or the variable, with the path of the key."""
        if self.variables:
            names = {name.upper(): name for name in self.variables}
            for length in range(len(path), 0, -1):
                start = "LAB2MQTT_" + "__".join(path[:length]).upper()
                if found := [names[name] for name in names if name == start or name.startswith(start + "__")]:
                    return f"{found[0]}: {dotted(path)}"
        is_file = self.name.endswith("/") and len(path) > 1  # one key of a directory is in a file of its own
        return f"{self.name}{'__'.join(path) if is_file else ''}: {dotted(path)}"


def lines(error: ValidationError, root: type[BaseModel], origins: Sequence[Origin]) -> list[str]:
    """One line per problem. `origins`: the file first, then what is laid over it."""
    return [
        _on_one_line(_line(detail, root, origins))
        for detail in error.errors(include_url=False)
        if detail["type"] != "default_factory_not_called"  # it depends on a value that is wrong
    ]


def dotted(path: Path) -> str:
    """The path as TOML would write it."""
    return ".".join(key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key) for key in path)


def _line(detail: ErrorDetails, root: type[BaseModel], origins: Sequence[Origin]) -> str:
    path = tuple(str(key) for key in detail["loc"])
    if path[:1] == ("devices",) and path[2:3] == ("options",):
        path = path[:2] + path[3:]
    is_name = path[-1:] == ("[key]",)
    path = path[:-1] if is_name else path
    if not path:
        return f"{origins[0].name}: {_expectation(detail)}"
    known, secret = _walk(root, path, origins)
    place = _origin(detail, path, origins).place(path)
    text = _expectation(detail) + _suggestion(detail, known)
    if path == ("bridge", "id") and detail["type"] == "missing" and not origins[0].values:
        text += " (a configuration is given with -c FILE)"
    value = detail["input"]
    if secret and isinstance(value, str) and value:
        text = text.replace(value, "***")  # a driver's own validator may have quoted it
    given = "" if secret or is_name or repr(value) in text else _given(detail)
    return f"{place}: {text}{given}"


def _origin(detail: ErrorDetails, path: Path, origins: Sequence[Origin]) -> Origin:
    """Where the value is from; of a key that is missing, where its table is from if that is not the file."""
    if detail["type"] == "missing" and not origins[0].holds(path[:-1]):
        path = path[:-1]
    return next((origin for origin in reversed(origins) if origin.holds(path)), origins[0])


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _expectation(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "string_pattern_mismatch" and context.get("pattern") == ID_PATTERN:
        return "expected lower-case letters and digits, with single underscores between them"
    text = _EXPECTED.get(kind) or detail["msg"].removeprefix("Value error, ")
    return " ".join(re.sub(r"^(Input|String|URL|List|Tuple) should", "expected to", text).split())


def _given(detail: ErrorDetails) -> str:
    """What stands there, if it is short and plain; a table or an unknown key may hide a secret."""
    value = detail["input"]
    if detail["type"] in ("missing", "extra_forbidden") or isinstance(value, Mapping):
        return ""
    if detail["type"] == "value_error" and isinstance(value, list):  # the validator names the element
        return ""
    if isinstance(value, bool | int | float):
        return f", given {json.dumps(value)}"
    if isinstance(value, str) and detail["type"] not in ("dict_type", "model_type"):
        shown = re.sub(r"(://.*?\?).*", r"\1***", re.sub(r"//\S*@", "//***@", value))  # a query may hold a token
        return f", given {json.dumps(shown[:80], ensure_ascii=False)}"
    return f", given a {'text' if isinstance(value, str) else type(value).__name__}"


def _suggestion(detail: ErrorDetails, known: Sequence[str]) -> str:
    if detail["type"] != "extra_forbidden":
        return ""
    close = get_close_matches(str(detail["loc"][-1]), known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _walk(root: type[BaseModel], path: Path, origins: Sequence[Origin]) -> tuple[list[str], bool]:
    """The keys known beside the last one of the path, and whether its value is a secret."""
    kind: object = root
    known: list[str] = []
    secret = any(SECRET_NAME.search(key) for key in path)
    for depth, key in enumerate(path):
        fields = _fields(kind)
        if kind is DeviceSettings:
            fields = {**_fields(_options(path[:depth], origins)), **fields}
            del fields["options"]
        known = list(fields)
        kind = fields.get(key, _item(kind))
        secret = secret or SecretStr in (kind, *get_args(kind))
        kind = next((part for part in get_args(kind) if _is_model(part)), kind) if not _item(kind) else kind
    return known, secret


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(kind: object) -> dict[str, object]:
    """A model's keys as the configuration spells them, with the types of their values."""
    if not _is_model(kind):
        return {}
    return {info.alias or name: info.annotation for name, info in kind.model_fields.items()}


def _item(kind: object) -> object:
    """What stands in a table of this type, or None."""
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _options(device: Path, origins: Sequence[Origin]) -> object:
    """The options model of the driver that this device names, if it does."""
    for origin in reversed(origins):
        table: object = origin.values
        for key in device:
            table = table.get(key) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping) and isinstance(name := table.get("driver"), str):
            try:
                return plugins.load(name).options
            except plugins.PluginError:
                return None
    return None
