"""What each root key does, with the checks in the real server's order: structure, module, property, value."""

from bridge.simulators.ost import edits
from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.module import Module
from bridge.simulators.ost.observatory import Observatory
from bridge.simulators.ost.requests import ADDRESSED, GRIDS, PROFILES, Misunderstood, module_of, property_of


def execute(observatory: Observatory, key: str, body: JsonObject) -> None:
    """A command of a client that may write. What is wrong with it is said in logs, to everybody."""
    try:
        if key in ADDRESSED:
            _addressed(observatory, key, body)
        else:
            _server(observatory, key, body)
    except Misunderstood as error:
        observatory.wire.log(error.origin, 3, str(error))


def _addressed(observatory: Observatory, key: str, body: JsonObject) -> None:
    name, inside = module_of(key, body, observatory.modules)
    module = observatory.modules[name]
    if key in PROFILES:
        _profile(module, key, inside)
    elif key == "DP":  # the key of the property does not reach the module
        property_of(key, inside)
        _refuse(module, "property  not found")
    else:
        address = property_of(key, inside)
        if _may_change(module, key, address.prop, address.body):
            _change(observatory, module, key, address.prop, address.body)


def _may_change(module: Module, key: str, prop: str, body: JsonObject) -> bool:
    held = module.properties.get(prop)
    elements = body.get("e")
    names = list(elements) if isinstance(elements, dict) else []
    if held is None:
        _refuse(module, f"property {prop} not found")
    elif key in {"SV", "J1", "J2"} and names[0] not in held.elements:
        _refuse(module, f"element {prop}-{names[0]} not found")
    elif held.permission == 0:
        _refuse(module, f"property {prop} is readonly, can't update")
    elif not held.enabled:
        _refuse(module, f"property {prop} is disabled, can't update")
    elif key in GRIDS and held.grid is None:
        _refuse(module, f"property {prop} has no grid")
    else:
        return True
    return False


def _change(observatory: Observatory, module: Module, key: str, prop: str, body: JsonObject) -> None:
    elements = body.get("e")
    values = elements if isinstance(elements, dict) else {}
    if key == "SV":
        ((element, value),) = values.items()
        edits.set_one(module, prop, element, value)
    elif key == "SA":
        edits.set_all(module, prop, values)
    elif key in GRIDS:
        edits.edit_grid(module, key, prop, body)
    else:  # icons: I1 to J2
        module.site.wire.record(module.key, prop, next(iter(values), ""), None, key)
        if key == "J2" and prop == "devices":
            observatory.rescan(module)


def _profile(module: Module, key: str, inside: JsonObject) -> None:
    name = inside.get("profile")
    if not isinstance(name, str):
        what = "load" if key == "PL" else "save"
        _refuse(module, f"invalid profile {what} data content - {key}")
    elif key == "PL":
        edits.load_profile(module, name)
    else:
        edits.save_profile(module, name)


def _refuse(module: Module, text: str) -> None:
    module.log(3, f"Basemodule::onExternalEventBase - {text}")


def _server(observatory: Observatory, key: str, body: JsonObject) -> None:
    def text(name: str) -> str:
        value = body.get(name)
        return value if isinstance(value, str) else ""

    match key:
        case "ML":
            observatory.load(text("lib"), text("label"), text("profile"))
        case "MK":
            observatory.kill(text("name"))
        case "CL":
            observatory.load_conf(text("name"))
        case "CS":
            observatory.save_conf(text("name"))
        case "FS":
            if not text("folder"):
                raise Misunderstood("CT", "Controller::onExternalEvent - invalid event data content - FS")
            observatory.files.select(text("folder"))
        case "YA" | "YZ":
            observatory.indi(key == "YA")
        case "YL" | "YS" | "YR":
            observatory.driver(key, text("driver"))
