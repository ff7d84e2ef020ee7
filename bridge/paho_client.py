"""paho as the connection uses it: handed a connected wire, plain values in and out, one connection only.

The only module that knows paho. It leans on one name that paho does not document, `Client._create_socket`; a test
fails when that goes (docs/decisions/0003-paho-on-the-event-loop.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.mqtt_values import (
    LARGEST_PACKET,
    ConnectionSettings,
    Filter,
    Limits,
    Message,
    Meta,
    MqttError,
    Refused,
)
from bridge.wire import Wire, encode_topic

NOWHERE = "socket.invalid"  # paho asks for a host; should it ever look this one up, it must fail
VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
KEEP_ALIVE_TIMEOUT = 0x8D


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom paho's news goes to; everything is called from `loop_read` and `loop_misc`, on the loop."""

    connected: Callable[[Limits], None]  # a good CONNACK
    ended: Callable[[Exception], None]  # a refusal, a DISCONNECT, a broken protocol, an unanswered PINGREQ
    message: Callable[[Message], None]
    acked: Callable[[int, int], None]  # packet id, reason code
    subscribed: Callable[[int, list[tuple[int, str]]], None]  # packet id, reason codes and their names


class PahoClient(Client):
    """One paho client for one connection: CONNECT to DISCONNECT, never again."""

    def __init__(self, settings: ConnectionSettings, wire: Wire, reports: Reports) -> None:
        self.v5 = settings.protocol == "5"
        self.ignored = 0  # messages on what is not a topic
        self._settings, self._wire, self._reports = settings, wire, reports
        super().__init__(
            CallbackAPIVersion.VERSION2,
            settings.client_id,
            None if self.v5 else True,
            protocol=VERSIONS[settings.protocol],
            reconnect_on_failure=False,
        )
        self.max_inflight_messages_set(0)  # paho's own window is slow; the connection keeps one
        self.username_pw_set(settings.username, settings.password)
        if will := settings.will:
            delay = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay) if self.v5 else None
            self.will_set(will.topic, will.payload, will.qos, will.retain, delay)
        self.on_connect, self.on_disconnect = self._told_connack, self._told_end
        self.on_message, self.on_publish, self.on_subscribe = self._told_message, self._told_ack, self._told_suback
        self.on_socket_register_write = lambda *_: wire.packets_queued()
        wire.read, wire.write = self.loop_read, self.loop_write

    def _create_socket(self) -> Wire:
        return self._wire

    # --- what the connection asks for

    def send_connect(self) -> None:
        """CONNECT over the wire that is already open."""
        s = self._settings
        if not self.v5:
            self.connect(NOWHERE, s.port, s.keepalive)
            return
        properties = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=s.session_expiry,
            ReceiveMaximum=s.receive_maximum,
            MaximumPacketSize=s.packet_limit,
        )
        self.connect(NOWHERE, s.port, s.keepalive, clean_start=False, properties=properties)

    def send_publish(self, topic: str, payload: bytes, retain: bool, meta: Meta | None) -> int:
        """PUBLISH with QoS 1; returns its packet id."""
        properties = publish_properties(meta)[0] if meta and self.v5 else None
        while True:
            info = self.publish(topic, payload, 1, retain, properties)
            if (
                info.rc is not MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
            ):  # else this id still waits for its PUBACK: the next
                return info.mid

    def send_subscribe(self, filters: Sequence[Filter]) -> int:
        """SUBSCRIBE; returns its packet id. ValueError for what is no filter."""
        if self.v5:
            _, mid = self.subscribe(
                [(f.topic, SubscribeOptions(f.qos, f.no_local, True, 0 if f.retained else 2)) for f in filters]
            )
        else:
            _, mid = self.subscribe([(f.topic, int(f.qos)) for f in filters])
        if mid is None:
            raise MqttError("not connected")
        return mid

    # --- what paho reports

    def _told_connack(
        self, _: Client, __: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            what = "connection refused by the broker"
            self._reports.ended(Refused(what, reason.value, _text(reason, properties)))
            return

        def granted(name: str, default: int) -> int:
            value = getattr(properties, name, default)
            return value if isinstance(value, int) else default

        limits = Limits(
            session_present=flags.session_present,
            window=min(self._settings.window, granted("ReceiveMaximum", 65_535)),
            packet=granted("MaximumPacketSize", LARGEST_PACKET),
            qos=granted("MaximumQoS", 2),
            retain=bool(granted("RetainAvailable", 1)),
        )
        self._reports.connected(limits)

    def _told_end(
        self, _: Client, __: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            what = "disconnected by the broker"
            self._reports.ended(Refused(what, reason.value, _text(reason, properties)))
        elif reason.value == KEEP_ALIVE_TIMEOUT:
            self._reports.ended(TimeoutError("the broker answers no PINGREQ"))
        else:
            self._reports.ended(MqttError("the broker broke the protocol or does not speak this version"))

    def _told_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
            encode_topic(topic)
        except ValueError:  # UnicodeDecodeError is one
            self.ignored += 1
            return
        payload = bytes(message.payload)
        meta = _meta(message.properties)
        self._reports.message(Message(topic, payload, message.qos, message.retain, message.dup, meta))

    def _told_ack(self, _: Client, __: Any, mid: int, reason: ReasonCode, ___: Properties | None) -> None:
        self._reports.acked(mid, reason.value)

    def _told_suback(self, _: Client, __: Any, mid: int, codes: list[ReasonCode], ___: Properties | None) -> None:
        self._reports.subscribed(mid, [(code.value, str(code)) for code in codes])


def _properties(kind: int, **values: Any) -> Properties:
    """MQTT 5 properties for one kind of packet; None leaves one out. paho's are untyped."""
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        if value is not None:
            setattr(properties, name, value)
    return properties


@lru_cache(256)
def publish_properties(meta: Meta) -> tuple[Properties, bytes]:
    """The properties of a PUBLISH, for paho and as they are on the wire. Never change the former: it is cached."""
    properties = _properties(
        PacketTypes.PUBLISH,
        MessageExpiryInterval=meta.expiry,
        ContentType=meta.content_type,
        ResponseTopic=meta.response_topic,
        CorrelationData=meta.correlation,
        UserProperty=list(meta.user_properties) or None,
    )
    packed: bytes = properties.pack()  # type: ignore[no-untyped-call]
    return properties, packed


def _meta(properties: Properties | None) -> Meta:
    return Meta(
        getattr(properties, "MessageExpiryInterval", None),
        getattr(properties, "ContentType", None),
        getattr(properties, "ResponseTopic", None),
        getattr(properties, "CorrelationData", None),
        tuple(getattr(properties, "UserProperty", ())),
    )


def _text(reason: ReasonCode, properties: Properties | None) -> str:
    more = getattr(properties, "ReasonString", "")
    return f"{reason} ({more})" if more else str(reason)
