"""What nearly all modules have: the INDI server and its devices, a camera with its picture, signals."""

from collections.abc import Mapping

from bridge.simulators.ost.declare import clock, image, listed, number, picture_value, switch, text, whole
from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.model import Element, Property
from bridge.simulators.ost.module import Module

DEVICES: Mapping[str, tuple[str, ...]] = {  # by INDI interface
    "AUX": (),
    "CCD": ("CCD Simulator", "Guide Simulator"),
    "DOME": ("Dome Simulator",),
    "FILTER": ("Filter Simulator",),
    "FOCUSER": ("Focuser Simulator",),
    "GPS": ("GPS Simulator",),
    "GUIDER": ("Telescope Simulator",),
    "TELESCOPE": ("Telescope Simulator",),
    "WEATHER": ("Weather Simulator",),
}
FILTERS = {"1": "Red", "2": "Green", "3": "Blue", "4": "H_Alpha", "5": "SII", "6": "OIII", "8": "Luminance"}


def interface(name: str) -> str:
    return f"DRIVER_INTERFACE-{name}_INTERFACE"


def device_lists() -> dict[str, JsonObject]:
    return {
        interface(name): lov(interface(name), dict.fromkeys(devices))
        for name, devices in (
            *DEVICES.items(),
            ("GENERAL", tuple(sorted({d for ds in DEVICES.values() for d in ds}))),
        )
    }


def lov(label: str, entries: Mapping[str, object]) -> JsonObject:
    """A list of values; `values` is absent when it is empty."""
    values = {key: key for key in entries}
    return {"label": label, "type": "string", **({"values": values} if values else {})}


def indi(**devices: str) -> dict[str, Property]:
    """The server, and the devices by role: `camera="CCD"` takes the first device of that interface."""
    roles: dict[str, Element] = {
        role: listed(role.capitalize(), interface(name), DEVICES[name][0]) for role, name in devices.items()
    }
    roles["equipments"] = listed("Global equipment set", "equipments", "Simulators", scope="controller")
    return {
        "server": Property(
            "Server",
            {"host": text("Host", "localhost", auto=True), "port": whole("Port", 7624, auto=True)},
            level1="Indi",
            order="10",
            has_profile=True,
        ),
        "serveractions": Property(
            "Server",
            {"conserv": switch("Connect", True), "disconserv": switch("Disconnect")},
            level1="Indi",
            order="20",
            rule=0,
        ),
        "devices": Property("Devices", roles, level1="Devices", order="222Parms333", has_profile=True),
        "devicesactions": Property(
            "Devices actions",
            {
                "condevs": switch("Connect"),
                "discondevs": switch("Disconnect"),
                "loadconfs": switch("Load devices conf"),
            },
            level1="Indi",
            order="30",
        ),
        "startup": Property(
            "Actions on module startup",
            {
                "confsatstart": switch("Load devices conf", True, auto=True),
                "devatstart": switch("Connect devices", True, auto=True),
                "indiatstart": switch("Connect indi", True, auto=True),
            },
            level1="Indi",
            order="40",
            has_profile=True,
        ),
    }


def camera(exposure: float = 3, gain: int = 100) -> dict[str, Property]:
    return {
        "parms": Property(
            "Parameters",
            {
                "exposure": number("Exposure", exposure, 1e-05, 300, step=0.001, auto=True),
                "gain": whole("Gain", gain, 0, 500, auto=True),
                "offset": whole("Offset", 100, 0, 500, auto=True),
            },
            level1="Parameters",
            has_profile=True,
        ),
        "image": Property("Image", {"image": image()}, level1="Control", order="000Control222", permission=1),
        "optic": Property(
            "Optic",
            {
                "diam": number("Diameter", 150, 1, 4000, auto=True),
                "fl": number("Focal length", 600, 1, 4000, auto=True),
                "optic": listed("Global optic", "optics", "N150", scope="controller"),
                "red": number("Reducer", 1, 0.1, 10, auto=True),
            },
            level1="Optic",
            has_profile=True,
        ),
    }


def signals() -> dict[str, Property]:
    elements = {
        "event": text("Global event"),
        "eventdescription": text("Event description"),
        "state": Element("light", "Global state", 0),
        "statedescription": text("State description"),
        "val_int": whole("Integer value"),
        "val_num": number("Float value", 2.12199587e-314),  # never set: what the memory happened to hold
        "val_str": text("String value"),
    }
    return {"signals": Property("State and signals", elements, level1="Module", permission=0)}


def actions(rule: int, **labels: str) -> Property:
    """A property of push buttons; `true` stays after a press, so the values are no state."""
    elements = {key: switch(label, icon="play_arrow") for key, label in labels.items()}
    return Property("Actions", elements, level1="Actions", order="0000", rule=rule)


def location() -> dict[str, Property]:
    elements = {
        "alt": number("Altitude", 140, auto=True),
        "lat": number("Latitude", 48.65, -90, 90, auto=True),
        "location": listed("Location", "locations", "default", scope="controller"),
        "lon": number("Longitude", 1.8333, -180, 180, auto=True),
    }
    return {"location": Property("Location", elements, level1="Location", order="222Parms333", has_profile=True)}


def coming() -> dict[str, Property]:
    elements = {"sunrise": clock("Next sunrise"), "sunset": clock("Next sunset")}
    elements["sunrise"].value = {"hh": 7, "mm": 13, "ss": 38}
    elements["sunset"].value = {"hh": 16, "mm": 0, "ss": 4}
    return {"coming": Property("Events to come", elements, level1="Schedule", order="BBBSchedule3", permission=0)}


class Equipped(Module):
    """A module with INDI devices."""

    def acted(self, prop: str, element: str, value: object) -> None:
        if prop in {"serveractions", "devicesactions"} and value:
            if self.site.indi_hangs:
                self.state(prop, 2)
                self.site.block(self.site.indi_hangs)
                self.refused()
                self.state(prop, 3)
                return
            self.state(prop, 2)
            self.state(prop, 1)
            self.show(prop)

    def refused(self) -> None:
        """The INDI server did not answer."""
        self.log(3, "connectIndi - Couldn't connect to Indi server")
        if "serveractions" in self.properties:
            self.put("serveractions", conserv=False, disconserv=True)

    def shoot(self, stars: int = 150, hfr: float = 2.4) -> None:
        """A picture has come from the camera and is on disk."""
        self.state("image", 1)
        name = f"{self.key}CCD Simulator"
        self.site.files.picture(f"/{name}.jpeg")
        self.put("image", image=picture_value(name, stars, hfr, 1280, 1024))
