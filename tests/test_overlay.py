"""What the configuration says over a driver's points: views there and back, and presets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Argument, Command, Kind, Point, Policy, Scalar
from bridge.overlay import Overlay, Preset, View, preset_points, view

RELAY = Point("ro/1_01", Kind.SWITCH, "Relay")
OUTPUT = Point("ao/1_01", Kind.NUMBER, "Output", unit="V", minimum=0, maximum=10, step=0.01)
MOVE = Point(
    "move",
    Kind.ACTION,
    "Move",
    arguments=(Argument("to", "number", required=True), Argument("speed")),
    guarded=True,
    urgent=True,
    enabled=False,
)


def seen(point: Point, *overlays: tuple[str, Overlay], defaults: tuple[Policy, ...] = ()) -> View:
    return view(point, dict(overlays), defaults)


def test_without_an_overlay_a_point_is_what_its_driver_says() -> None:
    shown = seen(RELAY)
    assert (shown.point, shown.plain) == (RELAY, True)


def test_patterns_apply_in_the_order_of_the_configuration() -> None:
    shown = seen(RELAY, ("ro/*", Overlay(name="All", device_class="switch")), ("ro/1_01", Overlay(name="Pump")))
    assert (shown.point.name, shown.point.device_class) == ("Pump", "switch")
    assert seen(RELAY, ("do/*", Overlay(name="Other"))).point == RELAY


def test_enabled_may_be_switched_on_and_off() -> None:
    assert not seen(RELAY, ("*", Overlay(enabled=False))).point.enabled
    assert seen(MOVE, ("*", Overlay(enabled=True))).point.enabled


@given(st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.text(max_size=3) | st.none())
def test_what_goes_out_inverted_comes_in_again(value: Scalar) -> None:
    shown = seen(RELAY, ("ro/*", Overlay(invert=True)))
    assert shown.inward(shown.outward(value)) == value
    if isinstance(value, bool):
        assert shown.outward(value) is not value


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1000) | st.floats(-1000, -0.001))
def test_what_goes_out_scaled_comes_in_again(value: float, scale: float) -> None:
    shown = seen(OUTPUT, ("ao/*", Overlay(scale=scale, unit="%")))
    assert shown.inward(shown.outward(value)) == pytest.approx(value)
    assert shown.outward(True) is True
    assert shown.outward("text") == "text"


@pytest.mark.parametrize(
    ("scale", "limits"), [(10.0, (0.0, 100.0, 0.1)), (-1.0, (-10.0, 0.0, 0.01)), (0.5, (0, 5, 0.005))]
)
def test_limits_are_scaled_too(scale: float, limits: tuple[float, float, float]) -> None:
    point = seen(OUTPUT, ("*", Overlay(scale=scale))).point
    assert (point.minimum, point.maximum, point.step) == pytest.approx(limits)


def test_only_booleans_are_inverted() -> None:
    assert seen(OUTPUT, ("*", Overlay(invert=True))).plain
    assert not seen(RELAY, ("*", Overlay(invert=True))).plain


# --- policy ------------------------------------------------------------------------------------------------


def test_a_policy_is_inherited_from_bridge_to_device_to_point() -> None:
    suggested = Point("t", Kind.SENSOR, "T", policy=Policy(deadband=0.1, min_interval=5))
    bridge, device = Policy(min_interval=1), Policy(max_silence=60)
    assert seen(suggested).point.policy == Policy(deadband=0.1, min_interval=5)
    assert seen(suggested, defaults=(bridge, device)).point.policy == Policy(0.1, 1, 60)
    own = ("t", Overlay(policy=Policy(min_interval=2)))
    assert seen(suggested, own, defaults=(bridge, device)).point.policy == Policy(0.1, 2, 60)


@pytest.mark.parametrize("where", ["bridge", "point"])
def test_an_interval_of_zero_switches_the_drivers_suggestion_off(where: str) -> None:
    suggested = Point("t", Kind.SENSOR, "T", policy=Policy(deadband=0.1, min_interval=5))
    zero = Policy(min_interval=0)
    shown = (
        seen(suggested, defaults=(zero,)) if where == "bridge" else seen(suggested, ("t", Overlay(policy=zero)))
    )
    assert shown.point.policy == zero


# --- presets -----------------------------------------------------------------------------------------------


def test_a_preset_becomes_an_action_beside_its_own() -> None:
    presets = {"go_home": Preset("move", {"to": 0}), "far": Preset("move", {}, "Far away"), "no": Preset("fly")}
    points = preset_points(presets, [RELAY, MOVE])
    assert [(point.key, point.name) for point in points] == [
        ("preset/go_home", "Go home"),
        ("preset/far", "Far away"),
    ]
    home, far = points
    assert [a.required for a in home.arguments] == [False, False]
    assert [a.required for a in far.arguments] == [True, False]
    assert home.urgent
    assert home.enabled
    assert not home.guarded  # `move` itself is, and is checked


def test_a_preset_of_something_that_is_no_action_is_none() -> None:
    assert preset_points({"x": Preset("ro/1_01")}, [RELAY]) == []


def test_the_arguments_of_a_call_win() -> None:
    preset = Preset("move", {"to": 1, "speed": "slow"})
    command = preset.apply(Command("id", "preset/x", args={"to": 2}, expires_at=5.0))
    assert (command.key, command.args, command.expires_at) == ("move", {"to": 2, "speed": "slow"}, 5.0)
