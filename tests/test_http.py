"""The small HTTP server: right answers to what is right, little cost of what is not; its peer is a socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import monotonic
from urllib.request import urlopen

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from bridge import http
from bridge.http import HEAD, MOST, Page, Server, answer

HOST = "127.0.0.1"
LONG = b"x" * 3_000_000  # more than the kernel takes at once
ASK = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def echoed(query: str) -> Page:
    return Page(query.encode())


PAGES = {
    "/echo": echoed,
    "/long": lambda query: Page(LONG),
    "/down": lambda query: Page(b"no", status=HTTPStatus.SERVICE_UNAVAILABLE),
    "/broken": lambda query: Page(b"%d" % (1 // 0)),
}


class Running:
    """A server on a port of its own, and what it says of its troubles."""

    def __init__(self, port: int = 0) -> None:
        self.troubles: list[str] = []
        self.server = Server(HOST, port, PAGES, self.troubles.append)
        self.task = asyncio.create_task(self.server.run())

    async def until(self, condition: Callable[[], object], within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                assert not self.task.done()
                await asyncio.sleep(0)

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self.port)

    async def ask(self, request: bytes) -> bytes:
        """All that comes back until the server has said its last; half of the connection stays open meanwhile."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            async with asyncio.timeout(5.0):
                return await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    await made.until(lambda: made.server.addresses)
    yield made
    await made.stop()


def split(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    line, *headers = head.decode("ascii").split("\r\n")
    version, status, _ = line.split(" ", 2)
    assert version == "HTTP/1.1"
    return int(status), dict(header.split(": ", 1) for header in headers), body


# --- what it answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /echo?a=b HTTP/1.1\r\nHost: x", 200, b"a=b"),
        (b"GET /echo?a HTTP/1.0", 200, b"a"),
        (b"GET /echo?a HTTP/1.0\nAccept: */*", 200, b"a"),
        (b"GET http://x:1/echo?a HTTP/1.1\r\nhost: x", 200, b"a"),
        (b"GET /echo#a HTTP/1.1\r\nHost: x", 200, b""),
        (b"GET /down HTTP/1.1\r\nHost: x", 503, b"no"),
        (b"GET / HTTP/1.1\r\nHost: x", 404, None),
        (b"GET /echo/ HTTP/1.1\r\nHost: x", 404, None),
        (b"GET /../echo HTTP/1.1\r\nHost: x", 404, None),
        (b"OPTIONS * HTTP/1.1\r\nHost: x", 404, None),
        (b"POST /echo HTTP/1.1\r\nHost: x", 405, None),
        (b"get /echo HTTP/1.1\r\nHost: x", 405, None),
        (b"GET http://[/echo HTTP/1.1\r\nHost: x", 400, None),
        (b"GET /echo HTTP/1.1", 400, None),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nHost: y", 400, None),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nno header", 400, None),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\n folded: y", 400, None),
        (b"GET /echo HTTP/1.1\r\nHost : x", 400, None),
        (b"GET /echo HTTP/1.1\r\nHost: x\ry", 400, None),
        (b"GET  /echo HTTP/1.1\r\nHost: x", 400, None),
        (b"GET /echo HTTP/2.0\r\nHost: x", 400, None),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x", 400, None),
        (b"GET /echo", 400, None),
        (b"\x16\x03\x01\x02\x00", 400, None),
        (b"", 400, None),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nX: " + b"x" * HEAD, 431, None),
        (None, 431, None),
    ],
)
def test_answers(request_: bytes | None, status: int, body: bytes | None) -> None:
    got, headers, told = split(answer(request_, PAGES))
    assert got == status
    assert body is None or told == body
    assert headers["Content-Length"] == str(len(told))
    assert headers["Connection"] == "close"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert parsedate_to_datetime(headers["Date"]).tzinfo is not None
    assert headers.get("Allow") == ("GET, HEAD" if status == 405 else None)
    assert b"\n" in told or status in (200, 503)


def test_head_is_get_without_the_body() -> None:
    for path in ("/echo?abc", "/down", "/nowhere"):
        _, got, body = split(answer(b"GET %s HTTP/1.0" % path.encode(), PAGES))
        _, head, nothing = split(answer(b"HEAD %s HTTP/1.0" % path.encode(), PAGES))
        assert head.pop("Date")
        assert got.pop("Date")
        assert head == got
        assert (nothing, bool(body)) == (b"", True)


