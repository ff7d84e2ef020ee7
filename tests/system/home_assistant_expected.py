"""What Home Assistant has to show, worked out from `points`, `state` and statuses as the broker keeps them.

It shares no code with the bridge's discovery, so that each can find the other's mistakes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from tests.system.home_assistant import Entity, HomeAssistant, State
from tests.system.observer import Observer

ANY, TIME, UNSAID = object(), object(), object()
LONGEST = 255  # characters of a state
DOMAINS: Mapping[str, tuple[str, str | None]] = {  # by kind, of what may be written and of what may only be read
    "sensor": ("sensor", "sensor"),
    "binary": ("binary_sensor", "binary_sensor"),
    "switch": ("switch", "binary_sensor"),
    "number": ("number", "sensor"),
    "choice": ("select", "sensor"),
    "text": ("text", "sensor"),
    "image": ("image", "image"),
    "event": ("event", "event"),
    "action": ("button", None),
}
SHOWN_AS = {"lab2mqtt/io/ro/2_04": "light"}  # what the example configuration says with `as`
BRIDGE = "_bridge/gateway1"
OF_BRIDGE = {  # its own entities, and whether they are shown by default
    "status": ("binary_sensor", True),
    "trouble": ("binary_sensor", True),
    "uptime": ("sensor", False),
    "loop_lag": ("sensor", False),
    "memory": ("sensor", False),
    "queues": ("sensor", False),
    "published": ("sensor", False),
    "refresh": ("button", True),
}


@dataclass(frozen=True, slots=True)
class Expected:
    """One entity. `value`: what its state means, or None: it is unknown; ANY: anything; TIME: a time, or unknown.

    UNSAID: nothing is retained. Who has seen what a broker or a bridge has forgotten may show it still.
    """

    unique_id: str
    domain: str
    enabled: bool
    available: bool
    value: Any


class Seen:
    """What is retained at the broker at one moment, by its topic below the root."""

    def __init__(self, retained: Mapping[str, bytes]) -> None:
        self._retained = retained

    @classmethod
    def by(cls, observer: Observer) -> Self:
        prefix = f"{observer.root}/"
        topics = [topic.removeprefix(prefix) for topic in observer.topics("") if topic.startswith(prefix)]
        return cls({topic: text for topic in topics if (text := observer.retained(topic)) is not None})

    def expected(self) -> Iterator[Expected]:
        """Of the bridge, of each link, and of each point that Home Assistant has a kind of entity for."""
        online = self._retained.get(f"{BRIDGE}/status") == b"online"
        for name, (domain, enabled) in OF_BRIDGE.items():
            always = name == "status"
            key = f"lab2mqtt/{BRIDGE}/{name}"
            yield Expected(key, domain, enabled, online or always, online if always else ANY)
        for topic, text in self._retained.items():
            device, _, rest = topic.partition("/")
            if rest == "link" and f"{device}/points" in self._retained:
                yield Expected(f"lab2mqtt/{device}/_link", "sensor", True, online, json.loads(text)["state"])
            if rest == "points" or rest.startswith("points/"):
                document = json.loads(text)
                available = self._available(device, rest.partition("/")[2])
                for key, point in document["points"].items():
                    if (shown := _domain(device, key, point)) is not None:
                        yield self._entity(device, key, point, shown, available)

    def _entity(self, device: str, key: str, point: Mapping[str, Any], domain: str, available: bool) -> Expected:
        state = self._retained.get(f"{device}/state/{key}")
        return Expected(
            f"lab2mqtt/{device}/{key}",
            domain,
            bool(point.get("enabled", True)),
            available,
            TIME if domain in ("button", "event", "image") else UNSAID if state is None else _value(state),
        )

    def _available(self, device: str, group: str) -> bool:
        statuses = [
            "_bridge/gateway1/status",
            f"{device}/status",
            *([f"{device}/status/{group}"] if group else []),
        ]
        return all(self._retained.get(topic) == b"online" for topic in statuses)


def differences(seen: Seen, hass: HomeAssistant) -> list[str]:
    """How Home Assistant differs from that, one sentence each; empty: not at all."""
    entities, states = hass.entities(), hass.states()
    expected = {one.unique_id: one for one in seen.expected()}
    found = [f"{one} is missing" for one in expected.keys() - entities.keys()]
    found += [f"{entities[one].id} ({one}) should not be there" for one in entities.keys() - expected.keys()]
    for one, entity in entities.items():
        if one in expected and (wrong := _wrong(expected[one], entity, states.get(entity.id))):
            found.append(f"{entity.id} ({one}) {wrong}")
    return sorted(found)


def _value(state: bytes) -> Any:
    """What is stale is shown as unknown, as what is lost is."""
    document = json.loads(state)
    return None if document.get("quality") in ("stale", "bad") else document["value"]


def _domain(device: str, key: str, point: Mapping[str, Any]) -> str | None:
    kind, access = point["kind"], point.get("access", "read")
    written, read = DOMAINS[kind]
    if kind == "action":
        needs = any(one.get("required") for one in point.get("arguments", ()))
        return None if needs or access != "call" else written
    if access == "write":
        return SHOWN_AS.get(f"lab2mqtt/{device}/{key}", written)
    return read


def _wrong(expected: Expected, entity: Entity, state: State | None) -> str:
    """What is wrong with this entity; "" when nothing is."""
    if entity.domain != expected.domain:
        return f"is no {expected.domain}"
    if entity.disabled or not expected.enabled:
        return "" if entity.disabled is not expected.enabled else f"is disabled: {entity.disabled}"
    if state is None:
        return "has no state"
    if not expected.available:
        return "" if state.value == "unavailable" else f"is {state.value}, not unavailable"
    if expected.value in (ANY, UNSAID):
        return ""
    if expected.value is TIME:
        return "" if state.value == "unknown" or _is_time(state.value) else f"is {state.value}, no time"
    if expected.value is None:
        return "" if state.value == "unknown" else f"is {state.value}, not unknown"
    return "" if _same(expected.value, state.value) else f"is {state.value!r}, not {expected.value!r}"


def _same(value: Any, shown: str) -> bool:
    match value:
        case bool():
            return shown == ("on" if value else "off")
        case int() | float():
            return _number(shown) is not None and abs((_number(shown) or 0.0) - value) <= 1e-6 * max(
                1.0, abs(value)
            )
    text = str(value)
    if _is_time(text) and _is_time(shown):
        return abs((datetime.fromisoformat(text) - datetime.fromisoformat(shown)).total_seconds()) < 1.0
    return shown == text.strip() or (len(text) > LONGEST and shown[:100] == text[:100])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
