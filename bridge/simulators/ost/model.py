"""Elements and properties: what they hold, and how a dump shows them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.values import SETTABLE, NotTaken, coerced
from bridge.simulators.ost.words import labelled

GRID_LIMIT = 5000


@dataclass(slots=True)
class Element:
    """One value. `more` is what only its type has: min, max, lists, icons, `prgtype`, `usems`."""

    kind: str
    label: str
    value: object
    autoupdate: bool = False
    order: str = "00"
    hint: str = ""
    more: JsonObject = field(default_factory=dict)

    @property
    def is_settable(self) -> bool:
        return self.kind in SETTABLE

    def taken(self, value: object) -> object:
        """What the server makes of a value that a client wants set; NotTaken when it is out of range."""
        new = coerced(self.kind, value, bool(self.more.get("usems")))
        low, high = self.more.get("min"), self.more.get("max")
        if isinstance(new, int | float) and isinstance(low, int | float) and isinstance(high, int | float):
            if low == high == 0:
                return new
            if new > high:
                raise NotTaken(2, f"setValue - value too high {new:g} max= {high:g}")
            if new < low:
                raise NotTaken(2, f"setValue - value too low {new:g} min= {low:g}")
        return new

    def dumped(self, language: str) -> JsonObject:
        copies = self.value if self.kind == "img" and isinstance(self.value, dict) else {}
        return {
            **copies,
            **self.more,
            "autoupdate": self.autoupdate,
            "badge": False,
            "hint": labelled(self.hint, language),
            "label": labelled(self.label, language),
            "order": self.order,
            "type": self.kind,
            "value": self.value,
        }


@dataclass(slots=True)
class Grid:
    """Rows of values in the order of the headers; a graph is only a view of them."""

    headers: list[str]
    rows: list[list[object]] = field(default_factory=list)
    limit: int = GRID_LIMIT
    graph_type: str = ""
    graph_params: JsonObject = field(default_factory=dict)

    def line(self, index: int) -> JsonObject:
        return dict(zip(self.headers, self.rows[index], strict=True))

    def dumped(self) -> JsonObject:
        shown: JsonObject = {
            "grid": self.rows,
            "gridLimit": self.limit,
            "gridheaders": self.headers,
            "showGrid": True,
        }
        if self.graph_type:
            shown |= {"graphType": self.graph_type, "graphParams": self.graph_params}
        return shown


@dataclass(slots=True)
class Property:
    """Elements that belong together: permission 0 read-only, 1 write-only, 2 read-write; rule for its bools."""

    label: str
    elements: dict[str, Element]
    level1: str = ""
    level2: str = ""
    order: str = "00"
    permission: int = 2
    rule: int = 2  # 0 one of many, 1 at most one, 2 any
    autoupdate: bool = True
    has_profile: bool = False
    enabled: bool = True
    badge: bool = False
    status: int = 0  # 0 idle, 1 ok, 2 busy, 3 error
    grid: Grid | None = None

    def __post_init__(self) -> None:
        self.elements = dict(sorted(self.elements.items()))

    def values(self) -> JsonObject:
        return {key: element.value for key, element in self.elements.items()}

    def settable(self) -> Iterator[tuple[str, Element]]:
        return ((key, element) for key, element in self.elements.items() if element.is_settable)

    def number(self, key: str) -> float:
        """The value of a number; 0 for what is none."""
        value = self.elements[key].value
        return value if isinstance(value, int | float) else 0

    def bools_but(self, key: str) -> Iterator[Element]:
        return (one for name, one in self.elements.items() if one.kind == "bool" and name != key)

    def dumped(self, language: str) -> JsonObject:
        return {
            "autoupdate": self.autoupdate,
            "badge": self.badge,
            "e": {key: element.dumped(language) for key, element in self.elements.items()},
            "enabled": self.enabled,
            "freevalue": "",
            "hasGraph": self.grid is not None and bool(self.grid.graph_type),
            "hasGrid": self.grid is not None,
            "hasprofile": self.has_profile,
            "label": labelled(self.label, language),
            "level1": self.level1,
            "level2": self.level2,
            "order": self.order,
            "permission": self.permission,
            "posticon1": "",
            "posticon2": "",
            "preicon1": "",
            "preicon2": "",
            "rule": self.rule,
            "showElts": True,
            "status": self.status,
            **(self.grid.dumped() if self.grid is not None else {}),
        }
