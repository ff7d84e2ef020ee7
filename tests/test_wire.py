"""The transport with the face of a socket, on a recording transport and under a real paho client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client

from bridge.mqtt_values import ConnectionSettings, Message
from bridge.paho_client import PahoClient, Reports
from bridge.wire import CHUNK, Wire, encode_topic, publish_header


class Recorder(asyncio.Transport):
    """A transport that keeps what it is given and can say that it is full."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.writes: list[bytes] = []
        self.closed = self.aborted = False
        self.buffered = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == CHUNK

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Line:
    """A wire on a recorder, with all that it reports."""

    def __init__(self, packet_limit: int = 1000) -> None:
        self.lost: list[Exception | None] = []
        self.broke: list[Exception] = []
        self.rooms = 0
        self.wire = Wire(self.lost.append, self.broke.append, self._room, packet_limit)
        with socket.socket() as sock:
            self.transport = Recorder(sock)
            self.wire.connection_made(self.transport)

    def _room(self) -> None:
        self.rooms += 1

    def deliver(self, data: bytes) -> None:
        self.wire.get_buffer(-1)[: len(data)] = data
        self.wire.buffer_updated(len(data))


async def turn() -> None:
    """One turn of the loop: what was planned before it has run."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(done.set)
    await done.wait()


def send_one(wire: Wire, payload: bytes = b"p") -> bytes:
    """Publish one small QoS 0 message; returns the packet."""
    name = encode_topic("t")
    header = publish_header(len(name) + 1 + len(payload), False)
    wire.publish(header, name, b"\0", payload)
    return header + name + b"\0" + payload


@contextlib.contextmanager
def loopback() -> Iterator[socket.socket]:
    """A connected TCP socket."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        yield sock


def test_the_socket_sends_at_once_keeps_little_and_probes_nothing() -> None:
    with loopback() as sock:
        Wire(lambda error: None, lambda error: None, lambda: None, 1000).connection_made(Recorder(sock))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * CHUNK  # Linux doubles it
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.asyncio
async def test_all_messages_of_a_turn_leave_in_one_write() -> None:
    line = Line()
    sent = b"".join(send_one(line.wire, b"%d" % i) for i in range(100))
    assert line.transport.writes == []
    await turn()
    assert line.transport.writes == [sent]


@pytest.mark.asyncio
async def test_a_full_chunk_does_not_wait_for_the_end_of_the_turn() -> None:
    line = Line()
    send_one(line.wire, bytes(CHUNK))
    assert len(line.transport.writes) == 1
    await turn()
    assert len(line.transport.writes) == 1


@pytest.mark.asyncio
async def test_packets_of_paho_go_before_what_is_published_after_them() -> None:
    line = Line()
    line.wire.write = lambda: line.wire.send(b"of paho, ")
    line.wire.packets_queued()
    sent = send_one(line.wire)
    line.wire.write = lambda: None
    await turn()
    assert line.transport.writes == [b"of paho, " + sent]


@pytest.mark.asyncio
async def test_what_is_written_while_congested_stays_here_and_goes_when_there_is_room() -> None:
    line = Line()
    line.wire.pause_writing()
    sent = b"".join(send_one(line.wire, bytes(CHUNK)) for _ in range(3))
    await turn()
    line.transport.buffered = 7
    assert (line.transport.writes, line.wire.backlog, line.wire.waiting) == ([], len(sent), len(sent) + 7)
    line.wire.resume_writing()
    assert line.transport.writes == [sent]
    assert (line.rooms, line.wire.backlog) == (1, 0)


@pytest.mark.asyncio
async def test_no_room_is_announced_when_the_backlog_fills_the_transport_again() -> None:
    line = Line()
    line.wire.pause_writing()
    send_one(line.wire)
    line.transport.write = lambda data: line.wire.pause_writing()  # type: ignore[method-assign]
    line.wire.resume_writing()
    assert line.rooms == 0


