"""Short ways to declare elements, for the modules."""

from collections.abc import Mapping

from bridge.simulators.ost.frames import JsonObject
from bridge.simulators.ost.model import Element

UNKNOWN_DATE = {"day": 0, "month": 0, "year": 0}
MIDNIGHT = {"hh": 0, "mm": 0, "ss": 0}


def number(
    label: str,
    value: float | None = 0,
    low: float = 0,
    high: float = 0,
    *,
    kind: str = "float",
    step: float = 0,
    auto: bool = False,
    values: Mapping[str, str] | None = None,
) -> Element:
    """A float; low and high both 0 mean no limit."""
    more: JsonObject = {"min": low, "max": high, "step": step, "slider": 0, "format": "99.99", "directedit": auto}
    if values is not None:
        more["listOfValues"] = dict(values)
    return Element(kind, label, value, auto, more=more)


def whole(
    label: str,
    value: int = 0,
    low: int = 0,
    high: int = 0,
    *,
    auto: bool = False,
    values: Mapping[str, str] | None = None,
) -> Element:
    return number(label, value, low, high, kind="int", auto=auto, values=values)


def text(label: str, value: str = "", *, auto: bool = False, values: Mapping[str, str] | None = None) -> Element:
    more: JsonObject = {"directedit": auto}
    if values is not None:
        more["listOfValues"] = dict(values)
    return Element("string", label, value, auto, more=more)


def listed(label: str, name: str, value: str = "", *, scope: str = "module", auto: bool = True) -> Element:
    """A text with a list of suggestions: of its module, or (scope `controller`) of the whole server."""
    more: JsonObject = {
        "directedit": auto,
        "globallov": name,
        "lovConstrained": False,
        "lovScope": scope,
        "nullable": False,
    }
    return Element("string", label, value, auto, more=more)


def switch(label: str, value: bool = False, *, auto: bool = False, icon: str = "") -> Element:
    more: JsonObject = {"directedit": auto}
    return Element("bool", label, value, auto, more=more | ({"preicon": icon} if icon else {}))


def light(label: str, value: int = 0) -> Element:
    return Element("light", label, value)


def progress(label: str, kind: str = "bar", dynlabel: str = "") -> Element:
    return Element("prg", label, {"dynlabel": dynlabel, "value": 0}, more={"prgtype": kind})


def day(label: str, *, auto: bool = False) -> Element:
    return Element("date", label, dict(UNKNOWN_DATE), auto, more={"directedit": auto})


def clock(label: str, *, auto: bool = False) -> Element:
    return Element("time", label, dict(MIDNIGHT), auto, more={"directedit": auto, "usems": False})


def moment(label: str, *, auto: bool = False) -> Element:
    value = {**UNKNOWN_DATE, **MIDNIGHT, "ms": 0}
    return Element("datetime", label, value, auto, more={"directedit": auto})


def video(label: str) -> Element:
    return Element("video", label, {"url": ""})


def image(label: str = "") -> Element:
    return Element("img", label, picture_value())


def picture_value(name: str = "", stars: int = 0, hfr: float = 0, width: int = 0, height: int = 0) -> JsonObject:
    """What an img element holds; the files are served at /ostmedia/ under these names."""
    level = 104.5 if name else 0
    return {
        "channels": 1,
        "height": height,
        "hfravg": hfr,
        "hfravgdev": round(hfr / 20, 3),
        "histogram": [[[130652], [130816], [263388], [131078], [0]]] if name else [[]],
        "issolved": False,
        "max": [109 if name else 0],
        "mean": [level],
        "median": [104 if name else 0],
        "min": [100 if name else 0],
        "showstats": True,
        "snr": 36.09 if name else 0,
        "solverde": 0,
        "solverorientation": 0,
        "solverra": 0,
        "stars": stars,
        "stddev": [2.9 if name else 0],
        "urlfits": f"{name}.FITS" if name else "",
        "urljpeg": f"{name}.jpeg" if name else "",
        "urloverlay": "",
        "urlthumbnail": "",
        "width": width,
    }
