"""MQTT packets to bytes and back, for 3.1.1 and 5, without I/O: `decode` and `encode` are inverse.

`decode` is strict: whatever the standard calls malformed, or an error of the protocol that shows in a single
packet, is a `MalformedPacket`, and nothing else is ever raised for any bytes.
"""

from __future__ import annotations

from typing import Final

from bridge.simulators.mqtt_fields import (
    LARGEST_VARINT,
    WILL,
    MalformedPacket,
    Reader,
    properties,
    short,
    sized,
    varint,
    varint_at,
)
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
    Unsubscribe,
    Version,
    Will,
)

__all__ = ["MalformedPacket", "decode", "encode"]

_FLAGS_2: Final = {PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE}  # 2.1.3
_CONNACK_311: Final = (  # MQTT 3.1.1, 3.2.2.3: what its return codes 0 to 5 stand for
    Reason.SUCCESS,
    Reason.UNSUPPORTED_VERSION,
    Reason.CLIENT_ID_NOT_VALID,
    Reason.SERVER_UNAVAILABLE,
    Reason.BAD_USER_NAME_OR_PASSWORD,
    Reason.NOT_AUTHORIZED,
)


def decode(
    data: bytes | bytearray, version: Version, *, start: int = 0, largest: int = LARGEST_VARINT
) -> tuple[Packet, int] | None:
    """The packet at `start` and the position after it, or None while it is incomplete.

    `version` is the connection's; a CONNECT brings its own. A packet of more than `largest` bytes in all is
    refused as soon as its length is known.
    """
    if start >= len(data):
        return None
    first = data[start]
    kind, flags = first >> 4, first & 15
    if kind == 0 or (kind != PacketType.PUBLISH and flags != (2 if kind in _FLAGS_2 else 0)):
        raise MalformedPacket(f"no packet begins with 0x{first:02x}")
    length, size = varint_at(data, start + 1)
    if size == 0:
        return None
    body = start + 1 + size
    if body + length - start > largest:
        raise MalformedPacket(f"a packet of {length} bytes", Reason.PACKET_TOO_LARGE)
    end = body + length
    if len(data) < end:
        return None
    reader = Reader(bytes(data[body:end]))
    packet = _packet(PacketType(kind), flags, reader, version)
    if reader.left:
        raise MalformedPacket("bytes after the last field")
    return packet, end


def _packet(kind: PacketType, flags: int, body: Reader, version: Version) -> Packet:
    match kind:
        case PacketType.PUBLISH:
            return _publish(flags, body, version)
        case PacketType.PUBACK | PacketType.PUBREC | PacketType.PUBREL | PacketType.PUBCOMP:
            packet_id = body.packet_id()
            reason, attached = _reason(kind, body, version)
            return Ack(kind, packet_id, reason, attached)
        case PacketType.PINGREQ | PacketType.PINGRESP:
            return Ping(kind)
        case PacketType.CONNECT:
            return _connect(body)
        case PacketType.CONNACK:
            return _connack(body, version)
        case PacketType.SUBSCRIBE:
            return _subscribe(body, version)
        case PacketType.UNSUBSCRIBE:
            return _unsubscribe(body, version)
        case PacketType.SUBACK | PacketType.UNSUBACK:
            packet_id = body.packet_id()
            attached = _properties(kind, body, version)
            return SubscribeAck(kind, packet_id, tuple(body.rest()), attached)
        case PacketType.DISCONNECT | PacketType.AUTH:
            if kind is PacketType.AUTH and version is not Version.V5:
                raise MalformedPacket("AUTH before MQTT 5")
            reason, attached = _reason(kind, body, version)
            return Farewell(kind, reason, attached)


def _properties(kind: PacketType, body: Reader, version: Version) -> Properties:
    return body.properties(kind) if version is Version.V5 else ()


def _reason(kind: PacketType, body: Reader, version: Version) -> tuple[int, Properties]:
    """Reason and properties where both may be left out (3.4.2.1, 3.14.2.1)."""
    if version is not Version.V5 or not body.left:
        return Reason.SUCCESS, ()
    return body.byte(), body.properties(kind) if body.left else ()


