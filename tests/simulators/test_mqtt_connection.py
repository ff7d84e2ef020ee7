"""What our broker does at its limits and with peers that misbehave, packet by packet."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from bridge.simulators.mqtt_broker import Broker, Limits
from bridge.simulators.mqtt_codec import decode, encode
from bridge.simulators.mqtt_packets import (
    Ack,
    ConnAck,
    Connect,
    Farewell,
    Packet,
    PacketType,
    Ping,
    Properties,
    Property,
    Publish,
    Reason,
    Subscribe,
    SubscribeAck,
    Subscription,
    Version,
    Will,
)

SOON = 5.0  # seconds: the deadline of whatever must happen
V311, V5 = Version.V311, Version.V5


class Peer:
    """A client that sends and receives single packets and does nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: Version) -> None:
        self.reader, self.writer, self.version = reader, writer, version
        self._received = b""

    def send(self, *packets: Packet | bytes) -> None:
        for packet in packets:
            self.writer.write(packet if isinstance(packet, bytes) else encode(packet, self.version))

    async def next(self) -> Packet | None:
        """The next packet, or None when the broker has closed."""
        async with asyncio.timeout(SOON):
            while (decoded := decode(self._received, self.version)) is None:
                try:
                    data = await self.reader.read(65_536)
                except ConnectionResetError:
                    data = b""
                if not data:
                    return None
                self._received += data
        packet, end = decoded
        self._received = self._received[end:]
        return packet

    async def ask(self, packet: Packet) -> Packet | None:
        self.send(packet)
        return await self.next()

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        answer = await self.ask(Subscribe(1, (Subscription(topic_filter, qos),)))
        assert answer == SubscribeAck(PacketType.SUBACK, 1, (qos,))

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):  # the broker may have been first
            await self.writer.wait_closed()

    async def alive(self) -> bool:
        return await self.ask(Ping(PacketType.PINGREQ)) == Ping(PacketType.PINGRESP)


class Bench(AsyncExitStack):
    """A broker and the peers that a test connects to it."""

    broker: Broker

    async def start(self, limits: Limits | None = None, credentials: dict[str, str] | None = None) -> Broker:
        self.broker = await self.enter_async_context(Broker(limits=limits, credentials=credentials))
        return self.broker

    async def open(self, version: Version = V5) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.broker.port), version)
        self.push_async_callback(peer.close)
        return peer

    async def peer(
        self,
        name: str = "",
        *,
        version: Version = V5,
        clean: bool = True,
        will: Will | None = None,
        keepalive: int = 0,
        properties: Properties = (),
    ) -> Peer:
        peer = await self.open(version)
        login = Connect(version, name, clean, keepalive, will, properties=properties)
        answer = await peer.ask(login)
        assert isinstance(answer, ConnAck)
        assert answer.reason == Reason.SUCCESS
        return peer


