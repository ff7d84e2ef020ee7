"""The bytes of one MQTT connection: an asyncio transport that looks like a socket to paho.

Everything that was written in a turn of the loop leaves in one write at its end. Messages with QoS 0 go straight
into the same buffer, past paho (docs/decisions/0003-paho-on-the-event-loop.md).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import cast

from bridge.tls import abort

TCP_NOTSENT_LOWAT, UNSENT = 25, 16 << 10  # Linux; `socket` names it from Python 3.12 on
CHUNK = 64 * 1024  # bytes read at once, written at once, and left to the kernel
_NOT_IN_A_TOPIC = frozenset("+#\0")
_RETAINED = 0x01
_PUBLISH = 0x30


class Wire(asyncio.BufferedProtocol):
    """A transport with the face of a socket: `send` joins what is written, `recv` serves what has arrived.

    While the transport is congested everything stays in one buffer here, so that the transport never holds
    more than about 128 KiB and `waiting` is cheap. The wire is used for one connection and never reopened.

    `lost` is called once, at the end. `broke` is called when reading raised: the connection is then cut.
    """

    def __init__(
        self,
        lost: Callable[[Exception | None], None],
        broke: Callable[[Exception], None],
        room: Callable[[], None],
        packet_limit: int,
    ) -> None:
        self._lost, self._broke, self._room = lost, broke, room
        self._packet_limit = packet_limit
        self._arrived = memoryview(bytearray(CHUNK))
        self._position = self._end = 0
        self._out = bytearray()
        self._due = False  # the write at the end of this turn is planned
        self._queued = False  # paho holds packets that it has not sent yet
        self._shut = False  # nothing more is read, written or taken
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket
        self.congested = False
        self.read: Callable[[], object] = lambda: None  # lets paho read one packet
        self.write: Callable[[], object] = lambda: None  # lets paho send all its packets

    # --- the side of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._shut:
            abort(self._transport)
            return
        self._socket = sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)  # a stall shows here, not in the kernel
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.set_write_buffer_limits(high=CHUNK)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._arrived  # empty again by now: paho itself keeps the part of a packet it has read

    def buffer_updated(self, nbytes: int) -> None:
        self._acknowledge()
        self._position, self._end = 0, nbytes
        try:
            while self._position < self._end and not self._shut:
                self.read()
        except Exception as error:  # paho answers a malformed packet with whatever its decoder ran into
            self._broke(error)
            self.abort()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._push()
        if not self.congested:
            self._room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shut = True
        self._transport = None
        self._lost(exc)

    # --- the side of paho: what it calls on a socket

    def recv(self, bufsize: int) -> bytes:
        """What has arrived, up to `bufsize`; paho asks for all the rest of a packet, so its size shows here."""
        if bufsize > self._packet_limit:
            raise OverflowError(f"a packet of {bufsize} bytes, the limit is {self._packet_limit}")
        if self._position == self._end:
            raise BlockingIOError
        start, self._position = self._position, min(self._position + bufsize, self._end)
        return bytes(self._arrived[start : self._position])

    def send(self, buffer: bytes | bytearray) -> int:
        self._out += buffer
        if len(self._out) >= CHUNK and not self.congested:
            self._push()
        return len(buffer)

    def close(self) -> None:
        """Let the transport write what is left and then close."""
        self.congested = False
        self._push()
        self._shut = True
        if self._transport:
            self._transport.close()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """A transport never blocks."""

    # --- the side of the connection

    def packets_queued(self) -> None:
        """paho has packets to send: it does so at the end of this turn, or before the next `publish`."""
        self._queued = True
        self._plan()

    def publish(self, header: bytes, topic: bytes, rest: bytes, payload: bytes) -> None:
        """Send a QoS 0 PUBLISH past paho, in order with what paho was given before."""
        if self._queued:
            self._take_packets()
        out = self._out
        out += header
        out += topic
        out += rest
        out += payload
        if len(out) >= CHUNK and not self.congested:
            self._push()
        if not self._due:
            self._plan()

    @property
    def open(self) -> bool:
        """There is a transport, and its end has not been reported yet."""
        return self._transport is not None

    @property
    def backlog(self) -> int:
        """Bytes that wait here, at most a chunk unless congested."""
        return len(self._out)

    @property
    def waiting(self) -> int:
        """Bytes that wait here and in the transport."""
        return len(self._out) + (self._transport.get_write_buffer_size() if self._transport else 0)

    def abort(self) -> None:
        """Cut the connection at once; what waits is lost."""
        self._shut = True
        self._out.clear()
        if self._transport:
            abort(self._transport)

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge what arrived at once; Linux forgets this wish, so it is said at each read.

        mosquitto leaves Nagle's algorithm on: it sends the next packet when the last is acknowledged, and we would
        do that 40 ms later when we have nothing to send.
        """
        with suppress(OSError):  # the socket may be closed while TLS still delivers
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _plan(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        self._take_packets()
        if not self.congested:
            self._push()

    def _take_packets(self) -> None:
        self._queued = False
        self.write()

    def _push(self) -> None:
        if self._out and self._transport and not self._shut:
            out, self._out = self._out, bytearray()
            self._transport.write(memoryview(out))


@lru_cache(8192)
def encode_topic(topic: str) -> bytes:
    """The topic with its length in front, as it stands in a PUBLISH; ValueError when nobody may publish to it."""
    data = topic.encode()
    if not 0 < len(data) < 65_536 or not _NOT_IN_A_TOPIC.isdisjoint(topic):
        raise ValueError(f"not a topic to publish to: {topic!r}")
    return len(data).to_bytes(2) + data


@lru_cache(4096)
def publish_header(length: int, retain: bool) -> bytes:
    """The fixed header of a QoS 0 PUBLISH with a remaining length of `length` bytes (MQTT 5, 2.1 and 3.3.1)."""
    header = bytearray([_PUBLISH | _RETAINED if retain else _PUBLISH])
    while length > 127:
        header.append(length & 127 | 128)
        length >>= 7
    header.append(length)
    return bytes(header)
