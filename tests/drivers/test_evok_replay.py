"""Frames recorded from the real Evok, through the driver."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bridge.driver import ProtocolError
from bridge.model import Condition, Declared, Happened, Ready, Reply, Update
from tests.drivers.evok_talk import Talk

RECORDINGS = Path(__file__).parent.parent / "data" / "evok_driver"
FILES = sorted(RECORDINGS.glob("*.jsonl"))


def frames(path: Path) -> list[tuple[float, str]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["t"], row["text"]) for row in rows if row["dir"] == "rx"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recording_passes_after_the_greeting(path: Path) -> None:
    talk = Talk(reply=None)
    (_, whole), *_ = frames(FILES[0])
    talk.raw(whole)
    begin = talk.now
    for moment, frame in frames(path):
        talk.wait(max(0.0, begin + moment - talk.now))
        talk.raw(frame.encode())
    declared = {point.key for declared in talk.of(Declared) for point in declared.points}
    assert {update.key for update in talk.of(Update)} <= declared
    assert not talk.of(Happened)
    assert not talk.of(Reply)
    assert not talk.of(Condition)
    assert len(talk.of(Ready)) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recording_passes_without_one(path: Path) -> None:
    talk = Talk(reply=None)
    talk.pass_fence()
    try:
        for _, frame in frames(path):
            talk.raw(frame)
    except ProtocolError as error:
        pytest.fail(str(error))
    talk.wait(1.5)
    assert len(talk.of(Ready)) == 1


def test_the_whole_unit() -> None:
    talk = Talk(reply=None)
    ((_, whole),) = frames(RECORDINGS / "01_connect_silence_then_all.jsonl")
    talk.raw(whole)
    sizes = {declared.group: len(declared.points) for declared in talk.of(Declared)}
    assert sizes == {"": 23, "1": 70, "2": 45, "IAQ": 11, "xS11": 80, "xS51": 72}
    kinds = Counter(key.partition("/")[0] for key in talk.points if key.count("/") == 1)
    assert kinds == {
        "di": 24,
        "do": 4,
        "ro": 23,
        "led": 7,
        "ai": 9,
        "ao": 9,
        "wd": 4,
        "register": 48,
        "data_point": 11,
        "temp": 1,
        "modbus_slave": 5,
        "owpower": 1,
        "nv_save": 1,
    }


def test_what_the_inputs_did() -> None:
    talk = Talk(reply=None)
    ((_, whole),) = frames(RECORDINGS / "01_connect_silence_then_all.jsonl")
    talk.raw(whole)
    seen = len(talk.events)
    for _, frame in frames(RECORDINGS / "02_di_events.jsonl"):
        talk.raw(frame)
    updates = [(update.key, update.value) for update in talk.of(Update, talk.events[seen:])]
    assert [value for key, value in updates if key == "di/1_01"] == [True, False, True, False]
    short = [(key, value) for key, value in updates if key.startswith("di/1_04")]
    assert short == [("di/1_04", False), ("di/1_04/counter", 1)]  # a pulse shorter than a scan


def test_the_flood_of_nan_and_infinity() -> None:
    talk = Talk(reply=None)
    ((_, whole),) = frames(RECORDINGS / "01_connect_silence_then_all.jsonl")
    talk.raw(whole)
    for _, frame in frames(RECORDINGS / "05_modes_ai_ao_di.jsonl"):
        talk.raw(frame)
    values = [update.value for update in talk.of(Update) if update.key == "ai/2_02"]
    assert values[-5:] == [None, None, None, None, 1.5]


SEED = (
    '[{"dev": "ai", "circuit": "2_01", "value": 132798232.0, "unit": "Ohm", "glob_dev_id": 3, '
    '"mode": "Resistance2W", "modes": {"Disabled": {"value": 0}, '
    '"Resistance2W": {"value": 5, "unit": "Ohm", "range": [0, 100000]}}, "range": [0, 100000]}]',
    '[{"dev": "ai", "circuit": "3_01", "value": -0.0, "unit": "V", "glob_dev_id": 4, "mode": "Voltage10", '
    '"modes": {"Voltage10": {"value": 1, "unit": "V", "range": [0, 10]}}, "range": [0, 10]}]',
    '[{"dev": "do", "circuit": "1_01", "value": 1, "pending": false, "mode": "Simple", '
    '"modes": ["Simple", "PWM"], "glob_dev_id": 2, "pwm_freq": 4800.0, "pwm_duty": 0}]',
    '[{"dev": "ao", "circuit": "2_03", "mode": "Voltage", '
    '"modes": {"Voltage": {"unit": "V", "range": [0, 10]}}, "glob_dev_id": 3, "value": 5.9, "unit": "V", '
    '"range": [0, 10]}]',
)


def test_frames_of_the_published_documentation() -> None:
    talk = Talk()
    for frame in SEED:
        talk.raw(frame)
    shown = {update.key: (update.value, update.quality.value) for update in talk.of(Update)}
    assert shown["ai/2_01"] == (132798232.0, "uncertain")
    assert shown["ai/3_01"] == (0.0, "good")
    assert shown["do/1_01"] == (True, "good")
    assert shown["ao/2_03"] == (5.9, "good")
