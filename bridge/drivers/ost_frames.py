"""OST's frames: one JSON object with one root key each way; what is sent survives the server's text handling."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from bridge.driver import Frame
from bridge.model import Json


class UnreadableError(ValueError):
    """The frame is no JSON object in a text."""


class Message(Struct, frozen=True):
    """A frame from the server. `kind`: the root key up to the first hyphen; the longer keys have changed once."""

    kind: str
    body: msgspec.Raw
    root: Mapping[str, msgspec.Raw]


_ROOT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(frame: Frame) -> Message:
    """UnreadableError says why it is none. Objects with several keys are told by `evt` or by their first key."""
    if isinstance(frame, bytes):
        raise UnreadableError("a binary frame")
    try:
        root = _ROOT.decode(frame)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
    if not root:
        raise UnreadableError("an empty object")
    name = "evt" if "evt" in root else next(iter(root))
    return Message(name.partition("-")[0].strip(), root[name], root)


# --- what is sent --------------------------------------------------------------------------------------

# Before parsing, the server replaces \" by ", }" by } and "{ by { in the raw text: neither a quote, a brace nor a
# backslash (one before the closing quote of a text would pass for an escaped quote) may stand inside a text.
_MISREAD = re.compile(r'\\\\|\\"|[{}]')
_SAFE = {"\\\\": "\\u005c", '\\"': "\\u0022", "{": "\\u007b", "}": "\\u007d"}


def encode(key: str, body: Mapping[str, Json]) -> str:
    """The frame `{key: body}`. ValueError: a number in it is not finite."""
    return _json({key: body})


def _json(value: Json) -> str:
    match value:
        case str():
            inside = json.dumps(value)[1:-1]
            return f'"{_MISREAD.sub(lambda found: _SAFE[found[0]], inside)}"'
        case Mapping():
            return "{" + ",".join(f"{_json(str(key))}:{_json(item)}" for key, item in value.items()) + "}"
        case Sequence():
            return "[" + ",".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value, allow_nan=False)


KEEPALIVE = encode("XX", {})


def dump(language: str) -> str:
    return encode("DU", {"language": language})


def login(user: str, password: str, language: str) -> str:
    return encode("LO", {"user": user, "pw": password, "language": language})


def elements(key: str, module: str, prop: str, values: Mapping[str, Json], index: int | None = None) -> str:
    """SV, SA, GC, GU: values of elements of one property."""
    given: dict[str, Json] = {"e": values} if index is None else {"i": index, "e": values}
    return encode(key, {"m": {module: {"p": {prop: given}}}})


def line(key: str, module: str, prop: str, index: int | None = None) -> str:
    """GD, GH, GB (with an index), GR: a line of a grid, or all of them."""
    return encode(key, {"m": {module: {"p": {prop: {} if index is None else {"i": index}}}}})


def profile(key: str, module: str, name: str) -> str:
    """PL, PS."""
    return encode(key, {"m": {module: {"profile": name}}})
