"""`demo` from end to end, as a process: values change, commands are answered, nothing is left behind."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import pytest

from bridge.simulators.mqtt_broker import Broker
from tests.cli.running import ear, ended, read_until, run, start

pytestmark = pytest.mark.asyncio


def port_of(told: str) -> int:
    found = re.search(r"broker 127\.0\.0\.1:(\d+)", told)
    assert found is not None
    return int(found[1])


async def test_it_shows_changing_values_and_ends_by_itself_without_leftovers(tmp_path: Path) -> None:
    found = await run("demo", "--for", "5", "--port", "0", TMPDIR=str(tmp_path))
    assert (found.code, found.err) == (0, "")
    changes = re.findall(r"^[\d:.]{12} (io/\S+) = (.*)$", found.out, re.MULTILINE)
    values = {key: [value for other, value in changes if other == key] for key, _ in changes}
    assert len(set(values["io/ai/2_03"])) > 1
    assert len(values) > 5
    assert "link: io is ready" in found.out
    assert re.search(r"^devices: .*io ready$", found.out, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


async def test_the_commands_that_it_prints_do_what_they_say() -> None:
    process = await start("demo", "--port", "0")
    told = await read_until(process, "io is ready")
    lines = [shlex.split(line) for line in told.splitlines() if line.startswith("  mosquitto_")]
    assert lines[0][:6] == ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port_of(told)), "-v"]
    async with ear(port_of(told)) as listening:
        await listening.until("lab2mqtt/io/state/do/1_01", "false")
        for words in lines[1:]:
            assert words[:5] == ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port_of(told))]
            topic, payload = words[words.index("-t") + 1], words[words.index("-m") + 1]
            asked = len(listening.heard)
            listening.mqtt.publish(topic, payload.encode(), 0)
            reply = topic.replace("/set/", "/reply/").replace("/call/", "/reply/")
            await listening.until(reply, '"done"', since=asked)
        await listening.until("lab2mqtt/io/state/do/1_01", "true")
        await listening.until("lab2mqtt/io/state/di/1_03", "true")
    process.send_signal(signal.SIGINT)
    found = await ended(process)
    assert (found.code, found.err) == (0, "")
    assert re.search("answers: done 9, accepted 2", found.out)


async def test_a_command_is_done_within_two_seconds() -> None:
    """The contract with people is 0.2 s; a busy machine is given ten times that."""
    process = await start("demo", "--port", "0")
    told = await read_until(process, "io is ready")
    async with ear(port_of(told), "lab2mqtt/io/reply/#") as listening:
        begun = listening.mqtt.publish("lab2mqtt/io/set/do/1_01", b"ON", 0)
        assert begun is None
        await listening.until("lab2mqtt/io/reply/do/1_01", '"done"')
    process.send_signal(signal.SIGTERM)
    found = await ended(process)
    assert found.code == 0
    took = re.search(r"io do/1_01: done after (\d+) ms", found.out)
    assert took is not None
    assert int(took[1]) < 2000


async def test_a_broker_of_ones_own_is_left_as_it_was() -> None:
    async with Broker(credentials={"me": "s3cret"}) as broker:
        url = f"mqtt://me@127.0.0.1:{broker.port}"
        process = await start("demo", "--mqtt", url, LAB2MQTT_MQTT__PASSWORD="s3cret")
        told = await read_until(process, "io is ready")
        assert "-u me -P" in told
        async with ear(broker.port, username="me", password="s3cret") as listening:
            await listening.until("lab2mqtt/io/state/do/1_01")
            listening.mqtt.publish("lab2mqtt/other/link", b'{"bridge": "gw"}', 1, True)
        process.send_signal(signal.SIGTERM)
        found = await ended(process)
        assert (found.code, found.err) == (0, "")
        assert "s3cret" not in told + found.out
        async with ear(broker.port, "#", username="me", password="s3cret") as listening:
            listening.mqtt.publish("end", b"", 1)
            await listening.until("end")
            assert [message.topic for message in listening.heard] == ["lab2mqtt/other/link", "end"]


async def test_home_assistant_is_told_only_if_asked_to_and_forgets_everything() -> None:
    async with Broker() as broker:
        other = "homeassistant/device/lab2mqtt-iotwo/config"
        process = await start("demo", "--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--home-assistant")
        await read_until(process, "io is ready")
        async with ear(broker.port, "homeassistant/#") as listening:
            await listening.until("homeassistant/device/lab2mqtt-io-1/config", '"switch/do/1_01"')
            listening.mqtt.publish(other, b'{"device": {}}', 1, True)
            process.send_signal(signal.SIGTERM)
            found = await ended(process)
        assert (found.code, found.err) == (0, "")
        async with ear(broker.port, "#") as listening:
            listening.mqtt.publish("end", b"", 1)
            await listening.until("end")
            assert [message.topic for message in listening.heard] == [other, "end"]


async def test_a_broker_that_does_not_let_us_in_is_said_so() -> None:
    async with Broker(credentials={"me": "s3cret"}) as broker:
        found = await run("demo", "--mqtt", f"mqtt://me@127.0.0.1:{broker.port}", LAB2MQTT_MQTT__PASSWORD="wrong")
    assert found.code == 15
    assert "no connection with the broker" in found.err.splitlines()[-1]
    assert "Traceback" not in found.err


async def test_a_port_that_was_asked_for_and_is_taken_is_wrong_use() -> None:
    async with Broker() as other:
        found = await run("demo", "--port", str(other.port))
    assert found.code == 64
    assert "Traceback" not in found.err
