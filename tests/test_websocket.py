from __future__ import annotations

import asyncio
import base64
import gc
import logging
import socket
import struct
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, basic_auth, serve

from bridge import __version__
from bridge.tls import client_context
from bridge.websocket import (
    ConnectionLost,
    HandshakeRefused,
    HandshakeTimeout,
    ProtocolViolation,
    Target,
    WebSocket,
    WebSocketError,
    connection,
    long_text,
)
from bridge.websocket.long_text import decode_in_turns
from bridge.websocket.protocol import LONG, Reader
from tests.certificates import self_signed
from tests.websocket_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, close_frame, frame, serving

Script = Callable[[Peer], Awaitable[None]]


class Owner:
    """Whom a connection reports to."""

    def __init__(self, target: Target | str) -> None:
        target = Target(target) if isinstance(target, str) else target
        self.messages: list[tuple[bytes, bool]] = []
        self.pongs: list[bytes] = []
        self.flushes = 0
        self.error: Exception | None = None  # raised when a message comes
        self.news = asyncio.Event()
        self.socket = WebSocket(target, self.message, self.pong, self.flush)

    def message(self, data: bytes, text: bool) -> None:
        assert type(data) is bytes
        self.messages.append((data, text))
        if self.error is not None:
            raise self.error

    def pong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def flush(self) -> None:
        self.flushes += 1
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def ended(self) -> Exception | None:
        async with asyncio.timeout(5):
            await asyncio.wait([self.socket.closed])
        return self.socket.closed.result()


@asynccontextmanager
async def connected(script: Script, **options: Any) -> AsyncIterator[Owner]:
    """An open connection to a peer that plays the script; closed in the end."""
    async with serving(script) as url:
        owner = Owner(Target(url, **options))
        await owner.socket.connect()
        try:
            yield owner
        finally:
            await owner.socket.close(timeout=0.05)


async def accept_and_wait(peer: Peer) -> None:
    await peer.accept()
    await peer.gone()


def says(*frames: bytes) -> Script:
    """A peer that shakes hands, says this and waits for the client to leave."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(*frames)
        await peer.gone()

    return script


def answers(reply: bytes, *, stay: bool = False) -> Script:
    """A peer that answers the request like that and hangs up, or stays."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.writer.write(reply)
        if stay:
            await peer.gone()

    return script


async def failure(script: Script, **options: Any) -> BaseException:
    """What connecting to such a peer raises."""
    async with serving(script) as url:
        owner = Owner(Target(url, **options))
        with pytest.raises(Exception) as caught:  # noqa: PT011  (the test looks at it)
            await owner.socket.connect()
        assert await owner.ended() is caught.value
        assert owner.messages == []
        return caught.value


# --- opening ---------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_request() -> None:
    requests: list[dict[str, str]] = []

    async def script(peer: Peer) -> None:
        peek = peer.read_request

        async def read() -> dict[str, str]:
            requests.append(await peek())
            return requests[-1]

        peer.read_request = read  # type: ignore[method-assign]
        await peer.accept(extra="Server: evok/3\r\n")
        await peer.gone()

    async with connected(script, username="me", password="ö:x", headers={"X-Key": "1", "HOST": "lab"}) as owner:
        assert owner.socket.server == "evok/3"
    async with connected(script, headers={"user-agent": "other"}) as owner:
        pass
    first, second = requests
    assert base64.b64decode(first["authorization"].removeprefix("Basic ")).decode() == "me:ö:x"
    assert (first["user-agent"], first["x-key"], first["host"]) == (f"lab2mqtt/{__version__}", "1", "lab")
    assert second["user-agent"] == "other"
    assert "authorization" not in second
    assert "sec-websocket-extensions" not in first


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [401, 404, 409, 503, 302])
async def test_a_refused_handshake(status: int) -> None:
    body = b"Go away,\nplease" + b"." * 1000
    reply = f"HTTP/1.1 {status} Because\r\nContent-Length: {len(body)}\r\nX-Why: no\r\n\r\n".encode() + body
    refused = await failure(answers(reply, stay=True))
    assert isinstance(refused, HandshakeRefused)
    assert (refused.status, refused.reason, refused.headers["X-Why"]) == (status, "Because", "no")
    assert refused.body.startswith("Go away, please.")
    assert len(str(refused)) < 300


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.0 409 Conflict\r\n\r\nwrong version",  # as small servers answer
        b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 99\r\n\r\nhalf",
        b"HTTP/1.1 409 Conflict\r\nno colon\r\n\r\n",
        b"HTTP/1.1 409\r\n\r\n",
    ],
)
async def test_the_status_counts_even_if_the_rest_is_malformed(reply: bytes) -> None:
    refused = await failure(answers(reply))
    assert isinstance(refused, HandshakeRefused)
    assert refused.status == 409


