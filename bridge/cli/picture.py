"""What was heard of bridges and devices, put together from their topics: no sockets, no clock of its own."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

Shown: TypeAlias = bool | int | float | str | None
BRANCHES = ("status/#", "link", "points/#", "state/#", "event/#", "job/#", "reply/#", "set/#", "call/#")
OF_BRIDGES = ("status", "health", "event/#", "reply/#")
TRAIL = 16  # numbers kept per point
RECENT = 100  # happenings kept
LONG = 120  # characters of a payload that is quoted
RATE = 5.0  # seconds that the message rate is taken over


def filters(root: str, devices: Sequence[str] = (), answers: str = "") -> list[str]:
    """What a picture wants to hear: everything but the rows of results; of these devices, or of all.

    `answers` is the filter of the topics at which tools like `send` take theirs.
    """
    ours = [f"{root}/{device}/{branch}" for device in devices or ("+",) for branch in BRANCHES]
    return [*ours, *(f"{root}/_bridge/+/{branch}" for branch in OF_BRIDGES), *filter(None, [answers])]


@dataclass(slots=True)
class Point:
    """One point as it was declared and as it is. `changed` is the clock of the last change, None: none seen."""

    device: str
    key: str
    name: str = ""
    enabled: bool = True
    value: Shown = None
    unit: str = ""
    quality: str = "good"
    heard: bool = False
    changed: float | None = None
    changes: int = 0
    trail: deque[float] = field(default_factory=lambda: deque(maxlen=TRAIL))

    @property
    def order(self) -> tuple[str, list[tuple[int, str]]]:
        """Sorts like a person does: 1_2 before 1_10."""
        parts = re.split(r"(\d+)", self.key)
        return self.device, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]

    @property
    def text(self) -> str:
        """The value with its unit, and its quality if that is not good."""
        match self.value:
            case bool():
                said = "ON" if self.value else "OFF"
            case float():
                said = f"{self.value:.6g}"
            case _:
                said = "–" if self.value is None else str(self.value)
        return " ".join(filter(None, (said, self.unit, "" if self.quality == "good" else f"({self.quality})")))


@dataclass(slots=True)
class Device:
    status: str = "?"
    state: str = "?"
    bridge: str = ""
    reason: str = ""
    round_trip: float | None = None  # ms
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something worth a line: `kind` is link, event, command, answer or note."""

    at: float  # the clock given to `hear`
    kind: str
    text: str


