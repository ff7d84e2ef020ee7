"""What a client may expect of a broker, asked by paho of ours and, where it is installed, of mosquitto.

Only what both do alike is asked here; limits, counters and codes of ours are in `test_mqtt_connection`.
"""

from __future__ import annotations

import asyncio
import queue
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.simulators.mqtt_broker import Broker

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
SOON = 5.0  # seconds: the deadline of whatever must happen
both_versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5"])


@contextmanager
def embedded(folder: Path) -> Iterator[int]:
    """Our broker on a loop of its own; leaving checks that it left no task there."""
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with Broker() as broker:
            stop = asyncio.Event()
            started.set_result((broker.port, asyncio.get_running_loop(), stop))
            await stop.wait()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with ThreadPoolExecutor(1) as thread:
        served = thread.submit(asyncio.run, serve())
        port, loop, stop = started.result(SOON)
        try:
            yield port
        finally:
            loop.call_soon_threadsafe(stop.set)
            served.result(SOON)


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """A real mosquitto with its defaults."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nuser root\npersistence false\n"
    )
    with subprocess.Popen([MOSQUITTO, "-c", configuration], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert any("running" in line for line in process.stderr), "mosquitto did not start"
            yield port
        finally:
            process.terminate()
            process.communicate(timeout=SOON)


@pytest.fixture(scope="module", params=[embedded, mosquitto], ids=["ours", "mosquitto"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    start: Callable[[Path], AbstractContextManager[int]] = request.param
    with start(tmp_path_factory.mktemp("broker")) as number:
        yield number


def attached(packet: int, **values: object) -> Properties:
    """MQTT 5 properties by paho's names."""
    made = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Client:
    """A paho client that is connected once it is made; its calls wait for the broker's answer."""

    def __init__(
        self,
        port: int,
        version: MQTTProtocolVersion,
        name: str = "",
        *,
        clean: bool = True,
        expiry: int = 0,
        will: tuple[str, str] | None = None,
        will_delay: int = 0,
        acknowledge: bool = True,
    ) -> None:
        self.name = name or uuid.uuid4().hex
        self.version = version
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.answers: queue.Queue[list[ReasonCode]] = queue.Queue()
        self.present: queue.Queue[bool] = queue.Queue()
        self.disconnected = threading.Event()
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            self.name,
            clean_session=None if version == V5 else clean,
            protocol=version,
            reconnect_on_failure=False,
            manual_ack=not acknowledge,
        )
        self.paho.on_connect = lambda _c, _u, flags, _r, _p: self.present.put(flags.session_present)
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.answers.put(reasons)
        self.paho.on_unsubscribe = lambda _c, _u, _m, reasons, _p: self.answers.put(reasons)
        self.paho.on_disconnect = lambda *_: self.disconnected.set()
        if will is not None:
            delay = attached(PacketTypes.WILLMESSAGE, WillDelayInterval=will_delay) if version == V5 else None
            self.paho.will_set(*will, qos=1, retain=True, properties=delay)
        if version == V5:
            session = attached(PacketTypes.CONNECT, SessionExpiryInterval=expiry)
            self.paho.connect("127.0.0.1", port, 30, clean_start=clean, properties=session)
        else:
            self.paho.connect("127.0.0.1", port, 30)
        self.paho.loop_start()
        self.session_present = self.present.get(timeout=SOON)

    def subscribe(self, topic_filter: str, qos: int = 1, **options: object) -> list[int]:
        identifier = options.pop("identifier", None)
        if self.version == V5:
            wanted = SubscribeOptions(qos, **options)  # type: ignore[arg-type]
            named = attached(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier) if identifier else None
            self.paho.subscribe(topic_filter, options=wanted, properties=named)
        else:
            self.paho.subscribe(topic_filter, qos)
        return [reason.value for reason in self.answers.get(timeout=SOON)]

    def unsubscribe(self, topic_filter: str) -> None:
        self.paho.unsubscribe(topic_filter)
        self.answers.get(timeout=SOON)

    def publish(
        self, topic: str, payload: str | bytes, qos: int = 1, *, retain: bool = False, **values: object
    ) -> None:
        properties = attached(PacketTypes.PUBLISH, **values) if values else None
        sent = self.paho.publish(topic, payload, qos, retain, properties)
        sent.wait_for_publish(SOON)
        assert sent.is_published()

    def next(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=SOON)

    def arrived(self) -> list[paho.MQTTMessage]:
        """All that was sent to this client so far: what comes before a message of its own comes back."""
        end = f"end/{uuid.uuid4().hex}"
        self.subscribe(end)
        self.publish(end, "")
        before = []
        while (message := self.next()).topic != end:
            before.append(message)
        self.unsubscribe(end)
        return before

    def payloads(self) -> list[bytes]:
        return [bytes(message.payload) for message in self.arrived()]

    def close(self) -> None:
        self.paho.disconnect()
        assert self.disconnected.wait(SOON)
        self.paho.loop_stop()

    def cut(self) -> None:
        """Lose the connection without a DISCONNECT."""
        peer = self.paho.socket()
        assert isinstance(peer, socket.socket)
        peer.shutdown(socket.SHUT_RDWR)
        assert self.disconnected.wait(SOON)
        self.paho.loop_stop()