@pytest.mark.asyncio
async def test_a_refusal_without_an_end_is_no_silence() -> None:
    refused = await failure(answers(b"HTTP/1.1 401 Who?\r\n\r\nNo length", stay=True), open_timeout=0.1)
    assert isinstance(refused, HandshakeRefused)
    assert (refused.status, refused.reason) == (401, "Who?")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "SSH-2.0"),
        (b"\x15\x03\x03\x00\x02\x02\x16\r\n\r\n", "handshake"),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "Accept"),
        (
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
            "Accept",
        ),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "Upgrade"),
        (b"HTTP/1.1 101 Yes\r\nA: " + b"x" * 10_000 + b"\r\n\r\n", ""),
    ],
)
async def test_a_wrong_handshake(reply: bytes, words: str) -> None:
    broken = await failure(answers(reply, stay=True))
    assert isinstance(broken, ProtocolViolation)
    assert words in str(broken)
    assert str(broken).isprintable()


@pytest.mark.asyncio
async def test_extensions_are_not_wanted() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(extra="Sec-WebSocket-Extensions: permessage-deflate\r\n")
        await peer.gone()

    assert isinstance(await failure(script), ProtocolViolation)


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 101 Switching Proto"])
async def test_hanging_up_is_no_silence(reply: bytes) -> None:
    lost = await failure(answers(reply))
    assert isinstance(lost, ConnectionLost | ConnectionError)


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 101 Switching Proto"])
async def test_a_silent_handshake(reply: bytes) -> None:
    silent = await failure(answers(reply, stay=True), open_timeout=0.1)
    assert isinstance(silent, HandshakeTimeout)


@pytest.mark.asyncio
async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    owner = Owner(f"ws://127.0.0.1:{port}/")
    with pytest.raises(ConnectionRefusedError):
        await owner.socket.connect()


@pytest.mark.asyncio
async def test_a_tcp_timeout_is_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        blockers = [socket.socket() for _ in range(4)]
        for blocker in blockers:  # fill the queue of those who wait to be accepted
            blocker.setblocking(False)
            blocker.connect_ex(full.getsockname())
        owner = Owner(Target(f"ws://127.0.0.1:{full.getsockname()[1]}/", open_timeout=0.2))
        with pytest.raises(TimeoutError, match="does not answer") as caught:
            await owner.socket.connect()
        assert not isinstance(caught.value, HandshakeTimeout)
        for blocker in blockers:
            blocker.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("tls", [False, True])
async def test_a_cancelled_connect_leaves_no_socket(tls: bool) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        asked.set()
        await peer.gone()
        gone.set()

    async with serving(script) as url:
        context = client_context(insecure=True) if tls else None
        owner = Owner(Target(url.replace("ws:", "wss:") if tls else url, tls=context))
        task = asyncio.create_task(owner.socket.connect())
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(5):
            await gone.wait()
        assert await owner.ended() is None
    gc.collect()  # an unclosed transport would warn now


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://host/"}, "ws or wss"),
        ({"url": "ws:///path"}, "hostname"),
        ({"url": "ws://host/a b"}, "spaces"),
        ({"url": "ws://host/\r\nX: y"}, "control characters"),
        ({"url": "ws://me:secret@host/"}, "credentials"),
        ({"url": "wss://host/"}, "go together"),
        ({"url": "ws://host/a b?key=secret"}, "spaces"),
        ({"url": "wss://host/?key=secret"}, "go together"),
        ({"url": "http://host/?key=secret"}, "ws or wss"),
        ({"tls": client_context(insecure=True)}, "go together"),
        ({"headers": {"X": "a\r\nB: c"}}, "'X'"),
        ({"headers": {"X y": "a"}}, "'X y'"),
        ({"headers": {"Sec-WebSocket-Key": "a"}}, "handshake itself"),
        ({"password": "secret"}, "without a username"),
        ({"username": "a:b", "password": "secret"}, "colon"),
    ],
)
def test_a_target_that_cannot_work(changes: dict[str, Any], words: str) -> None:
    target = Target("ws://host:1994/default")
    with pytest.raises(ValueError, match=words) as caught:
        replace(target, **changes)
    assert "secret" not in str(caught.value)


