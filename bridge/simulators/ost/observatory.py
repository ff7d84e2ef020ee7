"""The observatory: the loaded modules, the lists of the whole server, and the dump of it all."""

import random
from collections.abc import Callable, Iterable, Mapping

from bridge.simulators.ost import frames, load
from bridge.simulators.ost.allsky import Allsky
from bridge.simulators.ost.datastore import LISTED, Datastore
from bridge.simulators.ost.dummy import Dummy
from bridge.simulators.ost.edits import keep_profile, profiles_of
from bridge.simulators.ost.equipment import device_lists, lov
from bridge.simulators.ost.files import Files
from bridge.simulators.ost.focuser import Focuser
from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.guider import Guider
from bridge.simulators.ost.indipanel import DRIVERS, Indipanel
from bridge.simulators.ost.module import GIT, Module, infos
from bridge.simulators.ost.mount import Navigator
from bridge.simulators.ost.park import Parkmanager
from bridge.simulators.ost.planner import Planner
from bridge.simulators.ost.sequencer import Sequencer
from bridge.simulators.ost.stage import Script, Stage
from bridge.simulators.ost.weather import STEP, Weather
from bridge.simulators.ost.wire import Wire

KINDS = (Allsky, Dummy, Focuser, Guider, Indipanel, Navigator, Parkmanager, Planner, Sequencer)
LIBRARIES: Mapping[str, Callable[[str, "Observatory", str], Module]] = {kind.library: kind for kind in KINDS}
NAMES = {kind.__name__: kind for kind in KINDS}  # as in "My Focuser"
USUAL = ("Focuser", "Guider", "Navigator", "Planner", "Sequencer", "Parkmanager", "Allsky")
WATCH = 10.0  # seconds between two looks at the computer itself


