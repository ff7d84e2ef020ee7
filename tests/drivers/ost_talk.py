"""A conversation with the OST driver in code: no sockets, and time passes only when told to."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from bridge.driver import Effect, Remember, Send
from bridge.drivers.ost import Ost
from bridge.drivers.ost_options import OstOptions
from bridge.model import Command, Condition, Declared, GroupStatus, Happened, Json, Point, Reply, Update

Object = dict[str, Any]
T = TypeVar("T")


def element(kind: str, value: object, label: str = "", **more: object) -> Object:
    return {"type": kind, "value": value, "label": label, "order": "", "autoupdate": True, **more}


def number(value: object, label: str = "", low: float = 0, high: float = 0, kind: str = "int") -> Object:
    return element(kind, value, label, min=low, max=high, step=0, format="", slider=0)


def prop(elements: Mapping[str, Object], label: str = "", **more: object) -> Object:
    shape = {"status": 0, "permission": 2, "enabled": True, "rule": 2, "autoupdate": True, "order": "1"}
    return {"label": label, "e": dict(elements), **shape, **more}


def focuser(**more: Object) -> Object:
    lists = {"values": {"CCD Simulator": "CCD Simulator", "Guide": "Guide cam"}, "label": "CCD"}
    properties = {
        "actions": prop(
            {
                "autofocus": element("bool", False, "Autofocus"),
                "abortfocus": element("bool", False, "Abort focus"),
            },
            "Actions",
            rule=1,
        ),
        "parameters": prop(
            {
                "steps": number(1000, "Steps"),
                "zoning": number(2, "Zoning", 1, 64),
                "around": element("bool", False, "Around actual"),
                "gain": number(1.5, "Gain", 0, 2, "float"),
                "note": element("string", "", "Note"),
                "begin": element("time", {"hh": 20, "mm": 0, "ss": 0}, "Begin"),
            },
            "Focus parameters",
        ),
        "form": prop(
            {
                "a": {**number(1), "autoupdate": False},
                "b": {**element("string", "x"), "autoupdate": False},
                "c": element("prg", {"dynlabel": "", "value": 0}, prgtype="bar", autoupdate=False),
            },
            "Form",
            autoupdate=False,
        ),
        "devices": prop(
            {
                "camera": element(
                    "string", "Old", "Camera", globallov="CCD", lovScope="module", lovConstrained=False
                ),
                "optic": element(
                    "string", "N150", "Optic", globallov="optics", lovScope="controller", lovConstrained=True
                ),
                "binning": {**number(2, "Binning"), "listOfValues": {"1": "1x1", "2": "2x2"}},
            },
            "Devices",
        ),
        "when": prop(
            {"dusk": element("bool", False, "Dusk"), "fixed": element("bool", True, "Fixed")}, "Time rule", rule=0
        ),
        "results": prop(
            {
                "hfr": number(2.5, "HFR", kind="float"),
                "unset": number(6.95e-310, "Unset", kind="float"),
                "night": element("date", {"year": 0, "month": 0, "day": 0}, "Night"),
                "fine": element("bool", True, "Fine"),
            },
            "Results",
            permission=0,
        ),
        "progress": prop(
            {
                "bar": element("prg", {"dynlabel": "2/5", "value": 40}, "Bar", prgtype="bar"),
                "spin": element("prg", {"dynlabel": "Idle", "value": 3}, "Spin", prgtype="spinner"),
            },
            "Progress",
            permission=0,
        ),
        "image": prop(
            {"image": element("img", {"urljpeg": "/ostmedia/a b.jpeg", "hfravg": 1})}, "Image", permission=1
        ),
        "signals": prop(
            {
                "event": element("string", ""),
                "eventdescription": element("string", ""),
                "state": element("light", 0),
                "val_int": number(0),
            },
            "Signals",
            permission=0,
        ),
        "values": prop(
            {"x": number(0), "y": number(0)},
            "Values",
            hasGrid=True,
            gridheaders=["x", "y"],
            grid=[[1, 2], [3, 4]],
        ),
    }
    module = {"p": {**properties, **more}, "l": {"CCD": lists, "profiles": {"values": {"default": "default"}}}}
    return {**module, "f": {"name": "default", "changed": False}, "infos": {"modulelabel": "My Focuser"}}


def dump(grant: str = "1", server: str = "0", **modules: Object) -> Object:
    return {
        "d": {
            "grant-client": grant,
            "grant-server": server,
            "m": copy.deepcopy(modules) or {"MyFocuser": focuser()},
            "lovs": {"optics": {"values": {"N150": "Newton", "R80": "Newton", "M": "Mak"}}},
            "controllerdata": {
                "git": {"Gittag": "8c085fc2"},
                "currentconf": "default",
                "libraries": {"libostdummy": {}},
                "systemwatcher": {
                    "cpu": {"load_1m": 0.5},
                    "disks": [{"mountpoint": "/", "total_gb": 9, "used_gb": 4}],
                },
            },
        }
    }


XX: Object = {"xx": {}}


def ea(property_: str = "parameters", module: str = "MyFocuser", **values: object) -> Object:
    return {"ea": {module: {"p": {property_: {"e": values}}}}}


def log(text: str = "no", level: int = 3, origin: str = "MyFocuser") -> Object:
    return {"l": {"c": origin, "d": "2026-11-21T10:00:00.000", "l": level, "t": text}}


DENIED = log("Client not granted for updates", origin="WS")


class Talk:
    """One connection. `events`: all effects so far, in order."""

    def __init__(
        self,
        *,
        memory: Mapping[str, Json] | None = None,
        carried: Sequence[Command] = (),
        first: Object | None = None,
        silent: bool = False,
        **options: Any,
    ) -> None:
        self.now = 1000.0
        self.driver = Ost(OstOptions(**options), memory or {}, carried)
        self.events: list[Effect] = []
        self.take(self.driver.start(self.now))
        if not silent:
            self.hear(first or dump())
            self.wait(0)

    def take(self, effects: Any) -> list[Effect]:
        fresh: list[Effect] = list(effects)
        self.events += fresh
        return fresh

    def hear(self, *messages: Object) -> list[Effect]:
        """OST sends these, one frame each."""
        seen = len(self.events)
        for message in messages:
            self.raw(json.dumps(message))
        return self.events[seen:]

    def raw(self, frame: str | bytes) -> list[Effect]:
        return self.take(self.driver.receive(frame, self.now))

    def wait(self, seconds: float) -> list[Effect]:
        """Time passes; the driver is woken whenever it wishes."""
        end, seen = self.now + seconds, len(self.events)
        for _ in range(1000):
            wake = self.driver.wake_at
            if wake is None or wake > end:
                self.now = end
                return self.events[seen:]
            self.now = max(self.now, wake)
            self.take(self.driver.tick(self.now))
        raise AssertionError("the driver wants to be woken for ever")

    def ask(self, key: str, value: Json = None, name: str = "c1", timeout: float | None = None) -> list[Effect]:
        """Somebody sets a point, or calls the action of a boolean."""
        return self.take(self.driver.submit(Command(name, key, value, timeout=timeout), self.now))

    def call(self, action: str, name: str = "c1", **args: Json) -> list[Effect]:
        """Somebody calls an action of the device."""
        return self.take(self.driver.submit(Command(name, action, args=args), self.now))

    def of(self, kind: type[T], effects: Sequence[Effect] | None = None) -> list[T]:
        return [effect for effect in (self.events if effects is None else effects) if isinstance(effect, kind)]

    @property
    def frames(self) -> list[Object]:
        return [json.loads(send.frame) for send in self.of(Send)]

    @property
    def sent(self) -> list[Object]:
        """What went out but dumps asked for and signs of life."""
        return [frame for frame in self.frames if not frame.keys() & {"DU", "XX"}]

    @property
    def replies(self) -> list[tuple[str, str, str]]:
        return [(reply.id, reply.outcome.value, reply.detail) for reply in self.of(Reply)]

    @property
    def outcomes(self) -> list[str]:
        return [reply.outcome.value for reply in self.of(Reply)]

    @property
    def conditions(self) -> list[str]:
        return [condition.state for condition in self.of(Condition)]

    @property
    def happened(self) -> list[tuple[str | None, str]]:
        return [(event.key, event.name) for event in self.of(Happened)]

    @property
    def remembered(self) -> list[Json]:
        return [item.value for item in self.of(Remember)]

    @property
    def groups(self) -> list[tuple[str, str]]:
        return [(status.group, status.state.value) for status in self.of(GroupStatus)]

    @property
    def points(self) -> dict[str, Point]:
        groups = {declared.group: declared.points for declared in self.of(Declared)}
        return {point.key: point for points in groups.values() for point in points}

    def last(self, key: str) -> Json:
        return [update.value for update in self.of(Update) if update.key == key][-1]