def test_a_target_does_not_show_its_secrets() -> None:
    shown = repr(Target("ws://host/", {"Authorization": "hush"}, "me", "secret"))
    assert "secret" not in shown
    assert "hush" not in shown


# --- messages ------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_messages_pings_and_pongs() -> None:
    received = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(
            frame(TEXT, b"a"), frame(BINARY, b"\0"), frame(PING, b"p"), frame(TEXT, b"\xff\xfe"), frame(TEXT)
        )
        for _ in range(4):
            received.append(await peer.receive())
        peer.send(frame(PONG, received[-1].data))
        await peer.gone()

    async with connected(script) as owner:
        await owner.until(lambda: len(owner.messages) == 4)
        assert owner.messages == [(b"a", True), (b"\0", False), (b"\xff\xfe", True), (b"", True)]
        owner.socket.send("ä")
        owner.socket.send(b"\1" * 70_000)
        owner.socket.ping(b"fence 1")
        await owner.until(lambda: bool(owner.pongs))
        assert owner.pongs == [b"fence 1"]
        with pytest.raises(ValueError, match="125"):
            owner.socket.ping(bytes(126))
    assert [(got.opcode, got.data) for got in received] == [
        (PONG, b"p"),
        (TEXT, "ä".encode()),
        (BINARY, b"\1" * 70_000),
        (PING, b"fence 1"),
    ]


@pytest.mark.asyncio
async def test_what_comes_with_the_reply_waits_for_the_owner() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(behind=frame(TEXT, b"1") + frame(TEXT, b"2") + close_frame(1000))

    async with serving(script) as url:
        owner = Owner(url)
        await owner.socket.connect()
        assert owner.messages == []
        assert not owner.socket.closed.done()
        assert isinstance(await owner.ended(), ConnectionLost)
        assert owner.messages == [(b"1", True), (b"2", True)]
        assert owner.flushes == 1


@pytest.mark.asyncio
async def test_one_flush_per_read() -> None:
    batch = b"".join(frame(TEXT, b"%d" % number) for number in range(1000))  # less than one read buffer
    async with connected(says(batch)) as owner:
        await owner.until(lambda: len(owner.messages) == 1000)
        assert 1 <= owner.flushes < 10


@pytest.mark.asyncio
async def test_fragments_with_a_ping_between() -> None:
    frames = [
        frame(TEXT, b"a", fin=False),
        frame(PING, b"?"),
        frame(CONTINUATION, b"", fin=False),
        frame(CONTINUATION, b"b"),
        frame(BINARY, b"", fin=False),
        frame(CONTINUATION, b"c"),
        frame(TEXT, b"d"),
    ]
    async with connected(says(*frames)) as owner:
        await owner.until(lambda: len(owner.messages) == 3)
        assert owner.messages == [(b"ab", True), (b"c", False), (b"d", True)]


@pytest.mark.asyncio
async def test_fragments_cost_linear_time() -> None:
    pieces, size = 1 << 17, 128
    fragment = frame(CONTINUATION, b"x" * size, fin=False)
    behind = fragment * (pieces - 2) + frame(CONTINUATION, b"x" * size)
    began = time.monotonic()
    async with connected(says(frame(BINARY, b"x" * size, fin=False), behind)) as owner:
        async with asyncio.timeout(60):
            while not owner.messages:  # flushes come by the hundred before it
                owner.news.clear()
                await owner.news.wait()
        assert owner.messages == [(b"x" * (16 << 20), False)]
    assert time.monotonic() - began < 30  # it takes 1; copying all of it for each fragment would take minutes


