"""The control packets of MQTT 3.1.1 and 5 as values; `mqtt_codec` turns them into bytes and back.

One set of values serves both versions: reasons are always those of MQTT 5, and properties, which 3.1.1
does not have, are left out of its bytes. Section numbers here and in the codec are those of the OASIS
standard MQTT 5.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias


class Version(IntEnum):
    """The protocol level in CONNECT (3.1.2.2)."""

    V311 = 4
    V5 = 5


class PacketType(IntEnum):
    """The upper four bits of a packet's first byte (2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Property(IntEnum):
    """What MQTT 5 can attach to a packet (2.2.2.2)."""

    PAYLOAD_FORMAT = 1
    MESSAGE_EXPIRY = 2
    CONTENT_TYPE = 3
    RESPONSE_TOPIC = 8
    CORRELATION_DATA = 9
    SUBSCRIPTION_IDENTIFIER = 11
    SESSION_EXPIRY = 17
    ASSIGNED_CLIENT_ID = 18
    SERVER_KEEPALIVE = 19
    AUTHENTICATION_METHOD = 21
    AUTHENTICATION_DATA = 22
    REQUEST_PROBLEM_INFORMATION = 23
    WILL_DELAY = 24
    REQUEST_RESPONSE_INFORMATION = 25
    RESPONSE_INFORMATION = 26
    SERVER_REFERENCE = 28
    REASON_STRING = 31
    RECEIVE_MAXIMUM = 33
    TOPIC_ALIAS_MAXIMUM = 34
    TOPIC_ALIAS = 35
    MAXIMUM_QOS = 36
    RETAIN_AVAILABLE = 37
    USER_PROPERTY = 38
    MAXIMUM_PACKET_SIZE = 39
    WILDCARDS_AVAILABLE = 40
    SUBSCRIPTION_IDENTIFIERS_AVAILABLE = 41
    SHARED_SUBSCRIPTIONS_AVAILABLE = 42


class Reason(IntEnum):
    """The reason codes this broker gives or understands (2.4); from 0x80 on they are failures."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEPALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    PACKET_ID_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E


PropertyValue: TypeAlias = int | str | bytes | tuple[str, str]
Properties: TypeAlias = tuple[tuple[Property, PropertyValue], ...]


def number(properties: Properties, wanted: Property, default: int) -> int:
    """The value of a numeric property, or the default when it is absent."""
    for name, value in properties:
        if name is wanted and isinstance(value, int):
            return value
    return default


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the client vanishes (3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Connect:
    """A client introduces itself; keepalive in seconds, 0 for none. `clean_start` is 3.1.1's clean session."""

    version: Version
    client_id: str
    clean_start: bool = True
    keepalive: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class ConnAck:
    """The broker's answer to CONNECT."""

    session_present: bool = False
    reason: int = Reason.SUCCESS
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Publish:
    """An application message; `packet_id` is 0 at QoS 0 and only there."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP: the steps that acknowledge a PUBLISH (4.3)."""

    kind: PacketType
    packet_id: int
    reason: int = Reason.SUCCESS
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter of a SUBSCRIBE with its options (3.8.3.1)."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A wish for messages."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The end of such wishes."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class SubscribeAck:
    """SUBACK or UNSUBACK: one reason per filter. An UNSUBACK of 3.1.1 carries none."""

    kind: PacketType
    packet_id: int
    reasons: tuple[int, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Ping:
    """PINGREQ or PINGRESP."""

    kind: PacketType


@dataclass(frozen=True, slots=True)
class Farewell:
    """DISCONNECT, or the AUTH of an extended login (3.14, 3.15)."""

    kind: PacketType = PacketType.DISCONNECT
    reason: int = Reason.SUCCESS
    properties: Properties = ()


Packet: TypeAlias = Connect | ConnAck | Publish | Ack | Subscribe | Unsubscribe | SubscribeAck | Ping | Farewell