@pytest.mark.asyncio
async def test_closing_writes_the_rest_even_when_congested() -> None:
    line = Line()
    line.wire.pause_writing()
    sent = send_one(line.wire)
    line.wire.close()
    assert (line.transport.writes, line.transport.closed) == ([sent], True)


@pytest.mark.asyncio
async def test_aborting_drops_the_rest_and_reads_no_more() -> None:
    line = Line()
    send_one(line.wire)
    read: list[bytes] = []

    def read_one() -> None:
        read.append(line.wire.recv(1))
        line.wire.abort()

    line.wire.read = read_one
    line.deliver(b"abc")
    await turn()
    assert (line.transport.writes, line.transport.aborted, read) == ([], True, [b"a"])


def test_aborted_before_it_was_connected_it_cuts_the_connection() -> None:
    wire = Wire(lambda error: None, lambda error: None, lambda: None, 1000)
    wire.abort()
    with socket.socket() as sock:
        transport = Recorder(sock)
        wire.connection_made(transport)
    assert transport.aborted


def test_reading_serves_what_arrived_and_then_would_block() -> None:
    line = Line()
    read: list[bytes] = []

    def read_all() -> None:
        read.extend((line.wire.recv(2), line.wire.recv(99)))
        with pytest.raises(BlockingIOError):
            line.wire.recv(1)

    line.wire.read = read_all
    line.deliver(b"abcde")
    assert read == [b"ab", b"cde"]


def test_what_reading_raises_cuts_the_connection_and_is_reported() -> None:
    line = Line()
    line.wire.read = lambda: line.wire.recv(1001)
    line.deliver(b"abc")
    assert line.transport.aborted
    assert [str(error) for error in line.broke] == ["a packet of 1001 bytes, the limit is 1000"]


def test_the_end_is_reported_once_with_its_error() -> None:
    line = Line()
    error = ConnectionResetError()
    line.wire.connection_lost(error)
    assert (line.lost, line.wire.open) == ([error], False)


@given(st.integers(0, 268_435_455), st.booleans())
def test_the_fixed_header_decodes_to_its_length(length: int, retain: bool) -> None:
    first, *digits = publish_header(length, retain)
    assert first == (0x31 if retain else 0x30)
    assert sum((digit & 127) << 7 * i for i, digit in enumerate(digits)) == length
    assert [digit >> 7 for digit in digits] == [1] * (len(digits) - 1) + [0]
    assert len(digits) == 1 or digits[-1] != 0  # as short as possible: MQTT 5, 1.5.5


@given(st.text(st.characters(exclude_characters="+#\0", exclude_categories=["Cs"]), min_size=1, max_size=99))
def test_a_topic_is_its_length_and_its_utf8(topic: str) -> None:
    encoded = encode_topic(topic)
    assert int.from_bytes(encoded[:2]) == len(encoded) - 2
    assert encoded[2:].decode() == topic


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0", "x" * 65_536, "\ud800"])
def test_what_nobody_may_publish_to_is_no_topic(topic: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - UnicodeEncodeError is one of them
        encode_topic(topic)


def silent() -> Reports:
    def ignore(*_: object) -> None:
        pass

    connected: Callable[[object], None] = ignore
    message: Callable[[Message], None] = ignore
    return Reports(connected, ignore, message, ignore, ignore)


def test_paho_still_has_the_undocumented_name_we_override() -> None:
    """The price of ADR 0003: a new paho must not take this name away, or connect without it, unseen."""
    assert "_create_socket" in vars(Client)
    assert "_create_socket" in vars(PahoClient)


@pytest.mark.asyncio
async def test_paho_connects_through_the_wire_and_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*args: object, **options: object) -> None:
        raise AssertionError("paho opened a socket of its own")

    line = Line(1 << 20)
    client = PahoClient(ConnectionSettings("ignored", "me", protocol="3.1.1"), line.wire, silent())
    with monkeypatch.context() as patched:
        patched.setattr(socket, "create_connection", no_socket)
        patched.setattr(socket, "getaddrinfo", no_socket)
        client.send_connect()
    assert client.socket() is line.wire
    await turn()
    assert line.transport.writes == [b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0f\x00\x02me"]
