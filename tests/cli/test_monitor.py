"""`monitor`: what any bridge says, as lines and as a table; the picture that both are drawn from."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from rich.console import Console

from bridge.cli.lines import Lines, summary
from bridge.cli.live import Screen, ago, bars, chosen, folded
from bridge.cli.picture import Picture, Point, filters
from bridge.simulators.mqtt_broker import Broker
from tests.cli.running import bridge, ear, ended, read_until, run, start


def picture(*devices: str) -> Picture:
    """A bridge, a device with two points, one of which changes, and a command with its answer."""
    made = Picture("lab2mqtt", devices)
    points = {
        "volts": {"kind": "sensor", "name": "Volts [x]", "unit": "V", "access": "read"},
        "hidden": {"kind": "sensor", "name": "Hidden", "enabled": False, "access": "read"},
        "go": {"kind": "action", "name": "Go", "access": "call"},
    }
    times = {"received": "2026-11-21T10:00:00.000Z", "answered": "2026-11-21T10:00:00.012Z"}
    for now, topic, said in [
        (0.0, "_bridge/gw/status", "online"),
        (0.0, "cell/link", {"bridge": "gw", "state": "connecting", "reason": ""}),
        (0.1, "cell/link", {"bridge": "gw", "state": "ready", "reason": "", "round_trip_ms": 1.25}),
        (0.1, "cell/status", "online"),
        (0.1, "cell/status/left", "online"),
        (0.2, "cell/points", {"group": "", "points": points}),
        (0.3, "cell/state/volts", {"value": 1.5, "unit": "V", "time": "…"}),
        (0.3, "cell/state/hidden", "ON"),
        (1.0, "cell/state/volts", {"value": 2.5, "unit": "V", "time": "…"}),
        (1.1, "cell/state/volts", {"value": 3.5, "unit": "V", "time": "…", "quality": "uncertain"}),
        (1.2, "cell/set/volts", "1"),
        (1.3, "cell/reply/volts", {"outcome": "rejected", "detail": "no", "times": times}),
        (1.4, "cell/event/gap", {"event_type": "gap", "time": "…", "lost": 3}),
        (1.5, "cell/status/left", "offline"),
        (1.6, "other/state/x", "7"),
        (1.7, "cell/call/go", {"args": {}, "id": "id1"}),
        (1.8, "../response/lab2mqtt/send-1", {"id": "id1", "outcome": "done"}),
        (1.8, "../response/lab2mqtt/send-2", {"id": "of another root", "outcome": "failed"}),
    ]:
        whole = topic.removeprefix("../") if topic.startswith("../") else f"lab2mqtt/{topic}"
        made.hear(whole, (said if isinstance(said, str) else json.dumps(said)).encode(), now)
    return made


def test_a_picture_is_put_together_from_what_is_heard() -> None:
    made = picture()
    assert made.bridges == {"gw": "online"}
    cell = made.devices["cell"]
    assert (cell.state, cell.bridge, cell.round_trip, cell.groups) == ("ready", "gw", 1.25, {"left": "offline"})
    volts, hidden = made.points["cell", "volts"], made.points["cell", "hidden"]
    assert (volts.text, volts.changes, volts.changed, list(volts.trail)) == (
        "3.5 V (uncertain)",
        2,
        1.1,
        [1.5, 2.5, 3.5],
    )
    assert (hidden.text, hidden.enabled, hidden.changed) == ("ON", False, None)
    assert ("cell", "go") not in made.points
    assert made.points["other", "x"].value == 7
    assert [happening.text for happening in made.recent] == [
        "bridge gw is online",
        "cell is ready",
        "cell set/volts 1",
        "cell volts: rejected after 12 ms – no",
        "cell gap: lost 3",
        "cell: left is offline",
        'cell call/go {"args": {}, "id": "id1"}',
        "cell go: done",
    ]  # fmt: skip
    assert made.outcomes == {"rejected": 1, "done": 1}
    made.hear("lab2mqtt/cell/state/volts", b"", 2.0)
    assert ("cell", "volts") not in made.points


def test_only_the_devices_asked_for() -> None:
    assert set(picture("other").devices) == {"other"}
    assert "lab2mqtt/other/state/#" in filters("lab2mqtt", ["other"])
    assert not any(topic.startswith("lab2mqtt/+/") for topic in filters("lab2mqtt", ["other"]))
    assert not any(topic.endswith("/+/#") or "/data/" in topic for topic in filters("lab2mqtt"))


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\xfe", b"[", b"[1]", b"null", b'{"value": {"a": 1}}', b"[" * 100_000]
)
@pytest.mark.parametrize(
    "branch", ["state/x", "points", "points/g", "link", "status", "event/x", "job/1", "reply/x"]
)
def test_a_picture_survives_whatever_somebody_publishes(branch: str, payload: bytes) -> None:
    made = Picture("lab2mqtt")
    made.hear(f"lab2mqtt/cell/{branch}", payload, 0.0)
    made.hear(f"lab2mqtt/_bridge/gw/{branch}", payload, 0.0)
    made.hear("lab2mqtt/cell", payload, 0.0)
    made.hear("elsewhere", payload, 0.0)
    assert made.messages == 4


def test_lines_tell_the_last_value_of_each_interval() -> None:
    made, out = Picture("lab2mqtt"), io.StringIO()
    lines = Lines(made, lambda now: now, every=1.0, out=out)
    for now, value in ((0.0, 1), (0.1, 2), (0.2, 3), (0.9, 4), (1.2, 4), (1.3, 5)):
        made.hear("lab2mqtt/cell/state/x", str(value).encode(), now)
        lines.refresh(now)
    lines.close(1.4)
    assert re.findall(r"cell/x = (\d)", out.getvalue()) == ["4", "5"]


def test_lines_leave_out_what_is_not_shown_by_default_and_values_found_at_first() -> None:
    def told(*, everything: bool, first: bool) -> set[str]:
        out = io.StringIO()
        Lines(picture(), lambda now: now, everything=everything, first=first, out=out).close(2.0)
        return set(re.findall(r"(\S+) = ", out.getvalue()))

    assert told(everything=False, first=False) == {"cell/volts"}
    assert told(everything=False, first=True) == {"cell/volts", "other/x"}
    assert told(everything=True, first=True) == {"cell/volts", "cell/hidden", "other/x"}


def test_the_summary() -> None:
    assert summary(picture(), 2.0)[1:] == [
        "devices: cell ready, other ?",
        "points: 3 with a value, 1 of them changed",
        "busiest: cell/volts (2 times)",
        "answers: rejected 1, done 1",
    ]


# --- the table ----------------------------------------------------------------------------------------------


def test_rows_stand_still_and_what_changed_has_one() -> None:
    points = [Point("d", f"p_{n}", heard=True, changed=float(n) if n % 2 else None) for n in range(1, 13)]
    assert [point.key for point in chosen(points, 3)] == ["p_7", "p_9", "p_11"]
    assert [point.key for point in chosen(points, 8)] == [f"p_{n}" for n in (1, 2, 3, 4, 5, 7, 9, 11)]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_commands_that_do_not_fit_a_line_can_still_be_copied(width: int) -> None:
    job = '{"job": {"type": "poga", "parameters": {"bias": 0.5, "duration": 5}, "job_meta": {"name": "sample A"}}}'
    command = f"  mosquitto_pub -h 127.0.0.1 -p 1883 -t lab2mqtt/im7/call/job_start -m '{job}'"
    lines = folded(command, width)
    *words, copied = shlex.split("\n".join(lines).replace("\\\n", ""))
    assert [*words, json.loads(copied)] == [*shlex.split(command)[:-1], json.loads(job)]
    assert width < 60 or max(map(len, lines)) <= width
    assert folded("im7: words for people, whatever their length", width) == [
        "im7: words for people, whatever their length"
    ]


def test_what_does_not_fit_above_the_table_is_told() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, legacy_windows=False)
    Screen(picture(), lambda now: now, "the title", [f"line {n}" for n in range(20)], console=console).refresh(2.0)
    assert "line 6" in out.getvalue()
    assert "line 7" not in out.getvalue()
    assert "… and 13 lines more" in out.getvalue()


def test_bars_and_ages() -> None:
    assert bars([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert (bars([]), bars([2, 2])) == ("", "")
    assert (ago(0.3), ago(42), ago(150), ago(8000)) == ("now", "42 s ago", "2 min ago", "2 h ago")


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (30, 10), (5, 3)])
def test_the_screen_fits_and_is_given_back(width: int, height: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=height, legacy_windows=False)
    screen = Screen(picture(), lambda now: now, "the title", ["try this"], console=console)
    screen.refresh(2.0)
    drawn = console.render_lines(screen.drawn(2.0, height))
    assert len(drawn) <= max(height, 12)
    assert all(sum(segment.cell_length for segment in line) == width for line in drawn)
    if width < 100:
        assert "name" not in out.getvalue()
    else:
        assert "Volts [x]" in out.getvalue()
        assert "Hidden" not in out.getvalue()
    screen.close(3.0)
    assert out.getvalue().endswith("\x1b[?25h\x1b[?1049l")


# --- the command --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_it_watches_a_bridge_through_its_broker(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    async with bridge() as running:
        file.write_text(running.configuration)
        process = await start("monitor", "-c", str(file), "unipi")
        told = await read_until(process, "unipi/do/1_01 = OFF")
        running.ear.mqtt.publish("lab2mqtt/unipi/set/do/1_01", b"ON")
        told += await read_until(process, "unipi/do/1_01 = ON")
        before = len(running.ear.heard)
        process.send_signal(signal.SIGTERM)
        found = await ended(process)
        assert not [m for m in running.ear.heard[before:] if m.topic.startswith("lab2mqtt/unipi/set")]
    assert (found.code, found.err) == (0, "")
    assert re.search(r"^[\d:.]{12} link: unipi is ready$", told, re.MULTILINE)
    assert re.search(r"command: unipi set/do/1_01 ON\n.*answer: unipi do/1_01: done after \d+ ms", told)
    assert "heard in" in found.out


@pytest.mark.asyncio
async def test_it_ends_in_time_and_sees_nothing_of_other_roots() -> None:
    async with Broker() as broker, ear(broker.port, "#") as other:
        other.mqtt.publish("elsewhere/cell/state/x", b"1", 1, True)
        other.mqtt.publish("lab2mqtt/cell/state/x", b"2", 1, True)
        await other.until("lab2mqtt/cell/state/x")
        found = await run(
            "monitor", "--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--root", "elsewhere", "--for", "1"
        )
    assert (found.code, found.err) == (0, "")
    assert re.findall(r"cell/x = (\d)", found.out) == ["1"]


@pytest.mark.asyncio
async def test_a_broker_that_was_never_there_and_one_that_comes_back() -> None:
    broker = Broker()
    async with broker, ear(broker.port, "#") as other:
        other.mqtt.publish("lab2mqtt/cell/state/x", b"1", 1, True)
        await other.until("lab2mqtt/cell/state/x")
        process = await start("monitor", "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
        await read_until(process, "cell/x = 1")
    told = await read_until(process, "no connection with the broker")
    assert "Traceback" not in told
    absent = await run("monitor", "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
    assert absent.code == 15
    assert len(absent.err.splitlines()) == 1
    async with Broker(port=broker.port):
        await asyncio.wait_for(read_until(process, "connected with the broker again"), 10)
    process.send_signal(signal.SIGINT)
    assert (await ended(process)).code == 0
