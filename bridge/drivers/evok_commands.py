"""What may be asked of Evok: its actions, what each command touches, and the frames of `set`.

Evok answers nothing and ignores or half-applies what it does not like, so everything is checked here. The verb of
a frame is always our own: Evok would call any method of that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from bridge.driver import Touch
from bridge.drivers.evok_frames import ALIASES
from bridge.drivers.evok_objects import Known
from bridge.model import Argument, Command, Json, Kind, Point, Scalar, boolean, in_range, point_key

PULSED = frozenset({"do", "ro", "led"})
_ALIAS = re.compile(r"[A-Za-z0-9._-]*")

Check = Callable[[Json], Scalar]


class Field(Struct, frozen=True):
    """One field of Evok's `set`. `point`: it is shown, as a point of its own or as the value itself."""

    point: bool = True
    guarded: bool = False
    check: Check | None = None  # None: the point knows what it accepts


def _integer(maximum: int) -> Check:
    def check(value: Json) -> Scalar:
        number = in_range(value, 0, maximum)
        if not number.is_integer():
            raise ValueError(f"{value!r} is not a whole number")
        return int(number)

    return check


def _seconds(value: Json) -> Scalar:
    return in_range(value, 0.02, 86400, "s")


def _yes(value: Json) -> Scalar:
    if boolean(value) is not True:
        raise ValueError("only true is of use")
    return True


def _alias(value: Json) -> Scalar:
    if isinstance(value, str) and _ALIAS.fullmatch(value):
        return value
    raise ValueError(f"{value!r}: an alias has letters, digits, '-', '.' and '_'")


_SHOWN, _GUARDED = Field(), Field(guarded=True)
_NAMED: Mapping[str, Field] = {"alias": Field(point=False, guarded=True, check=_alias)}
_DONE = Field(point=False, check=_yes)

# What `set` takes for each type; without `mode` of do, which Evok ignores, and `value` of di, another `debounce`.
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "di": {
        "debounce": _SHOWN,
        "counter": Field(check=_integer((1 << 32) - 1)),
        "counter_mode": _SHOWN,
        "mode": _GUARDED,
        "ds_mode": _GUARDED,
        **_NAMED,
    },
    "do": {
        "value": _SHOWN,
        "timeout": Field(point=False, check=_seconds),
        "pwm_duty": _SHOWN,
        "pwm_freq": _SHOWN,
        **_NAMED,
    },
    "ro": {"value": _SHOWN, **_NAMED},
    "led": {"value": _SHOWN, **_NAMED},
    "ao": {"value": _SHOWN, "mode": _GUARDED, **_NAMED},
    "ai": {"mode": _GUARDED, **_NAMED},
    "temp": {"interval": _SHOWN, **_NAMED},
    "1wdevice": {"interval": _SHOWN, **_NAMED},
    "wd": {
        "value": _SHOWN,
        "timeout": _SHOWN,
        "nv_save": _GUARDED,
        "reset": Field(point=False, guarded=True, check=_yes),
        **_NAMED,
    },
    "register": {"value": _GUARDED, **_NAMED},
    "owbus": {"interval": _SHOWN, "scan_interval": _SHOWN, "do_scan": _DONE, "do_reset": _DONE},
    "owpower": {"value": _SHOWN},
    "nv_save": {"value": _GUARDED},
    "run": {"save": _DONE},
}

PULSE = Point(
    "pulse",
    Kind.ACTION,
    "Pulse",
    arguments=(
        Argument("point", "point", required=True, help="a digital output, relay or LED"),
        Argument("seconds", "number", required=True, unit="s", minimum=0.1, maximum=86400),
    ),
    timeout=None,  # it takes what was asked for; the driver bounds both edges
)
EVOK_SET = Point(
    "evok_set",
    Kind.ACTION,
    "Evok set",
    arguments=(
        Argument("dev", required=True, choices=(*FIELDS, *(a for a, dev in ALIASES.items() if dev in FIELDS))),
        Argument("circuit", required=True),
        Argument("value", "any"),
        Argument("timeout", "number", help="do: seconds until it goes off; wd: milliseconds"),
        Argument("pwm_duty", "number", unit="%", minimum=0, maximum=100),
        Argument("pwm_freq", "number", unit="Hz"),
        Argument("debounce", "integer", unit="ms"),
        Argument("counter", "integer"),
        *(Argument(name) for name in ("counter_mode", "mode", "ds_mode", "alias")),
        Argument("interval", "number", unit="s"),
        Argument("scan_interval", "number", unit="s"),
        *(Argument(name, "boolean") for name in ("nv_save", "reset", "do_scan", "do_reset", "save")),
    ),
)
ACTIONS = (PULSE, EVOK_SET)


