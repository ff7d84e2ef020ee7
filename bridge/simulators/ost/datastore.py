"""GlobalDatastore, which always exists: its grids feed the lists of the whole server."""

from typing import ClassVar

from bridge.simulators.ost.declare import listed, number, text, whole
from bridge.simulators.ost.equipment import DEVICES, Equipped, indi, interface
from bridge.simulators.ost.model import Grid, Property
from bridge.simulators.ost.module import Site

ROLES = {"camera": "CCD", "dome": "DOME", "filter": "FILTER", "focuser": "FOCUSER", "mount": "TELESCOPE"}
LISTED = ("equipments", "locations", "optics", "servers")


def _properties() -> dict[str, Property]:
    equipment = {
        role: listed(role.capitalize(), interface(name), DEVICES[name][0]) for role, name in sorted(ROLES.items())
    }
    equipment |= {"name": text("Name", "Simulators", auto=True)}
    row: list[object] = [element.value for _, element in sorted(equipment.items())]
    optics = {
        "diameter": number("Diameter (mm)", 150),
        "focal": number("Focal length (mm)", 600),
        "name": text("Name", "N150"),
        "red": number("Reducer (x)", 1),
    }
    places = {
        "alt": number("Altitude", 72, 0, 8000, auto=True),
        "lat": number("Latitude", 50, -90, 90, auto=True),
        "lon": number("Longitude", 2, -180, 180, auto=True),
        "name": text("Name", "GPS - [2026-06-11]", auto=True),
    }
    servers = {
        "host": text("Host", "localhost", auto=True),
        "name": text("Name", "local", auto=True),
        "port": whole("Port", 7624, auto=True),
    }
    for element in (*equipment.values(), *servers.values()):
        element.more["directedit"] = False
    return {
        **indi(gps="GPS"),
        "equipments": Property(
            "Equipments", equipment, level1="Equipment", has_profile=True, grid=Grid(sorted(equipment), [row])
        ),
        "locations": Property(
            "Locations",
            places,
            level1="Location",
            rule=0,
            has_profile=True,
            grid=Grid(sorted(places), [[72, 50, 2, "GPS - [2026-06-11]"], [140, 48.65, 1.8333, "default"]]),
        ),
        "optics": Property(
            "Optics",
            optics,
            level1="Equipment",
            has_profile=True,
            grid=Grid(sorted(optics), [[150, 600, "N150", 1], [250, 2000, "RC10", 1]]),
        ),
        "servers": Property(
            "Servers",
            servers,
            level1="Indi",
            order="99",
            has_profile=True,
            grid=Grid(sorted(servers), [["localhost", "local", 7624]]),
        ),
    }


class Datastore(Equipped):
    kind: ClassVar[str] = "GlobalDatastore"

    def __init__(self, site: Site) -> None:
        super().__init__("Global data", site, _properties())
        self.key = "GlobalDatastore"

    def gridded(self, prop: str) -> None:
        if prop in LISTED:
            self.site.relist(prop, self.names(prop))

    def names(self, prop: str) -> list[str]:
        grid = self.grid(prop)
        column = grid.headers.index("name")
        return [str(row[column]) for row in grid.rows]