@given(
    st.binary(max_size=200) | st.from_regex(rb"[A-Z]{3} /[a-z?]* HTTP/1.[01](\r?\n[A-Za-z: ]*)*", fullmatch=True)
)
def test_whatever_is_asked_there_is_an_answer(head: bytes) -> None:
    status, headers, body = split(answer(head, PAGES))
    assert status in (200, 400, 404, 405, 503)
    assert int(headers["Content-Length"]) in (len(body), len(LONG)) or head.startswith(b"HEAD")


# --- on a socket -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_another_client_understands_it(running: Running) -> None:
    def get() -> bytes:
        with urlopen(f"http://{HOST}:{running.port}/long", timeout=5.0) as reply:
            assert reply.headers["Connection"] == "close"
            got: bytes = reply.read()
            return got

    assert await asyncio.to_thread(get) == LONG


@pytest.mark.asyncio
async def test_a_request_in_pieces_and_one_with_a_body(running: Running) -> None:
    reader, writer = await running.connect()
    for byte in ASK % b"/echo?ok":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert split(await reader.read())[2] == b"ok"
    writer.close()
    body = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000
    assert split(await running.ask(body))[0] == 405


@pytest.mark.asyncio
async def test_one_who_closes_his_half_still_gets_his_answer(running: Running) -> None:
    reader, writer = await running.connect()
    writer.write(ASK % b"/echo?half")
    writer.write_eof()
    assert split(await reader.read())[2] == b"half"
    writer.close()


@pytest.mark.asyncio
async def test_a_second_request_on_one_connection_is_not_answered(running: Running) -> None:
    assert (await running.ask(2 * (ASK % b"/echo?1"))).count(b"HTTP/1.1") == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("flood", [b"x" * (HEAD + 1), b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * HEAD])
async def test_a_head_without_end_is_refused(running: Running, flood: bytes) -> None:
    assert split(await running.ask(flood))[0] == 431
    assert (await running.ask(ASK % b"/echo?ok")).endswith(b"ok")


@pytest.mark.asyncio
async def test_one_who_never_stops_sending_is_cut_off(running: Running) -> None:
    reader, writer = await running.connect()
    with suppress(ConnectionError):
        async with asyncio.timeout(5.0):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
    await running.until(lambda: not running.server.connections)
    with suppress(ConnectionError):
        await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.asyncio
async def test_whoever_is_slow_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", 0.1)
    begun = monotonic()
    silent, asks, reads = await running.connect(), await running.connect(), await running.connect()
    asks[1].write(b"GET /echo HTTP/1.1\r\nX: ")  # and no more
    reads[1].write(ASK % b"/long")  # and never reads
    await running.until(lambda: len(running.server.connections) == 3)
    await running.until(lambda: not running.server.connections)
    assert monotonic() - begun < 3.0
    for reader, writer in (silent, asks, reads):
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.asyncio
async def test_many_who_say_nothing_keep_nobody_from_being_answered(running: Running) -> None:
    idle = [await running.connect() for _ in range(3 * MOST)]
    await running.until(lambda: len(running.server.connections) == MOST)
    assert (await running.ask(ASK % b"/echo?ok")).endswith(b"ok")
    assert len(running.server.connections) <= MOST
    for reader, writer in idle[: 2 * MOST]:  # the oldest had to go
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    for _, writer in idle:
        writer.close()


@pytest.mark.asyncio
async def test_a_page_that_fails_costs_its_connection_and_nothing_else(running: Running) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context["exception"]))
    with suppress(ConnectionError):
        assert await running.ask(ASK % b"/broken") == b""
    assert isinstance(said[0], ZeroDivisionError)
    assert (await running.ask(ASK % b"/echo?ok")).endswith(b"ok")


# --- its life --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_nothing_is_left_when_it_ends() -> None:
    running = Running()
    await running.until(lambda: running.server.addresses)
    port = running.port
    idle = [await running.connect() for _ in range(3)]
    idle[0][1].write(ASK % b"/long")
    await running.until(lambda: len(running.server.connections) == 3)
    await running.stop()
    assert not running.server.connections
    for reader, writer in idle:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, port)) != 0


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_told_and_had_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.keeper.FIRST", 0.01)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        running = Running(port)
        await running.until(lambda: running.troubles)
        assert f"no HTTP on {HOST} port {port}: " in running.troubles[0]
        assert "in use" in running.troubles[0]
        assert not running.server.addresses
    await running.until(lambda: running.server.addresses)
    assert running.troubles[-1] == ""
    assert (await running.ask(ASK % b"/echo?ok")).endswith(b"ok")
    await running.stop()
