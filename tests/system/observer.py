"""An MQTT client beside the bridge that sees everything: each message with its time, and what is retained now.

It is paho with a thread of its own and shares no code with the bridge's connection.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

HOST = "127.0.0.1"
DEADLINE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it arrived; `at` is time.monotonic()."""

    at: float
    topic: str
    payload: bytes
    retain: bool

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Observer:
    """Connects by itself again and again; with every connection the retained picture begins anew."""

    def __init__(self, port: int, root: str = "lab2mqtt") -> None:
        self.root = root
        self._port = port
        self._news = threading.Condition()
        self._seen: list[Seen] = []
        self._retained: dict[str, bytes] = {}
        self._finals: Counter[str] = Counter()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_socket_open = self._on_socket_open

    def __enter__(self) -> Self:
        self._client.connect_async(HOST, self._port)
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # --- what was seen -------------------------------------------------------------------------------

    @property
    def seen(self) -> list[Seen]:
        with self._news:
            return list(self._seen)

    def retained(self, topic: str) -> bytes | None:
        """What is retained under {root}/{topic} now, as far as has arrived."""
        with self._news:
            return self._retained.get(f"{self.root}/{topic}")

    def document(self, topic: str) -> Any:
        """The retained JSON there; an empty one when there is none."""
        return json.loads(self.retained(topic) or b"{}")

    def topics(self, containing: str) -> list[str]:
        """All topics, of every root, where something is retained now and that have this in their name."""
        with self._news:
            return sorted(topic for topic in self._retained if containing in topic)

    def on(self, topic: str, since: float = 0.0) -> list[Seen]:
        """What came on {root}/{topic} (with a trailing `#`: and below) since then."""
        whole, prefix = f"{self.root}/{topic}", f"{self.root}/{topic[:-1]}"
        below = topic.endswith("#")
        return [
            one
            for one in self.seen
            if one.at >= since and (one.topic.startswith(prefix) if below else one.topic == whole)
        ]

    def until_retained(self, topic: str, payload: bytes, within: float = DEADLINE) -> None:
        """Wait until this is retained under {root}/{topic}."""
        self.until(lambda: self.retained(topic) == payload, within, lambda: f"{topic}: {self.retained(topic)!r}")

    def until(self, condition: Callable[[], object], within: float = DEADLINE, what: object = "") -> None:
        """Wait until it holds; asked when something arrives and now and then. AssertionError: it does not."""
        deadline = time.monotonic() + within
        while not condition():
            left = deadline - time.monotonic()
            shown = what() if callable(what) else what
            assert left > 0, f"not within {within:g} s: {shown or 'the condition'}"
            with self._news:
                self._news.wait(min(left, 0.1))

    # --- commands ------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: object, *, retain: bool = False, expiry: int | None = None) -> None:
        """QoS 1, on {root}/{topic}; not waited for. Anything but bytes is sent as JSON."""
        properties = None
        if expiry is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = expiry
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(f"{self.root}/{topic}", data, 1, retain, properties)

    def send(self, topic: str, payload: dict[str, Any], **options: Any) -> str:
        """Publish a command's envelope with an id of its own; the id."""
        id_ = secrets.token_hex(6)
        self.publish(topic, {"id": id_, **payload}, **options)
        return id_

    def answers(self, id_: str) -> list[dict[str, Any]]:
        """All that was answered to this command, in order."""
        replies = [one.json for one in self.seen if "/reply/" in one.topic]
        return [reply for reply in replies if reply.get("id") == id_]

    def finals(self, ids: Collection[str]) -> int:
        """How many final answers these commands got, all together."""
        with self._news:
            return sum(self._finals[id_] for id_ in ids)

    def answer(self, id_: str, within: float = DEADLINE) -> dict[str, Any]:
        """The final answer."""

        def final() -> list[dict[str, Any]]:
            return [reply for reply in self.answers(id_) if reply["final"]]

        self.until(final, within, lambda: f"a final answer to {id_}; so far {self.answers(id_)}")
        return final()[0]

    def command(self, topic: str, payload: dict[str, Any], within: float = DEADLINE) -> dict[str, Any]:
        """Send and wait for the final answer."""
        return self.answer(self.send(topic, payload), within)

    # --- paho's thread -------------------------------------------------------------------------------

    def _on_socket_open(self, _: Client, __: Any, sock: Any) -> None:
        """Else a command waits 40 ms for the acknowledgement of what was sent before it."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            return
        with self._news:
            self._retained.clear()
        options = SubscribeOptions(1, retainAsPublished=True)
        client.subscribe([("#", options)])

    def _on_disconnect(self, *_: Any) -> None:
        with self._news:
            self._retained.clear()

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        one = Seen(time.monotonic(), message.topic, bytes(message.payload), message.retain)
        with self._news:
            self._seen.append(one)
            if one.retain and one.payload:
                self._retained[one.topic] = one.payload
            elif one.retain:
                self._retained.pop(one.topic, None)
            if "/reply/" in one.topic and (reply := one.json)["final"]:
                self._finals[str(reply.get("id"))] += 1
            self._news.notify_all()
