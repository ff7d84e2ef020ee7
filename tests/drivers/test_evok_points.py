"""Objects of Evok as points and values, one by one."""

from __future__ import annotations

import pytest

from bridge.drivers.evok_counters import missed
from bridge.model import Category, Kind, Point, Policy, Quality
from tests.drivers.evok_talk import Object, Talk, ai, ao, di, do, host, ro

CONFIG, DIAGNOSTIC = Category.CONFIGURATION, Category.DIAGNOSTIC


@pytest.fixture(name="points", scope="module")
def _points() -> dict[str, Point]:
    return Talk().points


def test_actions_are_declared_with_the_device(points: dict[str, Point]) -> None:
    assert points["pulse"].kind is Kind.ACTION
    assert points["pulse"].timeout is None
    assert points["pulse"].arguments[0].type == "point"
    assert "cmd" not in {argument.name for argument in points["evok_set"].arguments}


@pytest.mark.parametrize(
    ("key", "kind", "category", "enabled", "guarded"),
    [
        ("di/1_01", Kind.BINARY, Category.PRIMARY, True, False),
        ("di/1_01/counter", Kind.SENSOR, Category.PRIMARY, False, False),
        ("di/1_01/debounce", Kind.NUMBER, CONFIG, False, False),
        ("di/1_01/counter_mode", Kind.CHOICE, CONFIG, False, False),
        ("di/1_01/mode", Kind.CHOICE, CONFIG, False, True),
        ("do/1_01", Kind.SWITCH, Category.PRIMARY, True, False),
        ("do/1_01/pwm_duty", Kind.NUMBER, Category.PRIMARY, False, False),
        ("do/1_01/pwm_freq", Kind.NUMBER, CONFIG, False, False),
        ("do/1_01/mode", Kind.SENSOR, DIAGNOSTIC, False, False),
        ("ro/2_01", Kind.SWITCH, Category.PRIMARY, True, False),
        ("led/1_01", Kind.SWITCH, CONFIG, True, False),
        ("ai/1_01", Kind.SENSOR, Category.PRIMARY, True, False),
        ("ai/1_01/mode", Kind.CHOICE, CONFIG, False, True),
        ("ao/2_01", Kind.NUMBER, Category.PRIMARY, True, False),
        ("ao/2_01/mode", Kind.CHOICE, CONFIG, False, True),
        ("temp/2867", Kind.SENSOR, Category.PRIMARY, True, False),
        ("temp/2867/interval", Kind.NUMBER, CONFIG, False, False),
        ("wd/1_01", Kind.SWITCH, CONFIG, False, False),
        ("wd/1_01/timeout", Kind.NUMBER, CONFIG, False, False),
        ("wd/1_01/was_wd_reset", Kind.BINARY, DIAGNOSTIC, False, False),
        ("wd/1_01/nv_save", Kind.SWITCH, CONFIG, False, True),
        ("register/1_5", Kind.NUMBER, CONFIG, False, True),
        ("modbus_slave/1", Kind.BINARY, DIAGNOSTIC, True, False),
        ("modbus_slave/1/last_comm", Kind.SENSOR, DIAGNOSTIC, False, False),
        ("owbus/OWFS/interval", Kind.NUMBER, CONFIG, False, False),
        ("nv_save/1", Kind.SWITCH, CONFIG, False, True),
    ],
)
def test_kinds_and_defaults(
    points: dict[str, Point], key: str, kind: Kind, category: Category, enabled: bool, guarded: bool
) -> None:
    point = points[key]
    assert (point.kind, point.category, point.enabled, point.guarded) == (kind, category, enabled, guarded)


def test_analogue_inputs_suggest_a_policy_and_describe_their_range(points: dict[str, Point]) -> None:
    point = points["ai/1_01"]
    assert (point.unit, point.minimum, point.maximum) == ("V", 0, 10)
    assert (point.device_class, point.state_class, point.precision) == ("voltage", "measurement", 3)
    assert point.policy == Policy(deadband=0.005, min_interval=1.0)
    ohm = Talk(reply=host(ai("1_01", 108.0, "R", unit="Ohm", range=[0, 1960]))).points["ai/1_01"]
    assert (ohm.unit, ohm.device_class, ohm.policy.deadband) == ("Ω", None, None)


def test_analogue_outputs_have_limits_though_only_the_mode_tells() -> None:
    modes = {"Voltage": {"value": 0, "unit": "V", "range": [0, 10]}, "Current": {"unit": "mA", "range": [0, 20]}}
    brain = ao("1_01", 4.5, modes=modes)
    del brain["range"]
    point = Talk(reply=host(brain)).points["ao/1_01"]
    assert (point.minimum, point.maximum, point.step, point.device_class) == (0, 10, 0.01, "voltage")
    assert point.accept(10) == 10
    with pytest.raises(ValueError, match="maximum"):
        point.accept(99)


