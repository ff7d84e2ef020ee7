"""`record`: what passes is passed unchanged, heard in whole, and written without secrets."""

from __future__ import annotations

import asyncio
import json
import signal
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from bridge.cli.main import main
from bridge.cli.record import heads
from bridge.cli.record.frames import Frames, Said
from bridge.cli.record.recorder import Recorder
from bridge.cli.record.relay import Relay
from bridge.simulators.evok import EvokSimulator
from bridge.simulators.im7 import simulator as im7
from bridge.simulators.server import Connection, serve
from bridge.tls import client_context
from bridge.transcript import Entry, decode
from bridge.websocket import Target
from tests.certificates import self_signed
from tests.cli.running import DEADLINE, bridge, ended, read_until, run, start

HOST = "127.0.0.1"
SIZE = 1 << 20


# --- frames -----------------------------------------------------------------------------------------------

payloads = st.tuples(st.just("text"), st.text()) | st.tuples(st.just("binary"), st.binary())


@given(st.lists(payloads, max_size=4), st.booleans(), st.integers(1, 9), st.lists(st.integers(1, 7), min_size=1))
def test_messages_are_heard_in_any_pieces(
    sent: list[tuple[str, str | bytes]], masked: bool, fragment: int, pieces: list[int]
) -> None:
    raw = b""
    for kind, data in sent:
        whole = data.encode() if isinstance(data, str) else data
        parts = [whole[at : at + fragment] for at in range(0, len(whole), fragment)] or [b""]
        for number, part in enumerate(parts):
            opcode = Opcode.CONT if number else Opcode[kind.upper()]
            raw += Frame(opcode, part, fin=number == len(parts) - 1).serialize(mask=masked)
            raw += Frame(Opcode.PING, b"\xffbetween").serialize(mask=masked)
    frames, heard, turn = Frames(masked=masked, largest=SIZE), list[Said](), 0
    while raw:
        size = pieces[turn % len(pieces)]
        heard += frames.feed(raw[:size])
        raw, turn = raw[size:], turn + 1
    assert [(said.kind, said.data) for said in heard if said.kind != "ping"] == sent
    assert {said.data for said in heard if said.kind == "ping"} <= {"\xffbetween"}


@pytest.mark.parametrize(
    "raw",
    [b"\x83\x00", b"\x81\x7f\x00\x00\x01\x00\x00\x00\x00\x00", b"\x81\x80\x00\x00\x00\x00", b"\x88\x02\x00\x00"],
    ids=["opcode", "too-long", "masked", "close-code"],
)
def test_what_is_no_frame_is_said_once(raw: bytes) -> None:
    frames = Frames(masked=False, largest=SIZE)
    (said,) = frames.feed(Frame(Opcode.TEXT, b"good").serialize(mask=False) + raw)[1:]
    assert said.kind == "note"
    assert "no WebSocket" in str(said.data)
    assert frames.feed(b"anything") == []


def test_endless_fragments_end() -> None:
    frames = Frames(masked=False, largest=10)
    assert frames.feed(Frame(Opcode.TEXT, b"12345678", fin=False).serialize(mask=False)) == []
    (said,) = frames.feed(Frame(Opcode.CONT, b"12345678", fin=False).serialize(mask=False))
    assert said.kind == "note"


def test_a_text_that_is_none_is_kept_as_bytes() -> None:
    heard = Frames(masked=False, largest=SIZE).feed(Frame(Opcode.TEXT, b"\xff").serialize(mask=False))
    assert [said.kind for said in heard] == ["note", "binary"]
    assert heard[1].data == b"\xff"


# --- heads ------------------------------------------------------------------------------------------------


def test_only_host_and_extensions_are_changed() -> None:
    head = (
        b"GET /ws?a=b HTTP/1.1\r\nhost: 127.0.0.1:8081\r\nUpgrade: WebSocket\r\nX-Own:  kept as it is \r\n"
        b"Sec-WebSocket-Extensions: deflate;\r\n  client_max_window_bits\r\nSec-WebSocket-Key: k\r\n\r\n"
    )
    assert heads.for_device(head, "io.local:8080") == (
        b"GET /ws?a=b HTTP/1.1\r\nHost: io.local:8080\r\nUpgrade: WebSocket\r\nX-Own:  kept as it is \r\n"
        b"Sec-WebSocket-Key: k\r\n\r\n"
    )
    assert heads.is_websocket(head)


# --- the relay ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def recorded(
    url: str, file: Path, *secrets: str, limit: int = SIZE, target: Target | None = None
) -> AsyncIterator[Relay]:
    told: list[str] = []
    recorder = Recorder(file, secrets, limit, told.append)
    async with recorder, Relay(target or Target(url), recorder, told.append, largest=limit) as relay:
        yield relay


def entries(file: Path) -> list[Entry]:
    with file.open("rb") as lines:
        return list(decode(lines))


def said(file: Path, kind: str, direction: str = "<>") -> list[object]:
    return [entry.data for entry in entries(file) if entry.kind == kind and entry.dir in direction]


