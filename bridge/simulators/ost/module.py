"""A module: properties and lists, and the frames in which it tells its changes."""

from collections.abc import Iterable
from typing import ClassVar, Protocol

from bridge.simulators.ost import frames
from bridge.simulators.ost.files import Files
from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.stage import Script, Stage, is_over
from bridge.simulators.ost.weather import Weather
from bridge.simulators.ost.wire import Wire

GIT = {
    "date": "Fri Jul 17 15:55:28 2026",
    "hash": "8c085fc2c54e0c12c432100a112ea00b9994e2ab",
    "message": "simulated",
}


class Site(Protocol):
    """What a module sees of the observatory."""

    wire: Wire
    stage: Stage
    files: Files
    weather: Weather
    modules: dict[str, "Module"]
    indi_hangs: float  # seconds that each try to reach the INDI server takes; 0: it answers

    def block(self, seconds: float) -> None: ...
    def relist(self, name: str, entries: Iterable[str]) -> None: ...


class Module:
    """The properties that all modules have come from `equipment`; a subclass adds its own and acts."""

    library: ClassVar[str] = ""  # as in libost<library>
    kind: ClassVar[str] = ""  # its profiles' name
    description: ClassVar[str] = ""
    template: ClassVar[str] = "default"
    own_grids: ClassVar[frozenset[str]] = frozenset()  # edited by itself, though their property is no autoupdate

    def __init__(self, label: str, site: Site, properties: dict[str, Property], profile: str = "default") -> None:
        self.label, self.key, self.site = label, label.replace(" ", ""), site
        self.properties = dict(sorted(properties.items()))
        self.lists: dict[str, JsonObject] = {}
        self.profile, self.is_changed = profile, False
        self.profiles: dict[str, JsonObject] = {}  # those saved here
        self.started = frames.now()
        self._scripts: list[Script] = []

    # --- for subclasses -----------------------------------------------------------------------------------------

    def live(self) -> Iterable[Script]:
        """What goes on by itself, as long as the module is loaded."""
        return ()

    def acted(self, prop: str, element: str, value: object) -> None:
        """A client (or another module) has set this element."""

    def gridded(self, prop: str) -> None:
        """A client wanted a grid changed, in vain or not."""

    # --- telling ------------------------------------------------------------------------------------------------

    def tell(self, root: str, prop: str, body: object) -> None:
        self.site.wire.broadcast(root, {self.key: {"p": {prop: body}}})

    def log(self, level: int, words: str) -> None:
        self.site.wire.log(self.key, level, words)

    def show(self, prop: str) -> None:
        """All elements of the property, as always; and once, that the profile is no longer as it was saved."""
        held = self.properties[prop]
        self.tell(frames.VALUES, prop, {"e": held.values()})
        if held.has_profile and not self.is_changed:
            self.is_changed = True
            self.show_profile(frames.PROFILE_CHANGED)

    def show_profile(self, root: str) -> None:
        self.site.wire.broadcast(root, {self.key: {"f": self.profile_state()}})

    def profile_state(self) -> JsonObject:
        return {"changed": self.is_changed, "name": self.profile}

    def put(self, prop: str, **values: object) -> None:
        """Change elements (an underscore at the end of a name is none of its) and show the property."""
        for name, value in values.items():
            self.properties[prop].elements[name].value = value
        self.show(prop)

    def state(self, prop: str, status: int, enabled: bool = True) -> None:
        held = self.properties[prop]
        held.status, held.enabled = status, enabled
        self.tell(frames.STATE, prop, {"status": status, "enabled": enabled})

    def signal(self, event: str, words: str, state: int, state_words: str) -> None:
        self.put(
            "signals",
            event=event,
            eventdescription=words,
            state=state,
            statedescription=state_words,
            val_int=0,
            val_num=0,
            val_str="",
        )

    def show_list(self, name: str, entries: Iterable[str]) -> None:
        """A list is rebuilt: cleared, then one frame for each entry. `profiles` comes under the key ""."""
        known = self.lists.get(name, {"label": name, "type": "string"})
        told = "" if name == "profiles" else name
        values: dict[str, str] = {}
        base = {key: value for key, value in known.items() if key != "values"}
        self.lists[name] = base
        if told:
            self.site.wire.broadcast(frames.LIST, {self.key: {"l": {told: base}}})
        for entry in entries:
            values = {**values, entry: entry}
            self.lists[name] = {**base, "values": values}
            self.site.wire.broadcast(frames.LIST, {self.key: {"l": {told: self.lists[name]}}})

    def grid(self, prop: str) -> Grid:
        """The grid of a property that has one."""
        grid = self.properties[prop].grid
        if grid is None:
            raise LookupError(f"{prop} has no grid")
        return grid

    def empty_grid(self, prop: str) -> None:
        self.grid(prop).rows.clear()
        self.tell(frames.GRID_EMPTY, prop, {})

    def add_line(self, prop: str) -> None:
        """Append what the elements hold; a full grid loses its first line before."""
        grid = self.grid(prop)
        if len(grid.rows) >= grid.limit:
            del grid.rows[0]
            self.tell(frames.LINE_GONE, prop, {"i": 0})
        grid.rows.append([self.properties[prop].elements[name].value for name in grid.headers])
        last = len(grid.rows) - 1
        self.tell(frames.LINE_NEW, prop, {"i": last, "values": grid.line(last)})

    def show_badge(self, prop: str) -> None:
        """A changed badge comes as a dump of the module that holds only this property, and no lists."""
        held = self.properties[prop]
        held.badge = not held.badge
        self.site.wire.broadcast(frames.MODULE, {self.key: {"p": {prop: held.dumped("en")}}})

    def create(self, prop: str, held: Property) -> None:
        self.properties = dict(sorted({**self.properties, prop: held}.items()))
        self.tell(frames.PROPERTY, prop, held.dumped("en"))

    def delete(self, prop: str) -> None:
        del self.properties[prop]
        self.tell(frames.PROPERTY_GONE, prop, "")

    # --- living -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        for script in self.live():
            self.run(script)

    def run(self, script: Script) -> Script:
        self._scripts = [one for one in self._scripts if not is_over(one)]
        self._scripts.append(self.site.stage.start(script))
        return script

    def close(self) -> None:
        for script in self._scripts:
            script.close()
        self._scripts.clear()

    def dumped(self, language: str) -> JsonObject:
        return {
            "f": self.profile_state(),
            "infos": self.infos(),
            "l": self.lists,
            "p": {key: prop.dumped(language) for key, prop in self.properties.items()},
        }

    def infos(self) -> JsonObject:
        told: JsonObject = infos(self.label, self.started)
        if self.description:
            told |= {"description": self.description, "template": self.template}
        return told


def infos(label: str, started: str) -> JsonObject:
    versions: JsonObject = {}
    for part in ("base", "baseindi", "this"):
        versions |= {f"{part}Git{name}": value for name, value in GIT.items()}
    short = GIT["hash"][:8]
    return {
        **versions,
        "baseindiVersion": short,
        "baseversion": short,
        "thisversion": short,
        "modulelabel": label,
        "startdatetime": started,
    }
