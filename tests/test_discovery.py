"""Home Assistant's discovery: what each kind of point becomes, and that no point makes it refuse a device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge import discovery
from bridge.discovery_components import Component, component
from bridge.model import Argument, Category, Json, Kind, Point, point_key
from bridge.topics import Topics
from tests.home_assistant_rules import problems, unique_ids

TOPICS = Topics("lab2mqtt", "here")
IO = TOPICS.device("io")
ABOUT = discovery.About("io", "Unipi", "here")


def told(point: Point, access: str = "write", shown_as: str | None = None, *, plain: bool = False) -> Any:
    found = component(point, access, shown_as, IO, plain=plain)
    if found is not None:
        name = discovery.component_id(point.key, str(found["platform"]))
        text = discovery.device_payload(ABOUT, TOPICS, IO, {name: found}, {})
        assert problems(discovery.topic("homeassistant", "io"), text) == []
    return found


def whole(about: discovery.About, **options: Mapping[str, Any]) -> Any:
    components = dict([discovery.link_component(TOPICS, IO)]) | dict(options.get("components", {}))
    text = discovery.device_payload(about, TOPICS, IO, components, options.get("vanished", {}))
    assert problems(discovery.topic("homeassistant", about.device, about.group), text) == []
    return json.loads(text)


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "slug"),
    [
        ("", "lab2mqtt-io"),
        ("1", "lab2mqtt-io-1"),
        ("MyFocuser_2", "lab2mqtt-io-MyFocuser_2"),
        ("Größe 1", "lab2mqtt-io-Gre1-3852322f"),
        ("a-b", "lab2mqtt-io-ab-d44362d6"),
    ],
)
def test_slugs(group: str, slug: str) -> None:
    assert discovery.slug("io", group) == slug
    assert discovery.topic("ha", "io", group) == f"ha/device/{slug}/config"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_groups_have_different_slugs_that_home_assistant_takes(one: str, other: str) -> None:
    slugs = {discovery.slug("io", group) for group in (one, other)}
    assert len(slugs) == len({one, other})
    assert all(
        set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for slug in slugs
    )


def test_no_device_has_the_bridges_topic() -> None:
    assert discovery.bridge_topic("ha", "io") == "ha/device/lab2mqtt-_bridge-io/config"


# --- what a point becomes ------------------------------------------------------------------------------------


def test_a_relay() -> None:
    assert told(Point("ro/1_01", Kind.SWITCH, "RO 1.01")) == {
        "platform": "switch",
        "unique_id": "lab2mqtt/io/ro/1_01",
        "name": "RO 1.01",
        "state_topic": "lab2mqtt/io/state/ro/1_01",
        "value_template": "{{ {true: 'ON', false: 'OFF'}.get(value_json.value) if value else None }}",
        "payload_on": "ON",
        "payload_off": "OFF",
        "command_topic": "lab2mqtt/io/set/ro/1_01",
        "qos": 1,
        "message_expiry_interval": 10,
    }


@pytest.mark.parametrize("shown_as", ["light", "fan", "valve", "lock"])
def test_a_switch_may_be_shown_as_something_else(shown_as: str) -> None:
    found = told(Point("ro/1", Kind.SWITCH, "Relay"), shown_as=shown_as)
    assert found["platform"] == shown_as
    assert ("state_value_template" in found) == (shown_as in ("light", "fan"))
    if shown_as == "lock":
        assert (found["payload_unlock"], found["state_unlocked"]) == ("ON", "ON")
    if shown_as == "valve":
        assert (found["payload_open"], found["state_open"]) == ("ON", "ON")


WRITTEN = [
    (Point("x", Kind.SWITCH, "X"), "switch", "binary_sensor"),
    (Point("x", Kind.NUMBER, "X", unit="V", device_class="voltage"), "number", "sensor"),
    (Point("x", Kind.CHOICE, "X", choices=("a", "b")), "select", "sensor"),
    (Point("x", Kind.TEXT, "X"), "text", "sensor"),
]


@pytest.mark.parametrize(("point", "written", "read"), WRITTEN)
def test_what_may_not_be_written_is_shown(point: Point, written: str, read: str) -> None:
    settings_of = replace(point, category=Category.CONFIGURATION)
    assert (told(point)["platform"], told(point, "read")["platform"]) == (written, read)
    assert "command_topic" not in told(point, "read")
    assert told(settings_of)["entity_category"] == "config"
    assert told(settings_of, "read")["entity_category"] == "diagnostic"
    assert told(point)["unique_id"] == told(point, "read")["unique_id"]


def test_an_analogue_output() -> None:
    point = Point("ao", Kind.NUMBER, "AO", unit="V", minimum=0, maximum=10, step=0.01, device_class="voltage")
    found = told(point)
    assert {key: found[key] for key in ("min", "max", "step", "mode", "unit_of_measurement", "device_class")} == {
        "min": 0,
        "max": 10,
        "step": 0.01,
        "mode": "box",
        "unit_of_measurement": "V",
        "device_class": "voltage",
    }


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (-1e15, 1e15, 0.001)),
        ({"minimum": 0, "step": 1e-6}, (0, 1e15, 0.001)),
        ({"maximum": float("inf"), "step": 2}, (-1e15, 1e15, 2)),
    ],
)
def test_numbers_without_limits_are_not_from_1_to_100(
    limits: dict[str, float], expected: tuple[float, ...]
) -> None:
    found = told(Point("x", Kind.NUMBER, "X", **limits))  # type: ignore[arg-type]
    assert (found["min"], found["max"], found["step"]) == expected


@pytest.mark.parametrize(("minimum", "maximum"), [(5, 5), (5, 4), (2e15, None)])
def test_a_number_that_leaves_no_choice_is_shown(minimum: float, maximum: float | None) -> None:
    assert told(Point("x", Kind.NUMBER, "X", minimum=minimum, maximum=maximum))["platform"] == "sensor"


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"unit": "V", "device_class": "voltage"}, {"unit": "V", "class": "voltage", "precision": 3}),
        ({"unit": "Ω", "device_class": "voltage"}, {"unit": "Ω", "class": None, "precision": None}),
        ({"device_class": "humidity"}, {"unit": None, "class": None, "precision": None}),
        ({"device_class": "ph", "state_class": "measurement"}, {"class": "ph", "state": "measurement"}),
        ({"unit": "lx", "device_class": "brightness"}, {"unit": "lx", "class": None}),
        (
            {"unit": "kWh", "device_class": "energy", "state_class": "measurement"},
            {"class": "energy", "state": None},
        ),
        ({"state_class": "total_increasing", "precision": 0}, {"state": "total_increasing", "precision": 0}),
        ({"unit": "V", "device_class": "voltage", "state_class": "total"}, {"class": "voltage", "state": None}),
        ({"unit": "°", "device_class": "wind_direction", "state_class": "measurement"}, {"state": None}),
        ({"state_class": "sometimes", "precision": -1}, {"state": None, "precision": 0}),
    ],
)
def test_classes_and_units_that_do_not_go_together_are_left_out(
    features: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = told(Point("x", Kind.SENSOR, "X", **features))
    words = {
        "unit": "unit_of_measurement",
        "class": "device_class",
        "state": "state_class",
        "precision": "suggested_display_precision",
    }
    assert {word: found.get(words[word]) for word in expected} == expected


def test_sensors_with_words() -> None:
    state = told(Point("job/state", Kind.SENSOR, "Job", choices=("idle", "done")))
    assert (state["device_class"], state["options"]) == ("enum", ["idle", "done"])
    text = told(Point("job/error", Kind.SENSOR, "Error", text=True, unit="V", state_class="measurement"))
    assert "[:255]" in text["value_template"]
    assert not text.keys() & {"unit_of_measurement", "state_class", "device_class"}
    moment = told(Point("job/started", Kind.SENSOR, "Started", text=True, device_class="timestamp"))
    assert moment["device_class"] == "timestamp"


def test_choices_that_cannot_be_states_make_a_text() -> None:
    odd = Point("x", Kind.SENSOR, "X", choices=("", "a" * 256, "b"))
    assert "options" not in told(odd)
    assert told(replace(odd, kind=Kind.CHOICE))["options"] == ["b"]
    assert told(Point("x", Kind.CHOICE, "X", choices=()))["platform"] == "sensor"


def test_actions() -> None:
    required = Argument("file", required=True)
    stop = told(Point("stop", Kind.ACTION, "Stop", arguments=(Argument("mode"),), urgent=True), "call")
    assert (stop["platform"], stop["command_topic"], stop["payload_press"]) == (
        "button",
        "lab2mqtt/io/call/stop",
        "{}",
    )
    assert told(Point("import", Kind.ACTION, "Import", arguments=(required,)), "call") is None
    assert told(Point("stop", Kind.ACTION, "Stop"), "denied") is None


def test_events_and_pictures() -> None:
    event = told(Point("job", Kind.EVENT, "Job", choices=("done", "failed")), "event")
    assert (event["event_types"], event["state_topic"]) == (["done", "failed"], "lab2mqtt/io/event/job")
    assert told(Point("job", Kind.EVENT, "Job"), "event") is None
    image = told(Point("sky", Kind.IMAGE, "Sky"), "read")
    assert image["url_topic"] == "lab2mqtt/io/state/sky"
    assert "state_topic" not in image


def test_what_is_stale_is_unknown() -> None:
    assert "'stale'" in told(Point("t", Kind.SENSOR, "T", max_age=60.0), "read")["value_template"]
    assert "'stale'" in told(Point("t", Kind.BINARY, "T", max_age=60.0), "read")["value_template"]
    assert "'stale'" in told(Point("t", Kind.NUMBER, "T", max_age=60.0))["value_template"]
    assert "'stale'" not in told(Point("t", Kind.SENSOR, "T"), "read")["value_template"]


def test_a_number_outside_its_limits_is_unknown() -> None:
    """Home Assistant would log an error and go on showing the one before."""
    template = told(Point("t", Kind.NUMBER, "T", minimum=-2.5, maximum=4))["value_template"]
    fits = "value and value_json.value is number and -2.5 <= value_json.value <= 4"
    assert template == f"{{{{ value_json.value if {fits} else None }}}}"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.EVENT, Kind.ACTION)])
def test_plain_payloads_are_no_json(kind: Kind) -> None:
    found = told(Point("x", kind, "X", choices=("a",) if kind is Kind.CHOICE else ()), plain=True)
    assert "value_json" not in json.dumps(found)
    assert "null" in json.dumps(found) or "is_number" in found["value_template"]


def test_hidden_points_and_names() -> None:
    assert told(Point("x", Kind.BINARY, "", enabled=False)) | {"state_topic": 0} == {
        "platform": "binary_sensor",
        "unique_id": "lab2mqtt/io/x",
        "name": "x",
        "enabled_by_default": False,
        "state_topic": 0,
        "value_template": "{{ {true: 'ON', false: 'OFF'}.get(value_json.value) if value else None }}",
    }


def test_a_topic_that_home_assistant_cannot_have_makes_no_component() -> None:
    assert told(Point("a\ufffeb", Kind.SENSOR, "X")) is None
    assert told(Point("x" * 66_000, Kind.SENSOR, "X")) is None


# --- whole payloads ----------------------------------------------------------------------------------------------


def test_an_instrument() -> None:
    info: dict[str, Json] = {
        "manufacturer": "Unipi",
        "model": "M103",
        "serial_number": 7,
        "sw_version": "",
        "boards": ["1"],
    }
    found = whole(discovery.About("io", "Unipi", "here", area="Lab", info=info | {"configuration_url": "ws://x"}))
    assert found["device"] == {
        "identifiers": ["lab2mqtt-io"],
        "name": "Unipi",
        "manufacturer": "Unipi",
        "model": "M103",
        "serial_number": "7",
        "suggested_area": "Lab",
        "via_device": "lab2mqtt-_bridge-here",
    }
    assert found["availability"] == [{"topic": "lab2mqtt/_bridge/here/status"}, {"topic": "lab2mqtt/io/status"}]
    assert found["availability_mode"] == "all"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://10.0.0.5:8080/panel?x=1#y", True),
        ("https://[fe80::1]/", True),
        ("http://[", False),
        ("http://[x]/", False),
        ("http://io:99999/", False),
        ("http://io:x/", False),
        ("http://{{ states }}/", False),
        ("http://io/\x00", False),
        ("http://user:secret@io/", False),
        ("http://io/" + "x" * 300, False),
    ],
)
def test_an_address_that_home_assistant_cannot_read_costs_nothing_else(url: str, told: bool) -> None:
    found = whole(discovery.About("io", "Unipi", "here", info={"configuration_url": url, "model": "M103"}))
    assert found["device"].get("configuration_url") == (url if told else None)
    assert found["device"]["model"] == "M103"


def test_the_link_can_be_seen_while_the_device_is_away() -> None:
    link = whole(ABOUT)["components"]["sensor/_link"]
    assert link["availability"] == [{"topic": "lab2mqtt/_bridge/here/status"}]
    assert "reason" in link["json_attributes_template"]
    assert "attempt" not in link["json_attributes_template"]


def test_a_group_is_a_device_behind_its_instrument() -> None:
    found = whole(
        discovery.About("io", "Unipi", "here", group="2/a", group_name="Extension", info={"model": "M103"})
    )
    assert found["device"]["name"] == "Unipi Extension"
    assert found["device"]["via_device"] == "lab2mqtt-io"
    assert "model" not in found["device"]
    assert [item["topic"] for item in found["availability"]] == [
        "lab2mqtt/_bridge/here/status",
        "lab2mqtt/io/status",
        "lab2mqtt/io/status/2%2Fa",
    ]


def test_what_vanished_is_named_with_its_platform_alone() -> None:
    found = whole(ABOUT, vanished={"switch/ro": "switch", "sensor/_link": "sensor"})
    assert found["components"]["switch/ro"] == {"platform": "switch"}
    assert len(found["components"]["sensor/_link"]) > 1


def test_the_bridge_is_a_device_whose_connection_can_be_seen_while_it_is_away() -> None:
    text = discovery.bridge_payload(TOPICS)
    assert problems(discovery.bridge_topic("homeassistant", "here"), text) == []
    found = json.loads(text)
    assert "availability" not in found
    without = [name for name, body in found["components"].items() if "availability" not in body]
    assert without == ["binary_sensor/status"]
    assert found["device"]["identifiers"] == [whole(ABOUT)["device"]["via_device"]]


def test_a_payload_stays_below_the_brokers_limits() -> None:
    many: dict[str, Component] = {
        f"sensor/{n}": {"platform": "sensor", "enabled_by_default": n % 3 == 0} for n in range(9000)
    }
    kept = discovery.selected(many)
    assert len(kept) == discovery.MOST
    assert all(body["enabled_by_default"] for body in kept.values())


# --- whatever the point ----------------------------------------------------------------------------------------

WORDS = st.text(max_size=20) | st.sampled_from(["", " a ", "None", "x" * 300, "{{ x }}", "ON"])
NUMBERS = st.none() | st.floats() | st.integers(-1000, 1000)
CLASSES = (
    st.none()
    | st.text(max_size=5)
    | st.sampled_from(
        [
            "voltage",
            "energy",
            "humidity",
            "ph",
            "timestamp",
            "enum",
            "door",
            "outlet",
            "duration",
            "monetary",
            "restart",
        ]
    )
)
POINTS = st.builds(
    Point,
    key=st.lists(st.text(max_size=8), min_size=1, max_size=3).map(lambda levels: point_key(*levels)),
    kind=st.sampled_from(Kind),
    name=WORDS,
    unit=st.none() | WORDS | st.sampled_from(["V", "mA", "%", "kWh", "s", "°C"]),
    minimum=NUMBERS,
    maximum=NUMBERS,
    step=NUMBERS,
    choices=st.lists(WORDS, max_size=3).map(tuple),
    arguments=st.sampled_from([(), (Argument("a"),), (Argument("a", required=True),)]),
    text=st.booleans(),
    device_class=CLASSES,
    state_class=st.none() | st.sampled_from(["measurement", "total", "total_increasing", "other"]),
    precision=st.none() | st.integers(-5, 50),
    max_age=st.none() | st.just(60.0),
    category=st.sampled_from(Category),
    enabled=st.booleans(),
)
ACCESSES = st.sampled_from(["read", "write", "call", "event", "denied"])
SHOWN = st.sampled_from([None, "light", "fan", "valve", "lock"])
INFOS = st.dictionaries(
    st.sampled_from(["manufacturer", "model", "serial_number", "configuration_url", "sw_version", "other"]),
    st.none() | WORDS | st.integers() | st.booleans() | st.just(["x"]),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(POINTS, ACCESSES, SHOWN), max_size=8), INFOS, st.text(max_size=10), st.booleans())
def test_whatever_the_points_the_payload_is_valid(
    given_points: list[tuple[Point, str, str | None]], info: dict[str, Any], group: str, plain: bool
) -> None:
    components = {}
    for point, access, shown_as in given_points:
        body = component(point, access, shown_as, IO, plain=plain)
        if body is not None:
            assert access != "denied" or "command_topic" not in body
            components[discovery.component_id(point.key, str(body["platform"]))] = body
    components = dict({point_of(body): (name, body) for name, body in components.items()}.values())
    about = discovery.About("io", "Unipi", "here", group=group, group_name="", info=info)
    link = dict([discovery.link_component(TOPICS, IO)])
    text = discovery.device_payload(about, TOPICS, IO, link | components, {"switch/gone": "switch"})
    assert problems(discovery.topic("homeassistant", "io", group), text) == []
    ids = unique_ids([text])
    assert len(set(ids)) == len(ids) == len(components) + 1


def point_of(body: Mapping[str, Any]) -> str:
    """One component a point: drivers declare a key once."""
    return str(body["unique_id"])
