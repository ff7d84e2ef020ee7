"""What the configuration says over a driver's points: names, classes, inversion, scale, policy, presets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from bridge.model import BOOLEAN, Command, Json, Kind, Point, Policy, Scalar
from bridge.patterns import matches
from bridge.policy import inherit


class Overlay(Struct, frozen=True):
    """A table `[devices.X.points."pattern"]`; None leaves what the driver declared."""

    name: str | None = None
    device_class: str | None = None
    shown_as: str | None = None  # light, fan, valve, lock: for discovery
    invert: bool = False
    enabled: bool | None = None
    scale: float | None = None  # published = instrument x scale
    unit: str | None = None
    policy: Policy = Policy()


class Preset(Struct, frozen=True):
    """An action with arguments fixed in the configuration; a call's own arguments are laid over them."""

    action: str
    args: Mapping[str, Json] = {}
    name: str | None = None

    def apply(self, command: Command) -> Command:
        return msgspec.structs.replace(command, key=self.action, args={**self.args, **command.args})


PRESET = "preset/"


class View(Struct, frozen=True):
    """A point as users see it, and the way there and back."""

    point: Point
    invert: bool = False
    scale: float | None = None
    shown_as: str | None = None

    def outward(self, value: Scalar) -> Scalar:
        """What the instrument says, as it is published."""
        if self.invert and isinstance(value, bool):
            return not value
        if self.scale is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return value * self.scale
        return value

    def inward(self, value: Scalar) -> Scalar:
        """What a user sets, as the instrument wants it."""
        if self.invert and isinstance(value, bool):
            return not value
        if self.scale is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return value / self.scale
        return value

    @property
    def plain(self) -> bool:
        """Nothing is converted: the hot path takes the short way."""
        return not self.invert and self.scale is None


def view(point: Point, overlays: Mapping[str, Overlay], defaults: tuple[Policy, ...]) -> View:
    """The point with every overlay whose pattern matches its key, in the order of the configuration.

    `defaults`: the bridge's and the device's policy. They win over what the driver suggests only where they say
    something; a point's own overlay wins over all. `min_interval = 0` anywhere switches that suggestion off.
    """
    found = [overlay for pattern, overlay in overlays.items() if matches(pattern, point.key)]
    configured = [*defaults, *(overlay.policy for overlay in found)]
    suggested = Policy() if any(layer.min_interval == 0 for layer in configured) else point.policy
    policy = inherit(suggested, *configured)
    invert, scale, shown_as = False, None, None
    changes: dict[str, object] = {"policy": policy}
    for overlay in found:
        invert = invert or overlay.invert
        scale = overlay.scale if overlay.scale is not None else scale
        shown_as = overlay.shown_as or shown_as
        for field in ("name", "device_class", "unit", "enabled"):
            if (value := getattr(overlay, field)) is not None:
                changes[field] = value
    invert = invert and point.kind in BOOLEAN
    if scale is not None:
        bounds = [None if bound is None else bound * scale for bound in (point.minimum, point.maximum)]
        if scale < 0:
            bounds.reverse()
        changes["minimum"], changes["maximum"] = bounds
        changes["step"] = None if point.step is None else abs(point.step * scale)
    return View(msgspec.structs.replace(point, **changes), invert, scale, shown_as)


def preset_points(presets: Mapping[str, Preset], declared: Iterable[Point]) -> list[Point]:
    """An action of its own for each preset whose action is among the declared points."""
    actions = {point.key: point for point in declared if point.kind is Kind.ACTION}
    return [
        msgspec.structs.replace(
            actions[preset.action],
            key=PRESET + name,
            name=preset.name or name.replace("_", " ").capitalize(),
            arguments=tuple(
                msgspec.structs.replace(argument, required=argument.required and argument.name not in preset.args)
                for argument in actions[preset.action].arguments
            ),
            guarded=False,  # the action itself is checked, with the preset's arguments
            enabled=True,
        )
        for name, preset in presets.items()
        if preset.action in actions
    ]
