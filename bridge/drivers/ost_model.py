"""The tree of an OST server: modules, properties, elements and lists, as the last dump and the updates since say.

The structs are what stands on the wire, so a dump of megabytes is decoded straight into them. Leaves are not
judged here (uninitialised numbers, null for NaN and wrong types are possible): bridge.drivers.ost_values does.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

STATES = ("idle", "ok", "busy", "error")  # of a property and of a light


class Lov(Struct):
    """A list of values: keys to labels. Without `values` it is empty."""

    label: Any = ""
    values: dict[str, Any] = {}


class Element(Struct):
    type: str = ""
    label: Any = ""
    order: Any = ""
    value: Any = None
    minimum: Any = field(default=0, name="min")
    maximum: Any = field(default=0, name="max")
    step: Any = 0
    autoupdate: Any = False
    options: Any = field(default=None, name="listOfValues")
    lov: Any = field(default=None, name="globallov")
    scope: Any = field(default=None, name="lovScope")
    constrained: Any = field(default=False, name="lovConstrained")
    nullable: Any = False
    prgtype: Any = ""
    usems: Any = False


class Property(Struct):
    label: Any = ""
    order: Any = ""
    level1: Any = ""
    status: Any = 0
    permission: Any = 0  # 0 read, 1 write, 2 both
    enabled: Any = True
    rule: Any = 2  # of its booleans: 0 one of many, 1 at most one, 2 any
    autoupdate: Any = False
    has_grid: Any = field(default=False, name="hasGrid")
    headers: list[str] = field(default_factory=list, name="gridheaders")
    grid: list[list[Any]] = []
    grid_limit: Any = field(default=5000, name="gridLimit")
    elements: dict[str, Element] = field(default_factory=dict, name="e")


class Profile(Struct):
    name: Any = ""
    changed: Any = False


class Module(Struct):
    properties: dict[str, Property] = field(default_factory=dict, name="p")
    lovs: dict[str, Lov] | UnsetType = field(default=UNSET, name="l")  # absent: a partial `aa`, to be merged
    profile: Profile | UnsetType = field(default=UNSET, name="f")
    infos: dict[str, Any] = {}


class Dump(Struct):
    """`d`. Without any grant it holds the two grants only."""

    modules: dict[str, Module] | None = field(default=None, name="m")
    lovs: dict[str, Lov] = {}
    controller: dict[str, Any] = field(default_factory=dict, name="controllerdata")
    grant: Any = field(default="", name="grant-client")
    grant_server: Any = field(default="", name="grant-server")


class _Part(Struct):
    """What an update says of one property."""

    e: dict[str, Any] = {}
    status: Any = UNSET
    enabled: Any = UNSET
    i: Any = None
    values: dict[str, Any] = {}


class _Parts(Struct):
    p: dict[str, _Part] = {}


class _Named(Struct):
    p: dict[str, Any] = {}


class _Profiled(Struct):
    f: Profile


class _Listed(Struct):
    lists: dict[str, Lov] = field(name="l")


class Change(Struct, frozen=True):
    """What a message changed. `shape`: points may be others now, not only values; no property: the module."""

    kind: str
    module: str = ""
    prop: str = ""
    shape: bool = False


class Unknown(LookupError):
    """It is about something that this tree does not have: a dump will tell."""


_PARTS = msgspec.json.Decoder(dict[str, _Parts])
_NAMED = msgspec.json.Decoder(dict[str, _Named])
_MODULES = msgspec.json.Decoder(dict[str, Module])
_PROFILED = msgspec.json.Decoder(dict[str, _Profiled])
_LISTS = msgspec.json.Decoder(dict[str, dict[str, Lov]])
_LISTED = msgspec.json.Decoder(dict[str, _Listed])
_ANYTHING = msgspec.json.Decoder(dict[str, Any])
_DUMP = msgspec.json.Decoder(Dump)

read_dump = _DUMP.decode


class Tree:
    """`apply` takes one update; msgspec.ValidationError (a ValueError): it has another shape than expected."""

    def __init__(self, dump: Dump, *, keep_labels: bool = False) -> None:
        self.modules = dump.modules or {}
        self.lovs, self.controller = dump.lovs, dump.controller
        self._keep_labels = keep_labels  # only dumps are translated

    def find(self, module: str, prop: str) -> Property:
        """Unknown: there is none."""
        found = self.modules.get(module)
        if found is None or prop not in found.properties:
            raise Unknown(f"{module}/{prop}")
        return found.properties[prop]

    def apply(self, kind: str, body: msgspec.Raw) -> list[Change]:
        """What changed, in order; Unknown when this tree cannot follow."""
        match kind:
            case "ea" | "ee":
                return [self._values(kind, *part) for part in _each(body)]
            case "ev":
                return [self._limits(*part) for part in _each(body)]
            case "ps":
                return [self._state(*part) for part in _each(body)]
            case "gc" | "gu" | "gd" | "gr":
                return [self._grid(kind, *part) for part in _each(body)]
            case "ap" | "aa":
                return [self._module(kind, name, module) for name, module in _MODULES.decode(body).items()]
            case "dp":
                return [self._drop(module, p) for module, part in _NAMED.decode(body).items() for p in part.p]
            case "dm":
                return [self._remove(module) for module in _ANYTHING.decode(body)]
            case "fs" | "fl" | "fc":
                return [self._profile(kind, module, part.f) for module, part in _PROFILED.decode(body).items()]
            case "lc" | "lu":
                return self._list(kind, body)
            case "uc":
                self.controller.update(_ANYTHING.decode(body))
                return [Change("uc")]
            case "de":
                raise Unknown("an element")  # it does not say which
        return []

    def _values(self, kind: str, module: str, prop: str, part: _Part) -> Change:
        elements = self.find(module, prop).elements
        for key, value in part.e.items():
            if key not in elements:
                raise Unknown(f"{module}/{prop}/{key}")
            elements[key].value = value
        return Change(kind, module, prop)

    def _limits(self, module: str, prop: str, part: _Part) -> Change:
        elements = self.find(module, prop).elements
        for key, told in part.e.items():
            if key not in elements or not isinstance(told, dict):
                raise Unknown(f"{module}/{prop}/{key}")
            for wire, name in (("value", "value"), ("min", "minimum"), ("max", "maximum"), ("step", "step")):
                if wire in told:
                    setattr(elements[key], name, told[wire])
        return Change("ev", module, prop, shape=True)

    def _state(self, module: str, prop: str, part: _Part) -> Change:
        found = self.find(module, prop)
        if part.status is not UNSET:
            found.status = part.status
        if part.enabled is not UNSET:
            found.enabled = part.enabled
        return Change("ps", module, prop)

    def _grid(self, kind: str, module: str, prop: str, part: _Part) -> Change:
        found = self.find(module, prop)
        row = [part.values.get(column) for column in found.headers]
        rows, index = found.grid, part.i
        if kind == "gr":
            rows.clear()
        elif not isinstance(index, int) or not 0 <= index < len(rows) + (kind == "gc"):
            raise Unknown(f"{module}/{prop}, line {index}")
        elif kind == "gc":
            rows.insert(index, row)
        elif kind == "gu":  # the elements took the line's values, and of that nothing is told
            rows[index] = row
            for key, value in part.values.items():
                if key in found.elements:
                    found.elements[key].value = value
        else:
            del rows[index]
        return Change(kind, module, prop)

    def _module(self, kind: str, name: str, told: Module) -> Change:
        """A module, or some properties of one. Without a list it is not the whole, whatever the key says."""
        known = self.modules.get(name)
        if told.lovs is not UNSET or (known is None and kind == "aa"):
            self.modules[name] = told
            return Change(kind, name, shape=True)
        if known is None:
            raise Unknown(name)
        for key, prop in told.properties.items():
            if self._keep_labels and key in known.properties:
                _keep_labels(known.properties[key], prop)
            known.properties[key] = prop
        if told.profile is not UNSET:
            known.profile = told.profile
        only = next(iter(told.properties)) if len(told.properties) == 1 else ""
        return Change(kind, name, only, shape=True)

    def _drop(self, module: str, prop: str) -> Change:
        if (found := self.modules.get(module)) is not None:
            found.properties.pop(prop, None)
        return Change("dp", module, prop, shape=True)

    def _remove(self, module: str) -> Change:
        self.modules.pop(module, None)
        return Change("dm", module, shape=True)

    def _profile(self, kind: str, module: str, profile: Profile) -> Change:
        if module not in self.modules:
            raise Unknown(module)
        self.modules[module].profile = profile
        return Change(kind, module)

    def _list(self, kind: str, body: msgspec.Raw) -> list[Change]:
        if "lovs" in _ANYTHING.decode(body):  # of the controller: for all modules
            self.lovs.update(_LISTS.decode(body)["lovs"])
            return [Change(kind, shape=True)]
        return [self._lists_of(kind, module, part.lists) for module, part in _LISTED.decode(body).items()]

    def _lists_of(self, kind: str, name: str, lists: dict[str, Lov]) -> Change:
        if name not in self.modules:
            raise Unknown(name)
        module = self.modules[name]
        known = {} if module.lovs is UNSET else module.lovs
        for key, lov in lists.items():
            known[key or "profiles"] = lov  # the list of profiles comes without its key
        module.lovs = known
        return Change(kind, name, shape=True)


def _each(body: msgspec.Raw) -> list[tuple[str, str, _Part]]:
    return [(name, prop, part) for name, parts in _PARTS.decode(body).items() for prop, part in parts.p.items()]


def _keep_labels(old: Property, new: Property) -> None:
    new.label = old.label
    for key, element in new.elements.items():
        if key in old.elements:
            element.label = old.elements[key].label
