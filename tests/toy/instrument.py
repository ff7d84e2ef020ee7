"""A toy instrument: a furnace with an arm that can be unplugged, as a WebSocket server that tests drive by hand.

Every request is one JSON object in a text frame and is worked off in order, pings among them:

    {"id": "a", "op": "hello", "version": 1}   -> {"id": "a", "ok": {"serial", "modules", "values", "jobs"}}
    {"id": "b", "op": "write", "name": "lamp", "value": true}   -> a push of the value, then {"id": "b", "ok": {}}
    {"op": "label", "value": "x"}              never answered; what changed is pushed
    {"id": "c", "op": "run", "tag": "t", "points": 100}         -> {"id": "c", "ok": {}}, then pushes of the job
    {"op": "fetch", "tag": "t"}                -> binary: the tag, a line feed, columns of little-endian float64
    {"id": "d", "op": "halt"} and {"id": "e", "op": "self_test"}

An answer may be {"id", "error": "why"}. Pushes go to everybody: {"push": "value" | "job" | "rows" | "module" |
"alarm" | "local" | "bye", ...}. Jobs belong to the instrument and go on without a connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.websocket_peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, close_frame, frame


@dataclass(slots=True)
class Run:
    """One job: time and voltage of each point."""

    points: int
    done: int = 0
    state: str = "running"

    def rows(self, first: int, end: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        time = np.arange(first, end, dtype="<f8")
        return np.column_stack([time, np.sqrt(time)])


@dataclass(eq=False)
class Instrument:
    """What is set here, it does; `heard` is every request so far. `noticed` is called after each."""

    noticed: Callable[[], None] = lambda: None
    values: dict[str, object] = field(
        default_factory=lambda: {
            "lamp": False,
            "gain": 1.0,
            "mode": "slow",
            "label": "",
            "uptime": 12.5,
            "door": False,
            "picture": "http://127.0.0.1/last.png",
            "head/temperature": 21.5,
            "arm/angle": 0.0,
            "arm/load": 0.25,
        }
    )
    modules: dict[str, str] = field(default_factory=lambda: {"head": "Head", "arm": "Arm"})
    jobs: dict[str, Run] = field(default_factory=dict)
    heard: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # of the last handshake
    connections: int = 0
    deaf: bool = False  # pings are not answered
    mute: bool = False  # requests are not answered
    slow: bool = False  # writes wait for `let_go`
    stubborn_label: bool = False  # labels are ignored
    lost_runs: bool = False  # a `run` is lost on the way, and the line with it
    url: str = ""
    _peers: set[Peer] = field(default_factory=set)
    _waiting: list[tuple[Peer, dict[str, Any]]] = field(default_factory=list)

    # --- what tests do to it ---------------------------------------------------------------------------

    def push(self, kind: str, **fields: object) -> None:
        self.raw(json.dumps({"push": kind, **fields}))

    def raw(self, message: str | bytes) -> None:
        """Send this to everybody, whatever it is."""
        data = message.encode() if isinstance(message, str) else message
        for peer in self._peers:
            peer.send(frame(TEXT if isinstance(message, str) else BINARY, data))

    def change(self, name: str, value: object) -> None:
        self.values[name] = value
        self.push("value", name=name, value=value)

    def measure(self, tag: str, count: int) -> None:
        """The job goes on by so many points."""
        run = self.jobs[tag]
        first, run.done = run.done, min(run.points, run.done + count)
        self.push("rows", tag=tag, offset=first, rows=run.rows(first, run.done).tolist())
        self.push("job", tag=tag, state=run.state, rows=run.done)

    def finish(self, tag: str, state: str = "done") -> None:
        run = self.jobs[tag]
        run.done, run.state = run.points if state == "done" else run.done, state
        self.push("job", tag=tag, state=state, rows=run.done)

    def module(self, name: str, state: str) -> None:
        """`plugged`, `unplugged`, or `removed`: then it is not in the inventory any more."""
        if state == "removed":
            del self.modules[name]
        else:
            self.modules.setdefault(name, name.capitalize())
        self.push("module", name=name, title=name.capitalize(), state=state)

    def let_go(self) -> None:
        """Answer the writes that `slow` held back."""
        self.slow = False
        waiting, self._waiting = self._waiting, []
        for peer, request in waiting:
            self._write(peer, request)

    def hang_up(self) -> None:
        """Every line is cut, without a goodbye."""
        for peer in self._peers:
            peer.writer.transport.abort()

    def ops(self) -> list[str]:
        return [request["op"] for request in self.heard]

    # --- the server ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Instrument]:
        """Listens on a free port of the loopback, the same one again after a restart."""
        talks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talks.add(asyncio.create_task(self._talk(Peer(reader, writer))))

        port = int(self.url.rpartition(":")[2]) if self.url else 0
        server = await asyncio.start_server(connected, "127.0.0.1", port)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.hang_up()
            for task in talks:
                task.cancel()
            await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, peer: Peer) -> None:
        try:
            await peer.accept()
            self.headers = dict(
                line.split(": ", 1) for line in peer.request.decode().split("\r\n")[1:] if ": " in line
            )
            self.connections += 1
            self._peers.add(peer)
            while await self._serve(peer):
                self.noticed()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._peers.discard(peer)
            peer.writer.close()

    async def _serve(self, peer: Peer) -> bool:
        received = await peer.receive()
        if received.opcode == TEXT:
            request = json.loads(received.data)
            self.heard.append(request)
            if not self.mute:
                self._answer(peer, request)
        elif received.opcode == PING and not self.deaf:
            peer.send(frame(PONG, received.data))
        elif received.opcode == CLOSE:
            peer.send(close_frame(1000))
        return received.opcode != CLOSE

    def _answer(self, peer: Peer, request: dict[str, Any]) -> None:
        match request["op"]:
            case "hello" if request["version"] != 1:
                self._tell(peer, request, error="too old: this instrument speaks version 1")
            case "hello":
                self._tell(peer, request, ok=self._inventory())
            case "write" if self.slow:
                self._waiting.append((peer, request))
            case "write":
                self._write(peer, request)
            case "label" if not self.stubborn_label:
                self.change("label", request["value"])
            case "run" if self.lost_runs:
                self.hang_up()
            case "run":
                self.jobs[request["tag"]] = Run(request["points"])
                self._tell(peer, request, ok={})
            case "fetch":
                run, tag = self.jobs[request["tag"]], request["tag"].encode()
                peer.send(frame(BINARY, tag + b"\n" + run.rows(0, run.done).tobytes(order="F")))
            case "halt":
                self._tell(peer, request, ok={"halted": sum(run.state == "running" for run in self.jobs.values())})
                for tag, run in self.jobs.items():
                    if run.state == "running":
                        self.finish(tag, "halted")
            case "self_test":
                self._tell(peer, request, ok={"passed": True})

    def _inventory(self) -> dict[str, object]:
        return {
            "serial": "T-1000",
            "modules": self.modules,
            "values": {
                name: value
                for name, value in self.values.items()
                if "/" not in name or name.partition("/")[0] in self.modules
            },
            "jobs": {tag: {"state": run.state, "rows": run.done} for tag, run in self.jobs.items()},
        }

    def _write(self, peer: Peer, request: dict[str, Any]) -> None:
        name, value = request["name"], request["value"]
        if name == "gain" and value == 13:
            self._tell(peer, request, error="the amplifier does not like 13")
            return
        self.change(name, value)
        self._tell(peer, request, ok={})

    def _tell(self, peer: Peer, request: dict[str, Any], **fields: object) -> None:
        peer.send(frame(TEXT, json.dumps({"id": request["id"], **fields}).encode()))
