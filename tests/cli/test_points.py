"""`points`: the same list from the device and from the broker, as a table and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge.cli.asking import Known, known
from bridge.cli.points import table
from tests.cli.running import bridge, run, scripted

pytestmark = pytest.mark.asyncio


async def test_the_device_and_the_bridge_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    async with bridge() as running:
        file.write_text(running.configuration)
        device = await run("points", "-c", str(file), "unipi", "--json")
        broker = await run("points", "unipi", "-c", str(file), "--mqtt", "--json")
        url = await run("points", "unipi", "--mqtt", running.url, "--json")
        printed = await run("points", "-c", str(file), "unipi")
        assert len(running.server.connections) == 1  # the bridge's own: ours is closed again
    assert [found.code for found in (device, broker, url, printed)] == [0] * 4
    assert [found.err for found in (device, broker, url, printed)] == [""] * 4
    points = json.loads(device.out)
    assert points == json.loads(broker.out) == json.loads(url.out)
    assert points["do/1_01"] == {"kind": "switch", "name": "DO 1.01", "access": "write", "group": "1"}
    assert points["pulse"]["access"] == "call"

    lines = printed.out.splitlines()
    assert "# group 1: L533 board 1" in lines
    assert re.search(r"^do/1_01 +switch +write +DO 1\.01$", printed.out, re.MULTILINE)
    assert re.search(r"^ao/1_01 +number +write +AO 1\.01 +0 to 10 V$", printed.out, re.MULTILINE)
    assert re.search(r"^pulse +action +call +Pulse +point:point, seconds:number$", printed.out, re.MULTILINE)
    listed = {line.split()[0] for line in lines if line and not line.startswith("#")}
    assert listed == points.keys()


async def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    async with bridge() as running:
        file.write_text(running.configuration)
        running.server.faults.silence()
        silent = await run("points", "-c", str(file), "unipi", "--wait", "0.5")
        running.server.faults.refuse(None)
        refused = await run("points", "-c", str(file), "unipi")
    for found in (silent, refused):
        assert (found.code, found.out) == (13, "")
        assert found.err.startswith("lab2mqtt: unipi is not available: ")
        assert len(found.err.splitlines()) == 1


async def test_nobody_who_could_say(tmp_path: Path) -> None:
    async with scripted([]) as url:
        unheard_of = await run("points", "nobody", "--mqtt", url)
    gone = await run("points", "cell", "--mqtt", url)
    file = tmp_path / "lab2mqtt.toml"
    file.write_text('[bridge]\nid = "gw"\n')
    unconfigured = await run("points", "-c", str(file), "cell")
    flagged = await run("points", "--mqtt", "cell")
    nowhere = await run("points", "cell")
    assert [found.code for found in (unheard_of, gone, unconfigured, flagged, nowhere)] == [15, 15, 64, 64, 64]
    assert "DEVICE comes before --mqtt" in flagged.err
    assert "give the configuration with -c FILE" in nowhere.err


async def test_the_table_says_what_a_point_takes() -> None:
    document = {
        "group": "camera",
        "name": "The camera",
        "points": {
            "exposure": {"kind": "number", "access": "write", "name": "Exposure", "minimum": 0.001, "unit": "s"},
            "mode": {"kind": "choice", "access": "write", "name": "Mode", "choices": ["bright", "dark"]},
            "reset": {"kind": "action", "access": "denied", "name": "Reset", "dangerous": True},
            "go": {
                "kind": "action",
                "access": "call",
                "name": "Go",
                "arguments": [{"name": "to", "type": "number", "required": True}, {"name": "note"}],
            },
        },
    }
    assert table(known("gw", {"lab2mqtt/dome/points/camera": json.dumps(document).encode()})) == [
        "# group camera: The camera",
        "exposure  number              write   Exposure  0.001 to … s",
        "mode      choice              write   Mode      bright | dark",
        "reset     action (dangerous)  denied  Reset",
        "go        action              call    Go        to:number, [note:text]",
    ]
    assert table(Known("gw")) == ["no points"]
