"""The connection against a real mosquitto, whole: network, TLS, passwords, sessions, deaths and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from bridge.mqtt import ConnectionSettings, Filter, Limits, Message, Meta, Mqtt, MqttError, Refused, Will
from tests.certificates import self_signed, signed_by
from tests.system.conftest import StartMosquitto
from tests.system.mosquitto import Mosquitto

DEADLINE = 10.0  # seconds
Protocol = Literal["5", "3.1.1"]
both = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


class Client:
    """An `Mqtt` that keeps what it receives."""

    def __init__(self, broker: Mosquitto, client_id: str = "me", **options: Any) -> None:
        self.messages: list[Message] = []
        self.acks: dict[int, int] = {}
        self.progress = asyncio.Event()
        settings = ConnectionSettings(broker.host, client_id, broker.port, **options)
        self.mqtt = Mqtt(settings, self._received, self._acked, self.progress.set)

    def _received(self, message: Message) -> None:
        self.messages.append(message)
        self.progress.set()

    def _acked(self, mid: int, code: int) -> None:
        self.acks[mid] = code
        self.progress.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; looked at after everything that arrives."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.progress.clear()
                await self.progress.wait()

    async def count(self, number: int) -> list[Message]:
        await self.until(lambda: len(self.messages) >= number)
        return self.messages

    async def acked(self) -> None:
        """All that was published has its PUBACK."""
        await self.until(lambda: self.mqtt.unacked == 0)

    async def end(self) -> Exception | None:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self.mqtt.closed)


@contextlib.asynccontextmanager
async def client(broker: Mosquitto, client_id: str = "me", **options: Any) -> AsyncIterator[Client]:
    one = Client(broker, client_id, **options)
    await one.mqtt.connect()
    try:
        yield one
    finally:
        await one.mqtt.disconnect()


# --- messages


@both
@pytest.mark.asyncio
async def test_there_and_back_with_both_qualities(mosquitto: Mosquitto, protocol: Protocol) -> None:
    async with client(mosquitto, protocol=protocol) as one:
        assert await one.mqtt.subscribe([Filter("a/#"), Filter("b", 0)]) == [1, 0]
        assert one.mqtt.publish("a/0", b"zero") is None
        mid = one.mqtt.publish("a/1", b"one", 1)
        one.mqtt.publish("b", b"two", 1)
        got = await one.count(3)
        assert [(m.topic, m.payload, m.qos) for m in got] == [
            ("a/0", b"zero", 0),
            ("a/1", b"one", 1),
            ("b", b"two", 0),
        ]
        await one.acked()
        assert mid is not None
        assert one.acks[mid] == 0


@both
@pytest.mark.asyncio
async def test_20_000_messages_arrive_once_each_and_in_the_order_of_sending(
    start_mosquitto: StartMosquitto, protocol: Protocol
) -> None:
    total = 20_000
    broker = start_mosquitto(["max_queued_messages 0"])
    async with (
        client(broker, "writer", protocol=protocol) as writer,
        client(broker, "reader", protocol=protocol) as reader,
        client(broker, "watcher", protocol=protocol) as watcher,
    ):
        await reader.mqtt.subscribe([Filter("n/1")])
        await watcher.mqtt.subscribe([Filter("n/+", 0)])  # all as QoS 0: the broker's own window does not reorder
        await send_numbers(writer, "n", total)
        assert [int(m.payload) for m in await reader.count(total)] == list(range(total))
        got = await watcher.count(total + total // 4)
        assert [int(m.payload) for m in got if m.topic == "n/0"] == list(range(0, total, 4))
        assert [int(m.payload) for m in got] == sorted([*range(total), *range(0, total, 4)])
        await writer.acked()
        assert len(writer.acks) == total


async def send_numbers(writer: Client, topic: str, total: int) -> None:
    """Every number with QoS 1 on topic/1, and every fourth with QoS 0 on topic/0 too."""
    for number in range(total):
        if not writer.mqtt.room:
            await writer.until(lambda: writer.mqtt.room > 0)
        writer.mqtt.publish(f"{topic}/1", b"%d" % number, 1)
        if number % 4 == 0:
            writer.mqtt.publish(f"{topic}/0", b"%d" % number)


@pytest.mark.asyncio
async def test_retained_flags(mosquitto: Mosquitto) -> None:
    async with client(mosquitto, "writer") as writer, client(mosquitto, "reader") as reader:
        writer.mqtt.publish("r/old", b"1", 1, retain=True)
        await writer.acked()
        await reader.mqtt.subscribe([Filter("r/#")])
        writer.mqtt.publish("r/new", b"2", 1, retain=True)
        writer.mqtt.publish("r/new", b"3", 1)
        got = await reader.count(2)
        assert [(m.payload, m.retain) for m in got] == [(b"2", True), (b"3", False)]
        await reader.mqtt.subscribe([Filter("r/old", retained=True)])
        assert (await reader.count(3))[2] == Message("r/old", b"1", 1, True, False, Meta())


@both
@pytest.mark.asyncio
async def test_a_broker_with_nagle_s_algorithm_does_not_hold_messages_back(
    mosquitto: Mosquitto, protocol: Protocol
) -> None:
    async with client(mosquitto, protocol=protocol, window=20) as one:
        await one.mqtt.subscribe([Filter("n/+", 0)])
        started = asyncio.get_running_loop().time()
        await send_numbers(one, "n", 1000)
        await one.acked()
        assert asyncio.get_running_loop().time() - started < 1.0  # 2.2 s when we acknowledge late


@pytest.mark.asyncio
async def test_no_local_keeps_our_own_messages_away(mosquitto: Mosquitto) -> None:
    async with client(mosquitto) as one, client(mosquitto, "other") as other:
        await one.mqtt.subscribe([Filter("t", no_local=True)])
        one.mqtt.publish("t", b"mine", 1)
        await one.acked()
        other.mqtt.publish("t", b"theirs", 1)
        assert [m.payload for m in await one.count(1)] == [b"theirs"]


@pytest.mark.asyncio
async def test_the_broker_counts_message_expiry_down(mosquitto: Mosquitto) -> None:
    async with client(mosquitto) as one:
        one.mqtt.publish("long", b"p", 1, True, Meta(expiry=60))
        one.mqtt.publish("short", b"p", 1, True, Meta(expiry=1))
        await one.acked()
        await asyncio.sleep(2.1)
        await one.mqtt.subscribe([Filter("short", retained=True), Filter("long", retained=True)])
        (message,) = await one.count(1)
        assert message.topic == "long"
        assert message.meta.expiry is not None
        assert 50 < message.meta.expiry < 60


@pytest.mark.asyncio
async def test_response_topic_and_correlation_come_through(mosquitto: Mosquitto) -> None:
    meta = Meta(None, "application/json", "response/x", b"\0\xff", (("k", "v"), ("k", "w")))
    async with client(mosquitto) as one:
        await one.mqtt.subscribe([Filter("t/#")])
        one.mqtt.publish("t/0", b"{}", 0, False, meta)
        one.mqtt.publish("t/1", b"{}", 1, False, meta)
        assert [m.meta for m in await one.count(2)] == [meta, meta]


@pytest.mark.asyncio
async def test_under_3_1_1_there_are_no_properties(mosquitto: Mosquitto) -> None:
    async with client(mosquitto, protocol="3.1.1") as one:
        await one.mqtt.subscribe([Filter("t")])
        one.mqtt.publish("t", b"p", 1, False, Meta(60, "c", "r"))
        assert [m.meta for m in await one.count(1)] == [Meta()]


@both
@pytest.mark.asyncio
async def test_a_megabyte_in_one_message(mosquitto: Mosquitto, protocol: Protocol) -> None:
    payload = bytes(range(256)) * 4096
    async with client(mosquitto, protocol=protocol, packet_limit=2 << 20) as one:
        await one.mqtt.subscribe([Filter("big/#")])
        one.mqtt.publish("big/0", payload)
        one.mqtt.publish("big/1", payload, 1)
        assert [m.payload == payload for m in await one.count(2)] == [True, True]


@pytest.mark.asyncio
async def test_a_message_over_the_announced_limit_is_never_sent(start_mosquitto: StartMosquitto) -> None:
    broker = start_mosquitto(["max_packet_size 1000", "max_inflight_messages 7"])
    async with client(broker) as one:
        assert one.mqtt.limits == Limits(session_present=False, window=7, packet=1000)
        with pytest.raises(ValueError, match="the broker takes 1000"):
            one.mqtt.publish("t", bytes(1000))
        one.mqtt.publish("t", bytes(900), 1)
        await one.acked()


@pytest.mark.asyncio
async def test_the_code_of_a_message_over_message_size_limit_ends_the_connection(
    start_mosquitto: StartMosquitto,
) -> None:
    broker = start_mosquitto(["message_size_limit 1000"])
    async with client(broker) as one:
        one.mqtt.publish("t", bytes(1001), 1)
        assert isinstance(await one.end(), MqttError)


@pytest.mark.asyncio
async def test_a_publication_that_is_not_allowed_has_a_code(
    start_mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    (tmp_path / "acl").write_text("topic write allowed\n")
    broker = start_mosquitto([f"acl_file {tmp_path / 'acl'}"])
    async with client(broker) as one:
        good, bad = one.mqtt.publish("allowed", b"", 1), one.mqtt.publish("forbidden", b"", 1)
        await one.acked()
        assert one.acks == {good: 0x10, bad: 0x87}  # nobody listens; not authorized


# --- sessions and ends


@pytest.mark.asyncio
async def test_a_session_outlives_a_short_break(mosquitto: Mosquitto) -> None:
    async with client(mosquitto, "writer") as writer:
        first = Client(mosquitto)
        await first.mqtt.connect()
        assert not first.mqtt.limits.session_present
        await first.mqtt.subscribe([Filter("t")])
        first.mqtt.abort(MqttError("a break"))
        await first.end()
        writer.mqtt.publish("t", b"meanwhile", 1)
        await writer.acked()
        async with client(mosquitto) as second:
            assert second.mqtt.limits.session_present
            assert [m.payload for m in await second.count(1)] == [b"meanwhile"]


@both
@pytest.mark.asyncio
async def test_kill_9_of_the_broker_is_noticed_at_once(mosquitto: Mosquitto, protocol: Protocol) -> None:
    one = Client(mosquitto, protocol=protocol)
    await one.mqtt.connect()
    mosquitto.kill()
    async with asyncio.timeout(1.0):
        assert isinstance(await one.end(), ConnectionError)
    assert not one.mqtt.up
    with pytest.raises(ConnectionRefusedError):
        await Client(mosquitto).mqtt.connect()


@pytest.mark.asyncio
async def test_a_new_connection_after_a_restart_sends_nothing_of_the_old_one(mosquitto: Mosquitto) -> None:
    one = Client(mosquitto)
    await one.mqtt.connect()
    mosquitto.suspend()
    for _ in range(5):
        one.mqtt.publish("t", b"unacknowledged", 1)
    mosquitto.kill()
    await one.end()
    assert one.mqtt.unacked == 5
    mosquitto.start()
    async with client(mosquitto, "watcher") as watcher:
        await watcher.mqtt.subscribe([Filter("#")])
        async with client(mosquitto) as again:
            again.mqtt.publish("t", b"first", 1)
            await again.acked()
        assert [m.payload for m in await watcher.count(1)] == [b"first"]


@pytest.mark.asyncio
async def test_a_broker_that_stands_still_is_given_up_after_two_keepalives(mosquitto: Mosquitto) -> None:
    one = Client(mosquitto, keepalive=1)
    await one.mqtt.connect()
    mosquitto.suspend()
    assert isinstance(await one.end(), TimeoutError)
    mosquitto.resume()


@pytest.mark.asyncio
async def test_a_broker_that_stands_still_keeps_no_disconnect_waiting(mosquitto: Mosquitto) -> None:
    one = Client(mosquitto)
    await one.mqtt.connect()
    mosquitto.suspend()
    one.mqtt.publish("t", b"", 1)
    async with asyncio.timeout(1.0):
        assert await one.mqtt.disconnect(0.1) == 1
    mosquitto.resume()


@both
@pytest.mark.asyncio
async def test_a_second_client_with_our_id_takes_over(mosquitto: Mosquitto, protocol: Protocol) -> None:
    first = Client(mosquitto, protocol=protocol)
    await first.mqtt.connect()
    async with client(mosquitto, protocol=protocol) as second:
        # mosquitto 2.0 says nothing and closes; a broker that says so sends 0x8E.
        assert isinstance(await first.end(), ConnectionError | Refused)
        assert second.mqtt.up


@both
@pytest.mark.asyncio
async def test_the_will_is_published_for_us_and_goodbye_keeps_it_back(
    mosquitto: Mosquitto, protocol: Protocol
) -> None:
    will = Will("w", b"offline", delay=1)
    async with client(mosquitto, "watcher", protocol=protocol) as watcher:
        await watcher.mqtt.subscribe([Filter("w")])
        async with client(mosquitto, will=will, protocol=protocol) as polite:
            polite.mqtt.publish("w", b"goodbye", 1)
        lost = Client(mosquitto, will=will, protocol=protocol)
        await lost.mqtt.connect()
        started = asyncio.get_running_loop().time()
        lost.mqtt.abort(MqttError("lost"))
        await lost.end()
        got = await watcher.count(2)
        waited = asyncio.get_running_loop().time() - started
        assert [m.payload for m in got] == [b"goodbye", b"offline"]
        assert protocol == "3.1.1" or waited > 0.5


@pytest.mark.asyncio
async def test_a_connection_back_within_the_delay_has_no_will_published(mosquitto: Mosquitto) -> None:
    async with client(mosquitto, "watcher") as watcher:
        await watcher.mqtt.subscribe([Filter("w")])
        lost = Client(mosquitto, will=Will("w", b"offline", delay=1))
        await lost.mqtt.connect()
        lost.mqtt.abort(MqttError("lost"))
        await lost.end()
        async with client(mosquitto, will=Will("w", b"offline", delay=1)) as back:
            await asyncio.sleep(2.1)
            back.mqtt.publish("w", b"online", 1)
            assert [m.payload for m in await watcher.count(1)] == [b"online"]


@pytest.mark.asyncio
async def test_a_broker_that_reads_nothing_meets_a_bound(mosquitto: Mosquitto) -> None:
    async with client(mosquitto) as one:
        await one.mqtt.subscribe([Filter("last")])
        mosquitto.suspend()
        with pytest.raises(BufferError):
            flood(one.mqtt)
        assert one.mqtt.congested
        assert one.mqtt.room == 0
        assert one.mqtt.waiting < (1 << 20) + (256 << 10)
        mosquitto.resume()
        await one.until(lambda: one.mqtt.room > 0)
        one.mqtt.publish("last", b"", 1)
        await one.count(1)


def flood(mqtt: Mqtt) -> None:
    while True:
        mqtt.publish("flood", bytes(1000))


# --- who may connect


@pytest.mark.asyncio
async def test_a_password_opens_and_a_wrong_one_is_refused(
    start_mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(passwords), "me", "right"], check=True, capture_output=True)
    broker = start_mosquitto([f"password_file {passwords}"], anonymous=False)
    async with client(broker, username="me", password="right") as one:
        assert one.mqtt.up
    for protocol in ("5", "3.1.1"):
        for wrong in ({"username": "me", "password": "wrong"}, {}):
            with pytest.raises(Refused) as caught:
                await Client(broker, protocol=protocol, **wrong).mqtt.connect()
            assert not caught.value.passing


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.pem, other.pem, and what ca has signed: server.pem, client.pem; keys beside them."""
    directory = tmp_path_factory.mktemp("certificates")
    authority = self_signed(directory, "ca")
    self_signed(directory, "other")
    signed_by(authority, directory, "server")
    signed_by(authority, directory, "client")
    return directory


