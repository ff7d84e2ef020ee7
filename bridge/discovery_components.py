"""One point as one component of Home Assistant: its platform, its topics, its templates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from bridge.discovery_classes import MOMENTS, measured, other, state_class
from bridge.model import Category, Json, Kind, Point
from bridge.topics import DeviceTopics

Component: TypeAlias = dict[str, Json]

LONGEST = 255  # characters of a state
LONGEST_NAME = 120
WIDE = 1e15  # a number without limits gets these, for Home Assistant's own are 1 to 100
FINEST = 1e-3  # the smallest step that Home Assistant takes
FRESH = 10  # seconds after which the broker drops a command that nobody took; older versions ignore the option
DIGITS = 3  # decimals of a number with a device class: without, Home Assistant rounds some units to whole ones
NO_PICTURE = "http://none.invalid/"  # there must be a URL, and this one leads nowhere for ever (RFC 2606)

PLATFORMS: Mapping[str, tuple[str, ...]] = {  # by kind: all that a point may ever be shown as
    Kind.SENSOR: ("sensor",),
    Kind.BINARY: ("binary_sensor",),
    Kind.SWITCH: ("switch", "light", "fan", "valve", "lock", "binary_sensor"),
    Kind.NUMBER: ("number", "sensor"),
    Kind.CHOICE: ("select", "sensor"),
    Kind.TEXT: ("text", "sensor"),
    Kind.ACTION: ("button",),
    Kind.EVENT: ("event",),
    Kind.IMAGE: ("image",),
}

_HONEST = "value_json.quality not in ('stale', 'bad')"
_PRESENT = "{{ '' if value_json.cached | default(false) else value }}"  # nothing is done for what came late
_CLEAR = "{{ value if value not in ('', 'null') else None }}"  # of a plain payload


def component(
    point: Point, access: str, shown_as: str | None, topics: DeviceTopics, *, plain: bool
) -> Component | None:
    """What Home Assistant is told of this point; None: it has no use for it.

    `access` is read, write, call, event or denied. What may not be written is shown all the same. An action that
    needs arguments has no place on a dashboard: it is for scripts.
    """
    if not _sayable(topics.state(point.key)):
        return None
    template = _Templates(point, plain)
    options = _options(point)
    span = _span(point)
    match point.kind:
        case Kind.SWITCH if access == "write":
            body = _switch(point, shown_as, template)
        case Kind.SWITCH | Kind.BINARY:
            body = {"platform": "binary_sensor", "value_template": template.boolean}
        case Kind.NUMBER if access == "write" and span is not None:
            body = _number(point, *span) | {"value_template": template.within(*span)}
        case Kind.CHOICE if access == "write" and options:
            body = {"platform": "select", "options": options, "value_template": template.value}
        case Kind.CHOICE | Kind.SENSOR if options and len(options) == len(point.choices):
            body = _enumeration(options) | {"value_template": template.value}
        case Kind.TEXT if access == "write":
            body = _text(template)
        case Kind.NUMBER:
            body = _measurement(point) | {"value_template": template.value}
        case Kind.SENSOR if not point.text and not point.choices:
            body = _measurement(point) | {"value_template": template.value}
        case Kind.SENSOR | Kind.TEXT | Kind.CHOICE:
            body = _words(point, template)
        case Kind.IMAGE:
            body = {"platform": "image", "url_topic": topics.state(point.key), "url_template": template.url}
            return _entity(point, topics) | body
        case Kind.EVENT if options:
            body = {"platform": "event", "event_types": options, "state_topic": topics.event(point.key), "qos": 1}
            body["value_template"] = _PRESENT
        case Kind.ACTION if access == "call" and not any(argument.required for argument in point.arguments):
            body = {"platform": "button", "payload_press": "{}"} | _command(f"{topics.base}/call/{point.key}")
        case _:
            return None
    return _finished(point, body, topics)


def _finished(point: Point, body: Component, topics: DeviceTopics) -> Component:
    """With what all components have, what those with a state have, and what those that take commands have."""
    platform = str(body["platform"])
    if "state_topic" not in body and platform != "button":
        body["state_topic"] = topics.state(point.key)
    if platform in _WRITTEN:
        body |= _command(f"{topics.base}/set/{point.key}")
    if (device_class := other(platform, point)) is not None:
        body["device_class"] = device_class
    return body | _entity(point, topics, writable="command_topic" in body)


_WRITTEN = frozenset({"switch", "light", "fan", "valve", "lock", "number", "select", "text"})


def _entity(point: Point, topics: DeviceTopics, *, writable: bool = False) -> Component:
    found: Component = {
        "unique_id": f"{topics.base}/{point.key}",
        "name": point.name.strip()[:LONGEST_NAME] or point.key[:LONGEST_NAME],
    }
    match point.category:
        case Category.CONFIGURATION:  # Home Assistant turns it down for what cannot be written
            found["entity_category"] = "config" if writable else "diagnostic"
        case Category.DIAGNOSTIC:
            found["entity_category"] = "diagnostic"
    if not point.enabled:
        found["enabled_by_default"] = False
    return found


def _command(topic: str) -> Component:
    return {"command_topic": topic, "qos": 1, "message_expiry_interval": FRESH}


class _Templates:
    """How a state's payload is read. What is stale is unknown to Home Assistant, as what is lost is.

    The payload is empty when the topic is cleared: Home Assistant listens a little longer than there is a point.
    """

    def __init__(self, point: Point, plain: bool) -> None:
        self._plain = plain
        self._honest = "" if point.max_age is None else f" and {_HONEST}"

    def _of(self, expression: str) -> str:
        return f"{{{{ {expression} if value{self._honest} else None }}}}"

    @property
    def value(self) -> str:
        return _CLEAR if self._plain else self._of("value_json.value")

    def within(self, low: float, high: float) -> str:
        """A number that is set. Outside its limits it is unknown: else Home Assistant shows the old one."""
        if self._plain:
            return f"{{{{ value if value | is_number and {low!r} <= value | float <= {high!r} else None }}}}"
        number = "value_json.value"
        fits = f"{number} is number and {low!r} <= {number} <= {high!r}"
        return f"{{{{ {number} if value and {fits}{self._honest} else None }}}}"

    @property
    def boolean(self) -> str:
        return _CLEAR if self._plain else self._of("{true: 'ON', false: 'OFF'}.get(value_json.value)")

    @property
    def shortened(self) -> str:
        """A text that fits into a state."""
        if self._plain:
            return f"{{{{ value[:{LONGEST}] if value not in ('', 'null') else None }}}}"
        return self._of(f"(value_json.value | string)[:{LONGEST}]")

    @property
    def edited(self) -> str:
        """The same where there is no unknown: empty."""
        if self._plain:
            return f"{{{{ '' if value == 'null' else value[:{LONGEST}] }}}}"
        return f"{{{{ (value_json.value or '')[:{LONGEST}] if value else '' }}}}"

    @property
    def url(self) -> str:
        if self._plain:
            return f"{{{{ value if value not in ('', 'null') else '{NO_PICTURE}' }}}}"
        return f"{{{{ value and value_json.value or '{NO_PICTURE}' }}}}"


def _switch(point: Point, shown_as: str | None, template: _Templates) -> Component:
    """On is open and unlocked, as when Home Assistant itself shows a switch as a valve or a lock."""
    match shown_as:
        case "light" | "fan":
            return _on_off(shown_as) | {"state_value_template": template.boolean}
        case "valve":
            words: Component = {
                "payload_open": "ON",
                "payload_close": "OFF",
                "state_open": "ON",
                "state_closed": "OFF",
            }
        case "lock":
            words = {"payload_lock": "OFF", "payload_unlock": "ON", "state_locked": "OFF", "state_unlocked": "ON"}
        case _:
            return _on_off("switch") | {"value_template": template.boolean}
    return {"platform": shown_as, **words, "value_template": template.boolean}


def _on_off(platform: str) -> Component:
    return {"platform": platform, "payload_on": "ON", "payload_off": "OFF"}


def _number(point: Point, low: float, high: float) -> Component:
    step = point.step if point.step is not None and math.isfinite(point.step) else FINEST
    body: Component = {"platform": "number", "mode": "box", "min": low, "max": high, "step": max(step, FINEST)}
    return body | _unit(point)


def _span(point: Point) -> tuple[float, float] | None:
    """The limits; None when they leave nothing to choose."""
    low = point.minimum if point.minimum is not None and math.isfinite(point.minimum) else -WIDE
    high = point.maximum if point.maximum is not None and math.isfinite(point.maximum) else WIDE
    return (low, high) if low < high else None


def _unit(point: Point) -> Component:
    found: Component = {"unit_of_measurement": point.unit} if point.unit else {}
    return found | {"device_class": device_class} if (device_class := measured(point)) else found


def _measurement(point: Point) -> Component:
    body: Component = {"platform": "sensor"} | _unit(point)
    if (kept := state_class(point)) is not None:
        body["state_class"] = kept
    digits = point.precision if point.precision is not None else DIGITS if "device_class" in body else None
    if digits is not None:
        body["suggested_display_precision"] = min(max(digits, 0), 15)
    return body


def _enumeration(options: list[str]) -> Component:
    return {"platform": "sensor", "device_class": "enum", "options": options}


def _words(point: Point, template: _Templates) -> Component:
    body: Component = {"platform": "sensor", "value_template": template.shortened}
    return body | ({"device_class": point.device_class} if point.device_class in MOMENTS else {})


def _text(template: _Templates) -> Component:
    """An envelope, for a bare text that begins like an object would be read as one."""
    return {
        "platform": "text",
        "max": LONGEST,
        "value_template": template.edited,
        "command_template": "{{ {'value': value} | tojson }}",
    }


def _options(point: Point) -> list[str]:
    """The choices that can be a state: Home Assistant trims them, and None is its word for unknown."""
    return [c for c in dict.fromkeys(point.choices) if 0 < len(c) <= LONGEST and c == c.strip() and c != "None"]


def _sayable(topic: str) -> bool:
    """Home Assistant takes no topic with what Unicode calls noncharacters, or of more than 65,535 bytes."""
    if topic.isascii():
        return len(topic) <= 65_000
    return not any(map(_is_odd, topic)) and len(topic.encode()) <= 65_000


def _is_odd(char: str) -> bool:
    """A noncharacter, or half a surrogate pair."""
    code = ord(char)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xD800 <= code <= 0xDFFF
