"""A plain client for tests of the IM7 simulator: it keeps everything it was told, in order."""

from __future__ import annotations

import asyncio
import itertools
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bridge.simulators.im7 import Im7Simulator
from bridge.simulators.server import Server, serve

PATIENCE = 10.0
Message = dict[str, Any]
OCV = {"duration": 1.0, "output_data_rate": 10.0}
POGA = {"bias": 1.0, "duration": 20.0, "output_data_rate": 10.0, "autorange": False, "current_range": 0.1}
SWITCH_ON = {
    "potentiostat": "MAIN:1:POT", "coupling": "POTENTIOSTATIC", "bias": 1.0,
    "voltage_range_index": 0, "compliance_range_index": 0,
}  # fmt: skip
RANGE = {
    "type": "generate", "min_frequency": 10.0, "max_frequency": 1e5, "start_frequency": 1e4,
    "points_per_decade_upper": 4, "points_per_decade_lower": 3, "pre_duration": 0.0, "pre_waves": 1,
    "meas_duration": 0.05, "meas_waves": 3, "amplitude": 0.01,
}  # fmt: skip
EIS = {"bias": 1.0, "frequency_range": RANGE, "drift_correction": "FULL"}


class Client:
    """One WebSocket; `told` is everything but replies and binary frames."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[Message] = []
        self.binary: list[bytes] = []
        self.replies: dict[str, Message] = {}
        self._numbers = itertools.count(1)

    async def receive(self) -> None:
        """Take one message."""
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        if isinstance(frame, bytes):
            self.binary.append(frame)
            return
        message: Message = json.loads(frame)
        if message["type"] == "REPLY":
            self.replies[str(message.get("request_id"))] = message
        else:
            self.told.append(message)

    async def send(self, do: str, **fields: object) -> str:
        request_id = str(next(self._numbers))
        await self.socket.send(json.dumps({"do": do, "request_id": request_id, **fields}))
        return request_id

    async def reply(self, request_id: str) -> Message:
        while request_id not in self.replies:
            await self.receive()
        return self.replies[request_id]

    async def ask(self, do: str, **fields: object) -> Message:
        return await self.reply(await self.send(do, **fields))

    async def start(self, kind: str, parameters: object, stops: object = (), **top: object) -> str:
        """Start a job that is accepted; its id."""
        job = {"type": kind, "parameters": parameters, "stop_conditions": stops, "job_meta": {}}
        reply = await self.ask("/job/start", job=job, **top)
        assert reply["status"] == "SUCCESS", reply
        return str(reply["job_info"]["job_id"])

    async def done(self, job_id: str) -> Message:
        """Wait for the JOB_DONE that answers who started it."""
        while True:
            for message in self.told:
                if message["type"] == "JOB_DONE" and message["job_info"]["job_id"] == job_id:
                    return message
            await self.receive()

    async def event(self, kind: str, count: int = 1) -> Message:
        """Wait until there were so many events of a kind; the last of them."""
        while len(self.events(kind)) < count:
            await self.receive()
        return self.events(kind)[count - 1]

    def events(self, kind: str = "") -> list[Message]:
        events = [message["event"] for message in self.told if message["type"] == "EVENT"]
        return [event for event in events if kind in {"", event["type"]}]

    def rows(self) -> list[list[float]]:
        """All live rows so far."""
        return [row for event in self.events("LIVE_DATA_ROWS") for row in event["data"]]

    async def fence(self) -> None:
        """All that was sent before has been handled."""
        await asyncio.wait_for(await self.socket.ping(), PATIENCE)

    async def run(self, kind: str, parameters: object, stops: object = (), **top: object) -> Message:
        """Start a job and wait until it is done."""
        return await self.done(await self.start(kind, parameters, stops, **top))


@asynccontextmanager
async def visiting(server: Server, path: str = "/default") -> AsyncIterator[Client]:
    async with connect(server.url + path, max_size=None) as socket:
        yield Client(socket)


@asynccontextmanager
async def simulated(simulator: Im7Simulator) -> AsyncIterator[tuple[Server, Client]]:
    """The simulator on a port, and a client."""
    async with serve(simulator) as server, visiting(server) as client:
        yield server, client


async def http(
    server: Server, path: str, body: object = None, headers: Message | None = None
) -> tuple[int, bytes]:
    """GET, or POST where there is a body (bytes, or anything as JSON)."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url.replace("ws", "http", 1) + path, data, headers or {})

    def ask() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return await asyncio.to_thread(ask)
