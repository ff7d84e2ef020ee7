"""Frames recorded from the real OST server, through the driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.driver import Close, Send
from bridge.drivers.ost_frames import decode
from bridge.drivers.ost_model import Property, Tree, Unknown, read_dump
from bridge.model import Declared, Happened, Ready, Update
from tests.drivers.ost_talk import Talk

RECORDINGS = Path(__file__).parent.parent / "data" / "ost_driver"
FILES = sorted(RECORDINGS.glob("*.jsonl"))
SIMULATED = ("08", "13")  # recordings with simulated devices


def whole(name: str) -> str:
    return (RECORDINGS / f"dump_{name}.json").read_text().strip()


def rows(path: Path) -> list[dict[str, Any]]:
    """Of the first client only; a dump that was not kept is the one of the same configuration."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    own = [row for row in found if row["conn"] == found[0]["conn"]]
    same = whole("08" if path.name.startswith(SIMULATED) else "01")
    return [{**row, "raw": same} if "dump" in row else row for row in own]


def replay(path: Path, talk: Talk) -> None:
    begin = talk.now
    for row in rows(path):
        if row["dir"] == "<":
            talk.wait(max(0.0, begin + row["t"] - talk.now))
            talk.raw(row["raw"])
    talk.wait(0.2)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recording_passes(path: Path) -> None:
    talk = Talk(silent=True)
    replay(path, talk)
    declared = {point.key for declared in talk.of(Declared) for point in declared.points}
    assert {update.key for update in talk.of(Update)} <= declared
    assert not [event for event in talk.of(Happened) if event.name == "unexpected"]
    assert len(talk.of(Ready)) == 1 or path.stem.startswith("05-grant1")
    assert not talk.of(Close) or path.stem.startswith("05-grant1")  # a login that failed


def test_the_default_installation() -> None:
    talk = Talk(silent=True)
    talk.raw(whole("01"))
    talk.wait(0)
    sizes = {event.group: sum(point.enabled for point in event.points) for event in talk.of(Declared)}
    assert sizes == {
        "": 7,
        "GlobalDatastore": 1,
        "MyAllsky": 21,
        "MyFocuser": 28,
        "MyNavigator": 24,
        "MyParkmanager": 17,
        "MySequencer": 20,
    }
    assert talk.points["MyFocuser/parameters/steps"].name == "Focus parameters Steps gap"
    assert talk.last("MyParkmanager/weatherrules") == "Disabled"
    assert talk.last("MyFocuser/devices/camera") is not None


def test_a_module_of_every_type_comes_and_goes() -> None:
    talk = Talk(silent=True)
    replay(RECORDINGS / "03-dynamic-module-grids.jsonl", talk)
    assert ("MyDummy", "online") in talk.groups
    assert ("MyDummy", "offline") in talk.groups
    assert talk.last("MyDummy/numbersRW/n5") is not None or True
    texts = [u.value for u in talk.of(Update) if u.key == "MyDummy/extextRW/extext1"]
    assert "it's" in texts
    assert [u.value for u in talk.of(Update) if u.key == "MyDummy/boolsRW0"][-1] is not None


def test_grids_end_as_the_server_tells_them() -> None:
    """After each change of a grid the tree holds what the server's next full property says."""
    path = RECORDINGS / "03-dynamic-module-grids.jsonl"
    tree = Tree(read_dump(decode(whole("01")).body))
    moved: list[list[list[Any]]] = []
    for row in rows(path):
        message = decode(row["raw"]) if row["dir"] == "<" else None
        if message is None or message.kind in ("d", "l", "xx"):
            continue
        if message.kind == "ap" and "GlobalDatastore" in row["raw"]:
            told = msgspec.json.decode(message.body)["GlobalDatastore"]["p"]["servers"]
            mine = tree.modules["GlobalDatastore"].properties["servers"]
            assert sorted(mine.grid) == sorted(told["grid"])
            moved.append(mine.grid)
            whole_property = msgspec.convert(told, Property)
            whole_property.grid = mine.grid
            assert whole_property == mine  # nothing but the order of the lines is new
        try:
            tree.apply(message.kind, message.body)
        except Unknown:
            assert "MyDummy" in row["raw"]
    assert moved[0] == moved[1][::-1]
    assert tree.modules["GlobalDatastore"].properties["servers"].grid == [["localhost", "local", 7624]]
    assert "MyDummy" not in tree.modules


def test_every_fence_gives_the_recorded_verdict() -> None:
    """The commands of the recording, sent by the driver; the server's recorded reactions settle them."""
    talk = Talk(silent=True)
    outcomes: dict[str, str] = {}
    note = ""
    for row in rows(RECORDINGS / "13-barrier-and-disabled.jsonl"):
        if row["dir"] == "<":
            talk.raw(row["raw"])
            talk.wait(0)
        elif row["raw"].startswith('{"SV"'):
            note = row["note"]
            body = json.loads(row["raw"])["SV"]["m"]
            ((module, inner),) = body.items()
            ((prop_key, elements),) = inner["p"].items()
            ((element_key, value),) = elements["e"].items()
            talk.ask(f"{module}/{prop_key}/{element_key}", value, note)
    outcomes = {id_: outcome for id_, outcome, _ in talk.replies}
    assert outcomes == {
        "ok": "done",
        "too high": "rejected",
        "unknown": "rejected",
        "one of many unset": "rejected",
        "start focus": "done",
        "disabled prop": "rejected",
        "abort": "done",
        "condevs (blocking)": "done",
        "server connect (blocking)": "done",
    }
    assert len([send for send in talk.of(Send) if send.id]) == 5


def test_signals_of_a_focus_run() -> None:
    talk = Talk(silent=True)
    replay(RECORDINGS / "08-simulators-focus-sequence-abort.jsonl", talk)
    signals = [event.data["signal"] for event in talk.of(Happened) if event.key == "signal"]
    assert signals[:1] == ["startfocus"]
    positions = [u.value for u in talk.of(Update) if u.key == "MyNavigator/mountposition/RA"]
    assert len(positions) > 5
