"""The doctor and a real mosquitto: what it refuses is named, and under the printed rules nothing is refused."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.cli.acl import bridge_role, mosquitto, others
from bridge.cli.doctor.findings import Finding
from bridge.settings import load
from tests.cli.doctor.patient import diagnosed, instruments, text, troubles
from tests.system.mosquitto import Mosquitto, free_port
from tests.system.observer import Observer
from tests.system.processes import Daemon, Evok, configuration, waited

pytestmark = pytest.mark.usefixtures("mosquitto_installed")

USER = 'username = "gw"'
OWN = ("topic readwrite lab2mqtt/_bridge/gw/#", "topic read lab2mqtt/_bridge/+/status", "topic write response/#")
HOME = ("topic write homeassistant/device/+/config", "topic read homeassistant/status")
DEVICE = "topic readwrite lab2mqtt/evok/#"


def rules(folder: Path, *lines: str) -> list[str]:
    file = folder / "acl"
    file.write_text("\n".join(["user gw", *lines]) + "\n")
    return [f"acl_file {file}"]


def found_with(folder: Path, config: Sequence[str], broker: str = USER) -> list[Finding]:
    """What the doctor finds with a mosquitto of this configuration and a simulated Evok."""

    async def examined(port: int) -> list[Finding]:
        async with instruments("evok") as urls:
            return await diagnosed(folder, text(port, urls, broker=broker))

    with Mosquitto(folder, config) as running:
        return asyncio.run(examined(running.port))


@pytest.mark.parametrize(
    ("lines", "id_", "words"),
    [
        ((*HOME, DEVICE, *OWN[1:]), "rights.write", "lab2mqtt/_bridge/gw/canary"),
        ((*HOME, DEVICE, "topic write lab2mqtt/_bridge/gw/#", *OWN[1:]), "rights.canary", "read and write"),
        ((*HOME, *OWN), "rights.write", "lab2mqtt/evok/reply/_doctor"),
        ((*HOME, *OWN, "topic write lab2mqtt/evok/#"), "rights.read", "lab2mqtt/evok/set/_doctor"),
        ((HOME[1], *OWN, DEVICE), "rights.discovery", "homeassistant/device/+/config"),
        ((*HOME, *OWN[:2], DEVICE), "rights.answers", "response/#"),
    ],
    ids=[
        "nothing-of-its-own",
        "canary-not-read",
        "device-not-written",
        "commands-not-read",
        "discovery",
        "answers",
    ],
)
def test_rules_that_are_too_tight(lines: Sequence[str], id_: str, words: str, tmp_path: Path) -> None:
    found = troubles(found_with(tmp_path, rules(tmp_path, *lines)))
    assert id_ in found
    assert words in found[id_]
    assert re.search("let (this user|it) (read|write)", found[id_])
    assert list(found) == [id_]


def test_a_wrong_password(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(passwords), "gw", "right"], check=True, capture_output=True)
    config = [f"password_file {passwords}"]
    assert troubles(found_with(tmp_path, config, f'{USER}\npassword = "right"')) == {}
    wrong = troubles(found_with(tmp_path, config, f'{USER}\npassword = "wrong"'))
    old = troubles(found_with(tmp_path, config, f'{USER}\npassword = "wrong"\nprotocol = "3.1.1"'))
    for found in (wrong, old):
        assert list(found) == ["broker.password"]
        assert "correct mqtt.username, and the password" in found["broker.password"]


@pytest.mark.parametrize(
    ("line", "id_", "words"),
    [
        ("retain_available false", "limits.retain", "retain_available true"),
        ("max_qos 0", "limits.qos", "max_qos 1"),
        ("max_packet_size 20000", "limits.packet", "max_packet_size"),
    ],
)
def test_a_broker_with_limits(line: str, id_: str, words: str, tmp_path: Path) -> None:
    found = troubles(found_with(tmp_path, [line]))
    assert list(found) == [id_]
    assert words in found[id_]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_no_false_alarm_under_the_printed_rules(protocol: str, tmp_path: Path) -> None:
    async def examined(port: int) -> list[Finding]:
        async with instruments() as urls:
            return await diagnosed(tmp_path, text(port, urls, broker=f'{USER}\nprotocol = "{protocol}"'))

    file = tmp_path / "for-acl.toml"
    file.write_text(text(1883, dict.fromkeys(("evok", "im7", "ost", "zeiss_inspect"), "ws://127.0.0.1")))
    settings = load(file, environ={})
    (tmp_path / "acl").write_text("\n".join(mosquitto(settings, [bridge_role(settings, "gw")])) + "\n")
    with Mosquitto(tmp_path, [f"acl_file {tmp_path / 'acl'}", "log_type all"]) as broker:
        found = asyncio.run(examined(broker.port))
        broker.stop()  # its log is complete only then
    assert "Sending CONNACK to lab2mqtt-doctor" in broker.log
    assert "Denied PUBLISH" not in broker.log
    assert troubles(found) == {}
    assert "rights.ok" in [finding.id for finding in found]


def test_two_daemons_of_one_id(tmp_path: Path, mosquitto_installed: None) -> None:
    """Each ends the other's connection; then one waits long, and what runs here is not what is online."""
    with Mosquitto(tmp_path) as broker, Evok(tmp_path) as evok, Observer(broker.port) as observer:
        first = Daemon(tmp_path, configuration(broker.port, evok.port, state=tmp_path / "first"), "first")
        second = Daemon(tmp_path, configuration(broker.port, evok.port, state=tmp_path / "second"), "second")
        with first:
            observer.until(lambda: observer.retained("_bridge/gate/status") == b"online")
            with second:
                said = "another client seems to use the client id"
                waited(lambda: said in first.log or said in second.log, "one of them gives way")
                found = asyncio.run(diagnosed(tmp_path, first.configuration.read_text()))
                also = asyncio.run(diagnosed(tmp_path, second.configuration.read_text()))
    told = [one["bridge.duplicate"] for one in map(troubles, (found, also)) if "bridge.duplicate" in one]
    assert told
    assert all("bridge.id" in sentence for sentence in told)


