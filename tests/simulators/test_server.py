"""Each fault of the server layer, seen by a real WebSocket client; and the ways to ask for it."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.simulators.server import Connection, Fault, Reply, Server, serve

SOON, PATIENCE = 0.15, 5.0


class Echo:
    """Answers each message with itself; `work` keeps its connection busy, `block` the server, `fail` is a bug."""

    banner: ClassVar[str] = "Echo/1"
    max_size: ClassVar[int | None] = 1000

    def __init__(self) -> None:
        self.server: Server | None = None
        self.poked = 0

    def respond(self, connection: Connection) -> Reply | None:
        return Reply(200, "hello\n") if connection.path == "/hello" else None

    async def talk(self, connection: Connection) -> None:
        async for message in connection:
            match message:
                case "work":
                    await asyncio.sleep(SOON)
                case "block":
                    assert self.server is not None
                    self.server.faults.block(SOON)
                case "fail":
                    raise RuntimeError("a bug")
                case "bye":
                    return
            connection.send(message)

    async def run(self, server: Server) -> None:
        self.server = server

    def state(self) -> object:
        return {"poked": self.poked}

    def faults(self) -> list[Fault]:
        return [self.poke]

    def poke(self, times: int) -> None:
        """Count."""
        if times < 0:
            raise ValueError("times must not be negative")
        self.poked += times


async def get(server: Server, path: str) -> tuple[int, str]:
    """Plain HTTP, as a script would ask."""
    url = server.url.replace("ws", "http", 1) + path

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def exchange(client: ClientConnection, text: str = "x") -> str | bytes:
    await client.send(text)
    return await asyncio.wait_for(client.recv(), PATIENCE)


async def close_code(client: ClientConnection) -> int | None:
    """Read until the connection ends; the code that the client saw."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()
        await client.wait_closed()
    return client.close_code


@contextmanager
def taking_at_least(seconds: float) -> Iterator[None]:
    clock = asyncio.get_running_loop().time
    start = clock()
    yield
    assert clock() - start >= seconds * 0.9


async def nothing_comes(client: ClientConnection) -> None:
    """Neither an answer nor a pong within a moment."""
    await client.send("anybody?")
    pong = await client.ping()
    done, _ = await asyncio.wait([asyncio.ensure_future(pong)], timeout=SOON)
    assert not done
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.recv(), 0.01)


@pytest.mark.asyncio
async def test_messages_pings_and_closing() -> None:
    async with serve(Echo()) as server:
        async with connect(server.url) as client:
            assert await exchange(client, "grüße") == "grüße"
            await client.send(b"\x00\xff")
            assert await client.recv() == b"\x00\xff"
            await client.send(["in ", "three ", "parts"])
            assert await client.recv() == "in three parts"
            assert await (await client.ping()) < PATIENCE
            assert client.response is not None
            assert client.response.headers["Server"] == "Echo/1"
        assert client.close_code == 1000


@pytest.mark.asyncio
async def test_a_simulator_that_returns_closes_normally() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        await client.send("bye")
        assert await close_code(client) == 1000


@pytest.mark.asyncio
async def test_a_ping_is_answered_after_the_work_before_it() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        with taking_at_least(SOON):
            await client.send("work")
            await (await client.ping())
        assert await client.recv() == "work"


@pytest.mark.asyncio
async def test_blocking_the_whole_server_holds_handshakes_too() -> None:
    async with serve(Echo()) as server, connect(server.url) as client, connect(server.url) as other:
        await client.send("block")
        with taking_at_least(SOON):
            assert await exchange(other) == "x"
        await client.send("block")
        with taking_at_least(SOON):
            async with connect(server.url) as late:
                assert await exchange(late) == "x"


@pytest.mark.asyncio
async def test_too_large_a_message_closes_with_1009() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        await client.send("x" * 1001)
        assert await close_code(client) == 1009


@pytest.mark.asyncio
async def test_invalid_text_from_a_client_closes_with_1007() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        await client.send(b"\xff", text=True)
        assert await close_code(client) == 1007


