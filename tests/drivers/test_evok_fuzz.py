"""Whatever Evok says and in whatever order things happen: no surprise, and one final reply per command."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.driver import Close, Fence, ProtocolError, Send
from bridge.drivers.evok import Evok
from bridge.drivers.evok_options import EvokOptions
from bridge.model import Command, Declared, Reply, Update
from tests.drivers.evok_talk import Talk, host

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)
DEVS = st.sampled_from(
    [
        "di",
        "do",
        "ro",
        "led",
        "ai",
        "ao",
        "temp",
        "1wdevice",
        "wd",
        "register",
        "data_point",
        "modbus_slave",
        "device_info",
        "run",
        "owbus",
        "owpower",
        "nv_save",
        "relay",
        "input",
        "neuron",
        "nosuch",
    ]
)
CIRCUITS = st.sampled_from(["1_01", "1_02", "2_01", "1", "2", "", "a/b", "2867", "alias", "1_01/counter"])
FIELDS = [
    "value",
    "mode",
    "modes",
    "unit",
    "range",
    "counter",
    "counter_modes",
    "debounce",
    "pwm_duty",
    "pwm_freq",
    "ds_mode",
    "ds_modes",
    "alias",
    "time",
    "lost",
    "interval",
    "timeout",
    "nv_save",
    "last_comm",
    "scan_interval",
    "name",
    "valid",
    "model",
    "sn",
    "type",
    "success",
    "errors",
    "relay_type",
]
MODES = {"Voltage": {"range": [0, 10]}}
PLAUSIBLE = st.sampled_from([0, 1, 2.5, "NaN", "Voltage", ["Simple", "PWM"], MODES, None])
OBJECTS = st.builds(
    lambda dev, circuit, fields: {"dev": dev, "circuit": circuit, **fields},
    DEVS | ANY_JSON,
    CIRCUITS | ANY_JSON,
    st.dictionaries(st.sampled_from(FIELDS), PLAUSIBLE | ANY_JSON, max_size=6),
)
FRAMES = st.one_of(
    st.lists(OBJECTS | ANY_JSON, max_size=4).map(json.dumps),
    OBJECTS.map(json.dumps),
    OBJECTS.map(lambda item: json.dumps([*host(), item])),
    ANY_JSON.map(json.dumps),
    st.binary(max_size=20),
    st.text(max_size=20),
)
KEYS = st.sampled_from(
    ["ro/2_01", "do/1_01", "ao/2_01", "do/1_01/pwm_duty", "di/1_01/debounce", "ai/1_01/mode", "di/1_01", "nosuch"]
)
COMMANDS: st.SearchStrategy[tuple[str, Any, Any]] = st.one_of(
    st.tuples(KEYS, st.sampled_from([True, False, 5, 25.0, "Current"]) | ANY_JSON, st.just({})),
    st.tuples(
        st.just("pulse"),
        st.none(),
        st.fixed_dictionaries({"point": KEYS, "seconds": st.sampled_from([0.1, 1, 30]) | ANY_JSON}),
    ),
    st.tuples(
        st.just("evok_set"),
        st.none(),
        st.fixed_dictionaries(
            {"dev": DEVS, "circuit": CIRCUITS},
            optional={
                "value": PLAUSIBLE | ANY_JSON,
                "timeout": st.just(2) | ANY_JSON,
                "pwm_duty": st.just(20),
                "mode": st.just("Current"),
                "alias": st.text(max_size=3),
            },
        ),
    ),
)
STEPS = st.one_of(
    st.tuples(st.just("receive"), FRAMES),
    st.tuples(st.just("host"), st.sampled_from([0, 1])),
    st.tuples(st.just("submit"), COMMANDS),
    st.tuples(st.just("fence"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0])),
)


@given(st.lists(FRAMES, max_size=6))
@settings(max_examples=250, deadline=None)
def test_only_protocol_errors_escape_from_frames(frames: list[str | bytes]) -> None:
    for talk in (Talk(), Talk(reply=None)):
        for frame in frames:
            try:
                talk.raw(frame)
            except ProtocolError:
                break
        check(talk)


@given(st.lists(STEPS, max_size=25), st.sampled_from([None, (), ("ro", "di")]), st.booleans())
@settings(max_examples=250, deadline=None)
def test_any_order_of_things(steps: list[tuple[str, Any]], devices: Any, greeted: bool) -> None:
    talk = Talk(
        reply=() if greeted else None,
        memory={"_durable": True, "pulse:ro/2_02": {"id": "old"}, "counters": {"di/1_01/counter": 7}},
        carried=[Command("old", "pulse"), Command("older", "ro/2_01", True)],
        devices=devices or (),
    )
    for number, (step, content) in enumerate(steps):
        try:
            take(talk, number, step, content)
        except ProtocolError:
            break
    talk.wait(200)  # nobody hears of Evok again: everything that waits must end, or the connection be given up
    check(talk)
    finals = Counter(reply.id for reply in talk.of(Reply) if reply.outcome.final)
    assert max(finals.values(), default=0) <= 1
    submitted = {f"c{number}" for number, (step, _) in enumerate(steps) if step == "submit"}
    assert finals.keys() <= submitted | {"old", "older"}
    assert submitted & {reply.id for reply in talk.of(Reply)} <= finals.keys() or talk.of(Close)


def take(talk: Talk, number: int, step: str, content: Any) -> None:
    match step:
        case "receive":
            talk.raw(content)
        case "host":
            talk.hear(*host({"dev": "ro", "circuit": "2_01", "value": content}))
        case "submit":
            key, value, args = content
            talk.take(talk.driver.submit(Command(f"c{number}", key, value, args, timeout=8), talk.now))
        case "fence":
            tokens = [fence.token for fence in talk.of(Fence)]
            talk.take(talk.driver.fenced(tokens[-1 - content % len(tokens)], talk.now))
        case "wait":
            talk.wait(content)


def check(talk: Talk) -> None:
    declared: dict[str, str] = {}
    for event in talk.events:
        if isinstance(event, Declared):
            declared = {key: group for key, group in declared.items() if group != event.group}
            for point in event.points:
                assert declared.get(point.key, event.group) == event.group or not point.key
                declared[point.key] = event.group
        elif isinstance(event, Update):
            assert event.key in declared
            assert event.value == event.value  # no NaN
        elif isinstance(event, Send):
            assert json.loads(event.frame)["cmd"] in ("all", "set", "filter")


def test_a_new_driver_wants_nothing() -> None:
    assert Evok(EvokOptions(), {}, []).wake_at is None
