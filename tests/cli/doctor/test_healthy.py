"""A healthy set-up gives no false alarm, with and without a daemon; the doctor disturbs nobody."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest

from bridge.app import Daemon
from bridge.cli.doctor.findings import Verdict
from bridge.settings import load
from tests.cli.doctor.patient import diagnosed, embedded, instruments, text, troubles
from tests.cli.running import ear, run

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_no_false_alarm(tmp_path: Path, protocol: str) -> None:
    async with embedded() as port, instruments() as urls:
        state = f'state_dir = "{tmp_path}/state"'
        found = await diagnosed(tmp_path, text(port, urls, bridge=state, broker=f'protocol = "{protocol}"'))
    assert troubles(found) == {}
    ids = [finding.id for finding in found]
    assert ids.count("device.ok") == 3
    assert ids.count("device.unproved") == 1  # INSPECT says nothing until it is commanded
    assert {"broker.ok", "rights.ok", "state.ok", "bridge.offline"} <= set(ids)
    assert not (tmp_path / "state").exists()


async def test_beside_a_running_daemon_nothing_is_disturbed(tmp_path: Path) -> None:
    async with embedded() as port, instruments("evok", "ost") as urls, ear(port) as listening:
        configuration = text(port, urls)
        (tmp_path / "daemon.toml").write_text(configuration)
        daemon = asyncio.create_task(Daemon(load(tmp_path / "daemon.toml", environ={})).run())
        try:
            for topic in ("evok/status", "ost/status", "_bridge/gw/status"):
                await listening.until(f"lab2mqtt/{topic}", "online")
            before = len(listening.heard)
            found = await diagnosed(tmp_path, configuration)
        finally:
            daemon.cancel()
            with suppress(asyncio.CancelledError):
                await daemon
        stopped = next(i for i, m in enumerate(listening.heard) if i > before and m.payload == b"offline")
        during = listening.heard[before:stopped]
    assert troubles(found) == {}
    assert [finding.id for finding in found].count("device.held") == 2
    assert "bridge.online" in [finding.id for finding in found]
    assert not [m for m in during if m.topic.endswith("/status")]  # nobody went, nobody came
    assert not [m for m in during if "/set/" in m.topic or "/call/" in m.topic or "/refused" in m.topic]


async def test_the_command_itself(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    async with embedded() as port, instruments("evok", "im7") as urls:
        file.write_text(text(port, urls))
        shown = await run("doctor", "-c", str(file))
        listed = await run("doctor", "-c", str(file), "--json", "--device", "evok")
        unknown = await run("doctor", "-c", str(file), "--device", "nobody")
    assert (shown.code, shown.err) == (0, "")
    assert "Evok answers" in shown.out
    assert all(len(line) <= 110 for line in shown.out.splitlines())
    findings = json.loads(listed.out)
    assert {finding["subject"] for finding in findings if "device" in finding["subject"]} == {"device evok"}
    assert all(set(finding) == {"id", "verdict", "subject", "says"} for finding in findings)
    assert {finding["verdict"] for finding in findings} <= set(Verdict)
    assert unknown.code == 64
    assert "it has: evok, im7" in unknown.err


async def test_a_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    file.write_text(text(1883, {"evok": "ws://127.0.0.1/ws"}).replace("host =", "hots ="))
    typo = await run("doctor", "-c", str(file), "--json")
    file.write_text(text(1883))
    secrets = await run("doctor", "-c", str(file), "--secrets", str(tmp_path / "nowhere"))
    missing = await run("doctor", "-c", str(tmp_path / "nowhere.toml"))
    for ended in (typo, secrets, missing):
        assert (ended.code, ended.err) == (78, "")
    (finding,) = json.loads(typo.out)
    assert (finding["id"], finding["verdict"]) == ("configuration.invalid", "fault")
    assert "mqtt.hots" in finding["says"]
    assert "host" in finding["says"]
    assert "no such directory of secrets" in " ".join(secrets.out.split())
    assert "[configuration.invalid]" in missing.out