class Bench:
    """Makes clients of one broker and closes them; `topic` is this test's own."""

    def __init__(self, port: int) -> None:
        self.topic = uuid.uuid4().hex
        self._port = port
        self._clients: list[Client] = []

    def client(self, version: MQTTProtocolVersion, name: str = "", **options: object) -> Client:
        client = Client(self._port, version, name, **options)  # type: ignore[arg-type]
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            if not client.disconnected.is_set():
                client.close()
            client.paho.loop_stop()


@pytest.fixture
def bench(port: int) -> Iterator[Bench]:
    bench = Bench(port)
    yield bench
    bench.close()


@both_versions
def test_a_retained_message_is_the_last_one_and_an_empty_one_clears_it(
    bench: Bench, version: MQTTProtocolVersion
) -> None:
    publisher, early = bench.client(version), bench.client(version)
    publisher.publish(bench.topic, "one", retain=True)
    publisher.publish(bench.topic, "two", retain=True)
    early.subscribe(bench.topic + "/#")  # which "topic/#" matches too
    assert [(message.payload, message.retain) for message in early.arrived()] == [(b"two", True)]
    publisher.publish(bench.topic, "three", retain=True)
    assert [(message.payload, message.retain) for message in early.arrived()] == [(b"three", False)]
    publisher.publish(bench.topic, "", retain=True)
    late = bench.client(version)
    late.subscribe(bench.topic)
    assert late.payloads() == []


@both_versions
def test_each_quality_of_service_arrives_once(bench: Bench, version: MQTTProtocolVersion) -> None:
    publisher, subscriber = bench.client(version), bench.client(version)
    for qos in (0, 1, 2):
        assert subscriber.subscribe(f"{bench.topic}/{qos}", qos) == [qos]
        publisher.publish(f"{bench.topic}/{qos}", f"m{qos}", qos)
        assert [(m.payload, m.qos) for m in subscriber.arrived()] == [(f"m{qos}".encode(), qos)]


@both_versions
def test_the_lower_quality_of_service_wins(bench: Bench, version: MQTTProtocolVersion) -> None:
    client = bench.client(version)
    client.subscribe(bench.topic, 1)
    for qos in (0, 2):
        client.publish(bench.topic, "x", qos)
    assert [message.qos for message in client.arrived()] == [0, 1]


@both_versions
def test_a_will_follows_a_lost_connection_and_is_retained(bench: Bench, version: MQTTProtocolVersion) -> None:
    watcher = bench.client(version)
    watcher.subscribe(bench.topic)
    bench.client(version, will=(bench.topic, "offline")).cut()
    assert watcher.next().payload == b"offline"
    late = bench.client(version)
    late.subscribe(bench.topic)
    assert [(message.payload, message.retain) for message in late.arrived()] == [(b"offline", True)]


@both_versions
def test_no_will_follows_a_disconnect(bench: Bench, version: MQTTProtocolVersion) -> None:
    watcher = bench.client(version)
    watcher.subscribe(bench.topic)
    leaving = bench.client(version, will=(bench.topic, "offline"))
    leaving.close()
    bench.client(version, leaving.name)  # answered after the broker has seen the other one leave
    assert watcher.payloads() == []