def key_of(args: Mapping[str, Json]) -> str:
    """The key of the object that an `evok_set` names, whatever it calls its type."""
    dev = str(args.get("dev"))
    return point_key(ALIASES.get(dev, dev), str(args.get("circuit")))


def fields_of(args: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in args.items() if name not in ("dev", "circuit")}


def touches(command: Command) -> Sequence[Touch]:
    """The points that an action writes, so that access rules for them hold for it as well."""
    if command.key == PULSE.key:
        return (Touch(str(command.args.get("point")), True),)
    if command.key == EVOK_SET.key:
        return tuple(_touched(command.args))
    return ()


def _touched(args: Mapping[str, Json]) -> Iterator[Touch]:
    key = key_of(args)
    takes = FIELDS.get(key.partition("/")[0], {})
    for name, value in fields_of(args).items():
        field = takes.get(name, Field(point=False, guarded=True))
        written = field.point and field.check is None
        touched = key if name == "value" else f"{key}/{name}"
        yield Touch(touched, value if written else None, field.point, field.guarded)


def checked(known: Known, fields: Mapping[str, Json]) -> dict[str, Scalar]:
    """The fields as Evok will understand them; ValueError says what it would ignore, refuse or misread."""
    takes = FIELDS.get(known.kind, {})
    if not fields:
        raise ValueError(f"nothing to set; {known.kind} takes {', '.join(takes) or 'nothing'}")
    accepted: dict[str, Scalar] = {}
    for name, value in fields.items():
        if name not in takes:
            raise ValueError(f"{known.kind} has no {name!r} to set; it takes {', '.join(takes) or 'nothing'}")
        try:
            accepted[name] = _accept(known, name, takes[name], value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if "value" in accepted and "pwm_duty" in accepted:
        raise ValueError("value and pwm_duty exclude each other: Evok refuses both together")
    if known.kind == "do" and "timeout" in accepted and "value" not in accepted:
        raise ValueError("timeout needs a value: it says how long that value holds")
    return accepted


def _accept(known: Known, name: str, field: Field, value: Json) -> Scalar:
    if field.check is not None:
        return field.check(value)
    point = known.points.get(known.key if name == "value" else f"{known.key}/{name}")
    if point is None:
        raise ValueError(f"{known.key} does not have it now")
    accepted = point.accept(value)
    if point.step == 1 and isinstance(accepted, float) and not accepted.is_integer():
        raise ValueError(f"{accepted:g} is not a whole number")
    return accepted


def set_frame(known: Known, fields: Mapping[str, Scalar]) -> str:
    """One `set`. Beside a plain `value` Evok would ignore all other fields, so then they go into one object."""
    given = {name: _plain(value) for name, value in fields.items()}
    message: dict[str, object] = {"cmd": "set", "dev": known.dev, "circuit": known.circuit}
    if "value" in given and len(given) > 1:
        message["value"] = given
    else:
        message.update(given)
    return json.dumps(message)


def _plain(value: Scalar) -> Scalar:
    """Whole numbers without a decimal point: some fields take no other."""
    whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole and value is not None else value


def same(shown: Scalar, wanted: Scalar, step: float | None) -> bool:
    """The device shows what was wanted; numbers within the point's step, for outputs are quantised."""
    numbers = int | float
    if isinstance(shown, numbers) and isinstance(wanted, numbers) and not isinstance(wanted, bool):
        return abs(shown - wanted) <= (step or 0) + 1e-9 * abs(wanted)
    return shown == wanted


def written(value: Scalar) -> str:
    """A value in a sentence."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return "nothing" if value is None else str(value)