@pytest.mark.asyncio
async def test_a_bug_of_the_simulator_ends_one_connection_and_is_raised_at_the_end() -> None:
    async def conversation() -> None:
        async with serve(Echo()) as server, connect(server.url) as client, connect(server.url) as other:
            await client.send("fail")
            assert await close_code(client) == 1006
            assert await exchange(other) == "x"

    with pytest.raises(ExceptionGroup) as caught:
        await conversation()
    assert caught.group_contains(RuntimeError, match="a bug")


@pytest.mark.asyncio
async def test_stopping_the_server_looks_like_a_killed_process() -> None:
    async with serve(Echo()) as server:
        client = await connect(server.url)
    assert await close_code(client) == 1006


# --- faults ---


@pytest.mark.asyncio
async def test_drop_and_close() -> None:
    async with serve(Echo()) as server:
        async with connect(server.url) as client:
            server.faults.drop()
            assert await close_code(client) == 1006
        async with connect(server.url) as client:
            server.faults.close(4000, "because")
            assert await close_code(client) == 4000
            assert client.close_reason == "because"


@pytest.mark.asyncio
async def test_stall_for_a_time_withholds_everything() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        server.faults.stall(SOON)
        with taking_at_least(SOON):
            await (await client.ping())
        assert await exchange(client) == "x"


@pytest.mark.asyncio
async def test_stall_for_ever_leaves_new_connections_alone() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        server.faults.stall()
        await nothing_comes(client)
        async with connect(server.url) as other:
            assert await exchange(other) == "x"
        server.faults.clear()
        assert await client.recv() == "anybody?"


@pytest.mark.asyncio
async def test_silence_answers_pings_only() -> None:
    async with serve(Echo()) as server:
        server.faults.silence()
        async with connect(server.url) as client:
            await client.send("lost")
            await (await client.ping())
            server.faults.clear()
            assert await exchange(client, "kept") == "kept"


@pytest.mark.asyncio
async def test_hang_in_the_handshake() -> None:
    async with serve(Echo()) as server, connect(server.url) as old:
        server.faults.hang()
        with pytest.raises(TimeoutError):
            await connect(server.url, open_timeout=SOON)
        assert await exchange(old) == "x"
        server.faults.clear()
        async with connect(server.url) as client:
            assert await exchange(client) == "x"


@pytest.mark.parametrize("status", [401, 404, 503])
@pytest.mark.asyncio
async def test_refuse_with_a_status(status: int) -> None:
    async with serve(Echo()) as server:
        server.faults.refuse(None, status)
        with pytest.raises(InvalidStatus) as caught:
            await connect(server.url)
        assert caught.value.response.status_code == status
        server.faults.clear()
        await (await connect(server.url)).close()


@pytest.mark.asyncio
async def test_refuse_by_tcp_keeps_the_port_and_the_connections() -> None:
    async with serve(Echo()) as server, connect(server.url) as old:
        server.faults.refuse(SOON)
        with pytest.raises(ConnectionRefusedError):
            await connect(server.url)
        assert await exchange(old) == "x"
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    client = await connect(server.url)
                    break
                except ConnectionRefusedError:
                    await (await old.ping())
        assert await exchange(client) == "x"
        await client.close()


@pytest.mark.asyncio
async def test_delay_keeps_the_order() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        server.faults.delay(SOON)
        with taking_at_least(SOON):
            await client.send("1")
            await client.send("2")
            assert [await client.recv(), await client.recv()] == ["1", "2"]


@pytest.mark.asyncio
async def test_garbled_text_is_a_frame_with_broken_json() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        server.faults.garble("text", 2)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"."):
                json.loads(await exchange(client, '{"a": 1}'))
        assert await exchange(client, "whole") == "whole"


@pytest.mark.parametrize(("kind", "code"), [("utf8", 1007), ("frame", 1002)])
@pytest.mark.asyncio
async def test_garbled_frames_break_the_connection(kind: str, code: int) -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        await get(server, f"/_fault/garble?kind={kind}")
        await client.send("x")
        assert await close_code(client) == 1006
        assert client.protocol.close_sent is not None
        assert client.protocol.close_sent.code == code