def _topic_name(text: str) -> str:
    if "+" in text or "#" in text:
        raise MalformedPacket("a topic with wildcards")
    return text


def _message_properties(place: int, body: Reader, version: Version) -> Properties:
    attached = body.properties(place) if version is Version.V5 else ()
    for name, value in attached:
        if name is Property.RESPONSE_TOPIC and isinstance(value, str):
            _topic_name(value)
    return attached


def _publish(flags: int, body: Reader, version: Version) -> Publish:
    duplicate, qos, retain = bool(flags & 8), flags >> 1 & 3, bool(flags & 1)
    if qos == 3 or (duplicate and qos == 0):
        raise MalformedPacket("a PUBLISH with impossible flags")
    topic = _topic_name(body.string())
    packet_id = body.packet_id() if qos else 0
    attached = _message_properties(PacketType.PUBLISH, body, version)
    if not topic and not any(name is Property.TOPIC_ALIAS for name, _ in attached):
        raise MalformedPacket("a PUBLISH without topic", Reason.PROTOCOL_ERROR)
    return Publish(topic, body.rest(), qos, retain, duplicate, packet_id, attached)


def _connect(body: Reader) -> Connect:
    name, level, flags = body.string(), body.byte(), body.byte()
    if name != "MQTT" or level not in {Version.V311, Version.V5}:
        raise MalformedPacket("neither MQTT 3.1.1 nor 5", Reason.UNSUPPORTED_VERSION)
    version = Version(level)
    has_will, has_username, has_password = bool(flags & 4), bool(flags & 128), bool(flags & 64)
    if flags & 1 or (not has_will and flags & 0b0011_1000) or flags >> 3 & 3 == 3:
        raise MalformedPacket("a CONNECT with impossible flags")
    if version is Version.V311 and has_password and not has_username:
        raise MalformedPacket("a password without user name")
    keepalive = body.short()
    attached = _properties(PacketType.CONNECT, body, version)
    client_id = body.string()
    will = _will(flags, body, version) if has_will else None
    username = body.string() if has_username else None
    password = body.binary() if has_password else None
    return Connect(version, client_id, bool(flags & 2), keepalive, will, username, password, attached)


def _will(flags: int, body: Reader, version: Version) -> Will:
    attached = _message_properties(WILL, body, version)
    topic = _topic_name(body.string())
    if not topic:
        raise MalformedPacket("a will without topic")
    return Will(topic, body.binary(), flags >> 3 & 3, bool(flags & 32), attached)


def _connack(body: Reader, version: Version) -> ConnAck:
    flags, reason = body.byte(), body.byte()
    if flags > 1:
        raise MalformedPacket("a CONNACK with impossible flags")
    if version is Version.V311:
        if reason >= len(_CONNACK_311):
            raise MalformedPacket("a return code that 3.1.1 does not know")
        reason = _CONNACK_311[reason]
    return ConnAck(bool(flags), reason, _properties(PacketType.CONNACK, body, version))


def _subscribe(body: Reader, version: Version) -> Subscribe:
    packet_id = body.packet_id()
    attached = _properties(PacketType.SUBSCRIBE, body, version)
    wanted = []
    while body.left:
        topic_filter, options = body.string(), body.byte()
        retain_handling = options >> 4 & 3
        if options & 3 == 3 or retain_handling == 3 or options >> (6 if version is Version.V5 else 2):
            raise MalformedPacket("a SUBSCRIBE with impossible options")
        wanted.append(
            Subscription(topic_filter, options & 3, bool(options & 4), bool(options & 8), retain_handling)
        )
    if not wanted:
        raise MalformedPacket("a SUBSCRIBE for nothing", Reason.PROTOCOL_ERROR)
    return Subscribe(packet_id, tuple(wanted), attached)


