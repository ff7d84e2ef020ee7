"""Sets and grid edits of one property, with the frames and logs that the real server answers them with."""

from collections.abc import Mapping

from bridge.simulators.ost import frames
from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.model import Grid
from bridge.simulators.ost.module import Module
from bridge.simulators.ost.values import NotTaken


def set_one(module: Module, prop: str, element: str, value: object) -> None:
    """SV. Without autoupdate of the element or the property nothing happens, and nothing is said."""
    held = module.properties[prop]
    target = held.elements[element]
    if not (target.autoupdate or held.autoupdate):
        return
    try:
        new = target.taken(value)
    except NotTaken as refusal:
        module.log(refusal.level, f"{prop} - {refusal}")
        return
    if target.kind == "bool" and held.rule != 2:
        if held.rule == 0 and not new:
            return  # one of many cannot be unset
        for other in held.bools_but(element):
            other.value = False
            module.show(prop)
    target.value = new
    module.site.wire.record(module.key, prop, element, new, "SV")
    module.show(prop)
    module.acted(prop, element, new)


def set_all(module: Module, prop: str, values: Mapping[str, object]) -> None:
    """SA. Every settable element must be there; those that cannot be set are left out with a log."""
    held = module.properties[prop]
    for key, _ in held.settable():
        if key not in values:
            module.log(2, f"{prop} - PropertyMulti::setAll incomplete values, {key} missing ")
            return
    executed = []
    for key, element in held.settable():
        try:
            element.value = element.taken(values[key])
        except NotTaken as refusal:
            module.log(refusal.level, f"{prop} - {refusal}")
            continue
        executed.append(key)
        module.site.wire.record(module.key, prop, key, element.value, "SA")
    module.show(prop)
    for key in executed:
        module.acted(prop, key, held.elements[key].value)


def edit_grid(module: Module, command: str, prop: str, body: Mapping[str, object]) -> None:
    """GC GU GF GD GH GB GR, on a property that has a grid; nothing, without a word, where it is no autoupdate."""
    if not module.properties[prop].autoupdate and prop not in module.own_grids:
        return
    index = body.get("i")
    line = index if isinstance(index, int) else -1
    fields = body.get("e")
    values = fields if isinstance(fields, dict) else {}
    try:
        match command:
            case "GC":
                _create(module, prop, values)
            case "GU":
                _update(module, prop, line, values)
            case "GF":
                _fetch(module, prop, line)
            case "GD":
                _existing(module.grid(prop), line, "delete")
                del module.grid(prop).rows[line]
                module.tell(frames.LINE_GONE, prop, {"i": line})
            case "GH" | "GB":
                _swap(module, prop, line, line - 1 if command == "GH" else line + 1)
            case "GR":
                module.empty_grid(prop)
        module.site.wire.record(module.key, prop, "", {"i": index, "e": fields}, command)
    except NotTaken as refusal:
        module.log(refusal.level, f"{prop} - {refusal}")
    if command != "GF":  # which changes no grid
        module.gridded(prop)


def _create(module: Module, prop: str, values: JsonObject) -> None:
    held = module.properties[prop]
    _complete(module, prop, values, "newLine")
    for key, element in held.settable():
        element.value = element.taken(values[key])
        module.show(prop)
    module.add_line(prop)


def _update(module: Module, prop: str, line: int, values: JsonObject) -> None:
    grid = module.grid(prop)
    _existing(grid, line, "update")
    _complete(module, prop, values, "updateLine")
    elements = module.properties[prop].elements
    for key, element in module.properties[prop].settable():
        element.value = element.taken(values[key])  # of which nothing is told
    grid.rows[line] = [elements[name].value for name in grid.headers]
    module.tell(frames.LINE_CHANGED, prop, {"i": line, "values": grid.line(line)})


def _fetch(module: Module, prop: str, line: int) -> None:
    grid = module.grid(prop)
    _existing(grid, line, "fetch")
    for key, value in grid.line(line).items():
        module.properties[prop].elements[key].value = value
        module.show(prop)


def _swap(module: Module, prop: str, line: int, other: int) -> None:
    """The whole property is sent again."""
    rows = module.grid(prop).rows
    if not (0 <= line < len(rows) and 0 <= other < len(rows)):
        raise NotTaken(2, f"Can't swap lines {line}/{other}")
    rows[line], rows[other] = rows[other], rows[line]
    module.tell(frames.PROPERTY, prop, module.properties[prop].dumped("en"))


def _complete(module: Module, prop: str, values: JsonObject, what: str) -> None:
    for key, _ in module.properties[prop].settable():
        if key not in values:
            raise NotTaken(2, f"PropertyMulti::{what} incomplete values, {key} missing ")


def _existing(grid: Grid, line: int, what: str) -> None:
    if not 0 <= line < len(grid.rows):
        raise NotTaken(2, f"Can't {what} line {line} >= {len(grid.rows)}")


# --- profiles -----------------------------------------------------------------------------------------------


def keep_profile(module: Module, name: str) -> None:
    """Remember the properties with `hasprofile`, their grids too."""
    kept: JsonObject = {}
    for key, held in module.properties.items():
        if held.has_profile:
            rows = [list(row) for row in held.grid.rows] if held.grid is not None else None
            kept[key] = (held.values(), rows)
    module.profiles[name] = kept


def save_profile(module: Module, name: str) -> None:
    """PS."""
    keep_profile(module, name)
    module.profile, module.is_changed = name, False
    module.show_list("profiles", module.profiles)
    module.site.wire.broadcast(frames.CONTROLLER, {"profiles": profiles_of(module.site.modules)})
    module.show_profile(frames.PROFILE_SAVED)
    module.log(1, f"Profile {name} saved")


def load_profile(module: Module, name: str) -> None:
    """PL. A frame for every element, and for every cell of every grid."""
    if name not in module.profiles:
        module.log(3, f"Error loading profile {name}")
        return
    for prop, kept in module.profiles[name].items():
        if prop in module.properties and isinstance(kept, tuple):
            _restore(module, prop, *kept)
    module.profile, module.is_changed = name, False
    module.site.wire.record(module.key, "", "", name, "PL")
    module.show_profile(frames.PROFILE_LOADED)
    module.log(1, f"Profile {name} loaded")


def _restore(module: Module, prop: str, values: JsonObject, rows: list[list[object]] | None) -> None:
    held = module.properties[prop]
    for key, value in values.items():
        held.elements[key].value = value
        module.show(prop)
    if held.grid is None or rows is None:
        return
    module.empty_grid(prop)
    for row in rows:
        for name, value in zip(held.grid.headers, row, strict=True):
            held.elements[name].value = value
            module.show(prop)
        module.add_line(prop)


def profiles_of(modules: Mapping[str, Module]) -> JsonObject:
    return {module.kind: list(module.profiles) for module in modules.values() if module.profiles}
