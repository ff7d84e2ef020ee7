"""`cleanup`: what it lists, what it clears, and what it never touches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Bridge, Ended, bridge, run

LEFT = {
    "lab2mqtt/old/link": b'{"bridge": "gw", "state": "offline"}',
    "lab2mqtt/old/state/x": b"1",
    "lab2mqtt/unipi/state/ghost": b"1",
}
COMMAND = "lab2mqtt/unipi/set/ro/2_01"
FOREIGN = {
    "lab2mqtt/foreign/state/x": b"1",
    "lab2mqtt/other/link": b'{"bridge": "elsewhere"}',
    "lab2mqtt/_bridge/link": b'{"bridge": "gw"}',
}


async def cleanup(running: Bridge, tmp_path: Path, *options: str) -> Ended:
    path = tmp_path / "lab2mqtt.toml"
    path.write_text(running.configuration)
    return await run("cleanup", "-c", str(path), *options)


def listed(ended: Ended) -> set[str]:
    found: list[dict[str, Any]] = json.loads(ended.out)["found"]
    return {topic for group in found for topic in group["topics"]}


@pytest.mark.asyncio
async def test_it_lists_then_clears_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    async with bridge() as running:
        for topic, payload in (LEFT | FOREIGN).items():
            running.ear.mqtt.publish(topic, payload, 1, retain=True)
        running.ear.mqtt.publish(COMMAND, b"1", 1, retain=True)
        await running.ear.until("lab2mqtt/_bridge/gw/event/refused", COMMAND)

        mark = len(running.ear.heard)
        dry = await cleanup(running, tmp_path, "--dry-run", "--json")
        assert (dry.code, listed(dry), dry.err) == (0, {*LEFT, COMMAND}, "")
        assert not [m.topic for m in running.ear.heard[mark:] if m.retain and not m.payload]

        done = await cleanup(running, tmp_path)
        assert (done.code, done.out.splitlines()[-1]) == (0, "3 topics cleared")
        cleared = [m.topic for m in running.ear.heard[mark:] if m.retain and not m.payload]
        assert set(cleared) == LEFT.keys()
        assert cleared.index("lab2mqtt/old/link") > cleared.index("lab2mqtt/old/state/x")

        again = await cleanup(running, tmp_path, "--commands")
        assert again.out.splitlines()[-1] == "1 topic cleared"
        assert (await cleanup(running, tmp_path)).out == "0 topics cleared\n"


@pytest.mark.asyncio
async def test_a_device_that_the_running_bridge_has_stays_though_the_file_lost_it(tmp_path: Path) -> None:
    async with bridge() as running:
        path = tmp_path / "lab2mqtt.toml"
        path.write_text(running.configuration.partition("[devices")[0])
        ended = await run("cleanup", "-c", str(path), "--dry-run", "--json")
        assert (ended.code, listed(ended)) == (0, set())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prefix", "homeassistant"], "is the prefix of the configuration"),
        (["--bridge", "gw"], "is the bridge of the configuration"),
        (["--bridge", "never"], "there is nothing of a bridge never"),
        (["--bridge", "+"], "no configuration can have '+'"),
        (["--bridge", "#"], "no configuration can have '#'"),
        (["--bridge", ""], "no configuration can have ''"),
        (["--prefix", "#"], "no configuration can have '#'"),
        (["--prefix", "home/+"], "no configuration can have 'home/+'"),
    ],
)
async def test_wrong_use(tmp_path: Path, options: list[str], words: str) -> None:
    async with bridge() as running:
        ended = await cleanup(running, tmp_path, *options)
        assert ended.code == 64
        assert words in ended.err


@pytest.mark.asyncio
async def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "lab2mqtt.toml"
    path.write_text('[bridge]\nid = "gw"\n[mqtt]\nhost = "127.0.0.1"\nport = 9\n')
    assert (await run("cleanup", "-c", str(path))).code == 15
