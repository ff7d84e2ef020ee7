"""A whole bridge in this process, between simulators and a broker, and an MQTT client that sees everything."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bridge.app import Daemon
from bridge.mqtt import ConnectionSettings, Filter, Message, Meta, Mqtt
from bridge.settings import ConfigurationError, Settings
from bridge.simulators.evok import EvokSimulator
from bridge.simulators.server import Server
from tests.contract.line import Line
from tests.toy.instrument import Instrument

DEADLINE = 10.0  # seconds for anything that a test waits for
ROOT = "lab2mqtt"
BRIDGE = "here"


class Client:
    """Sees every message of the broker, in order. Topics without a leading slash are below the root."""

    def __init__(self, port: int, protocol: str = "5", name: str = "tests") -> None:
        version: Literal["5", "3.1.1"] = "5" if protocol == "5" else "3.1.1"
        settings = ConnectionSettings("127.0.0.1", name, port, version, session_expiry=0)
        self.messages: list[Message] = []
        self._news = asyncio.Event()
        self._mqtt = Mqtt(settings, self._heard)

    async def open(self) -> None:
        await self._mqtt.connect()
        await self._mqtt.subscribe([Filter("#", retained=True)])

    async def close(self) -> None:
        await self._mqtt.disconnect()

    def _heard(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    # --- what was seen -------------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """A moment, for `since`."""
        return len(self.messages)

    async def until(self, condition: Callable[[], object], what: str = "the condition") -> None:
        """Asked after every message, and now and then for what messages do not tell."""
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"in vain: {what}"
            self._news.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self._news.wait()
            except TimeoutError:
                pass

    def on(self, topic: str, since: int = 0) -> list[Message]:
        """All messages of this topic, or below it when it ends with a slash."""
        whole = full(topic)
        below = whole.endswith("/")
        return [m for m in self.messages[since:] if (m.topic.startswith(whole) if below else m.topic == whole)]

    def last(self, topic: str) -> Any:
        """The newest message there, read; None when there is none."""
        found = self.on(topic)
        return read(found[-1].payload) if found else None

    def value(self, device: str, key: str) -> Any:
        shown = self.last(f"{device}/state/{key}")
        return shown["value"] if isinstance(shown, dict) else shown

    def answers(self, id_: str, since: int = 0) -> list[dict[str, Any]]:
        """All answers with this id, wherever they went."""
        found = [
            read(m.payload) for m in self.messages[since:] if "/set/" not in m.topic and "/call/" not in m.topic
        ]
        return [a for a in found if isinstance(a, dict) and a.get("id") == id_ and "outcome" in a]

    # --- what is sent --------------------------------------------------------------------------------

    def publish(
        self, topic: str, payload: object = b"", *, qos: int = 1, retain: bool = False, **meta: Any
    ) -> None:
        """Anything but bytes and text is sent as JSON; `meta` are the properties of bridge.mqtt.Meta."""
        self._mqtt.publish(full(topic), encoded(payload), qos, retain, Meta(**meta) if meta else None)

    async def publish_all(self, commands: Iterable[tuple[str, object]]) -> None:
        """One after the other, as fast as the broker takes them."""
        for topic, payload in commands:
            await self.until(lambda: self._mqtt.room)
            self.publish(topic, payload)

    async def ask(self, topic: str, payload: object = b"", **options: Any) -> dict[str, Any]:
        """Publish a command and wait for its final answer, known by correlation data of its own."""
        token = secrets.token_hex(6).encode()
        since = self.mark
        self.publish(topic, payload, correlation=token, **options)
        return await self.answered(token, since)

    async def answered(self, token: bytes, since: int = 0) -> dict[str, Any]:
        """The final answer with this correlation data."""

        def final() -> list[Any]:
            answers = [read(m.payload) for m in self.correlated(token, since)]
            return [answer for answer in answers if answer["final"]]

        await self.until(final, f"a final answer for {token!r}; got {self.correlated(token, since)}")
        answer: dict[str, Any] = final()[0]
        return answer

    def correlated(self, token: bytes, since: int = 0) -> list[Message]:
        """The answers with this correlation data; the command itself has it too and is left out."""
        return [
            m
            for m in self.messages[since:]
            if m.meta.correlation == token and "/set/" not in m.topic and "/call/" not in m.topic
        ]

    async def in_order(self, device: str) -> None:
        """Wait until all that was published before has reached the device's shell: it answers in order."""
        await self.ask(f"{device}/set/no_such_point", "1")


def full(topic: str) -> str:
    return topic[1:] if topic.startswith("/") else f"{ROOT}/{topic}"


