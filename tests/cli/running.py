"""What the tools are tested against: a bridge with a simulated instrument, a scripted bridge, and commands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bridge.app import Daemon
from bridge.mqtt import ConnectionSettings, Filter, Message, Meta, Mqtt
from bridge.settings import Settings
from bridge.simulators.evok import EvokSimulator
from bridge.simulators.mqtt_broker import Broker
from bridge.simulators.server import Server, serve

DEADLINE = 10.0  # seconds for what should be there at once


class Ear:
    """A connection that hears everything: `until` waits for what it is told to wait for."""

    def __init__(self, port: int, username: str | None = None, password: str | None = None) -> None:
        settings = ConnectionSettings(
            "127.0.0.1", "ear", port, username=username, password=password, session_expiry=0
        )
        self.mqtt = Mqtt(settings, self._hear)
        self.heard: list[Message] = []
        self._news = asyncio.Event()

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        self._news.set()

    async def until(self, topic: str, payload: str = "", *, since: int = 0) -> Message:
        """The first message on this topic with these words in it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for message in self.heard[since:]:
                    if message.topic == topic and payload in message.payload.decode():
                        return message
                await self._news.wait()
                self._news.clear()


@asynccontextmanager
async def ear(
    port: int, *topics: str, username: str | None = None, password: str | None = None
) -> AsyncIterator[Ear]:
    listening = Ear(port, username, password)
    await listening.mqtt.connect()
    try:
        await listening.mqtt.subscribe([Filter(topic, retained=True) for topic in topics or ("lab2mqtt/#",)])
        yield listening
    finally:
        await listening.mqtt.disconnect(within=1.0)


@dataclass(frozen=True)
class Bridge:
    """A bridge `gw` with the device `unipi`; `url` is the broker's."""

    broker: Broker
    server: Server
    ear: Ear

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.broker.port}"

    @property
    def configuration(self) -> str:
        return (
            f'[bridge]\nid = "gw"\n[mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\n'
            f'[devices.unipi]\ndriver = "evok"\nurl = "{self.server.url}/ws"\n'
        )


@asynccontextmanager
async def bridge() -> AsyncIterator[Bridge]:
    async with Broker() as broker, serve(EvokSimulator()) as server, ear(broker.port) as listening:
        running = Bridge(broker, server, listening)
        devices = {"unipi": {"driver": "evok", "url": f"{server.url}/ws"}}
        mqtt = {"host": "127.0.0.1", "port": broker.port}
        settings = Settings.model_validate({"bridge": {"id": "gw"}, "mqtt": mqtt, "devices": devices})
        daemon = asyncio.create_task(Daemon(settings).run())
        try:
            await listening.until("lab2mqtt/unipi/status", "online")
            await listening.until("lab2mqtt/_bridge/gw/status", "online")
            yield running
        finally:
            daemon.cancel()
            with suppress(asyncio.CancelledError):
                await daemon


@asynccontextmanager
async def scripted(
    answers: list[Mapping[str, object]], *, status: str = "online", where: str = "response"
) -> AsyncIterator[str]:
    """A bridge that answers every command for its device `cell` with these; the broker's URL.

    `where`: on the response topic, or on the reply topic.
    """
    root = "lab2mqtt/cell"

    def command(message: Message) -> None:
        _, _, verb, key = message.topic.split("/", 3)
        if verb not in ("set", "call"):
            return
        id_ = json.loads(message.payload)["id"]
        asked = message.meta.response_topic
        topic = asked if where == "response" and asked else f"{root}/reply/{key}"
        for answer in answers:
            mqtt.publish(topic, json.dumps({"id": id_, "detail": "", **answer}).encode(), 1, meta=Meta())

    async with Broker() as broker:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "scripted", broker.port), command)
        await mqtt.connect()
        try:
            points = {"scan": {"kind": "action", "name": "Scan", "access": "call"}}
            mqtt.publish(f"{root}/link", json.dumps({"bridge": "gw", "state": "ready"}).encode(), 1, True)
            mqtt.publish(f"{root}/points", json.dumps({"group": "", "points": points}).encode(), 1, True)
            mqtt.publish("lab2mqtt/_bridge/gw/status", status.encode(), 1, True)
            await mqtt.subscribe([Filter(f"{root}/set/#"), Filter(f"{root}/call/#")])
            yield f"mqtt://127.0.0.1:{broker.port}"
        finally:
            await mqtt.disconnect(within=0.0)


# --- commands, each in a process of its own -----------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def _environ(variables: Mapping[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LAB2MQTT_")}
    return {**ours, "PYTHONWARNINGS": "error", **variables}


async def start(*arguments: str, **variables: str) -> Process:
    """`lab2mqtt` with these arguments and variables of the environment."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", *arguments, stdout=PIPE, stderr=PIPE, env=_environ(variables)
    )


async def ended(process: Process, within: float = 3 * DEADLINE) -> Ended:
    """What it printed and how it ended; killed if it does not."""
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def run(*arguments: str, **variables: str) -> Ended:
    return await ended(await start(*arguments, **variables))


async def read_until(process: Process, words: str) -> str:
    """What it prints up to the line with these words."""
    assert process.stdout is not None
    read = ""
    async with asyncio.timeout(DEADLINE):
        while words not in read:
            line = await process.stdout.readline()
            assert line, f"it ended early, having printed:\n{read}"
            read += line.decode()
    return read
