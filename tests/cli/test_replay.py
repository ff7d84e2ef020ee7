"""`replay`: a recording on a port, and at the end how it went."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from bridge.cli.main import main
from tests.cli.running import ended, read_until, start


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two connections; in each one answer to `hello`."""
    file = tmp_path / "r.jsonl"
    lines = [
        {"t": conn, "dir": direction, "kind": "text", "data": data, "conn": conn}
        for conn in (1, 2)
        for direction, data in ((">", "hello"), ("<", f"I am {conn}"))
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


async def replayed(*words: str, say: str = "hello") -> tuple[list[str], str]:
    """What two clients get who say this, and what the command tells at its end."""
    process = await start("replay", *words)
    line = await read_until(process, "the recorded device is at")
    url, heard = line.split()[5], []
    for _ in range(2):
        async with connect(f"{url}/any/path") as client:
            await client.send("hello")
            heard.append(str(await client.recv()))
            await client.send(say)
            await asyncio.wait_for(await client.ping(), 5.0)
    process.send_signal(signal.SIGINT)
    done = await ended(process)
    assert done.code == 0, done.err
    return heard, done.out


@pytest.mark.asyncio
async def test_each_client_gets_the_next_connection(recording: Path) -> None:
    heard, told = await replayed(str(recording), say="who are you?")
    assert heard == ["I am 1", "I am 2"]
    assert "played to 2 clients" in told
    assert "2 frames of the client were not in the recording: 'who are you?', 'who are you?'" in told


@pytest.mark.asyncio
async def test_one_connection_only(recording: Path) -> None:
    heard, told = await replayed(str(recording), "--connection", "2")
    assert heard == ["I am 2", "I am 2"]
    assert "not in the recording" not in told


@pytest.mark.parametrize(
    ("text", "words", "why"),
    [
        ("", [], "no connection in it"),
        ("nonsense", [], "line 1 is none of a transcript"),
        (None, [], "No such file"),
        ('{"t":0,"dir":"<","kind":"text","data":"x"}', ["--connection", "2"], "there are: 1"),
        ('{"t":0,"dir":"<","kind":"text","data":"x"}', ["--speed", "0"], "above 0"),
    ],
)
def test_wrong_use(
    text: str | None, words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["replay", str(file), *words])
    assert end.value.code == 64
    assert why in capsys.readouterr().err
