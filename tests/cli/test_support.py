"""`support`: all that helps is in the archive, and nothing that is secret."""

from __future__ import annotations

import json
import tarfile
from base64 import b64encode
from pathlib import Path

import pytest

from bridge.simulators.mqtt_broker import Broker
from tests.cli.running import bridge, ear, run

SECRETS = (
    "planted-mqtt",
    'plánted-"device"',
    "planted-header",
    "planted-query",
    "planted-preset",
    "planted-token",
)


def configuration(port: int, url: str = "ws://127.0.0.1:9") -> str:
    """Secrets wherever a configuration can have some."""
    return f"""
[bridge]
id = "gw"
[mqtt]
host = "127.0.0.1"
port = {port}
username = "gateway"
password = "planted-mqtt"
[devices.unipi]
driver = "evok"
url = "{url}/ws?key=planted-query"
username = "me"
password = 'plánted-"device"'
open_timeout = 1.0
headers = {{ "X-Own" = "planted-header" }}
[devices.unipi.presets.login]
action = "evok_set"
args = {{ password = "planted-preset" }}
[devices.second]
driver = "evok"
url = "ws://127.0.0.1:9"
enabled = false
token = "planted-token"
"""


def archive(file: Path) -> dict[str, str]:
    """The texts by their names in the archive's folder."""
    with tarfile.open(file) as found:
        members = {member.name.partition("/")[2]: found.extractfile(member) for member in found.getmembers()}
        return {name: text.read().decode() for name, text in members.items() if text is not None}


@pytest.mark.asyncio
async def test_no_secret_is_in_it(tmp_path: Path) -> None:
    file, output = tmp_path / "lab2mqtt.toml", tmp_path / "support.tar.gz"
    basic = b64encode(b"gateway:planted-mqtt").decode()
    log, recording = tmp_path / "log", tmp_path / "r.jsonl"
    written = [
        *SECRETS,
        *(json.dumps({"said": secret}) for secret in SECRETS),
        f"Authorization: Basic {basic}",
        basic,
    ]
    log.write_text("\n".join(["the first line", *written, '{"api_key": "planted-unknown"}']))
    recording.write_text(
        "\n".join(json.dumps({"t": 1, "dir": "<", "kind": "text", "data": text}) for text in written)
    )
    async with Broker() as broker, ear(broker.port) as listening:
        file.write_text(configuration(broker.port))
        link = {"bridge": "gw", "state": "offline", "reason": " and ".join(SECRETS), "token": "planted-unknown"}
        listening.mqtt.publish("lab2mqtt/unipi/link", json.dumps(link).encode(), 1, True)
        await listening.until("lab2mqtt/unipi/link")
        options = ("--log", str(log), "--recording", str(recording), "--wait", "1")
        done = await run("support", "-c", str(file), "-o", str(output), *options)
        again = await run("support", "-c", str(file), "-o", str(output))
    assert done.code == 0, done.err
    assert (again.code, "exists already" in again.err) == (64, True)
    found = archive(output)
    assert set(found) == {
        "versions.json",
        "configuration.toml",
        "doctor.json",
        "retained.json",
        "log.txt",
        "recordings/r.jsonl",
    }
    for name, text in {**found, "printed": done.out + done.err}.items():
        assert "planted" not in text, name
        assert "plánted" not in text, name
        assert "nted-" not in text, name
        assert basic not in text, name
    assert all(name in done.out for name in found)
    assert "the first line" in found["log.txt"]
    assert found["recordings/r.jsonl"].count("\n") == len(written)
    assert 'username = "me"' in found["configuration.toml"]
    assert output.stat().st_mode & 0o077 == 0


@pytest.mark.asyncio
async def test_what_helps_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    async with bridge() as running:
        file.write_text(running.configuration)
        for name, options in (("small", ()), ("large", ("--states",))):
            done = await run("support", "-c", str(file), "-o", str(tmp_path / name), *options)
            assert done.code == 0, done.err
    small, large = archive(tmp_path / "small"), archive(tmp_path / "large")
    findings = {finding["id"] for finding in json.loads(small["doctor.json"])}
    assert {"bridge.online", "device.held"} <= findings
    kept, all_kept = json.loads(small["retained.json"]), json.loads(large["retained.json"])
    assert kept["lab2mqtt/unipi/link"]["state"] == "ready"
    assert {"lab2mqtt/_bridge/gw/health", "lab2mqtt/_bridge/gw/info", "lab2mqtt/unipi/status"} <= kept.keys()
    assert any(topic.startswith("lab2mqtt/unipi/points") for topic in kept)
    assert not any("/state/" in topic for topic in kept)
    assert any("/state/" in topic for topic in all_kept)
    versions = json.loads(small["versions.json"])
    assert {"lab2mqtt", "python", "system", "openssl"} <= versions.keys()
    assert "websockets" in versions["packages"]
    assert "evok" in versions["drivers"]


@pytest.mark.asyncio
async def test_without_broker_or_configuration_there_is_the_rest(tmp_path: Path) -> None:
    file, log = tmp_path / "lab2mqtt.toml", tmp_path / "log"
    file.write_text(configuration(9))
    log.write_text("planted-mqtt")
    done = await run("support", "-c", str(file), "-o", str(tmp_path / "away"), "--wait", "1")
    assert done.code == 0, done.err
    away = archive(tmp_path / "away")
    assert "connection refused" in away["retained.json"]
    file.write_text(configuration(9).replace('driver = "evok"', 'driver = "evik"'))
    done = await run("support", "-c", str(file), "-o", str(tmp_path / "wrong"), "--log", str(log))
    assert done.code == 0, done.err
    wrong = archive(tmp_path / "wrong")
    assert "evik" in wrong["configuration.txt"]
    assert "left out" in wrong["log.txt"]
    assert not any("nted-" in text for text in wrong.values())
