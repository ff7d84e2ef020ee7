"""Which points a module of OST has, and what stands behind each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from msgspec import UNSET, Struct
from msgspec.structs import replace

from bridge.drivers.ost_model import STATES, Element, Lov, Module, Property, Tree
from bridge.drivers.ost_options import OstOptions
from bridge.drivers.ost_values import (
    MOMENTS,
    NUMBERS,
    Reading,
    limits,
    number,
    option_key,
    options,
    progress_label,
    reading,
    state,
    text,
)
from bridge.model import Category, Kind, Point, Policy, Quality, point_key

TIMEOUT = 60.0  # seconds: the server stands still while it connects to INDI, for 3 s each time
MOST = 4000  # points of one module: making more would hold up everything else
SHOWN = frozenset(
    {
        "actions", "progress", "results", "values", "measures", "errors", "signals", "states", "image",
        "weatherstate", "domestate", "mountstate", "mountposition", "guiding", "drift", "coming",
    }
)  # fmt: skip  # the usual ones
_BRISK = Policy(min_interval=1.0)  # a mount tells its position five times a second


class Target(Struct, frozen=True):
    """A point and what it stands for."""

    point: Point
    read: Callable[[Tree, Module], Reading | None] = lambda tree, module: None
    prop: str = ""  # "": the module itself
    element: str = ""
    one_of: tuple[tuple[str, str], ...] = ()  # elements and labels, of which one is on


def is_action(prop_key: str, prop: Property) -> bool:
    """Its booleans start something: what they show is no state."""
    return prop.rule == 1 or prop_key.startswith("actions") or prop_key.endswith("actions")


def usual(prop_key: str) -> bool:
    return prop_key in SHOWN or prop_key.startswith("actions")


def module_name(key: str, module: Module) -> str:
    return text(module.infos.get("modulelabel")) or key


def targets(key: str, module: Module, tree: Tree, config: OstOptions) -> dict[str, Target]:
    """All points of a module (at most about MOST) by key, in the order of OST's own display."""
    elements = sum(len(prop.elements) for name, prop in module.properties.items() if not usual(name))
    rest = elements <= config.hidden_limit
    found: dict[str, Target] = {}
    for target in _profile(key, module):
        found[target.point.key] = target
    for name, prop in sorted(module.properties.items(), key=lambda item: (text(item[1].order), item[0])):
        shown = usual(name)
        if not shown and not rest and not config.include:
            continue
        if len(found) >= MOST:
            break
        for target in _property(key, module, name, prop, tree, config):
            if (kept := _kept(target, shown, rest, config)) is not None:
                found.setdefault(kept.point.key, kept)
    return found


def _kept(target: Target, shown: bool, rest: bool, config: OstOptions) -> Target | None:
    """The target as the configuration wants it: shown, declared but hidden, or not at all."""
    point = target.point
    if _matches(point.key, config.exclude):
        return None
    if shown or _matches(point.key, config.include):
        return target
    return replace(target, point=replace(point, enabled=False)) if rest else None


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _profile(key: str, module: Module) -> Iterator[Target]:
    lists: dict[str, Lov] = {} if module.lovs is UNSET else module.lovs
    names = [str(name) for name in lists["profiles"].values] if "profiles" in lists else []
    current = _profile_name(module)
    if current and current not in names:
        names.append(current)
    if not names:
        return
    base = Point(
        point_key(key, "profile"),
        Kind.CHOICE,
        "Profile",
        group=key,
        category=Category.CONFIGURATION,
        timeout=TIMEOUT,
    )
    yield Target(
        replace(base, choices=tuple(names)),
        lambda tree, module: (_profile_name(module) or None, Quality.GOOD),
    )
    yield Target(
        replace(base, key=f"{base.key}_changed", kind=Kind.BINARY, name="Profile changed", enabled=False),
        lambda tree, module: (module.profile is not UNSET and module.profile.changed is True, Quality.GOOD),
    )


def _profile_name(module: Module) -> str:
    return "" if module.profile is UNSET else text(module.profile.name)


def _property(
    key: str, module: Module, name: str, prop: Property, tree: Tree, config: OstOptions
) -> Iterator[Target]:
    bools = [element for element, found in prop.elements.items() if found.type == "bool"]
    action = is_action(name, prop) and prop.permission != 0
    one_of = prop.rule == 0 and prop.permission != 0 and len(bools) >= 2 and not action
    if one_of:
        yield _one_of_many(key, name, prop, bools)
    for element_key, element in sorted(prop.elements.items(), key=lambda item: (text(item[1].order), item[0])):
        if element.type == "bool" and one_of:
            continue
        yield from _element(key, module, name, prop, element_key, element, tree, config)
    if "status" not in prop.elements:
        point = Point(
            point_key(key, name, "status"),
            Kind.SENSOR,
            f"{text(prop.label) or name} status",
            group=key,
            choices=STATES,
            category=Category.PRIMARY if action else Category.DIAGNOSTIC,
            enabled=action,
        )
        yield Target(point, lambda tree, module: state(_prop(module, name).status), prop=name)


