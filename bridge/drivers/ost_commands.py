"""What can be done with an OST server, as frames: all that it would coerce or ignore is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bridge.driver import Touch
from bridge.drivers import ost_frames as frames
from bridge.drivers.ost_model import Element, Module, Property, Tree
from bridge.drivers.ost_points import TIMEOUT, Target, is_action
from bridge.drivers.ost_values import SETTABLE, options, text, wanted
from bridge.model import Argument, Category, Command, Json, Kind, Point, point_key

_MODULE = Argument("module", "text", required=True, help="a module's key, like MyFocuser")
_PROPERTY = Argument("property", "text", required=True, help="a property's key, like parameters")
_VALUES = Argument("values", "object", required=True, help="values by element")
_LINE = Argument("line", "integer", required=True, minimum=0, help="a line of the grid, from 0")
_PROFILE = Argument("profile", "text", required=True, help="a profile's name")


def _action(key: str, name: str, *arguments: Argument) -> Point:
    hidden = Category.CONFIGURATION
    return Point(key, Kind.ACTION, name, arguments=arguments, timeout=TIMEOUT, category=hidden, enabled=False)


ACTIONS = (
    _action("set_property", "Set a property", _MODULE, _PROPERTY, _VALUES),
    _action("grid_read", "Read a grid", _MODULE, _PROPERTY),
    _action("grid_append", "Append a line", _MODULE, _PROPERTY, _VALUES),
    _action("grid_update", "Change a line", _MODULE, _PROPERTY, _LINE, _VALUES),
    _action("grid_delete", "Delete a line", _MODULE, _PROPERTY, _LINE),
    _action(
        "grid_move",
        "Move a line",
        _MODULE,
        _PROPERTY,
        _LINE,
        Argument("direction", "text", required=True, choices=("up", "down")),
    ),
    _action("grid_clear", "Empty a grid", _MODULE, _PROPERTY),
    _action("profile_load", "Load a profile", _MODULE, _PROFILE),
    _action("profile_save", "Save a profile", _MODULE, _PROFILE),
    _action(
        "module_load",
        "Load a module",
        Argument("library", "text", required=True, help="its kind, like dummy"),
        Argument("label", "text", required=True, help="its name; the key is this without spaces"),
        Argument("profile", "text", help="the profile to begin with; absent: default"),
    ),
    _action("module_kill", "Remove a module", _MODULE),
)
NAMES = frozenset(action.key for action in ACTIONS)


class Order(Struct, frozen=True):
    """A frame, and what shows that the server took it: a message of these kinds about this module and property."""

    frame: str
    module: str
    prop: str = ""
    kinds: frozenset[str] = frozenset()
    values: Mapping[str, Json] = {}  # what the elements then show
    starts: bool = False  # something that goes on, and may fail at once


def touches(command: Command) -> Sequence[Touch]:
    """The keys that an action reaches, as names to allow or deny: they need not be points."""
    args = command.args
    if command.key not in NAMES or not isinstance(module := args.get("module"), str):
        return ()
    if command.key in ("profile_load", "profile_save"):
        return [Touch(point_key(module, "profile"), point=False)]
    if not isinstance(prop := args.get("property"), str) or command.key == "grid_read":
        return ()
    touched = [Touch(point_key(module, prop), point=False)]
    values = args.get("values")
    if command.key == "set_property" and isinstance(values, Mapping):
        touched += [Touch(point_key(module, prop, str(key)), value, point=False) for key, value in values.items()]
    return touched


# --- a point -------------------------------------------------------------------------------------------


def of_target(module_key: str, target: Target, value: Json, tree: Tree) -> Order:
    """`set` of a point, or the call of an action that stands for a boolean. ValueError says why not."""
    module = find_module(tree, module_key)
    if not target.prop:
        return _load_profile(module_key, str(value))
    prop = writable(tree, module_key, target.prop)
    if target.one_of:
        chosen = [element for element, label in target.one_of if label == value and element in prop.elements]
        if not chosen:  # the choices have changed since it was accepted
            raise ValueError(f"{value!r} is not one of {', '.join(label for _, label in target.one_of)}")
        return _set(module_key, target.prop, prop, chosen[0], True)
    element = _element(prop, target.element)
    if target.point.kind is Kind.ACTION:
        frame = frames.elements("SV", module_key, target.prop, {target.element: True})
        return Order(frame, module_key, target.prop, frozenset({"ea", "ps", "ap"}), starts=True)
    sent = wanted(element, value, options(element, module, tree))
    return _set(module_key, target.prop, prop, target.element, sent)


def _set(module: str, name: str, prop: Property, element: str, value: Json) -> Order:
    """SV, or SA where SV would do nothing at all."""
    if prop.autoupdate is True or prop.elements[element].autoupdate is True:
        frame = frames.elements("SV", module, name, {element: value})
    else:
        frame = frames.elements("SA", module, name, complete(prop, {element: value}))
    return Order(frame, module, name, frozenset({"ea", "ap"}), {element: value})


# --- the actions of the device -------------------------------------------------------------------------


def of_action(command: Command, tree: Tree) -> Order:
    """One of ACTIONS but `grid_read`. ValueError says why not."""
    args = command.args
    if command.key == "module_load":
        return _load_module(args, tree)
    module_key = str(args["module"])
    module = find_module(tree, module_key)
    match command.key:
        case "module_kill":
            return Order(frames.encode("MK", {"name": module_key}), module_key, kinds=frozenset({"dm"}))
        case "profile_load":
            return _load_profile(module_key, str(args["profile"]))
        case "profile_save":
            frame = frames.profile("PS", module_key, _named(args["profile"]))
            return Order(frame, module_key, kinds=frozenset({"fs"}))
    name = str(args["property"])
    prop = writable(tree, module_key, name)
    values = args.get("values")
    given = _checked(name, prop, values, module, tree) if isinstance(values, Mapping) else {}
    if command.key == "set_property":
        if not given:
            raise ValueError("values is empty")
        frame = frames.elements("SA", module_key, name, complete(prop, given))
        return Order(frame, module_key, name, frozenset({"ea", "ap"}), given)
    return _grid(command.key, args, module_key, name, prop, given)


def _load_profile(module: str, name: str) -> Order:
    return Order(frames.profile("PL", module, _named(name)), module, kinds=frozenset({"fl"}))


def _load_module(args: Mapping[str, Json], tree: Tree) -> Order:
    library, label = str(args["library"]).removeprefix("libost"), str(args["label"])
    profile = str(args.get("profile") or "default")
    known = tree.controller.get("libraries")
    if isinstance(known, Mapping) and known and f"libost{library}" not in known and library not in known:
        names = ", ".join(str(name).removeprefix("libost") for name in known)
        raise ValueError(f"OST has no module library {library!r}; there are {names}")
    key = label.replace(" ", "")
    if not key or not label.isprintable():
        raise ValueError(f"{label!r} is no name for a module")
    if key in tree.modules:
        raise ValueError(f"the module {key} is there already")
    frame = frames.encode("ML", {"lib": library, "label": label, "profile": profile})
    return Order(frame, key, kinds=frozenset({"aa"}))


def _named(name: Json) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or "/" in name:
        raise ValueError(f"{name!r} is no name for a profile")
    return name


def _grid(
    verb: str, args: Mapping[str, Json], module: str, name: str, prop: Property, given: Mapping[str, Json]
) -> Order:
    if prop.has_grid is not True:
        raise ValueError(f"{module}/{name} has no grid")
    if strange := [key for key in given if key not in prop.headers]:
        raise ValueError(f"the grid has no column {strange[0]!r}; it has {', '.join(prop.headers)}")
    if verb == "grid_append":
        line = complete(prop, given, columns=True)
        return Order(frames.elements("GC", module, name, line), module, name, frozenset({"gc"}))
    if verb == "grid_clear":
        return Order(frames.line("GR", module, name), module, name, frozenset({"gr"}))
    index = int(str(args["line"]))
    if index >= len(prop.grid):
        raise ValueError(f"the grid has {len(prop.grid)} lines, the first is 0")
    if verb == "grid_update":
        row = dict(zip(prop.headers, prop.grid[index], strict=False))
        line = complete(prop, given, row, columns=True)
        return Order(frames.elements("GU", module, name, line, index), module, name, frozenset({"gu"}))
    if verb == "grid_delete":
        return Order(frames.line("GD", module, name, index), module, name, frozenset({"gd"}))
    up = args["direction"] == "up"
    if index == (0 if up else len(prop.grid) - 1):
        raise ValueError(f"line {index} is the {'first' if up else 'last'} one")
    return Order(frames.line("GH" if up else "GB", module, name, index), module, name, frozenset({"ap"}))


def rows(prop: Property) -> list[Json]:
    """A grid's lines as objects."""
    return [dict(zip(prop.headers, row, strict=False)) for row in prop.grid]