@asynccontextmanager
async def talker(heard: list[bytes], answer: bytes) -> AsyncIterator[int]:
    """Hears all, answers at the end of what it hears; its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.asyncio
async def test_every_byte_passes_and_so_does_the_end(tmp_path: Path) -> None:
    """A megabyte of noise both ways, each side closed by itself: whatever it is, the relay does not care."""
    request = ClientProtocol(parse_uri("ws://device/")).connect().serialize()
    noise, heard = bytes(range(256)) * 4096, list[bytes]()
    async with (
        talker(heard, b"HTTP/1.1 101 X\r\n\r\n" + noise) as port,
        recorded(f"ws://{HOST}:{port}/", tmp_path / "r") as relay,
    ):
        uri = parse_uri(relay.url)
        reader, writer = await asyncio.open_connection(uri.host, uri.port)
        writer.write(request + noise)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
    assert answer == b"HTTP/1.1 101 X\r\n\r\n" + noise
    head, _, rest = heard[0].partition(b"\r\n\r\n")
    assert rest == noise
    assert f"Host: {HOST}:{port}".encode() in head.split(b"\r\n")
    assert said(tmp_path / "r", "note")[1:], "that this is no WebSocket is told"
    assert [entry.dir for entry in entries(tmp_path / "r") if entry.kind == "end"] == [">", "<"]


@pytest.mark.asyncio
async def test_a_pong_comes_from_the_device_and_from_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "r"
    async with serve(EvokSimulator(lively=False)) as server, recorded(f"{server.url}/ws", file) as relay:
        async with connect(relay.url, ping_interval=None) as client:
            await (await client.ping(b"one"))
            server.connections[0].stall()
            pong = await client.ping(b"two")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(pong), 0.2)
            server.connections[0].stalled.open()
            await pong
        assert not server.connections
    spoken = [(entry.dir, entry.kind, entry.data) for entry in entries(file) if entry.kind in ("ping", "pong")]
    assert spoken == [(">", "ping", "one"), ("<", "pong", "one"), (">", "ping", "two"), ("<", "pong", "two")]
    assert said(file, "close", ">") == said(file, "close", "<") == [{"code": 1000, "reason": ""}]
    assert [entry.kind for entry in entries(file)][:3] == ["note", "http", "http"]
    request = said(file, "http", ">")[0]
    assert isinstance(request, dict)
    assert "Sec-WebSocket-Extensions" not in request["headers"]


@pytest.mark.asyncio
async def test_connections_are_numbered_and_one_that_fails_is_told(tmp_path: Path) -> None:
    file = tmp_path / "r"
    async with serve(EvokSimulator(lively=False)) as server, recorded(f"{server.url}/ws", file) as relay:
        async with connect(relay.url) as first, connect(relay.url) as second:
            for client in (second, first):
                await client.send('{"cmd": "all"}')
                await client.recv()
        server.faults.refuse(None)
        with pytest.raises(InvalidMessage):
            await connect(relay.url)
    asked = [entry.conn for entry in entries(file) if entry.kind == "text" and entry.dir == ">"]
    assert asked == [2, 1]
    (lost,) = [entry.data for entry in entries(file) if entry.conn == 3][1:]
    assert lost == {"lost": "connection refused: nobody listens there"}


@pytest.mark.asyncio
async def test_a_device_behind_tls(tmp_path: Path) -> None:
    pair, file = self_signed(tmp_path, "device"), tmp_path / "r"
    async with serve(EvokSimulator(lively=False), tls=pair.server_context()) as server:
        target = Target(f"{server.url}/ws", tls=client_context(fingerprint=pair.fingerprint))
        async with recorded("", file, target=target) as relay, connect(relay.url) as client:
            assert relay.url.startswith("ws://")
            await client.send('{"cmd": "all"}')
            assert str(await client.recv()).startswith("[")
    assert len(said(file, "text", "<")) == 1


@pytest.mark.asyncio
async def test_the_file_has_a_limit_and_the_traffic_has_none(tmp_path: Path) -> None:
    file, told = tmp_path / "r", list[str]()
    async with serve(EvokSimulator(lively=False)) as server:
        recorder = Recorder(file, [], 100_000, told.append)
        relay = Relay(Target(f"{server.url}/ws"), recorder, told.append, largest=SIZE)
        async with recorder, relay, connect(relay.url) as client:
            for _ in range(60):
                await client.send('{"cmd": "all"}')
                await client.recv()
    assert 50_000 < file.stat().st_size <= 100_000
    assert "file is full" in str(entries(file)[-1].data)
    assert any("recording has ended, the traffic goes on" in line for line in told)
    assert recorder.complete


# --- secrets --------------------------------------------------------------------------------------------------

CONFIGURED = 'plánted-"secret"'


class Parrot(EvokSimulator):
    """Says everything again, and tells in its close frame."""

    async def talk(self, connection: Connection) -> None:
        async for message in connection:
            connection.send(message)
            if message == b"bye":
                connection.close(4000, f"no {CONFIGURED}")


@pytest.mark.asyncio
async def test_no_secret_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r"
    basic = b64encode(f"me:{CONFIGURED}".encode()).decode()
    header = {"Authorization": f"Basic {basic}", "X-My-Auth": "planted-1", "Cookie": "planted-2"}
    messages: list[str | bytes] = [
        json.dumps({"login": {"password": "planted-3", "pw": "planted-4"}}),
        json.dumps({"deep": json.dumps({"token": "planted-5"})}),
        f"in the middle {CONFIGURED} of it",
        json.dumps({"said": CONFIGURED}),
        f"\x00\xff{CONFIGURED}".encode(),
        "see http://me:planted-6@host/",
        b"bye",
    ]
    async with (
        serve(Parrot()) as server,
        recorded(f"{server.url}/ws?key=planted-7", file, CONFIGURED) as relay,
        connect(relay.url, additional_headers=header) as client,
    ):
        await (await client.ping(CONFIGURED.encode()))
        for message in messages:
            await client.send(message)
            assert await client.recv() == message
        with pytest.raises(ConnectionClosed):
            await client.recv()
    text = file.read_text()
    assert "planted" not in text
    assert "plánted" not in text
    assert basic not in text
    assert not any(b"nted-" in entry.data for entry in entries(file) if isinstance(entry.data, bytes))
    assert len(said(file, "text") + said(file, "binary")) == 2 * len(messages)
    assert text.count("***") > 15
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.asyncio
async def test_a_refusal_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "r"
    async with (
        serve(im7(user="me", password="right")) as server,
        recorded(f"{server.url}/default", file) as relay,
    ):
        with pytest.raises(InvalidStatus):
            await connect(relay.url)
    (head,) = said(file, "http", "<")
    assert isinstance(head, dict)
    assert head["line"].startswith("HTTP/1.1 401")


# --- the command ----------------------------------------------------------------------------------------------


@contextmanager
def configured(tmp_path: Path, text: str) -> Iterator[str]:
    file = tmp_path / "lab2mqtt.toml"
    file.write_text(text)
    yield str(file)


@pytest.mark.asyncio
async def test_a_driver_listens_and_commands_nothing(tmp_path: Path) -> None:
    """Not while the daemon has the device, unless one insists."""
    output = tmp_path / "r"
    async with bridge() as running:
        with configured(tmp_path, running.configuration) as file:
            refused = await run("record", "-c", file, "unipi", "--for", "1", "-o", str(output))
            assert refused.code == 64
            assert "the daemon gw has it" in refused.err
            assert not output.exists()
            done = await run("record", "-c", file, "unipi", "--for", "1", "-o", str(output), "--anyway")
            assert done.code == 0, done.err
            again = await run("record", "-c", file, "unipi", "--for", "1", "-o", str(output), "--anyway")
            assert again.code == 64
            assert "exists already" in again.err
    assert said(output, "text", ">") == ['{"cmd": "all"}']
    assert said(output, "text", "<")
    assert len([entry for entry in entries(output) if entry.kind == "pong"]) == 1


@pytest.mark.asyncio
async def test_it_ends_by_a_signal_with_all_that_was_heard(tmp_path: Path) -> None:
    output = tmp_path / "r"
    async with serve(EvokSimulator(lively=False)) as server:
        process = await start("record", f"{server.url}/ws", "-o", str(output))
        line = await read_until(process, "give this url to the client: ")
        async with connect(line.split()[-1]) as client:
            await client.send('{"cmd": "all"}')
            await client.recv()
            process.send_signal(signal.SIGINT)
            done = await ended(process)
    assert done.code == 0
    assert "1 connections, 1 frames from the device, 1 to it" in done.out
    assert len(said(output, "text")) == 2


@pytest.mark.asyncio
async def test_what_was_heard_survives_the_recorders_death(tmp_path: Path) -> None:
    output = tmp_path / "r"
    async with serve(EvokSimulator(lively=False)) as server:
        process = await start("record", f"{server.url}/ws", "-o", str(output))
        line = await read_until(process, "give this url to the client: ")
        async with connect(line.split()[-1]) as client:
            await client.send('{"cmd": "all"}')
            await client.recv()
            process.kill()
            await process.wait()
            await client.wait_closed()
    async with asyncio.timeout(DEADLINE):
        while output.read_text().count('"kind":"text"') < 2 or not output.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    assert len(said(output, "text")) >= 2


@pytest.mark.asyncio
async def test_what_comes_too_fast_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r"
    async with Recorder(file, [], 64 << 20, lambda text: None) as recorder:
        monkeypatch.setattr("bridge.cli.record.recorder.WAITING", 1 << 20)
        for _ in range(20):
            recorder.add("<", "text", "x" * 500_000, 1)
    kept = said(file, "text")
    (note,) = said(file, "note", "!")
    assert 2 <= len(kept) < 20
    assert str(note).startswith(f"{20 - len(kept)} frames are missing here")
    assert recorder.frames["<"] == 20


@pytest.mark.parametrize(
    "words",
    [
        ["http://host/"],
        ["ws://user:password@host/"],
        ["ws://host/", "--device", "x"],
        ["device"],
        ["ws://host/", "--max-size", "0"],
    ],
)
def test_wrong_use(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB2MQTT_BRIDGE__ID", raising=False)
    try:
        code = main(["record", *words])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code in (64, 78)
