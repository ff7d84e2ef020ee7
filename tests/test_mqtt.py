"""The connection against a scripted peer: what mosquitto sends never, or only when it is hard to arrange."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.mqtt import (
    ConnectionSettings,
    Filter,
    Message,
    Meta,
    Mqtt,
    MqttError,
    Refused,
    TooLarge,
    Will,
)

DEADLINE = 5.0  # seconds, for what should happen at once
CONNACK = b"\x20\x03\x00\x00\x00"
CONNACK_311 = b"\x20\x02\x00\x00"
UNAVAILABLE, BAD_PASSWORD, TAKEN_OVER = 0x88, 0x86, 0x8E


def packet(first: int, body: bytes) -> bytes:
    """A control packet with a body of less than 128 bytes."""
    return bytes([first, len(body)]) + body


def connack(code: int = 0, properties: bytes = b"", flags: int = 0) -> bytes:
    return packet(0x20, bytes([flags, code, len(properties)]) + properties)


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2) + value


def inbound(topic: bytes, payload: bytes = b"", first: int = 0x30, properties: bytes = b"") -> bytes:
    mid = b"\0\7" if first & 6 else b""
    return packet(first, text(topic) + mid + bytes([len(properties)]) + properties + payload)


class Link:
    """The peer's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> tuple[int, bytes]:
        """The next packet: its first byte and its body."""
        async with asyncio.timeout(DEADLINE):
            first = (await self.reader.readexactly(1))[0]
            length, shift, more = 0, 0, True
            while more:
                digit = (await self.reader.readexactly(1))[0]
                length, shift, more = length + ((digit & 127) << shift), shift + 7, digit > 127
            return first, await self.reader.readexactly(length)

    async def at_end(self) -> bool:
        """The other side closes, having sent nothing more."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read() == b""

    def close(self) -> None:
        self.writer.close()


@dataclass
class Peer:
    """A broker that says only what the test says."""

    port: int
    links: asyncio.Queue[Link]

    async def accept(self) -> Link:
        async with asyncio.timeout(DEADLINE):
            return await self.links.get()


@dataclass
class Connection:
    """An `Mqtt` under test with all that it reports."""

    mqtt: Mqtt
    link: Link
    messages: list[Message]
    acks: list[tuple[int, int]]
    rooms: list[None]

    def fill(self) -> int:
        """Publish numbered messages of about a kilobyte until there is no room; returns how many were taken."""
        for number in itertools.count():
            try:
                self.mqtt.publish("t", b"%06d" % number + bytes(1000))
            except BufferError:
                return number
        raise AssertionError

    async def end(self) -> Exception | None:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self.mqtt.closed)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until all that was sent to us has had its effect."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0)

    async def answered(self) -> None:
        """All that the peer sent before has been read: a subscription after it is answered."""
        subscribing = asyncio.create_task(self.mqtt.subscribe([Filter("barrier")]))
        first, body = await self.link.receive()
        assert first == 0x82
        self.link.send(packet(0x90, body[:2] + b"\0\1"))
        assert await subscribing == [1]


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Peer]:
    links: asyncio.Queue[Link] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        links.put_nowait(Link(reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield Peer(server.sockets[0].getsockname()[1], links)
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(
    answer: bytes = CONNACK, on_room: Callable[[], None] | None = None, **options: Any
) -> AsyncIterator[Connection]:
    """A connection that is up; at the end it is cut, whatever the test did with it."""
    messages: list[Message] = []
    acks: list[tuple[int, int]] = []
    rooms: list[None] = []
    async with listening() as peer:
        mqtt = Mqtt(
            ConnectionSettings("127.0.0.1", "me", peer.port, **options),
            messages.append,
            lambda mid, code: acks.append((mid, code)),
            on_room or (lambda: rooms.append(None)),
        )
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        connection = Connection(mqtt, link, messages, acks, rooms)
        assert (await link.receive())[0] == 0x10
        link.send(answer)
        try:
            await connecting
            yield connection
        finally:
            await mqtt.disconnect(0)


# --- connecting


@pytest.mark.asyncio
async def test_connect_sends_what_the_settings_say() -> None:
    async with listening() as peer:
        will = Will("w", b"gone", delay=5)
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port, username="u", password="p", will=will))
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        properties = b"\x11\0\0\0\x1e" + b"\x21\0\x64" + b"\x27\0\x10\0\0"
        body = text(b"MQTT") + b"\x05\xec\x00\x0f" + bytes([len(properties)]) + properties
        body += text(b"me") + b"\x05\x18\0\0\0\x05" + text(b"w") + text(b"gone") + text(b"u") + text(b"p")
        assert await link.receive() == (0x10, body)
        link.send(CONNACK)
        await connecting
        assert mqtt.up
        assert await mqtt.disconnect() == 0
        assert await link.receive() == (0xE0, b"")
        assert await link.at_end()


@pytest.mark.asyncio
async def test_under_3_1_1_the_session_is_clean() -> None:
    async with listening() as peer:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port, "3.1.1", will=Will("w", b"gone")))
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        body = text(b"MQTT") + b"\x04\x2e\x00\x0f" + text(b"me") + text(b"w") + text(b"gone")
        assert await link.receive() == (0x10, body)
        link.send(CONNACK_311)
        await connecting
        await mqtt.disconnect()


@pytest.mark.asyncio
async def test_silence_instead_of_a_connack_ends_in_a_timeout() -> None:
    async with listening() as peer:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port, timeout=0.1))
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TimeoutError, match=r"no CONNACK within 0\.1 s"):
                await mqtt.connect()
        link = await peer.accept()
        await link.receive()
        assert await link.at_end()
        assert isinstance(await mqtt.closed, TimeoutError)


@pytest.mark.asyncio
async def test_nobody_listening_is_an_oserror() -> None:
    async with listening() as peer:
        pass
    mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port))
    with pytest.raises(ConnectionRefusedError):
        await mqtt.connect()
    assert await mqtt.disconnect() == 0
    with pytest.raises(MqttError, match="not connected"):
        mqtt.publish("t", b"")


@pytest.mark.asyncio
async def test_a_cancelled_connect_leaves_nothing_open() -> None:
    async with listening() as peer:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port))
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        await link.receive()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert await link.at_end()
        assert mqtt.closed.done()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("protocol", "answer", "code", "passing"),
    [
        ("5", connack(BAD_PASSWORD, b"\x1f\0\x03why"), BAD_PASSWORD, False),
        ("5", connack(UNAVAILABLE), UNAVAILABLE, True),
        ("3.1.1", b"\x20\x02\x00\x05", 0x87, False),
        ("3.1.1", b"\x20\x02\x00\x03", UNAVAILABLE, True),
    ],
)
async def test_a_refusing_connack_says_why(
    protocol: Literal["5", "3.1.1"], answer: bytes, code: int, passing: bool
) -> None:
    with pytest.raises(Refused, match="connection refused by the broker: ") as caught:
        async with connected(answer, protocol=protocol):
            pass
    assert (caught.value.code, caught.value.passing) == (code, passing)
    assert ("why" in str(caught.value)) == (code == BAD_PASSWORD)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer", [b"\x20\x02\x00\x01", b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x03\x00\xee\x00"]
)
async def test_no_sense_instead_of_a_connack_is_an_error(answer: bytes) -> None:
    async with listening() as peer:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port, protocol="3.1.1"))
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        await link.receive()
        link.send(answer)
        link.close()
        with pytest.raises((MqttError, ConnectionError)):
            await connecting


@pytest.mark.asyncio
async def test_the_broker_s_limits_are_known_and_kept() -> None:
    properties = b"\x21\0\x02" + b"\x27\0\0\0\x14" + b"\x25\0"  # receive maximum 2, packet 20, no retain
    async with connected(connack(0, properties, flags=1)) as connection:
        mqtt = connection.mqtt
        limits = mqtt.limits
        assert (limits.session_present, limits.window, limits.packet, limits.retain) == (True, 2, 20, False)
        assert mqtt.publish("t", b"0123456789abcd", retain=True) is None  # 20 bytes
        assert await connection.link.receive() == (0x30, b"\0\1t\0" + b"0123456789abcd")
        with pytest.raises(TooLarge, match="21 bytes, the broker takes 20"):
            mqtt.publish("t", b"0123456789abcde")
        with pytest.raises(TooLarge):
            mqtt.publish("t", b"0123456789abc", 1)
        assert mqtt.room == 2
        mqtt.publish("t", b"", 1)
        mqtt.publish("t", b"", 1)
        assert mqtt.room == 0
        with pytest.raises(BufferError, match="window"):
            mqtt.publish("t", b"", 1)


@pytest.mark.asyncio
async def test_a_broker_with_maximum_qos_0_gets_qos_0() -> None:
    async with connected(connack(0, b"\x24\0")) as connection:
        assert connection.mqtt.publish("t", b"p", 1) is None
        assert await connection.link.receive() == (0x30, b"\0\1t\0p")


# --- publishing


@pytest.mark.asyncio
async def test_both_qualities_keep_one_order() -> None:
    async with connected() as connection:
        sent = [(b"%d" % i, int(i % 3 == 0)) for i in range(100)]
        mids = [connection.mqtt.publish("t", payload, qos) for payload, qos in sent]
        assert [mid for mid in mids if mid] == list(range(1, 35))
        for payload, qos in sent:
            first, body = await connection.link.receive()
            assert (first, body[4 + 2 * qos :]) == (0x30 + 2 * qos, payload)


@pytest.mark.asyncio
@pytest.mark.parametrize("qos", [0, 1])
async def test_properties_are_the_same_past_paho_and_through_it(qos: int) -> None:
    meta = Meta(7, "text/plain", "r", b"\0\1", (("a", "1"), ("a", "2")))
    properties = b"\x02\0\0\0\x07" + b"\x03" + text(b"text/plain") + b"\x08" + text(b"r") + b"\x09\0\2\0\1"
    properties += b"".join(b"\x26" + text(b"a") + text(value) for value in (b"1", b"2"))
    async with connected() as connection:
        connection.mqtt.publish("t", b"p", qos, True, meta)
        mid = b"\0\1" if qos else b""
        body = b"\0\1t" + mid + bytes([len(properties)]) + properties + b"p"
        assert await connection.link.receive() == (0x31 | qos << 1, body)


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [0x00, 0x10, 0x87, 0x97])
async def test_a_puback_reports_its_code(code: int) -> None:
    async with connected() as connection:
        mqtt = connection.mqtt
        assert (mqtt.publish("t", b"p", 1), mqtt.unacked) == (1, 1)
        connection.link.send(packet(0x40, b"\0\1" + (bytes([code]) if code else b"")))
        await connection.until(lambda: bool(connection.acks))
        assert (connection.acks, mqtt.unacked) == ([(1, code)], 0)


@pytest.mark.asyncio
async def test_a_puback_for_nothing_changes_nothing() -> None:
    async with connected() as connection:
        connection.mqtt.publish("t", b"p", 1)
        await connection.link.receive()
        connection.link.send(packet(0x40, b"\0\2"))
        await connection.answered()
        assert (connection.acks, connection.mqtt.unacked) == ([], 1)


@pytest.mark.asyncio
async def test_the_oldest_message_without_a_puback_is_known() -> None:
    async with connected() as connection:
        mqtt, now = connection.mqtt, asyncio.get_running_loop().time
        assert mqtt.oldest_unacked is None
        before = now()
        mqtt.publish("t", b"1", 1)
        between = now()
        mqtt.publish("t", b"2", 1)
        oldest = mqtt.oldest_unacked
        assert oldest is not None
        assert before <= oldest <= between
        connection.link.send(packet(0x40, b"\0\1"))
        await connection.until(lambda: mqtt.unacked == 1)
        newer = mqtt.oldest_unacked
        assert newer is not None
        assert newer >= between
        connection.link.send(packet(0x40, b"\0\2"))
        await connection.until(lambda: mqtt.oldest_unacked is None)


@pytest.mark.asyncio
async def test_packet_ids_pass_over_one_that_waits() -> None:
    async with connected() as connection:
        assert connection.mqtt.publish("t", b"first", 1) == 1
        connection.mqtt._paho._last_mid = 65_534  # as after 65,533 more that were acknowledged
        assert [connection.mqtt.publish("t", b"", 1) for _ in range(3)] == [65_535, 2, 3]


@pytest.mark.asyncio
async def test_a_peer_that_reads_nothing_meets_a_bound_and_then_gets_everything_in_order() -> None:
    async with connected(backlog=200_000, packet_limit=1 << 20) as connection:
        mqtt, link = connection.mqtt, connection.link
        link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = connection.fill()
        assert mqtt.congested
        assert mqtt.room == 0
        assert 200_000 < mqtt.waiting < 200_000 + 3 * 65_536
        with pytest.raises(BufferError, match="takes nothing"):
            mqtt.publish("t", b"", 1)
        link.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for number in range(sent):
            assert (await link.receive())[1][4:10] == b"%06d" % number
        await connection.until(lambda: not mqtt.congested)
        assert connection.rooms
        assert mqtt.room == mqtt.limits.window


# --- receiving


@pytest.mark.asyncio
async def test_a_message_comes_with_all_its_flags_and_properties() -> None:
    properties = b"\x02\0\0\0\0" + b"\x03\0\x01c" + b"\x08\0\x01r" + b"\x09\0\x02\xff\0" + b"\x26\0\x01k\0\x01v"
    async with connected() as connection:
        connection.link.send(inbound(b"a/b", b"p", 0x3B, properties) + inbound(b"a/b", b"q"))
        await connection.until(lambda: len(connection.messages) == 2)
        meta = Meta(0, "c", "r", b"\xff\0", (("k", "v"),))
        assert connection.messages == [
            Message("a/b", b"p", 1, True, True, meta),
            Message("a/b", b"q", 0, False, False, Meta()),
        ]
        assert await connection.link.receive() == (0x40, b"\0\7")


@pytest.mark.asyncio
async def test_messages_right_behind_the_connack_arrive() -> None:
    async with connected(CONNACK + inbound(b"t", b"kept", 0x32)) as connection:
        await connection.until(lambda: len(connection.messages) == 1)
        assert connection.messages[0].payload == b"kept"


@pytest.mark.asyncio
async def test_packets_may_arrive_byte_by_byte() -> None:
    async with connected() as connection:
        for byte in inbound(b"t", b"one") + inbound(b"t", b"x" * 100, 0x32) + inbound(b"t", b"three"):
            connection.link.send(bytes([byte]))
            await connection.link.writer.drain()
            await asyncio.sleep(0)
        await connection.until(lambda: len(connection.messages) == 3)
        assert [m.payload for m in connection.messages] == [b"one", b"x" * 100, b"three"]


@pytest.mark.asyncio
@pytest.mark.parametrize("topic", [b"", b"\xff\xfe", b"a/#", b"a/+/b", b"a\0b"])
async def test_a_bad_topic_is_counted_and_acknowledged_and_nothing_else(topic: bytes) -> None:
    async with connected() as connection:
        connection.link.send(inbound(topic, b"bad", 0x32) + inbound(b"t", b"good"))
        await connection.until(lambda: bool(connection.messages))
        assert [m.payload for m in connection.messages] == [b"good"]
        assert connection.mqtt.ignored == 1
        assert await connection.link.receive() == (0x40, b"\0\7")


@pytest.mark.asyncio
async def test_a_packet_over_our_limit_ends_the_connection_before_it_is_read() -> None:
    async with connected(packet_limit=1000) as connection:
        connection.link.send(b"\x30\xff\xff\xff\x7f")
        end = await connection.end()
        assert isinstance(end, MqttError)
        assert "a packet of 268435455 bytes, the limit is 1000" in str(end)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "data",
    [
        b"\xff\x00",
        b"\x30\xff\xff\xff\xff\x01",  # a remaining length of five bytes
        b"\x36\x05\x00\x01t\x00\x01",  # QoS 3
        packet(0x30, b"\0\1t" + b"\x09\x03\0\2\xff"),  # properties longer than the packet
        packet(0x30, b"\0\1t" + b"\x04\x08\0\1\xff"),  # a response topic that is not UTF-8
        packet(0x40, b"\0\1\x95"),  # what mosquitto answers over its message_size_limit: no PUBACK code
        packet(0x40, b"\0"),
        packet(0x90, b"\0"),
        packet(0xE0, b"\x03"),
    ],
)
async def test_a_broken_protocol_ends_the_connection(data: bytes) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    async with connected() as connection:
        connection.mqtt.publish("t", b"p", 1)
        connection.link.send(data)
        assert isinstance(await connection.end(), MqttError)
        assert not connection.mqtt.up
    assert problems == []


@pytest.mark.asyncio
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.binary(max_size=40) | st.builds(packet, st.integers(0, 255), st.binary(max_size=30))))
async def test_garbage_ends_the_connection_and_nothing_more(chunks: list[bytes]) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    async with connected() as connection:
        connection.mqtt.publish("t", b"p", 1)
        connection.link.send(b"".join(chunks))
        connection.link.close()
        assert isinstance(await connection.end(), MqttError | OSError)
    assert problems == []


# --- subscribing


@pytest.mark.asyncio
async def test_a_subscription_says_what_it_wants() -> None:
    async with connected() as connection:
        filters = [Filter("a/#"), Filter("b", 0, retained=True), Filter("c", no_local=True)]
        subscribing = asyncio.create_task(connection.mqtt.subscribe(filters))
        wanted = b"\0\3a/#\x29" + b"\0\1b\x08" + b"\0\1c\x2d"
        assert await connection.link.receive() == (0x82, b"\0\1\0" + wanted)
        connection.link.send(packet(0x90, b"\0\1\0" + b"\1\0\0"))
        assert await subscribing == [1, 0, 0]


@pytest.mark.asyncio
async def test_a_subscription_under_3_1_1_is_plain_and_its_failure_is_seen() -> None:
    async with connected(CONNACK_311, protocol="3.1.1") as connection:
        filters = (Filter("a", retained=True), Filter("b", no_local=True))
        subscribing = asyncio.create_task(connection.mqtt.subscribe(filters))
        assert await connection.link.receive() == (0x82, b"\0\1" + b"\0\1a\1" + b"\0\1b\1")
        connection.link.send(packet(0x90, b"\0\1" + b"\1\x80"))
        with pytest.raises(Refused, match="subscription to b ") as caught:
            await subscribing
        assert caught.value.refused == (filters[1],)


@pytest.mark.asyncio
async def test_all_refused_filters_are_named() -> None:
    async with connected() as connection:
        filters = (Filter("a"), Filter("b"), Filter("c"))
        subscribing = asyncio.create_task(connection.mqtt.subscribe(filters))
        await connection.link.receive()
        connection.link.send(packet(0x90, b"\0\1\0" + b"\x87\1\x97"))
        with pytest.raises(Refused, match=r"subscription to a .*Not authorized \(0x87\)") as caught:
            await subscribing
        assert (caught.value.refused, caught.value.passing) == ((filters[0], filters[2]), False)
        assert connection.mqtt.up


@pytest.mark.asyncio
async def test_a_suback_with_too_few_codes_is_an_error() -> None:
    async with connected() as connection:
        subscribing = asyncio.create_task(connection.mqtt.subscribe([Filter("a"), Filter("b")]))
        await connection.link.receive()
        connection.link.send(packet(0x90, b"\0\1\0" + b"\1"))
        with pytest.raises(MqttError, match="1 answers to 2 subscriptions"):
            await subscribing


@pytest.mark.asyncio
async def test_a_suback_that_never_comes_is_a_timeout() -> None:
    async with connected() as connection:
        with pytest.raises(TimeoutError):
            await connection.mqtt.subscribe([Filter("a")], 0.05)
        await connection.link.receive()
        connection.link.send(packet(0x90, b"\0\1\0\1"))  # late, and of no interest any more
        await connection.answered()


@pytest.mark.asyncio
async def test_a_lost_connection_ends_a_waiting_subscription() -> None:
    async with connected() as connection:
        subscribing = asyncio.create_task(connection.mqtt.subscribe([Filter("a")]))
        await connection.link.receive()
        connection.link.close()
        with pytest.raises(ConnectionError, match="closed the connection"):
            await subscribing


@pytest.mark.asyncio
async def test_a_filter_that_is_none_is_an_error_of_the_caller() -> None:
    async with connected() as connection:
        with pytest.raises(ValueError, match="Invalid"):
            await connection.mqtt.subscribe([Filter("a/#/b")])


# --- the end


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "code", "passing"),
    [
        (b"", 0x00, False),
        (bytes([TAKEN_OVER]), TAKEN_OVER, False),
        (b"\x8b\x06\x1f\0\x03why", 0x8B, True),
        (b"\x81", 0x81, False),
    ],
)
async def test_a_disconnect_of_the_broker_is_the_reason(body: bytes, code: int, passing: bool) -> None:
    async with connected() as connection:
        connection.link.send(packet(0xE0, body))
        end = await connection.end()
        assert isinstance(end, Refused)
        assert (end.code, end.passing) == (code, passing)
        assert ("(why)" in str(end)) == (code == 0x8B)


@pytest.mark.asyncio
async def test_an_end_of_the_stream_is_a_connection_error() -> None:
    async with connected() as connection:
        connection.link.close()
        end = await connection.end()
        assert isinstance(end, ConnectionError)
        assert str(end) == "the broker closed the connection"
        assert (connection.mqtt.up, connection.mqtt.room) == (False, 0)
        with pytest.raises(MqttError, match="not connected"):
            connection.mqtt.publish("t", b"")
        with pytest.raises(MqttError, match="not connected"):
            await connection.mqtt.subscribe([Filter("t")])


@pytest.mark.asyncio
async def test_a_ping_without_answer_ends_the_connection() -> None:
    async with connected(keepalive=1) as connection:
        assert await connection.link.receive() == (0xC0, b"")
        connection.link.send(b"\xd0\x00")
        assert await connection.link.receive() == (0xC0, b"")
        end = await connection.end()
        assert isinstance(end, TimeoutError)
        assert "PINGREQ" in str(end)


@pytest.mark.asyncio
async def test_disconnect_waits_for_pubacks_and_says_goodbye() -> None:
    async with connected() as connection:
        connection.mqtt.publish("t", b"last", 1)
        leaving = asyncio.create_task(connection.mqtt.disconnect())
        assert (await connection.link.receive())[0] == 0x32
        assert not leaving.done()
        connection.link.send(packet(0x40, b"\0\1"))
        assert await connection.link.receive() == (0xE0, b"")
        assert await leaving == 0
        assert await connection.end() is None
        assert await connection.mqtt.disconnect() == 0


@pytest.mark.asyncio
async def test_disconnect_tells_what_was_left_when_its_time_is_over() -> None:
    async with connected() as connection:
        connection.mqtt.publish("t", b"last", 1)
        assert await connection.mqtt.disconnect(0.05) == 1
        assert await connection.end() is None


@pytest.mark.asyncio
async def test_disconnect_without_any_time_says_no_goodbye_so_that_the_will_is_published() -> None:
    async with connected() as connection:
        assert await connection.mqtt.disconnect(0) == 0
        assert await connection.link.at_end()


@pytest.mark.asyncio
async def test_a_cancelled_disconnect_cuts_the_connection() -> None:
    async with connected() as connection:
        connection.mqtt.publish("t", b"last", 1)
        leaving = asyncio.create_task(connection.mqtt.disconnect(60))
        await connection.link.receive()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await connection.link.at_end()
        assert await connection.end() is None


@pytest.mark.asyncio
async def test_disconnect_does_not_wait_for_pubacks_of_a_lost_connection() -> None:
    async with connected() as connection:
        connection.mqtt.publish("t", b"last", 1)
        leaving = asyncio.create_task(connection.mqtt.disconnect(60))
        await connection.link.receive()
        connection.link.close()
        async with asyncio.timeout(DEADLINE):
            assert await leaving == 1


@pytest.mark.asyncio
async def test_abort_gives_the_reason() -> None:
    async with connected() as connection:
        reason = TimeoutError("no PUBACK for 10 s")
        connection.mqtt.abort(reason)
        assert not connection.mqtt.up
        assert await connection.end() is reason
        assert await connection.link.at_end()


@pytest.mark.asyncio
@pytest.mark.parametrize("which", ["on_message", "on_ack"])
async def test_a_bug_in_a_callback_ends_the_connection_and_is_the_reason(which: str) -> None:
    bug = KeyError("a bug of ours")
    calls: list[tuple[object, ...]] = []

    def buggy(*args: object) -> None:
        calls.append(args)
        raise bug

    async with listening() as peer:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port), **{which: buggy})
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        await link.receive()
        link.send(CONNACK)
        await connecting
        mqtt.publish("t", b"p", 1)
        await link.receive()
        link.send((inbound(b"t", b"p", 0x32) if which == "on_message" else packet(0x40, b"\0\1")) * 2)
        async with asyncio.timeout(DEADLINE):
            assert await asyncio.shield(mqtt.closed) is bug
        assert len(calls) == 1
        assert await link.at_end()  # above all no PUBACK for a message nobody has handled
        await mqtt.disconnect()


@pytest.mark.asyncio
async def test_a_bug_when_there_is_room_again_is_the_reason_too() -> None:
    bug = KeyError("a bug of ours")

    def buggy() -> None:
        raise bug

    async with connected(on_room=buggy, backlog=200_000) as connection:
        connection.link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.fill()
        connection.link.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while not connection.mqtt.closed.done() and await connection.link.reader.read(65536):
            pass
        assert await connection.end() is bug


@pytest.mark.asyncio
async def test_callbacks_may_publish() -> None:
    def answer(message: Message) -> None:
        mqtt.publish("answer", message.payload, 1)

    def tell(mid: int, code: int) -> None:
        mqtt.publish("acked", b"%d" % mid)

    async with listening() as peer:
        mqtt = Mqtt(ConnectionSettings("127.0.0.1", "me", peer.port), answer, tell)
        connecting = asyncio.create_task(mqtt.connect())
        link = await peer.accept()
        await link.receive()
        link.send(CONNACK + inbound(b"t", b"p"))
        await connecting
        assert await link.receive() == (0x32, b"\0\6answer\0\1\0p")
        link.send(packet(0x40, b"\0\1"))
        assert await link.receive() == (0x30, b"\0\5acked\x001")
        await mqtt.disconnect()


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(ConnectionSettings("h", "me", password="secret"))


def test_a_connection_needs_a_client_id() -> None:
    with pytest.raises(ValueError, match="client id"):
        ConnectionSettings("h", "")


def test_it_works_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")

    async def scenario() -> None:
        async with connected(backlog=100_000) as connection:
            mqtt, link = connection.mqtt, connection.link
            mqtt.publish("t", b"p", 1)
            assert (await link.receive())[0] == 0x32
            link.send(packet(0x40, b"\0\1") + inbound(b"t", b"p"))
            await connection.until(lambda: bool(connection.messages))
            assert connection.acks == [(1, 0)]
            link.writer.transport.pause_reading()  # type: ignore[attr-defined]
            connection.fill()
            link.writer.transport.resume_reading()  # type: ignore[attr-defined]
            receiving = asyncio.create_task(link.reader.read())
            await connection.until(lambda: bool(connection.rooms))
            assert await mqtt.disconnect() == 0
            assert (await receiving).endswith(b"\xe0\x00")

    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    run(scenario())
