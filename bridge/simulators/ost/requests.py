"""A text frame as the server understands it: the broken rewriting before parsing, and what it then refuses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.simulators.ost.frames import JsonObject

CONTROLLED = frozenset({"SV", "SA", "DP", "I1", "I2", "I3", "I4", "J1", "J2", "PL", "PS"})
GRIDS = frozenset({"GC", "GU", "GF", "GD", "GH", "GB", "GR"})
SERVER = frozenset({"ML", "MK", "CL", "CS", "FS", "YA", "YZ", "YL", "YS", "YR"})
FREE = frozenset({"DU", "IL", "LO", "XX"})  # those that need no grant
ADDRESSED = CONTROLLED | GRIDS
WITH_ELEMENTS = frozenset({"SV", "SA", "GC", "GU", "J1", "J2"})
WITH_LINE = frozenset({"GU", "GF", "GD", "GH", "GB"})
PROFILES = frozenset({"PL", "PS"})


class Misunderstood(Exception):
    """The request is refused with a level 3 log from `origin`: WS (to the sender) or CT (to everybody)."""

    def __init__(self, origin: str, text: str) -> None:
        super().__init__(text)
        self.origin = origin


@dataclass(frozen=True, slots=True)
class Address:
    """Which property a command is for; `body` is what stands beside or below it."""

    prop: str
    body: JsonObject


def parsed(text: str) -> tuple[str, JsonObject]:
    """The root key and its value."""
    rewritten = text.replace('\\"', '"').replace('}"', "}").replace('"{', "{")
    try:
        message = json.loads(rewritten, parse_constant=_refused)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or len(message) != 1:
        raise Misunderstood("WS", f"Invalid message size : {rewritten}")
    ((key, body),) = message.items()
    if key not in FREE | ADDRESSED | SERVER:  # QY is none of them
        raise Misunderstood("WS", f"Invalid message event: {key}")
    if not isinstance(body, dict):
        raise Misunderstood("WS", f"Invalid message data: {rewritten}")
    return key, body


def _refused(constant: str) -> None:
    """NaN and the infinities, which are no JSON."""
    raise ValueError(constant)


def module_of(key: str, body: JsonObject, known: Mapping[str, object]) -> tuple[str, JsonObject]:
    """The one module that a command is for."""
    where = "Controller::onExternalEvent - "
    if not isinstance(modules := body.get("m"), dict):
        raise Misunderstood("CT", f"{where}invalid event data content - {key}")
    if len(modules) != 1:
        raise Misunderstood("CT", f"{where}invalid event data size - {key}")
    ((module, inside),) = modules.items()
    if module not in known:
        raise Misunderstood("CT", f"{where}unknown module - {module}")
    return module, inside if isinstance(inside, dict) else {}


def property_of(key: str, inside: JsonObject) -> Address:
    """The one property, with as many elements as the command wants."""
    where = "Controller::onExternalEvent - invalid event data content - "
    if not isinstance(properties := inside.get("p"), dict):
        raise Misunderstood("CT", f"{where}data must contain a 'p' key {key}")
    if len(properties) != 1:
        raise Misunderstood("CT", f"{where}'p' key must be unique {key}")
    ((prop, body),) = properties.items()
    body = body if isinstance(body, dict) else {}
    if key in WITH_ELEMENTS:
        if not isinstance(elements := body.get("e"), dict):
            raise Misunderstood("CT", f"{where}data must contain a 'e' key {key}")
        if key in {"SV", "J1", "J2"} and len(elements) != 1:
            raise Misunderstood("CT", f"{where}'e' key must be unique {key}")
    if key in WITH_LINE and not isinstance(body.get("i"), int | float):
        raise Misunderstood("CT", f"{where}data must contain a 'i' key  {key}")
    return Address(prop, body)
