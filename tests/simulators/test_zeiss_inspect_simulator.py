"""The INSPECT simulator against recordings of the genuine script, and what the recordings do not hold.

The recordings (tests/data/zeiss_inspect) are one line per event on the wire, trimmed from those of ZEISS's script
1.0.1 on websockets 14.1 beside a stubbed host; `commands.jsonl` is what reached that host. They are replayed frame
by frame, at their recorded times and without a WebSocket library, on a clock that leaps over the waiting.
"""

import asyncio
import json
import re
import selectors
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from bridge.simulators.server import Server, serve
from bridge.simulators.zeiss_inspect import ZeissInspectSimulator
from bridge.simulators.zeiss_inspect.project import Import, found
from bridge.simulators.zeiss_inspect.script import Broken, Refused, understood

DATA = Path(__file__).parents[1] / "data" / "zeiss_inspect"
PATIENCE = 5.0
PLACE = "C:/inspect/imports/x"
Row = dict[str, object]


def recorded(name: str) -> dict[str, list[Row]]:
    """The scenarios of a file."""
    rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
    return {scenario: list(part) for scenario, part in groupby(rows, lambda row: str(row["scenario"]))}


def image(file: str, series: object = "existing", focal_length: object = "50.0") -> str:
    parameters = {"file": f"{PLACE}/{file}", "name": series, "focal_length": focal_length}
    return json.dumps({"image": parameters})


def elements(file: str = "ok.gxml", mode: str = "clipboard") -> str:
    return json.dumps({"elements": {"file": f"{PLACE}/{file}", "import_mode": mode}})


class Leap(selectors.DefaultSelector):
    """A selector with a clock of its own, which leaps to the next timer whenever no socket has anything to say."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(PATIENCE if timeout is None else min(timeout, 0.001))  # what is on its way arrives
        if not events:
            assert timeout is not None, "nothing can happen any more"
            self.now += timeout
        return events


class LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = Leap()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def leaping(story: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a coroutine function to its end; what it awaits takes no time."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(story())


@asynccontextmanager
async def inspect(**options: object) -> AsyncIterator[tuple[ZeissInspectSimulator, Server, ClientConnection]]:
    """A simulator with one client."""
    simulator = ZeissInspectSimulator(**options)  # type: ignore[arg-type]
    async with serve(simulator) as server, connect(server.url, ping_interval=None) as client:
        yield simulator, server, client


async def asked(client: ClientConnection, text: str | bytes) -> str | tuple[int, str]:
    """The reply, or the code and reason of the close frame."""
    try:
        await client.send(text)
        return str(await asyncio.wait_for(client.recv(), PATIENCE))
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


async def get(server: Server, path: str) -> tuple[int, str]:
    """Plain HTTP, as a script would ask."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
    [length] = re.findall(r"Content-Length: (\d+)", head)
    body = (await asyncio.wait_for(reader.readexactly(int(length)), PATIENCE)).decode()
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def working(server: Server) -> None:
    """Wait until an import runs."""
    async with asyncio.timeout(PATIENCE):
        while not json.loads((await get(server, "/_state"))[1])["importing"]:
            pass