def encoded(payload: object) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()


def read(payload: bytes) -> Any:
    """JSON where it is some, else text."""
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")


def evok_state(simulator: EvokSimulator) -> dict[str, Any]:
    state: dict[str, Any] = simulator.state()
    return state


@dataclass
class World:
    """A broker, a line to it that can be cut, an Evok, a toy, one client, and a bridge that comes and goes."""

    port: int  # of the broker
    line: Line
    evok: EvokSimulator
    server: Server
    toy: Instrument
    client: Client
    devices: Mapping[str, Mapping[str, Any]]
    bridge: Mapping[str, Any] = field(default_factory=dict)
    mqtt: Mapping[str, Any] = field(default_factory=dict)
    home_assistant: Mapping[str, Any] = field(default_factory=dict)
    daemon: Daemon | None = None
    _task: asyncio.Task[None] | None = None

    def settings(self) -> Settings:
        """`url` is that of the simulator, unless the device has one."""
        urls = {"evok": self.server.url + "/ws", "toy": self.toy.url}
        return Settings.model_validate(
            {
                "bridge": {"id": BRIDGE, **self.bridge},
                "mqtt": {"host": "127.0.0.1", "port": self.line.port, **self.mqtt},
                "home_assistant": self.home_assistant,
                "devices": {
                    name: {"url": urls[device["driver"]], **device} for name, device in self.devices.items()
                },
            }
        )

    def reread(self) -> Settings:
        """For a reload: as `devices`, `bridge` and `mqtt` are by now."""
        try:
            return self.settings()
        except ValidationError as error:
            raise ConfigurationError([problem["msg"] for problem in error.errors()]) from None

    async def start(self, *, wait: bool = True) -> None:
        """Start the bridge; with `wait` until every device is online that can be."""
        since = self.client.mark
        self.daemon = Daemon(self.settings(), self.reread)
        self._task = asyncio.create_task(self.daemon.run())
        able = [name for name, device in self.devices.items() if "url" not in device]

        def online() -> bool:
            statuses = [self.client.on(f"{name}/status", since)[-1:] for name in able]
            return all(status and status[0].payload == b"online" for status in statuses) and bool(
                self.client.on(f"_bridge/{BRIDGE}/status", since)
            )

        if wait:
            await self.client.until(online, f"{able} online")

    async def stop(self) -> None:
        """Ask the bridge to stop, and wait until it has."""
        task, self._task, self.daemon = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    # --- what the instruments did --------------------------------------------------------------------

    def executed(self, what: str) -> int:
        """How many sets Evok carried out at this object (`ro/2_01`)."""
        count = evok_state(self.evok)["executed"].get(what, {"count": 0})["count"]
        return int(count)

    def wishes(self, what: str) -> list[dict[str, Any]]:
        """What these sets were."""
        recent = evok_state(self.evok)["executed"].get(what, {"recent": []})["recent"]
        return [one["wish"] for one in recent]

    def level(self, what: str) -> Any:
        """What the hardware has."""
        return evok_state(self.evok)["values"][what]

    def heard(self, op: str, **fields: object) -> list[dict[str, Any]]:
        """The requests that the toy got."""
        return [r for r in self.toy.heard if r["op"] == op and fields.items() <= r.items()]

    # --- what the bridge said of itself ----------------------------------------------------------------

    def refused(self, kind: str, since: int = 0) -> list[dict[str, Any]]:
        """The bridge's events about messages that were not carried out."""
        events = [read(m.payload) for m in self.client.on(f"_bridge/{BRIDGE}/event/refused", since)]
        return [event for event in events if event["kind"] == kind]


@asynccontextmanager
async def world(
    port: int, devices: Mapping[str, Mapping[str, Any]], state_dir: Path | None = None, **settings: Any
) -> AsyncIterator[World]:
    """All but the bridge, which `start` starts; it is stopped at the end if it still runs."""
    bridge = {**({"state_dir": state_dir} if state_dir else {}), **settings.get("bridge", {})}
    client = Client(port)
    async with Line(port) as line, running_evok() as (evok, server), Instrument().running() as toy:
        await client.open()
        made = World(port, line, evok, server, toy, client, devices, bridge, settings.get("mqtt", {}))
        try:
            yield made
        finally:
            await made.stop()
            await client.close()


@asynccontextmanager
async def running_evok() -> AsyncIterator[tuple[EvokSimulator, Server]]:
    from bridge.simulators.server import serve

    simulator = EvokSimulator(lively=False)
    async with serve(simulator) as server:
        yield simulator, server
