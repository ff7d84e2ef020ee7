"""From an action's arguments to the one frame that the server understands, or one sentence why not.

The server answers many mistakes with nothing but the end of the connection, opens whatever path it is told, and a
path on another PC (`//server/share`) makes Windows log in there. So everything is checked before it is sent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bridge.drivers.zeiss_inspect_options import ZeissInspectOptions
from bridge.drivers.zeiss_inspect_paths import WindowsPath, clean, parse_file, parse_folder
from bridge.drivers.zeiss_inspect_points import IMPORT_ELEMENTS, IMPORT_IMAGE
from bridge.model import Command, Json

LONGEST_NAME = 128  # characters of a measurement series
SHORTEST, LONGEST = 0.1, 10_000.0  # mm, plausible focal lengths

_DECIMAL = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{0,9})?")


@dataclass(frozen=True, slots=True)
class Request:
    """An import as it is sent. `args`: the fields of the request, their values as they go out."""

    action: str
    args: Mapping[str, str]
    frame: str


def image(command: Command, options: ZeissInspectOptions) -> Request:
    """The request of `import_image`; ValueError says in one sentence what is wrong."""
    args = IMPORT_IMAGE.arguments_of(command.args)
    fields = {
        "file": _named("file", args["file"], lambda value: file(value, options, options.image_extensions)),
        "name": _named("name", args["name"], series),
        "focal_length": _named("focal_length", args["focal_length"], focal_length),
    }
    return Request(IMPORT_IMAGE.key, fields, json.dumps({"image": fields}))


def elements(command: Command, options: ZeissInspectOptions) -> Request:
    """The request of `import_elements`; ValueError as above."""
    args = IMPORT_ELEMENTS.arguments_of(command.args)
    fields = {
        "file": _named("file", args["file"], lambda value: file(value, options, options.elements_extensions)),
        "import_mode": str(args["import_mode"]),  # one of the declared choices
    }
    return Request(IMPORT_ELEMENTS.key, fields, json.dumps({"elements": fields}))


def _named(name: str, value: Json, read: Callable[[Json], str]) -> str:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"argument {name!r}: {error}") from None


# --- the fields ----------------------------------------------------------------------------------------


def file(value: Json, options: ZeissInspectOptions, extensions: Sequence[str]) -> str:
    """A path that may be opened on the INSPECT PC, in the style that is sent."""
    text = _text(value)
    if not text:
        raise ValueError("it is empty")
    mapped = _map(clean(text), options.path_map)
    path = parse_file(mapped)
    if path.extension not in extensions:
        raise ValueError(f"it does not end in .{' or .'.join(extensions)}")
    _permit(path, options)
    return mapped if options.path_style == "keep" else str(path)


def _map(text: str, prefixes: Mapping[str, str]) -> str:
    """A path of the gateway as the INSPECT PC knows it; the longest prefix wins. Others stay as they are."""
    for prefix in sorted(prefixes, key=len, reverse=True):
        folder = f"{prefix.rstrip('/')}/"
        if text.startswith(folder):
            rest = text.removeprefix(folder)
            if "\\" in rest:
                raise ValueError("it has a backslash in a name, which Windows would take for a separator")
            target = prefixes[prefix]
            separator = "\\" if "\\" in target else "/"
            return target.rstrip("/\\") + separator + rest.replace("/", separator)
    return text


def _permit(path: WindowsPath, options: ZeissInspectOptions) -> None:
    roots = [parse_folder(root) for root in options.allowed_roots]
    if roots and not any(path.within(root) for root in roots):
        raise ValueError("it is outside the folders that the configuration allows (allowed_roots)")
    mapped = [parse_folder(target) for target in options.path_map.values()]
    if path.on_network and not any(path.within(root) for root in (*roots, *mapped)):
        raise ValueError("a network path must lie in allowed_roots, because opening it logs in to that server")


def series(value: Json) -> str:
    """The name of a measurement series, without the blanks around it."""
    name = clean(_text(value)).strip()
    if not name:
        raise ValueError("it is empty")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"it has {len(name)} characters, more than {LONGEST_NAME}")
    return name


def focal_length(value: Json) -> str:
    """Millimetres in the text form that ZEISS's own client sends, such as `50.0`."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("it is neither a number nor a text")
    if isinstance(value, str) and not _DECIMAL.fullmatch(value.strip(" ")):
        hint = ", write a decimal point" if "," in value else ""
        raise ValueError(f"{value[:40]!r} is not a decimal number{hint}")
    try:
        length = float(value)
    except OverflowError:
        length = math.inf
    if not math.isfinite(length):
        raise ValueError("it is not a finite number")
    if not SHORTEST <= length <= LONGEST:
        raise ValueError(f"{length:g} mm is not between {SHORTEST:g} and {LONGEST:g} mm")
    return repr(length)


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not a text")
    return value