@both_versions
def test_a_session_keeps_messages_in_order_while_its_client_is_away(
    bench: Bench, version: MQTTProtocolVersion
) -> None:
    publisher, subscriber = bench.client(version), bench.client(version, clean=False, expiry=300)
    assert not subscriber.session_present
    subscriber.subscribe(bench.topic)
    subscriber.close()
    wanted = [str(number).encode() for number in range(50)]
    for payload in wanted:
        publisher.publish(bench.topic, payload)
    again = bench.client(version, subscriber.name, clean=False, expiry=300)
    assert again.session_present
    assert again.payloads() == wanted
    again.close()
    assert not bench.client(version, subscriber.name, clean=True).session_present


@both_versions
def test_a_session_survives_a_lost_connection(bench: Bench, version: MQTTProtocolVersion) -> None:
    publisher, subscriber = bench.client(version), bench.client(version, clean=False, expiry=300)
    subscriber.subscribe(bench.topic)
    subscriber.cut()
    for payload in "01234":
        publisher.publish(bench.topic, payload)
    again = bench.client(version, subscriber.name, clean=False, expiry=300)
    assert again.payloads() == [b"0", b"1", b"2", b"3", b"4"]


@both_versions
def test_what_was_not_acknowledged_comes_again_marked_as_such(bench: Bench, version: MQTTProtocolVersion) -> None:
    silent = bench.client(version, clean=False, expiry=300, acknowledge=False)
    silent.subscribe(bench.topic)
    bench.client(version).publish(bench.topic, "x")
    first = silent.next()
    silent.cut()
    again = bench.client(version, silent.name, clean=False, expiry=300)
    second = again.next()
    assert (first.payload, first.dup, second.payload, second.dup) == (b"x", False, b"x", True)
    assert first.mid == second.mid


@both_versions
def test_a_second_client_of_the_same_name_takes_over(bench: Bench, version: MQTTProtocolVersion) -> None:
    old = bench.client(version)
    new = bench.client(version, old.name)
    assert old.disconnected.wait(SOON)
    new.subscribe(bench.topic)
    new.publish(bench.topic, "x")
    assert new.payloads() == [b"x"]


@both_versions
def test_a_large_payload_arrives_whole(bench: Bench, version: MQTTProtocolVersion) -> None:
    client = bench.client(version)
    client.subscribe(bench.topic)
    payload = bytes(range(250)) * 8_000
    client.publish(bench.topic, payload)
    assert client.next().payload == payload


@both_versions
def test_wildcards(bench: Bench, version: MQTTProtocolVersion) -> None:
    one_level, whole = bench.client(version), bench.client(version)
    one_level.subscribe(f"{bench.topic}/+/x")
    whole.subscribe(f"{bench.topic}/#")
    for levels in ("a/x", "a/y", "$b/x", "a/b/x", "/x"):
        whole.publish(f"{bench.topic}/{levels}", levels)
    assert one_level.payloads() == [b"a/x", b"$b/x", b"/x"]
    assert whole.payloads() == [b"a/x", b"a/y", b"$b/x", b"a/b/x", b"/x"]


@both_versions
def test_leading_wildcards_do_not_match_dollar_topics(bench: Bench, version: MQTTProtocolVersion) -> None:
    everything, named = bench.client(version), bench.client(version)
    everything.subscribe("#")
    everything.subscribe("+/" + bench.topic)
    named.subscribe("$own/+")
    named.publish("$own/" + bench.topic, "x")
    assert named.payloads() == [b"x"]
    assert [m.topic for m in everything.arrived() if m.topic.startswith("$")] == []


@both_versions
def test_unsubscribe(bench: Bench, version: MQTTProtocolVersion) -> None:
    client = bench.client(version)
    client.subscribe(bench.topic)
    client.unsubscribe(bench.topic)
    client.publish(bench.topic, "x")
    assert client.payloads() == []


@both_versions
def test_overlapping_subscriptions_give_a_message_at_the_highest_quality(
    bench: Bench, version: MQTTProtocolVersion
) -> None:
    client = bench.client(version)
    client.subscribe(f"{bench.topic}/#", 0)
    client.subscribe(f"{bench.topic}/1", 1)
    client.publish(f"{bench.topic}/1", "x")
    received = client.arrived()
    assert 1 <= len(received) <= 2
    assert max(message.qos for message in received) == 1