@pytest.mark.asyncio
async def test_any_splitting_of_the_stream() -> None:
    stream = frame(TEXT, b"one") + frame(BINARY, b"2" * 300) + frame(PING) + frame(TEXT, b"three")

    async def script(peer: Peer) -> None:
        await peer.accept()
        for byte in stream:
            peer.send(bytes([byte]))
            await peer.writer.drain()
        await peer.gone()

    async with connected(script) as owner:
        await owner.until(lambda: len(owner.messages) == 3)
        assert owner.messages == [(b"one", True), (b"2" * 300, False), (b"three", True)]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "frames",
    [
        [frame(TEXT, bytes(1001))],
        [frame(BINARY, bytes(1 << 20))],
        [frame(TEXT, bytes(600), fin=False), frame(CONTINUATION, bytes(401))],
        [b"\x82\x7f\x7f" + b"\xff" * 7],  # announces 9 exabytes
    ],
)
async def test_a_message_over_the_limit(frames: list[bytes]) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, bytes(1000)), *frames)
        codes.append((await peer.receive()).code)

    async with connected(script, frame_limit=1000) as owner:
        ended = await owner.ended()
        assert isinstance(ended, ProtocolViolation)
        assert ended.code == 1009
        assert owner.messages == [(bytes(1000), True)]
    assert codes == [1009]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (frame(TEXT, b"masked", mask=b"abcd"), 1002),
        (frame(3), 1002),
        (frame(TEXT | 0x40, b"compressed"), 1002),
        (frame(CONTINUATION, b"of nothing"), 1002),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(PING, fin=False), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (close_frame(1006), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
)
async def test_a_peer_that_breaks_the_rules(broken: bytes, code: int) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"good"), broken, frame(TEXT, b"ignored"))
        codes.append((await peer.receive()).code)

    async with connected(script) as owner:
        ended = await owner.ended()
        assert isinstance(ended, ProtocolViolation)
        assert ended.code == code
        assert owner.messages == [(b"good", True)]
    assert codes == [code]


# --- the end -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("goodbye", "code", "reason"),
    [
        (close_frame(1000, "bye"), 1000, "bye"),
        (close_frame(1001), 1001, ""),
        (close_frame(1011, "keepalive ping timeout"), 1011, "keepalive ping timeout"),
        (close_frame(4000, "a\nb"), 4000, "a b"),
        (frame(CLOSE), 1005, ""),
        (b"", 1006, "the peer hung up without a close frame"),
        (frame(TEXT, b"half a message")[:5], 1006, "the peer hung up without a close frame"),
    ],
)
async def test_how_the_peer_left(goodbye: bytes, code: int, reason: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"last words"), goodbye)

    async with connected(script) as owner:
        lost = await owner.ended()
        assert isinstance(lost, ConnectionLost)
        assert (lost.code, lost.reason) == (code, reason)
        assert owner.messages == [(b"last words", True)]
        with pytest.raises(ConnectionLost):
            owner.socket.send("too late")
        with pytest.raises(ConnectionLost):
            owner.socket.ping(b"")
        assert owner.socket.waiting == 0


@pytest.mark.asyncio
async def test_a_reset_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        peer.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        peer.writer.transport.abort()

    async with connected(script) as owner:
        owner.socket.send("reset me")
        lost = await owner.ended()
        assert isinstance(lost, ConnectionLost)
        assert lost.code == 1006
        assert isinstance(lost.__cause__, ConnectionResetError)