class Observatory:
    """What a server process holds; a restart makes a new one. `labels` are the modules of the configuration."""

    def __init__(
        self, wire: Wire, weather: Weather, pace: float, labels: Iterable[str], block: Callable[[float], None]
    ) -> None:
        self.wire, self.weather = wire, weather
        self.stage = Stage(pace)
        self.files = Files(wire)
        self.modules: dict[str, Module] = {}
        self.indi_hangs = 0.0
        self.block = block
        self.confs: dict[str, tuple[str, ...]] = {"default": tuple(labels), "small": ("Focuser",)}
        self.conf = "default"
        self.drivers = dict(DRIVERS)
        self.indi_server = "Y"
        datastore = Datastore(self)
        self.lovs = {name: lov(name, dict.fromkeys(datastore.names(name))) for name in LISTED}
        self.lovs["availableconfs"] = lov("availableconfs", self.confs)
        self._chance = random.Random(3)
        wire.log("", 1, "OST starting up (simulated)")
        self._add(datastore)
        for name in self.confs["default"]:
            self.load(NAMES[name].library, f"My {name}", "demo", is_start=True)

    def live(self, elements: int = 0, updates: float = 0.0) -> None:
        """Let time begin; with so many more elements, and updates per second."""
        for filler in load.modules(self, elements):
            self._add(filler)
        for module in list(self.modules.values()):
            module.open()
        self.stage.start(self._watch())
        self.stage.start(self._sky())
        if updates:
            self.stage.start(load.updates(self, updates))

    # --- modules ------------------------------------------------------------------------------------------------

    def _add(self, module: Module) -> None:
        module.lists = {**device_lists(), "loadedModules": lov("Loaded modules", self.modules)}
        for name in ("default", "demo"):
            keep_profile(module, name)
        module.lists["profiles"] = lov("Profiles", module.profiles)
        self.modules = dict(sorted({**self.modules, module.key: module}.items()))

    def load(self, library: str, label: str, profile: str, *, is_start: bool = False) -> None:
        """ML: the module comes with all its properties in one frame."""
        key = label.replace(" ", "")
        if library not in LIBRARIES:
            missing = f"Cannot load library libost{library}: (No such file or directory)"
            self.wire.log("CT", 3, f"Error loadin library {key} - {missing}")
            return
        if key in self.modules:
            self.wire.log("CT", 3, f"Module {key} already loaded - can't load twice")
            return
        module = LIBRARIES[library](label, self, profile)
        self._add(module)
        if not is_start:
            self.wire.broadcast(frames.MODULE, {key: module.dumped("en")})
            module.open()

    def kill(self, key: str) -> None:
        """MK: a frame for each property, then one for the module; silence when there is none."""
        if key == "GlobalDatastore":
            self.wire.log("CT", 3, "GlobalDatastore cannot be killed")
            return
        module = self.modules.pop(key, None)
        if module is None:
            return
        module.close()
        for prop in list(module.properties):
            module.delete(prop)
        self.wire.broadcast(frames.MODULE_GONE, {key: {}})

    def load_conf(self, name: str) -> None:
        """CL: the list of configurations is sent cleared first, even when the name is unknown."""
        self.wire.broadcast(frames.GLOBAL_LIST, {"lovs": {"availableconfs": lov("availableconfs", {})}})
        if name not in self.confs:
            self.wire.log("CT", 3, f"Configuration {name} not found")
            return
        self.relist("availableconfs", self.confs)
        for key in [key for key in self.modules if key != "GlobalDatastore"]:
            self.kill(key)
        for one in self.confs[name]:
            self.load(NAMES[one].library, f"My {one}", "demo")
        self.conf = name
        self.wire.broadcast(frames.CONTROLLER, {"currentconf": name})

    def save_conf(self, name: str) -> None:
        self.confs[name] = tuple(name for name in NAMES if f"My{name}" in self.modules)
        self.relist("availableconfs", self.confs)
        self.wire.broadcast(frames.CONTROLLER, {"availableconfs": self._conf_lists()})

    def relist(self, name: str, entries: Iterable[str]) -> None:
        """A list of the server is rebuilt: cleared, then one frame for each entry."""
        so_far: list[str] = []
        for entry in (None, *entries):
            if entry is not None:
                so_far.append(entry)
            self.lovs[name] = lov(name, dict.fromkeys(so_far))
            self.wire.broadcast(frames.GLOBAL_LIST, {"lovs": {name: self.lovs[name]}})

    # --- INDI ---------------------------------------------------------------------------------------------------

    def driver(self, command: str, name: str) -> None:
        """YL YS YR: start, stop or reload a driver; every list of devices of every module is rebuilt."""
        if name not in DRIVERS:
            self.wire.log("CT", 3, f"unknown driver {name}")
            return
        if command in {"YS", "YR"}:
            self._stop_driver(name)
        if command == "YR":
            self.stage.start(self._reload(name))
        elif command == "YL":
            self._start_driver(name)

    def indi(self, is_running: bool) -> None:
        """YA YZ."""
        self.indi_server = "Y" if is_running else "N"
        self.wire.broadcast(frames.CONTROLLER, {"indiserver": self.indi_server})
        if not is_running:
            for name in list(self.drivers):
                self._stop_driver(name)

    def _reload(self, name: str) -> Script:
        yield 0.5
        self._start_driver(name)

    def _start_driver(self, name: str) -> None:
        self.drivers[name] = DRIVERS[name]
        self._show_drivers()
        for module in self.modules.values():
            if isinstance(module, Indipanel):
                module.driver_started(DRIVERS[name])

    def _stop_driver(self, name: str) -> None:
        self.drivers.pop(name, None)
        for module in self.modules.values():
            if isinstance(module, Indipanel):
                module.driver_stopped(DRIVERS[name])
        self._show_drivers()

    def _show_drivers(self) -> None:
        self.wire.broadcast(frames.CONTROLLER, {"indiactivedrivers": self._active()})
        for module in self.modules.values():
            self.rescan(module)

    def rescan(self, module: Module) -> None:
        """Its lists of devices, from the drivers that run."""
        running = set(self.drivers.values())
        for name, entries in device_lists().items():
            known = entries.get("values")
            module.show_list(name, [one for one in known if one in running] if isinstance(known, dict) else ())

    def _active(self) -> list[JsonObject]:
        return [{"binary": driver, "family": "Simulators", "label": name} for driver, name in self.drivers.items()]

    def indi_lost(self, seconds: float) -> None:
        """Every module tries to reach the INDI server every two seconds, and blocks all others meanwhile."""
        self.indi_hangs = seconds
        self.stage.start(self._retry())

    def _retry(self) -> Script:
        while self.indi_hangs:
            for module in list(self.modules.values()):
                if "serveractions" not in module.properties or not self.indi_hangs:
                    continue
                self.block(self.indi_hangs)
                yield self.indi_hangs
                module.log(3, "connectIndi - Couldn't connect to Indi server")
                module.put("serveractions", conserv=False, disconserv=True)
            yield 2.0

    # --- the dump -----------------------------------------------------------------------------------------------

    def dumped(self, language: str) -> JsonObject:
        return {
            "controllerdata": {
                "availableconfs": self._conf_lists(),
                "banner": "Observatoire simulé",
                "currentconf": self.conf,
                **self.files.told,
                "git": {f"Git{name}": value for name, value in GIT.items()} | {"Gittag": GIT["hash"][:8]},
                "indiactivedrivers": self._active(),
                "indidrivers": [
                    {"binary": driver, "family": "Simulators", "label": name, "mdpd": False}
                    for driver, name in DRIVERS.items()
                ],
                "indiserver": self.indi_server,
                "libraries": {
                    f"libost{kind.library}": infos(kind.library, "") | {"description": kind.description}
                    for kind in KINDS
                },
                "profiles": profiles_of(self.modules),
                "systemwatcher": self._system(),
            },
            "files": self.files.dumped(),
            "logs": list(self.wire.logs),
            "lovs": self.lovs,
            "m": {key: module.dumped(language) for key, module in self.modules.items()},
            "serverlng": "en",
        }

    def _conf_lists(self) -> JsonObject:
        return {
            conf: [
                {"modulelabel": f"My {name}", "moduletype": NAMES[name].kind, "profilename": "demo"}
                for name in names
            ]
            for conf, names in self.confs.items()
        }

    def _watch(self) -> Script:
        while True:
            yield WATCH
            self.wire.broadcast(frames.CONTROLLER, {"systemwatcher": self._system()})

    def _sky(self) -> Script:
        while True:
            self.weather.pass_on()
            yield STEP

    def _system(self) -> JsonObject:
        load_1m = round(self._chance.uniform(0.5, 2.0), 2)
        return {
            "cpu": {"load_15m": 1.1, "load_1m": load_1m, "load_5m": 1.34},
            "disks": [{"device": "/dev/sda1", "mountpoint": "/", "total_gb": 252, "used_gb": 184.4}],
            "network": [{"iface": "eth0", "rx_kbps": round(self._chance.uniform(0, 50), 3), "tx_kbps": 0}],
            "ram": {"total_mb": 8000, "used_mb": 968 + self._chance.randrange(50)},
            "temperatures": [],
        }