def test_overlapping_subscriptions_with_identifiers_give_a_copy_each(bench: Bench) -> None:
    client = bench.client(V5)
    client.subscribe(f"{bench.topic}/#", identifier=1, retainAsPublished=True)
    client.subscribe(f"{bench.topic}/1", identifier=2)
    client.publish(f"{bench.topic}/1", "x", retain=True)
    received = client.arrived()
    named = {str(getattr(m.properties, "SubscriptionIdentifier", None)): m.retain for m in received}
    assert named == {"[1]": True, "[2]": False}  # each as its own subscription asked for it
    client.publish(f"{bench.topic}/1", "", retain=True)


def test_message_properties_travel_on(bench: Bench) -> None:
    client = bench.client(V5)
    client.subscribe(bench.topic, identifier=7)
    client.publish(
        bench.topic,
        "{}",
        ResponseTopic="r/t",
        CorrelationData=b"abc",
        UserProperty=[("k", "v"), ("k", "w")],
        ContentType="application/json",
        PayloadFormatIndicator=1,
    )
    got = client.next().properties
    assert got is not None
    assert got.json() == {  # type: ignore[no-untyped-call]
        "ResponseTopic": "r/t",
        "CorrelationData": "616263",
        "UserProperty": [("k", "v"), ("k", "w")],
        "ContentType": "application/json",
        "PayloadFormatIndicator": 1,
        "SubscriptionIdentifier": [7],
    }


def test_message_expiry_counts_down_until_the_message_is_gone(bench: Bench) -> None:
    client, away = bench.client(V5), bench.client(V5, clean=False, expiry=300)
    away.subscribe(f"{bench.topic}/queued")
    away.close()
    client.publish(f"{bench.topic}/queued", "short", MessageExpiryInterval=1)
    client.publish(f"{bench.topic}/queued", "long", MessageExpiryInterval=100)
    client.publish(bench.topic, "x", retain=True, MessageExpiryInterval=2)
    left: list[int] = []
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        client.subscribe(bench.topic)
        received = client.arrived()
        if not received:
            break
        left.append(getattr(received[0].properties, "MessageExpiryInterval", 0))
    else:
        pytest.fail("it never went away")
    assert left[0] == 2
    assert left[-1] < 2
    assert left == sorted(left, reverse=True)
    assert bench.client(V5, away.name, clean=False, expiry=300).payloads() == [b"long"]


def test_no_local(bench: Bench) -> None:
    client = bench.client(V5)
    client.subscribe(bench.topic, noLocal=True)
    client.publish(bench.topic, "own")
    bench.client(V5).publish(bench.topic, "other")
    assert client.payloads() == [b"other"]


@pytest.mark.parametrize(("handling", "seen"), [(0, [1, 1]), (1, [1, 0]), (2, [0, 0])])
def test_retain_handling(bench: Bench, handling: int, seen: list[int]) -> None:
    client = bench.client(V5)
    client.publish(bench.topic, "x", retain=True)
    counts = []
    for _ in range(2):
        client.subscribe(bench.topic, retainHandling=handling)
        counts.append(len(client.arrived()))
    assert counts == seen


def test_retain_as_published(bench: Bench) -> None:
    client = bench.client(V5)
    client.subscribe(bench.topic, retainAsPublished=True)
    client.publish(bench.topic, "a", retain=True)
    client.publish(bench.topic, "b", retain=False)
    assert [message.retain for message in client.arrived()] == [True, False]


def test_a_delayed_will_waits_and_a_client_that_returns_stops_it(bench: Bench) -> None:
    watcher = bench.client(V5)
    watcher.subscribe(f"{bench.topic}/+")
    back = bench.client(V5, will=(f"{bench.topic}/back", "x"), will_delay=1, expiry=60)
    gone = bench.client(V5, will=(f"{bench.topic}/gone", "x"), will_delay=1, expiry=60)
    back.cut()
    bench.client(V5, back.name, clean=False, expiry=60)
    gone.cut()
    assert watcher.payloads() == []
    assert watcher.next().topic == f"{bench.topic}/gone"  # and not the other one before it


def test_a_session_expires_and_its_will_does_not_outwait_it(bench: Bench) -> None:
    watcher = bench.client(V5)
    watcher.subscribe(bench.topic)
    short = bench.client(V5, will=(bench.topic, "ended"), will_delay=60, expiry=1)
    short.cut()
    assert watcher.next().payload == b"ended"
    assert not bench.client(V5, short.name, clean=False).session_present