class Picture:
    def __init__(self, root: str, devices: Sequence[str] = ()) -> None:
        self._root, self._only = root, frozenset(devices)
        self.bridges: dict[str, str] = {}  # id -> status
        self.devices: dict[str, Device] = {}
        self.points: dict[tuple[str, str], Point] = {}
        self.recent: deque[Happening] = deque(maxlen=RECENT)
        self.told = 0  # happenings so far
        self.messages = 0
        self.bytes = 0
        self.outcomes: Counter[str] = Counter()
        self.changed: dict[tuple[str, str], None] = {}  # points heard or changed since whoever looks emptied this
        self._past: deque[tuple[float, int]] = deque()
        self._asked: deque[tuple[str, str, str]] = deque(maxlen=RECENT)  # ids of commands, their devices and keys

    def rate(self, now: float) -> float:
        """Messages per second, lately."""
        self._past.append((now, self.messages))
        while self._past[-1][0] - self._past[0][0] > RATE and len(self._past) > 2:
            self._past.popleft()
        (before, count), (after, now_count) = self._past[0], self._past[-1]
        return (now_count - count) / (after - before) if after > before else 0.0

    def note(self, now: float, text: str, kind: str = "note") -> None:
        self.told += 1
        self.recent.append(Happening(now, kind, text))

    def hear(self, topic: str, payload: bytes, now: float) -> None:
        """One message of the broker."""
        self.messages += 1
        self.bytes += len(topic) + len(payload)
        text = payload.decode(errors="replace")
        if not topic.startswith(self._root + "/"):
            self._elsewhere(_mapping(text), text, now)
            return
        name, _, rest = topic[len(self._root) + 1 :].partition("/")
        branch, _, key = rest.partition("/")
        if name == "_bridge":
            self._bridge(branch, key, text, now)
        elif not self._only or name in self._only:
            self._device(name, branch, key, text, now)

    def _bridge(self, bridge: str, rest: str, text: str, now: float) -> None:
        branch, _, key = rest.partition("/")
        match branch:
            case "status" if text != self.bridges.get(bridge):
                self.bridges[bridge] = text
                self.note(now, f"bridge {bridge} is {text or 'forgotten'}", "link")
            case "event" if key != "link":  # devices' links are told by the devices
                self.note(now, f"bridge {bridge}: {_occurrence(key, text)}", "event")
            case "reply":
                self.note(now, f"bridge {bridge} {key}: {_answer(text)}", "answer")

    def _device(self, name: str, branch: str, key: str, text: str, now: float) -> None:
        device = self.devices.setdefault(name, Device())
        match branch:
            case "state":
                self._state(name, key, text, now)
            case "points":
                self._points(name, text)
            case "link":
                self._link(name, device, _mapping(text), now)
            case "status" if key:
                if device.groups.get(key) not in (None, text):
                    self.note(now, f"{name}: {key} is {text}", "link")
                device.groups[key] = text
            case "status":
                device.status = text
            case "event":
                self.note(now, f"{name} {_occurrence(key, text)}", "event")
            case "job" if text:
                job = _mapping(text)
                self.note(now, f"{name} job {key}: {job.get('state', _short(text))}", "event")
            case "set" | "call":
                self._asked.append((str(_mapping(text).get("id", "")), name, key))
                self.note(now, f"{name} {branch}/{key} {_short(text)}".rstrip(), "command")
            case "reply":
                self._answered(name, key, text, now)

    def _elsewhere(self, answer: Mapping[str, object], text: str, now: float) -> None:
        """An answer on a response topic, which does not say whose it is: known by the id of its command."""
        for id_, name, key in self._asked:
            if id_ and id_ == answer.get("id"):
                self._answered(name, key, text, now)
                return

    def _answered(self, name: str, key: str, text: str, now: float) -> None:
        self.outcomes[str(_mapping(text).get("outcome"))] += 1
        self.note(now, f"{name} {key}: {_answer(text)}", "answer")

    def _state(self, device: str, key: str, text: str, now: float) -> None:
        if not text:
            self.points.pop((device, key), None)
            return
        point = self.points.setdefault((device, key), Point(device, key))
        value, unit, quality = _value(text)
        if point.heard and (value, quality) == (point.value, point.quality):
            return
        if point.heard:
            point.changed, point.changes = now, point.changes + 1
        point.value, point.unit, point.quality, point.heard = value, unit or point.unit, quality, True
        if isinstance(value, int | float) and not isinstance(value, bool):
            point.trail.append(value)
        self.changed[device, key] = None

    def _points(self, device: str, text: str) -> None:
        points = _mapping(text).get("points")
        for key, declared in points.items() if isinstance(points, dict) else ():
            if isinstance(declared, dict) and declared.get("access") not in ("call", "denied", "event"):
                point = self.points.setdefault((device, key), Point(device, key))
                point.name, point.unit = str(declared.get("name", "")), str(declared.get("unit") or "")
                point.enabled = declared.get("enabled") is not False

    def _link(self, name: str, device: Device, link: Mapping[str, object], now: float) -> None:
        state, reason = str(link.get("state", "gone")), str(link.get("reason", ""))
        if state != device.state and state not in ("connecting", "greeting") and reason != "not started":
            self.note(now, f"{name} is {state}" + (f": {reason}" if reason else ""), "link")
        device.state, device.reason, device.bridge = state, reason, str(link.get("bridge", ""))
        round_trip = link.get("round_trip_ms")
        device.round_trip = float(round_trip) if isinstance(round_trip, int | float) else None


# --- payloads ----------------------------------------------------------------------------------------------


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _mapping(text: str) -> Mapping[str, object]:
    decoded = _decoded(text)
    return decoded if isinstance(decoded, dict) else {}


def _value(text: str) -> tuple[Shown, str, str]:
    """Value, unit and quality of an envelope, or of a bare value."""
    decoded = _decoded(text)
    unit, quality = "", "good"
    if isinstance(decoded, dict):
        unit, quality = str(decoded.get("unit") or ""), str(decoded.get("quality", "good"))
        decoded = decoded.get("value")
    return (decoded if isinstance(decoded, bool | int | float | str) else None), unit, quality


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONG else line[: LONG - 1] + "…"


def _occurrence(name: str, text: str) -> str:
    fields = {key: value for key, value in _mapping(text).items() if key not in ("event_type", "time")}
    said = ", ".join(f"{key} {value}" for key, value in fields.items()) or ("" if _mapping(text) else text)
    return _short(f"{name}: {said}" if said else name)


def _answer(text: str) -> str:
    answer = _mapping(text)
    detail, elapsed = answer.get("detail"), _elapsed(answer.get("times"))
    took = (
        "" if elapsed is None else f" after {elapsed * 1000:.0f} ms" if elapsed < 1 else f" after {elapsed:.1f} s"
    )
    return _short(f"{answer.get('outcome', text)}{took}" + (f" – {detail}" if detail else ""))


def _elapsed(times: object) -> float | None:
    """Seconds from the command's arrival to its answer."""
    try:
        match times:
            case {"received": str(received), "answered": str(answered)}:
                return (datetime.fromisoformat(answered) - datetime.fromisoformat(received)).total_seconds()
    except (ValueError, TypeError):  # somebody else's clock, or with and without a zone
        pass
    return None