def _unsubscribe(body: Reader, version: Version) -> Unsubscribe:
    packet_id = body.packet_id()
    attached = _properties(PacketType.UNSUBSCRIBE, body, version)
    unwanted = []
    while body.left:
        unwanted.append(body.string())
    if not unwanted:
        raise MalformedPacket("an UNSUBSCRIBE from nothing", Reason.PROTOCOL_ERROR)
    return Unsubscribe(packet_id, tuple(unwanted), attached)


def encode(packet: Packet, version: Version) -> bytes:
    """The bytes of a packet; OverflowError or ValueError if a field does not fit into its length."""
    match packet:
        case Publish(qos=qos):
            flags = packet.duplicate << 3 | qos << 1 | packet.retain
            head = sized(packet.topic) + (short(packet.packet_id) if qos else b"")
            return _framed(
                PacketType.PUBLISH, flags, head + _attached(packet.properties, version) + packet.payload
            )
        case Ack(kind):
            return _framed(
                kind,
                2 if kind is PacketType.PUBREL else 0,
                short(packet.packet_id) + _explained(packet.reason, packet.properties, version),
            )
        case Ping(kind):
            return _framed(kind, 0, b"")
        case Connect():
            return _framed(PacketType.CONNECT, 0, _connect_body(packet))
        case ConnAck():
            head = bytes((packet.session_present, _return_code(packet.reason, version)))
            return _framed(PacketType.CONNACK, 0, head + _attached(packet.properties, version))
        case Subscribe():
            head = short(packet.packet_id) + _attached(packet.properties, version)
            return _framed(PacketType.SUBSCRIBE, 2, head + b"".join(map(_filter, packet.subscriptions)))
        case Unsubscribe():
            head = short(packet.packet_id) + _attached(packet.properties, version)
            return _framed(PacketType.UNSUBSCRIBE, 2, head + b"".join(map(sized, packet.topic_filters)))
        case SubscribeAck(kind):
            head = short(packet.packet_id) + _attached(packet.properties, version)
            return _framed(kind, 0, head + _reasons(packet, version))
        case Farewell(kind):
            return _framed(kind, 0, _explained(packet.reason, packet.properties, version))


def _framed(kind: PacketType, flags: int, body: bytes) -> bytes:
    return bytes((kind << 4 | flags,)) + varint(len(body)) + body


def _attached(values: Properties, version: Version) -> bytes:
    return properties(values) if version is Version.V5 else b""


def _explained(reason: int, values: Properties, version: Version) -> bytes:
    if version is not Version.V5 or (reason == Reason.SUCCESS and not values):
        return b""
    return bytes((reason,)) + (properties(values) if values else b"")


def _return_code(reason: int, version: Version) -> int:
    if version is Version.V5:
        return reason
    unavailable = _CONNACK_311.index(Reason.SERVER_UNAVAILABLE)
    return _CONNACK_311.index(Reason(reason)) if reason in _CONNACK_311 else unavailable


def _reasons(packet: SubscribeAck, version: Version) -> bytes:
    if version is Version.V5:
        return bytes(packet.reasons)
    if packet.kind is PacketType.UNSUBACK:
        return b""
    return bytes(min(reason, Reason.UNSPECIFIED_ERROR) for reason in packet.reasons)


def _filter(wanted: Subscription) -> bytes:
    flags = wanted.no_local << 2 | wanted.retain_as_published << 3 | wanted.retain_handling << 4
    return sized(wanted.topic_filter) + bytes((wanted.qos | flags,))


def _connect_body(packet: Connect) -> bytes:
    will, version = packet.will, packet.version
    flags = packet.clean_start << 1
    payload = sized(packet.client_id)
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        payload += _attached(will.properties, version) + sized(will.topic) + sized(will.payload)
    if packet.username is not None:
        flags |= 128
        payload += sized(packet.username)
    if packet.password is not None:
        flags |= 64
        payload += sized(packet.password)
    head = sized("MQTT") + bytes((version, flags)) + short(packet.keepalive)
    return head + _attached(packet.properties, version) + payload