def _prop(module: Module, name: str) -> Property:
    return module.properties.get(name) or Property()


def _one_of_many(key: str, name: str, prop: Property, bools: list[str]) -> Target:
    labels = [text(prop.elements[element].label) or element for element in bools]
    pairs = tuple(
        (element, label if labels.count(label) == 1 else f"{label} ({element})")
        for element, label in zip(bools, labels, strict=True)
    )

    def read(tree: Tree, module: Module) -> Reading:
        elements = _prop(module, name).elements
        on = [label for element, label in pairs if element in elements and elements[element].value is True]
        return (on[0] if len(on) == 1 else None), Quality.GOOD

    point = Point(
        point_key(key, name),
        Kind.CHOICE,
        text(prop.label) or name,
        group=key,
        choices=tuple(label for _, label in pairs),
        category=Category.CONFIGURATION,
        timeout=TIMEOUT,
    )
    return Target(point, read, prop=name, one_of=pairs)


def _element(
    key: str,
    module: Module,
    name: str,
    prop: Property,
    element_key: str,
    element: Element,
    tree: Tree,
    config: OstOptions,
) -> Iterator[Target]:
    writable = prop.permission in (1, 2)
    full = point_key(key, name, element_key)
    category = Category.PRIMARY if usual(name) else Category.CONFIGURATION if writable else Category.DIAGNOSTIC
    label = _name(name, prop, element_key, element)
    base = Point(full, Kind.SENSOR, label, group=key, category=category, timeout=TIMEOUT)

    def read(tree: Tree, module: Module) -> Reading:
        found = _prop(module, name).elements.get(element_key)
        return (None, Quality.BAD) if found is None else reading(found, config.media_url)

    listed = options(element, module, tree) if element.type in (*NUMBERS, "string") else {}
    if listed and not (writable and _matches(full, config.free_text)):
        yield _choice(base, name, element_key, element, listed, writable)
        return
    yield Target(_point(base, name, prop, element_key, element, writable, config), read, name, element_key)
    if element.type == "prg" and element.prgtype == "bar":
        yield Target(
            replace(base, key=f"{full}/label", name=f"{label} label", text=True),
            lambda tree, module: progress_label(_prop(module, name).elements.get(element_key) or Element()),
            name,
            element_key,
        )


def _name(name: str, prop: Property, element_key: str, element: Element) -> str:
    group, own = text(prop.label).strip() or name, text(element.label).strip()
    return group if own in ("", group) and len(prop.elements) == 1 else f"{group} {own or element_key}"


def _choice(
    base: Point, name: str, element_key: str, element: Element, listed: dict[str, str], writable: bool
) -> Target:
    """One of a list. The present value is among the choices, though it may not be in the list."""

    def label(element: Element) -> str | None:
        at = option_key(element)
        return None if at is None else listed.get(at, at or None)

    def read(tree: Tree, module: Module) -> Reading:
        found = _prop(module, name).elements.get(element_key)
        return (None, Quality.BAD) if found is None else (label(found), Quality.GOOD)

    choices = tuple(listed.values())
    if (now := label(element)) is not None and now not in choices:
        choices = (*choices, now)
    kind = Kind.CHOICE if writable else Kind.SENSOR
    return Target(replace(base, kind=kind, choices=choices), read, name, element_key)


def _point(
    base: Point,
    name: str,
    prop: Property,
    element_key: str,
    element: Element,
    writable: bool,
    config: OstOptions,
) -> Point:
    match element.type:
        case "bool" if writable and is_action(name, prop):
            stops = "abort" in element_key.lower() or element_key.lower().startswith("stop")
            return replace(base, kind=Kind.ACTION, urgent=stops)
        case "bool":
            return replace(base, kind=Kind.SWITCH if writable else Kind.BINARY)
        case "int" | "float" if writable:
            low, high = limits(element)
            told = number(element.step) or 0
            step = told if told > 0 else 1 if element.type == "int" else None
            return replace(base, kind=Kind.NUMBER, minimum=low, maximum=high, step=step)
        case "int" | "float":
            return replace(base, state_class="measurement", policy=_BRISK)
        case "light":
            return replace(base, choices=STATES)
        case "prg" if element.prgtype == "bar":
            return replace(base, unit="%", policy=_BRISK)
        case "img" if config.media_url:
            return replace(base, kind=Kind.IMAGE)
        case kind if writable and (kind == "string" or kind in MOMENTS):
            return replace(base, kind=Kind.TEXT)
    return replace(base, text=True)