# --- the rules themselves --------------------------------------------------------------------------------


@contextmanager
def ruled(folder: Path) -> Iterator[tuple[Mosquitto, Evok, Daemon]]:
    """A daemon under the rules that `acl` prints for its configuration; the broker's log has all it denied."""
    port = free_port()
    with Evok(folder) as evok:
        daemon = Daemon(folder, configuration(port, evok.port, state=folder / "state", mqtt='username = "gate"'))
        settings = load(daemon.configuration, environ={})
        lines = mosquitto(settings, [bridge_role(settings, "gate"), *others(settings)])
        (folder / "acl").write_text("\n".join(lines) + "\nuser observer\ntopic readwrite #\n")
        broker = Mosquitto(folder, [f"acl_file {folder / 'acl'}", "log_type all"])
        broker.port = port
        with broker, daemon:
            yield broker, evok, daemon


async def asked(port: int, user: str, topic: str, payload: bytes, heard: str) -> list[bytes]:
    """What a client of this user hears within a second after it has published."""
    from bridge.mqtt import ConnectionSettings, Filter, Message, Mqtt

    messages: list[Message] = []
    mqtt = Mqtt(ConnectionSettings("127.0.0.1", f"as-{user}", port, username=user), messages.append)
    await mqtt.connect()
    await mqtt.subscribe([Filter(heard, retained=True)])
    mqtt.publish(topic, payload, 1)
    await asyncio.wait([mqtt.closed], timeout=1.0)
    await mqtt.disconnect()
    return [message.payload for message in messages]


def test_a_daemon_under_the_printed_rules(tmp_path: Path) -> None:
    with ruled(tmp_path) as (broker, evok, daemon):
        waited(lambda: "device online" in daemon.log, f"the device is online\n{daemon.log[-3000:]}")
        asyncio.run(asked(broker.port, "dashboard", "lab2mqtt/io/set/do/1_01", b"ON", "lab2mqtt/+/state/#"))
        assert not evok.executed("do/1_01")
        states = asyncio.run(asked(broker.port, "dashboard", "nothing", b"", "lab2mqtt/+/state/#"))
        assert len(states) > 50
        assert not asyncio.run(asked(broker.port, "dashboard", "nothing", b"", "lab2mqtt/io/points/#"))

        reply = "lab2mqtt/io/reply/do/1_01"
        answers = asyncio.run(asked(broker.port, "operator", "lab2mqtt/io/set/do/1_01", b"ON", reply))
        assert any(b'"done"' in answer for answer in answers), answers
        assert evok.executed("do/1_01")
        health = asyncio.run(asked(broker.port, "administrator", "nothing", b"", "lab2mqtt/_bridge/gate/health"))
        assert b'"trouble":["' not in health[-1]
        assert "refused" not in daemon.log
        daemon.terminate()
        assert daemon.ended() == 0
        broker.stop()  # its log is complete only then
        denied = [line for line in broker.log.splitlines() if "Denied PUBLISH" in line]
        assert denied  # what the reader tried, and where nobody may publish
        assert all(re.search("from as-(dashboard|operator|administrator) ", line) for line in denied), denied