@pytest.mark.asyncio
@pytest.mark.parametrize("goodbye", [close_frame(1000), frame(TEXT, b"x", mask=b"abcd")])
async def test_a_peer_that_does_not_hang_up(goodbye: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANG_UP", 0.05)
    async with connected(says(goodbye)) as owner:
        assert isinstance(await owner.ended(), ConnectionLost | ProtocolViolation)


@pytest.mark.asyncio
async def test_we_leave() -> None:
    goodbyes = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        goodbye = await peer.receive()
        goodbyes.append((goodbye.opcode, goodbye.code, goodbye.data[2:]))
        peer.send(frame(TEXT, b"not wanted any more"), frame(CLOSE, goodbye.data))

    async with connected(script) as owner:
        await owner.socket.close(1001, "é" * 100)
        assert await owner.ended() is None
        assert owner.messages == []
        assert owner.flushes == 0
        with pytest.raises(ConnectionLost):
            owner.socket.send("too late")
    assert goodbyes == [(CLOSE, 1001, "é".encode() * 61)]


@pytest.mark.asyncio
async def test_leaving_takes_no_longer_than_allowed() -> None:
    async with connected(says(frame(TEXT, b"half a message")[:5])) as owner:
        began = time.monotonic()
        await owner.socket.close(timeout=0.05)
        assert time.monotonic() - began < 1
        assert await owner.ended() is None


@pytest.mark.asyncio
async def test_a_cancelled_close_leaves_no_socket() -> None:
    async with connected(accept_and_wait) as owner:
        task = asyncio.create_task(owner.socket.close(timeout=60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await owner.ended() is None


@pytest.mark.asyncio
async def test_a_callbacks_exception_is_the_end() -> None:
    async with connected(says(frame(TEXT, b"1"), frame(TEXT, b"2"))) as owner:
        owner.error = LookupError("a bug")
        assert await owner.ended() is owner.error
        assert owner.messages == [(b"1", True)]
        assert owner.flushes == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("callback", ["_on_pong", "_on_flush"])
async def test_so_is_that_of_the_other_callbacks(callback: str) -> None:
    error = LookupError("a bug")

    def fail(*arguments: object) -> None:
        raise error

    async with connected(says(frame(PONG))) as owner:
        setattr(owner.socket, callback, fail)
        assert await owner.ended() is error


@pytest.mark.asyncio
async def test_a_callback_may_end_it_in_the_middle_of_a_batch() -> None:
    seen: list[bytes] = []

    def leave(data: bytes, text: bool) -> None:
        seen.append(data)
        owner.socket.abort()

    async with connected(says(frame(TEXT, b"1"), frame(TEXT, b"2"))) as owner:
        owner.socket._on_message = leave
        assert await owner.ended() is None
        assert seen == [b"1"]


@pytest.mark.asyncio
async def test_the_first_cause_of_an_abort_counts() -> None:
    async with connected(accept_and_wait) as owner:
        first = TimeoutError("no pong")
        owner.socket.abort(first)
        owner.socket.abort(LookupError())
        assert await owner.ended() is first


# --- limits of sending -----------------------------------------------------------------------------------


def reads_nothing(until: asyncio.Event) -> Script:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until.wait()
        peer.writer.transport.abort()

    return script


async def flood(socket: WebSocket) -> None:
    for _ in range(1000):
        socket.send(bytes(100_000))
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_unsent_bytes_are_bounded() -> None:
    done, limit = asyncio.Event(), 1 << 20
    async with connected(reads_nothing(done), send_limit=limit) as owner:
        with pytest.raises(BufferError, match="too many"):
            owner.socket.send(bytes(limit + 1))
        with pytest.raises(BufferError, match="unsent"):
            await flood(owner.socket)
        assert limit - 200_000 < owner.socket.waiting <= limit + 1000
        assert not owner.socket.closed.done()
        done.set()
        assert isinstance(await owner.ended(), ConnectionLost)


@pytest.mark.asyncio
async def test_a_peer_that_pings_and_never_reads() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            for _ in range(2000):
                peer.send(frame(PING, bytes(125)) * 1000)
                await peer.writer.drain()
        except OSError:
            pass

    async with connected(script, send_limit=1 << 16) as owner:
        ended = await owner.ended()
        assert isinstance(ended, ProtocolViolation)
        assert ended.code == 1008


# --- other people's software -----------------------------------------------------------------------------


async def echo(server: ServerConnection) -> None:
    async for message in server:
        await server.send(message)


async def converse(target: Target) -> None:
    owner = Owner(target)
    await owner.socket.connect()
    sent: list[str | bytes] = ["", "ä", b"", b"\0" * 126, "x" * 65_536, b"y" * 3_000_000, "end"]
    for message in sent:
        owner.socket.send(message)
    owner.socket.ping(b"fence")
    await owner.until(lambda: len(owner.messages) == len(sent))
    await owner.until(lambda: owner.pongs == [b"fence"])
    got: list[str | bytes] = [data.decode() if text else data for data, text in owner.messages]
    assert got == sent
    await owner.socket.close()
    assert await owner.ended() is None


@pytest.mark.asyncio
async def test_with_the_librarys_server() -> None:
    auth = basic_auth(realm="lab", credentials=("me", "secret"))
    async with serve(echo, "127.0.0.1", 0, process_request=auth, max_size=None) as server:
        target = Target(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", username="me", password="secret")
        await converse(target)
        with pytest.raises(HandshakeRefused) as caught:
            await Owner(replace(target, password="wrong")).socket.connect()
        assert caught.value.status == HTTPStatus.UNAUTHORIZED


async def converse_over_tls(folder: Path) -> None:
    pair, other = self_signed(folder, "instrument.lab"), self_signed(folder, "other.lab")
    async with serve(echo, "127.0.0.1", 0, ssl=pair.server_context(), max_size=None) as server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        by_name = client_context(ca=pair.certificate)
        await converse(Target(url, tls=by_name, server_name="instrument.lab"))
        await converse(Target(url, tls=client_context(fingerprint=pair.fingerprint)))
        for context in (by_name, client_context(fingerprint=other.fingerprint)):
            owner = Owner(Target(url, tls=context))
            with pytest.raises(OSError, match=r"(?i)certificate"):
                await owner.socket.connect()
            assert isinstance(await owner.ended(), OSError)
    async with serving(answers_nothing) as url:
        with pytest.raises(HandshakeTimeout):
            await Owner(Target(url.replace("ws:", "wss:"), tls=by_name, open_timeout=0.1)).socket.connect()


async def answers_nothing(peer: Peer) -> None:
    await peer.gone()


@pytest.mark.asyncio
async def test_tls(tmp_path: Path) -> None:
    await converse_over_tls(tmp_path)


def test_uvloop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop", exc_type=ImportError)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(converse_over_tls(tmp_path))
        for test in (
            test_with_the_librarys_server,
            test_what_comes_with_the_reply_waits_for_the_owner,
            test_unsent_bytes_are_bounded,
            test_a_peer_that_pings_and_never_reads,
            test_a_callbacks_exception_is_the_end,
            test_nobody_listens,
        ):
            runner.run(test())


# --- long messages ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("step", [1 << 24, 65_537, 3001])
async def test_long_payloads_among_short_ones(step: int) -> None:
    long, just, half = bytes(range(256)) * (LONG // 256 + 1), b"j" * LONG, b"h" * (LONG - 1)
    messages = [(b"a", True), (long, False), (just, True), (half, False), (long + just + b"c", True), (b"z", True)]
    stream = b"".join(
        [
            frame(TEXT, b"a"),
            frame(BINARY, long),
            frame(PING, b"?"),
            frame(TEXT, just),
            frame(BINARY, half),
            frame(TEXT, long, fin=False),
            frame(PONG, b"!"),
            frame(CONTINUATION, just, fin=False),
            frame(CONTINUATION, b"c"),
            frame(TEXT, b"z"),
        ]
    )

    async def script(peer: Peer) -> None:
        await peer.accept()
        for at in range(0, len(stream), step):
            peer.send(stream[at : at + step])
            await peer.writer.drain()
        pong = await peer.receive()
        assert (pong.opcode, pong.data) == (PONG, b"?")
        await peer.gone()

    async with connected(script) as owner:
        await owner.until(lambda: len(owner.messages) == len(messages))
        assert owner.messages == messages
        assert owner.pongs == [b"!"]


@pytest.mark.asyncio
async def test_a_long_payload_is_the_owners_alone() -> None:
    async with connected(says(frame(BINARY, bytes(LONG)))) as owner:
        await owner.until(lambda: bool(owner.messages))
        data, _ = owner.messages.pop()
        assert sys.getrefcount(data) == 2  # `data` and the argument: the parser does not keep it


@pytest.mark.asyncio
async def test_a_peer_that_hangs_up_within_a_long_payload() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(BINARY, bytes(2 * LONG))[:-1])

    async with connected(script) as owner:
        lost = await owner.ended()
        assert isinstance(lost, ConnectionLost)
        assert lost.code == 1006
        assert owner.messages == []


def read_in_pieces(size: int, piece: bytes) -> bytearray:
    """One payload of such a size from a stream of such pieces."""
    reader = Reader()
    reading = reader.read_exact(size)
    while True:
        try:
            next(reading)
        except StopIteration as read:
            return cast(bytearray, read.value)
        reader.feed_data(piece)


def test_a_long_payload_is_in_memory_once() -> None:
    size, piece = 32 << 20, bytes(1 << 16)
    tracemalloc.start()
    try:
        assert len(read_in_pieces(size, piece)) == size
        assert tracemalloc.get_traced_memory()[1] < 1.3 * size
    finally:
        tracemalloc.stop()


@pytest.mark.asyncio
async def test_what_is_held_comes_later_and_in_order() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.send(frame(TEXT, b"hold"), frame(TEXT, b"1"), frame(PONG, b"p"))
        await peer.writer.drain()
        await peer.receive()
        peer.send(frame(TEXT, b"hold"), frame(TEXT, b"2"), frame(PING))
        await peer.receive()  # the pong: the next ones come in a read of their own
        peer.send(frame(TEXT, b"3"), close_frame(1000))

    def take(data: bytes, text: bool) -> None:
        seen.append(data)
        if data == b"hold":
            owner.socket.hold()

    def pong(payload: bytes) -> None:
        seen.append(b"pong")

    seen: list[bytes] = []
    async with connected(script) as owner:
        owner.socket._on_message, owner.socket._on_pong = take, pong
        await owner.until(lambda: bool(seen))
        owner.socket.send("go on")
        async with asyncio.timeout(5):
            while owner.socket._protocol.close_rcvd is None:
                await asyncio.sleep(0)
        assert seen == [b"hold"]
        owner.socket.release()
        assert seen == [b"hold", b"1", b"pong", b"hold"]
        assert not owner.socket.closed.done()
        owner.socket.release()
        assert seen == [b"hold", b"1", b"pong", b"hold", b"2", b"3"]
        assert isinstance(await owner.ended(), ConnectionLost)


@pytest.mark.asyncio
async def test_leaving_does_not_wait_for_what_is_held() -> None:
    async with connected(says(frame(TEXT, b"1"))) as owner:
        await owner.until(lambda: bool(owner.messages))
        owner.socket.hold()
        await asyncio.wait_for(owner.socket.close(timeout=0.05), 5)
        assert await owner.ended() is None


async def decoded(data: bytes) -> str | None:
    taken: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    decode_in_turns(data, taken.set_result)
    return await asyncio.wait_for(taken, 5)


@given(st.binary() | st.text().map(str.encode), st.integers(1, 5))
def test_a_long_text_is_decoded_as_any_other(data: bytes, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_text, "PIECE", piece)
        try:
            expected: str | None = data.decode()
        except UnicodeDecodeError:
            expected = None
        assert asyncio.run(decoded(data)) == expected


@pytest.mark.asyncio
async def test_others_get_turns_while_a_long_text_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_text, "PIECE", 10)
    task = asyncio.create_task(decoded(b"x" * 1000))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert task.result() == "x" * 1000
    assert turns >= 100


@pytest.mark.asyncio
async def test_an_error_does_not_drag_a_long_text_along() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    error = LookupError("a bug")

    def take(text: str | None) -> None:
        raise error

    decode_in_turns(b"x", take)
    async with asyncio.timeout(5):
        while not reports:
            await asyncio.sleep(0)
    assert reports[0]["exception"] is error
    assert error.__context__ is None


# --- anything ----------------------------------------------------------------------------------------------


def undisturbed(conversation: Coroutine[None, None, None]) -> None:
    """Run it on a loop of its own; nothing may be reported to the loop, and no task may be left."""
    reports: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        await conversation
        gc.collect(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(watched())
    assert reports == []


FRAMES = st.builds(
    lambda opcode, data, fin, flip: frame(opcode | flip, data, fin=fin),
    st.sampled_from([CONTINUATION, TEXT, TEXT, BINARY, CLOSE, PING, PONG]),
    st.binary(max_size=200),
    st.booleans(),
    st.sampled_from([0, 0, 0, 0, 0x10, 0x40]),
)
STREAMS = st.lists(FRAMES | st.binary(max_size=20), max_size=10)


@settings(max_examples=100, deadline=None)
@given(STREAMS, st.booleans())
def test_any_bytes_after_the_handshake(pieces: list[bytes], behind: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(behind=b"".join(pieces) if behind else b"")
        if not behind:
            for piece in pieces:
                peer.send(piece)
                await peer.writer.drain()

    async def conversation() -> None:
        async with serving(script) as url:
            owner = Owner(url)
            await owner.socket.connect()
            assert isinstance(await owner.ended(), WebSocketError)

    undisturbed(conversation())


HEADS = st.sampled_from(
    [b"", b"HTTP/1.1 ", b"HTTP/1.1 101 Yes\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: ", b"\r\n\r\n"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(HEADS | st.binary(max_size=50), max_size=6))
def test_any_bytes_instead_of_the_handshake(pieces: list[bytes]) -> None:
    async def conversation() -> None:
        error = await failure(answers(b"".join(pieces)))
        assert isinstance(error, WebSocketError | ConnectionError), error

    undisturbed(conversation())


@pytest.mark.asyncio
async def test_credentials_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(accept_and_wait, username="me", password="secret") as owner:
        owner.socket.send("hush")
    assert base64.b64encode(b"me:secret").decode() not in caplog.text
    assert "hush" not in caplog.text