@pytest.fixture
def tls_broker(start_mosquitto: StartMosquitto, certificates: Path) -> Mosquitto:
    return start_mosquitto(tls_lines(certificates))


def tls_lines(directory: Path) -> list[str]:
    return [
        f"cafile {directory / 'ca.pem'}",
        f"certfile {directory / 'server.pem'}",
        f"keyfile {directory / 'server.key'}",
    ]


@both
@pytest.mark.asyncio
async def test_tls_carries_everything_in_order(
    tls_broker: Mosquitto, certificates: Path, protocol: Protocol
) -> None:
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    async with client(tls_broker, tls=context, protocol=protocol) as one:
        await one.mqtt.subscribe([Filter("n/+", 0)])
        await send_numbers(one, "n", 2000)
        got = await one.count(2500)
        assert [int(m.payload) for m in got] == sorted([*range(2000), *range(0, 2000, 4)])


@pytest.mark.asyncio
async def test_tls_with_a_broker_that_reads_nothing_meets_a_bound(
    tls_broker: Mosquitto, certificates: Path
) -> None:
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    async with client(tls_broker, tls=context) as one:
        tls_broker.suspend()
        with pytest.raises(BufferError):
            flood(one.mqtt)
        assert one.mqtt.waiting < (1 << 20) + (512 << 10)
        tls_broker.resume()
        await one.until(lambda: one.mqtt.room > 0)