# --- what holds for several ----------------------------------------------------------------------------


def find_module(tree: Tree, key: str) -> Module:
    """ValueError: there is none."""
    if key not in tree.modules:
        raise ValueError(f"there is no module {key!r}")
    return tree.modules[key]


def find_property(tree: Tree, module: str, name: str) -> Property:
    """ValueError: there is none."""
    properties = find_module(tree, module).properties
    if name not in properties:
        raise ValueError(f"the module {module} has no property {name!r}")
    return properties[name]


def writable(tree: Tree, module: str, name: str) -> Property:
    """ValueError: there is none, or the server would refuse to set it."""
    prop = find_property(tree, module, name)
    if prop.permission not in (1, 2):
        raise ValueError(f"{module}/{name} is read-only")
    if prop.enabled is False:
        raise ValueError(f"{module}/{name} is disabled by the server")
    return prop


def _element(prop: Property, key: str) -> Element:
    if key not in prop.elements:
        raise ValueError(f"there is no element {key!r}; there are {', '.join(prop.elements)}")
    return prop.elements[key]


def _checked(name: str, prop: Property, values: Mapping[str, Json], module: Module, tree: Tree) -> dict[str, Json]:
    """Values by element as OST wants them; ValueError names the first that is wrong."""
    checked: dict[str, Json] = {}
    for key, value in values.items():
        element = _element(prop, key)
        try:
            checked[key] = wanted(element, value, options(element, module, tree))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if checked[key] is True and is_action(name, prop) and prop.has_grid is not True:
            raise ValueError(f"{key} is an action of its own: call it")
    if prop.rule in (0, 1) and sum(value is True for value in checked.values()) > 1:
        raise ValueError(
            f"only one of {', '.join(key for key, value in checked.items() if value is True)} can be on"
        )
    return checked


def complete(
    prop: Property, given: Mapping[str, Json], rest: Mapping[str, Json] | None = None, *, columns: bool = False
) -> dict[str, Json]:
    """The given values over those that are there: OST takes all settable elements (columns) or nothing.

    ValueError: one was not given and OST shows no value of it.
    """
    line = {key: element.value for key, element in prop.elements.items()} if rest is None else dict(rest)
    excludes = prop.rule in (0, 1) and any(given[key] is True for key in given)
    whole: dict[str, Json] = {}
    for key, element in prop.elements.items():
        if element.type not in SETTABLE or (columns and key not in prop.headers):
            continue
        value = given[key] if key in given else line.get(key)
        if key not in given and excludes and element.type == "bool":
            value = False  # set one after the other, a later true would take the place of the wanted one
        if value is None:
            raise ValueError(f"{text(element.label) or key} has no value now: give {key!r} too")
        whole[key] = value
    return whole
