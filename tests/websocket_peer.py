"""A WebSocket server of raw bytes, written from RFC 6455 alone: it can break every rule."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, mask: bytes | None = None) -> bytes:
    """One frame as a server sends it; with a mask it is one that a server must not send."""
    length, masked = len(data), 0x80 if mask else 0
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([masked | length])
    elif length < 1 << 16:
        head += bytes([masked | 126]) + struct.pack("!H", length)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", length)
    return head + (mask + unmask(data, mask) if mask else data)


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


def unmask(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


@dataclass(frozen=True, slots=True)
class Received:
    opcode: int
    data: bytes

    @property
    def code(self) -> int:
        """Of a close frame."""
        return int(struct.unpack("!H", self.data[:2])[0])


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.request = b""

    async def read_request(self) -> dict[str, str]:
        """The request's headers, names in lower case."""
        self.request = await self.reader.readuntil(b"\r\n\r\n")
        lines = self.request.decode().split("\r\n")[1:-2]
        names = [line.partition(": ")[0].lower() for line in lines]
        assert len(set(names)) == len(names), "a header was sent twice"
        return {name: line.partition(": ")[2] for name, line in zip(names, lines, strict=True)}

    async def accept(self, behind: bytes = b"", extra: str = "") -> None:
        """Shake hands; `behind` goes out in the same piece as the reply."""
        headers = await self.read_request()
        digest = hashlib.sha1(headers["sec-websocket-key"].encode() + GUID).digest()
        accept = base64.b64encode(digest).decode()
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n".encode()
            + behind
        )
        await self.writer.drain()

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def receive(self) -> Received:
        first, second = await self.reader.readexactly(2)
        assert first & 0x80, "a fragment"
        assert second & 0x80, "a client must mask"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        return Received(first & 0x0F, unmask(await self.reader.readexactly(length), mask))

    async def gone(self) -> None:
        """Wait until the client has hung up, whatever it still says."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except OSError:
            pass


@asynccontextmanager
async def serving(
    script: Callable[[Peer], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Play the script with everyone who connects to the URL yielded; the script's failures are raised."""
    scripts: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Peer(reader, writer))
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scripts.add(asyncio.create_task(play(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'wss' if context else 'ws'}://127.0.0.1:{port}/ws"
        if scripts:
            done, _ = await asyncio.wait(scripts, timeout=5)
            for task in done:
                task.result()
            assert done == scripts, "the server's script has not ended: the client never hung up"
    finally:
        server.close()
        for task in scripts:
            task.cancel()
        await asyncio.gather(*scripts, return_exceptions=True)