@pytest.mark.asyncio
async def test_cut_in_the_middle_of_a_frame_then_silence_then_the_rest() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        server.faults.cut("silence", SOON)
        with taking_at_least(SOON):
            assert await exchange(client, "a longer text") == "a longer text"


@pytest.mark.parametrize("then", ["close", "drop"])
@pytest.mark.asyncio
async def test_cut_in_the_middle_of_a_frame_then_the_end(then: str) -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        await get(server, f"/_fault/cut?then={then}")
        await client.send("a longer text")
        assert await close_code(client) == 1006


@pytest.mark.asyncio
async def test_flood_repeats_the_last_message() -> None:
    async with serve(Echo()) as server, connect(server.url) as client:
        await exchange(client, "again")
        server.faults.flood(500)
        assert [await client.recv() for _ in range(500)] == ["again"] * 500


# --- the control path ---


@pytest.mark.asyncio
async def test_faults_by_http() -> None:
    echo = Echo()
    async with serve(echo) as server:
        status, listing = await get(server, "/_fault")
        assert status == 200
        known = json.loads(listing)
        assert {"poke", "stall", "block", "silence", "hang", "refuse", "delay", "garble", "cut"} <= known.keys()
        assert known["poke"] == {"does": "Count.", "parameters": {"times": "required"}}
        assert known["stall"]["parameters"] == {"seconds": None}
        assert await get(server, "/_fault/poke?times=3") == (200, '{"fault": "poke", "times": "3"}\n')
        assert await get(server, "/_state") == (200, '{"poked": 3}\n')
        assert (await get(server, "/hello")) == (200, "hello\n")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/_fault/nonsense", 404, "no fault nonsense"),
        ("/_fault/poke", 400, "missing: times"),
        ("/_fault/poke?times=x", 400, "invalid literal"),
        ("/_fault/poke?times=-1", 400, "must not be negative"),
        ("/_fault/poke?times=1&color=red", 400, "unknown: color"),
        ("/_fault/cut?then=sing", 400, "'sing' is none of silence, close, drop"),
    ],
)
@pytest.mark.asyncio
async def test_wrong_control_requests_say_why(path: str, status: int, text: str) -> None:
    async with serve(Echo()) as server:
        code, body = await get(server, path)
        assert (code, text in body) == (status, True), body


@pytest.mark.asyncio
async def test_the_control_path_works_whatever_the_faults_do() -> None:
    async with serve(Echo(), credentials=("user", "secret")) as server:
        for fault in ("block", "hang", "silence", "delay?seconds=60", "refuse?status=503"):
            assert (await get(server, f"/_fault/{fault}"))[0] == 200
        assert (await get(server, "/_fault/clear"))[0] == 200
        assert (await get(server, "/hello"))[0] == 401


# --- who may connect ---


@pytest.mark.asyncio
async def test_basic_credentials() -> None:
    async with serve(Echo(), credentials=("user", "secret")) as server:
        for wrong in (server.url, server.url.replace("//", "//user:wrong@")):
            with pytest.raises(InvalidStatus) as caught:
                await connect(wrong)
            assert caught.value.response.status_code == 401
            assert caught.value.response.headers["WWW-Authenticate"].startswith("Basic")
        async with connect(server.url.replace("//", "//user:secret@")) as client:
            assert await exchange(client) == "x"


@pytest.mark.asyncio
async def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(
        subprocess.run,
        [*command, "-keyout", str(key), "-out", str(certificate), "-days", "2", *subject],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    trust = ssl.create_default_context(cafile=str(certificate))
    async with serve(Echo(), tls=tls) as server:
        assert server.url.startswith("wss://")
        async with connect(server.url, ssl=trust) as client:
            assert await exchange(client) == "x"
        assert client.close_code == 1000


@pytest.mark.asyncio
async def test_noise_instead_of_http_is_survived() -> None:
    async with serve(Echo()) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        await writer.wait_closed()
        async with connect(server.url) as client:
            assert await exchange(client) == "x"