@pytest.mark.asyncio
async def test_an_unknown_authority_is_refused_by_us(tls_broker: Mosquitto, certificates: Path) -> None:
    context = ssl.create_default_context(cafile=certificates / "other.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        await Client(tls_broker, tls=context).mqtt.connect()


@pytest.mark.asyncio
async def test_plain_to_a_tls_port_is_an_error_and_so_is_tls_to_a_plain_one(
    tls_broker: Mosquitto, mosquitto: Mosquitto, certificates: Path
) -> None:
    with pytest.raises((OSError, MqttError)):
        await Client(tls_broker, timeout=2.0).mqtt.connect()
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await Client(mosquitto, tls=context, timeout=2.0).mqtt.connect()


@pytest.mark.asyncio
async def test_mutual_tls(start_mosquitto: StartMosquitto, certificates: Path) -> None:
    lines = [*tls_lines(certificates), "require_certificate true", "use_identity_as_username true"]
    broker = start_mosquitto(lines, anonymous=False)
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    with pytest.raises(
        (ssl.SSLError, ConnectionError)
    ):  # under TLS 1.3 the refusal comes as an alert or as a reset
        await Client(broker, tls=context).mqtt.connect()
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    async with client(broker, tls=context) as one:
        one.mqtt.publish("t", b"", 1)
        await one.acked()