async def back(server: Server) -> None:
    """Wait until the script is there again, and works."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with connect(server.url) as client:
                    assert await asked(client, image("ok.jpg")) == "O.k."
                    return
            except ConnectionRefusedError:
                await asyncio.sleep(0)


# --- recordings replayed ---


class Replay:
    """One recorded TCP connection, played again: what the client sent at its time, and what the server must send.

    A line of the client's waits for everything that the server had sent on this connection before. Only where the
    pings of the server fall among its other frames is left open: that was a matter of microseconds.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.start = asyncio.get_running_loop().time()
        self.frames: asyncio.Queue[Row] = asyncio.Queue()
        self.pings: asyncio.Queue[bytes] = asyncio.Queue()
        self.ping = b""

    async def play(self, rows: list[Row]) -> None:
        if rows[-1]["event"] == "refused":
            await self.until(float(str(rows[-1]["t"])))
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(self.server.host, self.server.port)
            return
        opening, upgrade, *others = rows
        assert (opening["event"], upgrade["event"]) == ("connect", "http")
        await self.until(float(str(opening["t"])))
        await self.open(str(upgrade["line"]))
        try:
            for row in others:
                if row["dir"] == "c>s":
                    await self.until(float(str(row["t"])))
                    self.send(row)
                else:
                    await asyncio.wait_for(self.expect(row), 100)
            assert self.pings.empty()
            assert self.frames.empty()
        finally:
            await self.close()

    async def open(self, line: str = "GET / HTTP/1.1") -> None:
        """Connect and send the opening handshake."""
        self.reader, self.writer = await asyncio.open_connection(self.server.host, self.server.port)
        self.listening = asyncio.create_task(self.listen())
        lines = [line, "Host: inspect", "Upgrade: websocket", "Connection: Upgrade"]
        key = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: FFuRyNrYUXV2vi/QS+2p5g=="]
        self.writer.write("\r\n".join([*lines, *key, "", ""]).encode())

    async def close(self) -> None:
        self.listening.cancel()
        await asyncio.gather(self.listening, return_exceptions=True)
        self.writer.close()

    async def until(self, recorded_time: float) -> None:
        await asyncio.sleep(self.start + recorded_time - asyncio.get_running_loop().time())

    def send(self, row: Row) -> None:
        match row:
            case {"event": "fin"} if self.writer.can_write_eof():
                self.writer.write_eof()
            case {"event": "text" | "cont" | "binary" | "ping" | "close" | "pong" as kind}:
                self.writer.write(
                    Frame(Opcode[kind.upper()], self.payload(row), bool(row.get("fin", 1))).serialize(mask=True)
                )

    def payload(self, row: Row) -> bytes:
        match row:
            case {"event": "close", "code": int(code), "reason": str(reason)}:
                return struct.pack("!H", code) + reason.encode()
            case {"event": "pong"}:
                return self.ping
            case {"hex": str(digits)}:
                return bytes.fromhex(digits)
        return str(row.get("text", "")).encode()

    async def expect(self, row: Row) -> None:
        if row["event"] == "ping":
            self.ping = await self.pings.get()
            return
        came = await self.frames.get()
        assert {name: row[name] for name in row.keys() & came.keys()} == {**came, "t": row["t"]}
        assert abs(float(str(came["t"])) - float(str(row["t"]))) < 0.2

    async def listen(self) -> None:
        """Read what the server sends, to the end of the stream."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            self.came({"event": "http", "line": head.decode().splitlines()[0]})
            while True:
                first, length = await self.reader.readexactly(2)
                if length == 126:
                    [length] = struct.unpack("!H", await self.reader.readexactly(2))
                payload = await self.reader.readexactly(length)
                match Opcode(first & 15):
                    case Opcode.PING:
                        self.pings.put_nowait(payload)
                    case Opcode.TEXT:
                        self.came({"event": "text", "text": payload.decode()})
                    case Opcode.CLOSE:
                        code = int.from_bytes(payload[:2])
                        self.came({"event": "close", "code": code, "reason": payload[2:].decode()})
                    case other:
                        self.came({"event": other.name.lower()})
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self.came({"event": "fin"})

    def came(self, row: Row) -> None:
        self.frames.put_nowait({**row, "t": asyncio.get_running_loop().time() - self.start})


async def replay(server: Server, rows: list[Row]) -> None:
    connections: dict[object, list[Row]] = {}
    for row in rows:
        connections.setdefault(row["conn"], []).append(row)
    async with asyncio.TaskGroup() as group:
        for part in connections.values():
            group.create_task(Replay(server).play(part))


def test_messages_and_the_commands_they_lead_to() -> None:
    """86 conversations in their order with one server, and afterwards the host has seen the same calls."""
    simulator = ZeissInspectSimulator()

    async def story() -> None:
        async with serve(simulator) as server:
            for rows in recorded("messages").values():
                await replay(server, rows)

    leaping(story)
    commands = [json.loads(line) for line in (DATA / "commands.jsonl").read_text().splitlines()]
    ours = [
        {"kind": entry.kind, "file": entry.file, "into": str(entry.into)} for entry in simulator.project.recent
    ]
    assert ours == commands


@pytest.mark.parametrize(
    ("file", "scenario", "options"),
    [
        (file, scenario, options)
        for file, options in {
            "quit": {},  # as it is: nothing ends
            "quit_ends": {"quit_ends": True},  # as its author meant it
            "basics": {"basics": True},
            "busy": {},  # imports of 5 to 70 s, idle connections, all their pings
        }.items()
        for scenario in recorded(file)
    ],
)
def test_recorded(file: str, scenario: str, options: Mapping[str, bool]) -> None:
    async def story() -> None:
        async with serve(ZeissInspectSimulator(**options)) as server:  # type: ignore[arg-type]
            await replay(server, recorded(file)[scenario])

    leaping(story)


# --- what the recordings do not hold, or not whole ---


@pytest.mark.asyncio
async def test_a_message_of_one_mebibyte_is_echoed_and_one_byte_more_is_too_much() -> None:
    async with inspect() as (_, server, client), connect(server.url, max_size=None) as other:
        just = '{"foo": "' + "x" * (2**20 - 11) + '"}'
        reply = await asked(other, just)
        assert len(reply) == 1_048_600
        assert str(reply).startswith("Error: Unknown request:\n{'foo': 'xxx")
        assert await asked(client, just + " ") == (1009, "frame with 1048577 bytes exceeds limit of 1048576 bytes")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "message",
    [
        b'{"image": {}}',
        "[" * 100_000 + "]" * 100_000,
        "1" * 5000,
        '"\\ud800"',
        '{"image": {"file": 1.5, "name": 1, "focal_length": 1}}',
    ],
    ids=["binary", "nested", "digits", "surrogate", "float"],
)
async def test_what_breaks_the_script_ends_one_connection(message: str | bytes) -> None:
    async with inspect() as (_, server, client), connect(server.url) as other:
        assert await asked(client, message) == (1011, "")
        assert await asked(other, elements()) == "O.k."


@pytest.mark.asyncio
async def test_plain_http_is_refused_in_the_librarys_words() -> None:
    async with inspect() as (_, server, _):
        status, body = await get(server, "/")
        assert status == 426
        assert body.startswith("Failed to open a WebSocket connection: missing Connection header.\n\nYou cannot")


@pytest.mark.asyncio
async def test_the_state_shows_what_was_imported_and_when() -> None:
    async with inspect(series="existing,second") as (_, server, client):
        before = time.time()
        for text in (
            image("part-OK.tif", "new", 35),
            image("slow0.03-fail.jpg"),
            elements("ok.gxml", "new_stage"),
        ):
            await asked(client, text)
        state = json.loads((await get(server, "/_state"))[1])
        assert state["requests"] == 3
        assert state["elements"] == {"new_stage": 1}
        assert state["series"] == {
            "existing": {"focal_length": None, "images": 0},
            "second": {"focal_length": None, "images": 0},
            "new": {"focal_length": 35, "images": 1},
        }
        assert state["imports"]["count"] == 3
        assert [entry["outcome"] for entry in state["imports"]["recent"]] == ["done", "failed", "done"]
        times = [entry[name] for entry in state["imports"]["recent"] for name in ("start", "end")]
        assert before <= times[0]
        assert times == sorted(times)
        assert times[3] - times[2] > 0.025


@pytest.mark.asyncio
async def test_a_running_import_is_visible_and_can_be_released() -> None:
    async with inspect() as (_, server, client):
        await client.send(image("slow100000.jpg"))
        await working(server)
        state = json.loads((await get(server, "/_state"))[1])
        assert state["imports"]["recent"][0]["outcome"] == "running"
        assert state["imports"]["recent"][0]["end"] is None
        assert (await get(server, "/_fault/release"))[0] == 200
        assert await asyncio.wait_for(client.recv(), PATIENCE) == "O.k."
        assert json.loads((await get(server, "/_state"))[1])["importing"] is False


@pytest.mark.asyncio
async def test_the_end_of_the_script_reaches_everybody() -> None:
    """During an import: the importing client, an idle one and one in its handshake; then refused; then back."""
    async with inspect() as (simulator, server, client), connect(server.url) as idle:
        await client.send(image("slow100000.jpg"))
        await working(server)
        late = Replay(server)
        await late.open()
        assert (await get(server, "/_fault/end"))[0] == 200
        for one in (client, idle):
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(one.recv(), PATIENCE)
            assert one.close_code == 1006
        assert (await asyncio.wait_for(late.frames.get(), PATIENCE))["event"] == "fin"
        await late.close()
        with pytest.raises(ConnectionRefusedError):
            await connect(server.url)
        assert [entry.outcome for entry in simulator.project.recent] == ["killed"]
        assert simulator.project.series["existing"].images == 0
        server.faults.clear()
        await back(server)


def test_a_crash_in_an_import_and_somebody_who_starts_the_script_again() -> None:
    async def story() -> None:
        async with inspect(back_after=60) as (simulator, server, client):
            assert await asked(client, image("slow2-exit.jpg")) == (1006, "")
            assert [entry.outcome for entry in simulator.project.recent] == ["killed"]
            await asyncio.sleep(59)
            with pytest.raises(ConnectionRefusedError):
                await connect(server.url)
            await asyncio.sleep(2)
            async with connect(server.url) as again:
                assert await asked(again, image("ok.jpg")) == "O.k."

    leaping(story)


def test_pipelined_imports_let_nobody_in_between() -> None:
    async def story() -> None:
        async with inspect() as (simulator, server, client), connect(server.url) as other:
            for _ in range(3):
                await client.send(image("slow3.jpg"))
            await asyncio.sleep(1)
            await other.send(elements())
            for one in (client, client, client, other):
                assert await one.recv() == "O.k."
            assert [entry.kind for entry in simulator.project.recent] == ["image"] * 3 + ["elements"]
            assert 9 <= asyncio.get_running_loop().time() < 9.1

    leaping(story)


def test_a_pong_that_an_import_held_up_comes_too_late() -> None:
    """Seen with the genuine script: the reply arrives, and right behind it the close for a ping timeout."""

    async def story() -> None:
        async with serve(ZeissInspectSimulator()) as server:
            client = Replay(server)
            await client.open()
            client.ping = await client.pings.get()
            client.send({"event": "text", "text": image("slow30.jpg")})
            client.send({"event": "pong"})
            frames = [await client.frames.get() for _ in range(3)]
            assert [frame["event"] for frame in frames] == ["http", "text", "close"]
            assert (frames[2]["code"], frames[2]["reason"]) == (1011, "keepalive ping timeout")
            await client.close()

    leaping(story)


@pytest.mark.parametrize(
    ("path", "seconds", "fails"),
    [
        ("C:/a/ok.jpg", 0, False),
        (r"c:\parts\Part-17-OK.TIF", 0, False),
        (r"\\host\share\slow2.5.jpg", 2.5, False),
        ("/home/x/slow3_fail.gxml", 3, True),
        ("C:/ok/crash.jpg", 0, True),
    ],
)
def test_files_by_name(path: str, seconds: float, fails: bool) -> None:
    file = found(path)
    assert file is not None
    assert (file.seconds, file.fails) == (seconds, fails)


@pytest.mark.parametrize(
    "path",
    [
        "C:/ok/",
        "C:/ok/missing.jpg",
        "ok.jpg",
        "C:ok.jpg",
        "C:/tokyo.jpg",
        "C:/slow.jpg",
        "C:/a\tb/ok.jpg",
        "",
        5,
        True,
    ],
)
def test_files_that_cannot_be_read(path: object) -> None:
    assert found(path) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["image", "file", "quit"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["image", "elements", "file", "name", "focal_length", "import_mode"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_understood_refused_or_breaks_the_script(value: object) -> None:
    simulator = ZeissInspectSimulator()
    try:
        request = understood(json.dumps(value))
        if not isinstance(request, str):
            entry, _ = simulator.project.begin(request)
            assert isinstance(entry, Import)
    except (Refused, Broken):
        assert simulator.project.count == 0