@asynccontextmanager
async def bench(limits: Limits | None = None, credentials: dict[str, str] | None = None) -> AsyncIterator[Bench]:
    """Also checks that asyncio had nothing to complain about."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    async with Bench() as made:
        await made.start(limits, credentials)
        yield made
    assert complaints == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)


KEPT: Properties = ((Property.SESSION_EXPIRY, 100),)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.org", ""])
def test_only_loopback_addresses_are_taken(host: str) -> None:
    with pytest.raises(ValueError, match=r"loopback|address"):
        Broker(host)


@pytest.mark.parametrize("window", [0, 65_536])
def test_windows_beyond_the_packet_identifiers_are_refused(window: int) -> None:
    with pytest.raises(ValueError, match="packet identifiers"):
        Limits(receive_maximum=window)
    with pytest.raises(ValueError, match="packet identifiers"):
        Limits(inflight=window)


@pytest.mark.asyncio
async def test_limits_are_announced() -> None:
    async with bench(Limits(receive_maximum=7, packet_size=5_000)) as b:
        answer = await (await b.open()).ask(Connect(V5, ""))
        assert isinstance(answer, ConnAck)
        announced = dict(answer.properties)
        assert announced.pop(Property.ASSIGNED_CLIENT_ID)
        assert announced == {
            Property.RECEIVE_MAXIMUM: 7,
            Property.MAXIMUM_PACKET_SIZE: 5_000,
            Property.TOPIC_ALIAS_MAXIMUM: 0,
            Property.SHARED_SUBSCRIPTIONS_AVAILABLE: 0,
        }


@pytest.mark.asyncio
@pytest.mark.parametrize(("version", "reason"), [(V5, 0x86), (V311, Reason.BAD_USER_NAME_OR_PASSWORD)])
@pytest.mark.parametrize("username", ["me", "you", None])
async def test_credentials(version: Version, reason: int, username: str | None) -> None:
    async with bench(credentials={"me": "pässword"}) as b:
        for password in ("pässword", "other"):
            peer = await b.open(version)
            login = Connect(version, "a", username=username, password=password.encode() if username else None)
            answer = await peer.ask(login)
            assert isinstance(answer, ConnAck)
            welcome = (username, password) == ("me", "pässword")
            assert answer.reason == (Reason.SUCCESS if welcome else reason)
            if not welcome:
                assert await peer.next() is None


@pytest.mark.asyncio
async def test_logins_that_are_refused() -> None:
    async with bench(Limits(sessions=1)) as b:
        old = await b.open(V311)
        old.send(bytes.fromhex("100f00064d514973647003020000000161"))  # MQTT 3.1
        assert await old.next() == ConnAck(reason=Reason.UNSUPPORTED_VERSION)
        assert await old.next() is None
        nameless = await b.open(V311)
        assert await nameless.ask(Connect(V311, "", False)) == ConnAck(reason=Reason.CLIENT_ID_NOT_VALID)
        extended: Properties = ((Property.AUTHENTICATION_METHOD, "X"),)
        answer = await (await b.open()).ask(Connect(V5, "a", properties=extended))
        assert answer == ConnAck(reason=Reason.BAD_AUTHENTICATION_METHOD)
        await b.peer("first")
        answer = await (await b.open()).ask(Connect(V5, "second"))
        assert answer == ConnAck(reason=Reason.QUOTA_EXCEEDED)
        await b.peer("first")


@pytest.mark.asyncio
async def test_connections_over_the_limit_are_closed_and_counted() -> None:
    async with bench(Limits(connections=2)) as b:
        first, _second = await b.peer(), await b.peer()
        assert await (await b.open()).next() is None
        assert b.broker.counters.refused == 1
        first.writer.close()
        await until(lambda: b.broker.counters.connections == 1)
        assert await (await b.peer()).alive()


@pytest.mark.asyncio
async def test_a_connection_without_connect_is_closed() -> None:
    async with bench(Limits(connect_timeout=0.05)) as b:
        late = await b.open()
        assert await late.next() is None
        assert await (await b.peer()).alive()


@pytest.mark.asyncio
async def test_a_packet_over_the_announced_size_ends_the_connection() -> None:
    async with bench(Limits(packet_size=1_000)) as b:
        peer = await b.peer()
        assert await peer.ask(Publish("t", b"x" * 1_000)) == Farewell(reason=Reason.PACKET_TOO_LARGE)
        assert await peer.next() is None
        assert b.broker.counters.malformed == 1


@pytest.mark.asyncio
async def test_a_message_over_the_clients_size_is_dropped_and_counted() -> None:
    async with bench() as b:
        peer = await b.peer(properties=((Property.MAXIMUM_PACKET_SIZE, 100),))
        await peer.subscribe("t")
        publisher = await b.peer()
        publisher.send(Publish("t", b"x" * 200, 1, packet_id=1), Publish("t", b"fits"))
        assert await peer.next() == Publish("t", b"fits")
        assert b.broker.counters.dropped == 1


@pytest.mark.asyncio
async def test_the_clients_receive_maximum_is_kept() -> None:
    async with bench() as b:
        peer = await b.peer(properties=((Property.RECEIVE_MAXIMUM, 2),))
        await peer.subscribe("t")
        publisher = await b.peer()
        publisher.send(*(Publish("t", b"%d" % number, 1, packet_id=number) for number in range(1, 5)))
        assert await peer.next() == Publish("t", b"1", 1, packet_id=1)
        assert await peer.next() == Publish("t", b"2", 1, packet_id=2)
        assert await peer.alive()  # nothing between
        assert await peer.ask(Ack(PacketType.PUBACK, 1)) == Publish("t", b"3", 1, packet_id=3)
        assert await peer.ask(Ack(PacketType.PUBACK, 3)) == Publish("t", b"4", 1, packet_id=4)


@pytest.mark.asyncio
async def test_the_brokers_receive_maximum_is_enforced() -> None:
    async with bench(Limits(receive_maximum=2)) as b:
        peer = await b.peer()
        for packet_id in (1, 2):
            answer = await peer.ask(Publish("t", b"", 2, packet_id=packet_id))
            assert answer == Ack(PacketType.PUBREC, packet_id, Reason.NO_MATCHING_SUBSCRIBERS)
        excess = Publish("t", b"", 2, packet_id=3)
        assert await peer.ask(excess) == Farewell(reason=Reason.RECEIVE_MAXIMUM_EXCEEDED)


@pytest.mark.asyncio
@pytest.mark.parametrize("limits", [Limits(queued_messages=3), Limits(queued_bytes=33)])
async def test_a_full_queue_drops_what_comes_later_and_counts_it(limits: Limits) -> None:
    async with bench(limits) as b:
        away = await b.peer("away", properties=KEPT)
        await away.subscribe("t")
        assert await away.ask(Farewell()) is None
        publisher = await b.peer()
        for number in range(5):
            await publisher.ask(Publish("t", b"%010d" % number, 1, packet_id=1))
        assert b.broker.counters.dropped == 2
        for _ in range(2):  # what has been delivered makes room
            back = await b.peer("away", clean=False, properties=KEPT)
            for number in range(3):
                packet = await back.next()
                assert isinstance(packet, Publish)
                assert int(packet.payload) == number
                back.send(Ack(PacketType.PUBACK, packet.packet_id))
            assert await back.alive()
            assert await back.ask(Farewell()) is None
            for number in range(3):
                await publisher.ask(Publish("t", b"%010d" % number, 1, packet_id=1))
        assert b.broker.counters.dropped == 2


@pytest.mark.asyncio
async def test_a_consumer_that_does_not_read_is_dropped_and_the_others_go_on() -> None:
    async with bench(Limits(write_buffer=200_000)) as b:
        slow, quick, publisher = await b.peer(), await b.peer(), await b.peer()
        await slow.subscribe("t", 0)
        await quick.subscribe("t", 0)
        sent = 0
        while not b.broker.counters.slow_consumers:
            publisher.send(Publish("t", bytes(50_000)))
            packet = await quick.next()
            assert isinstance(packet, Publish)
            sent += 1
            assert sent < 2_000, "100 MB were taken for a client that reads nothing"
        await until(lambda: b.broker.counters.connections == 2)
        assert await publisher.alive()
        assert await quick.alive()


async def stalled(b: Bench) -> Peer:
    """A peer that has not read the 15 MB sent to it: more than any socket holds, less than the limit."""
    peer, publisher = await b.peer(), await b.peer()
    await peer.subscribe("t", 0)
    for number in range(300):
        publisher.send(Publish("t", b"%d " % number + bytes(50_000)))
        await publisher.writer.drain()
    assert await publisher.alive()
    return peer


async def takes_all(peer: Peer) -> None:
    for number in range(300):
        packet = await peer.next()
        assert isinstance(packet, Publish)
        assert int(packet.payload.split()[0]) == number


@pytest.mark.asyncio
async def test_a_consumer_that_falls_behind_within_the_limit_gets_everything() -> None:
    async with bench() as b:
        await takes_all(await stalled(b))
        peer = await stalled(b)
        stopping = asyncio.create_task(b.broker.__aexit__(None, None, None))
        await takes_all(peer)
        assert await peer.next() == Farewell(reason=Reason.SERVER_SHUTTING_DOWN)
        await stopping


@pytest.mark.asyncio
async def test_a_consumer_that_does_not_read_does_not_hold_up_the_shutdown() -> None:
    async with bench() as b:
        await stalled(b)
        async with asyncio.timeout(SOON):
            await b.broker.__aexit__(None, None, None)
        assert b.broker.counters.connections == 0


@pytest.mark.asyncio
async def test_a_client_with_nagles_algorithm_does_not_wait_for_delayed_acknowledgements() -> None:
    async with bench() as b:
        peer = await b.peer()
        client: socket.socket = peer.writer.get_extra_info("socket")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        await peer.subscribe("t")
        started = asyncio.get_running_loop().time()
        for number in range(1, 26):
            expected = Publish("t", b"", 1, packet_id=number)
            assert await peer.ask(Publish("t", b"", 1, packet_id=1)) == expected
            assert await peer.next() == Ack(PacketType.PUBACK, 1)
            peer.send(Ack(PacketType.PUBACK, number))
        assert asyncio.get_running_loop().time() - started < 0.5  # otherwise 25 times 40 ms


@pytest.mark.asyncio
async def test_the_retained_store_is_bounded() -> None:
    async with bench(Limits(retained_bytes=25)) as b:
        peer = await b.peer()
        reasons = []
        for topic, payload in (("a", bytes(10)), ("b", bytes(10)), ("c", bytes(10)), ("a", b""), ("c", bytes(10))):
            answer = await peer.ask(Publish(topic, payload, 1, retain=True, packet_id=1))
            assert isinstance(answer, Ack)
            reasons.append(answer.reason)
        stored = Reason.NO_MATCHING_SUBSCRIBERS
        assert reasons == [stored, stored, Reason.QUOTA_EXCEEDED, stored, stored]
        assert b.broker.counters.dropped == 1


@pytest.mark.asyncio
async def test_subscriptions_that_are_refused() -> None:
    async with bench(Limits(subscriptions=2)) as b:
        peer = await b.peer()
        wanted = tuple(Subscription(name, 1) for name in ("a", "$share/g/a", "a/#/b", "a+", "", "+/#", "third"))
        answer = await peer.ask(Subscribe(9, wanted))
        assert answer == SubscribeAck(PacketType.SUBACK, 9, (1, 0x9E, 0x8F, 0x8F, 0x8F, 1, 0x97))
        old = await b.peer(version=V311)
        answer = await old.ask(Subscribe(9, (Subscription("$share/g/a", 1), Subscription("a", 2))))
        assert answer == SubscribeAck(PacketType.SUBACK, 9, (0x80, 2))


@pytest.mark.asyncio
async def test_keepalive_ends_a_silent_connection_and_its_will_follows() -> None:
    async with bench() as b:
        watcher = await b.peer()
        await watcher.subscribe("w")
        started = asyncio.get_running_loop().time()
        silent = await b.peer(keepalive=1, will=Will("w", b"gone"))
        assert await silent.next() == Farewell(reason=Reason.KEEPALIVE_TIMEOUT)
        assert await watcher.next() == Publish("w", b"gone")
        assert 1.4 < asyncio.get_running_loop().time() - started < 3
        assert b.broker.counters.keepalive_timeouts == 1


@pytest.mark.asyncio
async def test_shutdown_says_so_and_leaves_nothing() -> None:
    async with bench() as b:
        new, old = await b.peer("new", properties=KEPT, will=Will("w", b"")), await b.peer(version=V311)
        await b.peer("away", properties=KEPT)
        await b.broker.__aexit__(None, None, None)
        assert await new.next() == Farewell(reason=Reason.SERVER_SHUTTING_DOWN)
        assert await new.next() is None
        assert await old.next() is None
        assert b.broker.counters.connections == 0
        with pytest.raises(ConnectionRefusedError):
            await b.open()


@pytest.mark.asyncio
async def test_a_taken_over_client_is_told() -> None:
    async with bench() as b:
        watcher = await b.peer()
        await watcher.subscribe("w/+")
        delay: Properties = ((Property.WILL_DELAY, 50),)
        old = await b.peer("me", properties=KEPT, will=Will("w/late", b"", properties=delay))
        second = await b.peer("me", clean=False, properties=KEPT, will=Will("w/now", b""))
        assert await old.next() == Farewell(reason=Reason.SESSION_TAKEN_OVER)
        await b.peer("me", clean=False, properties=KEPT)
        assert await second.next() == Farewell(reason=Reason.SESSION_TAKEN_OVER)
        assert await watcher.next() == Publish("w/now", b"")
        assert await watcher.alive()


@pytest.mark.asyncio
async def test_qos_2_is_resumed_where_it_was() -> None:
    async with bench() as b:
        peer, publisher = await b.peer("me", properties=KEPT), await b.peer()
        await peer.subscribe("t", 2)
        for packet_id in (1, 2):
            publisher.send(Publish("t", b"", 2, packet_id=packet_id))
        assert await peer.next() == Publish("t", b"", 2, packet_id=1)
        assert await peer.next() == Publish("t", b"", 2, packet_id=2)
        assert await peer.ask(Ack(PacketType.PUBREC, 1)) == Ack(PacketType.PUBREL, 1)
        peer.writer.close()
        again = await b.peer("me", clean=False, properties=KEPT)
        assert await again.next() == Ack(PacketType.PUBREL, 1)
        assert await again.next() == Publish("t", b"", 2, duplicate=True, packet_id=2)
        again.send(Ack(PacketType.PUBCOMP, 1))
        assert await again.ask(Ack(PacketType.PUBREC, 2)) == Ack(PacketType.PUBREL, 2)
        again.send(Ack(PacketType.PUBCOMP, 2))
        unknown = Ack(PacketType.PUBREL, 9, Reason.PACKET_ID_NOT_FOUND)
        assert await again.ask(Ack(PacketType.PUBREC, 9)) == unknown


@pytest.mark.asyncio
async def test_a_qos_2_message_sent_twice_is_delivered_once() -> None:
    async with bench() as b:
        peer = await b.peer()
        await peer.subscribe("t", 0)
        peer.send(Publish("t", b"", 2, packet_id=1), Publish("t", b"", 2, duplicate=True, packet_id=1))
        received = [await peer.next() for _ in range(3)]
        assert received == [Publish("t", b""), *[Ack(PacketType.PUBREC, 1)] * 2]
        assert await peer.ask(Ack(PacketType.PUBREL, 1)) == Ack(PacketType.PUBCOMP, 1)


@pytest.mark.asyncio
async def test_a_resumed_session_keeps_to_a_smaller_receive_maximum() -> None:
    async with bench() as b:
        peer, publisher = await b.peer("me", properties=KEPT), await b.peer()
        await peer.subscribe("t")
        publisher.send(*(Publish("t", b"%d" % number, 1, packet_id=number) for number in (1, 2, 3)))
        assert [await peer.next() for _ in range(3)]
        peer.writer.close()
        one_at_a_time: Properties = (*KEPT, (Property.RECEIVE_MAXIMUM, 1))
        again = await b.peer("me", clean=False, properties=one_at_a_time)
        publisher.send(Publish("t", b"4", 1, packet_id=4))
        for expected in (1, 2, 3, 4):
            packet = await again.next()
            assert packet == Publish("t", b"%d" % expected, 1, False, expected < 4, expected)
            assert await again.alive()
            again.send(Ack(PacketType.PUBACK, expected))


@pytest.mark.asyncio
async def test_a_clean_start_forgets_the_old_subscriptions() -> None:
    async with bench() as b:
        peer = await b.peer("me", properties=KEPT)
        await peer.subscribe("t")
        again = await b.peer("me")
        answer = await again.ask(Publish("t", b"", 1, packet_id=1))
        assert answer == Ack(PacketType.PUBACK, 1, Reason.NO_MATCHING_SUBSCRIBERS)


@pytest.mark.asyncio
async def test_a_session_does_not_expire_while_its_client_is_back() -> None:
    async with bench() as b:
        a_second: Properties = ((Property.SESSION_EXPIRY, 1),)
        (await b.peer("back", properties=a_second)).writer.close()
        await until(lambda: b.broker.counters.connections == 0)
        await b.peer("back", clean=False, properties=a_second)
        (await b.peer("later", properties=a_second)).writer.close()
        await until(lambda: b.broker.counters.sessions == 1)
        answer = await (await b.open()).ask(Connect(V5, "back", False))
        assert isinstance(answer, ConnAck)
        assert answer.session_present


@pytest.mark.asyncio
async def test_a_disconnect_may_change_the_expiry_or_ask_for_the_will() -> None:
    async with bench() as b:
        watcher = await b.peer()
        await watcher.subscribe("w")
        peer = await b.peer("me", properties=KEPT, will=Will("w", b"asked for"))
        ending: Properties = ((Property.SESSION_EXPIRY, 0),)
        assert await peer.ask(Farewell(PacketType.DISCONNECT, Reason.DISCONNECT_WITH_WILL, ending)) is None
        assert await watcher.next() == Publish("w", b"asked for")
        assert b.broker.counters.sessions == 1
        refused = await b.peer()
        assert await refused.ask(Farewell(properties=KEPT)) == Farewell(reason=Reason.PROTOCOL_ERROR)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Publish("t", b"", properties=((Property.TOPIC_ALIAS, 1),)), Reason.TOPIC_ALIAS_INVALID),
        (Publish("t", b"", properties=((Property.SUBSCRIPTION_IDENTIFIER, 1),)), Reason.PROTOCOL_ERROR),
        (Connect(V5, "again"), Reason.PROTOCOL_ERROR),
        (Ping(PacketType.PINGRESP), Reason.PROTOCOL_ERROR),
        (Farewell(PacketType.AUTH), Reason.PROTOCOL_ERROR),
        (bytes.fromhex("360600017400010a"), Reason.MALFORMED_PACKET),
        (b"GET / HTTP/1.1\r\n\r\n", Reason.MALFORMED_PACKET),
    ],
)
async def test_a_broken_protocol_ends_that_connection_only(packet: Packet | bytes, reason: Reason) -> None:
    async with bench() as b:
        peer, other, early = await b.peer(), await b.peer(), await b.open()
        peer.send(packet)
        assert await peer.next() == Farewell(reason=reason)
        assert await peer.next() is None
        if not isinstance(packet, Connect):
            early.send(packet)
            assert await early.next() is None
        assert await other.alive()


@pytest.mark.asyncio
async def test_random_bytes_never_reach_beyond_their_connection(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(7)
    async with bench() as b:
        other = await b.peer()
        for _ in range(200):
            peer = await b.peer() if chance.random() < 0.8 else await b.open()
            peer.send(bytes([chance.choice((0x30, 0x82, 0xA2, 0x62, chance.randrange(256)))]))
            peer.send(bytes([chance.randrange(40)]) + chance.randbytes(chance.randrange(60)))
            peer.writer.write_eof()
            while await peer.next() is not None:
                pass
        assert await other.alive()
        assert b.broker.counters.malformed > 50
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.asyncio
async def test_counters_show_the_traffic() -> None:
    async with bench() as b:
        peer = await b.peer()
        await peer.subscribe("t", 0)
        assert await peer.ask(Publish("t", b"x")) == Publish("t", b"x")
        counters = b.broker.counters
        assert (counters.connections, counters.sessions, counters.connected) == (1, 1, 1)
        assert (counters.messages_in, counters.messages_out) == (1, 1)
        assert counters.bytes_in > counters.messages_in
        assert counters.bytes_out > counters.messages_out