def test_direct_switch_brings_its_own_choice() -> None:
    talk = Talk()
    assert "di/1_01/ds_mode" not in talk.points
    direct: Object = {"mode": "DirectSwitch", "ds_mode": "Toggle", "ds_modes": ["Simple", "Inverted", "Toggle"]}
    talk.hear(di("1_01", **direct))
    point = talk.points["di/1_01/ds_mode"]
    assert (point.choices, point.guarded) == (("Simple", "Inverted", "Toggle"), True)
    assert talk.last("di/1_01/ds_mode").value == "Toggle"
    talk.hear(di("1_01"))
    assert "di/1_01/ds_mode" in talk.points
    assert talk.last("di/1_01/ds_mode").quality is Quality.BAD


@pytest.mark.parametrize(
    ("unit", "name", "shown", "device_class"),
    [
        ("°C", "temperature", "°C", "temperature"),
        ("%", "rel_humid", "%", "humidity"),
        ("%", "load", "%", None),
        ("ppm", "CO2", "ppm", "carbon_dioxide"),
        ("hPa", "atm_pressure", "hPa", "atmospheric_pressure"),
        ("lux", "ambient_light", "lx", "illuminance"),
        ("sec", "uptime", "s", "duration"),
        ("N/A", "VOC_index", None, None),
    ],
)
def test_units_of_data_points(unit: str, name: str, shown: str | None, device_class: str | None) -> None:
    item = {"dev": "data_point", "circuit": "IAQ_0", "value": 22.399999618530273, "name": name, "unit": unit}
    talk = Talk(reply=host(item))
    point = talk.points["data_point/IAQ_0"]
    assert (point.name, point.unit, point.device_class) == (name, shown, device_class)
    assert talk.last("data_point/IAQ_0").value == 22.4


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (ro("2_01"), "RO 2.01"),
        (ro("xS51_01"), "RO xS51.01"),
        (ro("2_01", alias="pump"), "pump"),
        (ro("2_01", alias=""), "RO 2.01"),
        (ro("odd"), "RO odd"),
        (di("1_01", alias="front_door"), "front_door"),
    ],
)
def test_names(item: Object, name: str) -> None:
    points = Talk(reply=host(item)).points
    assert points[f"{item['dev']}/{item['circuit']}"].name == name


def test_any_text_may_name_a_circuit() -> None:
    talk = Talk(reply=host(ro("2_01/x +#"), ro("2_01")))
    assert talk.points["ro/2_01%2Fx %2B%23"].name == "RO 2_01/x +#"
    talk.ask("ro/2_01%2Fx %2B%23", True)
    talk.call("evok_set", dev="ro", circuit="2_01/x +#", value=0)
    assert [message["circuit"] for message in talk.sent] == ["2_01/x +#"] * 2


def test_input_registers_are_only_read() -> None:
    item = {"dev": "register", "circuit": "IAQ_4_inp", "value": 3}
    assert Talk(reply=host(item)).points["register/IAQ_4_inp"].kind is Kind.SENSOR


@pytest.mark.parametrize(
    ("item", "value", "quality"),
    [
        (ai("1_01", 8.703), 8.703, Quality.GOOD),
        (ai("1_01", -0.0), 0.0, Quality.GOOD),
        (ai("1_01", -0.5), -0.5, Quality.GOOD),
        (ai("1_01", 11.5), 11.5, Quality.UNCERTAIN),
        (ai("1_01", 132798232.0, "R", unit="Ohm", range=[0, 100000]), 132798232.0, Quality.UNCERTAIN),
        (ai("1_01", -0.003, "Disabled"), None, Quality.GOOD),
        (ai("1_01", None), None, Quality.BAD),
        (ai("1_01", "text"), None, Quality.BAD),
        (ai("1_01", [1]), None, Quality.BAD),
        (ai("1_01", 10**40), None, Quality.BAD),
        (ai("1_01", True), None, Quality.BAD),
        (do("1_01", 1), True, Quality.GOOD),
        (do("1_01", True), True, Quality.GOOD),
        (do("1_01", None), None, Quality.BAD),
        ({"dev": "owpower", "circuit": "1", "value": False}, False, Quality.GOOD),
        ({"dev": "wd", "circuit": "1_01", "value": 3}, True, Quality.GOOD),
        ({"dev": "wd", "circuit": "1_01", "value": 2}, False, Quality.GOOD),
        ({"dev": "data_point", "circuit": "1_9", "value": "NaN"}, None, Quality.BAD),
        ({"dev": "data_point", "circuit": "1_9", "value": 5, "valid": False}, None, Quality.BAD),
        ({"dev": "data_point", "circuit": "1_9", "value": 5, "valid": "true"}, 5, Quality.GOOD),
        ({"dev": "register", "circuit": "1_5", "value": None}, None, Quality.BAD),
    ],
)
def test_values_and_their_quality(item: Object, value: object, quality: Quality) -> None:
    update = Talk(reply=host(item)).last(f"{item['dev']}/{item['circuit']}")
    assert (update.value, update.quality) == (value, quality)
    assert type(update.value) is type(value)
    assert str(update.value) != "-0.0"


@pytest.mark.parametrize(
    ("before", "now", "count", "reset"),
    [(5, 17, 12, False), ((1 << 32) - 3, 4, 7, False), (1000, 3, 3, True), (1000, 0, 0, True), (5, 5, 0, False)],
)
def test_counters_wrap_and_are_reset(before: int, now: int, count: int, reset: bool) -> None:
    assert missed(before, now) == (count, reset)
