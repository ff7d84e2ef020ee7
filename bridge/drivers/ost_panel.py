"""What of the tree is told and when: bursts are collected, repeats dropped, big dumps told in slices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from bridge.driver import Effect, Remember
from bridge.drivers import ost_system
from bridge.drivers.ost_model import Change, Lov, Module, Tree
from bridge.drivers.ost_options import OstOptions
from bridge.drivers.ost_points import MOST, Target, module_name, targets
from bridge.drivers.ost_values import Reading
from bridge.model import Declared, GroupState, GroupStatus, Happened, Json, Point, Scalar, Update

COALESCE = 0.075  # seconds: one choice of many comes as a frame per boolean, a list as one per entry
GRACE = 10.0  # seconds until a module that was removed is taken for gone: loading it again takes less
SLICE = 1500  # elements whose points are made in one step
MEMORY = "modules"


class Panel:
    """The points of one connection. `due`: when `flush` or `leave` has something to do."""

    def __init__(self, config: OstOptions, memory: Mapping[str, Json], tree: Tree) -> None:
        self._config = config
        self.tree = tree
        known = memory.get(MEMORY)
        self._before = {str(name) for name in known if name} if isinstance(known, list) else set()
        self._saved = set(self._before)
        self._targets: dict[str, dict[str, Target]] = {}  # by module and key
        self._by_prop: dict[tuple[str, str], list[Target]] = {}
        self._owner: dict[str, str] = {}  # key to module
        self._points: dict[str, tuple[Point, ...]] = {}
        self._shown: dict[str, Reading] = {}
        self._system: dict[str, Scalar] = {}
        self._shape: dict[str, None] = {}  # modules whose points may be others now
        self._dirty: dict[tuple[str, str], None] = {}
        self._lists_changed = False  # the controller's
        self._lists: dict[str, Lov] = {}  # as the points know them
        self._leaving: dict[str, float] = {}
        self._names: dict[str, str] = {}  # of the modules that are online
        self._flush_at = math.inf

    # --- what happened ---------------------------------------------------------------------------------

    def replace(self, tree: Tree, now: float) -> None:
        """A dump came: everything may be different."""
        self.tree = tree
        self._lists, self._lists_changed = dict(tree.lovs), False
        self._shape = dict.fromkeys(["", *(name for name in tree.modules if name)])
        self._shape |= dict.fromkeys(name for name in (*self._names, *self._before) if name not in tree.modules)
        self._flush_at = now

    def note(self, change: Change, now: float) -> None:
        if change.kind == "uc":
            self._shape[""] = None
        elif not change.module:  # a list of the controller
            self._lists_changed = True
        elif change.shape:
            self._shape[change.module] = None
        else:
            self._dirty[change.module, change.prop] = None
        self._flush_at = min(self._flush_at, now + COALESCE)

    def target(self, key: str) -> tuple[str, Target] | None:
        """The module and the point behind a key."""
        module = self._owner.get(key)
        return None if module is None else (module, self._targets[module][key])

    # --- what is told ----------------------------------------------------------------------------------

    @property
    def due(self) -> float:
        return min(self._flush_at, min(self._leaving.values(), default=math.inf))

    @property
    def complete(self) -> bool:
        """Nothing waits for another slice."""
        return not self._shape

    def flush(self, now: float) -> Iterator[Effect]:
        """What is due; the rest of something big is due at once."""
        if now >= self._flush_at:
            self._compare_lists()
            elements = 0
            while self._shape and elements < SLICE:
                name = next(iter(self._shape))
                yield from self._reshape(name, now)
                module = self.tree.modules.get(name)
                elements += 100 + sum(len(p.elements) for p in module.properties.values()) if module else 1
            self._flush_at = now if self._shape else math.inf
            if not self._shape:
                yield from self._values(list(self._dirty))
        yield from self._leave(now)
        yield from self._remember()

    def _compare_lists(self) -> None:
        """OST makes its lists again every few seconds, and mostly they end as they were."""
        if self._lists_changed and self._lists != self.tree.lovs:
            self._lists = dict(self.tree.lovs)
            self._shape |= dict.fromkeys(name for name in self.tree.modules if name)
        self._lists_changed = False

    def show(self, module: str, now: float) -> Iterator[Effect]:
        """What changed of one module, now: an answer about it follows."""
        if module in self._shape:
            yield from self._reshape(module, now)
        yield from self._values([at for at in self._dirty if at[0] == module])

    def _reshape(self, name: str, now: float) -> Iterator[Effect]:
        self._shape.pop(name, None)
        module = self.tree.modules.get(name)
        if not name:
            yield from self._declare_system()
        elif module is not None:
            yield from self._declare(name, module)
        elif name in self._names or name in self._before:
            yield from self._depart(name, now)

    def _declare_system(self) -> Iterator[Effect]:
        points = ost_system.points(self.tree.controller)
        if self._points.get("") != points:
            self._points[""] = points
            yield Declared(points)
        for update in ost_system.updates(self.tree.controller):
            if update.key not in self._system or self._system[update.key] != update.value:
                self._system[update.key] = update.value
                yield update

    def _declare(self, name: str, module: Module) -> Iterator[Effect]:
        reserved = {point.key for point in self._points.get("", ())}
        made = targets(name, module, self.tree, self._config)
        found = {key: target for key, target in made.items() if key not in reserved}
        self._forget(name)
        self._targets[name] = found
        for key, target in found.items():
            self._owner[key] = name
            self._by_prop.setdefault((name, target.prop), []).append(target)
        points = tuple(target.point for target in found.values())
        if self._points.get(name) != points or name not in self._names:
            self._renew(self._points.get(name, ()), points)
            self._points[name] = points
            yield Declared(points, name)
            if len(points) >= MOST:
                told = f"the module {name} has more points than {MOST}: use include and exclude"
                yield Happened("unexpected", {"message": told})
        yield from self._arrive(name, module)
        yield from self._values([(name, prop) for prop in {target.prop: None for target in found.values()}])

    def _renew(self, old: tuple[Point, ...], new: tuple[Point, ...]) -> None:
        """What was told of points that went, or are of another kind now, is not known any more."""
        kinds = {point.key: point.kind for point in new}
        for point in old:
            if kinds.get(point.key) is not point.kind:
                self._shown.pop(point.key, None)

    def _forget(self, name: str) -> None:
        for key, target in self._targets.pop(name, {}).items():
            self._owner.pop(key, None)
            self._by_prop.pop((name, target.prop), None)

    def _values(self, places: list[tuple[str, str]]) -> Iterator[Effect]:
        """The values of some properties, as far as they are new."""
        for place in places:
            self._dirty.pop(place, None)
            module = self.tree.modules.get(place[0])
            for target in self._by_prop.get(place, ()) if module is not None else ():
                told = None if module is None else target.read(self.tree, module)
                if told is None or self._shown.get(target.point.key) == told:
                    continue
                point = target.point
                if module is not None and isinstance(told[0], str) and told[0] not in (point.choices or told):
                    yield from self._declare(place[0], module)  # it is in no list: one more choice
                    break
                self._shown[point.key] = told
                yield Update(point.key, told[0], told[1])

    # --- modules come and go ---------------------------------------------------------------------------

    def _arrive(self, name: str, module: Module) -> Iterator[Effect]:
        self._leaving.pop(name, None)
        label = module_name(name, module)
        if self._names.get(name) != label:
            self._names[name] = label
            self._before.add(name)
            yield GroupStatus(name, GroupState.ONLINE, name=label)

    def _depart(self, name: str, now: float) -> Iterator[Effect]:
        label = self._names.pop(name, "")
        for key in self._targets.get(name, {}):
            self._shown.pop(key, None)
        self._forget(name)
        if name not in self._leaving:
            self._leaving[name] = now + GRACE
            yield GroupStatus(name, GroupState.OFFLINE, f"the module {name} is not loaded", label)

    def _leave(self, now: float) -> Iterator[Effect]:
        for name in [name for name, at in self._leaving.items() if at <= now]:
            del self._leaving[name]
            self._before.discard(name)
            self._points.pop(name, None)
            yield GroupStatus(name, GroupState.GONE)

    def _remember(self) -> Iterator[Remember]:
        """So that the next connection knows what must go if it is not there any more."""
        if not self._shape and self._before != self._saved:
            self._saved = set(self._before)
            yield Remember(MEMORY, sorted(self._before))
