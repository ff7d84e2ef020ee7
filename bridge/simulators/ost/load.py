"""Modules of any size for load tests, and updates at any rate."""

from collections.abc import Iterator
from typing import ClassVar

from bridge.simulators.ost.declare import number, switch, text
from bridge.simulators.ost.model import Element, Property
from bridge.simulators.ost.module import Module, Site
from bridge.simulators.ost.stage import Script

PER_PROPERTY = 10
PER_MODULE = 1000
HINT = "One of many elements that a load test has asked for; this text makes it as long as real ones are. " * 3
ROUND = 0.02  # seconds between two bursts of updates
ROUNDS = 250  # bursts before looking for new modules


def _element(index: int) -> Element:
    match index % 4:
        case 0:
            element = number(f"Number {index}", index / 8, auto=True)
        case 1:
            element = text(f"Text {index}", f"value {index}", auto=True)
        case 2:
            element = switch(f"Switch {index}", auto=True)
        case _:
            element = number(f"Limited {index}", 1, 0, 1000, auto=True)
    element.hint = HINT
    return element


def _properties(count: int) -> dict[str, Property]:
    made = {}
    for first in range(0, count, PER_PROPERTY):
        elements = {f"e{index:05}": _element(index) for index in range(first, min(count, first + PER_PROPERTY))}
        made[f"p{first:05}"] = Property(f"Property {first}", elements, level1="Load")
    return made


class Load(Module):
    library: ClassVar[str] = "load"
    kind: ClassVar[str] = "Load"
    description: ClassVar[str] = "Many elements"

    def __init__(self, label: str, site: Site, count: int) -> None:
        super().__init__(label, site, _properties(count))


def modules(site: Site, elements: int) -> Iterator[Load]:
    """Modules with so many elements in all."""
    for number_, first in enumerate(range(0, elements, PER_MODULE), 1):
        yield Load(f"Load {number_:03}", site, min(PER_MODULE, elements - first))


def updates(site: Site, rate: float) -> Script:
    """So many `ea` frames per second, in turn over all properties with a number to change."""
    owed, turn = 0.0, 0
    while True:
        places = _places(site)
        for _ in range(ROUNDS):
            yield ROUND
            owed += rate * ROUND
            while owed >= 1 and places:
                owed -= 1
                turn += 1
                module, prop, key = places[turn % len(places)]
                module.put(prop, **{key: turn % 1000 / 8})


def _places(site: Site) -> list[tuple[Module, str, str]]:
    """The first number of each property of a load module, or (without those) the mount's position."""
    return [
        (module, prop, next(key for key, element in held.elements.items() if element.kind == "float"))
        for module in site.modules.values()
        for prop, held in module.properties.items()
        if isinstance(module, Load) or prop == "mountposition"
    ]
